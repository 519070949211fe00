"""Value that reaches AVAILABLE: received, repaying overdraft, expired at once where its time has passed (§9.6-§9.9)."""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import (
    account_code,
    has_lots,
    move_account,
    move_balance,
    next_entry,
    overdraft_of,
    set_overdraft,
    source_of,
    write_lot_move,
    write_movement,
)
from earnbook.ledger.layout import (
    LOT_ASSET,
    LOT_EXPIRES,
    LOT_NEXT,
    LOT_REMAINING,
    LOT_SEQ,
    LOT_SLOT,
    LOTS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAMS,
    R_CLOCK,
    R_FULL,
    R_LOG_SEQ,
    REGISTERS,
    matrix,
    vector,
)
from earnbook.ledger.lots import close_lot, next_lot, open_lot, write_new_lot
from earnbook.ledger.schema import ACCOUNT_BREAKAGE, TIME_NONE, Bucket, EntryType, Int64s, LotMoveKind, LotStatus

_AVAILABLE = int(Bucket.AVAILABLE)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_CONSUMED = int(LotStatus.CONSUMED)
_CREATE = int(LotMoveKind.CREATE)
_EXPIRED = int(LotStatus.EXPIRED)
_EXPIRATION = int(EntryType.EXPIRATION)
_BREAKAGE = ACCOUNT_BREAKAGE
_NEVER = int(TIME_NONE)


@inlined
def repay(handles: Int64s, slot: int, asset: int, amount: int) -> int:
    """Repay overdraft with an amount that reaches AVAILABLE; returns how much of it that takes."""
    overdraft = overdraft_of(handles, slot, asset)
    repaid = min(overdraft, amount)
    if repaid > 0:
        set_overdraft(handles, slot, asset, overdraft - repaid)
    return repaid


@compiled
def receive(
    handles: Int64s, entry: int, index: int, kind: int, payer: int, slot: int, asset: int, amount: int, program: int
) -> None:
    """A holder gets from the account `payer` what fits: one movement, and on LOT assets a fresh lot (§9.6).

    `kind` is the type of the entry, `index` the place of the lot's move in it, `program` the slot of the operation's
    program. The balance of the payer is the caller's.
    """
    registers = vector(handles, REGISTERS)
    is_lot = has_lots(handles, asset)
    lot = next_lot(handles) if is_lot else 0
    account = account_code(handles, slot, _AVAILABLE)
    write_movement(handles, entry, registers[R_LOG_SEQ], kind, 0, payer, account, asset, amount, lot)
    move_balance(handles, slot, asset, _AVAILABLE, amount, entry)
    if not is_lot:
        return
    at, source = registers[R_CLOCK], source_of(handles, program, asset)
    owner = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
    write_new_lot(handles, lot, entry, slot, asset, lot, owner, source, amount, at, _NEVER, _NEVER, -1)
    repaid = repay(handles, slot, asset, amount)
    left = amount - repaid
    after = _LOT_AVAILABLE if left > 0 else _CONSUMED
    write_lot_move(handles, entry, index, lot, _CREATE, 0, 0, after, left, -1, repaid)
    if left > 0:
        open_lot(handles, lot, slot, asset, _LOT_AVAILABLE, left, lot, owner, source, at, _NEVER, _NEVER, -1, 0)


@inlined
def is_overdue(handles: Int64s, lot: int) -> bool:
    """Whether the time of a lot has passed, judged by the book clock."""
    expires_at = matrix(handles, LOTS)[lot, LOT_EXPIRES]
    return bool(expires_at != _NEVER and expires_at <= vector(handles, REGISTERS)[R_CLOCK])


@compiled
def expire_overdue(handles: Int64s, first: int, count: int, number: int) -> None:
    """Expire the `count` overdue lots that have just come back, from the row of the first of them on (-1: none).

    They stand in their AVAILABLE chain in the order in which they came, and nothing else there is overdue (§9.5). Each
    has an entry of its own, for the same reason as the one that brought it back.
    """
    registers, lots = vector(handles, REGISTERS), matrix(handles, LOTS)
    lot = first
    while count > 0 and registers[R_FULL] == 0:
        following = lots[lot, LOT_NEXT] - 1
        if is_overdue(handles, lot):
            expire_lot(handles, lot, next_entry(handles), registers[R_LOG_SEQ], number)
            count -= 1
        lot = following


@compiled
def expire_lot(handles: Int64s, lot: int, entry: int, cause: int, number: int) -> None:
    """What is left of an AVAILABLE lot goes to BREAKAGE; `cause` and `number` as of the entry's movement."""
    lots = matrix(handles, LOTS)
    slot, asset, remaining = lots[lot, LOT_SLOT], lots[lot, LOT_ASSET], lots[lot, LOT_REMAINING]
    debit = account_code(handles, slot, _AVAILABLE)
    write_movement(handles, entry, cause, _EXPIRATION, number, debit, _BREAKAGE, asset, remaining, lots[lot, LOT_SEQ])
    move_balance(handles, slot, asset, _AVAILABLE, -remaining, entry)
    move_account(handles, _BREAKAGE, asset, remaining, entry)
    close_lot(handles, lot, _EXPIRED)
