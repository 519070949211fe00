"""`event_schema` of a program: what its events look like, for static checks of `event` fields (§6.3).

A subset of JSON Schema: `type` (a name or a list of names), `properties`, `required`, `items`, `enum` and
`additionalProperties`; `title`, `description`, `examples`, `default`, `$schema`, `$id` and `$comment` are read over.
Mistakes in it are issues with a place. Events themselves are never tested against it: an event that differs makes
expressions fail, as §11.3 says.

Every JSON number is a double (§5.1), `integer` as well. `null` beside another type adds nothing: values may be compared
with null whatever their type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from earnbook.rules.check_objects import EnumValue, ObjectType
from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.definitions_nodes import Mapping, Node, Scalar, Sequence, follow, is_null
from earnbook.rules.issues import Issue, IssueCode, suggest
from earnbook.rules.types import BOOL, DOUBLE, DYN, NULL, STRING, Type, join, list_of, map_of

FIELD = "event_schema"

_TYPES = {"boolean": BOOL, "integer": DOUBLE, "null": NULL, "number": DOUBLE, "string": STRING}
_TYPE_NAMES = ("array", "object", *_TYPES)
_KEYWORDS = ("type", "properties", "required", "items", "enum", "additionalProperties")
_ANNOTATIONS = frozenset({"$schema", "$id", "$comment", "title", "description", "examples", "default"})
_OWNERS = {"properties": "object", "required": "object", "additionalProperties": "object", "items": "array"}
"""Keywords that only one type has."""

_OPEN = ObjectType(fields={}, additional=DYN, is_open_stated=True)


@dataclass(frozen=True, slots=True)
class EventSchema:
    """What is known about events: the objects in them by the name of their type; `event` itself is one of them."""

    objects: dict[str, ObjectType]

    @property
    def type(self) -> Type:
        """The type of the variable `event`."""
        return Type("event")


def read_event_schema(raw: RawObject, issues: list[Issue]) -> EventSchema | None:
    """The schema of a raw program, None where it has none; mistakes are added to `issues` and read as anything."""
    node, taken = follow(raw.node, (FIELD,))
    if not taken or not isinstance(node, Mapping):
        # Other values than objects are the model's to refuse.
        return None
    reader = _Reader(raw, issues)
    found = reader.schema(node, "event", (FIELD,))
    if found.kind != "event":
        if found not in (DYN, map_of(STRING, DYN)):
            reader.mistake(IssueCode.INVALID_VALUE, "event_data is an object", "write type: object", FIELD, "type")
        reader.objects["event"] = _OPEN
    return EventSchema(reader.objects)


class _Reader:
    """Reads one schema; `objects` grows with every object type that is found."""

    def __init__(self, raw: RawObject, issues: list[Issue]) -> None:
        self._raw = raw
        self._issues = issues
        self.objects: dict[str, ObjectType] = {}

    def mistake(self, code: IssueCode, message: str, remedy: str, *steps: str | int) -> None:
        self._issues.append(self._raw.issue(code, message, remedy, *steps))

    def schema(self, node: Node, name: str, steps: tuple[str | int, ...]) -> Type:
        """The type that a schema describes; `name` is what an object of it is called."""
        if not isinstance(node, Mapping):
            self.mistake(IssueCode.INVALID_VALUE, "a schema is an object", "write for example {type: string}", *steps)
            return DYN
        self._check_keywords(node, steps)
        kinds = self._kinds(node, steps)
        values = self._enum(node, kinds, steps)
        types = [self._type(kind, node, name, steps) for kind in kinds if kind != "null"]
        if not kinds:
            return _joined(_type_of(value) for value in values if value is not None) if values else DYN
        return _joined(types) if types else NULL

    def _check_keywords(self, node: Mapping, steps: tuple[str | int, ...]) -> None:
        for keyword in node.members:
            if keyword not in _KEYWORDS and keyword not in _ANNOTATIONS:
                remedy = suggest(keyword, _KEYWORDS)
                self.mistake(
                    IssueCode.UNKNOWN_FIELD, f"event_schema does not know `{keyword}`", remedy, *steps, keyword
                )

    def _kinds(self, node: Mapping, steps: tuple[str | int, ...]) -> tuple[str, ...]:
        """The names under `type`; without it what `properties` or `items` imply, else nothing."""
        stated = node.members.get("type")
        if stated is None:
            implied = dict.fromkeys(owner for keyword, owner in _OWNERS.items() if keyword in node.members)
            return tuple(implied)
        items = stated.items if isinstance(stated, Sequence) else (stated,)
        kinds: list[str] = []
        for item in items:
            value = item.value if isinstance(item, Scalar) else ""
            # YAML's null where the name of the type is meant.
            kind = "null" if value is None else str(value)
            if kind in _TYPE_NAMES:
                kinds.append(kind)
            else:
                remedy = suggest(kind, _TYPE_NAMES)
                self.mistake(IssueCode.INVALID_VALUE, f"`{kind}` is no type of JSON", remedy, *steps, "type")
        for keyword, owner in _OWNERS.items():
            if kinds and keyword in node.members and owner not in kinds:
                message = f"`{keyword}` belongs to type {owner}"
                remedy = f"remove it, or write type: {owner}"
                self.mistake(IssueCode.INVALID_COMBINATION, message, remedy, *steps, keyword)
        return tuple(dict.fromkeys(kinds))

    def _enum(self, node: Mapping, kinds: tuple[str, ...], steps: tuple[str | int, ...]) -> tuple[EnumValue, ...]:
        stated = node.members.get("enum")
        if stated is None:
            return ()
        if not isinstance(stated, Sequence) or not stated.items:
            self.mistake(IssueCode.INVALID_VALUE, "an enum is a list of values", "write [one, other]", *steps, "enum")
            return ()
        values: list[EnumValue] = []
        for index, item in enumerate(stated.items):
            if not isinstance(item, Scalar):
                message = "values of an enum are texts, numbers, true, false or null"
                self.mistake(IssueCode.INVALID_VALUE, message, "remove it", *steps, "enum", index)
            elif kinds and not any(_is_of(item.value, kind) for kind in kinds):
                message = f"{_shown(item.value)} is not of type {' or '.join(kinds)}"
                self.mistake(IssueCode.INVALID_VALUE, message, "make type and enum agree", *steps, "enum", index)
            else:
                values.append(item.value)
        return tuple(values)

    def _type(self, kind: str, node: Mapping, name: str, steps: tuple[str | int, ...]) -> Type:
        if kind == "array":
            items = node.members.get("items")
            return list_of(DYN if items is None else self.schema(items, f"{name}[]", (*steps, "items")))
        if kind != "object":
            return _TYPES[kind]
        if not any(keyword in node.members for keyword, owner in _OWNERS.items() if owner == "object"):
            return map_of(STRING, DYN)
        self.objects[name] = self._object(node, name, steps)
        return Type(name)

    def _object(self, node: Mapping, name: str, steps: tuple[str | int, ...]) -> ObjectType:
        fields: dict[str, Type] = {}
        enums: dict[str, tuple[EnumValue, ...]] = {}
        properties = node.members.get("properties")
        if properties is not None and not isinstance(properties, Mapping):
            self.mistake(
                IssueCode.INVALID_VALUE, "properties are named schemas", "write name: {…}", *steps, "properties"
            )
        members = properties.members if isinstance(properties, Mapping) else {}
        for field, member in members.items():
            fields[field] = self.schema(member, f"{name}.{field}", (*steps, "properties", field))
            if isinstance(member, Mapping) and (values := _plain_enum(member)):
                enums[field] = values
        additional, stated = self._additional(node, name, steps)
        return ObjectType(
            fields=fields,
            additional=additional,
            is_open_stated=stated,
            enums=enums,
            whole=frozenset(field for field, member in members.items() if _is_whole(member)),
            required=self._required(node, fields, additional, steps),
        )

    def _additional(self, node: Mapping, name: str, steps: tuple[str | int, ...]) -> tuple[Type | None, bool]:
        """The type of fields that are not declared (None: there are none), and whether the schema says so."""
        stated = node.members.get("additionalProperties")
        if stated is None:
            return DYN, False
        if isinstance(stated, Scalar) and isinstance(stated.value, bool):
            return (DYN if stated.value else None), True
        return self.schema(stated, f"{name}.*", (*steps, "additionalProperties")), True

    def _required(
        self, node: Mapping, fields: dict[str, Type], additional: Type | None, steps: tuple[str | int, ...]
    ) -> frozenset[str]:
        stated = node.members.get("required")
        if is_null(stated):
            return frozenset()
        names = [item.value for item in node.items_of("required") if isinstance(item, Scalar)]
        if not isinstance(stated, Sequence) or len(names) < len(stated.items):
            remedy = "write required: [type, amount]"
            self.mistake(IssueCode.INVALID_VALUE, "required is a list of field names", remedy, *steps, "required")
            return frozenset()
        for index, name in enumerate(names):
            if str(name) not in fields and additional is None:
                message = f"`{name}` is required and not among the properties"
                self.mistake(
                    IssueCode.UNKNOWN_REFERENCE, message, suggest(str(name), fields), *steps, "required", index
                )
        return frozenset(str(name) for name in names)


def _plain_enum(node: Mapping) -> tuple[EnumValue, ...]:
    return tuple(item.value for item in node.items_of("enum") if isinstance(item, Scalar))


def _is_whole(node: Node) -> bool:
    """Whether `type` allows no numbers but whole ones."""
    if not isinstance(node, Mapping):
        return False
    names = {item.value for item in node.items_of("type") if isinstance(item, Scalar)} | {node.text("type")}
    return "integer" in names and "number" not in names


def _is_of(value: EnumValue, kind: str) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int | Decimal) and not isinstance(value, bool) and value == int(value)
        case "number":
            return isinstance(value, int | Decimal) and not isinstance(value, bool)
        case _:
            return False


def _type_of(value: EnumValue) -> Type:
    if isinstance(value, bool):
        return BOOL
    return STRING if isinstance(value, str) else DOUBLE


def _shown(value: EnumValue) -> str:
    return f"'{value}'" if isinstance(value, str) else "null" if value is None else str(value).lower()


def _joined(types: Iterable[Type]) -> Type:
    found: Type | None = None
    for type_ in types:
        found = type_ if found is None else join(found, type_)
    return DYN if found is None else found
