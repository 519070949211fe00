"""The sample is what its script makes, and a run of it gives the balances that the script's own model expects."""

from __future__ import annotations

import csv
import json
import runpy
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from earnbook.rules.definitions import load_definitions
from tests.support.command_line import run_command
from tests.support.logical import Run, Scenario
from tests.support.oracle import run_oracle

SAMPLE = Path(__file__).parents[2] / "sample_data" / "coffee_shop"


@pytest.fixture(scope="module")
def make() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(SAMPLE / "make.py"), run_name="coffee_shop_make"))


def test_the_files_are_what_the_script_makes(make: SimpleNamespace) -> None:
    for name, text in make.make_files().items():
        assert (SAMPLE / name).read_text(encoding="utf-8") == text, f"{name}: run sample_data/coffee_shop/make.py"


def test_the_month_shows_what_it_should(make: SimpleNamespace) -> None:
    kinds: dict[str, int] = defaultdict(int)
    for ticket in make.make_tickets():
        kinds[ticket.kind] += make.recorded(ticket)
    assert all(kinds[kind] >= 50 for kind in ("purchase", "refund", "reward"))
    with (SAMPLE / "expected_balances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    beans = [Decimal(row["available"]) for row in rows if row["asset"] == "BEANS"]
    assert min(beans) <= 0 < max(beans)
    assert any(Decimal(row["deferred"]) > 0 for row in rows)


def test_the_oracle_agrees_with_the_shops_own_model() -> None:
    document = load_definitions(SAMPLE / "config").document
    lines = [line for name in ("events", "operations") for line in (SAMPLE / f"{name}.ndjson").read_text().splitlines()]
    book = run_oracle(Scenario(definitions=json.loads(document), runs=(Run(lines=tuple(lines)),)))
    with (SAMPLE / "expected_balances.csv").open(encoding="utf-8") as file:
        expected = [
            (row["external_id"], row["asset"], bucket.upper(), Decimal(row[bucket]))
            for row in csv.DictReader(file)
            for bucket in ("available", "deferred")
        ]
    scale = {"BEANS": 0, "EUR": 2}
    for who, asset, bucket, amount in expected:
        minor = book.balances.get(("PARTICIPANT", who, asset, bucket), 0)
        assert minor == amount * 10 ** scale[asset], (who, asset, bucket)
    assert sum(1 for account in book.balances if account[0] == "PARTICIPANT") <= len(expected)


def test_every_purchase_of_the_cashback_card_earns_what_the_recipe_says(tmp_path: Path) -> None:
    sample, book = SAMPLE.parent / "cashback_card", tmp_path / "card.duckdb"
    command = ["run", "--config", sample / "config", "--book", book, "--clock", "event", sample / "events.ndjson"]
    run_command(*map(str, command))
    query = """SELECT e.idempotency_key, coalesce(sum(j.amount), 0) AS credited
        FROM events AS e LEFT JOIN entries AS j ON j.log_seq = e.log_seq GROUP BY ALL ORDER BY ALL"""
    found = run_command("sql", "--book", str(book), "--format", "csv", query)
    assert found.stdout == (sample / "expected_credits.csv").read_text(encoding="utf-8")
