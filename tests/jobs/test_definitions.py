"""`definitions` at the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import run_command

SAMPLE = Path(__file__).parents[2] / "sample_data" / "coffee_shop"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The sample's definitions, free to change."""
    return Path(shutil.copytree(SAMPLE / "config", tmp_path / "config"))


@pytest.fixture
def book(tmp_path: Path, config: Path) -> Path:
    path = tmp_path / "coffee.duckdb"
    result = run_command("run", "--config", config, "--book", path, "--clock", "event", SAMPLE / "operations.ndjson")
    assert result.exit_code == 0, result.stderr
    return path


def change_rule(config: Path, old: str, new: str) -> None:
    path = config / "loyalty.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_check_says_that_good_definitions_are_fine(config: Path) -> None:
    result = run_command("definitions", "check", "--config", config)
    assert result.exit_code == 0
    assert "is fine: 2 assets, 1 program, 9 rules" in result.stderr


def test_check_prints_every_mistake_at_once(config: Path) -> None:
    change_rule(config, "floor(event.amount * 20)", "floor(event.amount * )")
    change_rule(config, "expires_at: 240h", "expires_at: 10 days")
    result = run_command("definitions", "check", "--config", config)
    assert result.exit_code == 2
    for part in ("CEL_SYNTAX", "DURATION", "loyalty.yaml:", "^"):
        assert part in result.stderr


def test_check_against_a_book_lists_what_would_change(config: Path, book: Path) -> None:
    same = run_command("definitions", "check", "--config", config, "--book", book, "--format", "json")
    assert json.loads(same.stdout) == []
    change_rule(config, "floor(event.amount * 20)", "floor(event.amount * 30)")
    changed = run_command("definitions", "check", "--config", config, "--book", book, "--format", "json")
    (row,) = json.loads(changed.stdout)
    assert (row["kind"], row["key"], row["change"]) == ("rule", "app-order", "updated")
    assert "actions" in json.loads(row["fields"])


def test_check_against_a_book_says_when_consent_is_missing(config: Path, book: Path) -> None:
    path = config / "loyalty.yaml"
    text = path.read_text()
    path.write_text(text[: text.index("      - key: free-coffee")])
    result = run_command("definitions", "check", "--config", config, "--book", book)
    assert result.exit_code == 0
    assert "It would be refused" in result.stderr
    assert "--prune" in result.stderr


def test_load_stores_a_version_that_the_next_record_brings_into_force(config: Path, book: Path, tmp_path: Path) -> None:
    change_rule(config, "floor(event.amount * 10), expires_at", "floor(event.amount * 11), expires_at")
    loaded = run_command("definitions", "load", "--config", config, "--book", book)
    assert loaded.exit_code == 0, loaded.stderr
    assert "with the next batch" in loaded.stderr
    versions = "SELECT max(ruleset_version) AS version FROM batches"
    assert json.loads(run_command("sql", versions, "--book", book, "--format", "json").stdout) == [{"version": 1}]
    data = {"type": "purchase", "category": "food", "product": "Croissant", "amount": 2, "channel": "counter"}
    event = {"program_id": "loyalty", "idempotency_key": "n-1", "external_id": "C-1", "event_data": data}
    more = tmp_path / "more.ndjson"
    more.write_text(json.dumps(event | {"event_timestamp": "2025-11-01T10:00:00+01:00"}))
    ran = run_command("run", "--book", book, "--clock", "event", more)
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(run_command("sql", versions, "--book", book, "--format", "json").stdout) == [{"version": 2}]
    issued = "SELECT issued_minor FROM rule_issuance WHERE rule = 'base'"
    assert json.loads(run_command("sql", issued, "--book", book, "--format", "json").stdout) == [{"issued_minor": "22"}]


def test_load_of_the_same_definitions_changes_nothing(config: Path, book: Path) -> None:
    result = run_command("definitions", "load", "--config", config, "--book", book)
    assert result.exit_code == 0, result.stderr
    assert "Nothing changes" in result.stderr


def test_schema_is_json_schema_with_the_documented_fields(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    assert run_command("definitions", "schema", "-o", path).exit_code == 0
    schema = json.loads(path.read_text())
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"organization", "assets", "programs", "sources"} <= set(schema["properties"])
