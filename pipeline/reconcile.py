"""Reconciliation of a book with an outside file (§20.9): every key matched, missing on a side, or different.

In: a book, a file, and what to compare by. Out: one row per key and asset, totals that tie, and breaks by age. Both
sides are added up by themselves; the totals compare those sums with the rows of the comparison, and a reconciliation
that does not tie is refused.

Ages are counted from the time of the item to the end of the reconciliation (`until`, else the book clock), so that the
same book and file give the same answer on any day.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import duckdb
import pyarrow as pa

from earnbook.pipeline.errors import EarnbookError, Refused
from earnbook.pipeline.reconcile_book import (
    LINES,
    Scope,
    load_closing_balances,
    load_event_effects,
    load_lines,
)
from earnbook.pipeline.reconcile_file import BookAsset, OutsideFile, load_theirs, read_outside
from earnbook.pipeline.reports import report_book, units, untied
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.ruleset import ruleset_in_force
from earnbook.pipeline.source_input import SourceMapping
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.definitions import load_definitions


class Basis(StrEnum):
    """What a key of the file is."""

    EVENT = "event"
    """The idempotency key of an event; ours is its net effect on holders."""
    HOLDER = "holder"
    """The external id of a participant, or the key of a group; ours is the closing balance."""
    TOTAL = "total"
    """A line of the liability roll-forward."""


class MatchStatus(StrEnum):
    """What a comparison found, breaks last."""

    MATCHED = "MATCHED"
    MISSING_HERE = "MISSING_HERE"
    MISSING_THERE = "MISSING_THERE"
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"


AGE_DAYS = ((1, "0-1 days"), (7, "2-7 days"), (30, "8-30 days"))
"""The buckets of the ages of breaks: the last whole day of each, and its name. Beyond them is `AGE_OLDER`."""
AGE_OLDER = "over 30 days"
AGE_UNKNOWN = "unknown"
"""No side says when the item was."""

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRequest:
    """What to compare; times are microseconds since 1970 and inclusive.

    `from_us` and `to_us` go together, or `as_of_us` stands alone; they act on the creation of entries. `source` is a
    mapping of the definitions of `config`, or of the book. `tolerance` is in asset units.
    """

    book: Path
    file: str
    basis: Basis = Basis.EVENT
    format: str | None = None
    source: str | None = None
    config: Path | None = None
    tolerance: Decimal = Decimal(0)
    as_of_us: int | None = None
    from_us: int | None = None
    to_us: int | None = None
    program: str | None = None
    asset: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Both sides of one asset in minor units: ours + differences + missing here - missing there = theirs."""

    asset: str
    scale: int
    ours: int
    differences: int
    missing_here: int
    missing_there: int
    theirs: int
    counts: dict[MatchStatus, int]

    @property
    def ties(self) -> bool:
        """The identity of §20.9."""
        return self.ours + self.differences + self.missing_here - self.missing_there == self.theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The answer: `rows` by asset and key, `totals` by asset, `aging` of the breaks; amounts are exact decimals."""

    basis: Basis
    file: str
    sha256: str
    until_us: int
    provisional: bool
    rows: pa.Table
    totals: tuple[Totals, ...]
    aging: pa.Table
    rows_left_out: int
    """Rows of the file about other assets than the one asked for."""
    keys_summed: int
    """Keys that the file has more than once."""

    @property
    def breaks(self) -> int:
        """Rows that do not match."""
        counts = (pair for total in self.totals for pair in total.counts.items())
        return sum(count for status, count in counts if status is not MatchStatus.MATCHED)


ROW_AMOUNTS = ("ours", "theirs", "difference")
AGING_AMOUNTS = ("net", "gross")
TOTAL_AMOUNTS = ("ours", "differences", "missing_here", "missing_there", "theirs")
"""Columns that print with the decimals of their asset."""


def reconcile(request: ReconcileRequest) -> Reconciliation:
    """Compares the book with the file.

    Raises:
        EarnbookError: times or references that do not fit; SourceError and OutsideRowsError about the file.
        UntiedReport: the totals do not tie.
    """
    _refuse_times(request)
    with reading(request.book) as connection:
        assets = _book_assets(connection)
        only = None if request.asset is None else _find_asset(assets, request.asset)
        mapping, source_program = _mapping(connection, request)
        book = report_book(connection, program=request.program or source_program)
        outside = read_outside(OutsideFile(path=request.file, format=request.format, mapping=mapping))
        keys = LINES if request.basis is Basis.TOTAL else ()
        left_out = load_theirs(connection, outside, assets, only=only, keys=keys)
        until = request.to_us if request.to_us is not None else request.as_of_us
        _load_ours(connection, request.basis, Scope(from_us=request.from_us, until_us=until, program=book.program))
        if only is not None:
            connection.execute("DELETE FROM ours WHERE asset <> ?", [only.number])
        reference = book.clock_us if until is None else until
        _compare(connection, assets, request.tolerance, reference)
        totals = _totals(connection, assets)
        return Reconciliation(
            basis=request.basis,
            file=outside.name,
            sha256=outside.sha256,
            until_us=reference,
            provisional=book.is_provisional(until),
            rows=_rows(connection),
            totals=totals,
            aging=_aging(connection),
            rows_left_out=left_out,
            keys_summed=_keys_summed(connection),
        )


def totals_table(totals: tuple[Totals, ...]) -> pa.Table:
    """Totals as rows, amounts as decimals of the largest scale among them beside the `scale` of each."""
    scale = max((total.scale for total in totals), default=0)
    columns: dict[str, pa.Array] = {
        "asset": pa.array([total.asset for total in totals], pa.string()),
        "scale": pa.array([total.scale for total in totals], pa.int8()),
    }
    for name in TOTAL_AMOUNTS:
        values = [units(getattr(total, name), total.scale) for total in totals]
        columns[name] = pa.array(values, pa.decimal128(38, scale))
    for status in MatchStatus:
        columns[f"{status.lower()}_keys"] = pa.array([total.counts[status] for total in totals], pa.int64())
    return pa.table(columns)


def _refuse_times(request: ReconcileRequest) -> None:
    if (request.from_us is None) != (request.to_us is None):
        raise EarnbookError("a period has two ends", "Give both --from and --to, or --as-of, or none of them.")
    if request.from_us is not None and request.as_of_us is not None:
        raise EarnbookError("--as-of and --from/--to exclude each other", "Give one of them.")
    if request.from_us is not None and request.to_us is not None and request.from_us > request.to_us:
        raise EarnbookError("--from is after --to", "Exchange the two times.")
    if request.basis is Basis.HOLDER and request.from_us is not None:
        raise EarnbookError("a closing balance has no beginning", "Give --as-of instead of --from and --to.")


def _book_assets(connection: duckdb.DuckDBPyConnection) -> tuple[BookAsset, ...]:
    query = f"SELECT number, key, id, scale FROM store.objects WHERE kind = {ObjectKind.ASSET} ORDER BY number"
    return tuple(
        BookAsset(number=int(number), symbol=key, id=asset_id, scale=int(scale))
        for number, key, asset_id, scale in connection.execute(query).fetchall()
    )


def _find_asset(assets: tuple[BookAsset, ...], name: str) -> BookAsset:
    for asset in assets:
        if name in (asset.symbol, asset.id):
            return asset
    known = ", ".join(asset.symbol for asset in assets) or "none yet"
    raise EarnbookError(f"there is no asset {name!r}", f"The book has {known}.")


def _mapping(
    connection: duckdb.DuckDBPyConnection, request: ReconcileRequest
) -> tuple[SourceMapping | None, str | None]:
    """The mapping that was asked for and the program it is of; from the files given, else as the book has it."""
    if request.source is None:
        return None, None
    given = None if request.config is None else load_definitions(request.config)
    definitions = ruleset_in_force(connection).definitions if given is None else given
    source = definitions.sources.get(request.source)
    if source is None:
        known = ", ".join(definitions.sources) or "none"
        raise Refused(f"the definitions have no source {request.source!r}", f"Sources that they have: {known}.")
    mapping = SourceMapping(name=request.source, select=source.select, format=source.format, timezone=source.timezone)
    return mapping, source.program


def _load_ours(connection: duckdb.DuckDBPyConnection, basis: Basis, scope: Scope) -> None:
    loaders = {Basis.EVENT: load_event_effects, Basis.HOLDER: load_closing_balances, Basis.TOTAL: load_lines}
    loaders[basis](connection, scope)


# --- the comparison -------------------------------------------------------------------------------------------------


def _compare(
    connection: duckdb.DuckDBPyConnection, assets: tuple[BookAsset, ...], tolerance: Decimal, reference_us: int
) -> None:
    """Makes the temporary table `compared` from `ours`, `known` and `theirs`, in minor units.

    What the book knows by its key, but without an amount, is 0 here; what neither side has an amount for is no row.
    """
    limits = pa.table(
        {
            "number": pa.array([asset.number for asset in assets], pa.int32()),
            "tolerated": pa.array([str(int(tolerance.scaleb(asset.scale))) for asset in assets], pa.string()),
        }
    )
    connection.register("limits", limits)
    ages = " ".join(f"WHEN days <= {last} THEN '{name}'" for last, name in AGE_DAYS)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE compared AS
        WITH joined AS (
            SELECT coalesce(o.key, t.key) AS key, coalesce(o.asset, t.asset) AS asset,
                CASE WHEN o.key IS NOT NULL THEN o.amount WHEN k.key IS NOT NULL THEN 0 END AS ours,
                t.amount AS theirs, coalesce(o.n, 0) AS rows_here, coalesce(t.n, 0) AS rows_there,
                coalesce(o.dated_at, k.dated_at) AS our_date, t.dated_at AS their_date, o.last_entry
            FROM ours AS o FULL JOIN theirs AS t ON t.key = o.key AND t.asset = o.asset
            LEFT JOIN known AS k ON k.key = t.key
        ), judged AS (
            SELECT j.*, j.theirs - j.ours AS difference,
                CASE WHEN j.theirs IS NULL THEN '{MatchStatus.MISSING_THERE}'
                    WHEN j.ours IS NULL THEN '{MatchStatus.MISSING_HERE}'
                    WHEN abs(j.theirs - j.ours) <= CAST(l.tolerated AS DECIMAL(38, 0)) THEN '{MatchStatus.MATCHED}'
                    ELSE '{MatchStatus.AMOUNT_DIFFERS}' END AS status
            FROM joined AS j JOIN limits AS l ON l.number = j.asset
        ), dated AS (
            SELECT j.*, coalesce(j.our_date, w.created_at, j.their_date) AS dated_at
            FROM judged AS j LEFT JOIN ({_ENTRY_TIMES}) AS w
                ON w.entry_seq = j.last_entry AND j.status <> '{MatchStatus.MATCHED}'
        ), counted AS (
            SELECT *, CASE WHEN dated_at > {reference_us} THEN 0
                ELSE ({reference_us} - dated_at) // {_DAY_US} END AS days
            FROM dated
        )
        SELECT *, CASE WHEN days IS NULL THEN '{AGE_UNKNOWN}' {ages} ELSE '{AGE_OLDER}' END AS age FROM counted"""
    )
    connection.unregister("limits")


