"""The listing of the journal with filters, newest first (§20.6).

The integer columns of the journal are filtered first; names, times and references are looked up for the rows shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pyarrow as pa

from earnbook.ledger.pool import hash_texts
from earnbook.ledger.schema import Bucket, EntityType, EntryType
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import (
    LAST_SYSTEM_ACCOUNT,
    Report,
    ReportBook,
    ReportRequest,
    open_report,
    report_table,
)
from earnbook.pipeline.reports_bounds import last_entry
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
from earnbook.pipeline.reports_lines import program_condition
from earnbook.pipeline.store_rows import one_row

JOURNAL_LIMIT_DEFAULT = 100
_WINDOW_GROWTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRequest:
    """Which entries to list. All conditions must hold; those on accounts and amounts of one posting of the entry.

    `event`, `rule` and `reference` are the event's idempotency key or id, the rule's key, the entry's reference id.
    `event_from_us` and `event_to_us` bound the `event_timestamp` of the event that caused it. Amounts are signed, in
    asset units. `limit` is of entries, None for all.
    """

    scope: ReportRequest
    owner: Owner | None = None
    bucket: Bucket | None = None
    event: str | None = None
    rule: str | None = None
    action_type: EntryType | None = None
    reference: str | None = None
    event_from_us: int | None = None
    event_to_us: int | None = None
    amount_min: Decimal | None = None
    amount_max: Decimal | None = None
    limit: int | None = JOURNAL_LIMIT_DEFAULT


def journal(request: JournalRequest) -> Report:
    """Postings of the entries that meet all conditions, newest entry first, postings in their order (§20.6).

    Conditions on accounts and amounts choose postings, all others entries; `limit` is of entries. `from_us` and `to_us`
    bound `created_at`.

    Raises:
        EarnbookError: a program, asset, owner, event or rule that the book has not.
    """
    until = request.scope.to_us if request.scope.to_us is not None else request.scope.as_of_us
    with open_report(request.scope) as book:
        first = 0 if request.scope.from_us is None else last_entry(book.connection, request.scope.from_us - 1)
        last = _last(book) if until is None else last_entry(book.connection, until)
        legs = _newest(book, request, first, last)
        details = entry_details(book, legs)
        names = _entities(book, legs)
        scales = {asset.number: asset for asset in book.assets}
        rows = [
            {"asset": scales[leg.asset].symbol, "scale": scales[leg.asset].scale, "bucket": leg.bucket}
            | {"amount": leg.amount}
            | names[leg.account]
            | details[leg.entry_seq]
            for leg in legs
        ]
        provisional = book.is_provisional(until)
    return Report(title="Journal", table=report_table(rows, _JOURNAL), amounts=("amount",), provisional=provisional)


_JOURNAL: dict[str, pa.DataType | None] = {
    **ENTRY_COLUMNS,
    "entity_type": pa.string(),
    "entity": pa.string(),
    "asset": pa.string(),
    "scale": pa.int8(),
    "bucket": pa.string(),
    "amount": None,
    **CAUSE_COLUMNS,
}


def _newest(book: ReportBook, request: JournalRequest, first: int, last: int) -> list[Leg]:
    """The legs of the newest entries that meet the request, found in windows that grow from the end of the journal.

    Entry numbers are dense, so a window is a range of them, and what lies outside is not read.
    """
    conditions, accepts = _entry_conditions(book, request), _leg_condition(book, request)
    found: list[Leg] = []
    entries = 0
    size = max(1_000, 4 * (request.limit or 1_000_000))
    while last > first and (request.limit is None or entries < request.limit):
        begin = max(first, last - size)
        window = f"m.entry_seq > {begin} AND m.entry_seq <= {last}"
        movements = f"""SELECT m.*, m.rowid AS place FROM store.movements AS m
            WHERE {window} AND {conditions} AND {accepts.movement(window)}"""
        for legs in _by_entry(legs_of(book, movements)):
            chosen = [leg for leg in legs if accepts.meets(leg)]
            if chosen and (request.limit is None or entries < request.limit):
                entries += 1
                found += chosen
        last, size = begin, size * _WINDOW_GROWTH
    return found


def _by_entry(legs: Sequence[Leg]) -> list[list[Leg]]:
    """Legs by entry, the newest first, each entry's in its own order."""
    entries: dict[int, list[Leg]] = {}
    for leg in sorted(legs, key=lambda leg: leg.order):
        entries.setdefault(leg.entry_seq, []).append(leg)
    return [entries[seq] for seq in sorted(entries, reverse=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LegCondition:
    """Which postings count."""

    accounts: frozenset[int] | None
    bucket: Bucket | None
    least: Mapping[int, int]
    most: Mapping[int, int]

    def movement(self, window: str) -> str:
        """What a movement `m` within a window must be: of an entry that touches the accounts.

        All movements of such an entry, not only those that touch them, for its legs are sums over them.
        """
        if self.accounts is None:
            return "true"
        listed = listed_numbers(sorted(self.accounts))
        return f"""m.entry_seq IN (SELECT entry_seq FROM store.movements AS m
            WHERE {window} AND (debit IN ({listed}) OR credit IN ({listed})))"""

    def meets(self, leg: Leg) -> bool:
        """Whether a posting is asked for."""
        return (
            (self.accounts is None or leg.account in self.accounts)
            and (self.bucket is None or leg.bucket == self.bucket.name)
            and leg.amount >= self.least.get(leg.asset, leg.amount)
            and leg.amount <= self.most.get(leg.asset, leg.amount)
        )


def _leg_condition(book: ReportBook, request: JournalRequest) -> _LegCondition:
    accounts = None if request.owner is None else frozenset(accounts_of(book, request.owner, None))
    least, most = request.amount_min, request.amount_max
    scaled = {asset.number: asset.scale for asset in book.assets}
    return _LegCondition(
        accounts=accounts,
        bucket=request.bucket,
        least={} if least is None else {n: _minor(least, scale, ROUND_CEILING) for n, scale in scaled.items()},
        most={} if most is None else {n: _minor(most, scale, ROUND_FLOOR) for n, scale in scaled.items()},
    )


def _minor(amount: Decimal, scale: int, rounding: str) -> int:
    """A bound in minor units: the nearest one inside it."""
    return int(amount.scaleb(scale).to_integral_value(rounding=rounding))


def _entry_conditions(book: ReportBook, request: JournalRequest) -> str:
    """What the entry of movement `m` must be."""
    assets = ", ".join(str(asset.number) for asset in book.assets)
    conditions = [f"m.asset IN ({assets or 0})", program_condition(book.program)]
    if request.action_type is not None:
        conditions.append(f"m.entry_type = {int(request.action_type)}")
    if request.rule is not None:
        conditions.append(f"m.action IN ({listed_numbers(_rule_actions(book, request.rule))})")
    if request.event is not None:
        conditions.append(f"m.log_seq IN ({listed_numbers(_event_numbers(book, request.event))})")
    if request.event_from_us is not None or request.event_to_us is not None:
        since = "true" if request.event_from_us is None else f"event_timestamp >= {request.event_from_us}"
        until = "true" if request.event_to_us is None else f"event_timestamp <= {request.event_to_us}"
        conditions.append(f"m.log_seq IN (SELECT log_seq FROM store.events WHERE {since} AND {until})")
    if request.reference is not None:
        conditions.append(f"m.entry_seq IN ({listed_numbers(_referred(book, request.reference))})")
    return " AND ".join(conditions)


def _rule_actions(book: ReportBook, key: str) -> list[int]:
    query = "SELECT a.number FROM store.actions AS a JOIN store.rule_list AS r ON r.number = a.rule WHERE r.key = $key"
    if one_row(book.connection, "SELECT 1 FROM store.rule_list WHERE key = ?", [key]) is None:
        raise EarnbookError(f"there is no rule {key!r}", "Those of the book: earnbook sql 'FROM rules'.")
    return [int(n) for (n,) in book.connection.execute(query, {"key": key}).fetchall()]


def _event_numbers(book: ReportBook, key: str) -> list[int]:
    """The events of an idempotency key, of all programs, or the one of an id."""
    hashed = int(hash_texts(pa.array([key]))[0])
    query = "SELECT log_seq FROM store.events WHERE key_hash = ? AND idempotency_key = ?"
    found = book.connection.execute(query, [hashed, key]).fetchall()
    if not found:
        query = "SELECT log_seq FROM event_status WHERE CAST(id AS VARCHAR) = ?"
        found = book.connection.execute(query, [key.lower()]).fetchall()
    if not found:
        raise EarnbookError(f"there is no event {key!r}", "Give its idempotency key or its id.")
    return [int(n) for (n,) in found]


def _referred(book: ReportBook, reference: str) -> list[int]:
    """The entries of a reference id (§18.1)."""
    query = """
        SELECT l.entry_seq FROM store.lot_details AS d JOIN store.lots AS l USING (lot_seq)
        WHERE d.reference = $reference AND d.root = d.lot_seq
        UNION SELECT entry_seq FROM store.entry_references WHERE reference = $reference
    """
    return [int(n) for (n,) in book.connection.execute(query, {"reference": reference}).fetchall()]


def _entities(book: ReportBook, legs: Sequence[Leg]) -> dict[int, dict[str, object]]:
    """Who the accounts of legs belong to."""
    accounts = {leg.account for leg in legs}
    numbers = sorted({account // 4 for account in accounts if account > LAST_SYSTEM_ACCOUNT})
    query = f"SELECT number, kind, external_id FROM store.holders WHERE number IN ({listed_numbers(numbers)})"
    holders = {int(n): (EntityType(kind).name, key) for n, kind, key in book.connection.execute(query).fetchall()}
    return {account: _entity(book, account, holders) for account in accounts}


def _entity(book: ReportBook, account: int, holders: Mapping[int, tuple[str, str]]) -> dict[str, object]:
    kind, key = (
        holders[account // 4]
        if account > LAST_SYSTEM_ACCOUNT
        else ("PROGRAM", book.program_key(-account))
        if account < 0
        else (EntityType(int(EntityType.PROGRAM) + account).name, None)
    )
    return {"entity_type": kind, "entity": key}


def _last(book: ReportBook) -> int:
    row = one_row(book.connection, "SELECT coalesce(max(last_entry_seq), 0) FROM store.batches")
    assert row is not None, "an aggregate has one row"
    return int(row[0])
