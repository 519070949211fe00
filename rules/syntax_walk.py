"""Walking the syntax tree: the parts of a node, and names written as chains of selections."""

from __future__ import annotations

from collections.abc import Container

from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Has,
    Index,
    ListLiteral,
    MapLiteral,
    Name,
    Node,
    Select,
)


def children(node: Node) -> tuple[Node, ...]:
    """The parts of a node in the order in which they are evaluated."""
    match node:
        case Select() | Has():
            return (node.operand,)
        case Index():
            return (node.operand, node.index)
        case Call():
            return node.arguments if node.target is None else (node.target, *node.arguments)
        case ListLiteral():
            return node.items
        case MapLiteral():
            return tuple(part for entry in node.entries for part in entry)
        case Comprehension():
            rest = (node.body,) if node.transform is None else (node.body, node.transform)
            return (node.range, *rest)
        case Bind():
            return (node.value, node.body)
        case _:
            return ()


def qualified_name(node: Node) -> str | None:
    """`a.b.c` when the node is a chain of plain selections from a name, else None."""
    fields: list[str] = []
    while isinstance(node, Select) and not node.optional:
        fields.append(node.field)
        node = node.operand
    if not isinstance(node, Name):
        return None
    return ".".join([node.name.removeprefix("."), *reversed(fields)])


def is_bound(node: Node, names: Container[str]) -> bool:
    """Whether the name at the root of a chain of selections is bound by a macro; `.x` never is."""
    while isinstance(node, Select):
        node = node.operand
    return isinstance(node, Name) and node.name in names
