"""Reversals of redemptions: on LOT assets into the lots that were consumed (§16.3).

What comes back to which lot is the caller's finding and stands in RESTORES, the last consumed first: later in the order
of §9.6 before earlier. Here each lot is looked for among those that the holder has open, in one walk down both chains.
"""

from __future__ import annotations

from earnbook.ledger.arrivals import expire_overdue, is_overdue, repay
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.consume import MOVES_ONLY, consume
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    can_hold,
    has_lots,
    move_account,
    move_balance,
    next_entry,
    write_lot_move,
    write_movement,
)
from earnbook.ledger.layout import (
    ACCOUNTS,
    LOT_CREATED,
    LOT_EXPIRES,
    LOT_MATURES,
    LOT_PREVIOUS,
    LOT_PROGRAM,
    LOT_REFERENCE,
    LOT_REMAINING,
    LOT_ROOT,
    LOT_SEQ,
    LOT_SOURCE,
    LOTS,
    R_FULL,
    R_LOG_SEQ,
    R_LOT_MOVES,
    R_REVERSALS,
    REGISTERS,
    RESTORE_AMOUNT,
    RESTORE_CREATED,
    RESTORE_EXPIRES,
    RESTORE_MATURES,
    RESTORE_PROGRAM,
    RESTORE_REFERENCE,
    RESTORE_ROOT,
    RESTORE_SEQ,
    RESTORE_SOURCE,
    RESTORE_STATUS,
    RESTORES,
    REVERSALS,
    claim_column,
    matrix,
    vector,
)
from earnbook.ledger.lots import chain_at, is_older, next_lot, open_lot, set_lot, write_new_lot
from earnbook.ledger.schema import Bucket, EntryType, Int64s, LotMoveKind, LotStatus, Outcome

_AVAILABLE = int(Bucket.AVAILABLE)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_LOT_HELD = int(LotStatus.HELD)
_CONSUMED = int(LotStatus.CONSUMED)
_RESTORE = int(LotMoveKind.RESTORE)
_REVERSAL = int(EntryType.REDEMPTION_REVERSAL)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_INSUFFICIENT_BALANCE = int(Outcome.INSUFFICIENT_BALANCE)


@compiled
def reverse(
    handles: Int64s,
    redemption: int,
    slot: int,
    asset: int,
    target: int,
    payee: int,
    amount: int,
    quantity: int,
    count: int,
) -> int:
    """REDEMPTION_REVERSAL of an amount that was redeemed and not reversed, then an EXPIRATION for each overdue lot.

    Args:
        handles: the tables.
        redemption: log_seq of the redeeming operation.
        slot: of the participant.
        asset: index of the asset.
        target: the account that the redemption went to, which pays.
        payee: the slot of the holder whose account that is, -1: it is none.
        amount: in minor units.
        quantity: of the reward, -1: none.
        count: rows of RESTORES, whose amounts sum to the amount; 0 on SIMPLE assets.

    Returns:
        0, INSUFFICIENT_BALANCE when the target is short, or AMOUNT_OVERFLOW.
    """
    registers = vector(handles, REGISTERS)
    if payee >= 0 and balance_of(handles, payee, asset, _AVAILABLE) < amount:
        return _INSUFFICIENT_BALANCE
    if target < 0 and balance_of(handles, -target - 1, asset, _AVAILABLE) < amount:
        return _INSUFFICIENT_BALANCE
    if not can_hold(handles, slot, asset, _AVAILABLE, amount, amount):
        return _OVERFLOW
    entry, moves = next_entry(handles), registers[R_LOT_MOVES]
    is_lot = has_lots(handles, asset)
    if payee < 0:
        move_account(handles, target, asset, -amount, entry)
    else:
        if is_lot:
            consume(handles, 0, payee, asset, _AVAILABLE, amount, entry, _REVERSAL, MOVES_ONLY, -1, False, -1)
        move_balance(handles, payee, asset, _AVAILABLE, -amount, entry)
    move_balance(handles, slot, asset, _AVAILABLE, amount, entry)
    _write(handles, redemption, amount, quantity, entry)
    if not is_lot:
        account = account_code(handles, slot, _AVAILABLE)
        write_movement(handles, entry, registers[R_LOG_SEQ], _REVERSAL, 0, target, account, asset, amount, 0)
        return 0
    first, overdue = _restore(handles, slot, asset, target, count, entry, registers[R_LOT_MOVES] - moves)
    if overdue > 0:
        expire_overdue(handles, first, overdue, 0)
    return 0


