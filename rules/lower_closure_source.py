"""Writes the Python source of a closure.

Most nodes become a nested Python expression. `&& || ?:`, macros, `orValue` and `cel.bind` need statements (`&&` and
`||` absorb errors, so each operand gets a `try`); their value is then a local variable. Where a later sibling needs
statements, the earlier siblings are stored in locals first, so that evaluation keeps its order. Python limits how
deeply blocks and brackets may nest; so very high expressions are stored in locals on the way, and blocks that would
nest too deeply move to a function of their own.

Every operation that can fail is wrapped in markers while the source grows; at the end they are taken out and leave a
table from positions in the source to spans of the expression. An error thus costs nothing until somebody asks where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from earnbook.rules import functions
from earnbook.rules.lower_closure_body import Body, ClosureSource, marked, without_marks
from earnbook.rules.lower_closure_runtime import identifier
from earnbook.rules.syntax import (
    Bind,
    Call,
    Comprehension,
    Expression,
    Has,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    Select,
    Span,
    Uint,
)
from earnbook.rules.syntax_walk import children, is_bound, qualified_name
from earnbook.rules.types import BOOL
from earnbook.rules.values import TYPE_VALUES, CelError, Value, make_map

_INDENT_MAX = 12
_HEIGHT_STEP = 24
_SLOT_PREFIX = "slot"
_DEFAULTS = ("or", "orValue")
_BOOLEAN_MACROS = frozenset(("all", "exists", "exists_one"))


def write_closure(expression: Expression, variables: frozenset[str]) -> ClosureSource:
    """The source of `evaluate(s)`, where `s` maps variables to values."""
    return _Writer(expression, variables).write()


_Names = Mapping[str, str]
"""Variables bound by macros, and the Python locals that hold them."""


class _Writer:
    """The state of writing one closure."""

    def __init__(self, expression: Expression, variables: frozenset[str]) -> None:
        self._expression = expression
        self._variables = variables
        self._constants: dict[str, Value] = {}
        self._functions: list[str] = []
        self._count = 0
        self._spans: dict[int, Span] = {}
        self._heights: dict[int, int] = {}
        self._stated: set[int] = set()
        self._has_macros = False
        self._measure(expression.root)

    def write(self) -> ClosureSource:
        body = Body()
        result = self._value(self._expression.root, body, {})
        body.line(f"return {result}")
        budget = ["    b = [ELEMENTS_MAX]"] if self._has_macros else ["    b = None"] if self._functions else []
        main = ["def evaluate(s):", *budget, *body.lines]
        text = "\n".join(["", *self._functions, "\n".join(main), ""]).lstrip("\n")
        source, places = without_marks(text, self._spans)
        return ClosureSource(source, self._constants, places)

    def _measure(self, node: Node) -> None:
        """Height of each node, and whether its value takes statements."""
        parts = children(node)
        for child in parts:
            self._measure(child)
        height = 1 + max((self._heights[child.id] for child in parts), default=0)
        self._spans[node.id] = node.span
        self._heights[node.id] = height
        lazy = isinstance(node, Call) and (node.function in ("_&&_", "_||_") or _is_default(node))
        stated = lazy or isinstance(node, Comprehension | Bind) or height % _HEIGHT_STEP == 0
        if stated or any(child.id in self._stated for child in parts):
            self._stated.add(node.id)
        self._has_macros = self._has_macros or isinstance(node, Comprehension)

    # Locals, constants, functions

    def _local(self, prefix: str = "t") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _stored(self, text: str, body: Body) -> str:
        if text.isidentifier():
            return text
        name = self._local()
        body.line(f"{name} = {text}")
        return name

    def _constant(self, value: Value) -> str:
        name = self._local("C")
        self._constants[name] = value
        return name

    def _marked(self, node: Node, text: str) -> str:
        return marked(node.id, text)

    def _outlined(self, node: Node, body: Body, names: _Names) -> str:
        """The node in a function of its own, and a call of it."""
        name = self._local("f")
        inner = Body()
        result = self._node(node, inner, names)
        inner.line(f"return {result}")
        parameters = ", ".join(["s", "b", *names.values()])
        self._functions.append("\n".join([f"def {name}({parameters}):", *inner.lines, "\n"]))
        return self._stored(f"{name}({parameters})", body)

    # Nodes

    def _value(self, node: Node, body: Body, names: _Names) -> str:
        """Python text for the node's value; statements that it needs go to `body` first."""
        if node.id in self._stated and body.indent >= _INDENT_MAX:
            return self._outlined(node, body, names)
        text = self._node(node, body, names)
        return self._stored(text, body) if self._heights[node.id] % _HEIGHT_STEP == 0 else text

    def _node(self, node: Node, body: Body, names: _Names) -> str:
        match node:
            case Literal():
                return self._literal(node.value)
            case Name():
                return self._name(node, names)
            case Select():
                return self._select(node, body, names)
            case Has():
                return self._marked(node, f"has_field({self._value(node.operand, body, names)}, {node.field!a})")
            case Index():
                operand, key = self._values((node.operand, node.index), body, names)
                return self._marked(node, f"{'index_optional' if node.optional else 'index'}({operand}, {key})")
            case Call():
                return self._call(node, body, names)
            case ListLiteral():
                return self._list(node, body, names)
            case MapLiteral():
                return self._map(node, body, names)
            case Comprehension():
                return self._comprehension(node, body, names)
            case Bind():
                return self._bind(node, body, names)
            case _:
                raise TypeError(f"unknown node {type(node).__name__}")

    def _values(self, nodes: Sequence[Node], body: Body, names: _Names) -> list[str]:
        """The nodes' texts in evaluation order: what stands before statements is stored before them."""
        texts: list[str] = []
        for position, node in enumerate(nodes):
            text = self._value(node, body, names)
            later = any(sibling.id in self._stated for sibling in nodes[position + 1 :])
            texts.append(self._stored(text, body) if later and not isinstance(node, Literal) else text)
        return texts

    def _literal(self, value: Value) -> str:
        if value is None or isinstance(value, bool):
            return str(value)
        if isinstance(value, Decimal | Uint):
            return self._constant(value)
        if isinstance(value, int):
            return f"({value})" if value < 0 else str(value)
        return ascii(value)

    def _name(self, node: Name, names: _Names) -> str:
        if node.name in names:
            local = names[node.name]
            return self._marked(node, f"present({local})") if local.startswith(_SLOT_PREFIX) else local
        name = node.name.removeprefix(".")
        if name in self._variables:
            return f"s[{name!a}]"
        if name in TYPE_VALUES:
            return self._constant(TYPE_VALUES[name])
        return self._marked(node, f"unknown_name({name!a})")

    def _select(self, node: Select, body: Body, names: _Names) -> str:
        path = qualified_name(node)
        if path is not None and not is_bound(node, names):
            if path in self._variables:
                return f"s[{path!a}]"
            if path in TYPE_VALUES and path.partition(".")[0] not in self._variables:
                return self._constant(TYPE_VALUES[path])
        operand = self._value(node.operand, body, names)
        return self._marked(node, f"{'select_optional' if node.optional else 'select'}({operand}, {node.field!a})")

    def _list(self, node: ListLiteral, body: Body, names: _Names) -> str:
        if node.items and not node.optional_indices and all(isinstance(item, Literal) for item in node.items):
            return self._constant([item.value for item in node.items if isinstance(item, Literal)])
        texts = self._values(node.items, body, names)
        if not node.optional_indices:
            return f"[{', '.join(texts)}]"
        items = (f"({at in node.optional_indices}, {text})" for at, text in enumerate(texts))
        return self._marked(node, f"list_with_optionals([{', '.join(items)}])")

    def _map(self, node: MapLiteral, body: Body, names: _Names) -> str:
        parts = [part for entry in node.entries for part in entry]
        if parts and not node.optional_indices and all(isinstance(part, Literal) for part in parts):
            flat = [part.value for part in parts if isinstance(part, Literal)]
            try:
                return self._constant(make_map(zip(flat[::2], flat[1::2], strict=True)))
            except CelError:
                pass  # The same error is raised where the map is evaluated.
        texts = self._values(parts, body, names)
        entries = list(zip(texts[::2], texts[1::2], strict=True))
        if not node.optional_indices:
            return self._marked(node, f"make_map([{', '.join(f'({key}, {value})' for key, value in entries)}])")
        items = (f"({at in node.optional_indices}, {key}, {value})" for at, (key, value) in enumerate(entries))
        return self._marked(node, f"map_with_optionals([{', '.join(items)}])")

    # Calls

    def _call(self, node: Call, body: Body, names: _Names) -> str:
        match node.function:
            case "_&&_" | "_||_":
                return self._chain(node, body, names)
            case "_?_:_":
                return self._choice(node, body, names)
            case "!_":
                return f"(not {self._condition(node.arguments[0], body, names)})"
            case "_==_" | "_!=_":
                return self._equality(node, body, names)
            case "@in":
                return self._membership(node, body, names)
        if _is_default(node) and node.target is not None:
            return self._default(node, node.target, body, names)
        operands = node.arguments if node.target is None else (node.target, *node.arguments)
        entry = functions.function(node.function, is_method=node.target is not None)
        if entry is not None and (folded := self._folded(entry, operands)) is not None:
            return folded
        texts = self._values(operands, body, names)
        if entry is None:
            return self._marked(node, f"unknown_function({', '.join([ascii(node.function), *texts])})")
        if len(node.arguments) not in entry.counts:
            return self._marked(node, f"wrong_count({', '.join([ascii(node.function), *texts])})")
        return self._marked(node, f"{identifier(entry)}({', '.join(texts)})")

    def _default(self, node: Call, target: Node, body: Body, names: _Names) -> str:
        """`optional.or(x)` and `optional.orValue(x)`: x is evaluated only where the optional is empty."""
        source, result = self._stored(self._value(target, body, names), body), self._local()
        entry = functions.METHODS[node.function]
        with body.block(f"if type({source}) is Optional and {source}.present:"):
            body.line(f"{result} = {source}{'.value' if node.function == 'orValue' else ''}")
        with body.block("else:"):
            other = self._value(node.arguments[0], body, names)
            body.line(f"{result} = {self._marked(node, f'{identifier(entry)}({source}, {other})')}")
        return result

    def _folded(self, entry: functions.Function, operands: Sequence[Node]) -> str | None:
        """`timestamp('…')` and `duration('…')` of a literal as a constant."""
        if entry.name not in ("timestamp", "duration") or len(operands) != 1 or not isinstance(operands[0], Literal):
            return None
        try:
            return self._constant(entry.implementation(operands[0].value))
        except CelError:
            return None  # The same error is raised where it is evaluated.

    def _condition(self, node: Node, body: Body, names: _Names) -> str:
        """The node's value, which must be a bool."""
        text = self._value(node, body, names)
        return text if _is_boolean(node) else self._marked(node, f"truth({text})")

    def _equality(self, node: Call, body: Body, names: _Names) -> str:
        left, right = self._values(node.arguments, body, names)
        negated = node.function == "_!=_"
        for literal, other in (node.arguments, node.arguments[::-1]):
            if isinstance(literal, Literal) and isinstance(literal.value, str) and not isinstance(other, Literal):
                # Nothing but the same text is equal to a text, in Python as in CEL.
                return f"({left} {'!=' if negated else '=='} {right})"
            if isinstance(literal, Literal) and literal.value is None and not isinstance(other, Literal):
                other_text = left if other is node.arguments[0] else right
                return f"({other_text} is {'not ' if negated else ''}None)"
        return f"{'not_equals' if negated else 'equals'}({left}, {right})"

    def _membership(self, node: Call, body: Body, names: _Names) -> str:
        item, container = node.arguments
        if isinstance(container, ListLiteral) and not container.optional_indices:
            texts = [part.value for part in container.items if isinstance(part, Literal)]
            if len(texts) == len(container.items) and all(isinstance(text, str) for text in texts):
                return f"in_texts({self._value(item, body, names)}, {self._constant(frozenset(texts))})"
        texts_of = self._values(node.arguments, body, names)
        return self._marked(node, f"contains({', '.join(texts_of)})")

    def _choice(self, node: Call, body: Body, names: _Names) -> str:
        condition, positive, negative = node.arguments
        text = self._condition(condition, body, names)
        if positive.id not in self._stated and negative.id not in self._stated:
            return f"({self._value(positive, body, names)} if {text} else {self._value(negative, body, names)})"
        result = self._local()
        for head, branch in ((f"if {text}:", positive), ("else:", negative)):
            with body.block(head):
                body.line(f"{result} = {self._value(branch, body, names)}")
        return result

    def _chain(self, node: Call, body: Body, names: _Names) -> str:
        """`&&` and `||` over all operands of a chain: an error counts only when no operand decides."""
        conjunction = node.function == "_&&_"
        undecided = "{}" if conjunction else "not {}"
        result, failure = self._local(), self._local("e")
        body.line(f"{result} = {conjunction}")
        body.line(f"{failure} = None")
        for position, operand in enumerate(_operands(node)):
            if position == 0:
                self._attempt(result, failure, operand, body, names)
                continue
            with body.block(f"if {undecided.format(result)}:"):
                self._attempt(result, failure, operand, body, names)
        body.line(f"if {undecided.format(result)} and {failure} is not None: raise {failure}")
        return result

    def _attempt(self, result: str, failure: str, operand: Node, body: Body, names: _Names) -> None:
        with body.block("try:"):
            body.line(f"{result} = {self._condition(operand, body, names)}")
        body.line(f"except CelError as error: {failure} = {failure} or error")

    # Macros

    def _comprehension(self, node: Comprehension, body: Body, names: _Names) -> str:
        range_text = self._value(node.range, body, names)
        if node.macro in ("optMap", "optFlatMap"):
            return self._optional_map(node, range_text, body, names)
        variables = [self._local("v") for _ in node.variables]
        inner = {**names, **dict(zip(node.variables, variables, strict=True))}
        visited = "elements" if len(variables) == 1 else "pairs"
        source = self._stored(self._marked(node.range, f"{visited}({range_text}, b)"), body)
        head = f"for {', '.join(variables)} in {source}:"
        if node.macro in ("all", "exists"):
            return self._quantifier(node, head, body, inner)
        result = self._local()
        start = {"exists_one": "0", "transformMap": "{}", "transformMapEntry": "{}"}.get(node.macro, "[]")
        body.line(f"{result} = {start}")
        with body.block(head):
            if isinstance(node.body, Literal) and node.body.value is True:
                self._collect(node, result, variables, body, inner)
            else:
                with body.block(f"if {self._condition(node.body, body, inner)}:"):
                    self._collect(node, result, variables, body, inner)
        if node.macro == "sortBy":
            return self._marked(node, f"sort_by({source}, {result})")
        return f"({result} == 1)" if node.macro == "exists_one" else result

    def _collect(self, node: Comprehension, result: str, variables: Sequence[str], body: Body, names: _Names) -> None:
        """What becomes of an element that passed the filter."""
        if node.macro == "exists_one":
            body.line(f"{result} += 1")
            return
        text = variables[0] if node.transform is None else self._value(node.transform, body, names)
        if node.macro == "transformMap":
            body.line(self._marked(node, f"put({result}, {variables[0]}, {text})"))
        elif node.macro == "transformMapEntry":
            body.line(self._marked(node, f"put_all({result}, {text})"))
        else:
            body.line(f"{result}.append({text})")

    def _quantifier(self, node: Comprehension, head: str, body: Body, names: _Names) -> str:
        """`all` and `exists`: as a chain of `&&` or `||` over the elements."""
        universal = node.macro == "all"
        result, failure = self._local(), self._local("e")
        body.line(f"{result} = {universal}")
        body.line(f"{failure} = None")
        with body.block(head):
            with body.block("try:"):
                body.line(f"{result} = {self._condition(node.body, body, names)}")
                body.line(f"if {'not ' if universal else ''}{result}: break")
            body.line(f"except CelError as error: {failure} = {failure} or error")
        body.line(f"if {'' if universal else 'not '}{result} and {failure} is not None: raise {failure}")
        return result

    def _bind(self, node: Bind, body: Body, names: _Names) -> str:
        """`cel.bind`, and a slot of `cel.block`: evaluated once, and an error waits until the value is read.

        So a name means the same as the expression that it stands for, whether or not that is ever needed.
        """
        if isinstance(node.value, Literal):
            local = self._local("v")
            body.line(f"{local} = {self._literal(node.value.value)}")
        else:
            local = self._local(_SLOT_PREFIX)
            with body.block("try:"):
                body.line(f"{local} = {self._value(node.value, body, names)}")
            body.line(f"except CelError as error: {local} = error")
        return self._value(node.body, body, {**names, node.name: local})

    def _optional_map(self, node: Comprehension, operand: str, body: Body, names: _Names) -> str:
        source = self._stored(self._marked(node.range, f"optional({operand})"), body)
        result, variable = self._local(), self._local("v")
        body.line(f"{result} = NONE")
        with body.block(f"if {source}.present:"):
            body.line(f"{variable} = {source}.value")
            text = self._value(node.body, body, {**names, node.variables[0]: variable})
            made = f"Optional(True, {text})" if node.macro == "optMap" else self._marked(node, f"optional({text})")
            body.line(f"{result} = {made}")
        return result


def _is_default(node: Call) -> bool:
    """Whether it is `optional.or(x)` or `optional.orValue(x)`; a literal x needs no care."""
    is_one = node.function in _DEFAULTS and node.target is not None and len(node.arguments) == 1
    return is_one and not isinstance(node.arguments[0], Literal)


def _is_boolean(node: Node) -> bool:
    """Whether the node's value is surely a bool when there is one."""
    if isinstance(node, Has):
        return True
    if isinstance(node, Literal):
        return isinstance(node.value, bool)
    if isinstance(node, Comprehension):
        return node.macro in _BOOLEAN_MACROS
    if isinstance(node, Call):
        if node.function in ("_&&_", "_||_", "!_"):
            return True
        entry = functions.function(node.function, is_method=node.target is not None)
        return entry is not None and functions.result_type(entry, len(node.arguments)) == BOOL
    return False


def _operands(node: Call) -> Iterable[Node]:
    """The operands of a balanced chain of one logical operator, from left to right."""
    for argument in node.arguments:
        if isinstance(argument, Call) and argument.function == node.function:
            yield from _operands(argument)
        else:
            yield argument
