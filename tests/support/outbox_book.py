"""A book whose log makes every notification of §22.2 at least once, and one that is cut into batches anywhere.

Program `loyalty` has PTS (LOT, scale 2) and CASH (SIMPLE, scale 0, PREFUNDED), a tier type and a rule for each kind of
event; one endpoint is ACTIVE.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earnbook.pipeline.config import (
    BATCH_RECORDS_DEFAULT,
    AdvanceRequest,
    ClockMode,
    OutboxMode,
    RunReport,
    RunRequest,
)
from earnbook.pipeline.drive import advance, run
from earnbook.rules.times import parse_timestamp

ENDPOINT = {"url": "https://example.com/hook", "enabled_events": ["*"], "status": "ACTIVE"}

_RULES: dict[str, list[dict[str, Any]]] = {
    "earn": [{"type": "CREDIT", "asset": "PTS", "amount": "event.amount", "expires_at": "240h"}],
    "later": [{"type": "CREDIT", "asset": "PTS", "amount": "event.amount", "matures_at": "24h"}],
    "authorise": [
        {"type": "CREDIT", "asset": "PTS", "amount": "event.amount", "bucket": "HELD", "reference_id": "event.ref"}
    ],
    "settle": [{"type": "CREDIT", "asset": "PTS", "amount": "event.amount", "reference_id": "event.ref"}],
    "void": [{"type": "VOID_HOLD", "asset": "PTS", "reference_id": "event.ref"}],
    "spend": [{"type": "DEBIT", "asset": "PTS", "amount": "event.amount"}],
    "twice": [
        {"type": "CREDIT", "asset": "PTS", "amount": "event.amount"},
        {"type": "DEBIT", "asset": "PTS", "amount": "event.amount"},
        {"type": "SET_TIER", "tier": "status", "level": "gold", "expires_at": "48h"},
    ],
    "cash": [{"type": "CREDIT", "asset": "CASH", "amount": "event.amount"}],
}


def definitions(webhooks: Sequence[dict[str, Any]] = (ENDPOINT,)) -> dict[str, Any]:
    """The definitions of the book."""
    rules = [
        {"key": kind, "name": kind, "order": order, "condition": f"event.type == '{kind}'", "actions": actions}
        for order, (kind, actions) in enumerate(_RULES.items(), start=1)
    ]
    levels = [{"key": "gold", "rank": 2}, {"key": "silver", "rank": 1}]
    card = {"key": "card", "name": "Gift card", "redemption_type": "UNIT_BASED", "asset": "PTS", "unit_cost": 3}
    program = {
        "key": "loyalty",
        "name": "Loyalty",
        "rules": rules,
        "tiers": [{"key": "status", "display_name": "Status", "levels": levels}],
        "rewards": [{**card, "status": "ACTIVE"}],
    }
    asset = {"name": "Points", "programs": ["loyalty"]}
    return {
        "organization": {"key": "demo", "name": "Demo", "webhooks": list(webhooks)},
        "assets": [
            {**asset, "symbol": "PTS", "scale": 2, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED"},
            {**asset, "symbol": "CASH", "scale": 0, "inventory_mode": "SIMPLE", "issuance_policy": "PREFUNDED"},
        ],
        "programs": [program],
    }


def event(key: str, day: str, who: str, kind: str, amount: str = "1", ref: str = "R", **fields: Any) -> str:
    """A row of an event at midnight of a day of January 2026 (`04`), or at a time of it (`04T09`)."""
    data = {"type": kind, "amount": float(amount), "ref": ref}
    row = {"idempotency_key": key, "event_timestamp": _time(day), "external_id": who, "event_data": data}
    return json.dumps(row | fields)


def operation(key: str, day: str, kind: str, /, **fields: Any) -> str:
    """A row of an operation."""
    return json.dumps({"type": kind, "idempotency_key": key, "effective_at": _time(day), **fields})


def _time(day: str) -> str:
    date, _, hour = day.partition("T")
    return f"2026-01-{date}T{hour or '00'}:00:00Z"


class OutboxBook:
    """Runs rows into one book under `--clock event`, by default with every notification."""

    def __init__(self, folder: Path, webhooks: Sequence[dict[str, Any]] = (ENDPOINT,)) -> None:
        self.path = folder / "book.duckdb"
        self.config = folder / "definitions.json"
        self._rows = folder / "rows.ndjson"
        self.define(webhooks)

    def define(self, webhooks: Sequence[dict[str, Any]]) -> None:
        """Other endpoints from the next run on."""
        self.config.write_text(json.dumps(definitions(webhooks)), encoding="utf-8")

    def run(
        self,
        *lines: str,
        outbox: OutboxMode = OutboxMode.ENABLED,
        extensions: bool = False,
        batch_records: int = BATCH_RECORDS_DEFAULT,
    ) -> RunReport:
        """One `earnbook run`."""
        self._rows.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return run(
            RunRequest(
                book=self.path,
                inputs=(str(self._rows),),
                config=self.config,
                program="loyalty",
                clock=ClockMode.EVENT,
                allow_late=True,
                no_horizon=True,
                batch_records=batch_records,
                outbox=outbox,
                webhook_extensions=extensions,
            )
        )

    def advance(self, day: str, *, extensions: bool = False) -> None:
        """One `earnbook advance`."""
        to_us = parse_timestamp(_time(day))
        advance(AdvanceRequest(book=self.path, to_us=to_us, no_horizon=True, webhook_extensions=extensions))
