"""The table `input`: the rows of a file as they are, in any format, and the query of a mapping over them (§4.1).

CSV cells and NDJSON members arrive as texts, columns of Parquet and Arrow with their types. Rows that are no rows of
the file's format never reach the table; they are set aside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.intake import RowMistake
from earnbook.pipeline.intake_columns import reject_of
from earnbook.pipeline.intake_json import NumberText, Value, write_json
from earnbook.pipeline.records import Reject, RejectReason
from earnbook.pipeline.source_columns import ROWS_MAX
from earnbook.pipeline.source_csv import CsvReader
from earnbook.pipeline.source_files import InputFile, InputStream, open_stream
from earnbook.pipeline.source_ndjson import line_blocks, raw_text, read_line
from earnbook.pipeline.source_purity import find_impurity
from earnbook.pipeline.source_read import OnRead, misshapen_reject, open_tables
from earnbook.pipeline.source_text import utf8_rows

INPUT_MEMORY = "1GiB"
"""What DuckDB may use for the input table and the query; beyond that it uses a temporary directory."""

_BUFFER_BYTES = 1 << 20
_NOT_UTF8 = RowMistake(RejectReason.UNPARSEABLE_ROW, "", "the row is not UTF-8: save the file as UTF-8")


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


class InputTable:
    """The rows of one file, read once; `set_aside`, `sha256` and `rows` count when they have been read.

    `source` is the number of the file in what is set aside.
    """

    def __init__(self, file: InputFile, on_read: OnRead, *, source: int = 0) -> None:
        self._file = file
        self._on_read = on_read
        self._source = source
        self.sha256 = ""
        self.set_aside: list[Reject] = []

    def open(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The columns, and the rows in the order of the file."""
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

    def fill(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Make the table `input` and lock the connection down; returns how many rows the file has."""
        schema, batches = self.open()
        rows = pa.RecordBatchReader.from_batches(schema, batches)
        connection.register("file_rows", rows)
        connection.execute("CREATE TABLE input AS SELECT * FROM file_rows")
        connection.unregister("file_rows")
        count = connection.execute("SELECT count(*) FROM input").fetchone()
        for setting in (
            "TimeZone = 'UTC'",
            "python_enable_replacements = false",
            "enable_external_access = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        return (count[0] if count else 0) + len(self.set_aside)

    def _csv_rows(self, reader: CsvReader, schema: pa.Schema, stream: InputStream) -> Iterator[pa.RecordBatch]:
        """Cells as texts; misshapen rows and those that are not UTF-8 are set aside."""
        for block in reader:
            self.set_aside += (misshapen_reject(row, self._source) for row in block.misshapen)
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
        self.set_aside.append(reject_of(mistake, self._source, source_row, raw))


@contextmanager
def input_session(scratch: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own for one table `input` and one query; single-threaded, so that rows keep their order."""
    with tempfile.TemporaryDirectory(prefix="earnbook-map-", dir=scratch) as directory:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": "1",
            "memory_limit": INPUT_MEMORY,
            "temp_directory": directory,
            "preserve_insertion_order": "true",
        }
        with duckdb.connect(":memory:", config=config) as connection:
            yield connection


@contextmanager
def mapped_rows(connection: duckdb.DuckDBPyConnection, select: str, name: str) -> Iterator[pa.RecordBatchReader]:
    """The result of a mapping's query; raises SourceError where it fails, here or while it is read."""
    try:
        yield connection.sql(select).to_arrow_reader(ROWS_MAX)
    except (duckdb.Error, pa.ArrowInvalid) as error:
        raise SourceError(f"{name}: the mapping failed: {error}", "Correct its SQL.") from error


def _bare_text(value: Value, text: str) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) and not isinstance(value, NumberText) else text
