"""Columns of money operations and the exact checks give the same records and rejects, whatever the source."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnbook.ledger.pool import StringPool
from earnbook.pipeline import intake_columns
from earnbook.pipeline.intake import Contract, Record, Row, RowMistake
from earnbook.pipeline.intake_columns import Conformed, Intake, examine
from earnbook.pipeline.records import RECORD_FIELDS, Reference
from earnbook.pipeline.source_columns import check_layout, conform_table, read_tables
from earnbook.pipeline.source_csv import CsvReader
from earnbook.pipeline.source_ndjson import read_line, read_ndjson
from earnbook.rules.times import parse_timestamp
from tests.support.staging import POINTS, PROGRAMS

UUID = "5F4d6c80-b779-5174-9e3e-37d6ea331a70"
MILES = Reference("59bb73fc-f091-5918-a0dc-16c06074dd9d", "MIL")
CONTRACT = Contract(
    programs=PROGRAMS,
    assets=(POINTS, MILES),
    default_program=1,
    horizon_us=parse_timestamp("2030-01-01T00:00:00Z"),
)
PATHS = (("a",), ("b", "c"))

TEXTS = ("alice", "x" * 255, "x" * 256, "é" * 128, "é" * 255, "", 'a"b', "a\\b", "\n", "\x01", "\u2028", "5", "null")
AMOUNTS = (
    "5", "5.00", "0", "-0", "-1", "-01", "+1.5", "+", "-", ".5", "5.", "007", "0.10", "-0.50", "1e3", "ALL", "all",
    "1" * 34, "1" * 35, "0" * 40, "1.2.3", "NaN", "", " 1",
)  # fmt: skip
NUMBERS = ("5", "5.0", "0.50", "-3", "0", "-0", "1e2", "1" * 35, "0.1234567")
TIMES = ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00+01:00", "2026-01-31T12:00:00", "24h", "1h30m", "x", "")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "type": ("adjust", "redeem", "transfer", "fund", "redeem_item", "add_tag", "pay", ""),
    "program_id": ("loyalty", PROGRAMS[0].id.upper(), "nowhere", ""),
    "idempotency_key": (*TEXTS, "earnbook:1", "a\0b"),
    "effective_at": (*TIMES, "2031-01-01T00:00:00Z"),
    "asset_id": ("PTS", "MIL", POINTS.id.upper(), "XXX", *TEXTS),
    "amount": AMOUNTS,
    "direction": ("CREDIT", "DEBIT", "UP", ""),
    "bucket": ("AVAILABLE", "HELD", "DEFERRED", ""),
    "allow_negative": ("true", "false", "True", ""),
    "description": (*TEXTS, "x" * 500, "x" * 501, "é" * 500),
    **dict.fromkeys(("external_id", "source_external_id", "group_id", "source_group_id", "reference_id"), TEXTS),
    **dict.fromkeys(("participant_id", "source_participant_id"), (UUID, UUID.lower(), "x", "")),
    **dict.fromkeys(("expires_at", "matures_at", "earned_from", "earned_to"), TIMES),
    "lot_ids": (f'["{UUID}"]', "[]", ""),
    "color": ("red", ""),
    "event_data": ("{}", ""),
}  # fmt: skip
PLAIN: Mapping[str, Mapping[str, str]] = {
    kind: {"type": kind, "program_id": "loyalty", "idempotency_key": "k", "effective_at": TIMES[0], **fields}
    for kind, fields in {
        "adjust": {"external_id": "alice", "asset_id": "PTS", "direction": "CREDIT", "amount": "5", "description": "d"},
        "hold": {"external_id": "alice", "asset_id": "PTS", "description": "d", "amount": "ALL"},
        "release": {"group_id": "smith", "asset_id": "PTS", "description": "d", "reference_id": "R1"},
        "forfeit": {"participant_id": UUID, "asset_id": "PTS", "description": "d", "bucket": "HELD"},
        "void_hold": {"external_id": "alice", "asset_id": "PTS", "description": "d", "reference_id": "R1"},
        "redeem": {"external_id": "alice", "asset_id": "MIL", "amount": "5.10", "description": "d"},
        "fund": {"asset_id": "PTS", "amount": "100"},
        "burn": {"asset_id": "PTS", "amount": "100", "description": "d"},
        "transfer": {
            "source_external_id": "alice",
            "asset_id": "PTS",
            "description": "d",
            "recipients": '[{"external_id":"bob","amount":"5.50"},{"amount": 7.0, "group_id": "smith"}]',
        },
    }.items()
}

recipients = st.lists(
    st.dictionaries(
        st.sampled_from(("external_id", "participant_id", "group_id", "amount", "note")),
        st.sampled_from((*TEXTS, UUID, *AMOUNTS)).map(json.dumps)
        | st.sampled_from((*NUMBERS, "null", "[]", "{}", "01")),
        min_size=1,
        max_size=3,
    ).map(lambda members: "{" + ", ".join(f'"{name}":{value}' for name, value in members.items()) + "}"),
    max_size=4,
).map(lambda items: "[" + " ,".join(items) + "]") | st.sampled_from(
    (
        "[{}]", "[1]", "{}", '[{"external_id":"b","amount":1},]', "[", ' [ {"external_id":"b","amount":1} ] ', "[]x",
        '[{"external_id":"b","amount":1,"amount":1}]', '[{"external_id":"b","amount":1}]]',
        '[{"external_id":"}","amount":1}]',
        "[" + ",".join(['{"external_id":"b","amount":1}'] * 101) + "]", "",
    )
)  # fmt: skip


@st.composite
def rows_of_texts(draw: st.DrawFn) -> dict[str, str]:
    """The cells of one operation; up to three of them are changed, added or taken away."""
    row = dict(PLAIN[draw(st.sampled_from(sorted(PLAIN)))])
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 3)))):
        name = draw(st.sampled_from((*CHOICES, "recipients", *row)))
        if draw(st.sampled_from((True, False, False, False))):
            row.pop(name, None)
        elif name == "recipients":
            row[name] = draw(recipients)
        else:
            row[name] = draw(st.sampled_from(CHOICES[name]))
    return row


@st.composite
def lines(draw: st.DrawFn) -> str:
    """An operation as a line of JSON: some values of any kind, and members in any order."""
    row = draw(rows_of_texts())
    raw = {"recipients", "lot_ids", *draw(st.sets(st.sampled_from(("amount", "allow_negative", "external_id"))))}
    members = {
        name: value if name in raw and value.strip() else json.dumps(value, ensure_ascii=draw(st.booleans()))
        for name, value in row.items()
    }
    if draw(st.sampled_from((True, False, False))):
        name = draw(st.sampled_from((*CHOICES, "note")))
        members[name] = draw(st.sampled_from((*NUMBERS, "null", "true", "[]", "{}", '"a\\u0062"', "nul")))
    names = draw(st.permutations(sorted(members)))
    return "{" + " , ".join(f'"{name}": {members[name]}' for name in names) + "}"


def intake() -> Intake:
    return Intake(contract=CONTRACT, source=0, paths=PATHS, pool=StringPool())


def exact(row: Row | bytes) -> Record | RowMistake:
    try:
        return examine(read_line(row) if isinstance(row, bytes) else row, CONTRACT)
    except RowMistake as mistake:
        return mistake


def assert_same(conformed: list[Conformed], outcomes: list[Record | RowMistake]) -> None:
    """The records and rejects of all rows, which are numbered from 1."""
    rejects = {reject.source_row: reject for part in conformed for reject in part.rejects}
    records = [row for part in conformed for row in part.records.to_pylist()]
    assert [row["source_row"] for row in records] == sorted(row["source_row"] for row in records)
    found = {row["source_row"]: row for row in records}
    for number, outcome in enumerate(outcomes, 1):
        if isinstance(outcome, RowMistake):
            reject = rejects.pop(number)
            assert (reject.reason, reject.field, reject.message) == (outcome.reason, outcome.field, outcome.message)
            continue
        row = found.pop(number)
        for name in RECORD_FIELDS.names:
            if hasattr(outcome, name):
                assert row[name] == getattr(outcome, name), name
    assert not found
    assert not rejects


@settings(max_examples=150, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=6))
def test_lines_are_the_exact_rows(given_lines: list[str]) -> None:
    data = "\n".join(given_lines).encode()
    assert_same(list(read_ndjson(io.BytesIO(data), "t", intake())), [exact(line.encode()) for line in given_lines])


@settings(max_examples=150, deadline=None)
@given(st.lists(rows_of_texts(), min_size=1, max_size=5))
def test_cells_are_the_exact_rows(rows: list[dict[str, str]]) -> None:
    names = sorted({"idempotency_key", "effective_at", *(name for row in rows for name in row)})
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    reader = CsvReader(io.BytesIO(text.getvalue().encode()), "t")
    layout = check_layout(list(reader.names), "t", is_cells=True)
    conformed = [conform_table(block.cells, block.source_rows, layout, "t", intake()) for block in reader]
    cells = [Row(values={name: row.get(name, "") for name in names}, is_cells=True) for row in rows]
    assert_same(conformed, [exact(row) for row in cells])


@settings(max_examples=120, deadline=None)
@given(st.lists(rows_of_texts(), min_size=1, max_size=5), st.integers(0, 3))
def test_columns_are_the_exact_rows(rows: list[dict[str, str]], kind: int) -> None:
    values = [_typed(row, kind) for row in rows]
    names = sorted({"idempotency_key", "effective_at", *(name for row in values for name in row)})
    arrays = [pa.array([row.get(name) for row in values], _TYPES[kind].get(name, pa.string())) for name in names]
    table = pa.table(arrays, names=names)
    layout = check_layout(names, "t", is_cells=False)
    conformed = list(read_tables(iter([table]), layout, "t", intake()))
    in_order = [{name: row[name] for name in names if name in row} for row in values]
    assert_same(conformed, [exact(json.dumps(_written(row)).encode()) for row in in_order])


_RECIPIENTS = {
    number: pa.list_(pa.struct([("external_id", pa.string()), ("group_id", pa.string()), ("amount", amount)]))
    for number, amount in enumerate((pa.string(), pa.float64(), pa.int64(), pa.string()))
}
_LOT_IDS = pa.list_(pa.string())
_TYPES: Mapping[int, Mapping[str, pa.DataType]] = {
    0: {"recipients": _RECIPIENTS[0], "allow_negative": pa.bool_()},
    1: {"recipients": _RECIPIENTS[1], "amount": pa.float64()},
    2: {
        "recipients": _RECIPIENTS[2],
        "amount": pa.int64(),
        "external_id": pa.int64(),
        "lot_ids": pa.list_(pa.string()),
    },
    3: {"recipients": pa.string(), "reference_id": pa.int32(), "description": pa.large_string()},
}


def _typed(row: Mapping[str, str], kind: int) -> dict[str, object]:
    """The row as values of typed columns; what does not fit a column's type is left out."""
    values: dict[str, object] = {}
    for name, text in row.items():
        wanted = _TYPES[kind].get(name, pa.string())
        try:
            if pa.types.is_string(wanted) or pa.types.is_large_string(wanted):
                values[name] = text
            elif pa.types.is_list(wanted):
                values[name] = pa.scalar(json.loads(text), wanted).as_py()
            else:
                values[name] = text == "true" if pa.types.is_boolean(wanted) else pa.scalar(text).cast(wanted).as_py()
        except (ValueError, TypeError, AttributeError, OverflowError, pa.ArrowException):
            continue
    return {name: value for name, value in values.items() if value == value}


