"""The outside file of a reconciliation (§20.9): rows of `key, asset, amount` from CSV, NDJSON, Parquet or Arrow.

Amounts stay text from the file to minor units, so nothing is rounded; a mapping of the definitions' `sources` may make
the rows from a partner's own columns. One row that cannot be read stops the reconciliation, because a total without it
would say nothing: every bad row is named with its field and what to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.pipeline.errors import EarnbookError, SourceError
from earnbook.pipeline.intake_json import canonical_number
from earnbook.pipeline.source_files import find_inputs
from earnbook.pipeline.source_input import InputTable, SourceMapping, check_mapping, input_session, mapped_rows
from earnbook.pipeline.store_rows import one_row
from earnbook.rules.times import parse_timestamp

OUTSIDE_COLUMNS = ("key", "asset", "amount", "dated_at")
"""The columns of the file; `asset` and `dated_at`, the time of the other side's item, may be missing."""

ROWS_NAMED_MAX = 20
"""Bad rows that one message names."""

DIGITS_MAX = 28
"""Digits of an amount in minor units; sums of as many rows as fit a file then fit 128 bits."""

_OUTSIDE = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("asset", pa.string()),
        pa.field("amount", pa.string()),
        pa.field("dated_at", pa.string()),
    ]
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


class OutsideRowsError(EarnbookError):
    """Rows of the outside file that are no amounts of a key and an asset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideFile:
    """Where the other side's figures stand; `format` None: by the file's ending."""

    path: str
    format: str | None = None
    mapping: SourceMapping | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideRows:
    """What was read: rows of `row, key, asset, amount, dated_at` as texts, and the hash of the file's bytes."""

    name: str
    rows: pa.Table
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookAsset:
    """An asset that a file may name, by symbol or id."""

    number: int
    symbol: str
    id: str
    scale: int


def read_outside(file: OutsideFile) -> OutsideRows:
    """The rows of a file; raises SourceError where it cannot be read or lacks a column."""
    mapping = file.mapping
    inputs = find_inputs((file.path,), file.format or (mapping.format if mapping else None))
    if len(inputs) != 1:
        raise SourceError(f"{file.path}: there are {len(inputs)} files", "Give one file; they can be put together.")
    table = InputTable(inputs[0], _heard)
    name = inputs[0].name
    if mapping is None or mapping.select is None:
        schema, batches = table.open()
        rows = _text_rows(schema, batches, name)
    else:
        check_mapping(mapping)
        name = f"{name} (source {mapping.name})"
        with input_session(None) as connection:
            table.fill(connection)
            with mapped_rows(connection, mapping.select, name) as result:
                rows = _text_rows(result.schema, result, name)
    if table.set_aside:
        wrong = [f"row {reject.source_row}: {reject.message}" for reject in table.set_aside]
        raise _bad_rows(name, wrong, len(wrong))
    return OutsideRows(name=name, rows=rows, sha256=table.sha256)


def _heard(_: int) -> None:
    """Nobody watches the reading of a file that is compared."""


def _text_rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], name: str) -> pa.Table:
    """The columns of the file as texts, rows numbered from 1; other columns are left out."""
    twice = [column for column in OUTSIDE_COLUMNS if schema.names.count(column) > 1]
    missing = [column for column in ("key", "amount") if column not in schema.names]
    if missing or twice:
        shown = ", ".join(schema.names[:12]) + (", …" if len(schema.names) > 12 else "")
        why = f"there is no column {missing[0]}" if missing else f"the column {twice[0]} occurs twice"
        raise SourceError(
            f"{name}: {why} (columns: {shown})",
            "Name the columns key, asset and amount, or map them with a `sources` definition and --source NAME.",
        )
    chunks, first = [], 1
    for batch in batches:
        columns = [_texts(batch, column, name) for column in OUTSIDE_COLUMNS]
        chunks.append(pa.record_batch([pa.array(range(first, first + len(batch)), pa.int64()), *columns], _OUTSIDE))
        first += len(batch)
    return pa.Table.from_batches(chunks, _OUTSIDE)


