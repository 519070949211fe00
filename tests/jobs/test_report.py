"""The ledger summary (§20.1) through the command line, on a book written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from tests.support.book_maker import make_small_book
from tests.support.command_line import run_command


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "small.duckdb"
    make_small_book(path)
    return path


def summary(book: Path, *options: str) -> dict[str, dict[str, object]]:
    result = run_command("report", "ledger-summary", "--book", book, "--format", "json", *options)
    assert result.exit_code == 0, result.stderr
    return {row["asset"]: row for row in json.loads(result.stdout)}


def test_all_time_closes_and_counts_holders_with_a_balance(book: Path) -> None:
    # Credits 30.00 + 5.00 to alice, 7.00 + 4.50 to bob; debits 9.00 and 1.00; 29.00 expired.
    assert summary(book)["PTS"] == {
        "asset": "PTS",
        "total_issued": "46.50",
        "total_redeemed": "0.00",
        "total_expired": "29.00",
        "total_forfeited": "0.00",
        "other_adjustments_net": "-10.00",
        "current_balance": "7.50",
        "participant_count": 2,
    }


def test_wallets_hold_no_liability(book: Path) -> None:
    assert summary(book)["CASH"]["current_balance"] == "0"


def test_as_of_an_earlier_time_leaves_out_what_came_later(book: Path) -> None:
    row = summary(book, "--as-of", "2026-01-02T00:00:00Z")["PTS"]
    assert (row["total_issued"], row["total_expired"], row["current_balance"]) == ("42.00", "0.00", "33.00")
    # bob's 7.00 − 9.00 is not zero, so he counts.
    assert row["participant_count"] == 2


def test_as_of_is_inclusive_to_the_microsecond(book: Path) -> None:
    before = summary(book, "--as-of", "2026-01-01T23:59:59.999999Z")["PTS"]
    assert before["current_balance"] == "42.00"


def test_a_period_opens_where_the_time_before_closed(book: Path) -> None:
    row = summary(book, "--from", "2026-01-02", "--to", "2026-01-05")["PTS"]
    assert row == {
        "asset": "PTS",
        "opening_balance": "42.00",
        "period_issued": "4.50",
        "period_redeemed": "0.00",
        "period_expired": "0.00",
        "period_forfeited": "0.00",
        "other_adjustments_net": "-10.00",
        "closing_balance": "36.50",
    }


def test_a_program_and_an_asset_narrow_it_and_unknown_ones_are_named(book: Path) -> None:
    assert summary(book, "--program", "loyalty", "--asset", "PTS")["PTS"]["current_balance"] == "7.50"
    refused = run_command("report", "ledger-summary", "--book", book, "--asset", "POINTS")
    assert refused.exit_code == 1
    assert "there is no asset 'POINTS'\n  The book has PTS, CASH." in refused.stderr
    assert run_command("report", "ledger-summary", "--book", book, "--program", "nope").exit_code == 1


def test_an_end_without_a_beginning_and_an_unreadable_time_are_usage(book: Path) -> None:
    assert run_command("report", "ledger-summary", "--book", book, "--from", "2026-01-01").exit_code == 1
    wrong = run_command("report", "ledger-summary", "--book", book, "--as-of", "yesterday")
    assert wrong.exit_code == 2
    assert "Write a date or a time like 2026-01-31T18:00:00Z" in wrong.stderr


def test_the_table_for_people_has_exact_decimals_and_says_provisional(book: Path) -> None:
    result = run_command("report", "ledger-summary", "--book", book)
    row = next(line for line in result.stdout.splitlines() if line.startswith("CASH"))
    assert row.split() == ["CASH", "0", "0", "0", "0", "0", "0", "0"]
    assert "Provisional" in result.stderr


def test_csv_and_parquet_hold_the_same_rows(book: Path, tmp_path: Path) -> None:
    csv = run_command("report", "ledger-summary", "--book", book, "--format", "csv").stdout
    assert csv.splitlines()[1] == "PTS,46.50,0.00,29.00,0.00,-10.00,7.50,2"
    target = tmp_path / "summary.parquet"
    assert run_command("report", "ledger-summary", "--book", book, "-o", target).exit_code == 0
    query = f"SELECT total_issued, typeof(total_issued) FROM '{target}' WHERE asset = 'PTS'"
    with duckdb.connect() as connection:
        assert [str(value) for value in connection.execute(query).fetchall()[0]] == ["46.50", "DECIMAL(38,2)"]


def test_a_movement_that_its_type_cannot_have_refuses_the_report(tmp_path: Path) -> None:
    path = tmp_path / "bent.duckdb"
    make_small_book(path)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE store.movements SET entry_type = 13 WHERE entry_seq = 1")
    refused = run_command("report", "ledger-summary", "--book", path)
    assert refused.exit_code == 3
    assert "action type 13 has accounts that its type cannot have" in refused.stderr
