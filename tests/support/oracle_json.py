"""JSON for the oracle: numbers are decimals, and equal values have one text (§3.4, §5.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

Json: TypeAlias = "bool | Decimal | str | list[Json] | dict[str, Json] | None"
Fields: TypeAlias = "dict[str, Json]"


class Rejected(Exception):
    """The row is no record; the argument is the reason of §3.5."""


def plain_json(value: Any) -> Json:
    """A value of a document as the value of a JSON text: every number is a decimal."""
    if isinstance(value, Mapping):
        return {name: plain_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    assert value is None or isinstance(value, bool | Decimal | str)
    return value


def parse_json(line: str) -> Fields:
    """A JSON object with its numbers as decimals; raises Rejected."""

    def refuse(_constant: str) -> NoReturn:
        raise ValueError("NaN and Infinity are not JSON")

    def unique(members: list[tuple[str, Json]]) -> Fields:
        if len({name for name, _ in members}) < len(members):
            raise ValueError("duplicate member")
        return dict(members)

    try:
        value = json.loads(
            line, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse, object_pairs_hook=unique
        )
    except (ValueError, RecursionError):
        raise Rejected("UNPARSEABLE_ROW") from None
    if not isinstance(value, dict):
        raise Rejected("UNPARSEABLE_ROW")
    return value


def depth(value: Json) -> int:
    """How many objects and lists are around the innermost value."""
    if isinstance(value, dict):
        return 1 + max((depth(member) for member in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(item) for item in value), default=0)
    return 0


def check_numbers(value: Json) -> None:
    """Refuses a number outside §5.2."""
    if isinstance(value, dict):
        for member in value.values():
            check_numbers(member)
    elif isinstance(value, list):
        for item in value:
            check_numbers(item)
    elif isinstance(value, Decimal) and value != 0:
        exact = canonical_number(value)
        if len(exact.as_tuple().digits) > 34 or not -400 <= exact.adjusted() <= 400:
            raise Rejected("INVALID_NUMBER")


def canonical_number(value: Decimal) -> Decimal:
    """The same number without trailing zeros; Decimal.normalize would round to the context."""
    if value == 0:
        return Decimal(0)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    while digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    while digits[0] == 0:
        digits = digits[1:]
    return Decimal((sign, digits, exponent))


def number_text(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    return f"{canonical_number(value):f}"


def canonical_json(value: Any) -> str:
    """Canonical JSON (§3.4): members by code point, numbers plain, no white space."""
    if isinstance(value, dict):
        members = (f"{_quoted(name)}:{canonical_json(member)}" for name, member in sorted(value.items()))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical_json(item) for item in value) + "]"
    if isinstance(value, Decimal):
        return number_text(value)
    return _quoted(value)


def _quoted(value: bool | str | None) -> str:
    return json.dumps(value, ensure_ascii=False)
