"""Columns and the exact checks give the same records: the fast readers against `intake`, row by row."""

from __future__ import annotations

import io
import json
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Kind
from earnbook.pipeline.intake import Contract, Record, RowMistake
from earnbook.pipeline.intake_columns import Intake, examine
from earnbook.pipeline.intake_json import canonical_json, cell_of
from earnbook.pipeline.records import RECORD_FIELDS, cell_names
from earnbook.pipeline.source_bytes import number_cells, timestamps
from earnbook.pipeline.source_columns import check_layout, read_tables
from earnbook.pipeline.source_ndjson import raw_text, read_line, read_ndjson
from earnbook.rules.times import parse_timestamp
from tests.support.staging import POINTS, PROGRAMS

PATHS = (("a",), ("b", "c"), ("é",), ("list",))
CONTRACT = Contract(
    programs=PROGRAMS, assets=(POINTS,), default_program=0, horizon_us=parse_timestamp("2030-01-01T00:00:00Z")
)

numbers = st.sampled_from(
    ["0", "-0", "5", "5.10", "-12.3400", "0.1234567", "1e2", "1E-3", "12345678901234567890", "1" * 35, "1e999", "0.0",
     "123456789.987654", "-9223372036854775808", "9223372036854775808", "01", "1.", "-", "1e", "+1"]
)  # fmt: skip
texts = st.sampled_from(
    ['""', '"x"', '"caf\u00e9"', '"caf\\u00e9"', '"a\\"b"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\/"', '"\\x"', '"\t"',
     '"' + "k" * 254 + '"', '"' + "é" * 200 + '"', '"' + "é" * 256 + '"', '"earnbook:1"', '"a\\u0000b"']
)  # fmt: skip
words = st.sampled_from(["true", "false", "null", "nul", "True", "NaN", "Infinity"])
scalars = numbers | texts | words
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(["a", "b", "c", "é", "list"]), inner), max_size=4).map(
            lambda members: "{" + " , ".join(f'"{name}": {value}' for name, value in members) + "}"
        )
    ),
    max_leaves=8,
)
PLAIN_FIELDS = {
    "program_id": '"loyalty"',
    "idempotency_key": '"k-1"',
    "event_timestamp": '"2026-01-31T12:00:00.5Z"',
    "external_id": '"alice"',
    "event_data": '{"a":1.50,"b":{"c":"x"}}',
}
UUID_TEXT = '"5F4d6c80-b779-5174-9e3e-37d6ea331a70"'
fields = st.dictionaries(
    st.sampled_from(
        [*PLAIN_FIELDS, "participant_id", "recipient_external_id", "recipient_id", "type", "color", "note"]
    ),
    scalars
    | values
    | st.sampled_from(['"partner"', UUID_TEXT, '"2026-02-30T00:00:00Z"', '"2031-01-01T00:00:00+05:30"']),
    max_size=2,
)
rows = st.builds(
    lambda changed, data, cut: (
        "{" + ",".join(f'"{k}":{v}' for k, v in (PLAIN_FIELDS | {"event_data": data} | changed).items()) + "}"
    )[: cut or None],
    fields,
    values | st.just(PLAIN_FIELDS["event_data"]),
    st.sampled_from([0, 0, 0, 0, 0, 0, -1, 40]),
)


def intake() -> Intake:
    return Intake(contract=CONTRACT, source=0, paths=PATHS, pool=StringPool())


def expected(line: bytes) -> Record | RowMistake:
    try:
        return examine(read_line(line), CONTRACT)
    except RowMistake as mistake:
        return mistake


def assert_same(row: dict[str, object], record: Record, pool: StringPool) -> None:
    for name in RECORD_FIELDS.names:
        if hasattr(record, name):
            assert row[name] == getattr(record, name), name
    for number, path in enumerate(PATHS):
        kind, value, scale, text = cell_of(record.event, path)
        got = tuple(row[name] for name in cell_names(number))
        if kind is Kind.TEXT:
            assert isinstance(got[1], int)
            got = (got[0], pool.text(got[1]), got[2])
            assert got == (kind, text, 0)
        else:
            assert got == (kind, value, scale)


