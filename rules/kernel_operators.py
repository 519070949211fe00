"""Arithmetic and functions of CEL as kernel code, and the table of all that the kernel expresses.

Each function takes the writer and a call node, emits code and returns the value; `Unsupported` where int64 arithmetic
cannot give exactly what the closures give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from earnbook.ledger.schema import TIME_MAX, Bail, Kind
from earnbook.rules.kernel_comparisons import (
    COMPARISONS,
    NO_VALUE,
    NUMBERS,
    as_number,
    as_time,
    bail_if_alike,
    comparison,
)
from earnbook.rules.kernel_expressions import KernelWriter
from earnbook.rules.kernel_shapes import TIME_PARTS
from earnbook.rules.kernel_values import Dyn, Length, Lowered, Number, Text, Time, Unsupported, any_of, is_any
from earnbook.rules.plan_reads import access_path
from earnbook.rules.syntax import Call, Literal

TIME_MIN = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z, the first instant that CEL knows."""

_MODES = {"round": 0, "floor": 1, "ceil": 2}
_TRUNCATED = 3
_ADDED = (Kind.TEXT, Kind.LIST, Kind.TIMESTAMP)
_FAILED = Number("0", "0", "True", None)


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _checked(writer: KernelWriter, call: str, error: str, integer: bool | None) -> Number:
    """The (mantissa, scale) of a function of the prelude; a result that does not fit bails out."""
    code = writer.code
    mantissa, scale, fits = code.name("m"), code.name("s"), code.name("f")
    code.emit(f"{mantissa}, {scale}, {fits} = {call}")
    writer.bail_if(f"not {fits}", Bail.NUMBER_RANGE)
    if error == "True":
        return _FAILED
    return Number(mantissa, scale, error, integer)


def _integer_of(left: Number, right: Number) -> bool | None:
    """Whether the result of + - * is a CEL int: only when both operands are (§5.1)."""
    if left.integer is False or right.integer is False:
        return False
    return True if left.integer and right.integer else None


def _add(writer: KernelWriter, node: Call) -> Lowered:
    left, right = (writer.lower(argument) for argument in node.arguments)
    match left, right:
        case (Text(), _) | (_, Text()):
            raise Unsupported("the kernel builds no texts")
        case (Time() | Length(), _) | (_, Time() | Length()):
            return _shift_time(writer, left, right, "+")
        case (Dyn(), Dyn()):
            bail_if_alike(writer, left, right, _ADDED)
    return _sum(writer, as_number(writer, left), as_number(writer, right))


def _sum(writer: KernelWriter, left: Number, right: Number) -> Number:
    call = f"_add({left.mantissa}, {left.scale}, {right.mantissa}, {right.scale})"
    return _checked(writer, call, any_of(left.error, right.error), _integer_of(left, right))


def _subtract(writer: KernelWriter, node: Call) -> Lowered:
    left, right = (writer.lower(argument) for argument in node.arguments)
    match left, right:
        case (Time(), Length()) | (Length(), Length()):
            return _shift_time(writer, left, right, "-")
        case (Time(), _) | (Dyn(), Time()):
            return _elapsed(writer, as_time(writer, left), as_time(writer, right))
        case (Length(), _) | (_, Length()):
            return _shift_time(writer, as_time(writer, left), right, "-")
        case (Dyn(), Dyn()):
            bail_if_alike(writer, left, right, _ADDED)
    return _sum(writer, as_number(writer, left), _negated(writer, as_number(writer, right)))


def _negate(writer: KernelWriter, node: Call) -> Lowered:
    value = writer.lower(node.arguments[0])
    if isinstance(value, Length):
        return Length(writer.code.assign("m", f"-{value.microseconds}"), value.error)
    return _negated(writer, as_number(writer, value))


def _negated(writer: KernelWriter, value: Number) -> Number:
    writer.bail_if(f"not _bounded({value.mantissa})", Bail.NUMBER_RANGE)
    return Number(writer.code.assign("m", f"-({value.mantissa})"), value.scale, value.error, value.integer)


def _elapsed(writer: KernelWriter, left: Time, right: Time) -> Lowered:
    length = writer.code.assign("m", f"{left.microseconds} - {right.microseconds}")
    return Length(length, any_of(left.error, right.error))


def _shift_time(writer: KernelWriter, left: Lowered, right: Lowered, operator: str) -> Lowered:
    """A time and a duration, or two durations; what leaves the calendar is left to the closures."""
    if isinstance(left, Length) and not isinstance(right, Length):
        left, right = right, left
    if not isinstance(right, Length):
        raise Unsupported("a time is only added to a duration")
    moved = left if isinstance(left, Length) else as_time(writer, left)
    result = writer.code.assign("m", f"{moved.microseconds} {operator} {right.microseconds}")
    writer.bail_if(f"not {TIME_MIN} <= {result} <= {TIME_MAX}", Bail.TIME_RANGE)
    error = any_of(moved.error, right.error)
    return Length(result, error) if isinstance(moved, Length) else Time(result, error)


def _multiply(writer: KernelWriter, node: Call) -> Lowered:
    left, right = (as_number(writer, writer.lower(argument)) for argument in node.arguments)
    return _product(writer, left, right, _integer_of(left, right))


