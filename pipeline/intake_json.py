"""Exact JSON: numbers keep their text, duplicate members are refused, and every value has one canonical text (§3.4).

The reference for what a row says; `source_scan` is its accelerator. Values are None, bool, `NumberText`, str, list and
dict. No value is ever a binary float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import TypeAlias

from earnbook.ledger.schema import COLUMN_SCALE_MAX, Kind

DEPTH_MAX = 64
"""Levels of objects and lists in event_data (§3.2)."""

EVENT_DATA_BYTES_MAX = 1 << 20
"""Bytes of event_data as canonical JSON (§3.2)."""

DIGITS_MAX = 34
EXPONENT_MAX = 400
"""Limits of an input number (§5.2)."""

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_TOO_DEEP = f"the row is nested deeper than {DEPTH_MAX} levels"
_INT64 = 1 << 63


class NumberText(str):
    """A JSON number as it is written; from a typed column also `NaN`, `Infinity` and `-Infinity`."""

    __slots__ = ()


Value: TypeAlias = "bool | str | NumberText | list[Value] | dict[str, Value] | None"


class JsonMistake(ValueError):
    """A text that is not one JSON value as §3.5 wants it; the message says why."""


class JsonTooDeep(JsonMistake):
    """Nesting beyond what the parser follows, which is far beyond DEPTH_MAX."""


def parse_object(text: str) -> tuple[dict[str, Value], dict[str, str]]:
    """The members of one JSON object, and the text of each member's value as it is written."""
    at = _skip(text, 0)
    if not text.startswith("{", at):
        raise JsonMistake("the row is not a JSON object")
    members: dict[str, Value] = {}
    texts: dict[str, str] = {}
    at = _skip(text, at + 1)
    if text.startswith("}", at):
        at += 1
    else:
        while True:
            name, value, start, stop = _member(text, at)
            if name in members:
                raise JsonMistake(f"the member {name!r} occurs twice")
            members[name], texts[name] = value, text[start:stop]
            at = _skip(text, stop)
            if text.startswith("}", at):
                at += 1
                break
            if not text.startswith(",", at):
                raise JsonMistake(f"invalid JSON: ',' or '}}' expected at character {at + 1}")
            at = _skip(text, at + 1)
    at = _skip(text, at)
    if at != len(text):
        raise JsonMistake(f"invalid JSON: something follows the object at character {at + 1}")
    _refuse_surrogates(text, members)
    return members, texts


def parse_value(text: str) -> Value:
    """One JSON value."""
    value, stop = _scan(text, _skip(text, 0))
    at = _skip(text, stop)
    if at != len(text):
        raise JsonMistake(f"invalid JSON: something follows the value at character {at + 1}")
    _refuse_surrogates(text, value)
    return value


def is_json_number(text: str) -> bool:
    """Whether a text is a JSON number."""
    return _JSON_NUMBER.fullmatch(text) is not None


def write_json(value: Value) -> str:
    """Compact JSON with members in their order and numbers as they are written."""
    return "".join(_pieces(value, canonical=False))


def canonical_value(value: Value) -> str:
    """Canonical JSON (§3.4): members by code point, plain numbers without trailing zeros, no white space."""
    return "".join(_pieces(value, canonical=True))


def canonical_json(text: str) -> str:
    """The canonical form of a JSON text."""
    return canonical_value(parse_value(text))


def canonical_number(text: str) -> str:
    """A number in plain form: no exponent, trailing zeros or sign of zero; NaN and infinities as they are."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction, exponent = match.groups(default="")
    if not (whole + fraction).strip("0"):
        return "0"
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    if point > len(digits):
        digits = digits.ljust(point, "0")
    elif point <= 0:
        digits, point = digits.rjust(len(digits) - point + 1, "0"), 1
    left, right = digits[:point].lstrip("0"), digits[point:].rstrip("0")
    return sign + (f"{left or '0'}.{right}" if right else left)


def number_mistake(text: str) -> str | None:
    """Why a number is outside §5.2, or None."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return f"{text} is not a number that books can hold"
    digits = (match[2] + (match[3] or "")).strip("0")
    if len(digits) > DIGITS_MAX:
        return f"a number has {len(digits)} significant digits; at most {DIGITS_MAX} are allowed"
    if digits and len(match[4] or "") > len(str(EXPONENT_MAX)) + 20:
        return f"the exponent of a number is outside -{EXPONENT_MAX} to {EXPONENT_MAX}"
    if digits and not -EXPONENT_MAX <= Decimal(text).adjusted() <= EXPONENT_MAX:
        return f"the exponent of a number is outside -{EXPONENT_MAX} to {EXPONENT_MAX}"
    return None


