"""Seeded faults, each in one target: the differential comparison is only worth what it finds of these.

A fault is either a change of the generated kernel's text, or a change of what generated closures call or contain. The
faults are small, and each is of a kind that has happened to somebody: a bound that is off by one, a rounding mode, an
error that is taken for false.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from unittest import mock

from earnbook.rules import lower_closure_runtime, lower_closure_source, values, values_numbers, values_text
from earnbook.rules.values import CelError, Value


@dataclass(frozen=True, slots=True)
class KernelFault:
    """A part of the kernel's text, and the wrong one that takes its place."""

    name: str
    right: str
    wrong: str

    def rewrite(self, source: str) -> str:
        """The source with the fault, where it has the part."""
        return source.replace(self.right, self.wrong)


@dataclass(frozen=True, slots=True)
class ClosureFault:
    """A context in which closures are wrong; compile them inside it, and compare with one of these."""

    name: str
    applied: Callable[[], AbstractContextManager[Any]]
    shows: tuple[str, ...] = ("kernel",)


KERNEL_FAULTS = (
    KernelFault("comparison takes more for the same", "int(left > right) - int(left < right)", "int(left > right)"),
    KernelFault("sums are not brought to one scale", "return one + other, scale", "return left + right, scale"),
    KernelFault("products keep the left scale", "left * right, left_scale + right_scale", "left * right, left_scale"),
    KernelFault("halves are rounded up", "and numerator > 0)", "and numerator != 0)"),
    KernelFault("ceiling is truncation", "if mode == 2:", "if mode == 9:"),
    KernelFault("numbers may leave 64 bits", "_BOUND = 2**62", "_BOUND = 2**70"),
    KernelFault("large products are not checked", "one > _MAX // other", "one < 0"),
    KernelFault("windows elapse a microsecond late", "now - reset_at >= reset_after", "now - reset_at > reset_after"),
    KernelFault("months count from 1", "return month - 1", "return month"),
    KernelFault("an error of a condition is false", "elif outcome == 2:", "elif outcome == 3:"),
    KernelFault("whole numbers are not seen as such", "return number, scale == 0", "return number, scale >= 0"),
)  # fmt: skip
"""Faults of the kernel."""


def _called(name: str, implementation: Callable[..., Value]) -> Callable[[], AbstractContextManager[Any]]:
    """Generated closures call something else under a name."""
    if name not in lower_closure_runtime.NAMES:
        raise KeyError(name)
    return lambda: mock.patch.dict(lower_closure_runtime.NAMES, {name: implementation})


def _round_half_even(number: Value, places: Value = 0) -> Value:
    exact = values_numbers.round_half_away(number, places)
    if isinstance(number, Decimal) and number.is_finite() and abs(number) < 10**20:
        return number.quantize(Decimal(1).scaleb(-int(Decimal(str(places)))), rounding=ROUND_HALF_EVEN)
    return exact


def _divide_short(left: Value, right: Value) -> Value:
    quotient = values_numbers.divide(left, right)
    if isinstance(quotient, Decimal) and quotient.is_finite() and abs(quotient) < 10**20:
        return quotient.quantize(Decimal("0.01"))
    return quotient


def _has_value(operand: Value, field: str) -> Value:
    return values.has_field(operand, field) and isinstance(operand, dict) and operand[field] is not None


def _get_value(mapping: Value, key: Value, default: Value) -> Value:
    found = values.get(mapping, key, default)
    return default if found is None else found


def _truthy(value: Value) -> bool:
    return bool(value)


def _select_null(operand: Value, field: str) -> Value:
    try:
        return values.select(operand, field)
    except CelError:
        return None


def _loosely_equal(left: Value, right: Value) -> bool:
    return left == right


def _modulo_floored(left: Value, right: Value) -> Value:
    found = values_numbers.modulo(left, right)
    if type(found) is int and found < 0 and values.less(0, right):
        return found + values_numbers.to_int(right)
    return found


def _bytes(operand: Value) -> Value:
    return len(operand.encode()) if isinstance(operand, str) else values_text.size(operand)


def _errors_escape() -> AbstractContextManager[Any]:
    """`&&` and `||` no longer absorb errors: the first one ends the evaluation."""

    def attempt(writer: Any, result: str, _: str, operand: Any, body: Any, names: Any) -> None:
        body.line(f"{result} = {writer._condition(operand, body, names)}")

    return mock.patch.object(lower_closure_source._Writer, "_attempt", attempt)


CLOSURE_FAULTS = (
    ClosureFault("less is less or equal", _called("less", values.less_equal), ("kernel", "google")),
    ClosureFault("true equals 1", _called("equals", _loosely_equal), ("kernel", "google")),
    ClosureFault("halves go to the even neighbour", _called("call_round", _round_half_even)),
    ClosureFault("division has two decimals", _called("divide", _divide_short)),
    ClosureFault("a null field is absent to has()", _called("has_field", _has_value)),
    ClosureFault("get() gives the default for null", _called("call_get", _get_value)),
    ClosureFault("anything is true or false", _called("truth", _truthy), ("kernel", "google")),
    ClosureFault("a missing field is null", _called("select", _select_null), ("kernel", "google")),
    ClosureFault("the remainder follows the divisor", _called("modulo", _modulo_floored)),
    ClosureFault("the size of a text is that of its bytes", _called("call_size", _bytes), ("google",)),
    ClosureFault("errors are not absorbed", _errors_escape, ("kernel", "google")),
)
"""Faults of the closures."""
