"""Spans of bytes to values: numbers to cells, RFC 3339 texts to microseconds, and spans to Arrow texts.

Loops over bytes that numba compiles; they decide nothing about a row. A number or time that is not plainly good is
reported as such, and the exact code of `intake` speaks about its row.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from earnbook.ledger.schema import COLUMN_SCALE_MAX, TIME_MAX, Int8s, Int64s, Kind, UInt8s

_NUMBER, _WIDE = int(Kind.NUMBER), int(Kind.WIDE)
_INT64_MAX = np.uint64(np.iinfo(np.int64).max)

Bools = npt.NDArray[np.bool_]


def number_cells(buffer: UInt8s, kind: Int8s, start: Int64s, end: Int64s) -> tuple[Int8s, Int64s, Int8s]:
    """(kind, mantissa, scale) of the JSON numbers at the spans of kind NUMBER; WIDE where they do not fit a cell.

    Scale is the smallest that holds the value; other kinds come back with 0 and 0.
    """
    kinds, values, scales = kind.copy(), np.zeros(len(kind), np.int64), np.zeros(len(kind), np.int8)
    _number_cells(buffer, kinds, start, end, values, scales)
    return kinds, values, scales


def timestamps(buffer: UInt8s, start: Int64s, end: Int64s, *, assume_utc: bool) -> tuple[Int64s, Bools]:
    """Microseconds since 1970 of RFC 3339 texts, and which of them are plainly well-formed and in range (§4.6)."""
    values, good = np.zeros(len(start), np.int64), np.zeros(len(start), np.bool_)
    _timestamps(buffer, start, end, assume_utc, values, good)
    return values, good


def gather(buffer: UInt8s, start: Int64s, end: Int64s, present: Bools) -> tuple[Int64s, UInt8s]:
    """Arrow offsets and bytes of the spans; rows that are not present become empty."""
    lengths = np.where(present, end - start, 0)
    offsets = np.zeros(len(start) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _gather(buffer, start, offsets, data)
    return offsets, data


@numba.njit(cache=True, nogil=True)
def _number_cells(buffer: UInt8s, kinds: Int8s, starts: Int64s, ends: Int64s, values: Int64s, scales: Int8s) -> None:
    for row in range(len(kinds)):
        if kinds[row] != _NUMBER:
            continue
        at, end = starts[row], ends[row]
        negative = buffer[at] == 45
        if negative:
            at += 1
        last, scale, dotted, exponent = at, 0, False, 0
        # Trailing zeros of the fraction do not count: find where the significant digits end.
        stop = at
        while stop < end and (buffer[stop] | 32) != 101:
            if buffer[stop] == 46:
                dotted = True
                last = stop
            elif not dotted or buffer[stop] != 48:
                last = stop + 1
            stop += 1
        if stop < end:
            exponent = _exponent(buffer, stop + 1, end)
        mantissa, fits, dotted = np.uint64(0), True, False
        for k in range(at, last):
            if buffer[k] == 46:
                dotted = True
                continue
            digit = np.uint64(buffer[k] - 48)
            if mantissa > (_INT64_MAX - digit) // np.uint64(10):
                fits = False
                break
            mantissa = mantissa * np.uint64(10) + digit
            if dotted:
                scale += 1
        scale -= exponent
        while fits and mantissa != 0 and scale < 0:
            fits = bool(mantissa <= _INT64_MAX // np.uint64(10))
            mantissa *= np.uint64(10)
            scale += 1
        while mantissa != 0 and scale > 0 and mantissa % np.uint64(10) == 0:
            mantissa //= np.uint64(10)
            scale -= 1
        if fits and mantissa == 0:
            scale = 0
        if not fits or scale > COLUMN_SCALE_MAX:
            kinds[row] = _WIDE
        else:
            values[row] = -np.int64(mantissa) if negative else np.int64(mantissa)
            scales[row] = scale


@numba.njit(cache=True, nogil=True)
def _exponent(buffer: UInt8s, at: int, end: int) -> int:
    sign = 1
    if buffer[at] == 43 or buffer[at] == 45:
        sign = -1 if buffer[at] == 45 else 1
        at += 1
    value = 0
    for k in range(at, end):
        value = min(value * 10 + int(buffer[k]) - 48, 100_000)
    return sign * value


@numba.njit(cache=True, nogil=True)
def _digits(buffer: UInt8s, at: int, count: int) -> int:
    """The number of `count` digits, -1 where one is not a digit."""
    value = 0
    for k in range(at, at + count):
        if not 48 <= buffer[k] <= 57:
            return -1
        value = value * 10 + int(buffer[k]) - 48
    return value


@numba.njit(cache=True, nogil=True)
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar."""
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


@numba.njit(cache=True, nogil=True)
def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@numba.njit(cache=True, nogil=True)
def _timestamp(buffer: UInt8s, at: int, end: int, assume_utc: bool) -> int:
    """Microseconds of one RFC 3339 text, -1 where it is not plainly good."""
    if end - at < 19:
        return -1
    year, month, day = _digits(buffer, at, 4), _digits(buffer, at + 5, 2), _digits(buffer, at + 8, 2)
    hour, minute, second = _digits(buffer, at + 11, 2), _digits(buffer, at + 14, 2), _digits(buffer, at + 17, 2)
    if buffer[at + 4] != 45 or buffer[at + 7] != 45 or (buffer[at + 10] | 32) != 116:
        return -1
    if buffer[at + 13] != 58 or buffer[at + 16] != 58:
        return -1
    if year < 1 or not 1 <= month <= 12 or day < 1 or day > _month_days(year, month):
        return -1
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return -1
    at += 19
    micros, weight = 0, 100_000
    if at < end and buffer[at] == 46:
        at += 1
        first = at
        while at < end and 48 <= buffer[at] <= 57:
            micros += (int(buffer[at]) - 48) * weight
            weight //= 10
            at += 1
        if at == first:
            return -1
    offset = 0
    if at == end:
        if not assume_utc:
            return -1
    elif (buffer[at] | 32) == 122:
        if at + 1 != end:
            return -1
    else:
        if at + 6 != end or not (buffer[at] == 43 or buffer[at] == 45) or buffer[at + 3] != 58:
            return -1
        hours, minutes = _digits(buffer, at + 1, 2), _digits(buffer, at + 4, 2)
        if not (0 <= hours <= 23 and 0 <= minutes <= 59):
            return -1
        offset = (hours * 60 + minutes) * (-1 if buffer[at] == 45 else 1)
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset * 60
    value = seconds * 1_000_000 + micros
    return value if 0 <= value <= TIME_MAX else -1


@numba.njit(cache=True, nogil=True)
def _timestamps(buffer: UInt8s, starts: Int64s, ends: Int64s, assume_utc: bool, values: Int64s, good: Bools) -> None:
    for row in range(len(starts)):
        value = _timestamp(buffer, starts[row], ends[row], assume_utc)
        if value >= 0:
            values[row], good[row] = value, True


@numba.njit(cache=True, nogil=True)
def _gather(buffer: UInt8s, starts: Int64s, offsets: Int64s, data: UInt8s) -> None:
    for row in range(len(starts)):
        start, at = starts[row], offsets[row]
        for k in range(offsets[row + 1] - at):
            data[at + k] = buffer[start + k]
