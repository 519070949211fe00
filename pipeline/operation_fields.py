"""What each type of operation consists of (§15): its fields, which of them it needs, and what they must be.

`SPECIFICATIONS` is the one table: a type that this version processes is one row of it, so that a later type is one more
row. The other types of §15 are known by name, so that the message of a reject can say so. Nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from earnbook.ledger.schema import OperationType, Role, Status

COMMON_FIELDS = ("type", "idempotency_key", "effective_at")
"""The fields of every operation (§3.3)."""

PROFILE_FIELDS = ("email", "phone", "first_name", "last_name", "display_name")
"""The texts of a participant (§8.2), in the order of their codes and of their change rows."""

TYPES_LATER = frozenset(
    {
        "adjust", "hold", "release", "forfeit", "void_hold", "redeem", "redeem_item", "reverse_redemption", "transfer",
        "trigger_automation", "cancel_automation", "refresh_automation",
    }
)  # fmt: skip
"""Types of §15 that this version does not process, whether or not their fields are known already."""


class FieldKind(Enum):
    """What a field of an operation holds; its canonical value (§3.4) follows from it."""

    ASSET = "asset"
    RULE = "rule"
    TIER = "tier"
    NUMBER = "number"  # a JSON number, or decimal text
    TEXT = "text"
    UUID = "uuid"
    CHOICE = "choice"
    WINDOW = "window"  # a Go duration; empty text: no window
    DATE = "date"  # a Go duration or an RFC 3339 time
    TEXTS = "texts"  # a list of keys
    TEXT_MAP = "text map"  # an object of texts
    MEMBERS = "members"  # a list of a participant and a role each


NESTED_KINDS = frozenset({FieldKind.TEXTS, FieldKind.TEXT_MAP, FieldKind.MEMBERS})
"""Lists and objects: in CSV they are JSON text (§3.1)."""


class ProgramNeed(Enum):
    """Whether an operation names a program; an optional one may be left out whatever `--program` says."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"
    TARGET = "target"  # required with `target: PROGRAM`, else optional


