"""What a benchmark of whole runs does: generate events, run, measure the floor of the machine, print.

The floor is what nobody can go below with these tools: read the same events with DuckDB into Arrow, and write the very
rows that the run stored into another DuckDB file. Ratios compare the two in one run; absolute times are of one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from earnbook.pipeline.config import ClockMode, Progress, RunReport, RunRequest
from earnbook.pipeline.drive import run
from earnbook.pipeline.generate import GenerateRequest, generate_events

START_US = 1_735_689_600_000_000  # 2025-01-01
FLOOR_ROWS = 1_000_000


def main(description: str | None, definitions: Path, *, operations: Sequence[Mapping[str, object]] = ()) -> None:
    """The command line of a benchmark; `operations` are records that come before the events."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--participants", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--definitions", type=Path, default=definitions)
    with options_in_folder(parser) as (options, folder):
        measure(options, folder, operations)


@contextmanager
def options_in_folder(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.Namespace, Path]]:
    """The options given, and the folder for the benchmark's files: that of `--folder`, or a temporary one."""
    parser.add_argument("--folder", type=Path, help="keep the files here instead of in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earnbook-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        yield options, folder


def measure(options: argparse.Namespace, folder: Path, operations: Sequence[Mapping[str, object]]) -> None:
    """One benchmark in `folder`; prints a table."""
    events = folder / f"events_{options.events}_{options.participants}.parquet"
    book = folder / "book.duckdb"
    for old in (book, Path(f"{book}.wal")):
        old.unlink(missing_ok=True)
    if not events.exists():
        request = GenerateRequest(
            path=events, events=options.events, participants=options.participants, program="loyalty",
            start_us=START_US, days=options.days,
        )  # fmt: skip
        generate_events(request, progress=_tell)
    inputs = [str(events)]
    if operations:
        before = folder / "operations.ndjson"
        before.write_text("".join(f"{json.dumps(row)}\n" for row in operations), encoding="utf-8")
        inputs.insert(0, str(before))
    report = run(
        RunRequest(book=book, inputs=tuple(inputs), config=options.definitions, clock=ClockMode.EVENT, progress=_tell)
    )
    if not report.ties:
        sys.exit("the run does not tie")
    rows, stored_bytes = _stored(book)
    read_seconds = _floor_read(events)
    write_seconds = _floor_write(book, folder / "floor.duckdb")
    floor = read_seconds + write_seconds
    print(f"\nevents                {report.events:>14,}")
    print(f"events/s              {report.events / report.seconds:>14,.0f}")
    print(f"journal rows          {rows['movements']:>14,}")
    print(f"journal rows/s        {rows['movements'] / report.seconds:>14,.0f}")
    print(f"stored rows           {sum(rows.values()):>14,}")
    print(f"stored bytes/event    {stored_bytes / report.events:>14,.1f}   before compression")
    print(f"book bytes/event      {book.stat().st_size / report.events:>14,.1f}   on disk")
    print(f"peak memory           {report.peak_memory_bytes / 2**30:>14,.2f}   GiB")
    print(f"run                   {report.seconds:>14,.2f}   s")
    show_stages(report)
    print(f"floor                 {floor:>14,.2f}   s   (read {read_seconds:.2f} + write {write_seconds:.2f})")
    print(f"run / floor           {report.seconds / floor:>14,.2f}")
    print(f"bailed events         {sum(report.bailed.values()):>14,}")


def show_stages(report: RunReport) -> None:
    """The seconds of each stage of a run, the longest first."""
    for stage, seconds in sorted(report.stage_seconds.items(), key=lambda item: -item[1]):
        print(f"  {stage:<20}{seconds:>14,.2f}   s")


def _stored(book: Path) -> tuple[dict[str, int], int]:
    """Rows per physical table, and the bytes of all their columns as Arrow holds them."""
    rows: dict[str, int] = {}
    total = 0
    with duckdb.connect(str(book), read_only=True) as connection:
        for table in _tables(connection):
            rows[table] = 0
            for batch in _batches(connection, table):
                rows[table] += batch.num_rows
                total += batch.nbytes
    return rows, total


def _floor_read(events: Path) -> float:
    started = time.perf_counter()
    with duckdb.connect() as connection:
        for _ in connection.sql(f"SELECT * FROM '{events}'").to_arrow_reader(FLOOR_ROWS):
            pass
    return time.perf_counter() - started


def _floor_write(book: Path, target: Path) -> float:
    """The seconds DuckDB takes to write the book's rows, given as Arrow, one transaction a million rows."""
    target.unlink(missing_ok=True)
    seconds = 0.0
    with duckdb.connect(str(book), read_only=True) as source, duckdb.connect(str(target)) as sink:
        sink.execute("SET preserve_insertion_order = true")
        # As the run itself: one checkpoint at the end.
        sink.execute("SET checkpoint_threshold = '1GB'")
        for table in _tables(source):
            for position, batch in enumerate(_batches(source, table)):
                sink.register("rows", pa.table(batch))
                started = time.perf_counter()
                sink.execute(
                    f"CREATE TABLE {table} AS FROM rows" if position == 0 else f"INSERT INTO {table} FROM rows"
                )
                seconds += time.perf_counter() - started
                sink.unregister("rows")
        started = time.perf_counter()
        sink.execute("CHECKPOINT")
        seconds += time.perf_counter() - started
    target.unlink()
    return seconds


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.sql("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store' ORDER BY 1").fetchall()
    return [str(name) for (name,) in rows]


def _batches(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[pa.RecordBatch]:
    yield from connection.sql(f"SELECT * FROM store.{table}").to_arrow_reader(FLOOR_ROWS)


def _tell(progress: Progress) -> None:
    total = f" of {progress.total:,}" if progress.total else ""
    print(f"\r{progress.stage}: {progress.done:,}{total} {progress.unit}   ", end="", file=sys.stderr, flush=True)
