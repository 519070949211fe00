"""One constructor for each mistake that the type checker finds: message, caret and remedy.

The checker decides; this file only says it well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from earnbook.rules import functions
from earnbook.rules.issues import Issue, IssueCode, LintCode, cel_type, cel_unknown_name, cel_warning, suggest
from earnbook.rules.syntax import Call, Comprehension, Expression, Has, Index, Literal, Select, Span
from earnbook.rules.types import NUMBERS, STRING, Type
from earnbook.rules.values import CelError
from earnbook.rules.values_numbers import ROUND_PLACES_MAX
from earnbook.rules.values_text import compile_pattern
from earnbook.rules.values_time import zone_of

_OPERATORS = {
    "_+_": "+",
    "_-_": "-",
    "_*_": "*",
    "_/_": "/",
    "_%_": "%",
    "-_": "-",
    "_<_": "<",
    "_<=_": "<=",
    "_>_": ">",
    "_>=_": ">=",
    "_==_": "==",
    "_!=_": "!=",
    "@in": "in",
}

_READ_LITERALS = frozenset(("timestamp", "duration", "int", "uint", "double", "bool"))
"""Functions that read a text; a literal text that they cannot read is a mistake."""

# fmt: off
_WITH_ZONE = frozenset((
    "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes",
    "getSeconds", "getMilliseconds",
))
# fmt: on
"""Methods of timestamps that take a time zone."""


def wrong_result(expression: Expression, result: str, found: Type) -> Issue:
    """The whole expression has a type that its place cannot use."""
    wanted, remedy = {
        "bool": ("a condition must be true or false", "compare it, for example with `> 0` or `== 'purchase'`"),
        "number": ("an amount must be a number", "convert a text with double(x); write true/false as `x ? 1 : 0`"),
        "text": ("a text is needed here", "convert it with string(x), or put constants in quotes: 'A-1'"),
    }[result]
    return cel_type(expression.text, expression.root.span, f"{wanted}, this is {_a(found)}", remedy)


def unknown_variable(text: str, span: Span, name: str, known: Iterable[str]) -> Issue:
    """A name that is no variable; often a text without quotes, or a field of the event without `event.`."""
    near = suggest(name, known)
    if name == "group":
        near = "set `group_field` of the program to have a group"
    elif name == "event":
        near = "filters and guards see the state of a participant, and no event"
    elif not near.startswith("did you mean"):
        near = f"write '{name}' in quotes for a text, or event.{name} for a field of the event"
    return Issue(IssueCode.CEL_UNKNOWN_NAME, f"there is no variable `{name}`", near, source=text, span=span)


def unknown_field(
    text: str, node: Select | Has | Index | Literal, owner: str, field: str, fields: Iterable[str]
) -> Issue:
    """A field that a typed object does not have; `node` is the selection, or the literal that names the field."""
    return cel_unknown_name(text, _field_span(text, node, field), what=f"field of {owner}", name=field, known=fields)


def misspelt_field(
    text: str, node: Select | Has | Index | Literal, owner: str, field: str, fields: Iterable[str]
) -> Issue | None:
    """A field that an open object does not declare, when it looks like one that is declared; else None."""
    remedy = suggest(field, fields)
    if not remedy.startswith("did you mean"):
        return None
    message = f"event_schema declares no field `{field}` of {owner}"
    remedy += " Else declare the field, or set additionalProperties: true"
    return cel_warning(LintCode.UNDECLARED_FIELD, text, _field_span(text, node, field), message, remedy)


def no_fields(text: str, node: Select | Has, operand: Type) -> Issue:
    """A field of something that is no map."""
    span = _field_span(text, node, node.field)
    return cel_type(text, span, f"{_a(operand)} has no fields", "only objects and maps have fields")


def wrong_index(text: str, node: Index, operand: Type, key: Type) -> Issue:
    """An index on something without elements, or a key of a type that it does not have."""
    if operand == STRING:
        return cel_type(text, node.span, "a text has no elements", "write text.charAt(0) or text.substring(0, 3)")
    message = f"{_a(operand)} cannot be indexed with {_a(key)}"
    remedy = "lists are indexed by whole numbers from 0, maps by the type of their keys"
    return cel_type(text, node.index.span, message, remedy)


def wrong_key(text: str, span: Span, key: Type) -> Issue:
    """A map literal with a key that maps cannot have."""
    return cel_type(text, span, f"{_a(key)} cannot be the key of a map", "use texts, whole numbers or true/false")


def unknown_function(text: str, node: Call) -> Issue:
    """A function or method that does not exist; or one that is called the other way round."""
    span = _name_span(text, node)
    plain = node.function.rpartition(".")[2]
    if node.target is None and node.function in functions.METHODS:
        remedy = f"it is a method: write x.{node.function}(…)"
        message = f"there is no function `{node.function}`"
        return Issue(IssueCode.CEL_UNKNOWN_NAME, message, remedy, source=text, span=span)
    if node.target is not None and node.function in functions.GLOBALS:
        remedy = f"it is a function: write {node.function}(x, …)"
        message = f"there is no method `{node.function}`"
        return Issue(IssueCode.CEL_UNKNOWN_NAME, message, remedy, source=text, span=span)
    table = functions.METHODS if node.target is not None else functions.GLOBALS
    known = [name for name in (*table, *functions.MACROS) if name[0].isalpha()]
    what = "method" if node.target is not None else "function"
    issue = cel_unknown_name(text, span, what=what, name=node.function, known=known)
    if issue.remedy.startswith("did you mean") or plain == node.function:
        return issue
    inner = [name for name in known if name.startswith(node.function.partition(".")[0] + ".")]
    return cel_unknown_name(text, span, what=what, name=node.function, known=inner)


def wrong_count(text: str, node: Call, entry: functions.Function) -> Issue:
    """A call with too many or too few arguments."""
    counts = sorted(entry.counts)
    span = f"{counts[0]} {'or' if len(counts) == 2 else 'to'} {counts[-1]}"
    wanted = span if len(counts) > 1 else str(counts[0])
    plural = "" if wanted == "1" else "s"
    message = f"{entry.name} takes {wanted} argument{plural}, not {len(node.arguments)}"
    return cel_type(text, node.span, message, f"write {_usage(entry)}")


def no_overload(text: str, node: Call, entry: functions.Function, given: Sequence[Type]) -> Issue:
    """A call or operator that never accepts arguments of these types."""
    operator = _OPERATORS.get(node.function)
    if operator is None:
        message = f"{entry.name} does not accept {_listed(given)}"
        return cel_type(text, node.span, message, f"write {_usage(entry)}")
    if len(given) == 1:
        return cel_type(text, node.span, f"`{operator}` does not accept {_a(given[0])}", "it needs a number")
    if operator == "in":
        remedy = "`in` needs a list or a map on its right; for texts write text.contains(part)"
        return cel_type(text, node.span, f"`in` cannot search {_a(given[1])}", remedy)
    verb = "compare" if operator in ("<", "<=", ">", ">=") else "combine"
    left, right = (str(type_) if set(given) <= NUMBERS else _a(type_) for type_ in given)
    message = f"`{operator}` cannot {verb} {left} and {right}"
    return cel_type(text, node.span, message, _conversion(operator, given))


def _conversion(operator: str, given: Sequence[Type]) -> str:
    """How to make the operands of an operator agree."""
    kinds = {type_.kind for type_ in given}
    numbers = sum(type_ in NUMBERS for type_ in given)
    if numbers == len(given):
        return "convert one side: int(x), uint(x) or double(x)"
    if numbers and "string" in kinds:
        number = "to join texts, convert the number: string(x)"
        return number if operator == "+" else "convert the text to a number: double(x)"
    if "timestamp" in kinds and (numbers or "string" in kinds):
        return "compare with timestamp('2026-01-31T00:00:00Z'), add duration('24h')"
    if "duration" in kinds:
        return "write durations as duration('24h')"
    if "bool" in kinds and operator in ("<", "<=", ">", ">="):
        return "join comparisons with `&&`: a < b && b < c"
    return "both sides must be of one type"


def not_a_condition(text: str, span: Span, found: Type) -> Issue:
    """An operand of a logical operator, or the body of a macro, that is not a bool."""
    message = f"a condition must be true or false, this is {_a(found)}"
    return cel_type(text, span, message, "compare it, for example with `> 0` or `== 'x'`")


def never_equal(text: str, node: Call, left: Type, right: Type) -> Issue:
    """A comparison of two types that are never equal."""
    if node.function == "@in":
        message = f"{_a(left)} is never an element of a list of {right}"
    else:
        message = f"{_a(left)} is never equal to {_a(right)}"
    if {left, right} & NUMBERS and STRING in (left, right):
        return cel_type(text, node.span, message, "compare numbers with numbers and texts with texts in quotes")
    return cel_type(text, node.span, message, "compare values of one type")


def wrong_range(text: str, node: Comprehension, found: Type) -> Issue:
    """A macro over something that has no elements."""
    wanted = "an optional" if node.macro in ("optMap", "optFlatMap") else "a list or a map"
    return cel_type(
        text, node.range.span, f"{node.macro}() needs {wanted}, this is {_a(found)}", f"call it on {wanted}"
    )


def upper_case_tag(text: str, span: Span, tag: str) -> Issue:
    """Tags are stored in lower case and compared exactly (§11.3)."""
    message = f"no tag is ever '{tag}': tags are in lower case"
    return cel_warning(LintCode.UPPER_CASE_TAG, text, span, message, f"write '{tag.lower()}'")


def literal_mistakes(text: str, node: Call) -> Iterator[Issue]:
    """Literal arguments that the function can only refuse: patterns, dates, zones, numbers as text, decimals."""
    operands = node.arguments if node.target is None else (node.target, *node.arguments)
    last = operands[-1] if operands else None
    if not isinstance(last, Literal):
        return
    if node.function == "matches" and isinstance(last.value, str):
        yield from _refused(text, last.span, compile_pattern, last.value, "RE2 has no look-around or back references")
    if node.target is not None and node.function in _WITH_ZONE and isinstance(last.value, str):
        yield from _refused(text, last.span, zone_of, last.value, "write a name such as Europe/Berlin, or +02:00")
    if node.function in _READ_LITERALS and len(operands) == 1 and isinstance(last.value, str):
        implementation = functions.GLOBALS[node.function].implementation
        yield from _refused(text, last.span, implementation, last.value, f"write {_example(node.function)}")
    if node.function == "round" and len(operands) == 2 and _outside_places(last):
        remedy = f"use {-ROUND_PLACES_MAX} to {ROUND_PLACES_MAX}"
        yield cel_type(text, last.span, "round takes a whole number of decimals", remedy)


def _refused(text: str, span: Span, function: object, argument: str, remedy: str) -> Iterator[Issue]:
    if not callable(function):
        raise TypeError("a function is needed")
    try:
        function(argument)
    except CelError as error:
        yield cel_type(text, span, str(error), remedy)


def _outside_places(literal: Literal) -> bool:
    value = literal.value
    if isinstance(value, Decimal):
        return value != value.to_integral_value() or abs(value) > ROUND_PLACES_MAX
    return isinstance(value, int) and abs(value) > ROUND_PLACES_MAX


def _example(function: str) -> str:
    return {
        "timestamp": "timestamp('2026-01-31T09:00:00Z')",
        "duration": "duration('1h30m')",
        "bool": "bool('true')",
        "double": "double('12.50')",
    }.get(function, f"{function}('12')")


def _usage(entry: functions.Function) -> str:
    """The signatures of a function, at most three."""
    shown = [str(signature).partition(" -> ")[0] for signature in entry.signatures[:3]]
    return " or ".join(shown)


def _a(type_: Type) -> str:
    """A type in a sentence."""
    spoken = {
        "bool": "true/false",
        "int": "a number",
        "uint": "a number",
        "double": "a number",
        "number": "a number",
        "string": "a text",
        "bytes": "bytes",
        "null": "null",
        "timestamp": "a timestamp",
        "duration": "a duration",
        "list": "a list",
        "map": "a map",
        "optional": "an optional",
        "type": "a type",
        "dyn": "a value",
    }
    return spoken.get(type_.kind, f"the {type_.kind}")


def _listed(types: Sequence[Type]) -> str:
    return ", ".join(_a(type_) for type_ in types) if types else "no arguments"


def _name_span(text: str, node: Call) -> Span:
    """Where the function's name stands in the text of the call."""
    plain = node.function.rpartition(".")[2]
    start = node.target.span.end if node.target is not None else node.span.start
    at = text.find(plain, start)
    return Span(at, at + len(plain)) if at >= 0 else node.span


def _field_span(text: str, node: Select | Has | Index | Literal, field: str) -> Span:
    """Where the field's name stands in the text of the selection."""
    if isinstance(node, Literal):
        return node.span
    at = text.find(field, node.operand.span.end)
    return Span(at, at + len(field)) if 0 <= at < node.span.end else node.span