# When entries were created, of the newest entries of breaks only: what a retry makes has the time of the attempt.
_ENTRY_TIMES = f"""
    SELECT m.entry_seq, coalesce(d.created_at, a.processed_at, e.processed_at, p.processed_at) AS created_at
    FROM (SELECT DISTINCT m.entry_seq, m.log_seq FROM store.movements AS m
        SEMI JOIN (SELECT last_entry FROM judged WHERE status <> '{MatchStatus.MATCHED}') AS b
            ON b.last_entry = m.entry_seq) AS m
    LEFT JOIN store.due_entries AS d ON d.entry_seq = m.entry_seq
    LEFT JOIN store.last_attempts AS a ON a.log_seq = m.log_seq
    LEFT JOIN store.events AS e ON e.log_seq = m.log_seq
    LEFT JOIN store.operations AS p ON p.log_seq = m.log_seq
"""


def _totals(connection: duckdb.DuckDBPyConnection, assets: tuple[BookAsset, ...]) -> tuple[Totals, ...]:
    """The identity of each asset that either side has; raises UntiedReport where it does not hold."""
    ours = dict(connection.execute("SELECT asset, sum(amount) FROM ours GROUP BY asset").fetchall())
    theirs = dict(connection.execute("SELECT asset, sum(amount) FROM theirs GROUP BY asset").fetchall())
    if ours.keys() - {asset.number for asset in assets}:
        raise untied("the reconciliation: there are movements of an asset that the book does not have")
    counts = ", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in MatchStatus)
    query = f"""SELECT asset, coalesce(sum(difference), 0),
            coalesce(sum(theirs) FILTER (WHERE status = '{MatchStatus.MISSING_HERE}'), 0),
            coalesce(sum(ours) FILTER (WHERE status = '{MatchStatus.MISSING_THERE}'), 0), {counts}
        FROM compared GROUP BY asset"""
    compared = {asset: figures for asset, *figures in connection.execute(query).fetchall()}
    totals = []
    for asset in assets:
        if asset.number not in compared:
            continue
        differences, missing_here, missing_there, *found = (int(figure) for figure in compared[asset.number])
        total = Totals(
            asset=asset.symbol,
            scale=asset.scale,
            ours=int(ours.get(asset.number, 0)),
            differences=differences,
            missing_here=missing_here,
            missing_there=missing_there,
            theirs=int(theirs.get(asset.number, 0)),
            counts=dict(zip(MatchStatus, found, strict=True)),
        )
        if not total.ties:
            raise untied(f"the reconciliation of {asset.symbol}: {total}")
        totals.append(total)
    return tuple(totals)


