"""The inputs of compiled rules: event columns, precomputed columns, lookup tables and literals, and their numbers.

The `Inventory` numbers them. It is shared by all programs of a ruleset, because a batch has one set of columns; the
pipeline fills what it lists before anything is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias
from typing import Literal as OneOf

from earnbook.rules.plan_reads import EventColumn
from earnbook.rules.syntax import Expression

LiteralKind: TypeAlias = OneOf["text", "counter", "tag", "attribute", "tier"]

PLACEHOLDER = "event"
"""The variable that stands for the text in the expression of a `LookupTable`."""


@dataclass(frozen=True, slots=True)
class PrecomputedColumn:
    """An expression over the event and `now` alone that the kernel cannot express: the closures compute it per row.

    `reads` are the event fields it depends on (rows that agree on them, and on `now` where `reads_now`, have the same
    value); it is None when the expression needs the whole event.
    """

    text: str
    expression: Expression = field(compare=False)
    reads: tuple[EventColumn, ...] | None = field(compare=False)
    reads_now: bool = field(compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A boolean expression over one text, evaluated once per text of the pool.

    In `expression` the variable `PLACEHOLDER` is the text.
    """

    text: str
    expression: Expression = field(compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class StateLiteral:
    """A constant that is resolved to an integer when a run starts, in the program's `literals`.

    `text`: the code of this text in the text pool (interned when unknown). `counter`, `tag`, `attribute`: the key
    column of this key in `Cells` (for tags the bit number), -1 when no such column exists, which reads as absent.
    `tier`: the column of the program's tier type of this key.
    """

    kind: LiteralKind
    text: str


@dataclass(slots=True)
class Inventory:
    """Numbers columns and tables in the order in which they are first asked for; equal ones are one.

    Event columns and precomputed columns are counted apart: in a batch the precomputed ones follow the event columns.
    """

    events: dict[EventColumn, int] = field(default_factory=dict)
    precomputed: dict[PrecomputedColumn, int] = field(default_factory=dict)
    tables: dict[LookupTable, int] = field(default_factory=dict)

    def event_column(self, column: EventColumn) -> int:
        """The number of an event column, counted from 0."""
        return self.events.setdefault(column, len(self.events))

    def precomputed_column(self, column: PrecomputedColumn) -> int:
        """The number of a precomputed column, counted from 0 (after all event columns in a batch)."""
        return self.precomputed.setdefault(column, len(self.precomputed))

    def table(self, table: LookupTable) -> int:
        """The number of a lookup table, counted from 0."""
        return self.tables.setdefault(table, len(self.tables))

    @property
    def columns(self) -> tuple[EventColumn | PrecomputedColumn, ...]:
        """All columns in the order of a batch."""
        return (*self.events, *self.precomputed)

    def mark(self) -> tuple[int, int, int]:
        """A point to which `rollback` returns."""
        return len(self.events), len(self.precomputed), len(self.tables)

    def rollback(self, mark: tuple[int, int, int]) -> None:
        """Forget what was numbered after the mark: it belonged to code that is not generated after all."""
        _shorten(self.events, mark[0])
        _shorten(self.precomputed, mark[1])
        _shorten(self.tables, mark[2])


def _shorten(numbers: dict[Any, int], size: int) -> None:
    while len(numbers) > size:
        numbers.popitem()
