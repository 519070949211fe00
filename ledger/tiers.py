"""Tiers: assignment of participants, evaluation after events, and activity (§14.1, §14.2, §14.4, §14.5).

`evaluate_tiers` runs after the actions of an event that succeeded, for its participant and for those that `mark_tiers`
named meanwhile; `refresh_activity` after that. What falls due is in `lifecycle`.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ACTION_EXPIRES,
    ACTION_EXPIRES_KIND,
    ACTION_KEY,
    ACTION_NAME,
    ACTION_NUMBER,
    ACTIONS,
    DATE_DURATION,
    DATE_TIME,
    HOLDER_NUMBERS,
    MARK_SLOT,
    MARK_TIER,
    OWN_EXPIRY,
    PROGRAM_TIER,
    PROGRAM_TIERS,
    PROGRAMS,
    R_FULL,
    R_TIER_MARKS,
    REGISTERS,
    TIER_ACQUIRED,
    TIER_COLUMNS,
    TIER_EXPIRES,
    TIER_LEVEL,
    TIER_MARKS,
    TIER_NOTED,
    TIER_QUALIFIES,
    TIER_RETENTION,
    TIER_STATUS,
    TIERS,
    byte_vector,
    claim,
    matrix,
    put,
    vector,
    width,
)
from earnbook.ledger.levels import await_level, due_date, expiry_of, put_level
from earnbook.ledger.qualification import reached_level
from earnbook.ledger.schema import TIME_MAX, TIME_NONE, Int64s, Outcome, Retention, Status

ANY_TIER = -1
"""A mark for a participant whose counters changed, not for one tier type that SET_TIER was about."""

_ACTIVE = int(Status.ACTIVE)
_NEVER = int(TIME_NONE)
_ACTIVITY_REFRESH = int(Retention.ACTIVITY_REFRESH)
_TIER_ARCHIVED = int(Outcome.TIER_ARCHIVED)
_INVALID_VALUE = int(Outcome.INVALID_VALUE)


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
    """Put an enrolled participant on a level, replacing what was pending (§14.5); says whether anything changed.

    Args:
        handles: the tables.
        slot: the participant.
        tier: column of the tier type, which the caller found ACTIVE.
        level: position in the type by ascending rank, 0 for base.
        expires_at: when the assignment ends; TIME_NONE: its dates follow the lifecycle. Not looked at for base.
        at: processing time. Who stays on the level keeps the time at which it was acquired.
        action: number of the rule action, 0 for none.
    """
    cell = slot * width(handles, TIER_LEVEL) + tier
    acquired_at = vector(handles, TIER_ACQUIRED)[cell] if byte_vector(handles, TIER_LEVEL)[cell] == level else at
    noted = OWN_EXPIRY
    if expires_at == _NEVER:
        expires_at, noted = expiry_of(handles, tier, at), 0
    return put_level(handles, slot, tier, level, acquired_at, expires_at, _NEVER, noted, action)


@compiled
def mark_tiers(handles: Int64s, slot: int, tier: int) -> None:
    """Note for `evaluate_tiers` that the event at hand set a tier of a participant, or (ANY_TIER) changed counters."""
    row = claim(handles, TIER_MARKS, R_TIER_MARKS)
    marks = matrix(handles, TIER_MARKS)
    marks[row, MARK_SLOT] = slot
    marks[row, MARK_TIER] = tier


# --- after an event -------------------------------------------------------------------------------------------------


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
    current = int(byte_vector(handles, TIER_LEVEL)[slot * width(handles, TIER_LEVEL) + tier])
    reached = reached_level(handles, slot, tier, now, current)
    if reached > current:
        assign_tier(handles, slot, tier, reached, _NEVER, at, 0)


@compiled
def refresh_activity(handles: Int64s, program: int, slot: int, at: int) -> None:
    """A completed external event moves the expiry of levels kept by activity, without a change row (§14.4).

    Stops where a table is full.
    """
    programs, tiers = matrix(handles, PROGRAMS), matrix(handles, TIERS)
    first = programs[program, PROGRAM_TIER]
    for tier in range(first, first + programs[program, PROGRAM_TIERS]):
        if tiers[tier, TIER_RETENTION] != _ACTIVITY_REFRESH:
            continue
        cell = slot * width(handles, TIER_LEVEL) + tier
        if byte_vector(handles, TIER_LEVEL)[cell] == 0 or byte_vector(handles, TIER_NOTED)[cell] == OWN_EXPIRY:
            continue
        before = due_date(handles, slot, tier)
        put(handles, TIER_EXPIRES, cell, expiry_of(handles, tier, at))
        after = due_date(handles, slot, tier)
        if after != _NEVER and (before == _NEVER or after < before):
            await_level(handles, slot, tier, after)
        if vector(handles, REGISTERS)[R_FULL] != 0:
            return
