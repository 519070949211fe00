"""A book with something to show in every part of a page of reports: nine months of a travel club.

Two programs, an asset with lots and one without, budgets that run out, tiers, a redemption, debits that fail, and rows
that are rejected; three runs. The club's name needs escaping.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earnbook.pipeline.drive import run
from tests.support.engines import run_request
from tests.support.logical import Run

CLUB = "Sonne & Söhne <Reisen>"
FLIGHTS, PARTNERS = "flights", "hotels-and-resorts-of-our-partners"
BOOK, CONFIG = "club.duckdb", "club.json"
RUNS, MONTHS = 3, 3
MEMBERS = ("ada", "bo", "cy", "di", "eve")


def make_page_book(folder: Path) -> Path:
    """The book, made by the real pipeline."""
    (folder / CONFIG).write_text(json.dumps(_definitions()), encoding="utf-8")
    for number in range(RUNS):
        run_lines(folder, f"run-{number}", _lines(number))
    return folder / BOOK


def run_lines(folder: Path, name: str, lines: list[str]) -> None:
    """One more run over these rows; closures decide, since so few events are not worth a compilation."""
    rows = folder / f"{name}.ndjson"
    rows.write_text("\n".join(lines), encoding="utf-8")
    request = run_request(Run(), folder / BOOK, folder / CONFIG, rows, kernel=False, batch_records=1_000)
    run(request)


def _lines(number: int) -> list[str]:
    """Some months of events, one of each kind for every member, and a row that is no JSON."""
    rows: list[dict[str, Any]] = []
    for month in range(MONTHS * number + 1, MONTHS * (number + 1) + 1):
        for place, member in enumerate(MEMBERS, start=1):
            for day, event in enumerate(_events(place, month), start=1):
                row = {"idempotency_key": f"{member}-{month}-{day}", "external_id": member, "event_data": event}
                row["program_id"] = PARTNERS if event["type"] == "night" else FLIGHTS
                rows.append(row | {"event_timestamp": f"2025-{month:02d}-{2 * place + day:02d}T10:00:00Z"})
        rows.append(_redemption(month))
    return [*(json.dumps(row) for row in rows), "not JSON"]


def _events(place: int, month: int) -> list[dict[str, Any]]:
    return [
        {"type": "flight", "amount": 70 * place + month},
        {"type": "night"},
        {"type": "use", "amount": 250},
    ]


def _redemption(month: int) -> dict[str, Any]:
    row = {"type": "redeem", "idempotency_key": f"voucher-{month}", "program_id": FLIGHTS, "external_id": "eve"}
    return row | {
        "effective_at": f"2025-{month:02d}-20T10:00:00Z",
        "asset_id": "MILES",
        "amount": "50",
        "description": "Voucher",
    }


def _definitions() -> Mapping[str, Any]:
    lots = {"symbol": "MILES", "name": "Miles", "scale": 0, "inventory_mode": "LOT"}
    cash = {"symbol": "EUR", "name": "Cashback", "scale": 2, "inventory_mode": "SIMPLE"}
    shared = {"issuance_policy": "UNLIMITED", "programs": [FLIGHTS, PARTNERS]}
    return {
        "organization": {"key": "club", "name": CLUB},
        "assets": [lots | shared, cash | shared],
        "programs": [
            {"key": FLIGHTS, "name": "Flights", "rules": _flight_rules(), "tiers": [_status()]},
            {"key": PARTNERS, "name": "Partners", "rules": [_rule("night", 10, _credit("120", expires_at="2190h"))]},
        ],
    }


def _flight_rules() -> list[dict[str, Any]]:
    monthly = {"asset": "MILES", "limit": 400, "schedule_type": "CRON", "cron_expression": "0 0 1 * *"}
    return [
        _rule("flight", 10, {"type": "COUNTER", "key": "spend", "value": "event.amount"}, key="spend"),
        _rule("flight", 20, _credit("event.amount", expires_at="4380h"), key="miles"),
        _rule("flight", 30, _credit("event.amount", matures_at="720h", expires_at="8760h"), key="double")
        | {"budgets": [monthly]},
        _rule("flight", 40, _credit("event.amount * 0.01", asset="EUR"), key="cashback")
        | {"budgets": [{"asset": "EUR", "limit": "40"}]},
        _rule("use", 50, {"type": "DEBIT", "asset": "MILES", "amount": "event.amount"}),
    ]


def _status() -> dict[str, Any]:
    levels = (("bronze", 1, 300), ("silver", 2, 1_200), ("gold", 3, 3_000))
    return {"key": "status", "display_name": "Status", "levels": [_level(*level) for level in levels]}


def _level(key: str, rank: int, spend: int) -> dict[str, Any]:
    criteria = [{"counter": "spend", "operator": ">=", "threshold": spend}]
    return {"key": key, "rank": rank, "qualification": {"mode": "ALL", "criteria": criteria}}


def _rule(event_type: str, order: int, action: dict[str, Any], *, key: str = "") -> dict[str, Any]:
    name = key or event_type
    return {
        "key": name,
        "name": name,
        "order": order,
        "condition": f"event.type == '{event_type}'",
        "actions": [action],
    }


def _credit(amount: str, *, asset: str = "MILES", **dates: str) -> dict[str, Any]:
    return {"type": "CREDIT", "asset": asset, "amount": amount} | dates
