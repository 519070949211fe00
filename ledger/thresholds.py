"""Whether a change of a counter may have made the criterion of a THRESHOLD true (§17.4).

The caller decides what fires; this keeps the kernel from stopping at every change of a counter that somebody waits for.
It looks only at what the record or due item at hand has written: the value that a change left, and what the undo log
says the counter held before. It may say yes where the answer is no (the log does not tell apart whose counters of the
same name an item changed), never no where it is yes.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    BYTE_TABLES,
    CHANGES,
    COUNTER_HIGH,
    COUNTER_LOW,
    COUNTER_RESET_AFTER,
    COUNTER_RESET_AT,
    COUNTER_SCALE,
    CRITERION_COUNTER,
    R_CLOCK,
    R_THRESHOLDS,
    R_UNDO_DONE,
    REGISTERS,
    THRESHOLD_NAME,
    THRESHOLDS,
    UNDO,
    UNDO_INDEX,
    UNDO_TABLE,
    UNDO_VALUE,
    byte_vector,
    matrix,
    vector,
    width,
)
from earnbook.ledger.qualification import holds
from earnbook.ledger.schema import TIME_NONE, ChangeOperation, Int64s

_NEVER = int(TIME_NONE)
_DELETE = int(ChangeOperation.DELETE)


@compiled
def may_cross(handles: Int64s, change: int) -> bool:
    """Whether the change of a counter in a row of CHANGES may have made a criterion true that was false before."""
    registers, changes, thresholds = vector(handles, REGISTERS), matrix(handles, CHANGES), matrix(handles, THRESHOLDS)
    now = registers[R_CLOCK]
    for row in range(registers[R_THRESHOLDS]):
        if thresholds[row, THRESHOLD_NAME] != changes[5, change]:
            continue
        scale = -1 if changes[6, change] == _DELETE else changes[10, change]
        is_true = _is_true(
            handles, row, now, changes[8, change], changes[9, change], scale, changes[11, change], changes[12, change]
        )
        if is_true and _was_false(handles, row, now):
            return True
    return False


@inlined
def _was_false(handles: Int64s, row: int, now: int) -> bool:
    """Whether the criterion was false of any counter of its name that the item has written."""
    undo, cells = matrix(handles, UNDO), width(handles, COUNTER_LOW)
    column = matrix(handles, THRESHOLDS)[row, CRITERION_COUNTER]
    for entry in range(vector(handles, REGISTERS)[R_UNDO_DONE]):
        if undo[entry, UNDO_TABLE] != COUNTER_LOW or undo[entry, UNDO_INDEX] % cells != column:
            continue
        cell = undo[entry, UNDO_INDEX]
        low, high = _before(handles, COUNTER_LOW, cell), _before(handles, COUNTER_HIGH, cell)
        scale = _before(handles, COUNTER_SCALE, cell)
        opened, length = _before(handles, COUNTER_RESET_AT, cell), _before(handles, COUNTER_RESET_AFTER, cell)
        if not _is_true(handles, row, now, low, high, scale, opened, length):
            return True
    return False


@compiled
def _is_true(handles: Int64s, row: int, now: int, low: int, high: int, scale: int, opened: int, length: int) -> bool:
    """Whether the criterion holds of a counter; an absent one, and one whose window has elapsed, is 0 (§13.2)."""
    if scale < 0 or (length != _NEVER and now - opened >= length):
        return holds(handles, THRESHOLDS, row, 0, 0, 0)
    return holds(handles, THRESHOLDS, row, low, high, scale)


@compiled
def _before(handles: Int64s, table: int, cell: int) -> int:
    """What a cell held before the item that was done last."""
    undo = matrix(handles, UNDO)
    for entry in range(vector(handles, REGISTERS)[R_UNDO_DONE]):
        if undo[entry, UNDO_TABLE] == table and undo[entry, UNDO_INDEX] == cell:
            return undo[entry, UNDO_VALUE]  # type: ignore[no-any-return]
    if table >= BYTE_TABLES:
        return int(byte_vector(handles, table)[cell])
    return vector(handles, table)[cell]  # type: ignore[no-any-return]
