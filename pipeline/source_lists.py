"""Lists of objects in JSON texts, found without one Python object per row.

Each object is left to `source_scan`, which says whether it is JSON at all; here only brackets, quotes and commas count.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from earnbook.ledger.schema import Int64s, UInt8s
from earnbook.pipeline.source_bytes import Bools
from earnbook.pipeline.source_text import Texts

_OBJECT_BYTES_MIN = 2


class Lists(NamedTuple):
    """First byte and end of every object, list by list, and how many each list has; -1: no plain list of objects."""

    starts: Int64s
    ends: Int64s
    counts: Int64s


def split_lists(texts: Texts) -> Lists:
    """The objects of JSON lists; a row that is not present has none."""
    counts = np.zeros(len(texts.present), np.int64)
    room = int((np.diff(texts.offsets) // _OBJECT_BYTES_MIN).sum())
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    found = _split_rows(texts.data, texts.offsets, texts.present, counts, starts, ends)
    return Lists(starts[:found].copy(), ends[:found].copy(), counts)


@numba.njit(cache=True, nogil=True)
def _skip_space(data: UInt8s, at: int, end: int) -> int:
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _skip_object(data: UInt8s, at: int, end: int) -> int:
    """The end of the object that begins here, by its brackets; -1 where it has none."""
    depth, is_text = 0, False
    while at < end:
        c = data[at]
        if is_text:
            if c == 92:
                at += 1
            elif c == 34:
                is_text = False
        elif c == 34:
            is_text = True
        elif c == 123:
            depth += 1
        elif c == 125:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return -1


@numba.njit(cache=True, nogil=True)
def _split_row(data: UInt8s, at: int, end: int, found: int, starts: Int64s, ends: Int64s) -> int:
    """How many objects the list has, written from place `found` on; -1 where it is no plain list of objects."""
    at = _skip_space(data, at, end)
    if at >= end or data[at] != 91:
        return -1
    at = _skip_space(data, at + 1, end)
    if at < end and data[at] == 93:
        return 0 if _skip_space(data, at + 1, end) == end else -1
    count = 0
    while at < end and data[at] == 123:
        starts[found + count] = at
        at = _skip_object(data, at, end)
        if at < 0:
            return -1
        ends[found + count] = at
        count += 1
        at = _skip_space(data, at, end)
        if at < end and data[at] == 93:
            return count if _skip_space(data, at + 1, end) == end else -1
        if at >= end or data[at] != 44:
            return -1
        at = _skip_space(data, at + 1, end)
    return -1


@numba.njit(cache=True, nogil=True)
def _split_rows(data: UInt8s, offsets: Int64s, present: Bools, counts: Int64s, starts: Int64s, ends: Int64s) -> int:
    found = 0
    for row in range(len(counts)):
        if present[row]:
            counts[row] = _split_row(data, offsets[row], offsets[row + 1], found, starts, ends)
            found += max(counts[row], 0)
    return found
