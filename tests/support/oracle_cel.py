"""How the oracle evaluates CEL: a plain walk over the syntax tree of `earnbook.rules.parse`.

Values and their arithmetic are those of `earnbook.rules.values`, which are tested by themselves; what the closures and
the kernel make of a tree (absorption, branches, macros, access) is written here once more, as plainly as it can be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from typing import TypeAlias

from earnbook.rules import values, values_numbers
from earnbook.rules.issues import IssueError
from earnbook.rules.parse import parse_expression
from earnbook.rules.syntax import (
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
)
from earnbook.rules.values import CelError, CelLimit, Duration, Timestamp, Value
from tests.support.oracle_times import format_time, parse_duration, parse_time

Variables: TypeAlias = Mapping[str, Value]

ELEMENTS_MAX = 100_000
STATE_NAMES = frozenset({"event", "participant", "program", "group", "now"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The variables of §11.1; `now` in microseconds."""

    event: Value
    participant: Value
    program: Value
    now: int
    group: Value = None

    def variables(self) -> dict[str, Value]:
        return {
            "event": self.event,
            "participant": self.participant,
            "program": self.program,
            "group": self.group,
            "now": Timestamp.from_microseconds(self.now),
        }


def evaluate(text: str, scope: Scope) -> Value:
    """The value of an expression; raises CelError or CelLimit."""
    return _Evaluation().value(_parsed(text).root, scope.variables())


def expression_of_value(text: str) -> str | None:
    """The expression in a SET_ATTRIBUTE value, None where the value is a literal (§11.4)."""
    if text.startswith("="):
        return text[1:]
    try:
        expression = _parsed(text)
    except IssueError:
        return None
    return text if _mentions_state(expression.root) else None


def reads_clock_or_counters(text: str) -> bool:
    """Whether a filter reads `now` or any counters, so that its value may change with time alone (§17.4)."""
    return _reads_clock_or_counters(_parsed(text).root)


def _reads_clock_or_counters(node: Node) -> bool:
    match node:
        case Name(name="now") | Call(function="now") | Select(field="counters") | Has(field="counters"):
            return True
        case Index(index=Literal(value="counters")):
            return True
        case _:
            return any(_reads_clock_or_counters(child) for child in _children(node))


