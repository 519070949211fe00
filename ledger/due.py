"""Due work: the queue of what time brings, and doing it (§4.4; ranks 1 and 2, §9.9, here).

Maturities and expirations are done here. A generated event is a record of the log: the caller makes it one.
The queue is a binary heap ordered by (due time, rank and key, item). Items are put in when the record that made them is
certain and judged when they come out: an item whose lot is gone, or has another status by then, is skipped.
"""

from __future__ import annotations

import numpy as np

from earnbook.ledger.ahead import ask_due
from earnbook.ledger.arrivals import expire_lot, repay
from earnbook.ledger.budgets import needs_tick, reset_due
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import (
    account_code,
    balance_of,
    move_balance,
    next_entry,
    write_lot_move,
    write_movement,
)
from earnbook.ledger.layout import (
    CHANGES,
    DUE,
    DUE_AT,
    DUE_COLUMNS,
    DUE_ENTRIES,
    DUE_ITEM,
    DUE_KEY,
    DUE_RANK_SHIFT,
    LOT_ASSET,
    LOT_PROGRAM,
    LOT_REMAINING,
    LOT_SEQ,
    LOT_SLOT,
    LOT_STATUS,
    LOTS,
    PENDING_DUE,
    PERIOD_END,
    R_CHANGES,
    R_CLOCK,
    R_DUE,
    R_DUE_ENTRIES,
    R_FOLLOWED,
    R_FULL,
    R_PENDING_DUE,
    R_PERIOD_AT,
    R_THRESHOLDS,
    R_UNDO,
    R_UNDO_DONE,
    R_WATCHED,
    RANK_AUTOMATION,
    RANK_BUDGET,
    RANK_EVENT,
    RANK_EXPIRATION,
    RANK_MATURITY,
    RANK_PERIOD,
    RANK_TIER,
    REGISTERS,
    SLACK,
    TIER_PERIOD,
    TIERS,
    claim,
    claim_column,
    matrix,
    vector,
)
from earnbook.ledger.lifecycle import do_period_unit, fall_due
from earnbook.ledger.lots import await_due, close_lot, free_closed, link, pass_hint, set_lot, unlink
from earnbook.ledger.schema import TIME_NONE, Bucket, EntryType, Int64s, LotMoveKind, LotStatus, StateType
from earnbook.ledger.thresholds import may_cross

DUE_DONE = 0
DUE_EVENT = 1
DUE_FULL = -2
DUE_OVERFLOW = -3
DUE_TICK = -7
DUE_PERIOD = -14
DUE_FOLLOW = -12
DUE_AUTOMATION = -13

_AVAILABLE = int(Bucket.AVAILABLE)
_DEFERRED = int(Bucket.DEFERRED)
_LOT_DEFERRED = int(LotStatus.DEFERRED)
_LOT_AVAILABLE = int(LotStatus.AVAILABLE)
_CONSUMED = int(LotStatus.CONSUMED)
_MATURITY = int(EntryType.MATURITY)
_MATURE = int(LotMoveKind.MATURE)
_LOT_MASK = (1 << DUE_RANK_SHIFT) - 1
_MAX = np.iinfo(np.int64).max
_NEVER = int(TIME_NONE)
_COUNTER = int(StateType.COUNTER)


@compiled
def do_due(handles: Int64s, until: int) -> int:
    """Do everything due at or before `until`, in due order; each item moves the book clock.

    Returns:
        DUE_DONE; DUE_FOLLOW when what was done last changed something that the caller follows, before anything else;
        DUE_AUTOMATION when the item at the top is one of an automation, which the caller takes out; DUE_EVENT when it
        is an event that is now due, and stays there; DUE_TICK when a budget's reset waits for its next tick (R_TICK);
        DUE_PERIOD when the period end at the top waits for its caller (`State.begin_period`); DUE_FULL when a table
        must grow first (R_FULL); DUE_OVERFLOW when a maturing lot does not fit into its holder's balance, which no
        record can be blamed for, so that the run must stop. Items done stay done.
    """
    registers = vector(handles, REGISTERS)
    heap = matrix(handles, DUE)
    while True:
        if registers[R_FULL] != 0:
            return DUE_FULL
        if must_follow(handles):
            return DUE_FOLLOW
        if registers[R_DUE] == 0 or heap[0, DUE_AT] > until:
            return DUE_DONE
        rank = heap[0, DUE_KEY] >> DUE_RANK_SHIFT
        if rank == RANK_EVENT:
            return DUE_EVENT
        if rank == RANK_AUTOMATION:
            return DUE_AUTOMATION
        code = _do_other(handles) if rank > RANK_EXPIRATION else _do_lot(handles)
        if code != DUE_DONE:
            return code


