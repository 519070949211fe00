"""Numbers of money: minor units, mantissas and 128-bit integers; what overflows or does not fit is decided here.

An amount is an int64 of minor units (§5.3). A counter, and a number on its way to an amount, is a 128-bit mantissa in
two's complement, as two int64 (low word, high word), with its number of decimals beside it. Nothing is ever rounded:
excess decimals and excess size are outcomes.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.schema import COUNTER_SCALE_MAX, Outcome

MINOR_MAX = (1 << 63) - 1
"""The largest amount, balance or lot, in minor units."""

COUNTER_LIMIT = 10**20
"""The absolute value of a counter is below this (§13.1)."""

_U0 = np.uint64(0)
_U1 = np.uint64(1)
_U10 = np.uint64(10)
_U32 = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_TOP_BIT = np.uint64(1 << 63)
_OK = int(Outcome.OK)
_NOT_POSITIVE = int(Outcome.AMOUNT_NOT_POSITIVE)
_EXCEEDS_SCALE = int(Outcome.AMOUNT_EXCEEDS_SCALE)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_OUT_OF_RANGE = int(Outcome.COUNTER_OUT_OF_RANGE)


# --- plain Python: single values ------------------------------------------------------------------------------------


def classify_amount(value: Decimal, scale: int) -> tuple[int, Outcome]:
    """An amount in asset units as minor units, with the first value code of §5.3 that applies.

    Returns:
        (minor units, OK) for a good amount and for zero, which the caller judges; else (0, INVALID_AMOUNT,
        AMOUNT_NOT_POSITIVE, AMOUNT_EXCEEDS_SCALE or AMOUNT_OVERFLOW).
    """
    if not value.is_finite():
        return 0, Outcome.INVALID_AMOUNT
    if value < 0:
        return 0, Outcome.AMOUNT_NOT_POSITIVE
    mantissa, decimals = _shortest(value)
    if decimals > scale:
        return 0, Outcome.AMOUNT_EXCEEDS_SCALE
    minor = mantissa * 10 ** (scale - decimals)
    return (minor, Outcome.OK) if minor <= MINOR_MAX else (0, Outcome.AMOUNT_OVERFLOW)


def classify_counter(value: Decimal) -> tuple[int, int, Outcome]:
    """A counter value as (mantissa, decimals, OK), without trailing zeros.

    Returns:
        (0, 0, INVALID_VALUE) for infinities and NaN, (0, 0, COUNTER_OUT_OF_RANGE) for a value that no counter can take
        in: more than 18 decimals, or so large that no sum with a counter is in range.
    """
    if not value.is_finite():
        return 0, 0, Outcome.INVALID_VALUE
    mantissa, decimals = _shortest(value)
    if decimals > COUNTER_SCALE_MAX or abs(mantissa) >= 2 * COUNTER_LIMIT * 10**decimals:
        return 0, 0, Outcome.COUNTER_OUT_OF_RANGE
    # Between 1.7e20 and 2e20 with 18 decimals an effect's two words are too short: out of range, whatever is stored.
    if abs(mantissa) >> 127:
        return 0, 0, Outcome.COUNTER_OUT_OF_RANGE
    return mantissa, decimals, Outcome.OK


def format_minor(minor: int, scale: int) -> str:
    """Minor units as an amount with exactly `scale` decimals (§5.3)."""
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(scale + 1, "0")
    return f"{sign}{digits[: len(digits) - scale]}.{digits[len(digits) - scale :]}" if scale else sign + digits


def format_mantissa(mantissa: int, decimals: int) -> str:
    """A mantissa with decimals as plain text without trailing zeros, as counters print (§5.3)."""
    text = format_minor(mantissa, decimals)
    return (text.rstrip("0").rstrip(".") or "0") if decimals else text


def join_words(low: int, high: int) -> int:
    """The integer of two int64 words in two's complement."""
    return (int(high) << 64) | (int(low) & ((1 << 64) - 1))


def split_words(value: int) -> tuple[int, int]:
    """An integer of at most 128 bits as (low, high) int64 words; OverflowError when it does not fit."""
    if not -(1 << 127) <= value < 1 << 127:
        raise OverflowError(f"{value} needs more than 128 bits")
    low = value & ((1 << 64) - 1)
    return low - (1 << 64) if low >> 63 else low, value >> 64


