"""The product without its book file: many small logs over one definitions document, decided in memory.

A `BulkEngine` compiles a document once and stages many logs in one pass; then each log is decided by a new
`pipeline.execute.Engine` on an empty book, in the order of `pipeline.job`: repeats dropped (§3.4), definitions loaded
at the first record (§6.3), records decided, due work done. What leaves it are the physical tables of the batches and
the checkpoint of state, which `bulk_decode` reads; nothing is committed. The one DuckDB session is of an empty book:
only what looks back asks it anything (events to retry §15.3, redemptions §16.3, lots §9.6), and it has none. A log is
one batch, so all that its records look back at is found in the batch itself.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import TIME_NONE, Bail, Int64s
from earnbook.ledger.state import Registers
from earnbook.pipeline.batch_rows import BatchRows, batch_rows
from earnbook.pipeline.clock import Clock
from earnbook.pipeline.config import ClockMode, Order
from earnbook.pipeline.evaluations import PatternProgram, PatternRule, Patterns
from earnbook.pipeline.execute import Decided, Engine
from earnbook.pipeline.load import load_patterns, load_registers, load_registry
from earnbook.pipeline.operation_needs import operation_needs
from earnbook.pipeline.order import SeenKeys, drop_duplicates
from earnbook.pipeline.prefetch import prefetch_persons, prefetch_records
from earnbook.pipeline.records import Reference, records_schema
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.retries import retry_rows, rows_with_retries
from earnbook.pipeline.ruleset import number_objects, prepare_ruleset
from earnbook.pipeline.stage import Staged, StageRequest, stage_inputs
from earnbook.pipeline.standing import standing_of
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.terms import RunTerms, run_terms
from earnbook.rules.compile import compile_ruleset
from earnbook.rules.definitions import load_definitions
from earnbook.rules.models_tiers import Reward
from tests.support.logical import Run
from tests.support.oracle_times import parse_time

GENERATED_MAX = 100_000
"""More than any small log generates: the limit of a run is not what is compared (§17.5)."""

MODES = ("kernel", "closures")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogResult:
    """What one log came to, as the book would hold it.

    `batches` are the physical rows in order, `state` the checkpoint after the last, None where no batch was worth it.
    `rejects` are (row from 1, reason). Budgets of the log have numbers above `budgets_before`.
    """

    batches: tuple[Decided, ...]
    state: Mapping[str, pa.Table] | None
    is_loaded: bool
    rows_read: int
    duplicates: int
    rejects: tuple[tuple[int, str], ...]
    budgets_before: int

    @property
    def bailed(self) -> Counter[Bail]:
        """Events that the closures proposed for, by reason."""
        return sum((Counter(batch.bailed) for batch in self.batches), Counter[Bail]())


@dataclass(frozen=True, slots=True, kw_only=True)
class _StagedLog:
    """The conformed records of one log in log order, and its rejected rows."""

    run: Run
    records: pa.Table
    rejects: tuple[tuple[int, str], ...]


@contextmanager
def empty_book() -> Iterator[duckdb.DuckDBPyConnection]:
    """A session of a book that has nothing, for any number of engines."""
    with tempfile.TemporaryDirectory(prefix="earnbook-") as folder:
        book = open_book(Path(folder) / "book.duckdb", mode=BookMode.WRITE)
        with book, book.session() as connection:
            yield connection


class BulkEngine:
    """One definitions document, compiled for one mode; its logs are staged together and decided one by one."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        definitions: Mapping[str, Any],
        *,
        mode: str,
        cache_directory: Path | None = None,
    ) -> None:
        """Compile a document (JSON values); `cache_directory` is where machine code goes, None for the usual place."""
        self._connection = connection
        self._load = prepare_ruleset(connection, load_registers(connection), _read(definitions), prune=False)
        self.registry: Registry = load_registry(connection)
        number_objects(self.registry, self._load)
        self._ruleset = compile_ruleset(
            self._load.definitions, cache_directory=cache_directory, kernel=mode == "kernel"
        )
        self._standing = standing_of(connection, self.registry, self._load)
        self._stored_patterns = load_patterns(connection)
        self._pool = StringPool()
        self._logs: list[_StagedLog] = []
        self._terms: RunTerms | None = None

    @property
    def program_statuses(self) -> Mapping[str, str]:
        """The statuses of programs that the definitions state, by key."""
        return {program.key: program.status for program in self._load.definitions.programs}

    @property
    def rewards(self) -> Mapping[str, Reward]:
        """The rewards of the definitions, by id."""
        return {reward.id: reward for program in self._load.definitions.programs for reward in program.rewards}

    def stage(self, runs: Sequence[Run]) -> None:
        """Conform the rows of all logs in one pass; they keep their own row numbers."""
        # Budgets that earlier logs began would count as known ones.
        self.registry = load_registry(self._connection)
        number_objects(self.registry, self._load)
        with tempfile.TemporaryDirectory(prefix="earnbook-") as folder:
            path = Path(folder) / "run-0.ndjson"
            path.write_text("".join(f"{line}\n" for run in runs for line in run.lines), encoding="utf-8")
            staged = stage_inputs(self._stage_request(path))
            try:
                self._logs = list(_cut(staged, runs, self._no_records()))
                needs = operation_needs(staged.operations())
            finally:
                staged.close()
        self._terms = run_terms(
            self._load, self._ruleset, self.registry, self._pool, clock=0, standing=self._standing, needs=needs
        )

    def decide(self, place: int) -> LogResult:
        """Decide one of the staged logs on an empty book: its rows, then what `advance_to` makes due."""
        log, terms = self._logs[place], self._terms
        assert terms is not None
        clock = _clock_of(log.run)
        records, duplicates, rejects = _without_repeats(log)
        budgets_before = len(self.registry.budgets())
        is_loaded = records.num_rows > 0 or clock.mode is not ClockMode.EVENT
        batches: list[Decided] = []
        state: Mapping[str, pa.Table] | None = None
        if is_loaded or rejects:
            engine = self._engine(terms, records.num_rows)
            batches.append(self._decide_batch(engine, records, clock, 1, book_clock=0, loads=is_loaded))
            if log.run.advance_to is not None and is_loaded:
                later = Clock(mode=ClockMode.FIXED, reading_us=parse_time(log.run.advance_to), horizon_us=None)
                book_clock = batches[-1].book_clock
                batches.append(self._decide_batch(engine, self._no_records(), later, 2, book_clock=book_clock))
            state = engine.checkpoint()
        return LogResult(
            batches=tuple(batches),
            state=state,
            is_loaded=is_loaded,
            rows_read=len(log.run.lines) if batches else 0,
            duplicates=duplicates if batches else 0,
            rejects=rejects,
            budgets_before=budgets_before,
        )

    def _decide_batch(
        self, engine: Engine, records: pa.Table, clock: Clock, number: int, *, book_clock: int, loads: bool = False
    ) -> Decided:
        """One batch as `Job._decide_batch` decides it, without prefetch: the book has no holders."""
        base = clock.base_times(records.column("timestamp").to_numpy())
        is_event_clock = clock.mode is ClockMode.EVENT
        until = int(TIME_NONE) if is_event_clock else clock.end_of_batch(book_clock)
        first_at = max(book_clock, int(base[0]) if len(base) else until)
        given = self._batch_rows(engine, records)
        named = prefetch_records(self._connection, engine, given.rows, has_holders=False)
        if loads:
            engine.begin_budgets(self.registry, first_at)
        engine.start_periods(first_at if loads else book_clock)
        return engine.execute(
            given, named, batch=number, base=base, until=until, sources=_SOURCES, generated_max=GENERATED_MAX
        )

    def _batch_rows(self, engine: Engine, records: pa.Table) -> BatchRows:
        templates = engine.template_rows()
        if not len(retry_rows(records)):
            return batch_rows(records, templates)
        ids = [program.id for program in engine.run.definitions]
        return rows_with_retries(
            self._connection, records, templates, program_ids=ids, paths=engine.paths, pool=self._pool
        )

    def _engine(self, terms: RunTerms, records: int) -> Engine:
        engine = Engine(
            organization_id=self._load.definitions.organization.id,
            run=terms,
            ruleset=self._ruleset,
            registers=Registers(),
            patterns=Patterns(self._pattern_programs(terms), self._stored_patterns, full=True),
            pool=self._pool,
            records=records,
            total=records,
            load_persons=lambda engine: prefetch_persons(self._connection, engine, has_holders=False),
        )
        if terms.needs.unlinks:
            engine.operations.usage.load(self._connection)
        return engine

    def _pattern_programs(self, terms: RunTerms) -> tuple[PatternProgram, ...]:
        """The rules of each program as evaluation rows name them."""
        programs = []
        for number, (program, actions) in enumerate(zip(terms.programs, terms.actions, strict=True), start=1):
            rules = tuple(
                PatternRule(
                    self.registry.find_object(ObjectKind.RULE, rule.definition.id) or 0,
                    self._load.versions[rule.definition.id],
                    rule.definition.order,
                    rule.definition.stop_after_match,
                )
                for rule in program.rules
            )
            positions = {book: action.rule for book, action in zip(actions, program.actions, strict=True)}
            programs.append(PatternProgram(number=number, rules=rules, rule_of_action=positions))
        return tuple(programs)

    def _stage_request(self, path: Path) -> StageRequest:
        return StageRequest(
            inputs=(str(path),),
            programs=self._references(ObjectKind.PROGRAM),
            assets=self._references(ObjectKind.ASSET),
            rules=self._owned(ObjectKind.RULE),
            tiers=self._owned(ObjectKind.TIER),
            rewards=self._owned(ObjectKind.REWARD),
            paths=tuple(column.path for column in self._ruleset.event_columns),
            pool=self._pool,
        )

    def _references(self, kind: ObjectKind) -> tuple[Reference, ...]:
        return tuple(Reference(entry.id, entry.key) for entry in self.registry.objects(kind))

    def _owned(self, kind: ObjectKind) -> tuple[tuple[int, Reference], ...]:
        return tuple((entry.program - 1, Reference(entry.id, entry.key)) for entry in self.registry.objects(kind))

    def _no_records(self) -> pa.Table:
        return records_schema(len(self._ruleset.event_columns)).empty_table()


