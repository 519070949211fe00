"""One day on which lots fall due against crediting events that make as many, on copies of one book.

python -m tests.benchmarks.bench_advance --participants 1000000 --lots 10000000 --days 50

The lots are spread evenly over the days, so that one day in `--days` of them (2% of 50) falls due on each. The points
that the day posts as expired are compared with one SQL query over the lots of the book before it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from earnbook.pipeline.config import AdvanceRequest, RunReport
from earnbook.pipeline.drive import advance
from tests.benchmarks.apart import run_apart, run_files, run_on_copy, show_job
from tests.benchmarks.measure import options_in_folder
from tests.benchmarks.records import DAY_US, OPENING_US, SEED, event_table, repeated, times

LIFE_US = 365 * DAY_US


def main(description: str | None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=1_000_000)
    parser.add_argument("--lots", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=50)
    with options_in_folder(parser) as (options, folder):
        measure(options.participants, options.lots, options.days, folder)


def measure(participants: int, lots: int, days: int, folder: Path) -> None:
    """Makes the book, then both runs on copies of it; prints a table."""
    per_day = lots // days
    book = folder / f"book_{participants}_{lots}_{days}.duckdb"
    if not book.exists():
        _make_book(book, folder, participants, per_day, days)
    due_from = OPENING_US + LIFE_US
    # The first day of lots falls due now; credits of the same number come just before it.
    expected = due_points(book, due_from, due_from + DAY_US - 1)
    credit = folder / "credit.parquet"
    pq.write_table(crediting_events(per_day, participants, due_from - DAY_US // 2, DAY_US // 4, "credit-"), credit)
    advanced, after = run_on_copy("advance", advance_to, book, due_from + DAY_US - 1)
    credited, _ = run_on_copy("credits", run_files, book, [credit])
    posted = expired_points(after)
    if posted != expected:
        sys.exit(f"the day posts {posted} minor units, its lots have {expected}")
    _show(advanced, credited, posted)


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
    run_apart(run_files, made, parts)
    made.rename(book)


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
    amounts = pa.array(random.integers(1, 100, count))
    data = pa.StructArray.from_arrays([repeated("points", count), amounts], names=["type", "amount"])
    when = times(start_us, count, max(span_us // max(count, 1), 1))
    return event_table(prefix, when, random.integers(0, participants, count), data)


def _show(advanced: RunReport, credited: RunReport, posted: int) -> None:
    print(f"\nlots that fell due    {advanced.entries:>14,}   {posted:,} points, as the lots say")
    print(f"credits               {credited.entries:>14,}")
    print(f"advance / credits     {advanced.seconds / credited.seconds:>14,.2f}")
    for name, report in (("advance", advanced), ("credits", credited)):
        show_job(name, report, f"{report.entries / report.seconds:,.0f} entries/s")


if __name__ == "__main__":
    main(__doc__)
