"""Control totals: a run's operations tied to what their sender says he sent, before anything is committed.

A file of opening balances that arrives cut off, twice in one folder, or with a column shifted, posts wrong books
without one rejected row. So its sender states beside it how many operations there are and what they add up to, and a
run with `--control FILE` is refused unless that is what it read. Accepted rows count, also those that the book has
already: the same command can be run again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from earnbook.ledger.schema import Direction, Int64s, OperationType
from earnbook.pipeline.errors import Refused, SourceError

CONTROL_COLUMNS = ("type", "asset", "records", "amount")
"""The columns of a control file. An empty `amount` is not compared; debits of `adjust` count as negative."""

_EXACT = Context(prec=1_000)
_FIELDS = pl.Struct(
    {
        "asset_id": pl.String,
        "amount": pl.String,
        "direction": pl.String,
        "recipients": pl.List(pl.Struct({"amount": pl.String})),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTotal:
    """Operations of one type on one asset ("" where they name none); `amount` in asset units, None: not compared."""

    records: int
    amount: Decimal | None = Decimal(0)


Totals = Mapping[tuple[str, str], ControlTotal]
"""By operation type and asset symbol."""


def read_control(path: Path) -> Totals:
    """The totals of a control file (CSV, `CONTROL_COLUMNS`); SourceError names the line and what to change."""
    try:
        strings = pa_csv.ConvertOptions(column_types={name: pa.string() for name in CONTROL_COLUMNS})
        table = pa_csv.read_csv(path, convert_options=strings)
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"control totals {path}: {error}", "Give a CSV file with a header.") from None
    if sorted(table.column_names) != sorted(CONTROL_COLUMNS):
        wanted = ",".join(CONTROL_COLUMNS)
        raise SourceError(
            f"control totals {path}: the columns are {','.join(table.column_names)}", f"Give the columns {wanted}."
        )
    totals: dict[tuple[str, str], ControlTotal] = {}
    for line, row in enumerate(table.to_pylist(), start=2):
        place = (row["type"], row["asset"])
        if row["type"].upper() not in OperationType.__members__ or place in totals:
            why = f"{row['type']!r} on asset {row['asset']!r} is no operation type, or stands there twice"
            raise SourceError(f"control totals {path}, line {line}: {why}", "Give one line for each type and asset.")
        totals[place] = ControlTotal(
            records=int(_number(path, line, "records", row["records"], whole=True)),
            amount=_number(path, line, "amount", row["amount"], whole=False) if row["amount"] else None,
        )
    return totals


def _number(path: Path, line: int, column: str, text: str, *, whole: bool) -> Decimal:
    try:
        number = _EXACT.create_decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or (whole and number != int(number)):
        raise SourceError(
            f"control totals {path}, line {line}: {column} is {text!r}",
            f"Write a {'whole number' if whole else 'decimal'} such as {'1250' if whole else '1250.75'}.",
        )
    return number


def control_totals(operations: Iterable[tuple[Int64s, pa.Array]], symbols: Mapping[str, str]) -> Totals:
    """The totals of staged operations: types and canonical fields, in chunks; `symbols` are assets by id."""
    records: dict[tuple[str, str], int] = defaultdict(int)
    amounts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for types, fields in operations:
        for group in _groups(types, fields):
            place = (OperationType(group.kind).name.lower(), symbols.get(group.asset or "", group.asset or ""))
            records[place] += group.records
            amounts[place] = _EXACT.add(amounts[place], group.amount)
    return {place: ControlTotal(records=records[place], amount=amounts[place]) for place in records}


@dataclass(frozen=True, slots=True)
class _Group:
    kind: int
    asset: str | None
    records: int
    amount: Decimal


def _groups(types: Int64s, fields: pa.Array) -> Iterator[_Group]:
    """Operations, and the legs of transfers, by type, asset and amount, so that few amounts are summed as decimals.

    An amount that is not given, or `ALL`, counts as 0.
    """
    decoded = pl.Series(fields).str.json_decode(_FIELDS).struct.unnest().with_columns(kind=pl.Series(types))
    sign = pl.when(pl.col("direction") == Direction.DEBIT.name).then(pl.lit("-")).otherwise(pl.lit(""))
    heads = decoded.select("kind", "asset_id", amount=sign + pl.col("amount"), records=pl.lit(1))
    legs = decoded.select("kind", "asset_id", pl.col("recipients").list.eval(pl.element().struct.field("amount")))
    legs = legs.explode("recipients").drop_nulls("recipients")
    legs = legs.select("kind", "asset_id", amount=pl.col("recipients"), records=pl.lit(0))
    counted = pl.concat([heads, legs]).group_by("kind", "asset_id", "amount", "records").agg(pl.len().alias("n"))
    for kind, asset, amount, records, n in counted.iter_rows():
        value = Decimal(0) if amount is None or amount == "ALL" else Decimal(amount)
        yield _Group(kind, asset, records * n, _EXACT.multiply(value, Decimal(n)))


def refuse_uncontrolled(path: Path, stated: Totals, read: Totals) -> None:
    """Refused unless the totals of both sides are the same; the message has a line for each that is not."""
    wrong = []
    for kind, asset in sorted(stated.keys() | read.keys()):
        there, here = (totals.get((kind, asset), ControlTotal(records=0)) for totals in (stated, read))
        if there.records != here.records or (there.amount is not None and there.amount != here.amount):
            amount = "" if there.amount is None else f" of {there.amount:f}"
            on = f" {asset}" if asset else ""
            wrong.append(f"{kind}{on}: {there.records:,}{amount} stated, {here.records:,} of {here.amount:f} read")
    if wrong:
        raise Refused(
            f"the operations do not tie to the control totals of {path}:\n  " + "\n  ".join(wrong),
            "Nothing was committed. Ask for the complete file, or correct the totals.",
        )
