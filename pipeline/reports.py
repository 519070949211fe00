"""Reports over a committed book: the ledger summary (§20.1).

In: a book and a frozen request. Out: a `Report`, one Arrow table whose amounts are exact decimals. Reports read the
journal and classify every movement by its action type and its two accounts; balances are computed from the legs alone,
without that classification, and the identity of the report compares the two. A report that does not close is refused.

Times: an entry's `created_at` never decreases with its number (§9.2), so a bound in time is a bound in entry numbers.
It is found once through the log, and the journal is then scanned without joining times: three narrow columns, grouped.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import EntityType, EntryType
from earnbook.pipeline.errors import EarnbookError, IntegrityError
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import ObjectKind

_AMOUNT_DIGITS = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummaryRequest:
    """What to sum up; times are microseconds since 1970 and inclusive.

    `from_us` and `to_us` go together and give the period form; `as_of_us` the all-time form as of that time; without
    any it is the present.
    """

    book: Path
    as_of_us: int | None = None
    from_us: int | None = None
    to_us: int | None = None
    program: str | None = None
    asset: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Rows of a report; `amounts` are the columns that print with the decimals in column `scale`."""

    title: str
    table: pa.Table
    amounts: tuple[str, ...]
    provisional: bool
    """The book clock has not passed the end of the report, so it may still change (§20)."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the classification and the sign of its amount in the balance (§20.4)."""

    name: str
    sign: int


_ISSUED = _Line("issued", 1)
_RETURNED = _Line("issuance_returns", -1)
_REDEEMED = _Line("redeemed", -1)
_RECEIVED = _Line("redemption_receipts", 1)
_REVERSED = _Line("redemption_reversals", 1)
_CLAWED_BACK = _Line("reversal_clawbacks", -1)
_DEBITED = _Line("debited", -1)
_EXPIRED = _Line("expired", -1)
_FORFEITED = _Line("forfeited", -1)
_VOIDED = _Line("holds_voided", -1)

# By action type: the lines of value that comes to a holder from outside, that leaves one, and of both sides of a
# movement between holders. What is absent cannot happen; a movement there refuses the report.
_IN: dict[int, tuple[_Line, ...]] = {
    EntryType.CREDIT: (_ISSUED,),
    EntryType.SETTLE: (_ISSUED,),
    EntryType.REDEMPTION_REVERSAL: (_REVERSED,),
}
_OUT: dict[int, tuple[_Line, ...]] = {
    EntryType.DEBIT: (_DEBITED,),
    EntryType.SETTLE: (_RETURNED,),
    EntryType.VOID_HOLD: (_VOIDED,),
    EntryType.FORFEIT: (_FORFEITED,),
    EntryType.EXPIRATION: (_EXPIRED,),
    EntryType.REDEMPTION: (_REDEEMED,),
}
_BETWEEN: dict[int, tuple[_Line, ...]] = {
    EntryType.REDEMPTION: (_REDEEMED, _RECEIVED),
    EntryType.REDEMPTION_REVERSAL: (_CLAWED_BACK, _REVERSED),
    EntryType.TRANSFER: (),
    EntryType.HOLD: (),
    EntryType.RELEASE: (),
    EntryType.SETTLE: (),
    EntryType.MATURITY: (),
}
_OUTSIDE: dict[int, tuple[_Line, ...]] = {EntryType.FUND: (), EntryType.BURN: ()}

# By whether the giving and the receiving account are a holder's.
_CLASSES = {(False, True): _IN, (True, False): _OUT, (True, True): _BETWEEN, (False, False): _OUTSIDE}


@dataclass(slots=True)
class _Sums:
    """What the journal says about one asset in one range: amounts by line, and the net of all legs on holders."""

    lines: dict[str, int]
    net: int

    def of(self, *lines: _Line) -> int:
        """The signed sum of lines."""
        return sum(line.sign * self.lines.get(line.name, 0) for line in lines)


@dataclass(frozen=True, slots=True)
class _Asset:
    number: int
    symbol: str
    scale: int


