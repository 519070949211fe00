"""The functions of the language (§11.2) in one table: signatures, implementation, and what the kernel can do itself.

The checker reads the signatures, the closure target calls the implementations, the planner reads `kernel`. Operators
are in the table under the names that the syntax tree gives them; the closure target writes some of them out in place.
Macros are not functions: they are nodes of the syntax tree.

An implementation takes values and returns a value or raises `CelError`; it checks the types of its arguments itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from earnbook.rules import (
    functions_lists,
    functions_math,
    functions_optional,
    functions_sets,
    functions_text,
    values,
    values_numbers,
    values_text,
    values_time,
)
from earnbook.rules.types import Signature, Type, parse_signature


class KernelSupport(StrEnum):
    """How the kernel target can treat a call."""

    INLINE = "inline"
    """Written out in the kernel where its arguments are numbers, times or codes."""

    LOOKUP = "lookup"
    """A predicate over one text: a lookup table over the texts' codes."""

    NONE = "none"
    """Only by the closures: a precomputed column, or row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function under one name; `is_method` tells `x.f(y)` from `f(x, y)`."""

    name: str
    is_method: bool
    signatures: tuple[Signature, ...]
    implementation: Callable[..., object]
    kernel: KernelSupport
    description: str

    @property
    def counts(self) -> frozenset[int]:
        """How many arguments it takes, without the target of a method."""
        return frozenset(len(signature.parameters) for signature in self.signatures)


_INLINE = KernelSupport.INLINE
_LOOKUP = KernelSupport.LOOKUP
_NONE = KernelSupport.NONE

_VARIADIC_MAX = 32
"""Arguments that `min`, `max`, `math.least` and `math.greatest` take."""


def function(name: str, *, is_method: bool = False) -> Function | None:
    """The function of that name, or None."""
    return METHODS.get(name) if is_method else GLOBALS.get(name)


def _function(
    signatures: str | Iterable[str], implementation: Callable[..., object], kernel: KernelSupport, description: str
) -> Function:
    texts = [signatures] if isinstance(signatures, str) else list(signatures)
    parsed = tuple(parse_signature(text) for text in texts)
    return Function(
        name=parsed[0].function,
        is_method=parsed[0].target is not None,
        signatures=parsed,
        implementation=implementation,
        kernel=kernel,
        description=description,
    )


def _variadic(name: str) -> list[str]:
    """Signatures for one list, or for 2 to 32 numbers."""
    numbers = (", ".join(["N"] * count) for count in range(2, _VARIADIC_MAX + 1))
    return [f"{name}(list(N)) -> N", *(f"{name}({part}) -> N" for part in numbers)]


def _with_zone(name: str, *, of_durations: bool = False) -> list[str]:
    signatures = [f"(timestamp).{name}() -> int", f"(timestamp).{name}(string) -> int"]
    return [*signatures, f"(duration).{name}() -> int"] if of_durations else signatures


def _same_order(name: str) -> list[str]:
    kinds = ("number", "string", "bool", "bytes", "timestamp", "duration")
    return [f"{name}({kind}, {kind}) -> bool" for kind in kinds]


_CONCATENATION = [
    "_+_(string, string) -> string",
    "_+_(bytes, bytes) -> bytes",
    "_+_(list(T), list(T)) -> list(T)",
]
_TIMES_ADDED = [
    "_+_(timestamp, duration) -> timestamp",
    "_+_(duration, timestamp) -> timestamp",
    "_+_(duration, duration) -> duration",
]
_TIMES_SUBTRACTED = [
    "_-_(timestamp, timestamp) -> duration",
    "_-_(timestamp, duration) -> timestamp",
    "_-_(duration, duration) -> duration",
]


def _arithmetic(name: str) -> list[str]:
    """int with int, uint with uint, and a double with any number (§5.1)."""
    mixed = [f"{name}(double, number) -> double", f"{name}(number, double) -> double"]
    return [f"{name}(int, int) -> int", f"{name}(uint, uint) -> uint", *mixed]


