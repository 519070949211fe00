"""The fields of each type of operation (§15): which it has, which it needs, and what they must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from tests.support.oracle_definitions import read_date
from tests.support.oracle_json import Fields, Json, canonical_number
from tests.support.oracle_times import parse_duration, parse_time

COMMON_FIELDS = frozenset({"type", "idempotency_key", "effective_at"})
ENTITY_FIELDS = frozenset({"external_id", "participant_id", "group_id"})
PARTICIPANT_FIELDS = frozenset({"external_id", "participant_id"})
SOURCE_FIELDS = frozenset({"source_external_id", "source_participant_id", "source_group_id"})
PERSON_FIELDS = PARTICIPANT_FIELDS | {"source_external_id", "source_participant_id"}
ONE_OF = {
    "retry_event": frozenset({"event_key", "event_id"}),
    "reverse_redemption": frozenset({"redemption_id", "redemption_key"}),
}
"""Optional fields of a type of which at least one must be given."""
EXCLUSIVE = {
    "retry_event": (("event_key", "event_id"),),
    "redeem_item": (("quantity", "amount"),),
    "reverse_redemption": (
        ("redemption_id", "redemption_key"),
        ("redemption_id", "redemption_type"),
        ("quantity", "amount"),
    ),
}
"""Pairs of fields of a type that exclude each other."""
MATCHING = ("hold", "release", "forfeit")
"""Types whose amount may be left out, or be "ALL" (§3.1)."""
QUANTITY_MAX = 2**31 - 1
RECIPIENTS_MAX = 100

Check = Callable[[Json], bool]


def is_uuid(value: Json) -> bool:
    """Text of UUID form (§2.2)."""
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value))


def read_decimal(value: Json) -> Json:
    """A decimal of a JSON number or of decimal text; anything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", value, flags=re.ASCII):
        try:
            value = Decimal(value)
        except InvalidOperation:
            return value
    return canonical_number(value) if isinstance(value, Decimal) else value


def _number(value: Json) -> bool:
    return isinstance(read_decimal(value), Decimal)


def _quantity(value: Json) -> bool:
    number = read_decimal(value)
    return isinstance(number, Decimal) and number == int(number) and 1 <= number <= QUANTITY_MAX


def _time(value: Json) -> bool:
    try:
        return isinstance(value, str) and parse_time(value) >= 0
    except ValueError:
        return False


