"""Every reject reason of §3.5, with place, message and remedy; their precedence; and what is accepted."""

from __future__ import annotations

import json

import pytest

from earnbook.pipeline.clock import format_time
from earnbook.pipeline.intake import Contract, Record, RowMistake
from earnbook.pipeline.intake_columns import examine
from earnbook.pipeline.records import Given, RejectReason
from earnbook.pipeline.source_ndjson import read_line
from earnbook.rules.times import parse_timestamp
from tests.support.staging import CONTRACT, LOYALTY, POINTS, PROGRAMS, event, fund

UUID = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
HORIZON = Contract(programs=PROGRAMS, assets=(POINTS,), horizon_us=parse_timestamp("2026-02-01T00:00:00Z"))


def read(row: dict[str, object] | bytes, contract: Contract = CONTRACT) -> Record:
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    return examine(read_line(data), contract)


def refused(row: dict[str, object] | bytes, contract: Contract = CONTRACT) -> RowMistake:
    with pytest.raises(RowMistake) as caught:
        read(row, contract)
    return caught.value


def with_number(text: str) -> bytes:
    return json.dumps(event(event_data={"n": 7})).replace("7}", text + "}").encode()


def deep(levels: int) -> dict[str, object]:
    data: dict[str, object] = {}
    for _ in range(levels - 1):
        data = {"a": data}
    return data


