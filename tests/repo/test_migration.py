"""The guide to opening balances does what it says: from a book into an empty one, and both owe and expire the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import run_command
from tests.support.tour import assert_shows, steps_of, words_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/migration.md").read_text(encoding="utf-8")


def _write_queries(folder: Path) -> None:
    """Every query of the guide as the file that it names."""
    queries = re.findall(r"^`(\w+\.sql)`.*?^```sql\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    names = ["members", "wallets", "lots", "holds", "balances", "control", "liability", "expiry"]
    assert [name for name, _ in queries] == [f"{name}.sql" for name in names]
    for name, query in queries:
        (folder / name).write_text(query, encoding="utf-8")


def _do(command: str) -> str:
    """A command of the guide, with standard input from a file where it says so; returns what it says."""
    command, _, source = command.partition(" < ")
    given = Path(source).read_text(encoding="utf-8") if source else None
    result = run_command(*words_of(command), input=given)
    assert result.exit_code == 0, f"{command}\n{result.stderr}"
    return result.stdout + result.stderr


def _ask(book: str, query: str) -> list[dict[str, Any]]:
    text = Path(query).read_text(encoding="utf-8")
    result = run_command("sql", "--book", book, "--format", "ndjson", text)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def _move(book: str, config: str) -> None:
    """The steps of the guide with another book and other definitions."""
    for command, expected in steps_of(GUIDE):
        command = command.replace("coffee.duckdb", book).replace("sample_data/coffee_shop/config", config)
        assert_shows(_do(command), expected)


def test_the_sample_moves_into_an_empty_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    shop = "sample_data/coffee_shop"
    where = f"--config {shop}/config --book coffee.duckdb --clock event"
    _do(f"earnbook run {where} {shop}/events.ndjson {shop}/operations.ndjson")
    _write_queries(tmp_path)
    _move("coffee.duckdb", f"{shop}/config")
    for query in ("liability.sql", "expiry.sql"):
        rows = _ask("coffee.duckdb", query)
        assert rows
        assert _ask("moved.duckdb", query) == rows


ASSETS = [("PTS", 0, "LOT", "UNLIMITED"), ("EUR", 2, "SIMPLE", "UNLIMITED")]
CONFIG = {
    "organization": {"key": "demo", "name": "Demo"},
    "assets": [
        {
            "symbol": symbol, "name": symbol, "scale": scale, "inventory_mode": mode, "issuance_policy": policy,
            "programs": ["shop"],
        }
        for symbol, scale, mode, policy in ASSETS
    ],
    "programs": [{"key": "shop", "name": "Shop"}],
}  # fmt: skip


def _operation(number: int, kind: str, day: int, **fields: object) -> str:
    head = {"type": kind, "idempotency_key": f"o{number}", "effective_at": f"2026-01-{day:02}T08:00:00Z"}
    return json.dumps(head | fields) + "\n"


def _awkward_book(folder: Path) -> None:
    """Lots of every status, an overdraft, holds with and without reference, an authorisation, an overdue held lot."""
    money = {"program_id": "shop", "asset_id": "PTS", "description": "x"}
    own, debt = money | {"external_id": "alice"}, money | {"external_id": "bob"}
    cash = money | {"asset_id": "EUR", "external_id": "alice"}
    rows = [
        ("upsert_participant", 1, {"external_id": "alice", "email": "alice@example.org"}),
        ("upsert_participant", 1, {"external_id": "bob", "id": "3652e4b6-0c23-5051-9a5e-94221e7df14b"}),
        ("adjust", 2, own | {"direction": "CREDIT", "amount": 100, "expires_at": "48h", "reference_id": "A-1"}),
        ("adjust", 2, own | {"direction": "CREDIT", "amount": 70, "expires_at": "8760h"}),
        ("hold", 3, own | {"amount": 120, "reference_id": "R-1"}),
        ("adjust", 4, own | {"direction": "CREDIT", "amount": 30, "matures_at": "2400h", "expires_at": "9000h"}),
        ("adjust", 5, own | {"direction": "CREDIT", "amount": 9, "matures_at": "24h"}),
        ("adjust", 5, own | {"direction": "CREDIT", "amount": 40, "bucket": "HELD", "reference_id": "AUTH"}),
        ("adjust", 6, debt | {"direction": "DEBIT", "amount": 25, "allow_negative": True}),
        ("adjust", 6, debt | {"direction": "CREDIT", "amount": 80, "matures_at": "2400h"}),
        ("adjust", 7, cash | {"direction": "CREDIT", "amount": "12.34"}),
        ("hold", 7, cash | {"amount": "2.30"}),
        ("redeem", 8, own | {"amount": 10}),
    ]
    (folder / "rows.ndjson").write_text(
        "".join(_operation(number, kind, day, **fields) for number, (kind, day, fields) in enumerate(rows)),
        encoding="utf-8",
    )
    (folder / "config").mkdir()
    (folder / "config/demo.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    _do("earnbook run --config config --book old.duckdb --clock event --fail-on reject,failed rows.ndjson")


def test_a_book_with_everything_moves_into_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _awkward_book(tmp_path)
    _write_queries(tmp_path)
    _move("old.duckdb", "config")
    for query in ("liability.sql", "expiry.sql"):
        assert _ask("moved.duckdb", query) == _ask("old.duckdb", query)
    rows = _ask("moved.duckdb", "liability.sql")
    assert {(row["asset"], row["bucket"]) for row in rows} == {
        ("EUR", "AVAILABLE"), ("EUR", "HELD"), ("PTS", "AVAILABLE"), ("PTS", "DEFERRED"), ("PTS", "HELD"),
    }  # fmt: skip
    statuses = {row["status"] for row in _ask("moved.duckdb", "expiry.sql")}
    assert statuses == {"AVAILABLE", "HELD", "DEFERRED"}
    held = "SELECT holder, remaining, hold_reference_id, provisional FROM lots WHERE status = 'HELD' ORDER BY ALL"
    Path("held.sql").write_text(held, encoding="utf-8")
    assert _ask("moved.duckdb", "held.sql") == _ask("old.duckdb", "held.sql")


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _awkward_book(tmp_path)
    _write_queries(tmp_path)
    lots = tmp_path / "lots.sql"
    lots.write_text(lots.read_text(encoding="utf-8") + " LIMIT 3", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"adjust PTS: .* stated, .* read"):
        _move("old.duckdb", "config")
