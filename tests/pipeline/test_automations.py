"""Automations on file books (§17): state between runs, loads, rows, refusals. What fires when is in the examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.automations import Automations
from earnbook.pipeline.config import AdvanceRequest, ClockMode, RunReport, RunRequest
from earnbook.pipeline.drive import advance, run
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.verify import verify_book
from tests.support.oracle_times import parse_time

RULES = (
    ("purchase", {"type": "COUNTER", "key": "spend", "value": "event.amount"}),
    ("birth", {"type": "SET_ATTRIBUTE", "key": "birthday", "value": "event.date"}),
    ("gift", {"type": "CREDIT", "asset": "PTS", "amount": "5"}),
    ("digest", {"type": "COUNTER", "key": "digests", "value": "1", "target": {"type": "PROGRAM"}}),
)
EVENTS = "SELECT automation, external_id, strftime(event_timestamp, '%m-%d') FROM events WHERE event_type = 'SYSTEM'"


def _automation(key: str, trigger: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "key": key,
        "name": key,
        "event_name": "gift",
        "scope": "participants",
        "trigger": trigger,
        **members,
    }


def _state(schedule_type: str, **config: Any) -> dict[str, Any]:
    return {"type": "participant_state", "schedule_type": schedule_type, "schedule_config": config}


CRON = {"type": "cron", "cron_expression": "0 0 */10 * *"}
THRESHOLD = _state("THRESHOLD", counter="spend", operator=">=", threshold=100)
BIRTHDAY = _state("ATTRIBUTE_DATE", attribute="birthday")


class Shop:
    """A book in a folder that is fed a few records at a time, with the automations of its definitions."""

    def __init__(self, folder: Path, *automations: Mapping[str, Any]) -> None:
        self.book = folder / "shop.duckdb"
        self._folder = folder
        self._runs = 0
        self.define(*automations)

    def define(self, *automations: Mapping[str, Any]) -> None:
        """Other automations for the runs to come."""
        rules = [
            {
                "key": kind,
                "name": kind,
                "order": 10 * place,
                "condition": f"event.type == '{kind}'",
                "actions": [action],
            }
            for place, (kind, action) in enumerate(RULES, start=1)
        ]
        asset = {"symbol": "PTS", "name": "Points", "scale": 0, "programs": ["loyalty"]}
        program = {"key": "loyalty", "name": "Loyalty", "rules": rules, "automations": list(automations)}
        document = {
            "organization": {"key": "demo", "name": "Demo"},
            "assets": [asset | {"inventory_mode": "SIMPLE", "issuance_policy": "UNLIMITED"}],
            "programs": [program],
        }
        self.config = self._folder / "definitions.json"
        self.config.write_text(json.dumps(document), encoding="utf-8")

    def run(self, *records: Mapping[str, Any], **options: Any) -> RunReport:
        """One run under the event clock, decided by the closures unless told otherwise."""
        self._runs += 1
        rows = self._folder / f"run-{self._runs}.ndjson"
        rows.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        given: dict[str, Any] = {"clock": ClockMode.EVENT, "no_horizon": True, "prune": True, "kernel": False}
        return run(RunRequest(book=self.book, inputs=(str(rows),), config=self.config, **(given | options)))

    def advance(self, day: str, **options: Any) -> RunReport:
        """Due work up to a day of 2026."""
        to_us = parse_time(f"2026-{day}T00:00:00Z")
        return advance(AdvanceRequest(book=self.book, to_us=to_us, no_horizon=True, **options))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The result of a query."""
        with duckdb.connect(str(self.book), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query).fetchall()

    def sent(self) -> list[tuple[Any, ...]]:
        """Automation, participant and day of every event that automations made, in log order."""
        return self.rows(f"{EVENTS} ORDER BY log_seq")

    def findings(self) -> list[str]:
        """What `verify` finds."""
        return [f"{finding.check} {finding.examples}" for finding in verify_book(self.book).findings]


def event(day: str, who: str, key: str, **data: object) -> dict[str, Any]:
    """An event of 2026, at noon."""
    return {
        "program_id": "loyalty",
        "idempotency_key": key,
        "event_timestamp": f"2026-{day}T12:00:00Z",
        "external_id": who,
        "event_data": data or {"type": "purchase", "amount": 60},
    }


