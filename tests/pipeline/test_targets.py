"""Targets and groups through the whole pipeline, with and without the kernel, over one run and over several (§12.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.drive import run
from earnbook.pipeline.verify import verify_book
from earnbook.rules.definitions_ids import object_id
from tests.support.book_reader import read_book
from tests.support.engines import run_in, run_request
from tests.support.logical import LogicalBook, Run, Scenario, differences

ORGANIZATION = "247de422-21bc-551b-951a-d6e6f805e3c1"
GIVEN = "0f0f0f0f-0000-4000-8000-000000000001"
MODES = ("kernel", "closures")


def definitions(*rules: Mapping[str, Any], **program: Any) -> dict[str, Any]:
    """A program whose rules always match."""
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [
            {
                "symbol": "PTS", "name": "Points", "scale": 2, "inventory_mode": "SIMPLE",
                "issuance_policy": "UNLIMITED", "programs": ["loyalty"],
            }
        ],
        "programs": [
            {
                "key": "loyalty", "name": "Loyalty", **program,
                "rules": [
                    {"key": f"r{n}", "name": f"r{n}", "order": n, "condition": "true", **rule}
                    for n, rule in enumerate(rules, start=1)
                ],
            }
        ],
    }  # fmt: skip


def credit(amount: str, **target: Any) -> dict[str, Any]:
    return {"type": "CREDIT", "asset": "PTS", "amount": amount, "target": target}


def to(external_id: str) -> dict[str, Any]:
    return {"type": "PARTICIPANT", "external_id": external_id}


def line(number: int, who: str, /, **data: Any) -> str:
    return json.dumps(
        {
            "program_id": "loyalty", "idempotency_key": f"e-{number}", "external_id": who,
            "event_timestamp": f"2026-01-01T00:00:{number:02d}Z", "event_data": data,
        }
    )  # fmt: skip


def outcomes(book: LogicalBook) -> list[str]:
    return [outcome.code for outcome in book.outcomes]


def balances(book: LogicalBook) -> dict[str, int]:
    """Minor units of holders by name."""
    return {key: amount for (_, key, _, _), amount in book.balances.items() if key is not None}


@pytest.mark.parametrize("mode", MODES)
def test_targets_are_found_created_and_enrolled_across_batches_and_runs(tmp_path: Path, mode: str) -> None:
    rule = {"actions": [credit("1", **to("event.who")), credit("10", **to("'h-' + event.who"))]}
    computed = {"actions": [credit("100", **to("get(participant.attributes, 'friend', 'nobody')"))]}
    friend = {"actions": [{"type": "SET_ATTRIBUTE", "key": "friend", "value": "=event.who"}]}
    lines = [line(n, f"p{n % 3}", who=f"p{n % 7}") for n in range(20)]
    document = definitions(rule, computed, friend)
    whole = run_in(tmp_path, Scenario(definitions=document, runs=(Run(lines=tuple(lines)),)), mode=mode)
    (tmp_path / "cut").mkdir()
    cut = tuple(Run(lines=tuple(lines[at : at + 5])) for at in range(0, 20, 5))
    parts = run_in(tmp_path / "cut", Scenario(definitions=document, runs=cut), mode=mode, batch_records=2)
    assert differences(whole, parts) == []
    assert verify_book(tmp_path / "cut" / "book.duckdb").findings == ()
    assert outcomes(whole) == ["OK"] * 20
    assert list(whole.participants)[:6] == ["p0", "h-p0", "nobody", "p1", "h-p1", "p2"]
    assert balances(whole)["nobody"] == 3 * 10000
    # The first event of each of three participants pays nobody, 17 events pay the friend of the event before.
    assert sum(amount for key, amount in balances(whole).items() if key.startswith("h-")) == 20 * 1000
    assert sum(amount for key, amount in balances(whole).items() if key.startswith("p")) == 20 * 100 + 17 * 10000


@pytest.mark.parametrize("mode", MODES)
def test_what_a_target_text_may_be(tmp_path: Path, mode: str) -> None:
    rule = {"actions": [credit("1", **to("event.who"))]}
    by_id = {"condition": "has(event.id)", "actions": [credit("2", type="PARTICIPANT", participant_id="event.id")]}
    alice = object_id(ORGANIZATION, "participant", "alice")
    rows = [
        {"who": "a" * 255}, {"who": "a" * 256}, {"who": ""}, {"who": None}, {"who": 5}, {},
        {"who": "x", "id": alice}, {"who": "x", "id": alice.upper()}, {"who": "x", "id": GIVEN},
        {"who": "x", "id": "alice"},
    ]  # fmt: skip
    lines = tuple(line(n, "alice", **row) for n, row in enumerate(rows))
    book = run_in(tmp_path, Scenario(definitions=definitions(rule, by_id), runs=(Run(lines=lines),)), mode=mode)
    wrong = ["EXPRESSION_ERROR", "TARGET_MISSING", "TARGET_MISSING", "EXPRESSION_ERROR", "EXPRESSION_ERROR"]
    assert outcomes(book) == ["OK", *wrong, "OK", "OK", *["PARTICIPANT_NOT_FOUND"] * 2]
    assert balances(book) == {"a" * 255: 100, "x": 200, "alice": 400}


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_event_leaves_no_target(tmp_path: Path, mode: str) -> None:
    late = {"type": "DEBIT", "asset": "PTS", "amount": "event.take"}
    rule = {"actions": [credit("1", **to("event.who")), late]}
    lines = (line(1, "alice", who="bob", take=1), line(2, "carol", who="carol", take=1))
    book = run_in(tmp_path, Scenario(definitions=definitions(rule), runs=(Run(lines=lines),)), mode=mode)
    assert outcomes(book) == ["INSUFFICIENT_BALANCE", "OK"]
    assert {name: held.number for name, held in book.participants.items()} == {"alice": 1, "carol": 2}


@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_rejects_creates_no_target(tmp_path: Path, mode: str) -> None:
    document = definitions({"actions": [credit("1", **to("event.who"))]})
    first = Scenario(definitions=document, runs=(Run(lines=(line(1, "alice", who="alice"),)),))
    run_in(tmp_path, first, mode=mode)
    document["programs"][0]["on_unknown_participant"] = "REJECT"
    more = Run(lines=(line(2, "alice", who="alice"), line(3, "alice", who="bob")))
    book = _run_again(tmp_path, document, more, mode)
    assert outcomes(book) == ["OK", "OK", "PARTICIPANT_NOT_FOUND"]
    assert balances(book) == {"alice": 200}


# --- groups ---------------------------------------------------------------------------------------------------------


def _run_again(folder: Path, document: Mapping[str, Any], one: Run, mode: str) -> LogicalBook:
    """One more run over the book of `run_in`."""
    config, rows = folder / "definitions.json", folder / "run-9.ndjson"
    config.write_text(json.dumps(document), encoding="utf-8")
    rows.write_text("".join(f"{text}\n" for text in one.lines), encoding="utf-8")
    book = folder / "book.duckdb"
    run(run_request(one, book, config, rows, kernel=mode == "kernel", batch_records=2))
    return read_book(book)


def _book_with_groups(folder: Path, document: Mapping[str, Any], mode: str) -> None:
    """A book with alice and two groups, `smith` and, by a given id, `jones`."""
    none: dict[str, Any] = {**document, "programs": [{**document["programs"][0], "rules": []}]}
    run_in(folder, Scenario(definitions=none, runs=(Run(lines=(line(0, "alice"),)),)), mode=mode)
    with duckdb.connect(str(folder / "book.duckdb")) as connection:
        connection.execute(f"INSERT INTO store.holders VALUES (2, 2, 'smith', NULL, 1), (3, 2, 'jones', '{GIVEN}', 1)")
        connection.execute("UPDATE store.batches SET last_holder = 3")


@pytest.mark.parametrize("mode", MODES)
def test_groups_are_targets_by_key_and_by_id(tmp_path: Path, mode: str) -> None:
    group = {"type": "GROUP", "id": "event.team"}
    count = {"type": "COUNTER", "key": "visits", "value": "1", "target": group}
    tag = {"type": "TAG", "tag": "seen", "target": {"type": "GROUP", "id": GIVEN}}
    document = definitions({"actions": [credit("event.amount * 0.01", **group), count, tag]})
    _book_with_groups(tmp_path, document, mode)
    smith = object_id(ORGANIZATION, "group", "smith")
    teams = ("smith", smith, GIVEN, "jones", "brown", "alice")
    lines = tuple(line(n, "alice", team=team, amount=100) for n, team in enumerate(teams, start=1))
    book = _run_again(tmp_path, document, Run(lines=lines), mode)
    assert outcomes(book)[1:] == ["OK"] * 4 + ["GROUP_NOT_FOUND"] * 2
    assert book.balances == {
        ("GROUP", "smith", "PTS", "AVAILABLE"): 200,
        ("GROUP", "jones", "PTS", "AVAILABLE"): 200,
        ("SYSTEM_ISSUANCE", None, "PTS", "AVAILABLE"): -400,
    }
    assert {key[:2]: str(counter.value) for key, counter in book.counters.items()} == {
        ("GROUP", "smith"): "2",
        ("GROUP", "jones"): "2",
    }
    assert book.tags == {("GROUP", "jones", "seen")}
    assert book.enrollments == {("alice", "loyalty"): "ACTIVE"}


@pytest.mark.parametrize("mode", MODES)
def test_rules_read_the_group_that_the_event_names(tmp_path: Path, mode: str) -> None:
    group = {"type": "GROUP", "id": "event.team"}
    count = {"condition": "has(group.status)", "actions": [
        {"type": "COUNTER", "key": "visits", "value": "1", "target": group}
    ]}  # fmt: skip
    third = {"condition": "get(group.counters, 'visits', 0.0) >= 2", "actions": [credit("5", **to("'alice'"))]}
    none = {"condition": "size(group.tags) == 0 && !has(group.status)", "actions": [credit("1", **to("'alice'"))]}
    named = {"condition": f"group.key == 'jones' && group.id == '{GIVEN}'", "actions": [
        {"type": "SET_ATTRIBUTE", "key": "group", "value": "=group.key"}
    ]}  # fmt: skip
    document = definitions(count, third, none, named, group_field="team")
    _book_with_groups(tmp_path, document, mode)
    smith = object_id(ORGANIZATION, "group", "smith")
    data: list[dict[str, Any]] = [{"team": team} for team in ("smith", smith, "smith", GIVEN, "brown", 5, None)]
    data.append({})
    lines = tuple(line(n, "alice", **row) for n, row in enumerate(data, start=1))
    book = _run_again(tmp_path, document, Run(lines=lines), mode)
    assert set(outcomes(book)) == {"OK"}
    assert balances(book) == {"alice": 500 + 4 * 100}
    assert {key[1]: str(counter.value) for key, counter in book.counters.items()} == {"smith": "3", "jones": "1"}
    assert book.attributes == {("PARTICIPANT", "alice", "group"): "jones"}
