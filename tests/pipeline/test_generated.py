"""Generated events and retries in the book: rows, views, state, checks, and what a run refuses (§10.2, §17.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.config import AdvanceRequest, ClockMode, RunReport, RunRequest
from earnbook.pipeline.drive import advance, run
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.retry import RetryRequest, find_failed, retry
from earnbook.pipeline.verify import verify_book
from tests.support.oracle_times import parse_time

DAY = "2026-01-{:02}T00:00:00Z"
SIGNUP: Mapping[str, Any] = {"type": "signup"}


def _rule(key: str, order: int, kind: str, *actions: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": key, "name": key, "order": order, "condition": f"event.type == '{kind}'", "actions": list(actions)}


def _credit(amount: str) -> dict[str, str]:
    return {"type": "CREDIT", "asset": "PTS", "amount": amount}


def _definitions(*rules: Mapping[str, Any], status: str = "ACTIVE") -> dict[str, Any]:
    asset = {
        "symbol": "PTS",
        "name": "Points",
        "scale": 2,
        "inventory_mode": "SIMPLE",
        "issuance_policy": "UNLIMITED",
        "programs": ["loyalty"],
    }
    program = {"key": "loyalty", "name": "Loyalty", "status": status, "rules": list(rules)}
    return {"organization": {"key": "demo", "name": "Demo"}, "assets": [asset], "programs": [program]}


def _follow_up(delay: str = "48h", **payload: object) -> dict[str, Any]:
    return {"type": "SCHEDULE_EVENT", "event_name": "follow", "delay": delay, "payload": payload or {"bonus": 5}}


class Shop:
    """A book in a folder that is fed a few records at a time."""

    def __init__(self, folder: Path, definitions: Mapping[str, Any]) -> None:
        self.book = folder / "shop.duckdb"
        self._folder = folder
        self._runs = 0
        self.define(definitions)

    def define(self, definitions: Mapping[str, Any]) -> None:
        """Other definitions for the runs to come."""
        self.config = self._folder / "definitions.json"
        self.config.write_text(json.dumps(definitions), encoding="utf-8")

    def event(self, who: str, day: int, key: str, **data: object) -> dict[str, Any]:
        """An event of January."""
        return {
            "program_id": "loyalty",
            "idempotency_key": key,
            "event_timestamp": DAY.format(day),
            "external_id": who,
            "event_data": data or dict(SIGNUP),
        }

    def retry(self, day: int, key: str, **event: str) -> dict[str, Any]:
        """A retry_event operation."""
        operation = {"type": "retry_event", "program_id": "loyalty", "idempotency_key": key}
        return {**operation, "effective_at": DAY.format(day), **event}

    def run(self, records: Iterable[Mapping[str, Any]], **options: Any) -> RunReport:
        """One run under the event clock."""
        self._runs += 1
        rows = self._folder / f"run-{self._runs}.ndjson"
        rows.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        request: dict[str, Any] = {"clock": ClockMode.EVENT, "no_horizon": True, "allow_late": True, "prune": True}
        return run(RunRequest(book=self.book, inputs=(str(rows),), config=self.config, **(request | options)))

    def advance(self, day: int, **options: Any) -> RunReport:
        """Due work up to a day of January."""
        return advance(AdvanceRequest(book=self.book, to_us=parse_time(DAY.format(day)), no_horizon=True, **options))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The result of a query."""
        with duckdb.connect(str(self.book), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query).fetchall()

    def findings(self) -> list[str]:
        """What `verify` finds."""
        return [finding.check for finding in verify_book(self.book).findings]


