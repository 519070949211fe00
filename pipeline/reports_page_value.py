"""The sections of a page about value: what was issued and used, and what is outstanding."""

from __future__ import annotations

from earnbook.pipeline.reports import Report
from earnbook.pipeline.reports_page_model import PageCard, PageSection, amount, cell, rows_of, table_of

_SUMMARY_PARTS = (
    ("Issued", "total_issued"),
    ("Redeemed", "total_redeemed"),
    ("Expired", "total_expired"),
    ("Forfeited", "total_forfeited"),
    ("Other", "other_adjustments_net"),
)


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