def _rows(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    amounts = ", ".join(f"store.wide_units(c.{name}, a.unit, a.power) AS {name}" for name in ROW_AMOUNTS)
    return connection.sql(
        f"""SELECT c.status, c.key, a.symbol AS asset, a.scale, {amounts}, c.rows_here, c.rows_there,
            store.instant(c.dated_at) AS dated_at,
            CASE WHEN c.status <> '{MatchStatus.MATCHED}' THEN c.days END AS age_days
        FROM compared AS c JOIN store.asset_list AS a ON a.number = c.asset ORDER BY c.asset, c.key"""
    ).to_arrow_table()


def _aging(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Breaks by asset and age: how many, their net (theirs - ours), and their sum without signs."""
    names = [*(name for _, name in AGE_DAYS), AGE_OLDER, AGE_UNKNOWN]
    order = "CASE age " + " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(names)) + " END"
    return connection.sql(
        f"""SELECT a.symbol AS asset, a.scale, b.age, b.breaks,
            store.wide_units(b.net, a.unit, a.power) AS net, store.wide_units(b.gross, a.unit, a.power) AS gross
        FROM (SELECT asset, age, count(*) AS breaks,
                CAST(sum(coalesce(theirs, 0) - coalesce(ours, 0)) AS DECIMAL(38, 0)) AS net,
                CAST(sum(abs(coalesce(theirs, 0) - coalesce(ours, 0))) AS DECIMAL(38, 0)) AS gross
            FROM compared WHERE status <> '{MatchStatus.MATCHED}' GROUP BY asset, age) AS b
        JOIN store.asset_list AS a ON a.number = b.asset ORDER BY b.asset, {order}"""
    ).to_arrow_table()


def _keys_summed(connection: duckdb.DuckDBPyConnection) -> int:
    rows = connection.execute("SELECT count(*) FROM theirs WHERE n > 1").fetchall()
    return int(rows[0][0])
