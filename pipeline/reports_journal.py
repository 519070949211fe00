"""The journal, entry by entry: the statement of one holder or wallet, and the listing with filters (§20.6).

A statement opens and closes on the balance snapshots of the batches around it, and only what lies between is read: the
postings must lead from the one to the other. Both filter the journal's integer columns first and look up names, times
and ids for the rows that they show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pyarrow as pa

from earnbook.ledger.pool import hash_texts
from earnbook.ledger.schema import Bucket, EntityType, EntryType
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import (
    INSTANT,
    LAST_SYSTEM_ACCOUNT,
    Report,
    ReportBook,
    ReportRequest,
    holder_number,
    open_report,
    report_table,
    untied,
)
from earnbook.pipeline.reports_bounds import last_batch, last_entry, last_entry_of
from earnbook.pipeline.reports_entries import Leg, entry_details, legs_of
from earnbook.pipeline.reports_lines import program_condition
from earnbook.pipeline.store_rows import one_row

JOURNAL_LIMIT_DEFAULT = 100
_WINDOW_GROWTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose accounts: a participant or group by external id, or a program's wallet by its key."""

    kind: EntityType
    key: str


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


# --- statement ------------------------------------------------------------------------------------------------------


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
        accounts = _accounts(book, owner, bucket)
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


_DETAILS: dict[str, pa.DataType | None] = {
    "seq": pa.int64(),
    "created_at": INSTANT,
    "action_type": pa.string(),
    "program": pa.string(),
}
_CAUSES: dict[str, pa.DataType | None] = {
    "event": pa.string(),
    "operation": pa.string(),
    "event_timestamp": INSTANT,
    "rule": pa.string(),
    "reference_id": pa.string(),
    "description": pa.string(),
}
_STATEMENT: dict[str, pa.DataType | None] = {
    "asset": pa.string(),
    "scale": pa.int8(),
    "line": pa.string(),
    **_DETAILS,
    "bucket": pa.string(),
    "amount": None,
    "balance": None,
    **_CAUSES,
}
_NOTHING: dict[str, object] = dict.fromkeys((*_DETAILS, *_CAUSES, "bucket", "amount"))


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
    listed = _listed(accounts)
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
            AND b.batch IN (SELECT batch FROM store.balance_snapshots WHERE account IN ({_listed(accounts)}))
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
    listed = ", ".join(map(str, accounts))
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


def _accounts(book: ReportBook, owner: Owner, bucket: Bucket | None) -> list[int]:
    """The account numbers of an owner."""
    if owner.kind is EntityType.PROGRAM:
        for number, key in book.programs.items():
            if key == owner.key:
                return [-number]
        raise EarnbookError(f"there is no program {owner.key!r}", f"The book has {', '.join(book.programs.values())}.")
    number = holder_number(book.connection, owner.kind, owner.key)
    return [number * 4 + int(one) for one in Bucket if bucket in (None, one)]


# --- listing --------------------------------------------------------------------------------------------------------


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
    **_DETAILS,
    "entity_type": pa.string(),
    "entity": pa.string(),
    "asset": pa.string(),
    "scale": pa.int8(),
    "bucket": pa.string(),
    "amount": None,
    **_CAUSES,
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
        listed = _listed(sorted(self.accounts))
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
    accounts = None if request.owner is None else frozenset(_accounts(book, request.owner, None))
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
        conditions.append(f"m.action IN ({_listed(_rule_actions(book, request.rule))})")
    if request.event is not None:
        conditions.append(f"m.log_seq IN ({_listed(_event_numbers(book, request.event))})")
    if request.event_from_us is not None or request.event_to_us is not None:
        since = "true" if request.event_from_us is None else f"event_timestamp >= {request.event_from_us}"
        until = "true" if request.event_to_us is None else f"event_timestamp <= {request.event_to_us}"
        conditions.append(f"m.log_seq IN (SELECT log_seq FROM store.events WHERE {since} AND {until})")
    if request.reference is not None:
        conditions.append(f"m.entry_seq IN ({_listed(_referred(book, request.reference))})")
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
    query = f"SELECT number, kind, external_id FROM store.holders WHERE number IN ({_listed(numbers)})"
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


def _listed(numbers: Sequence[int]) -> str:
    """Numbers for an IN; 0, which nothing has, where there are none."""
    return ", ".join(map(str, numbers)) or "0"
