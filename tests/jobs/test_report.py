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


def test_a_journal_takes_exact_signed_amounts_and_nothing_else(book: Path) -> None:
    taken = run_command("report", "journal", "--book", book, "--asset", "PTS", "--max", "-9.00", "--format", "ndjson")
    amounts = [json.loads(line)["amount"] for line in taken.stdout.splitlines()]
    assert amounts == ["-29.00", "-9.00", "-30.00"]
    for wrong in ("ten", "nan", "1e9", "1_000", "9" * 40):
        refused = run_command("report", "journal", "--book", book, "--min", wrong)
        assert refused.exit_code == 2
        assert "Write an amount in asset units like -12.50" in refused.stderr


def test_a_statement_needs_one_owner_and_a_wallet_has_one_too(book: Path) -> None:
    assert run_command("report", "statement", "--book", book).exit_code == 2
    both = run_command("report", "statement", "--book", book, "--participant", "alice", "--wallet", "loyalty")
    assert both.exit_code == 2
    assert "Give one of --participant, --group and --wallet." in both.stderr
    wallet = run_command("report", "statement", "--book", book, "--wallet", "loyalty", "--format", "csv")
    assert [line.split(",")[1:2] + line.split(",")[8:9] for line in wallet.stdout.splitlines()[1:]] == [
        ["opening", "0"],
        ["posting", "100"],
        ["closing", "100"],
    ]
    nobody = run_command("report", "statement", "--book", book, "--participant", "carol")
    assert nobody.exit_code == 1
    assert "there is no participant 'carol'" in nobody.stderr


def test_one_bucket_of_a_statement_leaves_out_the_others(book: Path) -> None:
    options = ("--participant", "alice", "--bucket", "DEFERRED", "--format", "json")
    rows = json.loads(run_command("report", "statement", "--book", book, *options).stdout)
    shown = [(row["line"], row["action_type"], row["amount"], row["balance"]) for row in rows]
    assert shown == [
        ("opening", None, None, "0.00"),
        ("posting", "CREDIT", "5.00", "5.00"),
        ("posting", "MATURITY", "-5.00", "0.00"),
        ("closing", None, None, "0.00"),
    ]


def test_program_activity_since_leaves_out_what_has_rested(book: Path) -> None:
    def programs(*options: str) -> list[str]:
        shown = run_command("report", "program-activity", "--book", book, "--format", "ndjson", *options)
        return [json.loads(line)["program"] for line in shown.stdout.splitlines()]

    assert set(programs("--since", "2026-01-11")) == {"loyalty"}
    assert programs("--since", "2026-02-01") == []


def test_an_empty_report_is_a_table_with_its_columns(book: Path) -> None:
    shown = run_command("report", "tier-movements", "--book", book, "--format", "csv")
    assert shown.stdout.splitlines() == ["program,tier,from_level,to_level,direction,movements,participants"]
    assert run_command("report", "tier-distribution", "--book", book).exit_code == 0


def test_bounds_that_exclude_each_other_and_unknown_names_are_refused(book: Path) -> None:
    after = run_command("report", "rollforward", "--book", book, "--from", "2026-02-01", "--to", "2026-01-01")
    assert (after.exit_code, "--from is after --to" in after.stderr) == (1, True)
    rule = run_command("report", "rule-cost", "--book", book, "--rule", "nope")
    assert (rule.exit_code, "there is no rule 'nope'" in rule.stderr) == (1, True)
    event = run_command("report", "journal", "--book", book, "--event", "nope")
    assert (event.exit_code, "there is no event 'nope'" in event.stderr) == (1, True)
