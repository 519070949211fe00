"""Idempotency in log order (§3.4): which records repeat an earlier one, and which contradict it.

In: a batch in log order, what this run has seen of keys that repeat, and the book's records with the same key hash.
Out: the batch without repeats, and their counts. Keys are compared by their 64-bit hash first, then exactly; payloads
are compared only for keys that repeat, by their stored columns first and as canonical JSON where those differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int64s, RecordKind, UInt64s
from earnbook.pipeline.intake_json import canonical_json
from earnbook.pipeline.records import ORIGINALS, Given, Reject, RejectReason

_PAYLOAD_COLUMNS = ("timestamp", "given", "participant", "recipient", "event_data", "fields")
_IN_FIELDS = ("given", "participant")
"""What the canonical fields of an operation say as well; the book does not keep it beside them."""

_SCOPE_COLUMNS = ("record_kind", "operation", "program", "idempotency_key")
_RECORD_COLUMNS = (*(name for name in ORIGINALS.names if name != "log_seq"), "source", "source_row")

RecordRow: TypeAlias = Mapping[str, object]
"""One record by column name."""

KeyScope: TypeAlias = tuple[int, int, int, str]
"""Record kind, operation type, program and key: within it a key is unique (§3.4)."""


@dataclass(slots=True)
class SeenKeys:
    """The records of this run whose key hash repeats within it, by scope and key, with their log position.

    `repeated_hashes` (ascending) are those of `Staged.repeated_hashes`: only they are remembered.
    """

    repeated_hashes: UInt64s
    records: dict[KeyScope, tuple[RecordRow, int]] = field(default_factory=dict)

    def renumber(self, first: int, log_seqs: Int64s) -> None:
        """The records that were expected to get first, first + 1, … got other numbers: events stand between them."""
        for scope, (row, number) in self.records.items():
            if first <= number < first + len(log_seqs):
                self.records[scope] = (row, int(log_seqs[number - first]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """A batch without repeats: `records` get log_seq first_log_seq, first_log_seq + 1, … in order.

    `duplicates` counts the rows with the key and payload of an earlier record; `conflicts` are those with another
    payload (§3.5, 22).
    """

    records: pa.Table
    duplicates: int
    conflicts: tuple[Reject, ...]


def drop_duplicates(
    batch: pa.Table, seen: SeenKeys, *, first_log_seq: int, originals: pa.Table | None = None
) -> Deduplicated:
    """Drop rows whose key an earlier record of the log already has (§3.4).

    `batch` is in log order; `originals` (schema `records.ORIGINALS`) holds the book's records with key hashes of this
    batch, and may hold more. `seen` is extended by the batch's own records.
    """
    repeats = _plain_repeats(batch, originals)
    suspects = np.flatnonzero(_suspects(batch, seen, originals) & ~repeats)
    known = _by_scope(originals, batch.column("key_hash").to_numpy()[suspects])
    rows = batch.select(list(_RECORD_COLUMNS)).take(pa.array(suspects)).to_pylist()
    keep = ~repeats
    before = np.cumsum(repeats) if len(suspects) else repeats
    dropped = 0
    conflicts: list[Reject] = []
    for index, row in zip(suspects.tolist(), rows, strict=True):
        scope = scope_of(row)
        original = known.get(scope) or seen.records.get(scope)
        if original is None:
            seen.records[scope] = (row, first_log_seq + index - int(before[index]) - dropped)
            continue
        keep[index] = False
        dropped += 1
        if not _is_same_payload(row, original[0]):
            conflicts.append(_conflict(row, original[1]))
    records = batch if keep.all() else batch.filter(pa.array(keep))
    duplicates = len(batch) - len(records) - len(conflicts)
    return Deduplicated(records=records, duplicates=duplicates, conflicts=tuple(conflicts))


def renumber_conflicts(rejects: tuple[Reject, ...], first: int, log_seqs: Int64s) -> tuple[Reject, ...]:
    """The same for the rejects of a batch: the original of a conflict may be one of its own records."""
    return tuple(_renumbered(reject, first, log_seqs) for reject in rejects)


def _renumbered(reject: Reject, first: int, log_seqs: Int64s) -> Reject:
    number = reject.original_log_seq
    if number is None or not first <= number < first + len(log_seqs):
        return reject
    actual = int(log_seqs[number - first])
    message = reject.message.replace(_belongs_to(number), _belongs_to(actual), 1)
    return replace(reject, original_log_seq=actual, message=message)


def _belongs_to(log_seq: int) -> str:
    return f"belongs to record {log_seq} of the log"


def scope_of(record: RecordRow) -> KeyScope:
    """Within what the key of a record is unique (§3.4)."""
    kind, operation, program = (record[name] for name in ("record_kind", "operation", "program"))
    assert isinstance(kind, int)
    assert isinstance(operation, int)
    assert isinstance(program, int)
    return kind, operation, program, str(record["idempotency_key"])


def canonical_payload(record: RecordRow) -> str:
    """The payload of a record as canonical JSON (§3.4), the program left out: it is part of the key's scope."""
    if record["record_kind"] == RecordKind.OPERATION:
        return str(record["fields"])
    given = record["given"]
    assert isinstance(given, int)
    members = {"event_data": canonical_json(str(record["event_data"])), "event_timestamp": str(record["timestamp"])}
    names = {
        Given.EXTERNAL_ID: ("external_id", "participant"),
        Given.PARTICIPANT_ID: ("participant_id", "participant"),
        Given.RECIPIENT_EXTERNAL_ID: ("recipient_external_id", "recipient"),
        Given.RECIPIENT_ID: ("recipient_id", "recipient"),
    }
    for bit, (name, column) in names.items():
        if given & bit:
            members[name] = json.dumps(record[column], ensure_ascii=False)
    return "{" + ",".join(f'"{name}":{members[name]}' for name in sorted(members)) + "}"


