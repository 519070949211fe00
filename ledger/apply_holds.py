"""Value within and out of a holder's buckets: HOLD, RELEASE, FORFEIT, VOID_HOLD (§9.3, §9.6, §9.8).

Each function takes what is already checked of the action itself (stages 1 to 7 of §12.3) and gives 0 when it was done
or had nothing to do, an Outcome (> 0) when it fails. One that finds a table full stops early and leaves R_FULL set:
its record is undone. `number` is the number of the rule action, 0 for an operation; `operand` the row of the
operation's filter, -1 for none.
"""

from __future__ import annotations

from earnbook.ledger.amounts import MINOR_MAX
from earnbook.ledger.arrivals import expire_overdue, is_overdue, repay
from earnbook.ledger.compiled import compiled
from earnbook.ledger.consume import SOURCES, consume
from earnbook.ledger.filters import choose, has_filter, is_match
from earnbook.ledger.holds import held_of, open_part, split_off, stamp
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    has_lots,
    move_account,
    move_balance,
    next_entry,
    write_lot_move,
    write_movement,
    write_reference,
)
from earnbook.ledger.layout import (
    ACCOUNTS,
    LOT_HOLD,
    LOT_NEXT,
    LOT_REMAINING,
    LOT_SEQ,
    LOTS,
    R_FULL,
    R_LOG_SEQ,
    REGISTERS,
    matrix,
    vector,
)
from earnbook.ledger.lots import chain_at, close_lot, move_lot, set_lot
from earnbook.ledger.schema import ACCOUNT_BREAKAGE, Bucket, EntryType, Int64s, LotMoveKind, LotStatus, Outcome

EVERYTHING = -1
"""An amount that is not given: all that matches."""

_AVAILABLE = int(Bucket.AVAILABLE)
_HELD = int(Bucket.HELD)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_LOT_HELD = int(LotStatus.HELD)
_CONSUMED = int(LotStatus.CONSUMED)
_HOLD = int(LotMoveKind.HOLD)
_RELEASE = int(LotMoveKind.RELEASE)
_SPLIT = int(LotMoveKind.SPLIT)
_ENTRY_HOLD = int(EntryType.HOLD)
_ENTRY_RELEASE = int(EntryType.RELEASE)
_ENTRY_FORFEIT = int(EntryType.FORFEIT)
_ENTRY_VOID = int(EntryType.VOID_HOLD)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_NOT_FOUND = int(Outcome.REFERENCE_NOT_FOUND)
_INSUFFICIENT_BALANCE = int(Outcome.INSUFFICIENT_BALANCE)
_BREAKAGE = ACCOUNT_BREAKAGE


@compiled
def _wanted(
    handles: Int64s, target: int, asset: int, bucket: int, amount: int, reference: int, operand: int
) -> tuple[int, int]:
    """How much an operation moves of what is there in AVAILABLE or HELD and meant, and why that is not possible.

    An amount that is given is at least 1. A reference (-1: any) and a filter choose among the lots of the bucket.

    Returns:
        The amount, 0 where EVERYTHING is nothing; and 0, INSUFFICIENT_BALANCE, or what `choose` has found.
    """
    present = max(balance_of(handles, target, asset, bucket), 0)
    if reference >= 0 or has_filter(handles, operand):
        status = _LOT_AVAILABLE if bucket == _AVAILABLE else _LOT_HELD
        present, code = choose(handles, target, asset, status, reference, operand)
        if code != 0:
            return 0, code
    if amount == EVERYTHING:
        return present, 0
    return amount, _INSUFFICIENT_BALANCE if amount > present else 0


@compiled
def hold(handles: Int64s, number: int, target: int, asset: int, amount: int, reference: int, operand: int) -> int:
    """HOLD: AVAILABLE to HELD, or EVERYTHING there; lots in the order of §9.6, stamped with `reference` (-1: none)."""
    amount, code = _wanted(handles, target, asset, _AVAILABLE, amount, -1, operand)
    if code != 0 or amount == 0:
        return code
    if balance_of(handles, target, asset, _HELD) > MINOR_MAX - amount:
        return _OVERFLOW
    entry = next_entry(handles)
    if has_lots(handles, asset):
        write_reference(handles, entry, reference)
        _hold_lots(handles, number, target, asset, amount, reference, entry, operand)
    else:
        _write_whole(handles, entry, _ENTRY_HOLD, number, target, asset, _AVAILABLE, _HELD, amount)
    move_balance(handles, target, asset, _AVAILABLE, -amount, entry)
    move_balance(handles, target, asset, _HELD, amount, entry)
    return 0


