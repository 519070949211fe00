"""Operators and functions of CEL as kernel code: comparisons, arithmetic, text predicates, `in`, `get`, times.

Each function takes the writer and a call node, emits code and returns the value; `Unsupported` where int64 arithmetic
cannot give exactly what the closures give. `CALLS` is the whole table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from earnbook.ledger.schema import TIME_MAX, Kind, Status
from earnbook.rules.kernel_expressions import TIME_PARTS, KernelWriter
from earnbook.rules.kernel_values import (
    Bool,
    Dyn,
    Failure,
    Length,
    Lowered,
    Null,
    Number,
    StatusOf,
    Text,
    Time,
    Unsupported,
    any_of,
    is_any,
)
from earnbook.rules.plan_columns import PLACEHOLDER, LookupTable
from earnbook.rules.plan_reads import access_path, unparse
from earnbook.rules.syntax import Call, Expression, ListLiteral, Literal, Name, Node

CHAIN_MAX = 6
"""Texts of an `in` list that are compared one by one; a longer list of texts becomes a lookup table."""

TIME_MIN = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z, the first instant that CEL knows."""

_COMPARISONS = {"_<_": "< 0", "_<=_": "<= 0", "_>_": "> 0", "_>=_": ">= 0"}
_MODES = {"round": 0, "floor": 1, "ceil": 2}
_TRUNCATED = 3
_NUMBERS = (Kind.NUMBER, Kind.INT)
_ORDERED = (Kind.BOOL, Kind.TEXT, Kind.TIMESTAMP)
_ADDED = (Kind.TEXT, Kind.LIST, Kind.TIMESTAMP)
_UNKNOWN = (Kind.WIDE, Kind.LIST, Kind.MAP)
_NO_VALUE = (Kind.ABSENT, Kind.ERROR)

_FAILED = Number("0", "0", "True", None)


# --- conversions ----------------------------------------------------------------------------------------------------


def as_number(writer: KernelWriter, value: Lowered) -> Number:
    """The value as a number; anything else is an error, and a number beyond int64 bails out."""
    match value:
        case Number():
            return value
        case Dyn(kind=kind, value=mantissa, scale=scale, integer=integer):
            writer.bail_if(f"{kind} == {int(Kind.WIDE)}")
            error = writer.code.assign("e", f"not {is_any(kind, *_number_kinds(integer))}")
            return Number(writer.code.assign("m", f"0 if {error} else {mantissa}"), scale, error, integer)
        case _:
            return _FAILED


def _number_kinds(integer: bool | None) -> tuple[Kind, ...]:
    """The kinds that numbers of a Dyn can have."""
    return _NUMBERS if integer is None else (Kind.INT,) if integer else (Kind.NUMBER,)


def as_text(writer: KernelWriter, value: Lowered) -> Text:
    """The value as a text; anything else is an error."""
    match value:
        case Text():
            return value
        case Dyn(kind=kind, value=code):
            writer.bail_if(f"{kind} == {int(Kind.WIDE)}")
            error = writer.code.assign("e", f"{kind} != {int(Kind.TEXT)}")
            return Text(writer.code.assign("t", f"0 if {error} else {code}"), error)
        case StatusOf():
            raise Unsupported("a status is only compared with constants")
        case _:
            return Text("0", "True")


def as_time(writer: KernelWriter, value: Lowered) -> Time:
    """The value as an instant; anything else is an error."""
    match value:
        case Time():
            return value
        case Dyn(kind=kind, value=microseconds):
            writer.bail_if(f"{kind} == {int(Kind.WIDE)}")
            error = writer.code.assign("e", f"{kind} != {int(Kind.TIMESTAMP)}")
            return Time(writer.code.assign("m", f"0 if {error} else {microseconds}"), error)
        case _:
            return Time("0", "True")


def _result(writer: KernelWriter, error: str, condition: str) -> Bool:
    """A boolean from a condition and the error names of its operands."""
    if error == "True":
        return Bool("2")
    decided = f"(1 if ({condition}) else 0)"
    return Bool(writer.code.assign("b", decided if error == "False" else f"2 if {error} else {decided}"))


# --- comparison -----------------------------------------------------------------------------------------------------


