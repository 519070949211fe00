"""What loading definitions would change in a book (§6.3), without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from earnbook.pipeline.errors import Refused
from earnbook.pipeline.load import load_registers
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.ruleset import prepare_ruleset
from earnbook.rules.definitions import Definitions
from earnbook.rules.definitions_diff import ObjectChange

_COLUMNS = ("kind", "program", "key", "change", "fields")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChanges:
    """The changes of a load in the order of the history; `refusal` says why a load without consent would be refused."""

    changes: tuple[ObjectChange, ...]
    refusal: Refused | None


def plan_changes(path: Path, definitions: Definitions) -> PlannedChanges:
    """What a load of `definitions` would do to the book; raises IssueError for what no consent can allow."""
    with reading(path) as connection:
        registers = load_registers(connection)
        allowed = prepare_ruleset(connection, registers, definitions, prune=True)
        try:
            prepare_ruleset(connection, registers, definitions, prune=False)
        except Refused as refusal:
            return PlannedChanges(changes=allowed.changes, refusal=refusal)
    return PlannedChanges(changes=allowed.changes, refusal=None)


def change_rows(changes: tuple[ObjectChange, ...]) -> pa.Table:
    """Changes as rows: kind, program, key, change, and the changed fields as JSON (old, new)."""
    rows = [(change.kind, change.program, change.key, change.change_type, change.changes) for change in changes]
    columns = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
    return pa.table({name: pa.array(list(c), pa.string()) for name, c in zip(_COLUMNS, columns, strict=True)})
