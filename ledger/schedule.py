"""Events that events make: SCHEDULE_EVENT and BROADCAST, the schedule they wait in, and their turn (§17.5, §4.4).

An item of the schedule is one event for one holder. What it says (`event_data`) is the same for all events of an
action, so it is a *template*: a row behind the records of the batch. When an item falls due, its event is a record of
the log like any other: it gets a number, is let in, evaluated and applied. It stays at the top of the queue until that
is certain, so a table that must grow or a suspension finds it there again.
"""

from __future__ import annotations

from earnbook.ledger.admit import admit_nobody, admit_slot, slot_of
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_change
from earnbook.ledger.layout import (
    ACTION_DELAY,
    ACTION_NUMBER,
    ACTION_TEMPLATE,
    ACTIONS,
    CHANGES,
    DUE,
    DUE_AT,
    DUE_ITEM,
    DUE_KEY,
    DUE_RANK_SHIFT,
    ENROLLMENTS,
    FROM_DUE,
    GENERATED,
    GENERATED_ACTION,
    GENERATED_AT,
    GENERATED_DESCENT,
    GENERATED_PARENT,
    GENERATED_SLOT,
    GENERATED_TEMPLATE,
    HOLDER_KINDS,
    HOLDER_NUMBERS,
    KEY_ORIGIN_SHIFT,
    KEY_PARENT_SHIFT,
    NO_SLOT,
    ORIGIN_BROADCAST,
    ORIGIN_SCHEDULED,
    OUTCOME_ATTEMPTS,
    OUTCOME_LATE,
    OUTCOME_LOG_SEQ,
    OUTCOME_PROCESSED,
    PENDING_DUE,
    PROGRAM_COLUMNS,
    PROGRAM_LOADED,
    PROGRAMS,
    R_ATTEMPT,
    R_BROADCASTS,
    R_CLOCK,
    R_DESCENT,
    R_FULL,
    R_GENERATED,
    R_GENERATED_MAX,
    R_IS_SYSTEM,
    R_LOG_SEQ,
    R_ORIGIN,
    R_PENDING_DUE,
    R_PROGRAMS,
    R_RECORDS,
    R_ROW,
    R_SCHEDULE,
    R_SCHEDULE_FREE,
    R_SCHEDULED,
    R_SLOTS,
    RANK_EVENT,
    REGISTERS,
    SCHEDULE,
    SCHEDULE_ACTION,
    SCHEDULE_AT,
    SCHEDULE_DESCENT,
    SCHEDULE_NEXT,
    SCHEDULE_PARENT,
    SCHEDULE_POSITION,
    SCHEDULE_ROW_BITS,
    SCHEDULE_SLOT,
    SCHEDULE_TEMPLATE,
    STATUS,
    WORK,
    WORK_PROGRAM,
    byte_vector,
    claim,
    claim_column,
    matrix,
    vector,
)
from earnbook.ledger.schema import ChangeOperation, EntityType, Int64s, Kind, Outcome, StateType, Status
from earnbook.ledger.undo import begin, mark

ALL_HOLDERS = -8
"""A BROADCAST needs every holder enrolled in its program (§17.5): the caller loads them once a run."""

TOO_MANY_GENERATED = -11
"""The batch would generate more events than it may (`--max-generated`, §17.5): it must not be committed."""

GENERATION_MAX = 8
DELAY_NEW_GENERATION = 60_000_000
"""Events scheduled with this delay or more, in microseconds, begin again with generation 0 (§17.5)."""

_ACTIVE = int(Status.ACTIVE)
_PARTICIPANT = int(EntityType.PARTICIPANT)
_SCHEDULED_EVENT = int(StateType.SCHEDULED_EVENT)
_ADD = int(ChangeOperation.ADD)
_TIMESTAMP = int(Kind.TIMESTAMP)
_GENERATION_LIMIT = int(Outcome.GENERATION_LIMIT)
_PARTICIPANT_NOT_FOUND = int(Outcome.PARTICIPANT_NOT_FOUND)
_ROW_MASK = (1 << SCHEDULE_ROW_BITS) - 1


# --- effects --------------------------------------------------------------------------------------------------------