def timestamp_text(value: Timestamp) -> str:
    """RFC 3339 in UTC."""
    return format_time(value.nanoseconds // 1000)


@cache
def _parsed(text: str) -> Expression:
    return parse_expression(text)


def _mentions_state(node: Node) -> bool:
    match node:
        case Name():
            return node.name in STATE_NAMES
        case Call(function="now"):
            return True
        case _:
            return any(_mentions_state(child) for child in _children(node))


def _children(node: Node) -> Sequence[Node]:
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
            return (node.range, node.body) if node.transform is None else (node.range, node.body, node.transform)
        case _:
            return ()


class _Evaluation:
    """One evaluation, with its budget of elements (§11.5)."""

    def __init__(self) -> None:
        self._elements = 0

    def value(self, node: Node, scope: Variables) -> Value:
        match node:
            case Literal():
                return node.value
            case Name():
                return scope[node.name]
            case Select():
                return values.select(self.value(node.operand, scope), node.field)
            case Has():
                return values.has_field(self.value(node.operand, scope), node.field)
            case Index():
                return values.index(self.value(node.operand, scope), self.value(node.index, scope))
            case ListLiteral():
                return [self.value(item, scope) for item in node.items]
            case MapLiteral():
                return {self.value(key, scope): self.value(item, scope) for key, item in node.entries}
            case Comprehension():
                return self._comprehension(node, scope)
            case Call():
                return self._call(node, scope)
            case _:
                raise NotImplementedError(f"the oracle does not evaluate {type(node).__name__}")

    def _call(self, node: Call, scope: Variables) -> Value:
        if node.function == "_?_:_":
            condition, then, otherwise = node.arguments
            return self.value(then if _bool(self.value(condition, scope)) else otherwise, scope)
        if node.function in ("_&&_", "_||_"):
            decisive = node.function == "_||_"
            return self._fold([partial(self.value, part, scope) for part in node.arguments], decisive)
        if node.function == "now":
            return scope["now"]
        operands = node.arguments if node.target is None else (node.target, *node.arguments)
        return FUNCTIONS[node.function](*[self.value(operand, scope) for operand in operands])

    def _fold(self, parts: Sequence[Callable[[], Value]], decisive: bool) -> bool:
        """`&&` (decisive is false) and `||`: the decisive value wins over any error, an error over the rest."""
        error: CelError | None = None
        for part in parts:
            try:
                if _bool(part()) is decisive:
                    return decisive
            except CelError as raised:
                error = raised
        if error is not None:
            raise error
        return not decisive

    def _comprehension(self, node: Comprehension, scope: Variables) -> Value:
        elements = self.value(node.range, scope)
        if not isinstance(elements, list | dict):
            raise CelError("a macro needs a list or a map")
        self._elements += len(elements)
        if self._elements > ELEMENTS_MAX:
            raise CelLimit("too many elements")
        (variable,) = node.variables
        scopes = [{**scope, variable: element} for element in elements]

        def holds(inner: Variables) -> bool:
            return _bool(self.value(node.body, inner))

        if node.macro in ("all", "exists"):
            return self._fold([partial(holds, inner) for inner in scopes], node.macro == "exists")
        if node.macro == "exists_one":
            return sum([holds(inner) for inner in scopes]) == 1
        chosen = [inner for inner in scopes if holds(inner)]
        if node.macro == "filter":
            return [inner[variable] for inner in chosen]
        if node.macro == "map" and node.transform is not None:
            transform = node.transform
            return [self.value(transform, inner) for inner in chosen]
        raise NotImplementedError(f"the oracle has no macro {node.macro}")


def _bool(value: Value) -> bool:
    if type(value) is not bool:
        raise CelError("not a boolean")
    return value


def _size(value: Value) -> int:
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    raise CelError("size needs text, bytes, a list or a map")


def _on_text(function: Callable[[str, str], bool]) -> Callable[..., Value]:
    def call(text: Value, part: Value) -> bool:
        if not isinstance(text, str) or not isinstance(part, str):
            raise CelError("not a text")
        return function(text, part)

    return call


def _string(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal):
        return values_numbers.number_text(value)
    raise CelError("no text form")


def _double(value: Value) -> Value:
    """Decimal text without exponent, or a number; other texts are left to the tests of the closures."""
    if isinstance(value, str) and not re.fullmatch(r"[+-]?\d+(\.\d+)?", value, flags=re.ASCII):
        raise CelError("not a number")
    return values_numbers.to_double(value)


def _timestamp(value: Value) -> Timestamp:
    if not isinstance(value, str):
        raise CelError("timestamp needs text")
    try:
        return Timestamp.from_microseconds(parse_time(value))
    except ValueError as error:
        raise CelError(str(error)) from None


def _duration(value: Value) -> Duration:
    if not isinstance(value, str):
        raise CelError("duration needs text")
    try:
        return Duration(parse_duration(value) * 1000)
    except ValueError as error:
        raise CelError(str(error)) from None


def _month(value: Value) -> int:
    """From 0, in UTC."""
    if not isinstance(value, Timestamp):
        raise CelError("getMonth needs a timestamp")
    return int(timestamp_text(value)[5:7]) - 1


def _not(value: Value) -> bool:
    return not _bool(value)


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "_+_": values_numbers.add,
    "_-_": values_numbers.subtract,
    "_*_": values_numbers.multiply,
    "_/_": values_numbers.divide,
    "_%_": values_numbers.modulo,
    "-_": values_numbers.negate,
    "!_": _not,
    "_==_": values.equals,
    "_!=_": values.not_equals,
    "_<_": values.less,
    "_<=_": values.less_equal,
    "_>_": values.greater,
    "_>=_": values.greater_equal,
    "@in": values.contains,
    "get": values.get,
    "size": _size,
    "round": values_numbers.round_half_away,
    "floor": values_numbers.floor,
    "ceil": values_numbers.ceil,
    "abs": values_numbers.absolute,
    "min": values_numbers.minimum,
    "max": values_numbers.maximum,
    "int": values_numbers.to_int,
    "uint": values_numbers.to_uint,
    "double": _double,
    "string": _string,
    "timestamp": _timestamp,
    "duration": _duration,
    "getMonth": _month,
    "startsWith": _on_text(lambda text, part: text.startswith(part)),
    "endsWith": _on_text(lambda text, part: text.endswith(part)),
    "contains": _on_text(lambda text, part: part in text),
    "matches": _on_text(lambda text, pattern: re.search(pattern, text) is not None),
}