_SOURCES: Int64s = np.array([1], np.int64)


def _read(definitions: Mapping[str, Any]) -> Any:
    with tempfile.TemporaryDirectory(prefix="earnbook-") as folder:
        path = Path(folder) / "definitions.json"
        path.write_text(json.dumps(definitions), encoding="utf-8")
        return load_definitions(path)


def _clock_of(run: Run) -> Clock:
    if run.clock == "event":
        return Clock(mode=ClockMode.EVENT, reading_us=0, horizon_us=None)
    return Clock(mode=ClockMode.FIXED, reading_us=parse_time(run.clock), horizon_us=None)


def _cut(staged: Staged, runs: Sequence[Run], nothing: pa.Table) -> Iterator[_StagedLog]:
    """The records of every log, in its order (§4.1), with their rows counted from 1 in their own log."""
    tables = list(staged.batches(1 << 30, Order.INPUT))
    records = tables[0].combine_chunks() if tables else nothing
    rows = records.column("source_row").to_numpy()
    rejected = np.array([reject.source_row for reject in staged.rejects], np.int64)
    first = 0
    for run in runs:
        end = first + len(run.lines)
        own = records.slice(*_span(rows, first, end))
        numbers = own.column("source_row").to_numpy() - first
        place = own.schema.get_field_index("source_row")
        own = own.set_column(place, own.schema.field(place), pa.array(numbers, pa.int64()))
        if run.order == "time":
            own = own.take(pa.array(np.argsort(own.column("timestamp").to_numpy(), kind="stable")))
        start, count = _span(rejected, first, end)
        found = staged.rejects[start : start + count]
        yield _StagedLog(
            run=run,
            records=own,
            rejects=tuple((reject.source_row - first, reject.reason.name) for reject in found),
        )
        first = end


def _span(rows: Int64s, first: int, end: int) -> tuple[int, int]:
    """Where ascending row numbers in (first, end] stand: the place of the first, and how many."""
    start, stop = np.searchsorted(rows, [first, end], side="right").tolist()
    return start, stop - start


def _without_repeats(log: _StagedLog) -> tuple[pa.Table, int, tuple[tuple[int, str], ...]]:
    """The records that are new, how many were duplicates, and all rejects."""
    hashes, counts = np.unique(log.records.column("key_hash").to_numpy(), return_counts=True)
    repeated = hashes[counts > 1]
    if not len(repeated):
        return log.records, 0, log.rejects
    found = drop_duplicates(log.records, SeenKeys(repeated), first_log_seq=1)
    conflicts = tuple((reject.source_row, reject.reason.name) for reject in found.conflicts)
    return found.records, found.duplicates, (*log.rejects, *conflicts)


def may_advance(run: Run, result: LogResult) -> Run:
    """The run as `earnbook` can do it: a book that nothing has loaded definitions into cannot be advanced."""
    return run if result.is_loaded else replace(run, advance_to=None)
