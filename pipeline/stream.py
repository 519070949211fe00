"""`earnbook stream`: the loop of a run over records that keep arriving (§1.3, §4.1).

Take what has arrived, decide it, commit it with the position behind it, again. The wall clock is read here, once for
each batch. A batch closes at a number of records or when its first record has waited long enough. The book's file is
given free at least every `SHARE_SECONDS` while the stream waits for records; while they pile up it stays open for
`HOLD_SECONDS` at most, then whoever waits for it gets a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from earnbook.pipeline.clock import Clock, old_event_time, old_event_warning, run_clock, wall_clock_us
from earnbook.pipeline.config import ClockMode, Order, OutboxMode, Publication, RunRequest, WarningListener
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.load import Registers, bring_checkpoint_forward, load_registers, load_stream_positions
from earnbook.pipeline.operation_needs import OperationNeeds
from earnbook.pipeline.publish import publish, refuse_publication
from earnbook.pipeline.ruleset import RulesetLoad, prepare_ruleset, ruleset_in_force
from earnbook.pipeline.stage import Staged
from earnbook.pipeline.store import Book, BookMode, open_book
from earnbook.pipeline.stream_job import StreamBatch, StreamJob
from earnbook.pipeline.stream_source import Arrival, Backlog, StreamSource, positions_of
from earnbook.rules.definitions import Definitions, load_definitions

RECORDS_DEFAULT = 100_000
DELAY_SECONDS_DEFAULT = 0.5
"""When a batch closes."""

CHECKPOINT_SECONDS_DEFAULT = 60.0
"""How long the checkpoint of state may stay behind while records keep coming."""

QUIET_SECONDS = 1.0
"""When nothing has come for so long, the checkpoint is brought forward."""

SHARE_SECONDS = 1.0
"""How long the file stays open at most once there is nothing to do; closing it makes DuckDB write a checkpoint."""

HOLD_SECONDS = 5.0
GAP_SECONDS = 0.1
"""While batches follow each other without pause, the file is open for so long, then free for so long."""

STRETCH_RECORDS = 4_000_000
"""After so many records the state in memory is let go, and read again as it is needed."""


def _nobody(_: object) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """One `earnbook stream`; fields as in `RunRequest`. Durations are seconds, None means never."""

    book: Path
    config: Path | None = None
    mapping: str | None = None
    """The source of the definitions through which files are read."""
    format: str | None = None
    program: str | None = None
    clock: ClockMode = ClockMode.NOW
    clock_fixed_us: int | None = None
    prune: bool = False
    lock_wait_seconds: float = 60.0
    horizon_us: int | None = None
    no_horizon: bool = False
    assume_utc: bool = False
    ignore_conflicts: bool = False
    max_generated: int | None = None
    evaluations_full: bool = True
    outbox: OutboxMode = OutboxMode.ENABLED
    webhook_extensions: bool = False
    kernel: bool = True
    records_max: int = RECORDS_DEFAULT
    delay_seconds: float = DELAY_SECONDS_DEFAULT
    idle_advance_seconds: float | None = None
    """While nothing arrives, do what has fallen due so often."""
    idle_stop_seconds: float | None = None
    """Stop when nothing has arrived for so long."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS_DEFAULT
    publication: Publication = field(default_factory=Publication)
    """What is published with every checkpoint of state."""
    stretch_records: int = STRETCH_RECORDS
    read_wall_clock_us: Callable[[], int] = field(default=wall_clock_us)
    warn: WarningListener = field(default=_nobody)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """What a stream did until it ended; counts are of this invocation."""

    batches: int
    rows_read: int
    events: int
    operations: int
    duplicates: int
    rejected: int
    generated: int
    completed: int
    failed: int
    late: int
    entries: int
    book_clock_us: int
    seconds: float

    @property
    def ties(self) -> bool:
        """Both counting identities of §3.6."""
        read = self.events + self.operations + self.duplicates + self.rejected
        return self.rows_read == read and self.events + self.operations + self.generated == self.completed + self.failed


BatchListener = Callable[[StreamBatch, Backlog], None]
"""Told of every committed batch and of what waits then; called by the thread that writes."""


def _no_listener(_: StreamBatch, __: Backlog) -> None:
    """Nobody listens."""


_NOTHING = StreamReport(
    batches=0, rows_read=0, events=0, operations=0, duplicates=0, rejected=0, generated=0, completed=0, failed=0,
    late=0, entries=0, book_clock_us=0, seconds=0.0,
)  # fmt: skip


