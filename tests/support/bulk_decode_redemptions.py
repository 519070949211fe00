"""Redemptions, their reversals and what rewards have come to, from physical rows (§16, §18.6); see `bulk_decode`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.support.bulk_decode import SYSTEM, Row, Rows, account_entity
from tests.support.logical import Redemption, Reversal, Reward


def redemptions_of(rows: Rows) -> tuple[Redemption, ...]:
    """Every redemption with what is reversed of it."""
    return tuple(
        _redemption(rows, row, [reversal for reversal in rows["reversals"] if reversal["redemption"] == log_seq])
        for log_seq, row in sorted(rows.redemptions.items())
    )


def _redemption(rows: Rows, row: Row, reversals: Sequence[Row]) -> Redemption:
    participant = rows.participant(row["holder"])
    assert participant is not None
    reversed_amount, is_by_units = sum(reversal["amount"] for reversal in reversals), row["quantity"] is not None
    return Redemption(
        log_seq=row["log_seq"],
        participant=participant,
        program=rows.program(row["program"]),
        asset=rows.asset(row["asset"]),
        amount=row["amount"],
        reward=rows.reward(row["reward"]),
        quantity=row["quantity"],
        unit_cost=row["unit_cost"],
        target=_target(rows, row["target"]),
        entry_seq=row["entry_seq"],
        created_at=rows.operations[row["log_seq"]]["processed_at"],
        reversed_amount=reversed_amount,
        reversed_quantity=sum(reversal["quantity"] or 0 for reversal in reversals) if is_by_units else None,
        status=_status(row["amount"], reversed_amount),
    )


def _target(rows: Rows, account: int) -> tuple[str, str | None]:
    """Where the value of a redemption went."""
    owner = account_entity(account)
    return (SYSTEM[account], None) if owner is None else rows.entity(owner)


def _status(amount: int, reversed_amount: int) -> str:
    if not reversed_amount:
        return "COMPLETED"
    return "PARTIALLY_REVERSED" if reversed_amount < amount else "FULLY_REVERSED"


def reversals_of(rows: Rows) -> tuple[Reversal, ...]:
    """Every reversal."""
    return tuple(
        Reversal(
            log_seq=log_seq,
            redemption=row["redemption"],
            amount=row["amount"],
            quantity=row["quantity"],
            reason=json.loads(rows.operations[log_seq]["fields"])["reason"],
            entry_seq=row["entry_seq"],
            created_at=rows.operations[log_seq]["processed_at"],
        )
        for log_seq, row in sorted(rows.reversals.items())
    )


def rewards_of(rows: Rows) -> dict[tuple[str, str], Reward]:
    """Every reward of the definitions, once these are loaded."""
    if not rows.result.is_loaded:
        return {}
    counts = {row["reward"]: row["redeemed_count"] for row in rows.state("reward_counts") if row["holder"] == 0}
    return {
        (rows.program(entry.program), entry.key): Reward(
            status=_reward_status(reward.status, counts.get(number, 0), reward.max_total),
            redeemed_count=counts.get(number, 0),
            max_total=reward.max_total,
        )
        for number, (entry, reward) in enumerate(rows.rewards, start=1)
    }


def _reward_status(stated: str, count: int, max_total: int | None) -> str:
    """The effective status: what is stated, but for an ACTIVE reward of which all are gone (§16.2)."""
    is_gone = stated == "ACTIVE" and max_total is not None and count >= max_total
    return "OUT_OF_STOCK" if is_gone else stated
