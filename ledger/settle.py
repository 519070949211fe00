"""Settling: a credit that takes the place of what was authorised under its reference (§9.8)."""

from __future__ import annotations

from earnbook.ledger.arrivals import repay
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.filters import is_match
from earnbook.ledger.holds import held_of
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    can_hold,
    has_lots,
    has_room,
    move_account,
    move_balance,
    next_entry,
    write_lot_move,
    write_movement,
)
from earnbook.ledger.layout import (
    ACCOUNTS,
    LOT_NEXT,
    LOT_REMAINING,
    LOT_SEQ,
    LOT_SOURCE,
    LOTS,
    R_FULL,
    R_LOG_SEQ,
    REGISTERS,
    matrix,
    vector,
)
from earnbook.ledger.lots import chain_at, close_lot, next_lot, open_lot, write_new_lot
from earnbook.ledger.schema import Bucket, EntryType, Int64s, LotMoveKind, LotStatus, Outcome

_AVAILABLE = int(Bucket.AVAILABLE)
_HELD = int(Bucket.HELD)
_LOT_DEFERRED = int(LotStatus.DEFERRED)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_LOT_HELD = int(LotStatus.HELD)
_CONSUMED = int(LotStatus.CONSUMED)
_CONSUME = int(LotMoveKind.CONSUME)
_CREATE = int(LotMoveKind.CREATE)
_SETTLE = int(EntryType.SETTLE)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_INSUFFICIENT_WALLET = int(Outcome.INSUFFICIENT_WALLET)


@inlined
def authorised_of(handles: Int64s, target: int, asset: int, bucket: int, reference: int) -> int:
    """H of §9.8: what a CREDIT to the bucket with this reference settles, in minor units; 0: it is a plain CREDIT."""
    if reference < 0 or bucket != _AVAILABLE or not has_lots(handles, asset):
        return 0
    return held_of(handles, target, asset, reference, True)


@compiled
def settle(
    handles: Int64s,
    number: int,
    owner: int,
    source: int,
    target: int,
    asset: int,
    amount: int,
    held: int,
    bucket: int,
    at: int,
    expires_at: int,
    matures_at: int,
    reference: int,
) -> int:
    """SETTLE `amount` (S) against what is authorised, `held` (H > 0), into AVAILABLE or DEFERRED.

    `owner` is the program's number, `source` the account that pays what H does not cover. The provisional lots cover S
    oldest first; what is left of each goes back to its own source.
    """
    if source < 0 and balance_of(handles, -source - 1, asset, _AVAILABLE) < amount - held:
        return _INSUFFICIENT_WALLET
    if not can_hold(handles, target, asset, bucket, amount, amount - held):
        return _OVERFLOW
    entry, lot, cause = next_entry(handles), next_lot(handles), vector(handles, REGISTERS)[R_LOG_SEQ]
    debit, credit = account_code(handles, target, _HELD), account_code(handles, target, bucket)
    write_movement(handles, entry, cause, _SETTLE, number, debit, credit, asset, min(amount, held), lot)
    if amount > held:
        write_movement(handles, entry, cause, _SETTLE, number, source, credit, asset, amount - held, 0)
        move_account(handles, source, asset, held - amount, entry)
    index, code = _consume_authorised(handles, number, target, asset, amount, reference, entry)
    if code != 0:
        return code
    move_balance(handles, target, asset, _HELD, -held, entry)
    move_balance(handles, target, asset, bucket, amount, entry)
    write_new_lot(handles, lot, entry, target, asset, lot, owner, source, amount, at, expires_at, matures_at, reference)
    repaid = repay(handles, target, asset, amount) if bucket == _AVAILABLE else 0
    left = amount - repaid
    status = _LOT_AVAILABLE if bucket == _AVAILABLE else _LOT_DEFERRED
    write_lot_move(handles, entry, index, lot, _CREATE, 0, 0, status if left > 0 else _CONSUMED, left, -1, repaid)
    if left > 0:
        open_lot(
            handles, lot, target, asset, status, left, lot, owner, source, at, expires_at, matures_at, reference, 0
        )
    return 0


@compiled
def _consume_authorised(
    handles: Int64s, number: int, target: int, asset: int, amount: int, reference: int, entry: int
) -> tuple[int, int]:
    """End the provisional lots of the reference; what the amount does not need goes back.

    Returns:
        How many lots there were, and 0 or AMOUNT_OVERFLOW (a wallet is full). Stops early when a table is full.
    """
    registers, lots = vector(handles, REGISTERS), matrix(handles, LOTS)
    debit = account_code(handles, target, _HELD)
    lot = vector(handles, ACCOUNTS)[chain_at(handles, target, asset, _LOT_HELD)] - 1
    uncovered, index = amount, 0
    while lot >= 0 and registers[R_FULL] == 0:
        following = lots[lot, LOT_NEXT] - 1
        if is_match(handles, lot, reference, True, -1):
            seq, remaining, source = lots[lot, LOT_SEQ], lots[lot, LOT_REMAINING], lots[lot, LOT_SOURCE]
            back = max(remaining - uncovered, 0)
            uncovered -= remaining - back
            if back > 0:
                if not has_room(handles, source, asset, back):
                    return index, _OVERFLOW
                write_movement(handles, entry, registers[R_LOG_SEQ], _SETTLE, number, debit, source, asset, back, seq)
                move_account(handles, source, asset, back, entry)
            write_lot_move(handles, entry, index, seq, _CONSUME, _LOT_HELD, remaining, _CONSUMED, 0, -1, 0)
            close_lot(handles, lot, _CONSUMED)
            index += 1
        lot = following
    return index, 0
