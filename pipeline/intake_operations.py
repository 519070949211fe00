"""Operations of the input: which types exist, which fields each has, and what is wrong with a row of one (§3.3, §15).

`SPECIFICATIONS` is the one table: a type that this version processes has its fields there, so that a later type is one
more entry. The other types of §15 are known by name, so that the message of a reject can say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from earnbook.ledger.schema import OperationType, RecordKind
from earnbook.pipeline.intake import (
    Contract,
    Record,
    Row,
    RowMistake,
    check_key,
    check_program,
    check_timestamp,
    shown,
)
from earnbook.pipeline.intake_json import (
    NumberText,
    Value,
    canonical_number,
    canonical_value,
    find_number_mistake,
    number_mistake,
)
from earnbook.pipeline.records import RejectReason

COMMON_FIELDS = ("type", "idempotency_key", "effective_at")
"""The fields of every operation (§3.3)."""

TYPES_LATER = frozenset(
    {
        "adjust", "hold", "release", "forfeit", "void_hold", "redeem", "redeem_item", "reverse_redemption", "transfer",
        "upsert_participant", "set_participant_status", "set_program_status", "enroll", "link_asset", "unlink_asset",
        "create_group", "update_group", "archive_group", "add_member", "set_member_role", "remove_member", "add_tag",
        "remove_tag", "set_tags", "set_counter", "delete_counter", "set_attribute", "set_attributes",
        "remove_attribute", "set_tier", "remove_tier", "reset_budget", "trigger_automation", "cancel_automation",
        "refresh_automation", "retry_event",
    }
)  # fmt: skip
"""Types of §15 that this version does not process."""

_AMOUNT = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)((?:[eE][+-]?[0-9]+)?)", re.ASCII)
_AMOUNT_TEXT_MAX = 1_000


class FieldKind(Enum):
    """What a field of an operation holds."""

    PROGRAM = "program"
    ASSET = "asset"
    AMOUNT = "amount"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field of an operation type; lengths are those of texts, in characters."""

    kind: FieldKind
    required: bool = True
    length_max: int = 255

    @property
    def is_meant(self) -> bool:
        """Whether null or an empty value is a mistake instead of an absent field (§3.1)."""
        return self.kind is FieldKind.AMOUNT


_WALLET_FIELDS = {
    "program_id": FieldSpec(kind=FieldKind.PROGRAM),
    "asset_id": FieldSpec(kind=FieldKind.ASSET),
    "amount": FieldSpec(kind=FieldKind.AMOUNT),
    "description": FieldSpec(kind=FieldKind.TEXT, required=False, length_max=500),
}

SPECIFICATIONS: Mapping[str, tuple[OperationType, Mapping[str, FieldSpec]]] = {
    "fund": (OperationType.FUND, _WALLET_FIELDS),
    "burn": (OperationType.BURN, _WALLET_FIELDS),
}
"""By type: its code and its own fields (§15.2)."""


def examine_operation(row: Row, contract: Contract) -> Record:
    """The operation of a row; raises RowMistake for the first check of §3.5 that applies."""
    kind = row.values.get("type")
    code, specification = _specification(kind)
    values = {
        name: value
        for name, value in row.values.items()
        if not (row.is_cells and value == "" and name not in specification)
    }
    for name in values:
        if name not in specification and name not in COMMON_FIELDS:
            known = ", ".join((*COMMON_FIELDS, *specification))
            raise RowMistake(
                RejectReason.UNKNOWN_FIELD, name, f"{kind} has no field {name!r}: remove it, or use one of {known}"
            )
    key = check_key(values)
    program = check_program(values, contract) if "program_id" in specification else -1
    timestamp = check_timestamp(_without_empty_time(values, row), "effective_at", contract)
    _check_numbers(values)
    fields = _check_fields(str(kind), values, specification, contract)
    fields |= {"type": str(kind), "effective_at": NumberText(timestamp)}
    if program >= 0:
        fields["program_id"] = contract.programs[program].id
    return Record(
        record_kind=RecordKind.OPERATION,
        operation=int(code),
        program=program,
        idempotency_key=key,
        timestamp=timestamp,
        fields=canonical_value(fields),
    )


def _specification(kind: Value) -> tuple[OperationType, Mapping[str, FieldSpec]]:
    """Check 2."""
    known = ", ".join(SPECIFICATIONS)
    if not isinstance(kind, str) or isinstance(kind, NumberText) or kind not in SPECIFICATIONS:
        why = f"there is no operation type {shown(kind)}: use one of {known}, or leave `type` out of an event"
        if isinstance(kind, str) and kind in TYPES_LATER:
            why = f"this version does not process operations of type {kind}: take the row out; it processes {known}"
        raise RowMistake(RejectReason.UNKNOWN_OPERATION, "type", why)
    return SPECIFICATIONS[kind]


def _without_empty_time(values: Mapping[str, Value], row: Row) -> Mapping[str, Value]:
    if row.is_cells and values.get("effective_at") == "":
        return {name: value for name, value in values.items() if name != "effective_at"}
    return values


def _check_numbers(values: Mapping[str, Value]) -> None:
    """Check 19, over every field."""
    for name, value in values.items():
        found = find_number_mistake(value, name)
        if found is not None:
            raise RowMistake(RejectReason.INVALID_NUMBER, found[0], f"{found[0]}: {found[1]}: correct the number")


def _check_fields(
    kind: str, values: Mapping[str, Value], specification: Mapping[str, FieldSpec], contract: Contract
) -> dict[str, Value]:
    """Checks 20 and 21: the canonical values of the type's own fields, the program left out."""
    for name, spec in specification.items():
        value = values.get(name)
        is_absent = value is None or value == ""
        if spec.kind is FieldKind.PROGRAM or not spec.required:
            continue
        if (is_absent and not spec.is_meant) or name not in values:
            raise RowMistake(RejectReason.MISSING_FIELD, name, f"{kind} needs {name}: add it")
    return {
        name: _check_field(name, values[name], spec, contract)
        for name, spec in specification.items()
        if spec.kind is not FieldKind.PROGRAM
        and name in values
        and (spec.is_meant or not (values[name] is None or values[name] == ""))
    }


def _check_field(name: str, value: Value, spec: FieldSpec, contract: Contract) -> Value:
    if spec.kind is FieldKind.AMOUNT:
        return _check_amount(name, value)
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise _invalid(name, f"must be a text, not {shown(value)}")
    if len(value) > spec.length_max:
        raise _invalid(name, f"has {len(value)} characters: shorten it to at most {spec.length_max}")
    return contract.asset_id(value) if spec.kind is FieldKind.ASSET else value


def _check_amount(name: str, value: Value) -> str:
    """The amount as canonical decimal text."""
    if isinstance(value, NumberText):
        return canonical_number(value)
    if value is None or value == "":
        raise _invalid(name, "is present but empty: give an amount")
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) and len(value) <= _AMOUNT_TEXT_MAX else None
    if match is None:
        raise _invalid(name, f"must be a decimal such as 12.50, not {shown(value)}")
    sign, digits, exponent = match.groups()
    whole, _, fraction = digits.partition(".")
    text = f"{sign.replace('+', '')}{whole or '0'}{'.' + fraction if fraction else ''}{exponent}"
    why = number_mistake(text)
    if why is not None:
        raise _invalid(name, f"{shown(value)}: {why}: correct it")
    return canonical_number(text)


def _invalid(name: str, why: str) -> RowMistake:
    return RowMistake(RejectReason.INVALID_FIELD, name, f"{name} {why}")
