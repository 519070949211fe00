"""The level of a participant in a tier type: writing it, the dates it has, and when it falls due (§14.1, §14.4).

A tier type is a column of the cells, a level its position in the type by ascending rank (0: base). Whoever is on a
level that will fall due has an item in the queue (rank 4 of §4.4) at that time or before it: a date that moves on, as
every event moves those kept by activity, leaves its item behind, which is put in anew when it comes out too early.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_change, write_due_change
from earnbook.ledger.layout import (
    CHANGES,
    DUE_RANK_SHIFT,
    HOLDER_NUMBERS,
    LEVEL_COLUMNS,
    LEVEL_NAME,
    LEVELS,
    OWN_EXPIRY,
    PERIOD_END,
    PERIOD_EXPIRY,
    PERIOD_EXPIRY_AFTER,
    RANK_TIER,
    TIER_ACQUIRED,
    TIER_COLUMNS,
    TIER_DOWNGRADE,
    TIER_DURATION,
    TIER_EXPIRES,
    TIER_FLOOR,
    TIER_GRACE,
    TIER_LEVEL,
    TIER_NOTED,
    TIER_NUMBER,
    TIER_PERIOD,
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
from earnbook.ledger.qualification import level_row
from earnbook.ledger.schema import TIME_NONE, ChangeOperation, DueSource, Int64s, Kind, Retention, StateType

BY_DUE_WORK = -1
"""In place of an action's number: what falls due changes the level."""

TIER_BITS = 20
"""Of the key of a due item: the column, below the tier type's number."""

SLOT_BITS = 31
"""Of a due item: the slot, below the holder's number."""

_NEVER = int(TIME_NONE)
_PERIOD_BASED = int(Retention.PERIOD_BASED)
_ACTIVITY_REFRESH = int(Retention.ACTIVITY_REFRESH)
_STATE_TIER = int(StateType.TIER)
_SOURCE_TIER = int(DueSource.TIER)
_SET = int(ChangeOperation.SET)
_DELETE = int(ChangeOperation.DELETE)
_INT = int(Kind.INT)
_ABSENT = int(Kind.ABSENT)


@compiled
def expiry_of(handles: Int64s, tier: int, at: int) -> int:
    """When a level that is granted or renewed at a time expires, as the lifecycle says; TIME_NONE: never."""
    tiers = matrix(handles, TIERS)
    if tiers[tier, TIER_RETENTION] == _ACTIVITY_REFRESH:
        return at + tiers[tier, TIER_DURATION]  # type: ignore[no-any-return]
    if tiers[tier, TIER_RETENTION] != _PERIOD_BASED:
        return _NEVER
    # What is granted at a boundary belongs to the period that begins there.
    date = PERIOD_EXPIRY if at < tiers[tier, TIER_PERIOD + PERIOD_END] else PERIOD_EXPIRY_AFTER
    return tiers[tier, TIER_PERIOD + date]  # type: ignore[no-any-return]


@compiled
def due_date(handles: Int64s, slot: int, tier: int) -> int:
    """When the level of a participant ends, or is downgraded or renewed; TIME_NONE: never."""
    cell = slot * width(handles, TIER_LEVEL) + tier
    level = int(byte_vector(handles, TIER_LEVEL)[cell])
    if level == 0:
        return _NEVER
    expires_at = vector(handles, TIER_EXPIRES)[cell]
    if byte_vector(handles, TIER_NOTED)[cell] == OWN_EXPIRY:
        return expires_at  # type: ignore[no-any-return]
    tiers = matrix(handles, TIERS)
    if tiers[tier, TIER_RETENTION] == _PERIOD_BASED:
        return vector(handles, TIER_DOWNGRADE)[cell]  # type: ignore[no-any-return]
    if tiers[tier, TIER_RETENTION] != _ACTIVITY_REFRESH or expires_at == _NEVER or level <= tiers[tier, TIER_FLOOR]:
        return _NEVER
    return expires_at + tiers[tier, TIER_GRACE]  # type: ignore[no-any-return]


