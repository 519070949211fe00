"""Batch invariance (§4.5) and replay (§3.4): how the log is cut, and how often it is read, changes nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from tests.support.engines import ENGINES, run_engine
from tests.support.features import ABOUT_AUTOMATIONS, ABOUT_MONEY, Feature
from tests.support.logical import Run, Scenario, differences, differences_of_cuts
from tests.support.logs import cut_by_days, random_month, random_scenario
from tests.support.oracle import run_oracle

ORACLE_CUTS = [("oracle", seed, 1) for seed in range(20)]
QUICK_CUTS = [("closures", 0, 10), ("kernel", 3, 7)]
MANY_CUTS = [(engine, seed, 1) for engine in ("closures", "kernel") for seed in range(20)]


@pytest.mark.parametrize("engine, seed, days", [*ORACLE_CUTS, *QUICK_CUTS])
def test_one_run_is_a_run_for_every_few_days(engine: str, seed: int, days: int) -> None:
    _compare_cuts(engine, seed, days)


@pytest.mark.slow
@pytest.mark.parametrize("engine, seed, days", MANY_CUTS)
def test_one_run_is_a_run_for_every_day(engine: str, seed: int, days: int) -> None:
    _compare_cuts(engine, seed, days)


def _compare_cuts(engine: str, seed: int, days: int) -> None:
    month = random_month(seed, 0, rows=100)
    run = ENGINES[engine]
    assert differences_of_cuts(run(month), run(cut_by_days(month, days))) == []


@pytest.mark.parametrize("seed, batch_records", [(0, 1), (0, 7), (3, 5)])
def test_the_size_of_batches_changes_nothing(seed: int, batch_records: int) -> None:
    scenario = random_month(seed, 1, rows=30)
    cut = partial(run_engine, mode="kernel", batch_records=batch_records)
    assert differences(run_oracle(scenario), cut(scenario)) == []


@pytest.mark.parametrize("seed, days", [(seed, 1) for seed in range(20)])
def test_one_run_about_money_is_a_run_for_every_day_for_the_oracle(seed: int, days: int) -> None:
    month = random_month(seed, 2, rows=80, features=ABOUT_MONEY)
    assert differences_of_cuts(run_oracle(month), run_oracle(cut_by_days(month, days))) == []


@pytest.mark.parametrize("seed, batch_records", [(0, 1), (1, 7), (5, 3)])
def test_the_size_of_batches_changes_nothing_about_money(seed: int, batch_records: int) -> None:
    scenario = random_month(seed, 2, rows=40, features=ABOUT_MONEY)
    cut = partial(run_engine, mode="closures", batch_records=batch_records)
    assert differences(run_oracle(scenario), cut(scenario)) == []


@pytest.mark.parametrize("seed, batch_records", [(2, 1), (7, 3)])
def test_the_size_of_batches_changes_nothing_about_levels(seed: int, batch_records: int) -> None:
    scenario = random_scenario(seed, 3, frozenset({Feature.LIFECYCLE}))
    cut = partial(run_engine, mode="closures", batch_records=batch_records)
    assert differences(run_oracle(scenario), cut(scenario)) == []


@pytest.mark.parametrize("mode, seed, batch_records", [("closures", 5, 3), ("kernel", 7, 9)])
def test_the_size_of_batches_changes_nothing_about_automations(mode: str, seed: int, batch_records: int) -> None:
    scenario = random_scenario(seed, seed % 3, ABOUT_AUTOMATIONS)
    cut = partial(run_engine, mode=mode, batch_records=batch_records)
    assert differences(run_oracle(scenario), cut(scenario)) == []


@pytest.mark.parametrize("engine, seed", [("oracle", 0), ("oracle", 1), ("closures", 0), ("kernel", 0), ("kernel", 3)])
def test_the_same_rows_again_change_nothing(engine: str, seed: int) -> None:
    scenario = random_scenario(seed, 0)
    once = ENGINES[engine](scenario)
    replayed = Scenario(
        definitions=scenario.definitions, runs=(*scenario.runs, *(Run(lines=run.lines) for run in scenario.runs))
    )
    twice = ENGINES[engine](replayed)
    assert differences(once, replace(twice, rejects=once.rejects, counts=once.counts)) == []
