"""Amounts as texts: plain ones to canonical form (§3.4), and canonical ones to minor units (§5.3).

Loops over digits that numba compiles, in 64-bit integers with checks; no amount is ever a binary float.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from earnbook.ledger.amounts import MINOR_MAX
from earnbook.ledger.schema import Int64s, Outcome, UInt8s
from earnbook.pipeline.operation_fields import ALL
from earnbook.pipeline.source_bytes import Bools, gather
from earnbook.pipeline.source_scan import DIGITS_MAX
from earnbook.pipeline.source_text import Texts, from_arrow

EVERYTHING = -1
"""The amount of an operation on all that matches."""

_EXCEEDS_SCALE, _OVERFLOW = int(Outcome.AMOUNT_EXCEEDS_SCALE), int(Outcome.AMOUNT_OVERFLOW)
_NOT_POSITIVE = int(Outcome.AMOUNT_NOT_POSITIVE)
_MINOR_MAX = np.uint64(MINOR_MAX)
_FIRST_OF_ALL = ord(ALL[0])


def plain_amounts(texts: Texts) -> tuple[Texts, Bools]:
    """Plain decimals in canonical form, and which texts are such; absent ones are not."""
    rows = len(texts.present)
    starts, ends, plain = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
    _trim_amounts(texts.data, texts.offsets, texts.present, starts, ends, plain)
    return Texts(*gather(texts.data, starts, ends, plain), plain), plain


@numba.njit(cache=True, nogil=True)
def _trim_amounts(data: UInt8s, offsets: Int64s, present: Bools, starts: Int64s, ends: Int64s, plain: Bools) -> None:
    for row in range(len(starts)):
        if present[row]:
            starts[row], ends[row] = _trim_amount(data, offsets[row], offsets[row + 1])
            plain[row] = ends[row] > starts[row]


@numba.njit(cache=True, nogil=True)
def _trim_amount(data: UInt8s, start: int, end: int) -> tuple[int, int]:
    """The part of a plain decimal that is its canonical form; nothing where there is no such part."""
    if start < end and data[start] == 43:
        start += 1
    first = start + 1 if start < end and data[start] == 45 else start
    point, digits = end, 0
    for k in range(first, end):
        if data[k] == 46 and point == end and k > first:
            point = k
        elif 48 <= data[k] <= 57:
            digits += 1
        else:
            return 0, 0
    if digits == 0 or digits > DIGITS_MAX:
        return 0, 0
    while end > point + 1 and data[end - 1] == 48:
        end -= 1
    if end == point + 1:
        end = point
    leading = first
    while leading + 1 < min(point, end) and data[leading] == 48:
        leading += 1
    if first == start:
        return leading, end
    # A sign in front of zeros, or of nothing else, is for the exact form.
    is_zero = end == leading + 1 and data[leading] == 48
    return (0, 0) if is_zero or leading > first else (start, end)


def minor_units(texts: pa.Array, scales: Int64s) -> tuple[Int64s, Int64s]:
    """Canonical amounts as (minor units, value code), as `amounts.classify_amount` judges them.

    EVERYTHING stands for an amount that is absent or the text ALL.
    """
    columns = from_arrow(texts)
    amounts, codes = np.full(len(texts), EVERYTHING, np.int64), np.zeros(len(texts), np.int64)
    _judge_amounts(columns.data, columns.offsets, columns.present, scales, amounts, codes)
    return amounts, codes


@numba.njit(cache=True, nogil=True)
def _judge_amounts(
    data: UInt8s, offsets: Int64s, present: Bools, scales: Int64s, amounts: Int64s, codes: Int64s
) -> None:
    for row in range(len(amounts)):
        start, end = offsets[row], offsets[row + 1]
        if not present[row] or data[start] == _FIRST_OF_ALL:
            continue
        amounts[row] = 0
        if data[start] == 45:
            codes[row] = _NOT_POSITIVE
            continue
        # A canonical number has no exponent and no zeros at the end of its fraction.
        decimals, dotted, fits, minor = 0, False, True, np.uint64(0)
        for k in range(start, end):
            if data[k] == 46:
                dotted = True
                continue
            if dotted:
                decimals += 1
            minor, fits = _append_digit(minor, fits, np.uint64(data[k] - 48))
        if decimals > scales[row]:
            codes[row] = _EXCEEDS_SCALE
            continue
        for _ in range(scales[row] - decimals):
            minor, fits = _append_digit(minor, fits, np.uint64(0))
        if fits:
            amounts[row] = np.int64(minor)
        else:
            codes[row] = _OVERFLOW


@numba.njit(cache=True, nogil=True)
def _append_digit(value: np.uint64, fits: bool, digit: np.uint64) -> tuple[np.uint64, bool]:
    """Ten times the value plus a digit, while that is an amount."""
    if not fits or value > (_MINOR_MAX - digit) // np.uint64(10):
        return value, False
    return value * np.uint64(10) + digit, True