_OPERATORS = (
    _function(
        [*_arithmetic("_+_"), *_CONCATENATION, *_TIMES_ADDED],
        values_numbers.add,
        _INLINE,
        "sum; of texts, bytes and lists the concatenation; of times the later time",
    ),
    _function([*_arithmetic("_-_"), *_TIMES_SUBTRACTED], values_numbers.subtract, _INLINE, "difference"),
    _function(_arithmetic("_*_"), values_numbers.multiply, _INLINE, "product"),
    _function(
        _arithmetic("_/_"), values_numbers.divide, _INLINE, "quotient; integers truncate, decimals have 34 digits"
    ),
    _function(
        ["_%_(int, int) -> int", "_%_(uint, uint) -> uint", "_%_(double, number) -> int", "_%_(number, double) -> int"],
        values_numbers.modulo,
        _INLINE,
        "remainder of whole numbers, with the sign of the dividend",
    ),
    _function(
        ["-_(int) -> int", "-_(double) -> double", "-_(duration) -> duration"],
        values_numbers.negate,
        _INLINE,
        "negation",
    ),
    _function("_==_(T, U) -> bool", values.equals, _INLINE, "equality; numbers by value, other types never mix"),
    _function("_!=_(T, U) -> bool", values.not_equals, _INLINE, "inequality"),
    _function(_same_order("_<_"), values.less, _INLINE, "less"),
    _function(_same_order("_<=_"), values.less_equal, _INLINE, "less or equal"),
    _function(_same_order("_>_"), values.greater, _INLINE, "greater"),
    _function(_same_order("_>=_"), values.greater_equal, _INLINE, "greater or equal"),
    _function(
        ["@in(T, list(U)) -> bool", "@in(T, map(K, V)) -> bool"],
        values.contains,
        _LOOKUP,
        "whether a list has an equal element, or a map the key",
    ),
)

_STANDARD = (
    _function(
        ["size(string) -> int", "size(bytes) -> int", "size(list(T)) -> int", "size(map(K, V)) -> int"],
        values_text.size,
        _NONE,
        "characters of a text, bytes, items of a list, entries of a map",
    ),
    _function(
        ["(string).size() -> int", "(bytes).size() -> int", "(list(T)).size() -> int", "(map(K, V)).size() -> int"],
        values_text.size,
        _NONE,
        "as size(x)",
    ),
    _function("type(T) -> type(T)", values.type_of, _NONE, "the type of a value"),
    _function(["bool(bool) -> bool", "bool(string) -> bool"], values_text.to_bool, _NONE, "a bool from text"),
    _function(
        ["int(number) -> int", "int(string) -> int", "int(timestamp) -> int"],
        values_numbers.to_int,
        _INLINE,
        "cuts decimals off; of a timestamp the seconds since 1970",
    ),
    _function(["uint(number) -> uint", "uint(string) -> uint"], values_numbers.to_uint, _NONE, "as int(x), unsigned"),
    _function(
        ["double(number) -> double", "double(string) -> double"],
        values_numbers.to_double,
        _INLINE,
        "an exact decimal from a number or its text",
    ),
    _function(
        [f"string({kind}) -> string" for kind in ("string", "number", "bool", "bytes", "timestamp", "duration")],
        values_text.to_text,
        _NONE,
        "the text of a value; numbers plain and without trailing zeros",
    ),
    _function(["bytes(bytes) -> bytes", "bytes(string) -> bytes"], values_text.to_bytes, _NONE, "the UTF-8 of a text"),
    _function(
        ["timestamp(timestamp) -> timestamp", "timestamp(string) -> timestamp", "timestamp(number) -> timestamp"],
        values_time.to_timestamp,
        _INLINE,
        "a time from RFC 3339 text or from seconds since 1970",
    ),
    _function(
        ["duration(duration) -> duration", "duration(string) -> duration"],
        values_time.to_duration,
        _INLINE,
        "a duration from text such as '1h30m'",
    ),
    _function("dyn(T) -> dyn", functions_optional.identity, _INLINE, "the value, its type left to evaluation"),
    _function("(string).contains(string) -> bool", values_text.text_contains, _LOOKUP, "whether the part occurs"),
    _function("(string).startsWith(string) -> bool", values_text.starts_with, _LOOKUP, "whether the text begins so"),
    _function("(string).endsWith(string) -> bool", values_text.ends_with, _LOOKUP, "whether the text ends so"),
    _function("(string).matches(string) -> bool", values_text.matches, _LOOKUP, "whether an RE2 pattern occurs"),
    _function("matches(string, string) -> bool", values_text.matches, _LOOKUP, "as text.matches(pattern)"),
    _function(_with_zone("getFullYear"), values_time.get_full_year, _NONE, "the year"),
    _function(_with_zone("getMonth"), values_time.get_month, _NONE, "the month, from 0"),
    _function(_with_zone("getDate"), values_time.get_date, _NONE, "the day of the month, from 1"),
    _function(_with_zone("getDayOfMonth"), values_time.get_day_of_month, _NONE, "the day of the month, from 0"),
    _function(_with_zone("getDayOfWeek"), values_time.get_day_of_week, _NONE, "the day of the week, Sunday is 0"),
    _function(_with_zone("getDayOfYear"), values_time.get_day_of_year, _NONE, "the day of the year, from 0"),
    _function(_with_zone("getHours", of_durations=True), values_time.get_hours, _NONE, "the hour; all hours"),
    _function(_with_zone("getMinutes", of_durations=True), values_time.get_minutes, _NONE, "the minute; all minutes"),
    _function(_with_zone("getSeconds", of_durations=True), values_time.get_seconds, _NONE, "the second; all seconds"),
    _function(
        _with_zone("getMilliseconds", of_durations=True),
        values_time.get_milliseconds,
        _NONE,
        "the milliseconds of the second",
    ),
)