def ledger_summary(request: LedgerSummaryRequest) -> Report:
    """The ledger summary per asset (§20.1), assets in number order.

    Raises:
        EarnbookError: an unknown program or asset, or only one of the period's ends.
        IntegrityError: the classified lines do not add up to the balances.
    """
    if (request.from_us is None) != (request.to_us is None):
        raise EarnbookError("a period has two ends", "Give both --from and --to, or --as-of, or none of them.")
    if request.from_us is not None and request.as_of_us is not None:
        raise EarnbookError("--as-of and --from/--to exclude each other", "Give one of them.")
    with reading(request.book) as connection:
        assets = _assets(connection, request.asset)
        program = _program_number(connection, request.program)
        until = request.to_us if request.to_us is not None else request.as_of_us
        provisional = until is None or until >= _book_clock(connection)
        if request.from_us is None:
            table = _all_time(connection, assets, program, until)
        else:
            table = _period(connection, assets, program, request.from_us, until)
    amounts = tuple(field.name for field in table.schema if pa.types.is_decimal(field.type))
    return Report(title="Ledger summary", table=table, amounts=amounts, provisional=provisional)


def _all_time(
    connection: duckdb.DuckDBPyConnection, assets: list[_Asset], program: int | None, as_of_us: int | None
) -> pa.Table:
    last = None if as_of_us is None else _last_entry(connection, as_of_us)
    sums = _sums(connection, program, first=None, last=last)
    counts = _participant_counts(connection, program, last)
    rows = []
    for asset in assets:
        found = sums.get(asset.number, _Sums({}, 0))
        row = {
            "total_issued": found.of(_ISSUED),
            "total_redeemed": -found.of(_REDEEMED, _REVERSED),
            "total_expired": -found.of(_EXPIRED),
            "total_forfeited": -found.of(_FORFEITED),
            "other_adjustments_net": found.of(_RETURNED, _DEBITED, _VOIDED, _RECEIVED, _CLAWED_BACK),
            "current_balance": found.net,
        }
        _assert_identity(asset, 0, row, "total", row["current_balance"])
        rows.append((asset, row, counts.get(asset.number, 0)))
    table = _table(rows)
    return table.append_column("participant_count", pa.array([count for *_, count in rows], pa.int64()))


def _period(
    connection: duckdb.DuckDBPyConnection, assets: list[_Asset], program: int | None, from_us: int, to_us: int | None
) -> pa.Table:
    assert to_us is not None, "a period has two ends"
    if from_us > to_us:
        raise EarnbookError("--from is after --to", "Exchange the two times.")
    first, last = _last_entry(connection, from_us - 1), _last_entry(connection, to_us)
    before = _sums(connection, program, first=None, last=first)
    during = _sums(connection, program, first=first, last=last)
    closing = _sums(connection, program, first=None, last=last)
    rows = []
    for asset in assets:
        found = during.get(asset.number, _Sums({}, 0))
        opening_balance = before.get(asset.number, _Sums({}, 0)).net
        row = {
            "opening_balance": opening_balance,
            "period_issued": found.of(_ISSUED),
            "period_redeemed": -found.of(_REDEEMED),
            "period_expired": -found.of(_EXPIRED),
            "period_forfeited": -found.of(_FORFEITED),
            "other_adjustments_net": found.of(_RETURNED, _DEBITED, _VOIDED, _RECEIVED, _CLAWED_BACK, _REVERSED),
            "closing_balance": closing.get(asset.number, _Sums({}, 0)).net,
        }
        _assert_identity(asset, opening_balance, row, "period", row["closing_balance"])
        rows.append((asset, row, 0))
    return _table(rows)


def _assert_identity(asset: _Asset, opening: int, row: dict[str, int], prefix: str, balance: int) -> None:
    """closing = opening + issued − redeemed − expired − forfeited + other, to the last unit."""
    taken = sum(row[f"{prefix}_{line}"] for line in ("redeemed", "expired", "forfeited"))
    expected = opening + row[f"{prefix}_issued"] - taken + row["other_adjustments_net"]
    if expected != balance:
        raise IntegrityError(
            f"the ledger summary of {asset.symbol} does not close: {expected} expected, {balance} found (minor units)",
            "Run `earnbook verify` on this book.",
        )


