"""Texts as integers: a stable 64-bit hash and an append-only pool of distinct texts.

Books hold a text once and everywhere else its *code*, a dense integer from 0 in order of first appearance. The hash is
our own because it is stored in books (keys of records) and so must not change with a library: it is part of the format
and pinned by golden tests. Both walk Arrow buffers in compiled loops; there is no Python object per row.

The hash takes 8 bytes of UTF-8 at a time as one little-endian word (the last one padded with zeros), folds each into
the state by xor, multiplication and a shift, starts from the length (so padding is unambiguous) and ends with a full
avalanche. It is not cryptographic: equal hashes are always followed by a comparison of the bytes.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from earnbook.ledger.compiled import compiled
from earnbook.ledger.schema import Int64s, UInt8s, UInt64s

Texts: TypeAlias = "pa.Array | pa.ChunkedArray"

UInt64 = np.uint64

_TEXTS_START = 1 << 10
_BYTES_START = 1 << 14
_INDEX_COLUMNS = 2  # hash, code + 1 (0: empty)


def hash_texts(texts: Texts, seed: int = 0) -> UInt64s:
    """The stable 64-bit hash of each text (string, large_string, string_view or dictionary of them); null gives 0.

    Args:
        texts: an Arrow array or chunked array of text.
        seed: chooses another hash function of the family; hashes stored in books use 0.

    Returns:
        One uint64 per row, in row order. A text never hashes to 0.
    """
    parts = [_hash_rows(*_buffers(chunk), np.uint64(seed)) for chunk in _chunks(texts)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


class StringPool:
    """An append-only set of texts; the code of a text is the number of texts that were there before it."""

    def __init__(self) -> None:
        self._length = 0
        self._offsets: Int64s = np.zeros(_TEXTS_START + 1, np.int64)
        self._bytes: UInt8s = np.zeros(_BYTES_START, np.uint8)
        self._index: UInt64s = np.zeros((_TEXTS_START * 2, _INDEX_COLUMNS), np.uint64)

    def __len__(self) -> int:
        """The number of distinct texts."""
        return self._length

    def intern(self, texts: Texts) -> Int64s:
        """The code of each text, adding those not seen before in row order; null gives -1."""
        return self._codes(texts, add=True)

    def lookup(self, texts: Texts) -> Int64s:
        """The code of each text; -1 for null and for texts not in the pool, which stays as it is."""
        return self._codes(texts, add=False)

    def intern_text(self, text: str) -> int:
        """The code of one text, adding it if it is new."""
        return int(self.intern(pa.array([text], pa.large_string()))[0])

    def text(self, code: int) -> str:
        """The text of a code; IndexError outside 0 … len - 1."""
        if not 0 <= code < self._length:
            raise IndexError(f"no text has code {code}; the pool holds {self._length}")
        return bytes(self._bytes[self._offsets[code] : self._offsets[code + 1]]).decode()

    def texts(self, codes: npt.ArrayLike) -> pa.Array:
        """The texts of codes as an Arrow string array; negative codes give null."""
        wanted = np.asarray(codes, np.int64)
        if wanted.size and int(wanted.max()) >= self._length:
            raise IndexError(f"no text has code {int(wanted.max())}; the pool holds {self._length}")
        positions = pa.array(wanted, mask=wanted < 0)
        return self.all_texts().take(positions).cast(pa.string())

    def all_texts(self, start: int = 0) -> pa.Array:
        """The texts with codes start, start + 1, … as an Arrow large_string array, a snapshot of the pool."""
        used = self._offsets[start : self._length + 1]
        data = self._bytes[used[0] : used[-1]]
        return pa.LargeStringArray.from_buffers(
            self._length - start, pa.py_buffer((used - used[0]).tobytes()), pa.py_buffer(data.tobytes())
        )

    def _codes(self, texts: Texts, *, add: bool) -> Int64s:
        parts = [self._chunk_codes(chunk, add=add) for chunk in _chunks(texts)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _chunk_codes(self, chunk: pa.Array, *, add: bool) -> Int64s:
        offsets, data, valid = _buffers(chunk)
        hashes = _hash_rows(offsets, data, valid, np.uint64(0))
        codes = np.full(len(hashes), -1, np.int64)
        row = 0
        while row < len(hashes):
            row, self._length = _intern_rows(
                row, self._length, offsets, data, hashes, self._offsets, self._bytes, self._index, codes, add
            )
            if row < len(hashes):
                self._grow(int(offsets[row + 1] - offsets[row]))
        return codes

    def _grow(self, room: int) -> None:
        """Make room for one more text of so many bytes, at least doubling what is full."""
        if self._length * 2 >= len(self._index):
            self._index = _rehash(self._index, np.zeros((len(self._index) * 4, _INDEX_COLUMNS), np.uint64))
        if self._length + 1 >= len(self._offsets):
            self._offsets = np.concatenate([self._offsets, np.zeros(len(self._offsets), np.int64)])
        used = int(self._offsets[self._length])
        if used + room > len(self._bytes):
            grown = np.zeros(max(2 * len(self._bytes), used + room), np.uint8)
            grown[:used] = self._bytes[:used]
            self._bytes = grown


def _chunks(texts: Texts) -> list[pa.Array]:
    return list(texts.chunks) if isinstance(texts, pa.ChunkedArray) else [texts]


def _buffers(chunk: pa.Array) -> tuple[Int64s, UInt8s, UInt8s]:
    """Offsets, bytes and validity (one byte per row, 1: text) of a text array; the bytes are not copied."""
    if not pa.types.is_large_string(chunk.type):
        chunk = chunk.cast(pa.large_string())
    rows = len(chunk)
    _, offset_buffer, byte_buffer = chunk.buffers()
    if rows == 0 or offset_buffer is None:
        return np.zeros(rows + 1, np.int64), np.zeros(0, np.uint8), np.zeros(rows, np.uint8)
    offsets = np.frombuffer(offset_buffer, np.int64, rows + 1, chunk.offset * 8)
    data = np.zeros(0, np.uint8) if byte_buffer is None else np.frombuffer(byte_buffer, np.uint8)
    if chunk.null_count == 0:
        return offsets, data, np.ones(rows, np.uint8)
    return offsets, data, np.asarray(chunk.is_valid().cast(pa.uint8()))


@compiled
def _hash_bytes(data: UInt8s, start: int, stop: int, seed: UInt64) -> UInt64:
    """The hash of data[start:stop]."""
    multiplier = np.uint64(0x9E3779B97F4A7C15)
    state = (seed ^ np.uint64(0x2545F4914F6CDD1D)) + np.uint64(stop - start) * multiplier
    at = start
    while at < stop:
        word = np.uint64(0)
        here = min(8, stop - at)
        for k in range(here):
            word |= np.uint64(data[at + k]) << np.uint64(8 * k)
        state = (state ^ word) * multiplier
        state ^= state >> np.uint64(29)
        at += 8
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xFF51AFD7ED558CCD)
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xC4CEB9FE1A85EC53)
    state ^= state >> np.uint64(33)
    return state if state != np.uint64(0) else np.uint64(1)


@compiled
def _hash_rows(offsets: Int64s, data: UInt8s, valid: UInt8s, seed: UInt64) -> UInt64s:
    hashes = np.zeros(len(valid), np.uint64)
    for row in range(len(valid)):
        if valid[row]:
            hashes[row] = _hash_bytes(data, offsets[row], offsets[row + 1], seed)
    return hashes


@compiled
def _same_bytes(left: UInt8s, left_start: int, right: UInt8s, right_start: int, length: int) -> bool:
    for k in range(length):  # noqa: SIM110 (a generator would not compile)
        if left[left_start + k] != right[right_start + k]:
            return False
    return True


@compiled
def _intern_rows(
    row: int,
    length: int,
    offsets: Int64s,
    data: UInt8s,
    hashes: UInt64s,
    pool_offsets: Int64s,
    pool_bytes: UInt8s,
    index: UInt64s,
    codes: Int64s,
    add: bool,
) -> tuple[int, int]:
    """Fill `codes` from `row` on; stops before a text for which the pool has no room.

    Returns:
        The row it stopped at (the number of rows when done) and the new length of the pool.
    """
    mask = len(index) - 1
    while row < len(hashes):
        digest = hashes[row]
        if digest == np.uint64(0):
            row += 1
            continue
        start, size = offsets[row], offsets[row + 1] - offsets[row]
        place = np.int64(digest & np.uint64(mask))
        while True:
            entry = np.int64(index[place, 1])
            if entry == 0:
                break
            if index[place, 0] == digest:
                begin = pool_offsets[entry - 1]
                if pool_offsets[entry] - begin == size and _same_bytes(pool_bytes, begin, data, start, size):
                    break
            place = (place + 1) & mask
        if entry == 0 and add:
            used = pool_offsets[length]
            full = length * 2 >= len(index) or length + 1 >= len(pool_offsets) or used + size > len(pool_bytes)
            if full:
                return row, length
            for k in range(size):
                pool_bytes[used + k] = data[start + k]
            length += 1
            pool_offsets[length] = used + size
            index[place, 0] = digest
            index[place, 1] = np.uint64(length)
            entry = np.int64(length)
        codes[row] = entry - 1
        row += 1
    return row, length


@compiled
def _rehash(old: UInt64s, new: UInt64s) -> UInt64s:
    mask = len(new) - 1
    for place in range(len(old)):
        if old[place, 1] == np.uint64(0):
            continue
        target = np.int64(old[place, 0] & np.uint64(mask))
        while new[target, 1] != np.uint64(0):
            target = (target + 1) & mask
        new[target, 0] = old[place, 0]
        new[target, 1] = old[place, 1]
    return new