def _lot_ids(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(is_uuid(one) for one in value)


def _recipients(value: Json) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= RECIPIENTS_MAX and all(_recipient(one) for one in value)


def _recipient(value: Json) -> bool:
    if not isinstance(value, dict) or len(value.keys() & ENTITY_FIELDS) != 1 or len(value) != 2:
        return False
    is_named = is_uuid(value["participant_id"]) if "participant_id" in value else KEY(next(iter(_entities(value))))
    return is_named and _number(value.get("amount"))


def _entities(value: Fields) -> list[Json]:
    return [text for name, text in value.items() if name in ENTITY_FIELDS]


def _text(longest: int, *, shortest: int = 1) -> Check:
    return lambda value: isinstance(value, str) and shortest <= len(value) <= longest


def _one_of(*choices: str) -> Check:
    return lambda value: value in choices


def _reset_after(value: Json) -> bool:
    """A duration; empty text removes the window (§13.2)."""
    if not isinstance(value, str):
        return False
    try:
        return value == "" or parse_duration(value) >= 0
    except ValueError:
        return False


def _expiry(value: Json) -> bool:
    try:
        return isinstance(value, str) and read_date(value) is not None
    except ValueError:
        return False


def _tags(value: Json) -> bool:
    return isinstance(value, list) and all(KEY(tag) for tag in value)


def _attributes(value: Json) -> bool:
    return isinstance(value, dict) and all(KEY(name) and isinstance(text, str) for name, text in value.items())


def _members(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(_member(member) for member in value)


def _member(value: Json) -> bool:
    if not isinstance(value, dict) or not value.keys() <= PARTICIPANT_FIELDS | {"role"}:
        return False
    if len(value.keys() & PARTICIPANT_FIELDS) != 1 or value.get("role", "MEMBER") not in ("ADMIN", "MEMBER"):
        return False
    return is_uuid(value["participant_id"]) if "participant_id" in value else KEY(value["external_id"])


KEY = _text(255)
CHECKS: Mapping[str, Check] = {
    "asset_id": KEY,
    "reward_id": KEY,
    "reference_id": KEY,
    "redemption_key": KEY,
    "redemption_id": is_uuid,
    "redemption_type": _one_of("redeem", "redeem_item"),
    "direction": _one_of("CREDIT", "DEBIT"),
    "bucket": _one_of("AVAILABLE", "HELD"),
    "allow_negative": lambda value: isinstance(value, bool),
    "quantity": _quantity,
    "lot_ids": _lot_ids,
    "earned_from": _time,
    "earned_to": _time,
    "recipients": _recipients,
    "reason": _text(500),
    "source_group_id": KEY,
    "source_external_id": lambda value: value not in (None, ""),
    "source_participant_id": lambda value: value not in (None, ""),
    "rule_id": KEY,
    "group_id": KEY,
    "amount": _number,
    "description": _text(500, shortest=0),
    "id": is_uuid,
    "event_id": is_uuid,
    "on_behalf_of_participant_id": is_uuid,
    "event_key": KEY,
    "email": KEY,
    "phone": KEY,
    "first_name": KEY,
    "last_name": KEY,
    "display_name": KEY,
    "name": KEY,
    "attributes": _attributes,
    "tags": _tags,
    "tag": KEY,
    "key": KEY,
    "members": _members,
    "role": _one_of("ADMIN", "MEMBER"),
    "target": _one_of("PROGRAM"),
    "tier": KEY,
    "level": _text(255, shortest=0),
    "expires_at": _expiry,
    "matures_at": _expiry,
    "reset_after": _reset_after,
    "external_id": lambda value: value not in (None, ""),
    "participant_id": lambda value: value not in (None, ""),
    "program_id": lambda value: value is not None,
}
STATUSES = {
    "set_program_status": _one_of("ACTIVE", "SUSPENDED", "ARCHIVED"),
    "enroll": _one_of("ACTIVE", "FROZEN", "LOCKED", "CLOSED"),
}
PERSON_STATUS = _one_of("ACTIVE", "SUSPENDED", "CLOSED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One type of operation.

    `entity` is "external" (an external id), "participant", "entity", "source" (of a transfer), "state" (an entity or
    the program) or "".
    """

    type: str
    needs_program: bool
    entity: str
    required: frozenset[str]
    optional: frozenset[str]

    @property
    def entity_fields(self) -> frozenset[str]:
        match self.entity:
            case "":
                return frozenset()
            case "external":
                return frozenset({"external_id"})
            case "participant":
                return PARTICIPANT_FIELDS
            case "source":
                return SOURCE_FIELDS
            case _:
                return ENTITY_FIELDS

    @property
    def names(self) -> frozenset[str]:
        """All fields of the type, the common ones aside."""
        named = self.required | self.optional | self.entity_fields
        if self.entity == "state":
            named |= {"target", "program_id"}
        return named | {"program_id"} if self.needs_program else named

    def is_number(self, name: str) -> bool:
        """Whether a field is a decimal, given as a JSON number or as text (§3.3)."""
        return name in ("amount", "quantity") or (name == "value" and self.type == "set_counter")

    def is_valid(self, fields: Fields) -> bool:
        """Whether all given fields are what they must be (check 21 of §3.5)."""
        if any(pair[0] in fields and pair[1] in fields for pair in EXCLUSIVE.get(self.type, ())):
            return False
        if self.type == "adjust" and not _is_adjustment(fields):
            return False
        return all(self._check_of(name)(value) for name, value in fields.items() if name not in COMMON_FIELDS)

    def _check_of(self, name: str) -> Check:
        if name == "value":
            return _number if self.is_number(name) else lambda value: isinstance(value, str)
        if name == "status":
            return STATUSES.get(self.type, PERSON_STATUS)
        if name == "amount" and self.type in MATCHING:
            return lambda value: value == "ALL" or _number(value)
        if name == "description" and name in self.required:
            return _text(500)
        return CHECKS[name]


def _is_adjustment(fields: Fields) -> bool:
    """Whether fields of `adjust` go with its direction and bucket (§9.5, §9.7, §15.2)."""
    if fields["direction"] == "DEBIT":
        has_other = bool(fields.keys() & {"reference_id", "expires_at", "matures_at"})
    else:
        has_other = "allow_negative" in fields
    is_held = fields.get("bucket") == "HELD"
    return not has_other and not (is_held and (fields.get("allow_negative") is True or "matures_at" in fields))


def read_numbers(fields: Fields, form: Form) -> Fields:
    """The fields with their decimals read, those of recipients too."""
    read = {name: read_decimal(value) if form.is_number(name) else value for name, value in fields.items()}
    recipients = read.get("recipients")
    if isinstance(recipients, list):
        read["recipients"] = [
            {name: read_decimal(value) if name == "amount" else value for name, value in one.items()}
            if isinstance(one, dict)
            else one
            for one in recipients
        ]
    return read


def _form(kind: str, entity: str, required: str = "", optional: str = "", *, program: bool = True) -> Form:
    return Form(
        type=kind,
        needs_program=program,
        entity=entity,
        required=frozenset(required.split()),
        optional=frozenset(optional.split()),
    )


OPERATIONS: Mapping[str, Form] = {
    form.type: form
    for form in (
        _form("fund", "", "asset_id amount", "description"),
        _form("burn", "", "asset_id amount", "description"),
        _form(
            "adjust",
            "entity",
            "asset_id direction amount description",
            "bucket allow_negative reference_id expires_at matures_at",
        ),
        _form("hold", "entity", "asset_id description", "amount reference_id lot_ids earned_from earned_to"),
        _form("release", "entity", "asset_id description", "amount reference_id lot_ids earned_from earned_to"),
        _form("forfeit", "entity", "asset_id bucket description", "amount reference_id lot_ids earned_from earned_to"),
        _form("void_hold", "entity", "asset_id reference_id description"),
        _form("redeem", "participant", "asset_id amount description"),
        _form("redeem_item", "participant", "reward_id", "quantity amount description"),
        _form(
            "reverse_redemption",
            "",
            "reason",
            "program_id redemption_id redemption_key redemption_type amount quantity",
            program=False,
        ),
        _form("transfer", "source", "asset_id recipients description"),
        _form(
            "upsert_participant",
            "external",
            "",
            "id program_id status email phone first_name last_name display_name attributes tags",
            program=False,
        ),
        _form("set_participant_status", "participant", "status", program=False),
        _form("set_program_status", "", "status"),
        _form("enroll", "participant", "", "status"),
        _form("link_asset", "", "asset_id"),
        _form("unlink_asset", "", "asset_id"),
        _form("create_group", "", "name members", "key on_behalf_of_participant_id", program=False),
        _form("update_group", "", "group_id name", program=False),
        _form("archive_group", "", "group_id", program=False),
        _form("add_member", "participant", "group_id", "role", program=False),
        _form("set_member_role", "participant", "group_id role", program=False),
        _form("remove_member", "participant", "group_id", program=False),
        _form("add_tag", "state", "tag", program=False),
        _form("remove_tag", "state", "tag", program=False),
        _form("set_tags", "state", "tags", program=False),
        _form("set_counter", "state", "key value", "reset_after", program=False),
        _form("delete_counter", "state", "key", program=False),
        _form("set_attribute", "state", "key value", program=False),
        _form("set_attributes", "state", "attributes", program=False),
        _form("remove_attribute", "state", "key", program=False),
        _form("set_tier", "participant", "tier level", "expires_at"),
        _form("remove_tier", "participant", "tier"),
        _form("reset_budget", "", "rule_id asset_id"),
        _form("retry_event", "", "", "event_key event_id"),
    )
}
