"""Values of CEL as Python values, and what holds for all of them: type, equality, order, membership, access.

| CEL | Python | | CEL | Python |
|---|---|---|---|---|
| null | None | | bytes | bytes |
| bool | bool | | list | list |
| int | int | | map | dict |
| uint | Uint | | timestamp | Timestamp |
| double | Decimal | | duration | Duration |
| string | str | | type, optional | TypeValue, Optional |

A double is an exact decimal, infinity or NaN (§5.1); there are no binary floats. A bool is not a number although Python
makes it a subclass of int, so types are compared by identity throughout. Arithmetic is in `values_numbers`, calendars
and their texts in `values_time`.

A map's keys are str, int, Uint and, for bools, `BoolKey`.

Whatever goes wrong while evaluating is a `CelError`, or a `CelLimit` when a limit is exceeded. Nothing else may escape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TypeAlias

from earnbook.rules.syntax import Uint

Value: TypeAlias = object
"""Any value of the table above; `object` because lists and maps nest."""

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
UINT_MAX = 2**64 - 1

ELEMENTS_MAX = 100_000
"""List or map elements that macros may visit in one evaluation (§11.5)."""

LENGTH_MAX = 1_048_576
"""Characters, bytes or items of a value that an evaluation builds."""

COMPARISONS_MAX = 1_000_000
"""Parts of lists and maps that one `==` compares."""

TIMESTAMP_MIN_NANOSECONDS = -62_135_596_800 * 10**9
TIMESTAMP_MAX_NANOSECONDS = 253_402_300_800 * 10**9 - 1
DURATION_MAX_NANOSECONDS = INT_MAX


class EvaluationError(Exception):
    """An expression has no value; the message is for people."""


class CelError(EvaluationError):
    """An error of CEL: `&&` and `||` absorb it when the other side decides (§11.3)."""


class CelLimit(EvaluationError):
    """A limit of §11.5 was exceeded; nothing absorbs it."""


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """An instant in nanoseconds since 1970-01-01T00:00:00Z, from year 1 to 9999 (§4.6)."""

    nanoseconds: int

    def __post_init__(self) -> None:
        if not TIMESTAMP_MIN_NANOSECONDS <= self.nanoseconds <= TIMESTAMP_MAX_NANOSECONDS:
            raise CelError("timestamp outside the years 1 to 9999")

    @classmethod
    def from_microseconds(cls, microseconds: int) -> Timestamp:
        """The instant of a record's time, which has microseconds."""
        return cls(microseconds * 1000)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A signed span of time in nanoseconds, within 64 bits (292 years), as in other implementations of CEL."""

    nanoseconds: int

    def __post_init__(self) -> None:
        if not -DURATION_MAX_NANOSECONDS <= self.nanoseconds <= DURATION_MAX_NANOSECONDS:
            raise CelError("duration of more than 292 years")


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value, as `type(x)` gives it."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Optional:
    """`optional.of(value)`, or `optional.none()` when `present` is false."""

    present: bool
    value: Value = None


class BoolKey(Enum):
    """A bool as the key of a map: Python would take True and 1 for the same key, CEL does not."""

    FALSE = False
    TRUE = True


NONE = Optional(False)
"""`optional.none()`."""

TYPE_VALUES: dict[str, TypeValue] = {
    name: TypeValue(name)
    for name in (
        "null_type",
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "type",
        "optional_type",
    )
} | {
    "google.protobuf.Timestamp": TypeValue("google.protobuf.Timestamp"),
    "google.protobuf.Duration": TypeValue("google.protobuf.Duration"),
}
"""Types by the name under which CEL refers to them."""

_TYPE_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    Decimal: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    TypeValue: "type",
    Optional: "optional_type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
}

_SPOKEN_NAMES = {
    "null_type": "null",
    "optional_type": "optional",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}

NUMBER_TYPES = frozenset((int, Uint, Decimal))

_KEY_TYPES = frozenset((str, int, Uint, Decimal, BoolKey))

_CONTAINER_TYPES = frozenset((list, dict, Optional))

_ORDERED_TYPES = frozenset((str, bool, bytes, Timestamp, Duration))


def type_of(value: Value) -> TypeValue:
    """The value's type as a value."""
    return TYPE_VALUES[_TYPE_NAMES[type(value)]]


