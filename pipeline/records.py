"""Conformed records: what intake hands on, whatever format a row came in, and what a rejected row leaves behind.

A record batch has the columns of `records_schema(path count)`: the columns of `RECORD_FIELDS`, then three cell columns
for each event path that rules read. Rejected rows are `Reject` values; they never become records (§3.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import pyarrow as pa

from earnbook.ledger.schema import OperationType, RecordKind
from earnbook.rules.definitions_ids import object_id


def operation_id(owner: str, kind: OperationType, key: str) -> str:
    """The id of an operation (§2.3); `owner` is the id of the program that it names, else of the organization."""
    return object_id(owner, "operation", f"{kind.name.lower()}:{key}")


class RejectReason(IntEnum):
    """Why a row never became a record; the number is the position in the table of §3.5."""

    UNPARSEABLE_ROW = 1
    UNKNOWN_OPERATION = 2
    UNKNOWN_FIELD = 3
    MISSING_IDEMPOTENCY_KEY = 4
    INVALID_IDEMPOTENCY_KEY = 5
    MISSING_PROGRAM = 6
    PROGRAM_NOT_FOUND = 7
    MISSING_TIMESTAMP = 8
    INVALID_TIMESTAMP = 9
    TIMESTAMP_IN_FUTURE = 10
    MISSING_PARTICIPANT = 11
    AMBIGUOUS_PARTICIPANT = 12
    INVALID_PARTICIPANT = 13
    AMBIGUOUS_RECIPIENT = 14
    INVALID_RECIPIENT = 15
    MISSING_EVENT_DATA = 16
    EVENT_DATA_NOT_OBJECT = 17
    EVENT_DATA_TOO_LARGE = 18
    INVALID_NUMBER = 19
    MISSING_FIELD = 20
    INVALID_FIELD = 21
    IDEMPOTENCY_CONFLICT = 22


class Given(IntFlag):
    """Which fields named the participant and the recipient; together the column `given`."""

    EXTERNAL_ID = 1
    PARTICIPANT_ID = 2
    RECIPIENT_EXTERNAL_ID = 4
    RECIPIENT_ID = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One rejected row (§3.5).

    `source` is an index into the run's sources, `source_row` counts from 1; `field` is the offending field ("" where
    the row as a whole is); `raw` is the row's text, as JSON for columnar sources. `original_log_seq` is set for
    IDEMPOTENCY_CONFLICT alone.
    """

    source: int
    source_row: int
    reason: RejectReason
    field: str
    message: str
    raw: str
    original_log_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """An object a field may name: its UUID and its natural key (a program's key, an asset's symbol) (§2.2)."""

    id: str
    key: str


RECORD_FIELDS = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),  # input position: order of the sources, then row (§4.1)
        pa.field("source", pa.int32(), nullable=False),  # index into the run's sources
        pa.field("source_row", pa.int64(), nullable=False),  # 1 = first data row
        pa.field("record_kind", pa.int8(), nullable=False),  # ledger.schema.RecordKind
        pa.field("operation", pa.int8(), nullable=False),  # ledger.schema.OperationType; 0 for events
        pa.field("program", pa.int32(), nullable=False),  # index into the given programs; -1: organization
        pa.field("idempotency_key", pa.string(), nullable=False),
        pa.field("key_hash", pa.uint64(), nullable=False),  # ledger.pool.hash_texts of the key
        pa.field("timestamp", pa.int64(), nullable=False),  # event_timestamp or effective_at, microseconds
        pa.field("given", pa.int8(), nullable=False),  # Given bits
        pa.field("participant", pa.string()),  # as given
        pa.field("recipient", pa.string()),  # as given
        pa.field("event_data", pa.string()),  # JSON text; null for operations
        pa.field("fields", pa.string()),  # canonical JSON of an operation (§3.4); null for events
    ]
)

ORIGINALS = pa.schema(
    [
        RECORD_FIELDS.field(name)
        for name in (
            "record_kind",
            "operation",
            "program",
            "idempotency_key",
            "key_hash",
            "timestamp",
            "given",
            "participant",
            "recipient",
            "event_data",
            "fields",
        )
    ]
    + [pa.field("log_seq", pa.int64(), nullable=False)]
)
"""Records of the book whose key hash occurs in a batch, as `order.drop_duplicates` compares them.

`program` is the index used in the batch; the other columns are as the record was given.
"""

RECORD_KINDS = {kind.name: int(kind) for kind in RecordKind}


def cell_names(path: int) -> tuple[str, str, str]:
    """The columns (kind, value, scale) of event path number `path`."""
    return f"kind_{path}", f"value_{path}", f"scale_{path}"


def records_schema(path_count: int) -> pa.Schema:
    """The schema of conformed records with cells for so many event paths.

    A cell is (kind int8, value int64, scale int8): `ledger.schema.Kind`; TEXT holds a code of the run's text pool,
    NUMBER a mantissa with its own smallest scale (0-6), BOOL 0 or 1; WIDE a number beyond that; other kinds hold 0.
    """
    schema = RECORD_FIELDS
    for path in range(path_count):
        for name, kind in zip(cell_names(path), (pa.int8(), pa.int64(), pa.int8()), strict=True):
            schema = schema.append(pa.field(name, kind, nullable=False))
    return schema
