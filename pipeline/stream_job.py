"""One stretch of a stream: a `Job` whose records arrive piece by piece, each batch with the position behind it (§4.1).

A stretch is to a stream what a run is to files: compiled rules, interned texts and the state of everybody met so far
stay in memory from batch to batch; the checkpoint of state is written when the loop says so, at the latest at its end.
A stream is a sequence of stretches, so memory does not grow with the length of the stream.

Between batches the book's file can be given free: `release` ends every session, the next batch opens it again. The
writer lock stays, so nobody else has written meanwhile. One batch is decided while the one before it is written; its
keys are then looked for among those records too, which the book does not show yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int64s, Outcome
from earnbook.pipeline.clock import Clock
from earnbook.pipeline.commit import CommitRequest, CommittedBatch, commit_batch
from earnbook.pipeline.config import RunRequest
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.execute import Decided
from earnbook.pipeline.job import Job, _Batch, with_last
from earnbook.pipeline.operation_needs import OperationNeeds, operation_needs
from earnbook.pipeline.order import SeenKeys
from earnbook.pipeline.originals import find_originals
from earnbook.pipeline.prefetch import attach
from earnbook.pipeline.records import ORIGINALS, records_schema
from earnbook.pipeline.ruleset import RulesetLoad
from earnbook.pipeline.stage import Staged, stage_inputs, stage_lines
from earnbook.pipeline.store import Book
from earnbook.pipeline.store_checkpoint import write_checkpoint
from earnbook.pipeline.store_rows import transaction
from earnbook.pipeline.stream_source import Arrival, Position, position_rows
from earnbook.pipeline.tally import count_rejects
from earnbook.rules.compile import CompiledRuleset


class _Reasons(TypedDict):
    """Why rows of a batch were rejected and records failed."""

    rejects: Mapping[str, int]
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBatch:
    """What became of one batch, told once it is in the book; counts are those of §3.6."""

    batch: int
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
    latency_seconds: float
    """From the arrival of its first record to the end of its commit."""
    commit_seconds: float
    positions: tuple[Position, ...]
    rejects: Mapping[str, int]
    """Rejected rows by reason."""
    failures: Mapping[str, int]
    """Failed records by outcome code."""


CommitListener = Callable[[StreamBatch], None]
"""Told of every batch once it is in the book, by the thread that wrote it."""

GoesOn = Callable[[], bool]
"""Asked between the batches of an arrival; what is left of it waits for the next time where it says no."""


class StreamJob(Job):
    """See the module. Use `stage` and `process` for each arrival, `idle` where none comes, `finish` at the end."""

    def __init__(
        self,
        book: Book,
        request: RunRequest,
        clock: Clock,
        load: RulesetLoad,
        *,
        stream: str,
        wall_us: int,
        on_commit: CommitListener,
        needs: OperationNeeds,
        ruleset: CompiledRuleset | None = None,
    ) -> None:
        self._sessions = ExitStack()
        connection = self._sessions.enter_context(book.session())
        super().__init__(book, connection, request, clock, load, wall_us=wall_us, needs=needs, ruleset=ruleset)
        self._is_open = True
        self._stream = stream
        self._on_commit = on_commit
        self._sizes = (request.batch_records, 2 * request.batch_records, 1)
        self._positions: tuple[Position, ...] = ()
        self._reasons = _Reasons(rejects={}, failures={})
        self._arrived_at = 0.0
        self._is_first_of_arrival = True
        self._is_of_files = False
        self._in_flight = ORIGINALS.empty_table()
        self._state_batch = self._start.batch
        self.records = 0
        """Records that this stretch has taken in."""

    # --- the file ---------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether this process has the book's file open."""
        return self._is_open

    def release(self) -> None:
        """Wait for the batch that is being written, and give the file free until the next call that needs it."""
        self.settle()
        if self._is_open:
            self._sessions.close()
            self._is_open = False

    def _open(self) -> None:
        if self._is_open:
            return
        self._connection = self._sessions.enter_context(self._book.session())
        self._is_open = True
        if self._engine is not None:
            attach(self._connection, self._engine)

    # --- records ----------------------------------------------------------------------------------------------------

    @property
    def needs(self) -> OperationNeeds:
        """What the operations of this stretch may need; it cannot take in others."""
        return self._terms.needs

    @property
    def ruleset(self) -> CompiledRuleset:
        """The compiled definitions."""
        return self._ruleset

    @property
    def is_load_pending(self) -> bool:
        """Whether the definitions wait for the first batch that has a time."""
        return not self._is_in_force()

    @property
    def is_spent(self) -> bool:
        """Whether a batch was committed without the definitions: their numbers were not kept, others must be given."""
        return self.is_load_pending and self._batch > self._start.batch

    @property
    def is_state_behind(self) -> bool:
        """Whether the checkpoint of state is of an earlier batch than the last one."""
        return self._engine is not None and self._state_batch != self._batch

    @property
    def book_clock_us(self) -> int:
        """The book clock after what was decided so far."""
        return self._book_clock

    def read(self, arrival: Arrival, clock: Clock) -> tuple[Staged, OperationNeeds]:
        """Conform an arrival under a new reading of the clock; with what its operations need."""
        started = time.perf_counter()
        self._clock = clock
        request = self._stage_request()
        if arrival.files:
            staged = stage_inputs(replace(request, inputs=tuple(str(path) for path in arrival.files)))
        else:
            staged = stage_lines(request, arrival.lines)
        self.tally.seconds("read", started)
        return staged, operation_needs(staged.operations())

    def process(self, arrival: Arrival, staged: Staged, goes_on: GoesOn) -> None:
        """Decide an arrival and hand it to the writer: lines as one batch, files as batches of limited size."""
        self._open()
        self._arrived_at = arrival.arrived_at
        if self._engine is None:
            self._engine = self._make_engine(*self._sizes)
        self._is_of_files = bool(arrival.files)
        self._note_sources(staged)
        self._is_first_of_arrival = True
        seen = SeenKeys(staged.repeated_hashes)
        if arrival.files:
            self._process_files(staged, seen, arrival.positions, goes_on)
            return
        self._positions = arrival.positions
        tables = list(staged.batches(max(staged.rows_accepted, 1), self._request.order))
        records = tables[0] if tables else self._nothing()
        self._process_batch(self._next_batch(records, seen, _Batch(records=records, rejects=staged.rejects)), seen)

    def _process_files(self, staged: Staged, seen: SeenKeys, done: Sequence[Position], goes_on: GoesOn) -> None:
        """Rows that a batch before a crash took in are passed over, and so are the rejects, which it brought along."""
        _refuse_changed(staged, done)
        is_new = [not position.sha256 for position in done]
        rejects = tuple(reject for reject in staged.rejects if is_new[reject.source])
        for table, is_last in with_last(self._tables_behind(staged, done)):
            self._open()
            after = _positions_after(table, staged, done, is_last=is_last)
            self._positions = tuple(new for new, old in zip(after, done, strict=True) if new != old)
            batch = self._next_batch(table, seen, _Batch(records=table, rejects=rejects))
            self._process_batch(batch, seen)
            rejects, done = (), after
            if not is_last and not goes_on():
                return

    def _tables_behind(self, staged: Staged, done: Sequence[Position]) -> Iterator[pa.Table]:
        """The records behind the rows up to which the files were taken in; one table at least."""
        taken = np.array([position.row for position in done], np.int64)
        has_any = False
        for table in staged.batches(self._request.batch_records, self._request.order):
            fresh = _behind(table, taken)
            if fresh.num_rows:
                has_any = True
                yield fresh
        if not has_any:
            yield self._nothing()

    def _nothing(self) -> pa.Table:
        return records_schema(len(self._ruleset.event_columns)).empty_table()

    def _process_batch(self, batch: _Batch, seen: SeenKeys | None) -> None:
        decided = self._decide_batch(batch, is_last=False, seen=seen)
        self.records += batch.records.num_rows
        self._in_flight = _as_originals(batch.records, decided)
        self.tally.batches.clear()

    def idle(self, clock: Clock) -> bool:
        """Do what has fallen due by a reading of the clock, in a batch without records; says whether there was any."""
        self.checkpoint()
        self._clock = clock
        self._open()
        if self._engine is None:
            self._engine = self._make_engine(*self._sizes)
        if not self._is_due(clock.end_of_batch(self._book_clock)):
            return False
        self._positions, self._arrived_at = (), time.monotonic()
        self._sources = np.zeros(0, np.int64)
        self._process_batch(_Batch(records=self._nothing()), None)
        return True

    # --- committing -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until everything decided is in the book."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None
            self._in_flight = ORIGINALS.empty_table()

    def checkpoint(self) -> None:
        """Bring the checkpoint of state to the last batch, in a transaction of its own."""
        self.settle()
        if not self.is_state_behind:
            return
        assert self._engine is not None
        self._open()
        with transaction(self._connection):
            write_checkpoint(self._connection, self._checkpoint(self._engine), self._batch)
        self._state_batch = self._batch

    def finish(self) -> None:
        """The end of the stretch: everything is in the book, the checkpoint too, and the file is free."""
        try:
            self.checkpoint()
        finally:
            self.close()

    def close(self) -> None:
        """Give file and thread back; a batch that is being written is written to its end."""
        self._writer.shutdown(wait=True)
        self._sessions.close()
        self._is_open = False

    def _commit_request(
        self, batch: _Batch, decided: Decided, *, first_at: int, loads_now: bool, is_last: bool
    ) -> CommitRequest:
        request = super()._commit_request(batch, decided, first_at=first_at, loads_now=loads_now, is_last=is_last)
        self._is_first_of_arrival = False
        self._reasons = _Reasons(
            rejects=count_rejects(reject.reason.name for reject in batch.rejects),
            failures={Outcome(code).name: count for code, count in sorted(decided.failed.items())},
        )
        return replace(
            request,
            header=replace(request.header, record_order="arrival"),
            positions=position_rows(self._stream, self._positions, self._batch) if self._positions else None,
        )

    def _commit(self, request: CommitRequest) -> None:
        """Hand a batch to the writer, once it is done with the one before."""
        if self._pending is not None:
            self._pending.result()
        self._pending = self._writer.submit(
            self._write, request, self._positions, self._arrived_at, reasons=self._reasons
        )

    def _write(
        self, request: CommitRequest, positions: tuple[Position, ...], arrived_at: float, *, reasons: _Reasons
    ) -> CommittedBatch:
        started = time.monotonic()
        committed = commit_batch(self._book, request)
        now = time.monotonic()
        counts = request.header.counts
        self._on_commit(
            StreamBatch(
                batch=request.header.batch,
                rows_read=counts.rows_read,
                events=counts.events,
                operations=counts.operations,
                duplicates=counts.duplicates,
                rejected=counts.rejected,
                generated=counts.generated,
                completed=counts.completed,
                failed=counts.failed,
                late=counts.late,
                entries=_count_entries(request),
                book_clock_us=request.header.book_clock,
                latency_seconds=now - arrived_at,
                commit_seconds=now - started,
                positions=positions,
                **reasons,
            )
        )
        return committed

    def _note_known_rejects(self) -> None:
        """Lines have row numbers that none had before; only a file may be one that a run has read."""
        self._known_rejects = set()
        if self._is_of_files:
            super()._note_known_rejects()

    def _batch_sources(self, batch: _Batch) -> list[int]:
        """The first batch of an arrival has the rejects of all its sources."""
        if self._is_first_of_arrival:
            return [int(number) for number in self._sources]
        found: list[int] = np.unique(self._sources[batch.records.column("source").to_numpy()]).tolist()
        return found

    def _find_originals(self, table: pa.Table) -> pa.Table:
        """The records that a table may repeat: those of the book, and those that are just being written to it."""
        if self._pending is None or self._pending.done():
            return find_originals(self._connection, table)
        # The book may show the batch in the meantime; the same original twice is no mistake.
        in_flight = self._in_flight
        hits = pc.is_in(in_flight.column("key_hash"), value_set=table.column("key_hash").combine_chunks())
        return pa.concat_tables([find_originals(self._connection, table), in_flight.filter(hits)])


