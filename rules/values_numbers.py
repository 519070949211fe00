"""Arithmetic and conversion of CEL numbers (§5.1): int64, uint64 and exact decimals.

`+ - *` on decimals are exact, up to 1,024 digits; only a division that involves a decimal rounds, to 34 significant
digits, half to even. The contexts below are used explicitly, so nothing depends on the thread's decimal context, with
one exception: comparing with NaN raises `InvalidOperation` there, which `values.less` and its siblings expect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
    Overflow,
)

from earnbook.rules.syntax import Uint
from earnbook.rules.values import (
    INT_MAX,
    INT_MIN,
    NUMBER_TYPES,
    UINT_MAX,
    CelError,
    Duration,
    Timestamp,
    Value,
    checked_length,
    integer,
    no_overload,
)

DIGITS_MAX = 1024
"""Digits that an exact intermediate result may need (§5.2)."""

DIVISION_DIGITS = 34
"""Significant digits of a quotient of decimals (§5.1)."""

ROUND_PLACES_MAX = 18

INFINITY = Decimal("Infinity")
NAN = Decimal("NaN")
ZERO = Decimal(0)

_EXACT = Context(
    prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, Overflow], clamp=0
)
_DIVISION = Context(
    prec=DIVISION_DIGITS, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Overflow], clamp=0
)

# The result of rounding has at most one digit more than the number, so the precision is never the limit.
_ROUNDING = Context(prec=DIGITS_MAX + 32, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[], clamp=0)
_QUANTA = {places: Decimal((0, (1,), -places)) for places in range(-ROUND_PLACES_MAX, ROUND_PLACES_MAX + 1)}

_DECIMAL_TEXT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_INTEGER_TEXT = re.compile(r"[+-]?[0-9]+")
_PLAIN_ADJUSTED_MIN = -7
_PLAIN_ADJUSTED_MAX = 20


def add(left: Value, right: Value) -> Value:
    """`left + right`: numbers, texts, bytes, lists, and times with durations."""
    left_type = type(left)
    right_type = type(right)
    if left_type is int and right_type is int:
        return _int(left + right)  # type: ignore[operator]
    if _is_decimal_pair(left_type, right_type):
        try:
            return _EXACT.add(left, right)  # type: ignore[arg-type]
        except (Inexact, Overflow):
            raise _too_many_digits() from None
    if left_type is not right_type:
        return _add_time(left, right)
    if left_type is Uint:
        return _uint(left + right)  # type: ignore[operator]
    if left_type is str or left_type is bytes or left_type is list:
        checked_length(len(left) + len(right))  # type: ignore[arg-type]
        return left + right  # type: ignore[operator]
    return _add_time(left, right)


def subtract(left: Value, right: Value) -> Value:
    """`left - right`: numbers, durations, and times."""
    left_type = type(left)
    right_type = type(right)
    if left_type is int and right_type is int:
        return _int(left - right)  # type: ignore[operator]
    if _is_decimal_pair(left_type, right_type):
        try:
            return _EXACT.subtract(left, right)  # type: ignore[arg-type]
        except (Inexact, Overflow):
            raise _too_many_digits() from None
    if left_type is Uint and right_type is Uint:
        return _uint(left - right)  # type: ignore[operator]
    if isinstance(left, Timestamp) and isinstance(right, Timestamp):
        return Duration(left.nanoseconds - right.nanoseconds)
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return Timestamp(left.nanoseconds - right.nanoseconds)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return Duration(left.nanoseconds - right.nanoseconds)
    raise no_overload("-", left, right)


def multiply(left: Value, right: Value) -> Value:
    """`left * right` of numbers."""
    left_type = type(left)
    right_type = type(right)
    if left_type is int and right_type is int:
        return _int(left * right)  # type: ignore[operator]
    if _is_decimal_pair(left_type, right_type):
        try:
            return _EXACT.multiply(left, right)  # type: ignore[arg-type]
        except (Inexact, Overflow):
            raise _too_many_digits() from None
    if left_type is Uint and right_type is Uint:
        return _uint(left * right)  # type: ignore[operator]
    raise no_overload("*", left, right)


def divide(left: Value, right: Value) -> Value:
    """`left / right`: integers truncate toward zero; with a decimal, 34 digits, and x / 0 is an infinity or NaN."""
    left_type = type(left)
    right_type = type(right)
    if _is_decimal_pair(left_type, right_type):
        return divide_decimals(Decimal(left), Decimal(right))  # type: ignore[arg-type]
    if left_type is right_type and (left_type is int or left_type is Uint):
        if right == 0:
            raise CelError("division by zero")
        quotient = _truncated_quotient(left, right)  # type: ignore[arg-type]
        return _int(quotient) if left_type is int else Uint(quotient)
    raise no_overload("/", left, right)


def divide_decimals(left: Decimal, right: Decimal) -> Decimal:
    """The quotient at 34 digits, half to even. Zero has no sign, so x / 0 takes the sign of x."""
    if right == 0:
        if left == 0 or left.is_nan():
            return NAN
        return -INFINITY if left.is_signed() else INFINITY
    if right.is_infinite() and left.is_finite():
        return ZERO
    try:
        return _DIVISION.divide(left, right)
    except Overflow:
        raise _too_many_digits() from None


def modulo(left: Value, right: Value) -> Value:
    """`left % right`: the remainder of a division that truncates; decimals must be whole, and the result is an int."""
    if type(left) is Uint and type(right) is Uint:
        return _uint(_remainder(left, right))
    if (type(left) is int and type(right) is int) or _is_decimal_pair(type(left), type(right)):
        dividend, divisor = _int(integer(left, "%")), _int(integer(right, "%"))
        if dividend == INT_MIN and divisor == -1:
            raise CelError("integer overflow")  # Their quotient overflows, and CEL refuses the remainder with it.
        return _int(_remainder(dividend, divisor))
    raise no_overload("%", left, right)


def negate(operand: Value) -> Value:
    """`-operand` of an int, a double or a duration."""
    if type(operand) is int:
        return _int(-operand)
    if type(operand) is Decimal:
        return operand.copy_negate() if operand != 0 else operand
    if type(operand) is Duration:
        return Duration(-operand.nanoseconds)
    raise no_overload("-", operand)


def round_half_away(operand: Value, places: Value = 0) -> Decimal:
    """`round(x, n)`: n decimals, half away from zero, −18 ≤ n ≤ 18; the result is a double."""
    number = _decimal(operand, "round")
    digits = integer(places, "the second argument of round")
    if not -ROUND_PLACES_MAX <= digits <= ROUND_PLACES_MAX:
        raise CelError("round takes from -18 to 18 decimals")
    return _to_places(number, digits, ROUND_HALF_UP)


def floor(operand: Value) -> Decimal:
    """The largest whole number that is not greater, as a double."""
    return _to_places(_decimal(operand, "floor"), 0, ROUND_FLOOR)


def ceil(operand: Value) -> Decimal:
    """The smallest whole number that is not less, as a double."""
    return _to_places(_decimal(operand, "ceil"), 0, ROUND_CEILING)


def truncate(operand: Value) -> Decimal:
    """The number without its decimals, as a double."""
    return _to_places(_decimal(operand, "trunc"), 0, ROUND_DOWN)


def absolute(operand: Value) -> Value:
    """The magnitude, in the operand's own type."""
    if type(operand) is int:
        return _int(abs(operand))
    if type(operand) is Uint:
        return operand
    if type(operand) is Decimal:
        return operand.copy_abs()
    raise no_overload("abs", operand)


