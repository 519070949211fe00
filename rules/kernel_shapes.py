"""Shapes of kernel values: constants, joins of branches, and whether an expression's numbers are CEL ints.

Pure functions of values and syntax trees that `kernel_expressions` writes code with.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from earnbook.ledger.schema import Kind
from earnbook.rules.kernel_values import Bool, Dyn, Length, Lowered, Number, Text, Time, Unsupported
from earnbook.rules.plan_reads import access_path
from earnbook.rules.syntax import Call, Literal, Node

SCALE_MAX = 18

TIME_PARTS = {
    "getFullYear": 0,
    "getMonth": 1,
    "getDayOfMonth": 2,
    "getDate": 3,
    "getDayOfWeek": 4,
    "getDayOfYear": 5,
    "getHours": 6,
    "getMinutes": 7,
    "getSeconds": 8,
    "getMilliseconds": 9,
}
"""Parts of an instant in UTC, by the number that the prelude's `_time_part` knows them by."""

_INTEGER_FUNCTIONS = frozenset(("size", "int", "indexOf", "lastIndexOf", "_%_", *TIME_PARTS))
_DECIMAL_FUNCTIONS = frozenset(("round", "floor", "ceil", "double"))

STARTS: dict[type, tuple[str, ...]] = {
    Bool: ("2",),
    Number: ("0", "0", "True"),
    Text: ("-1", "True"),
    Time: ("0", "True"),
    Length: ("0", "True"),
    Dyn: (str(int(Kind.ERROR)), "0", "0"),
}
"""What the parts of a joined value are before a branch sets them: an error."""


def decimal_constant(value: Decimal) -> Number:
    """A decimal literal; raises Unsupported when it is beyond int64 or 18 decimals."""
    sign, digits, exponent = value.as_tuple()
    mantissa = int("".join(map(str, digits)) or "0")
    scale = -int(exponent)
    while mantissa and scale > 0 and mantissa % 10 == 0:
        mantissa, scale = mantissa // 10, scale - 1
    if mantissa == 0:
        scale = 0
    if scale < 0 and scale >= -SCALE_MAX:
        mantissa, scale = mantissa * 10**-scale, 0
    if not 0 <= scale <= SCALE_MAX or mantissa >= 2**63:
        raise Unsupported(f"{value} does not fit 64 bits")
    return Number(str(-mantissa if sign else mantissa), str(scale), "False", False, value)


def chain(node: Node, function: str) -> Iterator[Node]:
    """The operands of a chain of one operator, from left to right."""
    if isinstance(node, Call) and node.function == function:
        for argument in node.arguments:
            yield from chain(argument, function)
    else:
        yield node


def parts(value: Lowered) -> tuple[str, ...]:
    """The names that make up a value whose type is in `STARTS`, in that order."""
    match value:
        case Bool(code=name):
            return (name,)
        case Number(mantissa=mantissa, scale=scale, error=error):
            return mantissa, scale, error
        case (
            Text(code=name, error=error) | Time(microseconds=name, error=error) | Length(microseconds=name, error=error)
        ):
            return name, error
        case Dyn(kind=kind, value=number, scale=scale):
            return kind, number, scale
        case _:
            raise TypeError(f"{value} has no parts")


def rebuilt(shape: type, targets: list[str], known: list[Lowered]) -> Lowered:
    """A value of this type from the names of its parts; `known` are the branches it joins."""
    integers = {value.integer for value in known if isinstance(value, Number | Dyn)}
    integer = integers.pop() if len(integers) == 1 else None
    if shape is Bool:
        return Bool(targets[0])
    if shape is Number:
        return Number(targets[0], targets[1], targets[2], integer)
    if shape is Dyn:
        return Dyn(targets[0], targets[1], targets[2], integer)
    return shape(targets[0], targets[1])  # type: ignore[no-any-return]


def integer_kind(node: Node) -> bool | None:
    """Whether numbers that an expression gives are CEL ints (True), doubles (False), or either (None)."""
    match node:
        case Literal(value=value):
            return type(value) is int
        case Call(function=name, arguments=arguments):
            if name in _INTEGER_FUNCTIONS:
                return True
            if name in _DECIMAL_FUNCTIONS:
                return False
            if name in ("_+_", "_-_", "_*_", "_/_"):
                kinds = [integer_kind(argument) for argument in arguments]
                return False if False in kinds else True if all(kinds) else None
            if name == "-_":
                return integer_kind(arguments[0])
            return None
        case _:
            return False if access_path(node)[0] == "event" else None
