"""What falls due by the lifecycle of tiers: expiries and downgrades (rank 4 of §4.4) and period ends (rank 5) (§14.4).

A period end is one thing for all tier types that are due then, but it may be about everybody, so it is done in units
(a participant and a tier type, then a participant and a counter) between which tables may grow. Until the last unit it
stays at the top of the queue, and nothing of rank 4 or 5 comes between: what a period end makes due is due later.

The calendar is the caller's: it says whom a period end is about and the dates of the period that begins.
"""

from __future__ import annotations

from earnbook.ledger.amounts import add_counter, compare_numbers
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_due_change
from earnbook.ledger.layout import (
    CHANGES,
    COUNTER_HIGH,
    COUNTER_LOW,
    COUNTER_RESET_AFTER,
    COUNTER_RESET_AT,
    COUNTER_SCALE,
    CRITERIA,
    CRITERION_COUNTER,
    CRITERION_HIGH,
    CRITERION_LOW,
    CRITERION_SCALE,
    DUE_RANK_SHIFT,
    ENROLLMENTS,
    LEVEL_CRITERIA,
    LEVEL_CRITERION,
    LEVELS,
    OWN_EXPIRY,
    PERIOD_DATES,
    PERIOD_DOWNGRADE,
    PERIOD_END,
    PERIOD_HOLDERS,
    PERIOD_ROLLS,
    PERIOD_TIER,
    PERIOD_TIERS,
    R_CLOCK,
    R_PERIOD_AT,
    R_PERIOD_HOLDERS,
    R_PERIOD_ROLLS,
    R_PERIOD_TIERS,
    R_PERIOD_UNIT,
    R_PROGRAMS,
    RANK_PERIOD,
    REGISTERS,
    ROLL_COUNTER,
    ROLL_NAME,
    ROLL_TIER,
    TIER_ACQUIRED,
    TIER_DROPS_ONE,
    TIER_EXPIRES,
    TIER_FLOOR,
    TIER_IS_EXCESS,
    TIER_LEVEL,
    TIER_NOTED,
    TIER_NUMBER,
    TIER_PERIOD,
    TIER_PROGRAM,
    TIER_RETENTION,
    TIERS,
    await_item,
    byte_vector,
    matrix,
    put,
    put_byte,
    vector,
    width,
)
from earnbook.ledger.levels import (
    BY_DUE_WORK,
    SLOT_BITS,
    TIER_BITS,
    await_level,
    due_date,
    expiry_of,
    put_level,
)
from earnbook.ledger.qualification import counter_of, level_row, reached_level
from earnbook.ledger.schema import TIME_NONE, ChangeOperation, DueSource, Int64s, Kind, Retention, StateType

_NEVER = int(TIME_NONE)
_PERIOD_BASED = int(Retention.PERIOD_BASED)
_SOURCE_TIER = int(DueSource.TIER)
_STATE_COUNTER = int(StateType.COUNTER)
_AUTO_RESET = int(ChangeOperation.AUTO_RESET)
_NUMBER = int(Kind.NUMBER)


# --- expiries and downgrades ----------------------------------------------------------------------------------------


@compiled
def fall_due(handles: Int64s, at: int, key: int, item: int) -> None:
    """Do what a queued item of a level says, if it is due then; the clock moves only so."""
    registers = vector(handles, REGISTERS)
    slot, tier = item & ((1 << SLOT_BITS) - 1), key & ((1 << TIER_BITS) - 1)
    date = due_date(handles, slot, tier)
    if date != at:
        if date != _NEVER and date > at:
            await_level(handles, slot, tier, date)
        return
    registers[R_CLOCK] = max(registers[R_CLOCK], at)
    cell = slot * width(handles, TIER_LEVEL) + tier
    noted = int(byte_vector(handles, TIER_NOTED)[cell])
    if noted == OWN_EXPIRY:
        put_level(handles, slot, tier, 0, 0, _NEVER, _NEVER, 0, BY_DUE_WORK)
        return
    best = reached_level(handles, slot, tier, registers[R_CLOCK], noted)
    if best >= byte_vector(handles, TIER_LEVEL)[cell]:
        _renew(handles, slot, tier, registers[R_CLOCK])
    else:
        _drop(handles, slot, tier, best, registers[R_CLOCK])


@compiled
def _renew(handles: Int64s, slot: int, tier: int, at: int) -> None:
    cell = slot * width(handles, TIER_LEVEL) + tier
    level, acquired_at = int(byte_vector(handles, TIER_LEVEL)[cell]), vector(handles, TIER_ACQUIRED)[cell]
    put_level(handles, slot, tier, level, acquired_at, expiry_of(handles, tier, at), _NEVER, 0, BY_DUE_WORK)