REJECTS: list[tuple[dict[str, object] | bytes, RejectReason, str, str]] = [
    (b"{", RejectReason.UNPARSEABLE_ROW, "", "invalid JSON"),
    (b"[1]", RejectReason.UNPARSEABLE_ROW, "", "not a JSON object"),
    (b'{"a":1,"a":2}', RejectReason.UNPARSEABLE_ROW, "", "'a' occurs twice"),
    (b'{"a":{"b":1,"b":2}}', RejectReason.UNPARSEABLE_ROW, "", "'b' occurs twice"),
    (b'{"a":"\xff"}', RejectReason.UNPARSEABLE_ROW, "", "save the file as UTF-8"),
    (b'{"a":["\\ud800"]}', RejectReason.UNPARSEABLE_ROW, "", "surrogate"),
    (b'{"a":NaN}', RejectReason.UNPARSEABLE_ROW, "", "NaN is not a JSON value"),
    (fund(type="pay"), RejectReason.UNKNOWN_OPERATION, "type", "use one of adjust, hold"),
    (event(type=None), RejectReason.UNKNOWN_OPERATION, "type", "leave `type` out of an event"),
    (fund(type=7), RejectReason.UNKNOWN_OPERATION, "type", "no operation type 7"),
    (fund(ammount="1"), RejectReason.UNKNOWN_FIELD, "ammount", "use one of type, idempotency_key"),
    (event(idempotency_key=...), RejectReason.MISSING_IDEMPOTENCY_KEY, "idempotency_key", "a key of its own"),
    (event(idempotency_key=""), RejectReason.MISSING_IDEMPOTENCY_KEY, "idempotency_key", "a key of its own"),
    (event(idempotency_key=None), RejectReason.MISSING_IDEMPOTENCY_KEY, "idempotency_key", "a key of its own"),
    (event(idempotency_key=True), RejectReason.INVALID_IDEMPOTENCY_KEY, "idempotency_key", "must be a text"),
    (event(idempotency_key=1.5), RejectReason.INVALID_IDEMPOTENCY_KEY, "idempotency_key", "must be a text"),
    (event(idempotency_key="k" * 256), RejectReason.INVALID_IDEMPOTENCY_KEY, "idempotency_key", "at most 255"),
    (event(idempotency_key="a\0"), RejectReason.INVALID_IDEMPOTENCY_KEY, "idempotency_key", "NUL"),
    (event(idempotency_key="earnbook:x"), RejectReason.INVALID_IDEMPOTENCY_KEY, "idempotency_key", "use another key"),
    (event(program_id=...), RejectReason.MISSING_PROGRAM, "program_id", "--program KEY"),
    (event(program_id="other"), RejectReason.PROGRAM_NOT_FOUND, "program_id", "known: loyalty, partner"),
    (event(program_id=""), RejectReason.PROGRAM_NOT_FOUND, "program_id", "correct it"),
    (event(program_id=5), RejectReason.PROGRAM_NOT_FOUND, "program_id", "correct it"),
    (event(event_timestamp=...), RejectReason.MISSING_TIMESTAMP, "event_timestamp", "RFC 3339"),
    (fund(effective_at=None), RejectReason.MISSING_TIMESTAMP, "effective_at", "RFC 3339"),
    (event(event_timestamp="31.01.2026"), RejectReason.INVALID_TIMESTAMP, "event_timestamp", "write it such as"),
    (event(event_timestamp=1769860800), RejectReason.INVALID_TIMESTAMP, "event_timestamp", "RFC 3339 text"),
    (event(event_timestamp="2026-01-31T12:00:00"), RejectReason.INVALID_TIMESTAMP, "event_timestamp", "--assume-utc"),
    (event(event_timestamp="2026-12-31T23:59:60Z"), RejectReason.INVALID_TIMESTAMP, "event_timestamp", "leap second"),
    (event(event_timestamp="1969-12-31T23:59:59Z"), RejectReason.INVALID_TIMESTAMP, "event_timestamp", "1970"),
    (event(event_timestamp="2027-01-01T00:00:00Z"), RejectReason.TIMESTAMP_IN_FUTURE, "event_timestamp", "--horizon"),
    (event(external_id=...), RejectReason.MISSING_PARTICIPANT, "external_id", "give external_id or participant_id"),
    (event(participant_id=UUID), RejectReason.AMBIGUOUS_PARTICIPANT, "participant_id", "give one of them"),
    (event(external_id=""), RejectReason.INVALID_PARTICIPANT, "external_id", "empty"),
    (event(external_id="x" * 256), RejectReason.INVALID_PARTICIPANT, "external_id", "at most 255"),
    (event(external_id=[1]), RejectReason.INVALID_PARTICIPANT, "external_id", "must be a text"),
    (event(external_id=..., participant_id="alice"), RejectReason.INVALID_PARTICIPANT, "participant_id", "not a UUID"),
    (
        event(recipient_id=UUID, recipient_external_id="bob"),
        RejectReason.AMBIGUOUS_RECIPIENT,
        "recipient_id",
        "give one of them",
    ),
    (event(recipient_external_id=""), RejectReason.INVALID_RECIPIENT, "recipient_external_id", "empty"),
    (event(recipient_id="bob"), RejectReason.INVALID_RECIPIENT, "recipient_id", "not a UUID"),
    (event(event_data=None), RejectReason.MISSING_EVENT_DATA, "event_data", "{}"),
    (event(event_data=[]), RejectReason.EVENT_DATA_NOT_OBJECT, "event_data", "must be a JSON object"),
    (event(event_data=deep(65)), RejectReason.EVENT_DATA_TOO_LARGE, "event_data", "flatten it"),
    (event(event_data={"a": "x" * (1 << 20)}), RejectReason.EVENT_DATA_TOO_LARGE, "event_data", "send what rules need"),
    (b'{"a":' + b"[" * 200_000, RejectReason.EVENT_DATA_TOO_LARGE, "event_data", "flatten it"),
    (with_number("1" * 35), RejectReason.INVALID_NUMBER, "event_data.n", "at most 34"),
    (with_number("1e401"), RejectReason.INVALID_NUMBER, "event_data.n", "-400 to 400"),
    (fund(asset_id=...), RejectReason.MISSING_FIELD, "asset_id", "fund needs asset_id: add it"),
    (fund(amount=...), RejectReason.MISSING_FIELD, "amount", "fund needs amount"),
    (fund(amount=""), RejectReason.INVALID_FIELD, "amount", "present but empty"),
    (fund(amount=None), RejectReason.INVALID_FIELD, "amount", "present but empty"),
    (fund(amount="1,5"), RejectReason.INVALID_FIELD, "amount", "such as 12.50"),
    (fund(amount=[1]), RejectReason.INVALID_FIELD, "amount", "such as 12.50"),
    (fund(amount="1e500"), RejectReason.INVALID_NUMBER, "amount", "-400 to 400"),
    (fund(asset_id=""), RejectReason.INVALID_FIELD, "asset_id", "present but empty"),
    (fund(asset_id=None), RejectReason.INVALID_FIELD, "asset_id", "present but empty"),
    (fund(description=None), RejectReason.INVALID_FIELD, "description", "present but empty"),
    (fund(description="d" * 501), RejectReason.INVALID_FIELD, "description", "at most 500"),
    (fund(description=7), RejectReason.INVALID_FIELD, "description", "must be a text"),
]


@pytest.mark.parametrize(
    ("row", "reason", "field", "message"), REJECTS, ids=[f"{i}-{case[1].name}" for i, case in enumerate(REJECTS)]
)
def test_reject_names_reason_field_and_remedy(
    row: dict[str, object] | bytes, reason: RejectReason, field: str, message: str
) -> None:
    mistake = refused(row, HORIZON)
    assert (mistake.reason, mistake.field) == (reason, field)
    assert message in mistake.message