def _order(writer: KernelWriter, node: Call) -> Lowered:
    left, right = (writer.lower(argument) for argument in node.arguments)
    test = _COMPARISONS[node.function]
    match left, right:
        case (Text(constant=None) | Dyn(), Text(constant=str())):
            return _text_order(writer, node, left, text_first=True)
        case (Text(constant=str()), Text(constant=None) | Dyn()):
            return _text_order(writer, node, right, text_first=False)
        case (Dyn(), Dyn()):
            _bail_if_alike(writer, left, right, _ORDERED)
        case (Bool() | StatusOf() | Text(), _) | (_, Bool() | StatusOf() | Text()):
            raise Unsupported("the kernel orders numbers and times only")
        case (Time(), _) | (_, Time()):
            return _order_microseconds(writer, as_time(writer, left), as_time(writer, right), test)
        case (Length(), Length()):
            return _order_microseconds(writer, left, right, test)
    one, other = as_number(writer, left), as_number(writer, right)
    return _result(writer, any_of(one.error, other.error), f"{_comparison(one, other)} {test}")


def _comparison(left: Number, right: Number) -> str:
    return f"_compare({left.mantissa}, {left.scale}, {right.mantissa}, {right.scale})"


def _order_microseconds(writer: KernelWriter, left: Time | Length, right: Time | Length, test: str) -> Lowered:
    operator = test.removesuffix(" 0")
    condition = f"{left.microseconds} {operator} {right.microseconds}"
    return _result(writer, any_of(left.error, right.error), condition)


def _text_order(writer: KernelWriter, node: Call, value: Lowered, *, text_first: bool) -> Lowered:
    """A text against a constant: the answer depends on the text alone, so it is looked up."""
    hole = 0 if text_first else 1
    arguments = list(node.arguments)
    arguments[hole] = Name(id=arguments[hole].id, span=arguments[hole].span, name=PLACEHOLDER)
    return look_up(writer, replace(node, arguments=tuple(arguments)), as_text(writer, value))


def _bail_if_alike(writer: KernelWriter, left: Dyn, right: Dyn, kinds: tuple[Kind, ...]) -> None:
    """Two values of one of these kinds are left to the closures; so is what the kernel cannot hold."""
    both = f"{left.kind} == {right.kind} and {is_any(left.kind, *kinds)}"
    writer.bail_if(f"({both}) or {left.kind} == {int(Kind.WIDE)} or {right.kind} == {int(Kind.WIDE)}")


def look_up(writer: KernelWriter, node: Node, text: Text) -> Bool:
    """What a table says of a text; in `node` the text is the variable `PLACEHOLDER`."""
    shown = unparse(node)
    number = writer.inventory.table(LookupTable(shown, Expression(shown, node)))
    offset = writer.code.cell("table_offsets", f"T{number}")
    found = writer.code.cell("table_results", f"{offset} + {text.code}")
    return Bool(writer.code.assign("b", found if text.error == "False" else f"2 if {text.error} else {found}"))


def _equal(writer: KernelWriter, node: Call) -> Lowered:
    left, right = (writer.lower(argument) for argument in node.arguments)
    same = equality(writer, left, right)
    if node.function == "_==_":
        return same
    return Bool(writer.code.assign("b", f"2 if {same.code} == 2 else 1 - {same.code}"))


def equality(writer: KernelWriter, left: Lowered, right: Lowered) -> Bool:
    """`==`: numbers by value; values of different types are unequal, which is not an error (§11.3)."""
    match left, right:
        case (Dyn(), Dyn()):
            return _equal_dynamic(writer, left, right)
        case (Dyn(), _):
            return _equal_typed(writer, left, right)
        case (_, Dyn()):
            return _equal_typed(writer, right, left)
        case (Number(), Number()):
            return _result(writer, any_of(left.error, right.error), f"{_comparison(left, right)} == 0")
        case (StatusOf(), Text(constant=str(text))):
            return _equal_status(writer, left, text)
        case (Text(constant=str(text)), StatusOf()):
            return _equal_status(writer, right, text)
        case (StatusOf(), Text()) | (Text(), StatusOf()) | (StatusOf(), StatusOf()):
            raise Unsupported("a status is only compared with constants")
        case (Text(), Text()):
            return _result(writer, any_of(left.error, right.error), f"{left.code} == {right.code}")
        case (Time(), Time()):
            return _equal_microseconds(writer, left, right)
        case (Length(), Length()):
            return _equal_microseconds(writer, left, right)
        case (Bool(), Bool()):
            error = any_of(error_of(left), error_of(right))
            return _result(writer, error, f"{left.code} == {right.code}")
        case _:
            alike = isinstance(left, Null) and isinstance(right, Null)
            return _result(writer, any_of(error_of(left), error_of(right)), "True" if alike else "False")


