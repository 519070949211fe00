"""Random years from a seed, cut into runs with idle time between: budgets that reset, lots and levels that end, events
that wait, over months instead of days.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.support.features import TIME, Feature, Features
from tests.support.logical import LogicalBook, Run, Scenario
from tests.support.logs import random_month
from tests.support.logs_time import DAYS_APART
from tests.support.oracle_definitions import Definitions, read_definitions
from tests.support.oracle_intake import read_row
from tests.support.oracle_json import Rejected

OVER_A_YEAR: Features = (
    frozenset({Feature.BUDGETS, Feature.SCHEDULE, Feature.BROADCAST, Feature.TIERS, Feature.WINDOWS}) | TIME
)
"""What falls due; lots with dates are in every program."""

DAY_US = 86_400_000_000
_STAMP = re.compile(r'("(?:event_timestamp|effective_at)": ")2026-01-(\d\d)(?=T)')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def random_year(definitions_seed: int, log_seed: int, rows: int, features: Features = OVER_A_YEAR) -> Scenario:
    """One run in no order under the clock of its events: the days of January 2026, each drawn out over 18 days."""
    month = random_month(definitions_seed, log_seed, rows, features)
    (run,) = month.runs
    lines = tuple(_drawn_out(line) for line in run.lines)
    return Scenario(definitions=_with_dates(month.definitions), runs=(Run(lines=lines),))


def _with_dates(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The same with lots that mature after weeks and expire after months, where credits have no dates of their own."""
    document: dict[str, Any] = copy.deepcopy(dict(definitions))
    lots = {asset["symbol"] for asset in document["assets"] if asset["inventory_mode"] == "LOT"}
    for program in document["programs"]:
        for number, rule in enumerate(program["rules"]):
            for action in rule["actions"]:
                if action["type"] != "CREDIT" or action["asset"] not in lots or "expires_at" in action:
                    continue
                action["expires_at"] = f"{1_300 + 200 * number}h"
                if number % 2 and action.get("bucket") != "HELD":
                    action.setdefault("matures_at", "500h")
    return document


def _drawn_out(row: str) -> str:
    """The row on one of its day's 18 days; the same row always on the same one."""

    def moved(found: re.Match[str]) -> str:
        days = (int(found[2]) - 1) * DAYS_APART + random.Random(row).randrange(DAYS_APART)
        return found[1] + (date(2026, 1, 1) + timedelta(days=days)).isoformat()

    return _STAMP.sub(moved, row)


def cut_into_days(year: Scenario) -> Scenario:
    """A run for every day of the year, also for those without rows; rows that are no records come first."""
    definitions = read_definitions(year.definitions)
    days: dict[int, list[str]] = {}
    for run in year.runs:
        for number, line in enumerate(run.lines):
            try:
                day = read_row(line, 0, number, definitions).timestamp // DAY_US
            except Rejected:
                day = 0
            days.setdefault(day, []).append(line)
    first = min((day for day in days if day), default=0)
    every = [*([0] if 0 in days else []), *range(first, max(days, default=0) + 1)]
    return replace(year, runs=tuple(Run(lines=tuple(days.get(day, ()))) for day in every))


def with_advances(year: Scenario, book: LogicalBook, seed: int) -> Scenario:
    """The same with an `advance` after most runs, to some time not after the next record of the book."""
    chance = random.Random(f"advances {seed}")
    records = sorted(record.timestamp for record in book.records if record.type != "SYSTEM")
    definitions = read_definitions(year.definitions)
    runs = []
    read = clock = 0
    for run in year.runs:
        read = max((read, *_times(run.lines, definitions)))
        clock = max(clock, read)
        following = next((time for time in records if time > read), None)
        if read and following is not None and chance.random() < 0.8:
            inside = chance.randint(clock, following)
            clock = chance.choice((clock, inside, inside, following))
            run = replace(run, advance_to=(_EPOCH + timedelta(microseconds=clock)).isoformat().replace("+00:00", "Z"))
        runs.append(run)
    return replace(year, runs=tuple(runs))


def _times(lines: tuple[str, ...], definitions: Definitions) -> list[int]:
    """The timestamps of rows that can be read, whether or not they repeat a record."""
    found = []
    for number, line in enumerate(lines):
        try:
            found.append(read_row(line, 0, number, definitions).timestamp)
        except Rejected:
            continue
    return found
