"""Names in a container, as some conformance cases have them: `y` in container `a.b` means `a.b.y`, `a.y` or `y`.

The first that exists counts. Rules have no container (§11.1), so the language itself does not know them: here names
are replaced by what they mean before an expression is checked. `.y` is always `y`, and so is a name that a macro binds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Expression,
    Has,
    Index,
    ListLiteral,
    MapLiteral,
    Name,
    Node,
    Select,
)
from earnbook.rules.syntax_walk import is_bound, qualified_name


def qualified(expression: Expression, container: str, names: Collection[str]) -> Expression:
    """The expression with every name that exists in the container written in full; `names` are all that exist."""
    if not container:
        return expression
    parts = container.split(".")
    prefixes = [".".join(parts[:count]) + "." for count in range(len(parts), 0, -1)]
    root = _Qualifier(expression.text, prefixes, names).node(expression.root, frozenset())
    return Expression(expression.text, root)


class _Qualifier:
    """Replaces names below one expression."""

    def __init__(self, text: str, prefixes: Sequence[str], names: Collection[str]) -> None:
        self._text = text
        self._prefixes = prefixes
        self._names = names

    def node(self, node: Node, bound: frozenset[str]) -> Node:
        if found := self._found(node, bound):
            return Name(id=node.id, span=node.span, name=found)
        match node:
            case Select() | Has():
                return replace(node, operand=self.node(node.operand, bound))
            case Index():
                return replace(node, operand=self.node(node.operand, bound), index=self.node(node.index, bound))
            case Call():
                target = None if node.target is None else self.node(node.target, bound)
                return replace(node, target=target, arguments=self._all(node.arguments, bound))
            case ListLiteral():
                return replace(node, items=self._all(node.items, bound))
            case MapLiteral():
                entries = tuple((self.node(key, bound), self.node(value, bound)) for key, value in node.entries)
                return replace(node, entries=entries)
            case Comprehension():
                inner = bound | set(node.variables)
                transform = None if node.transform is None else self.node(node.transform, inner)
                range_, body = self.node(node.range, bound), self.node(node.body, inner)
                return replace(node, range=range_, body=body, transform=transform)
            case Bind():
                body = self.node(node.body, bound | {node.name})
                return replace(node, value=self.node(node.value, bound), body=body)
            case _:
                return node

    def _all(self, nodes: Sequence[Node], bound: frozenset[str]) -> tuple[Node, ...]:
        return tuple(self.node(node, bound) for node in nodes)

    def _found(self, node: Node, bound: frozenset[str]) -> str | None:
        """The full name that a chain of selections stands for, when it exists in the container."""
        path = qualified_name(node)
        if path is None or is_bound(node, bound) or self._text[node.span.start] == ".":
            return None
        return next((prefix + path for prefix in self._prefixes if prefix + path in self._names), None)
