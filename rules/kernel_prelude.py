"""Exact arithmetic on (mantissa, scale) pairs of int64: the functions that generated kernels are made of.

`lower_kernel` copies the text of this file into every generated module, where numba compiles it; as plain Python it
does the same, which is how it is tested. A number is mantissa / 10**scale. What does not fit is never wrapped or
rounded: functions return (mantissa, scale, fits), and where `fits` is false the caller leaves the row to the closures.

Functions stand after those they call. Operands of arithmetic stay below 2**62, so that no sum, difference or negation
can leave int64.
"""

from __future__ import annotations

import numpy as np

_POWERS = np.array([10**exponent for exponent in range(19)], dtype=np.int64)
_LIMITS = np.array([(2**63 - 1) // 10**exponent for exponent in range(19)], dtype=np.int64)
_BOUND = 2**62
_SMALL = 2**31
_MAX = 2**63 - 1
_DAY = 86_400_000_000


def _compare_scaled(number: int, digits: int, other: int) -> int:
    """Compare number * 10**digits (digits > 0) with the other."""
    if number == 0 or digits > 18:
        return int(number > 0) - int(number < 0) if number != 0 else int(other < 0) - int(other > 0)
    if number > int(_LIMITS[digits]):
        return 1
    if number < -int(_LIMITS[digits]):
        return -1
    scaled = number * int(_POWERS[digits])
    return int(scaled > other) - int(scaled < other)


def _compare(left: int, left_scale: int, right: int, right_scale: int) -> int:
    """-1, 0 or 1 as the left number is less than, equal to or greater than the right one; any int64 and scale."""
    if left_scale == right_scale:
        return int(left > right) - int(left < right)
    if left_scale < right_scale:
        return _compare_scaled(left, right_scale - left_scale, right)
    return -_compare_scaled(right, left_scale - right_scale, left)


def _strip(number: int, scale: int) -> tuple[int, int]:
    """The same number without trailing zero decimals."""
    while scale > 0 and number % 10 == 0:
        number //= 10
        scale -= 1
    return number, scale


def _rescale(number: int, scale: int, wanted: int) -> tuple[int, bool]:
    """The same number at a scale that is not smaller."""
    digits = wanted - scale
    if digits == 0:
        return number, True
    if digits > 18:
        return number, number == 0
    if number > int(_LIMITS[digits]) or number < -int(_LIMITS[digits]):
        return number, False
    return number * int(_POWERS[digits]), True


def _bounded(number: int) -> bool:
    return -_BOUND < number < _BOUND


def _add(left: int, left_scale: int, right: int, right_scale: int) -> tuple[int, int, bool]:
    """The sum at the larger scale."""
    scale = left_scale if left_scale > right_scale else right_scale
    one, one_fits = _rescale(left, left_scale, scale)
    other, other_fits = _rescale(right, right_scale, scale)
    if not (one_fits and other_fits and _bounded(one) and _bounded(other)):
        return 0, 0, False
    return one + other, scale, True


def _multiply(left: int, left_scale: int, right: int, right_scale: int) -> tuple[int, int, bool]:
    """The product; scales add up."""
    if -_SMALL < left < _SMALL and -_SMALL < right < _SMALL:
        return left * right, left_scale + right_scale, True
    if not (_bounded(left) and _bounded(right)):
        return 0, 0, False
    # Column scales are those of the longest number of a batch: most mantissas end in zeros that can go first.
    left, left_scale = _strip(left, left_scale)
    right, right_scale = _strip(right, right_scale)
    one = -left if left < 0 else left
    other = -right if right < 0 else right
    if other != 0 and one > _MAX // other:
        return 0, 0, False
    return left * right, left_scale + right_scale, True


def _divide_whole(numerator: int, denominator: int, mode: int) -> int:
    """The quotient as a whole number: mode 0 half away from zero, 1 floor, 2 ceiling, 3 truncated; bounded operands."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient = numerator // denominator
    rest = numerator - quotient * denominator
    if rest == 0 or mode == 1:
        return quotient
    if mode == 2:
        return quotient + 1
    if mode == 3:
        return quotient + 1 if numerator < 0 else quotient
    if rest > denominator - rest or (rest == denominator - rest and numerator > 0):
        return quotient + 1
    return quotient


def _round(number: int, scale: int, places: int, mode: int) -> tuple[int, int, bool]:
    """The number at so many places (which may be negative), by a mode of `_divide_whole`."""
    if scale <= places:
        return number, scale, True
    digits = scale - places
    if digits > 18 or not _bounded(number):
        return 0, 0, False
    quotient = _divide_whole(number, int(_POWERS[digits]), mode)
    if places >= 0:
        return quotient, places, True
    whole, fits = _rescale(quotient, 0, -places)
    return whole, 0, fits


def _divide_round(
    left: int, left_scale: int, right: int, right_scale: int, places: int, mode: int
) -> tuple[int, int, bool]:
    """left / right at so many places, by a mode of `_divide_whole`; a zero divisor does not fit.

    Decimal division is rounded to 34 digits before it is rounded again (§5.1). With numerator and denominator below
    2**62 a quotient that is not exactly on a boundary is further from it than half a unit of the 34th digit, so one
    rounding gives the same.
    """
    if right == 0:
        return 0, 0, False
    left, left_scale = _strip(left, left_scale)
    right, right_scale = _strip(right, right_scale)
    shift = right_scale - left_scale + places
    if shift >= 0:
        numerator, fits = _rescale(left, 0, shift)
        denominator = right
    else:
        numerator = left
        denominator, fits = _rescale(right, 0, -shift)
    if not (fits and _bounded(numerator) and _bounded(denominator)):
        return 0, 0, False
    quotient = _divide_whole(numerator, denominator, mode)
    if places >= 0:
        return quotient, places, True
    whole, fits = _rescale(quotient, 0, -places)
    return whole, 0, fits


def _whole(number: int, scale: int) -> tuple[int, bool]:
    """The whole number that this is, and whether it is one."""
    number, scale = _strip(number, scale)
    return number, scale == 0


def _counter_is_elapsed(reset_at: int, reset_after: int, now: int) -> bool:
    """Whether a counter with a window reads as 0 (§13.2); the smallest int64 stands for "no window"."""
    return reset_after >= 0 and now - reset_at >= reset_after


def _civil(microseconds: int) -> tuple[int, int, int]:
    """Year, month (1-12), day (1-31) of an instant in UTC, by the proleptic Gregorian calendar."""
    days = microseconds // _DAY + 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day


def _time_part(microseconds: int, part: int) -> int:
    """A part of an instant in UTC as CEL counts it: 0 year, 1 month from 0, 2 day of month from 0, 3 from 1,
    4 day of week from Sunday = 0, 5 day of year from 0, 6 hours, 7 minutes, 8 seconds, 9 milliseconds.
    """
    if part >= 6:
        rest = microseconds % _DAY
        if part == 6:
            return rest // 3_600_000_000
        if part == 7:
            return rest // 60_000_000 % 60
        if part == 8:
            return rest // 1_000_000 % 60
        return rest // 1_000 % 1_000
    if part == 4:
        return (microseconds // _DAY + 4) % 7
    year, month, day = _civil(microseconds)
    if part == 0:
        return year
    if part == 1:
        return month - 1
    if part == 2:
        return day - 1
    if part == 3:
        return day
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    before = 31 * (month - 1)
    if month > 2:
        before -= (4 * month + 23) // 10
        if leap:
            before += 1
    return before + day - 1
