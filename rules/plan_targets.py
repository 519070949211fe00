"""Where the texts that name targets and groups can be read for a whole batch, before any event is decided.

A target expression that is one column (an event field, or an expression of the event alone that the closures compute)
or a constant names the same people whether or not its rule matches, so the pipeline looks its texts up in bulk. All
others are looked up when an event needs them; both ways mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from earnbook.ledger.schema import TargetKind
from earnbook.rules.plan import ProgramPlan
from earnbook.rules.plan_columns import PrecomputedColumn
from earnbook.rules.plan_reads import EventColumn, access_path, unparse
from earnbook.rules.syntax import Call, Expression, Literal, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTargets:
    """The texts that name targets of a kind: a column of the batch, or one constant text."""

    kind: TargetKind
    column: int | None = None
    text: str | None = None


def named_targets(
    plan: ProgramPlan, columns: Sequence[EventColumn | PrecomputedColumn]
) -> tuple[tuple[NamedTargets, ...], int | None]:
    """The targets of a program that can be looked up in bulk, and the column of its `group_field`, if rules read it.

    `columns` are those of the compiled ruleset, in order.
    """
    numbers = {column: number for number, column in enumerate(columns)}
    group = None if plan.group_column is None else numbers[plan.group_column]
    return tuple(dict.fromkeys(_named(plan, numbers))), group


def _named(plan: ProgramPlan, numbers: Mapping[EventColumn | PrecomputedColumn, int]) -> Iterator[NamedTargets]:
    for action in plan.actions:
        kind, target = action.target_kind, action.target
        if isinstance(target, str):
            yield NamedTargets(kind=kind, text=target)
        elif target is not None:
            for node in _branches(target.root):
                if isinstance(node, Literal) and isinstance(node.value, str):
                    yield NamedTargets(kind=kind, text=node.value)
                elif (column := numbers.get(_column(node))) is not None:
                    yield NamedTargets(kind=kind, column=column)


def _branches(node: Node) -> Iterator[Node]:
    """The parts of an expression that can be its value: those of `c ? a : b` are its branches."""
    match node:
        case Call(function="_?_:_", arguments=(_, *branches)):
            for branch in branches:
                yield from _branches(branch)
        case _:
            yield node


def _column(node: Node) -> EventColumn | PrecomputedColumn:
    """The column that a node would be, if it is one."""
    root, path = access_path(node)
    if root == "event" and path:
        return EventColumn(path)
    text = unparse(node)
    return PrecomputedColumn(text, Expression(text, node), reads=None, reads_now=False)
