"""Rows of money operations (§15.2): what is refused and why, and the canonical fields of what is accepted."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from earnbook.pipeline.intake import Contract, Record, Row, RowMistake
from earnbook.pipeline.intake_columns import examine
from earnbook.pipeline.operation_fields import SPECIFICATIONS
from earnbook.pipeline.records import Given, Reference, RejectReason
from earnbook.pipeline.source_ndjson import read_line
from tests.support.staging import LOYALTY, POINTS, PROGRAMS

UUID = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
MUG = Reference("0f4d6c80-b779-5174-9e3e-37d6ea331a71", "mug")
CONTRACT = Contract(programs=PROGRAMS, assets=(POINTS,), rewards=((0, MUG),))
COMMON: dict[str, object] = {"idempotency_key": "o-1", "effective_at": "2026-01-31T12:00:00Z"}
ALICE: dict[str, object] = {"external_id": "alice"}
IN_PROGRAM = {"program_id": "loyalty", "asset_id": "PTS", "description": "by hand"}

ADJUST = {"type": "adjust", **COMMON, **IN_PROGRAM, **ALICE, "direction": "CREDIT", "amount": "5"}
DEBIT = ADJUST | {"direction": "DEBIT"}
HOLD = {"type": "hold", **COMMON, **IN_PROGRAM, **ALICE}
FORFEIT = HOLD | {"type": "forfeit", "bucket": "HELD"}
VOID = HOLD | {"type": "void_hold", "reference_id": "R1"}
REDEEM = {"type": "redeem", **COMMON, **IN_PROGRAM, **ALICE, "amount": 5}
ITEM = {"type": "redeem_item", **COMMON, **ALICE, "program_id": "loyalty", "reward_id": "mug"}
REVERSE = {"type": "reverse_redemption", **COMMON, "redemption_id": UUID.upper(), "reason": "broken"}
BY_KEY = {"type": "reverse_redemption", **COMMON, "redemption_key": "r-1", "reason": "broken", "program_id": "loyalty"}
TRANSFER = {"type": "transfer", **COMMON, **IN_PROGRAM, "source_external_id": "alice"} | {
    "recipients": [{"external_id": "bob", "amount": 5}]
}


def but(row: Mapping[str, object], **fields: object) -> dict[str, object]:
    """A row with some fields changed; a field set to `...` is left out."""
    return {name: value for name, value in {**row, **fields}.items() if value is not ...}


def to(*recipients: object) -> dict[str, object]:
    return but(TRANSFER, recipients=list(recipients))


def read(row: dict[str, object], contract: Contract = CONTRACT) -> Record:
    return examine(read_line(json.dumps(row).encode()), contract)


def fields_of(row: dict[str, object], contract: Contract = CONTRACT) -> dict[str, object]:
    found: dict[str, object] = json.loads(read(row, contract).fields or "")
    return found


def cells(row: Mapping[str, object]) -> Row:
    """A row of CSV cells."""
    return Row(values={name: str(value) for name, value in row.items()}, is_cells=True)


def fields_of_cells(row: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = json.loads(examine(cells(row), CONTRACT).fields or "")
    return found


def refused(row: dict[str, object] | Row) -> RowMistake:
    with pytest.raises(RowMistake) as caught:
        examine(row if isinstance(row, Row) else read_line(json.dumps(row).encode()), CONTRACT)
    return caught.value


FORMS = (ADJUST, DEBIT, HOLD, HOLD | {"type": "release"}, FORFEIT, VOID, REDEEM, ITEM, REVERSE, BY_KEY, TRANSFER)
MISSING, INVALID = RejectReason.MISSING_FIELD, RejectReason.INVALID_FIELD
BOB = {"external_id": "bob"}
REJECTS: list[tuple[dict[str, object], RejectReason, str]] = [
    (but(HOLD, direction="CREDIT"), RejectReason.UNKNOWN_FIELD, "direction"),
    (but(REDEEM, group_id="g"), RejectReason.UNKNOWN_FIELD, "group_id"),
    (but(TRANSFER, external_id="alice"), RejectReason.UNKNOWN_FIELD, "external_id"),
    (but(ADJUST, program_id=...), RejectReason.MISSING_PROGRAM, "program_id"),
    (but(BY_KEY, program_id=...), RejectReason.MISSING_PROGRAM, "program_id"),
    (but(REVERSE, program_id=None), RejectReason.MISSING_PROGRAM, "program_id"),
    (but(REVERSE, program_id="x"), RejectReason.PROGRAM_NOT_FOUND, "program_id"),
    (but(ADJUST, external_id=...), RejectReason.MISSING_PARTICIPANT, "external_id"),
    (but(TRANSFER, source_external_id=...), RejectReason.MISSING_PARTICIPANT, "source_external_id"),
    (but(TRANSFER, source_group_id="g"), RejectReason.AMBIGUOUS_PARTICIPANT, "source_group_id"),
    (but(TRANSFER, source_external_id="x" * 256), RejectReason.INVALID_PARTICIPANT, "source_external_id"),
    (
        but(TRANSFER, source_external_id=..., source_participant_id="x"),
        RejectReason.INVALID_PARTICIPANT,
        "source_participant_id",
    ),
    (but(ADJUST, amount="1e500"), RejectReason.INVALID_NUMBER, "amount"),
    (but(ITEM, quantity="1e500"), RejectReason.INVALID_NUMBER, "quantity"),
    (to({**BOB, "amount": "1e500"}), RejectReason.INVALID_NUMBER, "recipients[0].amount"),
    (but(ADJUST, amount=...), MISSING, "amount"),
    (but(ADJUST, description=...), MISSING, "description"),
    (but(FORFEIT, bucket=...), MISSING, "bucket"),
    (but(VOID, reference_id=...), MISSING, "reference_id"),
    (but(REVERSE, redemption_id=...), MISSING, "redemption_id"),
    (but(REVERSE, redemption_id=..., redemption_type="redeem"), MISSING, "redemption_id"),
    (but(REVERSE, reason=...), MISSING, "reason"),
    (but(TRANSFER, recipients=...), MISSING, "recipients"),
    (but(TRANSFER, source_external_id=None), INVALID, "source_external_id"),
    (but(TRANSFER, source_external_id=..., source_group_id=5), INVALID, "source_group_id"),
    (but(ADJUST, direction="UP"), INVALID, "direction"),
    (but(ADJUST, description=""), INVALID, "description"),
    (but(ADJUST, description="x" * 501), INVALID, "description"),
    (but(ITEM, description="x" * 501), INVALID, "description"),
    (but(ADJUST, bucket="DEFERRED"), INVALID, "bucket"),
    (but(ADJUST, amount="ALL"), INVALID, "amount"),
    (but(HOLD, amount="all"), INVALID, "amount"),
    (but(HOLD, amount=None), INVALID, "amount"),
    (but(HOLD, amount=""), INVALID, "amount"),
    (but(HOLD, reference_id=None), INVALID, "reference_id"),
    (but(HOLD, lot_ids=[]), INVALID, "lot_ids"),
    (but(HOLD, lot_ids=UUID), INVALID, "lot_ids"),
    (but(HOLD, lot_ids=[UUID, "x"]), INVALID, "lot_ids[1]"),
    (but(HOLD, earned_from=""), INVALID, "earned_from"),
    (but(HOLD, earned_from="24h"), INVALID, "earned_from"),
    (but(HOLD, earned_to="2026-01-31T12:00:00"), INVALID, "earned_to"),
    (but(ADJUST, expires_at="tomorrow"), INVALID, "expires_at"),
    (but(DEBIT, reference_id="R1"), INVALID, "reference_id"),
    (but(DEBIT, expires_at="24h"), INVALID, "expires_at"),
    (but(DEBIT, matures_at="24h"), INVALID, "matures_at"),
    (but(DEBIT, allow_negative="true"), INVALID, "allow_negative"),
    (but(DEBIT, allow_negative=1), INVALID, "allow_negative"),
    (but(ADJUST, allow_negative=False), INVALID, "allow_negative"),
    (but(DEBIT, allow_negative=True, bucket="HELD"), INVALID, "allow_negative"),
    (but(ADJUST, matures_at="24h", bucket="HELD"), INVALID, "matures_at"),
    (but(ITEM, quantity=1, amount=1), INVALID, "amount"),
    (but(ITEM, quantity=0), INVALID, "quantity"),
    (but(ITEM, quantity=1.5), INVALID, "quantity"),
    (but(ITEM, quantity=-1), INVALID, "quantity"),
    (but(ITEM, quantity=2**31), INVALID, "quantity"),
    (but(ITEM, quantity=True), INVALID, "quantity"),
    (but(ITEM, reward_id=None), INVALID, "reward_id"),
    (but(REVERSE, redemption_id="r-1"), INVALID, "redemption_id"),
    (but(REVERSE, redemption_key="r-1"), INVALID, "redemption_key"),
    (but(REVERSE, redemption_type="redeem"), INVALID, "redemption_type"),
    (but(BY_KEY, redemption_type="transfer"), INVALID, "redemption_type"),
    (but(REVERSE, amount=1, quantity=1), INVALID, "quantity"),
    (but(REVERSE, reason=""), INVALID, "reason"),
    (to(), INVALID, "recipients"),
    (to(*[{**BOB, "amount": 1}] * 101), INVALID, "recipients"),
    (but(TRANSFER, recipients={**BOB, "amount": 1}), INVALID, "recipients"),
    (to("bob"), INVALID, "recipients[0]"),
    (to(BOB), INVALID, "recipients[0]"),
    (to({"amount": 1}), INVALID, "recipients[0]"),
    (to({**BOB, "group_id": "g", "amount": 1}), INVALID, "recipients[0]"),
    (to({**BOB, "amount": 1}, {**BOB, "amount": 1, "note": "x"}), INVALID, "recipients[1].note"),
    (to({**BOB, "amount": "ALL"}), INVALID, "recipients[0].amount"),
    (to({**BOB, "amount": None}), INVALID, "recipients[0].amount"),
    (to({"external_id": "", "amount": 1}), INVALID, "recipients[0].external_id"),
    (to({"external_id": 1.5, "amount": 1}), INVALID, "recipients[0].external_id"),
    (to({"group_id": 5, "amount": 1}), INVALID, "recipients[0].group_id"),
    (to({"participant_id": "bob", "amount": 1}), INVALID, "recipients[0].participant_id"),
]


@pytest.mark.parametrize(
    ("row", "reason", "field"), REJECTS, ids=[f"{i}-{case[1].name}-{case[2]}" for i, case in enumerate(REJECTS)]
)
def test_reject_names_reason_and_field(row: dict[str, object], reason: RejectReason, field: str) -> None:
    mistake = refused(row)
    assert (mistake.reason, mistake.field) == (reason, field)
    assert mistake.message


@pytest.mark.parametrize("row", FORMS, ids=lambda row: row["type"])
def test_the_plain_form_of_each_type_is_accepted(row: dict[str, object]) -> None:
    record = read(row)
    assert record.operation == SPECIFICATIONS[str(row["type"])].code
    assert record.fields == json.dumps(json.loads(record.fields or ""), sort_keys=True, separators=(",", ":"))


def test_canonical_fields_resolve_definitions_and_make_numbers_plain() -> None:
    assert fields_of(but(ITEM, quantity="+2.0")) == {
        "type": "redeem_item", "effective_at": 1769860800000000, "external_id": "alice", "program_id": LOYALTY.id,
        "reward_id": MUG.id, "quantity": 2,
    }  # fmt: skip
    assert fields_of(but(ITEM, reward_id="cup"))["reward_id"] == "cup"
    held = fields_of(but(HOLD, amount="1.50", lot_ids=[UUID.upper()], earned_from="1970-01-01T01:00:00+01:00"))
    assert (held["asset_id"], held["amount"], held["lot_ids"], held["earned_from"]) == (POINTS.id, "1.5", [UUID], 0)
    adjusted = fields_of(but(ADJUST, expires_at="24h", matures_at="1970-01-01T00:00:01Z"))
    assert (adjusted["expires_at"], adjusted["matures_at"]) == ("24h", 1_000_000)
    assert fields_of(but(DEBIT, allow_negative=True))["allow_negative"] is True


def test_everything_is_said_by_leaving_the_amount_out_or_by_all() -> None:
    assert "amount" not in fields_of(HOLD)
    assert fields_of(but(FORFEIT, amount="ALL"))["amount"] == "ALL"


def test_a_transfer_is_about_its_source() -> None:
    record = read(to({"external_id": 77, "amount": "1.0"}, {"group_id": "g", "amount": 2}))
    assert (record.given, record.participant) == (Given.EXTERNAL_ID, "alice")
    fields = json.loads(record.fields or "")
    assert fields["source_external_id"] == "alice"
    assert fields["recipients"] == [{"amount": "1", "external_id": "77"}, {"amount": "2", "group_id": "g"}]
    by_id = read(but(TRANSFER, source_external_id=..., source_participant_id=UUID))
    assert (by_id.given, by_id.participant) == (Given.PARTICIPANT_ID, UUID)
    by_group = read(but(TRANSFER, source_external_id=..., source_group_id="g"))
    assert (by_group.given, by_group.participant) == (Given(0), None)


def test_a_reversal_needs_a_program_only_for_a_key() -> None:
    contract = Contract(programs=PROGRAMS, default_program=1)
    assert read(REVERSE, contract).program == -1
    assert fields_of(REVERSE)["redemption_id"] == UUID
    assert read(but(REVERSE, program_id="loyalty"), contract).program == 0
    assert read(but(BY_KEY, program_id=...), contract).program == 1


def test_cells_of_lists_are_json_text_and_of_truth_values_words() -> None:
    recipients = '[{"external_id":"bob","amount":1.50}]'
    fields = fields_of_cells(but(TRANSFER, recipients=recipients))
    assert fields["recipients"] == [{"amount": "1.5", "external_id": "bob"}]
    fields = fields_of_cells(but(DEBIT, allow_negative="true", amount="5", bucket=""))
    assert fields["allow_negative"] is True
    assert "bucket" not in fields


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (HOLD, "amount"),
        (HOLD, "lot_ids"),
        (HOLD, "earned_from"),
        (HOLD | {"type": "release"}, "reference_id"),
        (FORFEIT, "reference_id"),
        (VOID, "reference_id"),
        (ITEM, "quantity"),
        (REVERSE, "amount"),
        (TRANSFER, "recipients"),
    ],
)
def test_an_empty_cell_of_an_amount_or_a_filter_is_a_mistake(row: dict[str, object], name: str) -> None:
    mistake = refused(cells(row | {name: ""}))
    assert (mistake.reason, mistake.field) == (INVALID, name)
    assert "empty" in mistake.message


def test_an_empty_cell_that_widens_nothing_is_absent() -> None:
    assert "reference_id" not in fields_of_cells({**but(HOLD, reference_id=""), "color": ""})


def test_times_without_offset_are_utc_where_the_run_says_so() -> None:
    contract = Contract(programs=PROGRAMS, assets=(POINTS,), assume_utc=True)
    assert fields_of(but(HOLD, earned_to="1970-01-01T00:00:01"), contract)["earned_to"] == 1_000_000
    assert fields_of(but(ADJUST, expires_at="1970-01-01T00:00:01"), contract)["expires_at"] == 1_000_000
