"""Comparing pairs: the oracle, the closures and the kernel on many logs over one document.

Two engines whose physical rows are equal give one logical book, so it is decoded once; where the rows differ, both are.
A difference is found with its seeds and a log (and document) made as small as it still differs.
"""

from __future__ import annotations

import gc
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from tests.support.bulk_book import decoded_book
from tests.support.bulk_engine import MODES, BulkEngine, LogResult, empty_book, may_advance
from tests.support.bulk_logs import BulkDocument, bulk_document
from tests.support.invariants import violations
from tests.support.logical import LogicalBook, Run, Scenario, differences
from tests.support.oracle import run_oracle
from tests.support.shrink import shrink

WATCHED_EVERY = 20
"""Of every so many pairs one is watched: the properties of §19.4 are checked after each of its records."""


class DifferenceError(AssertionError):
    """Two engines differ, or a property does not hold; the message has all that is needed to see why."""


@dataclass(slots=True)
class Tally:
    """What was compared and what that exercised, by kind and name."""

    pairs: int = 0
    watched: int = 0
    documents: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add what another tally has."""
        self.pairs += other.pairs
        self.watched += other.watched
        self.documents += other.documents
        self.seen.update(other.seen)

    def count(self, book: LogicalBook, results: Sequence[LogResult]) -> None:
        """Count what one pair exercised."""
        self.pairs += 1
        self.seen.update(_exercised(book))
        self.seen.update(("bailed", reason.name) for reason in results[0].bailed.elements())


def compare_document(seed: int, logs: int, *, watched_every: int = WATCHED_EVERY, cache: Path | None = None) -> Tally:
    """Compare so many logs over the document of a seed; raises DifferenceError at the first difference.

    Machine code goes to `cache`, by default to a folder that is removed again.
    """
    tally = Tally(documents=1)
    document = bulk_document(seed)
    runs = [document.log(log_seed) for log_seed in range(logs)]
    # The heap is scanned once a document, not between logs: they leave no cycles worth a scan.
    gc.collect()
    gc.disable()
    try:
        with empty_book() as connection, tempfile.TemporaryDirectory(prefix="earnbook-") as folder:
            engines = _engines(connection, document, runs, cache or Path(folder))
            for place, run in enumerate(runs):
                results = [engine.decide(place) for engine in engines]
                is_watched = place % watched_every == 0
                book = _compare_pair(document, place, may_advance(run, results[0]), engines, results, is_watched)
                tally.watched += is_watched
                tally.count(book, results)
    finally:
        gc.enable()
    return tally


def book_differences(oracle_book: LogicalBook, engine: BulkEngine, result: LogResult) -> list[str]:
    """Where what an engine decided differs from the oracle's book."""
    return differences(oracle_book, decoded_book(engine, result))


def _engines(
    connection: duckdb.DuckDBPyConnection, document: BulkDocument, runs: Sequence[Run], cache: Path
) -> list[BulkEngine]:
    engines = [BulkEngine(connection, document.definitions, mode=mode, cache_directory=cache) for mode in MODES]
    for engine in engines:
        engine.stage(runs)
    return engines


def _compare_pair(
    document: BulkDocument,
    log_seed: int,
    run: Run,
    engines: Sequence[BulkEngine],
    results: Sequence[LogResult],
    is_watched: bool,
) -> LogicalBook:
    """The book of a pair on which all agree."""
    scenario = Scenario(definitions=document.definitions, runs=(run,))
    broken: list[str] = []
    book = run_oracle(scenario, after_record=(lambda one: broken.extend(violations(one))) if is_watched else None)
    broken = broken or violations(book)
    if broken:
        raise DifferenceError(f"document {document.seed}, log {log_seed}: {'; '.join(broken[:12])}")
    is_one_book = all(is_same(results[0], result) for result in results[1:])
    for mode, engine, result in zip(MODES, engines, results, strict=True):
        found = book_differences(book, engine, result)
        if found:
            name = f"document {document.seed}, log {log_seed}, {mode}"
            raise DifferenceError(_report(engine, scenario, name, found))
        if is_one_book:
            break
    return book


def is_same(left: LogResult, right: LogResult) -> bool:
    """Whether two results have the same rows in all tables, and the same counts."""
    if (left.state is None) != (right.state is None) or len(left.batches) != len(right.batches):
        return False
    state = all(table.equals((right.state or {})[name]) for name, table in (left.state or {}).items())
    tables = all(
        table.equals(other.tables[name])
        for one, other in zip(left.batches, right.batches, strict=True)
        for name, table in one.tables.items()
    )
    return state and tables and _counts(left) == _counts(right)


def _counts(result: LogResult) -> tuple[object, ...]:
    names = ("events", "operations", "generated", "completed", "failed", "late", "book_clock")
    own = (result.is_loaded, result.rows_read, result.duplicates, result.rejects, result.budgets_before)
    return (*own, *(getattr(batch, name) for batch in result.batches for name in names))


def _report(engine: BulkEngine, scenario: Scenario, name: str, found: list[str]) -> str:
    (run,) = smallest(engine, scenario).runs
    lines = (
        f"{name}: another book than the oracle's",
        *found,
        f"made small (clock {run.clock}, order {run.order}, advance {run.advance_to}):",
        *run.lines,
        *run_differences(engine, Scenario(definitions=scenario.definitions, runs=(run,))),
    )
    return "\n".join(lines)


def smallest(engine: BulkEngine, scenario: Scenario) -> Scenario:
    """The scenario with as few rows as still differ; all rules stay, since without one the rest is compiled anew."""

    def is_failing(candidate: Scenario) -> bool:
        is_same_rules = candidate.definitions is scenario.definitions
        return is_same_rules and bool(candidate.runs) and bool(run_differences(engine, candidate))

    return shrink(scenario, is_failing)


def run_differences(engine: BulkEngine, scenario: Scenario) -> list[str]:
    """Where an engine, compiled for the scenario's definitions, differs from the oracle on its one run."""
    (run,) = scenario.runs
    engine.stage([run])
    result = engine.decide(0)
    one = Scenario(definitions=scenario.definitions, runs=(may_advance(run, result),))
    return book_differences(run_oracle(one), engine, result)


def _exercised(book: LogicalBook) -> Iterator[tuple[str, str]]:
    """What happened in a book, one item per occurrence."""
    for record in book.records:
        yield "record", "generated" if record.type == "SYSTEM" else record.type
    types = {record.log_seq: record.type for record in book.records if record.kind == "OPERATION"}
    for outcome in book.outcomes:
        yield "outcome", outcome.code
        if outcome.log_seq in types:
            yield "operation", f"{types[outcome.log_seq]} {outcome.code}"
        if outcome.attempt > 1:
            yield "retry", outcome.status
    for row in book.evaluations:
        yield "evaluation", row.status if row.reason is None else row.reason
        for action in row.actions or ():
            yield "action", f"{action.type} {action.result}"
    for entry in book.entries:
        yield "entry", f"{entry.action_type} {entry.cause}"
    for move in book.lot_moves:
        yield "lot move", f"{move.kind} {move.status_before or 'NEW'} {move.status_after}"
    for redemption in book.redemptions:
        what = "amount" if redemption.reward is None else "units" if redemption.quantity is not None else "item"
        yield "redemption", f"{what} {redemption.target[0]} {redemption.status}"
    for change in book.changes:
        yield "change", f"{change.state_type} {change.operation} {change.cause}"
    for reject in book.rejects:
        yield "reject", reject.reason
    if book.counts is not None and book.counts.duplicates:
        yield "duplicate", "dropped"