class EntityNeed(Enum):
    """Whom an operation is about (§15.1): the fields of which exactly one must be given."""

    NONE = ()
    EXTERNAL = ("external_id",)
    PARTICIPANT = ("external_id", "participant_id")
    HOLDER = ("external_id", "participant_id", "group_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field; lengths are those of texts, in characters.

    `is_meant`: an empty CSV cell is not absence but a mistake, because absence could mean "everything" (§3.1).
    """

    kind: FieldKind
    required: bool = False
    is_meant: bool = False
    length_min: int = 1
    length_max: int = 255
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSpec:
    """One type: its own fields, beside the common ones, the program and the entity.

    `one_of` are optional fields of which exactly one must be given.
    """

    code: OperationType
    program: ProgramNeed = ProgramNeed.REQUIRED
    entity: EntityNeed = EntityNeed.NONE
    fields: Mapping[str, FieldSpec] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All fields, in the order in which a message lists them."""
        program = () if self.program is ProgramNeed.NONE else ("program_id",)
        target = ("target",) if self.program is ProgramNeed.TARGET else ()
        return (*COMMON_FIELDS, *program, *target, *self.entity.value, *self.fields)


_KINDS: Mapping[str, FieldSpec] = {
    "asset_id": FieldSpec(kind=FieldKind.ASSET, is_meant=True),
    "rule_id": FieldSpec(kind=FieldKind.RULE),
    "tier": FieldSpec(kind=FieldKind.TIER),
    "level": FieldSpec(kind=FieldKind.TEXT, length_min=0),
    "expires_at": FieldSpec(kind=FieldKind.DATE),
    "amount": FieldSpec(kind=FieldKind.NUMBER, is_meant=True),
    "description": FieldSpec(kind=FieldKind.TEXT, length_min=0, length_max=500),
    "id": FieldSpec(kind=FieldKind.UUID),
    "event_id": FieldSpec(kind=FieldKind.UUID),
    "event_key": FieldSpec(kind=FieldKind.TEXT),
    "on_behalf_of_participant_id": FieldSpec(kind=FieldKind.UUID),
    "group_id": FieldSpec(kind=FieldKind.TEXT, is_meant=True),
    "key": FieldSpec(kind=FieldKind.TEXT),
    "name": FieldSpec(kind=FieldKind.TEXT),
    "tag": FieldSpec(kind=FieldKind.TEXT),
    "tags": FieldSpec(kind=FieldKind.TEXTS),
    "attributes": FieldSpec(kind=FieldKind.TEXT_MAP),
    "members": FieldSpec(kind=FieldKind.MEMBERS),
    "role": FieldSpec(kind=FieldKind.CHOICE, choices=tuple(role.name for role in Role)),
    "reset_after": FieldSpec(kind=FieldKind.WINDOW, length_min=0),
    **{name: FieldSpec(kind=FieldKind.TEXT) for name in PROFILE_FIELDS},
}


def _statuses(*statuses: Status) -> FieldSpec:
    return FieldSpec(kind=FieldKind.CHOICE, choices=tuple(status.name for status in statuses))


_HOLDER_STATUS = _statuses(Status.ACTIVE, Status.SUSPENDED, Status.CLOSED)
_PROGRAM_STATUS = _statuses(Status.ACTIVE, Status.SUSPENDED, Status.ARCHIVED)
_ENROLLMENT_STATUS = _statuses(Status.ACTIVE, Status.FROZEN, Status.LOCKED, Status.CLOSED)
_COUNTER_VALUE = FieldSpec(kind=FieldKind.NUMBER, is_meant=True)
_ATTRIBUTE_VALUE = FieldSpec(kind=FieldKind.TEXT, length_min=0, length_max=1 << 20)


def _fields(words: str, **others: FieldSpec) -> dict[str, FieldSpec]:
    """Fields from words, a `*` after those that are required; `others` are the specifications of names of their own."""
    known = {**_KINDS, **others}
    fields = {}
    for word in words.split():
        name = word.rstrip("*")
        spec = known[name]
        fields[name] = FieldSpec(
            kind=spec.kind,
            required=word.endswith("*"),
            is_meant=spec.is_meant,
            length_min=spec.length_min,
            length_max=spec.length_max,
            choices=spec.choices,
        )
    return fields


def _wallet(code: OperationType) -> OperationSpec:
    return OperationSpec(code=code, fields=_fields("asset_id* amount* description"))


def _member(code: OperationType, words: str) -> OperationSpec:
    return OperationSpec(
        code=code, program=ProgramNeed.NONE, entity=EntityNeed.PARTICIPANT, fields=_fields(f"group_id* {words}")
    )


def _group(code: OperationType, words: str) -> OperationSpec:
    return OperationSpec(code=code, program=ProgramNeed.NONE, fields=_fields(words))


def _state(code: OperationType, words: str, **others: FieldSpec) -> OperationSpec:
    """An operation on tags, counters or attributes of a holder or a program (§15.1)."""
    fields = _fields(words, **others)
    return OperationSpec(code=code, program=ProgramNeed.TARGET, entity=EntityNeed.HOLDER, fields=fields)


def _participant(code: OperationType, program: ProgramNeed, words: str, **others: FieldSpec) -> OperationSpec:
    return OperationSpec(code=code, program=program, entity=EntityNeed.PARTICIPANT, fields=_fields(words, **others))


_SPECIFICATIONS: tuple[OperationSpec, ...] = (
    _wallet(OperationType.FUND),
    _wallet(OperationType.BURN),
    OperationSpec(
        code=OperationType.UPSERT_PARTICIPANT,
        program=ProgramNeed.OPTIONAL,
        entity=EntityNeed.EXTERNAL,
        fields=_fields(f"id status {' '.join(PROFILE_FIELDS)} attributes tags", status=_HOLDER_STATUS),
    ),
    _participant(OperationType.SET_PARTICIPANT_STATUS, ProgramNeed.NONE, "status*", status=_HOLDER_STATUS),
    OperationSpec(code=OperationType.SET_PROGRAM_STATUS, fields=_fields("status*", status=_PROGRAM_STATUS)),
    _participant(OperationType.ENROLL, ProgramNeed.REQUIRED, "status", status=_ENROLLMENT_STATUS),
    OperationSpec(code=OperationType.LINK_ASSET, fields=_fields("asset_id*")),
    OperationSpec(code=OperationType.UNLINK_ASSET, fields=_fields("asset_id*")),
    _group(OperationType.CREATE_GROUP, "key name* members* on_behalf_of_participant_id"),
    _group(OperationType.UPDATE_GROUP, "group_id* name*"),
    _group(OperationType.ARCHIVE_GROUP, "group_id*"),
    _member(OperationType.ADD_MEMBER, "role"),
    _member(OperationType.SET_MEMBER_ROLE, "role*"),
    _member(OperationType.REMOVE_MEMBER, ""),
    _state(OperationType.ADD_TAG, "tag*"),
    _state(OperationType.REMOVE_TAG, "tag*"),
    _state(OperationType.SET_TAGS, "tags*"),
    _state(OperationType.SET_COUNTER, "key* value* reset_after", value=_COUNTER_VALUE),
    _state(OperationType.DELETE_COUNTER, "key*"),
    _state(OperationType.SET_ATTRIBUTE, "key* value*", value=_ATTRIBUTE_VALUE),
    _state(OperationType.SET_ATTRIBUTES, "attributes*"),
    _state(OperationType.REMOVE_ATTRIBUTE, "key*"),
    _participant(OperationType.SET_TIER, ProgramNeed.REQUIRED, "tier* level* expires_at"),
    _participant(OperationType.REMOVE_TIER, ProgramNeed.REQUIRED, "tier*"),
    OperationSpec(code=OperationType.RESET_BUDGET, fields=_fields("rule_id* asset_id*")),
    OperationSpec(
        code=OperationType.RETRY_EVENT, fields=_fields("event_key event_id"), one_of=("event_key", "event_id")
    ),
)

SPECIFICATIONS: Mapping[str, OperationSpec] = {spec.code.name.lower(): spec for spec in _SPECIFICATIONS}
"""By type, in the order of §15."""

PROCESSED_TYPES = tuple(name for name in SPECIFICATIONS if name not in TYPES_LATER)
"""The types that this version processes."""