def _is_same_payload(left: RecordRow, right: RecordRow) -> bool:
    """Byte-equal columns decide first; only event_data has more than one text for one payload.

    The payload of an operation is its canonical fields; whom it names stands among them.
    """
    if left["record_kind"] == RecordKind.OPERATION:
        return left["fields"] == right["fields"]
    if all(left[name] == right[name] for name in _PAYLOAD_COLUMNS):
        return True
    if any(left[name] != right[name] for name in _PAYLOAD_COLUMNS if name != "event_data"):
        return False
    return canonical_payload(left) == canonical_payload(right)


def _by_scope(originals: pa.Table | None, hashes: UInt64s) -> dict[KeyScope, tuple[RecordRow, int]]:
    """The book's records with these key hashes."""
    if originals is None or len(hashes) == 0:
        return {}
    rows = originals.filter(pa.array(_is_in(originals.column("key_hash").to_numpy(), np.unique(hashes)))).to_pylist()
    return {scope_of(row): (row, row["log_seq"]) for row in rows}


def _suspects(batch: pa.Table, seen: SeenKeys, originals: pa.Table | None) -> npt.NDArray[np.bool_]:
    """Rows whose key hash occurs elsewhere in the run or in the book."""
    hashes = batch.column("key_hash").to_numpy()
    suspect = _is_in(hashes, seen.repeated_hashes)
    if originals is not None and len(originals):
        suspect |= _is_in(hashes, np.unique(originals.column("key_hash").to_numpy()))
    return suspect


def _is_in(hashes: UInt64s, ascending: UInt64s) -> npt.NDArray[np.bool_]:
    if len(ascending) == 0:
        return np.zeros(len(hashes), np.bool_)
    found: npt.NDArray[np.bool_] = ascending[_places(hashes, ascending)] == hashes
    return found


def _places(hashes: UInt64s, ascending: UInt64s) -> Int64s:
    """Where each hash stands in `ascending`, if it is there."""
    return np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)


def _plain_repeats(batch: pa.Table, originals: pa.Table | None) -> npt.NDArray[np.bool_]:
    """Rows that are column by column the book's one record with their key hash: a file that is imported again."""
    repeats = np.zeros(len(batch), np.bool_)
    if originals is None or len(originals) == 0:
        return repeats
    hashes = originals.column("key_hash").to_numpy()
    order = np.argsort(hashes, kind="stable")
    ascending = hashes[order]
    is_unique = np.ones(len(ascending), np.bool_)
    is_unique[1:] &= ascending[1:] != ascending[:-1]
    is_unique[:-1] &= ascending[1:] != ascending[:-1]
    ours = batch.column("key_hash").to_numpy()
    places = _places(ours, ascending)
    rows = np.flatnonzero((ascending[places] == ours) & is_unique[places])
    left, right = batch.take(pa.array(rows)), originals.take(pa.array(order[places[rows]]))
    same = np.ones(len(rows), np.bool_)
    is_operation = left.column("record_kind").to_numpy() == int(RecordKind.OPERATION)
    for name in (*_SCOPE_COLUMNS, *_PAYLOAD_COLUMNS):
        equal = _equal(left.column(name), right.column(name))
        same &= equal | is_operation if name in _IN_FIELDS else equal
    repeats[rows[same]] = True
    return repeats


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Row by row, null equal to null."""
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    equal: npt.NDArray[np.bool_] = pc.or_kleene(pc.equal(left, right), both_null).fill_null(False).to_numpy()
    return equal


def _conflict(row: RecordRow, original_log_seq: int) -> Reject:
    """The reject of a row that has the key of another record."""
    source, source_row = row["source"], row["source_row"]
    assert isinstance(source, int)
    assert isinstance(source_row, int)
    return Reject(
        source=source,
        source_row=source_row,
        reason=RejectReason.IDEMPOTENCY_CONFLICT,
        field="idempotency_key",
        message=(
            f"idempotency_key {str(row['idempotency_key'])[:60]!r} {_belongs_to(original_log_seq)}, "
            "which has another payload: give this row a key of its own, or run with --on-conflict ignore"
        ),
        raw=_raw(row),
        original_log_seq=original_log_seq,
    )


def _raw(row: RecordRow) -> str:
    """The record as JSON; the row as it was read is no longer at hand."""
    payload = canonical_payload(row)
    return f'{{"idempotency_key":{json.dumps(row["idempotency_key"], ensure_ascii=False)},{payload[1:]}'
