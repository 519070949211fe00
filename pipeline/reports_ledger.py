"""The ledger summary (§20.1) and the months of a book: what was earned, what was burned.

Both sum the lines of §20.4 into a few, and assert the same identity: closing = opening + issued − redeemed − expired −
forfeited + other. `other` is the sum of its lines, never a difference.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from earnbook.ledger.schema import EntityType
from earnbook.pipeline import reports_lines as lines
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import (
    LAST_SYSTEM_ACCOUNT,
    RATE,
    Asset,
    Report,
    ReportBook,
    ReportRequest,
    amount_columns,
    open_report,
    rate,
    report_table,
    untied,
)
from earnbook.pipeline.reports_bounds import book_intervals, last_batch, last_entry, last_entry_of
from earnbook.pipeline.reports_calendar import Every
from earnbook.pipeline.reports_lines import Sums, journal_sums, tie_to_balances, total

_OTHER = (lines.RETURNED, lines.DEBITED, lines.VOIDED, lines.RECEIVED, lines.CLAWED_BACK, lines.ADJUSTMENTS)


def ledger_summary(request: ReportRequest) -> Report:
    """The ledger summary per asset (§20.1), assets in number order.

    `from_us` and `to_us` go together and give the period form; `as_of_us` the all-time form as of that time; without
    any it is the present.

    Raises:
        EarnbookError: an unknown program or asset, or only one of the period's ends.
        UntiedReport: the classified lines do not add up to the balances.
    """
    if (request.from_us is None) != (request.to_us is None):
        raise EarnbookError("a period has two ends", "Give both --from and --to, or --as-of, or none of them.")
    with open_report(request) as book:
        until = request.to_us if request.to_us is not None else request.as_of_us
        last = None if until is None else last_entry(book.connection, until)
        if request.from_us is None:
            table = _all_time(book, last)
        else:
            table = _period(book, last_entry(book.connection, request.from_us - 1), last)
        provisional = book.is_provisional(until)
    return Report(title="Ledger summary", table=table, amounts=amount_columns(table), provisional=provisional)


def earn_burn(request: ReportRequest, *, every: Every = Every.MONTH) -> Report:
    """Per month of `created_at` and asset: opening, earned, redeemed, expired, forfeited, other, closing (§20.1).

    Redemptions are net of the reversals of the same month; `redemption_rate` is redeemed / earned, null where nothing
    was earned. The months are those from the first record to the book clock, within the bounds; the same goes for weeks
    and days, and their column has their name.
    """
    with open_report(request) as book:
        until = request.to_us if request.to_us is not None else request.as_of_us
        periods = book_intervals(book, every, request.from_us, until)
        before = 0 if request.from_us is None else last_entry(book.connection, request.from_us - 1)
        ends = [last_entry(book.connection, one.to_us) for one in periods[:-1] if one.to_us is not None]
        last = None if until is None else last_entry(book.connection, until)
        sums = journal_sums(book, [before, *ends, last])
        if until is None and book.program is None:
            everything = range(len(periods) + 1)
            tie_to_balances(book, [(asset, total(sums, asset.number, *everything).net) for asset in book.assets])
        rows = []
        for asset in book.assets:
            balance = total(sums, asset.number, 0).net
            for number, period in enumerate(periods, start=1):
                row = {every.value: period.name} | _period_row(asset, balance, total(sums, asset.number, number))
                balance = int(str(row["closing_balance"]))
                rows.append(row)
        provisional = book.is_provisional(until)
    table = report_table(sorted(rows, key=lambda row: str(row[every.value])), {every.value: pa.string()} | _EARN_BURN)
    return Report(title="Earned and burned", table=table, amounts=amount_columns(table), provisional=provisional)


_ALL_TIME: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "total_issued": None,
    "total_redeemed": None,
    "total_expired": None,
    "total_forfeited": None,
    "other_adjustments_net": None,
    "current_balance": None,
    "participant_count": pa.int64(),
}
_PERIOD: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "opening_balance": None,
    "period_issued": None,
    "period_redeemed": None,
    "period_expired": None,
    "period_forfeited": None,
    "other_adjustments_net": None,
    "closing_balance": None,
}
_EARN_BURN: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "opening_balance": None,
    "earned": None,
    "redeemed": None,
    "expired": None,
    "forfeited": None,
    "other_adjustments_net": None,
    "closing_balance": None,
    "redemption_rate": RATE,
}


def _all_time(book: ReportBook, last: int | None) -> pa.Table:
    sums = journal_sums(book, [last])
    counts = _participant_counts(book, last)
    rows = []
    for asset in book.assets:
        found = total(sums, asset.number, 0)
        row: dict[str, object] = {
            "asset": asset.symbol,
            "scale": asset.scale,
            "total_issued": found.of(lines.ISSUED),
            "total_redeemed": -found.of(lines.REDEEMED, lines.REVERSED),
            "total_expired": -found.of(lines.EXPIRED),
            "total_forfeited": -found.of(lines.FORFEITED),
            "other_adjustments_net": found.of(*_OTHER),
            "current_balance": found.net,
            "participant_count": counts.get(asset.number, 0),
        }
        _assert_closes(asset, 0, row, "total_issued", "total_", "current_balance")
        rows.append(row)
    if last is None and book.program is None:
        tie_to_balances(book, [(asset, total(sums, asset.number, 0).net) for asset in book.assets])
    return report_table(rows, _ALL_TIME)


def _period(book: ReportBook, first: int, last: int | None) -> pa.Table:
    sums = journal_sums(book, [first, last])
    rows = []
    for asset in book.assets:
        opening, found = total(sums, asset.number, 0).net, total(sums, asset.number, 1)
        row: dict[str, object] = {
            "asset": asset.symbol,
            "scale": asset.scale,
            "opening_balance": opening,
            "period_issued": found.of(lines.ISSUED),
            "period_redeemed": -found.of(lines.REDEEMED),
            "period_expired": -found.of(lines.EXPIRED),
            "period_forfeited": -found.of(lines.FORFEITED),
            "other_adjustments_net": found.of(*_OTHER, lines.REVERSED),
            "closing_balance": opening + found.net,
        }
        _assert_closes(asset, opening, row, "period_issued", "period_", "closing_balance")
        rows.append(row)
    return report_table(rows, _PERIOD)


def _period_row(asset: Asset, opening: int, found: Sums) -> dict[str, object]:
    earned, redeemed = found.of(lines.ISSUED), -found.of(lines.REDEEMED, lines.REVERSED)
    row: dict[str, object] = {
        "asset": asset.symbol,
        "scale": asset.scale,
        "opening_balance": opening,
        "earned": earned,
        "redeemed": redeemed,
        "expired": -found.of(lines.EXPIRED),
        "forfeited": -found.of(lines.FORFEITED),
        "other_adjustments_net": found.of(*_OTHER),
        "closing_balance": opening + found.net,
        "redemption_rate": rate(redeemed, earned),
    }
    _assert_closes(asset, opening, row, "earned", "", "closing_balance")
    return row


def _assert_closes(
    asset: Asset, opening: int, row: Mapping[str, object], issued: str, prefix: str, closing: str
) -> None:
    """closing = opening + issued − redeemed − expired − forfeited + other, to the last unit."""
    amounts = {name: value for name, value in row.items() if isinstance(value, int)}
    taken = sum(amounts[f"{prefix}{line}"] for line in ("redeemed", "expired", "forfeited"))
    expected = opening + amounts[issued] - taken + amounts["other_adjustments_net"]
    if expected != amounts[closing]:
        raise untied(
            f"the summary of {asset.symbol} does not close: {expected} expected, {amounts[closing]} found (minor units)"
        )


def _participant_counts(book: ReportBook, last: int | None) -> dict[int, int]:
    """By asset number: distinct participants with an account that is not zero."""
    holders = f"account > {LAST_SYSTEM_ACCOUNT}"
    if book.program is not None:
        balances = _folded(book, 0, last)
    elif last is None:
        balances = f"SELECT account, asset, amount FROM store.current_balances WHERE {holders}"
    else:
        # From the newest snapshots of the batches that lie before the bound whole, only the rest is folded.
        batch = last_batch(book.connection, last)
        balances = f"""
            SELECT account, asset, arg_max(amount, batch) AS amount FROM store.balance_snapshots
            WHERE batch <= {batch} AND {holders} GROUP BY account, asset
            UNION ALL {_folded(book, last_entry_of(book.connection, batch), last)}
        """
    query = f"""
        SELECT asset, count(DISTINCT account // 4)
        FROM (SELECT account, asset FROM ({balances}) GROUP BY account, asset HAVING sum(amount) <> 0)
        WHERE account // 4 IN (SELECT number FROM store.holders WHERE kind = {EntityType.PARTICIPANT})
        GROUP BY asset
    """
    return {int(asset): int(count) for asset, count in book.connection.execute(query).fetchall()}


def _folded(book: ReportBook, first: int, last: int | None) -> str:
    """The legs on holders' accounts of a range of entries."""
    condition = lines.entries_condition(book.program, first, last)
    return f"""
        SELECT m.credit AS account, m.asset, m.amount FROM store.movements AS m
        WHERE m.credit > {LAST_SYSTEM_ACCOUNT} AND {condition}
        UNION ALL
        SELECT m.debit, m.asset, -m.amount FROM store.movements AS m
        WHERE m.debit > {LAST_SYSTEM_ACCOUNT} AND {condition}
    """