def minimum(*operands: Value) -> Value:
    """The smallest of two or more numbers, or of one list; the first of equal ones; NaN when one is NaN."""
    return _extreme("min", operands, largest=False)


def maximum(*operands: Value) -> Value:
    """The largest of two or more numbers, or of one list; the first of equal ones; NaN when one is NaN."""
    return _extreme("max", operands, largest=True)


def _extreme(function: str, operands: Sequence[Value], *, largest: bool) -> Value:
    numbers = operands[0] if len(operands) == 1 and type(operands[0]) is list else operands
    if not numbers:
        raise CelError(f"{function} of an empty list")
    best: Value = None
    for number in numbers:
        if type(number) not in NUMBER_TYPES:
            raise no_overload(function, *operands)
        if _is_nan(number):
            return number
        if best is None or (number > best if largest else number < best):  # type: ignore[operator]
            best = number
    return best


def _is_nan(value: Value) -> bool:
    return type(value) is Decimal and value.is_nan()


def to_int(operand: Value) -> int:
    """`int(x)`: cuts decimals off; also decimal text and timestamps (seconds); an error outside int64."""
    if type(operand) is int:
        return operand
    if type(operand) is Uint:
        return _int(int(operand))
    if type(operand) is Decimal:
        return _int(_whole(operand))
    if type(operand) is str:
        return _int(_integer_of_text(operand, "int"))
    if type(operand) is Timestamp:
        return operand.nanoseconds // 10**9
    raise no_overload("int", operand)


