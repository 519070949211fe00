"""Intake of one operation: what is wrong with a row of it, or its canonical fields (§3.3-§3.5, §15).

The checks run in the order of the table of §3.5; what each type consists of is told by `operation_fields`, and what
single fields must be by `intake_values`. The canonical fields are what the book keeps, what repeats are compared by
(§3.4), and what processing reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from earnbook.ledger.schema import RecordKind
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
    shown,
)
from earnbook.pipeline.intake_json import (
    JsonMistake,
    NumberText,
    Value,
    find_number_mistake,
    parse_value,
)
from earnbook.pipeline.intake_values import check_field, check_text, invalid, with_decimals
from earnbook.pipeline.operation_fields import (
    NESTED_KINDS,
    SPECIFICATIONS,
    EntityNeed,
    FieldKind,
    FieldSpec,
    OperationSpec,
    ProgramNeed,
)
from earnbook.pipeline.records import Given, RejectReason

_BOOLS = {"true": True, "false": False}
_NAMES = {spec.code: spec.names for spec in SPECIFICATIONS.values()}

# Canonical fields hold texts, truth values, integers, and lists and objects of them: the plain encoder writes their
# canonical form.
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
    if not is_text or kind not in SPECIFICATIONS:
        types = ", ".join(SPECIFICATIONS)
        why = f"there is no operation type {shown(kind)}: use one of {types}, or leave `type` out of an event"
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
    if field is not None and field.kind is FieldKind.BOOL and isinstance(value, str):
        return _BOOLS.get(value, value)
    if field is None or field.kind not in NESTED_KINDS or not isinstance(value, str):
        return value
    try:
        return parse_value(value)
    except JsonMistake:
        return value


def _check_program(values: Mapping[str, Value], spec: OperationSpec, contract: Contract, *, is_of_program: bool) -> int:
    """Checks 6 and 7; -1 where the operation is of the organization."""
    is_named_by_key = "redemption_key" in values and "redemption_id" not in values
    is_required = spec.program is ProgramNeed.REQUIRED or is_of_program
    is_required |= spec.program is ProgramNeed.KEYED and is_named_by_key
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
    name, value = names[0], values[names[0]]
    if value is None or value == "" or name.endswith("group_id"):
        return NOBODY, None
    if name.endswith("external_id"):
        return Given.EXTERNAL_ID, check_holder(value, name, RejectReason.INVALID_PARTICIPANT)
    return Given.PARTICIPANT_ID, check_holder_id(value, name, RejectReason.INVALID_PARTICIPANT)


def _check_numbers(values: Mapping[str, Value], spec: OperationSpec) -> None:
    """Check 19, over every field; a number written as text is a number too."""
    for name, value in values.items():
        field = spec.fields.get(name)
        if field is not None:
            value = with_decimals(value, field.kind)
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
        raise invalid(chosen[1], f"excludes {chosen[0]}: give one of them")
    fields = {
        name: check_field(name, values[name], field, contract, program)
        for name, field in spec.fields.items()
        if name in values
    }
    _check_exclusions(fields, spec)
    return fields


def _check_exclusions(fields: Mapping[str, object], spec: OperationSpec) -> None:
    for rule in spec.exclusions:
        is_given = rule.name in fields and rule.value in (None, fields[rule.name])
        if is_given and rule.other in fields and rule.other_value in (None, fields[rule.other]):
            other = rule.other if rule.other_value is None else f"{rule.other} {rule.other_value}"
            raise invalid(rule.name, f"does not go with {other}: leave one of them out")


def _check_named(
    values: Mapping[str, Value], spec: OperationSpec, participant: str | None, *, is_of_program: bool
) -> dict[str, object]:
    """Check 21 of the fields that say whom the operation is about; these, as given."""
    if "target" in values and not is_of_program:
        raise invalid("target", f"must be {_TARGET}, not {shown(values['target'])}")
    named = [name for name in spec.entity.value if name in values]
    if is_of_program:
        if named:
            raise invalid(named[0], f"excludes target: {_TARGET}: leave one of them out")
        return {"target": _TARGET}
    found: dict[str, object] = {}
    for name in named:
        value = values[name]
        if value is None or value == "":
            raise invalid(name, "is present but empty: give a value")
        if name.endswith("group_id"):
            found[name] = check_text(name, value, FieldSpec(kind=FieldKind.TEXT))
        else:
            found[name] = participant
    return found
