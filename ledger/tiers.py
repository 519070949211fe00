"""Tiers: assignment, expiry and qualification of participants (§14.1, §14.2, §14.5).

A tier type is a column of the cells, a level its position in the type by ascending rank (0: base). A participant whose
assignment expires has an item in the queue of due work (rank 4 of §4.4); an item whose assignment was replaced since is
noticed when it comes out. `evaluate_tiers` runs after the actions of an event that succeeded, for its participant and
for those that `mark_tiers` named meanwhile.
"""

from __future__ import annotations

from earnbook.ledger.amounts import compare_numbers
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_change, write_due_change
from earnbook.ledger.layout import (
    ACTION_EXPIRES,
    ACTION_EXPIRES_KIND,
    ACTION_KEY,
    ACTION_NAME,
    ACTION_NUMBER,
    ACTIONS,
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
    CRITERION_OPERATOR,
    CRITERION_SCALE,
    DATE_DURATION,
    DATE_TIME,
    DUE_RANK_SHIFT,
    HOLDER_NUMBERS,
    LEVEL_COLUMNS,
    LEVEL_CRITERIA,
    LEVEL_CRITERION,
    LEVEL_IS_ANY,
    LEVEL_NAME,
    LEVELS,
    MARK_SLOT,
    MARK_TIER,
    PROGRAM_TIER,
    PROGRAM_TIERS,
    PROGRAMS,
    R_CLOCK,
    R_FULL,
    R_TIER_MARKS,
    RANK_TIER,
    REGISTERS,
    TIER_ACQUIRED,
    TIER_COLUMNS,
    TIER_EXPIRES,
    TIER_LEVEL,
    TIER_LEVEL_FIRST,
    TIER_LEVELS,
    TIER_MARKS,
    TIER_NUMBER,
    TIER_QUALIFIES,
    TIER_STATUS,
    TIERS,
    await_item,
    byte_vector,
    claim,
    matrix,
    put,
    put_byte,
    vector,
    width,
)
from earnbook.ledger.schema import (
    TIME_MAX,
    TIME_NONE,
    ChangeOperation,
    Comparison,
    DueSource,
    Int64s,
    Kind,
    Outcome,
    StateType,
    Status,
)

ANY_TIER = -1
"""A mark for a participant whose counters changed, not for one tier type that SET_TIER was about."""

_TIER_BITS = 20  # of a due key: the column, below the tier type's number
_SLOT_BITS = 31  # of a due item: the slot, below the holder's number
_ACTIVE = int(Status.ACTIVE)
_NEVER = int(TIME_NONE)
_STATE_TIER = int(StateType.TIER)
_SET = int(ChangeOperation.SET)
_DELETE = int(ChangeOperation.DELETE)
_INT = int(Kind.INT)
_ABSENT = int(Kind.ABSENT)
_SOURCE_TIER = int(DueSource.TIER)
_TIER_ARCHIVED = int(Outcome.TIER_ARCHIVED)
_INVALID_VALUE = int(Outcome.INVALID_VALUE)
_AT_LEAST = int(Comparison.AT_LEAST)
_MORE = int(Comparison.MORE)
_EQUAL = int(Comparison.EQUAL)
_AT_MOST = int(Comparison.AT_MOST)


# --- assignment -----------------------------------------------------------------------------------------------------


@compiled
def set_tier(handles: Int64s, action: int, target: int, at: int) -> int:
    """SET_TIER of a participant (§12.1): 0, TIER_ARCHIVED, or INVALID_VALUE for an expiry after the year 9999."""
    actions = matrix(handles, ACTIONS)
    tier, level = actions[action, ACTION_KEY], actions[action, ACTION_NAME]
    if vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_STATUS] != _ACTIVE:
        return _TIER_ARCHIVED
    kind, expires_at = actions[action, ACTION_EXPIRES_KIND], _NEVER
    if kind == DATE_TIME:
        expires_at = actions[action, ACTION_EXPIRES]
    elif kind == DATE_DURATION:
        expires_at = at + actions[action, ACTION_EXPIRES]
    if expires_at > TIME_MAX:
        return _INVALID_VALUE
    mark_tiers(handles, target, tier)
    assign_tier(handles, target, tier, level, expires_at, at, actions[action, ACTION_NUMBER])
    return 0


