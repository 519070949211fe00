"""Lots: the chains in which they are consumed, opening, taking from and closing them (§9.5-§9.7).

Every (slot, asset, status) has a doubly linked chain in the order of §9.6: created_at, root lot, own number. New lots
are the youngest and go to the end in one step. A lot that matures goes somewhere into the middle of what may be a
hundred thousand lots of one busy holder, so a DEFERRED lot has a *hint*: an AVAILABLE lot a little older than itself.
It is only where the search begins; a hint that has gone or was used again for another lot is noticed and not used.
Lots that are held or released together go to their new chain one behind the other, so each is the hint of the next.

Rows of closed lots are chained as free and used again, once the record that closed them is certain.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import account_at
from earnbook.ledger.layout import (
    ACCOUNT_CHAIN,
    ACCOUNTS,
    ASSET_COLUMNS,
    ASSET_NUMBER,
    ASSETS,
    DUE_RANK_SHIFT,
    HOLDER_NUMBERS,
    LOT_ASSET,
    LOT_COLUMNS,
    LOT_CREATED,
    LOT_EXPIRES,
    LOT_HINT,
    LOT_HINT_SEQ,
    LOT_MATURES,
    LOT_NEXT,
    LOT_PREVIOUS,
    LOT_PROGRAM,
    LOT_REFERENCE,
    LOT_REMAINING,
    LOT_ROOT,
    LOT_SEQ,
    LOT_SLOT,
    LOT_SOURCE,
    LOT_STATUS,
    LOTS,
    NEW_LOTS,
    PENDING_FREE,
    R_CLOCK,
    R_LOT_FREE,
    R_LOT_SEQ,
    R_LOTS,
    R_NEW_LOTS,
    R_PENDING_FREE,
    RANK_EXPIRATION,
    RANK_MATURITY,
    REGISTERS,
    await_item,
    claim,
    claim_column,
    matrix,
    put,
    vector,
)
from earnbook.ledger.schema import TIME_NONE, Int64s, LotStatus

_DEFERRED = int(LotStatus.DEFERRED)
_AVAILABLE = int(LotStatus.AVAILABLE)
_HELD = int(LotStatus.HELD)
_NEVER = int(TIME_NONE)


@inlined
def chain_at(handles: Int64s, slot: int, asset: int, status: int) -> int:
    """Where the first lot of a chain stands in ACCOUNTS; the last one stands behind it."""
    return account_at(handles, slot, asset) + ACCOUNT_CHAIN + 2 * (status - 1)


@inlined
def set_lot(handles: Int64s, lot: int, column: int, value: int) -> None:
    """Write one column of a lot."""
    put(handles, LOTS, lot * LOT_COLUMNS + column, value)


@inlined
def is_older(lots: Int64s, one: int, other: int) -> bool:
    """Whether lot `one` is consumed before lot `other`."""
    if lots[one, LOT_CREATED] != lots[other, LOT_CREATED]:
        return bool(lots[one, LOT_CREATED] < lots[other, LOT_CREATED])
    if lots[one, LOT_ROOT] != lots[other, LOT_ROOT]:
        return bool(lots[one, LOT_ROOT] < lots[other, LOT_ROOT])
    return bool(lots[one, LOT_SEQ] < lots[other, LOT_SEQ])


@compiled
def link(handles: Int64s, lot: int) -> None:
    """Put a lot into the chain of its holder, asset and status, at its place."""
    lots = matrix(handles, LOTS)
    slot, asset = lots[lot, LOT_SLOT], lots[lot, LOT_ASSET]
    chain = chain_at(handles, slot, asset, lots[lot, LOT_STATUS])
    before, after = vector(handles, ACCOUNTS)[chain + 1], 0
    if before != 0 and is_older(lots, lot, before - 1):
        before, after = _search(handles, lot, chain)
    set_lot(handles, lot, LOT_PREVIOUS, before)
    set_lot(handles, lot, LOT_NEXT, after)
    _join(handles, chain, before, lot + 1)
    _join(handles, chain, lot + 1, after)
    if lots[lot, LOT_STATUS] == _DEFERRED:
        _hint(handles, lot, vector(handles, ACCOUNTS)[chain_at(handles, slot, asset, _AVAILABLE) + 1])


@compiled
def _search(handles: Int64s, lot: int, chain: int) -> tuple[int, int]:
    """Between which lots (+ 1; 0: the end) of a chain, whose last is younger, a lot belongs.

    Goes back from the end and on from the hint (or the beginning) in turns, so that the nearer one decides how long
    it takes.
    """
    lots, accounts = matrix(handles, LOTS), vector(handles, ACCOUNTS)
    younger = accounts[chain + 1]
    older = lots[lot, LOT_HINT] if _is_good_hint(lots, lot, lots[lot, LOT_STATUS]) else 0
    while True:
        before = lots[younger - 1, LOT_PREVIOUS]
        if before == 0 or is_older(lots, before - 1, lot):
            return before, younger
        younger = before
        after = accounts[chain] if older == 0 else lots[older - 1, LOT_NEXT]
        if is_older(lots, lot, after - 1):
            return older, after
        older = after


@inlined
def _is_good_hint(lots: Int64s, lot: int, status: int) -> bool:
    """Whether the hint of a lot is still the lot that was noted, older, and in the holder's chain of that status."""
    hint = lots[lot, LOT_HINT] - 1
    if hint < 0 or lots[hint, LOT_SEQ] != lots[lot, LOT_HINT_SEQ] or lots[hint, LOT_STATUS] != status:
        return False
    is_own = lots[hint, LOT_SLOT] == lots[lot, LOT_SLOT] and lots[hint, LOT_ASSET] == lots[lot, LOT_ASSET]
    return is_own and is_older(lots, hint, lot)


