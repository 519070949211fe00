"""What a worked example may say about time (§14, §17), as texts.

- `dated_tiers`: `participant.type` to the row, `gold since 2025-09-01 until 2026-02-01`, followed by
  `, down 2027-03-03 to silver` where a downgrade is noted (`base` for none) and by `, own` where the expiry is its own;
- `tier_changes`: the changes of tiers in order, `2026-01-01 alice.status gold since … until …` or `… removed`;
- `rolled`: the `auto_reset` changes of counters in order, `2026-01-01 alice.spend 2200 -> 0`, due ones only;
- `fired`: the generated events in order, `2026-03-02T15:00:00Z digest alice`: the automation's key, or `by` and the
  log_seq of the parent, then the participant or `nobody`, and the outcome code where it failed;
- `automations`: key to `active`, or `active next 2026-03-02T15:00:00Z`; `subscriptions`: `participant.automation` to
  the like; `subscription_changes`: `2026-01-01 alice.birthday -> active` in order.

Times are dates where they are midnights in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.support.logical import LogicalBook, Tier
from tests.support.oracle_times import format_time


def shown_times(book: LogicalBook) -> dict[str, object]:
    """All of it, by the name of the expectation."""
    return {
        "dated_tiers": {f"{who}.{key}": _tier(row) for (who, _, key), row in book.tiers.items()},
        "tier_changes": list(_tier_changes(book)),
        "rolled": list(_rolled(book)),
        "fired": list(_fired(book)),
        "automations": {key: _next(row.status, row.next_at) for (_, key), row in book.automations.items()},
        "subscriptions": {
            f"{who}.{key}": _next(row.status, row.next_at) for (_, key, who), row in book.subscriptions.items()
        },
        "subscription_changes": list(_subscription_changes(book)),
    }


def _short(at: int) -> str:
    return format_time(at).removesuffix("T00:00:00Z")


def _tier(row: Tier) -> str:
    text = f"{row.level} since {_short(row.acquired_at)}"
    if row.expires_at is not None:
        text += f" until {_short(row.expires_at)}"
    if row.downgrade_at is not None:
        text += f", down {_short(row.downgrade_at)} to {row.noted_level or 'base'}"
    return text + (", own" if row.own_expiry else "")


def _tier_changes(book: LogicalBook) -> Iterator[str]:
    for row in book.changes:
        if row.state_type == "tier":
            name = f"{row.entity[1]}.{row.key.partition('/')[2]}"
            yield f"{_short(row.changed_at)} {name} {'removed' if row.tier is None else _tier(row.tier)}"


def _subscription_changes(book: LogicalBook) -> Iterator[str]:
    for row in book.changes:
        if row.state_type == "subscription":
            name, status = f"{row.entity[1]}.{row.key.partition('/')[2]}", json.loads(row.new_value or "null")
            yield f"{_short(row.changed_at)} {name} -> {status}"


def _rolled(book: LogicalBook) -> Iterator[str]:
    for row in book.changes:
        if (row.state_type, row.operation, row.cause) == ("counter", "auto_reset", "DUE"):
            yield f"{_short(row.changed_at)} {row.entity[1]}.{row.key} {row.old_value} -> {row.new_value}"


def _fired(book: LogicalBook) -> Iterator[str]:
    outcomes = {row.log_seq: row for row in book.outcomes if row.attempt == 1}
    for record in book.records:
        if record.type != "SYSTEM":
            continue
        outcome = outcomes[record.log_seq]
        by = record.automation or f"by {record.parent}"
        text = f"{_short(record.timestamp)} {by} {outcome.participant or 'nobody'}"
        yield text if outcome.status == "COMPLETED" else f"{text} {outcome.code}"


def _next(status: str, next_at: int | None) -> str:
    return status if next_at is None else f"{status} next {_short(next_at)}"
