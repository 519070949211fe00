"""`run` and `advance` on the coffee shop: both formats give one book, again changes nothing, and every option works."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result

from tests.support.command_line import run_command
from tests.support.fingerprint import unequal_tables

SAMPLE = Path(__file__).parents[2] / "sample_data" / "coffee_shop"
CONFIG = SAMPLE / "config"
EVENTS = SAMPLE / "events.ndjson"
OPERATIONS = SAMPLE / "operations.ndjson"


def run_sample(book: Path, *arguments: str | Path) -> Result:
    return run_command("run", "--config", CONFIG, "--book", book, "--clock", "event", *arguments)


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def rows(book: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(book, read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The month from its events."""
    book = tmp_path_factory.mktemp("native") / "coffee.duckdb"
    result = run_sample(book, EVENTS, OPERATIONS)
    assert result.exit_code == 0, result.stderr
    return book


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The month from the till's export."""
    book = tmp_path_factory.mktemp("till") / "coffee.duckdb"
    assert run_sample(book, OPERATIONS).exit_code == 0
    result = run_sample(book, "--source", "till_export", SAMPLE / "events.csv")
    assert result.exit_code == 0, result.stderr
    return book


def test_the_balances_are_those_that_the_shop_expects(native: Path) -> None:
    with (SAMPLE / "expected_balances.csv").open(encoding="utf-8") as file:
        expected = {(r["external_id"], r["asset"]): (r["available"], r["deferred"]) for r in csv.DictReader(file)}
    found = {}
    query = "SELECT external_id, asset, available_minor, deferred_minor FROM participant_balances"
    for external_id, asset, available, deferred in rows(native, query):
        amounts = (available, deferred)
        texts = [str(amount) if asset == "BEANS" else f"{amount / 100:.2f}" for amount in amounts]
        found[external_id, asset] = (texts[0], texts[1])
    zero = {key for key, amounts in expected.items() if float(amounts[0]) == float(amounts[1]) == 0}
    assert {key: value for key, value in found.items() if key not in zero} == {
        key: value for key, value in expected.items() if key not in zero
    }


def test_the_book_is_whole(native: Path) -> None:
    result = run_command("verify", "--book", native)
    assert result.exit_code == 0, result.stderr


def test_the_summary_accounts_for_every_row(tmp_path: Path) -> None:
    report = document(run_sample(tmp_path / "coffee.duckdb", EVENTS, OPERATIONS, "--format", "json"))
    assert report["ties"] is True
    assert (report["rows_read"], report["events"], report["operations"], report["duplicates"]) == (1855, 1845, 2, 3)
    assert report["rejected"] == {
        "IDEMPOTENCY_CONFLICT": 1,
        "MISSING_IDEMPOTENCY_KEY": 1,
        "MISSING_PARTICIPANT": 1,
        "MISSING_TIMESTAMP": 1,
        "UNPARSEABLE_ROW": 1,
    }
    assert report["failed"] == {"INSUFFICIENT_BALANCE": 34}
    movements = {(m["asset"], m["entry_type"]): (m["entries"], m["amount"]) for m in report["movements"]}
    assert movements["EUR", "FUND"] == (1, "100.00")
    assert movements["BEANS", "EXPIRATION"][0] == 89
    assert {i["name"].rpartition("/")[2]: i["rows"] for i in report["inputs"]} == {
        "events.ndjson": 1853,
        "operations.ndjson": 2,
    }


def test_the_tills_export_gives_the_same_book(native: Path, till: Path) -> None:
    different = [line for line in unequal_tables(native, till) if not line.startswith("rejects")]
    assert different == []
    balances = "SELECT external_id, asset, available, deferred FROM participant_balances ORDER BY ALL"
    assert rows(native, balances) == rows(till, balances)
    events = "SELECT log_seq, id, event_data, event_timestamp FROM events ORDER BY log_seq"
    assert rows(native, events) == rows(till, events)