@compiled
def _drop(handles: Int64s, slot: int, tier: int, best: int, at: int) -> None:
    """To the best level or to the next lower one, not below `min_level`; who is not above that is left alone."""
    tiers, cell = matrix(handles, TIERS), slot * width(handles, TIER_LEVEL) + tier
    level, floor = int(byte_vector(handles, TIER_LEVEL)[cell]), tiers[tier, TIER_FLOOR]
    if level <= floor:
        acquired_at, expires_at = vector(handles, TIER_ACQUIRED)[cell], vector(handles, TIER_EXPIRES)[cell]
        put_level(handles, slot, tier, level, acquired_at, expires_at, _NEVER, 0, BY_DUE_WORK)
        return
    lower = level - 1 if tiers[tier, TIER_DROPS_ONE] != 0 else best
    put_level(handles, slot, tier, max(lower, floor), at, expiry_of(handles, tier, at), _NEVER, 0, BY_DUE_WORK)


# --- period ends ----------------------------------------------------------------------------------------------------


@compiled
def await_period(handles: Int64s, tier: int) -> None:
    """Queue the end of a tier type's running period."""
    tiers = matrix(handles, TIERS)
    end = tiers[tier, TIER_PERIOD + PERIOD_END]
    if end != _NEVER:
        await_item(handles, end, (RANK_PERIOD << DUE_RANK_SHIFT) | tiers[tier, TIER_NUMBER], tier)