def _behind(table: pa.Table, taken: Int64s) -> pa.Table:
    """The records of a table that stand behind the row up to which their source was taken in."""
    is_new = table.column("source_row").to_numpy() > taken[table.column("source").to_numpy()]
    return table if is_new.all() else table.filter(pa.array(is_new))


def _refuse_changed(staged: Staged, done: Sequence[Position]) -> None:
    for source, position in zip(staged.sources, done, strict=True):
        if source.sha256 != position.part:
            raise SourceError(
                f"{source.name} was changed while it was read",
                "Write files elsewhere and move them into the folder when they are complete.",
            )


def _positions_after(
    table: pa.Table, staged: Staged, done: Sequence[Position], *, is_last: bool
) -> tuple[Position, ...]:
    """How far each file is taken in after a table of their records, which are in the order of the files."""
    sources, rows = table.column("source"), table.column("source_row")
    last = len(done) if is_last else sources[-1].as_py()
    positions = list(done)
    for index, (position, source) in enumerate(zip(done, staged.sources, strict=True)):
        if index > last or position.is_complete:
            continue
        row = source.rows_read if index < last else rows[-1].as_py()
        row = max(position.row, row)
        positions[index] = Position(
            part=position.part,
            label=source.name,
            first_position=position.position,
            position=row,
            row=row,
            sha256=source.sha256,
            is_complete=index < last,
        )
    return tuple(positions)


def _as_originals(records: pa.Table, decided: Decided) -> pa.Table:
    """The records of a batch as the originals of others; generated events have keys that no record may have."""
    columns = [
        pa.chunked_array([decided.log_seqs]) if name == "log_seq" else records.column(name) for name in ORIGINALS.names
    ]
    return pa.table(columns, schema=ORIGINALS)


def _count_entries(request: CommitRequest) -> int:
    numbers = request.tables["movements"].column("entry_seq")
    return int(numbers[-1].as_py() - numbers[0].as_py() + 1) if len(numbers) else 0
