"""Money operations against crediting events, both from Parquet, on the same book of a million participants.

python -m tests.benchmarks.bench_operations --operations 1000000 --participants 1000000

One third each of the operations is an adjustment, a redemption, and a transfer to one or two recipients; half of them
move points in lots, half of them plain cash.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from earnbook.pipeline.config import RunReport
from tests.benchmarks.apart import run_apart, run_files, run_on_copy, show_job
from tests.benchmarks.measure import options_in_folder
from tests.benchmarks.records import DAY_US, OPENING_US, SEED, event_table, repeated, texts, times

START_US = OPENING_US + DAY_US


def main(description: str | None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--participants", type=int, default=1_000_000)
    with options_in_folder(parser) as (options, folder):
        measure(options.operations, options.participants, folder)


def measure(count: int, participants: int, folder: Path) -> None:
    """Both runs on copies of one book; prints a table."""
    opening, events, operations = (folder / f"{name}.parquet" for name in ("opening", "events", "operations"))
    pq.write_table(opening_events(participants), opening)
    pq.write_table(crediting_events(count, participants), events)
    pq.write_table(money_operations(count, participants), operations)
    book = folder / "book.duckdb"
    for old in (book, Path(f"{book}.wal")):
        old.unlink(missing_ok=True)
    run_apart(run_files, book, [opening])
    by_events, _ = run_on_copy("events", run_files, book, [events])
    by_operations, _ = run_on_copy("operations", run_files, book, [operations])
    _show(by_events, by_operations)


def _show(events: RunReport, operations: RunReport) -> None:
    by_events, by_operations = events.events / events.seconds, operations.operations / operations.seconds
    print(f"\noperations            {operations.operations:>14,}")
    print(f"operations/s          {by_operations:>14,.0f}")
    print(f"events/s              {by_events:>14,.0f}")
    print(f"operations / events   {by_operations / by_events:>14,.2f}")
    for name, report in (("operations", operations), ("events", events)):
        show_job(name, report, f"{report.entries:,} entries")


def opening_events(participants: int) -> pa.Table:
    """One event for each participant, which credits both assets."""
    data = pa.StructArray.from_arrays([repeated("opening", participants)], names=["type"])
    return event_table("opening-", times(OPENING_US, participants), np.arange(participants), data)


def crediting_events(count: int, participants: int) -> pa.Table:
    """Events that credit one of the assets each."""
    random = np.random.default_rng(SEED)
    kind = pa.array(["points", "cash"]).take(pa.array(np.arange(count) % 2))
    data = pa.StructArray.from_arrays([kind, pa.array(random.integers(1, 6, count))], names=["type", "amount"])
    return event_table("event-", times(START_US, count), random.integers(0, participants, count), data)


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


def _where(rows: np.ndarray, values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(rows), values, None)


if __name__ == "__main__":
    main(__doc__)
