"""The text functions of CEL's extension library (§11.2). Positions count Unicode code points from 0."""

from __future__ import annotations

from collections.abc import Callable

from earnbook.rules.functions_format import format_text
from earnbook.rules.values import CelError, Value, checked_length, integer, no_overload

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ASCII_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_SPACES = "".join(map(chr, (0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)))) + (
    "\u2028\u2029\u202f\u205f\u3000"
)
_QUOTED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def lower_ascii(text: Value) -> str:
    """`text.lowerAscii()`."""
    return _text("lowerAscii", text).translate(_ASCII_LOWER)


def upper_ascii(text: Value) -> str:
    """`text.upperAscii()`."""
    return _text("upperAscii", text).translate(_ASCII_UPPER)


def trim(text: Value) -> str:
    """`text.trim()`: without Unicode white space at both ends."""
    return _text("trim", text).strip(_SPACES)


def char_at(text: Value, position: Value) -> str:
    """`text.charAt(i)`: one character, or none at the very end."""
    whole = _text("charAt", text, position)
    at = _position("charAt", whole, position)
    return whole[at : at + 1]


def index_of(text: Value, part: Value, start: Value = 0) -> int:
    """`text.indexOf(part[, start])`: the first position, or -1."""
    if type(text) is not str or type(part) is not str:
        raise no_overload("indexOf", text, part, start)
    return text.find(part, _position("indexOf", text, start))


def last_index_of(text: Value, part: Value, start: Value = None) -> int:
    """`text.lastIndexOf(part[, start])`: the last position that is not after start, or -1."""
    if type(text) is not str or type(part) is not str:
        raise no_overload("lastIndexOf", text, part)
    if start is None:
        return text.rfind(part)
    return text.rfind(part, 0, _position("lastIndexOf", text, start) + len(part))


def join(items: Value, separator: Value = "") -> str:
    """`list.join([separator])`."""
    if type(items) is not list or type(separator) is not str or any(type(item) is not str for item in items):
        raise no_overload("join", items, separator)
    checked_length(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def replace(text: Value, old: Value, new: Value, count: Value = -1) -> str:
    """`text.replace(old, new[, count])`: at most `count` times; a negative count means all."""
    if type(text) is not str or type(old) is not str or type(new) is not str:
        raise no_overload("replace", text, old, new)
    times = integer(count, "the count of replace")
    found = text.count(old) if times < 0 else min(times, text.count(old))
    checked_length(len(text) + found * (len(new) - len(old)))
    return text.replace(old, new, times)


def split(text: Value, separator: Value, count: Value = -1) -> list[Value]:
    """`text.split(separator[, count])`: at most `count` parts; an empty separator gives the characters."""
    if type(text) is not str or type(separator) is not str:
        raise no_overload("split", text, separator)
    parts_max = integer(count, "the count of split")
    if parts_max == 0:
        return []
    if separator:
        return list(text.split(separator, parts_max - 1 if parts_max > 0 else -1))
    if parts_max < 0 or parts_max >= len(text):
        return list(text)
    return [*text[: parts_max - 1], text[parts_max - 1 :]]


def substring(text: Value, start: Value, end: Value = None) -> str:
    """`text.substring(start[, end])`: from start up to but without end."""
    whole = _text("substring", text, start)
    first = _position("substring", whole, start)
    last = len(whole) if end is None else _position("substring", whole, end)
    if first > last:
        raise CelError(f"substring from {first} to {last}")
    return whole[first:last]


def quote(text: Value) -> str:
    """`strings.quote(text)`: in double quotes, with escapes."""
    whole = _text("strings.quote", text)
    return '"' + "".join(_QUOTED.get(character, character) for character in whole) + '"'


def _text(function: str, text: Value, *others: Value) -> str:
    if type(text) is str:
        return text
    raise no_overload(function, text, *others)


def _position(function: str, text: str, position: Value) -> int:
    """A position in the text; its very end is one."""
    at = integer(position, f"the position of {function}")
    if not 0 <= at <= len(text):
        raise CelError(f"position {at} is outside a text of {len(text)}")
    return at


TABLE: tuple[tuple[str | list[str], Callable[..., object], str], ...] = (
    ("(string).lowerAscii() -> string", lower_ascii, "A-Z as a-z"),
    ("(string).upperAscii() -> string", upper_ascii, "a-z as A-Z"),
    ("(string).trim() -> string", trim, "without white space at both ends"),
    ("(string).charAt(number) -> string", char_at, "the character at a position"),
    (
        ["(string).indexOf(string) -> int", "(string).indexOf(string, number) -> int"],
        index_of,
        "the first position of the part, or -1",
    ),
    (
        ["(string).lastIndexOf(string) -> int", "(string).lastIndexOf(string, number) -> int"],
        last_index_of,
        "the last position of the part, or -1",
    ),
    (
        ["(list(string)).join() -> string", "(list(string)).join(string) -> string"],
        join,
        "the texts of a list, one after the other",
    ),
    (
        ["(string).replace(string, string) -> string", "(string).replace(string, string, number) -> string"],
        replace,
        "with every, or the first n, occurrences replaced",
    ),
    (
        ["(string).split(string) -> list(string)", "(string).split(string, number) -> list(string)"],
        split,
        "the parts between separators, at most n",
    ),
    (
        ["(string).substring(number) -> string", "(string).substring(number, number) -> string"],
        substring,
        "the part from a position, up to another",
    ),
    ("(string).format(list(T)) -> string", format_text, "the text with %s %d %f %e %b %o %x filled in"),
    ("strings.quote(string) -> string", quote, "the text in double quotes, with escapes"),
)
