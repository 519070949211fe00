"""What holders and programs remember: counters with windows, tags, attributes (§13).

A change that changes nothing writes no change row. Time here is the event's own time (`now`), not processing time.
"""

from __future__ import annotations

from earnbook.ledger.amounts import add_counter
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_change
from earnbook.ledger.layout import (
    ACTION_KEY,
    ACTION_NAME,
    ACTION_NUMBER,
    ACTION_RESET_AFTER,
    ACTIONS,
    ATTRIBUTE_KIND,
    ATTRIBUTE_SCALE,
    ATTRIBUTE_VALUE,
    CHANGES,
    COUNTER_HIGH,
    COUNTER_LOW,
    COUNTER_RESET_AFTER,
    COUNTER_RESET_AT,
    COUNTER_SCALE,
    EFFECTS,
    R_TEXT_TARGET,
    REGISTERS,
    TAGS,
    byte_vector,
    matrix,
    put,
    put_byte,
    vector,
    width,
)
from earnbook.ledger.schema import (
    FX_TEXT,
    FX_TEXT_KIND,
    FX_VALUE,
    FX_VALUE_HIGH,
    FX_VALUE_SCALE,
    TIME_NONE,
    ChangeOperation,
    Int64s,
    Kind,
    StateType,
)

TEXT_FORMS = -4

_ABSENT = int(Kind.ABSENT)
_NUMBER = int(Kind.NUMBER)
_SET = int(ChangeOperation.SET)
_ADD = int(ChangeOperation.ADD)
_REMOVE = int(ChangeOperation.REMOVE)
_AUTO_RESET = int(ChangeOperation.AUTO_RESET)
_STATE_COUNTER = int(StateType.COUNTER)
_STATE_TAG = int(StateType.TAG)
_STATE_ATTRIBUTE = int(StateType.ATTRIBUTE)
_NO_WINDOW = int(TIME_NONE)


@compiled
def add_to_counter(handles: Int64s, effect: int, action: int, target: int, now: int) -> int:
    """Add the effect's value to a counter, opening, keeping or resetting its window (§13.2)."""
    effects, actions = matrix(handles, EFFECTS), matrix(handles, ACTIONS)
    by_low, by_high, by_decimals = (
        effects[effect, FX_VALUE],
        effects[effect, FX_VALUE_HIGH],
        effects[effect, FX_VALUE_SCALE],
    )
    if by_low == 0 and by_high == 0:
        return 0
    cell = target * width(handles, COUNTER_LOW) + actions[action, ACTION_KEY]
    low, high = vector(handles, COUNTER_LOW)[cell], vector(handles, COUNTER_HIGH)[cell]
    decimals = byte_vector(handles, COUNTER_SCALE)[cell]
    reset_at, reset_after = vector(handles, COUNTER_RESET_AT)[cell], vector(handles, COUNTER_RESET_AFTER)[cell]
    is_new = decimals < 0
    if is_new:
        low, high, decimals, reset_after = 0, 0, 0, _NO_WINDOW
    elif reset_after != _NO_WINDOW and now - reset_at >= reset_after:
        low, high, decimals, reset_at = 0, 0, 0, now
        _write_counter(handles, action, target, _AUTO_RESET, 0, 0, 0, reset_at, reset_after)
    wanted = actions[action, ACTION_RESET_AFTER]
    if wanted != _NO_WINDOW:
        if reset_after == _NO_WINDOW:
            reset_at = now
        reset_after = wanted
    low, high, scale, code = add_counter(low, high, decimals, by_low, by_high, by_decimals)
    if code != 0:
        return code
    if reset_after == _NO_WINDOW:
        reset_at = _NO_WINDOW
    put(handles, COUNTER_LOW, cell, low)
    put(handles, COUNTER_HIGH, cell, high)
    put_byte(handles, COUNTER_SCALE, cell, scale)
    put(handles, COUNTER_RESET_AT, cell, reset_at)
    put(handles, COUNTER_RESET_AFTER, cell, reset_after)
    _write_counter(handles, action, target, _SET, low, high, scale, reset_at, reset_after)
    return 0


@inlined
def _write_counter(
    handles: Int64s,
    action: int,
    target: int,
    operation: int,
    low: int,
    high: int,
    decimals: int,
    reset_at: int,
    reset_after: int,
) -> None:
    row = _write(handles, action, target, _STATE_COUNTER, operation, _NUMBER, low)
    changes = matrix(handles, CHANGES)
    changes[9, row] = high
    changes[10, row] = decimals
    changes[11, row] = reset_at
    changes[12, row] = reset_after


@inlined
def _write(handles: Int64s, action: int, target: int, state: int, operation: int, kind: int, value: int) -> int:
    actions = matrix(handles, ACTIONS)
    number, name = actions[action, ACTION_NUMBER], actions[action, ACTION_NAME]
    return write_change(handles, number, target, state, name, operation, kind, value)


@compiled
def add_tag(handles: Int64s, action: int, target: int) -> int:
    """Set a tag."""
    key = matrix(handles, ACTIONS)[action, ACTION_KEY]
    at = target * width(handles, TAGS) + (key >> 6)
    word, bit = vector(handles, TAGS)[at], 1 << (key & 63)
    if word & bit == 0:
        put(handles, TAGS, at, word | bit)
        _write(handles, action, target, _STATE_TAG, _ADD, _ABSENT, 0)
    return 0


@compiled
def remove_tag(handles: Int64s, action: int, target: int) -> int:
    """Remove a tag."""
    key = matrix(handles, ACTIONS)[action, ACTION_KEY]
    at = target * width(handles, TAGS) + (key >> 6)
    word, bit = vector(handles, TAGS)[at], 1 << (key & 63)
    if word & bit != 0:
        put(handles, TAGS, at, word & ~bit)
        _write(handles, action, target, _STATE_TAG, _REMOVE, _ABSENT, 0)
    return 0


@compiled
def set_attribute(handles: Int64s, effect: int, action: int, target: int) -> int:
    """Set an attribute; TEXT_FORMS when old and new value are of different kinds, so that only their texts compare."""
    effects = matrix(handles, EFFECTS)
    cell = target * width(handles, ATTRIBUTE_VALUE) + matrix(handles, ACTIONS)[action, ACTION_KEY]
    kind, value = effects[effect, FX_TEXT_KIND], effects[effect, FX_TEXT]
    decimals = 0
    if kind == _NUMBER:
        decimals = effects[effect, FX_VALUE_SCALE]
        while decimals > 0 and value % 10 == 0:
            value //= 10
            decimals -= 1
    old_kind = byte_vector(handles, ATTRIBUTE_KIND)[cell]
    if old_kind == kind:
        is_same_scale = byte_vector(handles, ATTRIBUTE_SCALE)[cell] == decimals
        if is_same_scale and vector(handles, ATTRIBUTE_VALUE)[cell] == value:
            return 0
    elif old_kind != _ABSENT:
        vector(handles, REGISTERS)[R_TEXT_TARGET] = target
        return TEXT_FORMS
    put_byte(handles, ATTRIBUTE_KIND, cell, kind)
    put_byte(handles, ATTRIBUTE_SCALE, cell, decimals)
    put(handles, ATTRIBUTE_VALUE, cell, value)
    row = _write(handles, action, target, _STATE_ATTRIBUTE, _SET, kind, value)
    matrix(handles, CHANGES)[10, row] = decimals
    return 0