def to_uint(operand: Value) -> Uint:
    """`uint(x)`: as `int(x)`, for uint64; a number below 0 is outside it before its decimals are cut off."""
    if type(operand) is Uint:
        return operand
    if type(operand) is int:
        return _uint(operand)
    if type(operand) is Decimal:
        if operand < 0:
            raise CelError("unsigned integer overflow")
        return _uint(_whole(operand))
    if type(operand) is str:
        return _uint(_integer_of_text(operand, "uint"))
    raise no_overload("uint", operand)


def to_double(operand: Value) -> Decimal:
    """`double(x)`: the exact decimal of an integer or of decimal text."""
    if type(operand) is Decimal:
        return operand
    if type(operand) is int or type(operand) is Uint:
        return Decimal(operand)
    if type(operand) is str:
        return decimal_of_text(operand)
    raise no_overload("double", operand)


def decimal_of_text(text: str) -> Decimal:
    """The exact number that a text writes; also `NaN`, `Infinity` and `inf` with a sign."""
    if _DECIMAL_TEXT.fullmatch(text):
        number = Decimal(text)
        if len(number.as_tuple().digits) > DIGITS_MAX:
            raise _too_many_digits()
        return number if number else ZERO
    special = {"nan": NAN, "inf": INFINITY, "infinity": INFINITY}.get(text.lstrip("+-").lower())
    if special is None or len(text) - len(text.lstrip("+-")) > 1:
        raise CelError("double needs the text of a number")
    return special.copy_negate() if text.startswith("-") and special is INFINITY else special


def number_text(number: int | Decimal) -> str:
    """`string(x)` of a number: the shortest plain form, with exponent only below 10⁻⁷ or from 10²¹ (§5.1)."""
    if not isinstance(number, Decimal):
        return str(int(number))
    if not number.is_finite():
        return "NaN" if number.is_nan() else "-Infinity" if number.is_signed() else "Infinity"
    if number == 0:
        return "0"
    if _PLAIN_ADJUSTED_MIN <= number.adjusted() <= _PLAIN_ADJUSTED_MAX:
        plain = format(number, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    sign, digits, _ = number.as_tuple()
    significant = "".join(map(str, digits)).rstrip("0")
    mantissa = significant[0] + (f".{significant[1:]}" if len(significant) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{number.adjusted():+d}"


def _is_decimal_pair(left_type: type, right_type: type) -> bool:
    """Whether both are numbers and at least one is a decimal."""
    if left_type is Decimal:
        return right_type in NUMBER_TYPES
    return right_type is Decimal and left_type in NUMBER_TYPES


def _add_time(left: Value, right: Value) -> Value:
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return Timestamp(left.nanoseconds + right.nanoseconds)
    if isinstance(left, Duration) and isinstance(right, Timestamp):
        return Timestamp(left.nanoseconds + right.nanoseconds)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return Duration(left.nanoseconds + right.nanoseconds)
    raise no_overload("+", left, right)


def _int(number: int) -> int:
    if INT_MIN <= number <= INT_MAX:
        return number
    raise CelError("integer overflow")


def _uint(number: int) -> Uint:
    if 0 <= number <= UINT_MAX:
        return Uint(number)
    raise CelError("unsigned integer overflow")


def _truncated_quotient(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    """The remainder with the sign of the dividend."""
    if right == 0:
        raise CelError("modulus by zero")
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def _decimal(operand: Value, function: str) -> Decimal:
    if type(operand) is Decimal:
        return operand
    if type(operand) is int or type(operand) is Uint:
        return Decimal(operand)
    raise no_overload(function, operand)


def _to_places(number: Decimal, places: int, rounding: str) -> Decimal:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -places:
        return number
    rounded = number.quantize(_QUANTA[places], rounding=rounding, context=_ROUNDING)
    return rounded if rounded else ZERO


def _whole(number: Decimal) -> int:
    """The number cut off at the point; far outside 64 bits it is refused before it is expanded."""
    if not number.is_finite():
        raise CelError("NaN and infinities have no integer value")
    if number.adjusted() > 20:
        raise CelError("integer overflow")
    return int(number)


def _integer_of_text(text: str, function: str) -> int:
    if not _INTEGER_TEXT.fullmatch(text):
        raise CelError(f"{function} needs the text of a whole number")
    if len(text) > 40:
        raise CelError("integer overflow")
    return int(text)


def _too_many_digits() -> CelError:
    return CelError(f"a number of more than {DIGITS_MAX:,} digits")
