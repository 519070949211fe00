"""Lifecycles of tiers in a book: dates as the oracle has them, who is loaded for them, what loads and crashes leave."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.ledger.schema import TIME_NONE, StateType
from earnbook.pipeline.lifecycles import find_tier_holders, next_boundary, period_dates
from earnbook.pipeline.load import load_registry
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.terms_tiers import tier_columns
from earnbook.pipeline.verify import verify_book
from earnbook.rules.definitions import Definitions
from earnbook.rules.models_tiers import TierType
from earnbook.rules.times import DAY, TIMESTAMP_MAX, parse_timestamp
from tests.support.engines import run_in
from tests.support.logical import Run, Scenario, differences
from tests.support.oracle import run_oracle
from tests.support.oracle_lifecycle import read_lifecycle

PERIODS: tuple[dict[str, Any], ...] = (
    {"type": "CALENDAR_YEAR"},
    {"type": "FIXED_YEAR", "start_month": 2, "start_day": 29},
    {"type": "FIXED_YEAR", "start_month": 8, "start_day": 31},
)


def _tier(lifecycle: dict[str, Any], **fields: Any) -> TierType:
    level = {"key": "gold", "rank": 1}
    return TierType.model_validate(
        {"key": "status", "display_name": "S", "levels": [level], "lifecycle": lifecycle, **fields}
    )


@pytest.mark.parametrize("period", PERIODS)
def test_dates_of_a_period_are_those_of_the_oracle(period: dict[str, Any]) -> None:
    chance = random.Random(str(period))
    for _ in range(300):
        months = chance.choice((0, 1, 6))
        lifecycle = {
            "retention": {"mode": "PERIOD_BASED"},
            "qualification_period": period,
            "status_validity": {"extend_months": months},
            "downgrade_policy": {"grace_days": chance.choice((0, 30, 140))},
        }
        oracle, tier = read_lifecycle(lifecycle), _tier(lifecycle)
        assert oracle is not None
        # Near boundaries as often as anywhere, and up to the last years there are.
        at = chance.randrange(0, TIMESTAMP_MAX - 3 * 366 * DAY)
        if chance.random() < 0.5:
            at = (oracle.period_end(at) or 0) + chance.choice((-1, 0, 1))
        end = oracle.period_end(at)
        assert end is not None
        assert next_boundary(tier, at) == end
        assert period_dates(tier, at) == (end, oracle.expiry(at), oracle.expiry(end), oracle.downgrade_date(end))


def test_what_has_no_periods_has_no_dates() -> None:
    activity = {"retention": {"mode": "ACTIVITY_REFRESH", "duration": "720h"}}
    for tier in (
        _tier(activity),
        _tier({**activity, "qualification_period": {"type": "NONE"}}),
        _tier({"qualification_period": {"type": "CALENDAR_YEAR"}}, status="ARCHIVED"),
    ):
        assert next_boundary(tier, 0) is None
        assert period_dates(tier, 0) == (TIME_NONE,) * 4
    last_year = _tier({"retention": {"mode": "PERIOD_BASED"}, "qualification_period": {"type": "CALENDAR_YEAR"}})
    assert period_dates(last_year, TIMESTAMP_MAX) == (TIME_NONE,) * 4


# --- books ----------------------------------------------------------------------------------------------------------


def definitions(threshold: int = 1000, **lifecycle: Any) -> dict[str, Any]:
    """A program that counts what is spent, with a yearly type and one that is kept by activity."""
    yearly = {
        "retention": {"mode": "PERIOD_BASED"},
        "qualification_period": {"type": "CALENDAR_YEAR"},
        "downgrade_policy": {"grace_days": 30},
        "counters": {"qualifying": ["spend"]},
        **lifecycle,
    }
    active = {
        "retention": {"mode": "ACTIVITY_REFRESH", "duration": "720h"},
        "downgrade_policy": {"grace_days": 5, "min_level": "member"},
    }
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [],
        "programs": [
            {
                "key": "loyalty",
                "name": "Loyalty",
                "tiers": [
                    {"key": "status", "display_name": "Status", "levels": _levels(threshold), "lifecycle": yearly},
                    {
                        "key": "club",
                        "display_name": "Club",
                        "levels": [{"key": "member", "rank": 1}, {"key": "insider", "rank": 2}],
                        "lifecycle": active,
                    },
                ],
                "rules": [
                    _rule(10, "buy", {"type": "COUNTER", "key": "spend", "value": "event.amount"}),
                    _rule(20, "join", {"type": "SET_TIER", "tier": "club", "level": "insider"}),
                    _rule(30, "visit", {"type": "TAG", "tag": "seen"}),
                ],
            }
        ],
    }


def _levels(threshold: int) -> list[dict[str, Any]]:
    return [
        {
            "key": key,
            "rank": rank,
            "qualification": {
                "mode": "ALL",
                "criteria": [{"counter": "spend", "operator": ">=", "threshold": amount}],
            },
        }
        for key, rank, amount in (("silver", 1, 100), ("gold", 2, threshold))
    ]


def _rule(order: int, kind: str, action: dict[str, Any]) -> dict[str, Any]:
    condition = f"event.type == '{kind}'"
    return {"key": kind, "name": kind, "order": order, "condition": condition, "actions": [action]}


def event(date: str, who: str, kind: str, amount: int = 0) -> str:
    return json.dumps(
        {
            "program_id": "loyalty",
            "idempotency_key": f"{who}-{date}",
            "external_id": who,
            "event_timestamp": f"{date}T00:00:00Z",
            "event_data": {"type": kind, "amount": amount},
        }
    )


FIRST = Run(
    clock="event",
    lines=(
        event("2025-02-01", "alice", "buy", 1500),
        event("2025-02-02", "bob", "join"),
        event("2025-02-03", "carol", "buy", 50),
        event("2025-02-04", "dave", "visit"),
        event("2025-02-20", "bob", "visit"),
    ),
)
OTHERS = (
    Run(clock="event", lines=(event("2025-03-10", "dave", "visit"), event("2025-03-20", "bob", "visit"))),
    Run(clock="event", lines=(event("2026-01-01", "dave", "visit"),)),
    Run(clock="event", lines=(event("2026-01-20", "dave", "visit"),)),
    Run(clock="event", lines=(event("2026-01-31", "dave", "visit"),), advance_to="2027-06-01T00:00:00Z"),
)


@contextmanager
def session_of(folder: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Registry]]:
    with open_book(folder / "book.duckdb", mode=BookMode.READ) as opened, opened.session() as session:
        yield session, load_registry(session)


def test_levels_of_those_who_are_away_fall_due_in_runs_about_others(tmp_path: Path) -> None:
    scenario = Scenario(definitions=definitions(), runs=(FIRST, *OTHERS))
    book = run_in(tmp_path, scenario, mode="closures")
    assert differences(run_oracle(scenario), book) == []
    assert [(change.entity[1], change.new_value) for change in book.changes if change.state_type == "tier"] == [
        ("alice", '"gold"'),
        ("bob", '"insider"'),
        ("bob", '"member"'),  # 30 days and 5 after the visit in March
        ("alice", '"gold"'),  # renewed for what she spent in 2025
        ("alice", '"gold"'),  # not renewed for 2026: noted
        ("alice", None),
    ]
    assert verify_book(tmp_path / "book.duckdb").findings == ()


def test_only_those_about_whom_something_falls_due_are_loaded(tmp_path: Path) -> None:
    run_in(tmp_path, Scenario(definitions=definitions(), runs=(FIRST,)), mode="closures")
    with session_of(tmp_path) as (session, registry):
        programs = Definitions.from_document(
            session.execute("SELECT document FROM store.rulesets").fetchall()[0][0], sources="{}"
        ).programs
        columns = tier_columns(programs, registry)
        names = enumerate(registry.names(), start=1)
        counters = {text: number for number, (kind, text) in names if kind == int(StateType.COUNTER)}
        clock = parse_timestamp("2025-02-20T00:00:00Z")
        found = [
            find_tier_holders(session, columns, counters, after=clock, until=parse_timestamp(f"{until}Z")).tolist()
            for until in ("2025-03-26T23:59:59", "2025-03-27T00:00:00", "2025-12-31T23:59:59", "2026-01-01T00:00:00")
        ]
    # bob's 720 hours and 5 days are over on 27 March; at the period end alice has a level, carol something to roll.
    assert found == [[], [2], [2], [1, 2, 3]]


def test_old_definitions_decide_what_fell_due_before_a_load(tmp_path: Path) -> None:
    stricter = definitions(2000, counters={"qualifying": ["spend"], "rollover": "EXCESS"})
    late = Run(clock="event", lines=(event("2026-03-01", "dave", "visit"),), definitions=stricter)
    scenario = Scenario(definitions=definitions(), runs=(FIRST, late))
    book = run_in(tmp_path, scenario, mode="closures")
    assert differences(run_oracle(scenario), book) == []
    # alice was gold with 1,500 under the old threshold, which was 1,000; her counter was emptied, not carried over.
    status = book.tiers["alice", "loyalty", "status"]
    assert (status.level, status.downgrade_at) == ("gold", None)
    assert book.counters["PARTICIPANT", "alice", "spend"].value == "0"


def test_a_checkpoint_that_was_left_behind_is_brought_forward_with_the_activity_since(tmp_path: Path) -> None:
    run_in(tmp_path, Scenario(definitions=definitions(), runs=(FIRST,)), mode="closures")
    path = str(tmp_path / "book.duckdb")
    with duckdb.connect(path) as connection:
        old = connection.execute("SELECT * FROM store.tiers").fetchall()
        state_batch = connection.execute("SELECT state_batch FROM store.meta").fetchall()[0][0]
    run_in(tmp_path, Scenario(definitions=definitions(), runs=OTHERS[:1]), mode="closures")
    with duckdb.connect(path) as connection:
        shown = "SELECT * FROM store.current_tiers ORDER BY holder, tier"
        expected = connection.execute(shown).fetchall()
        connection.execute("DELETE FROM store.tiers")
        connection.executemany("INSERT INTO store.tiers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", old)
        connection.execute("UPDATE store.meta SET state_batch = ?", [state_batch])
        assert connection.execute(shown).fetchall() == expected
    assert sorted(old) != expected
    # bob's visit on 20 March moved his expiry once more.
    club = next(row for row in expected if row[0] == 2)
    assert club[4] - parse_timestamp("2025-03-20T00:00:00Z") == 30 * DAY


def test_a_changed_expiry_of_activity_is_found(tmp_path: Path) -> None:
    run_in(tmp_path, Scenario(definitions=definitions(), runs=(FIRST,)), mode="closures")
    with duckdb.connect(str(tmp_path / "book.duckdb")) as connection:
        connection.execute("UPDATE store.tiers SET expires_at = expires_at + 1 WHERE holder = 2")
    assert [finding.check for finding in verify_book(tmp_path / "book.duckdb").findings] == ["refold_tiers"]


def test_an_idle_run_is_worth_a_batch_when_a_period_ended(tmp_path: Path) -> None:
    run_in(tmp_path, Scenario(definitions=definitions(), runs=(FIRST,)), mode="closures")
    again = Run(clock="2026-01-01T00:00:00Z", lines=FIRST.lines)
    book = run_in(tmp_path, Scenario(definitions=definitions(), runs=(again,)), mode="closures")
    assert book.counters["PARTICIPANT", "carol", "spend"].value == "0"
    assert len(book.records) == len(FIRST.lines)
