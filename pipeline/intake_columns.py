"""Intake of many rows at once: the plain ones by columns, every other one by the exact checks of `intake`.

A column reader hands over a `Draft`: the fields of §3.2 as columns, event_data as JSON text with its cells, and which
rows it could not read plainly. Here the plain checks of §3.5 run over the columns; what fails any of them, or is an
operation, is *doubtful* and is read again as one row and examined exactly. So columns never produce a verdict of their
own other than "accepted as it stands". What is true of events here, `intake_operation_columns` does with operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.pool import StringPool, hash_texts
from earnbook.ledger.schema import Int8s, Int32s, Int64s, Kind, RecordKind
from earnbook.pipeline.intake import (
    Contract,
    Record,
    Row,
    RowMistake,
    examine_event,
    is_operation,
)
from earnbook.pipeline.intake_json import cell_of
from earnbook.pipeline.intake_operation_columns import OperationDraft, PlainOperations, plain_operations
from earnbook.pipeline.intake_operations import examine_operation
from earnbook.pipeline.intake_plain import plain_keys, plain_lengths, plain_uuids, program_numbers
from earnbook.pipeline.records import Given, Reject, cell_names, records_schema
from earnbook.pipeline.source_bytes import Bools
from earnbook.pipeline.source_text import present_rows

CellColumns: TypeAlias = Sequence[tuple[Int8s, Int64s, Int8s]]
"""Per event path: kinds, values (TEXT already as codes) and scales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What the rows of one source are conformed with; `source` is its index in the run."""

    contract: Contract
    source: int
    paths: tuple[tuple[str, ...], ...]
    pool: StringPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Rows as a column reader leaves them.

    `texts` holds the event fields that are texts, null for absent; a field without column is missing. `timestamps` are
    microseconds with `is_timed` where they are good. `event_data` and `cells` count where a row is not doubtful.
    `unknown` says which rows have each unknown top-level field. Operations are doubtful here; `operations` are those
    whose fields the reader has as columns too.
    """

    source_rows: Int64s
    texts: Mapping[str, pa.Array]
    timestamps: Int64s
    is_timed: Bools
    event_data: pa.Array
    cells: CellColumns
    doubtful: Bools
    unknown: Mapping[str, Bools] = field(default_factory=dict)
    operations: OperationDraft | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformed:
    """Records (schema `records_schema`, in row order, position 0) and rejects of some rows of one source."""

    records: pa.RecordBatch
    rejects: tuple[Reject, ...]
    rows_read: int
    unknown_fields: Mapping[str, int]


RowReader = Callable[[int], Row]
"""Reads row i of a draft exactly; raises RowMistake for UNPARSEABLE_ROW."""

RawReader = Callable[[int], str]
"""The raw text of row i of a draft, for its reject."""


def conform(draft: Draft, intake: Intake, read_row: RowReader, read_raw: RawReader) -> Conformed:
    """Conform all rows of a draft."""
    plain = _plain_columns(draft, intake.contract)
    good = np.flatnonzero(plain.good)
    batches = [_plain_batch(draft, plain, intake, good)]
    is_left = ~plain.good
    if draft.operations is not None:
        operations = plain_operations(draft.operations, intake.contract)
        batches.append(_operation_batch(operations, draft, intake))
        is_left[operations.rows] = False
    exact: list[tuple[int, Record]] = []
    rejects: list[Reject] = []
    unknown = Counter({name: int(np.count_nonzero(rows & plain.good)) for name, rows in draft.unknown.items()})
    for index in np.flatnonzero(is_left).tolist():
        source_row = int(draft.source_rows[index])
        try:
            record = examine(read_row(index), intake.contract)
        except RowMistake as mistake:
            rejects.append(reject_of(mistake, intake.source, source_row, read_raw(index)))
            continue
        exact.append((source_row, record))
        unknown.update(record.unknown_fields)
    if exact:
        batches.append(record_rows(exact, intake.source, intake.paths, intake.pool))
    return Conformed(
        records=_in_row_order(batches),
        rejects=tuple(rejects),
        rows_read=len(draft.source_rows),
        unknown_fields=dict(+unknown),
    )