def operation(day: str, kind: str, key: str, **fields: object) -> dict[str, Any]:
    """An operation of 2026, at noon."""
    at = f"2026-{day}T12:00:00Z"
    return {"type": kind, "program_id": "loyalty", "idempotency_key": key, "effective_at": at, **fields}


def test_a_tick_reaches_participants_that_no_record_of_the_run_names(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("digest", CRON))
    shop.run(event("01-02", "bob", "e1"), event("01-02", "alice", "e2"))
    shop.run(event("01-12", "carol", "e3"))
    report = shop.advance("01-21")
    assert (report.generated, report.completed, report.ties) == (3, 3, True)
    assert shop.sent() == [
        ("digest", "bob", "01-11"),
        ("digest", "alice", "01-11"),
        ("digest", "bob", "01-21"),
        ("digest", "alice", "01-21"),
        ("digest", "carol", "01-21"),
    ]
    assert shop.rows("SELECT key, status, strftime(next_at, '%m-%d') FROM automations") == [
        ("digest", "active", "01-31")
    ]
    assert shop.findings() == []


def test_subscriptions_wait_in_the_book_and_only_their_holders_are_loaded(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("birthday", BIRTHDAY))
    born = {"alice": "03-01", "bob": "04-01", "carol": "soon"}
    shop.run(*(event("01-02", who, who, type="birth", date=date) for who, date in born.items()))
    waiting = "SELECT external_id, status, strftime(next_at, '%m-%d') FROM subscriptions ORDER BY external_id"
    assert shop.rows(waiting) == [("alice", "active", "03-01"), ("bob", "active", "04-01"), ("carol", "failed", None)]
    shop.run(event("03-02", "dave", "e1"))
    assert shop.sent() == [("birthday", "alice", "03-01")]
    assert shop.rows(waiting)[:2] == [("alice", "active", "03-01"), ("bob", "active", "04-01")]
    assert shop.rows("SELECT strftime(next_at, '%Y-%m-%d') FROM subscriptions WHERE external_id = 'alice'") == [
        ("2027-03-01",)
    ]
    changes = "SELECT entity, key, new_value, cause FROM changes WHERE state_type = 'subscription' ORDER BY change_seq"
    assert shop.rows(changes) == [
        ("alice", "loyalty/birthday", '"active"', "DUE"),
        ("bob", "loyalty/birthday", '"active"', "DUE"),
        ("carol", "loyalty/birthday", '"failed"', "DUE"),
        ("dave", "loyalty/birthday", '"failed"', "DUE"),
    ]
    assert shop.findings() == []


@pytest.mark.parametrize("kernel", [False, True])
def test_a_threshold_is_crossed_over_runs_and_counts_its_events(tmp_path: Path, kernel: bool) -> None:
    shop = Shop(tmp_path, _automation("spend", THRESHOLD))
    shop.run(event("01-02", "alice", "e1"), kernel=kernel)
    shop.run(event("01-03", "alice", "e2"), event("01-04", "alice", "e3"), kernel=kernel)
    back = event("01-05", "alice", "e4", type="purchase", amount=-100)
    shop.run(back, event("01-06", "alice", "e5"), kernel=kernel)
    keys = shop.rows("SELECT idempotency_key FROM events WHERE event_type = 'SYSTEM' ORDER BY log_seq")
    (automation,) = shop.rows("SELECT id, (SELECT id FROM participants) FROM automations")
    assert [key for (key,) in keys] == [
        f"earnbook:auto:{automation[0]}:2026-01-03T12:00:00Z:{automation[1]}:1",
        f"earnbook:auto:{automation[0]}:2026-01-06T12:00:00Z:{automation[1]}:2",
    ]
    assert shop.findings() == []


def test_a_counter_that_crosses_nothing_does_not_stop_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[int] = []
    follow = Automations.follow

    def counted(automations: Automations) -> None:
        stops.append(1)
        follow(automations)

    monkeypatch.setattr(Automations, "follow", counted)
    shop = Shop(tmp_path, _automation("spend", THRESHOLD))
    shop.run(*(event(f"01-{day:02}", "alice", f"e{day}") for day in range(2, 12)), kernel=True)
    assert shop.sent() == [("spend", "alice", "01-03")]
    # The first event makes the participant, the second crosses.
    assert len(stops) == 2