def _table(rows: list[tuple[_Asset, dict[str, int], int]]) -> pa.Table:
    """The rows with amounts as decimals of the largest scale among them."""
    scale = max((asset.scale for asset, *_ in rows), default=0)
    columns: dict[str, pa.Array] = {
        "asset": pa.array([asset.symbol for asset, *_ in rows], pa.string()),
        "scale": pa.array([asset.scale for asset, *_ in rows], pa.int8()),
    }
    for name in rows[0][1] if rows else ():
        values = [_units(row[name], asset.scale) for asset, row, _ in rows]
        columns[name] = pa.array(values, pa.decimal128(_AMOUNT_DIGITS, scale))
    return pa.table(columns)


def _units(minor: int, scale: int) -> Decimal:
    """Minor units in asset units, exactly."""
    return Decimal((minor < 0, tuple(map(int, str(abs(minor)))), -scale))


# --- the journal ----------------------------------------------------------------------------------------------------

_HOLDER = 3
"""Account codes above this are holders'; the system's are 1 to 3, wallets are negative."""


def line_sums(
    connection: duckdb.DuckDBPyConnection, *, first: int | None = None, last: int | None = None
) -> dict[int, dict[str, int]]:
    """Minor units by asset number and line of §20.4, of the entries after `first` up to `last` (None: no bound)."""
    return {asset: sums.lines for asset, sums in _sums(connection, None, first=first, last=last).items()}


def _sums(
    connection: duckdb.DuckDBPyConnection, program: int | None, *, first: int | None, last: int | None
) -> dict[int, _Sums]:
    """Sums by asset number of the movements after entry `first` up to entry `last` (None: no bound)."""
    result: dict[int, _Sums] = {}
    # Grouped by two narrow columns only, which DuckDB does without hashing; the classes are columns instead of groups.
    classes = ", ".join(
        f"sum(amount) FILTER ((debit > {_HOLDER}) = {leaves} AND (credit > {_HOLDER}) = {arrives})"
        for leaves, arrives in _CLASSES
    )
    query = f"""
        SELECT asset, entry_type, {classes}
        FROM store.movements AS m WHERE {_range(program, first, last)} GROUP BY asset, entry_type
    """
    for asset, entry_type, *amounts in connection.execute(query).fetchall():
        sums = result.setdefault(asset, _Sums({}, 0))
        for (leaves, arrives), amount in zip(_CLASSES, amounts, strict=True):
            if amount is None:
                continue
            sums.net += (int(arrives) - int(leaves)) * int(amount)
            for line in _lines(int(entry_type), leaves=leaves, arrives=arrives):
                sums.lines[line.name] = sums.lines.get(line.name, 0) + int(amount)
    return result


def _lines(entry_type: int, *, leaves: bool, arrives: bool) -> tuple[_Line, ...]:
    """The lines that a movement between two accounts belongs to; none where it nets to zero over the holders."""
    found = _CLASSES[leaves, arrives].get(entry_type)
    if found is None:
        raise IntegrityError(
            f"a movement of action type {entry_type} has accounts that its type cannot have",
            "Run `earnbook verify` on this book.",
        )
    return found


def _range(program: int | None, first: int | None, last: int | None) -> str:
    """The condition on `m` for a range of entries and, where asked, a program (the entry's, §9.2)."""
    conditions = ["true"]
    if first is not None:
        conditions.append(f"m.entry_seq > {first}")
    if last is not None:
        conditions.append(f"m.entry_seq <= {last}")
    if program is not None:
        conditions.append(
            f"""CASE
                WHEN m.action > 0 THEN m.action IN (SELECT number FROM store.actions WHERE program = {program})
                WHEN m.log_seq IN (SELECT log_seq FROM store.reversals) THEN m.log_seq IN (
                    SELECT v.log_seq FROM store.reversals AS v JOIN store.redemptions AS d ON d.log_seq = v.redemption
                    WHERE d.program = {program})
                WHEN m.log_seq > 0 THEN m.log_seq IN (SELECT log_seq FROM store.operations WHERE program = {program})
                ELSE m.entry_seq IN (SELECT entry_seq FROM store.due_entries WHERE program = {program})
            END"""
        )
    return " AND ".join(conditions)


