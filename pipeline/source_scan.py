"""Byte scanners: JSON objects, numbers and timestamps read from Arrow buffers without one Python object per row.

This is the fast column reader of JSON text. Libraries bend number text (`5.10` becomes `5.1`, long fractions become
doubles) and hide duplicate members, so the scan is ours: one pass over the bytes, about 300 MB/s a core. It only says
where the wanted members stand and of which kind they are, and it never decides about a row: whatever is not plain
(syntax errors, duplicate members, escapes in wanted texts, exponents, depth, very long numbers) makes the row DOUBTFUL,
and the exact parser of `intake_json` reads that row alone. A row is PLAIN only where both give the same record.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from earnbook.ledger.schema import Int8s, Int32s, Int64s, Kind, UInt8s, UInt64s

PLAIN, DOUBTFUL, BLANK = 0, 1, 2
"""What a scanned row is; BLANK holds white space only."""

FRAMES_MAX = 64
"""Open objects and lists of a plain row."""

NAMES_MAX = 512
"""Member names in the open objects of a plain row, at any moment."""

DIGITS_MAX = 34
"""Digits of a plain number (§5.2)."""

UNKNOWN_NAMES_MAX = 64
"""Different unknown members of one scan; a row with one more is not plain."""

_ABSENT, _NULL, _BOOL, _NUMBER, _TEXT = (
    int(Kind.ABSENT),
    int(Kind.NULL),
    int(Kind.BOOL),
    int(Kind.NUMBER),
    int(Kind.TEXT),
)
_LIST, _MAP = int(Kind.LIST), int(Kind.MAP)

Bools = npt.NDArray[np.bool_]


class Trie(NamedTuple):
    """The wanted member paths: children of node n are child_start[n] … child_start[n + 1]; slot -1: only a way."""

    child_start: Int32s
    child_node: Int32s
    child_slot: Int32s
    name_start: Int32s
    names: UInt8s


class Spans(NamedTuple):
    """Where each wanted member stands, [slot, row]: kind, first byte and end (quotes of a text left out)."""

    kind: Int8s
    start: Int64s
    end: Int64s


class Unknown(NamedTuple):
    """Members of the root that the trie does not know: names of those that are not null, and per row a bit for each.

    `nulls` says which rows have unknown members that are null.
    """

    start: Int64s
    end: Int64s
    used: Int64s  # [1]; -1: unknown members are passed over
    bits: UInt64s  # [row]
    nulls: Bools  # [row]


class Scan(NamedTuple):
    """The result of `scan_objects`."""

    status: Int8s
    spans: Spans
    unknown: Unknown


def build_trie(paths: tuple[tuple[str, ...], ...]) -> Trie:
    """A trie whose slot i is paths[i]."""
    nodes: list[dict[str, tuple[int, int]]] = [{}]
    for slot, path in enumerate(paths):
        node = 0
        for depth, name in enumerate(path):
            child, known_slot = nodes[node].get(name, (0, -1))
            if child == 0:
                child = len(nodes)
                nodes.append({})
            nodes[node][name] = (child, slot if depth == len(path) - 1 else known_slot)
            node = child
    names = [name.encode() for node_children in nodes for name in node_children]
    pairs = [pair for node_children in nodes for pair in node_children.values()]
    return Trie(
        np.cumsum([0, *map(len, nodes)], dtype=np.int32),
        np.array([child for child, _ in pairs], np.int32),
        np.array([slot for _, slot in pairs], np.int32),
        np.cumsum([0, *map(len, names)], dtype=np.int32),
        np.frombuffer(b"".join(names) or b"\0", np.uint8),
    )


def scan_objects(
    buffer: UInt8s, starts: Int64s, ends: Int64s, trie: Trie, slot_count: int, *, notes_unknown: bool = True
) -> Scan:
    """Scan one JSON object per row, `buffer[starts[i]:ends[i]]`, for the members the trie wants.

    Without `notes_unknown` other members are passed over, and nothing is said of them.
    """
    rows = len(starts)
    spans = Spans(
        np.zeros((slot_count, rows), np.int8),
        np.zeros((slot_count, rows), np.int64),
        np.zeros((slot_count, rows), np.int64),
    )
    unknown = Unknown(
        np.zeros(UNKNOWN_NAMES_MAX, np.int64),
        np.zeros(UNKNOWN_NAMES_MAX, np.int64),
        np.full(1, 0 if notes_unknown else -1, np.int64),
        np.zeros(rows, np.uint64),
        np.zeros(rows, np.bool_),
    )
    status = np.zeros(rows, np.int8)
    _scan_rows(buffer, starts, ends, trie, spans, unknown, status)
    return Scan(status, spans, unknown)


def line_bounds(buffer: UInt8s) -> tuple[Int64s, Int64s]:
    """First byte and end of every line; the last one may lack its line break."""
    breaks = np.flatnonzero(buffer == 10).astype(np.int64)
    ends = breaks if len(buffer) == 0 or buffer[-1] == 10 else np.append(breaks, len(buffer))
    starts = np.empty_like(ends)
    if len(ends):
        starts[0] = 0
        starts[1:] = ends[:-1] + 1
    return starts, ends


def plain_numbers(buffer: UInt8s, starts: Int64s, ends: Int64s) -> Bools:
    """Which spans are a plain JSON number: no exponent, at most DIGITS_MAX digits."""
    plain = np.zeros(len(starts), np.bool_)
    _plain_numbers(buffer, starts, ends, plain)
    return plain


@numba.njit(cache=True, nogil=True)
def _skip_space(buffer: UInt8s, at: int, end: int) -> int:
    while at < end and (buffer[at] == 32 or buffer[at] == 10 or buffer[at] == 13 or buffer[at] == 9):
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _skip_text(buffer: UInt8s, at: int, end: int) -> tuple[int, bool]:
    """From behind the opening quote to the closing one (-1: not plain), and whether there are escapes."""
    escaped = False
    while at < end:
        c = buffer[at]
        if c == 34:
            return at, escaped
        if c < 32:
            return -1, escaped
        if c == 92:
            escaped = True
            at += 1
            if at >= end:
                return -1, escaped
            c = buffer[at]
            if c == 117:  # \u: four hex digits; surrogates are for the exact parser
                if at + 4 >= end or ((buffer[at + 1] | 32) == 100 and buffer[at + 2] >= 56):
                    return -1, escaped
                for k in range(at + 1, at + 5):
                    h = buffer[k]
                    if not (48 <= h <= 57 or 97 <= (h | 32) <= 102):
                        return -1, escaped
                at += 4
            elif not (c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116):
                return -1, escaped
        at += 1
    return -1, escaped


@numba.njit(cache=True, nogil=True)
def _skip_number(buffer: UInt8s, at: int, end: int) -> int:
    """The end of a plain number: no exponent, at most DIGITS_MAX digits; -1 otherwise."""
    if buffer[at] == 45:
        at += 1
    first = at
    while at < end and 48 <= buffer[at] <= 57:
        at += 1
    digits = at - first
    if digits == 0 or (digits > 1 and buffer[first] == 48):
        return -1
    if at < end and buffer[at] == 46:
        at += 1
        fraction = at
        while at < end and 48 <= buffer[at] <= 57:
            at += 1
        if at == fraction:
            return -1
        digits += at - fraction
    if digits > DIGITS_MAX or (at < end and (buffer[at] | 32) == 101):
        return -1
    return at


@numba.njit(cache=True, nogil=True)
def _plain_numbers(buffer: UInt8s, starts: Int64s, ends: Int64s, plain: Bools) -> None:
    for row in range(len(starts)):
        if starts[row] < ends[row]:
            plain[row] = _skip_number(buffer, starts[row], ends[row]) == ends[row]


@numba.njit(cache=True, nogil=True)
def _is_word(buffer: UInt8s, at: int, end: int, word: bytes) -> bool:
    if at + len(word) > end:
        return False
    for k in range(len(word)):  # noqa: SIM110 - a loop that numba compiles
        if buffer[at + k] != word[k]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _find_child(buffer: UInt8s, start: int, end: int, node: int, trie: Trie) -> int:
    if node < 0:
        return -1
    length = end - start
    for child in range(trie.child_start[node], trie.child_start[node + 1]):
        name = trie.name_start[child]
        if trie.name_start[child + 1] - name != length:
            continue
        k = 0
        while k < length and trie.names[name + k] == buffer[start + k]:
            k += 1
        if k == length:
            return child
    return -1


@numba.njit(cache=True, nogil=True)
def _note_unknown(buffer: UInt8s, start: int, end: int, unknown: Unknown, row: int) -> bool:
    """Set the row's bit of an unknown name; False where there are too many names."""
    for n in range(unknown.used[0]):
        if unknown.end[n] - unknown.start[n] != end - start:
            continue
        k = 0
        while k < end - start and buffer[unknown.start[n] + k] == buffer[start + k]:
            k += 1
        if k == end - start:
            unknown.bits[row] |= np.uint64(1) << np.uint64(n)
            return True
    n = unknown.used[0]
    if n == UNKNOWN_NAMES_MAX:
        return False
    unknown.start[n], unknown.end[n] = start, end
    unknown.used[0] += 1
    unknown.bits[row] |= np.uint64(1) << np.uint64(n)
    return True


