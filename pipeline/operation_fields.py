"""What each type of operation consists of (§15): its fields, which of them it needs, and what they must be.

`SPECIFICATIONS` is the one table: a type that this version processes is one row of it, so that a later type is one more
row. The other types of §15 are known by name, so that the message of a reject can say so. Nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from earnbook.ledger.schema import Bucket, Direction, OperationType, Role, Status

COMMON_FIELDS = ("type", "idempotency_key", "effective_at")
"""The fields of every operation (§3.3)."""

PROFILE_FIELDS = ("email", "phone", "first_name", "last_name", "display_name")
"""The texts of a participant (§8.2), in the order of their codes and of their change rows."""

ALL = "ALL"
"""An amount of hold, release and forfeit: everything that matches, as when it is omitted (§3.1)."""

QUANTITY_MAX = (1 << 31) - 1
"""The most units that one redemption or reversal may name."""

RECIPIENTS_MAX = 100
"""Recipients of one transfer (§15.2)."""


class FieldKind(Enum):
    """What a field of an operation holds; its canonical value (§3.4) follows from it."""

    ASSET = "asset"
    RULE = "rule"
    TIER = "tier"
    REWARD = "reward"
    AUTOMATION = "automation"
    NUMBER = "number"  # a JSON number, or decimal text
    AMOUNT = "amount"  # as NUMBER, or the text ALL
    QUANTITY = "quantity"  # a whole number from 1 to QUANTITY_MAX, in any form of a NUMBER
    BOOL = "bool"  # in CSV the text true or false
    TEXT = "text"
    UUID = "uuid"
    CHOICE = "choice"
    WINDOW = "window"  # a Go duration; empty text: no window
    DATE = "date"  # a Go duration or an RFC 3339 time
    TIME = "time"  # an RFC 3339 time
    TEXTS = "texts"  # a list of keys
    TEXT_MAP = "text map"  # an object of texts
    MEMBERS = "members"  # a list of a participant and a role each
    LOTS = "lots"  # a list of lot ids
    RECIPIENTS = "recipients"  # a list of an entity and an amount each


NESTED_KINDS = frozenset({FieldKind.TEXTS, FieldKind.TEXT_MAP, FieldKind.MEMBERS, FieldKind.LOTS, FieldKind.RECIPIENTS})
"""Lists and objects: in CSV they are JSON text (§3.1)."""


class ProgramNeed(Enum):
    """Whether an operation names a program; an optional one may be left out whatever `--program` says."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"
    TARGET = "target"  # required with `target: PROGRAM`, else optional
    KEYED = "keyed"  # required where a redemption is named by its key, else optional


