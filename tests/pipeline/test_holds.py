"""A book of held lots: views, ids and references, the fold of its state, and what verify finds (§9.5-§9.9)."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.store import BookSettings
from earnbook.pipeline.verify import run_check, verify_book
from earnbook.pipeline.verify_checks import CHECKS
from earnbook.pipeline.verify_state import STATE_CHECKS
from tests.support.engines import run_in
from tests.support.invariants import violations
from tests.support.logical import Run, Scenario

ROOT = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
ORGANIZATION = uuid.uuid5(ROOT, "organization:demo")
PROGRAM = uuid.uuid5(ORGANIZATION, "program:loyalty")
RULES: dict[str, list[dict[str, Any]]] = {
    "earn": [{"type": "CREDIT", "amount": "event.amount", "expires_at": "240h", "reference_id": "event.ref"}],
    "authorise": [{"type": "CREDIT", "amount": "event.amount", "bucket": "HELD", "reference_id": "event.ref"}],
    "hold": [{"type": "HOLD", "amount": "event.amount", "reference_id": "event.ref", "description": "a table"}],
    "release": [{"type": "RELEASE", "reference_id": "event.ref", "description": "no table"}],
    "part": [{"type": "RELEASE", "amount": "event.amount"}],
    "void": [{"type": "VOID_HOLD", "reference_id": "event.ref"}],
    "spend": [{"type": "DEBIT", "amount": "event.amount", "bucket": "HELD"}],
}
STEPS = [
    ("01", "earn", 60, "E1"),
    ("02", "earn", 50, "E2"),
    ("03", "hold", 80, "R1"),
    ("04", "authorise", 30, "A1"),
    ("05", "earn", 20, "A1"),
    ("06", "authorise", 9, "A2"),
    ("07", "part", 15, ""),
    ("08", "spend", 5, ""),
    ("20", "release", 0, "R1"),
    ("21", "void", 0, "A2"),
    ("22", "authorise", 7, "A3"),
    ("23", "part", 3, ""),
]


def scenario(cuts: tuple[int, ...] = (len(STEPS),)) -> Scenario:
    """The steps above, one event a step, in runs of so many."""
    rules = [
        {
            "key": kind,
            "name": kind,
            "order": order,
            "condition": f"event.type == '{kind}'",
            "actions": [{"asset": "PTS", **action} for action in actions],
        }
        for order, (kind, actions) in enumerate(RULES.items(), start=1)
    ]
    asset = {"symbol": "PTS", "name": "Points", "scale": 0, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED"}
    definitions = {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [asset | {"programs": ["loyalty"]}],
        "programs": [{"key": "loyalty", "name": "Loyalty", "rules": rules}],
    }
    runs, start = [], 0
    for count in cuts:
        lines = [_line(number, *step) for number, step in enumerate(STEPS)][start : start + count]
        runs.append(Run(lines=tuple(lines)))
        start += count
    return Scenario(definitions=definitions, runs=tuple(runs))


def _line(number: int, day: str, kind: str, amount: int, reference: str) -> str:
    return json.dumps(
        {
            "program_id": "loyalty",
            "idempotency_key": f"e{number}",
            "external_id": "alice",
            "event_timestamp": f"2026-01-{day}T00:00:00Z",
            "event_data": {"type": kind, "amount": amount, "ref": reference},
        }
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book after all steps in one run."""
    folder = tmp_path_factory.mktemp("holds")
    assert violations(run_in(folder, scenario(), mode="closures")) == []
    return folder / "book.duckdb"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_entries_tell_their_amount_reference_and_description(path: Path) -> None:
    found = rows(path, "SELECT seq, action_type, amount_minor, reference_id, description FROM entries ORDER BY seq")
    assert found[2:8] == [
        (3, "HOLD", 80, "R1", "a table"),
        (4, "CREDIT", 30, "A1", None),
        (5, "SETTLE", 20, "A1", None),
        (6, "CREDIT", 9, "A2", None),
        (7, "RELEASE", 15, None, None),
        (8, "DEBIT", 5, None, None),
    ]
    assert found[8:14] == [
        (9, "EXPIRATION", 15, None, None),
        (10, "EXPIRATION", 30, None, None),
        (11, "EXPIRATION", 20, None, None),
        (12, "RELEASE", 60, "R1", "no table"),
        (13, "EXPIRATION", 40, None, None),
        (14, "EXPIRATION", 20, None, None),
    ]


def test_expirations_in_a_record_have_the_next_ids(path: Path) -> None:
    rule = uuid.uuid5(PROGRAM, "rule:release")
    event = uuid.uuid5(PROGRAM, "e8")
    found = rows(path, "SELECT id, cause, cause_id, rule, action_index FROM entries WHERE seq BETWEEN 12 AND 14")
    ids = [uuid.uuid5(event, f"entry:{rule}:0:{n}") for n in range(3)]
    assert sorted(found) == sorted((id_, "EVENT", event, "release", 0) for id_ in ids)
    assert len({id_ for (id_,) in rows(path, "SELECT id FROM entries")}) == 17


