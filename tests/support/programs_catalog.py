"""Redemption targets and rewards of random programs (§16): small stocks, targets of every kind, some of nobody."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

from tests.support.features import ORGANIZATION, group_id, participant_id

Document = dict[str, Any]

TARGETS = (
    *("alice", "bob", "bob", "shop", "smith", "team", "program1", "program1"),
    *(participant_id("bob"), group_id("smith"), str(uuid.uuid5(ORGANIZATION, "program:program1"))),
)
"""Of LEDGER_ENTITY; `shop` seldom exists."""


def add_catalog(chance: random.Random, program: Document, assets: Sequence[Document]) -> None:
    """Says where a program redeems into, and gives it up to three rewards in its assets."""
    kind = chance.choice((None, "SYSTEM_REDEMPTION", "SYSTEM_BREAKAGE", "LEDGER_ENTITY", "LEDGER_ENTITY"))
    if kind is not None:
        program["redemption_target_type"] = kind
    if kind == "LEDGER_ENTITY":
        program["redemption_target_entity_id"] = chance.choice(TARGETS)
    keys = ("gift", "voucher", "trip")[: chance.choice((1, 2, 3)) if assets else 0]
    program["rewards"] = [_reward(chance, key, chance.choice(assets)) for key in keys]


def _reward(chance: random.Random, key: str, asset: Document) -> Document:
    is_unit_based = chance.random() < 0.75
    reward: Document = {
        "key": key,
        "name": key.title(),
        "redemption_type": "UNIT_BASED" if is_unit_based else "AMOUNT_BASED",
        "asset_id": asset["symbol"],
        "unit_cost": chance.choice(("0.5", "1"))
        if asset["scale"] == 18
        else chance.choice(("1", "5", "5", "10", "50")),
        "status": chance.choice(("ACTIVE",) * 9 + ("DRAFT", "OUT_OF_STOCK", "ARCHIVED")),
    }
    if is_unit_based and chance.random() < 0.6:
        reward["max_total"] = chance.choice((1, 2, 3, 4))
    if is_unit_based and chance.random() < 0.4:
        reward["max_per_participant"] = chance.choice((1, 2, 3))
    if chance.random() < 0.15:
        reward["available_from"] = "2026-01-04T00:00:00Z"
    if chance.random() < 0.15:
        reward["available_until"] = "2026-01-15T10:00:00Z"
    return reward
