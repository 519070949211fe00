"""`show` of lots, redemptions, groups, programs and rules, on worked examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_command
from tests.support.engines import run_in
from tests.support.examples import load_example


def example_book(folder: Path, name: str) -> Path:
    run_in(folder, load_example(name).scenario, mode="closures")
    return folder / "book.duckdb"


@pytest.fixture(scope="module")
def redeemed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """M21: a redemption of 110 out of three lots, reversed in two parts."""
    return example_book(tmp_path_factory.mktemp("m21"), "m21")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """R24: a group that earns by a rule, and gives some away."""
    return example_book(tmp_path_factory.mktemp("r24"), "r24")


def shown(book: Path, *arguments: str) -> dict[str, Any]:
    result = run_command("show", *arguments, "--book", book, "--format", "json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def columns(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_a_redemption_shows_its_reversals_and_what_is_left_to_reverse(redeemed: Path) -> None:
    found = shown(redeemed, "redemption", "r0-5")
    redemption = found["redemption"]
    assert (redemption["amount"], redemption["reversed_amount"], redemption["left_to_reverse"]) == ("110", "75", "35")
    assert redemption["status"] == "PARTIALLY_REVERSED"
    assert sum(int(row["amount"]) for row in found["reversals"]) == 75
    assert {row["entry_seq"] for row in found["postings"]} == {4, 5, 6}
    assert {row["kind"] for row in found["lots"]} == {"CONSUME", "RESTORE"}
    assert shown(redeemed, "redemption", redemption["id"])["redemption"] == redemption
    assert shown(redeemed, "redemption", str(redemption["log_seq"]))["redemption"] == redemption


def test_a_lot_shows_every_move_in_order(redeemed: Path) -> None:
    found = shown(redeemed, "lot", "1")
    assert (found["lot"]["holder"], found["lot"]["amount"], found["lot"]["remaining"]) == ("alice", "40", "5")
    moves = columns(found["moves"], "action_type", "kind", "remaining_before", "remaining_after")
    assert moves == [
        ("CREDIT", "CREATE", "0", "40"),
        ("REDEMPTION", "CONSUME", "40", "0"),
        ("REDEMPTION_REVERSAL", "RESTORE", "0", "5"),
    ]
    assert shown(redeemed, "lot", found["lot"]["id"]) == found


def test_a_participant_shows_redemptions_and_last_changes(redeemed: Path) -> None:
    alice = shown(redeemed, "participant", "alice", "--events", "1")
    assert columns(alice["redemptions"], "amount", "status") == [("110", "PARTIALLY_REVERSED")]
    assert columns(alice["changes"], "state_type", "new_value") == [("participant", '"ACTIVE"')]


def test_a_group_shows_members_balances_and_its_history_newest_first(family: Path) -> None:
    smith = shown(family, "group", "smith")
    assert (smith["group"]["name"], smith["group"]["status"]) == ("Smith", "ARCHIVED")
    assert columns(smith["members"], "external_id", "role", "status") == [
        ("alice", "ADMIN", "LEFT"),
        ("bob", "ADMIN", "ACTIVE"),
    ]
    assert columns(smith["balances"], "asset", "bucket", "amount") == [("PTS", "AVAILABLE", "0.50")]
    assert smith["changes"][0]["new_value"] == '"ARCHIVED"'
    assert shown(family, "group", smith["group"]["id"]) == smith
    assert columns(shown(family, "participant", "bob")["groups"], "group", "role") == [("smith", "ADMIN")]


def test_a_program_shows_what_it_consists_of(family: Path) -> None:
    loyalty = shown(family, "program", "loyalty")
    assert (loyalty["program"]["name"], loyalty["program"]["status"]) == ("Loyalty", "ACTIVE")
    assert columns(loyalty["assets"], "asset", "inventory_mode") == [("PTS", "SIMPLE")]
    assert columns(loyalty["rules"], "rule", "order", "status", "version") == [("family", 10, "ACTIVE", 1)]
    assert columns(loyalty["history"], "version", "change_type") == [(1, "created")]


def test_a_rule_shows_what_it_says_how_it_went_and_what_it_issued(family: Path) -> None:
    rule = shown(family, "rule", "family")
    assert rule["rule"]["condition"] == "event.type == 'purchase' && has(event.group_id)"
    assert columns(rule["actions"], "index", "type") == [(0, "CREDIT")]
    assert columns(rule["evaluations"], "status", "events") == [("SUCCESS", 2), ("FAILED", 1)]
    assert columns(rule["issued"], "asset", "credits", "issued") == [("PTS", 2, "3.50")]


def test_an_event_shows_its_attempts_and_the_result_of_each_action(family: Path) -> None:
    failed = shown(family, "event", "r0-11")
    assert columns(failed["attempts"], "attempt", "status", "code") == [(1, "FAILED", "GROUP_ARCHIVED")]
    assert columns(failed["actions"], "result", "code", "entry_seq") == [("FAILED", "GROUP_ARCHIVED", None)]
    paid = shown(family, "event", "r0-4")
    assert columns(paid["actions"], "result", "target", "amount", "entry_seq") == [("APPLIED", "smith", "1.00", 1)]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("group", "jones"), "there is no group 'jones'\n  The first ones are smith."),
        (("program", "club"), "there is no program 'club'\n  The book has loyalty."),
        (("rule", "nope"), "there is no rule 'nope'"),
        (("lot", "99"), "there is no lot '99'\n  The last one has number 0."),
        (("lot", "first"), "'first' is no lot"),
        (("redemption", "r0-1"), "there is no redemption 'r0-1'"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(family: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run_command("show", *arguments, "--book", family)
    assert result.exit_code == 1
    assert message in result.stderr
