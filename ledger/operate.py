"""Direct operations on money, carried out in the kernel: what they are refused for, in the order of A.1 (§15.2).

Refusals that need no look at balances are here: program and objects, then statuses, then what the amount is by itself.
What moves, and what only balances and lots can refuse, is in `operate_money`, `transfers` and `redemptions`. An
operation that fails leaves nothing behind.
"""

from __future__ import annotations

from earnbook.ledger.admit import program_code, slot_of
from earnbook.ledger.apply_holds import EVERYTHING
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import has_lots
from earnbook.ledger.layout import (
    ASSET_COLUMNS,
    ASSET_MAX,
    ASSET_POLICY,
    ASSET_STATUS,
    ASSETS,
    HOLDER_NUMBERS,
    LINKS,
    OPERAND_DIRECTION,
    OPERAND_IS_LOT,
    OPERANDS,
    OUTCOME_HOLDER,
    OUTCOMES,
    R_ASSETS,
    R_ENTRY_SEQ,
    REGISTERS,
    WORK,
    WORK_AMOUNT,
    WORK_ASSET,
    WORK_CODE,
    WORK_GROUP,
    WORK_OPERAND,
    WORK_PERSON,
    WORK_TYPE,
    matrix,
    vector,
)
from earnbook.ledger.operate_money import move_money, status_code
from earnbook.ledger.redemptions import payee_of, redeem, target_of
from earnbook.ledger.schema import Direction, Int64s, IssuancePolicy, OperationType, Outcome, Status
from earnbook.ledger.transfers import find_recipients, is_recipient, recipients_status, smaller, transfer, transfer_code
from earnbook.ledger.undo import back_to_mark

_ADJUST = int(OperationType.ADJUST)
_HOLD = int(OperationType.HOLD)
_RELEASE = int(OperationType.RELEASE)
_FORFEIT = int(OperationType.FORFEIT)
_VOID_HOLD = int(OperationType.VOID_HOLD)
_REDEEM = int(OperationType.REDEEM)
_REDEEM_ITEM = int(OperationType.REDEEM_ITEM)
_TRANSFER = int(OperationType.TRANSFER)
_FUND = int(OperationType.FUND)
_BURN = int(OperationType.BURN)
_CREDIT = int(Direction.CREDIT)
_PREFUNDED = int(IssuancePolicy.PREFUNDED)
_ARCHIVED = int(Status.ARCHIVED)
_NO_EFFECT = int(Outcome.NO_EFFECT)
_TARGET_MISSING = int(Outcome.TARGET_MISSING)
_PARTICIPANT_NOT_FOUND = int(Outcome.PARTICIPANT_NOT_FOUND)
_GROUP_NOT_FOUND = int(Outcome.GROUP_NOT_FOUND)
_ASSET_NOT_FOUND = int(Outcome.ASSET_NOT_FOUND)
_ASSET_ARCHIVED = int(Outcome.ASSET_ARCHIVED)
_NOT_LINKED = int(Outcome.ASSET_NOT_LINKED)
_NOT_LOT_ASSET = int(Outcome.NOT_LOT_ASSET)
_NOT_PREFUNDED = int(Outcome.NOT_PREFUNDED)
_SELF_TRANSFER = int(Outcome.SELF_TRANSFER)
_NOT_POSITIVE = int(Outcome.AMOUNT_NOT_POSITIVE)
_MAX_EXCEEDED = int(Outcome.MAX_TRANSACTION_EXCEEDED)


@compiled
def operate(handles: Int64s, record: int, program: int) -> int:
    """Carry out a money operation of the program (its slot); the outcome."""
    registers, work = vector(handles, REGISTERS), matrix(handles, WORK)
    entry, kind = registers[R_ENTRY_SEQ], work[WORK_TYPE, record]
    code = refuse(handles, record, program)
    if code == 0:
        slot, asset, amount = entity_of(handles, record), work[WORK_ASSET, record], work[WORK_AMOUNT, record]
        if kind == _TRANSFER:
            code = transfer(handles, program, slot, asset, work[WORK_OPERAND, record])
        elif kind == _REDEEM:
            code = redeem(handles, program, slot, asset, amount, 0, -1)
        else:
            code = move_money(handles, kind, program, slot, asset, amount, work[WORK_OPERAND, record])
    if code > _NO_EFFECT:
        back_to_mark(handles)
    elif registers[R_ENTRY_SEQ] == entry:
        code = _NO_EFFECT
    return code


