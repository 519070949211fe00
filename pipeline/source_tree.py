"""A column of any Arrow type as JSON: the texts of its values, a row's value, and the cells of its members.

A typed column becomes a tree of `Leaf`, `Members` and `Items` nodes. Numbers are texts from the start (integers and
decimals as they are, floats as the shortest decimal that reads back), so the JSON text of all rows, the exact value of
one row and the cells that rules read come from the same characters. Null means absent, except in a list, where it keeps
its place. `odd` marks rows that columns cannot vouch for: the exact checks read those.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Int8s, Int64s, Kind
from earnbook.pipeline.intake import RowMistake
from earnbook.pipeline.intake_json import JsonMistake, NumberText, Value, is_json_number, parse_value
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.source_bytes import Bools, gather, number_cells
from earnbook.pipeline.source_scan import plain_numbers
from earnbook.pipeline.source_text import (
    Member,
    Texts,
    build_lists,
    build_objects,
    from_arrow,
    present_rows,
    to_arrow,
    utf8_rows,
)

_INFINITIES = {"inf": "Infinity", "-inf": "-Infinity"}


class LeafKind(Enum):
    """What the texts of a leaf are; JSON is a CSV cell that holds any JSON value."""

    TEXT = "string"
    NUMBER = "number"
    BOOL = "bool"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Scalars, as texts."""

    name: str
    kind: LeafKind
    texts: Texts
    odd: Bools

    @property
    def present(self) -> Bools:
        """The rows that have a value."""
        return self.texts.present


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Objects."""

    children: dict[str, Node]
    present: Bools
    odd: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Lists: row i holds items offsets[i] … offsets[i + 1]."""

    offsets: Int64s
    items: Node
    present: Bools
    odd: Bools


Node: TypeAlias = "Leaf | Members | Items"


class UnsupportedType(ValueError):
    """A column type without JSON form; the message names the column and the type."""


def node_of(array: pa.Array, name: str) -> Node:
    """The tree of an Arrow array; raises UnsupportedType."""
    kind = array.type
    if pa.types.is_struct(kind) and len({field.name for field in kind}) != kind.num_fields:
        raise UnsupportedType(f"column {name} has two members of one name")
    if isinstance(array, pa.ExtensionArray):
        return node_of(array.storage, name)
    if pa.types.is_dictionary(kind):
        return node_of(array.dictionary_decode(), name)
    if pa.types.is_struct(kind):
        children = {
            field.name: node_of(child, f"{name}.{field.name}")
            for field, child in zip(kind, array.flatten(), strict=True)
        }
        return members_of(children, present_rows(array))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _items_of(array, name)
    return _leaf_of(array, name)


def cell_leaf(texts: pa.Array, name: str, kind: LeafKind) -> Leaf:
    """The leaf of a flattened CSV column; an empty cell is absent."""
    values = from_arrow(texts)
    values = values._replace(present=values.present & (np.diff(values.offsets) > 0))
    return Leaf(name=name, kind=kind, texts=values, odd=~utf8_rows(texts) | _odd_cells(values, kind))


def members_of(children: dict[str, Node], present: Bools) -> Members:
    """Objects with the given members; rows that are not present have none."""
    odd = np.zeros(len(present), np.bool_)
    for child in children.values():
        odd |= child.odd
    return Members(children=children, present=present, odd=odd & present)


def texts_of(node: Node) -> Texts:
    """The JSON texts of a node, but the bare characters of a TEXT leaf (see `is_quoted`)."""
    if isinstance(node, Leaf):
        return node.texts
    if isinstance(node, Items):
        return build_lists(node.offsets, node.present, texts_of(node.items), is_quoted=is_quoted(node.items))
    members = [Member(name, texts_of(child), is_quoted(child)) for name, child in node.children.items()]
    return build_objects(members, node.present)


def depth_of_node(node: Node) -> int:
    """Levels of objects and lists that the node's type has; 0 for a scalar."""
    if isinstance(node, Leaf):
        return 0
    children = node.children.values() if isinstance(node, Members) else (node.items,)
    return 1 + max((depth_of_node(child) for child in children), default=0)


def is_quoted(node: Node) -> bool:
    """Whether the texts of a node need quotes to be JSON."""
    return isinstance(node, Leaf) and node.kind is LeafKind.TEXT


def value_at(node: Node, row: int) -> Value:
    """The value of one row, None where it is absent; raises RowMistake for a cell that does not fit its type."""
    if not node.present[row]:
        return None
    if isinstance(node, Items):
        return [value_at(node.items, item) for item in range(int(node.offsets[row]), int(node.offsets[row + 1]))]
    if isinstance(node, Members):
        return {name: value_at(child, row) for name, child in node.children.items() if child.present[row]}
    return _leaf_value(node, row)


def cells_at(root: Members, path: tuple[str, ...], rows: Bools, pool: StringPool) -> tuple[Int8s, Int64s, Int8s]:
    """The cells of the member at `path`, for `rows`; other rows are ABSENT."""
    node: Node | None = root
    present = rows
    for name in path:
        present = present & node.present if node is not None else present
        node = node.children.get(name) if isinstance(node, Members) else None
    kinds, values, scales = np.zeros(len(rows), np.int8), np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int8)
    if node is None:
        return kinds, values, scales
    present = present & node.present
    if isinstance(node, Leaf) and node.kind is LeafKind.NUMBER:
        numbers = np.where(present, np.int8(Kind.NUMBER), np.int8(Kind.ABSENT))
        return number_cells(node.texts.data, numbers, node.texts.offsets[:-1], node.texts.offsets[1:])
    kinds[present] = _cell_kind(node)
    if isinstance(node, Leaf) and node.kind is LeafKind.BOOL:
        values[present] = node.texts.data[node.texts.offsets[:-1][present]] == ord("t")
    elif isinstance(node, Leaf):
        values[present] = pool.intern(_arrow_texts(node.texts, present))
    return kinds, values, scales


