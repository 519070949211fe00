"""Conversions and comparisons of CEL as kernel code: `== != < <= > >=`, `in`, and what is looked up by text.

Each operator takes the writer and a call node, emits code and returns the value; `Unsupported` where the kernel cannot
give exactly what the closures give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from earnbook.ledger.schema import Bail, Kind, Status
from earnbook.rules.kernel_expressions import ENTITIES, KernelWriter
from earnbook.rules.kernel_tiers import tier_has
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

NUMBERS = (Kind.NUMBER, Kind.INT)
NO_VALUE = (Kind.ABSENT, Kind.ERROR)

_COMPARISONS = {"_<_": "< 0", "_<=_": "<= 0", "_>_": "> 0", "_>=_": ">= 0"}
_ORDERED = (Kind.BOOL, Kind.TEXT, Kind.TIMESTAMP)
_UNKNOWN = (Kind.WIDE, Kind.LIST, Kind.MAP)
_FAILED = Number("0", "0", "True", None)


def as_number(writer: KernelWriter, value: Lowered) -> Number:
    """The value as a number; anything else is an error, and a number beyond int64 bails out."""
    match value:
        case Number():
            return value
        case Dyn(kind=kind, value=mantissa, scale=scale, integer=integer):
            writer.bail_if_wide(kind)
            error = writer.code.assign("e", f"not {is_any(kind, *_number_kinds(integer))}")
            return Number(writer.code.assign("m", f"0 if {error} else {mantissa}"), scale, error, integer)
        case _:
            return _FAILED


def _number_kinds(integer: bool | None) -> tuple[Kind, ...]:
    """The kinds that numbers of a Dyn can have."""
    return NUMBERS if integer is None else (Kind.INT,) if integer else (Kind.NUMBER,)


def as_text(writer: KernelWriter, value: Lowered) -> Text:
    """The value as a text; anything else is an error."""
    match value:
        case Text():
            return value
        case Dyn(kind=kind, value=code):
            writer.bail_if_wide(kind)
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
            writer.bail_if_wide(kind)
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
            bail_if_alike(writer, left, right, _ORDERED)
        case (Bool() | StatusOf() | Text(), _) | (_, Bool() | StatusOf() | Text()):
            raise Unsupported("the kernel orders numbers and times only")
        case (Time(), _) | (_, Time()):
            return _order_microseconds(writer, as_time(writer, left), as_time(writer, right), test)
        case (Length(), Length()):
            return _order_microseconds(writer, left, right, test)
    one, other = as_number(writer, left), as_number(writer, right)
    return _result(writer, any_of(one.error, other.error), f"{comparison(one, other)} {test}")


def comparison(left: Number, right: Number) -> str:
    """The expression that is -1, 0 or 1 as left is less than, equal to or greater than right."""
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


def bail_if_alike(writer: KernelWriter, left: Dyn, right: Dyn, kinds: tuple[Kind, ...]) -> None:
    """Two values of one of these kinds are left to the closures; so is what the kernel cannot hold."""
    both = f"{left.kind} == {right.kind} and {is_any(left.kind, *kinds)}"
    writer.bail_if(both, Bail.ODD_KIND)
    writer.bail_if_wide(left.kind)
    writer.bail_if_wide(right.kind)


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
            return _result(writer, any_of(left.error, right.error), f"{comparison(left, right)} == 0")
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
            return is_any(kind, *NO_VALUE)
        case _:
            return value.error


def _equal_dynamic(writer: KernelWriter, left: Dyn, right: Dyn) -> Bool:
    bail_if_alike(writer, left, right, _UNKNOWN)
    numbers = f"{is_any(left.kind, *NUMBERS)} and {is_any(right.kind, *NUMBERS)}"
    compared = f"_compare({left.value}, {left.scale}, {right.value}, {right.scale}) == 0"
    nulls = f"{left.kind} == {int(Kind.NULL)} or {left.value} == {right.value}"
    condition = f"({compared}) if ({numbers}) else ({left.kind} == {right.kind} and ({nulls}))"
    return _result(writer, any_of(error_of(left), error_of(right)), condition)


def _equal_typed(writer: KernelWriter, dynamic: Dyn, value: Lowered) -> Bool:
    """A value of unknown type against one of known type."""
    # A number that does not fit equals no number that does, but WIDE also stands for what is no number at all.
    writer.bail_if_wide(dynamic.kind)
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
        if root in ENTITIES and path == ("tags",):
            return writer.tag(root, item.value)
        if root in ENTITIES and path in (("counters",), ("attributes",)):
            return writer.state_has(root, path[0], item.value)
        if root == "participant" and path == ("tiers",):
            return tier_has(writer, (item.value,))
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


COMPARISONS: dict[str, Callable[[KernelWriter, Call], Lowered]] = {
    "_==_": _equal,
    "_!=_": _equal,
    **dict.fromkeys(_COMPARISONS, _order),
    "@in": _in,
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches"), _text_predicate),
}
"""The operators and methods of this file, by function name."""
