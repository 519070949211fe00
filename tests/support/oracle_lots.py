"""What entries do to lots (§9.5 to §9.9): creation, consumption, holds and splits, arrival, expiry; one move each.

A lot split off another is written after it, both with kind SPLIT. Reference and provisional mark are those of a HELD
lot: whatever leaves HELD, consumed or released, has neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.support.logical import Entity, Entry, Lot, LotMove
from tests.support.oracle_definitions import Asset
from tests.support.oracle_postings import BREAKAGE, account_of, post, source_of
from tests.support.oracle_state import Cause, State


def create(
    state: State,
    cause: Cause,
    entry: Entry,
    holder: Entity,
    asset: Asset,
    amount: int,
    bucket: str,
    expires_at: int | None,
    matures_at: int | None,
) -> None:
    """The lot of a credit; one credited to HELD is provisional and stamped with the credit's reference (§9.5)."""
    is_held = bucket == "HELD"
    lot_seq = len(state.lots) + 1
    lot = Lot(
        lot_seq=lot_seq,
        holder=holder,
        asset=asset.symbol,
        program=cause.program,
        source=source_of(asset, cause.program),
        root_lot_seq=lot_seq,
        amount=amount,
        created_at=cause.processed_at,
        expires_at=expires_at,
        matures_at=matures_at,
        reference_id=cause.reference,
        remaining=amount,
        status=bucket,
        hold_reference_id=cause.reference if is_held else None,
        provisional=is_held,
    )
    arrive(state, entry, None, lot, "CREATE")


def take(lots: Sequence[Lot], amount: int) -> list[tuple[Lot, int]]:
    """Which part of which lots makes up an amount, one lot emptied before the next; less when they hold less."""
    taken = []
    for lot in lots:
        part = min(amount, lot.remaining)
        if part > 0:
            taken.append((lot, part))
            amount -= part
    return taken


def consume(state: State, entry: Entry, taken: Iterable[tuple[Lot, int]]) -> None:
    """Takes parts of lots away."""
    for lot, part in taken:
        rest = replace(lot, remaining=lot.remaining - part)
        move(state, entry, lot, rest if rest.remaining else _without_hold(rest, "CONSUMED"), "CONSUME")


def hold_lots(state: State, entry: Entry, taken: Iterable[tuple[Lot, int]], reference: str | None) -> None:
    """AVAILABLE to HELD: a lot taken whole turns HELD itself, of the last the held part is split off (§9.6)."""
    for lot, part in taken:
        if part == lot.remaining:
            move(state, entry, lot, replace(lot, status="HELD", hold_reference_id=reference), "HOLD")
            continue
        move(state, entry, lot, replace(lot, remaining=lot.remaining - part), "SPLIT")
        held = _split_off(state, lot, part)
        move(state, entry, None, replace(held, status="HELD", hold_reference_id=reference), "SPLIT")


def release_lots(state: State, entry: Entry, taken: Iterable[tuple[Lot, int]]) -> list[int]:
    """HELD to AVAILABLE in the same way, repaying overdraft; the numbers of the lots that arrived."""
    arrived = []
    for lot, part in taken:
        if part == lot.remaining:
            arrive(state, entry, lot, _without_hold(lot, "AVAILABLE"), "RELEASE")
            arrived.append(lot.lot_seq)
            continue
        move(state, entry, lot, replace(lot, remaining=lot.remaining - part), "SPLIT")
        released = _without_hold(_split_off(state, lot, part), "AVAILABLE")
        arrive(state, entry, None, released, "SPLIT")
        arrived.append(released.lot_seq)
    return arrived


