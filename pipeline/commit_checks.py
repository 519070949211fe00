"""What a batch is, and what must hold of it before it is written: dense numbers (I9) and the identities (§3.6, I17).

A violation is a defect of ours, never a user's mistake, so it stops the run with `IntegrityError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Outcome
from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.load import Registers


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """The counts of §3.6 of one batch."""

    rows_read: int = 0
    events: int = 0
    operations: int = 0
    duplicates: int = 0
    rejected: int = 0
    generated: int = 0
    completed: int = 0
    failed: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """What is recorded of a batch beside its rows (§19.2); times in microseconds since 1970.

    `book_clock` is the clock after the batch. `record_order` is `time`, `input` or `arrival`; `evaluations` is `full`
    or `matched`. `outbox` is an `OutboxMode`, `outbox_types` the mask of the types that it comes to. The last five
    fields are kept but not sealed.
    """

    batch: int
    organization: str
    clock_mode: str
    book_clock: int
    ruleset_version: int
    ruleset_sha256: str | None
    counts: BatchCounts
    record_order: str = "time"
    evaluations: str = "full"
    clock_reading: int | None = None
    clock_fixed: int | None = None
    horizon: int | None = None
    outbox: str = "none"
    outbox_types: int = 0
    committed_at: int | None = None
    host: str | None = None
    run_id: str | None = None


def check_batch(before: Registers, header: BatchHeader, rows: Mapping[str, pa.Table]) -> Registers:
    """The registers after a batch, once everything that must hold of its rows was found to hold.

    `rows` has every table of the batch. The seal of the result is still that of the batch before.
    """
    _expect(header.batch == before.batch + 1, f"batch {header.batch} does not follow batch {before.batch}")
    clock = before.book_clock
    _expect(clock is None or header.book_clock >= clock, f"batch {header.batch} moves the book clock back")
    _check_counts(header.counts, rows)
    logs = np.concatenate([_numbers(rows, name, "log_seq") for name in ("events", "operations")])
    logs.sort()
    timestamps = [_largest(_external(rows), "event_timestamp"), _largest(rows["operations"], "effective_at")]
    known = [time for time in (before.timestamp_max, *timestamps) if time is not None]
    return replace(
        before,
        batch=header.batch,
        log_seq=_last_dense("log_seq", before.log_seq, logs),
        entry_seq=_last_grouped("entry_seq", before.entry_seq, _numbers(rows, "movements", "entry_seq")),
        lot_seq=_last_dense("lot_seq", before.lot_seq, _numbers(rows, "lots", "lot_seq")),
        change_seq=_last_dense("change_seq", before.change_seq, _numbers(rows, "changes", "change_seq")),
        holder=_last_dense("holder number", before.holder, _numbers(rows, "holders", "number")),
        book_clock=header.book_clock,
        timestamp_max=max(known, default=None),
        ruleset_version=header.ruleset_version,
        ruleset_sha256=header.ruleset_sha256,
    )


def _check_counts(counts: BatchCounts, rows: Mapping[str, pa.Table]) -> None:
    read = counts.events + counts.operations + counts.duplicates + counts.rejected
    _expect(counts.rows_read == read, f"rows_read is {counts.rows_read}, but {read} rows are accounted for")
    decided = counts.completed + counts.failed
    records = counts.events + counts.operations + counts.generated
    _expect(records == decided, f"{records} records, but {decided} outcomes")
    stored = rows["events"].num_rows + rows["operations"].num_rows
    _expect(records == stored, f"{records} records are counted, but {stored} are stored")
    failed = _count(pc.not_equal(rows["events"].column("outcome"), Outcome.OK))
    failed += _count(pc.greater(rows["operations"].column("outcome"), Outcome.NO_EFFECT))
    _expect(counts.failed == failed, f"{counts.failed} failed records are counted, but {failed} are stored")
    late = _count(rows["events"].column("late")) + _count(rows["operations"].column("late"))
    generated = rows["generated_events"].num_rows
    _expect(counts.generated == generated, f"{counts.generated} generated events, but {generated} are stored")
    _expect(counts.late == late, f"{counts.late} late records are counted, but {late} are stored")
    rejected = rows["rejects"].num_rows
    _expect(rejected <= counts.rejected, f"{rejected} rejects are stored, but only {counts.rejected} are counted")


def _external(rows: Mapping[str, pa.Table]) -> pa.Table:
    """The events that came from outside: only their times make others late (§4.2)."""
    events, generated = rows["events"], rows["generated_events"]
    if not generated.num_rows:
        return events
    return events.filter(pc.invert(pc.is_in(events.column("log_seq"), value_set=generated.column("log_seq"))))


def _last_dense(what: str, last: int, numbers: npt.NDArray[np.int64]) -> int:
    """The last of numbers that must be last+1, last+2, …"""
    expected = np.arange(last + 1, last + 1 + len(numbers), dtype=np.int64)
    wrong = np.flatnonzero(numbers != expected)
    if len(wrong):
        raise IntegrityError(f"{what} {numbers[wrong[0]]} stands where {expected[wrong[0]]} must stand")
    return last + len(numbers)


def _last_grouped(what: str, last: int, numbers: npt.NDArray[np.int64]) -> int:
    """The last of numbers that count up from last+1, each once or several times in a row."""
    steps = np.diff(numbers, prepend=np.int64(last))
    wrong = np.flatnonzero((steps < 0) | (steps > 1))
    if len(numbers) and steps[0] != 1:
        wrong = np.zeros(1, dtype=np.int64)
    if len(wrong):
        raise IntegrityError(f"{what} {numbers[wrong[0]]} does not follow what is before it")
    return int(numbers[-1]) if len(numbers) else last


def _numbers(rows: Mapping[str, pa.Table], table: str, column: str) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = rows[table].column(column).to_numpy()
    return numbers


def _largest(table: pa.Table, column: str) -> int | None:
    largest: int | None = pc.max(table.column(column)).as_py()
    return largest


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _expect(holds: bool, message: str) -> None:
    if not holds:
        raise IntegrityError(message, "This is a defect of earnbook; nothing of the batch was written.")
