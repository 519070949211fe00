"""The statement of one holder or wallet (§20.6).

It opens and closes on the balance snapshots of the batches around it, and only the batches that touched the accounts
are read between: the postings must lead from the one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from earnbook.ledger.schema import Bucket
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import Report, ReportBook, ReportRequest, open_report, report_table, untied
from earnbook.pipeline.reports_bounds import last_batch, last_entry, last_entry_of
from earnbook.pipeline.reports_entries import (
    CAUSE_COLUMNS,
    ENTRY_COLUMNS,
    Leg,
    Owner,
    accounts_of,
    entry_details,
    legs_of,
    listed_numbers,
)


def statement(request: ReportRequest, *, owner: Owner, bucket: Bucket | None = None) -> Report:
    """Postings of a holder or wallet, oldest first, with the running balance; per asset (§20.6).

    The rows of each asset begin with its opening balance, just before `from_us`, and end with its closing balance, as
    of `to_us` (`line` is opening, posting or closing). An asset that the owner never had is left out, unless asked for.

    Raises:
        EarnbookError: there is no such owner.
        UntiedReport: the postings do not lead from the opening to the closing balance.
    """
    if request.program is not None:
        raise EarnbookError("a statement is of all programs", "Leave out the program, or list the journal with it.")
    until = request.to_us if request.to_us is not None else request.as_of_us
    with open_report(request) as book:
        accounts = accounts_of(book, owner, bucket)
        first = 0 if request.from_us is None else last_entry(book.connection, request.from_us - 1)
        last = None if until is None else last_entry(book.connection, until)
        opening, closing = _balances(book, accounts, first), _balances(book, accounts, last)
        legs = _statement_legs(book, accounts, first, last)
        details = entry_details(book, legs)
        rows: list[dict[str, object]] = []
        for asset in book.assets:
            own = [leg for leg in legs if leg.asset == asset.number]
            if own or asset.number in opening or request.asset is not None:
                opened = _Line(asset.symbol, asset.scale, opening.get(asset.number, 0))
                rows.extend(_statement_rows(opened, own, details, closing.get(asset.number, 0)))
        provisional = book.is_provisional(until)
    title = f"Statement of {owner.kind.name.lower()} {owner.key}"
    return Report(
        title=title, table=report_table(rows, _STATEMENT), amounts=("amount", "balance"), provisional=provisional
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """An asset and its balance somewhere in a statement, in minor units."""

    asset: str
    scale: int
    balance: int


_STATEMENT: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "line": pa.string(),
    **ENTRY_COLUMNS,
    "bucket": pa.string(),
    "amount": None,
    "balance": None,
    **CAUSE_COLUMNS,
}
_NOTHING: dict[str, object] = dict.fromkeys((*ENTRY_COLUMNS, *CAUSE_COLUMNS, "bucket", "amount"))


def _statement_rows(
    opening: _Line, legs: Sequence[Leg], details: Mapping[int, dict[str, object]], closing: int
) -> Iterator[dict[str, object]]:
    asset: dict[str, object] = {"asset": opening.asset, "scale": opening.scale}
    balance = opening.balance
    yield _NOTHING | asset | {"line": "opening", "balance": balance}
    for leg in legs:
        balance += leg.amount
        shown = {"line": "posting", "bucket": leg.bucket, "amount": leg.amount, "balance": balance}
        yield asset | details[leg.entry_seq] | shown
    if balance != closing:
        raise untied(f"the postings in {opening.asset} lead to {balance}, the balance is {closing} (minor units)")
    yield _NOTHING | asset | {"line": "closing", "balance": closing}


def _statement_legs(book: ReportBook, accounts: Sequence[int], first: int, last: int | None) -> list[Leg]:
    """The legs on some accounts, oldest first, read from the batches whose snapshots say that they touched one."""
    listed = listed_numbers(accounts)
    parts = [
        f"SELECT *, rowid AS place FROM store.movements WHERE {side} IN ({listed}) AND {entries}{more}"
        for entries in _touching(book, accounts, first, last)
        for side, more in (("debit", ""), ("credit", f" AND debit NOT IN ({listed})"))
    ]
    legs = legs_of(book, " UNION ALL ".join(parts)) if parts else []
    return sorted((leg for leg in legs if leg.account in accounts), key=lambda leg: leg.order)


def _touching(book: ReportBook, accounts: Sequence[int], first: int, last: int | None) -> list[str]:
    """Conditions on ranges of entries: the batches that touched some accounts (I21), within the bounds."""
    query = f"""
        SELECT b.first_entry_seq, b.last_entry_seq FROM store.entry_batches AS b
        WHERE b.last_entry_seq > {first} AND {"true" if last is None else f"b.first_entry_seq <= {last}"}
            AND b.batch IN (SELECT batch FROM store.balance_snapshots WHERE account IN ({listed_numbers(accounts)}))
        ORDER BY b.batch
    """
    ranges: list[tuple[int, int]] = []
    for begin, end in book.connection.execute(query).fetchall():
        begin, end = max(int(begin), first + 1), int(end) if last is None else min(int(end), last)
        if ranges and ranges[-1][1] == begin - 1:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((begin, end))
    return [f"entry_seq BETWEEN {begin} AND {end}" for begin, end in ranges]


def _balances(book: ReportBook, accounts: Sequence[int], entry: int | None) -> dict[int, int]:
    """By asset number what some accounts had after an entry: the newest snapshots before it, and what came after.

    At the present it is the balance that the book keeps.
    """
    listed = listed_numbers(accounts)
    if entry is None:
        query = f"SELECT asset, sum(amount) FROM store.current_balances WHERE account IN ({listed}) GROUP BY asset"
    else:
        batch = last_batch(book.connection, entry)
        entries = f"entry_seq > {last_entry_of(book.connection, batch)} AND entry_seq <= {entry}"
        query = f"""
            SELECT asset, sum(amount) FROM (
                SELECT asset, arg_max(amount, batch) AS amount FROM store.balance_snapshots
                WHERE account IN ({listed}) AND batch <= {batch} GROUP BY account, asset
                UNION ALL SELECT asset, -amount FROM store.movements WHERE debit IN ({listed}) AND {entries}
                UNION ALL SELECT asset, amount FROM store.movements WHERE credit IN ({listed}) AND {entries}
            ) GROUP BY asset
        """
    return {int(asset): int(amount) for asset, amount in book.connection.execute(query).fetchall()}
