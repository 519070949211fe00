"""The sample is what its script makes, and a run of it gives the balances that the script's own model expects."""

from __future__ import annotations

import csv
import runpy
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

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
