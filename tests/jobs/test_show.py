"""`show`: what one thing of a book is, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.book_maker import make_small_book
from tests.support.command_line import run_command


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("show") / "small.duckdb"
    make_small_book(path)
    return path


def shown(book: Path, *arguments: str) -> dict[str, Any]:
    result = run_command("show", *arguments, "--book", book, "--format", "json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_participant_has_balances_lots_state_and_the_last_events_first(book: Path) -> None:
    alice = shown(book, "participant", "alice")
    assert alice["participant"]["status"] == "ACTIVE"
    assert alice["balances"] == [{"asset": "PTS", "available": "5.00", "held": "0.00", "deferred": "0.00"}]
    assert [(lot["lot_seq"], lot["status"], lot["remaining"]) for lot in alice["lots"]] == [(2, "AVAILABLE", "5.00")]
    (counter,) = alice["counters"]
    assert (counter["key"], counter["value"], counter["reset_after"]) == ("visits", "2.5", "720:00:00")
    assert alice["tags"] == []
    assert [event["idempotency_key"] for event in alice["events"]] == ["e-6", "e-4", "e-1"]


def test_a_participant_is_found_by_id_too(book: Path) -> None:
    by_key = shown(book, "participant", "bob")
    assert shown(book, "participant", by_key["participant"]["id"]) == by_key
    assert by_key["attributes"] == [{"key": "city", "value": "Köln"}]


def test_an_event_shows_rules_entries_and_an_impact_that_sums_to_zero(book: Path) -> None:
    event = shown(book, "event", "e-1")
    assert event["event"]["status"] == "COMPLETED"
    assert [(row["rule"], row["status"]) for row in event["evaluations"]] == [("base", "SUCCESS")]
    assert [entry["amount"] for entry in event["entries"]] == ["30.00", "5.00"]
    impact = [(row["entity_type"], row["bucket"], row["amount"]) for row in event["impact"]]
    assert impact == [
        ("PARTICIPANT", "AVAILABLE", "30.00"),
        ("PARTICIPANT", "DEFERRED", "5.00"),
        ("SYSTEM_ISSUANCE", "AVAILABLE", "-35.00"),
    ]


def test_a_failed_event_names_its_code_and_has_no_impact(book: Path) -> None:
    event = shown(book, "event", "e-4")
    assert (event["event"]["status"], event["event"]["code"]) == ("FAILED", "INSUFFICIENT_BALANCE")
    assert event["event"]["failed_rule"] == "base"
    assert (event["entries"], event["changes"], event["impact"]) == ([], [], [])


def test_an_entry_leads_back_to_its_event_and_rule(book: Path) -> None:
    entry = shown(book, "entry", "3")
    assert entry["entry"]["action_type"] == "CREDIT"
    assert [row["amount"] for row in entry["postings"]] == ["-7.00", "7.00"]
    assert entry["cause"]["idempotency_key"] == "e-2"
    assert entry["rule"]["rule"] == "base"
    assert shown(book, "entry", entry["entry"]["id"]) == entry


def test_an_entry_of_due_work_shows_its_lot_instead_of_a_record(book: Path) -> None:
    entry = shown(book, "entry", "9")
    assert (entry["entry"]["action_type"], entry["entry"]["cause"]) == ("EXPIRATION", "DUE")
    assert entry["cause"] is None
    assert [(row["kind"], row["remaining_before"]) for row in entry["lots"]] == [("EXPIRE", "29.00")]


def test_a_batch_shows_counts_and_its_seal_chain(book: Path) -> None:
    first, last = shown(book, "batch", "1"), shown(book, "batch", "last")
    assert first["counts"]["rows_read"] == 3
    assert first["rejects"][0]["reason"] == "UNPARSEABLE_ROW"
    assert first["seal"]["previous_seal"] == "0" * 64
    assert last["batch"]["batch"] == 3
    assert last["seal"]["previous_seal"] == shown(book, "batch", "2")["seal"]["seal"]
    assert first["sources"][0]["sha256"] == "ab" * 32


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("participant", "carol"), "there is no participant 'carol'\n  The first ones are alice, bob."),
        (("event", "e-99"), "there is no event 'e-99'"),
        (("entry", "99"), "there is no entry '99'\n  The last one has number 9."),
        (("entry", "first"), "'first' is no entry"),
        (("batch", "4"), "there is no batch '4'\n  The book has batches 1 to 3."),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(book: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run_command("show", *arguments, "--book", book)
    assert result.exit_code == 1
    assert message in result.stderr


def test_people_get_titled_tables(book: Path) -> None:
    text = run_command("show", "participant", "alice", "--book", book).stdout
    assert text.startswith("Participant\n")
    assert "Open lots, in the order of use" in text
    assert "Tags" not in text


def test_rows_formats_have_no_place_for_nested_results(book: Path) -> None:
    result = run_command("show", "batch", "1", "--book", book, "--format", "csv")
    assert result.exit_code == 2
    assert "use table, json or ndjson" in result.stderr