def _texts(batch: pa.RecordBatch, column: str, name: str) -> pa.Array:
    if column not in batch.schema.names:
        return pa.nulls(len(batch), pa.string())
    values = batch.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type):
        # Bare times are UTC; a time is what the age of a break is counted from, never an amount of it.
        values = pc.strftime(values.cast(pa.timestamp("us", "UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    try:
        return values.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise SourceError(
            f"{name}: column {column} holds {values.type}", "Give texts, whole numbers or decimals."
        ) from error


def load_theirs(
    connection: duckdb.DuckDBPyConnection,
    outside: OutsideRows,
    assets: Sequence[BookAsset],
    *,
    only: BookAsset | None = None,
    keys: Sequence[str] = (),
) -> int:
    """Makes the temporary table `theirs(key, asset, amount, n, dated_at)`: one row per key and asset, in minor units.

    With `only`, rows of other assets are left out, and rows that name none are of it; so they are where the book has
    but one asset. `keys` are the only ones that the file may have, if given. Returns how many rows were left out.

    Raises:
        OutsideRowsError: rows that are no amounts of a key and an asset; all of them are counted, the first named.
    """
    default = only or (assets[0] if len(assets) == 1 else None)
    connection.register("outside_rows", outside.rows)
    connection.register("outside_numbers", _numbers(outside.rows["amount"]))
    connection.register("outside_times", _instants(outside.rows["dated_at"]))
    connection.register("asset_names", _asset_names(assets))
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE read_rows AS
        SELECT r.row, r.key, r.asset AS asset_text, r.amount AS amount_text, r.dated_at AS dated_text,
            n.number AS asset, n.symbol, n.scale, m.number AS digits,
            strlen(split_part(m.number, '.', 2)) AS decimals, t.us AS dated_at
        FROM outside_rows AS r
        LEFT JOIN asset_names AS n ON n.name = coalesce(nullif(r.asset, ''), $default)
        LEFT JOIN outside_numbers AS m ON m.text = r.amount
        LEFT JOIN outside_times AS t ON t.text = r.dated_at
        WHERE $only IS NULL OR n.symbol = $only""",
        {"default": default.symbol if default else None, "only": only.symbol if only else None},
    )
    _refuse_bad_rows(connection, outside.name, assets, keys)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE theirs AS
        SELECT key, asset, CAST(sum(CAST(split_part(digits, '.', 1) || rpad(split_part(digits, '.', 2), scale, '0')
            AS DECIMAL(38, 0))) AS DECIMAL(38, 0)) AS amount, count(*) AS n, min(dated_at) AS dated_at
        FROM read_rows GROUP BY key, asset"""
    )
    kept = one_row(connection, "SELECT count(*) FROM read_rows")
    connection.execute("DROP TABLE read_rows")
    for name in ("outside_rows", "outside_numbers", "outside_times", "asset_names"):
        connection.unregister(name)
    return int(outside.rows.num_rows) - (int(kept[0]) if kept else 0)


def _numbers(amounts: pa.ChunkedArray) -> pa.Table:
    """Every amount text that is a decimal, with its plain form."""
    texts = [text for text in pc.unique(amounts).to_pylist() if text is not None and _NUMBER.fullmatch(text)]
    plain = [canonical_number(_with_whole_part(text)) for text in texts]
    return pa.table({"text": pa.array(texts, pa.string()), "number": pa.array(plain, pa.string())})


def _with_whole_part(text: str) -> str:
    """`+.5` as `0.5`: some programs leave the zero out, and write the sign."""
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text.removeprefix("+"))
    return f"{sign}0{rest}" if rest.startswith(".") else sign + rest


def _instants(texts: pa.ChunkedArray) -> pa.Table:
    """Every text that is a date or a time, with its microseconds."""
    found = {text: _instant(text) for text in pc.unique(texts).to_pylist() if text}
    known = {text: us for text, us in found.items() if us is not None}
    return pa.table({"text": pa.array(list(known), pa.string()), "us": pa.array(list(known.values()), pa.int64())})


def _instant(text: str) -> int | None:
    try:
        return parse_timestamp(f"{text}T00:00:00Z" if len(text) == len("2026-01-31") else text)
    except ValueError:
        return None


def _asset_names(assets: Sequence[BookAsset]) -> pa.Table:
    named = [(name, asset) for asset in assets for name in (asset.symbol, asset.id)]
    return pa.table(
        {
            "name": pa.array([name for name, _ in named], pa.string()),
            "number": pa.array([asset.number for _, asset in named], pa.int32()),
            "symbol": pa.array([asset.symbol for _, asset in named], pa.string()),
            "scale": pa.array([asset.scale for _, asset in named], pa.int32()),
        }
    )


def _refuse_bad_rows(
    connection: duckdb.DuckDBPyConnection, name: str, assets: Sequence[BookAsset], keys: Sequence[str]
) -> None:
    """Raises OutsideRowsError where a row has no key, no asset of the book, no amount of its scale or an odd time."""
    bad = f"""FROM read_rows WHERE coalesce(key, '') = '' OR (len($keys) > 0 AND NOT list_contains($keys, key))
        OR symbol IS NULL OR digits IS NULL OR decimals > scale OR strlen(digits) > {DIGITS_MAX}
        OR (coalesce(dated_text, '') <> '' AND dated_at IS NULL)"""
    count = one_row(connection, f"SELECT count(*) {bad}", {"keys": list(keys)})
    if count is None or not count[0]:
        return
    columns = "row, key, asset_text, symbol, amount_text, digits, decimals, scale"
    rows = connection.execute(f"SELECT {columns} {bad} ORDER BY row LIMIT {ROWS_NAMED_MAX}", {"keys": list(keys)})
    symbols = ", ".join(asset.symbol for asset in assets) or "none yet"
    wrong = [f"row {row}: {_mistake(*rest, symbols=symbols, keys=keys)}" for row, *rest in rows.fetchall()]
    raise _bad_rows(name, wrong, int(count[0]))


def _mistake(
    key: str | None,
    asset: str | None,
    symbol: str | None,
    amount: str | None,
    digits: str | None,
    decimals: int | None,
    scale: int | None,
    *,
    symbols: str,
    keys: Sequence[str],
) -> str:
    """What is wrong with a row, and what to change."""
    if not key:
        return "key is empty: give every amount the key that it is compared by"
    if keys and key not in keys:
        return f"key {key!r} is no line: use {', '.join(keys)}"
    if symbol is None:
        what = f"asset {asset!r} is not in the book" if asset else "asset is empty"
        return f"{what}: the book has {symbols}; --asset SYMBOL compares one and leaves the others out"
    if digits is None or decimals is None or scale is None:
        what = f"amount is {amount!r}" if amount else "amount is empty"
        return f"{what}: write a plain decimal such as 1250.75, with a point and without separators"
    if decimals > scale:
        return f"amount {amount} has {decimals} decimals, {symbol} has {scale}: round it in a mapping if that is meant"
    if len(digits) > DIGITS_MAX:
        return f"amount {amount} has more than {DIGITS_MAX} digits"
    return "dated_at is no time: write a date or a time like 2026-01-31T18:00:00Z"


def _bad_rows(name: str, wrong: Sequence[str], count: int) -> OutsideRowsError:
    shown = "\n  ".join(wrong[:ROWS_NAMED_MAX])
    more = f"\n  … and {count - ROWS_NAMED_MAX:,} more" if count > ROWS_NAMED_MAX else ""
    rows = "1 row" if count == 1 else f"{count:,} rows"
    return OutsideRowsError(
        f"{name}: {rows} cannot be compared:\n  {shown}{more}",
        "Correct the file, or map its columns with a `sources` definition and --source NAME. Nothing was compared.",
    )