class EntityNeed(Enum):
    """Whom an operation is about (§15.1): the fields of which exactly one must be given."""

    NONE = ()
    EXTERNAL = ("external_id",)
    PARTICIPANT = ("external_id", "participant_id")
    HOLDER = ("external_id", "participant_id", "group_id")
    SOURCE = ("source_external_id", "source_participant_id", "source_group_id")


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


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A field that must not be given (or not as `value`) where `other` is given (or is `other_value`)."""

    name: str
    other: str
    other_value: str | None = None
    value: bool | None = None


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
    exclusions: tuple[Exclusion, ...] = ()

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
    "direction": FieldSpec(kind=FieldKind.CHOICE, choices=tuple(direction.name for direction in Direction)),
    "bucket": FieldSpec(kind=FieldKind.CHOICE, choices=(Bucket.AVAILABLE.name, Bucket.HELD.name)),
    "allow_negative": FieldSpec(kind=FieldKind.BOOL),
    "reference_id": FieldSpec(kind=FieldKind.TEXT),
    "matures_at": FieldSpec(kind=FieldKind.DATE),
    "lot_ids": FieldSpec(kind=FieldKind.LOTS, is_meant=True),
    "earned_from": FieldSpec(kind=FieldKind.TIME, is_meant=True),
    "earned_to": FieldSpec(kind=FieldKind.TIME, is_meant=True),
    "reward_id": FieldSpec(kind=FieldKind.REWARD, is_meant=True),
    "automation_id": FieldSpec(kind=FieldKind.AUTOMATION),
    "quantity": FieldSpec(kind=FieldKind.QUANTITY, is_meant=True),
    "redemption_id": FieldSpec(kind=FieldKind.UUID),
    "redemption_key": FieldSpec(kind=FieldKind.TEXT),
    "redemption_type": FieldSpec(kind=FieldKind.CHOICE, choices=("redeem", "redeem_item")),
    "reason": FieldSpec(kind=FieldKind.TEXT, length_max=500),
    "recipients": FieldSpec(kind=FieldKind.RECIPIENTS),
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
_DESCRIPTION = FieldSpec(kind=FieldKind.TEXT, length_max=500)
_ALL_OR_SOME = FieldSpec(kind=FieldKind.AMOUNT, is_meant=True)
_REFERENCE_FILTER = FieldSpec(kind=FieldKind.TEXT, is_meant=True)


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


def _money(
    code: OperationType,
    entity: EntityNeed,
    words: str,
    *,
    exclusions: tuple[Exclusion, ...] = (),
    **others: FieldSpec,
) -> OperationSpec:
    """An operation on the balance of a holder, whose description is required."""
    fields = _fields(f"{words} description*", description=_DESCRIPTION, **others)
    return OperationSpec(code=code, entity=entity, fields=fields, exclusions=exclusions)


def _matching(code: OperationType, words: str, reference: FieldSpec = _KINDS["reference_id"]) -> OperationSpec:
    """A money operation on what matches its filters; without an amount on all of it."""
    words = f"asset_id* {words} amount reference_id lot_ids earned_from earned_to"
    return _money(code, EntityNeed.HOLDER, words, amount=_ALL_OR_SOME, reference_id=reference)


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


_ADJUST_EXCLUSIONS = (
    Exclusion("reference_id", "direction", "DEBIT"),
    Exclusion("expires_at", "direction", "DEBIT"),
    Exclusion("matures_at", "direction", "DEBIT"),
    Exclusion("allow_negative", "direction", "CREDIT"),
    Exclusion("allow_negative", "bucket", "HELD", value=True),
    Exclusion("matures_at", "bucket", "HELD"),
)

_SPECIFICATIONS: tuple[OperationSpec, ...] = (
    _money(
        OperationType.ADJUST,
        EntityNeed.HOLDER,
        "asset_id* direction* amount* bucket allow_negative reference_id expires_at matures_at",
        exclusions=_ADJUST_EXCLUSIONS,
    ),
    _matching(OperationType.HOLD, ""),
    _matching(OperationType.RELEASE, "", _REFERENCE_FILTER),
    _matching(OperationType.FORFEIT, "bucket*", _REFERENCE_FILTER),
    _money(OperationType.VOID_HOLD, EntityNeed.HOLDER, "asset_id* reference_id*"),
    _money(OperationType.REDEEM, EntityNeed.PARTICIPANT, "asset_id* amount*"),
    OperationSpec(
        code=OperationType.REDEEM_ITEM,
        entity=EntityNeed.PARTICIPANT,
        fields=_fields("reward_id* quantity amount description"),
        exclusions=(Exclusion("amount", "quantity"),),
    ),
    OperationSpec(
        code=OperationType.REVERSE_REDEMPTION,
        program=ProgramNeed.KEYED,
        fields=_fields("redemption_id redemption_key redemption_type reason* amount quantity"),
        one_of=("redemption_id", "redemption_key"),
        exclusions=(Exclusion("redemption_type", "redemption_id"), Exclusion("quantity", "amount")),
    ),
    _money(OperationType.TRANSFER, EntityNeed.SOURCE, "asset_id* recipients*"),
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
    OperationSpec(code=OperationType.TRIGGER_AUTOMATION, fields=_fields("automation_id*")),
    OperationSpec(code=OperationType.CANCEL_AUTOMATION, fields=_fields("automation_id*")),
    OperationSpec(code=OperationType.REFRESH_AUTOMATION, fields=_fields("automation_id*")),
    OperationSpec(
        code=OperationType.RETRY_EVENT, fields=_fields("event_key event_id"), one_of=("event_key", "event_id")
    ),
)

SPECIFICATIONS: Mapping[str, OperationSpec] = {spec.code.name.lower(): spec for spec in _SPECIFICATIONS}
"""By type, in the order of §15."""
