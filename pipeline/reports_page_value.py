"""The sections of a page about value: what was issued and used, what is outstanding, and when it expires."""

from __future__ import annotations

from decimal import Decimal

from earnbook.pipeline.reports import Report
from earnbook.pipeline.reports_page_model import (
    BarChart,
    ColumnChart,
    PageCard,
    PageFigure,
    PageSection,
    Row,
    Series,
    amount,
    asset_of,
    cell,
    decimal,
    first_groups,
    left_out,
    rows_of,
    table_of,
)

PERIODS_MAX = 62
"""Columns of a chart; the table beside it has the newest rows, the report all of them."""

_SUMMARY_PARTS = (
    ("Issued", "total_issued"),
    ("Redeemed", "total_redeemed"),
    ("Expired", "total_expired"),
    ("Forfeited", "total_forfeited"),
    ("Other", "other_adjustments_net"),
)
# Name, column, colour, and the sign of the line in the balance.
_FLOWS = (
    ("Issued", "earned", 1, 1),
    ("Redeemed", "redeemed", 2, -1),
    ("Expired", "expired", 3, -1),
    ("Forfeited", "forfeited", 4, -1),
    ("Other", "other_adjustments_net", 5, 1),
)
_FLOW_COLUMNS = (
    *("opening_balance", "earned", "redeemed", "expired", "forfeited", "other_adjustments_net"),
    *("closing_balance", "redemption_rate"),
)
_BUCKETS = (("AVAILABLE", "Available", 1), ("HELD", "Held", 2), ("DEFERRED", "Deferred", 4))
_PROGRAMS_MAX = 12


def summary_section(summary: Report) -> PageSection:
    """One card for each asset: what holders have, and the sums it comes from."""
    rows = rows_of(summary)
    cards = tuple(
        PageCard(
            label=f"{row['asset']} outstanding",
            value=amount(row, "current_balance"),
            parts=(
                *((label, amount(row, name)) for label, name in _SUMMARY_PARTS),
                ("Participants with a balance", cell(row["participant_count"])),
            ),
        )
        for row in rows
    )
    columns = [name for name in summary.table.column_names if name != "scale"]
    return PageSection(
        name="summary",
        title="Summary",
        note="Outstanding = issued − redeemed − expired − forfeited + other, to the last unit.",
        cards=cards,
        tables=(table_of(summary, rows, columns, caption="Ledger summary, all time"),) if rows else (),
    )


def periods_section(earn_burn: Report) -> PageSection:
    """Per asset and period: what came and what went, and what was outstanding at its end."""
    period = earn_burn.table.column_names[0]
    every = rows_of(earn_burn)
    groups = first_groups(every, asset_of)
    figures = []
    for number, (asset, rows) in enumerate(groups.items(), start=1):
        shown = rows[-PERIODS_MAX:]
        labels = tuple(str(row[period]) for row in shown)
        span = f"by {period} from {labels[0]} to {labels[-1]}"
        figures.append(
            PageFigure(
                name=f"periods-flow-{number}",
                title=f"{asset} issued and used by {period}",
                description=f"Columns {span}: {asset} issued upwards; redeemed, expired, forfeited and other lines "
                "that take value downwards.",
                chart=ColumnChart(labels=labels, series=_flows(shown)),
                table=table_of(
                    earn_burn, rows, (period, *_FLOW_COLUMNS), caption=f"{asset} by {period}", newest_last=True
                ),
            )
        )
        balances = tuple(decimal(row["closing_balance"]) for row in shown)
        figures.append(
            PageFigure(
                name=f"periods-balance-{number}",
                title=f"{asset} outstanding after each {period}",
                description=f"Columns {span}: {asset} that holders had, {amount(shown[-1], 'closing_balance')} in the "
                "end.",
                chart=ColumnChart(labels=labels, series=(Series(name="Outstanding", color=1, values=balances),)),
                table=table_of(
                    earn_burn,
                    rows,
                    (period, "closing_balance"),
                    caption=f"{asset} outstanding by {period}",
                    newest_last=True,
                ),
            )
        )
    return PageSection(
        name="periods",
        title="Issued and used",
        note=f"By {period} (UTC) of processing; the last one is as far as the book goes. Other is what debits, voided "
        "holds, settlements and receipts of redemptions make." + left_out(every, asset_of, "assets"),
        figures=tuple(figures),
    )


def liability_section(liability: Report, schedule: Report) -> PageSection:
    """Per asset: what holders have in each program, by bucket, and when it expires."""
    balances = rows_of(liability)
    held, expiring = first_groups(balances, asset_of), first_groups(rows_of(schedule), asset_of)
    figures = [
        *(_programs_figure(liability, asset, rows, n) for n, (asset, rows) in enumerate(held.items(), start=1)),
        *(_expiry_figure(schedule, asset, rows, n) for n, (asset, rows) in enumerate(expiring.items(), start=1)),
    ]
    return PageSection(
        name="liability",
        title="Liability",
        note="What holders have, by the program of the entries and by bucket, and what is left of lots by the month in "
        "which it expires. A lot without expiry, or one outside of the months shown, is in the table beside the chart."
        + left_out(balances, asset_of, "assets"),
        figures=tuple(figures),
    )


def _flows(rows: list[Row]) -> tuple[Series, ...]:
    """The lines that are not zero throughout, with the signs that they have in the balance."""
    flows = (
        Series(name=name, color=color, values=tuple(sign * decimal(row[column]) for row in rows))
        for name, column, color, sign in _FLOWS
    )
    return tuple(flow for flow in flows if flow.color == 1 or any(flow.values))


def _programs_figure(liability: Report, asset: str, rows: list[Row], number: int) -> PageFigure:
    by_program = first_groups(rows, lambda row: str(row["program"] or "no program"), at_most=_PROGRAMS_MAX)
    series = (
        Series(name=name, color=color, values=tuple(_in_bucket(found, bucket) for found in by_program.values()))
        for bucket, name, color in _BUCKETS
    )
    return PageFigure(
        name=f"liability-programs-{number}",
        title=f"{asset} by program",
        description=f"Bars of {asset} that holders have in each of {len(by_program)} programs, by bucket.",
        chart=BarChart(
            labels=tuple(by_program), series=tuple(one for one in series if one.color == 1 or any(one.values))
        ),
        table=table_of(liability, rows, ("program", "bucket", "balance"), caption=f"{asset} by program and bucket"),
    )


def _in_bucket(rows: list[Row], bucket: str) -> Decimal:
    return sum((decimal(row["balance"]) for row in rows if row["bucket"] == bucket), Decimal(0))


def _expiry_figure(schedule: Report, asset: str, rows: list[Row], number: int) -> PageFigure:
    months = [row for row in rows if row["from"] is not None and row["to"] is not None]
    return PageFigure(
        name=f"liability-expiry-{number}",
        title=f"{asset} by month of expiry",
        description=f"Columns of what is left of lots of {asset}, by the month in which they expire, "
        f"{months[0]['expires']} to {months[-1]['expires']}.",
        chart=ColumnChart(
            labels=tuple(str(row["expires"]) for row in months),
            series=(Series(name="Expires", color=3, values=tuple(decimal(row["amount"]) for row in months)),),
        ),
        table=table_of(schedule, rows, ("expires", "amount", "lot_count"), caption=f"{asset} by month of expiry"),
    )
