"""What expressions read, and small questions about syntax trees: access chains, macros, a fixed text form.

Plain functions of syntax trees. Nothing here evaluates anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Has,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    Select,
)

EVENT_ONLY = frozenset({"event", "now"})
"""The variables that are known before any state is: what depends on nothing else can be precomputed."""


@dataclass(frozen=True, slots=True)
class EventColumn:
    """A field of `event_data` that the kernel reads; `path` has at least one member name, outermost first.

    A cell is ABSENT when a member on the way is missing or is not an object.
    """

    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(("event", *self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What an expression depends on. Names are sorted; `whole` names the variables read other than by a known field."""

    event: tuple[EventColumn, ...] = ()
    now: bool = False
    fields: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    @property
    def event_only(self) -> bool:
        """Whether nothing but the event and `now` decides the value."""
        return not self.fields and not set(self.whole) - EVENT_ONLY

    @property
    def constant(self) -> bool:
        """Whether nothing decides the value: it is the same for every record."""
        return not (self.event or self.now or self.fields or self.whole)

    def names(self) -> tuple[str, ...]:
        """Everything read, as it is shown to people."""
        now = ("now",) if self.now else ()
        return (*(str(column) for column in self.event), *self.fields, *self.whole, *now)


def reads_of(*nodes: Node) -> Reads:
    """What the expressions read together. Bound variables of macros and `cel.bind` are not reads."""
    events: set[EventColumn] = set()
    fields: set[str] = set()
    whole: set[str] = set()
    now = False
    for node, bound in _accesses(nodes):
        root, path = access_path(node, bound)
        match root:
            case None:
                continue
            case "now":
                now = True
            case "event" if path:
                events.add(EventColumn(path))
                if isinstance(node, Has) and len(path) > 1:
                    # Whether the object is missing or only its member decides between an error and false.
                    events.add(EventColumn(path[:-1]))
            case _ if path:
                fields.add(".".join((root, *path)))
            case _:
                whole.add(root)
    return Reads(
        event=tuple(sorted(events, key=lambda column: column.path)),
        now=now,
        fields=tuple(sorted(fields)),
        whole=tuple(sorted(whole)),
    )


def access_path(node: Node, bound: frozenset[str] = frozenset()) -> tuple[str | None, tuple[str, ...]]:
    """The variable and members that a chain such as `event.a["b"]` names; (None, ()) for any other node.

    `bound` are the names that macros bind there; `.x` is the variable x even so.
    """
    path: list[str] = []
    while True:
        match node:
            case Select(operand=operand, field=name, optional=False) | Has(operand=operand, field=name):
                path.append(name)
                node = operand
            case Index(operand=operand, index=Literal(value=str(name)), optional=False):
                path.append(name)
                node = operand
            case Name(name=name) if name not in bound:
                return name.removeprefix("."), tuple(reversed(path))
            case _:
                return None, ()


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node in source order."""
    match node:
        case Select(operand=operand) | Has(operand=operand):
            return (operand,)
        case Index(operand=operand, index=index):
            return (operand, index)
        case Call(target=target, arguments=arguments):
            return arguments if target is None else (target, *arguments)
        case ListLiteral(items=items):
            return items
        case MapLiteral(entries=entries):
            return tuple(part for entry in entries for part in entry)
        case Comprehension(range=over, body=body, transform=transform):
            return (over, body) if transform is None else (over, body, transform)
        case Bind(value=value, body=body):
            return (value, body)
        case _:
            return ()


def outermost_macros(*nodes: Node) -> int:
    """How many macros the expression holds, not counting those inside another one.

    The limit of §11.5 is one sum over an evaluation, so an expression with several macros must be evaluated as one.
    """
    total = 0
    for node in nodes:
        total += 1 if isinstance(node, Comprehension) else outermost_macros(*children(node))
    return total


def unparse(node: Node) -> str:
    """The expression as text in one fixed form: equal texts mean equal expressions."""
    match node:
        case Literal(value=value):
            return f"{type(value).__name__}:{value!r}" if not isinstance(value, str) else repr(value)
        case Name(name=name):
            return name
        case Select(operand=operand, field=name, optional=optional):
            return f"{unparse(operand)}{'.?' if optional else '.'}{name}"
        case Has(operand=operand, field=name):
            return f"has({unparse(operand)}.{name})"
        case Index(operand=operand, index=index, optional=optional):
            return f"{unparse(operand)}[{'?' if optional else ''}{unparse(index)}]"
        case Call():
            return _unparse_call(node)
        case ListLiteral(items=items, optional_indices=optional_indices):
            return f"[{', '.join(_optional(item, i, optional_indices) for i, item in enumerate(items))}]"
        case MapLiteral(entries=entries, optional_indices=optional_indices):
            shown = (
                f"{_optional(key, i, optional_indices)}: {unparse(value)}" for i, (key, value) in enumerate(entries)
            )
            return f"{{{', '.join(shown)}}}"
        case Comprehension():
            parts = [*node.variables, unparse(node.body), *([unparse(node.transform)] if node.transform else [])]
            return f"{unparse(node.range)}.{node.macro}({', '.join(parts)})"
        case Bind(name=name, value=value, body=body):
            return f"cel.bind({name}, {unparse(value)}, {unparse(body)})"
        case _:
            raise TypeError(f"{type(node).__name__} is not a node of the syntax tree")


def _unparse_call(node: Call) -> str:
    arguments = [unparse(argument) for argument in node.arguments]
    name = node.function
    if name == "_?_:_":
        return f"({arguments[0]} ? {arguments[1]} : {arguments[2]})"
    if name == "@in":
        return f"({arguments[0]} in {arguments[1]})"
    if name.startswith("_") and name.endswith("_") and len(arguments) == 2:
        return f"({arguments[0]} {name.strip('_')} {arguments[1]})"
    if name in ("-_", "!_"):
        return f"{name[0]}({arguments[0]})"
    receiver = "" if node.target is None else f"{unparse(node.target)}."
    return f"{receiver}{name}({', '.join(arguments)})"


def _optional(node: Node, index: int, optional_indices: tuple[int, ...]) -> str:
    return f"{'?' if index in optional_indices else ''}{unparse(node)}"


def _accesses(nodes: tuple[Node, ...]) -> Iterator[tuple[Node, frozenset[str]]]:
    """Every maximal chain of accesses with the variables bound around it; keys of computed indexing are visited too."""
    stack: list[tuple[Node, frozenset[str]]] = [(node, frozenset()) for node in reversed(nodes)]
    while stack:
        node, bound = stack.pop()
        root, _ = access_path(node, bound)
        if root is not None:
            yield node, bound
            continue
        match node:
            case Comprehension(range=over, variables=variables, body=body, transform=transform):
                inner = bound | set(variables)
                stack.append((over, bound))
                stack.extend((part, inner) for part in (body, transform) if part is not None)
            case Bind(name=name, value=value, body=body):
                stack.append((value, bound))
                stack.append((body, bound | {name}))
            case _:
                stack.extend((part, bound) for part in children(node))


def node_count(node: Node) -> int:
    """How many nodes a tree has."""
    return 1 + sum(node_count(part) for part in children(node))