def _cell_kind(node: Node) -> Kind:
    if isinstance(node, Members):
        return Kind.MAP
    if isinstance(node, Items):
        return Kind.LIST
    return Kind.BOOL if node.kind is LeafKind.BOOL else Kind.TEXT


def _items_of(array: pa.Array, name: str) -> Items:
    lists = array.cast(pa.list_(array.type.value_type)) if pa.types.is_fixed_size_list(array.type) else array
    items = node_of(lists.values, f"{name}[]")
    offsets = lists.offsets.to_numpy().astype(np.int64)
    odd_before = np.zeros(len(items.odd) + 1, np.int64)
    np.cumsum(items.odd, out=odd_before[1:])
    present = present_rows(array)
    return Items(
        offsets=offsets,
        items=items,
        present=present,
        odd=present & (odd_before[offsets[1:]] > odd_before[offsets[:-1]]),
    )


def _leaf_of(array: pa.Array, name: str) -> Leaf:
    kind = array.type
    if pa.types.is_null(kind):
        return _text_leaf(array.cast(pa.string()), name)
    if pa.types.is_boolean(kind):
        texts = from_arrow(array.cast(pa.string()))
        return Leaf(name=name, kind=LeafKind.BOOL, texts=texts, odd=np.zeros(len(array), np.bool_))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        texts = from_arrow(_number_texts(array))
        return Leaf(name=name, kind=LeafKind.NUMBER, texts=texts, odd=_odd_cells(texts, LeafKind.NUMBER))
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        return _text_leaf(_time_texts(array), name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text_leaf(array, name)
    if pa.types.is_string_view(kind):
        return _text_leaf(array.cast(pa.large_string()), name)
    raise UnsupportedType(f"column {name} has the type {kind}, which has no JSON form")


def _text_leaf(array: pa.Array, name: str) -> Leaf:
    return Leaf(name=name, kind=LeafKind.TEXT, texts=from_arrow(array), odd=~utf8_rows(array))


def _number_texts(array: pa.Array) -> pa.Array:
    """Plain decimal text; Arrow's own cast would write small decimals with an exponent."""
    if pa.types.is_decimal256(array.type):
        return array.cast(pa.string())
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    return pl.Series(array).cast(pl.String).to_arrow().cast(pa.large_string())


def _time_texts(array: pa.Array) -> pa.Array:
    """Times as RFC 3339 text, in UTC where the column has a zone, without offset where it has none."""
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = array.cast(pa.timestamp(array.type.unit, "UTC"))
    return pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)


def _leaf_value(leaf: Leaf, row: int) -> Value:
    texts = leaf.texts
    try:
        text = texts.data[texts.offsets[row] : texts.offsets[row + 1]].tobytes().decode()
    except UnicodeDecodeError:
        why = f"{leaf.name}: the text is not UTF-8: save the file as UTF-8"
        raise RowMistake(RejectReason.UNPARSEABLE_ROW, leaf.name, why) from None
    if leaf.kind is LeafKind.TEXT:
        return text
    if leaf.kind is LeafKind.BOOL and text in ("true", "false"):
        return text == "true"
    if leaf.kind is LeafKind.NUMBER and (is_json_number(text) or text in ("NaN", "inf", "-inf")):
        return NumberText(_INFINITIES.get(text, text))
    if leaf.kind is LeafKind.JSON:
        try:
            return parse_value(text)
        except JsonMistake as mistake:
            why = f"{leaf.name}: {mistake}: correct the cell"
            raise RowMistake(RejectReason.UNPARSEABLE_ROW, leaf.name, why) from None
    why = f"{leaf.name}: {text[:60]!r} is not a {leaf.kind.value}: correct the cell, or declare the column as string"
    raise RowMistake(RejectReason.UNPARSEABLE_ROW, leaf.name, why)


def _arrow_texts(texts: Texts, rows: Bools) -> pa.Array:
    """The texts of some rows."""
    chosen = np.flatnonzero(rows)
    every = np.ones(len(chosen), np.bool_)
    offsets, data = gather(texts.data, texts.offsets[:-1][chosen], texts.offsets[1:][chosen], every)
    return to_arrow(Texts(offsets, data, every))


def _odd_cells(texts: Texts, kind: LeafKind) -> Bools:
    """Cells that are present and not plainly of their kind."""
    if kind is LeafKind.NUMBER:
        return texts.present & ~plain_numbers(texts.data, texts.offsets[:-1], texts.offsets[1:])
    if kind is LeafKind.BOOL:
        words = pa.array(["true", "false"])
        is_word: Bools = pc.is_in(to_arrow(texts), words).to_numpy(zero_copy_only=False)
        return texts.present & ~is_word
    return texts.present.copy() if kind is LeafKind.JSON else np.zeros(len(texts.present), np.bool_)
