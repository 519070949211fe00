"""One day on which lots fall due against crediting events that make as many, on copies of one book.

python -m tests.benchmarks.bench_advance --participants 1000000 --lots 10000000 --days 50

The lots are spread evenly over the days, so that one day in `--days` of them (2% of 50) falls due on each. The points
that the day posts as expired are compared with one SQL query over the lots of the book before it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from earnbook.pipeline.config import AdvanceRequest, ClockMode, RunReport, RunRequest
from earnbook.pipeline.drive import advance, run
from tests.benchmarks.bench_operations import DEFINITIONS, OPENING_US, SEED, repeated, texts, times

DAY_US = 86_400_000_000
LIFE_US = 365 * DAY_US


def main(description: str | None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=1_000_000)
    parser.add_argument("--lots", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="keep the files here instead of in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earnbook-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(options.participants, options.lots, options.days, folder)


def measure(participants: int, lots: int, days: int, folder: Path) -> None:
    """Makes the book, then both runs, each in a process of its own on a copy; prints a table."""
    per_day = lots // days
    book = folder / "book.duckdb"
    if not book.exists():
        _make_book(book, folder, participants, per_day, days)
    due_from = OPENING_US + LIFE_US
    # The first day of lots falls due now; credits of the same number come just before it.
    expected = due_points(book, due_from, due_from + DAY_US - 1)
    credit = folder / "credit.parquet"
    pq.write_table(crediting_events(per_day, participants, due_from - DAY_US // 2, DAY_US // 4, "credit-"), credit)
    reports = {}
    for name, job, argument in (
        ("advance", advance_to, due_from + DAY_US - 1),
        ("credits", run_file, credit),
    ):
        print(f"\r{name} …   ", end="", file=sys.stderr, flush=True)
        copy = folder / f"book_{name}.duckdb"
        shutil.copyfile(book, copy)
        reports[name] = _apart(job, copy, argument)
    posted = expired_points(folder / "book_advance.duckdb")
    if posted != expected:
        sys.exit(f"the day posts {posted} minor units, its lots have {expected}")
    _show(reports["advance"], reports["credits"], posted)


def _make_book(book: Path, folder: Path, participants: int, per_day: int, days: int) -> None:
    parts = []
    for day in range(days):
        part = folder / f"day{day:03d}.parquet"
        pq.write_table(
            crediting_events(per_day, participants, OPENING_US + day * DAY_US, DAY_US, f"day{day}-", seed=day), part
        )
        parts.append(part)
    made = folder / "made.duckdb"
    print("\rmaking the book …   ", end="", file=sys.stderr, flush=True)
    _apart(run_files, made, [str(part) for part in parts])
    made.rename(book)


def _apart(job: Callable[[Path, Any], RunReport], book: Path, argument: object) -> RunReport:
    """One job in a new process, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        report: RunReport = pool.apply(job, (book, argument))
    if not report.ties or report.failed or report.rejected:
        sys.exit(f"{job.__name__}: ties {report.ties}, failed {report.failed}, rejected {report.rejected}")
    return report


def run_files(book: Path, sources: list[str]) -> RunReport:
    """A run of files; the module's level, so that another process finds it."""
    return run(RunRequest(book=book, inputs=tuple(sources), config=DEFINITIONS, clock=ClockMode.EVENT))


def run_file(book: Path, source: Path) -> RunReport:
    """A run of one file."""
    return run_files(book, [str(source)])


def advance_to(book: Path, to_us: int) -> RunReport:
    """What falls due up to a time."""
    return advance(AdvanceRequest(book=book, to_us=to_us))


def due_points(book: Path, first_us: int, last_us: int) -> int:
    """Minor units that remain in the lots that expire between two times, by one query over the view."""
    return _one_number(
        book,
        f"""SELECT coalesce(sum(remaining_minor), 0) FROM lots
        WHERE epoch_us(expires_at) BETWEEN {first_us} AND {last_us}""",
    )


def expired_points(book: Path) -> int:
    """Minor units that the last batch took from holders as expired."""
    return _one_number(
        book,
        """SELECT coalesce(sum(p.amount_minor), 0) FROM postings AS p JOIN entries AS e ON e.seq = p.entry_seq
        WHERE e.action_type = 'EXPIRATION' AND e.batch = (SELECT max(batch) FROM batches) AND p.amount_minor > 0""",
    )


def _one_number(book: Path, query: str) -> int:
    with duckdb.connect(str(book), read_only=True) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row is not None else 0


def crediting_events(
    count: int, participants: int, start_us: int, span_us: int, prefix: str, seed: int = SEED
) -> pa.Table:
    """Events over a span of time that each credit points in a lot of a year."""
    random = np.random.default_rng(seed)
    data = pa.StructArray.from_arrays(
        [repeated("points", count), pa.array(random.integers(1, 100, count))], names=["type", "amount"]
    )
    return pa.table(
        {
            "program_id": repeated("loyalty", count),
            "idempotency_key": texts(prefix, np.arange(count)),
            "event_timestamp": times(start_us, count, max(span_us // max(count, 1), 1)),
            "external_id": texts("p", random.integers(0, participants, count)),
            "event_data": data,
        }
    )


def _show(advanced: RunReport, credited: RunReport, posted: int) -> None:
    print(f"\nlots that fell due    {advanced.entries:>14,}   {posted:,} points, as the lots say")
    print(f"credits               {credited.entries:>14,}")
    print(f"advance / credits     {advanced.seconds / credited.seconds:>14,.2f}")
    for name, report in (("advance", advanced), ("credits", credited)):
        print(f"{name:<22}{report.seconds:>14,.2f}   s   {report.entries / report.seconds:,.0f} entries/s")
        print(f"  peak memory         {report.peak_memory_bytes / 2**30:>14,.2f}   GiB")
        for stage, seconds in sorted(report.stage_seconds.items(), key=lambda item: -item[1]):
            print(f"  {stage:<20}{seconds:>14,.2f}   s")


if __name__ == "__main__":
    main(__doc__)