def test_what_waits_is_seen_and_survives_the_run_that_scheduled_it(tmp_path: Path) -> None:
    rules = (_rule("signup", 10, "signup", _follow_up()), _rule("follow", 20, "follow", _credit("event.bonus")))
    shop = Shop(tmp_path, _definitions(*rules))
    shop.run([shop.event("alice", 1, "e1")])
    waiting = shop.rows("SELECT program, external_id, event_name, rule, action_index, generation FROM schedule")
    assert waiting == [("loyalty", "alice", "follow", "signup", 0, 0)]
    (key,) = shop.rows("SELECT idempotency_key FROM schedule")
    assert shop.rows("SELECT key, operation, new_value FROM changes WHERE state_type = 'scheduled_event'") == [
        (key[0], "add", None)
    ]
    report = shop.advance(4)
    assert (report.generated, report.completed, report.ties) == (1, 1, True)
    assert shop.rows("SELECT count(*) FROM schedule") == [(0,)]
    events = "SELECT log_seq, event_type, external_id, idempotency_key = '{}', event_data, generation FROM events"
    assert shop.rows(events.format(key[0]) + " WHERE log_seq = 2") == [
        (2, "SYSTEM", "alice", True, '{"bonus":5,"type":"follow"}', 0)
    ]
    assert shop.rows(
        "SELECT e.id = p.parent_event_id FROM events AS e, events AS p WHERE e.log_seq = 1 AND p.log_seq = 2"
    )
    assert shop.rows("SELECT available FROM participant_balances")[0][0] == 5
    assert shop.findings() == []


def test_a_broadcast_reaches_participants_that_no_record_of_the_run_names(tmp_path: Path) -> None:
    broadcast = {"type": "BROADCAST", "event_name": "bonus"}
    rules = (_rule("holiday", 10, "holiday", broadcast), _rule("bonus", 20, "bonus", _credit("25")))
    shop = Shop(tmp_path, _definitions(*rules))
    shop.run([shop.event(name, 1, name) for name in ("carol", "alice", "bob")])
    for mode in (True, False):
        shop.run([shop.event("dave", 3 + mode, f"party {mode}", type="holiday")], kernel=mode)
    named = shop.rows("SELECT external_id FROM events WHERE event_type = 'SYSTEM' ORDER BY log_seq")
    assert [name for (name,) in named] == ["carol", "alice", "bob", "dave"] * 2
    assert shop.rows("SELECT sum(available) FROM participant_balances")[0][0] == 200
    assert shop.findings() == []


def test_what_was_scheduled_keeps_the_words_of_its_rule_but_meets_the_rules_of_its_time(tmp_path: Path) -> None:
    follow = _rule("follow", 20, "follow", _credit("event.bonus"))
    shop = Shop(tmp_path, _definitions(_rule("signup", 10, "signup", _follow_up(bonus=5)), follow))
    shop.run([shop.event("alice", 1, "e1"), shop.event("bob", 4, "e2")])
    # The rule says something else from the 5th on: bob's event of the 6th still has its old words.
    changed = _rule("follow", 20, "follow", _credit("event.bonus * 10"))
    shop.define(_definitions(_rule("signup", 10, "signup", _follow_up(bonus=7)), changed))
    shop.run([shop.event("carol", 5, "e3"), shop.event("dave", 9, "e4")])
    paid = shop.rows("SELECT external_id, CAST(available AS INTEGER) FROM participant_balances ORDER BY 1")
    assert paid == [("alice", 5), ("bob", 50), ("carol", 70)]
    assert shop.findings() == []


def test_what_falls_due_before_new_definitions_is_processed_by_the_old_ones(tmp_path: Path) -> None:
    signup = _rule("signup", 10, "signup", _follow_up())
    shop = Shop(tmp_path, _definitions(signup, _rule("follow", 20, "follow", _credit("1"))))
    shop.run([shop.event("alice", 1, "e1")])
    shop.define(_definitions(signup, _rule("follow", 20, "follow", _credit("100"))))
    again = shop.event("zoe", 10, "e2", type="visit")
    report = shop.run([again, {**again, "event_data": {"type": "other"}}])
    assert (report.generated, len(report.batches), report.ties) == (1, 2, True)
    assert shop.rows("SELECT CAST(available AS INTEGER) FROM participant_balances") == [(1,)]
    assert shop.rows("SELECT ruleset_version FROM batches ORDER BY batch") == [(1,), (1,), (2,)]
    # The original of the conflict is named by the number that it got, not by the one it would have had.
    assert shop.rows("SELECT o.log_seq FROM rejects AS r JOIN events AS o ON o.id = r.original_id") == [(3,)]
    assert "record 3" in shop.rows("SELECT message FROM rejects")[0][0]
    assert shop.findings() == []


