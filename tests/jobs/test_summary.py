"""The summary of a run: every figure where people look for it, and sums that show that they tie."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from earnbook.jobs.output import WIDTH
from earnbook.jobs.summary import draw_summary
from earnbook.pipeline.config import BalanceTotal, InputReport, MovementTotal, RunReport
from earnbook.pipeline.summary import report_document, summarise

REPORT = RunReport(
    book=Path("shop.duckdb"),
    inputs=(InputReport(name="events.ndjson", sha256="ab" * 32, rows=1_020, rejected=5, mapped_from=1_060),),
    batches=(3, 4),
    rows_read=1_020,
    events=1_000,
    operations=5,
    duplicates=10,
    conflicts=1,
    rejected={"MISSING_TIMESTAMP": 2, "IDEMPOTENCY_CONFLICT": 3},
    rejects_known=2,
    completed=998,
    failed={"INSUFFICIENT_BALANCE": 7},
    late=4,
    generated=0,
    participants_created=120,
    entries=1_500,
    movements=(MovementTotal(asset="EUR", scale=2, entry_type="CREDIT", entries=1_500, amount_minor=123_456_789),),
    balances=(
        BalanceTotal(
            asset="EUR",
            scale=2,
            account="holders",
            opening_minor=-50,
            change_minor=123_456_789,
            closing_minor=123_456_739,
        ),
        BalanceTotal(
            asset="EUR",
            scale=2,
            account="issuance",
            opening_minor=50,
            change_minor=-123_456_789,
            closing_minor=-123_456_739,
        ),
    ),
    lots_created=0,
    changes=1,
    bailed={"WIDE_VALUE": 2, "NUMBER_RANGE": 9},
    ruleset_version=2,
    ruleset_changed=True,
    clock="event",
    clock_before_us=1_767_225_600_000_000,
    clock_after_us=1_767_312_000_500_000,
    seconds=0.5,
    stage_seconds={"read": 0.2, "decide": 0.3},
    peak_memory_bytes=300 * 2**20,
)


def drawn(report: RunReport) -> str:
    sink = io.StringIO()
    draw_summary(summarise(report), sink)
    return sink.getvalue()


def test_both_identities_and_the_balances_are_shown_and_tie() -> None:
    text = drawn(REPORT)
    assert "1,020 read = 1,000 events + 5 operations + 10 duplicates + 5 rejected" in text
    assert "1,005 new + 0 generated = 998 completed + 7 failed" in text
    assert "3 IDEMPOTENCY_CONFLICT, 2 MISSING_TIMESTAMP; 2 of them known from an earlier run" in text
    sums = next(line for line in text.splitlines() if "sum" in line)
    assert sums.split() == ["EUR", "sum", "0.00", "0.00", "0.00"]
    assert "-0.50" in text
    assert "11 events decided without the kernel: 9 NUMBER_RANGE, 2 WIDE_VALUE" in text
    assert "1,234,567.89" in text


def test_it_fits_a_hundred_columns_apart_from_commands() -> None:
    words, _, commands = drawn(REPORT).partition("\nNext\n")
    assert max(len(line.rstrip()) for line in words.splitlines()) <= WIDTH
    assert 'earnbook sql --book shop.duckdb "SELECT source, source_row, reason, message FROM rejects"' in commands


def test_figures_that_do_not_tie_are_said_first() -> None:
    summary = summarise(replace(REPORT, completed=997, warnings=("something else",)))
    assert not summary.ties
    assert summary.warnings[0].startswith("The figures do not tie")


def test_a_run_without_anything_new_says_so() -> None:
    same = replace(REPORT, batches=(), events=0, operations=0, duplicates=1_015, completed=0, failed={})
    assert drawn(same).startswith("Nothing new: shop.duckdb is unchanged")


def test_a_dry_run_says_so_and_sends_nobody_to_the_book() -> None:
    summary = summarise(replace(REPORT, dry_run=True))
    assert summary.headline.startswith("Dry run")
    assert summary.next_commands == ()


def test_the_document_has_amounts_as_text_in_asset_units() -> None:
    document = report_document(REPORT)
    assert document["movements"][0]["amount"] == "1234567.89"  # type: ignore[index]
    assert document["balances"][0]["opening"] == "-0.50"  # type: ignore[index]
    assert document["clock_after"] == "2026-01-02T00:00:00.500000Z"
    assert document["bailed"] == {"WIDE_VALUE": 2, "NUMBER_RANGE": 9}
    assert document["ties"] is True
