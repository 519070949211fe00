"""Money effects: stages 3 to 12 of §12.3, then the act, on SIMPLE and LOT assets (§9).

CREDIT and DEBIT are here, SETTLE in `settle`, what else moves a holder's value in `apply_holds`. Every function returns
0 when the effect was applied or had nothing to do, an Outcome (> 0) when it fails, or APPLY_FULL. A failing effect may
have written something, and one that met a full table stops half-way with R_FULL set: the event is undone by the caller.
"""

from __future__ import annotations

import numpy as np

from earnbook.ledger.amounts import MINOR_MAX, minor_of
from earnbook.ledger.apply_holds import EVERYTHING, forfeit, hold, release, void_hold
from earnbook.ledger.arrivals import repay
from earnbook.ledger.budgets import is_suppressed
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.consume import SOURCES, consume
from earnbook.ledger.holds import stamp
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    can_hold,
    has_lots,
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
    ACTION_ASSET,
    ACTION_BUCKET,
    ACTION_BUDGET,
    ACTION_COLUMNS,
    ACTION_EVERYTHING,
    ACTION_EXPIRES_KIND,
    ACTION_NEGATIVE,
    ACTION_NUMBER,
    ACTION_TYPE,
    ACTIONS,
    ASSET_COLUMNS,
    ASSET_MAX,
    ASSET_SCALE,
    ASSET_STATUS,
    ASSETS,
    DATE_DURATION,
    DATE_NONE,
    EFFECTS,
    LINKS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAMS,
    R_ASSETS,
    R_LOG_SEQ,
    REGISTERS,
    matrix,
    vector,
)
from earnbook.ledger.lots import next_lot, open_lot, write_new_lot
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
    LotMoveKind,
    LotStatus,
    Outcome,
    Status,
)
from earnbook.ledger.settle import authorised_of, settle

APPLY_FULL = -2
APPLY_SUPPRESSED = -20
"""A budget suppressed the credit: the event goes on (§10.4)."""

_CREDIT = int(ActionType.CREDIT)
_DEBIT = int(ActionType.DEBIT)
_HOLD = int(ActionType.HOLD)
_RELEASE = int(ActionType.RELEASE)
_FORFEIT = int(ActionType.FORFEIT)
_ARCHIVED = int(Status.ARCHIVED)
_AVAILABLE = int(Bucket.AVAILABLE)
_HELD = int(Bucket.HELD)
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
    """Stages 3 to 7 of §12.3, then the act."""
    effects, actions, assets = matrix(handles, EFFECTS), matrix(handles, ACTIONS), vector(handles, ASSETS)
    kind, asset = actions[action, ACTION_TYPE], actions[action, ACTION_ASSET]
    row = asset * ASSET_COLUMNS
    if kind == _CREDIT and assets[row + ASSET_STATUS] == _ARCHIVED:
        return _ASSET_ARCHIVED
    if vector(handles, LINKS)[program * vector(handles, REGISTERS)[R_ASSETS] + asset] == 0:
        return _NOT_LINKED
    if effects[effect, FX_VALUE_CODE] != 0:
        return effects[effect, FX_VALUE_CODE]  # type: ignore[no-any-return]
    amount = EVERYTHING
    if actions[action, ACTION_EVERYTHING] == 0:
        low, high, decimals = effects[effect, FX_VALUE], effects[effect, FX_VALUE_HIGH], effects[effect, FX_VALUE_SCALE]
        amount, code = minor_of(low, high, decimals, assets[row + ASSET_SCALE])
        effects[effect, FX_RESULT_AMOUNT] = amount if code == 0 else -1
        if code != 0 or amount == 0:
            return code
        if kind <= _DEBIT and 0 <= assets[row + ASSET_MAX] < amount:
            return _MAX_EXCEEDED
    if effects[effect, FX_REFERENCE_CODE] != 0:
        return effects[effect, FX_REFERENCE_CODE]  # type: ignore[no-any-return]
    reference = effects[effect, FX_REFERENCE]
    if kind == _CREDIT:
        return _credit(handles, action, program, target, asset, amount, at, reference)
    if kind == _DEBIT:
        number, is_free = actions[action, ACTION_NUMBER], actions[action, ACTION_NEGATIVE]
        return debit(handles, number, program, target, asset, actions[action, ACTION_BUCKET], amount, is_free)
    if amount == EVERYTHING:
        bucket = actions[action, ACTION_BUCKET] if kind == _FORFEIT else _HELD
        before = balance_of(handles, target, asset, bucket)
        code = _hold(handles, action, kind, target, asset, amount, reference)
        if code == 0:
            effects[effect, FX_RESULT_AMOUNT] = before - balance_of(handles, target, asset, bucket)
        return code
    return _hold(handles, action, kind, target, asset, amount, reference)


@compiled
def _hold(handles: Int64s, action: int, kind: int, target: int, asset: int, amount: int, reference: int) -> int:
    """HOLD, RELEASE, FORFEIT or VOID_HOLD."""
    actions = matrix(handles, ACTIONS)
    number = actions[action, ACTION_NUMBER]
    if kind == _HOLD:
        return hold(handles, number, target, asset, amount, reference, -1)
    if kind == _RELEASE:
        return release(handles, number, target, asset, amount, reference, -1)
    if kind == _FORFEIT:
        return forfeit(handles, number, target, asset, actions[action, ACTION_BUCKET], amount, -1, -1)
    return void_hold(handles, number, target, asset, reference)


