"""Real transactions with published totals: half a million invoice lines, mapped by SQL and aggregated to invoices."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from earnbook.pipeline.config import ClockMode, RunReport, RunRequest
from earnbook.pipeline.drive import run
from earnbook.pipeline.verify import verify_book

DATA = Path(os.environ.get("EARNBOOK_TEST_DATA", "")) / "uci_online_retail.parquet"
pytestmark = pytest.mark.skipif(not DATA.is_file(), reason="EARNBOOK_TEST_DATA names no folder with the data")

CONFIG = """
organization: {key: giftshop}
assets:
  - {symbol: PTS, name: Points, scale: 0, inventory_mode: LOT, issuance_policy: UNLIMITED, programs: [points]}
programs:
  - key: points
    name: Points
    rules:
      - key: whole-pounds
        name: One point per whole pound
        condition: event.amount > 0
        actions: [{type: CREDIT, asset: PTS, amount: floor(event.amount)}]
sources:
  invoices:
    program: points
    format: parquet
    timezone: Europe/London
    select: |
      SELECT InvoiceNo AS idempotency_key, CAST(CustomerID AS VARCHAR) AS external_id,
             min(InvoiceDate) AS event_timestamp,
             {'type': CASE WHEN starts_with(InvoiceNo, 'C') THEN 'cancellation' ELSE 'invoice' END,
              'amount': sum(CAST(UnitPrice AS DECIMAL(18,3)) * Quantity),
              'lines': count(*)} AS event_data
      FROM input GROUP BY InvoiceNo, CustomerID
"""


def _request(folder: Path) -> RunRequest:
    config = folder / "points.yaml"
    config.write_text(CONFIG)
    return RunRequest(
        book=folder / "giftshop.duckdb",
        inputs=(str(DATA),),
        config=config,
        source="invoices",
        clock=ClockMode.EVENT,
    )


def _run(folder: Path) -> RunReport:
    return run(_request(folder))


def test_every_invoice_line_is_accounted_for_and_the_points_are_exact(tmp_path: Path) -> None:
    report = _run(tmp_path)

    assert report.ties
    assert report.inputs[0].mapped_from == 541_909
    assert report.rows_read == 25_900
    assert report.rejected == {"MISSING_PARTICIPANT": 3_710}
    assert report.events == report.completed == 22_190
    assert report.entries == 18_525
    assert [(m.asset, m.entry_type, m.amount_minor) for m in report.movements] == [("PTS", "CREDIT", 8_902_670)]
    assert report.participants_created == 4_372

    with duckdb.connect(str(tmp_path / "giftshop.duckdb"), read_only=True) as book:
        assert book.execute("SELECT count(*) FROM evaluations WHERE status = 'SUCCESS'").fetchone() == (18_532,)
        assert book.execute("SELECT sum(amount_minor) FROM balances WHERE entity_type = 'PARTICIPANT'").fetchone() == (
            8_902_670,
        )
        assert book.execute("SELECT count(*) FROM rejects WHERE reason = 'MISSING_PARTICIPANT'").fetchone() == (3_710,)
        assert book.execute("SELECT count(*) FROM events WHERE event_data->>'type' = 'cancellation'").fetchone() == (
            3_654,
        )
    assert verify_book(tmp_path / "giftshop.duckdb").findings == ()


def test_the_same_file_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    _run(tmp_path)
    before = (tmp_path / "giftshop.duckdb").read_bytes()

    again = _run(tmp_path)

    assert again.ties
    assert again.batches == ()
    assert (again.events, again.duplicates, again.entries) == (0, 22_190, 0)
    assert again.rejected == {"MISSING_PARTICIPANT": 3_710}
    assert again.rejects_known == 3_710
    assert any("nothing new" in note for note in again.notes)
    assert (tmp_path / "giftshop.duckdb").read_bytes() == before