def test_every_reason_found_by_intake_is_covered() -> None:
    assert {case[1] for case in REJECTS} == set(RejectReason) - {RejectReason.IDEMPOTENCY_CONFLICT}


EVENT_FAULTS: list[tuple[RejectReason, dict[str, object]]] = [
    (RejectReason.MISSING_IDEMPOTENCY_KEY, {"idempotency_key": ""}),
    (RejectReason.PROGRAM_NOT_FOUND, {"program_id": "other"}),
    (RejectReason.INVALID_TIMESTAMP, {"event_timestamp": "soon"}),
    (RejectReason.AMBIGUOUS_PARTICIPANT, {"external_id": "", "participant_id": "x"}),
    (RejectReason.AMBIGUOUS_RECIPIENT, {"recipient_external_id": "", "recipient_id": "x"}),
    (RejectReason.EVENT_DATA_NOT_OBJECT, {"event_data": [10**40 + 1]}),
]
FUND_FAULTS: list[tuple[RejectReason, dict[str, object]]] = [
    (RejectReason.UNKNOWN_OPERATION, {"type": "pay"}),
    (RejectReason.UNKNOWN_FIELD, {"note": 1}),
    (RejectReason.INVALID_IDEMPOTENCY_KEY, {"idempotency_key": []}),
    (RejectReason.MISSING_PROGRAM, {"program_id": None}),
    (RejectReason.MISSING_TIMESTAMP, {"effective_at": None}),
    (RejectReason.INVALID_NUMBER, {"amount": 10**40 + 1}),
    (RejectReason.MISSING_FIELD, {"asset_id": ...}),
    (RejectReason.INVALID_FIELD, {"description": 5}),
]


@pytest.mark.parametrize("first", range(len(EVENT_FAULTS)))
def test_the_first_check_that_applies_to_an_event_is_the_reason(first: int) -> None:
    faults: dict[str, object] = {}
    for _, fields in EVENT_FAULTS[first:]:
        faults |= fields
    assert refused(event(**faults)).reason is EVENT_FAULTS[first][0]


@pytest.mark.parametrize("first", range(len(FUND_FAULTS)))
def test_the_first_check_that_applies_to_an_operation_is_the_reason(first: int) -> None:
    faults: dict[str, object] = {}
    for _, fields in FUND_FAULTS[first:]:
        faults |= fields
    assert refused(fund(**faults)).reason is FUND_FAULTS[first][0]


def test_an_event_keeps_what_was_given() -> None:
    record = read(event(external_id=..., participant_id=UUID.upper(), recipient_external_id=77, color="red"))
    assert (record.participant, record.recipient) == (UUID.upper(), "77")
    assert record.given == Given.PARTICIPANT_ID | Given.RECIPIENT_EXTERNAL_ID
    assert record.unknown_fields == ("color",)
    assert format_time(record.timestamp) == "2026-01-31T12:00:00.000000Z"


def test_integers_are_accepted_as_keys() -> None:
    record = read(event(idempotency_key=12, external_id=-0))
    assert (record.idempotency_key, record.participant) == ("12", "0")


def test_a_program_is_named_by_id_or_key_or_default() -> None:
    assert read(event(program_id=LOYALTY.id.upper())).program == 0
    assert read(event(program_id="partner")).program == 1
    default = Contract(programs=PROGRAMS, default_program=1)
    assert read(event(program_id=None), default).program == 1


def test_assume_utc_accepts_times_without_offset() -> None:
    contract = Contract(programs=PROGRAMS, assume_utc=True)
    assert read(event(event_timestamp="2026-01-31T12:00:00"), contract).timestamp == read(event()).timestamp


def test_event_data_keeps_its_text() -> None:
    row = b'{"program_id":"loyalty","idempotency_key":1,"event_timestamp":"2026-01-01T00:00:00Z","external_id":"a",'
    record = read(row + b'"event_data": {"b": 5.10, "a":[1e2, null]} }')
    assert record.event_data == '{"b": 5.10, "a":[1e2, null]}'


def test_64_levels_are_deep_enough() -> None:
    assert read(event(event_data=deep(64))).event_data is not None


def test_an_operation_has_canonical_fields() -> None:
    record = read(fund(amount="+0100.50", description="Q1"))
    assert json.loads(record.fields or "") == {
        "amount": "100.5",
        "asset_id": POINTS.id,
        "description": "Q1",
        "effective_at": record.timestamp,
        "program_id": LOYALTY.id,
        "type": "fund",
    }
    assert read(fund(amount=100.5, description="Q1")).fields == record.fields


def test_an_unknown_asset_is_a_failure_and_no_reject() -> None:
    assert '"asset_id":"GOLD"' in (read(fund(asset_id="GOLD")).fields or "")
