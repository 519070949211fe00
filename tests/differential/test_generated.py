"""Generated events and retries: every engine gives the book of the oracle, however the log is cut (§4.5, §10.2)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.support.engines import run_engine
from tests.support.features import Feature
from tests.support.logical import LogicalBook, Run, Scenario, differences
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle
from tests.support.oracle_times import format_time, parse_time

FEATURES = frozenset({Feature.SCHEDULE, Feature.BROADCAST})
RETRIES = 12
DAY = 86_400_000_000

CASES = [("closures", 1, None), ("closures", 13, 7), ("kernel", 9, None), ("kernel", 11, 3)]


@pytest.mark.parametrize("mode, seed, batch_records", CASES)
def test_generated_events_and_retries_give_the_book_of_the_oracle(
    mode: str, seed: int, batch_records: int | None
) -> None:
    scenario = with_retries(random_scenario(seed, 0, FEATURES), seed)
    cut = {} if batch_records is None else {"batch_records": batch_records}
    assert differences(run_oracle(scenario), run_engine(scenario, mode=mode, **cut)) == []


def test_the_logs_reach_what_they_are_for() -> None:
    books = [run_oracle(with_retries(random_scenario(seed, 0, FEATURES), seed)) for _, seed, _ in CASES]
    attempts = [outcome for book in books for outcome in book.outcomes if outcome.attempt > 1]
    codes = {outcome.code for book in books for outcome in book.outcomes}
    assert {outcome.status for outcome in attempts} == {"COMPLETED", "FAILED"}
    assert max(outcome.attempt for outcome in attempts) > 2
    assert codes >= {"GENERATION_LIMIT", "EVENT_NOT_FOUND", "EVENT_NOT_FAILED"}
    assert all(any(record.parent for record in book.records) for book in books)


@pytest.mark.parametrize("mode", ["closures", "kernel"])
@pytest.mark.parametrize("batch_records", [1, 10])
def test_generated_events_carry_the_id_that_their_participant_was_given(mode: str, batch_records: int) -> None:
    own_id = "3652e4b6-0c23-5051-9a5e-94221e7df14b"
    broadcast = {"type": "BROADCAST", "event_name": "hello"}
    note = {"type": "SET_ATTRIBUTE", "key": "id", "value": "=participant.id"}
    rules = [
        {"key": "party", "name": "Party", "order": 1, "condition": "event.type == 'party'", "actions": [broadcast]},
        {"key": "hello", "name": "Hello", "order": 2, "condition": "event.type == 'hello'", "actions": [note]},
    ]
    definitions = {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [],
        "programs": [{"key": "loyalty", "name": "Loyalty", "rules": rules}],
    }
    head = {"program_id": "loyalty", "external_id": "Zoë"}
    member = {
        "type": "upsert_participant",
        "id": own_id,
        "idempotency_key": "o1",
        "effective_at": "2026-01-01T00:00:00Z",
    }
    party = {"idempotency_key": "e1", "event_timestamp": "2026-01-02T00:00:00Z", "event_data": {"type": "party"}}
    lines = tuple(json.dumps(head | row) for row in (member, party))
    scenario = Scenario(definitions=definitions, runs=(Run(clock="event", lines=lines),))
    book = run_oracle(scenario)
    assert book.records[-1].idempotency_key.endswith(f":0:{own_id}")
    assert differences(book, run_engine(scenario, mode=mode, batch_records=batch_records)) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_many_generated_events_and_retries(seed: int) -> None:
    scenario = with_retries(random_scenario(seed, 1, FEATURES), seed)
    engine = partial(run_engine, mode="kernel" if seed % 2 else "closures")
    book = run_oracle(scenario)
    assert differences(book, engine(scenario)) == []
    assert differences(book, engine(scenario, batch_records=5)) == []


def with_retries(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with operations that retry events of it, generated ones too: failed, completed and unknown ones."""
    chance = random.Random(f"retries {seed}")
    book = run_oracle(scenario)
    runs = list(scenario.runs)
    for number, row in enumerate(_retries(book, chance)):
        place = chance.randrange(len(runs))
        if any(run.clock != "event" for run in runs[place + 1 :]):
            # It could take the clock past the fixed time of a later run.
            place = len(runs) - 1
        runs[place] = replace(runs[place], lines=(*runs[place].lines, _line(row, runs[place], chance, number)))
    return replace(scenario, runs=tuple(runs))


def _retries(book: LogicalBook, chance: random.Random) -> Iterator[dict[str, str]]:
    """What to retry: mostly events that failed, some of them several times."""
    events = [record for record in book.records if record.kind == "EVENT"]
    failed = {outcome.log_seq for outcome in book.outcomes if outcome.status == "FAILED"}
    wrong = [event for event in events if event.log_seq in failed]
    for _ in range(RETRIES if wrong else 0):
        event = chance.choice(wrong if chance.random() < 0.8 else events)
        assert event.program is not None
        for _ in range(chance.choice((1, 1, 2))):
            yield {"program_id": event.program, "event_key": event.idempotency_key}


def _line(row: dict[str, str], run: Run, chance: random.Random, number: int) -> str:
    """The operation at a time near those of the run's other records."""
    times = [
        fields.get("event_timestamp", fields.get("effective_at"))
        for fields in map(_members, run.lines)
        if isinstance(fields.get("event_timestamp", fields.get("effective_at")), str)
    ]
    base = "2026-01-10T00:00:00Z"
    for time in times:
        if isinstance(time, str) and len(time) == len(base) and time.endswith("Z") and time > base:
            base = time
    at = format_time(parse_time(base) + chance.randrange(-5, 5) * DAY)
    return json.dumps({"type": "retry_event", "idempotency_key": f"retry-{number}", "effective_at": at, **row})


def _members(line: str) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
