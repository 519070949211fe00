"""Where staged records wait: in memory up to a limit, beyond it in Arrow IPC files of a temporary directory.

Chunks are kept in the order they came. Reading back is by input position or by time (§4.1); records that already stand
in that order are streamed, others are sorted: in memory by an index, spilled ones by DuckDB's external sort.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from earnbook.ledger.schema import Int64s, UInt64s
from earnbook.pipeline.config import Order

SORT_MEMORY_BYTES = 1 << 30
"""What DuckDB may use to sort spilled records."""

_SORTED_ROWS = 131_072
_SORT_KEYS = {Order.TIME: ("timestamp", "position"), Order.INPUT: ("position",)}


class RecordStore:
    """Chunks of records of one schema; `close` removes its files."""

    def __init__(self, schema: pa.Schema, memory_bytes_max: int, directory: Path | None) -> None:
        self.schema = schema
        self._memory_bytes_max = memory_bytes_max
        self._directory = directory
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[Path] = []
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._names = 0

    def append(self, chunk: pa.RecordBatch) -> None:
        """Add records."""
        if len(chunk) == 0:
            return
        self._held.append(chunk)
        self._held_bytes += chunk.nbytes
        if self._held_bytes > self._memory_bytes_max:
            self._files.append(self._write(self._held))
            self._held, self._held_bytes = [], 0

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """All chunks, in the order they came."""
        for path in self._files:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        yield from self._held

    @property
    def is_spilled(self) -> bool:
        """Whether some records are in files."""
        return bool(self._files)

    def transform(self, change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        """Replace every chunk by `change` of it, front to back; chunks keep their rows."""
        files, held = self._files, self._held
        self._files = []
        for path in files:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                changed = (change(reader.get_batch(index)) for index in range(reader.num_record_batches))
                self._files.append(self._write(changed))
            path.unlink()
        self._held = [change(chunk) for chunk in held]

    def move_to(self, other: RecordStore) -> None:
        """Hand all chunks over to `other`, in order, and forget them."""
        for chunk in self.chunks():
            other.append(chunk)
        self.close()

    def batches(self, size: int, order: Order) -> Iterator[pa.Table]:
        """Tables of `size` records (the last may be smaller) in log order."""
        keys = _SORT_KEYS[order]
        if self._is_sorted(keys):
            chunks = self.chunks()
        elif self.is_spilled:
            chunks = self._sorted_by_duckdb(keys)
        else:
            yield from self._sorted_in_memory(size, keys)
            return
        yield from regroup(chunks, size)

    def close(self) -> None:
        """Remove the files and forget the records."""
        self._files, self._held, self._held_bytes = [], [], 0
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def column(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """One column of every chunk, in the order they came; of files only that column is read."""
        for chunk in self._parts((name,)):
            yield chunk.column(name).to_numpy()

    def operations(self) -> Iterator[tuple[Int64s, pa.Array]]:
        """Type and fields of the operations of every chunk that has any."""
        for chunk in self._parts(("operation", "fields")):
            types = chunk.column("operation").to_numpy()
            rows = np.flatnonzero(types)
            if len(rows):
                yield types[rows].astype(np.int64), chunk.column("fields").take(pa.array(rows))

    def repeated(self, name: str) -> UInt64s:
        """The values of a uint64 column that occur more than once, ascending."""
        if not self.is_spilled:
            ordered = np.sort(np.concatenate([np.zeros(0, np.uint64), *self.column(name)]))
            return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        query = f"SELECT {name} FROM staged GROUP BY {name} HAVING count(*) > 1 ORDER BY {name}"
        with self._duckdb((name,)) as connection:
            found: UInt64s = connection.sql(query).to_arrow_table().column(name).to_numpy()
        return found

    def _parts(self, names: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """All chunks with some of their columns."""
        options = pa.ipc.IpcReadOptions(included_fields=[self.schema.get_field_index(name) for name in names])
        for path in self._files:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source, options=options) as reader:
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        for chunk in self._held:
            yield chunk.select(list(names))

    def _is_sorted(self, keys: tuple[str, ...]) -> bool:
        """Whether records stand in the order of the keys, looked at chunk by chunk."""
        last: list[Int64s] = []
        for part in self._parts(keys):
            columns = [part.column(name).to_numpy() for name in keys]
            if not _is_ascending(
                [np.concatenate(pair) for pair in zip(last, columns, strict=True)] if last else columns
            ):
                return False
            last = [column[-1:] for column in columns]
        return True

    @contextmanager
    def _duckdb(self, names: tuple[str, ...] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the records as table `staged`, that spills instead of growing."""
        assert self._scratch is not None
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{SORT_MEMORY_BYTES // (1 << 20)}MiB",
            "temp_directory": str(Path(self._scratch.name) / "sort"),
            "preserve_insertion_order": "true",
        }
        schema = self.schema if names is None else pa.schema([self.schema.field(name) for name in names])
        chunks = self.chunks() if names is None else self._parts(names)
        with duckdb.connect(":memory:", config=config) as connection:
            connection.register("staged", pa.RecordBatchReader.from_batches(schema, chunks))
            yield connection

    def _sorted_in_memory(self, size: int, keys: tuple[str, ...]) -> Iterator[pa.Table]:
        table = pa.Table.from_batches(self._held, schema=self.schema)
        order = np.lexsort([table.column(name).to_numpy() for name in reversed(keys)])
        for start in range(0, len(order), size):
            yield table.take(pa.array(order[start : start + size]))

    def _sorted_by_duckdb(self, keys: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        with self._duckdb() as connection:
            rows = connection.sql(f"SELECT * FROM staged ORDER BY {', '.join(keys)}")
            for batch in rows.to_arrow_reader(_SORTED_ROWS):
                yield batch.cast(self.schema)

    def _write(self, chunks: Iterator[pa.RecordBatch] | list[pa.RecordBatch]) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="earnbook-stage-", dir=self._directory)
        path = Path(self._scratch.name) / f"{self._names:06}.arrow"
        self._names += 1
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.schema, options=options) as writer:
            for chunk in chunks:
                writer.write_batch(chunk)
        return path


def regroup(chunks: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The same records in tables of `size` rows; the last one may be smaller."""
    parts: list[pa.RecordBatch] = []
    rows = 0
    for chunk in chunks:
        start = 0
        while rows + len(chunk) - start >= size:
            parts.append(chunk.slice(start, size - rows))
            start += size - rows
            yield pa.Table.from_batches(parts)
            parts, rows = [], 0
        if start < len(chunk):
            parts.append(chunk.slice(start))
            rows += len(chunk) - start
    if parts:
        yield pa.Table.from_batches(parts)


def _is_ascending(keys: list[Int64s]) -> bool:
    """Whether rows stand in the order of the keys, the first key first."""
    if len(keys) == 1:
        return bool((keys[0][1:] >= keys[0][:-1]).all())
    later = keys[0][1:] > keys[0][:-1]
    return bool((later | ((keys[0][1:] == keys[0][:-1]) & (keys[1][1:] >= keys[1][:-1]))).all())