def test_the_mapping_says_how_many_rows_it_left_out(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    result = run_sample(book, "--source", "till_export", SAMPLE / "events.csv", "--format", "json")
    (source,) = document(result)["inputs"]
    assert (source["mapped_from"], source["rows"]) == (1934, 1852)


def test_the_same_command_again_changes_nothing_and_says_so(native: Path, tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    shutil.copy(native, book)
    before = rows(book, "SELECT max(batch), max(seal) FROM batches")
    result = run_sample(book, EVENTS, OPERATIONS)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(f"Nothing new: {book}")
    assert "1,850 duplicates + 5 rejected" in result.stderr
    assert rows(book, "SELECT max(batch), max(seal) FROM batches") == before


def test_fail_on_exits_4_after_the_work_is_done(tmp_path: Path) -> None:
    for option in ("reject", "failed", "reject,failed"):
        book = tmp_path / f"{option}.duckdb"
        assert run_sample(book, EVENTS, OPERATIONS, "--fail-on", option).exit_code == 4
        assert rows(book, "SELECT count(*) FROM events") == [(1845,)]
    assert run_sample(tmp_path / "clean.duckdb", OPERATIONS, "--fail-on", "reject,failed").exit_code == 0
    assert run_sample(tmp_path / "clean.duckdb", OPERATIONS, "--fail-on", "everything").exit_code == 2


def test_too_many_rejects_refuse_the_run_before_it_commits(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    result = run_sample(book, EVENTS, OPERATIONS, "--max-rejects", "3")
    assert result.exit_code == 1
    assert "--max-rejects" in result.stderr
    assert rows(book, "SELECT count(*) FROM batches") == [(0,)]


def test_a_dry_run_summarises_and_leaves_no_trace(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    result = run_sample(book, EVENTS, OPERATIONS, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("Dry run")
    assert "1,813 completed + 34 failed" in result.stderr
    assert not book.exists()


def test_standard_input_is_a_source(tmp_path: Path) -> None:
    result = run_command(
        "run",
        "--config",
        CONFIG,
        "--book",
        tmp_path / "b.duckdb",
        "--clock",
        "event",
        "-",
        input=OPERATIONS.read_text(),
    )
    assert result.exit_code == 0, result.stderr
    assert "2 new + 0 generated = 2 completed" in result.stderr


def test_batches_are_as_large_as_asked(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    assert run_sample(book, EVENTS, OPERATIONS, "--batch-size", "500").exit_code == 0
    assert [n for (n,) in rows(book, "SELECT events + operations FROM batches ORDER BY batch")] == [500, 500, 500, 347]
    assert run_command("verify", "--book", book).exit_code == 0


def test_a_conflict_can_count_as_a_duplicate(tmp_path: Path) -> None:
    arguments = (EVENTS, OPERATIONS, "--on-conflict", "ignore", "--format", "json")
    report = document(run_sample(tmp_path / "coffee.duckdb", *arguments))
    assert report["duplicates"] == 4
    assert "IDEMPOTENCY_CONFLICT" not in report["rejected"]


def test_a_default_program_serves_records_that_name_none(tmp_path: Path) -> None:
    nameless = tmp_path / "nameless.ndjson"
    nameless.write_text(EVENTS.read_text().replace('"program_id":"loyalty",', ""))
    without = document(run_sample(tmp_path / "a.duckdb", nameless, "--format", "json"))
    assert without["rejected"]["MISSING_PROGRAM"] > 1_800
    report = document(run_sample(tmp_path / "b.duckdb", nameless, "--program", "loyalty", "--format", "json"))
    assert report["events"] == 1845


def test_timestamps_beyond_the_horizon_are_rejected(tmp_path: Path) -> None:
    arguments = (EVENTS, "--horizon", "2025-10-15T00:00:00Z", "--format", "json")
    report = document(run_sample(tmp_path / "coffee.duckdb", *arguments))
    assert report["rejected"]["TIMESTAMP_IN_FUTURE"] > 500


def test_matched_evaluations_leave_out_what_did_nothing(native: Path, tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    assert run_sample(book, EVENTS, OPERATIONS, "--evaluations", "matched").exit_code == 0
    statuses = "SELECT DISTINCT status FROM evaluations ORDER BY status"
    assert rows(book, statuses) == [("FAILED",), ("SUCCESS",)]
    assert ("SKIPPED",) in rows(native, statuses)


def test_a_mistake_in_the_definitions_exits_2_with_a_caret_and_creates_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    rules = config / "loyalty.yaml"
    rules.write_text(rules.read_text().replace('event.type == "refund"', 'event.type = "refund"'))
    book = tmp_path / "coffee.duckdb"
    result = run_command("run", "--config", config, "--book", book, OPERATIONS)
    assert result.exit_code == 2
    assert "loyalty.yaml:" in result.stderr
    assert "CEL_SYNTAX" in result.stderr
    assert "^" in result.stderr
    assert not book.exists()


def test_leaving_out_a_rule_needs_consent(native: Path, tmp_path: Path) -> None:
    book, config = tmp_path / "coffee.duckdb", tmp_path / "config"
    shutil.copy(native, book)
    shutil.copytree(CONFIG, config)
    rules = config / "loyalty.yaml"
    text = rules.read_text()
    rules.write_text(text[: text.index("      - key: free-coffee")])
    event = '{"program_id":"loyalty","idempotency_key":"late-1","external_id":"C-1001",'
    more = tmp_path / "more.ndjson"
    more.write_text(event + '"event_timestamp":"2025-11-01T10:00:00+01:00","event_data":{"type":"visit"}}\n')
    arguments = ("run", "--config", config, "--book", book, "--clock", "event", more)
    refused = run_command(*arguments)
    assert refused.exit_code == 1
    assert "free-coffee" in refused.stderr
    assert "--prune" in refused.stderr
    assert run_command(*arguments, "--prune").exit_code == 0
    history = "SELECT change_type FROM definitions WHERE key = 'free-coffee' ORDER BY version"
    assert rows(book, history) == [("created",), ("archived",)]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (("no-such-file.ndjson",), 1, "no-such-file.ndjson"),
        ((OPERATIONS, "--source", "no_such_source"), 1, "no_such_source"),
        ((OPERATIONS, "--clock", "noon"), 2, "Write a date or a time like"),
        ((OPERATIONS, "--batch-size", "0"), 2, "--batch-size"),
        ((OPERATIONS, "--lock-wait", "5"), 2, "Write a duration like 90s"),
        ((), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(
    tmp_path: Path, arguments: tuple[str | Path, ...], code: int, message: str
) -> None:
    result = run_sample(tmp_path / "coffee.duckdb", *arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr


def test_a_book_needs_definitions_once(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    refused = run_command("run", "--book", book, OPERATIONS)
    assert refused.exit_code == 1
    assert "--config" in refused.stderr
    assert run_sample(book, OPERATIONS).exit_code == 0
    again = run_command("run", "--book", book, "--clock", "event", OPERATIONS)
    assert again.exit_code == 0
    assert "2 duplicates" in again.stderr


def test_advance_expires_what_is_due_and_says_what(native: Path, tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    shutil.copy(native, book)
    report = document(run_command("advance", "--book", book, "--to", "2025-11-12", "--format", "json"))
    assert report["events"] == 0
    assert {m["entry_type"] for m in report["movements"]} == {"MATURITY", "EXPIRATION"}
    assert report["clock_after"] == "2025-11-12T00:00:00.000000Z"
    back = run_command("advance", "--book", book, "--to", "2025-11-01")
    assert back.exit_code == 1
    assert "The book clock never goes back" in back.stderr
    assert run_command("verify", "--book", book).exit_code == 0


def test_advance_beyond_the_horizon_must_be_meant(native: Path, tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    shutil.copy(native, book)
    assert run_command("advance", "--book", book, "--to", "2999-01-01").exit_code == 1
    assert run_command("advance", "--book", book, "--to", "2999-01-01", "--no-horizon").exit_code == 0
    owed = "SELECT sum(available_minor) FROM participant_balances WHERE asset = 'BEANS' AND available_minor > 0"
    assert rows(book, owed) == [(None,)]
