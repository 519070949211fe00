"""The sections of a page about records: what failed, what was rejected, and the runs that brought it all in."""

from __future__ import annotations

from earnbook.pipeline.reports import Report
from earnbook.pipeline.reports_page_model import (
    BarChart,
    ColumnChart,
    PageFigure,
    PageSection,
    Row,
    Series,
    cell,
    counts_by,
    decimal,
    rows_of,
    table_of,
)

_BARS_MAX = 12
_RUNS_MAX = 40
_SEAL_SHOWN = 12

_FAILED_COLOR, _REJECTED_COLOR, _DONE_COLOR = 6, 2, 1
_RUN_COLUMNS = (
    *("batches", "clock_mode", "book_clock", "rows_read", "events", "operations", "duplicates", "rejected"),
    *("generated", "completed", "failed", "late", "entries", "ruleset", "seal"),
)


def failures_section(failures: Report, rejects: Report) -> PageSection:
    """Records that failed by code, and rows that became no record by reason."""
    failed, rejected = rows_of(failures), rows_of(rejects)
    figures = []
    if failed:
        figures.append(_failures_figure(failures, failed))
    if rejected:
        figures.append(_rejects_figure(rejects, rejected))
    return PageSection(
        name="failures",
        title="Failures and rejects",
        note=(
            f"{cell(_sum(failed, 'records'))} records failed: they are in the book and moved nothing. "
            f"{cell(_sum(rejected, 'rows'))} rows were rejected: they are no records, and are kept with their reason."
        ),
        figures=tuple(figures),
    )


def runs_section(runs: Report) -> PageSection:
    """What each run read and decided."""
    rows = [
        row | {"batches": _batches(row), "ruleset": row["ruleset_version"], "seal": str(row["seal"])[:_SEAL_SHOWN]}
        for row in rows_of(runs)
    ]
    shown = rows[-_RUNS_MAX:]
    table = table_of(runs, rows, _RUN_COLUMNS, caption="Runs, newest last", newest_last=True)
    chart = ColumnChart(
        labels=tuple(str(row["batches"]) for row in shown),
        series=tuple(
            Series(name=title, color=color, values=tuple(decimal(row[name]) for row in shown))
            for title, name, color in (
                ("Completed", "completed", _DONE_COLOR),
                ("Failed", "failed", _FAILED_COLOR),
                ("Rejected rows", "rejected", _REJECTED_COLOR),
            )
        ),
    )
    figure = PageFigure(
        name="runs-records",
        title="Records by run",
        description=f"Columns of completed and failed records and rejected rows of the newest {len(shown)} runs, "
        "named by their batches.",
        chart=chart,
        table=table_of(
            runs,
            rows,
            ("batches", "completed", "failed", "rejected"),
            caption="Records by run, newest last",
            newest_last=True,
        ),
    )
    return PageSection(
        name="runs",
        title="Run history",
        note="Rows read = events + operations + duplicates + rejected, and events + operations + generated = "
        "completed + failed, for every run.",
        figures=(figure,),
        tables=(table,),
    )


def _failures_figure(failures: Report, failed: list[Row]) -> PageFigure:
    codes = counts_by(failed, "code", "records")[:_BARS_MAX]
    return PageFigure(
        name="failures-codes",
        title="Failed records by code",
        description="Bars of the number of failed records by code; the most are of "
        f"{codes[0][0]}: {cell(codes[0][1])}.",
        chart=BarChart(
            labels=tuple(code for code, _ in codes),
            series=(Series(name="Failed", color=_FAILED_COLOR, values=tuple(decimal(count) for _, count in codes)),),
        ),
        table=table_of(
            failures, failed, ("code", "program", "record", "rule", "records"), caption="Failed records by code"
        ),
    )


def _rejects_figure(rejects: Report, rejected: list[Row]) -> PageFigure:
    reasons = counts_by(rejected, "reason", "rows")[:_BARS_MAX]
    return PageFigure(
        name="rejects-reasons",
        title="Rejected rows by reason",
        description="Bars of the number of rejected rows by reason; the most are of "
        f"{reasons[0][0]}: {cell(reasons[0][1])}.",
        chart=BarChart(
            labels=tuple(reason for reason, _ in reasons),
            series=(
                Series(name="Rejected", color=_REJECTED_COLOR, values=tuple(decimal(count) for _, count in reasons)),
            ),
        ),
        table=table_of(
            rejects,
            rejected,
            ("reason", "field", "rows", "first_batch", "last_batch"),
            caption="Rejected rows by reason",
        ),
    )


def _batches(row: Row) -> str:
    first, last = row["first_batch"], row["last_batch"]
    return str(first) if first == last else f"{first}–{last}"


def _sum(rows: list[Row], name: str) -> int:
    return sum(count for row in rows if isinstance(count := row[name], int))