@compiled
def _hold_lots(
    handles: Int64s, number: int, target: int, asset: int, amount: int, reference: int, entry: int, operand: int
) -> None:
    """Hold lots of AVAILABLE, which have the amount: each turns HELD itself, of the last the held part is split off."""
    registers, lots = vector(handles, REGISTERS), matrix(handles, LOTS)
    following = vector(handles, ACCOUNTS)[chain_at(handles, target, asset, _LOT_AVAILABLE)] - 1
    debit, credit = account_code(handles, target, _AVAILABLE), account_code(handles, target, _HELD)
    rest, index, hint = amount, 0, 0
    while rest > 0 and registers[R_FULL] == 0:
        lot = following
        following = lots[lot, LOT_NEXT] - 1
        if not is_match(handles, lot, -1, False, operand):
            continue
        seq, remaining = lots[lot, LOT_SEQ], lots[lot, LOT_REMAINING]
        taken = min(remaining, rest)
        if taken == remaining:
            move_lot(handles, lot, _LOT_HELD, hint)
            write_lot_move(handles, entry, index, seq, _HOLD, _LOT_AVAILABLE, taken, _LOT_HELD, taken, reference, 0)
        else:
            left, parent = remaining - taken, lot
            write_lot_move(handles, entry, index, seq, _SPLIT, _LOT_AVAILABLE, remaining, _LOT_AVAILABLE, left, -1, 0)
            index += 1
            seq = split_off(handles, parent, entry, taken)
            lot = open_part(handles, parent, seq, _LOT_HELD, taken, hint)
            write_lot_move(handles, entry, index, seq, _SPLIT, 0, 0, _LOT_HELD, taken, reference, 0)
        stamp(handles, lot, reference, 0)
        write_movement(handles, entry, registers[R_LOG_SEQ], _ENTRY_HOLD, number, debit, credit, asset, taken, seq)
        rest -= taken
        index += 1
        hint = lot + 1


@compiled
def release(handles: Int64s, number: int, target: int, asset: int, amount: int, reference: int, operand: int) -> int:
    """RELEASE: HELD to AVAILABLE, or EVERYTHING there; of lots those stamped with `reference` (-1: all).

    What comes back repays overdraft, and what is overdue then expires, one entry a lot (§9.9).
    """
    amount, code = _wanted(handles, target, asset, _HELD, amount, reference, operand)
    if code != 0 or amount == 0:
        return code
    if balance_of(handles, target, asset, _AVAILABLE) > MINOR_MAX - amount:
        return _OVERFLOW
    entry = next_entry(handles)
    move_balance(handles, target, asset, _HELD, -amount, entry)
    move_balance(handles, target, asset, _AVAILABLE, amount, entry)
    if not has_lots(handles, asset):
        _write_whole(handles, entry, _ENTRY_RELEASE, number, target, asset, _HELD, _AVAILABLE, amount)
        return 0
    write_reference(handles, entry, reference)
    first, count = _release_lots(handles, number, target, asset, amount, reference, entry, operand)
    if count > 0:
        expire_overdue(handles, first, count, number)
    return 0


