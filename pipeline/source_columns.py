"""Columnar sources: tables of fields (Parquet, Arrow IPC, CSV cells, the result of a mapping) to records.

`event_data` is one column (JSON text, or a struct) or flattened columns `event_data.<path>`; §3.1. The JSON text of
event_data and the cells that rules read come straight from the columns, without a Python object per row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import TIME_MAX, Int64s, Kind
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.intake import EVENT_FIELDS, Row, RowMistake
from earnbook.pipeline.intake_columns import CellColumns, Conformed, Draft, Intake, conform
from earnbook.pipeline.intake_json import (
    DEPTH_MAX,
    EVENT_DATA_BYTES_MAX,
    JsonMistake,
    JsonTooDeep,
    NumberText,
    Value,
    parse_value,
    write_json,
)
from earnbook.pipeline.intake_operation_columns import FIELDS as OPERATION_FIELDS
from earnbook.pipeline.intake_operation_columns import Cells, OperationDraft
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.source_bytes import Bools, timestamps
from earnbook.pipeline.source_ndjson import span_cells
from earnbook.pipeline.source_scan import PLAIN, build_trie, scan_objects
from earnbook.pipeline.source_text import from_arrow, present_rows, to_arrow, utf8_rows
from earnbook.pipeline.source_tree import (
    Items,
    Leaf,
    LeafKind,
    Members,
    Node,
    UnsupportedType,
    cell_leaf,
    cells_at,
    depth_of_node,
    members_of,
    node_of,
    texts_of,
    value_at,
)

ROWS_MAX = 131_072
"""Rows conformed at a time."""

EVENT_DATA = "event_data"
_FLAT_PREFIX = "event_data."
_LEAF_KINDS = frozenset(kind.value for kind in LeafKind)
_LEAF_CELLS = {LeafKind.TEXT: Kind.TEXT, LeafKind.NUMBER: Kind.NUMBER, LeafKind.BOOL: Kind.BOOL}
_UNIT_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_TEXT_FIELDS = tuple(name for name in EVENT_FIELDS if name not in (EVENT_DATA, "event_timestamp"))
_INTEGER_FIELDS = frozenset({"idempotency_key", "external_id", "recipient_external_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the columns of a source are read; checked once, before the first row.

    `flattened` maps the path of each flattened column to its name and, for CSV cells, its declared kind; `timezone` is
    the zone of times without one.
    """

    names: tuple[str, ...]
    flattened: dict[tuple[str, ...], tuple[str, LeafKind]] = field(default_factory=dict)
    is_cells: bool = False
    timezone: str | None = None


