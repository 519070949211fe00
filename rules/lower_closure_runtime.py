"""What the generated source of closures calls, beside the implementations of the function table.

Everything here is small and raises only `CelError` or `CelLimit`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from earnbook.rules import functions, values
from earnbook.rules.functions_lists import sort_by
from earnbook.rules.values import (
    NONE,
    CelError,
    CelLimit,
    Optional,
    Value,
    key_value,
    map_keys,
    no_overload,
    put,
    spoken_type,
)


def truth(value: Value) -> bool:
    """The value itself when it is a bool; conditions of `&& || ! ?:` and of macros must be."""
    if value is True or value is False:
        return value
    raise CelError(f"a condition must be true or false, not a {spoken_type(value)}")


def in_texts(item: Value, texts: frozenset[str]) -> bool:
    """`item in ['a', 'b']` for a list of text literals."""
    return type(item) is str and item in texts


def elements(container: Value, budget: list[int]) -> list[Value]:
    """What a macro with one variable visits: the items of a list, or the sorted keys of a map; counts as visited."""
    if type(container) is list:
        _spend(len(container), budget)
        return container
    if type(container) is dict:
        _spend(len(container), budget)
        return [key_value(key) for key in map_keys(container)]
    raise CelError(f"a macro visits a list or map, not a {spoken_type(container)}")


def pairs(container: Value, budget: list[int]) -> list[tuple[Value, Value]]:
    """What a macro with two variables visits: position and item of a list, or sorted key and its value."""
    if type(container) is list:
        _spend(len(container), budget)
        return list(enumerate(container))
    if type(container) is dict:
        _spend(len(container), budget)
        return [(key_value(key), container[key]) for key in map_keys(container)]
    raise CelError(f"a macro visits a list or map, not a {spoken_type(container)}")


def _spend(count: int, budget: list[int]) -> None:
    """A macro counts its full range, whatever it short-circuits (§11.5)."""
    budget[0] -= count
    if budget[0] < 0:
        raise CelLimit(f"more than {values.ELEMENTS_MAX:,} elements visited")


def put_all(mapping: dict[Value, Value], entries: Value) -> None:
    """Add the entries of a map to a map that is being built."""
    if type(entries) is not dict:
        raise no_overload("transformMapEntry", entries)
    for key, value in entries.items():
        put(mapping, key_value(key), value)


def optional(value: Value) -> Optional:
    """The value itself when it is an optional."""
    if type(value) is Optional:
        return value
    raise CelError(f"an optional is needed, not a {spoken_type(value)}")


def list_with_optionals(items: Iterable[tuple[bool, Value]]) -> list[Value]:
    """A list literal in which `?x` items are left out when they are empty."""
    made: list[Value] = []
    for is_optional, item in items:
        if not is_optional:
            made.append(item)
        elif (found := optional(item)).present:
            made.append(found.value)
    return made


def map_with_optionals(entries: Iterable[tuple[bool, Value, Value]]) -> dict[Value, Value]:
    """A map literal in which `?key: x` entries are left out when they are empty."""
    made: dict[Value, Value] = {}
    for is_optional, key, value in entries:
        if not is_optional:
            put(made, key, value)
        elif (found := optional(value)).present:
            put(made, key, found.value)
    return made


def present(slot: Value | CelError) -> Value:
    """The value in a slot of `cel.block`, or the error that it became."""
    if isinstance(slot, CelError):
        raise slot
    return slot


def unknown_name(name: str) -> NoReturn:
    """A variable that the scope does not declare; checked expressions never come here."""
    raise CelError(f"there is no variable `{name}`")


def unknown_function(name: str, *_: Value) -> NoReturn:
    """A function that does not exist; checked expressions never come here."""
    raise CelError(f"there is no function `{name}`")


def wrong_count(name: str, *arguments: Value) -> NoReturn:
    """A function called with a number of arguments that it does not take."""
    raise no_overload(name, *arguments) if arguments else CelError(f"{name} needs arguments")


def identifier(entry: functions.Function) -> str:
    """The name under which generated source calls a function of the table."""
    letters = "".join(character if character.isalnum() else "_" for character in entry.name)
    return _OPERATOR_NAMES.get(entry.name) or f"{'method' if entry.is_method else 'call'}_{letters}"


_OPERATOR_NAMES = {
    "_+_": "add",
    "_-_": "subtract",
    "_*_": "multiply",
    "_/_": "divide",
    "_%_": "modulo",
    "-_": "negate",
    "_==_": "equals",
    "_!=_": "not_equals",
    "_<_": "less",
    "_<=_": "less_equal",
    "_>_": "greater",
    "_>=_": "greater_equal",
    "@in": "contains",
}

NAMES: dict[str, object] = {
    **{identifier(entry): entry.implementation for entry in functions.FUNCTIONS},
    "CelError": CelError,
    "Optional": Optional,
    "NONE": NONE,
    "ELEMENTS_MAX": values.ELEMENTS_MAX,
    "select": values.select,
    "select_optional": values.select_optional,
    "has_field": values.has_field,
    "index": values.index,
    "index_optional": values.index_optional,
    "make_map": values.make_map,
    "put": put,
    "truth": truth,
    "in_texts": in_texts,
    "elements": elements,
    "pairs": pairs,
    "put_all": put_all,
    "optional": optional,
    "list_with_optionals": list_with_optionals,
    "map_with_optionals": map_with_optionals,
    "present": present,
    "sort_by": sort_by,
    "unknown_name": unknown_name,
    "unknown_function": unknown_function,
    "wrong_count": wrong_count,
}
"""The global names of generated source."""
