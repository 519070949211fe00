"""CSV sources: cells as texts, rows with a wrong number of cells set aside.

RFC 4180: comma, double quotes (doubled inside), line breaks inside quotes, a header. Blank lines are no rows. Every
cell is text; what it means is for `source_columns` or a mapping to say.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from earnbook.ledger.schema import Int64s
from earnbook.pipeline.errors import SourceError

BLOCK_BYTES = 8 << 20
"""Bytes parsed at a time; a row may not be longer."""

HEADER_BYTES_MAX = 1 << 20
"""Bytes of the header row."""

_BOM = b"\xef\xbb\xbf"
# A byte that is not UTF-8 travels through the parser as two code points that Unicode sets aside for internal use, one
# for each half of the byte.
_HIGH, _LOW = 0xFDD0, 0xFDE0
_BROKEN = re.compile(rb"\xef\xb7([\x98-\x9f])\xef\xb7([\xa0-\xaf])")
_BROKEN_START = b"\xef\xb7"
_BROKEN_HANDLER = "earnbook.broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class MisshapenRow:
    """A row with a wrong number of cells."""

    source_row: int
    cells: int
    cells_expected: int
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvBlock:
    """Rows of a CSV file: cells (binary columns), the row number of each, and the misshapen rows among them."""

    cells: pa.Table
    source_rows: Int64s
    misshapen: tuple[MisshapenRow, ...]


class CsvReader:
    """A CSV stream: `names` are the header's columns; iterate for blocks of rows, in order."""

    def __init__(self, stream: IO[bytes], name: str, block_bytes: int = BLOCK_BYTES) -> None:
        self._name = name
        self._block_bytes = block_bytes
        head, rest = _split_header(stream, name)
        self.names = _header(head, name)
        self._stream = _Rest(rest, stream)

    def __iter__(self) -> Iterator[CsvBlock]:
        """Blocks of rows; raises SourceError where the file is not CSV."""
        if self._stream.is_empty():
            return
        misshapen: list[MisshapenRow] = []
        row = 1
        last = None
        try:
            for batch in self._open(misshapen):
                last = batch if len(batch) else last
                block, row = _number_rows(self._stream.restore(batch), row, misshapen)
                yield block
        except pa.ArrowInvalid as error:
            why = "a row is too long, or a quote is never closed" if "straddling" in str(error) else str(error)
            raise SourceError(f"{self._name}: it is not readable as CSV: {why}", "Check quotes and commas.") from error
        if misshapen:
            yield _number_rows(
                pa.record_batch({name: pa.array([], pa.binary()) for name in self.names}), row, misshapen
            )[0]
        if self._stream.quotes % 2 and last is not None and _spans_lines(last):
            raise SourceError(
                f"{self._name}: a quote that is opened near the end is never closed", "Complete or correct the file."
            )

    def _open(self, misshapen: list[MisshapenRow]) -> Iterator[pa.RecordBatch]:
        def set_aside(row: arrow_csv.InvalidRow) -> str:
            misshapen.append(
                MisshapenRow(
                    source_row=row.number,
                    cells=row.actual_columns,
                    cells_expected=row.expected_columns,
                    raw=_unwrap_broken(row.text.encode()).decode(errors="backslashreplace"),
                )
            )
            return "skip"

        reader: Iterator[pa.RecordBatch] = arrow_csv.open_csv(
            self._stream,
            # One thread: only then are misshapen rows numbered.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=self._block_bytes, column_names=list(self.names)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=",",
                quote_char='"',
                double_quote=True,
                escape_char=False,
                newlines_in_values=True,
                ignore_empty_lines=True,
                invalid_row_handler=set_aside,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.binary() for name in self.names}, null_values=[], strings_can_be_null=False
            ),
        )
        return reader


