"""One set of data in every format gives the same records; CSV cells, layouts and warnings (§3.1)."""

from __future__ import annotations

import io
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earnbook.ledger.pool import StringPool
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.intake_json import canonical_json
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.source_csv import CsvReader
from tests.support.staging import PROGRAMS, event, fund, records_of, stage, write_lines

PATHS = (("type",), ("amount",), ("customer", "tier"), ("customer",), ("gift",), ("items",))
COLUMNS = ("event_data.type", "event_data.amount:number", "event_data.customer.tier", "event_data.gift:bool",
           "event_data.items:json")  # fmt: skip
DATA: list[dict[str, object]] = [
    {"type": "purchase", "amount": Decimal("49.90"), "customer": {"tier": "gold"}, "gift": True, "items": [1, 2]},
    {"type": 'say "hi"\n', "amount": Decimal("0.07"), "customer": {"tier": "é"}, "gift": False},
    {"type": "refund", "amount": Decimal("-3.00")},
]
EVENTS = [
    event(
        idempotency_key=f"k{n}", external_id=f"p{n}", event_timestamp=f"2026-01-0{n + 1}T10:00:00.25Z", event_data=data
    )
    for n, data in enumerate(DATA)
]
DATA_TYPE = pa.struct(
    [
        ("type", pa.string()),
        ("amount", pa.decimal128(18, 2)),
        ("customer", pa.struct([("tier", pa.string())])),
        ("gift", pa.bool_()),
        ("items", pa.list_(pa.int64())),
    ]
)


def as_json(value: object) -> str:
    return (
        json.dumps(value, ensure_ascii=False, default=lambda number: f"<{number}>").replace('"<', "").replace('>"', "")
    )


def cell(text: object) -> str:
    return '"' + str(text).replace('"', '""') + '"'


def write_ndjson(path: Path) -> Path:
    path.write_text("".join(as_json(row) + "\n" for row in EVENTS))
    return path


def typed_table() -> pa.Table:
    columns: dict[str, object] = {
        name: [row[name] for row in EVENTS] for name in ("program_id", "idempotency_key", "external_id")
    }
    times = [datetime.fromisoformat(str(row["event_timestamp"])) for row in EVENTS]
    columns["event_timestamp"] = pa.array(times, pa.timestamp("ms", "UTC"))
    columns["event_data"] = pa.array(DATA, DATA_TYPE)
    return pa.table(columns)


def write_parquet(path: Path) -> Path:
    pq.write_table(typed_table(), path)
    return path


def write_arrow(path: Path) -> Path:
    with pa.ipc.new_file(str(path), typed_table().schema) as writer:
        writer.write_table(typed_table(), max_chunksize=2)
    return path


def write_json_csv(path: Path) -> Path:
    names = list(EVENTS[0])
    rows = [[as_json(row[name]) if name == "event_data" else row[name] for name in names] for row in EVENTS]
    path.write_text("\n".join([",".join(names), *(",".join(map(cell, row)) for row in rows)]))
    return path


def write_flat_csv(path: Path) -> Path:
    names = [name for name in EVENTS[0] if name != "event_data"]
    lines = [",".join([*names, *COLUMNS])]
    for row, data in zip(EVENTS, DATA, strict=True):
        customer = data.get("customer", {})
        assert isinstance(customer, dict)
        flat = [data["type"], data["amount"], customer.get("tier", ""), str(data.get("gift", "")).lower()]
        flat.append(as_json(data["items"]) if "items" in data else "")
        lines.append(",".join(cell(value) for value in [*(row[name] for name in names), *flat]))
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n")
    return path


