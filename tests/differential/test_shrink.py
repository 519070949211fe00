"""A failing scenario is made small without losing its failure."""

from __future__ import annotations

from tests.support.logical import Scenario
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle
from tests.support.shrink import shrink


def test_shrinking_keeps_the_failure_and_leaves_out_the_rest() -> None:
    def credits_somebody(scenario: Scenario) -> bool:
        return any(entry.action_type == "CREDIT" for entry in run_oracle(scenario).entries)

    scenario = next(
        scenario
        for seed in range(100)
        if credits_somebody(scenario := random_scenario(seed, 0)) and len(scenario.runs) == 2
    )
    small = shrink(scenario, credits_somebody)
    assert credits_somebody(small)
    assert sum(len(run.lines) for run in small.runs) <= 2
    assert sum(len(program["rules"]) for program in small.definitions["programs"]) == 1
