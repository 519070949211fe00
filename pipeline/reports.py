"""What all reports share: the request, the report, and a book opened for one.

In: a book and a frozen request. Out: a `Report`, one Arrow table whose amounts are exact decimals in asset units (§20).
The reports themselves are in `reports_*.py`, by family; each reads the physical tables, asserts its own identity, and
refuses with `UntiedReport` where the book does not bear it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import ACCOUNT_BREAKAGE
from earnbook.pipeline.errors import EarnbookError, UntiedReport
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import ObjectKind

LAST_SYSTEM_ACCOUNT = ACCOUNT_BREAKAGE
"""Accounts above this are holders'; the system's are up to it, wallets are negative."""

AMOUNT_DIGITS = 38
_RATE_DECIMALS = Decimal("0.000001")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What a report is about; times are microseconds since 1970 and inclusive, None is no bound.

    `program` is a key and `asset` a symbol; None is all of them.
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


class Asset(NamedTuple):
    """An asset as reports need it."""

    number: int
    symbol: str
    scale: int
    has_lots: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBook:
    """A book opened for one report: the session, and the names that the request asks for.

    `assets` are those asked for, `programs` the keys of all by number, `program` the number of the one asked for.
    """

    connection: duckdb.DuckDBPyConnection
    assets: tuple[Asset, ...]
    programs: Mapping[int, str]
    program: int | None
    clock_us: int

    def is_provisional(self, until_us: int | None) -> bool:
        """Whether a report up to this time may still change."""
        return until_us is None or until_us >= self.clock_us

    def program_key(self, number: int) -> str | None:
        """The key of a program by its number; None for the organization's own."""
        return self.programs.get(number)


@contextmanager
def open_report(request: ReportRequest) -> Iterator[ReportBook]:
    """The book of a request, read-only.

    Raises `EarnbookError` for an unknown program or asset, and for bounds that exclude each other.
    """
    _check_times(request)
    with reading(request.book) as connection:
        yield report_book(connection, program=request.program, asset=request.asset)


def report_book(
    connection: duckdb.DuckDBPyConnection, *, program: str | None = None, asset: str | None = None
) -> ReportBook:
    """A book that is open already; raises `EarnbookError` for an unknown program or asset."""
    programs = _object_names(connection, ObjectKind.PROGRAM)
    row = one_row(connection, "SELECT coalesce(max(book_clock), 0) FROM store.batches")
    assert row is not None, "an aggregate has one row"
    return ReportBook(
        connection=connection,
        assets=_assets(connection, asset),
        programs=programs,
        program=_program_number(programs, program),
        clock_us=int(row[0]),
    )


def holder_number(connection: duckdb.DuckDBPyConnection, kind: int, external_id: str) -> int:
    """The number of a participant or group (`EntityType`) by its external id."""
    row = one_row(
        connection, "SELECT number FROM store.holders WHERE kind = ? AND external_id = ?", [int(kind), external_id]
    )
    if row is None:
        noun = "participant" if kind == 1 else "group"
        raise EarnbookError(
            f"there is no {noun} {external_id!r}", f"Those of the book: earnbook sql 'FROM {noun}s LIMIT 10'."
        )
    return int(row[0])


# --- tables ---------------------------------------------------------------------------------------------------------


def report_table(rows: Sequence[Mapping[str, object]], schema: Mapping[str, pa.DataType | None]) -> pa.Table:
    """Rows as an Arrow table. A column without a type holds minor units, which become decimals of the row's `scale`.

    All amount columns get the largest scale of the rows, so that they add up as they stand.
    """
    largest = max((int(str(row["scale"])) for row in rows if "scale" in row), default=0)
    columns: dict[str, pa.Array] = {}
    for name, kind in schema.items():
        if kind is None:
            values = [units(row[name], int(str(row["scale"]))) for row in rows]
            columns[name] = pa.array(values, pa.decimal128(AMOUNT_DIGITS, largest))
        else:
            columns[name] = pa.array([row[name] for row in rows], kind)
    return pa.table(columns)


def amount_columns(table: pa.Table) -> tuple[str, ...]:
    """The columns of amounts: those with the decimals of an asset, which rates have not."""
    return tuple(f.name for f in table.schema if pa.types.is_decimal(f.type) and f.type.precision == AMOUNT_DIGITS)


def units(minor: object, scale: int) -> Decimal | None:
    """Minor units in asset units, exactly."""
    if minor is None:
        return None
    assert isinstance(minor, int), f"{minor!r} are minor units"
    return Decimal((minor < 0, tuple(map(int, str(abs(minor)))), -scale))


RATE = pa.decimal128(19, 6)
INSTANT = pa.timestamp("us", tz="UTC")


def rate(part: int, whole: int) -> Decimal | None:
    """part / whole with 6 decimals, half to even; None where the whole is 0."""
    if whole == 0:
        return None
    with localcontext() as context:
        context.prec = 60
        return (Decimal(part) / Decimal(whole)).quantize(_RATE_DECIMALS, rounding=ROUND_HALF_EVEN)


def instant(microseconds: int | None) -> datetime | None:
    """Microseconds since 1970 as a time."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def microseconds(time: datetime) -> int:
    """A time as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def month_of(time_us: int) -> str:
    """The month (UTC) that a time lies in, as `2026-01`."""
    time = instant(time_us)
    assert time is not None, "there is a time"
    return f"{time.year:04d}-{time.month:02d}"


def next_month(month: str) -> str:
    """The month after."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def month_start_us(month: str) -> int:
    """The first instant of a month."""
    return microseconds(datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC))


def untied(what: str) -> UntiedReport:
    """The refusal of a report whose figures do not bear each other out."""
    return UntiedReport(what, "Run `earnbook verify` on this book.")


# --- names and times ------------------------------------------------------------------------------------------------


def _check_times(request: ReportRequest) -> None:
    if request.as_of_us is not None and (request.from_us is not None or request.to_us is not None):
        raise EarnbookError("--as-of and --from/--to exclude each other", "Give one of them.")
    if request.from_us is not None and request.to_us is not None and request.from_us > request.to_us:
        raise EarnbookError("--from is after --to", "Exchange the two times.")


def _assets(connection: duckdb.DuckDBPyConnection, symbol: str | None) -> tuple[Asset, ...]:
    query = f"""
        SELECT number, key, scale, inventory_mode = 2 FROM store.objects WHERE kind = {ObjectKind.ASSET} ORDER BY number
    """
    assets = tuple(
        Asset(int(n), key, int(scale), bool(lots)) for n, key, scale, lots in connection.execute(query).fetchall()
    )
    if symbol is None:
        return assets
    chosen = tuple(asset for asset in assets if asset.symbol == symbol)
    if not chosen:
        raise EarnbookError(f"there is no asset {symbol!r}", f"The book has {_listed([a.symbol for a in assets])}.")
    return chosen


def _program_number(programs: Mapping[int, str], key: str | None) -> int | None:
    if key is None:
        return None
    for number, name in programs.items():
        if name == key:
            return number
    raise EarnbookError(f"there is no program {key!r}", f"The book has {_listed(list(programs.values()))}.")


def _object_names(connection: duckdb.DuckDBPyConnection, kind: ObjectKind) -> dict[int, str]:
    rows = connection.execute(f"SELECT number, key FROM store.objects WHERE kind = {kind} ORDER BY number").fetchall()
    return {int(number): str(key) for number, key in rows}


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none yet"
