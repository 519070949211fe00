"""Time in the oracle: calendars against a walk over minutes, batch invariance of a year, keys (§4.5, §14, §17)."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pytest

from tests.support.examples import load_example
from tests.support.features import EVERYTHING, TIME, Features
from tests.support.invariants import violations
from tests.support.logical import Change, LogicalBook, Run, Scenario, Tier, differences
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle
from tests.support.oracle_calendar import utc
from tests.support.oracle_cron import next_tick, parse_cron
from tests.support.oracle_definitions import Definitions, read_definitions
from tests.support.oracle_intake import Record, read_row
from tests.support.oracle_json import Rejected
from tests.support.oracle_times import format_time, parse_time

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
CLOCK_CHANGES = (
    ("America/Chicago", "2026-03-07"),
    ("America/Chicago", "2026-10-31"),
    ("Europe/Berlin", "2026-03-28"),
    ("Europe/Berlin", "2026-10-24"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("America/Sao_Paulo", "2018-11-03"),
    ("America/Sao_Paulo", "2018-02-17"),
    ("Pacific/Apia", "2011-12-29"),
    ("Asia/Kathmandu", "2026-05-30"),
)
EXPRESSIONS = (
    "*/20 0-3 * * *",
    "0 0 * * *",
    "15 */3 * * SAT,sun",
    "0,30 2 1,31 * mon",
    "5-59/25 23-2 * * *",
)
Scope: TypeAlias = "tuple[str | None, str | None, str]"
SEEDS = [(seed, features) for features in (TIME, TIME | EVERYTHING) for seed in range(24)]
WANTED = {
    *("tier set by DUE", "tier delete by DUE", "counter auto_reset by DUE", "subscription set by DUE"),
    *("automation set by DUE", "automation set by OPERATION", "subscription set by OPERATION"),
    *("renewed", "noted", "lowered", "own expiry", "moved by activity"),
    *(
        "cron nobody",
        "cron",
        "one_time nobody",
        "one_time",
        "immediate",
        "ATTRIBUTE_DATE",
        "INTERVAL",
        "CRON",
        "THRESHOLD",
    ),
    *('"active"', '"failed"', '"completed"', '"cancelled"', "paused", "archived"),
    *("trigger_automation OK", "trigger_automation AUTOMATION_NOT_ACTIVE"),
    *("trigger_automation AUTOMATION_NOT_TRIGGERABLE", "trigger_automation AUTOMATION_NOT_FOUND"),
    *("cancel_automation OK", "cancel_automation NOTHING_TO_CANCEL", "refresh_automation NO_EFFECT"),
    *("refresh_automation AUTOMATION_NOT_TRIGGERABLE", "SYSTEM TARGET_MISSING", "SYSTEM PARTICIPANT_NOT_FOUND"),
}


@pytest.mark.parametrize("zone_name, day", CLOCK_CHANGES)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_ticks_are_those_of_a_walk_over_minutes(expression: str, zone_name: str, day: str) -> None:
    zone = ZoneInfo(zone_name)
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=days) for days in (0, 3))
    expected = sorted({tick for tick in _walked(expression, start, zone) if start < tick <= end})
    found, after = [], _micros(start)
    while (tick := next_tick(parse_cron(expression), after, zone)) is not None and tick <= _micros(end):
        found.append(utc(tick))
        after = tick
    assert found == expected


def _walked(expression: str, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The instants of all local minutes that match: the first that shows it, or the first that shows a later one."""
    cron = parse_cron(expression)
    walk = [start - timedelta(days=1) + MINUTE * number for number in range(5 * 24 * 60)]
    shown = [(moment.astimezone(zone).replace(tzinfo=None), moment) for moment in walk]
    first = dict(reversed(shown))
    latest = shown[0][0]
    for local, moment in shown:
        passed = []
        while latest < local:
            latest += MINUTE
            passed.append(latest)
        for minute in passed:
            if minute.minute in cron.minutes and minute.hour in cron.hours and cron.has_day(minute):
                yield first.get(minute, moment)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


