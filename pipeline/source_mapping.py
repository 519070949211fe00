"""Mapped sources: a partner's own columns become records by SQL over the table `input`, run by DuckDB (§4.1).

The query must be pure: the same file gives the same rows on any day and machine. Its syntax tree is checked (see
`source_purity`), and it runs single-threaded in a connection of its own without access to files or extensions. Row
order is not defined by SQL, so input positions are the rank by (timestamp, idempotency_key, canonical payload).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int64s
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.intake import RowMistake
from earnbook.pipeline.intake_columns import Conformed, Intake, reject_of
from earnbook.pipeline.intake_json import NumberText, Value, write_json
from earnbook.pipeline.order import canonical_payload
from earnbook.pipeline.records import RECORD_FIELDS, Reject, RejectReason
from earnbook.pipeline.source_bytes import Bools
from earnbook.pipeline.source_columns import ROWS_MAX, check_layout, read_tables
from earnbook.pipeline.source_csv import CsvReader
from earnbook.pipeline.source_files import InputFile, InputStream, open_stream
from earnbook.pipeline.source_ndjson import line_blocks, raw_text, read_line
from earnbook.pipeline.source_purity import find_impurity
from earnbook.pipeline.source_read import OnRead, misshapen_reject, open_tables
from earnbook.pipeline.source_text import utf8_rows
from earnbook.pipeline.stage_store import RecordStore

INPUT_MEMORY = "1GiB"
"""What DuckDB may use for the input table and the query; beyond that it uses a temporary directory."""

_BUFFER_BYTES = 1 << 20
_NOT_UTF8 = RowMistake(RejectReason.UNPARSEABLE_ROW, "", "the row is not UTF-8: save the file as UTF-8")
_KEYS = pa.schema([RECORD_FIELDS.field(name) for name in ("timestamp", "idempotency_key", "key_hash")])


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMapping:
    """A definition of `sources`: the query (None: the columns are records as they are), format, zone of bare times."""

    name: str
    select: str | None = None
    format: str | None = None
    timezone: str | None = None


def check_mapping(mapping: SourceMapping) -> None:
    """Raise SourceError where the query of a mapping is not a pure query of `input`."""
    why = None if mapping.select is None else find_impurity(mapping.select)
    if why is not None:
        raise SourceError(
            f"source {mapping.name}: {why}",
            "A mapping is one SELECT over the table `input`, without clock, chance, other tables or files.",
        )


class MappedReader:
    """Reads one source through its mapping: iterate for conformed rows; the counts and hashes count after that.

    `set_aside` holds rows of the file that never reached the query (misshapen, not UTF-8), `input_rows` counts all rows
    of the file. The conformed rows have provisional row numbers; `rank_records` gives the final ones.
    """

    def __init__(
        self, file: InputFile, mapping: SourceMapping, intake: Intake, on_read: OnRead, scratch: Path | None
    ) -> None:
        self._file = file
        self._mapping = mapping
        self._select = mapping.select or "SELECT * FROM input"
        self._intake = intake
        self._on_read = on_read
        self._scratch = scratch
        self.sha256 = ""
        self.mapping_sha256 = hashlib.sha256(self._select.encode()).hexdigest()
        self.input_rows = 0
        self.set_aside: list[Reject] = []

    def __iter__(self) -> Iterator[Conformed]:
        """Conformed rows of the query's result; raises SourceError where it fails or has no usable columns."""
        name = f"{self._file.name} (source {self._mapping.name})"
        with tempfile.TemporaryDirectory(prefix="earnbook-map-", dir=self._scratch) as scratch:
            config: dict[str, str | bool | int | float | list[str]] = {
                "threads": "1",
                "memory_limit": INPUT_MEMORY,
                "temp_directory": scratch,
                "preserve_insertion_order": "true",
            }
            with duckdb.connect(":memory:", config=config) as connection:
                self._load(connection)
                try:
                    result = connection.sql(self._select).to_arrow_reader(ROWS_MAX)
                    layout = check_layout(result.schema.names, name, is_cells=False, timezone=self._mapping.timezone)
                    yield from read_tables(result, layout, name, self._intake)
                except (duckdb.Error, pa.ArrowInvalid) as error:
                    raise SourceError(f"{name}: the mapping failed: {error}", "Correct its SQL.") from error

    def _load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Fill the table `input`, then lock the connection down."""
        schema, batches = self._open()
        rows = pa.RecordBatchReader.from_batches(schema, batches)
        connection.register("file_rows", rows)
        connection.execute("CREATE TABLE input AS SELECT * FROM file_rows")
        connection.unregister("file_rows")
        count = connection.execute("SELECT count(*) FROM input").fetchone()
        self.input_rows = (count[0] if count else 0) + len(self.set_aside)
        for setting in (
            "TimeZone = 'UTC'",
            "python_enable_replacements = false",
            "enable_external_access = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")

    def _open(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        if self._file.format in ("parquet", "arrow"):
            tables = open_tables(self._file, self._on_read)
            self.sha256 = tables.sha256
            return tables.schema, tables.batches
        if self._file.format == "ndjson":
            rows = self._ndjson_rows()
            return rows.schema, iter(rows.to_batches())
        stream = open_stream(self._file, self._on_read)
        reader = CsvReader(BufferedReader(stream, _BUFFER_BYTES), self._file.name)
        schema = pa.schema([pa.field(name, pa.string()) for name in reader.names])
        return schema, self._csv_rows(reader, schema, stream)

    def _csv_rows(self, reader: CsvReader, schema: pa.Schema, stream: InputStream) -> Iterator[pa.RecordBatch]:
        """Cells as texts; misshapen rows and those that are not UTF-8 are set aside."""
        for block in reader:
            self.set_aside += (misshapen_reject(row, self._intake.source) for row in block.misshapen)
            columns = [column.combine_chunks() for column in block.cells.columns]
            good = np.ones(len(block.cells), np.bool_)
            for column in columns:
                good &= utf8_rows(column)
            for index in np.flatnonzero(~good).tolist():
                cells: dict[str, Value] = {
                    name: raw_text(column[index].as_py()) for name, column in zip(reader.names, columns, strict=True)
                }
                self._set_aside(int(block.source_rows[index]), _NOT_UTF8, write_json(cells))
            chosen = pa.array(np.flatnonzero(good))
            arrays = [column.take(chosen).view(pa.string()) for column in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        self.sha256 = stream.sha256()
        stream.close()

    def _ndjson_rows(self) -> pa.Table:
        """Members as texts, objects and lists as JSON text; a column for every member of any row."""
        rows: list[dict[str, str | None]] = []
        stream = open_stream(self._file, self._on_read)
        line = 0
        with BufferedReader(stream, _BUFFER_BYTES) as buffered:
            for block in line_blocks(buffered, self._file.name):
                for data in block.removesuffix(b"\n").split(b"\n"):
                    line += 1
                    if not data.strip():
                        continue
                    try:
                        row = read_line(data)
                    except RowMistake as mistake:
                        self._set_aside(line, mistake, raw_text(data))
                        continue
                    rows.append({name: _bare_text(value, row.texts[name]) for name, value in row.values.items()})
            self.sha256 = stream.sha256()
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})

    def _set_aside(self, source_row: int, mistake: RowMistake, raw: str) -> None:
        self.set_aside.append(reject_of(mistake, self._intake.source, source_row, raw))


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


def _bare_text(value: Value, text: str) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) and not isinstance(value, NumberText) else text