def test_new_definitions_come_after_what_fell_due_under_the_old_ones(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("digest", CRON), _automation("birthday", BIRTHDAY))
    shop.run(event("01-02", "alice", "e1", type="birth", date="01-15"))
    paused = {"status": "paused"}
    shop.define(_automation("digest", CRON, **paused), _automation("birthday", BIRTHDAY, **paused))
    shop.run(event("01-16", "bob", "e2"))
    assert shop.sent() == [("digest", "alice", "01-11"), ("birthday", "alice", "01-15")]
    assert shop.rows("SELECT key, status, next_at FROM automations ORDER BY key") == [
        ("birthday", "paused", None),
        ("digest", "paused", None),
    ]
    assert shop.rows("SELECT external_id, status, next_at FROM subscriptions") == [("alice", "active", None)]
    shop.define(_automation("digest", CRON), _automation("birthday", BIRTHDAY))
    shop.run(event("02-12", "bob", "e3"))
    assert len(shop.sent()) == 2
    assert shop.rows(
        "SELECT external_id, strftime(next_at, '%Y-%m-%d') FROM subscriptions WHERE next_at IS NOT NULL"
    ) == [("alice", "2027-01-15")]
    assert shop.findings() == []


def test_what_was_subscribed_has_nothing_to_come_once_the_trigger_is_of_another_type(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("birthday", BIRTHDAY))
    shop.run(event("01-02", "alice", "e1", type="birth", date="01-15"))
    shop.define(_automation("birthday", CRON))
    shop.run(event("01-03", "bob", "e2"))
    shop.advance("01-21")
    assert shop.sent() == [("birthday", who, day) for day in ("01-11", "01-21") for who in ("alice", "bob")]
    assert shop.rows("SELECT external_id, status, next_at FROM subscriptions") == [("alice", "active", None)]
    shop.define(_automation("birthday", BIRTHDAY))
    shop.run(event("01-22", "bob", "e3"))
    assert shop.rows("SELECT strftime(next_at, '%Y-%m-%d') FROM subscriptions WHERE external_id = 'alice'") == [
        ("2027-01-15",)
    ]
    assert shop.findings() == []


def test_an_event_of_a_program_has_no_participant_and_can_be_retried(tmp_path: Path) -> None:
    one_time = {"type": "one_time", "trigger_at": "2026-01-05T00:00:00Z"}
    program = {"scope": "program", "event_name": "digest"}
    shop = Shop(
        tmp_path,
        _automation("digest", one_time, **program),
        _automation("nobody", one_time, scope="program"),
        _automation("unknown", one_time, participant_id="00000000-0000-4000-8000-000000000000", **program),
    )
    shop.run(event("01-02", "alice", "e1"))
    shop.run(event("01-06", "alice", "e2"), kernel=True)
    found = shop.rows(
        """SELECT e.automation, e.external_id, CAST(e.participant_id AS VARCHAR), s.code, e.idempotency_key
        FROM events AS e JOIN event_status AS s USING (log_seq) WHERE event_type = 'SYSTEM' ORDER BY log_seq"""
    )
    nobody = "00000000-0000-4000-8000-000000000000"
    assert [row[:4] for row in found] == [
        ("digest", None, None, "OK"),
        ("nobody", None, None, "TARGET_MISSING"),
        ("unknown", None, nobody, "PARTICIPANT_NOT_FOUND"),
    ]
    assert [row[4].rpartition(":")[2] for row in found] == ["program", "program", nobody]
    retries = [operation("01-07", "retry_event", f"r{n}", event_key=row[4]) for n, row in enumerate(found)]
    shop.run(*retries)
    outcomes = "SELECT code FROM outcomes WHERE attempt = 2 ORDER BY log_seq"
    assert shop.rows(outcomes) == [("TARGET_MISSING",), ("PARTICIPANT_NOT_FOUND",)]
    assert shop.rows("SELECT value FROM counters WHERE key = 'digests'") == [("1",)]
    archived = "SELECT key, old_value, new_value FROM changes WHERE state_type = 'automation' ORDER BY change_seq"
    assert shop.rows(archived) == [(key, '"active"', '"archived"') for key in ("digest", "nobody", "unknown")]
    assert shop.findings() == []