@compiled
def schedule_event(handles: Int64s, action: int, target: int, now: int) -> int:
    """Make an event for the target at `now` + delay; 0 or GENERATION_LIMIT."""
    registers, actions = vector(handles, REGISTERS), matrix(handles, ACTIONS)
    delay, descent = actions[action, ACTION_DELAY], registers[R_DESCENT] + 2
    if delay >= DELAY_NEW_GENERATION:
        descent = 0
    if (descent >> 1) > GENERATION_MAX:
        return _GENERATION_LIMIT
    at = now + delay
    _add_item(handles, action, target, at, at, descent, ORIGIN_SCHEDULED)
    number = actions[action, ACTION_NUMBER]
    row = write_change(handles, number, target, _SCHEDULED_EVENT, descent & 1, _ADD, _TIMESTAMP, at)
    matrix(handles, CHANGES)[10, row] = descent >> 1
    registers[R_SCHEDULED] += 1
    return 0


@compiled
def broadcast(handles: Int64s, action: int, program: int, at: int, now: int) -> int:
    """Make an event for every ACTIVE participant with an ACTIVE enrollment; 0, GENERATION_LIMIT or ALL_HOLDERS.

    They are due at once: at the time of the event that sends them, or now where that time is yet to come.
    """
    registers = vector(handles, REGISTERS)
    descent = registers[R_DESCENT] + 2
    if (descent & 1) != 0 or (descent >> 1) > GENERATION_MAX:
        return _GENERATION_LIMIT
    if vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_LOADED] == 0:
        return ALL_HOLDERS
    status, kinds = byte_vector(handles, STATUS), byte_vector(handles, HOLDER_KINDS)
    enrollments, programs = byte_vector(handles, ENROLLMENTS), registers[R_PROGRAMS]
    for slot in range(programs, registers[R_SLOTS]):
        is_member = enrollments[slot * programs + program] == _ACTIVE
        if is_member and kinds[slot] == _PARTICIPANT and status[slot] == _ACTIVE:
            _add_item(handles, action, slot, now, min(now, at), descent + 1, ORIGIN_BROADCAST)
            if registers[R_FULL] != 0:
                break
    registers[R_BROADCASTS] += 1
    return 0


@compiled
def _add_item(handles: Int64s, action: int, slot: int, at: int, due_at: int, descent: int, origin: int) -> None:
    """An item of the schedule with its place in the queue, where it comes once the event at hand is certain."""
    registers, actions = vector(handles, REGISTERS), matrix(handles, ACTIONS)
    parent = registers[R_LOG_SEQ]
    position = registers[R_BROADCASTS] if origin == ORIGIN_BROADCAST else registers[R_SCHEDULED]
    row = claim_item(handles)
    schedule = matrix(handles, SCHEDULE)
    schedule[row, SCHEDULE_AT] = at
    schedule[row, SCHEDULE_PARENT] = parent
    schedule[row, SCHEDULE_ACTION] = actions[action, ACTION_NUMBER]
    schedule[row, SCHEDULE_TEMPLATE] = actions[action, ACTION_TEMPLATE]
    schedule[row, SCHEDULE_SLOT] = slot
    schedule[row, SCHEDULE_DESCENT] = descent
    schedule[row, SCHEDULE_POSITION] = position
    place = claim(handles, PENDING_DUE, R_PENDING_DUE)
    pending = matrix(handles, PENDING_DUE)
    pending[place, DUE_AT] = due_at
    pending[place, DUE_KEY] = due_key(origin, parent, position)
    pending[place, DUE_ITEM] = due_item(handles, slot, row)


@inlined
def claim_item(handles: Int64s) -> int:
    """A row of SCHEDULE for one more item."""
    registers, schedule = vector(handles, REGISTERS), matrix(handles, SCHEDULE)
    row = registers[R_SCHEDULE_FREE] - 1
    if row < 0:
        return claim(handles, SCHEDULE, R_SCHEDULE)
    registers[R_SCHEDULE_FREE] = schedule[row, SCHEDULE_NEXT]
    return row  # type: ignore[no-any-return]


@compiled
def due_key(origin: int, parent: int, position: int) -> int:
    """Where a generated event stands among those due at the same time: rank 7, origin, parent, action (§4.4)."""
    first = (RANK_EVENT << DUE_RANK_SHIFT) | (origin << KEY_ORIGIN_SHIFT)
    return first | (parent << KEY_PARENT_SHIFT) | position


