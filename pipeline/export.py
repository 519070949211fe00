"""Exports a book as Parquet datasets by batch (§18), readable by any engine: `DIR/entries/batch=3/entries.parquet`.

Batches are immutable, so an export is too: what is there already is checked and left alone, new batches are added, and
running it again writes nothing. Full snapshots of balances and open lots are made of the last batch of each export.

Each dataset is read once, for all new batches together, sorted by batch and key, and cut where the batch changes;
memory is bounded by DuckDB's limit and one chunk of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from earnbook.pipeline.clock import format_time
from earnbook.pipeline.config import Progress, ProgressListener
from earnbook.pipeline.export_files import (
    MANIFEST,
    ExportedBatch,
    ExportedFile,
    ExportError,
    Manifest,
    read_manifest,
    refuse_changed_files,
    sha256_of,
    whole_file,
    write_manifest,
)
from earnbook.pipeline.export_tables import DATASETS, SCHEMA_VERSION, SNAPSHOT_VIEWS, Dataset
from earnbook.pipeline.lock import WriterLock
from earnbook.pipeline.reports_query import reading

ROWS_MAX = 131_072
"""Rows of a row group, and rows held at a time."""


def _silent(_: Progress) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """One export; `check_bytes` reads every file that is there already, instead of looking at sizes alone."""

    book: Path
    directory: Path
    check_bytes: bool = True
    lock_wait_seconds: float = 0.0
    progress: ProgressListener = field(default=_silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote, and what was there."""

    directory: Path
    batches_before: int
    batches: tuple[int, ...]
    """The batches that were added."""
    files: tuple[ExportedFile, ...]
    """The files that were written."""


def export_book(request: ExportRequest) -> ExportReport:
    """Brings a directory up to the last batch of the book.

    Raises:
        ExportError: the directory is of another book, was changed, or cannot be written.
        BookLocked: another export writes to it.
    """
    directory = request.directory
    if directory.exists() and not directory.is_dir():
        raise ExportError(f"{directory} is not a directory", "Give another --to DIR.")
    directory.mkdir(parents=True, exist_ok=True)
    with WriterLock(directory / MANIFEST, wait_seconds=request.lock_wait_seconds), reading(request.book) as connection:
        organization, batches = _book_batches(connection)
        there = read_manifest(directory) or Manifest(organization_id=organization)
        _refuse_other_book(directory, there, organization, batches)
        refuse_changed_files(directory, there, check_bytes=request.check_bytes)
        new = batches[len(there.batches) :]
        files = _write_files(connection, request, new) if new else ()
        if new:
            manifest = Manifest(organization_id=organization, batches=batches, files=(*there.files, *files))
            write_manifest(directory, manifest)
    return ExportReport(
        directory=directory,
        batches_before=len(there.batches),
        batches=tuple(batch.batch for batch in new),
        files=files,
    )


def _book_batches(connection: duckdb.DuckDBPyConnection) -> tuple[str, tuple[ExportedBatch, ...]]:
    rows = connection.execute(
        "SELECT organization, batch, seal, book_clock, last_log_seq, last_entry_seq FROM store.batches ORDER BY batch"
    ).fetchall()
    batches = tuple(
        ExportedBatch(
            batch=int(batch), seal=seal, book_clock=format_time(clock), last_log_seq=int(log), last_entry_seq=int(entry)
        )
        for _, batch, seal, clock, log, entry in rows
    )
    return (str(rows[0][0]) if rows else ""), batches


def _refuse_other_book(directory: Path, there: Manifest, organization: str, batches: tuple[ExportedBatch, ...]) -> None:
    """Raises ExportError where the directory has batches that are not those of this book."""
    for known, ours in zip(there.batches, batches, strict=False):
        if known != ours:
            raise ExportError(
                f"{directory} has batch {known.batch} of another book: its seal is {known.seal[:12]}…, ours "
                f"{ours.seal[:12]}…",
                "Export to a new directory.",
            )
    if len(there.batches) > len(batches):
        raise ExportError(
            f"{directory} has {len(there.batches)} batches, the book only {len(batches)}",
            "This is an older copy of the book: export the newer one, or to a new directory.",
        )
    if there.batches and there.organization_id != organization:
        raise ExportError(f"{directory} is of organization {there.organization_id}", "Export to a new directory.")


