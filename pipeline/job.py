"""One run over one book: stage, check, then per batch prefetch, decide and commit (§4.1).

One batch is decided while the one before it is written, by a thread that owns nothing else. A crash at any point leaves
whole batches; the same command does the rest, because every record carries its idempotency key.
"""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import uuid4

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import TIME_NONE, Int64s
from earnbook.ledger.state import Registers as StateRegisters
from earnbook.pipeline.batch_rows import BatchRows, batch_rows
from earnbook.pipeline.clock import Clock, format_time, old_event_time, old_event_warning, wall_clock_us
from earnbook.pipeline.commit import CommitRequest, CommittedBatch, commit_batch
from earnbook.pipeline.commit_checks import BatchCounts, BatchHeader
from earnbook.pipeline.config import GENERATED_FACTOR, ClockMode, InputReport, Progress, RunReport, RunRequest
from earnbook.pipeline.control import control_totals, read_control, refuse_uncontrolled
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.evaluations import PatternProgram, PatternRule, Patterns
from earnbook.pipeline.execute import Decided, Engine, warm_up
from earnbook.pipeline.lifecycles import has_tier_due
from earnbook.pipeline.load import (
    has_automation_due,
    has_schedule,
    load_patterns,
    load_registers,
    load_registry,
    stored_rejects,
)
from earnbook.pipeline.look_ahead import LookAhead
from earnbook.pipeline.operation_needs import OperationNeeds, operation_needs
from earnbook.pipeline.order import SeenKeys, drop_duplicates, renumber_conflicts
from earnbook.pipeline.originals import find_originals
from earnbook.pipeline.outbox import count_notifications, written_types
from earnbook.pipeline.partitions import why_one_pass
from earnbook.pipeline.prefetch import due_holders, prefetch_due, prefetch_persons, prefetch_records, prefetch_start
from earnbook.pipeline.records import Reference, Reject, RejectReason, records_schema
from earnbook.pipeline.registry import SourceEntry
from earnbook.pipeline.retries import retry_rows, rows_with_retries
from earnbook.pipeline.ruleset import RulesetLoad, definition_rows, number_objects, ruleset_in_force
from earnbook.pipeline.run_results import NO_RECORDS, RunResults
from earnbook.pipeline.schema import BATCH_TABLES
from earnbook.pipeline.source_input import SourceMapping
from earnbook.pipeline.stage import Staged, StagedSource, StageRequest, stage_inputs
from earnbook.pipeline.standing import standing_of
from earnbook.pipeline.store import Book
from earnbook.pipeline.store_checkpoint import Checkpoint
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.tally import Tally, balances_by_class
from earnbook.pipeline.terms import RunTerms, run_terms
from earnbook.rules.compile import CompiledRuleset, compile_ruleset
from earnbook.rules.issues import summarise_warnings

Item = TypeVar("Item")

