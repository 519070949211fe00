"""All or nothing: the registers and the undo log of the record at hand (§10.2).

Two marks: the start of the record, and the moment its participant and recipient exist. A failed event goes back to the
second (their creation and enrollment stay), a record that found a table full goes back to the first and is done again.
What is appended needs no log: going back lowers the number of rows in use.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    BYTE_TABLES,
    R_MARK,
    R_UNDO,
    REGISTER_COUNT,
    REGISTERS,
    REGISTERS_SAVED,
    SAVED,
    UNDO,
    UNDO_INDEX,
    UNDO_TABLE,
    UNDO_VALUE,
    byte_vector,
    matrix,
    vector,
)
from earnbook.ledger.schema import Int64s


@inlined
def begin(handles: Int64s) -> None:
    """Set both marks: nothing before this can be undone any more."""
    registers = vector(handles, REGISTERS)
    registers[R_UNDO] = 0
    registers[R_MARK] = 0
    saved = vector(handles, SAVED)
    for k in range(REGISTERS_SAVED):
        saved[k] = registers[k]
        saved[REGISTER_COUNT + k] = registers[k]


@inlined
def mark(handles: Int64s) -> None:
    """Set the second mark: the holders of the record exist."""
    registers = vector(handles, REGISTERS)
    registers[R_MARK] = registers[R_UNDO]
    saved = vector(handles, SAVED)
    for k in range(REGISTERS_SAVED):
        saved[REGISTER_COUNT + k] = registers[k]


@compiled
def back_to_mark(handles: Int64s) -> None:
    """Undo what the effects of the record did."""
    registers = vector(handles, REGISTERS)
    _restore(handles, registers[R_MARK], REGISTER_COUNT)


@compiled
def back_to_start(handles: Int64s) -> None:
    """Undo the whole record, the creation of its holders included."""
    _restore(handles, 0, 0)


@compiled
def _restore(handles: Int64s, keep: int, saved_from: int) -> None:
    registers = vector(handles, REGISTERS)
    undo = matrix(handles, UNDO)
    for at in range(registers[R_UNDO] - 1, keep - 1, -1):
        table, index, old = undo[at, UNDO_TABLE], undo[at, UNDO_INDEX], undo[at, UNDO_VALUE]
        if table >= BYTE_TABLES:
            byte_vector(handles, table)[index] = old
        else:
            vector(handles, table)[index] = old
    registers[R_UNDO] = keep
    saved = vector(handles, SAVED)
    for k in range(REGISTERS_SAVED):
        registers[k] = saved[saved_from + k]
