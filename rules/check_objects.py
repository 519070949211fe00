"""Objects with known fields: those of §11.1, and those that a program's `event_schema` declares.

A typed object is a `Type` whose kind is its name (`participant`, `event.customer`); `ObjectType` says what fields that
kind has. To everything that does not know it, such an object is a map from text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from earnbook.rules.types import DOUBLE, DYN, INT, STRING, Type, list_of, map_of

EnumValue = None | bool | int | Decimal | str

_TIER = Type("tier")
_STATE_FIELDS = {
    "id": STRING,
    "key": STRING,
    "status": STRING,
    "tags": list_of(STRING),
    "counters": map_of(STRING, DOUBLE),
    "attributes": map_of(STRING, STRING),
}

OBJECT_FIELDS: Mapping[str, Mapping[str, Type]] = {
    "participant": {name: type_ for name, type_ in _STATE_FIELDS.items() if name != "key"}
    | {"external_id": STRING, "tiers": map_of(STRING, _TIER)},
    "program": _STATE_FIELDS,
    "group": _STATE_FIELDS,
    "tier": {
        "level": STRING,
        "rank": INT,
        "acquired_at": DYN,
        "expires_at": DYN,
        "benefits": map_of(STRING, DYN),
    },
}
"""The objects of §11.1 and the types of their fields; `acquired_at` and `expires_at` may be null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectType:
    """The fields of one kind of object.

    `additional` is the type of fields that are not declared, None where there are no others; `is_open_stated` says that
    others are meant, not merely not excluded. `enums` are all values that a field can have, by field; `whole` are the
    fields that hold whole numbers; `required` those that every object has.
    """

    fields: Mapping[str, Type]
    additional: Type | None = None
    is_open_stated: bool = False
    enums: Mapping[str, tuple[EnumValue, ...]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()


BUILT_IN_OBJECTS: Mapping[str, ObjectType] = {name: ObjectType(fields=fields) for name, fields in OBJECT_FIELDS.items()}
"""The objects that every program has."""


def is_event_object(type_: Type) -> bool:
    """Whether a type is an object that an `event_schema` declares."""
    return type_.kind == "event" or type_.kind.startswith("event.")


def as_map(type_: Type) -> Type | None:
    """The type as a map, None where it is neither a map nor an object."""
    if type_.kind == "map":
        return type_
    return map_of(STRING, DYN) if type_.kind in OBJECT_FIELDS or is_event_object(type_) else None
