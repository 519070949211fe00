"""Mapped sources: a partner's own columns become records by SQL over the table `input`, run by DuckDB (§4.1).

The query must be pure: the same file gives the same rows on any day and machine. Its syntax tree is checked (see
`source_purity`), and it runs single-threaded in a connection of its own without access to files or extensions. Row
order is not defined by SQL, so input positions are the rank by (timestamp, idempotency_key, canonical payload).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int64s
from earnbook.pipeline.intake_columns import Conformed, Intake
from earnbook.pipeline.order import canonical_payload
from earnbook.pipeline.records import RECORD_FIELDS, Reject
from earnbook.pipeline.source_bytes import Bools
from earnbook.pipeline.source_columns import check_layout, read_tables
from earnbook.pipeline.source_files import InputFile
from earnbook.pipeline.source_input import InputTable, SourceMapping, input_session, mapped_rows
from earnbook.pipeline.source_read import OnRead
from earnbook.pipeline.stage_store import RecordStore

_KEYS = pa.schema([RECORD_FIELDS.field(name) for name in ("timestamp", "idempotency_key", "key_hash")])


class MappedReader:
    """Reads one source through its mapping: iterate for conformed rows; the counts and hashes count after that.

    `set_aside` holds rows of the file that never reached the query (misshapen, not UTF-8), `input_rows` counts all rows
    of the file. The conformed rows have provisional row numbers; `rank_records` gives the final ones.
    """

    def __init__(
        self, file: InputFile, mapping: SourceMapping, intake: Intake, on_read: OnRead, scratch: Path | None
    ) -> None:
        self._name = f"{file.name} (source {mapping.name})"
        self._timezone = mapping.timezone
        self._select = mapping.select or "SELECT * FROM input"
        self._intake = intake
        self._scratch = scratch
        self._input = InputTable(file, on_read, source=intake.source)
        self.mapping_sha256 = hashlib.sha256(self._select.encode()).hexdigest()
        self.input_rows = 0

    def __iter__(self) -> Iterator[Conformed]:
        """Conformed rows of the query's result; raises SourceError where it fails or has no usable columns."""
        with input_session(self._scratch) as connection:
            self.input_rows = self._input.fill(connection)
            with mapped_rows(connection, self._select, self._name) as result:
                layout = check_layout(result.schema.names, self._name, is_cells=False, timezone=self._timezone)
                yield from read_tables(result, layout, self._name, self._intake)

    @property
    def set_aside(self) -> list[Reject]:
        """Rows of the file that never reached the query."""
        return self._input.set_aside

    @property
    def sha256(self) -> str:
        """The hash of the file's bytes."""
        return self._input.sha256


def rank_records(store: RecordStore, rejects: list[Reject], *, first_position: int) -> list[Reject]:
    """Number the records of one mapped source by their rank, from `first_position`; returns the renumbered rejects.

    Records come first, by (timestamp, idempotency_key, canonical payload); rejected rows follow in the order of their
    raw text, so that the same file gives the same numbers whatever order the query returned.
    """
    ranks = _ranks(store)
    done = 0

    def numbered(chunk: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal done
        part = ranks[done : done + len(chunk)]
        done += len(chunk)
        chunk = chunk.set_column(0, chunk.schema.field("position"), pa.array(part + first_position))
        return chunk.set_column(2, chunk.schema.field("source_row"), pa.array(part + 1))

    store.transform(numbered)
    ordered = sorted(rejects, key=lambda reject: (reject.raw, reject.reason))
    return [replace(reject, source_row=len(ranks) + 1 + index) for index, reject in enumerate(ordered)]


def _ranks(store: RecordStore) -> Int64s:
    """The rank of every record of the store, in the order they are held."""
    columns = ["timestamp", "idempotency_key", "key_hash"]
    table = pa.Table.from_batches([chunk.select(columns) for chunk in store.chunks()], _KEYS)
    order = pc.sort_indices(
        table, sort_keys=[("timestamp", "ascending"), ("idempotency_key", "ascending")]
    ).to_numpy().astype(np.int64)  # fmt: skip
    times, hashes = table.column("timestamp").to_numpy()[order], table.column("key_hash").to_numpy()[order]
    same = np.zeros(len(order) + 1, np.bool_)
    same[1:-1] = (times[1:] == times[:-1]) & (hashes[1:] == hashes[:-1])
    _order_ties(order, same, store)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _order_ties(order: Int64s, same: Bools, store: RecordStore) -> None:
    """Put records of one timestamp and key into the order of their payloads; `same[i]`: i goes with i - 1."""
    tied = np.flatnonzero(same[1:] | same[:-1])
    if len(tied) == 0:
        return
    payloads = _payloads(store, np.sort(order[tied]))
    start = 0
    while start < len(tied):
        stop = start + 1
        while stop < len(tied) and same[tied[stop]] and tied[stop] == tied[stop - 1] + 1:
            stop += 1
        group = order[tied[start:stop]].tolist()
        order[tied[start:stop]] = sorted(group, key=lambda index: payloads[index])
        start = stop


def _payloads(store: RecordStore, indices: Int64s) -> dict[int, tuple[str, str]]:
    """(key, canonical payload) of the records that stand at `indices`, ascending, in the store."""
    payloads: dict[int, tuple[str, str]] = {}
    first = 0
    for chunk in store.chunks():
        wanted = indices[(indices >= first) & (indices < first + len(chunk))]
        for index, record in zip(wanted.tolist(), chunk.take(pa.array(wanted - first)).to_pylist(), strict=True):
            payloads[index] = (record["idempotency_key"], canonical_payload(record))
        first += len(chunk)
    return payloads
