"""Tiers through the whole pipeline: state that runs load and leave, due work between runs, views, what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.show_people import show_participant
from earnbook.pipeline.verify import verify_book
from earnbook.rules.issues import IssueError
from tests.support.engines import run_in
from tests.support.logical import Run, Scenario

GOLD_UNTIL = "2026-01-10T00:00:00Z"


def level(key: str, rank: int, threshold: int | None = None, **benefits: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"key": key, "rank": rank, "benefits": benefits}
    if threshold is not None:
        criteria = [{"counter": "spend", "operator": ">=", "threshold": threshold}]
        made["qualification"] = {"mode": "ALL", "criteria": criteria}
    return made


def definitions(levels: list[dict[str, Any]] | None = None, **tier: Any) -> dict[str, Any]:
    """Two programs; `loyalty` counts what is spent, sets and credits by tier."""
    status = {
        "key": "status",
        "display_name": "Status",
        "levels": levels or [level("gold", 20, 2000, rate=2), level("silver", 10, 500, rate=1)],
        **tier,
    }
    rules = [
        ("count", "event.type == 'buy'", [{"type": "COUNTER", "key": "spend", "value": "event.amount"}]),
        ("gift", "event.type == 'gift'", [_set("gold", GOLD_UNTIL)]),
        ("trial", "event.type == 'trial'", [_set("silver", "48h")]),
        ("drop", "event.type == 'drop'", [_set("base", None)]),
        (
            "earn",
            "has(participant.tiers.status) && participant.tiers.status.level != 'base'",
            [{"type": "CREDIT", "asset": "PTS", "amount": "participant.tiers.status.benefits.rate"}],
        ),
    ]
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [
            {
                "symbol": "PTS",
                "name": "Points",
                "scale": 0,
                "inventory_mode": "SIMPLE",
                "issuance_policy": "UNLIMITED",
                "programs": ["other", "loyalty"],
            }
        ],
        "programs": [
            {"key": "other", "name": "Other", "tiers": [{**status, "levels": [level("gold", 1)]}], "rules": []},
            {
                "key": "loyalty",
                "name": "Loyalty",
                "tiers": [status],
                "rules": [
                    {"key": key, "name": key, "order": 10 * place, "condition": condition, "actions": actions}
                    for place, (key, condition, actions) in enumerate(rules, start=1)
                ],
            },
        ],
    }


def _set(to: str, expires_at: str | None) -> dict[str, Any]:
    action = {"type": "SET_TIER", "tier": "status", "level": to}
    return action if expires_at is None else {**action, "expires_at": expires_at}


def event(day: int, who: str, kind: str, amount: int = 0) -> str:
    return json.dumps(
        {
            "program_id": "loyalty",
            "idempotency_key": f"{who}-{day}",
            "external_id": who,
            "event_timestamp": f"2026-01-{day:02}T00:00:00Z",
            "event_data": {"type": kind, "amount": amount},
        }
    )


RUNS = (
    Run(lines=(event(1, "alice", "gift"), event(2, "bob", "buy", 600), event(3, "carol", "trial")), clock="event"),
    Run(lines=(event(6, "bob", "visit"), event(7, "dave", "buy", 5)), clock="event"),
    Run(lines=(event(8, "bob", "buy", 1400),), clock="event", advance_to="2026-01-09T23:59:59Z"),
    Run(lines=(event(12, "alice", "visit"), event(13, "bob", "drop")), clock="event"),
)


def tiers(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path / "book.duckdb"), read_only=True) as connection:
        query = """SELECT external_id, program, tier, level, rank, strftime(acquired_at, '%d'),
            strftime(expires_at, '%d') FROM tiers ORDER BY 1"""
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module", params=["kernel", "closures"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of four runs, each of which loads what the ones before left."""
    path = tmp_path_factory.mktemp(str(request.param))
    run_in(path, Scenario(definitions=definitions(), runs=RUNS[:3]), mode=request.param)
    assert tiers(path) == [
        ("alice", "loyalty", "status", "gold", 20, "01", "10"),
        ("bob", "loyalty", "status", "gold", 20, "08", None),
    ]
    run_in(path, Scenario(definitions=definitions(), runs=RUNS[3:]), mode=request.param)
    return path


def row_of(level: str, since: str, until: str | None = None) -> str:
    """The value of a change, with days of January; who has an expiry here has their own."""
    ends = "null" if until is None else f'"2026-01-{until}T00:00:00Z"'
    return (
        f'{{"acquired_at":"2026-01-{since}T00:00:00Z","downgrade_at":null,"expires_at":{ends},"level":"{level}",'
        f'"noted_level":null,"own_expiry":{"false" if until is None else "true"}}}'
    )