@compiled
def put_level(
    handles: Int64s,
    slot: int,
    tier: int,
    level: int,
    acquired_at: int,
    expires_at: int,
    downgrade_at: int,
    noted: int,
    action: int,
) -> bool:
    """Write the level of a participant and the change that says so; returns whether anything differs.

    Args:
        handles: the tables.
        slot: the participant.
        tier: column of the tier type.
        level: position from 1; 0 for base, of which nothing else is kept.
        acquired_at: since when.
        expires_at: TIME_NONE for never.
        downgrade_at: as TIER_DOWNGRADE.
        noted: as TIER_NOTED.
        action: number of the rule action, 0 for none, or BY_DUE_WORK.
    """
    if level == 0:
        acquired_at, expires_at, downgrade_at, noted = 0, _NEVER, _NEVER, 0
    cell = slot * width(handles, TIER_LEVEL) + tier
    levels, notes = byte_vector(handles, TIER_LEVEL), byte_vector(handles, TIER_NOTED)
    is_same = levels[cell] == level and vector(handles, TIER_EXPIRES)[cell] == expires_at and notes[cell] == noted
    is_same = is_same and vector(handles, TIER_DOWNGRADE)[cell] == downgrade_at
    if is_same and (level == 0 or vector(handles, TIER_ACQUIRED)[cell] == acquired_at):
        return False
    before = due_date(handles, slot, tier)
    put_byte(handles, TIER_LEVEL, cell, level)
    put_byte(handles, TIER_NOTED, cell, noted)
    put(handles, TIER_ACQUIRED, cell, acquired_at)
    put(handles, TIER_EXPIRES, cell, expires_at)
    put(handles, TIER_DOWNGRADE, cell, downgrade_at)
    _write(handles, slot, tier, cell, action)
    after = due_date(handles, slot, tier)
    # The item of what falls due has just been taken out.
    if after != _NEVER and (before == _NEVER or after < before or action == BY_DUE_WORK):
        await_level(handles, slot, tier, after)
    return True


@inlined
def _write(handles: Int64s, slot: int, tier: int, cell: int, action: int) -> None:
    """The change that says what stands in a cell now."""
    level = int(byte_vector(handles, TIER_LEVEL)[cell])
    number = vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_NUMBER]
    operation, kind, name = _DELETE, _ABSENT, 0
    if level > 0:
        operation, kind, name = _SET, _INT, name_of(handles, tier, level)
    if action == BY_DUE_WORK:
        row = write_due_change(handles, _SOURCE_TIER, number, slot, _STATE_TIER, number, operation, kind, name)
    else:
        row = write_change(handles, action, slot, _STATE_TIER, number, operation, kind, name)
    if level > 0:
        noted = int(byte_vector(handles, TIER_NOTED)[cell])
        changes = matrix(handles, CHANGES)
        changes[11, row] = vector(handles, TIER_ACQUIRED)[cell]
        changes[12, row] = vector(handles, TIER_EXPIRES)[cell]
        changes[13, row] = vector(handles, TIER_DOWNGRADE)[cell]
        changes[14, row] = name_of(handles, tier, noted) if noted > 0 else noted


@inlined
def name_of(handles: Int64s, tier: int, level: int) -> int:
    """The number in `names` of a level's key."""
    return vector(handles, LEVELS)[level_row(handles, tier, level) * LEVEL_COLUMNS + LEVEL_NAME]  # type: ignore[no-any-return]


@compiled
def await_level(handles: Int64s, slot: int, tier: int, at: int) -> None:
    """Queue that a level falls due; items of one time come out by tier type, then by participant."""
    number = vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_NUMBER]
    key = (RANK_TIER << DUE_RANK_SHIFT) | (number << TIER_BITS) | tier
    await_item(handles, at, key, (vector(handles, HOLDER_NUMBERS)[slot] << SLOT_BITS) | slot)