def _product(writer: KernelWriter, left: Number, right: Number, integer: bool | None) -> Number:
    call = f"_multiply({left.mantissa}, {left.scale}, {right.mantissa}, {right.scale})"
    return _checked(writer, call, any_of(left.error, right.error), integer)


def _divide(writer: KernelWriter, node: Call) -> Lowered:
    """Integers truncate; a decimal is divided by a constant 2^a·5^b exactly. Anything else needs 34 digits."""
    left, right = (as_number(writer, writer.lower(argument)) for argument in node.arguments)
    if left.integer and right.integer:
        return _divide_integers(writer, left, right)
    if right.constant is None or (left.integer is None and right.integer is not False):
        raise Unsupported("a quotient can need 34 digits; round(a / b, n) is exact")
    inverse = _exact_inverse(right.constant)
    if inverse is None:
        raise Unsupported(f"division by {right.constant} can need 34 digits; round(a / b, n) is exact")
    return _product(writer, left, Number(*inverse, "False", False), False)


def _divide_integers(writer: KernelWriter, left: Number, right: Number) -> Number:
    error = writer.code.assign("e", any_of(left.error, right.error, f"{right.mantissa} == 0"))
    call = f"_divide_round({left.mantissa}, 0, 1 if {error} else {right.mantissa}, 0, 0, {_TRUNCATED})"
    return _checked(writer, call, error, True)


def _exact_inverse(divisor: int | Decimal) -> tuple[str, str] | None:
    """1 / divisor as mantissa and scale, None where it does not end within 18 decimals."""
    if divisor == 0:
        return None
    inverse = 1 / Fraction(divisor)
    for scale in range(19):
        mantissa = inverse * 10**scale
        if mantissa.denominator == 1:
            return (str(mantissa.numerator), str(scale)) if abs(mantissa) < 2**62 else None
    return None


def _modulo(writer: KernelWriter, node: Call) -> Lowered:
    """The remainder of whole numbers, an int; decimals that are not whole and a zero divisor are errors."""
    left, right = (as_number(writer, writer.lower(argument)) for argument in node.arguments)
    code = writer.code
    one, one_whole, other, other_whole = code.name("m"), code.name("f"), code.name("m"), code.name("f")
    code.emit(f"{one}, {one_whole} = _whole({left.mantissa}, {left.scale})")
    code.emit(f"{other}, {other_whole} = _whole({right.mantissa}, {right.scale})")
    wrong = f"not {one_whole} or not {other_whole} or {other} == 0"
    error = code.assign("e", any_of(left.error, right.error, f"({wrong})"))
    writer.bail_if(f"not _bounded({one}) or not _bounded({other})", Bail.NUMBER_RANGE)
    quotient = code.assign("q", f"0 if {error} else _divide_whole({one}, {other}, {_TRUNCATED})")
    return Number(code.assign("m", f"0 if {error} else {one} - {quotient} * {other}"), "0", error, True)


# --- functions ------------------------------------------------------------------------------------------------------


def _round(writer: KernelWriter, node: Call) -> Lowered:
    """round(x[, n]), floor, ceil; of a quotient exactly, without the quotient itself."""
    places = _places(node)
    operand = node.arguments[0]
    mode = _MODES[node.function]
    if isinstance(operand, Call) and operand.function == "_/_":
        left, right = (as_number(writer, writer.lower(argument)) for argument in operand.arguments)
        if left.integer is False or right.integer is False:
            error = any_of(left.error, right.error)
            # Where an operand is an error there is no quotient to bail out for.
            divisor = right.mantissa if error == "False" else f"1 if {error} else {right.mantissa}"
            numbers = f"{left.mantissa}, {left.scale}, {divisor}, {right.scale}"
            return _checked(writer, f"_divide_round({numbers}, {places}, {mode})", error, False)
    number = as_number(writer, writer.lower(operand))
    call = f"_round({number.mantissa}, {number.scale}, {places}, {mode})"
    return _checked(writer, call, number.error, False)


def _places(node: Call) -> int:
    if len(node.arguments) == 1:
        return 0
    places: object = None
    match node.arguments[1]:
        case Literal(value=value):
            places = value
        case Call(function="-_", arguments=(Literal(value=int() | Decimal() as value),)):
            places = -value
    if isinstance(places, bool) or not isinstance(places, int | Decimal) or places != int(places):
        raise Unsupported("the number of decimals is not constant")
    if not -18 <= places <= 18:
        raise Unsupported("more than 18 decimals")
    return int(places)


def _absolute(writer: KernelWriter, node: Call) -> Lowered:
    number = as_number(writer, writer.lower(node.arguments[0]))
    writer.bail_if(f"not _bounded({number.mantissa})", Bail.NUMBER_RANGE)
    return replace(number, mantissa=writer.code.assign("m", f"abs({number.mantissa})"), constant=None)


