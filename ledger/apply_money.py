"""Money effects: stages 3 to 12 of §12.3, then the credit or debit, on SIMPLE and LOT assets (§9).

Every function returns 0 when the effect was applied or had nothing to do, an Outcome (> 0) when it fails, or
APPLY_FULL. A failing effect may have written something: its event is undone by the caller.
"""

from __future__ import annotations

import numpy as np

from earnbook.ledger.amounts import MINOR_MAX, minor_of
from earnbook.ledger.budgets import is_suppressed
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    has_room,
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
    ACCOUNTS,
    ACTION_ASSET,
    ACTION_BUCKET,
    ACTION_BUDGET,
    ACTION_EXPIRES,
    ACTION_EXPIRES_KIND,
    ACTION_MATURES,
    ACTION_MATURES_KIND,
    ACTION_NEGATIVE,
    ACTION_NUMBER,
    ACTION_TYPE,
    ACTIONS,
    ASSET_COLUMNS,
    ASSET_MAX,
    ASSET_MODE,
    ASSET_SCALE,
    ASSET_STATUS,
    ASSETS,
    DATE_DURATION,
    DATE_NONE,
    EFFECTS,
    LINKS,
    LOT_REMAINING,
    LOT_SEQ,
    LOT_SOURCE,
    LOTS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAMS,
    R_ASSETS,
    R_FULL,
    R_LOG_SEQ,
    REGISTERS,
    matrix,
    vector,
)
from earnbook.ledger.lots import chain_at, close_lot, next_lot, open_lot, set_lot, write_new_lot
from earnbook.ledger.schema import (
    FX_REFERENCE,
    FX_REFERENCE_CODE,
    FX_RESULT_AMOUNT,
    FX_VALUE,
    FX_VALUE_CODE,
    FX_VALUE_HIGH,
    FX_VALUE_SCALE,
    TIME_NONE,
    ActionType,
    Bucket,
    EntryType,
    Int64s,
    InventoryMode,
    LotMoveKind,
    LotStatus,
    Outcome,
    Status,
)

APPLY_FULL = -2
APPLY_SUPPRESSED = -20
"""A budget suppressed the credit: the event goes on (§10.4)."""

_CREDIT = int(ActionType.CREDIT)
_ARCHIVED = int(Status.ARCHIVED)
_LOT = int(InventoryMode.LOT)
_AVAILABLE = int(Bucket.AVAILABLE)
_DEFERRED = int(Bucket.DEFERRED)
_LOT_DEFERRED = int(LotStatus.DEFERRED)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_LOT_HELD = int(LotStatus.HELD)
_CONSUMED = int(LotStatus.CONSUMED)
_CREATE = int(LotMoveKind.CREATE)
_ENTRY_CREDIT = int(EntryType.CREDIT)
_ENTRY_DEBIT = int(EntryType.DEBIT)
_ASSET_ARCHIVED = int(Outcome.ASSET_ARCHIVED)
_NOT_LINKED = int(Outcome.ASSET_NOT_LINKED)
_OVERFLOW = int(Outcome.AMOUNT_OVERFLOW)
_MAX_EXCEEDED = int(Outcome.MAX_TRANSACTION_EXCEEDED)
_INVALID_LOT_DATES = int(Outcome.INVALID_LOT_DATES)
_INSUFFICIENT_BALANCE = int(Outcome.INSUFFICIENT_BALANCE)
_INSUFFICIENT_WALLET = int(Outcome.INSUFFICIENT_WALLET)
_NEVER = int(TIME_NONE)
_MIN = np.iinfo(np.int64).min


@inlined
def apply_money(handles: Int64s, effect: int, action: int, program: int, target: int, at: int) -> int:
    """Stages 3 to 7 of §12.3, then the credit or debit."""
    effects, actions, assets = matrix(handles, EFFECTS), matrix(handles, ACTIONS), vector(handles, ASSETS)
    is_credit = actions[action, ACTION_TYPE] == _CREDIT
    asset = actions[action, ACTION_ASSET]
    row = asset * ASSET_COLUMNS
    if is_credit and assets[row + ASSET_STATUS] == _ARCHIVED:
        return _ASSET_ARCHIVED
    if vector(handles, LINKS)[program * vector(handles, REGISTERS)[R_ASSETS] + asset] == 0:
        return _NOT_LINKED
    if effects[effect, FX_VALUE_CODE] != 0:
        return effects[effect, FX_VALUE_CODE]  # type: ignore[no-any-return]
    low, high, decimals = effects[effect, FX_VALUE], effects[effect, FX_VALUE_HIGH], effects[effect, FX_VALUE_SCALE]
    amount, code = minor_of(low, high, decimals, assets[row + ASSET_SCALE])
    effects[effect, FX_RESULT_AMOUNT] = amount if code == 0 else -1
    if code != 0 or amount == 0:
        return code
    if 0 <= assets[row + ASSET_MAX] < amount:
        return _MAX_EXCEEDED
    if effects[effect, FX_REFERENCE_CODE] != 0:
        return effects[effect, FX_REFERENCE_CODE]  # type: ignore[no-any-return]
    if is_credit:
        return _credit(handles, action, program, target, asset, amount, at, effects[effect, FX_REFERENCE])
    return _debit(handles, action, program, target, asset, amount)


