"""A failing scenario made small: rows, rules and actions are left out as long as it still fails.

For people who look for the cause of a difference between engines:
`shrink(random_scenario(12, 3), lambda s: bool(differences(run_oracle(s), run_engine(s, mode="kernel"))))`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.support.logical import Scenario


def shrink(scenario: Scenario, is_failing: Callable[[Scenario], bool]) -> Scenario:
    """A scenario that still fails and of which no row, rule or action can be left out alone."""
    while True:
        smaller = next((candidate for candidate in _smaller(scenario) if is_failing(candidate)), None)
        if smaller is None:
            return scenario
        scenario = smaller


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Candidates, the boldest first: half of a run's rows, one row, one rule, one action."""
    for number, run in enumerate(scenario.runs):
        half = len(run.lines) // 2
        if half > 1:
            yield _with_lines(scenario, number, run.lines[half:])
            yield _with_lines(scenario, number, run.lines[:half])
    for number, run in enumerate(scenario.runs):
        for place in range(len(run.lines)):
            yield _with_lines(scenario, number, run.lines[:place] + run.lines[place + 1 :])
    for program, document in enumerate(scenario.definitions["programs"]):
        for rule in range(len(document.get("rules", []))):
            yield _without(scenario, program, rule, None)
    for program, document in enumerate(scenario.definitions["programs"]):
        for rule, content in enumerate(document.get("rules", [])):
            for action in range(len(content["actions"]) if len(content["actions"]) > 1 else 0):
                yield _without(scenario, program, rule, action)


def _with_lines(scenario: Scenario, number: int, lines: tuple[str, ...]) -> Scenario:
    runs = list(scenario.runs)
    runs[number] = replace(runs[number], lines=lines)
    kept = tuple(run for run in runs if run.lines)
    return Scenario(definitions=scenario.definitions, runs=kept)


def _without(scenario: Scenario, program: int, rule: int, action: int | None) -> Scenario:
    definitions: dict[str, Any] = copy.deepcopy(dict(scenario.definitions))
    rules = definitions["programs"][program]["rules"]
    if action is None:
        del rules[rule]
    else:
        del rules[rule]["actions"][action]
    return Scenario(definitions=definitions, runs=scenario.runs)
