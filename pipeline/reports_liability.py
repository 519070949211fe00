"""What holders have, by asset and program: as of a time (§20.3), and rolled forward over a period (§20.4)."""

from __future__ import annotations

import pyarrow as pa

from earnbook.ledger.schema import Bucket
from earnbook.pipeline.reports import (
    Asset,
    Report,
    ReportBook,
    ReportRequest,
    amount_columns,
    open_report,
    report_table,
    untied,
)
from earnbook.pipeline.reports_bounds import last_entry
from earnbook.pipeline.reports_lines import BUCKETS, SIGNS, TRANSFERS, Place, Sums, journal_sums, tie_to_balances, total

_NAMES: dict[str, pa.DataType | None] = {"asset": pa.string(), "program": pa.string()}


def liability(request: ReportRequest, *, by_bucket: bool = False) -> Report:
    """Holder balances as of a time, by asset and program, and by bucket where asked (§20.3).

    A row stands for every asset and program with an entry of holders up to then, also where the balance is 0. What an
    entry moves counts to the program of the entry, so a program's balance is negative where its members spent in it
    what another one gave them.
    """
    with open_report(request) as book:
        last = None if request.as_of_us is None else last_entry(book.connection, request.as_of_us)
        sums = journal_sums(book, [last], by_program=True, by_bucket=by_bucket)
        if last is None:
            _tie(book, sums, 0)
        rows = [_named(book, place) | {"balance": found.net} for place, found in sorted(sums.items(), key=_order)]
        provisional = book.is_provisional(request.as_of_us)
    table = report_table(rows, _columns({"balance": None}, by_bucket=by_bucket))
    return Report(title="Liability", table=table, amounts=amount_columns(table), provisional=provisional)


def rollforward(request: ReportRequest, *, by_bucket: bool = False) -> Report:
    """Every line of §20.4 by asset and program, and by bucket where asked: opening, what happened, closing.

    Without `from_us` the opening is that of an empty book, without `to_us` the closing is the present. A row stands for
    every asset and program with an entry of holders up to the end.

    Raises:
        UntiedReport: a posting falls in no line, or the lines do not close.
    """
    until = request.to_us if request.to_us is not None else request.as_of_us
    with open_report(request) as book:
        first = 0 if request.from_us is None else last_entry(book.connection, request.from_us - 1)
        last = None if until is None else last_entry(book.connection, until)
        sums = journal_sums(book, [first, last], by_program=True, by_bucket=by_bucket)
        if last is None:
            _tie(book, sums, 0, 1)
        places = sorted({place._replace(period=0) for place in sums})
        rows = [_rolled(book, sums, place, by_bucket=by_bucket) for place in places]
        provisional = book.is_provisional(until)
    amounts = dict.fromkeys(("opening_balance", *SIGNS, "closing_balance"))
    table = report_table(rows, _columns(amounts, by_bucket=by_bucket))
    return Report(title="Liability roll-forward", table=table, amounts=amount_columns(table), provisional=provisional)


def _rolled(book: ReportBook, sums: dict[Place, Sums], place: Place, *, by_bucket: bool) -> dict[str, object]:
    opening = sums.get(place, Sums()).net
    found = sums.get(place._replace(period=1), Sums())
    row = _named(book, place)
    closing = opening + found.of(*SIGNS)
    if closing != opening + found.net or (not by_bucket and found.of(BUCKETS, TRANSFERS) != 0):
        raise untied(f"the roll-forward of {row['asset']} does not close")
    amounts = {name: found.lines.get(name, 0) for name in SIGNS}
    return row | {"opening_balance": opening} | amounts | {"closing_balance": closing}


def _tie(book: ReportBook, sums: dict[Place, Sums], *periods: int) -> None:
    if book.program is None:
        tie_to_balances(book, [(asset, total(sums, asset.number, *periods).net) for asset in book.assets])


def _order(found: tuple[Place, Sums]) -> Place:
    return found[0]


def _named(book: ReportBook, place: Place) -> dict[str, object]:
    asset: Asset = next(asset for asset in book.assets if asset.number == place.asset)
    bucket = Bucket(place.bucket).name if place.bucket else None
    return {
        "asset": asset.symbol,
        "program": book.program_key(place.program),
        "bucket": bucket,
        "scale": asset.scale,
    }


def _columns(amounts: dict[str, None], *, by_bucket: bool) -> dict[str, pa.DataType | None]:
    bucket: dict[str, pa.DataType | None] = {"bucket": pa.string()} if by_bucket else {}
    return {**_NAMES, **bucket, "scale": pa.int8(), **amounts}
