"""What generated kernel code knows of a CEL value while it is written: the values of `kernel_expressions`, and code.

Every value is a handful of *names*: Python expressions (variables or constants) of int64 or bool that the generated
code has already computed. An error is a value, never an exception: numbers, texts and times carry an
`error` name, a boolean is 0, 1 or 2 for error. `Code` collects lines, and remembers which arrays and literals they use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from earnbook.ledger.schema import Kind
from earnbook.rules.plan_columns import LiteralKind, StateLiteral


@dataclass(frozen=True, slots=True)
class Array:
    """Where `propose` finds an array: a field of a named tuple (or the array itself), its item and row width."""

    holder: str
    field: int | None
    item: str = "int64"
    width: str | None = None


PLACES = ("record", "slot", "program_slot", "group_slot")
"""Where the event at hand stands: every generated function takes these first."""

GIVEN = (*PLACES, "processed_at", "evaluation")
"""What `rules` takes before arrays and row widths."""

ARRAYS: dict[str, Array] = {
    "kind": Array("columns", 0, "int8", "records"),
    "value": Array("columns", 1, "int64", "records"),
    "scale": Array("columns", 2),
    "now": Array("columns", 3),
    "counter_low": Array("cells", 0, "int64", "counters"),
    "counter_high": Array("cells", 1, "int64", "counters"),
    "counter_scale": Array("cells", 2, "int8", "counters"),
    "counter_reset_at": Array("cells", 3, "int64", "counters"),
    "counter_reset_after": Array("cells", 4, "int64", "counters"),
    "tags": Array("cells", 5, "int64", "tag_words"),
    "attribute_kind": Array("cells", 6, "int8", "attributes"),
    "attribute_value": Array("cells", 7, "int64", "attributes"),
    "status": Array("cells", 9, "int8"),
    "tier_level": Array("cells", 10, "int8", "tier_types"),
    "tier_acquired_at": Array("cells", 11, "int64", "tier_types"),
    "tier_expires_at": Array("cells", 12, "int64", "tier_types"),
    "table_offsets": Array("tables", 0),
    "table_results": Array("tables", 1, "int8"),
    "literals": Array("literals", None),
    "effects": Array("effects", None),
}
"""Arrays by the name that generated functions give their address; the fields are those of `ledger.schema`."""

WIDTHS: dict[str, str] = {array.width: name for name, array in reversed(ARRAYS.items()) if array.width is not None}
"""Row widths by name, and an array that has this width. All arrays of one kind of key have the same width."""


class Unsupported(Exception):
    """The kernel cannot express this; the message says why, for `explain`."""


@dataclass(frozen=True, slots=True)
class Bool:
    """0 false, 1 true, 2 error."""

    code: str


@dataclass(frozen=True, slots=True)
class Number:
    """mantissa / 10**scale; the mantissa is 0 where there is an error.

    `integer` says whether its CEL type is int (None: not known before the row is seen); `constant`: a literal's value.
    """

    mantissa: str
    scale: str
    error: str
    integer: bool | None
    constant: int | Decimal | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A code of the text pool; `constant` is a literal's text."""

    code: str
    error: str
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """An instant in microseconds since 1970."""

    microseconds: str
    error: str


@dataclass(frozen=True, slots=True)
class Length:
    """A duration in microseconds."""

    microseconds: str
    error: str


@dataclass(frozen=True, slots=True)
class StatusOf:
    """The status of an entity, a `Status` code whose text is its name."""

    code: str
    error: str


@dataclass(frozen=True, slots=True)
class Null:
    """CEL null."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A constant expression that is an error, such as `1 / 0`."""


@dataclass(frozen=True, slots=True)
class Dyn:
    """A value whose type is known only per row: a `Kind`, its int64 and, for numbers, its scale.

    `integer`: whether a number in it is a CEL int (None: either).
    """

    kind: str
    value: str
    scale: str
    integer: bool | None


Lowered: TypeAlias = Bool | Number | Text | Time | Length | StatusOf | Null | Failure | Dyn


def any_of(*errors: str) -> str:
    """The disjunction of error names; "True" and "False" are constants."""
    if "True" in errors:
        return "True"
    names = list(dict.fromkeys(error for error in errors if error != "False"))
    if not names:
        return "False"
    return names[0] if len(names) == 1 else f"({' or '.join(names)})"


def is_any(kind: str, *kinds: Kind) -> str:
    """The condition that a kind is one of these."""
    return f"({' or '.join(f'{kind} == {int(one)}' for one in kinds)})"


@dataclass(slots=True)
class Block:
    """Lines of code, with the depth they were written at."""

    lines: list[tuple[int, str]]
    depth: int


@dataclass(slots=True)
class Code:
    """The body of one generated function while it is written."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    depth: int = 1
    arrays: set[str] = field(default_factory=set)
    names: int = 0

    def name(self, prefix: str) -> str:
        """A fresh variable."""
        self.names += 1
        return f"{prefix}{self.names}"

    def emit(self, line: str) -> None:
        """Add a line at the current depth."""
        self.lines.append((self.depth, line))

    def assign(self, prefix: str, expression: str) -> str:
        """Add `variable = expression` and return the fresh variable."""
        variable = self.name(prefix)
        self.emit(f"{variable} = {expression}")
        return variable

    def cell(self, name: str, column: str, row: str | None = None) -> str:
        """The expression that loads an item of an array; the function takes what it needs for that as parameters."""
        array = ARRAYS[name]
        self.arrays.add(name)
        if array.width is None:
            return f"load_{array.item}({name}, {column})"
        self.arrays.add(array.width)
        return f"load_{array.item}({name}, {row} * {array.width} + {column})"

    @contextmanager
    def nested(self, header: str) -> Iterator[None]:
        """Add a header such as `if x:` and indent what follows inside the `with`."""
        self.emit(header)
        self.depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.emit("pass")
        self.depth -= 1

    @contextmanager
    def captured(self) -> Iterator[Block]:
        """Collect what is written inside the `with` in a block, one level deeper; nothing is added here."""
        outer, depth = self.lines, self.depth
        block = Block([], depth + 1)
        self.lines = block.lines
        self.depth += 1
        try:
            yield block
        finally:
            self.lines, self.depth = outer, depth

    def insert(self, block: Block) -> None:
        """Add a captured block at the current depth."""
        shift = self.depth - block.depth
        self.lines.extend((depth + shift, line) for depth, line in block.lines)

    def render(self) -> list[str]:
        """The lines with their indentation."""
        return [f"{'    ' * depth}{line}" for depth, line in self.lines]


@dataclass(slots=True)
class LiteralList:
    """The literals of one program in the order in which generated code first needs them."""

    numbers: dict[StateLiteral, int] = field(default_factory=dict)

    def name(self, code: Code, kind: LiteralKind, text: str) -> str:
        """The generated name of a literal's integer."""
        number = self.numbers.setdefault(StateLiteral(kind, text), len(self.numbers))
        return code.cell("literals", f"L{number}")