@compiled
def due_item(handles: Int64s, slot: int, row: int) -> int:
    """The item of a row of SCHEDULE in the queue: those of one action come in the order of their participants."""
    if slot < 0:
        return row
    return (vector(handles, HOLDER_NUMBERS)[slot] << SCHEDULE_ROW_BITS) | row  # type: ignore[no-any-return]


# --- the event itself -----------------------------------------------------------------------------------------------


@compiled
def start_generated(handles: Int64s, now: Int64s) -> int:
    """Begin the event at the top of the queue: its number, its clock, its participant.

    Returns:
        TOO_MANY_GENERATED; the outcome of an event that was refused; 0 for one that now needs its effects.
    """
    registers, heap = vector(handles, REGISTERS), matrix(handles, DUE)
    if registers[R_GENERATED] >= registers[R_GENERATED_MAX]:
        return TOO_MANY_GENERATED
    item = heap[0, DUE_ITEM] & _ROW_MASK
    begin(handles)
    registers[R_CLOCK] = max(registers[R_CLOCK], heap[0, DUE_AT])
    registers[R_LOG_SEQ] += 1
    schedule, generated = matrix(handles, SCHEDULE), matrix(handles, GENERATED)
    place = claim_column(handles, GENERATED, R_GENERATED)
    generated[OUTCOME_LOG_SEQ, place] = registers[R_LOG_SEQ]
    generated[OUTCOME_PROCESSED, place] = registers[R_CLOCK]
    generated[OUTCOME_LATE, place] = 0
    generated[OUTCOME_ATTEMPTS, place] = 0
    generated[GENERATED_AT, place] = schedule[item, SCHEDULE_AT]
    generated[GENERATED_PARENT, place] = schedule[item, SCHEDULE_PARENT]
    generated[GENERATED_ACTION, place] = schedule[item, SCHEDULE_ACTION]
    generated[GENERATED_TEMPLATE, place] = schedule[item, SCHEDULE_TEMPLATE]
    generated[GENERATED_SLOT, place] = schedule[item, SCHEDULE_SLOT]
    generated[GENERATED_DESCENT, place] = schedule[item, SCHEDULE_DESCENT]
    registers[R_ORIGIN] = FROM_DUE
    registers[R_ATTEMPT] = 1
    code = enter_generated(handles, place, GENERATED, place, now)
    mark(handles)
    return code


@compiled
def enter_generated(handles: Int64s, row: int, table: int, place: int, now: Int64s) -> int:
    """Make a generated event of this batch (row of GENERATED) the one at hand and let its participant in.

    The outcome's holder is written to column `place` of `table`: GENERATED, or ATTEMPTS for a further attempt.
    """
    registers, generated = vector(handles, REGISTERS), matrix(handles, GENERATED)
    template = registers[R_RECORDS] + generated[GENERATED_TEMPLATE, row]
    now[template] = generated[GENERATED_AT, row]
    registers[R_ROW] = template
    registers[R_IS_SYSTEM] = 1
    registers[R_DESCENT] = generated[GENERATED_DESCENT, row]
    registers[R_SCHEDULED] = 0
    registers[R_BROADCASTS] = 0
    program = matrix(handles, WORK)[WORK_PROGRAM, template]
    slot = generated[GENERATED_SLOT, row]
    if slot < NO_SLOT:
        slot = slot_of(handles, NO_SLOT - 1 - slot)
        if slot < 0:
            code = admit_nobody(handles, template, program, table, place)
            return code if code != 0 else _PARTICIPANT_NOT_FOUND
    if slot == NO_SLOT:
        return admit_nobody(handles, template, program, table, place)
    return admit_slot(handles, slot, template, program, table, place)


@compiled
def free_item(handles: Int64s, item: int) -> None:
    """The event of an item is certain: its row of the schedule can be used again."""
    registers, schedule = vector(handles, REGISTERS), matrix(handles, SCHEDULE)
    row = item & _ROW_MASK
    schedule[row, SCHEDULE_NEXT] = registers[R_SCHEDULE_FREE]
    registers[R_SCHEDULE_FREE] = row + 1
