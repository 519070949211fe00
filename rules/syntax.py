"""The syntax tree of a CEL expression, with source spans. Plain data: every later stage reads it, none changes it.

Operators are calls named as CEL names them:
`_+_ _-_ _*_ _/_ _%_ -_ !_ _&&_ _||_ _?_:_ _==_ _!=_ _<_ _<=_ _>_ _>=_ @in`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias


class Uint(int):
    """A CEL uint value; kept apart from int, which is CEL's int."""

    __slots__ = ()


Constant: TypeAlias = "bool | int | Uint | Decimal | str | bytes | None"
"""A literal's value; a CEL double is a Decimal (§5.1)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters in the expression's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Any node; `id` is unique within its expression."""

    id: int
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(Node):
    """A constant."""

    value: Constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Node):
    """A variable, built-in or bound by a macro."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Node):
    """`operand.field`; `operand.?field` when optional."""

    operand: Node
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Has(Node):
    """`has(operand.field)`."""

    operand: Node
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Node):
    """`operand[index]`; `operand[?index]` when optional."""

    operand: Node
    index: Node
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    """An operator, a global function (`target` is None) or a method."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLiteral(Node):
    """`[a, b]`; `optional_indices` are the positions written `?a`."""

    items: tuple[Node, ...]
    optional_indices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLiteral(Node):
    """`{k: v}`; `optional_indices` are the positions of entries written `?k: v`."""

    entries: tuple[tuple[Node, Node], ...]
    optional_indices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comprehension(Node):
    """A macro over a list or map: `all exists exists_one map filter` and the two-variable forms."""

    macro: str
    range: Node
    variables: tuple[str, ...]
    body: Node
    transform: Node | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Node):
    """`cel.bind(name, value, body)`."""

    name: str
    value: Node
    body: Node


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression and the text it came from."""

    text: str
    root: Node
