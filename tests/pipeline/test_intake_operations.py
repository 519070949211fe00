"""Rows of operations on members and state: what is refused and why, and the canonical fields of what is accepted."""

from __future__ import annotations

import json

import pytest

from earnbook.pipeline.intake import Contract, Record, Row, RowMistake
from earnbook.pipeline.intake_columns import examine
from earnbook.pipeline.intake_json import NumberText
from earnbook.pipeline.operation_fields import SPECIFICATIONS
from earnbook.pipeline.records import Given, Reference, RejectReason
from earnbook.pipeline.source_ndjson import read_line
from tests.support.oracle_operation_fields import OPERATIONS
from tests.support.staging import LOYALTY, POINTS, PROGRAMS

UUID = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
RULE = Reference("69f0f32e-262e-58b7-a77a-dca8f2f701b5", "base")
CONTRACT = Contract(programs=PROGRAMS, assets=(POINTS,), rules=((0, RULE),))
WITH_DEFAULT = Contract(programs=PROGRAMS, assets=(POINTS,), default_program=0)
COMMON: dict[str, object] = {"idempotency_key": "o-1", "effective_at": "2026-01-31T12:00:00Z"}
ALICE: dict[str, object] = {"external_id": "alice"}


def operation(kind: str, **fields: object) -> dict[str, object]:
    """A row of one type."""
    return {"type": kind, **COMMON, **fields}


def read(row: dict[str, object], contract: Contract = CONTRACT) -> Record:
    return examine(read_line(json.dumps(row).encode()), contract)


def refused(row: dict[str, object] | Row, contract: Contract = CONTRACT) -> RowMistake:
    with pytest.raises(RowMistake) as caught:
        examine(row if isinstance(row, Row) else read_line(json.dumps(row).encode()), contract)
    return caught.value


def fields_of(record: Record) -> dict[str, object]:
    found = json.loads(record.fields or "")
    return {name: value for name, value in found.items() if name not in ("type", "effective_at")}


