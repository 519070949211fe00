"""Direct operations on money: fund and burn of a program's wallet (§15.2)."""

from __future__ import annotations

from earnbook.ledger.admit import program_code
from earnbook.ledger.compiled import compiled
from earnbook.ledger.journal import balance_of, has_room, move_account, next_entry, write_movement
from earnbook.ledger.layout import (
    ASSET_COLUMNS,
    ASSET_POLICY,
    ASSET_STATUS,
    ASSETS,
    LINKS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAMS,
    R_ASSETS,
    R_LOG_SEQ,
    REGISTERS,
    WORK,
    WORK_AMOUNT,
    WORK_ASSET,
    WORK_CODE,
    WORK_TYPE,
    matrix,
    vector,
)
from earnbook.ledger.schema import (
    ACCOUNT_BREAKAGE,
    ACCOUNT_ISSUANCE,
    Bucket,
    EntryType,
    Int64s,
    IssuancePolicy,
    OperationType,
    Outcome,
    Status,
)

_FUND = int(OperationType.FUND)
_ENTRY_FUND = int(EntryType.FUND)
_ENTRY_BURN = int(EntryType.BURN)
_AVAILABLE = int(Bucket.AVAILABLE)
_PREFUNDED = int(IssuancePolicy.PREFUNDED)
_ARCHIVED = int(Status.ARCHIVED)
_ASSET_NOT_FOUND = int(Outcome.ASSET_NOT_FOUND)
_ASSET_ARCHIVED = int(Outcome.ASSET_ARCHIVED)
_NOT_LINKED = int(Outcome.ASSET_NOT_LINKED)
_NOT_PREFUNDED = int(Outcome.NOT_PREFUNDED)
_NOT_POSITIVE = int(Outcome.AMOUNT_NOT_POSITIVE)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_INSUFFICIENT_WALLET = int(Outcome.INSUFFICIENT_WALLET)


@compiled
def operate(handles: Int64s, record: int, program: int) -> int:
    """Carry out a FUND or BURN; the outcome, codes tested in the order of A.1."""
    work, assets = matrix(handles, WORK), vector(handles, ASSETS)
    is_fund = work[WORK_TYPE, record] == _FUND
    asset, amount = work[WORK_ASSET, record], work[WORK_AMOUNT, record]
    if is_fund and program_code(handles, program) != 0:
        return program_code(handles, program)
    if asset < 0:
        return _ASSET_NOT_FOUND
    if is_fund and assets[asset * ASSET_COLUMNS + ASSET_STATUS] == _ARCHIVED:
        return _ASSET_ARCHIVED
    if vector(handles, LINKS)[program * vector(handles, REGISTERS)[R_ASSETS] + asset] == 0:
        return _NOT_LINKED
    if assets[asset * ASSET_COLUMNS + ASSET_POLICY] != _PREFUNDED:
        return _NOT_PREFUNDED
    if work[WORK_CODE, record] != 0:
        return work[WORK_CODE, record]  # type: ignore[no-any-return]
    if amount <= 0:
        return _NOT_POSITIVE
    wallet = -vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
    if is_fund:
        if not has_room(handles, wallet, asset, amount):
            return _OVERFLOW
        _move(handles, _ENTRY_FUND, ACCOUNT_ISSUANCE, wallet, asset, amount)
    else:
        if balance_of(handles, program, asset, _AVAILABLE) < amount:
            return _INSUFFICIENT_WALLET
        _move(handles, _ENTRY_BURN, wallet, ACCOUNT_BREAKAGE, asset, amount)
    return 0


@compiled
def _move(handles: Int64s, kind: int, debit: int, credit: int, asset: int, amount: int) -> None:
    entry = next_entry(handles)
    cause = vector(handles, REGISTERS)[R_LOG_SEQ]
    write_movement(handles, entry, cause, kind, 0, debit, credit, asset, amount, 0)
    move_account(handles, debit, asset, -amount, entry)
    move_account(handles, credit, asset, amount, entry)