@compiled
def do_period_unit(handles: Int64s) -> bool:
    """The next unit of the period end at hand; False, and the next period begins, when there is none left."""
    registers = vector(handles, REGISTERS)
    registers[R_CLOCK] = max(registers[R_CLOCK], registers[R_PERIOD_AT])
    at, unit, holders = registers[R_CLOCK], registers[R_PERIOD_UNIT], registers[R_PERIOD_HOLDERS]
    registers[R_PERIOD_UNIT] = unit + 1
    slots, first = vector(handles, PERIOD_HOLDERS), holders * registers[R_PERIOD_TIERS]
    if unit < first:
        tier = matrix(handles, PERIOD_TIERS)[unit // holders, PERIOD_TIER]
        _renew_or_note(handles, slots[unit % holders], tier, at)
        return True
    unit, rolls = unit - first, registers[R_PERIOD_ROLLS]
    if unit < holders * rolls:
        _roll(handles, slots[unit // rolls], unit % rolls, at)
        return True
    _begin_next(handles)
    return False


@compiled
def _begin_next(handles: Int64s) -> None:
    registers, tiers, periods = vector(handles, REGISTERS), matrix(handles, TIERS), matrix(handles, PERIOD_TIERS)
    for row in range(registers[R_PERIOD_TIERS]):
        tier = periods[row, PERIOD_TIER]
        for date in range(PERIOD_DATES):
            tiers[tier, TIER_PERIOD + date] = periods[row, date]
        await_period(handles, tier)
    registers[R_PERIOD_AT] = _NEVER


@compiled
def _renew_or_note(handles: Int64s, slot: int, tier: int, end: int) -> None:
    """Steps 1 and 2 of a period end for one participant."""
    tiers, cell = matrix(handles, TIERS), slot * width(handles, TIER_LEVEL) + tier
    level = int(byte_vector(handles, TIER_LEVEL)[cell])
    if level == 0 or byte_vector(handles, TIER_NOTED)[cell] == OWN_EXPIRY:
        return
    if tiers[tier, TIER_RETENTION] != _PERIOD_BASED or not _is_enrolled(handles, slot, tier):
        return
    reached = reached_level(handles, slot, tier, end, 0)
    if reached >= level:
        _renew(handles, slot, tier, end)
        return
    date = tiers[tier, TIER_PERIOD + PERIOD_DOWNGRADE]
    if level <= tiers[tier, TIER_FLOOR] or date == _NEVER:
        return
    if date == end:
        _drop(handles, slot, tier, reached, end)
        return
    acquired_at, expires_at = vector(handles, TIER_ACQUIRED)[cell], vector(handles, TIER_EXPIRES)[cell]
    put_level(handles, slot, tier, level, acquired_at, expires_at, date, reached, BY_DUE_WORK)


@inlined
def _is_enrolled(handles: Int64s, slot: int, tier: int) -> bool:
    """Whether there is an enrollment in the program of a tier type, whatever its status."""
    program, programs = matrix(handles, TIERS)[tier, TIER_PROGRAM], vector(handles, REGISTERS)[R_PROGRAMS]
    return bool(byte_vector(handles, ENROLLMENTS)[slot * programs + program] != 0)


@compiled
def _roll(handles: Int64s, slot: int, row: int, end: int) -> None:
    """Step 3 for one participant: a row of PERIOD_ROLLS, if it is the first of its counter that concerns them."""
    rolls, tiers = matrix(handles, PERIOD_ROLLS), matrix(handles, TIERS)
    counter, tier = rolls[row, ROLL_COUNTER], rolls[row, ROLL_TIER]
    cell = slot * width(handles, COUNTER_LOW) + counter
    scale = byte_vector(handles, COUNTER_SCALE)[cell]
    if scale < 0 or not _is_enrolled(handles, slot, tier):
        return
    for earlier in range(row - 1, -1, -1):
        if rolls[earlier, ROLL_COUNTER] != counter:
            break
        if _is_enrolled(handles, slot, rolls[earlier, ROLL_TIER]):
            return
    low, high, decimals = 0, 0, 0
    if tiers[tier, TIER_IS_EXCESS] != 0:
        low, high, decimals = _excess(handles, slot, row, end)
    if vector(handles, COUNTER_LOW)[cell] == low and vector(handles, COUNTER_HIGH)[cell] == high and scale == decimals:
        return
    reset_after = vector(handles, COUNTER_RESET_AFTER)[cell]
    reset_at = end if reset_after != _NEVER else vector(handles, COUNTER_RESET_AT)[cell]
    put(handles, COUNTER_LOW, cell, low)
    put(handles, COUNTER_HIGH, cell, high)
    put_byte(handles, COUNTER_SCALE, cell, decimals)
    put(handles, COUNTER_RESET_AT, cell, reset_at)
    source, name = tiers[tier, TIER_NUMBER], rolls[row, ROLL_NAME]
    change = write_due_change(handles, _SOURCE_TIER, source, slot, _STATE_COUNTER, name, _AUTO_RESET, _NUMBER, low)
    changes = matrix(handles, CHANGES)
    changes[9, change] = high
    changes[10, change] = decimals
    changes[11, change] = reset_at
    changes[12, change] = reset_after


@compiled
def _excess(handles: Int64s, slot: int, row: int, end: int) -> tuple[int, int, int]:
    """What a counter has beyond the largest threshold that the levels held ask of it, from a row of PERIOD_ROLLS on.

    That is 0 where no level asks anything; as words and decimals.
    """
    rolls = matrix(handles, PERIOD_ROLLS)
    counter = rolls[row, ROLL_COUNTER]
    most = -1
    for other in range(row, vector(handles, REGISTERS)[R_PERIOD_ROLLS]):
        if rolls[other, ROLL_COUNTER] != counter:
            break
        if _is_enrolled(handles, slot, rolls[other, ROLL_TIER]):
            most = _larger_threshold(handles, slot, rolls[other, ROLL_TIER], counter, most)
    if most < 0:
        return 0, 0, 0
    criteria = matrix(handles, CRITERIA)
    low, high = criteria[most, CRITERION_LOW], criteria[most, CRITERION_HIGH]
    negative_low, negative_high = -low, ~high + (1 if low == 0 else 0)
    value_low, value_high, scale = counter_of(handles, slot, counter, end)
    value_low, value_high, scale, code = add_counter(
        value_low, value_high, scale, negative_low, negative_high, criteria[most, CRITERION_SCALE]
    )
    if code != 0 or value_high < 0:
        return 0, 0, 0
    return value_low, value_high, scale


@compiled
def _larger_threshold(handles: Int64s, slot: int, tier: int, counter: int, most: int) -> int:
    """The criterion with the largest threshold: `most` (-1: none), or one of the level held about the counter."""
    level = int(byte_vector(handles, TIER_LEVEL)[slot * width(handles, TIER_LEVEL) + tier])
    if level == 0:
        return most
    levels, criteria = matrix(handles, LEVELS), matrix(handles, CRITERIA)
    row = level_row(handles, tier, level)
    first = levels[row, LEVEL_CRITERION]
    for criterion in range(first, first + levels[row, LEVEL_CRITERIA]):
        if criteria[criterion, CRITERION_COUNTER] == counter and (most < 0 or _exceeds(handles, criterion, most)):
            most = criterion
    return most


@inlined
def _exceeds(handles: Int64s, criterion: int, other: int) -> bool:
    """Whether the threshold of a row of CRITERIA is larger than that of another one."""
    criteria = matrix(handles, CRITERIA)
    low, high, scale = (
        criteria[criterion, CRITERION_LOW],
        criteria[criterion, CRITERION_HIGH],
        criteria[criterion, CRITERION_SCALE],
    )
    than_low, than_high = criteria[other, CRITERION_LOW], criteria[other, CRITERION_HIGH]
    return bool(compare_numbers(low, high, scale, than_low, than_high, criteria[other, CRITERION_SCALE]) > 0)