@compiled
def refuse(handles: Int64s, record: int, program: int) -> int:
    """The outcome of a money operation that is refused whatever the balances are; 0: it is not."""
    work = matrix(handles, WORK)
    kind, asset = work[WORK_TYPE, record], work[WORK_ASSET, record]
    slot = entity_of(handles, record)
    if work[WORK_PERSON, record] >= 0 and slot >= 0:
        matrix(handles, OUTCOMES)[OUTCOME_HOLDER, record] = vector(handles, HOLDER_NUMBERS)[slot]
    if _needs_active(kind) and program_code(handles, program) != 0:
        return program_code(handles, program)
    code = _find(handles, record, program, kind, slot)
    if code != 0:
        return code
    if asset < 0:
        return _ASSET_NOT_FOUND
    if kind < _FORFEIT or _REDEEM <= kind <= _TRANSFER:
        code = status_code(handles, slot)
        if kind == _TRANSFER:
            code = smaller(code, recipients_status(handles, work[WORK_OPERAND, record]))
        if code != 0:
            return code
    code = _refuse_asset(handles, record, program, kind, asset)
    if code != 0:
        return code
    if kind == _TRANSFER:
        if is_recipient(handles, work[WORK_OPERAND, record], slot):
            return _SELF_TRANSFER
        return transfer_code(handles, work[WORK_OPERAND, record], asset)
    if _REDEEM <= kind <= _REDEEM_ITEM and payee_of(handles, program) == slot:
        return _SELF_TRANSFER
    return _amount_code(handles, record, kind, asset)


@inlined
def entity_of(handles: Int64s, record: int) -> int:
    """The slot of the holder that an operation is about, -1: it names none, or nobody."""
    work = matrix(handles, WORK)
    person = work[WORK_PERSON, record] if work[WORK_PERSON, record] >= 0 else work[WORK_GROUP, record]
    return slot_of(handles, person) if person >= 0 else -1


@inlined
def _needs_active(kind: int) -> bool:
    """Whether an operation needs an ACTIVE program (§7.1)."""
    return not (_RELEASE <= kind <= _VOID_HOLD or kind == _BURN)


@inlined
def _find(handles: Int64s, record: int, program: int, kind: int, slot: int) -> int:
    """The outcome where a holder that an operation names does not exist, the smallest code of all; else 0."""
    work = matrix(handles, WORK)
    if kind >= _FUND:
        return 0
    if _REDEEM <= kind <= _REDEEM_ITEM and target_of(handles, program) == 0:
        return _TARGET_MISSING
    is_participant = work[WORK_PERSON, record] >= 0
    if slot < 0 and is_participant:
        return _PARTICIPANT_NOT_FOUND
    other = find_recipients(handles, work[WORK_OPERAND, record]) if kind == _TRANSFER else 0
    return _GROUP_NOT_FOUND if slot < 0 and other == 0 else other


@inlined
def _refuse_asset(handles: Int64s, record: int, program: int, kind: int, asset: int) -> int:
    """What the asset refuses: its own status, its link to the program, its modes."""
    assets, operands = vector(handles, ASSETS), matrix(handles, OPERANDS)
    operand, row = matrix(handles, WORK)[WORK_OPERAND, record], asset * ASSET_COLUMNS
    is_credit = kind == _FUND or (kind == _ADJUST and operands[operand, OPERAND_DIRECTION] == _CREDIT)
    if is_credit and assets[row + ASSET_STATUS] == _ARCHIVED:
        return _ASSET_ARCHIVED
    if vector(handles, LINKS)[program * vector(handles, REGISTERS)[R_ASSETS] + asset] == 0:
        return _NOT_LINKED
    needs_lots = kind == _VOID_HOLD or (kind < _VOID_HOLD and operands[operand, OPERAND_IS_LOT] != 0)
    if needs_lots and not has_lots(handles, asset):
        return _NOT_LOT_ASSET
    is_wallet = kind >= _FUND
    if _REDEEM <= kind <= _REDEEM_ITEM:
        is_wallet = target_of(handles, program) < 0
    return _NOT_PREFUNDED if is_wallet and assets[row + ASSET_POLICY] != _PREFUNDED else 0


@inlined
def _amount_code(handles: Int64s, record: int, kind: int, asset: int) -> int:
    """What the one amount of an operation is refused for by itself (§5.3, §7.4)."""
    work = matrix(handles, WORK)
    amount = work[WORK_AMOUNT, record]
    if kind == _VOID_HOLD:
        return 0
    if work[WORK_CODE, record] != 0:
        return work[WORK_CODE, record]  # type: ignore[no-any-return]
    if amount <= 0 and not (amount == EVERYTHING and _HOLD <= kind <= _FORFEIT):
        return _NOT_POSITIVE
    if kind == _ADJUST or _REDEEM <= kind <= _REDEEM_ITEM:
        limit = vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_MAX]
        return _MAX_EXCEEDED if 0 <= limit < amount else 0
    return 0