WRITERS = {
    "a.ndjson": write_ndjson,
    "a.parquet": write_parquet,
    "a.arrow": write_arrow,
    "json.csv": write_json_csv,
    "flat.csv": write_flat_csv,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_records(tmp_path: Path, name: str) -> None:
    pool = StringPool()
    got = records_of(stage(WRITERS[name](tmp_path / name), paths=PATHS, pool=pool), PATHS, pool)
    expected_pool = StringPool()
    expected = records_of(
        stage(write_ndjson(tmp_path / "b.ndjson"), paths=PATHS, pool=expected_pool), PATHS, expected_pool
    )
    for row in (*got, *expected):
        row["event_data"] = canonical_json(str(row["event_data"]))
    assert got == expected
    assert expected[0]["amount"] == ("NUMBER", 499, 1)
    assert expected[1]["customer.tier"] == ("TEXT", "é", 0)
    assert expected[2]["customer"] == ("ABSENT", 0, 0)


def test_doubles_become_their_shortest_decimal(tmp_path: Path) -> None:
    data = pa.array([{"n": 0.1}, {"n": 49.99}, {"n": 5.0}, {"n": 1e22}, {"n": float("nan")}, {"n": None}])
    table = pa.table(
        {
            "idempotency_key": [str(n) for n in range(6)],
            "event_timestamp": ["2026-01-01T00:00:00Z"] * 6,
            "external_id": ["a"] * 6,
            "event_data": data,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    staged = stage(tmp_path / "a.parquet", default_program=0, paths=(("n",),))
    cells = [row["n"] for row in records_of(staged, (("n",),))]
    assert cells == [("NUMBER", 1, 1), ("NUMBER", 4999, 2), ("NUMBER", 5, 0), ("WIDE", 0, 0), ("ABSENT", 0, 0)]
    (reject,) = staged.rejects
    assert (reject.source_row, reject.reason, reject.field) == (5, RejectReason.INVALID_NUMBER, "event_data.n")
    assert json.loads(reject.raw)["idempotency_key"] == "4"


def csv_file(tmp_path: Path, *lines: str | bytes) -> Path:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


HEADER = (
    "program_id,idempotency_key,event_timestamp,external_id,event_data.n:number,event_data.ok:bool,event_data.j:json"
)
PREFIX = "loyalty,k,2026-01-01T00:00:00Z,alice"


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        (f"{PREFIX},1", "", "5 cells, the header 7"),
        (f"{PREFIX},1,true,{{}},x", "", "8 cells, the header 7"),
        (f"{PREFIX},x,,", "event_data.n:number", "'x' is not a number"),
        (f'{PREFIX},"1,""x"":2",,', "event_data.n:number", "is not a number"),
        (f"{PREFIX},,yes,", "event_data.ok:bool", "'yes' is not a bool"),
        (f"{PREFIX},,,[1", "event_data.j:json", "invalid JSON"),
        (f'{PREFIX},,,"1,""x"":2"', "event_data.j:json", "something follows"),
        (f"{PREFIX},".encode() + b"\xff,,", "event_data.n:number", "not UTF-8"),
        (b"loyalty,\xff\xc3", "", "2 cells, the header 7"),
        (b"loyalty,\xff,2026-01-01T00:00:00Z,alice,,,", "idempotency_key", "not UTF-8"),
    ],
)
def test_csv_cells_that_do_not_fit_are_rejected(tmp_path: Path, line: str | bytes, field: str, message: str) -> None:
    staged = stage(csv_file(tmp_path, HEADER, f"{PREFIX},1,true,null", "", line, f"{PREFIX}2,,,"))
    (reject,) = staged.rejects
    assert (reject.reason, reject.field, reject.source_row) == (RejectReason.UNPARSEABLE_ROW, field, 2)
    assert message in reject.message
    assert [row["source_row"] for row in records_of(staged)] == [1, 3]
    assert staged.sources[0].rows_read == 3


def test_empty_csv_cells_are_absent_in_events(tmp_path: Path) -> None:
    header = "program_id,idempotency_key,event_timestamp,external_id,participant_id,recipient_id,event_data,color"
    staged = stage(
        csv_file(tmp_path, header, f"{PREFIX},,,{{}},", ",k2,2026-01-01T00:00:00Z,,,,,red"), default_program=1
    )
    (row,) = records_of(staged)
    assert (row["program"], row["given"], row["participant"], row["event_data"]) == (0, 1, "alice", "{}")
    assert staged.rejects[0].reason is RejectReason.MISSING_PARTICIPANT


def test_events_and_operations_mix_in_csv(tmp_path: Path) -> None:
    header = "type,program_id,idempotency_key,event_timestamp,effective_at,external_id,event_data.n:number,"
    header += "asset_id,amount,description"
    lines = [
        ",loyalty,e1,2026-01-01T00:00:00Z,,alice,5,,,",
        "fund,loyalty,f1,,2026-01-01T00:00:00Z,,,PTS,100.0,",
        "fund,loyalty,f2,,2026-01-01T00:00:00Z,,,PTS,,",
        "fund,loyalty,f3,,2026-01-01T00:00:00Z,alice,,PTS,5,",
        "fund,loyalty,f4,,2026-01-01T00:00:00Z,,7,PTS,5,",
    ]
    staged = stage(csv_file(tmp_path, header, *lines), paths=(("n",),))
    kinds = [(row["record_kind"], row["operation"], row["idempotency_key"]) for row in records_of(staged)]
    assert kinds == [(1, 0, "e1"), (2, 10, "f1")]
    assert [(reject.reason.name, reject.field) for reject in staged.rejects] == [
        ("INVALID_FIELD", "amount"),
        ("UNKNOWN_FIELD", "external_id"),
        ("UNKNOWN_FIELD", "event_data.n:number"),
    ]
    assert staged.sources[0].unknown_fields == {}


def test_unknown_event_fields_are_counted_and_warned_about(tmp_path: Path) -> None:
    rows = [event(idempotency_key="1", color="red"), event(idempotency_key="2", color="red", size=None)]
    rows += [event(idempotency_key="3", note=1, external_id=""), fund()]
    (source,) = stage(write_lines(tmp_path / "a.ndjson", rows)).sources
    assert source.unknown_fields == {"color": 2}
    assert "color (2 rows)" in source.warnings[0]
    assert "event_data" in source.warnings[0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,b", "no column idempotency_key (columns: a, b)"),
        ("idempotency_key,external_id", "no column event_timestamp or effective_at"),
        ("idempotency_key,event_timestamp,idempotency_key", "occurs twice"),
        ("idempotency_key,event_timestamp,event_data,event_data.x", "lies inside another column"),
        ("idempotency_key,event_timestamp,event_data.a,event_data.a.b", "lies inside another column"),
        ("idempotency_key,event_timestamp,event_data.a,event_data.a:number", "two columns hold a"),
        ("idempotency_key,event_timestamp,event_data.a:date", "cannot be read"),
        ("idempotency_key,event_timestamp,event_data..a", "cannot be read"),
        ("idempotency_key,,event_timestamp", "header is incomplete"),
    ],
)
def test_a_csv_without_usable_columns_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        stage(csv_file(tmp_path, header, "1,2"))
    assert message in caught.value.message
    assert caught.value.remedy


