"""Intake of one row: is it an event, an operation, or a reject, and why (§3.1-§3.5).

The reference for every check, in the order of the table of §3.5. Column readers recognise the rows that are plainly
good by themselves (`intake_columns`) and bring every other row here, so that a row has one verdict whatever its format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from earnbook.ledger.schema import RecordKind
from earnbook.pipeline.clock import format_time
from earnbook.pipeline.intake_json import (
    DEPTH_MAX,
    EVENT_DATA_BYTES_MAX,
    NumberText,
    Value,
    canonical_value,
    depth_of,
    find_number_mistake,
    write_json,
)
from earnbook.pipeline.records import Given, Reference, RejectReason
from earnbook.rules.times import parse_timestamp

KEY_CHARACTERS_MAX = 255
"""Characters of an idempotency key or external id (§3.2)."""

KEY_PREFIX_RESERVED = "earnbook:"
"""Kept for the keys of generated events (§3.2)."""

EVENT_FIELDS = (
    "program_id",
    "idempotency_key",
    "event_timestamp",
    "external_id",
    "participant_id",
    "recipient_external_id",
    "recipient_id",
    "event_data",
)
"""The fields of an event record (§3.2)."""

NOBODY = Given(0)
"""No participant and no recipient is named."""

UUID_PATTERN = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
_UUID = re.compile(UUID_PATTERN, re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_NO_OFFSET = re.compile(r".*[Tt][0-9:]+(?:\.[0-9]+)?", re.ASCII)
_SHOWN_CHARACTERS_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What rows are checked against: objects by id or key, the default program, and the limits of time (§4.3, §4.6).

    `rules`, `tiers`, `rewards` and `automations` stand with the index of their program.
    """

    programs: tuple[Reference, ...]
    assets: tuple[Reference, ...] = ()
    rules: tuple[tuple[int, Reference], ...] = ()
    tiers: tuple[tuple[int, Reference], ...] = ()
    rewards: tuple[tuple[int, Reference], ...] = ()
    automations: tuple[tuple[int, Reference], ...] = ()
    default_program: int | None = None
    horizon_us: int | None = None
    assume_utc: bool = False
    program_numbers: Mapping[str, int] = field(init=False)
    asset_ids: Mapping[str, str] = field(init=False)
    rule_ids: Mapping[tuple[int, str], str] = field(init=False)
    tier_ids: Mapping[tuple[int, str], str] = field(init=False)
    reward_ids: Mapping[tuple[int, str], str] = field(init=False)
    automation_ids: Mapping[tuple[int, str], str] = field(init=False)

    def __post_init__(self) -> None:
        programs = {program.key: number for number, program in enumerate(self.programs)}
        programs |= {program.id.lower(): number for number, program in enumerate(self.programs)}
        assets = {asset.key: asset.id for asset in self.assets} | {asset.id.lower(): asset.id for asset in self.assets}
        object.__setattr__(self, "program_numbers", programs)
        object.__setattr__(self, "asset_ids", assets)
        object.__setattr__(self, "rule_ids", _ids_of(self.rules))
        object.__setattr__(self, "tier_ids", _ids_of(self.tiers))
        object.__setattr__(self, "reward_ids", _ids_of(self.rewards))
        object.__setattr__(self, "automation_ids", _ids_of(self.automations))

    def program_number(self, text: str) -> int | None:
        """The index of the program that a text names; text of UUID form is always an id (§2.2)."""
        return self.program_numbers.get(text.lower() if is_uuid(text) else text)

    def asset_id(self, text: str) -> str:
        """The id of the asset that a text names; the text itself where there is no such asset."""
        return self.asset_ids.get(text.lower() if is_uuid(text) else text, text)

    def rule_id(self, program: int, text: str) -> str:
        """The id of the rule of a program that a text names; the text itself where there is no such rule."""
        return self.rule_ids.get((program, text.lower() if is_uuid(text) else text), text)

    def tier_id(self, program: int, text: str) -> str:
        """The id of the tier type of a program that a text names; the text itself where there is no such type."""
        return self.tier_ids.get((program, text.lower() if is_uuid(text) else text), text)

    def reward_id(self, program: int, text: str) -> str:
        """The id of the reward of a program that a text names; the text itself where there is no such reward."""
        return self.reward_ids.get((program, text.lower() if is_uuid(text) else text), text)

    def automation_id(self, program: int, text: str) -> str:
        """The id of the automation of a program that a text names; the text itself where there is none."""
        return self.automation_ids.get((program, text.lower() if is_uuid(text) else text), text)


def _ids_of(objects: tuple[tuple[int, Reference], ...]) -> dict[tuple[int, str], str]:
    """Ids by program and text, keys first so that text of UUID form means an id (§2.2)."""
    keys = {(program, item.key): item.id for program, item in objects}
    return keys | {(program, item.id.lower()): item.id for program, item in objects}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as read: its values, the JSON text of values that were JSON, and whether it is made of CSV cells."""

    values: Mapping[str, Value]
    texts: Mapping[str, str] = field(default_factory=dict)
    is_cells: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A conformed record; the fields are those of `records.RECORD_FIELDS`, `event` is event_data as a value."""

    record_kind: RecordKind
    operation: int = 0
    program: int
    idempotency_key: str
    timestamp: int
    given: Given = NOBODY
    participant: str | None = None
    recipient: str | None = None
    event_data: str | None = None
    event: Value = None
    fields: str | None = None
    unknown_fields: tuple[str, ...] = ()


