"""Seals: example S1, recomputed by a checker that knows nothing but hashlib and the stored columns.

`tests/golden/s1.json` holds the streams, digests and seals of a small book. The checker below has its own list of
sealed columns and reads them with plain SQL; neither it nor the file shares code with `pipeline/seal.py`. To accept a
deliberate change of the format, run the test once with EARNBOOK_UPDATE_GOLDEN=1 and review the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from earnbook.pipeline.seal import (
    SEAL_TABLES,
    PartHasher,
    SealColumn,
    column_streams,
    digest_table,
    stream_names,
    table_digest,
)
from tests.support.book_maker_money import make_money_book

LARGE = pa.large_string()
GOLDEN = Path(__file__).parents[1] / "golden" / "s1.json"

# (name in the seal's line, [(stored table, what says the batch, order, columns)]); a column is name:bytes of its
# values, or name:text; `?` stands after a column that may be null.
SEALED: list[tuple[str, list[tuple[str, str, str, str]]]] = [
    ("entries", [("due_entries", "entry_seq", "entry_seq", "entry_seq:8 created_at:8 program:8 lot_seq:8"),
        ("entry_references", "entry_seq", "entry_seq", "entry_seq:8 reference:text")]),
    ("movements", [("movements", "entry_seq", "entry_seq",
        "entry_seq:8 log_seq:8 entry_type:2 action:8 debit:8 credit:8 asset:8 amount:8 lot_seq:8")]),
    ("lots", [("lots", "lot_seq", "lot_seq", "lot_seq:8 entry_seq:8 holder:8 asset:8 program:8 wallet:8 "
        "amount:8 created_at:8 expires_at:8?"),
        ("lot_details", "lot_seq", "lot_seq", "lot_seq:8 root:8 matures_at:8? reference:text?")]),
    ("lot_moves", [("lot_moves", "entry_seq", "entry_seq", "entry_seq:8 lot_seq:8 kind:2 status_before:2 "
        "remaining_before:8 status_after:2 remaining_after:8 hold_reference:text? repaid:8")]),
    ("events", [("events", "log_seq", "log_seq", "log_seq:8 program:8 idempotency_key:text given:2 "
        "given_participant:text? given_recipient:text? event_timestamp:8 event_data:text late:1"),
        ("generated_events", "log_seq", "log_seq", "log_seq:8 parent:8 action:8 automation:8 "
            "generation:1 under_broadcast:1")]),
    ("operations", [("operations", "log_seq", "log_seq",
        "log_seq:8 type:2 program:8 idempotency_key:text effective_at:8 fields:text late:1")]),
    ("outcomes", [
        ("events", "log_seq", "log_seq", "log_seq:8 processed_at:8 holder:8 recipient:8 outcome:2 action:8"),
        ("operations", "log_seq", "log_seq", "log_seq:8 processed_at:8 holder:8 outcome:2"),
        ("attempts", "by_log_seq", "by_log_seq", "log_seq:8 attempt:4 by_log_seq:8 processed_at:8 holder:8 "
            "recipient:8 outcome:2 action:8 first_change_seq:8 last_change_seq:8")]),
    ("changes", [
        ("changes", "change_seq", "change_seq", "change_seq:8 log_seq:8 action:8 entity:8 state_type:2 key:8 "
            "operation:2 value_kind:2 value:8 value_scale:2"),
        ("change_details", "change_seq", "change_seq",
            "change_seq:8 value_high:8 reset_at:8? reset_after:8? text:text?"),
        ("due_changes", "change_seq", "change_seq", "change_seq:8 changed_at:8 kind:2 object:8"),
        (
            "tier_changes",
            "change_seq",
            "change_seq",
            "change_seq:8 acquired_at:8 expires_at:8? own_expiry:1 downgrade_at:8? noted_level:8",
        ),
        ("holders", "number", "number", "number:8 kind:2 external_id:text given_id:text? log_seq:8"),
        ("names", "batch", "number", "number:8 state_type:2 text:text")]),
    ("definitions", [
        ("definitions", "batch", "n", "n:8 kind:2 object:8 version:4 change_type:2 changed_at:8 changes:text "
            "snapshot:text ruleset_version:4"),
        ("objects", "batch", "kind, number",
            "kind:2 number:8 id:text key:text program:8 scale:2? inventory_mode:2? issuance_policy:2?"),
        ("actions", "batch", "number", "number:8 program:8 rule:8 rule_version:4 action_index:4 type:2 asset:8 "
            "bucket:2 key:text? description:text?"),
        ("budget_starts", "batch", "number",
            "number:8 program:8 rule:8 asset:8 schedule:text started_at:8 started_entry:8")]),
    ("redemptions", [("redemptions", "log_seq", "log_seq", "log_seq:8 holder:8 program:8 asset:8 amount:8 reward:8 "
        "reward_version:4 quantity:8? unit_cost:8? target:8 entry_seq:8")]),
    ("reversals", [("reversals", "log_seq", "log_seq",
        "log_seq:8 redemption:8 amount:8 quantity:8? entry_seq:8")]),
    ("rejects", [("rejects", "batch", "n",
        "n:8 source:8 source_row:8 reason:2 field:text? message:text original_log_seq:8? raw:text")]),
]  # fmt: skip


class Checker:
    """Recomputes streams, digests and seals of a book from its stored columns."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def batches(self) -> list[dict[str, Any]]:
        numbers = [row[0] for row in self._rows("SELECT batch FROM store.batches ORDER BY batch")]
        return [self._batch(number) for number in numbers]

    def _batch(self, number: int) -> dict[str, Any]:
        tables = []
        for name, parts in SEALED:
            streams: dict[str, str] = {}
            rows = 0
            for table, key, order, columns in parts:
                rows += self._rows(f"SELECT count(*) FROM store.{table} WHERE {self._in_batch(key, number)}")[0][0]
                for column in columns.split():
                    streams |= self._streams(table, self._in_batch(key, number), order, column)
            whole = b"".join(hashlib.sha256(bytes.fromhex(stream)).digest() for stream in streams.values())
            digest = hashlib.sha256(whole).hexdigest()
            tables.append({"name": name, "rows": rows, "streams": streams, "digest": digest})
        line = self._line(number, tables)
        return {"batch": number, "tables": tables, "line": line, "seal": hashlib.sha256(line.encode()).hexdigest()}

    def _in_batch(self, key: str, number: int) -> str:
        if key == "batch":
            return f"batch = {number}"
        register = {"number": "last_holder", "by_log_seq": "last_log_seq"}.get(key, f"last_{key}")
        last = f"(SELECT {register} FROM store.batches WHERE batch = {number})"
        before = f"(SELECT coalesce(max({register}), 0) FROM store.batches WHERE batch < {number})"
        return f"{key} > {before} AND {key} <= {last}"

    def _streams(self, table: str, condition: str, order: str, column: str) -> dict[str, str]:
        name, kind = column.split(":")
        query = f"SELECT {name} FROM store.{table} WHERE {condition} ORDER BY {order}, rowid"
        values = [row[0] for row in self._rows(query)]
        streams = {}
        if kind.endswith("?"):
            streams[f"{table}.{name} presence"] = bytes(value is not None for value in values).hex()
        if kind.startswith("text"):
            texts = [b"" if value is None else value.encode() for value in values]
            streams[f"{table}.{name} lengths"] = b"".join(len(text).to_bytes(8, "little") for text in texts).hex()
            streams[f"{table}.{name} bytes"] = b"".join(texts).hex()
        else:
            width = int(kind[0])
            numbers = [0 if value is None else int(value) for value in values]
            streams[f"{table}.{name} values"] = b"".join(
                number.to_bytes(width, "little", signed=True) for number in numbers
            ).hex()
        return streams

    def _line(self, number: int, tables: list[dict[str, Any]]) -> str:
        row = self._rows(
            f"""SELECT organization, clock_mode, strftime(make_timestamp(book_clock), '%Y-%m-%dT%H:%M:%S.%fZ'),
                coalesce(ruleset_sha256, '-'), last_log_seq, last_entry_seq,
                coalesce((SELECT seal FROM store.batches WHERE batch = {number} - 1), repeat('0', 64))
            FROM store.batches WHERE batch = {number}"""
        )[0]
        fields = ["earnbook-seal-1", row[0], number, row[6], row[1], row[2], row[3], row[4], row[5]]
        for table in tables:
            fields += [table["name"], table["rows"], table["digest"]]
        return "\t".join(map(str, fields)) + "\n"

    def _rows(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("s1") / "shop.duckdb"
    make_money_book(path)
    return path


def test_s1_streams_digests_and_seals_are_the_golden_ones(book: Path) -> None:
    with duckdb.connect(book, read_only=True) as connection:
        batches = Checker(connection).batches()
        stored = connection.execute("SELECT seal FROM store.batches ORDER BY batch").fetchall()
        digests = connection.execute("SELECT name, row_count, digest FROM store.digests ORDER BY batch, position")
        stored_digests = digests.fetchall()
    if os.environ.get("EARNBOOK_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps({"example": "S1", "batches": batches}, indent=1) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["batches"]
    assert batches == golden
    assert [(batch["seal"],) for batch in golden] == stored
    tables = [table for batch in golden for table in batch["tables"]]
    assert [(table["name"], table["rows"], table["digest"]) for table in tables] == stored_digests


def test_the_golden_book_has_rows_in_every_sealed_table() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["batches"]
    filled = {table["name"] for batch in golden for table in batch["tables"] if table["rows"]}
    assert filled == {name for name, parts in SEALED if parts}


def test_the_sealed_columns_are_those_that_the_checker_knows() -> None:
    ours = [
        (table.name, [(part.table, " ".join(_column_text(column) for column in part.columns)) for part in table.parts])
        for table in SEAL_TABLES
    ]
    assert ours == [(name, [(part[0], part[3]) for part in parts]) for name, parts in SEALED]


def _column_text(column: SealColumn) -> str:
    return f"{column.name}:{column.width or 'text'}{'?' if column.nullable else ''}"


@pytest.mark.parametrize(
    ("column", "values", "streams"),
    [
        (SealColumn("n", 8, False), pa.array([1, -2], pa.int32()), ["0100000000000000feffffffffffffff"]),
        (SealColumn("n", 2, False), pa.array([513], pa.int16()), ["0102"]),
        (SealColumn("n", 1, False), pa.array([True, False]), ["0100"]),
        (SealColumn("n", 4, True), pa.array([7, None], pa.int32()), ["0100", "0700000000000000"]),
        (SealColumn("n", 8, True), pa.array([None], pa.int64()), ["00", "0000000000000000"]),
        (SealColumn("t", 0, False), pa.array(["é", ""]), ["02000000000000000000000000000000", "c3a9"]),
        (SealColumn("t", 0, True), pa.array([None, "a"]), ["0001", "00000000000000000100000000000000", "61"]),
        (SealColumn("t", 0, True), pa.array([None], pa.string()), ["00", "0000000000000000", ""]),
        (SealColumn("t", 0, False), pa.array([], pa.string()), ["", ""]),
        (SealColumn("t", 0, False), pa.array(["x", "yy"], LARGE), ["01" + 14 * "0" + "02" + 14 * "0", "787979"]),
    ],
)  # fmt: skip
def test_streams_are_the_canonical_bytes(column: SealColumn, values: pa.Array, streams: list[str]) -> None:
    assert [bytes(stream).hex() for stream in column_streams(column, values)] == streams
    assert len(stream_names(column)) == len(streams)


def test_slices_of_a_column_hash_like_the_column() -> None:
    table = next(table for table in SEAL_TABLES if table.name == "operations")
    rows = pa.table(
        {
            "log_seq": [1, 2, 3],
            "type": [10, 10, 11],
            "program": [1, 1, 1],
            "idempotency_key": ["a", "bü", ""],
            "effective_at": [5, 6, 7],
            "fields": ["{}", "", "{}"],
            "late": [True, False, True],
        }
    )
    in_pieces = PartHasher(table.parts[0])
    for begin, length in ((0, 1), (1, 0), (1, 2)):
        in_pieces.update(rows.slice(begin, length))
    assert table_digest("operations", [in_pieces]) == digest_table(table, {"operations": rows})


def test_a_value_is_not_its_neighbours() -> None:
    """Moving a byte from one text to the next changes the lengths."""
    column = SealColumn("t", 0, False)
    assert column_streams(column, pa.array(["ab", "c"])) != column_streams(column, pa.array(["a", "bc"]))
