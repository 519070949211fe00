"""Programs and expressions for kernel tests: small builders, and seeded random ones over known fields.

Events have numbers `n k`, texts `t u`, a flag `f` and an object `m`, any of which may be missing or of another type.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from earnbook.rules.models import Asset, Program, Rule
from tests.support.kernel_rows import NOW, Entity, Windowed

PTS = Asset.model_validate(
    {
        "symbol": "PTS",
        "name": "Points",
        "scale": 2,
        "inventory_mode": "LOT",
        "issuance_policy": "UNLIMITED",
        "programs": ["p"],
    }
)


def rule(
    condition: str, amount: str, *, order: int = 1, reference_id: str | None = None, **fields: Any
) -> dict[str, Any]:
    """A rule that credits PTS; it is called by its order."""
    action: dict[str, Any] = {"type": "CREDIT", "asset_id": "PTS", "amount": amount}
    if reference_id is not None:
        action["reference_id"] = reference_id
    key = f"r{order}"
    return {"key": key, "name": key, "order": order, "condition": condition, "actions": [action], **fields}


def program_of(*rules: dict[str, Any]) -> Program:
    """Program `p` with these rules."""
    models = tuple(Rule.model_validate(fields) for fields in rules)
    return Program(id="3a37bb6a-dfc8-50ba-8532-fadfaf037bdb", key="p", name="p", rules=models)


def attribute_program(expressions: Sequence[str]) -> Program:
    """One rule that stores the value of each expression in an attribute: any type of value, or why there is none."""
    actions = [
        {"type": "SET_ATTRIBUTE", "key": f"a{number}", "value": f"={expression}"}
        for number, expression in enumerate(expressions)
    ]
    return program_of({"key": "r", "name": "r", "order": 1, "condition": "true", "actions": actions})


_NUMBERS = ("0", "1", "-1", "2", "3.5", "-2.75", "100", "0.000001", "12345.67", "1e9", "9223372036854775807", "1e25")
_TEXTS = ("", "a", "ab", "b", "AB", "é", "5", "true")


def random_event(rng: random.Random) -> dict[str, Any]:
    """An event whose fields are mostly of their usual type."""
    event: dict[str, Any] = {}
    for name in ("n", "k", "t", "u", "f", "m"):
        if rng.random() < 0.12:
            continue
        usual = rng.random() < 0.85
        event[name] = _usual(rng, name) if usual else _anything(rng)
    return event


def random_entity(rng: random.Random) -> Entity | None:
    """State of somebody, sometimes of nobody."""
    if rng.random() < 0.1:
        return None
    counter: Decimal | Windowed = Decimal(rng.choice(_NUMBERS[:10]))
    if rng.random() < 0.3:
        counter = Windowed(value=Decimal(3), reset_at=NOW - rng.choice((0, 5, 10)), reset_after=rng.choice((0, 5, 20)))
    return Entity(
        counters={"c": counter} if rng.random() < 0.7 else {},
        tags=("vip",) if rng.random() < 0.5 else (),
        attributes={"city": rng.choice(_TEXTS)} if rng.random() < 0.7 else {},
        status=rng.choice(("ACTIVE", "SUSPENDED", "CLOSED")),
    )


def random_expression(rng: random.Random) -> str:
    """An expression of some type, up to a few levels deep."""
    return rng.choice((_boolean, _boolean, _number, _text))(rng, rng.randint(1, 4))


def random_program(rng: random.Random) -> Program:
    """One to three rules, each with a credit, a counter and an attribute."""
    rules = []
    for order in range(1, rng.randint(2, 4)):
        reference = _text(rng, 2) if rng.random() < 0.5 else None
        condition = _boolean(rng, 3) if rng.random() < 0.7 else random_expression(rng)
        fields = rule(condition, _number(rng, 3), order=order, reference_id=reference)
        fields["stop_after_match"] = rng.random() < 0.2
        fields["actions"] += [
            {"type": "COUNTER", "key": "c", "value": _number(rng, 2)},
            {"type": "SET_ATTRIBUTE", "key": "c", "value": f"={random_expression(rng)}"},
        ]
        rules.append(fields)
    return program_of(*rules)


def _usual(rng: random.Random, name: str) -> Any:
    if name in ("n", "k"):
        return Decimal(rng.choice(_NUMBERS))
    if name in ("t", "u"):
        return rng.choice(_TEXTS)
    if name == "f":
        return rng.random() < 0.5
    return {"x": _anything(rng)} if rng.random() < 0.7 else {}


def _anything(rng: random.Random) -> Any:
    choices: tuple[Any, ...] = (None, True, False, Decimal(rng.choice(_NUMBERS)), rng.choice(_TEXTS), [Decimal(1)], {})
    return rng.choice(choices)


def _field(rng: random.Random) -> str:
    return rng.choice(("event.n", "event.k", "event.t", "event.u", "event.f", "event.m.x", "event.m", "event.zz"))


def _number(rng: random.Random, depth: int) -> str:
    if depth <= 0:
        leaves = ("event.n", "event.k", "event.m.x", "1", "2", "0.5", "100", "3", "-7", "0.0", "participant.counters.c")
        return rng.choice((*leaves, "get(participant.counters, 'c', 0)", "get(event, 'k', 1.5)", "program.counters.c"))
    one, other = _number(rng, depth - 1), _number(rng, depth - 2)
    return rng.choice(
        (
            f"({one} + {other})",
            f"({one} - {other})",
            f"({one} * {other})",
            f"({one} / {rng.choice(('2', '4', '2.5', '3', 'event.k'))})",
            f"({one} % {other})",
            f"round({one}, {rng.choice(('0', '2', '-1', '5'))})",
            f"round({one} / {other}, {rng.choice(('0', '2', '-1', '5'))})",
            f"floor({one} / {other})",
            f"ceil({one})",
            f"abs({one})",
            f"-({one})",
            f"min({one}, {other})",
            f"max({one}, {other}, 2)",
            f"int({one})",
            f"double({one})",
            f"size({_text(rng, depth - 2)})",
            f"({_boolean(rng, depth - 2)} ? {one} : {other})",
            f"now.{rng.choice(('getHours', 'getMonth', 'getDayOfWeek'))}()",
        )
    )


def _text(rng: random.Random, depth: int) -> str:
    if depth <= 0:
        leaves = ("event.t", "event.u", "'a'", "''", "participant.attributes.city", "event.m.x")
        return rng.choice((*leaves, "get(participant.attributes, 'city', 'b')", "get(event, 'u', 'b')"))
    return rng.choice(
        (
            f"({_boolean(rng, depth - 1)} ? {_text(rng, depth - 1)} : {_text(rng, depth - 2)})",
            f"string({_number(rng, depth - 1)})",
            f"({_text(rng, depth - 1)} + {_text(rng, depth - 2)})",
            _text(rng, 0),
        )
    )


def _boolean(rng: random.Random, depth: int) -> str:
    if depth <= 0:
        leaves = ("event.f", "true", "'vip' in participant.tags", "has(event.n)", "has(event.m.x)", "has(event.zz.x)")
        return rng.choice((*leaves, "has(participant.counters.c)", "participant.status == 'ACTIVE'", "event.m.x"))
    kind = rng.choice((_number, _number, _text, _boolean))
    one, other = kind(rng, depth - 1), kind(rng, depth - 2)
    operator = rng.choice(("==", "!=", "<", "<=", ">", ">="))
    return rng.choice(
        (
            f"({_boolean(rng, depth - 1)} && {_boolean(rng, depth - 2)})",
            f"({_boolean(rng, depth - 1)} || {_boolean(rng, depth - 2)})",
            f"!{_boolean(rng, depth - 1)}",
            f"({one} {operator} {other})",
            f"({one} {operator} {other})",
            f"({_field(rng)} {rng.choice(('==', '!=', '<'))} {_field(rng)})",
            f"({_field(rng)} in [1, 'a', true, null, 2.5])",
            f"({_text(rng, depth - 1)} in ['a', 'b', 'c', 'd', 'e', 'f', 'ab'])",
            f"{_text(rng, 0)}.{rng.choice(('startsWith', 'endsWith', 'contains', 'matches'))}('a')",
            f"({_text(rng, 0)} {operator} 'ab')",
            f"({_field(rng)} == null)",
            f"(now {operator} timestamp('2026-01-01T00:00:00Z'))",
            f"(now - timestamp('2025-12-30T00:00:00Z') {operator} duration('48h'))",
            f"({_boolean(rng, depth - 1)} ? {_boolean(rng, depth - 2)} : {_boolean(rng, 0)})",
        )
    )
