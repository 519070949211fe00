"""Where automations and subscriptions stand (§17.2, §17.4), and their rows: of a batch what it changed, of state all.

Statuses of subscriptions are in the change log; everything else here, most of all when something is due next, is not
(§18.5), so every batch writes down how it left what it touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from earnbook.ledger.schema import AutomationStatus, SubscriptionStatus
from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES

SubscriptionName = tuple[int, int]
"""The numbers of an automation and of a participant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAutomation:
    """An automation as the book has it; it is live while its status is active and its program ACTIVE.

    `was_live` says that it was activated before, `is_over` that a one_time fired or was cancelled; both until its
    trigger changes. `refresh_at` is when all subscriptions are evaluated next, `was_refreshed` that they were since it
    became live.
    """

    status: AutomationStatus
    is_live: bool = False
    was_live: bool = False
    is_over: bool = False
    was_refreshed: bool = False
    next_at: int | None = None
    refresh_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSubscription:
    """A subscription as the book has it. `text` is the date that it was planned by, `fired` counts THRESHOLD events.

    While its automation is not live, or was not refreshed since it became so, `next_at` means nothing.
    """

    status: SubscriptionStatus
    subscribed_at: int
    next_at: int | None
    text: str | None = None
    fired: int = 0


def read_automations(rows: pa.Table) -> dict[int, StoredAutomation]:
    """Automations by number, from their state rows."""
    return {
        row.pop("automation"): StoredAutomation(**row | {"status": AutomationStatus(row["status"])})
        for row in rows.to_pylist()
    }


def read_subscriptions(rows: pa.Table) -> dict[SubscriptionName, StoredSubscription]:
    """Subscriptions by name, from their state rows."""
    return {
        (row.pop("automation"), row.pop("holder")): StoredSubscription(
            **row | {"status": SubscriptionStatus(row["status"])}
        )
        for row in rows.to_pylist()
    }


def automation_rows(automations: Mapping[int, StoredAutomation], *, batch: int | None = None) -> pa.Table:
    """Rows of state or, with a batch, of what it changed, by number."""
    numbers = sorted(automations)
    keys: dict[str, list[Any]] = {"automation": numbers, "batch": [batch] * len(numbers)}
    schema = STATE_TABLES["automations"] if batch is None else BATCH_TABLES["automation_terms"]
    return _rows(keys, [automations[number] for number in numbers], schema)


def subscription_rows(
    subscriptions: Mapping[SubscriptionName, StoredSubscription], *, batch: int | None = None
) -> pa.Table:
    """Rows of state or, with a batch, of what it changed, by automation and participant."""
    names = sorted(subscriptions)
    keys: dict[str, list[Any]] = {
        "automation": [number for number, _ in names],
        "holder": [holder for _, holder in names],
        "batch": [batch] * len(names),
    }
    schema = STATE_TABLES["subscriptions"] if batch is None else BATCH_TABLES["subscription_terms"]
    return _rows(keys, [subscriptions[name] for name in names], schema)


def _rows(
    keys: Mapping[str, Sequence[Any]], stored: Sequence[StoredAutomation | StoredSubscription], schema: pa.Schema
) -> pa.Table:
    """Rows with these keys, all other columns from what is stored."""
    columns = [
        keys[field.name] if field.name in keys else [getattr(each, field.name) for each in stored] for field in schema
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)