def _write_files(
    connection: duckdb.DuckDBPyConnection, request: ExportRequest, new: tuple[ExportedBatch, ...]
) -> tuple[ExportedFile, ...]:
    seals = {batch.batch: batch.seal for batch in new}
    files: list[ExportedFile] = []
    for place, dataset in enumerate(DATASETS):
        request.progress(Progress(stage="export", done=place, total=len(DATASETS), unit="datasets"))
        query = (
            _snapshot_query(dataset, new[-1].batch) if dataset.is_snapshot else _batch_query(connection, dataset, new)
        )
        files += _write_dataset(connection, request.directory, dataset, query, seals)
    request.progress(Progress(stage="export", done=len(DATASETS), total=len(DATASETS), unit="datasets"))
    return tuple(files)


def _snapshot_query(dataset: Dataset, batch: int) -> str:
    return f"""SELECT CAST({batch} AS BIGINT) AS batch, {dataset.select}
        FROM {SNAPSHOT_VIEWS[dataset.name]} ORDER BY {dataset.order}"""


def _batch_query(connection: duckdb.DuckDBPyConnection, dataset: Dataset, new: tuple[ExportedBatch, ...]) -> str:
    """The rows of the new batches; bounds on their numbers let DuckDB skip all others."""
    bounds = [f"batch BETWEEN {new[0].batch} AND {new[-1].batch}"]
    if dataset.number is not None:
        last = f"last_{dataset.numbers}_seq"
        low, high = connection.execute(
            f"""SELECT coalesce(max({last}) FILTER (WHERE batch < $first), 0) + 1,
                coalesce(max({last}) FILTER (WHERE batch <= $last), 0) FROM store.batches""",
            {"first": new[0].batch, "last": new[-1].batch},
        ).fetchall()[0]
        bounds.append(f'"{dataset.number}" BETWEEN {low} AND {high}')
    return f"""SELECT CAST(batch AS BIGINT) AS batch, {dataset.select}
        FROM {dataset.name} WHERE {" AND ".join(bounds)} ORDER BY batch, {dataset.order}"""


def _write_dataset(
    connection: duckdb.DuckDBPyConnection, directory: Path, dataset: Dataset, query: str, seals: dict[int, str]
) -> Iterator[ExportedFile]:
    """The files of one dataset, one per batch that has rows."""
    reader = connection.sql(query).to_arrow_reader(ROWS_MAX)
    with ExitStack() as open_file:
        writer: _BatchFile | None = None
        for rows in _runs(reader):
            batch = rows.column("batch")[0].as_py()
            if writer is None or writer.batch != batch:
                if writer is not None:
                    open_file.close()
                    yield writer.written()
                writer = open_file.enter_context(_BatchFile(directory, dataset, batch, seals[batch]))
            writer.write(rows.drop_columns(["batch"]))
        if writer is not None:
            open_file.close()
            yield writer.written()


def _runs(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The rows in runs of one batch, in order."""
    for rows in reader:
        if not len(rows):
            continue
        batches = rows.column("batch").to_numpy()
        cuts = [0, *(np.flatnonzero(np.diff(batches)) + 1).tolist(), len(rows)]
        table = pa.Table.from_batches([rows])
        for start, stop in pairwise(cuts):
            yield table.slice(start, stop - start)


class _BatchFile:
    """The Parquet file of one dataset and batch, while it is written."""

    def __init__(self, directory: Path, dataset: Dataset, batch: int, seal: str) -> None:
        self.batch = batch
        self._directory = directory
        self._dataset = dataset
        self._path = directory / dataset.name / f"batch={batch}" / f"{dataset.name}.parquet"
        metadata = {"earnbook.schema_version": str(SCHEMA_VERSION), "earnbook.batch": str(batch), "earnbook.seal": seal}
        self._schema = dataset.schema.with_metadata(metadata)
        self._rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> _BatchFile:
        with ExitStack() as undo:
            part = undo.enter_context(whole_file(self._path))
            self._writer = undo.enter_context(pq.ParquetWriter(part, self._schema, compression="zstd"))
            self._stack = undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        self._writer.write_table(rows.cast(self._schema), row_group_size=ROWS_MAX)
        self._rows += rows.num_rows

    def written(self) -> ExportedFile:
        """What is in place now."""
        return ExportedFile(
            path=self._path.relative_to(self._directory).as_posix(),
            dataset=self._dataset.name,
            batch=self.batch,
            rows=self._rows,
            bytes=self._path.stat().st_size,
            sha256=sha256_of(self._path),
        )
