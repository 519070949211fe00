"""`run --control`: a run is refused, before it commits anything, unless its operations tie to the sender's totals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from click.testing import Result

from earnbook.ledger.schema import OperationType
from earnbook.pipeline.control import ControlTotal, control_totals
from tests.support.command_line import run_command

ASSET = {"name": "Points", "scale": 2, "inventory_mode": "SIMPLE", "issuance_policy": "PREFUNDED", "programs": ["shop"]}
CONFIG = {
    "organization": {"key": "demo", "name": "Demo"},
    "assets": [{"symbol": "PTS", **ASSET}],
    "programs": [{"key": "shop", "name": "Shop"}],
}


def _fund(key: str, amount: str) -> str:
    head = {"type": "fund", "idempotency_key": key, "effective_at": "2026-01-01T00:00:00Z", "program_id": "shop"}
    return json.dumps({**head, "asset_id": "PTS", "amount": amount})


def _run(folder: Path, control: str, rows: list[str]) -> Result:
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    (folder / "rows.ndjson").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    (folder / "control.csv").write_text(control, encoding="utf-8")
    where = ("--config", folder / "config.yaml", "--book", folder / "book.duckdb", "--clock", "event")
    return run_command("run", *where, "--control", folder / "control.csv", folder / "rows.ndjson")


def test_a_run_that_ties_is_committed_and_can_be_run_again(tmp_path: Path) -> None:
    control = "type,asset,records,amount\nfund,PTS,2,100.30\n"
    for _ in range(2):
        assert _run(tmp_path, control, [_fund("a", "100.1"), _fund("b", "0.20")]).exit_code == 0


@pytest.mark.parametrize(
    "control, said",
    [
        ("fund,PTS,3,100.30", "fund PTS: 3 of 100.30 stated, 2 of 100.3 read"),
        ("fund,PTS,2,100.31", "fund PTS: 2 of 100.31 stated, 2 of 100.3 read"),
        ("fund,PTS,2,\nburn,PTS,1,5", "burn PTS: 1 of 5 stated, 0 of 0 read"),
        ("burn,PTS,0,0", "fund PTS: 0 of 0 stated, 2 of 100.3 read"),
    ],
)
def test_a_run_that_does_not_tie_leaves_nothing(tmp_path: Path, control: str, said: str) -> None:
    result = _run(tmp_path, f"type,asset,records,amount\n{control}\n", [_fund("a", "100.1"), _fund("b", "0.20")])
    assert result.exit_code == 1
    assert said in result.stderr
    batches = run_command("sql", "--book", tmp_path / "book.duckdb", "--format", "csv", "SELECT count(*) FROM batches")
    assert batches.stdout.splitlines()[1] == "0"


@pytest.mark.parametrize(
    "text, said",
    [
        ("type,asset,records\nfund,PTS,2\n", "Give the columns type,asset,records,amount"),
        ("type,asset,records,amount\nfund,PTS,2.5,1\n", "line 2: records is '2.5'"),
        ("type,asset,records,amount\nfund,PTS,2,much\n", "line 2: amount is 'much'"),
        ("type,asset,records,amount\nfund,PTS,2,1\nfund,PTS,2,1\n", "line 3: 'fund' on asset 'PTS'"),
        ("type,asset,records,amount\ngrant,PTS,2,1\n", "line 2: 'grant' on asset 'PTS'"),
    ],
)
def test_a_control_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str, said: str) -> None:
    result = _run(tmp_path, text, [_fund("a", "1")])
    assert result.exit_code == 1
    assert said in result.stderr


def test_debits_count_as_negative_and_transfers_by_their_legs() -> None:
    fields = [
        (OperationType.ADJUST, {"asset_id": "id", "amount": "10.50", "direction": "CREDIT"}),
        (OperationType.ADJUST, {"asset_id": "id", "amount": "0.25", "direction": "DEBIT"}),
        (OperationType.TRANSFER, {"asset_id": "id", "recipients": [{"amount": "1"}, {"amount": "1"}, {"amount": "2"}]}),
        (OperationType.RELEASE, {"asset_id": "id", "amount": "ALL"}),
        (OperationType.HOLD, {"asset_id": "id"}),
        (OperationType.ADD_TAG, {"tag": "gold"}),
    ]
    types = np.array([int(kind) for kind, _ in fields], np.int64)
    chunk = (types, pa.array([json.dumps(each) for _, each in fields]))
    totals = control_totals([chunk, chunk], {"id": "PTS"})
    amounts = {place: (total.records, str(total.amount)) for place, total in totals.items()}
    assert amounts == {
        ("adjust", "PTS"): (4, "20.50"),
        ("transfer", "PTS"): (2, "8"),
        ("release", "PTS"): (2, "0"),
        ("hold", "PTS"): (2, "0"),
        ("add_tag", ""): (2, "0"),
    }
    assert totals["hold", "PTS"] == ControlTotal(records=2)
