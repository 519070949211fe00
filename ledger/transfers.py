"""Transfers: from one holder's AVAILABLE to that of up to a hundred, all or none (§16.4).

Recipients stand in PARTS. Each receives on its own, in the order given, so the same one may be named again.
"""

from __future__ import annotations

from earnbook.ledger.admit import slot_of
from earnbook.ledger.amounts import MINOR_MAX
from earnbook.ledger.arrivals import receive
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.consume import MOVES_ONLY, consume
from earnbook.ledger.journal import account_code, balance_of, can_hold, has_lots, move_balance, next_entry
from earnbook.ledger.layout import (
    ASSET_COLUMNS,
    ASSET_MAX,
    ASSETS,
    OPERAND_PART,
    OPERAND_PARTS,
    OPERANDS,
    PART_AMOUNT,
    PART_CODE,
    PART_GROUP,
    PART_PERSON,
    PARTS,
    R_FULL,
    R_LOT_MOVES,
    REGISTERS,
    matrix,
    vector,
)
from earnbook.ledger.operate_money import status_code
from earnbook.ledger.schema import Bucket, EntryType, Int64s, Outcome

_AVAILABLE = int(Bucket.AVAILABLE)
_TRANSFER = int(EntryType.TRANSFER)
_RECIPIENT_NOT_FOUND = int(Outcome.RECIPIENT_NOT_FOUND)
_GROUP_NOT_FOUND = int(Outcome.GROUP_NOT_FOUND)
_NOT_POSITIVE = int(Outcome.AMOUNT_NOT_POSITIVE)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_MAX_EXCEEDED = int(Outcome.MAX_TRANSACTION_EXCEEDED)
_INSUFFICIENT_BALANCE = int(Outcome.INSUFFICIENT_BALANCE)


@inlined
def _slot_of(handles: Int64s, part: int) -> int:
    """The slot of a recipient, -1: there is no such holder."""
    parts = matrix(handles, PARTS)
    person = parts[part, PART_PERSON] if parts[part, PART_PERSON] >= 0 else parts[part, PART_GROUP]
    return slot_of(handles, person)


@inlined
def smaller(code: int, other: int) -> int:
    """The smaller of two outcomes that are not 0, or 0."""
    return other if code == 0 or 0 < other < code else code


@compiled
def find_recipients(handles: Int64s, operand: int) -> int:
    """0 where every recipient exists, else the smallest of their outcomes."""
    operands, parts, code = matrix(handles, OPERANDS), matrix(handles, PARTS), 0
    first = operands[operand, OPERAND_PART]
    for part in range(first, first + operands[operand, OPERAND_PARTS]):
        if _slot_of(handles, part) < 0:
            code = smaller(code, _RECIPIENT_NOT_FOUND if parts[part, PART_PERSON] >= 0 else _GROUP_NOT_FOUND)
    return code


@compiled
def recipients_status(handles: Int64s, operand: int) -> int:
    """0 where every recipient is active, else the smallest of their outcomes."""
    operands, code = matrix(handles, OPERANDS), 0
    first = operands[operand, OPERAND_PART]
    for part in range(first, first + operands[operand, OPERAND_PARTS]):
        code = smaller(code, status_code(handles, _slot_of(handles, part)))
    return code


@compiled
def is_recipient(handles: Int64s, operand: int, slot: int) -> bool:
    """Whether a holder is among the recipients."""
    operands = matrix(handles, OPERANDS)
    first, is_found = operands[operand, OPERAND_PART], False
    for part in range(first, first + operands[operand, OPERAND_PARTS]):
        is_found = is_found or _slot_of(handles, part) == slot
    return is_found


@compiled
def transfer_code(handles: Int64s, operand: int, asset: int) -> int:
    """What the amounts are refused for by themselves, each and together: the smallest code, else 0 (§5.3, §7.4)."""
    operands, parts = matrix(handles, OPERANDS), matrix(handles, PARTS)
    limit = vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_MAX]
    first, code, total = operands[operand, OPERAND_PART], 0, 0
    for part in range(first, first + operands[operand, OPERAND_PARTS]):
        amount = parts[part, PART_AMOUNT]
        if parts[part, PART_CODE] != 0:
            code = smaller(code, parts[part, PART_CODE])
        elif amount <= 0:
            code = smaller(code, _NOT_POSITIVE)
        elif total > MINOR_MAX - amount:
            code = smaller(code, _OVERFLOW)
        else:
            total += amount
            # No amount is larger than the total, so one that is too much by itself is too much in it.
            code = smaller(code, _MAX_EXCEEDED) if 0 <= limit < total else code
    return code


@compiled
def transfer(handles: Int64s, program: int, source: int, asset: int, operand: int) -> int:
    """TRANSFER: consumes the source's lots oldest first, and opens a fresh lot for every recipient (§9.6)."""
    operands, parts, registers = matrix(handles, OPERANDS), matrix(handles, PARTS), vector(handles, REGISTERS)
    first = operands[operand, OPERAND_PART]
    last, total = first + operands[operand, OPERAND_PARTS], 0
    for part in range(first, last):
        total += parts[part, PART_AMOUNT]
    if balance_of(handles, source, asset, _AVAILABLE) < total:
        return _INSUFFICIENT_BALANCE
    entry, moves = next_entry(handles), registers[R_LOT_MOVES]
    if has_lots(handles, asset):
        consume(handles, 0, source, asset, _AVAILABLE, total, entry, _TRANSFER, MOVES_ONLY, -1, False, -1)
    move_balance(handles, source, asset, _AVAILABLE, -total, entry)
    payer = account_code(handles, source, _AVAILABLE)
    for part in range(first, last):
        slot, amount = _slot_of(handles, part), parts[part, PART_AMOUNT]
        if registers[R_FULL] != 0:
            return 0
        if not can_hold(handles, slot, asset, _AVAILABLE, amount, amount):
            return _OVERFLOW
        receive(handles, entry, registers[R_LOT_MOVES] - moves, _TRANSFER, payer, slot, asset, amount, program)
    return 0
