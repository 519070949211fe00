"""`run` and `advance`: the coffee shop's month in both formats, and every option on a small log of its own."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result

from earnbook.pipeline.lock import WriterLock
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


def copied(ran: Ran, folder: Path) -> Path:
    """A copy of the book that may change."""
    return Path(shutil.copy(ran.book, folder / "coffee.duckdb"))


@dataclass(frozen=True)
class Ran:
    """A book and what the command that made it printed."""

    book: Path
    result: Result


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The month from its events, in batches of 500."""
    book = tmp_path_factory.mktemp("native") / "coffee.duckdb"
    return Ran(book, run_sample(book, EVENTS, OPERATIONS, "--batch-size", "500", "--format", "json"))


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The month from the till's export, the operations before it."""
    book = tmp_path_factory.mktemp("till") / "coffee.duckdb"
    assert run_sample(book, OPERATIONS).exit_code == 0
    return Ran(book, run_sample(book, "--source", "till_export", SAMPLE / "events.csv", "--format", "json"))


# --- the month ------------------------------------------------------------------------------------------------------


def test_the_balances_are_those_that_the_shop_expects(native: Ran) -> None:
    with (SAMPLE / "expected_balances.csv").open(encoding="utf-8") as file:
        expected = {(r["external_id"], r["asset"]): (r["available"], r["deferred"]) for r in csv.DictReader(file)}
    found = {}
    query = "SELECT external_id, asset, available_minor, deferred_minor FROM participant_balances"
    for external_id, asset, available, deferred in rows(native.book, query):
        texts = [
            str(amount) if asset == "BEANS" else f"{Decimal(amount) / 100:.2f}" for amount in (available, deferred)
        ]
        found[external_id, asset] = (texts[0], texts[1])
    # Whether a member without anything has a row is of no interest to the shop.
    empty = {key for key, amounts in expected.items() if Decimal(amounts[0]) == Decimal(amounts[1]) == 0}
    assert {k: v for k, v in found.items() if k not in empty} == {k: v for k, v in expected.items() if k not in empty}


def test_the_summary_accounts_for_every_row(native: Ran) -> None:
    report = document(native.result)
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
    assert [source["rows"] for source in report["inputs"]] == [1853, 2]


def test_batches_are_at_most_as_large_as_asked(native: Ran) -> None:
    sizes = [size for (size,) in rows(native.book, "SELECT events + operations FROM batches ORDER BY batch")]
    assert len(sizes) == 4
    assert max(sizes) <= 500
    assert sum(sizes) == 1847


def test_both_books_are_whole(native: Ran, till: Ran) -> None:
    for ran in (native, till):
        result = run_command("verify", "--book", ran.book)
        assert result.exit_code == 0, result.stderr


def test_the_tills_export_gives_the_same_book(native: Ran, till: Ran) -> None:
    assert native.result.exit_code == till.result.exit_code == 0, till.result.stderr
    different = [line for line in unequal_tables(native.book, till.book) if not line.startswith("rejects")]
    assert different == []
    for query in (
        "SELECT external_id, asset, available, deferred FROM participant_balances ORDER BY ALL",
        "SELECT log_seq, id, event_data, event_timestamp FROM events ORDER BY log_seq",
    ):
        assert rows(native.book, query) == rows(till.book, query)


def test_the_mapping_says_how_many_rows_it_left_out(till: Ran) -> None:
    (source,) = document(till.result)["inputs"]
    assert (source["mapped_from"], source["rows"]) == (1933, 1852)


def test_the_same_command_again_changes_nothing_and_says_so(native: Ran, tmp_path: Path) -> None:
    book = copied(native, tmp_path)
    before = rows(book, "SELECT max(batch), max(seal) FROM batches")
    result = run_sample(book, EVENTS, OPERATIONS)
    assert result.exit_code == 0, result.stderr
    assert f"\nNothing new: {book}" in f"\n{result.stderr}"
    assert "1,850 duplicates + 5 rejected" in result.stderr
    assert rows(book, "SELECT max(batch), max(seal) FROM batches") == before


