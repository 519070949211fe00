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
        "refresh_automation",
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


_WALLET_FIELDS = {
    "program_id": FieldSpec(kind=FieldKind.PROGRAM),
    "asset_id": FieldSpec(kind=FieldKind.ASSET),
    "amount": FieldSpec(kind=FieldKind.AMOUNT),
    "description": FieldSpec(kind=FieldKind.TEXT, required=False, length_max=500),
}

SPECIFICATIONS: Mapping[str, tuple[OperationType, Mapping[str, FieldSpec]]] = {
    "fund": (OperationType.FUND, _WALLET_FIELDS),
    "burn": (OperationType.BURN, _WALLET_FIELDS),
    "retry_event": (
        OperationType.RETRY_EVENT,
        {
            "program_id": FieldSpec(kind=FieldKind.PROGRAM),
            "event_key": FieldSpec(kind=FieldKind.TEXT, required=False),
            "event_id": FieldSpec(kind=FieldKind.TEXT, required=False),
        },
    ),
}
"""By type: its code and its own fields (§15.2)."""


def examine_operation(row: Row, contract: Contract) -> Record:
    """The operation of a row; raises RowMistake for the first check of §3.5 that applies."""
    kind = row.values.get("type")
    code, specification = _specification(kind)
    values = {name: value for name, value in row.values.items() if not _is_absent_cell(row, name, specification)}
    for name in values:
        if name not in specification and name not in COMMON_FIELDS:
            known = ", ".join((*COMMON_FIELDS, *specification))
            raise RowMistake(
                RejectReason.UNKNOWN_FIELD, name, f"{kind} has no field {name!r}: remove it, or use one of {known}"
            )
    key = check_key(values)
    program = check_program(values, contract) if "program_id" in specification else -1
    timestamp = check_timestamp(values, "effective_at", contract)
    _check_numbers(values, specification)
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


def _is_absent_cell(row: Row, name: str, specification: Mapping[str, FieldSpec]) -> bool:
    """Whether an empty CSV cell counts as absent: not where absence could mean "everything" (§3.1)."""
    if not row.is_cells or row.values[name] != "":
        return False
    spec = specification.get(name)
    return spec is None or spec.kind is FieldKind.PROGRAM or not spec.required


def _check_numbers(values: Mapping[str, Value], specification: Mapping[str, FieldSpec]) -> None:
    """Check 19, over every field; an amount written as text is a number too."""
    for name, value in values.items():
        spec = specification.get(name)
        if spec is not None and spec.kind is FieldKind.AMOUNT and isinstance(value, str):
            value = _amount_number(value) or value
        found = find_number_mistake(value, name)
        if found is not None:
            raise RowMistake(RejectReason.INVALID_NUMBER, found[0], f"{found[0]}: {found[1]}: correct the number")


def _check_fields(
    kind: str, values: Mapping[str, Value], specification: Mapping[str, FieldSpec], contract: Contract
) -> dict[str, Value]:
    """Checks 20 and 21: the canonical values of the type's own fields, the program left out."""
    own = {name: spec for name, spec in specification.items() if spec.kind is not FieldKind.PROGRAM}
    for name, spec in own.items():
        if spec.required and name not in values:
            raise RowMistake(RejectReason.MISSING_FIELD, name, f"{kind} needs {name}: add it")
    return {name: _check_field(name, values[name], spec, contract) for name, spec in own.items() if name in values}


def _check_field(name: str, value: Value, spec: FieldSpec, contract: Contract) -> Value:
    if value is None or (value == "" and spec.required):
        raise _invalid(name, "is present but empty: give a value")
    if spec.kind is FieldKind.AMOUNT:
        number = _amount_number(value) if isinstance(value, str) else None
        if number is None:
            raise _invalid(name, f"must be a decimal such as 12.50, not {shown(value)}")
        return canonical_number(number)
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise _invalid(name, f"must be a text, not {shown(value)}")
    if len(value) > spec.length_max:
        raise _invalid(name, f"has {len(value)} characters: shorten it to at most {spec.length_max}")
    return contract.asset_id(value) if spec.kind is FieldKind.ASSET else value


def _amount_number(value: str) -> NumberText | None:
    """An amount, a number or decimal text, as a JSON number; None where it is not a decimal."""
    if isinstance(value, NumberText):
        return value
    match = _AMOUNT.fullmatch(value) if len(value) <= _AMOUNT_TEXT_MAX else None
    if match is None:
        return None
    sign, digits, exponent = match.groups()
    whole, _, fraction = digits.partition(".")
    return NumberText(f"{sign.replace('+', '')}{whole or '0'}{'.' + fraction if fraction else ''}{exponent}")


def _invalid(name: str, why: str) -> RowMistake:
    return RowMistake(RejectReason.INVALID_FIELD, name, f"{name} {why}")