class _Rest(io.RawIOBase):
    """What follows the header; counts the quotes that pass, and wraps bytes that are not UTF-8.

    The parser hands misshapen rows over as text, so what it reads must be UTF-8; `restore` unwraps the cells.
    """

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        super().__init__()
        codecs.register_error(_BROKEN_HANDLER, _wrap_broken)
        self._decoder = codecs.getincrementaldecoder("utf-8")(_BROKEN_HANDLER)
        self._head = head
        self._stream = stream
        self._ready = b""
        self._is_broken = False
        self.quotes = 0

    def is_empty(self) -> bool:
        """Whether no row follows (blank lines do not count)."""
        while not self._head.strip(b"\r\n"):
            self._head = self._stream.read(BLOCK_BYTES)
            if not self._head:
                return True
        return False

    def restore(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with every wrapped byte as it was."""
        if not self._is_broken:
            return batch
        return pa.RecordBatch.from_arrays([_restore_column(column) for column in batch.columns], schema=batch.schema)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        # The parser takes every read for a block, and a row may lie in two blocks only: short reads would break rows.
        parts, size = [self._ready], len(self._ready)
        while size < len(buffer):
            data = self._head or self._stream.read(len(buffer))
            self._head = b""
            parts.append(self._decoder.decode(data, final=not data).encode())
            size += len(parts[-1])
            if not data:
                break
        ready = b"".join(parts)
        self._is_broken = self._is_broken or _BROKEN.search(ready) is not None
        part, self._ready = ready[: len(buffer)], ready[len(buffer) :]
        self.quotes += part.count(b'"')
        buffer[: len(part)] = part
        return len(part)


def _wrap_broken(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    broken = error.object[error.start : error.end]
    return "".join(chr(_HIGH + (byte >> 4)) + chr(_LOW + (byte & 15)) for byte in broken), error.end


def _unwrap_broken(data: bytes) -> bytes:
    return _BROKEN.sub(lambda match: bytes([(match[1][0] - 0x90) << 4 | (match[2][0] - 0xA0)]), data)


def _restore_column(column: pa.Array) -> pa.Array:
    if not pc.any(pc.match_substring(column, _BROKEN_START)).as_py():
        return column
    return pa.array([_unwrap_broken(cell) for cell in column.to_pylist()], pa.binary())


def _split_header(stream: IO[bytes], name: str) -> tuple[bytes, bytes]:
    """The header row and what was read beyond it."""
    data = stream.read(HEADER_BYTES_MAX).removeprefix(_BOM)
    end = data.find(b"\n")
    while end >= 0 and (data.count(b'"', 0, end) % 2 or not data[:end].strip()):
        end = data.find(b"\n", end + 1)
    if end < 0 and len(data) >= HEADER_BYTES_MAX - len(_BOM):
        raise SourceError(f"{name}: the first {HEADER_BYTES_MAX:,} bytes hold no CSV header", "Name the file's format.")
    cut = len(data) if end < 0 else end + 1
    return data[:cut], data[cut:]


def _header(head: bytes, name: str) -> tuple[str, ...]:
    try:
        rows = list(csv.reader(io.StringIO(head.decode().strip("\r\n"), newline="")))
    except UnicodeDecodeError:
        raise SourceError(f"{name}: the CSV header is not UTF-8", "Save the file as UTF-8.") from None
    except csv.Error as error:
        raise SourceError(f"{name}: the CSV header cannot be read: {error}", "Check quotes and commas.") from None
    if len(rows) > 1:
        raise SourceError(f"{name}: lines end with CR alone", "Save the file with LF or CRLF line ends.")
    names = rows[0] if rows else []
    if not names or "" in names:
        raise SourceError(
            f"{name}: the CSV header is {'missing' if not names else 'incomplete'}",
            "The first row must name every column.",
        )
    if len(set(names)) != len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise SourceError(f"{name}: the column {twice!r} occurs twice", "Give every column a name of its own.")
    return tuple(names)


def _number_rows(batch: pa.RecordBatch, row: int, misshapen: list[MisshapenRow]) -> tuple[CsvBlock, int]:
    """The block of a batch whose first row follows row - 1, and the next row; takes what it used off `misshapen`."""
    end = row + len(batch)
    taken = 0
    # The parser reads ahead: a misshapen row beyond this batch belongs to a later block.
    while taken < len(misshapen) and (misshapen[taken].source_row <= end or len(batch) == 0):
        end += 1
        taken += 1
    numbers = np.arange(row, end, dtype=np.int64)
    used = tuple(misshapen[:taken])
    del misshapen[:taken]
    source_rows = numbers[~np.isin(numbers, [bad.source_row for bad in used])][: len(batch)]
    return CsvBlock(cells=pa.Table.from_batches([batch]), source_rows=source_rows, misshapen=used), end


def _spans_lines(batch: pa.RecordBatch) -> bool:
    """Whether a cell of the last row holds a line break."""
    return any(b"\n" in column[-1].as_py() for column in batch.columns)