@settings(max_examples=300, deadline=None)
@given(st.lists(rows, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n  \n"]), st.integers(20, 400))
@example(['{"event_data":{}}'] * 3, "\n", 20)
def test_ndjson_columns_are_the_exact_rows(lines: list[str], line_break: str, block_bytes: int) -> None:
    data = line_break.join(lines).encode()
    given_intake = intake()
    conformed = list(read_ndjson(io.BytesIO(data), "t", given_intake, block_bytes))
    got = {row["source_row"]: row for part in conformed for row in part.records.to_pylist()}
    rejects = {reject.source_row: reject for part in conformed for reject in part.rejects}
    unknown: Counter[str] = Counter()
    read = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            assert number not in got
            assert number not in rejects
            continue
        read += 1
        outcome = expected(line)
        if isinstance(outcome, RowMistake):
            reject = rejects[number]
            assert (reject.reason, reject.field, reject.message) == (outcome.reason, outcome.field, outcome.message)
            assert reject.raw == raw_text(line)
        else:
            assert_same(got[number], outcome, given_intake.pool)
            unknown.update(outcome.unknown_fields)
    assert sum(part.rows_read for part in conformed) == read
    assert sum((Counter(part.unknown_fields) for part in conformed), Counter()) == unknown


tree_type = pa.struct(
    [
        ("a", pa.float64()),
        ("b", pa.struct([("c", pa.string()), ("d", pa.decimal128(38, 9))])),
        ("é", pa.int64()),
        ("list", pa.list_(pa.struct([("x", pa.bool_()), ("y", pa.list_(pa.float32()))]))),
    ]
)
floats = st.floats(width=64) | st.sampled_from([0.1, 5.0, -0.0, 1e-7, 1e22, 49.99, 123456789.125, 2.0**63])
small_floats = st.floats(width=32, allow_nan=False)
decimals = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-9")) | st.just(Decimal("0.000000001"))
trees = st.none() | st.fixed_dictionaries(
    {
        "a": st.none() | floats,
        "b": st.none() | st.fixed_dictionaries({"c": st.none() | st.text(), "d": st.none() | decimals}),
        "é": st.none() | st.integers(-(2**63), 2**63 - 1),
        "list": st.none()
        | st.lists(
            st.none()
            | st.fixed_dictionaries(
                {"x": st.none() | st.booleans(), "y": st.none() | st.lists(small_floats, max_size=2)}
            ),
            max_size=3,
        ),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.lists(trees, min_size=1, max_size=5), st.integers(0, 2))
def test_typed_columns_are_the_exact_rows(data: list[object], sliced: int) -> None:
    """Each row alone, read exactly through its JSON text, is the row that columns made."""
    count = len(data)
    table = pa.table(
        {
            "idempotency_key": pa.array(range(count), pa.int32()),
            "event_timestamp": pa.array([1_767_225_600_000_000_123] * count, pa.timestamp("ns", "Europe/Berlin")),
            "external_id": pa.array([f"p{n}" for n in range(count)]).dictionary_encode(),
            "event_data": pa.array(data, tree_type),
        }
    ).slice(min(sliced, count - 1))
    layout = check_layout(table.column_names, "t", is_cells=False)
    given_intake = intake()
    parts = list(read_tables(iter([table]), layout, "t", given_intake, first_row=5))
    got = {row["source_row"]: row for part in parts for row in part.records.to_pylist()}
    rejects = {reject.source_row: reject for part in parts for reject in part.rejects}
    assert sorted({*got, *rejects}) == list(range(5, 5 + len(table)))
    for number, row in got.items():
        line = dict(PLAIN_FIELDS) | {
            "idempotency_key": f'"{row["idempotency_key"]}"',
            "external_id": f'"{row["participant"]}"',
            "event_timestamp": '"2026-01-01T00:00:00Z"',
            "event_data": row["event_data"],
        }
        outcome = expected(("{" + ",".join(f'"{k}":{v}' for k, v in line.items()) + "}").encode())
        assert isinstance(outcome, Record)
        assert_same(row, outcome, given_intake.pool)
        original = table["event_data"][number - 5].as_py()
        assert json.loads(row["event_data"]) == json.loads(json.dumps(_expected_json(original)))
    for reject in rejects.values():
        assert reject.reason.name in ("INVALID_NUMBER", "MISSING_EVENT_DATA")


def _expected_json(value: object, name: str = "") -> object:
    """Null members are absent, null items stay; a decimal as the float json.loads makes of its text."""
    if isinstance(value, dict):
        return {member: _expected_json(item, member) for member, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_expected_json(item, name) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return json.loads(str(np.float32(value))) if name == "y" and isinstance(value, float) else value


@settings(max_examples=300)
@given(st.integers(0, 10**22), st.integers(0, 9), st.booleans(), st.integers(0, 3))
def test_number_cells_are_exact(digits: int, decimals_count: int, negative: bool, zeros: int) -> None:
    text = ("-" if negative else "") + format(Decimal(f"{digits}E-{decimals_count}"), "f")
    text += ("0" * zeros) if "." in text else ""
    buffer = np.frombuffer(text.encode(), np.uint8)
    kinds, mantissas, scales = number_cells(
        buffer, np.array([Kind.NUMBER], np.int8), np.zeros(1, np.int64), np.array([len(text)])
    )
    members = read_line(f'{{"n":{text}}}'.encode()).values
    assert (kinds[0], mantissas[0], scales[0]) == cell_of(dict(members), ("n",))[:3]


@settings(max_examples=300)
@given(
    st.datetimes(),
    st.sampled_from(["Z", "z", "+00:00", "-11:30", "+23:59", "", "+24:00", "+1:00", "Z "]),
    st.sampled_from(["T", "t", " "]),
    st.sampled_from(["", ".", ".1", ".1234567899"]),
)
@pytest.mark.parametrize("assume_utc", [False, True])
def test_timestamps_are_exact(assume_utc: bool, moment: object, offset: str, separator: str, fraction: str) -> None:
    text = f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S}{fraction}{offset}".rjust(4, "0")
    buffer = np.frombuffer(text.encode(), np.uint8)
    micros, good = timestamps(buffer, np.zeros(1, np.int64), np.array([len(buffer)]), assume_utc=assume_utc)
    try:
        exact = parse_timestamp(text + ("Z" if assume_utc and offset == "" else ""))
    except ValueError:
        assert not good[0]
        return
    assert good[0]
    assert micros[0] == exact


def test_canonical_json_of_both_paths_is_one() -> None:
    assert canonical_json('{"a":5.0,"é":1e1}') == canonical_json('{"\\u00e9":10,"a":5}')
