"""What rules read of one batch, as arrays for the kernel: event cells at one scale a column, precomputed columns.

In: conformed records (`records.records_schema`), the compiled ruleset, the run's text pool. Out: `Columns` and `Tables`
of `ledger.schema`. Columns that the kernel cannot compute are made by the closures here, once per distinct input where
the inputs are plain, else per row. Nothing here decides anything.

Sketch: one pass over 10 bytes a cell to find the scale and one to rescale; 10 M events with five paths are 0.5 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numba import njit

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import COLUMN_SCALE_MAX, Columns, Int8s, Int64s, Kind, Tables
from earnbook.pipeline.records import cell_names
from earnbook.rules.compile import CompiledRuleset, look_up, precompute
from earnbook.rules.plan_columns import LookupTable, PrecomputedColumn
from earnbook.rules.values import CelLimit, EvaluationError, Timestamp, Value

_NUMBER = int(Kind.NUMBER)
_WIDE = int(Kind.WIDE)
_MAX = np.iinfo(np.int64).max
_MIN = np.iinfo(np.int64).min
_POWERS = np.array([10**n for n in range(COLUMN_SCALE_MAX + 1)], np.int64)


def batch_columns(records: pa.Table, ruleset: CompiledRuleset, pool: StringPool) -> Columns:
    """Everything rules read of a batch, in log order: event cells, then precomputed columns.

    A number that does not fit in an int64 at its column's scale becomes WIDE, so that its row goes to the closures.
    """
    paths, precomputed = len(ruleset.event_columns), ruleset.precomputed_columns
    columns = _event_columns(records, paths, len(precomputed))
    for position, column in enumerate(precomputed):
        _put_values(columns, paths + position, _precomputed(records, column, columns, pool))
    return columns


def event_of(text: str) -> Mapping[str, Value]:
    """The `event` variable of a JSON text: every number is an exact decimal (§5.1)."""
    event: Mapping[str, Value] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return event


class TextTables:
    """The lookup tables over the run's text pool; they follow the pool as it grows."""

    def __init__(self, tables: Sequence[LookupTable], pool: StringPool) -> None:
        self._tables = tables
        self._pool = pool
        self._filled = 0
        self._results = np.zeros((len(tables), 1024), np.uint8)

    def current(self) -> Tables:
        """The tables for all texts of the pool as it is now."""
        size = len(self._pool)
        if size > self._filled and self._tables:
            self._grow(size)
            texts = self._pool.texts(np.arange(self._filled, size)).to_pylist()
            for row, table in enumerate(self._tables):
                self._results[row, self._filled : size] = look_up(table, texts)
        self._filled = size
        stride = self._results.shape[1]
        offsets = np.arange(len(self._tables), dtype=np.int64) * stride
        return Tables(offsets=offsets, results=self._results.reshape(-1))

    def _grow(self, size: int) -> None:
        if size <= self._results.shape[1]:
            return
        results = np.zeros((len(self._tables), 2 * size), np.uint8)
        results[:, : self._filled] = self._results[:, : self._filled]
        self._results = results


def _event_columns(records: pa.Table, path_count: int, extra: int) -> Columns:
    rows = records.num_rows
    kind = np.zeros((path_count + extra, rows), np.int8)
    value = np.zeros((path_count + extra, rows), np.int64)
    scale = np.zeros(path_count + extra, np.int64)
    for path in range(path_count):
        kinds, values, scales = (records.column(name).to_numpy() for name in cell_names(path))
        kind[path], value[path] = kinds, values
        scale[path] = _widest(kind[path], scales)
        if scale[path] > 0:
            _rescale(kind[path], value[path], scales, int(scale[path]), _POWERS)
    now = np.array(records.column("timestamp").to_numpy(), np.int64)
    return Columns(kind=kind, value=value, scale=scale, now=now)


Cell = tuple[int, "Decimal | int"]
"""A precomputed value: its Kind, and a Decimal for NUMBER, else the integer that `Kind` says."""


def _precomputed(records: pa.Table, column: PrecomputedColumn, columns: Columns, pool: StringPool) -> Iterator[Cell]:
    texts = records.column("event_data").to_pylist()
    # Operations have no event data; nothing reads their cells.
    events = (event_of(text) if text is not None else {} for text in texts)
    for value in precompute(column, events, columns.now.tolist()):
        yield _value_cell(value, pool)


def _value_cell(value: Value | EvaluationError, pool: StringPool) -> Cell:
    match value:
        case CelLimit():
            return int(Kind.WIDE), 0
        case EvaluationError():
            return int(Kind.ERROR), 0
        case None:
            return int(Kind.NULL), 0
        case bool():
            return int(Kind.BOOL), int(value)
        case Decimal():
            return int(Kind.NUMBER), value
        case str():
            return int(Kind.TEXT), pool.intern_text(value)
        case list():
            return int(Kind.LIST), 0
        case dict():
            return int(Kind.MAP), 0
        case Timestamp(nanoseconds=nanoseconds) if nanoseconds % 1000 == 0:
            return int(Kind.TIMESTAMP), nanoseconds // 1000
        case int() if type(value) is int:
            return int(Kind.INT), value
        case _:
            return int(Kind.WIDE), 0


def _put_values(columns: Columns, column: int, cells: Iterator[Cell]) -> None:
    """Fill a precomputed column; its scale is the largest that a number needs, at most 6; what does not fit is WIDE."""
    found = list(cells)
    numbers = [value for _, value in found if isinstance(value, Decimal)]
    scale = min(COLUMN_SCALE_MAX, max((_scale_of(number) for number in numbers), default=0))
    columns.scale[column] = scale
    for row, (kind, value) in enumerate(found):
        columns.kind[column, row], columns.value[column, row] = _cell(kind, value, scale)


def _scale_of(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _cell(kind: int, value: Decimal | int, scale: int) -> tuple[int, int]:
    if not isinstance(value, Decimal):
        return (kind, value) if _MIN <= value <= _MAX else (_WIDE, 0)
    if not value.is_finite():
        return _WIDE, 0
    numerator, denominator = value.as_integer_ratio()
    mantissa, rest = divmod(numerator * 10**scale, denominator)
    if rest or not _MIN <= mantissa <= _MAX:
        return _WIDE, 0
    return kind, mantissa


@njit(cache=True)
def _widest(kind: Int8s, scale: Int8s) -> int:
    """The largest scale among the numbers."""
    widest = 0
    for row in range(len(kind)):
        if kind[row] == _NUMBER and scale[row] > widest:
            widest = scale[row]
    return widest


@njit(cache=True)
def _rescale(kind: Int8s, value: Int64s, scale: Int8s, target: int, powers: Int64s) -> None:
    """Bring every number to the target scale, in place; one that leaves the int64 bounds becomes WIDE."""
    for row in range(len(kind)):
        if kind[row] != _NUMBER or scale[row] == target:
            continue
        factor = powers[target - scale[row]]
        if value[row] > _MAX // factor or value[row] < -(_MAX // factor):
            kind[row] = _WIDE
            value[row] = 0
        else:
            value[row] *= factor
