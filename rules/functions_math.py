"""The `math.` functions of CEL's extension library, on exact decimals (§5.1, §11.2)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal

from earnbook.rules.syntax import Uint
from earnbook.rules.values import INT_MAX, UINT_MAX, CelError, Value, no_overload
from earnbook.rules.values_numbers import (
    DIVISION_DIGITS,
    NAN,
    absolute,
    ceil,
    floor,
    maximum,
    minimum,
    round_half_away,
    to_double,
    truncate,
)

_SQUARE_ROOT = Context(prec=DIVISION_DIGITS, traps=[])
_VARIADIC_MAX = 32


def sign(operand: Value) -> Value:
    """`math.sign(x)`: -1, 0 or 1 in the operand's own type."""
    if type(operand) is int:
        return (operand > 0) - (operand < 0)
    if type(operand) is Uint:
        return Uint(operand > 0)
    if type(operand) is Decimal:
        return operand if operand.is_nan() else Decimal((operand > 0) - (operand < 0))
    raise no_overload("math.sign", operand)


def is_nan(operand: Value) -> bool:
    """`math.isNaN(x)`."""
    return _double("math.isNaN", operand).is_nan()


def is_infinite(operand: Value) -> bool:
    """`math.isInf(x)`."""
    return _double("math.isInf", operand).is_infinite()


def is_finite(operand: Value) -> bool:
    """`math.isFinite(x)`."""
    return _double("math.isFinite", operand).is_finite()


def square_root(operand: Value) -> Decimal:
    """`math.sqrt(x)`: 34 digits; NaN for negative numbers."""
    number = to_double(operand) if type(operand) is not str else _double("math.sqrt", operand)
    if number.is_nan() or number < 0:
        return NAN
    return _SQUARE_ROOT.sqrt(number)


def bit_and(left: Value, right: Value) -> Value:
    """`math.bitAnd(a, b)`."""
    return _bits("math.bitAnd", left, right, lambda one, other: one & other)


def bit_or(left: Value, right: Value) -> Value:
    """`math.bitOr(a, b)`."""
    return _bits("math.bitOr", left, right, lambda one, other: one | other)


def bit_xor(left: Value, right: Value) -> Value:
    """`math.bitXor(a, b)`."""
    return _bits("math.bitXor", left, right, lambda one, other: one ^ other)


def bit_not(operand: Value) -> Value:
    """`math.bitNot(x)`."""
    if type(operand) is int:
        return ~operand
    if type(operand) is Uint:
        return Uint(operand ^ UINT_MAX)
    raise no_overload("math.bitNot", operand)


def bit_shift_left(operand: Value, places: Value) -> Value:
    """`math.bitShiftLeft(x, n)`: bits beyond 64 are lost."""
    count = _shift("math.bitShiftLeft", operand, places)
    return _in_64_bits(operand, 0 if count > 63 else operand << count)  # type: ignore[operator]


def bit_shift_right(operand: Value, places: Value) -> Value:
    """`math.bitShiftRight(x, n)`: zeros come in from the left."""
    count = _shift("math.bitShiftRight", operand, places)
    return _in_64_bits(operand, 0 if count > 63 else (operand & UINT_MAX) >> count)  # type: ignore[operator]


def _double(function: str, operand: Value) -> Decimal:
    if type(operand) is Decimal:
        return operand
    raise no_overload(function, operand)


def _of_double(function: str, implementation: Callable[[Value], Decimal]) -> Callable[[Value], Decimal]:
    """The extension library defines these for doubles alone."""
    return lambda operand: implementation(_double(function, operand))


def _bits(function: str, left: Value, right: Value, combine: Callable[[int, int], int]) -> Value:
    if type(left) is int and type(right) is int:
        return combine(left, right)
    if type(left) is Uint and type(right) is Uint:
        return Uint(combine(left, right))
    raise no_overload(function, left, right)


def _shift(function: str, operand: Value, places: Value) -> int:
    if type(operand) not in (int, Uint) or type(places) is not int:
        raise no_overload(function, operand, places)
    if places < 0:
        raise CelError(f"{function} takes a count that is not negative")
    return places


def _in_64_bits(like: Value, bits: int) -> Value:
    """The low 64 bits as the operand's type."""
    bits &= UINT_MAX
    if type(like) is Uint:
        return Uint(bits)
    return bits if bits <= INT_MAX else bits - UINT_MAX - 1


def _variadic(name: str) -> list[str]:
    numbers = (", ".join(["N"] * count) for count in range(1, _VARIADIC_MAX + 1))
    return [f"{name}(list(N)) -> N", *(f"{name}({part}) -> N" for part in numbers)]


def _whole(name: str) -> list[str]:
    return [f"{name}(int, int) -> int", f"{name}(uint, uint) -> uint"]


def _shifts(name: str) -> list[str]:
    return [f"{name}(int, int) -> int", f"{name}(uint, int) -> uint"]


def _same(name: str) -> list[str]:
    return [f"{name}({kind}) -> {kind}" for kind in ("int", "uint", "double")]


TABLE: tuple[tuple[str | list[str], Callable[..., object], str], ...] = (
    (_variadic("math.greatest"), maximum, "the largest number"),
    (_variadic("math.least"), minimum, "the smallest number"),
    ("math.ceil(double) -> double", _of_double("math.ceil", ceil), "as ceil(x), of doubles only"),
    ("math.floor(double) -> double", _of_double("math.floor", floor), "as floor(x), of doubles only"),
    ("math.round(double) -> double", _of_double("math.round", round_half_away), "as round(x), of doubles only"),
    ("math.trunc(double) -> double", _of_double("math.trunc", truncate), "cuts decimals off"),
    (_same("math.abs"), absolute, "as abs(x)"),
    (_same("math.sign"), sign, "-1, 0 or 1"),
    ("math.isNaN(double) -> bool", is_nan, "whether it is not a number"),
    ("math.isInf(double) -> bool", is_infinite, "whether it is infinite"),
    ("math.isFinite(double) -> bool", is_finite, "whether it is a finite number"),
    ("math.sqrt(number) -> double", square_root, "square root, 34 digits"),
    (_whole("math.bitAnd"), bit_and, "bitwise and"),
    (_whole("math.bitOr"), bit_or, "bitwise or"),
    (_whole("math.bitXor"), bit_xor, "bitwise exclusive or"),
    (["math.bitNot(int) -> int", "math.bitNot(uint) -> uint"], bit_not, "bitwise not"),
    (_shifts("math.bitShiftLeft"), bit_shift_left, "shift left"),
    (_shifts("math.bitShiftRight"), bit_shift_right, "shift right"),
)