def check_layout(names: list[str], source: str, *, is_cells: bool, timezone: str | None = None) -> Layout:
    """The layout of columns with these names; raises SourceError where they cannot be records."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(f"{source}: the column {twice[0]!r} occurs twice", "Give every column a name of its own.")
    has_time = "event_timestamp" in names or "effective_at" in names
    if "idempotency_key" not in names or not has_time:
        missing = "idempotency_key" if "idempotency_key" not in names else "event_timestamp or effective_at"
        shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        raise SourceError(
            f"{source}: there is no column {missing} (columns: {shown})",
            "Name the columns as the record's fields, or map them with a `sources` definition and --source NAME.",
        )
    flattened: dict[tuple[str, ...], tuple[str, LeafKind]] = {}
    for name in names:
        if name.startswith(_FLAT_PREFIX):
            path, kind = _flat_column(name, source, is_cells=is_cells)
            if path in flattened:
                raise SourceError(f"{source}: two columns hold {'.'.join(path)}", "Keep one of them.")
            flattened[path] = (name, kind)
    for path, (name, _) in flattened.items():
        if EVENT_DATA in names or any(path[:length] in flattened for length in range(1, len(path))):
            raise SourceError(
                f"{source}: the column {name} lies inside another column of event_data", "Keep one of the two forms."
            )
    return Layout(names=tuple(names), flattened=flattened, is_cells=is_cells, timezone=timezone)


def read_tables(
    tables: Iterator[pa.Table | pa.RecordBatch], layout: Layout, source: str, intake: Intake, first_row: int = 1
) -> Iterator[Conformed]:
    """Conform tables of consecutive rows, in order."""
    row = first_row
    for table in tables:
        for start in range(0, len(table), ROWS_MAX):
            part = table.slice(start, ROWS_MAX)
            source_rows = np.arange(row, row + len(part), dtype=np.int64)
            yield conform_table(part, source_rows, layout, source, intake)
            row += len(part)


def conform_table(
    table: pa.Table | pa.RecordBatch, source_rows: Int64s, layout: Layout, source: str, intake: Intake
) -> Conformed:
    """Conform the rows of one table, whose row numbers are `source_rows`."""
    columns = {name: _one_array(table.column(name), layout) for name in layout.names}
    for name, column in columns.items():
        columns[name] = _with_zone(column, layout, intake)
    reader = _Reader(columns, layout, source)
    draft = _draft(reader, source_rows, intake)
    return conform(draft, intake, reader.row, reader.raw)


class _Reader:
    """The columns of one table, read as trees when they are needed, and its rows one by one."""

    def __init__(self, columns: dict[str, pa.Array], layout: Layout, source: str) -> None:
        self.columns = columns
        self.layout = layout
        self.rows = len(next(iter(columns.values())))
        self._source = source
        self._nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        """The tree of a column; a flattened CSV column as its declared kind."""
        if name not in self._nodes:
            kinds = dict(self.layout.flattened.values()) if self.layout.is_cells else {}
            try:
                column = self.columns[name]
                self._nodes[name] = cell_leaf(column, name, kinds[name]) if name in kinds else node_of(column, name)
            except UnsupportedType as error:
                raise SourceError(
                    f"{self._source}: {error}", "Cast the column in the source, or leave it out."
                ) from None
        return self._nodes[name]

    def event_data(self) -> Members | None:
        """The tree of event_data where it is a struct or flattened columns."""
        if self.layout.flattened:
            return self._flattened((), list(self.layout.flattened), np.ones(self.rows, np.bool_))
        if EVENT_DATA not in self.columns or not pa.types.is_struct(self.columns[EVENT_DATA].type):
            return None
        node = self.node(EVENT_DATA)
        assert isinstance(node, Members)
        return node

    def row(self, index: int) -> Row:
        """One row exactly."""
        values: dict[str, Value] = {}
        texts: dict[str, str] = {}
        for name in self.columns:
            value = self._value(name, index)
            if value is not None:
                values[name] = value
        if values.get("type") not in (None, ""):
            return Row(values=values, is_cells=self.layout.is_cells)
        if self.layout.flattened:
            values = {name: value for name, value in values.items() if not name.startswith(_FLAT_PREFIX)}
            tree = self.event_data()
            values[EVENT_DATA] = None if tree is None else value_at(tree, index)
        text = values.get(EVENT_DATA)
        if isinstance(text, str) and not isinstance(text, NumberText) and text != "":
            texts[EVENT_DATA], values[EVENT_DATA] = text, _parse_event_data(text)
        return Row(values=values, texts=texts, is_cells=self.layout.is_cells)

    def raw(self, index: int) -> str:
        """One row as JSON text; a text that is not UTF-8 is shown as far as it is."""
        values: dict[str, Value] = {}
        for name in self.columns:
            try:
                value = self._value(name, index)
            except RowMistake:
                cell = self.columns[name][index]
                value = bytes(cell.as_buffer()).decode("utf-8", errors="backslashreplace") if cell.is_valid else None
            if value is not None:
                values[name] = value
        return write_json(values)

    def _value(self, name: str, index: int) -> Value:
        return value_at(self.node(name), index)

    def _flattened(self, prefix: tuple[str, ...], paths: list[tuple[str, ...]], present: Bools) -> Members:
        children: dict[str, Node] = {}
        for path in paths:
            name = path[len(prefix)]
            if name in children:
                continue
            inner = [other for other in paths if other[len(prefix)] == name]
            if len(path) == len(prefix) + 1:
                children[name] = self.node(self.layout.flattened[path][0])
            else:
                children[name] = self._flattened((*prefix, name), inner, np.zeros(self.rows, np.bool_))
        if prefix:
            present = np.logical_or.reduce([child.present for child in children.values()])
        return members_of(children, present)


def _flat_column(name: str, source: str, *, is_cells: bool) -> tuple[tuple[str, ...], LeafKind]:
    text, _, kind = name.removeprefix(_FLAT_PREFIX).partition(":")
    path = tuple(text.split("."))
    if "" in path or (kind and (not is_cells or kind not in _LEAF_KINDS)):
        raise SourceError(
            f"{source}: the column {name!r} cannot be read",
            "Write event_data.<path> or, in CSV, event_data.<path>:string, :number, :bool or :json.",
        )
    return path, LeafKind(kind) if kind else LeafKind.TEXT


def _one_array(column: pa.Array | pa.ChunkedArray, layout: Layout) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if layout.is_cells:
        # Bytes seen as text without a look at them: whoever reads a cell checks that it is UTF-8.
        return array.view(pa.string())
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _with_zone(column: pa.Array, layout: Layout, intake: Intake) -> pa.Array:
    """A time column of the top level with a zone, where one is known for it (INTERFACE: ambiguous means the first)."""
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
        kind = column.type
    if not pa.types.is_timestamp(kind) or kind.tz is not None:
        return column
    if layout.timezone is not None:
        return pc.assume_timezone(column, layout.timezone, ambiguous="earliest", nonexistent="latest")
    return pc.assume_timezone(column, "UTC") if intake.contract.assume_utc else column


def _parse_event_data(text: str) -> Value:
    try:
        return parse_value(text)
    except JsonTooDeep as mistake:
        raise RowMistake(RejectReason.EVENT_DATA_TOO_LARGE, EVENT_DATA, f"{mistake}: flatten it") from None
    except JsonMistake as mistake:
        raise RowMistake(RejectReason.UNPARSEABLE_ROW, EVENT_DATA, f"event_data: {mistake}: correct the cell") from None


def _draft(reader: _Reader, source_rows: Int64s, intake: Intake) -> Draft:
    rows, columns, layout = reader.rows, reader.columns, reader.layout
    doubtful = _filled(columns.get("type"), rows, layout)
    texts = {}
    for name in _TEXT_FIELDS:
        if name in columns:
            texts[name], odd = _field_texts(columns[name], name, layout)
            doubtful = doubtful | odd
    times, is_timed = _times(columns.get("event_timestamp"), rows, intake)
    event_data, cells, odd = _event_data(reader, doubtful, intake)
    known = {"type", *EVENT_FIELDS, *(name for name, _ in layout.flattened.values())}
    return Draft(
        source_rows=source_rows,
        texts=texts,
        timestamps=times,
        is_timed=is_timed,
        event_data=event_data,
        cells=cells,
        doubtful=doubtful | odd,
        unknown={name: _filled(column, rows, layout) for name, column in columns.items() if name not in known},
        operations=_operations(reader, intake),
    )


def _operations(reader: _Reader, intake: Intake) -> OperationDraft | None:
    """The rows with a type, and their fields as trees."""
    layout, kind = reader.layout, reader.columns.get("type")
    rows = np.flatnonzero(_filled(kind, reader.rows, layout))
    if not len(rows):
        return None
    columns = reader.columns
    if len(rows) < reader.rows:
        columns = {name: column.take(pa.array(rows)) for name, column in columns.items()}
    doubtful = np.zeros(len(rows), np.bool_)
    fields = {}
    for name, column in columns.items():
        if name == "effective_at":
            continue
        if name not in OPERATION_FIELDS:
            doubtful |= _filled(column, len(rows), layout)
            continue
        fields[name], odd = _operation_cells(node_of(column, name))
        doubtful |= odd
    times, is_timed = _times(columns.get("effective_at"), len(rows), intake)
    return OperationDraft(
        rows=rows,
        fields=fields,
        timestamps=times,
        is_timed=is_timed,
        doubtful=doubtful,
        is_cells=layout.is_cells,
    )


def _operation_cells(node: Node) -> tuple[Cells, Bools]:
    """A field of operations, and the rows whose value columns do not vouch for."""
    match node:
        case Leaf():
            kind = _LEAF_CELLS[node.kind]
        case Items():
            kind = Kind.LIST
        case Members():
            kind = Kind.MAP
    kinds = np.where(node.present, np.int8(kind), np.int8(Kind.ABSENT))
    return Cells(kinds, texts_of(node)), node.odd


def _filled(column: pa.Array | None, rows: int, layout: Layout) -> Bools:
    """Which rows have a value: not null and, in CSV, not empty."""
    if column is None:
        return np.zeros(rows, np.bool_)
    filled = present_rows(column)
    return filled & (np.diff(from_arrow(column).offsets) > 0) if layout.is_cells else filled


def _field_texts(column: pa.Array, name: str, layout: Layout) -> tuple[pa.Array, Bools]:
    """A field as text, null where it is absent or not plainly text, and which rows need the exact checks."""
    kind = column.type
    is_integer = pa.types.is_integer(kind) or (pa.types.is_decimal128(kind) and kind.scale == 0)
    if is_integer and name in _INTEGER_FIELDS:
        return column.cast(pa.string()), np.zeros(len(column), np.bool_)
    if not _is_text(kind):
        return pa.nulls(len(column), pa.string()), present_rows(column)
    good = utf8_rows(column)
    texts = from_arrow(column)
    keep = good & _filled(column, len(column), layout)
    return to_arrow(texts._replace(present=keep)), ~good


def _times(column: pa.Array | None, rows: int, intake: Intake) -> tuple[Int64s, Bools]:
    """Timestamps in microseconds, and which of them are plainly good."""
    if column is None:
        return np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
    if not (pa.types.is_timestamp(column.type) and column.type.tz is not None):
        texts = from_arrow(column if _is_text(column.type) else pa.nulls(rows, pa.string()))
        values, good = timestamps(
            texts.data, texts.offsets[:-1], texts.offsets[1:], assume_utc=intake.contract.assume_utc
        )
        return values, good & texts.present
    present, unit = present_rows(column), column.type.unit
    ticks = column.cast(pa.int64()).fill_null(0).to_numpy()
    if unit == "ns":
        ticks, factor = ticks // 1_000, 1
    else:
        factor = _UNIT_MICROSECONDS[unit]
    in_range = (ticks >= 0) & (ticks <= TIME_MAX // factor)
    return np.where(in_range, ticks, 0) * factor, present & in_range


def _event_data(reader: _Reader, doubtful: Bools, intake: Intake) -> tuple[pa.Array, CellColumns, Bools]:
    """The JSON text of event_data, the cells of the paths, and which rows need the exact checks."""
    tree = reader.event_data()
    if tree is None:
        return _json_event_data(reader.columns.get(EVENT_DATA), doubtful, intake)
    texts = texts_of(tree)
    odd = tree.odd | ~tree.present | (np.diff(texts.offsets) > EVENT_DATA_BYTES_MAX)
    if depth_of_node(tree) > DEPTH_MAX:
        odd = np.ones(reader.rows, np.bool_)
    cells = [cells_at(tree, path, ~(doubtful | odd), intake.pool) for path in intake.paths]
    return to_arrow(texts), cells, odd


def _json_event_data(column: pa.Array | None, doubtful: Bools, intake: Intake) -> tuple[pa.Array, CellColumns, Bools]:
    """As `_event_data`, of a column of JSON texts; of a column of another type no row is plain."""
    is_text = column is not None and _is_text(column.type)
    texts = from_arrow(column if is_text else pa.nulls(len(doubtful), pa.string()))
    starts, ends = texts.offsets[:-1], texts.offsets[1:]
    trie = build_trie(intake.paths)
    scan = scan_objects(texts.data, starts, ends, trie, len(intake.paths), notes_unknown=False)
    plain = texts.present & (scan.status == PLAIN) & (ends - starts <= EVENT_DATA_BYTES_MAX)
    if is_text:
        plain &= utf8_rows(column)
    cells = span_cells(texts.data, scan.spans, 0, plain & ~doubtful, intake.pool)
    return to_arrow(texts), cells, ~plain


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