@numba.njit(cache=True, nogil=True)
def _scan_rows(
    buffer: UInt8s, starts: Int64s, ends: Int64s, trie: Trie, spans: Spans, unknown: Unknown, status: Int8s
) -> None:
    frame_list = np.zeros(FRAMES_MAX + 1, np.bool_)
    frame_slot = np.zeros(FRAMES_MAX + 1, np.int64)
    frame_node = np.zeros(FRAMES_MAX + 1, np.int64)
    frame_names = np.zeros(FRAMES_MAX + 1, np.int64)
    names = np.zeros(NAMES_MAX, np.uint64)
    for row in range(len(starts)):
        status[row] = _scan_row(
            buffer, starts[row], ends[row], trie, spans, unknown, row,
            frame_list, frame_slot, frame_node, frame_names, names,
        )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _scan_row(
    buffer: UInt8s,
    at: int,
    end: int,
    trie: Trie,
    spans: Spans,
    unknown: Unknown,
    row: int,
    frame_list: Bools,
    frame_slot: Int64s,
    frame_node: Int64s,
    frame_names: Int64s,
    names: UInt64s,
) -> int:
    """Status of one row; fills the row's spans and its bits of unknown root members."""
    want_first, want_name, want_value, want_after = 0, 1, 2, 3
    at = _skip_space(buffer, at, end)
    if at >= end:
        return BLANK
    if buffer[at] != 123:
        return DOUBTFUL
    at += 1
    depth, name_count = 1, 0
    frame_list[1], frame_slot[1], frame_node[1], frame_names[1] = False, -1, 0, 0
    state, slot, node = want_first, -1, -1
    unknown_start, unknown_end = -1, -1
    while True:
        at = _skip_space(buffer, at, end)
        if at >= end:
            return DOUBTFUL
        c = buffer[at]
        closing = False
        if state == want_first and ((c == 125 and not frame_list[depth]) or (c == 93 and frame_list[depth])):
            closing = True
        elif state == want_name or (state == want_first and not frame_list[depth]):
            if c != 34:
                return DOUBTFUL
            start = at + 1
            at, escaped = _skip_text(buffer, start, end)
            if at < 0 or escaped or name_count >= NAMES_MAX:
                return DOUBTFUL
            name_hash = np.uint64(14695981039346656037)
            for k in range(start, at):
                name_hash = (name_hash ^ np.uint64(buffer[k])) * np.uint64(1099511628211)
            for k in range(frame_names[depth], name_count):
                if names[k] == name_hash:
                    return DOUBTFUL
            names[name_count] = name_hash
            name_count += 1
            slot, node = -1, -1
            child = _find_child(buffer, start, at, frame_node[depth], trie)
            if child >= 0:
                slot, node = trie.child_slot[child], trie.child_node[child]
            elif depth == 1 and unknown.used[0] >= 0:
                unknown_start, unknown_end = start, at
            at = _skip_space(buffer, at + 1, end)
            if at >= end or buffer[at] != 58:
                return DOUBTFUL
            at += 1
            state = want_value
        elif state in (want_value, want_first):
            kind, start, stop, after = 0, at, at, at
            if c == 123 or c == 91:
                depth += 1
                if depth > FRAMES_MAX:
                    return DOUBTFUL
                frame_list[depth] = c == 91
                frame_slot[depth] = slot
                frame_node[depth] = node if c == 123 else -1
                frame_names[depth] = name_count
                kind, after, state = _LIST if c == 91 else _MAP, at + 1, want_first
            elif c == 34:
                start = at + 1
                stop, escaped = _skip_text(buffer, start, end)
                if stop < 0 or (escaped and slot >= 0):
                    return DOUBTFUL
                kind, after, state = _TEXT, stop + 1, want_after
            elif c == 45 or 48 <= c <= 57:
                stop = _skip_number(buffer, at, end)
                if stop < 0:
                    return DOUBTFUL
                kind, after, state = _NUMBER, stop, want_after
            elif _is_word(buffer, at, end, b"true"):
                kind, stop, after, state = _BOOL, at + 4, at + 4, want_after
            elif _is_word(buffer, at, end, b"false"):
                kind, stop, after, state = _BOOL, at + 5, at + 5, want_after
            elif _is_word(buffer, at, end, b"null"):
                kind, stop, after, state = _NULL, at + 4, at + 4, want_after
            else:
                return DOUBTFUL
            if slot >= 0:
                spans.kind[slot, row], spans.start[slot, row], spans.end[slot, row] = kind, start, stop
            if unknown_start >= 0:
                if kind == _NULL:
                    unknown.nulls[row] = True
                elif not _note_unknown(buffer, unknown_start, unknown_end, unknown, row):
                    return DOUBTFUL
                unknown_start = -1
            at, slot, node = after, -1, -1
        elif c == 44:
            state = want_value if frame_list[depth] else want_name
            at += 1
        elif (c == 125 and not frame_list[depth]) or (c == 93 and frame_list[depth]):
            closing = True
        else:
            return DOUBTFUL
        if closing:
            at += 1
            if frame_slot[depth] >= 0:
                spans.end[frame_slot[depth], row] = at
            name_count = frame_names[depth]
            depth -= 1
            state = want_after
            if depth == 0:
                return PLAIN if _skip_space(buffer, at, end) == end else DOUBTFUL