def test_levels_come_go_and_expire_between_runs(folder: Path) -> None:
    assert tiers(folder) == []
    with duckdb.connect(str(folder / "book.duckdb"), read_only=True) as connection:
        query = """SELECT entity, program, key, operation, old_value, new_value, cause, rule, strftime(changed_at, '%d')
            FROM changes WHERE state_type = 'tier' ORDER BY change_seq"""
        found = connection.execute(query).fetchall()
        tier_id = connection.execute("SELECT DISTINCT cause_id FROM changes WHERE cause = 'DUE'").fetchall()
        stored = "SELECT id FROM store.objects WHERE kind = 5 AND program = 2"
        assert [str(row[0]) for row in tier_id] == [row[0] for row in connection.execute(stored).fetchall()]
        credits = connection.execute("SELECT amount_minor FROM entries ORDER BY seq").fetchall()
    gold = row_of("gold", "01", "10")
    silver = row_of("silver", "02")
    trial = row_of("silver", "03", "05")
    reached = row_of("gold", "08")
    assert found == [
        ("alice", "loyalty", "status", "set", None, gold, "EVENT", "gift", "01"),
        ("bob", "loyalty", "status", "set", None, silver, "EVENT", None, "02"),
        ("carol", "loyalty", "status", "set", None, trial, "EVENT", "trial", "03"),
        ("carol", "loyalty", "status", "delete", trial, None, "DUE", None, "05"),
        ("bob", "loyalty", "status", "set", silver, reached, "EVENT", None, "08"),
        ("alice", "loyalty", "status", "delete", gold, None, "DUE", None, "10"),
        ("bob", "loyalty", "status", "delete", reached, None, "EVENT", "drop", "13"),
    ]
    assert credits == [(1,), (1,), (2,)]  # bob on the 6th, 8th and 13th, by the level before the event


def test_the_book_verifies_and_a_changed_level_is_found(folder: Path, tmp_path: Path) -> None:
    assert verify_book(folder / "book.duckdb").findings == ()
    for number, (sql, checks) in enumerate(BREAKAGES.items()):
        path = tmp_path / f"{number}.duckdb"
        path.write_bytes((folder / "book.duckdb").read_bytes())
        with duckdb.connect(str(path)) as connection:
            connection.execute(sql)
        assert checks <= {finding.check for finding in verify_book(path).findings}, sql


BREAKAGES: Mapping[str, set[str]] = {
    "INSERT INTO store.tiers VALUES (1, 2, 1, 5, NULL, false, NULL, 0)": {"refold_tiers"},
    "INSERT INTO store.tiers VALUES (1, 2, 1, 5, 6, true, NULL, 0)": {"refold_tiers", "nothing_is_due"},
    "DELETE FROM store.tier_changes": {"digests", "tier_changes_have_levels"},
    "UPDATE store.tier_changes SET acquired_at = 7": {"digests"},
    "UPDATE store.tier_changes SET own_expiry = NOT own_expiry": {"digests"},
    "UPDATE store.tier_changes SET downgrade_at = 7": {"digests"},
    "UPDATE store.tier_changes SET noted_level = 7": {"digests"},
    "UPDATE store.changes SET value = 99 WHERE state_type = 4 AND operation = 1": {"tier_changes_have_levels"},
    "INSERT INTO store.tier_changes VALUES (1, 1, NULL, false, NULL, 0)": {"tier_changes_have_levels"},
    "INSERT INTO store.tier_changes VALUES (9999, 1, NULL, false, NULL, 0)": {"details_have_rows"},
}


def test_a_participant_is_shown_with_tiers(tmp_path: Path) -> None:
    run_in(tmp_path, Scenario(definitions=definitions(), runs=RUNS[:1]))
    section = next(s for s in show_participant(tmp_path / "book.duckdb", "bob").sections if s.name == "tiers")
    rows = section.table.to_pylist()
    assert [(row["program"], row["tier"], row["level"], row["rank"]) for row in rows] == [
        ("loyalty", "status", "silver", 10)
    ]


def test_ranks_may_change_and_levels_may_not_go(tmp_path: Path) -> None:
    run_in(tmp_path, Scenario(definitions=definitions(), runs=RUNS[:1]))
    swapped = [level("gold", 5, 2000, rate=2), level("silver", 10, 500, rate=1), level("platinum", 30)]
    run_in(tmp_path, Scenario(definitions=definitions(swapped), runs=RUNS[1:2]))
    assert tiers(tmp_path) == [
        ("alice", "loyalty", "status", "gold", 5, "01", "10"),
        ("bob", "loyalty", "status", "silver", 10, "02", None),
    ]
    with pytest.raises(IssueError, match="cannot be removed"):
        run_in(tmp_path, Scenario(definitions=definitions(swapped[:2]), runs=RUNS[2:3]))


def test_more_levels_than_a_byte_holds_are_refused(tmp_path: Path) -> None:
    many = [level(f"level{rank}", rank) for rank in range(1, 129)] + [level("gold", 200), level("silver", 201)]
    with pytest.raises(IssueError, match="does not execute more than 127 levels"):
        run_in(tmp_path, Scenario(definitions=definitions(many), runs=RUNS[:1]))


def test_an_archived_type_does_nothing_by_itself(tmp_path: Path) -> None:
    lifecycle = {"retention": {"mode": "ACTIVITY_REFRESH", "duration": "8760h"}}
    archived = definitions(lifecycle=lifecycle, status="ARCHIVED")
    drop = [rule for rule in archived["programs"][1]["rules"] if rule["key"] not in ("gift", "trial", "drop")]
    archived["programs"][1]["rules"] = drop
    run_in(tmp_path, Scenario(definitions=archived, runs=RUNS[:1]))
    assert tiers(tmp_path) == []
