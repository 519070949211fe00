"""The list functions and encoders of CEL's extension libraries: results that are lists, and base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cmp_to_key
from itertools import pairwise

from earnbook.rules.values import (
    COMPARISONS_MAX,
    NONE,
    NUMBER_TYPES,
    CelError,
    CelLimit,
    Optional,
    Value,
    checked_length,
    equals,
    integer,
    less,
    no_overload,
)


def reverse(operand: Value) -> Value:
    """`x.reverse()`: the characters of a text, or the items of a list, in reverse."""
    if type(operand) is str or type(operand) is list:
        return operand[::-1]
    raise no_overload("reverse", operand)


def distinct(items: Value) -> list[Value]:
    """`list.distinct()`: the first of all equal items, in order."""
    plain: set[tuple[bool, Value]] = set()
    nested: list[Value] = []
    made: list[Value] = []
    for item in _list("distinct", items):
        if isinstance(item, list | dict | Optional):
            if len(nested) ** 2 > COMPARISONS_MAX:
                raise CelLimit("distinct of too many lists and maps")
            if any(equals(item, known) for known in nested):
                continue
            nested.append(item)
        elif not (isinstance(item, Decimal) and item.is_nan()):
            # Python takes True and 1 for equal, CEL does not; all numbers are equal by value in both.
            key = (isinstance(item, bool), item)
            if key in plain:
                continue
            plain.add(key)
        made.append(item)
    return made


def flatten(items: Value, depth: Value = 1) -> list[Value]:
    """`list.flatten([depth])`: lists inside the list replaced by their items, down to a depth (default 1)."""
    levels = integer(depth, "the depth of flatten")
    if levels < 0:
        raise CelError("the depth of flatten must not be negative")
    made = list(_list("flatten", items))
    while levels > 0 and any(type(item) is list for item in made):
        checked_length(sum(len(item) if type(item) is list else 1 for item in made))
        made = [part for item in made for part in (item if type(item) is list else (item,))]
        levels -= 1
    return made


def slice_of(items: Value, start: Value, end: Value) -> list[Value]:
    """`list.slice(start, end)`: from start up to but without end; both must be within the list."""
    whole = _list("slice", items)
    first, last = integer(start, "the start of slice"), integer(end, "the end of slice")
    if not 0 <= first <= last <= len(whole):
        raise CelError(f"a slice from {first} to {last} of a list of {len(whole)}")
    return whole[first:last]


def sort(items: Value) -> list[Value]:
    """`list.sort()`: ascending; all items must be of one type that has an order."""
    return sort_by(items, items)


def sort_by(items: Value, keys: Value) -> list[Value]:
    """`list.sortBy(x, key)`: ascending by key, equal keys in the order of the list."""
    whole, order = _list("sort", items), _list("sort", keys)
    _refuse_mixed(order)

    def compare(one: int, other: int) -> int:
        return _compared(order[one], order[other])

    positions = sorted(range(len(whole)), key=cmp_to_key(compare))
    return [whole[position] for position in positions]


def range_of(count: Value) -> list[Value]:
    """`lists.range(n)`: 0 up to n - 1."""
    numbers = integer(count, "the size of lists.range")
    checked_length(numbers)
    return list(range(numbers))


def first(items: Value) -> Optional:
    """`list.first()`: an optional that is empty for an empty list."""
    whole = _list("first", items)
    return Optional(True, whole[0]) if whole else NONE


def last(items: Value) -> Optional:
    """`list.last()`: an optional that is empty for an empty list."""
    whole = _list("last", items)
    return Optional(True, whole[-1]) if whole else NONE


def unwrap(items: Value) -> list[Value]:
    """`optional.unwrap(list)`: the values of the optionals that have one."""
    whole = _list("unwrap", items)
    if not all(type(item) is Optional for item in whole):
        raise no_overload("unwrap", *whole[:3])
    return [item.value for item in whole if isinstance(item, Optional) and item.present]


def encode_base64(data: Value) -> str:
    """`base64.encode(bytes)`."""
    if type(data) is bytes:
        return base64.b64encode(data).decode("ascii")
    raise no_overload("base64.encode", data)


def decode_base64(text: Value) -> bytes:
    """`base64.decode(text)`: padding may be left out, but what is there must be right; line ends are passed over."""
    if type(text) is not str:
        raise no_overload("base64.decode", text)
    plain = text.replace("\r", "").replace("\n", "")
    padded = plain if plain.endswith("=") else plain + "=" * (-len(plain) % 4)
    try:
        if len(padded) % 4 == 0:
            return base64.b64decode(padded, validate=True)
        raise CelError("base64.decode needs base64 text with its padding, or with none")
    except (binascii.Error, ValueError):
        raise CelError("base64.decode needs base64 text") from None


def _list(function: str, items: Value) -> list[Value]:
    if type(items) is list:
        return items
    raise no_overload(function, items)


def _refuse_mixed(keys: Sequence[Value]) -> None:
    """Keys of one kind only, so that the order does not depend on which pairs happen to be compared."""
    kinds: Iterable[type] = (Decimal if type(key) in NUMBER_TYPES else type(key) for key in keys)
    if any(one is not other for one, other in pairwise(kinds)):
        raise CelError("sort needs items of one type")
    if keys:
        less(keys[0], keys[0])  # An error for a type without order.
    if any(isinstance(key, Decimal) and key.is_nan() for key in keys):
        raise CelError("NaN has no place in an order")


def _compared(one: Value, other: Value) -> int:
    return -1 if less(one, other) else int(less(other, one))


TABLE: tuple[tuple[str | list[str], Callable[..., object], str], ...] = (
    (
        ["(string).reverse() -> string", "(list(T)).reverse() -> list(T)"],
        reverse,
        "the characters or items in reverse",
    ),
    ("(list(T)).distinct() -> list(T)", distinct, "the items without repeats"),
    (
        ["(list(T)).flatten() -> list(dyn)", "(list(T)).flatten(number) -> list(dyn)"],
        flatten,
        "lists inside the list replaced by their items, down to a depth",
    ),
    ("(list(T)).slice(number, number) -> list(T)", slice_of, "the items from a position up to another"),
    ("(list(T)).sort() -> list(T)", sort, "the items in ascending order"),
    ("lists.range(number) -> list(int)", range_of, "the numbers 0 to n - 1"),
    ("(list(T)).first() -> optional(T)", first, "the first item, empty for an empty list"),
    ("(list(T)).last() -> optional(T)", last, "the last item, empty for an empty list"),
    ("optional.unwrap(list(optional(T))) -> list(T)", unwrap, "the values of the optionals that have one"),
    ("(list(optional(T))).unwrapOpt() -> list(T)", unwrap, "as optional.unwrap(list)"),
    ("base64.encode(bytes) -> string", encode_base64, "the base64 text of bytes"),
    ("base64.decode(string) -> bytes", decode_base64, "the bytes of a base64 text"),
)