def no_records(intake: Intake, rejects: tuple[Reject, ...]) -> Conformed:
    """Rows that were rejected before they were columns."""
    schema = records_schema(len(intake.paths))
    empty = pa.RecordBatch.from_arrays([pa.array([], kind) for kind in schema.types], schema=schema)
    return Conformed(records=empty, rejects=rejects, rows_read=len(rejects), unknown_fields={})


def examine(row: Row, contract: Contract) -> Record:
    """The record of one row; raises RowMistake."""
    return examine_operation(row, contract) if is_operation(row) else examine_event(row, contract)


def reject_of(mistake: RowMistake, source: int, source_row: int, raw: str) -> Reject:
    """The reject that a mistake leaves."""
    return Reject(
        source=source,
        source_row=source_row,
        reason=mistake.reason,
        field=mistake.field,
        message=mistake.message,
        raw=raw,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """The checked columns, as they go into records; `good` says for which rows they count."""

    good: Bools
    program: Int32s
    given: Int8s
    participant: pa.Array
    recipient: pa.Array


def _plain_columns(draft: Draft, contract: Contract) -> _Plain:
    """The checks of §3.5 that columns can pass; a row that fails one is not good."""
    good = ~draft.doubtful & draft.is_timed
    if contract.horizon_us is not None:
        good &= draft.timestamps <= contract.horizon_us
    good &= plain_keys(_text(draft, "idempotency_key"))
    program = program_numbers(_text(draft, "program_id"), contract)
    good &= program >= 0
    given, participant, is_plain = _holders(
        _text(draft, "external_id"), _text(draft, "participant_id"), Given.EXTERNAL_ID, Given.PARTICIPANT_ID
    )
    good &= is_plain & (given != 0)
    recipient_given, recipient, is_plain = _holders(
        _text(draft, "recipient_external_id"),
        _text(draft, "recipient_id"),
        Given.RECIPIENT_EXTERNAL_ID,
        Given.RECIPIENT_ID,
    )
    good &= is_plain
    return _Plain(
        good=good, program=program, given=given | recipient_given, participant=participant, recipient=recipient
    )


def _text(draft: Draft, name: str) -> pa.Array:
    column = draft.texts.get(name)
    return pa.nulls(len(draft.source_rows), pa.string()) if column is None else column


def _holders(keys: pa.Array, ids: pa.Array, key_bit: Given, id_bit: Given) -> tuple[Int8s, pa.Array, Bools]:
    """(bit of the field given, the text as given, whether the row is plain) from the key and the id column."""
    by_key, by_id = present_rows(keys), present_rows(ids)
    given = np.where(by_key, np.int8(key_bit), np.where(by_id, np.int8(id_bit), np.int8(0)))
    plain = (~by_key | plain_lengths(keys)) & ~(by_key & by_id)
    if not by_id.any():
        return given, keys, plain
    return given, pc.coalesce(keys, ids), plain & plain_uuids(ids)


def _plain_batch(draft: Draft, plain: _Plain, intake: Intake, good: Int64s) -> pa.RecordBatch:
    """The good rows as records."""
    rows = len(good)
    keys = _text(draft, "idempotency_key")
    columns: dict[str, pa.Array] = {
        "position": pa.array(np.zeros(rows, np.int64)),
        "source": pa.array(np.full(rows, intake.source, np.int32)),
        "source_row": pa.array(draft.source_rows[good]),
        "record_kind": pa.array(np.full(rows, int(RecordKind.EVENT), np.int8)),
        "operation": pa.array(np.zeros(rows, np.int8)),
        "program": pa.array(plain.program[good]),
        "timestamp": pa.array(draft.timestamps[good]),
        "given": pa.array(plain.given[good]),
        "fields": pa.nulls(rows, pa.string()),
    }
    texts = {
        "idempotency_key": keys,
        "participant": plain.participant,
        "recipient": plain.recipient,
        "event_data": draft.event_data,
    }
    for name, column in texts.items():
        columns[name] = (column if rows == len(column) else column.take(pa.array(good))).cast(pa.string())
    columns["key_hash"] = pa.array(hash_texts(columns["idempotency_key"]))
    for path, cell in enumerate(draft.cells):
        kind, value, scale = (pa.array(part[good]) for part in (cell[0], cell[1], cell[2]))
        columns.update(zip(cell_names(path), (kind, value, scale), strict=True))
    return _batch(columns, len(intake.paths))


def _operation_batch(operations: PlainOperations, draft: Draft, intake: Intake) -> pa.RecordBatch:
    """Good operations as records; no rule reads anything of them."""
    rows = len(operations.rows)
    columns: dict[str, pa.Array] = {
        "position": pa.array(np.zeros(rows, np.int64)),
        "source": pa.array(np.full(rows, intake.source, np.int32)),
        "source_row": pa.array(draft.source_rows[operations.rows]),
        "record_kind": pa.array(np.full(rows, int(RecordKind.OPERATION), np.int8)),
        "operation": pa.array(operations.operation),
        "program": pa.array(operations.program),
        "idempotency_key": operations.keys,
        "key_hash": pa.array(hash_texts(operations.keys)),
        "timestamp": pa.array(operations.timestamps),
        "given": pa.array(operations.given),
        "participant": operations.participants,
        "recipient": pa.nulls(rows, pa.string()),
        "event_data": pa.nulls(rows, pa.string()),
        "fields": operations.fields,
    }
    for path in range(len(intake.paths)):
        absent = (np.zeros(rows, np.int8), np.zeros(rows, np.int64), np.zeros(rows, np.int8))
        columns.update(zip(cell_names(path), map(pa.array, absent), strict=True))
    return _batch(columns, len(intake.paths))


def _batch(columns: Mapping[str, pa.Array], paths: int) -> pa.RecordBatch:
    schema = records_schema(paths)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _in_row_order(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of batches, each in row order, in the order of all."""
    filled = [batch for batch in batches if len(batch)]
    if len(filled) < 2:
        return filled[0] if filled else batches[0]
    together = pa.concat_batches(filled)
    return together.take(pa.array(np.argsort(together.column("source_row").to_numpy(), kind="stable")))


def record_rows(
    records: list[tuple[int, Record]], source: int, paths: Sequence[tuple[str, ...]], pool: StringPool
) -> pa.RecordBatch:
    """(source row, record) pairs that were made one by one, with the cells of the event paths, in their order."""
    rows = len(records)
    keys = pa.array([record.idempotency_key for _, record in records], pa.string())
    columns: dict[str, pa.Array] = {
        "position": pa.array(np.zeros(rows, np.int64)),
        "source": pa.array(np.full(rows, source, np.int32)),
        "source_row": pa.array([source_row for source_row, _ in records], pa.int64()),
        "key_hash": pa.array(hash_texts(keys)),
        "idempotency_key": keys,
    }
    for name in ("record_kind", "operation", "program", "timestamp", "given", "participant", "recipient",
                 "event_data", "fields"):  # fmt: skip
        kind = records_schema(0).field(name).type
        columns[name] = pa.array([getattr(record, name) for _, record in records], kind)
    for path, members in enumerate(paths):
        cells = [cell_of(record.event, members) for _, record in records]
        values = np.array([cell[1] for cell in cells], np.int64)
        texts = [index for index, cell in enumerate(cells) if cell[0] is Kind.TEXT]
        values[texts] = pool.intern(pa.array([cells[index][3] for index in texts], pa.string()))
        scales = np.array([cell[2] for cell in cells], np.int8)
        kinds = np.array([cell[0] for cell in cells], np.int8)
        for name, column in zip(cell_names(path), (kinds, values, scales), strict=True):
            columns[name] = pa.array(column)
    return _batch(columns, len(paths))
