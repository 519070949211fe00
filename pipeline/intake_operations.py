"""Intake of one operation: what is wrong with a row of it, or its canonical fields (§3.3-§3.5, §15).

The checks run in the order of the table of §3.5; what each type consists of is told by `operation_fields`. The
canonical fields are what the book keeps, what repeats are compared by (§3.4), and what processing reads: references to
definitions are ids, times microseconds, numbers plain; participants and groups stand as they were given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from earnbook.ledger.schema import RecordKind, Role
from earnbook.pipeline.intake import (
    NOBODY,
    Contract,
    Record,
    Row,
    RowMistake,
    check_holder,
    check_holder_id,
    check_key,
    check_program,
    check_timestamp,
    is_uuid,
    shown,
)
from earnbook.pipeline.intake_json import (
    JsonMistake,
    NumberText,
    Value,
    canonical_number,
    find_number_mistake,
    parse_value,
)
from earnbook.pipeline.operation_fields import (
    NESTED_KINDS,
    PROCESSED_TYPES,
    SPECIFICATIONS,
    TYPES_LATER,
    EntityNeed,
    FieldKind,
    FieldSpec,
    OperationSpec,
    ProgramNeed,
)
from earnbook.pipeline.records import Given, RejectReason
from earnbook.rules.times import parse_duration, parse_lot_date

_AMOUNT = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)((?:[eE][+-]?[0-9]+)?)", re.ASCII)
_AMOUNT_TEXT_MAX = 1_000
_KEY_MAX = 255
_NAMES = {spec.code: spec.names for spec in SPECIFICATIONS.values()}

# Canonical fields hold texts, lists and objects of them, and integers: the plain encoder writes their canonical form.
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_TARGET = "PROGRAM"
_PERSON_FIELDS = ("external_id", "participant_id")


def examine_operation(row: Row, contract: Contract) -> Record:
    """The operation of a row; raises RowMistake for the first check of §3.5 that applies."""
    kind = row.values.get("type")
    spec = _specification(kind)
    values = row.values if not row.is_cells else _cell_values(row, spec)
    names = _NAMES[spec.code]
    for name in values:
        if name not in names:
            why = f"{kind} has no field {name!r}: remove it, or use one of {', '.join(names)}"
            raise RowMistake(RejectReason.UNKNOWN_FIELD, name, why)
    key = check_key(values)
    is_of_program = values.get("target") == _TARGET and spec.program is ProgramNeed.TARGET
    program = _check_program(values, spec, contract, is_of_program=is_of_program)
    timestamp = check_timestamp(values, "effective_at", contract)
    given, participant = (NOBODY, None) if is_of_program else _check_entity(values, spec)
    _check_numbers(values, spec)
    fields = _check_fields(str(kind), values, spec, contract, program)
    fields |= _check_named(values, spec, participant, is_of_program=is_of_program)
    fields["type"], fields["effective_at"] = str(kind), timestamp
    if program >= 0:
        fields["program_id"] = contract.programs[program].id
    return Record(
        record_kind=RecordKind.OPERATION,
        operation=int(spec.code),
        program=program,
        idempotency_key=key,
        timestamp=timestamp,
        given=given,
        participant=participant,
        fields=_CANONICAL.encode(fields),
    )


def _specification(kind: Value) -> OperationSpec:
    """Check 2."""
    is_text = isinstance(kind, str) and not isinstance(kind, NumberText)
    if is_text and kind in TYPES_LATER:
        processed = ", ".join(PROCESSED_TYPES)
        why = f"this version does not process operations of type {kind}: take the row out; it processes {processed}"
        raise RowMistake(RejectReason.UNKNOWN_OPERATION, "type", why)
    if not is_text or kind not in SPECIFICATIONS:
        processed = ", ".join(PROCESSED_TYPES)
        why = f"there is no operation type {shown(kind)}: use one of {processed}, or leave `type` out of an event"
        raise RowMistake(RejectReason.UNKNOWN_OPERATION, "type", why)
    return SPECIFICATIONS[str(kind)]


def _cell_values(row: Row, spec: OperationSpec) -> dict[str, Value]:
    """The fields of CSV cells."""
    return {
        name: _cell_value(value, spec.fields.get(name))
        for name, value in row.values.items()
        if not _is_absent_cell(name, value, spec)
    }


def _is_absent_cell(name: str, value: Value, spec: OperationSpec) -> bool:
    """Whether an empty CSV cell counts as absent: not where absence could mean "everything" (§3.1)."""
    if value != "":
        return False
    field = spec.fields.get(name)
    if field is None:
        return name not in spec.entity.value
    return not field.required and not field.is_meant


def _cell_value(value: Value, field: FieldSpec | None) -> Value:
    """A cell of a list or an object is JSON text (§3.1); text that is not stays text, which check 21 refuses."""
    if field is None or field.kind not in NESTED_KINDS or not isinstance(value, str):
        return value
    try:
        return parse_value(value)
    except JsonMistake:
        return value


def _check_program(values: Mapping[str, Value], spec: OperationSpec, contract: Contract, *, is_of_program: bool) -> int:
    """Checks 6 and 7; -1 where the operation is of the organization."""
    is_required = spec.program is ProgramNeed.REQUIRED or is_of_program
    if is_required or "program_id" in values:
        if not is_required and values["program_id"] is None:
            raise RowMistake(
                RejectReason.MISSING_PROGRAM, "program_id", "program_id is null: name a program, or leave the field out"
            )
        return check_program(values, contract)
    return -1


def _check_entity(values: Mapping[str, Value], spec: OperationSpec) -> tuple[Given, str | None]:
    """Checks 11 to 13; a field that is null or empty is left to check 21, a group to its own kind."""
    if spec.entity is EntityNeed.NONE:
        return NOBODY, None
    names = [name for name in spec.entity.value if name in values]
    if not names:
        choices = " or ".join(spec.entity.value)
        target = ", or target: PROGRAM" if spec.program is ProgramNeed.TARGET else ""
        why = f"the operation names nobody: give {choices}{target}"
        raise RowMistake(RejectReason.MISSING_PARTICIPANT, spec.entity.value[0], why)
    if len(names) > 1:
        why = f"the operation has {' and '.join(names)}: give one of them"
        raise RowMistake(RejectReason.AMBIGUOUS_PARTICIPANT, names[1], why)
    value = values[names[0]]
    if value is None or value == "" or names[0] == "group_id":
        return NOBODY, None
    if names[0] == "external_id":
        return Given.EXTERNAL_ID, check_holder(value, "external_id", RejectReason.INVALID_PARTICIPANT)
    return Given.PARTICIPANT_ID, check_holder_id(value, "participant_id", RejectReason.INVALID_PARTICIPANT)


def _check_numbers(values: Mapping[str, Value], spec: OperationSpec) -> None:
    """Check 19, over every field; a number written as text is a number too."""
    for name, value in values.items():
        field = spec.fields.get(name)
        if field is not None and field.kind is FieldKind.NUMBER and isinstance(value, str):
            value = _decimal(value) or value
        if isinstance(value, str) and not isinstance(value, NumberText):
            continue
        found = find_number_mistake(value, name)
        if found is not None:
            raise RowMistake(RejectReason.INVALID_NUMBER, found[0], f"{found[0]}: {found[1]}: correct the number")


def _check_fields(
    kind: str, values: Mapping[str, Value], spec: OperationSpec, contract: Contract, program: int
) -> dict[str, object]:
    """Checks 20 and 21: the canonical values of the type's own fields."""
    for name, field in spec.fields.items():
        if field.required and name not in values:
            raise RowMistake(RejectReason.MISSING_FIELD, name, f"{kind} needs {name}: add it")
    chosen = [name for name in spec.one_of if name in values]
    if spec.one_of and not chosen:
        why = f"{kind} needs one of {', '.join(spec.one_of)}: add it"
        raise RowMistake(RejectReason.MISSING_FIELD, spec.one_of[0], why)
    if len(chosen) > 1:
        raise _invalid(chosen[1], f"excludes {chosen[0]}: give one of them")
    return {
        name: _check_field(name, values[name], field, contract, program)
        for name, field in spec.fields.items()
        if name in values
    }


