"""What money operations on one holder or wallet do once nothing refuses them: adjust to burn, §15.2.

Each gives 0 when it was done or had nothing to do, or what balances and lots refuse it for; it may then have written
something, which the caller undoes.
"""

from __future__ import annotations

from earnbook.ledger.apply_holds import forfeit, hold, release, void_hold
from earnbook.ledger.apply_money import credit, debit, lot_dates
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import (
    balance_of,
    has_room,
    move_account,
    next_entry,
    source_of,
    write_movement,
)
from earnbook.ledger.layout import (
    HOLDER_KINDS,
    OPERAND_BUCKET,
    OPERAND_COLUMNS,
    OPERAND_DIRECTION,
    OPERAND_EXPIRES_KIND,
    OPERAND_NEGATIVE,
    OPERAND_REFERENCE,
    OPERANDS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAMS,
    R_CLOCK,
    R_LOG_SEQ,
    REGISTERS,
    STATUS,
    byte_vector,
    matrix,
    vector,
)
from earnbook.ledger.schema import (
    ACCOUNT_BREAKAGE,
    ACCOUNT_ISSUANCE,
    TIME_NONE,
    Bucket,
    Direction,
    EntityType,
    EntryType,
    Int64s,
    OperationType,
    Outcome,
    Status,
)

_ADJUST = int(OperationType.ADJUST)
_HOLD = int(OperationType.HOLD)
_RELEASE = int(OperationType.RELEASE)
_FORFEIT = int(OperationType.FORFEIT)
_VOID_HOLD = int(OperationType.VOID_HOLD)
_FUND = int(OperationType.FUND)
_DEBIT = int(Direction.DEBIT)
_ENTRY_FUND = int(EntryType.FUND)
_ENTRY_BURN = int(EntryType.BURN)
_AVAILABLE = int(Bucket.AVAILABLE)
_DEFERRED = int(Bucket.DEFERRED)
_ACTIVE = int(Status.ACTIVE)
_GROUP = int(EntityType.GROUP)
_INACTIVE = int(Outcome.PARTICIPANT_INACTIVE)
_GROUP_ARCHIVED = int(Outcome.GROUP_ARCHIVED)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_INSUFFICIENT_WALLET = int(Outcome.INSUFFICIENT_WALLET)
_NEVER = int(TIME_NONE)


@inlined
def status_code(handles: Int64s, slot: int) -> int:
    """0 for a holder that is ACTIVE, else the outcome of operations that need one (§8.1)."""
    if byte_vector(handles, STATUS)[slot] == _ACTIVE:
        return 0
    return _GROUP_ARCHIVED if byte_vector(handles, HOLDER_KINDS)[slot] == _GROUP else _INACTIVE


@compiled
def move_money(handles: Int64s, kind: int, program: int, slot: int, asset: int, amount: int, operand: int) -> int:
    """Carry out an operation from adjust to void_hold on a holder (its slot), or a fund or burn of the program."""
    operands = matrix(handles, OPERANDS)
    if kind > _VOID_HOLD:
        return _move_wallet(handles, kind, program, asset, amount)
    if kind == _ADJUST:
        return _adjust(handles, program, slot, asset, amount, operand)
    reference = operands[operand, OPERAND_REFERENCE]
    if kind == _HOLD:
        return hold(handles, 0, slot, asset, amount, reference, operand)
    if kind == _RELEASE:
        return release(handles, 0, slot, asset, amount, reference, operand)
    if kind == _FORFEIT:
        return forfeit(handles, 0, slot, asset, operands[operand, OPERAND_BUCKET], amount, reference, operand)
    return void_hold(handles, 0, slot, asset, reference)


@compiled
def _adjust(handles: Int64s, program: int, slot: int, asset: int, amount: int, operand: int) -> int:
    """CREDIT or DEBIT by hand; it never settles what is authorised."""
    operands = matrix(handles, OPERANDS)
    bucket = operands[operand, OPERAND_BUCKET]
    if operands[operand, OPERAND_DIRECTION] == _DEBIT:
        return debit(handles, 0, program, slot, asset, bucket, amount, operands[operand, OPERAND_NEGATIVE])
    at = vector(handles, REGISTERS)[R_CLOCK]
    expires_at, matures_at, code = lot_dates(handles, OPERANDS, operand * OPERAND_COLUMNS + OPERAND_EXPIRES_KIND, at)
    if code != 0:
        return code
    if matures_at != _NEVER:
        bucket = _DEFERRED
    owner = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
    source, reference = source_of(handles, program, asset), operands[operand, OPERAND_REFERENCE]
    return credit(handles, 0, owner, source, slot, asset, amount, bucket, at, expires_at, matures_at, reference)


@compiled
def _move_wallet(handles: Int64s, kind: int, program: int, asset: int, amount: int) -> int:
    """FUND or BURN of the program's wallet."""
    wallet = -vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
    debit_account, credit_account, entry_type = ACCOUNT_ISSUANCE, wallet, _ENTRY_FUND
    if kind == _FUND:
        if not has_room(handles, wallet, asset, amount):
            return _OVERFLOW
    else:
        if balance_of(handles, program, asset, _AVAILABLE) < amount:
            return _INSUFFICIENT_WALLET
        debit_account, credit_account, entry_type = wallet, ACCOUNT_BREAKAGE, _ENTRY_BURN
    entry, cause = next_entry(handles), vector(handles, REGISTERS)[R_LOG_SEQ]
    write_movement(handles, entry, cause, entry_type, 0, debit_account, credit_account, asset, amount, 0)
    move_account(handles, debit_account, asset, -amount, entry)
    move_account(handles, credit_account, asset, amount, entry)
    return 0
