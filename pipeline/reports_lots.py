"""What becomes of lots: when they expire (§20.5), and how much of each month's value broke (§20.7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from earnbook.ledger.schema import EntryType, LotMoveKind
from earnbook.pipeline import reports_lines as lines
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import (
    INSTANT,
    LAST_SYSTEM_ACCOUNT,
    RATE,
    Asset,
    Report,
    ReportBook,
    ReportRequest,
    amount_columns,
    instant,
    month_of,
    month_start_us,
    next_month,
    open_report,
    rate,
    report_table,
    untied,
)
from earnbook.pipeline.reports_bounds import book_months, last_entry
from earnbook.pipeline.reports_calendar import Every, Interval, intervals
from earnbook.pipeline.reports_lines import journal_sums, total
from earnbook.pipeline.store_rows import one_row

WINDOW_MONTHS_DEFAULT = 12

# --- expiration -----------------------------------------------------------------------------------------------------


def expiration_schedule(request: ReportRequest, *, every: Every = Every.MONTH) -> Report:
    """What is left of lots by when it expires, per LOT asset (§20.5): before, in and after a window, never, in total.

    `from_us` and `to_us` are the window of expiries: without them from the report's time to the end of the twelfth
    month, its own being the first. `as_of_us` is the time of the report, by default the present.

    Raises:
        EarnbookError: a window of more intervals than anybody reads.
        UntiedReport: what is left of lots is not what holders have.
    """
    scope = ReportRequest(book=request.book, as_of_us=request.as_of_us, program=request.program, asset=request.asset)
    with open_report(scope) as book:
        now = book.clock_us if request.as_of_us is None else request.as_of_us
        from_us = now if request.from_us is None else request.from_us
        to_us = _default_end(from_us) if request.to_us is None else request.to_us
        if from_us > to_us:
            raise EarnbookError("--from is after --to", "Exchange the two times.")
        cuts = intervals(from_us, to_us, every)
        rows: list[dict[str, object]] = []
        for asset in (asset for asset in book.assets if asset.has_lots):
            lots = _remaining(book, asset, request.as_of_us)
            rows.extend(_schedule(asset, cuts, from_us, to_us, lots))
        provisional = book.is_provisional(request.as_of_us)
    table = report_table(rows, _SCHEDULE)
    return Report(title="Expiration schedule", table=table, amounts=("amount",), provisional=provisional)


_SCHEDULE: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "expires": pa.string(),
    "from": INSTANT,
    "to": INSTANT,
    "amount": None,
    "lot_count": pa.int64(),
}


def _schedule(
    asset: Asset, cuts: list[Interval], from_us: int, to_us: int, lots: list[tuple[int | None, int, int]]
) -> Iterator[dict[str, object]]:
    """The rows of one asset; `lots` are expiry, what is left and how many, per expiry."""
    whole = (0, 0)
    for cut in (Interval("before_window", None, from_us - 1), *cuts, Interval("after_window", to_us + 1, None)):
        amount = count = 0
        for expires_at, remaining, number in lots:
            if expires_at is not None and _lies_in(expires_at, cut):
                amount, count = amount + remaining, count + number
        whole = (whole[0] + amount, whole[1] + count)
        yield _schedule_row(asset, cut, amount, count)
    never = [(remaining, number) for expires_at, remaining, number in lots if expires_at is None]
    amount, count = sum(remaining for remaining, _ in never), sum(number for _, number in never)
    yield _schedule_row(asset, Interval("never", None, None), amount, count)
    whole = (whole[0] + amount, whole[1] + count)
    if whole != (sum(remaining for _, remaining, _ in lots), sum(number for *_, number in lots)):
        raise untied(f"the expiration schedule of {asset.symbol} does not add up to its lots")
    yield _schedule_row(asset, Interval("total", None, None), *whole)


def _lies_in(time_us: int, cut: Interval) -> bool:
    return (cut.from_us is None or time_us >= cut.from_us) and (cut.to_us is None or time_us <= cut.to_us)


def _schedule_row(asset: Asset, cut: Interval, amount: int, count: int) -> dict[str, object]:
    names = {"asset": asset.symbol, "scale": asset.scale, "expires": cut.name}
    bounds = {"from": instant(cut.from_us), "to": instant(cut.to_us)}
    return {**names, **bounds, "amount": amount, "lot_count": count}


def _default_end(from_us: int) -> int:
    month = month_of(from_us)
    for _ in range(WINDOW_MONTHS_DEFAULT):
        month = next_month(month)
    return month_start_us(month) - 1


def _remaining(book: ReportBook, asset: Asset, as_of_us: int | None) -> list[tuple[int | None, int, int]]:
    """Expiry, what is left and the number of lots, per expiry."""
    if as_of_us is None:
        _tie_lots(book, asset)
    lots = (
        f"SELECT lot_seq, remaining FROM store.current_open_lots WHERE asset = {asset.number}"
        if as_of_us is None
        else f"""
        SELECT c.lot_seq, sum(c.change) AS remaining FROM store.lot_changes AS c
        JOIN store.lots AS l ON l.lot_seq = c.lot_seq AND l.asset = {asset.number}
        WHERE c.entry_seq <= {last_entry(book.connection, as_of_us)} GROUP BY c.lot_seq HAVING sum(c.change) <> 0"""
    )
    program = "" if book.program is None else f"WHERE l.program = {book.program}"
    query = f"""
        SELECT l.expires_at, sum(r.remaining), count(*)
        FROM ({lots}) AS r JOIN store.lots AS l USING (lot_seq) {program} GROUP BY l.expires_at
    """
    found = book.connection.execute(query).fetchall()
    return [(None if at is None else int(at), int(remaining), int(count)) for at, remaining, count in found]


def _tie_lots(book: ReportBook, asset: Asset) -> None:
    """Σ remaining − overdrafts = what holders have (I4)."""
    row = one_row(
        book.connection,
        f"""SELECT (SELECT coalesce(sum(remaining), 0) FROM store.current_open_lots WHERE asset = {asset.number})
            - (SELECT coalesce(sum(amount), 0) FROM store.current_overdrafts WHERE asset = {asset.number}),
            (SELECT coalesce(sum(amount), 0) FROM store.current_balances
                WHERE asset = {asset.number} AND account > {LAST_SYSTEM_ACCOUNT})""",
    )
    assert row is not None, "an aggregate has one row"
    if row[0] != row[1]:
        raise untied(
            f"the lots of {asset.symbol} less overdrafts are {row[0]}, its holders have {row[1]} (minor units)"
        )


# --- breakage -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cohort:
    """What became of the value of one month; `outstanding` is None where nothing tells it (SIMPLE)."""

    issued: int = 0
    received: int = 0
    expired: int = 0
    forfeited: int = 0
    outstanding: int | None = None


def breakage(request: ReportRequest) -> Report:
    """Per asset and cohort: issued, received, expired, forfeited, outstanding, and the rate of what broke (§20.7).

    A LOT asset's cohort is the month in which the root of a lot was created; a SIMPLE asset's is the month of the
    posting (`basis`). `from_us` and `to_us` choose cohorts by their first and last instant's month; what became of them
    is as of `as_of_us`, by default the present. A program's are its lots, of SIMPLE assets its entries.

    Raises:
        UntiedReport: the cohorts do not add up to the lines of the journal.
    """
    scope = ReportRequest(book=request.book, as_of_us=request.as_of_us, program=request.program, asset=request.asset)
    with open_report(scope) as book:
        last = None if request.as_of_us is None else last_entry(book.connection, request.as_of_us)
        rows: list[dict[str, object]] = []
        for asset in book.assets:
            cohorts = _lot_cohorts(book, asset, last) if asset.has_lots else _posting_cohorts(book, asset, last)
            if asset.has_lots and book.program is None:
                _tie_cohorts(book, asset, cohorts, last)
            rows.extend(_cohort_row(asset, month, cohort) for month, cohort in sorted(cohorts.items()))
        provisional = book.is_provisional(request.as_of_us)
    first = "" if request.from_us is None else month_of(request.from_us)
    end = "9999-99" if request.to_us is None else month_of(request.to_us)
    table = report_table([row for row in rows if first <= str(row["cohort"]) <= end], _BREAKAGE)
    return Report(title="Breakage", table=table, amounts=amount_columns(table), provisional=provisional)


_BREAKAGE: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "basis": pa.string(),
    "cohort": pa.string(),
    "issued": None,
    "received": None,
    "expired": None,
    "forfeited": None,
    "outstanding": None,
    "rate": RATE,
}


def _cohort_row(asset: Asset, month: str, cohort: _Cohort) -> dict[str, object]:
    return {
        "asset": asset.symbol,
        "scale": asset.scale,
        "basis": "lot" if asset.has_lots else "posting",
        "cohort": month,
        "issued": cohort.issued,
        "received": cohort.received,
        "expired": cohort.expired,
        "forfeited": cohort.forfeited,
        "outstanding": cohort.outstanding,
        "rate": rate(cohort.expired + cohort.forfeited, cohort.issued + cohort.received),
    }


def _lot_cohorts(book: ReportBook, asset: Asset, last: int | None) -> dict[str, _Cohort]:
    """By month of the root lot. Only lots that are roots themselves are issued or received, not what was split off."""
    until = "true" if last is None else f"entry_seq <= {last}"
    program = "true" if book.program is None else f"l.program = {book.program}"
    took = f"kind = {LotMoveKind.CONSUME} AND entry_type IN ({EntryType.SETTLE}, {EntryType.VOID_HOLD}) AND change < 0"
    query = f"""
        WITH kinds AS (SELECT entry_seq, any_value(entry_type) AS entry_type FROM store.movements
            WHERE asset = {asset.number} AND {until} GROUP BY entry_seq),
        roots AS (SELECT l.lot_seq, l.root, l.entry_seq, l.amount, r.created_at
            FROM store.full_lots AS l JOIN store.lots AS r ON r.lot_seq = l.root
            WHERE l.asset = {asset.number} AND {until.replace("entry_seq", "l.entry_seq")} AND {program}),
        steps AS (SELECT r.created_at, k.entry_type, c.kind, c.change
            FROM store.lot_changes AS c JOIN roots AS r USING (lot_seq) JOIN kinds AS k ON k.entry_seq = c.entry_seq)
        SELECT strftime(make_timestamp(created_at), '%Y-%m') AS month, sum(issued), sum(received), sum(expired),
            sum(forfeited), sum(outstanding)
        FROM (
            SELECT r.created_at,
                CASE WHEN k.entry_type IN ({EntryType.CREDIT}, {EntryType.SETTLE}) THEN r.amount ELSE 0 END AS issued,
                CASE WHEN k.entry_type IN ({EntryType.TRANSFER}, {EntryType.REDEMPTION}) THEN r.amount ELSE 0 END
                    AS received,
                0 AS expired, 0 AS forfeited, 0 AS outstanding
            FROM roots AS r JOIN kinds AS k USING (entry_seq) WHERE r.root = r.lot_seq
            UNION ALL
            SELECT created_at, CASE WHEN {took} THEN change ELSE 0 END, 0,
                CASE WHEN entry_type = {EntryType.EXPIRATION} THEN -change ELSE 0 END,
                CASE WHEN entry_type = {EntryType.FORFEIT} THEN -change ELSE 0 END, change
            FROM steps
        ) GROUP BY month
    """
    return {
        str(month): _Cohort(
            issued=int(issued),
            received=int(received),
            expired=int(expired),
            forfeited=int(forfeited),
            outstanding=int(outstanding),
        )
        for month, issued, received, expired, forfeited, outstanding in book.connection.execute(query).fetchall()
    }


def _posting_cohorts(book: ReportBook, asset: Asset, last: int | None) -> dict[str, _Cohort]:
    """By month of posting, what the lines of the journal say; transfers count where they arrive."""
    months = book_months(book)
    ends = [last_entry(book.connection, month_start_us(next_month(month)) - 1) for month in months]
    bounds = [end if last is None else min(end, last) for end in ends]
    if not months:
        return {}
    sums = journal_sums(book, bounds)
    received = _transfers_received(book, asset, bounds)
    cohorts = {}
    for period, month in enumerate(months):
        found = total(sums, asset.number, period)
        if found.lines:
            cohorts[month] = _Cohort(
                issued=found.of(lines.ISSUED, lines.RETURNED, lines.VOIDED),
                received=found.of(lines.RECEIVED) + received.get(period, 0),
                expired=-found.of(lines.EXPIRED),
                forfeited=-found.of(lines.FORFEITED),
            )
    return cohorts


def _transfers_received(book: ReportBook, asset: Asset, bounds: list[int]) -> Mapping[int, int]:
    cases = " ".join(f"WHEN m.entry_seq <= {bound} THEN {period}" for period, bound in enumerate(bounds))
    query = f"""
        SELECT CASE {cases} END AS period, sum(m.amount) FROM store.movements AS m
        WHERE m.entry_type = {EntryType.TRANSFER} AND m.asset = {asset.number} AND m.entry_seq <= {bounds[-1]}
            AND {lines.program_condition(book.program)} GROUP BY period
    """
    return {int(period): int(amount) for period, amount in book.connection.execute(query).fetchall()}


def _tie_cohorts(book: ReportBook, asset: Asset, cohorts: Mapping[str, _Cohort], last: int | None) -> None:
    """All cohorts together are the journal's lines, and what is outstanding is what its lots have left."""
    found = total(journal_sums(book, [last]), asset.number, 0)
    said = {
        "issued": sum(cohort.issued for cohort in cohorts.values()),
        "expired": sum(cohort.expired for cohort in cohorts.values()),
        "forfeited": sum(cohort.forfeited for cohort in cohorts.values()),
    }
    booked = {
        "issued": found.of(lines.ISSUED, lines.RETURNED, lines.VOIDED),
        "expired": -found.of(lines.EXPIRED),
        "forfeited": -found.of(lines.FORFEITED),
    }
    for name, amount in said.items():
        if amount != booked[name]:
            raise untied(f"{asset.symbol} has {name} {amount} by its lots, {booked[name]} by its journal (minor units)")
    if last is None:
        row = one_row(
            book.connection,
            f"SELECT coalesce(sum(remaining), 0) FROM store.current_open_lots WHERE asset = {asset.number}",
        )
        left = sum(cohort.outstanding or 0 for cohort in cohorts.values())
        if row is None or row[0] != left:
            raise untied(f"the lots of {asset.symbol} have {row and row[0]} left, their moves {left} (minor units)")