def _shortest(value: Decimal) -> tuple[int, int]:
    """A finite decimal as (mantissa, decimals >= 0) with as few decimals as possible."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "finite"
    text = "".join(map(str, digits)).rstrip("0")
    decimals = -(exponent + len(digits) - len(text))
    mantissa = int(text or "0") * (10 ** max(-decimals, 0) if text else 1)
    return -mantissa if sign else mantissa, max(decimals, 0) if text else 0


# --- compiled: 128-bit words ----------------------------------------------------------------------------------------


@inlined
def add_words(low: int, high: int, more_low: int, more_high: int) -> tuple[int, int]:
    """The sum of two 128-bit integers; the caller knows that it fits."""
    total = low + more_low
    carry = 1 if np.uint64(total) < np.uint64(low) else 0
    return total, high + more_high + carry


@inlined
def add_small(low: int, high: int, delta: int) -> tuple[int, int]:
    """A 128-bit integer plus an int64; the caller knows that it fits."""
    return add_words(low, high, delta, delta >> 63)


@compiled
def power_of_ten(exponent: int) -> int:
    """10**exponent for 0 <= exponent <= 18."""
    result = 1
    for _ in range(exponent):
        result *= 10
    return result


@compiled
def _magnitude(low: int, high: int) -> tuple[np.uint64, np.uint64]:
    """The absolute value of a 128-bit integer as unsigned words."""
    if high >= 0:
        return np.uint64(low), np.uint64(high)
    inverted_low, inverted_high = ~np.uint64(low), ~np.uint64(high)
    total = inverted_low + _U1
    return total, inverted_high + (_U1 if total == _U0 else _U0)


@compiled
def _multiply(low: np.uint64, high: np.uint64, factor: np.uint64) -> tuple[np.uint64, np.uint64, bool]:
    """An unsigned 128-bit integer times a 64-bit one, and whether the product fits in 128 bits."""
    factor_low, factor_high = factor & _LOW_HALF, factor >> _U32
    low_0, low_1 = low & _LOW_HALF, low >> _U32
    cross_a, cross_b = low_0 * factor_high, low_1 * factor_low
    middle = ((low_0 * factor_low) >> _U32) + (cross_a & _LOW_HALF) + (cross_b & _LOW_HALF)
    carried = low_1 * factor_high + (cross_a >> _U32) + (cross_b >> _U32) + (middle >> _U32)
    product_low = low * factor
    if high == _U0:
        return product_low, carried, True
    if factor != _U0 and high > np.uint64(0xFFFFFFFFFFFFFFFF) // factor:
        return product_low, carried, False
    product_high = high * factor + carried
    return product_low, product_high, bool(product_high >= carried)


@compiled
def _divide_by_ten(low: np.uint64, high: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Quotient words and remainder of an unsigned 128-bit integer by 10."""
    quotient_high, rest = high // _U10, high % _U10
    upper = (rest << _U32) | (low >> _U32)
    quotient_upper, rest = upper // _U10, upper % _U10
    lower = (rest << _U32) | (low & _LOW_HALF)
    return (quotient_upper << _U32) | (lower // _U10), quotient_high, lower % _U10


@compiled
def minor_of(low: int, high: int, decimals: int, scale: int) -> tuple[int, int]:
    """A mantissa with decimals as minor units of an asset of that scale, with a value code of §5.3.

    Returns:
        (minor units, 0) for a good amount and for zero; else (0, AMOUNT_NOT_POSITIVE, AMOUNT_EXCEEDS_SCALE or
        AMOUNT_OVERFLOW).
    """
    if high < 0:
        return 0, _NOT_POSITIVE
    if decimals == scale and high == 0 and low >= 0:
        return low, _OK
    if decimals > scale and high == 0 and low >= 0:
        unit = power_of_ten(decimals - scale)
        return (low // unit, _OK) if low % unit == 0 else (0, _EXCEEDS_SCALE)
    return _minor_of_wide(np.uint64(low), np.uint64(high), decimals, scale)


@compiled
def _minor_of_wide(low: np.uint64, high: np.uint64, decimals: int, scale: int) -> tuple[int, int]:
    for _ in range(decimals - scale):
        low, high, rest = _divide_by_ten(low, high)
        if rest != _U0:
            return 0, _EXCEEDS_SCALE
    if decimals < scale:
        low, high, fits = _multiply(low, high, np.uint64(power_of_ten(scale - decimals)))
        if not fits:
            return 0, _OVERFLOW
    if high != _U0 or low >= _TOP_BIT:
        return 0, _OVERFLOW
    return np.int64(low), _OK  # type: ignore[return-value]


@compiled
def add_counter(
    low: int, high: int, decimals: int, by_low: int, by_high: int, by_decimals: int
) -> tuple[int, int, int, int]:
    """A counter plus a delta, exactly, without trailing zeros.

    Returns:
        (low, high, decimals, 0), or (0, 0, 0, COUNTER_OUT_OF_RANGE) when the sum is 10**20 or more in absolute value.
    """
    if decimals == by_decimals and high == low >> 63 and by_high == by_low >> 63:
        total = low + by_low
        if (low ^ total) & (by_low ^ total) >= 0:
            while decimals > 0 and total % 10 == 0:
                total //= 10
                decimals -= 1
            return total, total >> 63, decimals, _OK
    return _add_counter_wide(low, high, decimals, by_low, by_high, by_decimals)


@compiled
def _add_counter_wide(
    low: int, high: int, decimals: int, by_low: int, by_high: int, by_decimals: int
) -> tuple[int, int, int, int]:
    """As `add_counter`, by sign and magnitude: a delta may need 128 bits without sign once it has 18 decimals."""
    scale = max(decimals, by_decimals)
    negative, by_negative = high < 0, by_high < 0
    left_low, left_high = _magnitude(low, high)
    left_low, left_high, fits = _multiply(left_low, left_high, np.uint64(power_of_ten(scale - decimals)))
    right_low, right_high = _magnitude(by_low, by_high)
    right_low, right_high, by_fits = _multiply(right_low, right_high, np.uint64(power_of_ten(scale - by_decimals)))
    if not (fits and by_fits):
        return 0, 0, 0, _OUT_OF_RANGE
    if negative == by_negative:
        total_low = left_low + right_low
        total_high = left_high + right_high + (_U1 if total_low < left_low else _U0)
        if total_high < left_high:
            return 0, 0, 0, _OUT_OF_RANGE
    else:
        if right_high > left_high or (right_high == left_high and right_low > left_low):
            left_low, left_high, right_low, right_high = right_low, right_high, left_low, left_high
            negative = by_negative
        total_low = left_low - right_low
        total_high = left_high - right_high - (_U1 if left_low < right_low else _U0)
    return _counter_words(total_low, total_high, scale, negative)


@compiled
def compare_numbers(low: int, high: int, decimals: int, other_low: int, other_high: int, other_decimals: int) -> int:
    """-1, 0 or 1 as one mantissa with decimals is less than, equal to or greater than another.

    Both are below 10**20 in absolute value, or equal to it, and have at most 18 decimals.
    """
    if decimals == other_decimals and high == low >> 63 and other_high == other_low >> 63:
        return int(low > other_low) - int(low < other_low)
    if (high < 0) != (other_high < 0):
        return -1 if high < 0 else 1
    sign = -1 if high < 0 else 1
    scale = max(decimals, other_decimals)
    size_low, size_high = _magnitude(low, high)
    size_low, size_high, _ = _multiply(size_low, size_high, np.uint64(power_of_ten(scale - decimals)))
    than_low, than_high = _magnitude(other_low, other_high)
    than_low, than_high, _ = _multiply(than_low, than_high, np.uint64(power_of_ten(scale - other_decimals)))
    if size_high != than_high:
        return sign if size_high > than_high else -sign
    if size_low == than_low:
        return 0
    return sign if size_low > than_low else -sign


@compiled
def _counter_words(low: np.uint64, high: np.uint64, decimals: int, negative: bool) -> tuple[int, int, int, int]:
    """The words of a counter from its magnitude, if that is in range."""
    limit_low, limit_high, _ = _multiply(np.uint64(10**19), _U0, np.uint64(power_of_ten(decimals)))
    limit_low, limit_high, _ = _multiply(limit_low, limit_high, _U10)
    if high > limit_high or (high == limit_high and low >= limit_low):
        return 0, 0, 0, _OUT_OF_RANGE
    while decimals > 0:
        less_low, less_high, rest = _divide_by_ten(low, high)
        if rest != _U0:
            break
        low, high, decimals = less_low, less_high, decimals - 1
    if negative:
        low, high = ~low + _U1, ~high + (_U1 if low == _U0 else _U0)
    return np.int64(low), np.int64(high), decimals, _OK  # type: ignore[return-value]
