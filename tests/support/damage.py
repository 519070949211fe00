"""Damaged rows: events whose fields are missing, of the wrong type, null, huge, tiny, or full of strange characters."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

HUGE_AND_TINY = (
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "4611686018427387904",
    "-4611686018427387905",
    "2147483648",
    "3037000499.5",
    "3037000500",
    "-4294967297",
    "99999999999.99",
    "9223372036854.775807",
    "922337203685477580.7",
    "9999999999999999999999999999999999",
    "-1e400",
    "1e-400",
    "0.000001",
    "0.0000001",
    "-0.000000000000000001",
    "0.5",
    "-0.5",
    "2.5",
    "1.005",
    "-1.005",
    "1e18",
    "-0.0",
)
"""Numbers at the edges of int64, of its half, of a column's scale and of §5.2, and halves to round."""

STRANGE_TEXTS = (
    "",
    " ",
    "\u0000",
    "é",
    "e\u0301",
    "İ",
    "ß",
    "😀",
    "👩‍👩‍👧",
    "\u202eab",
    "a\nb",
    "ab" * 500,
    "\uffff",
    "0x10",
    "1e5",
    "NaN",
    "null",
    "true",
    "2026-01-01T00:00:00Z",
)
"""Texts that are easily taken for something else, or that other encodings count differently."""


def edge_number(chance: random.Random) -> Decimal:
    """A number at an edge: huge, tiny, or halfway between two that have fewer decimals."""
    if chance.random() < 0.5:
        return Decimal(chance.choice(HUGE_AND_TINY))
    return Decimal(chance.randint(-2001, 2001)) / chance.choice((1, 2, 20, 200, 2_000_000))


def damaged(chance: random.Random, event: dict[str, Any]) -> dict[str, Any]:
    """A copy of an event with up to three of its members damaged."""
    made = dict(event)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        if not made:
            break
        name = chance.choice(sorted(made))
        match chance.randrange(5):
            case 0:
                del made[name]
            case 1:
                made[name] = chance.choice((None, True, False, [], {}, [None], {"x": {}}))
            case 2 | 3:
                made[name] = _kept_kind(chance, made[name])
            case _:
                made[name] = chance.choice((chance.choice(STRANGE_TEXTS), Decimal(chance.choice(HUGE_AND_TINY))))
    return made


def damaged_integers(chance: random.Random, event: dict[str, Any]) -> dict[str, Any]:
    """As `damaged`, but numbers are int64, because Google's doubles are binary; and its binding ends texts at a NUL."""
    made = damaged(chance, event)
    return {name: _for_google(chance, value) for name, value in made.items()}


def _kept_kind(chance: random.Random, value: Any) -> Any:
    """Another value of the same kind, at an edge."""
    if isinstance(value, str):
        return chance.choice(STRANGE_TEXTS)
    if isinstance(value, Decimal):
        return edge_number(chance)
    if isinstance(value, dict):
        return {"x": Decimal(chance.choice(HUGE_AND_TINY))}
    return value


def _for_google(chance: random.Random, value: Any) -> Any:
    if isinstance(value, Decimal):
        return chance.choice((2**63 - 1, -(2**63), 2**62, -1, 0, 1))
    if isinstance(value, str):
        return value.replace("\0", "0")
    if isinstance(value, dict):
        return {name: _for_google(chance, part) for name, part in value.items()}
    return [_for_google(chance, part) for part in value] if isinstance(value, list) else value