@pytest.mark.parametrize("kernel", [True, False])
def test_an_event_that_failed_is_retried_with_corrected_rules(tmp_path: Path, kernel: bool) -> None:
    """Example E4 with its retry."""
    first = _rule("first", 10, "purchase", _credit("10"), {"type": "COUNTER", "key": "n", "value": "1"})
    shop = Shop(tmp_path, _definitions(first, _rule("second", 20, "purchase", _credit("event.amount * 0.015"))))
    shop.run([shop.event("alice", 1, "e1", type="purchase", amount=33.33)], kernel=kernel)
    assert shop.rows("SELECT status, code, attempts FROM event_status") == [("FAILED", "AMOUNT_EXCEEDS_SCALE", 1)]
    shop.define(_definitions(first, _rule("second", 20, "purchase", _credit("round(event.amount * 0.015, 2)"))))
    report = shop.run([shop.retry(2, "r1", event_key="e1"), shop.retry(3, "r2", event_key="e1")], kernel=kernel)
    assert (report.completed, report.failed) == (1, {"EVENT_NOT_FAILED": 1})
    assert shop.rows("SELECT status, code, attempts FROM event_status") == [("COMPLETED", "OK", 2)]
    outcomes = (
        "SELECT o.attempt, o.status, o.processed_at::DATE::VARCHAR, b.idempotency_key FROM outcomes AS o LEFT JOIN"
    )
    assert shop.rows(f"{outcomes} operations AS b ON b.id = o.by_operation_id WHERE o.log_seq = 1 ORDER BY 1") == [
        (1, "FAILED", "2026-01-01", None),
        (2, "COMPLETED", "2026-01-02", "r1"),
    ]
    evaluations = (
        "SELECT attempt, rule, status, applied, created_at::DATE::VARCHAR FROM evaluations ORDER BY 1, rule_order"
    )
    assert shop.rows(evaluations) == [
        (1, "first", "SUCCESS", False, "2026-01-01"),
        (1, "second", "FAILED", False, "2026-01-01"),
        (2, "first", "SUCCESS", True, "2026-01-02"),
        (2, "second", "SUCCESS", True, "2026-01-02"),
    ]
    entries = "SELECT cause, log_seq, CAST(amount AS VARCHAR), created_at::DATE::VARCHAR FROM entries ORDER BY seq"
    assert shop.rows(entries) == [("EVENT", 1, "10.00", "2026-01-02"), ("EVENT", 1, "0.50", "2026-01-02")]
    changes = "SELECT state_type, changed_at::DATE::VARCHAR FROM changes ORDER BY change_seq"
    assert shop.rows(changes) == [
        ("participant", "2026-01-01"),
        ("enrollment", "2026-01-01"),
        ("counter", "2026-01-02"),
    ]
    assert shop.findings() == []


def test_a_retry_finds_events_of_the_batch_of_the_book_by_key_and_by_id(tmp_path: Path) -> None:
    follow = _rule("follow", 20, "follow", _credit("event.bonus / 3.0"))
    shop = Shop(tmp_path, _definitions(_rule("signup", 10, "signup", _follow_up("0s")), follow))
    shop.run([shop.event("alice", 1, "e1")])
    ((key, event_id),) = shop.rows("SELECT idempotency_key, id::VARCHAR FROM events WHERE event_type = 'SYSTEM'")
    corrected = _rule("follow", 20, "follow", _credit("1"))
    shop.define(_definitions(_rule("signup", 10, "signup", _follow_up("0s")), corrected))
    report = shop.run(
        [
            shop.retry(2, "r1", event_key=key),
            shop.retry(2, "r2", event_id=event_id.upper()),
            shop.event("bob", 3, "e2"),
            shop.retry(4, "r3", event_key="earnbook:sched:nobody"),
            shop.retry(4, "r4", event_key="e2"),
            shop.retry(4, "r5", event_key="e9"),
        ]
    )
    codes = shop.rows(
        """SELECT p.idempotency_key, o.code FROM outcomes AS o JOIN operations AS p USING (log_seq)
        ORDER BY p.idempotency_key"""
    )
    assert codes == [
        ("r1", "OK"),
        ("r2", "EVENT_NOT_FAILED"),
        ("r3", "EVENT_NOT_FOUND"),
        ("r4", "EVENT_NOT_FAILED"),
        ("r5", "EVENT_NOT_FOUND"),
    ]
    assert report.ties
    assert shop.findings() == []


