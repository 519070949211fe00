"""Mapped sources: partner columns to records by SQL, purity, local times, ranks and counts (§4.1)."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earnbook.pipeline.config import Order
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.source_input import SourceMapping, check_mapping
from tests.support.staging import records_of, stage

SELECT = """
SELECT nr AS idempotency_key, card AS external_id, strptime(sold, '%d.%m.%Y %H:%M') AS event_timestamp,
       {'amount': CAST(total AS DECIMAL(18,2)), 'shop': shop} AS event_data
FROM input WHERE voided = 'N'
"""
HEADER = "nr,card,sold,total,shop,voided"


def mapping(select: str = SELECT, timezone: str | None = "Europe/Berlin") -> SourceMapping:
    return SourceMapping(name="pos", select=select, timezone=timezone)


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("\n".join((HEADER, *lines)).encode())
    return path


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_a_partner_file_becomes_records(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", "7,c1,02.01.2026 10:00,12.5,,N", "8,c2,01.01.2026 10:00,0.07,x,N", "9,c3,,1,x,J", "1,2"
    )
    staged = stage(path, mapping=mapping(), default_program=0, paths=(("amount",), ("shop",)))
    first, second = records_of(staged)
    assert (first["idempotency_key"], first["event_data"]) == ("8", '{"amount":0.07,"shop":"x"}')
    assert first["timestamp"] == micros("2026-01-01T09:00:00+00:00")
    assert (first["source_row"], second["source_row"]) == (1, 2)
    assert second["event_data"] == '{"amount":12.50,"shop":""}'
    (source,) = staged.sources
    assert (source.input_rows, source.rows_read, source.accepted) == (4, 3, 2)
    assert source.mapping_sha256 == hashlib.sha256(SELECT.encode()).hexdigest()
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(reject.reason, reject.source_row) for reject in staged.rejects] == [(RejectReason.UNPARSEABLE_ROW, 4)]


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("01.07.2026 12:00", "2026-07-01T10:00:00+00:00"),
        ("29.03.2026 02:30", "2026-03-29T01:00:00+00:00"),  # does not exist: moves forward to 03:00 local
        ("25.10.2026 02:30", "2026-10-25T00:30:00+00:00"),  # exists twice: the first
        ("25.10.2026 03:00", "2026-10-25T02:00:00+00:00"),
    ],
)
def test_local_times_around_a_change_of_clocks(tmp_path: Path, local: str, utc: str) -> None:
    staged = stage(write(tmp_path / "a.csv", f"1,c,{local},1,x,N"), mapping=mapping(), default_program=0)
    assert records_of(staged)[0]["timestamp"] == micros(utc)


def test_local_times_need_a_zone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,c,01.07.2026 12:00,1,x,N")
    (reject,) = stage(path, mapping=mapping(timezone=None), default_program=0).rejects
    assert (reject.reason, reject.field) == (RejectReason.INVALID_TIMESTAMP, "event_timestamp")
    assert json.loads(reject.raw)["event_data"] == {"amount": 1.00, "shop": "x"}


def test_input_positions_do_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [f"{n % 7},c{n % 3},0{1 + n % 2}.01.2026 10:00,{n},x,N" for n in range(40)] + [
        "k,,05.01.2026 10:00,1,x,N"
    ] * 2
    expected = None
    for seed in range(4):
        random.Random(seed).shuffle(lines)
        staged = stage(write(tmp_path / "a.csv", *lines), mapping=mapping(), default_program=0)
        got = records_of(staged, order=Order.INPUT), [(r.source_row, r.raw) for r in staged.rejects]
        expected = expected or got
        assert got == expected
    assert expected is not None
    rows = expected[0]
    assert [row["position"] for row in rows] == list(range(40))
    keys = [(row["timestamp"], row["idempotency_key"]) for row in rows]
    assert keys == sorted(keys)


@pytest.mark.parametrize("name", ["a.parquet", "a.ndjson"])
def test_other_formats_are_mapped_too(tmp_path: Path, name: str) -> None:
    columns = {"no": ["a", "b"], "who": ["x", "y"], "cents": [1250, 7]}
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table(columns), path)
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    select = """SELECT no AS idempotency_key, who AS external_id, {'amount': CAST(cents AS BIGINT)} AS event_data,
                TIMESTAMPTZ '2026-01-01 00:00:00+00' AS event_timestamp FROM input"""
    staged = stage(path, mapping=mapping(select, None), default_program=0, paths=(("amount",),))
    assert [row["amount"] for row in records_of(staged, (("amount",),))] == [("NUMBER", 1250, 0), ("NUMBER", 7, 0)]
    assert len(staged.rejects) == (0 if name.endswith("parquet") else 1)


def test_a_mapping_makes_operations_too(tmp_path: Path) -> None:
    select = """SELECT 'fund' AS type, nr AS idempotency_key, 'loyalty' AS program_id, 'PTS' AS asset_id,
                total AS amount, strptime(sold, '%d.%m.%Y %H:%M') AS effective_at FROM input"""
    staged = stage(write(tmp_path / "a.csv", "1,c,01.07.2026 12:00,5.50,x,N"), mapping=mapping(select))
    (row,) = records_of(staged)
    assert json.loads(str(row["fields"]))["amount"] == "5.5"
    assert row["timestamp"] == micros("2026-07-01T10:00:00+00:00")


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("SELECT now() FROM input", "now() differs from run to run"),
        ("SELECT current_timestamp FROM input", "current_timestamp differs"),
        ("SELECT current_date AS d FROM input", "current_date differs"),
        ("SELECT today() FROM input", "today()"),
        ("SELECT random() FROM input", "random()"),
        ("SELECT a, uuid() FROM input", "uuid()"),
        ("SELECT age(d) FROM input", "age()"),
        ("SELECT ago(INTERVAL 1 DAY) FROM input", "ago()"),
        ("SELECT getvariable('x') FROM input", "getvariable()"),
        ("SELECT * FROM read_csv('other.csv')", "table function read_csv()"),
        ("SELECT * FROM 'other.parquet'", "'other.parquet'"),
        ("SELECT (SELECT max(x) FROM other) FROM input", "'other'"),
        ("SELECT * FROM input JOIN duckdb_settings() s ON true", "duckdb_settings()"),
        ("SELECT * FROM information_schema.tables", "'tables'"),
        ("SELECT * FROM input USING SAMPLE 3", "random sample"),
        ("ATTACH 'x.db' AS y", "cannot be read"),
        ("INSERT INTO input VALUES (1)", "cannot be read"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_an_impure_mapping_is_refused(select: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        check_mapping(mapping(select))
    assert message in caught.value.message
    assert "one SELECT" in caught.value.remedy


def test_a_pure_mapping_may_use_ctes_and_lists() -> None:
    check_mapping(mapping("WITH a AS (SELECT * FROM input) SELECT * FROM a, unnest([1, 2]) AS u(x) ORDER BY ALL"))
    check_mapping(mapping("FROM input SELECT json_group_object(a, b) GROUP BY ALL"))
    check_mapping(mapping("SELECT a + 1 AS a, a - 1 AS b, year(t) AS y, strftime(t, '%Y') AS s FROM input"))


def test_a_mapping_that_fails_names_the_source(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,c,01.07.2026 12:00,x,x,N")
    with pytest.raises(SourceError, match=r"a\.csv \(source pos\): the mapping failed"):
        stage(path, mapping=mapping(), default_program=0)
    with pytest.raises(SourceError, match="no column idempotency_key"):
        stage(path, mapping=mapping("SELECT * FROM input"))


def test_rows_that_are_not_utf8_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"{HEADER}\n1,\xe9,01.07.2026 12:00,1,x,N\n2,c,01.07.2026 12:00,1,x,N\n".encode("latin-1"))
    staged = stage(path, mapping=mapping(), default_program=0)
    assert [row["idempotency_key"] for row in records_of(staged)] == ["2"]
    assert (staged.rejects[0].source_row, staged.sources[0].rows_read) == (1, 2)
    assert "\\xe9" in json.loads(staged.rejects[0].raw)["card"]


def test_sums_are_exact_decimals(tmp_path: Path) -> None:
    select = """SELECT card AS idempotency_key, card AS external_id,
                max(strptime(sold, '%d.%m.%Y %H:%M')) AS event_timestamp,
                {'total': sum(CAST(total AS DECIMAL(18,2))), 'n': count(*)} AS event_data FROM input GROUP BY card"""
    lines = [f"{n},c,01.07.2026 12:00,0.10,x,N" for n in range(3)]
    (row,) = records_of(stage(write(tmp_path / "a.csv", *lines), mapping=mapping(select), default_program=0))
    assert row["event_data"] == '{"total":0.30,"n":3}'
