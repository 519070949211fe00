"""Checks of §3.5 that whole columns can pass, and canonical forms (§3.4) that columns can write.

What fails one of them is for the exact checks of `intake` and `intake_operations`: nothing is refused here.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int32s, Int64s, Kind, UInt8s
from earnbook.pipeline.intake import KEY_CHARACTERS_MAX, KEY_PREFIX_RESERVED, UUID_PATTERN, Contract
from earnbook.pipeline.operation_fields import EntityNeed
from earnbook.pipeline.source_amounts import plain_amounts
from earnbook.pipeline.source_bytes import Bools, gather
from earnbook.pipeline.source_scan import PLAIN, build_trie, scan_objects
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