@compiled
def _release_lots(
    handles: Int64s, number: int, target: int, asset: int, amount: int, reference: int, entry: int, operand: int
) -> tuple[int, int]:
    """Release lots that match, which have the amount, oldest first; of the last one a part may be split off.

    Returns:
        The row of the first lot that came back overdue with something left, -1: none; and how many did.
    """
    registers, lots = vector(handles, REGISTERS), matrix(handles, LOTS)
    debit, credit = account_code(handles, target, _HELD), account_code(handles, target, _AVAILABLE)
    lot = vector(handles, ACCOUNTS)[chain_at(handles, target, asset, _LOT_HELD)] - 1
    rest, index, hint, first, count = amount, 0, 0, -1, 0
    while rest > 0 and registers[R_FULL] == 0:
        following = lots[lot, LOT_NEXT] - 1
        if is_match(handles, lot, reference, False, operand):
            seq, remaining = lots[lot, LOT_SEQ], lots[lot, LOT_REMAINING]
            taken = min(remaining, rest)
            repaid = repay(handles, target, asset, taken)
            left = taken - repaid
            after = _LOT_AVAILABLE if left > 0 else _CONSUMED
            arrived = lot
            if taken == remaining:
                write_lot_move(handles, entry, index, seq, _RELEASE, _LOT_HELD, remaining, after, left, -1, repaid)
                if left > 0:
                    set_lot(handles, lot, LOT_REMAINING, left)
                    move_lot(handles, lot, _LOT_AVAILABLE, hint)
                else:
                    close_lot(handles, lot, _CONSUMED)
            else:
                kept = remaining - taken
                write_lot_move(
                    handles, entry, index, seq, _SPLIT, _LOT_HELD, remaining, _LOT_HELD, kept, lots[lot, LOT_HOLD], 0
                )
                index += 1
                seq = split_off(handles, lot, entry, taken)
                write_lot_move(handles, entry, index, seq, _SPLIT, 0, 0, after, left, -1, repaid)
                if left > 0:
                    arrived = open_part(handles, lot, seq, _LOT_AVAILABLE, left, hint)
            write_movement(
                handles, entry, registers[R_LOG_SEQ], _ENTRY_RELEASE, number, debit, credit, asset, taken, seq
            )
            index += 1
            rest -= taken
            if left > 0:
                hint = arrived + 1
                if is_overdue(handles, arrived):
                    first = arrived if count == 0 else first
                    count += 1
        lot = following
    return first, count


@compiled
def forfeit(
    handles: Int64s, number: int, target: int, asset: int, bucket: int, amount: int, reference: int, operand: int
) -> int:
    """FORFEIT: value of AVAILABLE or HELD to BREAKAGE, or EVERYTHING there; of lots the oldest first.

    A reference (-1: none) means the lots that have it: of HELD ones as their stamp, else as their own.
    """
    amount, code = _wanted(handles, target, asset, bucket, amount, reference, operand)
    if code != 0 or amount == 0:
        return code
    entry = next_entry(handles)
    if has_lots(handles, asset):
        write_reference(handles, entry, reference)
        consume(
            handles, number, target, asset, bucket, amount, entry, _ENTRY_FORFEIT, _BREAKAGE, reference, False, operand
        )
    else:
        debit, cause = account_code(handles, target, bucket), vector(handles, REGISTERS)[R_LOG_SEQ]
        write_movement(handles, entry, cause, _ENTRY_FORFEIT, number, debit, _BREAKAGE, asset, amount, 0)
        move_account(handles, _BREAKAGE, asset, amount, entry)
    move_balance(handles, target, asset, bucket, -amount, entry)
    return 0


@compiled
def void_hold(handles: Int64s, number: int, target: int, asset: int, reference: int) -> int:
    """VOID_HOLD: the provisional lots stamped with `reference` back to their sources, whole."""
    amount = held_of(handles, target, asset, reference, True)
    if amount == 0:
        return _NOT_FOUND
    entry = next_entry(handles)
    write_reference(handles, entry, reference)
    _, code = consume(handles, number, target, asset, _HELD, amount, entry, _ENTRY_VOID, SOURCES, reference, True, -1)
    if code != 0:
        return code
    move_balance(handles, target, asset, _HELD, -amount, entry)
    return 0


@compiled
def _write_whole(
    handles: Int64s,
    entry: int,
    kind: int,
    number: int,
    target: int,
    asset: int,
    bucket: int,
    other: int,
    amount: int,
) -> None:
    """The movement of a SIMPLE asset between two buckets of a holder."""
    debit, credit = account_code(handles, target, bucket), account_code(handles, target, other)
    cause = vector(handles, REGISTERS)[R_LOG_SEQ]
    write_movement(handles, entry, cause, kind, number, debit, credit, asset, amount, 0)