def spoken_type(value: Value) -> str:
    """The value's type as messages call it."""
    return spoken_name(_TYPE_NAMES.get(type(value), type(value).__name__))


def spoken_name(name: str) -> str:
    """A type as messages call it, by the name that CEL gives it."""
    return _SPOKEN_NAMES.get(name, name)


def no_overload(function: str, *arguments: Value) -> CelError:
    """The error of a function or operator that does not accept these types."""
    return CelError(f"{function} does not accept {_listed([spoken_type(argument) for argument in arguments])}")


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)


def checked_length(length: int) -> None:
    """Refuse a value that grows beyond `LENGTH_MAX`."""
    if length > LENGTH_MAX:
        raise CelLimit(f"a text, list or map of more than {LENGTH_MAX:,} elements")


def equals(left: Value, right: Value) -> bool:
    """`==`: numbers by exact value, lists and maps by content, anything else of different types is unequal (§11.3)."""
    left_type = type(left)
    if left_type is not type(right):
        return left_type in NUMBER_TYPES and type(right) in NUMBER_TYPES and left == right
    if left_type in _CONTAINER_TYPES:
        return _contents_equal(left, right, [COMPARISONS_MAX])
    return left == right


def not_equals(left: Value, right: Value) -> bool:
    """`!=`."""
    return not equals(left, right)