@inlined
def must_follow(handles: Int64s) -> bool:
    """Whether there are changes of a watched type that nobody has followed; others count as followed."""
    registers = vector(handles, REGISTERS)
    if registers[R_WATCHED] == 0 or registers[R_FOLLOWED] >= registers[R_CHANGES]:
        return False
    if registers[R_PERIOD_AT] != _NEVER:
        return False  # A period end is one item, however many steps it takes.
    changes = matrix(handles, CHANGES)
    for row in range(registers[R_FOLLOWED], registers[R_CHANGES]):
        if (registers[R_WATCHED] >> changes[4, row]) & 1 == 0:
            continue
        if changes[4, row] != _COUNTER or registers[R_THRESHOLDS] < 0 or may_cross(handles, row):
            return True
    registers[R_FOLLOWED] = registers[R_CHANGES]
    return False


@inlined
def _do_item(handles: Int64s, at: int, key: int, item: int) -> None:
    """Do what is due and not of a lot; where there is nothing to do any more, the clock stays."""
    rank = key >> DUE_RANK_SHIFT
    if rank == RANK_BUDGET:
        reset_due(handles, item, at)
    elif rank == RANK_TIER:
        fall_due(handles, at, key, item)


@compiled
def _do_other(handles: Int64s) -> int:
    """Take the item of a budget or a tier at the top out and do it, once the next tick of a budget is known."""
    registers, heap = vector(handles, REGISTERS), matrix(handles, DUE)
    at, key, item = heap[0, DUE_AT], heap[0, DUE_KEY], heap[0, DUE_ITEM]
    rank = key >> DUE_RANK_SHIFT
    if rank == RANK_BUDGET and needs_tick(handles, item, at):
        return DUE_TICK
    if rank == RANK_PERIOD and matrix(handles, TIERS)[item, TIER_PERIOD + PERIOD_END] == at:
        if registers[R_PERIOD_AT] != at:
            return DUE_PERIOD
        if do_period_unit(handles):
            settle_due(handles)
            return DUE_DONE
    pop_due(handles)
    ask_due(handles)
    # The items of one level may have met at a time: the last of them is done.
    if rank != RANK_TIER or not _is_top(handles, at, key, item):
        _do_item(handles, at, key, item)
    settle_due(handles)
    return DUE_DONE


@compiled
def _do_lot(handles: Int64s) -> int:
    """Take the maturity or expiration at the top out and do it, if its lot still waits for it."""
    registers, heap, lots = vector(handles, REGISTERS), matrix(handles, DUE), matrix(handles, LOTS)
    at, key, lot = heap[0, DUE_AT], heap[0, DUE_KEY], heap[0, DUE_ITEM]
    status = _LOT_DEFERRED if key >> DUE_RANK_SHIFT == RANK_MATURITY else _LOT_AVAILABLE
    is_valid = lots[lot, LOT_SEQ] == (key & _LOT_MASK) and lots[lot, LOT_STATUS] == status
    if is_valid and status == _LOT_DEFERRED and not _fits(handles, lot):
        return DUE_OVERFLOW
    pop_due(handles)
    ask_due(handles)
    if not is_valid:
        return DUE_DONE
    registers[R_CLOCK] = max(registers[R_CLOCK], at)
    if status == _LOT_DEFERRED:
        _mature(handles, lot)
    else:
        expire_lot(handles, lot, _due_entry(handles, lot), 0, 0)
    settle_due(handles)
    return DUE_DONE


@compiled
def settle_due(handles: Int64s) -> None:
    """What was done is certain: queue its due items, free its closed lots, forget its undo log."""
    registers = vector(handles, REGISTERS)
    pending = matrix(handles, PENDING_DUE)
    for k in range(registers[R_PENDING_DUE]):
        push_due(handles, pending[k, DUE_AT], pending[k, DUE_KEY], pending[k, DUE_ITEM])
    registers[R_PENDING_DUE] = 0
    free_closed(handles)
    registers[R_UNDO_DONE] = registers[R_UNDO]
    if registers[R_WATCHED] == 0 or registers[R_PERIOD_AT] == _NEVER:
        registers[R_UNDO] = 0


@inlined
def has_due_room(handles: Int64s) -> bool:
    """Whether the queue has room for the due items of the record at hand; tells R_FULL when not."""
    registers = vector(handles, REGISTERS)
    if registers[R_DUE] + registers[R_PENDING_DUE] + SLACK < handles[3 * DUE + 1]:
        return True
    registers[R_FULL] = DUE + 1
    return False


