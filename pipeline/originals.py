"""The book's records that a batch may repeat, in the form in which duplicates are found (§3.4)."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import RecordKind
from earnbook.pipeline.load import find_event_keys, find_operation_keys
from earnbook.pipeline.records import ORIGINALS


def find_originals(connection: duckdb.DuckDBPyConnection, batch: pa.Table) -> pa.Table:
    """The stored records whose key hash occurs in the batch (schema `records.ORIGINALS`), events before operations."""
    hashes = batch.column("key_hash")
    is_event = pc.equal(batch.column("record_kind"), int(RecordKind.EVENT))
    parts = [_events(find_event_keys(connection, hashes.filter(is_event).combine_chunks()))]
    if not pc.all(is_event).as_py():
        parts.append(_operations(find_operation_keys(connection, hashes.filter(pc.invert(is_event)).combine_chunks())))
    return pa.concat_tables(parts)


def _events(found: pa.Table) -> pa.Table:
    return _table(
        found,
        record_kind=int(RecordKind.EVENT),
        operation=0,
        timestamp=found.column("event_timestamp"),
        given=found.column("given"),
        participant=pc.coalesce(found.column("given_participant"), found.column("external_id")),
        recipient=pc.coalesce(found.column("given_recipient"), found.column("recipient_external_id")),
        event_data=found.column("event_data"),
        fields=None,
    )


def _operations(found: pa.Table) -> pa.Table:
    return _table(
        found,
        record_kind=int(RecordKind.OPERATION),
        operation=found.column("type"),
        timestamp=found.column("effective_at"),
        given=0,
        participant=None,
        recipient=None,
        event_data=None,
        fields=found.column("fields"),
    )


def _table(found: pa.Table, **columns: pa.ChunkedArray | int | None) -> pa.Table:
    """Numbers of programs become indexes: the program numbered n has index n - 1."""
    columns |= {name: found.column(name) for name in ("idempotency_key", "key_hash", "log_seq")}
    columns["program"] = pc.subtract(found.column("program"), pa.scalar(1, pa.int32()))
    arrays = []
    for wanted in ORIGINALS:
        column = columns[wanted.name]
        if column is None:
            arrays.append(pa.nulls(found.num_rows, wanted.type))
        elif isinstance(column, int):
            arrays.append(pa.array(np.full(found.num_rows, column), wanted.type))
        else:
            arrays.append(column.cast(wanted.type))
    return pa.table(arrays, schema=ORIGINALS)