def restore(state: State, entry: Entry, parts: Sequence[tuple[Lot, int]]) -> list[int]:
    """Parts of redeemed lots back to AVAILABLE in the given order; the numbers of the lots that arrived, oldest first.

    An open or closed lot grows in place; of one that is HELD meanwhile the part is a new lot (§16.3). Whatever the
    order of the moves, the oldest lots repay the overdraft (§9.7); a lot that keeps nothing keeps its status.
    """
    arrivals: list[tuple[Lot | None, Lot, int]] = []
    for lot, part in parts:
        if lot.status == "HELD":
            lot_seq = len(state.lots) + 1 + sum(before is None for before, _, _ in arrivals)
            new = replace(_without_hold(lot, "AVAILABLE"), lot_seq=lot_seq, amount=part, remaining=part)
            arrivals.append((None, new, part))
        else:
            arrivals.append((lot, replace(lot, status="AVAILABLE", remaining=lot.remaining + part), part))
    repaid = {}
    for _, lot, part in sorted(arrivals, key=lambda arrival: _age(arrival[1])):
        repaid[lot.lot_seq] = min(part, state.overdraft(lot.holder, lot.asset))
        if repaid[lot.lot_seq]:
            state.overdrafts[*lot.holder, lot.asset] -= repaid[lot.lot_seq]
    for before, lot, _ in arrivals:
        rest = replace(lot, remaining=lot.remaining - repaid[lot.lot_seq])
        if not rest.remaining:
            rest = replace(rest, status="CONSUMED" if before is None else before.status)
        move(state, entry, before, rest, "RESTORE", repaid=repaid[lot.lot_seq])
    return [lot.lot_seq for _, lot, _ in sorted(arrivals, key=lambda arrival: _age(arrival[1]))]


def _age(lot: Lot) -> tuple[int, int, int]:
    """What lots are consumed by (§9.6)."""
    return lot.created_at, lot.root_lot_seq, lot.lot_seq


def expire_overdue(state: State, cause: Cause, asset: Asset, arrived: Iterable[int]) -> None:
    """What came back after its time expires in the same record, one entry a lot, for the same reason (§9.9)."""
    cause = replace(cause, reference=None, description=None, redemption=None)
    for lot in [state.lots[number] for number in arrived]:
        if lot.status == "AVAILABLE" and lot.expires_at is not None and lot.expires_at <= cause.processed_at:
            expire(state, cause, lot, asset)


def expire(state: State, cause: Cause, lot: Lot, asset: Asset) -> None:
    """EXPIRATION of what is left of an AVAILABLE lot (§9.9)."""
    legs = [(account_of(lot.holder, asset), -lot.remaining), (account_of(BREAKAGE, asset), lot.remaining)]
    entry = post(state, cause, "EXPIRATION", asset, lot.remaining, legs)
    move(state, entry, lot, replace(lot, remaining=0, status="EXPIRED"), "EXPIRE")


def arrive(state: State, entry: Entry, before: Lot | None, lot: Lot, kind: str) -> None:
    """A lot that reaches AVAILABLE repays the overdraft first (§9.7); a DEFERRED or HELD one does not."""
    repaid = 0
    if lot.status == "AVAILABLE":
        repaid = min(lot.remaining, state.overdraft(lot.holder, lot.asset))
    if repaid > 0:
        state.overdrafts[*lot.holder, lot.asset] -= repaid
        rest = lot.remaining - repaid
        lot = replace(lot, remaining=rest, status="AVAILABLE" if rest else "CONSUMED")
    move(state, entry, before, lot, kind, repaid=repaid)


def move(state: State, entry: Entry, before: Lot | None, after: Lot, kind: str, *, repaid: int = 0) -> None:
    """Puts a lot into its new state and writes the move."""
    index = sum(other.entry_seq == entry.seq for other in state.lot_moves)
    state.lots[after.lot_seq] = after
    state.lot_moves.append(
        LotMove(
            entry_seq=entry.seq,
            index=index,
            lot_seq=after.lot_seq,
            kind=kind,
            status_before=None if before is None else before.status,
            remaining_before=0 if before is None else before.remaining,
            status_after=after.status,
            remaining_after=after.remaining,
            hold_reference_after=after.hold_reference_id,
            repaid=repaid,
        )
    )


def _split_off(state: State, lot: Lot, part: int) -> Lot:
    """A new lot with the same root, dates, reference and source (§9.6)."""
    return replace(lot, lot_seq=len(state.lots) + 1, amount=part, remaining=part)


def _without_hold(lot: Lot, status: str) -> Lot:
    return replace(lot, status=status, hold_reference_id=None, provisional=False)