def _last_entry(connection: duckdb.DuckDBPyConnection, until_us: int) -> int:
    """The last entry created at or before a time; 0 where there is none."""
    query = f"""
        WITH record AS (
            SELECT max(log_seq) AS last FROM (
                SELECT log_seq FROM store.events WHERE processed_at <= {until_us}
                UNION ALL
                SELECT log_seq FROM store.operations WHERE processed_at <= {until_us}
            )
        ), retried AS (
            -- What a retry makes has the number of the event, but the time of the attempt (§10.2).
            SELECT log_seq, max(processed_at) AS processed_at FROM store.attempts GROUP BY log_seq
        )
        SELECT greatest(
            (SELECT coalesce(max(entry_seq), 0) FROM store.movements WHERE log_seq > 0 AND log_seq <= (FROM record)
                AND log_seq NOT IN (SELECT log_seq FROM retried WHERE processed_at > {until_us})),
            (SELECT coalesce(max(entry_seq), 0) FROM store.due_entries WHERE created_at <= {until_us})
        )
    """
    row = one_row(connection, query)
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def _participant_counts(connection: duckdb.DuckDBPyConnection, program: int | None, last: int | None) -> dict[int, int]:
    """By asset number: distinct participants with an account that is not zero."""
    legs = f"""(
            SELECT m.credit AS account, m.asset, m.amount FROM store.movements AS m
            WHERE m.credit > {_HOLDER} AND {_range(program, None, last)}
            UNION ALL
            SELECT m.debit, m.asset, -m.amount FROM store.movements AS m
            WHERE m.debit > {_HOLDER} AND {_range(program, None, last)}
        )"""
    if program is None and last is None:
        legs = f"(SELECT account, asset, amount FROM store.current_balances WHERE account > {_HOLDER})"
    query = f"""
        SELECT asset, count(DISTINCT account // 4)
        FROM (SELECT account, asset FROM {legs} GROUP BY ALL HAVING sum(amount) <> 0)
        WHERE account // 4 IN (SELECT number FROM store.holders WHERE kind = {EntityType.PARTICIPANT})
        GROUP BY asset
    """
    return {int(asset): int(count) for asset, count in connection.execute(query).fetchall()}


# --- names ----------------------------------------------------------------------------------------------------------


def _assets(connection: duckdb.DuckDBPyConnection, symbol: str | None) -> list[_Asset]:
    query = f"SELECT number, key, scale FROM store.objects WHERE kind = {ObjectKind.ASSET} ORDER BY number"
    assets = [_Asset(int(number), key, int(scale)) for number, key, scale in connection.execute(query).fetchall()]
    if symbol is None:
        return assets
    chosen = [asset for asset in assets if asset.symbol == symbol]
    if not chosen:
        raise EarnbookError(f"there is no asset {symbol!r}", f"The book has {_names([a.symbol for a in assets])}.")
    return chosen


def _program_number(connection: duckdb.DuckDBPyConnection, key: str | None) -> int | None:
    if key is None:
        return None
    query = f"SELECT key, number FROM store.objects WHERE kind = {ObjectKind.PROGRAM} ORDER BY number"
    programs = {str(name): int(number) for name, number in connection.execute(query).fetchall()}
    if key not in programs:
        raise EarnbookError(f"there is no program {key!r}", f"The book has {_names(list(programs))}.")
    return programs[key]


def _names(names: list[str]) -> str:
    return ", ".join(names) if names else "none yet"


def _book_clock(connection: duckdb.DuckDBPyConnection) -> int:
    row = one_row(connection, "SELECT coalesce(max(book_clock), 0) FROM store.batches")
    assert row is not None, "an aggregate has one row"
    return int(row[0])
