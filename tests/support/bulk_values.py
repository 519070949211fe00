"""Stored values as the text of the logical rows: numbers, cells, what a counter gained (§13.1, §18.5)."""

from __future__ import annotations

from decimal import Context, Decimal

from earnbook.ledger.schema import Kind
from tests.support.oracle_times import format_time

_EXACT = Context(prec=80)


def wide_integer(low: int, high: int | None) -> int:
    """The 128-bit integer of two words; without a high word the low one has the sign."""
    return low if high is None else (high << 64) + low % (1 << 64)


def plain_number(mantissa: int, scale: int) -> str:
    """A mantissa with a scale as decimal text without trailing zeros."""
    text = f"{Decimal(mantissa).scaleb(-scale, _EXACT):f}" if scale > 0 else str(mantissa)
    return text.rstrip("0").rstrip(".") if "." in text else text


def added(now: tuple[int, int], before: tuple[int, int] | None) -> str:
    """What a counter gained: the difference of two (mantissa, scale), as plain text."""
    (mantissa, scale), (first, first_scale) = now, before or (0, 0)
    common = max(scale, first_scale)
    return plain_number(mantissa * 10 ** (common - scale) - first * 10 ** (common - first_scale), common)


def cell_text(kind: int, value: int, scale: int, text: str | None) -> str | None:
    """An attribute's cell as its text."""
    match Kind(kind):
        case Kind.BOOL:
            return "true" if value else "false"
        case Kind.NUMBER:
            return plain_number(value, scale)
        case Kind.TEXT:
            return text
        case Kind.TIMESTAMP:
            return format_time(value)
        case Kind.INT:
            return str(value)
        case _:
            return None