def _extreme(writer: KernelWriter, node: Call) -> Lowered:
    """min and max of two or more numbers."""
    if len(node.arguments) < 2:
        raise Unsupported(f"{node.function} of a list")
    test = "<" if node.function == "min" else ">"
    best, *others = [as_number(writer, writer.lower(argument)) for argument in node.arguments]
    for other in others:
        better = writer.code.assign("f", f"{comparison(other, best)} {test} 0")
        mantissa = writer.code.assign("m", f"{other.mantissa} if {better} else {best.mantissa}")
        scale = writer.code.assign("s", f"{other.scale} if {better} else {best.scale}")
        integer = best.integer if best.integer == other.integer else None
        best = Number(mantissa, scale, any_of(best.error, other.error), integer)
    return best


def _convert(writer: KernelWriter, node: Call) -> Lowered:
    """int(x) and double(x) of a number; texts, times and the rest are left to the closures."""
    value = writer.lower(node.arguments[0])
    if isinstance(value, Dyn):
        writer.bail_if(f"not {is_any(value.kind, *NUMBERS, *NO_VALUE)}", Bail.ODD_KIND)
    elif not isinstance(value, Number):
        raise Unsupported(f"{node.function}() of what is no number")
    number = as_number(writer, value)
    if node.function == "double":
        return replace(number, integer=False, constant=None)
    return _checked(writer, f"_round({number.mantissa}, {number.scale}, 0, {_TRUNCATED})", number.error, True)


def _same(writer: KernelWriter, node: Call) -> Lowered:
    """dyn(x)."""
    return writer.lower(node.arguments[0])


def _string(writer: KernelWriter, node: Call) -> Lowered:
    value = writer.lower(node.arguments[0])
    if isinstance(value, Text):
        return value
    raise Unsupported("the kernel builds no texts")


def _time_part(writer: KernelWriter, node: Call) -> Lowered:
    """`now.getHours()` and its kind, in UTC."""
    if node.target is None or node.arguments:
        raise Unsupported(f"{node.function} with a zone")
    value = writer.lower(node.target)
    if not isinstance(value, Time):
        # Durations have some of these methods too.
        raise Unsupported(f"{node.function} of what may be a duration")
    part = writer.code.assign("m", f"_time_part({value.microseconds}, {TIME_PARTS[node.function]})")
    return Number(part, "0", value.error, True)


def _get(writer: KernelWriter, node: Call) -> Lowered:
    """`get(map, 'key', default)` of the event, counters and attributes; the key and the default are constant."""
    container, key, otherwise = node.arguments
    root, path = access_path(container)
    if not isinstance(key, Literal) or not isinstance(key.value, str):
        raise Unsupported("the key of get() is not constant")
    default = writer.lower(otherwise)
    match root, path:
        case "event", _:
            return _get_event(writer, path, key.value, default)
        case (("participant" | "program" | "group" as root), ("counters",)) if isinstance(default, Number):
            present, number = writer.counter(root, key.value)
            return _either_number(writer, present, number, default)
        case (("participant" | "program" | "group" as root), ("attributes",)) if isinstance(default, Text):
            present, text = writer.attribute(root, key.value)
            return Text(writer.code.assign("t", f"{text.code} if {present} else {default.code}"), default.error)
        case _:
            raise Unsupported("get() of this is not in the kernel")


def _either_number(writer: KernelWriter, present: str, number: Number, default: Number) -> Number:
    mantissa = writer.code.assign("m", f"{number.mantissa} if {present} else {default.mantissa}")
    scale = writer.code.assign("s", f"{number.scale} if {present} else {default.scale}")
    integer = number.integer if number.integer == default.integer else None
    return Number(mantissa, scale, default.error, integer)


def _get_event(writer: KernelWriter, path: tuple[str, ...], key: str, default: Lowered) -> Lowered:
    other = writer.dynamic(default)
    found = writer.event_field((*path, key))
    code = writer.code
    absent = code.assign("f", f"{found.kind} == {int(Kind.ABSENT)}")
    # A default that is an error is one also where it is not needed: arguments are evaluated first.
    wrong = [f"{other.kind} == {int(Kind.ERROR)}"]
    if path:
        wrong.append(f"{writer.event_field(path).kind} != {int(Kind.MAP)}")
    chosen = f"{other.kind} if {absent} else {found.kind}"
    kind = code.assign("k", f"{int(Kind.ERROR)} if ({' or '.join(wrong)}) else ({chosen})")
    value = code.assign("v", f"{other.value} if {absent} else {found.value}")
    scale = code.assign("s", f"{other.scale} if {absent} else {found.scale}")
    return Dyn(kind, value, scale, False if other.integer is False else None)


CALLS: dict[str, Callable[[KernelWriter, Call], Lowered]] = {
    **COMPARISONS,
    "_+_": _add,
    "_-_": _subtract,
    "-_": _negate,
    "_*_": _multiply,
    "_/_": _divide,
    "_%_": _modulo,
    **dict.fromkeys(_MODES, _round),
    "abs": _absolute,
    "min": _extreme,
    "max": _extreme,
    "int": _convert,
    "double": _convert,
    "string": _string,
    "dyn": _same,
    "get": _get,
    **dict.fromkeys(TIME_PARTS, _time_part),
}
"""What the kernel expresses, by function name; everything else is precomputed or left to the closures."""