def stream(request: StreamRequest, source: StreamSource, on_batch: BatchListener = _no_listener) -> StreamReport:
    """Process a stream until it ends or is stopped; what arrived by then is committed.

    Raises as `drive.run` does. Whenever it ends, the book has whole batches and the position behind the last one.
    """
    started = time.monotonic()
    given = load_definitions(request.config) if request.config is not None else None
    if given is None and not request.book.exists():
        raise Refused(f"there is no book at {request.book}", "Give --book FILE, or --config DIR to make a new one.")
    refuse_publication(request.publication, request.book)
    with ExitStack() as stack:
        book = stack.enter_context(
            open_book(request.book, mode=BookMode.WRITE, lock_wait_seconds=request.lock_wait_seconds)
        )
        stack.callback(source.close)
        with book.session() as connection:
            bring_checkpoint_forward(connection)
            stored = positions_of(load_stream_positions(connection, source.name))
        loop = _Loop(request, source, book, given, on_batch)
        stack.callback(loop.close)
        source.begin(stored)
        loop.run()
        return replace(loop.report, seconds=time.monotonic() - started)


class _Loop:
    """The loop and what it remembers from one batch to the next."""

    def __init__(
        self,
        request: StreamRequest,
        source: StreamSource,
        book: Book,
        given: Definitions | None,
        on_batch: BatchListener,
    ) -> None:
        self._request, self._source, self._book, self._given = request, source, book, given
        self._on_batch = on_batch
        self._run_request = _run_request(request)
        self.report = _NOTHING
        self._is_first = True
        self._warned: set[str] = set()
        self._job = self._begin_stretch(OperationNeeds())
        now = time.monotonic()
        self._opened_at = self._checkpointed_at = self._arrived_at = self._advanced_at = now

    def run(self) -> None:
        """Until the source has ended."""
        while not self._source.has_ended:
            rows = self._source.backlog.rows or 0
            self._share_file(is_next_ready=rows >= self._request.records_max)
            arrival = self._source.take(
                rows_max=self._request.records_max,
                delay_seconds=self._request.delay_seconds,
                wait_seconds=self._patience(),
            )
            if arrival is not None:
                self._process(arrival)
                self._arrived_at = self._advanced_at = time.monotonic()
                self._checkpoint_in_time()
            elif not self._source.has_ended:
                self._idle()
        self._job.finish()
        self._publish()

    def close(self) -> None:
        """Give everything back, also after a failure."""
        self._job.close()

    # --- a stretch --------------------------------------------------------------------------------------------------

    def _begin_stretch(self, needs: OperationNeeds, before: StreamJob | None = None) -> StreamJob:
        """A job that continues where the book stands; compiled rules are those of the stretch before, if any."""
        with self._book.session() as connection:
            registers = load_registers(connection)
            load = self._load(connection, registers, before)
            wall_us = self._request.read_wall_clock_us()
            return StreamJob(
                self._book,
                self._run_request,
                run_clock(self._run_request, wall_us=wall_us, book_clock_us=registers.book_clock or 0),
                load,
                stream=self._source.name,
                wall_us=wall_us,
                on_commit=self._note,
                needs=needs,
                ruleset=None if before is None else before.ruleset,
            )

    def _load(
        self, connection: duckdb.DuckDBPyConnection, registers: Registers, before: StreamJob | None
    ) -> RulesetLoad:
        if before is None or before.is_load_pending:
            return prepare_ruleset(connection, registers, self._given, prune=self._request.prune)
        return ruleset_in_force(connection)

    def _renew(self, needs: OperationNeeds) -> None:
        before = self._job
        before.finish()
        self._job = self._begin_stretch(needs, before)

    # --- records ----------------------------------------------------------------------------------------------------

    def _process(self, arrival: Arrival) -> None:
        clock = self._read_clock()
        staged, needs = self._job.read(arrival, clock)
        needs |= self._job.needs
        is_full = self._job.records >= self._request.stretch_records
        if is_full or self._job.is_spent or needs != self._job.needs:
            # Texts were interned and checked for the stretch that ends here.
            staged.close()
            self._renew(needs)
            staged, _ = self._job.read(arrival, clock)
        with staged:
            self._warn(staged, clock)
            if not self._job.is_open:
                self._opened_at = time.monotonic()
            self._job.process(arrival, staged, self._goes_on)

    def _goes_on(self) -> bool:
        """Between the batches of a large file there is time for all that happens between batches."""
        self._share_file(is_next_ready=True)
        self._checkpoint_in_time()
        return not self._source.has_ended

    def _read_clock(self) -> Clock:
        wall_us = self._request.read_wall_clock_us()
        return run_clock(self._run_request, wall_us=wall_us, book_clock_us=self._job.book_clock_us)

    def _warn(self, staged: Staged, clock: Clock) -> None:
        """Each unknown field once; and once, of the first records, that they are old (§4.3)."""
        for source in staged.sources:
            for name in source.unknown_fields.keys() - self._warned:
                self._warned.add(name)
                self._request.warn(
                    f"{source.name}: the unknown event field {name} is ignored, in all rows that have it"
                )
        oldest = old_event_time(clock)
        if self._is_first and oldest is not None and staged.rows_accepted:
            self._is_first = False
            warning = old_event_warning(old=staged.count_before(oldest), records=staged.rows_accepted)
            if warning is not None:
                self._request.warn(warning)

    def _note(self, batch: StreamBatch) -> None:
        names = ("rows_read", "events", "operations", "duplicates", "rejected", "generated", "completed", "failed")
        sums = {name: getattr(self.report, name) + getattr(batch, name) for name in (*names, "late", "entries")}
        self.report = replace(self.report, batches=self.report.batches + 1, book_clock_us=batch.book_clock_us, **sums)
        self._source.committed(batch.positions)
        self._on_batch(batch, self._source.backlog)

    # --- between batches --------------------------------------------------------------------------------------------

    def _share_file(self, *, is_next_ready: bool) -> None:
        """Give the file free, not more often than closing it is worth, and for a moment where batches pile up."""
        if not is_next_ready:
            self._job.settle()
        held = time.monotonic() - self._opened_at
        if not self._job.is_open or held < (HOLD_SECONDS if is_next_ready else SHARE_SECONDS):
            return
        self._job.release()
        if is_next_ready:
            time.sleep(GAP_SECONDS)
            self._opened_at = time.monotonic()

    def _patience(self) -> float | None:
        """How long to wait for records before there is something else to do."""
        waits = [
            since + seconds
            for since, seconds in (
                (self._opened_at, SHARE_SECONDS if self._job.is_open else None),
                (self._arrived_at, QUIET_SECONDS if self._job.is_state_behind else None),
                (self._advanced_at, self._request.idle_advance_seconds),
                (self._arrived_at, self._request.idle_stop_seconds),
            )
            if seconds is not None
        ]
        return max(min(waits) - time.monotonic(), 0.0) if waits else None

    def _checkpoint_in_time(self) -> None:
        if time.monotonic() - self._checkpointed_at > self._request.checkpoint_seconds:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._job.checkpoint()
        self._publish()
        self._checkpointed_at = time.monotonic()

    def _publish(self) -> None:
        """Give readers what was committed; the file is closed for it, and no other writer has the lock."""
        if self._request.publication != Publication():
            self._job.release()
            publish(self._request.publication, self._request.book)

    def _idle(self) -> None:
        """Nothing has come: bring the checkpoint forward, do what has fallen due, stop, whichever time it is for."""
        now = time.monotonic()
        if self._job.is_state_behind and now - self._arrived_at >= QUIET_SECONDS:
            self._checkpoint()
        advance, stop = self._request.idle_advance_seconds, self._request.idle_stop_seconds
        if advance is not None and now - self._advanced_at >= advance:
            if self._job.is_spent:
                self._renew(self._job.needs)
            self._job.idle(self._idle_clock())
            self._advanced_at = time.monotonic()
        if stop is not None and now - self._arrived_at >= stop:
            self._source.stop()

    def _idle_clock(self) -> Clock:
        """The wall clock, also where records bring their own time: while there are none, time passes all the same."""
        clock = self._read_clock()
        if clock.mode is not ClockMode.EVENT:
            return clock
        return replace(clock, mode=ClockMode.FIXED, reading_us=max(clock.reading_us, self._job.book_clock_us))


def _run_request(request: StreamRequest) -> RunRequest:
    return RunRequest(
        book=request.book,
        inputs=(),
        config=request.config,
        source=request.mapping,
        format=request.format,
        program=request.program,
        clock=request.clock,
        clock_fixed_us=request.clock_fixed_us,
        order=Order.INPUT,
        prune=request.prune,
        horizon_us=request.horizon_us,
        no_horizon=request.no_horizon,
        assume_utc=request.assume_utc,
        ignore_conflicts=request.ignore_conflicts,
        batch_records=request.records_max,
        max_generated=request.max_generated,
        evaluations_full=request.evaluations_full,
        outbox=request.outbox,
        webhook_extensions=request.webhook_extensions,
        kernel=request.kernel,
        warn=request.warn,
    )
