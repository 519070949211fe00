"""Rows to records for the oracle: the checks of §3.5 in their order, one row of NDJSON at a time.

What the fields of an operation must be stands in `oracle_operation_fields.py`. Where §3.1 and check 13 of §3.5 both
speak of an operation, a null or empty entity field is INVALID_FIELD and any other bad one INVALID_PARTICIPANT.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tests.support.oracle_definitions import Definitions, Program, automation_named, read_date, reward_named, rule_named
from tests.support.oracle_json import Fields, Json, Rejected, canonical_json, check_numbers, depth, parse_json
from tests.support.oracle_operation_fields import (
    COMMON_FIELDS,
    ENTITY_FIELDS,
    ONE_OF,
    OPERATIONS,
    PERSON_FIELDS,
    Form,
    is_uuid,
    read_numbers,
)
from tests.support.oracle_times import parse_time

EVENT_DATA_BYTES_MAX = 1 << 20
EVENT_DATA_DEPTH_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A participant as a record names it: by external id, or by id."""

    external_id: str | None
    id: uuid.UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A conformed row. `payload` is what duplicates are compared by (§3.4); `fields` are an operation's.

    An operation's entity is its `person` or its `group`, as given; state operations on the program have neither.
    """

    run: int
    row: int
    type: str | None
    program: str | None
    key: str
    timestamp: int
    person: Person | None
    recipient: Person | None
    group: str | None
    data: Fields
    fields: Fields
    payload: object

    @property
    def scope(self) -> tuple[str | None, str | None, str]:
        """What an idempotency key is unique in, with the key (§3.4)."""
        return (self.program, self.type, self.key)


def read_row(line: str, run: int, row: int, definitions: Definitions) -> Record:
    """The record of one row of NDJSON; raises Rejected."""
    fields = parse_json(line)
    if "type" in fields:
        return _read_operation(fields, run, row, definitions)
    return _read_event(fields, run, row, definitions)


def read_person(fields: Mapping[str, Json]) -> Person:
    """The person that checked fields name."""
    external_id, given_id = fields.get("external_id"), fields.get("participant_id")
    if external_id is not None:
        return Person(external_id=_as_text(external_id), id=None)
    assert isinstance(given_id, str)
    return Person(external_id=None, id=uuid.UUID(given_id))


def _read_event(fields: Fields, run: int, row: int, definitions: Definitions) -> Record:
    given: Fields = {name: value for name, value in fields.items() if value is not None}
    key = _read_key(given)
    program = _read_program(given, definitions)
    timestamp = _read_timestamp(given, "event_timestamp")
    person = _read_person(given, "external_id", "participant_id", "PARTICIPANT")
    if person is None:
        raise Rejected("MISSING_PARTICIPANT")
    recipient = _read_person(given, "recipient_external_id", "recipient_id", "RECIPIENT")
    data = given.get("event_data")
    if data is None:
        raise Rejected("MISSING_EVENT_DATA")
    if not isinstance(data, dict):
        raise Rejected("EVENT_DATA_NOT_OBJECT")
    if len(canonical_json(data).encode()) > EVENT_DATA_BYTES_MAX or depth(data) > EVENT_DATA_DEPTH_MAX:
        raise Rejected("EVENT_DATA_TOO_LARGE")
    check_numbers(data)
    return Record(
        run=run,
        row=row,
        type=None,
        program=program.key,
        key=key,
        timestamp=timestamp,
        person=person,
        recipient=recipient,
        group=None,
        data=data,
        fields={},
        payload=(timestamp, person, recipient, canonical_json(data)),
    )


def _read_operation(fields: Fields, run: int, row: int, definitions: Definitions) -> Record:
    kind = fields["type"]
    if not isinstance(kind, str) or kind not in OPERATIONS:
        raise Rejected("UNKNOWN_OPERATION")
    form = OPERATIONS[kind]
    if not fields.keys() <= COMMON_FIELDS | form.names:
        raise Rejected("UNKNOWN_FIELD")
    key = _read_key(fields)
    fields = _with_texts(fields)
    concerns_program = form.entity == "state" and fields.get("target") == "PROGRAM"
    program = None
    if form.needs_program or concerns_program or fields.keys() & {"program_id", "redemption_key"}:
        program = _read_program(fields, definitions)
    timestamp = _read_timestamp(fields, "effective_at")
    person, group = (None, None) if concerns_program else _read_entity(fields, form)
    check_numbers(read_numbers(fields, form))
    if not form.required <= fields.keys() or not fields.keys() & ONE_OF.get(kind, fields.keys()):
        raise Rejected("MISSING_FIELD")
    if not form.is_valid(fields) or (concerns_program and fields.keys() & ENTITY_FIELDS):
        raise Rejected("INVALID_FIELD")
    return Record(
        run=run,
        row=row,
        type=kind,
        program=None if program is None else program.key,
        key=key,
        timestamp=timestamp,
        person=person,
        recipient=None,
        group=group,
        data={},
        fields=read_numbers(fields, form),
        payload=(timestamp, person, _payload(fields, form, program, definitions)),
    )


def _with_texts(fields: Fields) -> Fields:
    """The fields with integers as external ids of recipients turned into text (§3.2)."""
    recipients = fields.get("recipients")
    if not isinstance(recipients, list):
        return fields
    named = [
        one | {"external_id": _as_text(one["external_id"]) or one["external_id"]}
        if isinstance(one, dict) and "external_id" in one
        else one
        for one in recipients
    ]
    return {**fields, "recipients": named}


def _payload(fields: Fields, form: Form, program: Program | None, definitions: Definitions) -> object:
    """The fields that two operations under one key are compared by (§3.4): references resolved, numbers exact."""
    compared: dict[str, object] = {}
    for name, value in read_numbers(fields, form).items():
        if name in ("idempotency_key", "effective_at", "program_id", *PERSON_FIELDS):
            continue
        if name == "asset_id" and isinstance(value, str):
            asset = definitions.asset_named(value)
            compared[name] = value if asset is None else asset
        elif name == "rule_id" and isinstance(value, str) and program is not None:
            rule = rule_named(program, value)
            compared[name] = value if rule is None else rule.number
        elif name == "reward_id" and isinstance(value, str) and program is not None:
            reward = reward_named(program, value)
            compared[name] = value if reward is None else reward.id
        elif name == "automation_id" and isinstance(value, str) and program is not None:
            automation = automation_named(program, value)
            compared[name] = value if automation is None else automation.key
        elif form.is_number(name):
            compared[name] = value
        elif name in ("expires_at", "matures_at") and isinstance(value, str):
            compared[name] = read_date(value)
        elif name in ("earned_from", "earned_to") and isinstance(value, str):
            compared[name] = parse_time(value)
        else:
            compared[name] = canonical_json(value)
    return compared


def _read_key(fields: Fields) -> str:
    key = fields.get("idempotency_key")
    if key is None or key == "":
        raise Rejected("MISSING_IDEMPOTENCY_KEY")
    text = _as_text(key)
    if text is None or len(text) > 255 or "\0" in text or text.startswith("earnbook:"):
        raise Rejected("INVALID_IDEMPOTENCY_KEY")
    return text


def _read_program(fields: Fields, definitions: Definitions) -> Program:
    reference = fields.get("program_id")
    if reference is None:
        raise Rejected("MISSING_PROGRAM")
    program = definitions.program_named(reference) if isinstance(reference, str) else None
    if program is None:
        raise Rejected("PROGRAM_NOT_FOUND")
    return program


def _read_timestamp(fields: Fields, name: str) -> int:
    text = fields.get(name)
    if text is None:
        raise Rejected("MISSING_TIMESTAMP")
    if not isinstance(text, str):
        raise Rejected("INVALID_TIMESTAMP")
    try:
        return parse_time(text)
    except ValueError:
        raise Rejected("INVALID_TIMESTAMP") from None


def _read_entity(fields: Fields, form: Form) -> tuple[Person | None, str | None]:
    """The participant or group that an operation is about; a null or empty field is left to check 21."""
    names = sorted(form.entity_fields & fields.keys())
    if not form.entity_fields:
        return None, None
    if not names:
        raise Rejected("MISSING_PARTICIPANT")
    if len(names) > 1:
        raise Rejected("AMBIGUOUS_PARTICIPANT")
    value = fields[names[0]]
    if value is None or value == "":
        return None, None
    prefix = "source_" if form.entity == "source" else ""
    if names == [f"{prefix}group_id"]:
        return None, _as_text(value)
    return _read_person(fields, f"{prefix}external_id", f"{prefix}participant_id", "PARTICIPANT"), None


def _read_person(fields: Fields, external_name: str, id_name: str, what: str) -> Person | None:
    external_id, given_id = fields.get(external_name), fields.get(id_name)
    if external_id is None and given_id is None:
        return None
    if external_id is not None and given_id is not None:
        raise Rejected(f"AMBIGUOUS_{what}")
    if external_id is not None:
        text = _as_text(external_id)
        if not text or len(text) > 255:
            raise Rejected(f"INVALID_{what}")
        return Person(external_id=text, id=None)
    if not is_uuid(given_id):
        raise Rejected(f"INVALID_{what}")
    assert isinstance(given_id, str)
    return Person(external_id=None, id=uuid.UUID(given_id))


def _as_text(value: Json) -> str | None:
    """Text, or the decimal text of a JSON integer (§3.2)."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return str(value)
    return None
