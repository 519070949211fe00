"""docs/operations.md: its table is that of the code, and its examples are carried out."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.support.command_line import run_command
from tests.support.operations_page import PAGE, operations_markdown
from tests.support.tour import blocks

TEXT = PAGE.read_text(encoding="utf-8")
ASSET = {"name": "Points", "scale": 0, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED", "programs": ["shop"]}
CONFIG = {
    "organization": {"key": "demo", "name": "Demo"},
    "assets": [{"symbol": "PTS", **ASSET}],
    "programs": [{"key": "shop", "name": "Shop"}],
}


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    assert operations_markdown(TEXT) == TEXT, "run: python -m tests.support.operations_page"


def test_the_examples_are_carried_out(tmp_path: Path) -> None:
    (rows,) = blocks(TEXT, "json")
    head = {"type": "upsert_participant", "effective_at": "2026-01-01T00:00:00Z"}
    people = [json.dumps(head | {"idempotency_key": name, "external_id": name}) for name in ("alice", "bob", "carol")]
    (tmp_path / "rows.ndjson").write_text("\n".join(people) + "\n" + rows, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    book = ("--book", tmp_path / "book.duckdb")
    where = ("--config", tmp_path / "config.yaml", *book, "--clock", "event", "--fail-on", "reject,failed")
    result = run_command("run", *where, tmp_path / "rows.ndjson")
    assert result.exit_code == 0, result.stderr
    query = "SELECT external_id, available_minor FROM participant_balances ORDER BY external_id"
    shown = run_command("sql", *book, "--format", "csv", query)
    assert shown.stdout.splitlines()[1:] == ["alice,115", "bob,40", "carol,20"]