def find_number_mistake(value: Value, path: str) -> tuple[str, str] | None:
    """(path, why) of the first number outside §5.2."""
    if isinstance(value, NumberText):
        why = number_mistake(value)
        return None if why is None else (path, why)
    children: Iterable[tuple[str, Value]] = ()
    if isinstance(value, dict):
        children = ((f"{path}.{name}", child) for name, child in value.items())
    elif isinstance(value, list):
        children = ((f"{path}[{index}]", child) for index, child in enumerate(value))
    for child_path, child in children:
        found = find_number_mistake(child, child_path)
        if found is not None:
            return found
    return None


def depth_of(value: Value) -> int:
    """Levels of objects and lists; 0 for a scalar."""
    depth = 0
    level: list[Value] = [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def cell_of(value: Value, path: tuple[str, ...]) -> tuple[Kind, int, int, str | None]:
    """(kind, value, scale, text) of the member at `path`; the text is set for TEXT, whose code is not known here."""
    node: Value = value
    for name in path:
        if not isinstance(node, dict) or name not in node:
            return Kind.ABSENT, 0, 0, None
        node = node[name]
    if node is None:
        return Kind.NULL, 0, 0, None
    if isinstance(node, bool):
        return Kind.BOOL, int(node), 0, None
    if isinstance(node, NumberText):
        return _number_cell(node)
    if isinstance(node, str):
        return Kind.TEXT, 0, 0, node
    return (Kind.MAP if isinstance(node, dict) else Kind.LIST), 0, 0, None


def _number_cell(text: str) -> tuple[Kind, int, int, None]:
    plain = canonical_number(text)
    whole, _, fraction = plain.partition(".")
    mantissa = int(whole + fraction)
    if len(fraction) > COLUMN_SCALE_MAX or abs(mantissa) >= _INT64:
        return Kind.WIDE, 0, 0, None
    return Kind.NUMBER, mantissa, len(fraction), None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _member(text: str, at: int) -> tuple[str, Value, int, int]:
    """Name, value, and where the value's text starts and stops."""
    if not text.startswith('"', at):
        raise JsonMistake(f"invalid JSON: a member name in quotes expected at character {at + 1}")
    try:
        name, at = scanstring(text, at + 1, True)
    except JSONDecodeError as error:
        raise JsonMistake(f"invalid JSON: {error.msg} at character {error.pos + 1}") from None
    at = _skip(text, at)
    if not text.startswith(":", at):
        raise JsonMistake(f"invalid JSON: ':' expected at character {at + 1}")
    start = _skip(text, at + 1)
    value, stop = _scan(text, start)
    return name, value, start, stop


def _scan(text: str, at: int) -> tuple[Value, int]:
    try:
        value, stop = _DECODER.scan_once(text, at)  # type: ignore[attr-defined]
    except StopIteration as end:
        raise JsonMistake(f"invalid JSON: a value expected at character {int(end.value) + 1}") from None
    except JSONDecodeError as error:
        raise JsonMistake(f"invalid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise JsonTooDeep(_TOO_DEEP) from None
    checked: Value = value
    return checked, stop


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonMistake(f"the member {twice!r} occurs twice")
    return members


def _refuse_surrogates(text: str, value: Value) -> None:
    """Refuse a value with half of a surrogate pair; only an escape in its `text` can have made one."""
    if _SURROGATE_ESCAPE.search(text) is None:
        return
    try:
        written = write_json(value)
    except RecursionError:
        raise JsonTooDeep(_TOO_DEEP) from None
    if _SURROGATE.search(written):
        raise JsonMistake("a text holds half of a surrogate pair, which is not a character")


def _no_constant(name: str) -> Value:
    raise JsonMistake(f"invalid JSON: {name} is not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=NumberText, parse_int=NumberText, parse_constant=_no_constant, strict=True
)


def _pieces(value: Value, *, canonical: bool) -> Iterable[str]:
    if isinstance(value, dict):
        names: Iterable[str] = sorted(value) if canonical else value
        separator = "{"
        for name in names:
            yield f"{separator}{json.dumps(name, ensure_ascii=False)}:"
            yield from _pieces(value[name], canonical=canonical)
            separator = ","
        yield "}" if value else "{}"
    elif isinstance(value, list):
        separator = "["
        for item in value:
            yield separator
            yield from _pieces(item, canonical=canonical)
            separator = ","
        yield "]" if value else "[]"
    elif isinstance(value, NumberText):
        yield canonical_number(value) if canonical else value
    else:
        yield json.dumps(value, ensure_ascii=False)