def test_leaving_out_a_rule_needs_consent(native: Ran, tmp_path: Path) -> None:
    book, config = copied(native, tmp_path), tmp_path / "config"
    shutil.copytree(CONFIG, config)
    rules = config / "loyalty.yaml"
    text = rules.read_text()
    rules.write_text(text[: text.index("      - key: free-coffee")])
    more = write_events(tmp_path / "more.ndjson", [event("n-1", "2025-11-01T10:00:00+01:00")])
    arguments = ("run", "--config", config, "--book", book, "--clock", "event", more)
    refused = run_command(*arguments)
    assert refused.exit_code == 1
    assert "free-coffee" in refused.stderr
    assert "--prune" in refused.stderr
    assert run_command(*arguments, "--prune").exit_code == 0
    history = "SELECT change_type FROM definitions WHERE key = 'free-coffee' ORDER BY version"
    assert rows(book, history) == [("created",), ("archived",)]


def test_advance_expires_what_is_due_and_says_what(native: Ran, tmp_path: Path) -> None:
    book = copied(native, tmp_path)
    report = document(run_command("advance", "--book", book, "--to", "2025-11-12", "--format", "json"))
    assert report["events"] == 0
    assert {m["entry_type"] for m in report["movements"]} == {"MATURITY", "EXPIRATION"}
    assert report["clock_after"] == "2025-11-12T00:00:00.000000Z"
    back = run_command("advance", "--book", book, "--to", "2025-11-01")
    assert back.exit_code == 1
    assert "The book clock never goes back" in back.stderr
    assert run_command("verify", "--book", book).exit_code == 0


def test_advance_beyond_the_horizon_must_be_meant(native: Ran, tmp_path: Path) -> None:
    book = copied(native, tmp_path)
    assert run_command("advance", "--book", book, "--to", "2999-01-01").exit_code == 1
    assert run_command("advance", "--book", book, "--to", "2999-01-01", "--no-horizon").exit_code == 0
    owned = "SELECT count(*) FROM participant_balances WHERE asset = 'BEANS' AND available_minor > 0"
    assert rows(book, owned) == [(0,)]


# --- options, on a small log ----------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """One program with one rule: ten points for everybody, once a debit of a hundred that fails."""
    path = tmp_path / "points.yaml"
    path.write_text(
        """
organization: {key: demo}
assets: [{symbol: PTS, name: Points, scale: 0, inventory_mode: SIMPLE, issuance_policy: UNLIMITED, programs: [p]}]
programs:
  - key: p
    name: Points
    rules:
      - {key: base, name: Base, condition: event.n > 0, actions: [{type: CREDIT, asset: PTS, amount: 10}]}
      - {key: spend, name: Spend, condition: event.n < 0, actions: [{type: DEBIT, asset: PTS, amount: 100}]}
      - {key: never, name: Never, condition: event.missing, actions: [{type: CREDIT, asset: PTS, amount: 1}]}
"""
    )
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Four good events of which one fails, and one row that is no JSON."""
    events = [event(f"e-{n}", f"2026-01-0{n}T00:00:00Z", n=n if n < 4 else -1) for n in (1, 2, 3, 4)]
    path = write_events(tmp_path / "log.ndjson", events)
    path.write_text(path.read_text() + "{not json\n")
    return path


def event(key: str, at: str, **data: object) -> dict[str, object]:
    """An event of alice in program p (or the coffee shop's, when it has no data)."""
    program = "p" if data else "loyalty"
    record: dict[str, object] = {"program_id": program, "idempotency_key": key, "external_id": "alice"}
    return record | {"event_timestamp": at, "event_data": data}


def write_events(path: Path, events: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in events))
    return path


def run_small(tmp_path: Path, config: Path, *arguments: str | Path, name: str = "small", **rest: Any) -> Result:
    book = tmp_path / f"{name}.duckdb"
    return run_command("run", "--config", config, "--book", book, "--clock", "event", *arguments, **rest)