@compiled
def _credit(
    handles: Int64s, action: int, program: int, target: int, asset: int, amount: int, at: int, reference: int
) -> int:
    """CREDIT to AVAILABLE, or to DEFERRED while the lot is not mature (§9.3, §9.5)."""
    actions = matrix(handles, ACTIONS)
    is_lot = vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_MODE] == _LOT
    expires_at = _date(actions[action, ACTION_EXPIRES_KIND], actions[action, ACTION_EXPIRES], at)
    matures_at = _date(actions[action, ACTION_MATURES_KIND], actions[action, ACTION_MATURES], at)
    if matures_at <= at:
        matures_at = _NEVER
    if expires_at != _NEVER and (expires_at <= at or expires_at <= matures_at):
        return _INVALID_LOT_DATES
    budget = actions[action, ACTION_BUDGET]
    if budget >= 0 and is_suppressed(handles, budget, amount):
        return APPLY_SUPPRESSED
    source = source_of(handles, program, asset)
    if source < 0 and balance_of(handles, -source - 1, asset, _AVAILABLE) < amount:
        return _INSUFFICIENT_WALLET
    bucket = _AVAILABLE if matures_at == _NEVER else _DEFERRED
    if balance_of(handles, target, asset, bucket) > MINOR_MAX - amount:
        return _OVERFLOW
    entry = next_entry(handles)
    lot = next_lot(handles) if is_lot else 0
    cause, number = vector(handles, REGISTERS)[R_LOG_SEQ], actions[action, ACTION_NUMBER]
    account = account_code(handles, target, bucket)
    write_movement(handles, entry, cause, _ENTRY_CREDIT, number, source, account, asset, amount, lot)
    move_account(handles, source, asset, -amount, entry)
    move_balance(handles, target, asset, bucket, amount, entry)
    if is_lot:
        owner = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
        write_new_lot(handles, lot, entry, target, asset, owner, source, amount, at, expires_at, matures_at, reference)
        left = amount if bucket == _DEFERRED else _repay(handles, target, asset, amount, entry, lot)
        status = _LOT_AVAILABLE if bucket == _AVAILABLE else _LOT_DEFERRED
        if left > 0:
            open_lot(handles, lot, target, asset, status, left, owner, source, at, expires_at, matures_at, reference)
    return 0


@inlined
def _date(kind: int, value: int, at: int) -> int:
    """An instant given as nothing, as a duration from `at`, or as a time."""
    if kind == DATE_NONE:
        return _NEVER
    return at + value if kind == DATE_DURATION else value


@inlined
def _repay(handles: Int64s, target: int, asset: int, amount: int, entry: int, lot: int) -> int:
    """What is left of a new lot after it repaid the holder's overdraft (§9.7)."""
    overdraft = overdraft_of(handles, target, asset)
    repaid = min(overdraft, amount)
    if repaid > 0:
        set_overdraft(handles, target, asset, overdraft - repaid)
        after = _LOT_AVAILABLE if amount > repaid else _CONSUMED
        write_lot_move(handles, entry, lot, _CREATE, 0, 0, after, amount - repaid, repaid)
    return amount - repaid


@compiled
def _debit(handles: Int64s, action: int, program: int, target: int, asset: int, amount: int) -> int:
    """DEBIT from AVAILABLE or HELD; LOT assets consume lots first, what is then missing is overdraft (§9.7)."""
    actions = matrix(handles, ACTIONS)
    bucket = actions[action, ACTION_BUCKET]
    balance = balance_of(handles, target, asset, bucket)
    if actions[action, ACTION_NEGATIVE] == 0 and balance < amount:
        return _INSUFFICIENT_BALANCE
    if balance < _MIN + amount:
        return _OVERFLOW
    source, entry = source_of(handles, program, asset), next_entry(handles)
    account = account_code(handles, target, bucket)
    cause, number = vector(handles, REGISTERS)[R_LOG_SEQ], actions[action, ACTION_NUMBER]
    rest = amount
    if vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_MODE] == _LOT:
        rest, code = _consume(handles, target, asset, bucket, amount, entry, number)
        if code != 0:
            return code
        if rest > 0:
            overdraft = overdraft_of(handles, target, asset)
            if overdraft > MINOR_MAX - rest:
                return _OVERFLOW
            set_overdraft(handles, target, asset, overdraft + rest)
    if rest > 0:
        if not has_room(handles, source, asset, rest):
            return _OVERFLOW
        write_movement(handles, entry, cause, _ENTRY_DEBIT, number, account, source, asset, rest, 0)
        move_account(handles, source, asset, rest, entry)
    move_balance(handles, target, asset, bucket, -amount, entry)
    return 0


@compiled
def _consume(
    handles: Int64s, target: int, asset: int, bucket: int, amount: int, entry: int, number: int
) -> tuple[int, int]:
    """Take up to `amount` from the lots of a bucket, oldest first, back to each lot's source (§9.6).

    Returns:
        What the lots could not cover, and 0, AMOUNT_OVERFLOW (a wallet is full) or APPLY_FULL.
    """
    registers = vector(handles, REGISTERS)
    lots, accounts = matrix(handles, LOTS), vector(handles, ACCOUNTS)
    status = _LOT_AVAILABLE if bucket == _AVAILABLE else _LOT_HELD
    chain = chain_at(handles, target, asset, status)
    account = account_code(handles, target, bucket)
    rest = amount
    while rest > 0 and accounts[chain] != 0:
        if registers[R_FULL] != 0:
            return rest, APPLY_FULL
        lot = accounts[chain] - 1
        remaining, source = lots[lot, LOT_REMAINING], lots[lot, LOT_SOURCE]
        taken = min(remaining, rest)
        if not has_room(handles, source, asset, taken):
            return rest, _OVERFLOW
        cause, seq = registers[R_LOG_SEQ], lots[lot, LOT_SEQ]
        write_movement(handles, entry, cause, _ENTRY_DEBIT, number, account, source, asset, taken, seq)
        move_account(handles, source, asset, taken, entry)
        if taken == remaining:
            close_lot(handles, lot, _CONSUMED)
        else:
            set_lot(handles, lot, LOT_REMAINING, remaining - taken)
        rest -= taken
    return rest, 0