@inlined
def _hint(handles: Int64s, lot: int, hint: int) -> None:
    """Note a hint (lot + 1; 0: none)."""
    set_lot(handles, lot, LOT_HINT, hint)
    set_lot(handles, lot, LOT_HINT_SEQ, 0 if hint == 0 else matrix(handles, LOTS)[hint - 1, LOT_SEQ])


@compiled
def pass_hint(handles: Int64s, lot: int) -> None:
    """A DEFERRED lot is about to mature: the next one to do so may search from there, if it knows nothing nearer."""
    lots = matrix(handles, LOTS)
    after = lots[lot, LOT_NEXT] - 1
    is_near = after >= 0 and _is_good_hint(lots, after, _AVAILABLE) and is_older(lots, lot, lots[after, LOT_HINT] - 1)
    if after >= 0 and not is_near:
        _hint(handles, after, lot + 1)


@compiled
def unlink(handles: Int64s, lot: int) -> None:
    """Take a lot out of its chain."""
    lots = matrix(handles, LOTS)
    chain = chain_at(handles, lots[lot, LOT_SLOT], lots[lot, LOT_ASSET], lots[lot, LOT_STATUS])
    _join(handles, chain, lots[lot, LOT_PREVIOUS], lots[lot, LOT_NEXT])


@inlined
def _join(handles: Int64s, chain: int, before: int, after: int) -> None:
    """Let `after` follow `before` in a chain; both are lot + 1, and 0 is the chain's own end."""
    if before == 0:
        put(handles, ACCOUNTS, chain, after)
    else:
        set_lot(handles, before - 1, LOT_NEXT, after)
    if after == 0:
        put(handles, ACCOUNTS, chain + 1, before)
    else:
        set_lot(handles, after - 1, LOT_PREVIOUS, before)


@inlined
def next_lot(handles: Int64s) -> int:
    """The lot_seq of a new lot."""
    registers = vector(handles, REGISTERS)
    registers[R_LOT_SEQ] += 1
    return registers[R_LOT_SEQ]  # type: ignore[no-any-return]


@compiled
def write_new_lot(
    handles: Int64s,
    seq: int,
    entry: int,
    slot: int,
    asset: int,
    root: int,
    program: int,
    source: int,
    amount: int,
    created_at: int,
    expires_at: int,
    matures_at: int,
    reference: int,
) -> None:
    """Append the row of a new lot; `root` is a lot_seq, `program` a number, `reference` a text code or -1."""
    row = claim_column(handles, NEW_LOTS, R_NEW_LOTS)
    new = matrix(handles, NEW_LOTS)
    new[0, row] = seq
    new[1, row] = entry
    new[2, row] = vector(handles, HOLDER_NUMBERS)[slot]
    new[3, row] = vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_NUMBER]
    new[4, row] = program
    new[5, row] = source
    new[6, row] = root
    new[7, row] = amount
    new[8, row] = created_at
    new[9, row] = expires_at
    new[10, row] = matures_at
    new[11, row] = reference