def _check_named(
    values: Mapping[str, Value], spec: OperationSpec, participant: str | None, *, is_of_program: bool
) -> dict[str, object]:
    """Check 21 of the fields that say whom the operation is about; these, as given."""
    if "target" in values and not is_of_program:
        raise _invalid("target", f"must be {_TARGET}, not {shown(values['target'])}")
    named = [name for name in spec.entity.value if name in values]
    if is_of_program:
        if named:
            raise _invalid(named[0], f"excludes target: {_TARGET}: leave one of them out")
        return {"target": _TARGET}
    found: dict[str, object] = {}
    for name in named:
        value = values[name]
        if value is None or value == "":
            raise _invalid(name, "is present but empty: give a value")
        if name == "group_id":
            found[name] = _check_text(name, value, FieldSpec(kind=FieldKind.TEXT))
        else:
            found[name] = participant
    return found


def _check_field(name: str, value: Value, field: FieldSpec, contract: Contract, program: int) -> object:
    """Check 21 of one field; its canonical value."""
    if value is None or (value == "" and field.length_min > 0):
        raise _invalid(name, "is present but empty: give a value")
    match field.kind:
        case FieldKind.NUMBER:
            return _check_decimal(name, value)
        case FieldKind.TEXTS:
            return _check_texts(name, value)
        case FieldKind.TEXT_MAP:
            return _check_text_map(name, value)
        case FieldKind.MEMBERS:
            return _check_members(name, value)
        case _:
            return _check_word(name, _check_text(name, value, field), field, contract, program)


