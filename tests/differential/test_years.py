"""A year in one run, in a run for each day, and with `advance` in idle times: the books are the same (§4.4, §4.5)."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from tests.support.engines import ENGINES
from tests.support.logical import LogicalBook, Scenario, differences_of_cuts
from tests.support.logs import cut_by_days
from tests.support.years import cut_into_days, random_year, with_advances

ORACLE_SEEDS = range(30)
QUICK = [("closures", 9, 130), ("kernel", 7, 160)]
SLOW = [(engine, seed) for engine in ("closures", "kernel") for seed in (0, 7, 8, 9, 11)]


@cache
def _year(seed: int) -> tuple[Scenario, LogicalBook]:
    """A year, and the book that the oracle makes of it in one run."""
    year = random_year(seed, 0, rows=60)
    return year, ENGINES["oracle"](year)


@pytest.mark.parametrize("seed", ORACLE_SEEDS)
def test_a_run_for_every_day_of_the_year_is_one_run_for_the_oracle(seed: int) -> None:
    year, once = _year(seed)
    daily = cut_into_days(year)
    assert len(daily.runs) > 200
    assert differences_of_cuts(once, ENGINES["oracle"](daily)) == []
    assert differences_of_cuts(once, ENGINES["oracle"](with_advances(daily, once, seed))) == []


@pytest.mark.parametrize("engine, seed, days", QUICK)
def test_a_run_for_every_few_months_with_advances_between_is_one_run(engine: str, seed: int, days: int) -> None:
    year, once = _year(seed)
    assert differences_of_cuts(once, ENGINES[engine](year)) == []
    assert differences_of_cuts(once, ENGINES[engine](with_advances(cut_by_days(year, days), once, seed))) == []


@pytest.mark.slow
@pytest.mark.parametrize("engine, seed", SLOW)
def test_a_run_for_every_day_of_the_year_is_one_run(engine: str, seed: int) -> None:
    year, once = _year(seed)
    daily = cut_into_days(year)
    assert differences_of_cuts(once, ENGINES[engine](daily)) == []
    assert differences_of_cuts(once, ENGINES[engine](with_advances(daily, once, seed))) == []


def test_much_falls_due_in_these_years() -> None:
    done: Counter[str] = Counter()
    for seed in ORACLE_SEEDS:
        year, once = _year(seed)
        done.update(entry.action_type for entry in once.entries if entry.cause == "DUE")
        done.update(change.state_type for change in once.changes if change.cause == "DUE")
        done["generated"] += sum(record.type == "SYSTEM" for record in once.records)
        advances = [run.advance_to for run in with_advances(cut_into_days(year), once, seed).runs]
        done["advance"] += sum(time is not None for time in advances)
    wanted = {"MATURITY", "EXPIRATION", "budget", "tier", "subscription", "generated", "advance"}
    assert {name for name in wanted if done[name] > 20} == wanted, done