REJECTS: list[tuple[dict[str, object], RejectReason, str, str]] = [
    (
        operation("trigger_automation", program_id="loyalty"),
        RejectReason.MISSING_FIELD,
        "automation_id",
        "needs automation_id",
    ),
    (operation("add_tag", **ALICE, tags=["a"]), RejectReason.UNKNOWN_FIELD, "tags", "use one of"),
    (operation("remove_member", **ALICE, program_id="x"), RejectReason.UNKNOWN_FIELD, "program_id", "no field"),
    (operation("set_program_status", status="ACTIVE"), RejectReason.MISSING_PROGRAM, "program_id", "add it"),
    (operation("add_tag", target="PROGRAM", tag="a"), RejectReason.MISSING_PROGRAM, "program_id", "add it"),
    (operation("add_tag", **ALICE, program_id="x", tag="a"), RejectReason.PROGRAM_NOT_FOUND, "program_id", "not in"),
    (operation("upsert_participant", **ALICE, program_id=None), RejectReason.MISSING_PROGRAM, "program_id", "is null"),
    (operation("add_tag", tag="a"), RejectReason.MISSING_PARTICIPANT, "external_id", "or target: PROGRAM"),
    (operation("upsert_participant"), RejectReason.MISSING_PARTICIPANT, "external_id", "names nobody"),
    (operation("add_tag", **ALICE, group_id="g", tag="a"), RejectReason.AMBIGUOUS_PARTICIPANT, "group_id", "one of"),
    (operation("add_tag", participant_id="x", tag="a"), RejectReason.INVALID_PARTICIPANT, "participant_id", "a UUID"),
    (operation("add_tag", external_id=["x"], tag="a"), RejectReason.INVALID_PARTICIPANT, "external_id", "a text"),
    (operation("set_counter", **ALICE, key="n", value="1e500"), RejectReason.INVALID_NUMBER, "value", "-400 to 400"),
    (operation("set_counter", **ALICE, key="n"), RejectReason.MISSING_FIELD, "value", "set_counter needs value"),
    (operation("update_group", name="x"), RejectReason.MISSING_FIELD, "group_id", "add it"),
    (operation("add_tag", external_id="", tag="a"), RejectReason.INVALID_FIELD, "external_id", "empty"),
    (operation("add_tag", group_id=None, tag="a"), RejectReason.INVALID_FIELD, "group_id", "empty"),
    (operation("add_tag", group_id=5, tag="a"), RejectReason.INVALID_FIELD, "group_id", "a text"),
    (operation("add_tag", **ALICE, target="ALL", tag="a"), RejectReason.INVALID_FIELD, "target", "must be PROGRAM"),
    (
        operation("add_tag", **ALICE, target="PROGRAM", program_id="loyalty", tag="a"),
        RejectReason.INVALID_FIELD,
        "external_id",
        "excludes target",
    ),
    (operation("add_tag", **ALICE, tag=""), RejectReason.INVALID_FIELD, "tag", "empty"),
    (operation("add_tag", **ALICE, tag="x" * 256), RejectReason.INVALID_FIELD, "tag", "at most 255"),
    (operation("set_tags", **ALICE, tags="a"), RejectReason.INVALID_FIELD, "tags", "list of texts"),
    (operation("set_tags", **ALICE, tags=["a", 1]), RejectReason.INVALID_FIELD, "tags[1]", "a text"),
    (operation("set_attributes", **ALICE, attributes={"": "x"}), RejectReason.INVALID_FIELD, "attributes", "empty"),
    (operation("set_attributes", **ALICE, attributes={"a": 1}), RejectReason.INVALID_FIELD, "attributes.a", "a text"),
    (operation("set_counter", **ALICE, key="n", value="x"), RejectReason.INVALID_FIELD, "value", "a decimal"),
    (
        operation("set_counter", **ALICE, key="n", value=1, reset_after="1 day"),
        RejectReason.INVALID_FIELD,
        "reset_after",
        "duration",
    ),
    (operation("set_participant_status", **ALICE, status="ARCHIVED"), RejectReason.INVALID_FIELD, "status", "CLOSED"),
    (operation("enroll", **ALICE, program_id="loyalty", status="x"), RejectReason.INVALID_FIELD, "status", "FROZEN"),
    (operation("upsert_participant", **ALICE, id="x"), RejectReason.INVALID_FIELD, "id", "a UUID"),
    (operation("upsert_participant", **ALICE, email=None), RejectReason.INVALID_FIELD, "email", "empty"),
    (operation("create_group", name="g", members=[]), RejectReason.INVALID_FIELD, "members", "at least one"),
    (operation("create_group", name="g", members=[{}]), RejectReason.INVALID_FIELD, "members[0]", "external_id or"),
    (
        operation("create_group", name="g", members=[{**ALICE, "role": "OWNER"}]),
        RejectReason.INVALID_FIELD,
        "members[0].role",
        "ADMIN, MEMBER",
    ),
    (
        operation("create_group", name="g", members=[{**ALICE, "name": "x"}]),
        RejectReason.INVALID_FIELD,
        "members[0].name",
        "no field of a member",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason", "field", "message"), REJECTS, ids=[f"{i}-{case[1].name}" for i, case in enumerate(REJECTS)]
)
def test_reject_names_reason_field_and_remedy(
    row: dict[str, object], reason: RejectReason, field: str, message: str
) -> None:
    mistake = refused(row)
    assert (mistake.reason, mistake.field) == (reason, field)
    assert message in mistake.message


def test_every_type_of_the_oracle_has_the_same_fields() -> None:
    assert set(SPECIFICATIONS) == set(OPERATIONS)
    for name in SPECIFICATIONS:
        form = OPERATIONS[name]
        assert set(SPECIFICATIONS[name].names) - {"type", "idempotency_key", "effective_at"} == form.names, name
        required = {field for field, spec in SPECIFICATIONS[name].fields.items() if spec.required}
        assert required == form.required, name


def test_every_type_of_the_specification_is_processed() -> None:
    assert len(SPECIFICATIONS) == 38


def test_canonical_fields_resolve_definitions_and_keep_participants_as_given() -> None:
    record = read(operation("upsert_participant", external_id=77, program_id="loyalty", id=UUID.upper(), tags=["VIP"]))
    assert (record.given, record.participant, record.program) == (Given.EXTERNAL_ID, "77", 0)
    assert fields_of(record) == {"external_id": "77", "program_id": LOYALTY.id, "id": UUID, "tags": ["VIP"]}
    linked = read(operation("link_asset", program_id=LOYALTY.id, asset_id="PTS"))
    assert fields_of(linked) == {"program_id": LOYALTY.id, "asset_id": POINTS.id}
    assert CONTRACT.rule_id(0, "base") == RULE.id
    assert CONTRACT.rule_id(1, "base") == "base"


def test_numbers_and_times_have_one_form() -> None:
    texts = [operation("set_counter", **ALICE, key="n", value=value) for value in ("+1.50", 1.5, "0.15e1")]
    assert len({read(row).fields for row in texts}) == 1


def test_the_default_program_is_for_operations_that_need_one() -> None:
    assert read(operation("upsert_participant", **ALICE), WITH_DEFAULT).program == -1
    assert read(operation("add_tag", **ALICE, tag="a"), WITH_DEFAULT).program == -1
    assert read(operation("add_tag", target="PROGRAM", tag="a"), WITH_DEFAULT).program == 0
    assert read(operation("enroll", **ALICE), WITH_DEFAULT).program == 0


def test_lists_and_objects_are_json_text_in_csv_and_empty_cells_are_absent_where_that_is_harmless() -> None:
    cells = {"type": "upsert_participant", **COMMON, "external_id": "alice", "tags": '["a"]', "attributes": "{}"}
    row = Row(values={**cells, "email": "", "program_id": "", "color": ""}, is_cells=True)
    assert fields_of(examine(row, CONTRACT)) == {"external_id": "alice", "tags": ["a"], "attributes": {}}
    damaged = Row(values={**cells, "tags": "a,b"}, is_cells=True)
    assert refused(damaged).field == "tags"
    tag = {"type": "add_tag", **COMMON, "external_id": "alice", "participant_id": "", "tag": "a"}
    assert refused(Row(values=tag, is_cells=True)).reason is RejectReason.AMBIGUOUS_PARTICIPANT
    counter = {"type": "set_counter", **COMMON, "external_id": "alice", "key": "n", "value": "", "reset_after": ""}
    assert refused(Row(values=counter, is_cells=True)).field == "value"


def test_an_empty_window_is_meant_in_json_and_absent_in_csv() -> None:
    row = operation("set_counter", **ALICE, key="n", value=1, reset_after="")
    assert fields_of(read(row))["reset_after"] == ""
    cells = Row(values={**row, "value": NumberText("1")}, is_cells=True)
    assert "reset_after" not in fields_of(examine(cells, CONTRACT))
