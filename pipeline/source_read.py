"""One source from file to conformed records, whatever its format (§3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader

import pyarrow as pa
import pyarrow.parquet as pq

from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.intake import RowMistake
from earnbook.pipeline.intake_columns import Conformed, Intake, no_records, reject_of
from earnbook.pipeline.records import Reject, RejectReason
from earnbook.pipeline.source_columns import ROWS_MAX, check_layout, conform_table, read_tables
from earnbook.pipeline.source_csv import CsvReader, MisshapenRow
from earnbook.pipeline.source_files import InputFile, open_mapped, open_stream
from earnbook.pipeline.source_ndjson import read_ndjson

_BUFFER_BYTES = 1 << 20

OnRead = Callable[[int], None]


class SourceReader:
    """Reads one source once: iterate for conformed rows in order; `sha256` counts after that."""

    def __init__(self, file: InputFile, intake: Intake, on_read: OnRead, timezone: str | None = None) -> None:
        self._file = file
        self._intake = intake
        self._on_read = on_read
        self._timezone = timezone
        self.sha256 = ""

    def __iter__(self) -> Iterator[Conformed]:
        """Conformed rows; raises SourceError where the source cannot be read or has no usable schema."""
        if self._file.format in ("parquet", "arrow"):
            yield from self._read_tables()
            return
        raw = open_stream(self._file, self._on_read)
        with BufferedReader(raw, _BUFFER_BYTES) as stream:
            if self._file.format == "ndjson":
                yield from read_ndjson(stream, self._file.name, self._intake)
            else:
                yield from self._read_csv(CsvReader(stream, self._file.name))
            self.sha256 = raw.sha256()

    def _read_csv(self, reader: CsvReader) -> Iterator[Conformed]:
        name = self._file.name
        layout = check_layout(list(reader.names), name, is_cells=True, timezone=self._timezone)
        for block in reader:
            if block.misshapen:
                rejects = tuple(misshapen_reject(row, self._intake.source) for row in block.misshapen)
                yield no_records(self._intake, rejects)
            for start in range(0, len(block.cells), ROWS_MAX):
                part = block.cells.slice(start, ROWS_MAX)
                yield conform_table(part, block.source_rows[start : start + ROWS_MAX], layout, name, self._intake)

    def _read_tables(self) -> Iterator[Conformed]:
        name = self._file.name
        tables = open_tables(self._file, self._on_read)
        self.sha256 = tables.sha256
        layout = check_layout(list(tables.schema.names), name, is_cells=False, timezone=self._timezone)
        yield from read_tables(tables.batches, layout, name, self._intake)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """A Parquet or Arrow file: its columns, its rows in order, and the hash of its bytes."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    sha256: str


def open_tables(file: InputFile, on_read: OnRead) -> Tables:
    """Open a Parquet or Arrow IPC file; raises SourceError here or while it is read."""
    source, sha256 = open_mapped(file, on_read)
    try:
        schema, batches = _open_parquet(source) if file.format == "parquet" else _open_arrow(source)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    return Tables(schema=schema, batches=_guarded(batches, file), sha256=sha256)


def misshapen_reject(row: MisshapenRow, source: int) -> Reject:
    """The reject of a CSV row with a wrong number of cells."""
    why = f"the row has {row.cells} cells, the header {row.cells_expected}: correct commas and quotes"
    return reject_of(RowMistake(RejectReason.UNPARSEABLE_ROW, "", why), source, row.source_row, row.raw)


def _open_parquet(source: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    reader = pq.ParquetFile(source)
    return reader.schema_arrow, reader.iter_batches(batch_size=ROWS_MAX, use_threads=True)


def _open_arrow(source: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """An IPC file, or an IPC stream."""
    try:
        reader = pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return stream.schema, iter(stream)
    return reader.schema, (reader.get_batch(index) for index in range(reader.num_record_batches))


def _guarded(batches: Iterator[pa.RecordBatch], file: InputFile) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: InputFile, error: Exception) -> SourceError:
    return SourceError(
        f"{file.name}: it is not readable as {file.format}: {error}",
        "Check that the file is complete and of the format its name says.",
    )