@compiled
def assign_tier(handles: Int64s, slot: int, tier: int, level: int, expires_at: int, at: int, action: int) -> bool:
    """Put an enrolled participant on a level, replacing a pending expiry (§14.5); says whether anything changed.

    Args:
        handles: the tables.
        slot: the participant.
        tier: column of the tier type, which the caller found ACTIVE.
        level: position in the type by ascending rank, 0 for base.
        expires_at: when the assignment ends, TIME_NONE for never; not looked at for base.
        at: processing time. Who stays on the level keeps the time at which it was acquired.
        action: number of the rule action, 0 for none.
    """
    cell = slot * width(handles, TIER_LEVEL) + tier
    old = byte_vector(handles, TIER_LEVEL)[cell]
    if level == 0:
        expires_at = _NEVER
    if level == old and vector(handles, TIER_EXPIRES)[cell] == expires_at:
        return False
    acquired_at = vector(handles, TIER_ACQUIRED)[cell] if level == old else at
    _put_tier(handles, cell, level, acquired_at, expires_at)
    number = vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_NUMBER]
    if level == 0:
        write_change(handles, action, slot, _STATE_TIER, number, _DELETE, _ABSENT, 0)
        return True
    name = vector(handles, LEVELS)[_level_row(handles, tier, level) * LEVEL_COLUMNS + LEVEL_NAME]
    row = write_change(handles, action, slot, _STATE_TIER, number, _SET, _INT, name)
    changes = matrix(handles, CHANGES)
    changes[11, row] = acquired_at
    changes[12, row] = expires_at
    if expires_at != _NEVER:
        await_tier(handles, slot, tier)
    return True


@inlined
def _put_tier(handles: Int64s, cell: int, level: int, acquired_at: int, expires_at: int) -> None:
    put_byte(handles, TIER_LEVEL, cell, level)
    put(handles, TIER_ACQUIRED, cell, acquired_at if level > 0 else 0)
    put(handles, TIER_EXPIRES, cell, expires_at)


@inlined
def _level_row(handles: Int64s, tier: int, level: int) -> int:
    return vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_LEVEL_FIRST] + level - 1  # type: ignore[no-any-return]


@compiled
def mark_tiers(handles: Int64s, slot: int, tier: int) -> None:
    """Note for `evaluate_tiers` that the event at hand set a tier of a participant, or (ANY_TIER) changed counters."""
    row = claim(handles, TIER_MARKS, R_TIER_MARKS)
    marks = matrix(handles, TIER_MARKS)
    marks[row, MARK_SLOT] = slot
    marks[row, MARK_TIER] = tier


# --- due work -------------------------------------------------------------------------------------------------------


@compiled
def await_tier(handles: Int64s, slot: int, tier: int) -> None:
    """Note that an assignment expires; items of one time come out by tier type, then by participant."""
    number = vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_NUMBER]
    key = (RANK_TIER << DUE_RANK_SHIFT) | (number << _TIER_BITS) | tier
    item = (vector(handles, HOLDER_NUMBERS)[slot] << _SLOT_BITS) | slot
    cell = slot * width(handles, TIER_LEVEL) + tier
    await_item(handles, vector(handles, TIER_EXPIRES)[cell], key, item)


@compiled
def expire_tier(handles: Int64s, at: int, key: int, item: int) -> bool:
    """Remove the assignment of a queued item, if it is still the one that expires then; the clock moves only so."""
    registers = vector(handles, REGISTERS)
    slot, tier = item & ((1 << _SLOT_BITS) - 1), key & ((1 << _TIER_BITS) - 1)
    cell = slot * width(handles, TIER_LEVEL) + tier
    if byte_vector(handles, TIER_LEVEL)[cell] == 0 or vector(handles, TIER_EXPIRES)[cell] != at:
        return False
    registers[R_CLOCK] = max(registers[R_CLOCK], at)
    _put_tier(handles, cell, 0, 0, _NEVER)
    number = vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_NUMBER]
    write_due_change(handles, _SOURCE_TIER, number, slot, _STATE_TIER, number, _DELETE, _ABSENT, 0)
    return True


# --- qualification --------------------------------------------------------------------------------------------------


