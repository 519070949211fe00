"""Optional values (§11.2): made by `optional.of`, `.?` and `[?]`, read by `orValue` and its siblings."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from earnbook.rules.syntax import Uint
from earnbook.rules.values import NONE, CelError, Duration, Optional, Timestamp, Value, no_overload


def identity(operand: Value) -> Value:
    """`dyn(x)`."""
    return operand


def optional_of(operand: Value) -> Optional:
    """`optional.of(x)`."""
    return Optional(True, operand)


def optional_of_non_zero(operand: Value) -> Optional:
    """`optional.ofNonZeroValue(x)`: empty for null, false, zero, the start of 1970, empty texts, lists and maps."""
    return NONE if _is_zero(operand) else Optional(True, operand)


def optional_none() -> Optional:
    """`optional.none()`."""
    return NONE


def has_value(operand: Value) -> bool:
    """`optional.hasValue()`."""
    return _optional("hasValue", operand).present


def value(operand: Value) -> Value:
    """`optional.value()`: an error when it is empty."""
    found = _optional("value", operand)
    if not found.present:
        raise CelError("this optional has no value")
    return found.value


def or_else(operand: Value, other: Value) -> Optional:
    """`optional.or(optional)`: the first that has a value."""
    first, second = _optional("or", operand), _optional("or", other)
    return first if first.present else second


def or_value(operand: Value, default: Value) -> Value:
    """`optional.orValue(x)`: its value, or x."""
    found = _optional("orValue", operand)
    return found.value if found.present else default


def _optional(function: str, operand: Value) -> Optional:
    if type(operand) is Optional:
        return operand
    raise no_overload(function, operand)


def _is_zero(operand: Value) -> bool:
    if operand is None or operand is False:
        return True
    if type(operand) in (int, Uint, Decimal):
        return operand == 0
    if type(operand) is Duration or type(operand) is Timestamp:
        return operand.nanoseconds == 0
    return type(operand) in (str, bytes, list, dict) and not operand


TABLE: tuple[tuple[str | list[str], Callable[..., object], str], ...] = (
    ("optional.of(T) -> optional(T)", optional_of, "an optional with this value"),
    ("optional.ofNonZeroValue(T) -> optional(T)", optional_of_non_zero, "empty for null, zero, false and empty values"),
    ("optional.none() -> optional(T)", optional_none, "an optional without value"),
    ("(optional(T)).hasValue() -> bool", has_value, "whether there is a value"),
    ("(optional(T)).value() -> T", value, "the value; an error when there is none"),
    ("(optional(T)).or(optional(T)) -> optional(T)", or_else, "this optional, or the other when this is empty"),
    ("(optional(T)).orValue(T) -> T", or_value, "the value, or the default"),
)