@compiled
def open_lot(
    handles: Int64s,
    seq: int,
    slot: int,
    asset: int,
    status: int,
    remaining: int,
    root: int,
    program: int,
    source: int,
    created_at: int,
    expires_at: int,
    matures_at: int,
    reference: int,
    hint: int,
) -> int:
    """Take in a new lot with something left: its row, its chain, and what will be due for it; returns the row.

    `hint` is an older lot (+ 1; 0: none) of the chain it goes to. A HELD lot gets its stamp from the caller.
    """
    lot = _free_row(handles)
    set_lot(handles, lot, LOT_SEQ, seq)
    set_lot(handles, lot, LOT_REMAINING, remaining)
    lots = matrix(handles, LOTS)
    lots[lot, LOT_SLOT] = slot
    lots[lot, LOT_ASSET] = asset
    lots[lot, LOT_STATUS] = status
    lots[lot, LOT_CREATED] = created_at
    lots[lot, LOT_EXPIRES] = expires_at
    lots[lot, LOT_MATURES] = matures_at
    lots[lot, LOT_ROOT] = root
    lots[lot, LOT_PROGRAM] = program
    lots[lot, LOT_SOURCE] = source
    lots[lot, LOT_REFERENCE] = reference
    lots[lot, LOT_HINT] = hint
    lots[lot, LOT_HINT_SEQ] = 0 if hint == 0 else lots[hint - 1, LOT_SEQ]
    link(handles, lot)
    await_due(handles, lot)
    return lot


@compiled
def move_lot(handles: Int64s, lot: int, status: int, hint: int) -> None:
    """Put an open lot, whole, into the chain of another status, after or near `hint` (a lot + 1; 0: none)."""
    unlink(handles, lot)
    set_lot(handles, lot, LOT_STATUS, status)
    _hint(handles, lot, hint)
    link(handles, lot)


@inlined
def _free_row(handles: Int64s) -> int:
    registers = vector(handles, REGISTERS)
    free = registers[R_LOT_FREE]
    if free == 0:
        return claim(handles, LOTS, R_LOTS)
    registers[R_LOT_FREE] = matrix(handles, LOTS)[free - 1, LOT_NEXT]
    return free - 1  # type: ignore[no-any-return]


@compiled
def await_due(handles: Int64s, lot: int) -> None:
    """Note what time will do to a lot (§4.4): maturity while DEFERRED, then expiration.

    A lot that is HELD may be AVAILABLE again by then; holding and releasing it adds nothing to the queue. Once its time
    has passed it needs no item: it expires when it is released (§9.9).
    """
    lots = matrix(handles, LOTS)
    status, at, rank = lots[lot, LOT_STATUS], lots[lot, LOT_EXPIRES], RANK_EXPIRATION
    if status == _DEFERRED:
        at, rank = lots[lot, LOT_MATURES], RANK_MATURITY
    elif at == _NEVER or (status == _HELD and at <= vector(handles, REGISTERS)[R_CLOCK]):
        return
    await_item(handles, at, (rank << DUE_RANK_SHIFT) | lots[lot, LOT_SEQ], lot)


@compiled
def close_lot(handles: Int64s, lot: int, status: int) -> None:
    """End a lot as CONSUMED or EXPIRED with nothing left; its row is free when the record is certain."""
    unlink(handles, lot)
    set_lot(handles, lot, LOT_REMAINING, 0)
    set_lot(handles, lot, LOT_STATUS, status)
    row = claim(handles, PENDING_FREE, R_PENDING_FREE)
    vector(handles, PENDING_FREE)[row] = lot


@compiled
def free_closed(handles: Int64s) -> None:
    """Free the rows of the lots that the record closed; there is no way back from here."""
    registers = vector(handles, REGISTERS)
    pending = vector(handles, PENDING_FREE)
    lots = matrix(handles, LOTS)
    for k in range(registers[R_PENDING_FREE]):
        lot = pending[k]
        lots[lot, LOT_SEQ] = 0
        lots[lot, LOT_NEXT] = registers[R_LOT_FREE]
        registers[R_LOT_FREE] = lot + 1
    registers[R_PENDING_FREE] = 0
