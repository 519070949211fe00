"""A report whose figures do not bear each other out is refused: no figure of a damaged book is shown (§20)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from earnbook.ledger.schema import EntityType
from earnbook.pipeline.errors import UntiedReport
from earnbook.pipeline.reports import Report, ReportRequest
from earnbook.pipeline.reports_entries import Owner
from earnbook.pipeline.reports_ledger import earn_burn, ledger_summary
from earnbook.pipeline.reports_liability import liability, rollforward
from earnbook.pipeline.reports_lots import breakage, expiration_schedule
from earnbook.pipeline.reports_statement import statement
from tests.support.book_maker import T0, make_small_book
from tests.support.command_line import run_command

ALICE = Owner(kind=EntityType.PARTICIPANT, key="alice")


def of_alice(request: ReportRequest) -> Report:
    return statement(request, owner=ALICE)


def damaged(folder: Path, change: str) -> ReportRequest:
    """A book written by hand, with one change behind its back."""
    path = folder / "bent.duckdb"
    make_small_book(path)
    with duckdb.connect(path) as connection:
        connection.execute(change)
    return ReportRequest(book=path)


@pytest.mark.parametrize(
    "report",
    [ledger_summary, earn_burn, liability, rollforward, breakage, of_alice],
    ids=lambda report: report.__name__,
)
def test_a_changed_amount_refuses_the_report(tmp_path: Path, report: Callable[[ReportRequest], Report]) -> None:
    request = damaged(tmp_path, "UPDATE store.movements SET amount = amount + 1 WHERE entry_seq = 1")
    with pytest.raises(UntiedReport, match="minor units"):
        report(request)


def test_a_changed_lot_refuses_the_expiration_schedule(tmp_path: Path) -> None:
    request = damaged(tmp_path, "UPDATE store.open_lots SET remaining = remaining + 1 WHERE holder = 1")
    with pytest.raises(UntiedReport, match="the lots of PTS less overdrafts"):
        expiration_schedule(request)


def test_a_changed_snapshot_refuses_the_statement_that_closes_on_it(tmp_path: Path) -> None:
    request = damaged(tmp_path, "UPDATE store.balance_snapshots SET amount = amount + 1 WHERE batch = 1")
    march = ReportRequest(book=request.book, to_us=T0 + 30 * 3_600_000_000)
    with pytest.raises(UntiedReport, match="the postings in PTS lead to"):
        of_alice(march)


def test_a_past_report_does_not_depend_on_what_came_later(tmp_path: Path) -> None:
    request = damaged(tmp_path, "UPDATE store.movements SET amount = amount + 1 WHERE log_seq = 5")
    row = ledger_summary(ReportRequest(book=request.book, as_of_us=T0 + 30 * 3_600_000_000)).table.to_pylist()[0]
    assert str(row["current_balance"]) == "33.00"


def test_by_command_it_is_exit_code_3_and_nothing_on_stdout(tmp_path: Path) -> None:
    request = damaged(tmp_path, "UPDATE store.movements SET amount = amount + 1 WHERE entry_seq = 1")
    refused = run_command("report", "earn-burn", "--book", request.book)
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "Run `earnbook verify` on this book." in refused.stderr


def test_the_integrity_report_names_every_check_and_what_it_found(tmp_path: Path) -> None:
    request = damaged(tmp_path, "UPDATE store.movements SET amount = amount + 1 WHERE entry_seq = 1")
    found = run_command("report", "integrity", "--book", request.book, "--format", "csv")
    assert found.exit_code == 3
    rows = [line.split(",") for line in found.stdout.splitlines()]
    assert rows[0] == ["check", "property", "found", "batch", "table", "message", "examples"]
    assert ["digests", "I18", "1", "1", "movements"] in [row[:5] for row in rows]
    assert "is NOT whole" in found.stderr
    make_small_book(tmp_path / "whole.duckdb")
    whole = run_command("report", "integrity", "--book", tmp_path / "whole.duckdb", "--format", "csv")
    assert whole.exit_code == 0, whole.stderr
    assert {line.split(",")[2] for line in whole.stdout.splitlines()[1:]} == {"0"}
