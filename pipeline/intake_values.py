"""What the single fields of an operation must be (check 21 of §3.5), and their canonical values (§3.4).

In: a value as it was read, and the `FieldSpec` that it must meet. Out: what stands in the canonical fields: references
to definitions are ids, times microseconds, numbers plain text, quantities integers; participants and groups stay as
they were given. A value that does not fit raises RowMistake with INVALID_FIELD.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from earnbook.ledger.schema import Role
from earnbook.pipeline.intake import (
    Contract,
    RowMistake,
    is_uuid,
    shown,
    text_or_integer,
    with_offset,
)
from earnbook.pipeline.intake_json import NumberText, Value, canonical_number
from earnbook.pipeline.operation_fields import ALL, QUANTITY_MAX, RECIPIENTS_MAX, EntityNeed, FieldKind, FieldSpec
from earnbook.pipeline.records import RejectReason
from earnbook.rules.times import parse_duration, parse_lot_date, parse_timestamp

_AMOUNT = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)((?:[eE][+-]?[0-9]+)?)", re.ASCII)
_AMOUNT_TEXT_MAX = 1_000
_KEY_MAX = 255
_PERSON_FIELDS = ("external_id", "participant_id")
_DECIMAL_KINDS = frozenset({FieldKind.NUMBER, FieldKind.AMOUNT, FieldKind.QUANTITY})


def invalid(name: str, why: str) -> RowMistake:
    """The mistake of check 21."""
    return RowMistake(RejectReason.INVALID_FIELD, name, f"{name} {why}")


def with_decimals(value: Value, kind: FieldKind) -> Value:
    """The value of a field with the decimals that are written as texts as the numbers that they are (check 19)."""
    if kind in _DECIMAL_KINDS and isinstance(value, str):
        return decimal_of(value) or value
    if kind is FieldKind.RECIPIENTS and isinstance(value, list):
        return [_with_amount(recipient) for recipient in value]
    return value


def _with_amount(recipient: Value) -> Value:
    amount = recipient.get("amount") if isinstance(recipient, dict) else None
    if not isinstance(recipient, dict) or not isinstance(amount, str):
        return recipient
    return recipient | {"amount": decimal_of(amount) or amount}


def check_field(name: str, value: Value, field: FieldSpec, contract: Contract, program: int) -> object:
    """Check 21 of one field; its canonical value."""
    if value is None or (value == "" and field.length_min > 0):
        raise invalid(name, "is present but empty: give a value")
    check = _CHECKS.get(field.kind)
    if check is not None:
        return check(name, value)
    return _check_word(name, check_text(name, value, field), field, contract, program)


def _check_word(name: str, text: str, field: FieldSpec, contract: Contract, program: int) -> str | int:
    """A text of a more special kind."""
    match field.kind:
        case FieldKind.ASSET:
            return contract.asset_id(text)
        case FieldKind.RULE:
            return contract.rule_id(program, text)
        case FieldKind.TIER:
            return contract.tier_id(program, text)
        case FieldKind.REWARD:
            return contract.reward_id(program, text)
        case FieldKind.AUTOMATION:
            return contract.automation_id(program, text)
        case FieldKind.UUID:
            if not is_uuid(text):
                raise invalid(name, f"must be a UUID, not {shown(text)}")
            return text.lower()
        case FieldKind.CHOICE:
            if text not in field.choices:
                raise invalid(name, f"must be one of {', '.join(field.choices)}, not {shown(text)}")
            return text
        case FieldKind.WINDOW | FieldKind.DATE | FieldKind.TIME:
            return _check_time(name, text, field.kind, contract)
        case _:
            return text


_TIMES = {
    FieldKind.WINDOW: "duration such as 720h",
    FieldKind.DATE: "duration such as 720h, or time",
    FieldKind.TIME: "time such as 2026-01-31T12:00:00Z",
}


def _check_time(name: str, text: str, kind: FieldKind, contract: Contract) -> str | int:
    """A duration stays as it is written, a time becomes microseconds."""
    try:
        if kind is FieldKind.TIME:
            return parse_timestamp(with_offset(text, contract))
        if kind is FieldKind.WINDOW:
            if text:
                parse_duration(text)
            return text
        date = parse_lot_date(with_offset(text, contract))
    except ValueError as error:
        raise invalid(name, f"is no {_TIMES[kind]}: {error}") from None
    return text if date.is_duration else date.microseconds


def check_text(name: str, value: Value, field: FieldSpec) -> str:
    """A text of the length that the field wants."""
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise invalid(name, f"must be a text, not {shown(value)}")
    if len(value) > field.length_max:
        raise invalid(name, f"has {len(value)} characters: shorten it to at most {field.length_max}")
    if len(value) < field.length_min:
        raise invalid(name, "is present but empty: give a value")
    return value


def _check_bool(name: str, value: Value) -> Value:
    if not isinstance(value, bool):
        raise invalid(name, f"must be true or false, not {shown(value)}")
    return value


def _check_amount(name: str, value: Value) -> Value:
    return ALL if value == ALL else _check_decimal(name, value)


def _check_quantity(name: str, value: Value) -> int:
    """A whole number in any form: `2`, `2.0` and, as text, `"2"` are the same (§5.1)."""
    number = decimal_of(value) if isinstance(value, str) else None
    plain = "" if number is None else canonical_number(number)
    if not plain.isdecimal() or not 1 <= int(plain) <= QUANTITY_MAX:
        raise invalid(name, f"must be a whole number from 1 to {QUANTITY_MAX}, not {shown(value)}")
    return int(plain)


def _check_decimal(name: str, value: Value) -> Value:
    number = decimal_of(value) if isinstance(value, str) else None
    if number is None:
        raise invalid(name, f"must be a decimal such as 12.50, not {shown(value)}")
    return canonical_number(number)


def _check_texts(name: str, value: Value) -> Value:
    if not isinstance(value, list):
        raise invalid(name, f"must be a list of texts, not {shown(value)}")
    return [check_text(f"{name}[{index}]", item, _TEXT) for index, item in enumerate(value)]


def _check_text_map(name: str, value: Value) -> Value:
    if not isinstance(value, dict):
        raise invalid(name, f"must be an object of texts, not {shown(value)}")
    for key, text in value.items():
        check_text(name, key, _TEXT)
        check_text(f"{name}.{key}", text, _ANY_TEXT)
    return value


def _check_members(name: str, value: Value) -> Value:
    if not isinstance(value, list) or not value:
        raise invalid(name, "must be a list with at least one member, each a participant and a role")
    return [_check_member(f"{name}[{index}]", member) for index, member in enumerate(value)]


def _check_member(name: str, member: Value) -> Value:
    if not isinstance(member, dict):
        raise invalid(name, f"must be an object, not {shown(member)}")
    unknown = [field for field in member if field not in (*_PERSON_FIELDS, "role")]
    if unknown:
        raise invalid(f"{name}.{unknown[0]}", "is no field of a member: use external_id or participant_id, and role")
    named = [field for field in _PERSON_FIELDS if field in member]
    if len(named) != 1:
        raise invalid(name, "must have either external_id or participant_id")
    text = check_text(f"{name}.{named[0]}", member[named[0]], _TEXT)
    if named[0] == "participant_id" and not is_uuid(text):
        raise invalid(f"{name}.participant_id", f"must be a UUID, not {shown(text)}")
    if "role" in member and member["role"] not in Role.__members__:
        raise invalid(f"{name}.role", f"must be one of {', '.join(Role.__members__)}, not {shown(member['role'])}")
    return member


def _check_lots(name: str, value: Value) -> Value:
    if not isinstance(value, list) or not value:
        raise invalid(name, "must be a list with at least one lot id; leave the field out for no such filter")
    for index, lot in enumerate(value):
        if not isinstance(lot, str) or not is_uuid(lot):
            raise invalid(f"{name}[{index}]", f"must be a UUID, not {shown(lot)}")
    return [str(lot).lower() for lot in value]


def _check_recipients(name: str, value: Value) -> Value:
    if not isinstance(value, list) or not 1 <= len(value) <= RECIPIENTS_MAX:
        raise invalid(name, f"must be a list of 1 to {RECIPIENTS_MAX} recipients, each an entity and an amount")
    return [_check_recipient(f"{name}[{index}]", recipient) for index, recipient in enumerate(value)]


def _check_recipient(name: str, recipient: Value) -> Value:
    if not isinstance(recipient, dict):
        raise invalid(name, f"must be an object, not {shown(recipient)}")
    entities = EntityNeed.HOLDER.value
    unknown = [field for field in recipient if field not in (*entities, "amount")]
    if unknown:
        raise invalid(f"{name}.{unknown[0]}", f"is no field of a recipient: use {', '.join(entities)} or amount")
    named = [field for field in entities if field in recipient]
    if len(named) != 1 or "amount" not in recipient:
        raise invalid(name, f"must have one of {', '.join(entities)}, and amount")
    entity = recipient[named[0]]
    # An integer is an external id as its decimal text (§3.2).
    if named[0] == "external_id" and isinstance(entity, NumberText):
        entity = text_or_integer(entity) or entity
    text = check_text(f"{name}.{named[0]}", entity, _TEXT)
    if named[0] == "participant_id" and not is_uuid(text):
        raise invalid(f"{name}.participant_id", f"must be a UUID, not {shown(text)}")
    return {named[0]: text, "amount": _check_decimal(f"{name}.amount", recipient["amount"])}


def decimal_of(value: str) -> NumberText | None:
    """A number or decimal text as a JSON number; None where it is not a decimal."""
    if isinstance(value, NumberText):
        return value
    match = _AMOUNT.fullmatch(value) if len(value) <= _AMOUNT_TEXT_MAX else None
    if match is None:
        return None
    sign, digits, exponent = match.groups()
    whole, _, fraction = digits.partition(".")
    return NumberText(f"{sign.replace('+', '')}{whole or '0'}{'.' + fraction if fraction else ''}{exponent}")


_TEXT = FieldSpec(kind=FieldKind.TEXT, length_max=_KEY_MAX)
_ANY_TEXT = FieldSpec(kind=FieldKind.TEXT, length_min=0, length_max=1 << 20)

_CHECKS: Mapping[FieldKind, Callable[[str, Value], object]] = {
    FieldKind.NUMBER: _check_decimal,
    FieldKind.AMOUNT: _check_amount,
    FieldKind.QUANTITY: _check_quantity,
    FieldKind.BOOL: _check_bool,
    FieldKind.TEXTS: _check_texts,
    FieldKind.TEXT_MAP: _check_text_map,
    FieldKind.MEMBERS: _check_members,
    FieldKind.LOTS: _check_lots,
    FieldKind.RECIPIENTS: _check_recipients,
}
