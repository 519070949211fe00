"""Rows to records for the oracle: the checks of §3.5 in their order, one row of NDJSON at a time.

Of the operations it knows `fund` and `burn`; their fields are in `OPERATION_FIELDS`.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, TypeAlias

from tests.support.oracle_definitions import Definitions
from tests.support.oracle_times import parse_time

Json: TypeAlias = "bool | Decimal | str | list[Json] | dict[str, Json] | None"
Fields: TypeAlias = "dict[str, Json]"

COMMON_FIELDS = frozenset({"type", "idempotency_key", "effective_at"})
REQUIRED_FIELDS = {"fund": ("asset_id", "amount"), "burn": ("asset_id", "amount")}
OPERATION_FIELDS = {
    "fund": COMMON_FIELDS | {"program_id", "asset_id", "amount", "description"},
    "burn": COMMON_FIELDS | {"program_id", "asset_id", "amount", "description"},
}
EVENT_DATA_BYTES_MAX = 1 << 20
EVENT_DATA_DEPTH_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A participant as a record names it: by external id, or by id."""

    external_id: str | None
    id: uuid.UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A conformed row. `payload` is what duplicates are compared by (§3.4); `fields` are an operation's."""

    run: int
    row: int
    type: str | None
    program: str
    key: str
    timestamp: int
    person: Person | None
    recipient: Person | None
    data: Fields
    fields: Fields
    payload: object

    @property
    def scope(self) -> tuple[str, str | None, str]:
        """What an idempotency key is unique in, with the key (§3.4)."""
        return (self.program, self.type, self.key)


class Rejected(Exception):
    """The row is no record; the argument is the reason of §3.5."""


def read_row(line: str, run: int, row: int, definitions: Definitions) -> Record:
    """The record of one row of NDJSON; raises Rejected."""
    fields = parse_json(line)
    if "type" in fields:
        return _read_operation(fields, run, row, definitions)
    return _read_event(fields, run, row, definitions)


def parse_json(line: str) -> Fields:
    """A JSON object with its numbers as decimals; raises Rejected."""

    def refuse(_constant: str) -> NoReturn:
        raise ValueError("NaN and Infinity are not JSON")

    def unique(members: list[tuple[str, Json]]) -> Fields:
        if len({name for name, _ in members}) < len(members):
            raise ValueError("duplicate member")
        return dict(members)

    try:
        value = json.loads(
            line, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse, object_pairs_hook=unique
        )
    except (ValueError, RecursionError):
        raise Rejected("UNPARSEABLE_ROW") from None
    if not isinstance(value, dict):
        raise Rejected("UNPARSEABLE_ROW")
    return value


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
    if len(canonical_json(data).encode()) > EVENT_DATA_BYTES_MAX or _depth(data) > EVENT_DATA_DEPTH_MAX:
        raise Rejected("EVENT_DATA_TOO_LARGE")
    _check_numbers(data)
    return Record(
        run=run,
        row=row,
        type=None,
        program=program,
        key=key,
        timestamp=timestamp,
        person=person,
        recipient=recipient,
        data=data,
        fields={},
        payload=(timestamp, person, recipient, canonical_json(data)),
    )


def _read_operation(fields: Fields, run: int, row: int, definitions: Definitions) -> Record:
    kind = fields["type"]
    if not isinstance(kind, str) or kind not in OPERATION_FIELDS:
        raise Rejected("UNKNOWN_OPERATION")
    if not fields.keys() <= OPERATION_FIELDS[kind]:
        raise Rejected("UNKNOWN_FIELD")
    key = _read_key(fields)
    program = _read_program(fields, definitions)
    timestamp = _read_timestamp(fields, "effective_at")
    amount = _read_amount(fields)
    if any(name not in fields for name in REQUIRED_FIELDS[kind]):
        raise Rejected("MISSING_FIELD")
    asset, description = fields["asset_id"], fields.get("description", "")
    if not isinstance(asset, str) or not asset or amount is None:
        raise Rejected("INVALID_FIELD")
    if not isinstance(description, str) or len(description) > 500:
        raise Rejected("INVALID_FIELD")
    known_asset = definitions.asset_named(asset)
    return Record(
        run=run,
        row=row,
        type=kind,
        program=program,
        key=key,
        timestamp=timestamp,
        person=None,
        recipient=None,
        data={},
        fields=fields | {"amount": amount},
        payload=(timestamp, known_asset or asset, amount, fields.get("description")),
    )


def _read_key(fields: Fields) -> str:
    key = fields.get("idempotency_key")
    if key is None or key == "":
        raise Rejected("MISSING_IDEMPOTENCY_KEY")
    text = _as_text(key)
    if text is None or len(text) > 255 or "\0" in text or text.startswith("earnbook:"):
        raise Rejected("INVALID_IDEMPOTENCY_KEY")
    return text


def _read_program(fields: Fields, definitions: Definitions) -> str:
    reference = fields.get("program_id")
    if reference is None:
        raise Rejected("MISSING_PROGRAM")
    program = definitions.program_named(reference) if isinstance(reference, str) else None
    if program is None:
        raise Rejected("PROGRAM_NOT_FOUND")
    return program.key


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
    if not isinstance(given_id, str) or not re.fullmatch(
        r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", given_id
    ):
        raise Rejected(f"INVALID_{what}")
    return Person(external_id=None, id=uuid.UUID(given_id))


def _read_amount(fields: Fields) -> Decimal | None:
    """The amount as a decimal, None where it is none."""
    amount = fields.get("amount")
    if isinstance(amount, str) and re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", amount, flags=re.ASCII):
        try:
            amount = Decimal(amount)
        except InvalidOperation:
            return None
    if not isinstance(amount, Decimal):
        return None
    _check_numbers(amount)
    return canonical_number(amount)


def _as_text(value: Json) -> str | None:
    """Text, or the decimal text of a JSON integer (§3.2)."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return str(value)
    return None


def _depth(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(member) for member in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def _check_numbers(value: Json) -> None:
    """Refuses a number outside §5.2."""
    if isinstance(value, dict):
        for member in value.values():
            _check_numbers(member)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, Decimal) and value != 0:
        exact = canonical_number(value)
        if len(exact.as_tuple().digits) > 34 or not -400 <= exact.adjusted() <= 400:
            raise Rejected("INVALID_NUMBER")


def canonical_number(value: Decimal) -> Decimal:
    """The same number without trailing zeros; Decimal.normalize would round to the context."""
    if value == 0:
        return Decimal(0)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    while digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    while digits[0] == 0:
        digits = digits[1:]
    return Decimal((sign, digits, exponent))


def canonical_json(value: Any) -> str:
    """Canonical JSON (§3.4): members by code point, numbers plain, no white space."""
    if isinstance(value, dict):
        members = (f"{_quoted(name)}:{canonical_json(member)}" for name, member in sorted(value.items()))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical_json(item) for item in value) + "]"
    if isinstance(value, Decimal):
        return f"{canonical_number(value):f}"
    return _quoted(value)


def _quoted(value: bool | str | None) -> str:
    return json.dumps(value, ensure_ascii=False)
