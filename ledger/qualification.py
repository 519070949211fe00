"""Who qualifies for which level: the criteria of a tier type against a participant's counters (§14.2)."""

from __future__ import annotations

from earnbook.ledger.amounts import compare_numbers
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
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
    LEVEL_CRITERIA,
    LEVEL_CRITERION,
    LEVEL_IS_ANY,
    LEVELS,
    TIER_COLUMNS,
    TIER_LEVEL_FIRST,
    TIER_LEVELS,
    TIERS,
    byte_vector,
    matrix,
    vector,
    width,
)
from earnbook.ledger.schema import TIME_NONE, Comparison, Int64s

_NEVER = int(TIME_NONE)
_AT_LEAST = int(Comparison.AT_LEAST)
_MORE = int(Comparison.MORE)
_EQUAL = int(Comparison.EQUAL)
_AT_MOST = int(Comparison.AT_MOST)


@compiled
def reached_level(handles: Int64s, slot: int, tier: int, now: int, above: int) -> int:
    """The position of the highest level above `above` that the counters satisfy at a time, `above` if there is none."""
    for level in range(vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_LEVELS], above, -1):
        if _qualifies(handles, slot, level_row(handles, tier, level), now):
            return level
    return above


@inlined
def level_row(handles: Int64s, tier: int, level: int) -> int:
    """The row of LEVELS of a position from 1."""
    return vector(handles, TIERS)[tier * TIER_COLUMNS + TIER_LEVEL_FIRST] + level - 1  # type: ignore[no-any-return]


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
    column = matrix(handles, CRITERIA)[criterion, CRITERION_COUNTER]
    low, high, scale = counter_of(handles, slot, column, now)
    return holds(handles, CRITERIA, criterion, low, high, scale)


@inlined
def holds(handles: Int64s, table: int, criterion: int, low: int, high: int, scale: int) -> bool:
    """Whether a criterion, a row of CRITERIA or THRESHOLDS, is true of a counter's value."""
    criteria = matrix(handles, table)
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
def counter_of(handles: Int64s, slot: int, column: int, now: int) -> tuple[int, int, int]:
    """The effective value of a counter (§13.2) as words and decimals; an absent one is 0."""
    cell = slot * width(handles, COUNTER_LOW) + column
    scale = byte_vector(handles, COUNTER_SCALE)[cell]
    if scale < 0:
        return 0, 0, 0
    reset_after = vector(handles, COUNTER_RESET_AFTER)[cell]
    if reset_after != _NEVER and now - vector(handles, COUNTER_RESET_AT)[cell] >= reset_after:
        return 0, 0, 0
    return vector(handles, COUNTER_LOW)[cell], vector(handles, COUNTER_HIGH)[cell], int(scale)