def _equal_status(writer: KernelWriter, status: StatusOf, text: str) -> Bool:
    known = Status[text] if text in Status.__members__ else -1
    return _result(writer, status.error, f"{status.code} == {int(known)}")


def _equal_microseconds(writer: KernelWriter, left: Time | Length, right: Time | Length) -> Bool:
    return _result(writer, any_of(left.error, right.error), f"{left.microseconds} == {right.microseconds}")


def error_of(value: Lowered) -> str:
    """The name that says whether a value is an error."""
    match value:
        case Bool(code=code):
            return f"{code} == 2"
        case Null():
            return "False"
        case Failure():
            return "True"
        case Dyn(kind=kind):
            return is_any(kind, *_NO_VALUE)
        case _:
            return value.error


def _equal_dynamic(writer: KernelWriter, left: Dyn, right: Dyn) -> Bool:
    _bail_if_alike(writer, left, right, _UNKNOWN)
    numbers = f"{is_any(left.kind, *_NUMBERS)} and {is_any(right.kind, *_NUMBERS)}"
    compared = f"_compare({left.value}, {left.scale}, {right.value}, {right.scale}) == 0"
    nulls = f"{left.kind} == {int(Kind.NULL)} or {left.value} == {right.value}"
    condition = f"({compared}) if ({numbers}) else ({left.kind} == {right.kind} and ({nulls}))"
    return _result(writer, any_of(error_of(left), error_of(right)), condition)


def _equal_typed(writer: KernelWriter, dynamic: Dyn, value: Lowered) -> Bool:
    """A value of unknown type against one of known type."""
    # A number that does not fit equals no number that does, but WIDE also stands for what is no number at all.
    writer.bail_if(f"{dynamic.kind} == {int(Kind.WIDE)}")
    error = any_of(error_of(dynamic), error_of(value))
    match value:
        case Number(mantissa=mantissa, scale=scale):
            compared = f"_compare({dynamic.value}, {dynamic.scale}, {mantissa}, {scale}) == 0"
            return _result(writer, error, f"{is_any(dynamic.kind, *_number_kinds(dynamic.integer))} and {compared}")
        case Text(code=code):
            return _result(writer, error, f"{dynamic.kind} == {int(Kind.TEXT)} and {dynamic.value} == {code}")
        case Bool(code=code):
            return _result(writer, error, f"{dynamic.kind} == {int(Kind.BOOL)} and {dynamic.value} == {code}")
        case Time(microseconds=code):
            return _result(writer, error, f"{dynamic.kind} == {int(Kind.TIMESTAMP)} and {dynamic.value} == {code}")
        case Null():
            return _result(writer, error, f"{dynamic.kind} == {int(Kind.NULL)}")
        case Failure() | Length():
            return _result(writer, error, "False")
        case _:
            raise Unsupported("a status is only compared with constants")


def _in(writer: KernelWriter, node: Call) -> Lowered:
    item, container = node.arguments
    root, path = access_path(container)
    if isinstance(item, Literal) and isinstance(item.value, str):
        if root in ("participant", "program") and path == ("tags",):
            return writer.tag(root, item.value)
        if root in ("participant", "program") and path in (("counters",), ("attributes",)):
            return writer.state_has(root, path[0], item.value)
    if not isinstance(container, ListLiteral) or container.optional_indices:
        raise Unsupported("`in` of the kernel takes a list of constants, or a constant in tags")
    if not all(isinstance(element, Literal) for element in container.items):
        raise Unsupported("the list after `in` is not constant")
    return _in_list(writer, node, writer.lower(item), container)


