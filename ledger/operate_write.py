"""Writing what operations on members and state change: the compiled primitives, and the room they need.

Operations other than money are decided in Python at a suspension of the kernel (`kernel.OPERATE`), over the same tables
and with the same undo log. Whoever writes makes room first, so that no table runs full halfway: an operation that was
carried out is never done again.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled
from earnbook.ledger.journal import write_change
from earnbook.ledger.layout import (
    BYTE_TABLES,
    CHANGES,
    DUE,
    HOLDER_KINDS,
    HOLDER_NUMBERS,
    NEW_HOLDERS,
    PENDING_DUE,
    PERSON_ORIGINS,
    PERSON_SLOTS,
    R_CHANGES,
    R_CLOCK,
    R_DUE,
    R_HOLDER,
    R_LOG_SEQ,
    R_NEW_HOLDERS,
    R_PENDING_DUE,
    R_SLOTS,
    R_UNDO,
    REGISTERS,
    STATUS,
    UNDO,
    claim,
    claim_column,
    matrix,
    put,
    put_byte,
    vector,
)
from earnbook.ledger.memory import fixed_in
from earnbook.ledger.schema import Int64s
from earnbook.ledger.state import State
from earnbook.ledger.tiers import assign_tier

_UNDO_PER_CHANGE = 6  # a counter has five cells


@compiled
def store(given: Int64s, table: int, index: int, value: int) -> None:
    """Write one cell of a table (flat index) so that it can be undone."""
    handles = fixed_in(given)
    if table >= BYTE_TABLES:
        put_byte(handles, table, index, value)
    else:
        put(handles, table, index, value)


@compiled
def note(given: Int64s, slot: int, state_type: int, key: int, operation: int, kind: int, value: int) -> int:
    """Append a change row of an operation and return where, for values that need more columns."""
    return write_change(fixed_in(given), 0, slot, state_type, key, operation, kind, value)


@compiled
def create_holder(given: Int64s, person: int, entity_type: int, status: int) -> int:
    """A new participant or group in the next slot, without a change row."""
    handles = fixed_in(given)
    registers = vector(handles, REGISTERS)
    slot = claim(handles, HOLDER_NUMBERS, R_SLOTS)
    registers[R_HOLDER] += 1
    put(handles, HOLDER_NUMBERS, slot, registers[R_HOLDER])
    put(handles, PERSON_SLOTS, person, slot)
    put_byte(handles, STATUS, slot, status)
    put_byte(handles, HOLDER_KINDS, slot, entity_type)
    row = claim_column(handles, NEW_HOLDERS, R_NEW_HOLDERS)
    created = matrix(handles, NEW_HOLDERS)
    created[0, row] = person
    created[1, row] = registers[R_HOLDER]
    created[2, row] = registers[R_LOG_SEQ]
    return slot


@compiled
def put_on_level(given: Int64s, slot: int, tier: int, level: int, expires_at: int) -> bool:
    """Assign a level by operation (§14.5); arguments and result as of `assign_tier`."""
    handles = fixed_in(given)
    return assign_tier(handles, slot, tier, level, expires_at, vector(handles, REGISTERS)[R_CLOCK], 0)


@compiled
def slot_of(given: Int64s, person: int) -> int:
    """The slot of a person, -1 where there is no such holder; an id means the holder whose id it is by now."""
    handles = fixed_in(given)
    slot = vector(handles, PERSON_SLOTS)[person]
    origin = vector(handles, PERSON_ORIGINS)[person]
    if slot < 0 and origin >= 0:
        slot = vector(handles, PERSON_SLOTS)[origin]
    return slot  # type: ignore[no-any-return]


def make_room(state: State, changes: int) -> None:
    """Room for so many changes and one new holder, and for the queue to be settled after them."""
    state.make_room(CHANGES, R_CHANGES, changes)
    state.make_room(UNDO, R_UNDO, _UNDO_PER_CHANGE * (changes + 2))
    state.make_room(NEW_HOLDERS, R_NEW_HOLDERS, 1)
    state.make_room(HOLDER_NUMBERS, R_SLOTS, 1)
    state.make_room(PENDING_DUE, R_PENDING_DUE, 1)
    state.make_room(DUE, R_DUE, 2)