def test_the_retry_job_chooses_failed_events_and_retries_nothing_twice(tmp_path: Path) -> None:
    shop = Shop(tmp_path, _definitions(_rule("buy", 10, "buy", _credit("event.amount")), status="SUSPENDED"))
    shop.run([shop.event("alice", 1, "e1", type="buy", amount=1), shop.event("bob", 1, "e2", type="buy", amount=0.001)])
    shop.define(_definitions(_rule("buy", 10, "buy", _credit("event.amount"))))
    request = RetryRequest(book=shop.book, config=shop.config, codes=("PROGRAM_SUSPENDED",), clock=ClockMode.EVENT)
    assert len(find_failed(request)) == 2
    report = retry(request)
    assert report is not None
    assert (report.operations, report.completed) == (2, 2)
    shown = "SELECT idempotency_key, code, attempts, external_id FROM event_status ORDER BY 1"
    assert shop.rows(shown) == [("e1", "OK", 2, "alice"), ("e2", "AMOUNT_EXCEEDS_SCALE", 2, "bob")]
    # Whoever is created by a retry is created then: by the operation.
    assert shop.rows("SELECT number FROM participants ORDER BY number") == [(1,), (2,)]
    assert retry(request) is None
    with pytest.raises(Refused, match="no FAILED event has the key 'e1'"):
        find_failed(RetryRequest(book=shop.book, keys=("e1",)))
    assert shop.findings() == []


def test_a_batch_that_generates_too_much_is_not_committed(tmp_path: Path) -> None:
    again = _rule("again", 10, "follow", _follow_up("60s"))
    shop = Shop(tmp_path, _definitions(_rule("signup", 20, "signup", _follow_up("60s")), again))
    shop.run([shop.event("alice", 1, "e1")])
    with pytest.raises(Refused, match="more than 10 events"):
        shop.advance(2)
    assert shop.rows("SELECT count(*) FROM batches") == [(1,)]
    report = shop.advance(2, max_generated=2000)
    assert report.generated == 24 * 60
    assert {generation for (generation,) in shop.rows("SELECT DISTINCT generation FROM events")} == {0}
    assert shop.findings() == []


@pytest.mark.parametrize(
    "statement, check",
    [
        ("UPDATE store.generated_events SET generation = 1", "generated_events_have_causes"),
        ("DELETE FROM store.generated_events", "generated_events_have_causes"),
        ("UPDATE store.attempts SET attempt = 3", "attempts_are_retries"),
        ("DELETE FROM store.attempts", "attempts_are_retries"),
        ("UPDATE store.schedule SET due_at = 1", "nothing_is_due"),
        ("DELETE FROM store.schedule", "refold_schedule"),
    ],
)
def test_verify_finds_what_was_changed(tmp_path: Path, statement: str, check: str) -> None:
    rules = (_rule("signup", 10, "signup", _follow_up()), _rule("follow", 20, "follow", _credit("event.bonus")))
    shop = Shop(tmp_path, _definitions(*rules, _rule("buy", 30, "buy", _credit("0.001"))))
    shop.run([shop.event("alice", 1, "e1"), shop.event("bob", 1, "e2", type="buy"), shop.event("carol", 4, "e3")])
    shop.run([shop.retry(5, "r1", event_key="e2")])
    assert shop.findings() == []
    with duckdb.connect(str(shop.book)) as connection:
        connection.execute(statement)
    assert check in shop.findings()