def _written(value: object) -> object:
    """Without the members that are null, as columns have them."""
    if isinstance(value, dict):
        return {name: _written(inner) for name, inner in value.items() if inner is not None}
    return [_written(item) for item in value] if isinstance(value, list) else value


def test_plain_rows_never_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the columns are for: not one of the plain forms is left to the exact checks."""
    monkeypatch.setattr(intake_columns, "examine", pytest.fail)
    data = "\n".join(
        json.dumps({name: json.loads(text) if name == "recipients" else text for name, text in row.items()})
        for row in PLAIN.values()
    )
    (conformed,) = read_ndjson(io.BytesIO(data.encode() + b"\n"), "t", intake())
    assert conformed.records.num_rows == len(PLAIN)
    by_type = [{**row, "recipients": json.loads(row.get("recipients", "null"))} for row in PLAIN.values()]
    names = sorted({name for row in by_type for name in row})
    table = pa.table(
        [pa.array([row.get(name) for row in by_type]) for name in names if name != "recipients"]
        + [pa.array([_first_recipient(row["recipients"]) for row in by_type], _RECIPIENTS[0])],
        names=[name for name in names if name != "recipients"] + ["recipients"],
    )
    (conformed,) = read_tables(iter([table]), check_layout(table.column_names, "t", is_cells=False), "t", intake())
    assert conformed.records.num_rows == len(PLAIN)


def _first_recipient(found: object) -> object:
    return [found[0]] if isinstance(found, list) else None


def test_a_block_of_events_and_operations_keeps_its_order() -> None:
    event = {"program_id": "loyalty", "idempotency_key": "e", "event_timestamp": TIMES[0], "external_id": "a"} | {
        "event_data": {"a": 1}
    }
    rows: list[Mapping[str, object]] = [event, PLAIN["redeem"], event, {**PLAIN["redeem"], "amount": "+1"}, event]
    data = "\n".join(map(json.dumps, rows))
    assert_same(
        list(read_ndjson(io.BytesIO(data.encode()), "t", intake())), [exact(json.dumps(row).encode()) for row in rows]
    )