def _contents_equal(left: Value, right: Value, budget: list[int]) -> bool:
    """Lists, maps and optionals by content. The budget is for values that hold one part in many places."""
    budget[0] -= 1
    if budget[0] < 0:
        raise CelLimit(f"more than {COMPARISONS_MAX:,} parts compared")
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        return all(_contents_equal(one, other, budget) for one, other in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        if len(left) != len(right):
            return False
        pairs = ((value, find(right, key_value(key))) for key, value in left.items())
        return all(found.present and _contents_equal(value, found.value, budget) for value, found in pairs)
    if isinstance(left, Optional) and isinstance(right, Optional):
        if not (left.present and right.present):
            return left.present == right.present
        return _contents_equal(left.value, right.value, budget)
    return equals(left, right)


def less(left: Value, right: Value) -> bool:
    """`<`: numbers by exact value (NaN is never less), text by code point, false before true, times by time."""
    try:
        if _comparable(left, right):
            return left < right  # type: ignore[operator, no-any-return]
    except InvalidOperation:  # a NaN
        return False
    raise no_overload("<", left, right)


def less_equal(left: Value, right: Value) -> bool:
    """`<=`."""
    try:
        if _comparable(left, right):
            return left <= right  # type: ignore[operator, no-any-return]
    except InvalidOperation:
        return False
    raise no_overload("<=", left, right)


def greater(left: Value, right: Value) -> bool:
    """`>`."""
    try:
        if _comparable(left, right):
            return left > right  # type: ignore[operator, no-any-return]
    except InvalidOperation:
        return False
    raise no_overload(">", left, right)


def greater_equal(left: Value, right: Value) -> bool:
    """`>=`."""
    try:
        if _comparable(left, right):
            return left >= right  # type: ignore[operator, no-any-return]
    except InvalidOperation:
        return False
    raise no_overload(">=", left, right)


def _comparable(left: Value, right: Value) -> bool:
    left_type = type(left)
    right_type = type(right)
    if left_type in NUMBER_TYPES:
        return right_type in NUMBER_TYPES
    return left_type is right_type and left_type in _ORDERED_TYPES


def integer(value: Value, what: str) -> int:
    """An integer parameter: an int, a uint, or a double of integral value (§5.1); `what` names it in the error."""
    if type(value) is int or type(value) is Uint:
        return int(value)
    if type(value) is Decimal:
        if value.is_finite() and value.adjusted() < 20 and value == value.to_integral_value():
            return int(value)
        raise CelError(f"{what} must be a whole number")
    raise no_overload(what, value)


def contains(item: Value, container: Value) -> bool:
    """`item in container`: an equal element of a list, or a key of a map."""
    if type(container) is list:
        if type(item) is str:
            return item in container
        return any(equals(item, element) for element in container)
    if type(container) is dict:
        return item in container if type(item) is str else find(container, item).present
    raise no_overload("in", item, container)


def find(mapping: dict[Value, Value], key: Value) -> Optional:
    """The value under a key, numbers by value; a key of a type that maps cannot have is absent."""
    if type(key) in _KEY_TYPES:
        if key in mapping:
            return Optional(True, mapping[key])
    elif type(key) is bool:
        return find(mapping, BoolKey(key))
    return NONE


def make_map(entries: Iterable[tuple[Value, Value]]) -> dict[Value, Value]:
    """A map from keys and values; keys are texts, integers and bools, and none may repeat."""
    made: dict[Value, Value] = {}
    for key, value in entries:
        put(made, key, value)
    return made


def put(mapping: dict[Value, Value], key: Value, value: Value) -> None:
    """Add an entry to a map that is being built."""
    if type(key) is bool:
        key = BoolKey(key)
    elif type(key) is not str and type(key) is not int and type(key) is not Uint:
        raise CelError(f"a {spoken_type(key)} cannot be the key of a map")
    if key in mapping:
        raise CelError(f"the key {_shown_key(key_value(key))} is there twice")
    mapping[key] = value


def key_value(key: Value) -> Value:
    """The key of a map as a value."""
    return key.value if type(key) is BoolKey else key


def map_keys(mapping: dict[Value, Value]) -> list[Value]:
    """The keys as they are stored, in the order in which macros visit them: bools, numbers, texts, each ascending.

    The members of a JSON object have no order, and formats and equal payloads (§3.4) may give them in any; so visiting
    them as they come would make results depend on it.
    """
    try:
        return sorted(mapping)  # type: ignore[type-var]
    except TypeError:
        return sorted(mapping, key=_key_order)


def _key_order(key: Value) -> tuple[int, Value]:
    if type(key) is BoolKey:
        return 0, key.value
    return (2, key) if type(key) is str else (1, key)


def select(operand: Value, field: str) -> Value:
    """`operand.field`; a missing field is an error, and so is a field of anything but a map."""
    if type(operand) is dict:
        try:
            return operand[field]
        except KeyError:
            raise CelError(f"there is no field '{field}'") from None
    if type(operand) is Optional:
        return select_optional(operand, field)
    raise CelError(f"a {spoken_type(operand)} has no field '{field}'")


def select_optional(operand: Value, field: str) -> Optional:
    """`operand.?field`: an optional that is empty when the field is missing."""
    if type(operand) is Optional:
        return select_optional(operand.value, field) if operand.present else NONE
    if type(operand) is dict:
        return Optional(True, operand[field]) if field in operand else NONE
    raise CelError(f"a {spoken_type(operand)} has no field '{field}'")


def has_field(operand: Value, field: str) -> bool:
    """`has(operand.field)`: true also for a field that is null."""
    if type(operand) is dict:
        return field in operand
    if type(operand) is Optional:
        return operand.present and has_field(operand.value, field)
    raise CelError(f"a {spoken_type(operand)} has no field '{field}'")


def index(operand: Value, key: Value) -> Value:
    """`operand[key]`: an element of a list, counted from 0, or the value of a map; absent is an error."""
    if type(operand) is dict:
        if type(key) is str and key in operand:
            return operand[key]
        found = find(operand, key)
        if not found.present:
            raise CelError(f"there is no key {_shown_key(key)}")
        return found.value
    if type(operand) is list:
        position = integer(key, "a list index")
        if not 0 <= position < len(operand):
            raise CelError(f"index {position} is outside a list of {len(operand)}")
        return operand[position]
    if type(operand) is Optional:
        return index_optional(operand, key)
    raise no_overload("[ ]", operand, key)


def index_optional(operand: Value, key: Value) -> Optional:
    """`operand[?key]`: an optional that is empty when there is no such element."""
    if type(operand) is Optional:
        return index_optional(operand.value, key) if operand.present else NONE
    if type(operand) is dict:
        return find(operand, key)
    if type(operand) is list:
        position = integer(key, "a list index")
        return Optional(True, operand[position]) if 0 <= position < len(operand) else NONE
    raise no_overload("[? ]", operand, key)


def _shown_key(key: Value) -> str:
    return f"'{key}'" if type(key) is str else str(key)


def get(mapping: Value, key: Value, default: Value) -> Value:
    """`get(map, key, default)`: the value under the key, or the default when the key is absent."""
    if type(mapping) is not dict:
        raise no_overload("get", mapping, key, default)
    if type(key) is str:
        return mapping.get(key, default)
    found = find(mapping, key)
    return found.value if found.present else default
