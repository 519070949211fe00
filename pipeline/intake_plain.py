"""Checks of §3.5 that whole columns can pass, and canonical forms (§3.4) that columns can write.

What fails one of them is for the exact checks of `intake` and `intake_operations`: nothing is refused here.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int32s, Int64s, Kind, UInt8s
from earnbook.pipeline.intake import KEY_CHARACTERS_MAX, KEY_PREFIX_RESERVED, UUID_PATTERN, Contract
from earnbook.pipeline.operation_fields import EntityNeed
from earnbook.pipeline.source_bytes import Bools, gather
from earnbook.pipeline.source_scan import DIGITS_MAX, PLAIN, build_trie, scan_objects
from earnbook.pipeline.source_text import Member, Texts, build_objects, from_arrow, present_rows, to_arrow

_RECIPIENT_FIELDS = ("amount", *EntityNeed.HOLDER.value)
_ABSENT, _TEXT, _NUMBER = int(Kind.ABSENT), int(Kind.TEXT), int(Kind.NUMBER)


def plain_keys(keys: pa.Array) -> Bools:
    """Idempotency keys that pass checks 4 and 5."""
    plain = plain_lengths(keys)
    reserved = pc.starts_with(keys, pattern=KEY_PREFIX_RESERVED).fill_null(False).to_numpy(zero_copy_only=False)
    plain &= ~reserved
    texts = from_arrow(keys)
    if not texts.data.all():
        plain &= ~pc.match_substring(keys, "\0").fill_null(False).to_numpy(zero_copy_only=False)
    return plain


def plain_lengths(texts: pa.Array, length_max: int = KEY_CHARACTERS_MAX) -> Bools:
    """Texts that are present, not empty, and surely not too long; bytes bound characters from above."""
    offsets = from_arrow(texts).offsets
    lengths = np.diff(offsets)
    return present_rows(texts) & (lengths > 0) & (lengths <= length_max)


def program_numbers(texts: pa.Array, contract: Contract) -> Int32s:
    """The program's index per row, -1 where the exact check must speak."""
    default = -1 if contract.default_program is None else contract.default_program
    encoded = texts.dictionary_encode()
    numbers = [_number(contract, text) for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
    programs: Int32s = np.array([*numbers, default], np.int32)[codes]
    return programs


def _number(contract: Contract, text: str) -> int:
    number = contract.program_number(text)
    return -1 if number is None else number


def plain_uuids(texts: pa.Array) -> Bools:
    """Texts that are absent or of UUID form."""
    found: Bools = pc.match_substring_regex(texts, UUID_PATTERN).fill_null(True).to_numpy(zero_copy_only=False)
    return found


def plain_recipients(data: UInt8s, starts: Int64s, ends: Int64s) -> tuple[Texts, Bools]:
    """Recipients as canonical objects, and which of them are plain."""
    scan = scan_objects(data, starts, ends, build_trie(tuple((name,) for name in _RECIPIENT_FIELDS)), 4)
    good = (scan.status == PLAIN) & (scan.unknown.bits == 0) & ~scan.unknown.nulls
    kinds = scan.spans.kind
    good &= (kinds[0] == _TEXT) | (kinds[0] == _NUMBER)
    good &= np.count_nonzero(kinds[1:] != _ABSENT, axis=0) == 1
    members = []
    for slot, name in enumerate(_RECIPIENT_FIELDS):
        present = good & (kinds[slot] != _ABSENT)
        if not present.any():
            continue
        texts = Texts(*gather(data, scan.spans.start[slot], scan.spans.end[slot], present), present)
        if name == "amount":
            texts, is_plain = plain_amounts(texts)
        else:
            is_plain = (kinds[slot] == _TEXT) & plain_lengths(to_arrow(texts))
            if name == "participant_id":
                is_plain &= plain_uuids(to_arrow(texts))
        good &= ~present | is_plain
        members.append(Member(name, texts, True))
    return build_objects(sorted(members, key=lambda member: member.name), good), good


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