@inlined
def _fits(handles: Int64s, lot: int) -> bool:
    lots = matrix(handles, LOTS)
    balance = balance_of(handles, lots[lot, LOT_SLOT], lots[lot, LOT_ASSET], _AVAILABLE)
    return bool(balance <= _MAX - lots[lot, LOT_REMAINING])


@compiled
def _mature(handles: Int64s, lot: int) -> None:
    """DEFERRED to AVAILABLE; what is overdrawn is repaid first."""
    lots = matrix(handles, LOTS)
    slot, asset, remaining = lots[lot, LOT_SLOT], lots[lot, LOT_ASSET], lots[lot, LOT_REMAINING]
    seq = lots[lot, LOT_SEQ]
    entry = _due_entry(handles, lot)
    debit, credit = account_code(handles, slot, _DEFERRED), account_code(handles, slot, _AVAILABLE)
    write_movement(handles, entry, 0, _MATURITY, 0, debit, credit, asset, remaining, seq)
    move_balance(handles, slot, asset, _DEFERRED, -remaining, entry)
    move_balance(handles, slot, asset, _AVAILABLE, remaining, entry)
    repaid = repay(handles, slot, asset, remaining)
    left = remaining - repaid
    if repaid > 0:
        after = _LOT_AVAILABLE if left > 0 else _CONSUMED
        write_lot_move(handles, entry, 0, seq, _MATURE, _LOT_DEFERRED, remaining, after, left, -1, repaid)
    if left == 0:
        close_lot(handles, lot, _CONSUMED)
        return
    pass_hint(handles, lot)
    unlink(handles, lot)
    set_lot(handles, lot, LOT_STATUS, _LOT_AVAILABLE)
    set_lot(handles, lot, LOT_REMAINING, left)
    link(handles, lot)
    await_due(handles, lot)


@compiled
def _due_entry(handles: Int64s, lot: int) -> int:
    """A new entry made by due work at the book clock, of the program that created the lot."""
    entry = next_entry(handles)
    row = claim_column(handles, DUE_ENTRIES, R_DUE_ENTRIES)
    entries = matrix(handles, DUE_ENTRIES)
    lots = matrix(handles, LOTS)
    entries[0, row] = entry
    entries[1, row] = vector(handles, REGISTERS)[R_CLOCK]
    entries[2, row] = lots[lot, LOT_PROGRAM]
    entries[3, row] = lots[lot, LOT_SEQ]
    return entry


# --- the heap -------------------------------------------------------------------------------------------------------


@inlined
def _is_sooner(heap: Int64s, place: int, at: int, key: int, item: int) -> bool:
    """Whether the item at a place comes before (at, key, item)."""
    if heap[place, DUE_AT] != at:
        return bool(heap[place, DUE_AT] < at)
    if heap[place, DUE_KEY] != key:
        return bool(heap[place, DUE_KEY] < key)
    return bool(heap[place, DUE_ITEM] < item)


@inlined
def _is_top(handles: Int64s, at: int, key: int, item: int) -> bool:
    heap = matrix(handles, DUE)
    is_same = heap[0, DUE_AT] == at and heap[0, DUE_KEY] == key and heap[0, DUE_ITEM] == item
    return bool(vector(handles, REGISTERS)[R_DUE] > 0 and is_same)


@compiled
def push_due(handles: Int64s, at: int, key: int, item: int) -> None:
    """Put an item into the queue, which has room for it."""
    place = claim(handles, DUE, R_DUE)
    heap = matrix(handles, DUE)
    while place > 0:
        parent = (place - 1) >> 1
        if _is_sooner(heap, parent, at, key, item):
            break
        for column in range(DUE_COLUMNS):
            heap[place, column] = heap[parent, column]
        place = parent
    heap[place, DUE_AT] = at
    heap[place, DUE_KEY] = key
    heap[place, DUE_ITEM] = item


@compiled
def pop_due(handles: Int64s) -> None:
    """Take the first item out: the last item sinks from the top to its place."""
    registers = vector(handles, REGISTERS)
    heap = matrix(handles, DUE)
    registers[R_DUE] -= 1
    count = registers[R_DUE]
    at, key, item = heap[count, DUE_AT], heap[count, DUE_KEY], heap[count, DUE_ITEM]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        if child + 1 < count:
            first = child
            if _is_sooner(heap, child + 1, heap[first, DUE_AT], heap[first, DUE_KEY], heap[first, DUE_ITEM]):
                child += 1
        if not _is_sooner(heap, child, at, key, item):
            break
        for column in range(DUE_COLUMNS):
            heap[place, column] = heap[child, column]
        place = child
    heap[place, DUE_AT] = at
    heap[place, DUE_KEY] = key
    heap[place, DUE_ITEM] = item