@compiled
def evaluate_tiers(handles: Int64s, program: int, slot: int, at: int, now: int) -> None:
    """Upgrade whom the counters qualify, after the actions of an event (§14.2); stops where a table is full.

    Args:
        handles: the tables.
        program: slot of the event's program.
        slot: slot of its participant, -1: none.
        at: processing time.
        now: event_timestamp, by which windows of counters are judged.
    """
    registers = vector(handles, REGISTERS)
    programs, tiers = matrix(handles, PROGRAMS), matrix(handles, TIERS)
    first = programs[program, PROGRAM_TIER]
    for tier in range(first, first + programs[program, PROGRAM_TIERS]):
        if tiers[tier, TIER_QUALIFIES] == 0:
            continue
        holder = _next_holder(handles, slot, 0)
        while holder >= 0:
            if not _is_set(handles, holder, tier):
                _upgrade(handles, holder, tier, at, now)
            if registers[R_FULL] != 0:
                return
            if registers[R_TIER_MARKS] == 0:
                break
            holder = _next_holder(handles, slot, vector(handles, HOLDER_NUMBERS)[holder])


@compiled
def _next_holder(handles: Int64s, slot: int, after: int) -> int:
    """The participant to evaluate with the smallest number above `after`; -1 when there is none."""
    numbers, marks = vector(handles, HOLDER_NUMBERS), matrix(handles, TIER_MARKS)
    chosen = slot if slot >= 0 and numbers[slot] > after else -1
    for row in range(vector(handles, REGISTERS)[R_TIER_MARKS]):
        other = marks[row, MARK_SLOT]
        if marks[row, MARK_TIER] != ANY_TIER or numbers[other] <= after:
            continue
        if chosen < 0 or numbers[other] < numbers[chosen]:
            chosen = other
    return chosen


@inlined
def _is_set(handles: Int64s, slot: int, tier: int) -> bool:
    """Whether the event had a SET_TIER of this participant and type."""
    marks = matrix(handles, TIER_MARKS)
    for row in range(vector(handles, REGISTERS)[R_TIER_MARKS]):
        if marks[row, MARK_SLOT] == slot and marks[row, MARK_TIER] == tier:
            return True
    return False


@compiled
def _upgrade(handles: Int64s, slot: int, tier: int, at: int, now: int) -> None:
    """Assign the highest level that the counters satisfy, if it is above the present one."""
    current = byte_vector(handles, TIER_LEVEL)[slot * width(handles, TIER_LEVEL) + tier]
    count = vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_LEVELS]
    for level in range(count, current, -1):
        if _qualifies(handles, slot, _level_row(handles, tier, level), now):
            assign_tier(handles, slot, tier, level, _NEVER, at, 0)
            return


@compiled
def _qualifies(handles: Int64s, slot: int, level: int, now: int) -> bool:
    """Whether the criteria of a level hold, all or any of them; a level without criteria is never reached so."""
    levels = matrix(handles, LEVELS)
    first, count = levels[level, LEVEL_CRITERION], levels[level, LEVEL_CRITERIA]
    is_any = bool(levels[level, LEVEL_IS_ANY] != 0)
    for criterion in range(first, first + count):
        if _holds(handles, slot, criterion, now) == is_any:
            return is_any
    return count > 0 and not is_any


@compiled
def _holds(handles: Int64s, slot: int, criterion: int, now: int) -> bool:
    criteria = matrix(handles, CRITERIA)
    low, high, scale = _counter_of(handles, slot, criteria[criterion, CRITERION_COUNTER], now)
    threshold = criteria[criterion, CRITERION_LOW], criteria[criterion, CRITERION_HIGH]
    order = compare_numbers(low, high, scale, threshold[0], threshold[1], criteria[criterion, CRITERION_SCALE])
    operator = criteria[criterion, CRITERION_OPERATOR]
    if operator == _AT_LEAST:
        return order >= 0
    if operator == _MORE:
        return order > 0
    if operator == _EQUAL:
        return order == 0
    return order <= 0 if operator == _AT_MOST else order < 0


@inlined
def _counter_of(handles: Int64s, slot: int, column: int, now: int) -> tuple[int, int, int]:
    """The effective value of a counter (§13.2) as words and decimals; an absent one is 0."""
    cell = slot * width(handles, COUNTER_LOW) + column
    scale = byte_vector(handles, COUNTER_SCALE)[cell]
    if scale < 0:
        return 0, 0, 0
    reset_after = vector(handles, COUNTER_RESET_AFTER)[cell]
    if reset_after != _NEVER and now - vector(handles, COUNTER_RESET_AT)[cell] >= reset_after:
        return 0, 0, 0
    return vector(handles, COUNTER_LOW)[cell], vector(handles, COUNTER_HIGH)[cell], int(scale)