@pytest.mark.parametrize("seed, features", SEEDS)
def test_how_a_year_is_cut_into_runs_changes_nothing(seed: int, features: Features) -> None:
    scenario = random_scenario(seed, 0, features)
    chance = random.Random(f"cuts {seed}")
    whole = run_oracle(scenario)
    assert violations(whole) == []
    cut = run_oracle(Scenario(definitions=scenario.definitions, runs=tuple(_cut(chance, scenario))))
    assert _unequal(whole, cut) == []


def _cut(chance: random.Random, scenario: Scenario) -> Iterator[Run]:
    """Every run in pieces of the log, with an advance between two of them at any time that is not after the next."""
    definitions = read_definitions(scenario.definitions)
    seen: set[Scope] = set()
    clock = 0
    for run in scenario.runs:
        rows = list(_in_log_order(run, definitions, seen))
        cuts = sorted({0, len(rows), *(chance.randint(0, len(rows)) for _ in range(len(rows) // 4))})
        base = 0 if run.clock == "event" else parse_time(run.clock)
        for start, end in pairwise(cuts):
            times = [base or at for _, at in rows[start:end] if at is not None]
            clock = max(clock, base, *times)
            following = next((base or at for _, at in rows[end:] if at is not None), clock)
            advance_to = run.advance_to if end == len(rows) else None
            if end < len(rows) and clock and chance.random() < 0.6:
                advance_to = format_time(chance.randint(clock, max(clock, following)))
            clock = clock if advance_to is None else max(clock, parse_time(advance_to))
            lines = tuple(line for line, _ in rows[start:end])
            yield replace(run, lines=lines, advance_to=advance_to, definitions=run.definitions if start == 0 else None)


def _in_log_order(run: Run, definitions: Definitions, seen: set[Scope]) -> Iterator[tuple[str, int | None]]:
    """The lines with their times; None of rows that are rejected or repeat a key, which move no clock."""
    read = [(line, _read(line, row, definitions)) for row, line in enumerate(run.lines)]
    if run.order == "time":
        read.sort(key=lambda pair: 0 if pair[1] is None else pair[1].timestamp)
    for line, record in read:
        is_new = record is not None and record.scope not in seen
        yield line, record.timestamp if record is not None and is_new else None
        if record is not None:
            seen.add(record.scope)


def _read(line: str, row: int, definitions: Definitions) -> Record | None:
    """A line as a record, None if it is rejected; another automation changes nothing in that."""
    try:
        return read_row(line, 0, row, definitions)
    except Rejected:
        return None


def _unequal(left: LogicalBook, right: LogicalBook) -> list[str]:
    """Differences but for the place of rejects, which are compared as a set of (row, reason) (§4.5)."""
    reasons = [Counter(reject.reason for reject in book.rejects) for book in (left, right)]
    found = [] if reasons[0] == reasons[1] else [f"rejects: {reasons[0]} / {reasons[1]}"]
    return found + differences(left, replace(right, rejects=left.rejects, counts=left.counts))


@pytest.mark.parametrize("seed, features", [(seed, TIME) for seed in range(40, 52)])
def test_every_property_holds_after_every_record_of_a_year(seed: int, features: Features) -> None:
    seen: list[str] = []
    run_oracle(random_scenario(seed, 1, features), after_record=lambda book: seen.extend(violations(book)))
    assert seen == []


def test_random_years_reach_what_they_are_for() -> None:
    reached: set[str] = set()
    for seed in range(40):
        scenario = random_scenario(seed, 0, TIME)
        reached |= _marks(scenario, run_oracle(scenario))
    assert reached >= WANTED, sorted(WANTED - reached)


def _marks(scenario: Scenario, book: LogicalBook) -> set[str]:
    documents = [scenario.definitions, *(run.definitions for run in scenario.runs if run.definitions is not None)]
    kinds = {
        (program["key"], automation["key"]): _kind(automation["trigger"])
        for definitions in documents
        for program in definitions["programs"]
        for automation in program.get("automations", [])
    }
    fired = {record.log_seq: kinds.get((record.program or "", record.automation or "")) for record in book.records}
    types = {record.log_seq: record.type for record in book.records}
    return {
        *(f"{change.state_type} {change.operation} by {change.cause}" for change in book.changes),
        *(change.new_value or "" for change in book.changes if change.state_type == "subscription"),
        *(automation.status for automation in book.automations.values()),
        *(f"{fired[row.log_seq]}{'' if row.participant else ' nobody'}" for row in book.outcomes),
        *(f"{types[row.log_seq]} {row.code}" for row in book.outcomes),
        *_tier_marks(book.changes),
        *("moved by activity" for name, tier in book.tiers.items() if _was_moved(book.changes, name, tier)),
    }


def _kind(trigger: Any) -> str:
    return str(trigger.get("schedule_type", trigger["type"]))


def _tier_marks(changes: Sequence[Change]) -> Iterator[str]:
    before: dict[tuple[str, str], Tier | None] = {}
    for change in changes:
        if change.state_type != "tier":
            continue
        name, old, new = (change.entity[1], change.key), before.get((change.entity[1], change.key)), change.tier
        before[name] = new
        if change.cause == "DUE" and old is not None and new is not None:
            yield "noted" if new.downgrade_at else "renewed" if new.level == old.level else "lowered"
        if change.cause == "DUE" and old is not None and old.own_expiry and new is None:
            yield "own expiry"


def _was_moved(changes: Sequence[Change], name: tuple[str, str, str], tier: Tier) -> bool:
    written = [
        row.tier for row in changes if row.entity[1] == name[0] and row.key == f"{name[1]}/{name[2]}" and row.tier
    ]
    return written[-1].expires_at != tier.expires_at


@pytest.mark.parametrize("most, is_refused", [(4, False), (3, True)])
def test_more_generated_events_than_allowed_are_refused(most: int, is_refused: bool) -> None:
    (run,) = load_example("r25").scenario.runs
    fixed = replace(run, clock="2026-03-01T00:00:00Z", advance_to=None)
    fan_out = replace(run, lines=(_event(),), clock="2026-03-10T00:00:00Z", advance_to=None, max_generated=most)
    scenario = replace(load_example("r25").scenario, runs=(fixed, fan_out))
    if is_refused:
        with pytest.raises(ValueError, match="max-generated"):
            run_oracle(scenario)
    else:
        counts = run_oracle(scenario).counts
        assert counts is not None
        assert counts.generated == most


def _event() -> str:
    return (
        '{"program_id": "loyalty", "idempotency_key": "last", "event_timestamp": "2026-03-10T00:00:00Z", '
        '"external_id": "alice", "event_data": {"type": "visit"}}'
    )


def test_generated_events_have_the_keys_of_the_text() -> None:
    """§17.2: the automation, the due time, the participant, and k of a threshold's k-th event."""
    program = uuid.UUID("3a37bb6a-dfc8-50ba-8532-fadfaf037bdb")
    alice = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
    keys = [record.idempotency_key for record in run_oracle(load_example("r26").scenario).records]
    birthday, thousand = (uuid.uuid5(program, f"automation:{key}") for key in ("birthday", "thousand"))
    assert keys[3] == f"earnbook:auto:{thousand}:2026-02-02T00:00:00Z:{alice}:1"
    assert keys[-1] == f"earnbook:auto:{birthday}:2027-06-15T00:00:00Z:{alice}"
    triggered = [record.idempotency_key for record in run_oracle(load_example("auto-trigger").scenario).records]
    daily, whole = (uuid.uuid5(program, f"automation:{key}") for key in ("daily", "program"))
    first, second = (uuid.uuid5(program, f"operation:trigger_automation:r0-{row}") for row in (4, 5))
    assert f"earnbook:trig:{daily}:{first}:{alice}" in triggered
    assert f"earnbook:trig:{whole}:{second}:program" in triggered