def _in_list(writer: KernelWriter, node: Call, item: Lowered, container: ListLiteral) -> Lowered:
    all_texts = all(isinstance(element, Literal) and isinstance(element.value, str) for element in container.items)
    if all_texts and len(container.items) > CHAIN_MAX and isinstance(item, Text | Dyn):
        hole = Name(id=node.arguments[0].id, span=node.arguments[0].span, name=PLACEHOLDER)
        found = look_up(writer, replace(node, arguments=(hole, container)), as_text(writer, item))
        return _result(writer, error_of(item), f"{found.code} == 1")
    same = [equality(writer, item, writer.lower(element)).code for element in container.items]
    return _result(writer, error_of(item), " or ".join(f"{code} == 1" for code in same) or "False")


def _text_predicate(writer: KernelWriter, node: Call) -> Lowered:
    """`x.startsWith("a")` and its kind: looked up by the text."""
    target, arguments = node.target, node.arguments
    if target is None:
        target, arguments = node.arguments[0], node.arguments[1:]
    if not all(isinstance(argument, Literal) and isinstance(argument.value, str) for argument in arguments):
        raise Unsupported(f"the argument of {node.function} is not constant")
    text = as_text(writer, writer.lower(target))
    hole = Name(id=target.id, span=target.span, name=PLACEHOLDER)
    if node.target is None:
        return look_up(writer, replace(node, arguments=(hole, *arguments)), text)
    return look_up(writer, replace(node, target=hole), text)


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _checked(writer: KernelWriter, call: str, error: str, integer: bool | None) -> Number:
    """The (mantissa, scale) of a function of the prelude; a result that does not fit bails out."""
    code = writer.code
    mantissa, scale, fits = code.name("m"), code.name("s"), code.name("f")
    code.emit(f"{mantissa}, {scale}, {fits} = {call}")
    writer.bail_if(f"not {fits}")
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
            _bail_if_alike(writer, left, right, _ADDED)
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
            _bail_if_alike(writer, left, right, _ADDED)
    return _sum(writer, as_number(writer, left), _negated(writer, as_number(writer, right)))


def _negate(writer: KernelWriter, node: Call) -> Lowered:
    value = writer.lower(node.arguments[0])
    if isinstance(value, Length):
        return Length(writer.code.assign("m", f"-{value.microseconds}"), value.error)
    return _negated(writer, as_number(writer, value))


def _negated(writer: KernelWriter, value: Number) -> Number:
    writer.bail_if(f"not _bounded({value.mantissa})")
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
    writer.bail_if(f"not {TIME_MIN} <= {result} <= {TIME_MAX}")
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
    writer.bail_if(f"not _bounded({one}) or not _bounded({other})")
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
    writer.bail_if(f"not _bounded({number.mantissa})")
    return replace(number, mantissa=writer.code.assign("m", f"abs({number.mantissa})"), constant=None)


def _extreme(writer: KernelWriter, node: Call) -> Lowered:
    """min and max of two or more numbers."""
    if len(node.arguments) < 2:
        raise Unsupported(f"{node.function} of a list")
    test = "<" if node.function == "min" else ">"
    best, *others = [as_number(writer, writer.lower(argument)) for argument in node.arguments]
    for other in others:
        better = writer.code.assign("f", f"{_comparison(other, best)} {test} 0")
        mantissa = writer.code.assign("m", f"{other.mantissa} if {better} else {best.mantissa}")
        scale = writer.code.assign("s", f"{other.scale} if {better} else {best.scale}")
        integer = best.integer if best.integer == other.integer else None
        best = Number(mantissa, scale, any_of(best.error, other.error), integer)
    return best


def _convert(writer: KernelWriter, node: Call) -> Lowered:
    """int(x) and double(x) of a number; texts, times and the rest are left to the closures."""
    value = writer.lower(node.arguments[0])
    if isinstance(value, Dyn):
        writer.bail_if(f"not {is_any(value.kind, *_NUMBERS, *_NO_VALUE)}")
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
        case (("participant" | "program" as root), ("counters",)) if isinstance(default, Number):
            present, number = writer.counter(root, key.value)
            return _either_number(writer, present, number, default)
        case (("participant" | "program" as root), ("attributes",)) if isinstance(default, Text):
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
    "_==_": _equal,
    "_!=_": _equal,
    **dict.fromkeys(_COMPARISONS, _order),
    "@in": _in,
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
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches"), _text_predicate),
    **dict.fromkeys(TIME_PARTS, _time_part),
}
"""What the kernel expresses, by function name; everything else is precomputed or left to the closures."""