_NO_NEEDS = OperationNeeds()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Records of one batch without repeats, and what was dropped on the way to them.

    `first_log_seq` is the number that the first record was expected to get.
    """

    records: pa.Table
    duplicates: int = 0
    rejects: tuple[Reject, ...] = ()
    first_log_seq: int = 0


class Job:
    """One run; see the module. Use `stage`, `check`, `decide` (or `advance`), `report`, once each and in this order."""

    def __init__(
        self,
        book: Book,
        connection: duckdb.DuckDBPyConnection,
        request: RunRequest,
        clock: Clock,
        load: RulesetLoad,
        *,
        wall_us: int,
        needs: OperationNeeds = _NO_NEEDS,
        ruleset: CompiledRuleset | None = None,
    ) -> None:
        """A run that continues where the book stands; `needs` are those that are known before anything is staged, and
        `ruleset` is the compiled form of `load` where it is at hand."""
        started = time.perf_counter()
        self.tally = Tally()
        self._book, self._connection, self._request, self._clock = book, connection, request, clock
        self._load = load
        self._wall_us = wall_us
        self._run_id = str(uuid4())
        self._start = load_registers(connection)
        self._opening = balances_by_class(connection)
        self._registry = load_registry(connection)
        number_objects(self._registry, load)
        self._ruleset = ruleset or compile_ruleset(load.definitions, kernel=request.kernel)
        self._pool = StringPool()
        self._standing = standing_of(connection, self._registry, load)
        self._terms = self._make_terms(needs)
        warm_up(self._terms)
        self._batch = self._start.batch
        self._book_clock = self._start.book_clock or 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._pending: Future[CommittedBatch] | None = None
        self._engine: Engine | None = None
        self._sizes = (0, 0, 1)
        """Records of a batch, and of the run, at most."""
        self._sources: Int64s = np.zeros(0, np.int64)
        self._results = RunResults(connection, self._registry, load.definitions.organization.id)
        self._warnings: list[str] = summarise_warnings(load.definitions.warnings)
        self._notes: list[str] = []
        self._is_loaded = False
        self._has_schedule = has_schedule(connection)
        self._hashes: tuple[str, ...] = ()
        self._known_rejects: set[tuple[str, int, int]] = set()
        self.tally.seconds("rules", started)

    def _make_terms(self, needs: OperationNeeds) -> RunTerms:
        """The terms of the run, once it is known what its operations need."""
        standing = self._standing
        clock = self._start.book_clock or 0
        return run_terms(
            self._load, self._ruleset, self._registry, self._pool, clock=clock, standing=standing, needs=needs
        )

    # --- before anything is decided ---------------------------------------------------------------------------------

    def stage(self) -> Staged:
        """Read and conform every input."""
        started = time.perf_counter()
        staged = stage_inputs(self._stage_request())
        needs = operation_needs(staged.operations())
        if needs != OperationNeeds():
            self._terms = self._make_terms(needs)
        self.tally.seconds("read", started)
        return staged

    def _stage_request(self) -> StageRequest:
        """What to read, and what records are checked against."""
        request, definitions = self._request, self._load.definitions
        programs = tuple(Reference(entry.id, entry.key) for entry in self._registry.objects(ObjectKind.PROGRAM))
        source = None
        if request.source is not None:
            source = definitions.sources.get(request.source)
            if source is None:
                known = ", ".join(definitions.sources) or "none"
                raise Refused(f"the definitions have no source {request.source!r}", f"Sources that they have: {known}.")
        default = request.program or (source.program if source is not None else None)
        return StageRequest(
            inputs=request.inputs,
            programs=programs,
            assets=tuple(Reference(entry.id, entry.key) for entry in self._registry.objects(ObjectKind.ASSET)),
            rules=self._owned(ObjectKind.RULE),
            tiers=self._owned(ObjectKind.TIER),
            rewards=self._owned(ObjectKind.REWARD),
            automations=self._owned(ObjectKind.AUTOMATION),
            default_program=None if default is None else _find_program(programs, default),
            format=request.format,
            mapping=None
            if source is None
            else SourceMapping(
                name=request.source or "", select=source.select, format=source.format, timezone=source.timezone
            ),
            paths=tuple(column.path for column in self._ruleset.event_columns),
            pool=self._pool,
            horizon_us=self._clock.horizon_us,
            assume_utc=request.assume_utc,
            progress=request.progress,
        )

    def _owned(self, kind: ObjectKind) -> tuple[tuple[int, Reference], ...]:
        """Objects of programs, with the index of their program."""
        return tuple((entry.program - 1, Reference(entry.id, entry.key)) for entry in self._registry.objects(kind))

    def check(self, staged: Staged) -> None:
        """Refuse what must be refused before the first commit; collect warnings, and say at once what is about time."""
        look_ahead = LookAhead(
            staged=staged, request=self._request, clock=self._clock, find_originals=self._find_originals
        )
        look_ahead.refuse_rejects()
        if self._request.control is not None:
            symbols = {entry.id: entry.key for entry in self._registry.objects(ObjectKind.ASSET)}
            stated = read_control(self._request.control)
            refuse_uncontrolled(self._request.control, stated, control_totals(staged.operations(), symbols))
        for source in staged.sources:
            self._warnings.extend(source.warnings)
        oldest = old_event_time(self._clock)
        old = 0 if oldest is None else staged.count_before(oldest)
        warning = old_event_warning(old=old, records=staged.rows_accepted)
        if warning is not None:
            self._warnings.append(warning)
            self._request.warn(warning)
        if self._clock.mode is ClockMode.EVENT and self._start.book_clock is not None:
            look_ahead.refuse_late(self._book_clock)

    # --- deciding and committing ------------------------------------------------------------------------------------

    def decide(self, staged: Staged) -> None:
        """All batches, in log order; the last one writes the checkpoint."""
        with self._writer:
            total, done = staged.rows_accepted, 0
            batch_records = self._request.batch_records
            if self._request.dry_run and self._terms.needs.looks_back:
                # Nothing is committed that a later batch could look back at.
                batch_records = max(total, 1)
            self._sizes = (min(batch_records, total), total, self._partitions(staged))
            self._engine = self._make_engine(*self._sizes)
            self._note_sources(staged)
            seen = SeenKeys(staged.repeated_hashes)
            waiting = _Batch(records=_no_records(len(self._ruleset.event_columns)), rejects=staged.rejects)
            tables = staged.batches(batch_records, self._request.order)
            for table, is_last in with_last(tables):
                waiting = self._next_batch(table, seen, waiting)
                done += table.num_rows
                if waiting.records.num_rows and not is_last:
                    self._decide_batch(waiting, is_last=False, seen=seen)
                    waiting = _Batch(records=waiting.records.slice(0, 0))
                elif is_last:
                    break
                self._request.progress(Progress(stage="decide", done=done, total=total))
            if self._is_worth_a_batch(waiting):
                self._decide_batch(waiting, is_last=True, seen=seen)
            self._count_dropped_only(waiting)
            self._request.progress(Progress(stage="decide", done=total, total=total))
            if self._request.results is not None and not self.tally.batches:
                self._request.results(self._results.of_batch(NO_RECORDS))
            self._finish()

    def advance(self) -> None:
        """Due work up to the clock's reading, in one batch without records."""
        with self._writer:
            self._engine = self._make_engine(*self._sizes)
            self._decide_batch(_Batch(records=_no_records(len(self._ruleset.event_columns))), is_last=True)
            self._finish()

    def _partitions(self, staged: Staged) -> int:
        """By how many threads the run is decided: as many as asked for, or one where participants cannot go apart."""
        if self._request.partitions == 1:
            return 1
        reason = why_one_pass(self._ruleset, staged)
        if reason is None and has_schedule(self._connection):
            reason = "events of the book wait for their time"
        if reason is None:
            return self._request.partitions
        self._notes.append(f"one ordered pass instead of {self._request.partitions} partitions: {reason}")
        return 1

    def _make_engine(self, records: int, total: int = 0, partitions: int = 1) -> Engine:
        start = self._start
        engine = Engine(
            organization_id=self._load.definitions.organization.id,
            run=self._terms,
            ruleset=self._ruleset,
            registers=StateRegisters(
                clock=self._book_clock,
                log_seq=start.log_seq,
                entry_seq=start.entry_seq,
                lot_seq=start.lot_seq,
                change_seq=start.change_seq,
                holder=start.holder,
                latest=int(TIME_NONE) if start.timestamp_max is None else start.timestamp_max,
            ),
            patterns=Patterns(
                self._pattern_programs(), load_patterns(self._connection), full=self._request.evaluations_full
            ),
            pool=self._pool,
            records=records,
            total=total,
            partitions=partitions,
            load_persons=lambda engine: prefetch_persons(self._connection, engine, has_holders=start.holder > 0),
        )
        prefetch_start(self._connection, engine)
        return engine

    def _pattern_programs(self) -> tuple[PatternProgram, ...]:
        programs = []
        for number, (program, actions) in enumerate(zip(self._terms.programs, self._terms.actions, strict=True), 1):
            rules = tuple(
                PatternRule(
                    self._registry.find_object(ObjectKind.RULE, rule.definition.id) or 0,
                    self._load.versions[rule.definition.id],
                    rule.definition.order,
                    rule.definition.stop_after_match,
                )
                for rule in program.rules
            )
            positions = {book: action.rule for book, action in zip(actions, program.actions, strict=True)}
            programs.append(PatternProgram(number=number, rules=rules, rule_of_action=positions))
        return tuple(programs)

    def _next_batch(self, table: pa.Table, seen: SeenKeys, waiting: _Batch) -> _Batch:
        """The new records of a table; what was dropped is added to what tables without any left waiting."""
        started = time.perf_counter()
        originals, first = self._find_originals(table), self._log_seq() + 1
        found = drop_duplicates(table, seen, first_log_seq=first, originals=originals)
        duplicates = found.duplicates
        conflicts = found.conflicts
        if self._request.ignore_conflicts:
            duplicates, conflicts = duplicates + len(conflicts), ()
        self.tally.seconds("duplicates", started)
        return _Batch(
            records=found.records,
            duplicates=waiting.duplicates + duplicates,
            rejects=(*waiting.rejects, *conflicts),
            first_log_seq=first,
        )

    def _find_originals(self, table: pa.Table) -> pa.Table | None:
        return find_originals(self._connection, table) if self._start.log_seq else None

    def _log_seq(self) -> int:
        return self._engine.state.registers.log_seq if self._engine is not None else self._start.log_seq

    def _note_sources(self, staged: Staged) -> None:
        """Number the sources, and find what the book knows of them."""
        numbers = []
        for source in staged.sources:
            numbers.append(
                self._registry.add_source(
                    SourceEntry(
                        name=source.name,
                        sha256=source.sha256,
                        format=self._request.format or "",
                        rows=source.rows_read,
                        mapping_sha256=source.mapping_sha256,
                        mapped_from=source.input_rows,
                    )
                )
            )
        self._sources = np.array(numbers, np.int64)
        self._hashes = tuple(source.sha256 for source in staged.sources)
        self._note_known_rejects()

    def _note_known_rejects(self) -> None:
        """Find which rejects of the sources the book has from an earlier run (§3.5)."""
        if self._start.batch:
            rows = stored_rejects(self._connection, list(self._hashes)).to_pylist()
            self._known_rejects = {(row["sha256"], row["source_row"], row["reason"]) for row in rows}

    def _is_known(self, reject: Reject) -> bool:
        return self._identity(reject) in self._known_rejects

    def _identity(self, reject: Reject) -> tuple[str, int, int]:
        """What makes two rejects the same one (§3.5)."""
        return self._hashes[reject.source], reject.source_row, int(reject.reason)

    def _is_worth_a_batch(self, batch: _Batch) -> bool:
        """Whether anything would be written: repeats alone are not, unless this run writes something anyway."""
        if batch.records.num_rows or not all(self._is_known(reject) for reject in batch.rejects):
            return True
        if self.tally.batches:
            return bool(batch.duplicates or batch.rejects)
        if self._clock.mode is ClockMode.EVENT:
            return False
        return self._load.changed or self._is_due(self._clock.end_of_batch(self._book_clock))

    def _is_due(self, until: int) -> bool:
        """Whether anything falls due at or before a time, when the checkpoint of state is the present one."""
        assert self._engine is not None
        is_due = bool(len(due_holders(self._connection, self._engine, until))) or self._engine.has_budget_due(until)
        return is_due or has_automation_due(self._connection, until)

    def _count_dropped_only(self, batch: _Batch) -> None:
        """Where nothing was written, the repeats are still counted for the report."""
        if not self.tally.batches:
            self._tally_dropped(batch)
            rows = batch.duplicates + len(batch.rejects)
            self._notes.append(f"nothing new in {rows:,} rows: the book is unchanged")

    def _tally_dropped(self, batch: _Batch) -> None:
        self.tally.counts["duplicates"] += batch.duplicates
        self.tally.rejected.update(reject.reason.name for reject in batch.rejects)
        self.tally.counts["conflicts"] += sum(
            reject.reason is RejectReason.IDEMPOTENCY_CONFLICT for reject in batch.rejects
        )
        self.tally.counts["rejects_known"] += sum(self._is_known(reject) for reject in batch.rejects)

    def _decide_batch(self, batch: _Batch, *, is_last: bool, seen: SeenKeys | None = None) -> Decided:
        """Prefetch, decide, and hand the rows to the writer."""
        records = batch.records
        started = time.perf_counter()
        base = self._clock.base_times(records.column("timestamp").to_numpy())
        is_event_clock = self._clock.mode is ClockMode.EVENT
        until = int(TIME_NONE) if is_event_clock else self._clock.end_of_batch(self._book_clock)
        reach = max(self._book_clock, until, int(base.max()) if len(base) else 0)
        first_at = max(self._book_clock, int(base[0])) if len(base) else reach
        if self._settle_before_load(first_at):
            self._engine = self._make_engine(*self._sizes)
        engine = self._engine
        assert engine is not None
        given = self._batch_rows(records)
        named = prefetch_records(self._connection, engine, given.rows, has_holders=self._start.holder > 0)
        if self._start.holder:
            prefetch_due(self._connection, engine, reach)
        started = self.tally.seconds("prefetch", started)
        number = self._batch + 1
        loads_now = self._loads_now(batch)
        engine.automations.begin()
        if loads_now:
            engine.begin_budgets(self._registry, first_at)
            engine.begin_automations(self._registry, self._load, first_at)
        engine.start_periods(first_at if loads_now else self._book_clock)
        limit = self._request.max_generated
        decided = engine.execute(
            given,
            named,
            batch=number,
            base=base,
            until=until,
            sources=self._sources,
            generated_max=GENERATED_FACTOR * (records.num_rows + engine.state.registers.holder)
            if limit is None
            else limit,
        )
        last = batch.first_log_seq + records.num_rows - 1
        if seen is not None and records.num_rows and decided.log_seqs[-1] != last:
            # Generated events took some of the numbers.
            batch = replace(batch, rejects=renumber_conflicts(batch.rejects, batch.first_log_seq, decided.log_seqs))
            seen.renumber(batch.first_log_seq, decided.log_seqs)
        self._batch, self._book_clock = number, decided.book_clock
        self.tally.add(decided)
        self._tally_dropped(batch)
        self.tally.batches.append(number)
        started = self.tally.seconds("decide", started)
        request = self._commit_request(batch, decided, first_at=first_at, loads_now=loads_now, is_last=is_last)
        self._commit(request)
        if self._request.results is not None:
            self._request.results(self._results.of_batch(decided.tables))
        self.tally.seconds("wait for commit", started)
        return decided

    def _loads_now(self, batch: _Batch) -> bool:
        """Whether the definitions come into force with this batch.

        Without records under the event clock there is no time at which to load (§6.3).
        """
        is_waiting = self._load.changed and not self._is_loaded
        return is_waiting and (batch.records.num_rows > 0 or self._clock.mode is not ClockMode.EVENT)

    def _settle_before_load(self, first_at: int) -> bool:
        """Under new definitions, events and levels that fall due before them are dealt with by the old ones (§6.3).

        They make a batch of their own; returns whether there is one. A dry run, which commits none, leaves them to the
        new definitions.
        """
        is_load = self._load.changed and not self._is_loaded and self._start.ruleset_version > 0
        if not is_load or self._request.dry_run:
            return False
        old = ruleset_in_force(self._connection)
        clock = Clock(mode=ClockMode.FIXED, reading_us=first_at, horizon_us=self._clock.horizon_us)
        is_due = (
            has_schedule(self._connection, until=first_at)
            or has_automation_due(self._connection, first_at)
            or has_tier_due(self._connection, old.definitions, self._registry, after=self._book_clock, until=first_at)
        )
        if not is_due:
            return False
        before = Job(self._book, self._connection, self._request, clock, old, wall_us=self._wall_us)
        before.tally = self.tally
        before.advance()
        self._start = load_registers(self._connection)
        self._batch, self._book_clock = self._start.batch, self._start.book_clock or 0
        self._has_schedule = has_schedule(self._connection)
        return True

    def _batch_rows(self, records: pa.Table) -> BatchRows:
        """The records with the rows behind them."""
        engine = self._engine
        assert engine is not None
        templates = engine.template_rows()
        retries = len(retry_rows(records))
        # An event to retry, a redemption or a lot may be of the batch that is being written.
        if self._pending is not None and (retries or self._terms.needs.looks_back):
            self._pending.result()
        if not retries:
            return batch_rows(records, templates)
        ids = [program.id for program in self._terms.definitions]
        return rows_with_retries(
            self._connection, records, templates, program_ids=ids, paths=engine.paths, pool=self._pool
        )

    def _commit_request(
        self, batch: _Batch, decided: Decided, *, first_at: int, loads_now: bool, is_last: bool
    ) -> CommitRequest:
        engine, load = self._engine, self._load
        assert engine is not None
        self._is_loaded = self._is_loaded or loads_now
        in_force = self._is_in_force()
        registry = self._registry.take_rows(self._batch, sources=self._batch_sources(batch))
        if not in_force:
            # What is not loaded has no numbers yet: the next load may be another one.
            registry = {name: registry[name] for name in ("sources", "batch_sources")}
        return CommitRequest(
            header=BatchHeader(
                batch=self._batch,
                organization=load.definitions.organization.id,
                clock_mode=str(self._clock.mode),
                book_clock=decided.book_clock,
                ruleset_version=load.version if in_force else self._start.ruleset_version,
                ruleset_sha256=load.definitions.hash if in_force else self._start.ruleset_sha256,
                counts=BatchCounts(
                    rows_read=batch.records.num_rows + batch.duplicates + len(batch.rejects),
                    events=decided.events,
                    operations=decided.operations,
                    duplicates=batch.duplicates,
                    rejected=len(batch.rejects),
                    generated=decided.generated,
                    completed=decided.completed,
                    failed=sum(decided.failed.values()),
                    late=decided.late,
                ),
                record_order=str(self._request.order),
                evaluations="full" if self._request.evaluations_full else "matched",
                clock_reading=self._clock.reading_us if self._clock.mode is ClockMode.NOW else None,
                clock_fixed=self._clock.reading_us if self._clock.mode is ClockMode.FIXED else None,
                horizon=self._clock.horizon_us,
                outbox=str(self._request.outbox),
                outbox_types=self._outbox_types(),
                committed_at=wall_clock_us() if self._request.wall_clock_us is None else self._request.wall_clock_us,
                host=socket.gethostname(),
                run_id=self._run_id,
            ),
            tables={**decided.tables, "rejects": self._reject_rows(batch)},
            registry=registry,
            definitions=definition_rows(self._registry, load, batch=self._batch, changed_at=first_at)
            if loads_now
            else None,
            ruleset=load.stored if loads_now else None,
            checkpoint=self._checkpoint(engine) if is_last else None,
        )

    def _batch_sources(self, batch: _Batch) -> list[int]:
        """The numbers of the sources that a batch reads: the first one has the rejects of all of them."""
        is_first = self._batch == self._start.batch + 1
        return self._sources.tolist() if is_first else _sources_of(batch, self._sources)

    def _checkpoint(self, engine: Engine) -> Checkpoint:
        """The state of the run's entities; what it did not look at, and what is not loaded yet, stays."""
        kept = set() if self._terms.terms.has_members else {"profiles", "members"}
        if not self._terms.needs.has_redemptions:
            kept.add("reward_counts")
        if not self._is_in_force():
            kept |= {"program_statuses", "asset_links"}
        return Checkpoint(entities=engine.entities(), tables=engine.checkpoint(), kept=frozenset(kept))

    def _is_in_force(self) -> bool:
        """Whether the definitions of this run are those of the book, after what was committed so far."""
        return self._is_loaded or not self._load.changed

    def _outbox_types(self) -> int:
        """What the next batch writes to the outbox, by the endpoints of the definitions in force."""
        if self._is_in_force():
            load = self._load
        elif self._start.ruleset_version:
            load = ruleset_in_force(self._connection)
        else:
            return written_types(self._request.outbox, (), extensions=self._request.webhook_extensions)
        webhooks = load.definitions.organization.webhooks
        return written_types(self._request.outbox, webhooks, extensions=self._request.webhook_extensions)

    def _reject_rows(self, batch: _Batch) -> pa.Table:
        # The same bytes under two names are stored once.
        new = list({self._identity(reject): reject for reject in batch.rejects if not self._is_known(reject)}.values())
        self._known_rejects.update(map(self._identity, new))
        rows = [
            {
                "batch": self._batch,
                "n": position,
                "source": int(self._sources[reject.source]),
                "source_row": reject.source_row,
                "reason": int(reject.reason),
                "field": reject.field or None,
                "message": reject.message,
                "original_log_seq": reject.original_log_seq,
                "raw": reject.raw,
            }
            for position, reject in enumerate(new, start=1)
        ]
        return pa.Table.from_pylist(rows, BATCH_TABLES["rejects"])

    def _commit(self, request: CommitRequest) -> None:
        """Hand a batch to the writer, once it is done with the one before."""
        if self._request.dry_run:
            return
        if self._pending is not None:
            self._pending.result()
        self._pending = self._writer.submit(commit_batch, self._book, request)

    def _finish(self) -> None:
        started = time.perf_counter()
        if self._pending is not None:
            self._pending.result()
        self.tally.seconds("wait for commit", started)

    # --- the report -------------------------------------------------------------------------------------------------

    def report(self, staged: Staged | None) -> RunReport:
        """What was done; the caller sets `seconds` when the book is closed."""
        tally, counts = self.tally, self.tally.counts
        is_written = bool(tally.batches) and not self._request.dry_run
        closing = balances_by_class(self._connection) if is_written else None
        return RunReport(
            book=self._request.book,
            inputs=() if staged is None else tuple(_input_report(source) for source in staged.sources),
            batches=() if self._request.dry_run else tuple(tally.batches),
            rows_read=0 if staged is None else sum(source.rows_read for source in staged.sources),
            events=counts["events"],
            operations=counts["operations"],
            duplicates=counts["duplicates"],
            conflicts=counts["conflicts"],
            rejected=dict(tally.rejected.most_common()),
            rejects_known=counts["rejects_known"],
            completed=counts["completed"],
            failed=dict(tally.failed.most_common()),
            late=counts["late"],
            generated=counts["generated"],
            participants_created=counts["holders"],
            entries=counts["entries"],
            movements=tally.movement_totals(self._registry),
            balances=tally.balance_totals(self._registry, self._opening, closing),
            lots_created=counts["lots"],
            changes=counts["changes"],
            bailed=dict(tally.bailed.most_common()),
            ruleset_version=self._load.version if self._is_in_force() else self._start.ruleset_version,
            ruleset_changed=self._is_loaded and self._load.version != self._start.ruleset_version,
            clock=str(self._clock.mode)
            if self._clock.mode is not ClockMode.FIXED
            else format_time(self._clock.reading_us),
            clock_before_us=self._start.book_clock or 0,
            clock_after_us=self._book_clock,
            seconds=0.0,
            stage_seconds=dict(tally.stage_seconds),
            peak_memory_bytes=_peak_memory_bytes(),
            warnings=tuple(self._warnings),
            notes=tuple(self._notes),
            dry_run=self._request.dry_run,
            notifications=count_notifications(self._connection, tally.batches) if is_written else 0,
        )


def _find_program(programs: tuple[Reference, ...], name: str) -> int:
    for index, program in enumerate(programs):
        if name in (program.key, program.id):
            return index
    known = ", ".join(program.key for program in programs)
    raise Refused(f"there is no program {name!r}", f"Programs of the definitions: {known}.")


def _input_report(source: StagedSource) -> InputReport:
    return InputReport(
        name=source.name,
        sha256=source.sha256,
        rows=source.rows_read,
        rejected=sum(source.rejected.values()),
        mapped_from=source.input_rows,
        mapping_sha256=source.mapping_sha256,
    )


def _sources_of(batch: _Batch, sources: Int64s) -> list[int]:
    found: list[int] = np.unique(sources[batch.records.column("source").to_numpy()]).tolist()
    return found


def _no_records(path_count: int) -> pa.Table:
    return records_schema(path_count).empty_table()


def with_last(items: Iterator[Item]) -> Iterator[tuple[Item, bool]]:
    """Each item with whether it is the last one."""
    previous: list[Item] = []
    for item in items:
        if previous:
            yield previous.pop(), False
        previous.append(item)
    for item in previous:
        yield item, True


def _peak_memory_bytes() -> int:
    """The largest resident size of this process so far; Linux counts in KiB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