@inlined
def _write(handles: Int64s, redemption: int, amount: int, quantity: int, entry: int) -> None:
    """Append the row of a reversal."""
    row = claim_column(handles, REVERSALS, R_REVERSALS)
    rows = matrix(handles, REVERSALS)
    rows[0, row] = vector(handles, REGISTERS)[R_LOG_SEQ]
    rows[1, row] = redemption
    rows[2, row] = amount
    rows[3, row] = quantity
    rows[4, row] = entry


@compiled
def _restore(
    handles: Int64s, slot: int, asset: int, target: int, count: int, entry: int, index: int
) -> tuple[int, int]:
    """Give the first `count` rows of RESTORES back, each by one movement and one lot move; `index` is the first's.

    Returns:
        The row of the oldest lot that came back overdue with something left, -1: none; and how many did.
    """
    registers, lots, rows = vector(handles, REGISTERS), matrix(handles, LOTS), matrix(handles, RESTORES)
    accounts, account = vector(handles, ACCOUNTS), account_code(handles, slot, _AVAILABLE)
    available = accounts[chain_at(handles, slot, asset, _LOT_AVAILABLE) + 1] - 1
    held = accounts[chain_at(handles, slot, asset, _LOT_HELD) + 1] - 1
    # The oldest of what arrives repays first (§9.7), though the youngest is given back first.
    older = 0
    for k in range(count):
        older += rows[k, RESTORE_AMOUNT]
    owed = repay(handles, slot, asset, older)
    if owed > 0:
        _mark_held(handles, held, count)
    first, overdue = -1, 0
    for k in range(count):
        if registers[R_FULL] != 0:
            break
        seq, part = rows[k, RESTORE_SEQ], rows[k, RESTORE_AMOUNT]
        older -= part
        available, held = _walk_down(handles, available, k), _walk_down(handles, held, k)
        left = part
        if owed > 0:
            left -= min(part, max(0, owed - older - _moved(handles, k, count)))
        arrived = -1
        if available >= 0 and lots[available, LOT_SEQ] == seq:
            before = lots[available, LOT_REMAINING]
            set_lot(handles, available, LOT_REMAINING, before + part)
            after = before + part
            write_lot_move(handles, entry, index, seq, _RESTORE, _LOT_AVAILABLE, before, _LOT_AVAILABLE, after, -1, 0)
        elif held >= 0 and lots[held, LOT_SEQ] == seq:
            seq, arrived = _put_beside(handles, slot, asset, held, part, left, entry, index, available + 1)
        else:
            arrived = _reopen(handles, slot, asset, k, left, entry, index, available + 1)
        write_movement(handles, entry, registers[R_LOG_SEQ], _REVERSAL, 0, target, account, asset, part, seq)
        index += 1
        if arrived >= 0 and is_overdue(handles, arrived):
            first = arrived if overdue == 0 or is_older(lots, arrived, first) else first
            overdue += 1
    return first, overdue


@inlined
def _walk_down(handles: Int64s, lot: int, k: int) -> int:
    """From a lot (-1: none) of a chain down to that of a row of RESTORES, or the next older one, or -1."""
    while lot >= 0 and _is_younger(handles, lot, k):
        lot = matrix(handles, LOTS)[lot, LOT_PREVIOUS] - 1
    return lot


@compiled
def _mark_held(handles: Int64s, held: int, count: int) -> None:
    """Note the status of the lots in the first `count` rows of RESTORES that are HELD; `held` is the last of them."""
    lots, rows = matrix(handles, LOTS), matrix(handles, RESTORES)
    for k in range(count):
        held = _walk_down(handles, held, k)
        if held >= 0 and lots[held, LOT_SEQ] == rows[k, RESTORE_SEQ]:
            rows[k, RESTORE_STATUS] = _LOT_HELD