class RowMistake(Exception):
    """Why a row is rejected: the reason, the offending field ("" for the whole row) and a message with the remedy."""

    def __init__(self, reason: RejectReason, field_name: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field_name
        self.message = message


def is_uuid(text: str) -> bool:
    """Whether a text has UUID form (§2.2)."""
    return len(text) == 36 and _UUID.match(text) is not None


def is_operation(row: Row) -> bool:
    """Whether a row is an operation: it has a `type` (§3.1); an empty CSV cell is none."""
    return "type" in row.values and not (row.is_cells and row.values["type"] == "")


def examine_event(row: Row, contract: Contract) -> Record:
    """The event of a row; raises RowMistake for the first check of §3.5 that applies."""
    values = {
        name: value for name, value in row.values.items() if value is not None and not (row.is_cells and value == "")
    }
    key = check_key(values)
    program = check_program(values, contract)
    timestamp = check_timestamp(values, "event_timestamp", contract)
    given, participant = _check_participant(values)
    recipient_given, recipient = _check_recipient(values)
    data = _check_event_data(values)
    return Record(
        record_kind=RecordKind.EVENT,
        program=program,
        idempotency_key=key,
        timestamp=timestamp,
        given=given | recipient_given,
        participant=participant,
        recipient=recipient,
        event_data=row.texts.get("event_data") or write_json(data),
        event=data,
        unknown_fields=tuple(name for name in values if name not in EVENT_FIELDS),
    )


def check_key(values: Mapping[str, Value]) -> str:
    """Checks 4 and 5: the idempotency key."""
    name = "idempotency_key"
    value = values.get(name)
    if value is None or value == "":
        raise RowMistake(
            RejectReason.MISSING_IDEMPOTENCY_KEY, name, "idempotency_key is missing: give every row a key of its own"
        )
    text = text_or_integer(value)
    if text is None:
        why = f"idempotency_key must be a text, not {shown(value)}"
    elif len(text) > KEY_CHARACTERS_MAX:
        why = f"idempotency_key has {len(text)} characters: shorten it to at most {KEY_CHARACTERS_MAX}"
    elif "\0" in text:
        why = "idempotency_key contains a NUL character: remove it"
    elif text.startswith(KEY_PREFIX_RESERVED):
        why = f"idempotency_key {shown(text)} starts with {KEY_PREFIX_RESERVED!r}, which is reserved: use another key"
    else:
        return text
    raise RowMistake(RejectReason.INVALID_IDEMPOTENCY_KEY, name, why)


def check_program(values: Mapping[str, Value], contract: Contract) -> int:
    """Checks 6 and 7: the index of the program, which every row here needs."""
    value = values.get("program_id")
    if value is None:
        if contract.default_program is not None:
            return contract.default_program
        raise RowMistake(
            RejectReason.MISSING_PROGRAM, "program_id", "program_id is missing: add it, or run with --program KEY"
        )
    number = contract.program_number(value) if _is_text(value) and isinstance(value, str) else None
    if number is None:
        known = ", ".join(program.key for program in contract.programs[:5]) or "none"
        more = ", …" if len(contract.programs) > 5 else ""
        raise RowMistake(
            RejectReason.PROGRAM_NOT_FOUND,
            "program_id",
            f"program {shown(value)} is not in the book (known: {known}{more}): correct it, or define the program",
        )
    return number


def check_timestamp(values: Mapping[str, Value], name: str, contract: Contract) -> int:
    """Checks 8 to 10: microseconds since 1970."""
    value = values.get(name)
    if value is None:
        raise RowMistake(
            RejectReason.MISSING_TIMESTAMP,
            name,
            f"{name} is missing: give an RFC 3339 time such as 2026-01-31T12:00:00Z",
        )
    timestamp = _parse_time(value, name, contract)
    if contract.horizon_us is not None and timestamp > contract.horizon_us:
        raise RowMistake(
            RejectReason.TIMESTAMP_IN_FUTURE,
            name,
            f"{name} {shown(value)} is later than the horizon {format_time(contract.horizon_us)}: "
            "correct it, or run with a later --horizon",
        )
    return timestamp


def shown(value: Value) -> str:
    """A value in a message, shortened."""
    text = (
        repr(str(value)) if _is_text(value) else write_json(value) if depth_of(value) <= DEPTH_MAX else "a deep value"
    )
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"


def _is_text(value: Value) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def with_offset(text: str, contract: Contract) -> str:
    """A time as text, taken as UTC where it has no offset and the run says so (§4.6)."""
    return f"{text}Z" if contract.assume_utc and _NO_OFFSET.fullmatch(text) is not None else text


def text_or_integer(value: Value) -> str | None:
    """Text as it is, a JSON integer as its decimal text (§3.2); None for anything else."""
    if isinstance(value, NumberText):
        if _INTEGER.fullmatch(value) is None:
            return None
        return "0" if value == "-0" else str(value)
    return value if isinstance(value, str) else None


def _parse_time(value: Value, name: str, contract: Contract) -> int:
    if not isinstance(value, str) or isinstance(value, NumberText):
        why = f"{name} must be an RFC 3339 text, not {shown(value)}: write it such as 2026-01-31T12:00:00Z"
        raise RowMistake(RejectReason.INVALID_TIMESTAMP, name, why)
    has_no_offset = _NO_OFFSET.fullmatch(value) is not None
    try:
        return parse_timestamp(with_offset(value, contract))
    except ValueError as error:
        why = f"{name}: {error}: write it such as 2026-01-31T12:00:00Z"
        if has_no_offset and not contract.assume_utc:
            why = f"{name} {shown(value)} has no offset: add Z or ±hh:mm, or run with --assume-utc"
        raise RowMistake(RejectReason.INVALID_TIMESTAMP, name, why) from None


def _check_participant(values: Mapping[str, Value]) -> tuple[Given, str]:
    """Checks 11 to 13."""
    by_key, by_id = values.get("external_id"), values.get("participant_id")
    if by_key is None and by_id is None:
        raise RowMistake(
            RejectReason.MISSING_PARTICIPANT,
            "external_id",
            "the row names no participant: give external_id or participant_id",
        )
    if by_key is not None and by_id is not None:
        raise RowMistake(
            RejectReason.AMBIGUOUS_PARTICIPANT,
            "participant_id",
            "the row has external_id and participant_id: give one of them",
        )
    if by_key is not None:
        return Given.EXTERNAL_ID, check_holder(by_key, "external_id", RejectReason.INVALID_PARTICIPANT)
    return Given.PARTICIPANT_ID, check_holder_id(by_id, "participant_id", RejectReason.INVALID_PARTICIPANT)


def _check_recipient(values: Mapping[str, Value]) -> tuple[Given, str | None]:
    """Checks 14 and 15."""
    by_key, by_id = values.get("recipient_external_id"), values.get("recipient_id")
    if by_key is not None and by_id is not None:
        raise RowMistake(
            RejectReason.AMBIGUOUS_RECIPIENT,
            "recipient_id",
            "the row has recipient_external_id and recipient_id: give one of them",
        )
    if by_key is not None:
        name = "recipient_external_id"
        return Given.RECIPIENT_EXTERNAL_ID, check_holder(by_key, name, RejectReason.INVALID_RECIPIENT)
    if by_id is not None:
        return Given.RECIPIENT_ID, check_holder_id(by_id, "recipient_id", RejectReason.INVALID_RECIPIENT)
    return NOBODY, None


def check_holder(value: Value, name: str, reason: RejectReason) -> str:
    """Checks 13 and 15 of an external id."""
    text = text_or_integer(value)
    if text is None:
        raise RowMistake(reason, name, f"{name} must be a text, not {shown(value)}")
    if text == "":
        raise RowMistake(reason, name, f"{name} is empty: give the participant's key, or leave the field out")
    if len(text) > KEY_CHARACTERS_MAX:
        raise RowMistake(reason, name, f"{name} has {len(text)} characters: shorten it to at most {KEY_CHARACTERS_MAX}")
    return text


def check_holder_id(value: Value, name: str, reason: RejectReason) -> str:
    """Checks 13 and 15 of a participant id."""
    if not isinstance(value, str) or not is_uuid(value):
        raise RowMistake(
            reason,
            name,
            f"{name} {shown(value)} is not a UUID: to name a participant by key, use the external id field",
        )
    return value


def _check_event_data(values: Mapping[str, Value]) -> dict[str, Value]:
    """Checks 16 to 19."""
    name = "event_data"
    data = values.get(name)
    if data is None:
        raise RowMistake(
            RejectReason.MISSING_EVENT_DATA, name, "event_data is missing: give a JSON object, {} if there is nothing"
        )
    if not isinstance(data, dict):
        raise RowMistake(
            RejectReason.EVENT_DATA_NOT_OBJECT, name, f"event_data must be a JSON object, not {shown(data)}"
        )
    if depth_of(data) > DEPTH_MAX:
        raise RowMistake(
            RejectReason.EVENT_DATA_TOO_LARGE, name, f"event_data is nested deeper than {DEPTH_MAX} levels: flatten it"
        )
    mistake = find_number_mistake(data, name)
    # A number that is out of bounds cannot be written out in full; the text as it came decides on the size then.
    size = len((canonical_value(data) if mistake is None else write_json(data)).encode())
    if size > EVENT_DATA_BYTES_MAX:
        raise RowMistake(
            RejectReason.EVENT_DATA_TOO_LARGE,
            name,
            f"event_data has {size:,} bytes; at most {EVENT_DATA_BYTES_MAX:,} are allowed: send what rules need",
        )
    if mistake is not None:
        path, why = mistake
        raise RowMistake(RejectReason.INVALID_NUMBER, path, f"{path}: {why}: send it as text, or round it")
    return data
