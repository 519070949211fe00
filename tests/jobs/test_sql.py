"""`sql`: read-only queries over a book, in every output format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.book_maker import make_small_book
from tests.support.command_line import run_command

QUERY = "SELECT external_id, available, held FROM participant_balances ORDER BY external_id"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sql") / "small.duckdb"
    make_small_book(path)
    return path


def test_amounts_are_text_in_json_and_json_lines(book: Path) -> None:
    expected = [
        {"external_id": "alice", "available": "5.00", "held": "0.00"},
        {"external_id": "bob", "available": "2.50", "held": "0.00"},
    ]
    assert json.loads(run_command("sql", QUERY, "--book", book, "--format", "json").stdout) == expected
    lines = run_command("sql", QUERY, "--book", book, "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line) for line in lines] == expected


def test_csv_has_a_header_exact_amounts_and_times_in_utc(book: Path) -> None:
    query = "SELECT external_id, created_at, NULL AS nothing, [1, 2] AS list FROM participants ORDER BY number"
    text = run_command("sql", query, "--book", book, "--format", "csv").stdout
    assert list(csv.reader(io.StringIO(text)))[:2] == [
        ["external_id", "created_at", "nothing", "list"],
        ["alice", "2026-01-01T00:00:00Z", "", "[1, 2]"],
    ]


def test_intervals_and_bytes_are_text(book: Path) -> None:
    query = "SELECT INTERVAL '1 month 2 days 1.5 seconds' AS i, '\\xFF'::BLOB AS b, DATE '2026-01-31' AS d"
    (row,) = json.loads(run_command("sql", query, "--book", book, "--format", "json").stdout)
    assert row == {"i": "P1M2DT1.5S", "b": "ff", "d": "2026-01-31"}


def test_parquet_keeps_the_types(book: Path, tmp_path: Path) -> None:
    path = tmp_path / "balances.parquet"
    assert run_command("sql", QUERY, "--book", book, "-o", path).exit_code == 0
    table = pq.read_table(path)
    assert str(table.schema.field("available").type) == "decimal128(38, 2)"
    assert table.num_rows == 2


def test_the_table_for_people_is_the_default(book: Path) -> None:
    text = run_command("sql", QUERY, "--book", book).stdout
    assert text.splitlines()[0].split() == ["external_id", "available", "held"]
    assert text.splitlines()[2].split() == ["alice", "5.00", "0.00"]


def test_the_book_comes_from_the_environment_too(book: Path) -> None:
    result = run_command("sql", QUERY, environment={"EARNBOOK_BOOK": str(book)})
    assert result.exit_code == 0
    assert "alice" in result.stdout


def test_a_dash_reads_the_query_from_standard_input(book: Path) -> None:
    assert "bob" in run_command("sql", "-", "--book", book, input=QUERY).stdout


@pytest.mark.parametrize(
    "query, message",
    [
        ("SELECT nothing_like_this FROM participants", "nothing_like_this"),
        ("SELECT 1; SELECT 2", "there are 2 statements"),
        ("DELETE FROM store.movements", "this statement does not only read"),
        ("COPY participants TO 'out.csv'", "this statement does not only read"),
        ("SELEKT 1", "SELEKT"),
    ],
)
def test_a_wrong_query_is_a_usage_mistake(book: Path, query: str, message: str) -> None:
    result = run_command("sql", query, "--book", book)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_missing_book_and_a_file_that_is_no_book_are_named(tmp_path: Path) -> None:
    missing = run_command("sql", QUERY, "--book", tmp_path / "no.duckdb")
    assert missing.exit_code == 2
    assert "no.duckdb" in missing.stderr
    (tmp_path / "text.duckdb").write_text("not a database")
    wrong = run_command("sql", QUERY, "--book", tmp_path / "text.duckdb")
    assert wrong.exit_code == 1
    assert "text.duckdb" in wrong.stderr