_NUMBERS = (
    _function(
        ["round(number) -> double", "round(number, number) -> double"],
        values_numbers.round_half_away,
        _INLINE,
        "rounds to n decimals (default 0, from -18 to 18), half away from zero",
    ),
    _function("floor(number) -> double", values_numbers.floor, _INLINE, "the next whole number down"),
    _function("ceil(number) -> double", values_numbers.ceil, _INLINE, "the next whole number up"),
    _function(
        ["abs(int) -> int", "abs(uint) -> uint", "abs(double) -> double"], values_numbers.absolute, _INLINE, "magnitude"
    ),
    _function(_variadic("min"), values_numbers.minimum, _INLINE, "the smallest of the numbers, or of one list"),
    _function(_variadic("max"), values_numbers.maximum, _INLINE, "the largest of the numbers, or of one list"),
    _function(
        "get(map(K, V), K, V) -> V", values.get, _INLINE, "the value under a key, or the default when it is absent"
    ),
)

FUNCTIONS: tuple[Function, ...] = (
    *_OPERATORS,
    *_STANDARD,
    *_NUMBERS,
    *(_function(texts, call, _NONE, about) for texts, call, about in functions_sets.TABLE),
    *(_function(texts, call, _NONE, about) for texts, call, about in functions_text.TABLE),
    *(_function(texts, call, _NONE, about) for texts, call, about in functions_lists.TABLE),
    *(_function(texts, call, _NONE, about) for texts, call, about in functions_math.TABLE),
    *(_function(texts, call, _NONE, about) for texts, call, about in functions_optional.TABLE),
)
"""Every function and operator of the language, in the order of the documentation."""

GLOBALS: dict[str, Function] = {entry.name: entry for entry in FUNCTIONS if not entry.is_method}
"""Operators and functions `f(x)` by name."""

METHODS: dict[str, Function] = {entry.name: entry for entry in FUNCTIONS if entry.is_method}
"""Methods `x.f()` by name."""

MACROS = ("all", "exists", "exists_one", "filter", "has", "map")
"""Macros by name, as far as a misspelt name should suggest them."""


def result_type(entry: Function, count: int) -> Type | None:
    """The result that all signatures with so many arguments share, or None."""
    results = {signature.result for signature in entry.signatures if len(signature.parameters) == count}
    return results.pop() if len(results) == 1 else None