@compiled
def _moved(handles: Int64s, k: int, count: int) -> int:
    """By how much more the parts older than that of row k come to, where parts of one root become lots of their own.

    Such a lot is younger than all others of its root, and than those like it that were made before (§9.6).
    """
    rows, moved = matrix(handles, RESTORES), 0
    for row in range(k + 1, count):
        if not _is_of_one_root(rows, row, k):
            break
        if rows[row, RESTORE_STATUS] == _LOT_HELD:
            moved -= rows[row, RESTORE_AMOUNT]
    if rows[k, RESTORE_STATUS] == _LOT_HELD:
        for row in range(k - 1, -1, -1):
            if not _is_of_one_root(rows, row, k):
                break
            moved += rows[row, RESTORE_AMOUNT]
    return moved


@inlined
def _is_of_one_root(rows: Int64s, one: int, other: int) -> bool:
    """Whether the lots of two rows of RESTORES are parts of one."""
    return bool(rows[one, RESTORE_ROOT] == rows[other, RESTORE_ROOT])


@inlined
def _is_younger(handles: Int64s, lot: int, k: int) -> bool:
    """Whether an open lot is consumed after that of a row of RESTORES."""
    lots, rows = matrix(handles, LOTS), matrix(handles, RESTORES)
    if lots[lot, LOT_CREATED] != rows[k, RESTORE_CREATED]:
        return bool(lots[lot, LOT_CREATED] > rows[k, RESTORE_CREATED])
    if lots[lot, LOT_ROOT] != rows[k, RESTORE_ROOT]:
        return bool(lots[lot, LOT_ROOT] > rows[k, RESTORE_ROOT])
    return bool(lots[lot, LOT_SEQ] > rows[k, RESTORE_SEQ])


@compiled
def _reopen(handles: Int64s, slot: int, asset: int, k: int, left: int, entry: int, index: int, hint: int) -> int:
    """The lot of a row of RESTORES, which is closed, is AVAILABLE again with what is left of what it gets back.

    With nothing left it stays closed. Returns its row, -1: none. `hint` is the next older lot of its chain + 1.
    """
    rows = matrix(handles, RESTORES)
    seq, status, part = rows[k, RESTORE_SEQ], rows[k, RESTORE_STATUS], rows[k, RESTORE_AMOUNT]
    after = _LOT_AVAILABLE if left > 0 else status
    write_lot_move(handles, entry, index, seq, _RESTORE, status, 0, after, left, -1, part - left)
    if left == 0:
        return -1
    return open_lot(
        handles,
        seq,
        slot,
        asset,
        _LOT_AVAILABLE,
        left,
        rows[k, RESTORE_ROOT],
        rows[k, RESTORE_PROGRAM],
        rows[k, RESTORE_SOURCE],
        rows[k, RESTORE_CREATED],
        rows[k, RESTORE_EXPIRES],
        rows[k, RESTORE_MATURES],
        rows[k, RESTORE_REFERENCE],
        hint,
    )


@compiled
def _put_beside(
    handles: Int64s, slot: int, asset: int, lot: int, part: int, left: int, entry: int, index: int, hint: int
) -> tuple[int, int]:
    """A part that comes back to a lot which is HELD becomes a lot of its own, with the same root, dates and source.

    Returns:
        Its lot_seq, and its row; -1 where nothing of it is left. `hint` is the next older AVAILABLE lot + 1.
    """
    lots, seq = matrix(handles, LOTS), next_lot(handles)
    root, program, source = lots[lot, LOT_ROOT], lots[lot, LOT_PROGRAM], lots[lot, LOT_SOURCE]
    created, expires, matures = lots[lot, LOT_CREATED], lots[lot, LOT_EXPIRES], lots[lot, LOT_MATURES]
    reference = lots[lot, LOT_REFERENCE]
    write_new_lot(handles, seq, entry, slot, asset, root, program, source, part, created, expires, matures, reference)
    after = _LOT_AVAILABLE if left > 0 else _CONSUMED
    write_lot_move(handles, entry, index, seq, _RESTORE, 0, 0, after, left, -1, part - left)
    if left == 0:
        return seq, -1
    row = open_lot(
        handles,
        seq,
        slot,
        asset,
        _LOT_AVAILABLE,
        left,
        root,
        program,
        source,
        created,
        expires,
        matures,
        reference,
        hint,
    )
    return seq, row
