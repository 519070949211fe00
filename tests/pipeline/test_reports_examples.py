"""Reports on the worked examples of §20: P1 to P5, by command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from earnbook.pipeline.reports import ReportRequest
from earnbook.pipeline.reports_lots import breakage
from tests.support.command_line import run_command
from tests.support.engines import run_in
from tests.support.examples import load_example


@pytest.fixture(scope="module")
def m18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m18")
    run_in(folder, load_example("m18").scenario, mode="closures")
    return folder / "book.duckdb"


@pytest.fixture(scope="module")
def e5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("e5")
    run_in(folder, load_example("e5").scenario, mode="closures")
    return folder / "book.duckdb"


def report(book: Path, name: str, *options: str) -> list[dict[str, object]]:
    result = run_command("report", name, "--book", book, "--format", "json", *options)
    assert result.exit_code == 0, result.stderr
    rows: list[dict[str, object]] = json.loads(result.stdout)
    return rows


def chosen(rows: list[dict[str, object]], *names: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize(
    "as_of, balance",
    [
        ("2025-03-31T23:59:59.999999Z", "220.00"),
        ("2025-12-31T23:59:59.999999Z", "100.00"),
        ("2026-02-10T00:00:00Z", "70.00"),
        ("2026-03-10T00:00:00Z", "0.00"),
    ],
)
def test_p1_liability_as_of(m18: Path, as_of: str, balance: str) -> None:
    assert report(m18, "liability", "--as-of", as_of) == [{"asset": "PTS", "program": "loyalty", "balance": balance}]


def test_p2_expiration_schedule(m18: Path) -> None:
    window = ("--as-of", "2025-04-01T00:00:00Z", "--from", "2026-02-01", "--to", "2026-02-28T23:59:59Z")
    assert chosen(report(m18, "expiration-schedule", *window), "expires", "amount", "lot_count") == [
        ("before_window", "0.00", 0),
        ("2026-02", "30.00", 1),
        ("after_window", "70.00", 1),
        ("never", "0.00", 0),
        ("total", "100.00", 2),
    ]


def test_p2_by_week_the_intervals_begin_on_mondays_and_are_cut_to_the_window(m18: Path) -> None:
    window = ("--as-of", "2025-04-01T00:00:00Z", "--from", "2026-02-01", "--to", "2026-02-10", "--by", "week")
    assert chosen(report(m18, "expiration-schedule", *window), "expires", "from", "to", "amount")[1:-3] == [
        ("2026-01-26", "2026-02-01T00:00:00Z", "2026-02-01T23:59:59.999999Z", "0.00"),
        ("2026-02-02", "2026-02-02T00:00:00Z", "2026-02-08T23:59:59.999999Z", "0.00"),
        ("2026-02-09", "2026-02-09T00:00:00Z", "2026-02-10T23:59:59.999999Z", "30.00"),
    ]


def test_without_a_window_the_schedule_has_twelve_months(m18: Path) -> None:
    rows = report(m18, "expiration-schedule", "--as-of", "2025-04-01T00:00:00Z")
    assert [row["expires"] for row in rows][1:-3] == [
        *(f"2025-{month:02d}" for month in range(4, 13)),
        *("2026-01", "2026-02", "2026-03"),
    ]
    assert rows[11]["amount"] == "30.00"


def test_p3_statement(m18: Path) -> None:
    options = ("--participant", "alice", "--from", "2025-03-01", "--to", "2025-04-30")
    assert chosen(report(m18, "statement", *options), "line", "amount", "balance") == [
        ("opening", None, "150.00"),
        ("posting", "70.00", "220.00"),
        ("posting", "-120.00", "100.00"),
        ("closing", None, "100.00"),
    ]


def test_p4_breakage(m18: Path) -> None:
    assert chosen(report(m18, "breakage"), "cohort", "issued", "expired", "forfeited", "outstanding", "rate") == [
        ("2025-01", "100.00", "0.00", "0.00", "0.00", "0.000000"),
        ("2025-02", "50.00", "30.00", "0.00", "0.00", "0.600000"),
        ("2025-03", "70.00", "70.00", "0.00", "0.00", "1.000000"),
    ]


def test_p4_as_of_before_the_expirations_all_of_it_is_outstanding(m18: Path) -> None:
    april = ReportRequest(book=m18, as_of_us=1_743_465_600_000_000)
    found = [(str(row["issued"]), str(row["outstanding"])) for row in breakage(april).table.to_pylist()]
    assert found == [("100.00", "0.00"), ("50.00", "30.00"), ("70.00", "70.00")]


def test_p5_cost_per_rule(e5: Path) -> None:
    columns = ("month", "credits", "issued", "suppressed", "suppressed_amount", "consumed", "budget_limit", "use")
    assert chosen(report(e5, "rule-cost", "--rule", "promo"), *columns) == [
        ("2026-01", 2, "100.00", 1, "50.00", "100.00", "100.00", "1.000000"),
        ("2026-02", 1, "10.00", 0, "0.00", "10.00", "100.00", "0.100000"),
    ]


def test_p5_a_rule_without_a_budget_has_no_use(e5: Path) -> None:
    assert chosen(report(e5, "rule-cost", "--rule", "base"), "issued", "budget_limit", "use") == [
        ("15.00", None, None),
        ("1.00", None, None),
    ]


def test_p5_a_budget_that_says_other_than_its_rule_issued_refuses_the_report(e5: Path, tmp_path: Path) -> None:
    bent = Path(shutil.copy(e5, tmp_path / "bent.duckdb"))
    with duckdb.connect(bent) as connection:
        connection.execute("UPDATE store.budgets SET consumed = consumed + 1")
    refused = run_command("report", "rule-cost", "--book", bent)
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "rule promo issued 1000 since the last reset, its budget has 1001 consumed" in refused.stderr
