"""Closures against the oracle's plain walk over the syntax tree, on the expressions of random definitions.

Both use the values of `earnbook.rules.values`; what differs is everything that is made of the tree: absorption,
branches, macros, access, the order of errors.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest

from earnbook.rules.lower_closure import evaluate as evaluate_closure
from earnbook.rules.values import CelError, CelLimit, Value
from tests.support import oracle_cel
from tests.support.logs import random_event_data
from tests.support.oracle_json import canonical_number, parse_json
from tests.support.oracle_times import parse_time
from tests.support.programs import random_condition, random_number

EXPRESSIONS_PER_SEED = 40
EVENTS_PER_EXPRESSION = 6


@pytest.mark.parametrize("seed", range(25))
def test_closures_and_the_plain_walk_agree(seed: int) -> None:
    chance = random.Random(f"expressions {seed}")
    for text in _expressions(chance):
        for _ in range(EVENTS_PER_EXPRESSION):
            scope = _scope(chance)
            walked = _walked(text, scope)
            assert _closed(text, scope) == walked, f"{text} on {scope}"


def _expressions(chance: random.Random) -> Iterator[str]:
    for _ in range(EXPRESSIONS_PER_SEED):
        yield random_condition(chance, chance.randint(0, 3))
        yield random_number(chance, chance.randint(0, 3))


def _scope(chance: random.Random) -> oracle_cel.Scope:
    counters: dict[str, Value] = {"spend": Decimal("12.5"), "visits": Decimal(chance.randint(0, 4))}
    participant: dict[str, Value] = {
        "id": "5f4d6c80-b779-5174-9e3e-37d6ea331a70",
        "external_id": "alice",
        "status": "ACTIVE",
        "tags": ["new", "vip"] if chance.random() < 0.5 else [],
        "counters": counters if chance.random() < 0.7 else {},
        "attributes": {"level": "gold"},
        "tiers": {},
    }
    return oracle_cel.Scope(
        event=parse_json(random_event_data(chance)),
        participant=participant,
        program={"key": "loyalty", "status": "ACTIVE", "tags": [], "counters": {}, "attributes": {}},
        now=parse_time("2026-01-07T12:00:00Z"),
    )


def _walked(text: str, scope: oracle_cel.Scope) -> tuple[str, str]:
    try:
        return _shown(oracle_cel.evaluate(text, scope))
    except CelLimit:
        return ("limit", "")
    except CelError:
        return ("error", "")


def _closed(text: str, scope: oracle_cel.Scope) -> tuple[str, str]:
    try:
        return _shown(evaluate_closure(text, **scope.variables()))
    except CelLimit:
        return ("limit", "")
    except CelError:
        return ("error", "")


def _shown(value: Value) -> tuple[str, str]:
    """Type and text: 1, 1.0 and true are equal in Python but differ in CEL."""
    if isinstance(value, Decimal) and value.is_finite():
        return ("double", str(canonical_number(value)))
    return (type(value).__name__, repr(value))
