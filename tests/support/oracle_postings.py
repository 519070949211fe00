"""Entries and postings for the oracle (§9.2): accounts, and the one function that changes balances."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.logical import Account, Entry, Posting
from tests.support.oracle_definitions import Asset
from tests.support.oracle_state import Cause, Failure, State

BUCKETS = ("AVAILABLE", "HELD", "DEFERRED")
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
Source = tuple[str, str | None]
ISSUANCE: Source = ("SYSTEM_ISSUANCE", None)
REDEMPTION: Source = ("SYSTEM_REDEMPTION", None)
BREAKAGE: Source = ("SYSTEM_BREAKAGE", None)


def account_of(entity: Source, asset: Asset, bucket: str = "AVAILABLE") -> Account:
    """The account of an entity's bucket."""
    return (*entity, asset.symbol, bucket)


def source_of(asset: Asset, program: str) -> Source:
    """Where a program's credits of an asset come from (§9.3)."""
    return ("PROGRAM", program) if asset.is_prefunded else ISSUANCE


def post(
    state: State, cause: Cause, action_type: str, asset: Asset, amount: int, legs: Sequence[tuple[Account, int]]
) -> Entry:
    """Writes one entry; legs of one account are one posting, at the place of the first, but for TRANSFER (§16.4)."""
    merged: dict[Account, int] = {}
    for account, leg in legs:
        merged[account] = merged.get(account, 0) + leg
    postings = list(legs) if action_type == "TRANSFER" else list(merged.items())
    for account, change in merged.items():
        after = state.balance(account) + change
        if account[0] in ("PARTICIPANT", "GROUP", "PROGRAM") and not INT64_MIN <= after <= INT64_MAX:
            raise Failure("AMOUNT_OVERFLOW")
        state.balances[account] = after
    for holder in {account[:3] for account in merged if account[0] in ("PARTICIPANT", "GROUP")}:
        more = sum(change for account, change in merged.items() if account[:3] == holder)
        if more > 0 and sum(state.balance((*holder, bucket)) for bucket in BUCKETS) > INT64_MAX:
            raise Failure("AMOUNT_OVERFLOW")
    entry = Entry(
        seq=len(state.entries) + 1,
        created_at=cause.processed_at,
        action_type=action_type,
        program=cause.program,
        asset=asset.symbol,
        amount=amount,
        cause=cause.kind,
        cause_number=cause.number or 0,
        rule=cause.rule,
        rule_version=cause.rule_version,
        action_index=cause.action_index,
        reference_id=cause.reference,
        description=cause.description,
        postings=tuple(Posting(account=account, amount=change) for account, change in postings),
        redemption=cause.redemption,
    )
    state.entries.append(entry)
    return entry
