"""Batch invariance (§4.5) and replay (§3.4): how the log is cut, and how often it is read, changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from tests.support.engines import ENGINES, run_engine
from tests.support.logical import LogicalBook, Run, Scenario, differences
from tests.support.logs import day_by_day, random_month, random_scenario
from tests.support.oracle import run_oracle

SEEDS = [(definitions, 0) for definitions in range(6)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("definitions_seed, log_seed", SEEDS)
def test_one_run_is_a_run_for_every_day(engine: str, definitions_seed: int, log_seed: int) -> None:
    month = random_month(definitions_seed, log_seed, rows=100)
    run = ENGINES[engine]
    assert _unequal(run(month), run(day_by_day(month))) == []


@pytest.mark.parametrize("batch_records", [1, 3, 17])
@pytest.mark.parametrize("definitions_seed, log_seed", SEEDS[:3])
def test_the_size_of_batches_changes_nothing(definitions_seed: int, log_seed: int, batch_records: int) -> None:
    scenario = random_scenario(definitions_seed, log_seed)
    cut = partial(run_engine, mode="kernel", batch_records=batch_records)
    assert _unequal(run_oracle(scenario), cut(scenario)) == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("definitions_seed, log_seed", SEEDS)
def test_the_same_rows_again_change_nothing(engine: str, definitions_seed: int, log_seed: int) -> None:
    scenario = random_scenario(definitions_seed, log_seed)
    once = ENGINES[engine](scenario)
    replayed = Scenario(
        definitions=scenario.definitions, runs=(*scenario.runs, *(Run(lines=run.lines) for run in scenario.runs))
    )
    twice = ENGINES[engine](replayed)
    assert differences(once, replace(twice, rejects=once.rejects, counts=once.counts)) == []


def _unequal(left: LogicalBook, right: LogicalBook) -> list[str]:
    """Differences but for the place of rejects, which are compared as a set of (row, reason) (§4.5)."""
    reasons = [Counter(reject.reason for reject in book.rejects) for book in (left, right)]
    found = [] if reasons[0] == reasons[1] else [f"rejects: {reasons[0]} / {reasons[1]}"]
    return found + differences(left, replace(right, rejects=left.rejects))
