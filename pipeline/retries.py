"""Which event each retry_event of a batch means (§15.3): a record of the batch, one of the book, or none.

An event that the batch itself will generate is not known yet: the kernel asks for it when it comes to the operation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.layout import EVENT_ASK, EVENT_UNKNOWN
from earnbook.ledger.pool import StringPool, hash_texts
from earnbook.ledger.schema import Int64s, OperationType, RecordKind
from earnbook.pipeline.batch_rows import BatchRows, KnownEvents, batch_rows
from earnbook.pipeline.intake import KEY_PREFIX_RESERVED, Record
from earnbook.pipeline.intake_columns import record_rows
from earnbook.pipeline.intake_json import parse_value
from earnbook.pipeline.load import find_event_numbers, load_events
from earnbook.pipeline.records import Given


@dataclass(frozen=True, slots=True)
class EventName:
    """How an operation names an event: the slot of its program, and its key or its id."""

    program: int
    key: str | None
    id: str | None


def retry_rows(records: pa.Table) -> Int64s:
    """The rows of a batch that are retry_event operations."""
    return np.flatnonzero(records.column("operation").to_numpy() == int(OperationType.RETRY_EVENT))


def name_of(records: pa.Table, row: int) -> EventName:
    """The event that the retry_event at a row names."""
    fields = json.loads(records.column("fields")[row].as_py())
    given = fields.get("event_id")
    return EventName(
        records.column("program")[row].as_py(), fields.get("event_key"), None if given is None else str(UUID(given))
    )


def rows_with_retries(
    connection: duckdb.DuckDBPyConnection,
    records: pa.Table,
    templates: pa.Table,
    *,
    program_ids: Sequence[str],
    paths: Sequence[tuple[str, ...]],
    pool: StringPool,
) -> BatchRows:
    """The rows of a batch with retry_event operations; every earlier batch is in the book by now."""
    operations = retry_rows(records)
    names = {int(row): name_of(records, int(row)) for row in operations}
    wanted = list(dict.fromkeys(names.values()))
    of_batch = _in_batch(records, wanted, program_ids)
    of_book = _in_book(connection, [name for name in wanted if name not in of_batch], program_ids)
    numbers = pa.array(sorted(set(of_book.values())), pa.int64())
    known = load_events(connection, numbers).to_pylist() if of_book else []
    first = records.num_rows + templates.num_rows
    places = {row["log_seq"]: first + place for place, row in enumerate(known)}
    retried = np.zeros(records.num_rows, np.int64)
    for row, name in names.items():
        if name in of_batch:
            # An event that comes after the operation is not there yet.
            retried[row] = of_batch[name] if of_batch[name] < row else EVENT_UNKNOWN
        elif name in of_book:
            retried[row] = places[of_book[name]]
        else:
            may_come = name.key is None or name.key.startswith(KEY_PREFIX_RESERVED)
            retried[row] = EVENT_ASK if may_come else EVENT_UNKNOWN
    descents = [-1 if row["generation"] is None else 2 * row["generation"] + row["under_broadcast"] for row in known]
    events = KnownEvents(
        rows=pa.Table.from_batches([record_rows([(0, _record(row)) for row in known], 0, paths, pool)]),
        log_seq=np.array([row["log_seq"] for row in known], np.int64),
        outcome=np.array([row["outcome"] for row in known], np.int64),
        attempts=np.array([row["attempts"] for row in known], np.int64),
        descent=np.array(descents, np.int64),
    )
    return batch_rows(records, templates, known=events, retried=retried)


def _in_batch(records: pa.Table, wanted: list[EventName], program_ids: Sequence[str]) -> dict[EventName, int]:
    """The rows of the batch's own events that are named."""
    is_event = pc.equal(records.column("record_kind"), int(RecordKind.EVENT))
    keys = pa.array({name.key for name in wanted if name.key is not None}, pa.string())
    # An id names whatever has it, so all keys of its program must be hashed.
    by_id = {name.program for name in wanted if name.id is not None}
    asked = pc.or_(
        pc.is_in(records.column("idempotency_key"), value_set=keys),
        pc.is_in(records.column("program"), value_set=pa.array(by_id, pa.int32())),
    )
    rows = np.flatnonzero(pc.and_(is_event, asked).to_numpy())
    few = records.select(["program", "idempotency_key"]).take(pa.array(rows)).to_pylist()
    found: dict[EventName, int] = {}
    for row, record in zip(rows.tolist(), few, strict=True):
        program, key = record["program"], record["idempotency_key"]
        found.setdefault(EventName(program, key, None), row)
        if program in by_id:
            found.setdefault(EventName(program, None, str(uuid5(UUID(program_ids[program]), key))), row)
    return {name: found[name] for name in wanted if name in found}


def _in_book(
    connection: duckdb.DuckDBPyConnection, wanted: list[EventName], program_ids: Sequence[str]
) -> dict[EventName, int]:
    """The log_seq of the book's events that are named; the book is asked only where any are."""
    if not wanted:
        return {}
    keys = pa.array([name.key for name in wanted if name.key is not None], pa.string())
    ids = pa.array([name.id for name in wanted if name.id is not None], pa.string())
    found: dict[EventName, int] = {}
    for row in find_event_numbers(connection, key_hashes=pa.array(hash_texts(keys)), ids=ids).to_pylist():
        program, key = row["program"] - 1, row["idempotency_key"]
        found[EventName(program, key, None)] = row["log_seq"]
        if len(ids):
            found[EventName(program, None, str(uuid5(UUID(program_ids[program]), key)))] = row["log_seq"]
    return {name: found[name] for name in wanted if name in found}


def _record(row: dict[str, object]) -> Record:
    """A stored event as it was given."""
    data = str(row["event_data"])
    program, timestamp, given = row["program"], row["event_timestamp"], row["given"]
    participant, recipient = row["participant"], row["recipient"]
    assert isinstance(program, int)
    assert isinstance(timestamp, int)
    assert isinstance(given, int)
    return Record(
        record_kind=RecordKind.EVENT,
        program=program - 1,
        idempotency_key=str(row["idempotency_key"]),
        timestamp=timestamp,
        given=Given(given),
        participant=None if participant is None else str(participant),
        recipient=None if recipient is None else str(recipient),
        event_data=data,
        event=parse_value(data),
    )
