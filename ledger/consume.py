"""Taking from lots: the oldest first, one emptied before the next (§9.6)."""

from __future__ import annotations

from earnbook.ledger.compiled import compiled
from earnbook.ledger.filters import is_match
from earnbook.ledger.journal import account_code, has_room, move_account, write_lot_move, write_movement
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
from earnbook.ledger.lots import chain_at, close_lot, set_lot
from earnbook.ledger.schema import TIME_NONE, Bucket, Int64s, LotMoveKind, LotStatus, Outcome

SOURCES = 0
"""Not an account: what is taken goes back to the source of each lot."""

MOVES_ONLY = int(TIME_NONE)
"""Not an account: no movement is written but lot moves, the first of the entry; who receives is the caller's."""

_AVAILABLE = int(Bucket.AVAILABLE)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_LOT_HELD = int(LotStatus.HELD)
_CONSUMED = int(LotStatus.CONSUMED)
_CONSUME = int(LotMoveKind.CONSUME)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)


@compiled
def consume(
    handles: Int64s,
    number: int,
    target: int,
    asset: int,
    bucket: int,
    amount: int,
    entry: int,
    kind: int,
    to: int,
    reference: int,
    only_provisional: bool,
    operand: int,
) -> tuple[int, int]:
    """Take up to `amount` from the lots of AVAILABLE or HELD, one movement a lot; the holder's balance is the caller's.

    Args:
        handles: the tables.
        number: of the rule action, 0 for an operation.
        target: slot of the holder.
        asset: index of the asset.
        bucket: AVAILABLE or HELD.
        amount: in minor units.
        entry: the entry and its type, `kind`.
        kind: EntryType.
        to: a system account, a wallet, SOURCES or MOVES_ONLY.
        reference: only lots of this reference, as in `is_match` (-1: any).
        only_provisional: of HELD lots only those that were credited there.
        operand: the filter of an operation, -1: none.

    Returns:
        What the lots could not cover, and 0 or AMOUNT_OVERFLOW (a wallet is full). Stops early when a table is full.
    """
    registers, lots = vector(handles, REGISTERS), matrix(handles, LOTS)
    status = _LOT_AVAILABLE if bucket == _AVAILABLE else _LOT_HELD
    lot = vector(handles, ACCOUNTS)[chain_at(handles, target, asset, status)] - 1
    account, cause = account_code(handles, target, bucket), registers[R_LOG_SEQ]
    rest, index = amount, 0
    while rest > 0 and lot >= 0 and registers[R_FULL] == 0:
        following = lots[lot, LOT_NEXT] - 1
        if is_match(handles, lot, reference, only_provisional, operand):
            seq, remaining = lots[lot, LOT_SEQ], lots[lot, LOT_REMAINING]
            taken = min(remaining, rest)
            if to == MOVES_ONLY:
                after = status if taken < remaining else _CONSUMED
                write_lot_move(handles, entry, index, seq, _CONSUME, status, remaining, after, remaining - taken, -1, 0)
            else:
                receiver = lots[lot, LOT_SOURCE] if to == SOURCES else to
                if not has_room(handles, receiver, asset, taken):
                    return rest, _OVERFLOW
                write_movement(handles, entry, cause, kind, number, account, receiver, asset, taken, seq)
                move_account(handles, receiver, asset, taken, entry)
            if taken == remaining:
                close_lot(handles, lot, _CONSUMED)
            else:
                set_lot(handles, lot, LOT_REMAINING, remaining - taken)
            rest -= taken
            index += 1
        lot = following
    return rest, 0
