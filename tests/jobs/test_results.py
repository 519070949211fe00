"""`run --results`: what became of each record, in every format."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.command_line import run_command

CONFIG = {
    "organization": {"key": "demo", "name": "Demo"},
    "assets": [
        {
            "symbol": "PTS", "name": "Points", "scale": 2, "inventory_mode": "SIMPLE",
            "issuance_policy": "UNLIMITED", "programs": ["loyalty"],
        }
    ],
    "programs": [
        {
            "key": "loyalty",
            "name": "Loyalty",
            "rules": [
                {
                    "key": "base",
                    "name": "Base",
                    "condition": "event.type == 'purchase'",
                    "actions": [{"type": "CREDIT", "asset_id": "PTS", "amount": "event.amount"}],
                }
            ],
        }
    ],
}  # fmt: skip


def _rows(*amounts: object) -> list[dict[str, Any]]:
    """An upsert, then a purchase of each amount."""
    upsert = {"type": "upsert_participant", "idempotency_key": "u", "effective_at": "2026-01-01T00:00:00Z"}
    events = [
        {
            "program_id": "loyalty", "idempotency_key": f"e{n}", "event_timestamp": f"2026-01-0{n + 2}T00:00:00Z",
            "external_id": "alice", "event_data": {"type": "purchase", "amount": amount},
        }
        for n, amount in enumerate(amounts)
    ]  # fmt: skip
    return [{**upsert, "external_id": "alice"}, *events]


def _run(folder: Path, rows: list[dict[str, Any]], results: Path, *options: str) -> Any:
    config, lines = folder / "config.yaml", folder / "rows.ndjson"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    book = folder / "book.duckdb"
    arguments = ("run", "--config", config, "--book", book, "--clock", "event", lines, "--results", results)
    return run_command(*arguments, *options)


def _read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


def test_every_record_has_a_row_in_log_order_whose_id_is_that_of_the_views(tmp_path: Path) -> None:
    results = tmp_path / "results.ndjson"
    assert _run(tmp_path, _rows(5, 0.005), results, "--batch-size", "2").exit_code == 0
    found = _read(results)
    assert [row["log_seq"] for row in found] == [1, 2, 3]
    assert [row["type"] for row in found] == ["upsert_participant", "EXTERNAL", "EXTERNAL"]
    assert [(row["status"], row["code"], row["rule"], row["action_index"]) for row in found] == [
        ("COMPLETED", "OK", None, None),
        ("COMPLETED", "OK", None, None),
        ("FAILED", "AMOUNT_EXCEEDS_SCALE", "base", 0),
    ]
    assert {row["participant"] for row in found} == {"alice"}
    assert [row["program"] for row in found] == [None, "loyalty", "loyalty"]
    assert found[1]["timestamp"] == found[1]["processed_at"] == "2026-01-02T00:00:00Z"
    with duckdb.connect(str(tmp_path / "book.duckdb"), read_only=True) as connection:
        ids = connection.execute("SELECT CAST(record_id AS VARCHAR) FROM outcomes ORDER BY log_seq").fetchall()
    assert [(row["id"],) for row in found] == ids


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_format_has_the_same_rows(tmp_path: Path, ending: str) -> None:
    results = tmp_path / f"results.{ending}"
    assert _run(tmp_path, _rows(5), results, "--dry-run").exit_code == 0
    found = _read(results)
    assert [(str(row["log_seq"]), row["code"], row["participant"]) for row in found] == [
        ("1", "OK", "alice"),
        ("2", "OK", "alice"),
    ]


def test_a_run_without_new_records_writes_no_rows_and_older_participants_are_named(tmp_path: Path) -> None:
    results = tmp_path / "results.parquet"
    _run(tmp_path, _rows(5), results)
    assert _run(tmp_path, _rows(5), results).exit_code == 0
    assert _read(results) == []
    _run(tmp_path, _rows(5, 6), results)
    assert [(row["idempotency_key"], row["participant"]) for row in _read(results)] == [("e1", "alice")]


def test_another_ending_is_a_usage_mistake(tmp_path: Path) -> None:
    ran = _run(tmp_path, _rows(5), tmp_path / "results.txt")
    assert ran.exit_code == 2
    assert "must end in .ndjson, .csv, .parquet" in ran.stderr
    assert not (tmp_path / "book.duckdb").exists()
