"""Money operations against crediting events, both from Parquet, on the same book of a million participants.

python -m tests.benchmarks.bench_operations --operations 1000000 --participants 1000000

One third each of the operations is an adjustment, a redemption, and a transfer to one or two recipients; half of them
move points in lots, half of them plain cash.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from earnbook.pipeline.config import ClockMode, RunReport, RunRequest
from earnbook.pipeline.drive import run

DEFINITIONS = Path(__file__).parent / "operations" / "definitions.yaml"
OPENING_US = 1_735_689_600_000_000  # 2025-01-01
START_US = OPENING_US + 86_400_000_000
STEP_US = 1_000
SEED = 20_250_101


def main(description: str | None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--participants", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the files here instead of in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earnbook-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(options.operations, options.participants, folder)


def measure(count: int, participants: int, folder: Path) -> None:
    """Both runs, each in a process of its own on a copy of one book; prints a table."""
    opening, events, operations = (folder / f"{name}.parquet" for name in ("opening", "events", "operations"))
    pq.write_table(opening_events(participants), opening)
    pq.write_table(crediting_events(count, participants), events)
    pq.write_table(money_operations(count, participants), operations)
    book = folder / "book.duckdb"
    for old in (book, Path(f"{book}.wal")):
        old.unlink(missing_ok=True)
    _run_apart(book, opening)
    reports = {}
    for name, source in (("events", events), ("operations", operations)):
        print(f"\r{name} …   ", end="", file=sys.stderr, flush=True)
        copy = folder / f"book_{name}.duckdb"
        shutil.copyfile(book, copy)
        reports[name] = _run_apart(copy, source)
    _show(reports["events"], reports["operations"])


def _run_apart(book: Path, source: Path) -> RunReport:
    """One run in a new process, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        report: RunReport = pool.apply(run_one, (book, source))
    if not report.ties:
        sys.exit(f"the run of {source.name} does not tie")
    if report.failed or report.rejected:
        sys.exit(f"the run of {source.name} has failures {report.failed} and rejects {report.rejected}")
    return report


def run_one(book: Path, source: Path) -> RunReport:
    """A run of one file; the module's level, so that another process finds it."""
    return run(RunRequest(book=book, inputs=(str(source),), config=DEFINITIONS, clock=ClockMode.EVENT))


def _show(events: RunReport, operations: RunReport) -> None:
    by_events, by_operations = events.events / events.seconds, operations.operations / operations.seconds
    print(f"\noperations            {operations.operations:>14,}")
    print(f"operations/s          {by_operations:>14,.0f}")
    print(f"events/s              {by_events:>14,.0f}")
    print(f"operations / events   {by_operations / by_events:>14,.2f}")
    for name, report in (("operations", operations), ("events", events)):
        print(f"{name:<22}{report.seconds:>14,.2f}   s   {report.entries:,} entries")
        print(f"  peak memory         {report.peak_memory_bytes / 2**30:>14,.2f}   GiB")
        for stage, seconds in sorted(report.stage_seconds.items(), key=lambda item: -item[1]):
            print(f"  {stage:<20}{seconds:>14,.2f}   s")


def opening_events(participants: int) -> pa.Table:
    """One event for each participant, which credits both assets."""
    rows = np.arange(participants)
    data = pa.StructArray.from_arrays([repeated("opening", participants)], names=["type"])
    return pa.table(
        {
            "program_id": repeated("loyalty", participants),
            "idempotency_key": texts("opening-", rows),
            "event_timestamp": times(OPENING_US, participants),
            "external_id": texts("p", rows),
            "event_data": data,
        }
    )


def crediting_events(count: int, participants: int) -> pa.Table:
    """Events that credit one of the assets each."""
    random = np.random.default_rng(SEED)
    kind = pa.array(["points", "cash"]).take(pa.array(np.arange(count) % 2))
    data = pa.StructArray.from_arrays([kind, pa.array(random.integers(1, 6, count))], names=["type", "amount"])
    return pa.table(
        {
            "program_id": repeated("loyalty", count),
            "idempotency_key": texts("event-", np.arange(count)),
            "event_timestamp": times(START_US, count),
            "external_id": texts("p", random.integers(0, participants, count)),
            "event_data": data,
        }
    )


def money_operations(count: int, participants: int) -> pa.Table:
    """Adjustments, redemptions and transfers in turn; every field is a column, null where the type does not have it."""
    random = np.random.default_rng(SEED)
    kind = np.arange(count) % 3
    is_adjust, is_transfer = kind == 0, kind == 2
    who = random.integers(0, participants, count)
    amounts = _amounts(random.integers(1, 6, count))
    return pa.table(
        {
            "type": pa.array(["adjust", "redeem", "transfer"]).take(pa.array(kind)),
            "program_id": repeated("loyalty", count),
            "idempotency_key": texts("operation-", np.arange(count)),
            "effective_at": times(START_US, count),
            "asset_id": pa.array(["PTS", "USD"]).take(pa.array(np.arange(count) // 3 % 2)),
            "description": repeated("benchmark", count),
            "direction": _where(is_adjust, repeated("CREDIT", count)),
            "external_id": _where(~is_transfer, texts("p", who)),
            "amount": _where(~is_transfer, amounts),
            "source_external_id": _where(is_transfer, texts("p", who)),
            "recipients": _recipients(random, is_transfer, who, participants),
        }
    )


def _recipients(random: np.random.Generator, is_transfer: np.ndarray, who: np.ndarray, participants: int) -> pa.Array:
    """One or two recipients of each transfer, never its source."""
    counts = np.where(is_transfer, random.integers(1, 3, len(is_transfer)), 0)
    sources = np.repeat(who, counts)
    others = (sources + random.integers(1, participants, len(sources))) % participants
    items = pa.StructArray.from_arrays(
        [texts("p", others), _amounts(random.integers(1, 4, len(sources)))], names=["external_id", "amount"]
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items, mask=pa.array(~is_transfer))


def _amounts(units: np.ndarray) -> pa.Array:
    return pa.array(units).cast(pa.string())


def texts(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Each number behind a prefix."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def repeated(text: str, count: int) -> pa.Array:
    """One text, so many times."""
    return pa.array([text]).take(pa.array(np.zeros(count, np.int64)))


def times(start_us: int, count: int, step_us: int = STEP_US) -> pa.Array:
    """Times from a start on, each a step after the one before."""
    return pa.array(start_us + step_us * np.arange(count)).cast(pa.timestamp("us", "UTC"))


def _where(rows: np.ndarray, values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(rows), values, None)


if __name__ == "__main__":
    main(__doc__)
