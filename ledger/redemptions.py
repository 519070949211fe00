"""Redemptions: a participant's AVAILABLE goes to the target of the program, which is captured with it (§16.1)."""

from __future__ import annotations

from earnbook.ledger.admit import slot_of
from earnbook.ledger.arrivals import receive
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.consume import MOVES_ONLY, consume
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    can_hold,
    has_lots,
    has_room,
    move_account,
    move_balance,
    next_entry,
    write_movement,
)
from earnbook.ledger.layout import (
    ASSET_COLUMNS,
    ASSET_NUMBER,
    ASSETS,
    HOLDER_NUMBERS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAM_TARGET,
    PROGRAM_TARGET_GROUP,
    PROGRAM_TARGET_PERSON,
    PROGRAMS,
    R_LOG_SEQ,
    R_LOT_MOVES,
    R_REDEMPTIONS,
    REDEMPTIONS,
    REGISTERS,
    claim_column,
    matrix,
    vector,
)
from earnbook.ledger.schema import Bucket, EntryType, Int64s, Outcome

_AVAILABLE = int(Bucket.AVAILABLE)
_REDEMPTION = int(EntryType.REDEMPTION)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_INSUFFICIENT_BALANCE = int(Outcome.INSUFFICIENT_BALANCE)


@compiled
def payee_of(handles: Int64s, program: int) -> int:
    """The slot of the holder that a program's redemptions go to; -1: they go elsewhere, or that holder does not exist.

    A group goes before a participant of the same name.
    """
    programs, row = vector(handles, PROGRAMS), program * PROGRAM_COLUMNS
    if programs[row + PROGRAM_TARGET] != 0:
        return -1
    group, person = programs[row + PROGRAM_TARGET_GROUP], programs[row + PROGRAM_TARGET_PERSON]
    slot = slot_of(handles, group) if group >= 0 else -1
    if slot < 0 and person >= 0:
        slot = slot_of(handles, person)
    return slot


@inlined
def target_of(handles: Int64s, program: int) -> int:
    """The account that a program's redemptions go to now; 0: the holder that it names does not exist."""
    account = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_TARGET]
    if account == 0:
        payee = payee_of(handles, program)
        return account_code(handles, payee, _AVAILABLE) if payee >= 0 else 0
    return account  # type: ignore[no-any-return]


@compiled
def redeem(handles: Int64s, program: int, slot: int, asset: int, amount: int, reward: int, quantity: int) -> int:
    """REDEMPTION of an amount by the holder in a slot, who is not the target; `quantity` of a reward (its number).

    To a system account or a wallet there is one movement for each consumed lot. A holder gets one movement and, on LOT
    assets, a fresh lot (§9.6). `reward` is 0, and `quantity` -1, where there is none.
    """
    registers = vector(handles, REGISTERS)
    target, payee = target_of(handles, program), payee_of(handles, program)
    if balance_of(handles, slot, asset, _AVAILABLE) < amount:
        return _INSUFFICIENT_BALANCE
    if payee < 0 and not has_room(handles, target, asset, amount):
        return _OVERFLOW
    if payee >= 0 and not can_hold(handles, payee, asset, _AVAILABLE, amount, amount):
        return _OVERFLOW
    entry, moves = next_entry(handles), registers[R_LOT_MOVES]
    if has_lots(handles, asset):
        to = MOVES_ONLY if payee >= 0 else target
        consume(handles, 0, slot, asset, _AVAILABLE, amount, entry, _REDEMPTION, to, -1, False, -1)
    elif payee < 0:
        payer = account_code(handles, slot, _AVAILABLE)
        write_movement(handles, entry, registers[R_LOG_SEQ], _REDEMPTION, 0, payer, target, asset, amount, 0)
        move_account(handles, target, asset, amount, entry)
    move_balance(handles, slot, asset, _AVAILABLE, -amount, entry)
    if payee >= 0:
        payer, index = account_code(handles, slot, _AVAILABLE), registers[R_LOT_MOVES] - moves
        receive(handles, entry, index, _REDEMPTION, payer, payee, asset, amount, program)
    _write(handles, program, slot, asset, amount, reward, quantity, target, entry)
    return 0


@inlined
def _write(
    handles: Int64s,
    program: int,
    slot: int,
    asset: int,
    amount: int,
    reward: int,
    quantity: int,
    target: int,
    entry: int,
) -> None:
    """Append the row of a redemption."""
    row = claim_column(handles, REDEMPTIONS, R_REDEMPTIONS)
    rows = matrix(handles, REDEMPTIONS)
    rows[0, row] = vector(handles, REGISTERS)[R_LOG_SEQ]
    rows[1, row] = vector(handles, HOLDER_NUMBERS)[slot]
    rows[2, row] = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
    rows[3, row] = vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_NUMBER]
    rows[4, row] = amount
    rows[5, row] = reward
    rows[6, row] = quantity
    rows[7, row] = target
    rows[8, row] = entry