def _check_word(name: str, text: str, field: FieldSpec, contract: Contract, program: int) -> str | int:
    """A text of a more special kind."""
    match field.kind:
        case FieldKind.ASSET:
            return contract.asset_id(text)
        case FieldKind.RULE:
            return contract.rule_id(program, text)
        case FieldKind.TIER:
            return contract.tier_id(program, text)
        case FieldKind.UUID:
            if not is_uuid(text):
                raise _invalid(name, f"must be a UUID, not {shown(text)}")
            return text.lower()
        case FieldKind.CHOICE:
            if text not in field.choices:
                raise _invalid(name, f"must be one of {', '.join(field.choices)}, not {shown(text)}")
            return text
        case FieldKind.WINDOW | FieldKind.DATE:
            return _check_time(name, text, field.kind)
        case _:
            return text


def _check_time(name: str, text: str, kind: FieldKind) -> str | int:
    """A duration stays as it is written, a time becomes microseconds."""
    try:
        if kind is FieldKind.WINDOW:
            if text:
                parse_duration(text)
            return text
        date = parse_lot_date(text)
    except ValueError as error:
        wanted = "duration such as 720h" + ("" if kind is FieldKind.WINDOW else ", or time")
        raise _invalid(name, f"is no {wanted}: {error}") from None
    return text if date.is_duration else date.microseconds


def _check_text(name: str, value: Value, field: FieldSpec) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise _invalid(name, f"must be a text, not {shown(value)}")
    if len(value) > field.length_max:
        raise _invalid(name, f"has {len(value)} characters: shorten it to at most {field.length_max}")
    if len(value) < field.length_min:
        raise _invalid(name, "is present but empty: give a value")
    return value


def _check_decimal(name: str, value: Value) -> Value:
    number = _decimal(value) if isinstance(value, str) else None
    if number is None:
        raise _invalid(name, f"must be a decimal such as 12.50, not {shown(value)}")
    return canonical_number(number)


def _check_texts(name: str, value: Value) -> Value:
    if not isinstance(value, list):
        raise _invalid(name, f"must be a list of texts, not {shown(value)}")
    return [_check_text(f"{name}[{index}]", item, _TEXT) for index, item in enumerate(value)]


def _check_text_map(name: str, value: Value) -> Value:
    if not isinstance(value, dict):
        raise _invalid(name, f"must be an object of texts, not {shown(value)}")
    for key, text in value.items():
        _check_text(name, key, _TEXT)
        _check_text(f"{name}.{key}", text, _ANY_TEXT)
    return value


def _check_members(name: str, value: Value) -> Value:
    if not isinstance(value, list) or not value:
        raise _invalid(name, "must be a list with at least one member, each a participant and a role")
    return [_check_member(f"{name}[{index}]", member) for index, member in enumerate(value)]


def _check_member(name: str, member: Value) -> Value:
    if not isinstance(member, dict):
        raise _invalid(name, f"must be an object, not {shown(member)}")
    unknown = [field for field in member if field not in (*_PERSON_FIELDS, "role")]
    if unknown:
        raise _invalid(f"{name}.{unknown[0]}", "is no field of a member: use external_id or participant_id, and role")
    named = [field for field in _PERSON_FIELDS if field in member]
    if len(named) != 1:
        raise _invalid(name, "must have either external_id or participant_id")
    text = _check_text(f"{name}.{named[0]}", member[named[0]], _TEXT)
    if named[0] == "participant_id" and not is_uuid(text):
        raise _invalid(f"{name}.participant_id", f"must be a UUID, not {shown(text)}")
    if "role" in member and member["role"] not in Role.__members__:
        raise _invalid(f"{name}.role", f"must be one of {', '.join(Role.__members__)}, not {shown(member['role'])}")
    return member


def _decimal(value: str) -> NumberText | None:
    """A number or decimal text as a JSON number; None where it is not a decimal."""
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


_TEXT = FieldSpec(kind=FieldKind.TEXT, length_max=_KEY_MAX)
_ANY_TEXT = FieldSpec(kind=FieldKind.TEXT, length_min=0, length_max=1 << 20)