def test_a_csv_without_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="header is missing"):
        stage(csv_file(tmp_path, "", ""))


def test_line_ends_of_old_are_refused() -> None:
    with pytest.raises(SourceError, match="CR alone"):
        CsvReader(io.BytesIO(b"a,b\r1,2\r3,4\r"), "t")


def test_an_open_quote_does_not_swallow_the_rest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="never closed"):
        stage(csv_file(tmp_path, HEADER, f'{PREFIX},1,true,"', f"{PREFIX}2,,,"))


@pytest.mark.parametrize("block_bytes", [7, 16, 1 << 20])
def test_characters_across_blocks_are_kept(block_bytes: int) -> None:
    lines = ["é€😀,1", "x,2", "😀" * 3 + ",3"]
    data = "\n".join(["a,b", *lines]).encode() + b"\n\xe2\x82,4\n\xf0\x9f"
    reader = CsvReader(_Dripping(data), "t", max(block_bytes, 64))
    blocks = list(reader)
    cells = [cell for block in blocks for cell in block.cells["a"].to_pylist()]
    assert cells == ["é€😀".encode(), b"x", ("😀" * 3).encode(), b"\xe2\x82"]
    (misshapen,) = (row for block in blocks for row in block.misshapen)
    assert (misshapen.source_row, misshapen.raw) == (5, "\\xf0\\x9f")


class _Dripping(io.BytesIO):
    """A stream that gives at most five bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(5 if size is None or size < 0 else min(5, size))


def test_a_row_longer_than_a_block_is_refused() -> None:
    data = io.BytesIO(b"a,b\n" + b"x" * 5_000 + b",1\n2,3\n")
    with pytest.raises(SourceError, match="a row is too long"):
        list(CsvReader(data, "t", 1_000))


def test_a_column_type_without_json_form_is_refused(tmp_path: Path) -> None:
    table = pa.table({"idempotency_key": ["a"], "event_timestamp": ["x"], "blob": pa.array([b"x"])})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="column blob has the type binary"):
        stage(tmp_path / "a.parquet", programs=PROGRAMS)


def test_columns_without_zone_need_one(tmp_path: Path) -> None:
    times = pa.array([1_767_225_600_000_000], pa.timestamp("us"))
    columns = {"program_id": ["loyalty"], "idempotency_key": ["a"], "external_id": ["b"], "event_data": ["{}"]}
    pq.write_table(pa.table(columns | {"event_timestamp": times}), tmp_path / "a.parquet")
    (reject,) = stage(tmp_path / "a.parquet").rejects
    assert reject.reason is RejectReason.INVALID_TIMESTAMP
    assert "--assume-utc" in reject.message
    (row,) = records_of(stage(tmp_path / "a.parquet", assume_utc=True))
    assert row["timestamp"] == 1_767_225_600_000_000
