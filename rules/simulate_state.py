"""The participant of a simulation (§21.1): state given as a document, checked, and as variables of CEL (§11.1).

Nothing here reads files or a book; tiers get rank and benefits from the program's definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from earnbook.rules.definitions_ids import object_id
from earnbook.rules.issues import suggest
from earnbook.rules.models import Program
from earnbook.rules.models_fields import is_number_in_range
from earnbook.rules.models_tiers import Level
from earnbook.rules.tiers import tier_value
from earnbook.rules.times import parse_timestamp
from earnbook.rules.values import Timestamp, Value

EXTERNAL_ID = "simulated"
"""The participant of a state that names none."""

_STORES = ("tags", "counters", "attributes")
_PARTICIPANT_FIELDS = ("id", "external_id", "status", *_STORES, "tiers", "program", "group")
_GROUP_FIELDS = ("id", "key", "status", *_STORES)
_TIER_FIELDS = ("level", "acquired_at", "expires_at")
_STATUSES = ("ACTIVE", "SUSPENDED", "CLOSED")


class StateError(ValueError):
    """A state document that cannot be read; the message says where and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Tags in sorted order, counters and attributes by name, of one entity."""

    tags: tuple[str, ...] = ()
    counters: Mapping[str, Decimal] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def variable(self) -> dict[str, Value]:
        """The three as CEL sees them."""
        return {"tags": list(self.tags), "counters": dict(self.counters), "attributes": dict(self.attributes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedState:
    """What a rule finds: the event's participant, the program's own state, and the event's group if there is one."""

    external_id: str = EXTERNAL_ID
    id: str | None = None
    status: str = "ACTIVE"
    holdings: Holdings = field(default_factory=Holdings)
    tiers: Mapping[str, Value] = field(default_factory=dict)
    program: Holdings = field(default_factory=Holdings)
    group: Mapping[str, Value] | None = None

    def scope(self, program: Program, organization_id: str, event: Mapping[str, Value], now: int) -> dict[str, Value]:
        """The variables of §11.1 for an event of this participant; `now` in microseconds since 1970."""
        identifier = self.id or object_id(organization_id, "participant", self.external_id)
        participant = {"id": identifier, "external_id": self.external_id, "status": self.status}
        own = {"id": program.id, "key": program.key, "status": program.status}
        nobody = Holdings().variable()
        return {
            "event": event,
            "participant": participant | self.holdings.variable() | {"tiers": dict(self.tiers)},
            "program": own | self.program.variable(),
            "group": nobody if self.group is None else dict(self.group),
            "now": Timestamp.from_microseconds(now),
        }


def read_state(document: Any, program: Program) -> SimulatedState:
    """The state in a document; raises StateError for what it cannot mean.

    Members are `tags`, `counters`, `attributes`, `tiers`, `id`, `external_id`, `status` of the participant, and the
    state of `program` and `group` as objects with the same first three. A tier is the key of its level, or an object
    with `level` and the times `acquired_at` and `expires_at`. All are optional; numbers are int, Decimal or text.
    """
    members = _members(document, "the state", _PARTICIPANT_FIELDS)
    status = _text(members.get("status", "ACTIVE"), "status")
    if status not in _STATUSES:
        raise StateError(f"status {status!r} does not exist: {suggest(status, _STATUSES)}")
    group = members.get("group")
    identifier = members.get("id")
    return SimulatedState(
        external_id=_text(members.get("external_id", EXTERNAL_ID), "external_id"),
        id=None if identifier is None else _text(identifier, "id"),
        status=status,
        holdings=_holdings(members, ""),
        tiers=_tiers(members.get("tiers", {}), program),
        program=_holdings(_members(members.get("program", {}), "program", _STORES), "program."),
        group=None if group is None else _group(group),
    )


def _group(document: Any) -> dict[str, Value]:
    members = _members(document, "group", _GROUP_FIELDS)
    named = {name: _text(members[name], f"group.{name}") for name in ("id", "key", "status") if name in members}
    return named | _holdings(members, "group.").variable()


def _holdings(members: Mapping[str, Any], path: str) -> Holdings:
    tags = members.get("tags", [])
    if not isinstance(tags, list):
        raise StateError(f'{path}tags is a list of texts, such as ["vip"]')
    counters = _members(members.get("counters", {}), f"{path}counters", None)
    attributes = _members(members.get("attributes", {}), f"{path}attributes", None)
    return Holdings(
        tags=tuple(sorted({_text(tag, f"{path}tags").lower() for tag in tags})),
        counters={name: _number(value, f"{path}counters.{name}") for name, value in counters.items()},
        attributes={
            name: _text(value, f"{path}attributes.{name}", may_be_empty=True) for name, value in attributes.items()
        },
    )


def _tiers(document: Any, program: Program) -> dict[str, Value]:
    types = {tier.key: tier for tier in program.tiers}
    tiers: dict[str, Value] = {}
    for key, given in _members(document, "tiers", None).items():
        if key not in types:
            raise StateError(f"program {program.key} has no tier type {key!r}: {suggest(key, types) or 'it has none'}")
        levels = {level.key: level for level in types[key].levels}
        stated = {"level": given} if isinstance(given, str) else given
        members = _members(stated, f"tiers.{key}", _TIER_FIELDS)
        name = _text(members.get("level"), f"tiers.{key}.level")
        if name not in levels:
            raise StateError(f"tier type {key} has no level {name!r}: {suggest(name, levels)}")
        tiers[key] = _tier(levels[name], members, f"tiers.{key}")
    return tiers


def _tier(level: Level, members: Mapping[str, Any], path: str) -> dict[str, Value]:
    times = [_time(members.get(name), f"{path}.{name}") for name in ("acquired_at", "expires_at")]
    return tier_value(level, *times)


def _members(document: Any, path: str, known: tuple[str, ...] | None) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise StateError(f"{path} is a JSON object")
    for name in document:
        if known is not None and name not in known:
            raise StateError(f"{path} has no member {name!r}: {suggest(name, known)}")
    return document


def _text(value: Any, path: str, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise StateError(f"{path} is a text in quotes")
    return value


def _number(value: Any, path: str) -> Decimal:
    try:
        number = None if isinstance(value, bool) or not isinstance(value, int | Decimal | str) else Decimal(value)
    except InvalidOperation:
        number = None
    if number is None or not is_number_in_range(number):
        raise StateError(f"{path} is a number of at most 34 digits")
    return number


def _time(value: Any, path: str) -> Timestamp | None:
    if value is None:
        return None
    try:
        return Timestamp.from_microseconds(parse_timestamp(_text(value, path)))
    except ValueError as error:
        raise StateError(f"{path}: {error}") from None