def test_operations_name_automations_by_key_or_id(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("digest", CRON), _automation("birthday", BIRTHDAY))
    shop.run(event("01-02", "alice", "e1"))
    (digest,) = shop.rows("SELECT CAST(id AS VARCHAR) FROM automations WHERE key = 'digest'")
    shop.run(
        operation("01-03", "trigger_automation", "o1", automation_id="digest"),
        operation("01-03", "trigger_automation", "o2", automation_id=digest[0].upper()),
        operation("01-03", "trigger_automation", "o3", automation_id="birthday"),
        operation("01-03", "cancel_automation", "o4", automation_id="digest"),
        operation("01-03", "refresh_automation", "o5", automation_id="birthday"),
        operation("01-03", "refresh_automation", "o6", automation_id="nothing"),
    )
    codes = "SELECT code FROM outcomes JOIN operations USING (log_seq) ORDER BY log_seq"
    assert [code for (code,) in shop.rows(codes)] == [
        *("OK", "OK", "AUTOMATION_NOT_TRIGGERABLE", "NOTHING_TO_CANCEL", "NO_EFFECT", "AUTOMATION_NOT_FOUND"),
    ]
    assert shop.sent() == [("digest", "alice", "01-03")] * 2
    operations = "SELECT CAST(id AS VARCHAR) FROM operations WHERE log_seq IN (SELECT log_seq - 1 FROM events)"
    keys = shop.rows("SELECT idempotency_key FROM events WHERE event_type = 'SYSTEM' ORDER BY log_seq")
    assert [(key.split(":")[3],) for (key,) in keys] == shop.rows(f"{operations} ORDER BY log_seq")
    assert shop.findings() == []


def test_a_batch_of_too_many_events_is_refused_and_nothing_of_it_committed(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("digest", {"type": "cron", "cron_expression": "0 0 * * *"}))
    shop.run(event("01-02", "alice", "e1"))
    with pytest.raises(Refused, match="more than 10 events"):
        shop.advance("03-01")
    assert shop.sent() == []
    shop.advance("03-01", max_generated=58)
    assert len(shop.sent()) == 58
    assert shop.findings() == []


def test_verify_finds_a_due_time_that_was_moved(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("digest", CRON), _automation("birthday", BIRTHDAY))
    shop.run(event("01-02", "alice", "e1", type="birth", date="01-15"))
    _damage(shop.book, "UPDATE store.automations SET next_at = 0 WHERE next_at IS NOT NULL")
    _damage(shop.book, "UPDATE store.subscriptions SET next_at = next_at + 1")
    found = {finding.check for finding in verify_book(shop.book).findings}
    assert found == {"nothing_is_due", "refold_automations", "refold_subscriptions"}


def test_verify_finds_the_event_of_another_automation(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("digest", CRON))
    shop.run(event("01-02", "alice", "e1"), event("01-12", "alice", "e2"))
    _damage(shop.book, "UPDATE store.generated_events SET automation = 2")
    found = {finding.check for finding in verify_book(shop.book).findings}
    assert {"generated_events_have_causes"} <= found


def _damage(book: Path, statement: str) -> None:
    with duckdb.connect(str(book)) as connection:
        connection.execute(statement)


def test_a_checkpoint_that_a_crash_left_behind_is_folded_forward(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _automation("spend", THRESHOLD), _automation("birthday", BIRTHDAY))
    shop.run(event("01-02", "alice", "e1", type="birth", date="03-15"))
    shop.run(*(event(f"01-{day:02}", "alice", f"p{day}") for day in range(3, 9)), batch_records=2)
    before = shop.rows("SELECT * FROM subscriptions ORDER BY automation"), shop.rows("SELECT * FROM automations")
    # The state as it was at the first batch, and what follows it only in rows.
    _damage(
        shop.book,
        """UPDATE store.meta SET state_batch = 0; DELETE FROM store.automations; DELETE FROM store.subscriptions;
        DELETE FROM store.balances; DELETE FROM store.system_balances; DELETE FROM store.counters;
        DELETE FROM store.attributes; DELETE FROM store.enrollments; DELETE FROM store.program_statuses;
        DELETE FROM store.asset_links""",
    )
    after = shop.rows("SELECT * FROM subscriptions ORDER BY automation"), shop.rows("SELECT * FROM automations")
    assert after == before
    shop.advance("03-16")
    assert shop.sent() == [("spend", "alice", "01-04"), ("birthday", "alice", "03-15")]
    assert shop.findings() == []
