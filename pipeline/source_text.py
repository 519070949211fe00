"""Columns of texts as Arrow buffers, and JSON objects and lists built from them column by column.

A `Texts` column is (offsets, bytes, present). Building writes each member of all rows before the next member, so that
the loops run over columns; the bytes are the same as `intake_json.write_json` makes of one row.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from earnbook.ledger.schema import Int64s, UInt8s
from earnbook.pipeline.source_bytes import Bools

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_INT32_MAX = np.iinfo(np.int32).max


class Texts(NamedTuple):
    """A column of texts: row i is data[offsets[i]:offsets[i + 1]] where present[i]."""

    offsets: Int64s
    data: UInt8s
    present: Bools


class Member(NamedTuple):
    """One member of an object column: its name, its values, and whether they are texts to be quoted."""

    name: str
    values: Texts
    is_quoted: bool


def from_arrow(array: pa.Array) -> Texts:
    """The buffers of a string or binary array, without copying the bytes."""
    if pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type):
        width: type[np.generic] = np.int64
    else:
        width = np.int32
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        return Texts(np.zeros(len(array) + 1, np.int64), np.zeros(1, np.uint8), np.zeros(len(array), np.bool_))
    offsets = np.frombuffer(offset_buffer, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    data = np.zeros(1, np.uint8)
    if data_buffer is not None and data_buffer.size:
        data = np.frombuffer(data_buffer, np.uint8)
    return Texts(offsets, data, present_rows(array))


def to_arrow(texts: Texts) -> pa.Array:
    """A string array of the texts; the bytes must be UTF-8 in the rows that are present."""
    present = None if texts.present.all() else pa.py_buffer(np.packbits(texts.present, bitorder="little"))
    large = bool(texts.offsets[-1] > _INT32_MAX)
    offsets = texts.offsets if large else texts.offsets.astype(np.int32)
    kind = pa.large_string() if large else pa.string()
    buffers = [present, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(texts.data)]
    return pa.Array.from_buffers(kind, len(texts.present), buffers)


def present_rows(array: pa.Array) -> Bools:
    """Which rows of an array are not null."""
    if array.null_count == 0:
        return np.ones(len(array), np.bool_)
    rows: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    return rows


def utf8_rows(array: pa.Array) -> Bools:
    """Which rows of a string or binary array are UTF-8 (a null is): usually all, which one look at the bytes shows."""
    offsets, data, present = from_arrow(array)
    first, last = int(offsets[0]), int(offsets[-1])
    starts = data[np.minimum(offsets[:-1], len(data) - 1)]
    cuts_character = (starts & 0xC0 == 0x80) & (np.diff(offsets) > 0)
    if is_utf8(data[first:last]) and not cuts_character.any():
        return np.ones(len(array), np.bool_)
    rows = (is_utf8(data[offsets[row] : offsets[row + 1]]) for row in range(len(array)))
    return ~present | np.fromiter(rows, np.bool_, len(array))


def is_utf8(data: UInt8s) -> bool:
    """Whether bytes are UTF-8."""
    if len(data) == 0 or int(data.max()) < 128:
        return True
    try:
        str(data.data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def build_objects(members: list[Member], present: Bools) -> Texts:
    """JSON objects with the members that are present, in order; rows that are not `present` are absent."""
    rows = len(present)
    lengths = np.full(rows, 2, np.int64)
    started = np.zeros(rows, np.bool_)
    names = [np.frombuffer(f"{_quoted(member.name)}:".encode(), np.uint8) for member in members]
    for name, member in zip(names, members, strict=True):
        _add_lengths(lengths, started, present, len(name), *member.values, member.is_quoted)
    offsets, data = _room(lengths, present)
    cursor = offsets[:-1].copy()
    started[:] = False
    _write_byte(data, cursor, present, ord("{"))
    for name, member in zip(names, members, strict=True):
        _write_member(data, cursor, started, present, name, *member.values, member.is_quoted)
    _write_byte(data, cursor, present, ord("}"))
    return Texts(offsets, data, present)


def build_lists(list_offsets: Int64s, present: Bools, values: Texts, *, is_quoted: bool) -> Texts:
    """JSON lists: row i holds values list_offsets[i] … list_offsets[i + 1]; absent values become null."""
    lengths = np.zeros(len(present), np.int64)
    _list_lengths(lengths, list_offsets, present, *values, is_quoted)
    offsets, data = _room(lengths, present)
    _write_lists(data, offsets, list_offsets, present, *values, is_quoted)
    return Texts(offsets, data, present)


def _quoted(name: str) -> str:
    escaped = build_lists(np.array([0, 1]), np.ones(1, np.bool_), from_arrow(pa.array([name])), is_quoted=True)
    return escaped.data.tobytes().decode()[1:-1]


def _room(lengths: Int64s, present: Bools) -> tuple[Int64s, UInt8s]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(np.where(present, lengths, 0), out=offsets[1:])
    return offsets, np.empty(int(offsets[-1]), np.uint8)


@numba.njit(cache=True, nogil=True)
def _value_length(start: int, end: int, data: UInt8s, quoted: bool) -> int:
    if not quoted:
        return end - start
    length = end - start + 2
    for k in range(start, end):
        c = data[k]
        if c == 34 or c == 92 or c == 8 or c == 9 or c == 10 or c == 12 or c == 13:
            length += 1
        elif c < 32:
            length += 5
    return length


@numba.njit(cache=True, nogil=True)
def _write_value(out: UInt8s, at: int, start: int, end: int, data: UInt8s, quoted: bool) -> int:
    if not quoted:
        for k in range(start, end):
            out[at] = data[k]
            at += 1
        return at
    out[at] = 34
    at += 1
    for k in range(start, end):
        c = data[k]
        if c >= 32 and c != 34 and c != 92:
            out[at] = c
            at += 1
            continue
        out[at] = 92
        short = c
        if c == 8:
            short = 98
        elif c == 9:
            short = 116
        elif c == 10:
            short = 110
        elif c == 12:
            short = 102
        elif c == 13:
            short = 114
        if short >= 32:
            out[at + 1] = short
            at += 2
            continue
        out[at + 1], out[at + 2], out[at + 3] = 117, 48, 48
        out[at + 4], out[at + 5] = _HEX[c >> 4], _HEX[c & 15]
        at += 6
    out[at] = 34
    return at + 1


@numba.njit(cache=True, nogil=True)
def _add_lengths(
    lengths: Int64s, started: Bools, rows: Bools, name: int, offsets: Int64s, data: UInt8s, present: Bools, quoted: bool
) -> None:
    for row in range(len(rows)):
        if rows[row] and present[row]:
            lengths[row] += name + _value_length(offsets[row], offsets[row + 1], data, quoted)
            if started[row]:
                lengths[row] += 1
            started[row] = True


@numba.njit(cache=True, nogil=True)
def _write_byte(out: UInt8s, cursor: Int64s, rows: Bools, byte: int) -> None:
    for row in range(len(rows)):
        if rows[row]:
            out[cursor[row]] = byte
            cursor[row] += 1


@numba.njit(cache=True, nogil=True)
def _write_member(
    out: UInt8s,
    cursor: Int64s,
    started: Bools,
    rows: Bools,
    name: UInt8s,
    offsets: Int64s,
    data: UInt8s,
    present: Bools,
    quoted: bool,
) -> None:
    for row in range(len(rows)):
        if not (rows[row] and present[row]):
            continue
        at = cursor[row]
        if started[row]:
            out[at] = 44
            at += 1
        started[row] = True
        for k in range(len(name)):
            out[at + k] = name[k]
        cursor[row] = _write_value(out, at + len(name), offsets[row], offsets[row + 1], data, quoted)


@numba.njit(cache=True, nogil=True)
def _list_lengths(
    lengths: Int64s, lists: Int64s, rows: Bools, offsets: Int64s, data: UInt8s, present: Bools, quoted: bool
) -> None:
    for row in range(len(rows)):
        if not rows[row]:
            continue
        count = lists[row + 1] - lists[row]
        length = 2 + max(count - 1, 0)
        for item in range(lists[row], lists[row + 1]):
            length += _value_length(offsets[item], offsets[item + 1], data, quoted) if present[item] else 4
        lengths[row] = length


@numba.njit(cache=True, nogil=True)
def _write_lists(
    out: UInt8s,
    starts: Int64s,
    lists: Int64s,
    rows: Bools,
    offsets: Int64s,
    data: UInt8s,
    present: Bools,
    quoted: bool,
) -> None:
    for row in range(len(rows)):
        if not rows[row]:
            continue
        at = starts[row]
        out[at] = 91
        at += 1
        for item in range(lists[row], lists[row + 1]):
            if item > lists[row]:
                out[at] = 44
                at += 1
            if present[item]:
                at = _write_value(out, at, offsets[item], offsets[item + 1], data, quoted)
            else:
                out[at], out[at + 1], out[at + 2], out[at + 3] = 110, 117, 108, 108
                at += 4
        out[at] = 93
