"""Seals (§19.1, §19.2): which stored columns are sealed, in which form, and how digests make the chain.

What goes in are the rows of one batch in key order, in chunks of any size; what comes out is one digest per sealed
table and the seal's line. Commit hashes the columns it is about to write, verify the columns it reads back; both use
this file, and the golden example S1 pins it by a checker of its own.

A stored table stands for the logical rows that follow from it: movements for postings and most of entries, so the
sealed `entries` are those that movements do not explain (due work). `outcomes` are columns of events and operations.
Dense numbers are sealed where they are given: holders with `changes`; names, objects and actions with `definitions`.

Speed: one pass over each column, about 1.7 GB/s of SHA-256 per thread; hashlib releases the interpreter lock, so the
tables of a batch are hashed by two threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.rules.times import format_timestamp

FIRST_PREVIOUS_SEAL = "0" * 64
"""The seal before batch 1."""

SEAL_NAME = "earnbook-seal-1"


@dataclass(frozen=True, slots=True)
class SealColumn:
    """A sealed column: `width` bytes of its values (0: text), `nullable` when a presence stream stands before it."""

    name: str
    width: int
    nullable: bool


@dataclass(frozen=True, slots=True)
class SealPart:
    """Columns of one physical table; `key` is the column that rows are ordered by, ties in stored order."""

    table: str
    key: str
    columns: tuple[SealColumn, ...]


@dataclass(frozen=True, slots=True)
class SealTable:
    """A table of the seal's line, with the physical parts that stand for it, in order."""

    name: str
    parts: tuple[SealPart, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of one sealed table in one batch; `rows` counts the stored rows of all parts."""

    name: str
    rows: int
    digest: str


def _part(table: str, key: str, columns: str) -> SealPart:
    """A part from words `name:8`, `name:8?` (nullable) or `name:text`."""
    parsed = []
    for word in columns.split():
        name, kind = word.split(":")
        kind, nullable = kind.rstrip("?"), kind.endswith("?")
        parsed.append(SealColumn(name, 0 if kind == "text" else int(kind), nullable))
    return SealPart(table, key, tuple(parsed))


SEAL_TABLES: tuple[SealTable, ...] = (
    SealTable(
        "entries",
        (
            _part("due_entries", "entry_seq", "entry_seq:8 created_at:8 program:8 lot_seq:8"),
            _part("entry_references", "entry_seq", "entry_seq:8 reference:text"),
        ),
    ),
    SealTable(
        "movements",
        (
            _part(
                "movements",
                "entry_seq",
                "entry_seq:8 log_seq:8 entry_type:2 action:8 debit:8 credit:8 asset:8 amount:8 lot_seq:8",
            ),
        ),
    ),
    SealTable(
        "lots",
        (
            _part(
                "lots",
                "lot_seq",
                "lot_seq:8 entry_seq:8 holder:8 asset:8 program:8 wallet:8 amount:8 created_at:8 expires_at:8?",
            ),
            _part("lot_details", "lot_seq", "lot_seq:8 root:8 matures_at:8? reference:text?"),
        ),
    ),
    SealTable(
        "lot_moves",
        (
            _part(
                "lot_moves",
                "entry_seq",
                """entry_seq:8 lot_seq:8 kind:2 status_before:2 remaining_before:8 status_after:2 remaining_after:8
                hold_reference:text? repaid:8""",
            ),
        ),
    ),
    SealTable(
        "events",
        (
            _part(
                "events",
                "log_seq",
                """log_seq:8 program:8 idempotency_key:text given:2 given_participant:text? given_recipient:text?
                event_timestamp:8 event_data:text late:1""",
            ),
            _part(
                "generated_events", "log_seq", "log_seq:8 parent:8 action:8 automation:8 generation:1 under_broadcast:1"
            ),
        ),
    ),
    SealTable(
        "operations",
        (
            _part(
                "operations",
                "log_seq",
                "log_seq:8 type:2 program:8 idempotency_key:text effective_at:8 fields:text late:1",
            ),
        ),
    ),
    SealTable(
        "outcomes",
        (
            _part("events", "log_seq", "log_seq:8 processed_at:8 holder:8 recipient:8 outcome:2 action:8"),
            _part("operations", "log_seq", "log_seq:8 processed_at:8 holder:8 outcome:2"),
            _part(
                "attempts",
                "by_log_seq",
                """log_seq:8 attempt:4 by_log_seq:8 processed_at:8 holder:8 recipient:8 outcome:2 action:8
                first_change_seq:8 last_change_seq:8""",
            ),
        ),
    ),
    SealTable(
        "changes",
        (
            _part(
                "changes",
                "change_seq",
                """change_seq:8 log_seq:8 action:8 entity:8 state_type:2 key:8 operation:2 value_kind:2 value:8
                value_scale:2""",
            ),
            _part("change_details", "change_seq", "change_seq:8 value_high:8 reset_at:8? reset_after:8? text:text?"),
            _part("due_changes", "change_seq", "change_seq:8 changed_at:8 kind:2 object:8"),
            _part(
                "tier_changes",
                "change_seq",
                "change_seq:8 acquired_at:8 expires_at:8? own_expiry:1 downgrade_at:8? noted_level:8",
            ),
            _part("holders", "number", "number:8 kind:2 external_id:text given_id:text? log_seq:8"),
            _part("names", "number", "number:8 state_type:2 text:text"),
        ),
    ),
    SealTable(
        "definitions",
        (
            _part(
                "definitions",
                "n",
                """n:8 kind:2 object:8 version:4 change_type:2 changed_at:8 changes:text snapshot:text
                ruleset_version:4""",
            ),
            _part(
                "objects",
                "kind",
                """kind:2 number:8 id:text key:text program:8 scale:2? inventory_mode:2? issuance_policy:2?""",
            ),
            _part(
                "actions",
                "number",
                """number:8 program:8 rule:8 rule_version:4 action_index:4 type:2 asset:8 bucket:2 key:text?
                description:text?""",
            ),
            _part(
                "budget_starts",
                "number",
                "number:8 program:8 rule:8 asset:8 schedule:text started_at:8 started_entry:8",
            ),
        ),
    ),
    SealTable(
        "redemptions",
        (
            _part(
                "redemptions",
                "log_seq",
                """log_seq:8 holder:8 program:8 asset:8 amount:8 reward:8 reward_version:4 quantity:8? unit_cost:8?
                target:8 entry_seq:8""",
            ),
        ),
    ),
    SealTable(
        "reversals",
        (_part("reversals", "log_seq", "log_seq:8 redemption:8 amount:8 quantity:8? entry_seq:8"),),
    ),
    SealTable(
        "rejects",
        (
            _part(
                "rejects",
                "n",
                "n:8 source:8 source_row:8 reason:2 field:text? message:text original_log_seq:8? raw:text",
            ),
        ),
    ),
)
"""Sealed tables in the order of the seal's line."""

_VALUE_TYPES = {1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}


class PartHasher:
    """Hashes one part of a batch, chunk by chunk, column by column."""

    def __init__(self, part: SealPart) -> None:
        self.part = part
        self.rows = 0
        self._streams = [[hashlib.sha256() for _ in stream_names(column)] for column in part.columns]

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Adds the next rows, which are in key order; other columns of `rows` are left alone."""
        self.rows += rows.num_rows
        for column, hashers in zip(self.part.columns, self._streams, strict=True):
            values = rows.column(column.name)
            for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else (values,):
                for hasher, stream in zip(hashers, column_streams(column, chunk), strict=True):
                    hasher.update(stream)

    def stream_digests(self) -> list[bytes]:
        """The SHA-256 of every stream, in order."""
        return [hasher.digest() for hashers in self._streams for hasher in hashers]


def stream_names(column: SealColumn) -> tuple[str, ...]:
    """The streams of a column in order: presence where it may be null, then values, or lengths and bytes of text."""
    presence = ("presence",) if column.nullable else ()
    return (*presence, "values") if column.width else (*presence, "lengths", "bytes")


def column_streams(column: SealColumn, values: pa.Array) -> list[memoryview]:
    """The bytes that one chunk of a column adds to each of its streams (§19.1)."""
    streams = []
    if column.nullable:
        streams.append(_bytes_of(pc.is_valid(values).cast(pa.int8())))
    if column.width:
        filled = pc.fill_null(values, 0) if values.null_count else values
        streams.append(_bytes_of(filled.cast(_VALUE_TYPES[column.width])))
    else:
        lengths = pc.binary_length(values).cast(pa.int64())
        streams.append(_bytes_of(pc.fill_null(lengths, 0)))
        streams.append(_text_bytes(values))
    return streams


def _bytes_of(values: pa.Array) -> memoryview:
    """Fixed-width values without nulls as little-endian bytes."""
    array = values.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(array).view(np.uint8).data


def _text_bytes(values: pa.Array) -> memoryview:
    """The UTF-8 bytes of all texts in a row; a null adds none."""
    if values.null_count:
        values = values.drop_null()
    if len(values) == 0:
        return memoryview(b"")
    large = pa.types.is_large_string(values.type)
    offsets = np.frombuffer(values.buffers()[1], np.int64 if large else np.int32)
    begin, end = int(offsets[values.offset]), int(offsets[values.offset + len(values)])
    data = values.buffers()[2]
    return memoryview(data)[begin:end] if data is not None else memoryview(b"")


def table_digest(name: str, hashers: Iterable[PartHasher]) -> Digest:
    """The digest of a sealed table from its parts' stream digests."""
    rows, whole = 0, hashlib.sha256()
    for hasher in hashers:
        rows += hasher.rows
        for digest in hasher.stream_digests():
            whole.update(digest)
    return Digest(name, rows, whole.hexdigest())


def digest_table(table: SealTable, rows: Mapping[str, pa.Table]) -> Digest:
    """The digest of one sealed table of a batch whose rows are in memory; a physical table not given has no rows."""
    hashers = [PartHasher(part) for part in table.parts]
    for hasher in hashers:
        if hasher.part.table in rows:
            hasher.update(rows[hasher.part.table])
    return table_digest(table.name, hashers)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealHeader:
    """The fields of the seal's line before the tables. `book_clock` is in microseconds since 1970."""

    organization: str
    batch: int
    previous_seal: str
    clock_mode: str
    book_clock: int
    ruleset_sha256: str | None
    last_log_seq: int
    last_entry_seq: int


def seal_line(header: SealHeader, digests: Iterable[Digest]) -> str:
    """The line of text that is hashed to the seal (§19.2)."""
    fields = [
        SEAL_NAME,
        header.organization,
        str(header.batch),
        header.previous_seal,
        header.clock_mode,
        format_timestamp(header.book_clock, full=True),
        header.ruleset_sha256 or "-",
        str(header.last_log_seq),
        str(header.last_entry_seq),
    ]
    for digest in digests:
        fields += [digest.name, str(digest.rows), digest.digest]
    return "\t".join(fields) + "\n"


def seal_of(header: SealHeader, digests: Iterable[Digest]) -> str:
    """The seal of a batch, lower-case hex."""
    return hashlib.sha256(seal_line(header, digests).encode()).hexdigest()
