"""When participants cannot be decided apart, a run is one pass and says why (§4.1)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earnbook.pipeline.drive import run
from tests.support.engines import run_request
from tests.support.logical import Run

CREDIT = {"type": "CREDIT", "asset": "PTS", "amount": "1"}
EVENT = {
    "program_id": "p",
    "idempotency_key": "e",
    "external_id": "alice",
    "event_timestamp": "2026-01-01T00:00:00Z",
    "event_data": {},
}
FUND = {
    "type": "fund", "idempotency_key": "f", "program_id": "p", "asset_id": "PTS", "amount": "1",
    "effective_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
BY_ID = {**EVENT, "participant_id": "5f4d6c80-b779-5174-9e3e-37d6ea331a70"}
del BY_ID["external_id"]


def note_of(folder: Path, action: dict[str, Any], record: dict[str, Any]) -> str:
    """What a run with four partitions says about them."""
    asset = {"symbol": "PTS", "name": "Points", "scale": 2, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED"}
    rule = {"key": "r", "name": "r", "order": 1, "condition": "true", "actions": [action]}
    document = {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [{**asset, "programs": ["p"]}],
        "programs": [{"key": "p", "name": "p", "rules": [rule]}],
    }
    config, rows = folder / "definitions.json", folder / "run-0.ndjson"
    config.write_text(json.dumps(document), encoding="utf-8")
    rows.write_text(json.dumps(record) + "\n", encoding="utf-8")
    request = run_request(Run(), folder / "book.duckdb", config, rows, kernel=False, batch_records=10)
    report = run(replace(request, partitions=4))
    assert report.events + report.operations == 1
    return " ".join(note for note in report.notes if "pass" in note)


@pytest.mark.parametrize(
    ("action", "record", "reason"),
    [
        ({**CREDIT, "target": {"type": "PARTICIPANT", "external_id": "'bob'"}}, EVENT, "rule r acts on another"),
        ({**CREDIT, "bucket": "HELD"}, EVENT, "rule r of program p keeps or moves what is held (CREDIT)"),
        (CREDIT, {**EVENT, "recipient_external_id": "bob"}, "some events have recipients"),
        (CREDIT, BY_ID, "name participants by id"),
        (CREDIT, FUND, "there are operations"),
    ],
)
def test_a_run_says_why_it_is_one_pass(tmp_path: Path, action: dict[str, Any], record: Any, reason: str) -> None:
    note = note_of(tmp_path, action, record)
    assert note.startswith("one ordered pass instead of 4 partitions: ")
    assert reason in note


def test_nothing_is_said_where_participants_go_apart(tmp_path: Path) -> None:
    assert note_of(tmp_path, CREDIT, EVENT) == ""