@pytest.mark.parametrize("option, code", [("reject", 4), ("failed", 4), ("reject,failed", 4), ("everything", 2)])
def test_fail_on_exits_4_after_the_work_is_done(
    tmp_path: Path, config: Path, log: Path, option: str, code: int
) -> None:
    assert run_small(tmp_path, config, log, "--fail-on", option).exit_code == code
    if code == 4:
        assert rows(tmp_path / "small.duckdb", "SELECT count(*) FROM events") == [(4,)]


def test_fail_on_nothing_of_the_kind_exits_0(tmp_path: Path, config: Path) -> None:
    good = write_events(tmp_path / "good.ndjson", [event("e-1", "2026-01-01T00:00:00Z", n=1)])
    assert run_small(tmp_path, config, good, "--fail-on", "reject,failed").exit_code == 0


def test_too_many_rejects_refuse_the_run_before_it_commits(tmp_path: Path, config: Path, log: Path) -> None:
    result = run_small(tmp_path, config, log, "--max-rejects", "0")
    assert result.exit_code == 1
    assert "--max-rejects" in result.stderr
    assert rows(tmp_path / "small.duckdb", "SELECT count(*) FROM batches") == [(0,)]


def test_a_dry_run_summarises_and_leaves_no_trace(tmp_path: Path, config: Path, log: Path) -> None:
    result = run_small(tmp_path, config, log, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "\nDry run" in f"\n{result.stderr}"
    assert "3 completed + 1 failed" in result.stderr
    assert not (tmp_path / "small.duckdb").exists()


def test_standard_input_is_a_source(tmp_path: Path, config: Path, log: Path) -> None:
    result = run_small(tmp_path, config, "-", input=log.read_text())
    assert result.exit_code == 0, result.stderr
    assert "5 read = 4 events + 0 operations + 0 duplicates + 1 rejected" in result.stderr


def test_a_conflict_is_rejected_or_counts_as_a_duplicate(tmp_path: Path, config: Path) -> None:
    again = [event("e-1", f"2026-01-01T00:00:0{n}Z", n=n) for n in (1, 2)]
    path = write_events(tmp_path / "conflict.ndjson", again)
    rejected = document(run_small(tmp_path, config, path, "--format", "json", name="reject"))
    assert (rejected["rejected"], rejected["duplicates"]) == ({"IDEMPOTENCY_CONFLICT": 1}, 0)
    ignored = document(run_small(tmp_path, config, path, "--format", "json", "--on-conflict", "ignore", name="ignore"))
    assert (ignored["rejected"], ignored["duplicates"]) == ({}, 1)


def test_a_default_program_serves_records_that_name_none(tmp_path: Path, config: Path, log: Path) -> None:
    log.write_text(log.read_text().replace('"program_id": "p", ', ""))
    without = document(run_small(tmp_path, config, log, "--format", "json", name="without"))
    assert without["rejected"]["MISSING_PROGRAM"] == 4
    assert document(run_small(tmp_path, config, log, "--program", "p", "--format", "json"))["events"] == 4


def test_timestamps_beyond_the_horizon_are_rejected(tmp_path: Path, config: Path, log: Path) -> None:
    near = document(run_small(tmp_path, config, log, "--horizon", "2026-01-02", "--format", "json", name="near"))
    assert near["rejected"]["TIMESTAMP_IN_FUTURE"] == 2
    far = write_events(tmp_path / "far.ndjson", [event("e-9", "2999-01-01T00:00:00Z", n=1)])
    assert document(run_small(tmp_path, config, far, "--format", "json", name="far"))["events"] == 0
    assert document(run_small(tmp_path, config, far, "--horizon", "none", "--format", "json"))["events"] == 1


def test_the_order_is_by_time_or_as_read(tmp_path: Path, config: Path, log: Path) -> None:
    log.write_text("".join(reversed(log.read_text().splitlines(keepends=True))))
    query = "SELECT idempotency_key FROM events ORDER BY log_seq"
    for order, first in (("time", "e-1"), ("input", "e-4")):
        assert run_small(tmp_path, config, log, "--order", order, name=order).exit_code == 0
        assert rows(tmp_path / f"{order}.duckdb", query)[0] == (first,)


def test_times_without_offset_are_utc_only_when_the_run_says_so(tmp_path: Path, config: Path) -> None:
    path = write_events(tmp_path / "local.ndjson", [event("e-1", "2026-01-01T00:00:00", n=1)])
    plain = document(run_small(tmp_path, config, path, "--format", "json", name="plain"))
    assert plain["rejected"] == {"INVALID_TIMESTAMP": 1}
    assert document(run_small(tmp_path, config, path, "--assume-utc", "--format", "json"))["events"] == 1


def test_mostly_late_records_must_be_meant(tmp_path: Path, config: Path, log: Path) -> None:
    later = write_events(tmp_path / "later.ndjson", [event("e-8", "2026-02-01T00:00:00Z", n=1)])
    assert run_small(tmp_path, config, later).exit_code == 0
    refused = run_small(tmp_path, config, log)
    assert refused.exit_code == 1
    assert "--allow-late" in refused.stderr
    assert document(run_small(tmp_path, config, log, "--allow-late", "--format", "json"))["late"] == 4


def test_a_fixed_clock_is_the_processing_time_of_all(tmp_path: Path, config: Path, log: Path) -> None:
    assert run_small(tmp_path, config, log, "--clock", "2026-03-01T12:00:00Z").exit_code == 0
    times = "SELECT DISTINCT strftime(processed_at, '%Y-%m-%d %H:%M') FROM event_status"
    assert rows(tmp_path / "small.duckdb", times) == [("2026-03-01 12:00",)]


def test_matched_evaluations_leave_out_what_did_nothing(tmp_path: Path, config: Path, log: Path) -> None:
    statuses = "SELECT DISTINCT status FROM evaluations ORDER BY status"
    for level, expected in (("full", ["FAILED", "SKIPPED_ERROR", "SUCCESS"]), ("matched", ["FAILED", "SUCCESS"])):
        assert run_small(tmp_path, config, log, "--evaluations", level, name=level).exit_code == 0
        assert [status for (status,) in rows(tmp_path / f"{level}.duckdb", statuses)] == expected


def test_the_format_of_the_inputs_can_be_given(tmp_path: Path, config: Path, log: Path) -> None:
    unnamed = log.rename(tmp_path / "export.dat")
    assert run_small(tmp_path, config, unnamed).exit_code == 1
    assert run_small(tmp_path, config, unnamed, "--input-format", "ndjson").exit_code == 0


def test_a_mistake_in_the_definitions_exits_2_with_a_caret_and_creates_nothing(
    tmp_path: Path, config: Path, log: Path
) -> None:
    config.write_text(config.read_text().replace("event.n > 0", "event.n = 0"))
    result = run_small(tmp_path, config, log)
    assert result.exit_code == 2
    for part in ("points.yaml:", "CEL_SYNTAX", "^"):
        assert part in result.stderr
    assert not (tmp_path / "small.duckdb").exists()


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
    tmp_path: Path, config: Path, arguments: tuple[str | Path, ...], code: int, message: str
) -> None:
    result = run_small(tmp_path, config, *arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr


def test_a_book_needs_definitions_once(tmp_path: Path, config: Path, log: Path) -> None:
    arguments = ("run", "--book", tmp_path / "small.duckdb", "--clock", "event", log)
    refused = run_command(*arguments)
    assert refused.exit_code == 1
    assert "--config" in refused.stderr
    assert run_small(tmp_path, config, log).exit_code == 0
    again = run_command(*arguments)
    assert again.exit_code == 0
    assert "4 duplicates" in again.stderr


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path, config: Path, log: Path) -> None:
    with WriterLock(tmp_path / "small.duckdb"):
        result = run_small(tmp_path, config, log, "--lock-wait", "100ms")
    assert result.exit_code == 1
    assert f"is being written by process {os.getpid()}" in result.stderr
    assert "--lock-wait" in result.stderr
