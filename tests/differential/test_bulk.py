"""Small random logs decided in memory: oracle = closures = kernel, and what the comparison would not let pass.

`python -m tests.differential.bulk` is the long form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from earnbook.ledger.schema import EntryType, LotStatus
from tests.support.bulk_book import decoded_book
from tests.support.bulk_engine import MODES, BulkEngine, LogResult, empty_book
from tests.support.bulk_logs import bulk_document
from tests.support.bulk_pairs import book_differences, compare_document, is_same
from tests.support.engines import run_engine
from tests.support.logical import LogicalBook, Run, Scenario, differences
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle

Tables: TypeAlias = "dict[str, pa.Table]"

QUICK: dict[int, set[tuple[str, str]]] = {
    3: {("entry", "TRANSFER OPERATION"), ("entry", "VOID_HOLD OPERATION"), ("operation", "hold LOT_NOT_FOUND")},
    5: set(),
    8: set(),
    81: {
        ("redemption", "units SYSTEM_REDEMPTION COMPLETED"),
        ("redemption", "amount SYSTEM_REDEMPTION FULLY_REVERSED"),
        ("lot move", "RESTORE CONSUMED CONSUMED"),
        ("lot move", "RESTORE EXPIRED AVAILABLE"),
        ("entry", "EXPIRATION OPERATION"),
    },
}
"""Documents by seed, and what their logs must have met."""
LOGS = 50
"""Logs of each document: two hundred pairs in all."""


@pytest.mark.parametrize("seed", QUICK)
def test_engines_give_the_book_of_the_oracle(seed: int) -> None:
    tally = compare_document(seed, LOGS)
    assert tally.pairs == LOGS
    assert tally.watched > 0
    assert tally.seen["outcome", "OK"] > LOGS
    assert QUICK[seed] <= tally.seen.keys()


class _Pair:
    """A log that reverses a redemption and expires lots, decided by the closures, with the oracle's book."""

    def __init__(self, engine: BulkEngine, run: Run, result: LogResult, book: LogicalBook) -> None:
        self.engine, self.run, self.result, self.book = engine, run, result, book

    def differences_with(self, damage: Callable[[Tables], Tables], place: int = 0) -> list[str]:
        """Where the book differs once tables of the batch at a place are damaged."""
        batches = list(self.result.batches)
        tables = dict(batches[place].tables)
        batches[place] = replace(batches[place], tables={**tables, **damage(tables)})
        return book_differences(self.book, self.engine, replace(self.result, batches=tuple(batches)))

    def place_of(self, table: str) -> int:
        """The first batch that has rows in a table."""
        return next(place for place, batch in enumerate(self.result.batches) if batch.tables[table].num_rows)


@pytest.fixture(scope="module")
def pair() -> Iterator[_Pair]:
    document = bulk_document(81)
    run = document.log(36)
    book = run_oracle(Scenario(definitions=document.definitions, runs=(run,)))
    assert {entry.cause for entry in book.entries if entry.action_type == "EXPIRATION"} == {"OPERATION", "DUE"}
    assert any(change.state_type == "reward" for change in book.changes)
    with empty_book() as connection:
        engine = BulkEngine(connection, document.definitions, mode="closures")
        engine.stage([run])
        yield _Pair(engine, run, engine.decide(0), book)


def test_the_pair_is_equal_as_it_is(pair: _Pair) -> None:
    assert pair.differences_with(dict) == []


def test_one_flipped_amount_is_found(pair: _Pair) -> None:
    found = pair.differences_with(lambda tables: {"movements": _changed(tables["movements"], "amount", 0, 1)})
    assert any(sentence.startswith("entries") for sentence in found)


def test_a_dropped_expiration_is_found(pair: _Pair) -> None:
    found = pair.differences_with(_without_expirations)
    assert any(sentence.startswith("entries") for sentence in found)
    assert any(sentence.startswith("lots") and LotStatus.EXPIRED.name in sentence for sentence in found)


@pytest.mark.parametrize(
    "table, column, row, difference, part",
    [
        ("events", "outcome", 1, 20, "outcomes"),
        ("events", "pattern", 1, 100, "evaluations"),
        ("events", "holder", 1, -1, "outcomes"),
        ("changes", "value", 0, 1, "changes"),
        ("lots", "amount", 0, 1, "lots"),
        ("lots", "expires_at", 1, 1, "lots"),
        ("due_entries", "created_at", 0, 1, "entries"),
        ("changes", "value_scale", 3, -1, "changes"),
        ("lot_moves", "kind", 0, -1, "lot_moves"),
        ("redemptions", "target", 0, 1, "redemptions"),
        ("redemptions", "reward", 1, -1, "entries"),
        ("reversals", "amount", 0, -1, "redemptions"),
        ("reversals", "redemption", 0, 2, "entries"),
    ],
)
def test_a_wrong_number_is_found(pair: _Pair, table: str, column: str, row: int, difference: int, part: str) -> None:
    def damage(tables: Tables) -> Tables:
        return {table: _changed(tables[table], column, row, difference)}

    found = pair.differences_with(damage, pair.place_of(table))
    assert any(sentence.startswith(part) for sentence in found)


def test_a_wrong_count_of_a_reward_is_found(pair: _Pair) -> None:
    state = pair.result.state
    assert state is not None
    wrong = {**state, "reward_counts": _changed(state["reward_counts"], "redeemed_count", 0, 1)}
    found = book_differences(pair.book, pair.engine, replace(pair.result, state=wrong))
    assert found
    assert all(sentence.startswith("rewards") for sentence in found)


def test_two_results_are_the_same_only_with_the_same_rows(pair: _Pair) -> None:
    state = pair.result.state
    assert state is not None
    assert is_same(pair.result, pair.result)
    wrong = {**state, "balances": _changed(state["balances"], "amount", 0, 1)}
    assert not is_same(pair.result, replace(pair.result, state=wrong))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seeds", [None, (81, 36), (39, 50)], ids=("any", "reversal", "transfer"))
def test_a_book_in_memory_is_the_book_in_a_file(mode: str, seeds: tuple[int, int] | None) -> None:
    scenario = random_scenario(2, 1)
    scenario = Scenario(definitions=scenario.definitions, runs=scenario.runs[:1])
    if seeds is not None:
        document = bulk_document(seeds[0])
        scenario = Scenario(definitions=document.definitions, runs=(document.log(seeds[1]),))
    with empty_book() as connection:
        engine = BulkEngine(connection, scenario.definitions, mode=mode)
        engine.stage(scenario.runs)
        decoded = decoded_book(engine, engine.decide(0))
    assert differences(run_engine(scenario, mode=mode), decoded) == []


def _changed(table: pa.Table, column: str, row: int, difference: int) -> pa.Table:
    """The table with something added to one number."""
    place = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    values[row] += difference
    field = table.schema.field(column)
    return table.set_column(place, field, pa.array(values, field.type))


def _without_expirations(tables: Tables) -> Tables:
    movements = tables["movements"]
    is_expiration = pc.equal(movements.column("entry_type"), int(EntryType.EXPIRATION))
    gone = movements.filter(is_expiration).column("entry_seq")
    due = tables["due_entries"]
    return {
        "movements": movements.filter(pc.invert(is_expiration)),
        "due_entries": due.filter(pc.invert(pc.is_in(due.column("entry_seq"), value_set=gone.combine_chunks()))),
    }