def test_lots_tell_their_root_stamp_and_origin(path: Path) -> None:
    query = """SELECT lot_seq, root_lot_seq, amount_minor, remaining_minor, status, reference_id, hold_reference_id,
        provisional FROM lots ORDER BY lot_seq"""
    assert rows(path, query) == [
        (1, 1, 60, 0, "EXPIRED", "E1", None, False),
        (2, 2, 50, 0, "EXPIRED", "E2", None, False),
        (3, 2, 20, 0, "EXPIRED", "E2", None, False),
        (4, 4, 30, 0, "CONSUMED", "A1", None, False),
        (5, 5, 20, 0, "EXPIRED", "A1", None, False),
        (6, 6, 9, 0, "CONSUMED", "A2", None, False),
        (7, 1, 15, 0, "EXPIRED", "E1", None, False),
        (8, 8, 7, 4, "HELD", "A3", "A3", True),
        (9, 8, 3, 3, "AVAILABLE", "A3", None, False),
    ]


def test_lot_moves_are_written_down_or_follow(path: Path) -> None:
    query = """SELECT entry_seq, index, lot_seq, kind, status_before, remaining_before_minor, status_after,
        remaining_after_minor, hold_reference_after FROM lot_moves WHERE entry_seq IN (3, 4, 5, 7, 8) ORDER BY 1, 2"""
    assert rows(path, query) == [
        (3, 0, 1, "HOLD", "AVAILABLE", 60, "HELD", 60, "R1"),
        (3, 1, 2, "SPLIT", "AVAILABLE", 50, "AVAILABLE", 30, None),
        (3, 2, 3, "SPLIT", None, 0, "HELD", 20, "R1"),
        (4, 0, 4, "CREATE", None, 0, "HELD", 30, "A1"),
        (5, 0, 4, "CONSUME", "HELD", 30, "CONSUMED", 0, None),
        (5, 1, 5, "CREATE", None, 0, "AVAILABLE", 20, None),
        (7, 0, 1, "SPLIT", "HELD", 60, "HELD", 45, "R1"),
        (7, 1, 7, "SPLIT", None, 0, "AVAILABLE", 15, None),
        (8, 0, 1, "CONSUME", "HELD", 45, "HELD", 40, "R1"),
    ]


def test_what_a_settle_issues_counts_for_its_rule(path: Path) -> None:
    found = rows(path, "SELECT rule, credits, issued_minor FROM rule_issuance ORDER BY rule")
    assert found == [("authorise", 3, 46), ("earn", 3, 110)]


@pytest.mark.parametrize("cuts", [(3, 4, 5), (1,) * len(STEPS)])
def test_every_cut_into_runs_gives_the_same_book(cuts: tuple[int, ...], path: Path, tmp_path: Path) -> None:
    run_in(tmp_path, scenario(cuts), mode="closures")
    for name in ("entries", "postings", "lots", "lot_moves", "balances"):
        query = f"SELECT * {'' if name == 'balances' else 'EXCLUDE (batch)'} FROM {name} ORDER BY ALL"
        assert rows(tmp_path / "book.duckdb", query) == rows(path, query)
    assert verify_book(tmp_path / "book.duckdb").findings == ()


def test_the_book_has_no_findings(path: Path) -> None:
    assert verify_book(path).findings == ()


@pytest.mark.parametrize(
    "check, statement",
    [
        ("postings_are_lot_moves", "UPDATE store.lot_moves SET repaid = 1 WHERE entry_seq = 12"),
        ("lot_moves_follow", "UPDATE store.lot_moves SET status_before = 2 WHERE entry_seq = 12"),
        ("lot_moves_follow", "UPDATE store.lot_moves SET hold_reference = 'R1' WHERE status_after = 2"),
        ("lot_moves_follow", "DELETE FROM store.lot_moves WHERE entry_seq = 3 AND lot_seq = 1"),
        ("parts_are_their_lots", "UPDATE store.lot_details SET root = 1 WHERE lot_seq = 3"),
        ("lots_are_their_entries", "UPDATE store.lots SET amount = 21 WHERE lot_seq = 5"),
        ("entry_ids_are_unique", "UPDATE store.movements SET action = 1 WHERE entry_seq = 14"),
        ("references_have_entries", "INSERT INTO store.entry_references VALUES (4, 'A1')"),
        ("references_have_entries", "INSERT INTO store.entry_references VALUES (3, 'R2')"),
        ("refold_open_lots", "UPDATE store.open_lots SET hold_reference = 'A4' WHERE lot_seq = 8"),
        ("refold_open_lots", "UPDATE store.open_lots SET provisional = false"),
    ],
)
def test_verify_finds_what_does_not_fit(check: str, statement: str, path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "book.duckdb"
    shutil.copy(path, damaged)
    wanted = next(one for one in (*CHECKS, *STATE_CHECKS) if one.name == check)
    with duckdb.connect(damaged, config=BookSettings().config()) as connection:
        connection.execute(statement)
        assert run_check(connection, wanted) != []