@compiled
def _credit(
    handles: Int64s, action: int, program: int, target: int, asset: int, amount: int, at: int, reference: int
) -> int:
    """The dates and the source of a CREDIT; a SETTLE where something is authorised under its reference (§9.8)."""
    actions = matrix(handles, ACTIONS)
    expires_at, matures_at, code = lot_dates(handles, ACTIONS, action * ACTION_COLUMNS + ACTION_EXPIRES_KIND, at)
    if code != 0:
        return code
    bucket, number = actions[action, ACTION_BUCKET], actions[action, ACTION_NUMBER]
    held = authorised_of(handles, target, asset, bucket, reference)
    budget = actions[action, ACTION_BUDGET]
    if budget >= 0 and is_suppressed(handles, budget, max(amount - held, 0)):
        return APPLY_SUPPRESSED
    source = source_of(handles, program, asset)
    owner = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
    if matures_at != _NEVER:
        bucket = _DEFERRED
    if held > 0:
        return settle(
            handles,
            number,
            owner,
            source,
            target,
            asset,
            amount,
            held,
            bucket,
            at,
            expires_at,
            matures_at,
            reference,
        )
    return credit(handles, number, owner, source, target, asset, amount, bucket, at, expires_at, matures_at, reference)


@compiled
def credit(
    handles: Int64s,
    number: int,
    owner: int,
    source: int,
    target: int,
    asset: int,
    amount: int,
    bucket: int,
    at: int,
    expires_at: int,
    matures_at: int,
    reference: int,
) -> int:
    """CREDIT to AVAILABLE, to DEFERRED while the lot is not mature, or to HELD as a provisional lot (§9.3, §9.5).

    `number` is the rule action's (0: an operation), `owner` the program's, `source` the account that pays.
    """
    if source < 0 and balance_of(handles, -source - 1, asset, _AVAILABLE) < amount:
        return _INSUFFICIENT_WALLET
    if not can_hold(handles, target, asset, bucket, amount, amount):
        return _OVERFLOW
    is_lot = has_lots(handles, asset)
    entry = next_entry(handles)
    lot = next_lot(handles) if is_lot else 0
    cause, account = vector(handles, REGISTERS)[R_LOG_SEQ], account_code(handles, target, bucket)
    write_movement(handles, entry, cause, _ENTRY_CREDIT, number, source, account, asset, amount, lot)
    move_account(handles, source, asset, -amount, entry)
    move_balance(handles, target, asset, bucket, amount, entry)
    if is_lot:
        write_new_lot(
            handles, lot, entry, target, asset, lot, owner, source, amount, at, expires_at, matures_at, reference
        )
        repaid = repay(handles, target, asset, amount) if bucket == _AVAILABLE else 0
        left = amount - repaid
        if repaid > 0:
            after = _LOT_AVAILABLE if left > 0 else _CONSUMED
            write_lot_move(handles, entry, 0, lot, _CREATE, 0, 0, after, left, -1, repaid)
        if left > 0:
            status = _status_in(bucket)
            row = open_lot(
                handles, lot, target, asset, status, left, lot, owner, source, at, expires_at, matures_at, reference, 0
            )
            if status == _LOT_HELD:
                stamp(handles, row, reference, 1)
    return 0


@inlined
def _status_in(bucket: int) -> int:
    """The status of a lot whose value is in a bucket."""
    if bucket == _AVAILABLE:
        return _LOT_AVAILABLE
    return _LOT_DEFERRED if bucket == _DEFERRED else _LOT_HELD


@inlined
def lot_dates(handles: Int64s, table: int, first: int, at: int) -> tuple[int, int, int]:
    """The dates of a lot that is created now, TIME_NONE where there is none, and 0 or INVALID_LOT_DATES (§9.5).

    They are given in four columns of a table, from the flat index `first` on: kind and value of the expiry, then of
    the maturity. One that has come already is none.
    """
    cells = vector(handles, table)
    expires_at, matures_at = _date(cells[first], cells[first + 1], at), _date(cells[first + 2], cells[first + 3], at)
    if matures_at <= at:
        matures_at = _NEVER
    if expires_at != _NEVER and (expires_at <= at or expires_at <= matures_at):
        return expires_at, matures_at, _INVALID_LOT_DATES
    return expires_at, matures_at, 0


@inlined
def _date(kind: int, value: int, at: int) -> int:
    """An instant given as nothing, as a duration from `at`, or as a time."""
    if kind == DATE_NONE:
        return _NEVER
    return at + value if kind == DATE_DURATION else value


@compiled
def debit(
    handles: Int64s, number: int, program: int, target: int, asset: int, bucket: int, amount: int, is_free: int
) -> int:
    """DEBIT from AVAILABLE or HELD; LOT assets consume lots first, what is then missing is overdraft (§9.7).

    `is_free` is 1 where AVAILABLE may become negative, else 0.
    """
    balance = balance_of(handles, target, asset, bucket)
    if is_free == 0 and balance < amount:
        return _INSUFFICIENT_BALANCE
    if balance < _MIN + amount:
        return _OVERFLOW
    source, entry = source_of(handles, program, asset), next_entry(handles)
    account = account_code(handles, target, bucket)
    rest = amount
    if has_lots(handles, asset):
        rest, code = consume(
            handles, number, target, asset, bucket, amount, entry, _ENTRY_DEBIT, SOURCES, -1, False, -1
        )
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
        cause = vector(handles, REGISTERS)[R_LOG_SEQ]
        write_movement(handles, entry, cause, _ENTRY_DEBIT, number, account, source, asset, rest, 0)
        move_account(handles, source, asset, rest, entry)
    move_balance(handles, target, asset, bucket, -amount, entry)
    return 0
