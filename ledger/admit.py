"""Letting a record in: program status, participant and recipient, creation and enrollment (§7.1, §7.2)."""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_change
from earnbook.ledger.layout import (
    ENROLLMENTS,
    HOLDER_KINDS,
    HOLDER_NUMBERS,
    NEW_HOLDERS,
    OUTCOME_HOLDER,
    OUTCOME_RECIPIENT,
    PERSON_ORIGINS,
    PERSON_SLOTS,
    PROGRAM_COLUMNS,
    PROGRAM_CREATES,
    PROGRAM_NUMBER,
    PROGRAM_STATUS,
    PROGRAMS,
    R_GROUP,
    R_HOLDER,
    R_LOG_SEQ,
    R_NEW_HOLDERS,
    R_PROGRAMS,
    R_RECIPIENT,
    R_SLOT,
    R_SLOTS,
    REGISTERS,
    STATUS,
    WORK,
    WORK_GROUP,
    WORK_PERSON,
    WORK_RECIPIENT,
    byte_vector,
    claim,
    claim_column,
    matrix,
    put,
    put_byte,
    vector,
)
from earnbook.ledger.schema import ChangeOperation, EntityType, Int64s, Kind, Outcome, StateType, Status

_ACTIVE = int(Status.ACTIVE)
_SUSPENDED = int(Status.SUSPENDED)
_KIND_PARTICIPANT = int(EntityType.PARTICIPANT)
_INT = int(Kind.INT)
_SET = int(ChangeOperation.SET)
_PARTICIPANT = int(StateType.PARTICIPANT)
_ENROLLMENT = int(StateType.ENROLLMENT)
_PROGRAM_SUSPENDED = int(Outcome.PROGRAM_SUSPENDED)
_PROGRAM_ARCHIVED = int(Outcome.PROGRAM_ARCHIVED)
_PARTICIPANT_NOT_FOUND = int(Outcome.PARTICIPANT_NOT_FOUND)
_RECIPIENT_NOT_FOUND = int(Outcome.RECIPIENT_NOT_FOUND)


@inlined
def program_code(handles: Int64s, program: int) -> int:
    """0 for an ACTIVE program, else the outcome of records that need one."""
    status = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_STATUS]
    if status == _ACTIVE:
        return 0
    return _PROGRAM_SUSPENDED if status == _SUSPENDED else _PROGRAM_ARCHIVED


@compiled
def admit(handles: Int64s, row: int, program: int, table: int, place: int) -> int:
    """Find, create and enroll the holders of an event; R_SLOT and R_RECIPIENT name them, the outcome their numbers.

    R_GROUP names the group of the event, which must exist to be found (§11.1).

    Both are found before either is created, so a refused event creates and enrolls nobody.

    Args:
        handles: the tables.
        row: the event's row of WORK.
        program: slot of its program.
        table: where its outcome stands: OUTCOMES, or ATTEMPTS for a further attempt.
        place: and in which column.
    """
    registers = vector(handles, REGISTERS)
    work, outcomes = matrix(handles, WORK), matrix(handles, table)
    code = _refuse(handles, row, program, table, place)
    if code != 0:
        return code
    person, other = work[WORK_PERSON, row], work[WORK_RECIPIENT, row]
    outcomes[OUTCOME_HOLDER, place] = _number_of(handles, person)
    outcomes[OUTCOME_RECIPIENT, place] = _number_of(handles, other)
    if person >= 0 and not is_admissible(handles, person, program):
        return _PARTICIPANT_NOT_FOUND
    if other >= 0 and not is_admissible(handles, other, program):
        return _RECIPIENT_NOT_FOUND
    numbers = vector(handles, HOLDER_NUMBERS)
    if person >= 0:
        slot = enter(handles, person, program, 0)
        registers[R_SLOT] = slot
        outcomes[OUTCOME_HOLDER, place] = numbers[slot]
    if other >= 0:
        slot = enter(handles, other, program, 0)
        registers[R_RECIPIENT] = slot
        outcomes[OUTCOME_RECIPIENT, place] = numbers[slot]
    return 0


@compiled
def admit_slot(handles: Int64s, slot: int, row: int, program: int, table: int, place: int) -> int:
    """As `admit`, for an event that is addressed to a holder of the State and nobody else."""
    code = _refuse(handles, row, program, table, place)
    if code != 0:
        return code
    vector(handles, REGISTERS)[R_SLOT] = slot
    matrix(handles, table)[OUTCOME_HOLDER, place] = vector(handles, HOLDER_NUMBERS)[slot]
    enroll(handles, slot, program, 0)
    return 0


@compiled
def admit_nobody(handles: Int64s, row: int, program: int, table: int, place: int) -> int:
    """As `admit`, for an event that no participant is named in."""
    return _refuse(handles, row, program, table, place)


@inlined
def _refuse(handles: Int64s, row: int, program: int, table: int, place: int) -> int:
    """Nobody but the group is at hand yet; the outcome of an event of a program that is not ACTIVE, else 0."""
    registers, outcomes = vector(handles, REGISTERS), matrix(handles, table)
    outcomes[OUTCOME_HOLDER, place] = 0
    outcomes[OUTCOME_RECIPIENT, place] = 0
    registers[R_SLOT] = -1
    registers[R_RECIPIENT] = -1
    group = matrix(handles, WORK)[WORK_GROUP, row]
    registers[R_GROUP] = slot_of(handles, group) if group >= 0 else -1
    return program_code(handles, program)


@inlined
def slot_of(handles: Int64s, person: int) -> int:
    """The slot of a person, or -1; an id that was no holder's may by now be one that was created by external id."""
    slots = vector(handles, PERSON_SLOTS)
    slot = slots[person]
    if slot < 0:
        origin = vector(handles, PERSON_ORIGINS)[person]
        if origin >= 0:
            slot = slots[origin]
    return slot  # type: ignore[no-any-return]


@inlined
def _number_of(handles: Int64s, person: int) -> int:
    if person < 0:
        return 0
    slot = slot_of(handles, person)
    return vector(handles, HOLDER_NUMBERS)[slot] if slot >= 0 else 0


@inlined
def is_admissible(handles: Int64s, person: int, program: int) -> bool:
    """Whether a participant is a holder, or one that the program creates (§7.2)."""
    if slot_of(handles, person) >= 0:
        return True
    creates = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_CREATES]
    return bool(creates != 0 and vector(handles, PERSON_ORIGINS)[person] < 0)


@inlined
def enter(handles: Int64s, person: int, program: int, action: int) -> int:
    """The slot of an admissible participant, created and enrolled where needed (§7.2), by an action or (0) a record."""
    slot = slot_of(handles, person)
    if slot < 0:
        slot = _create(handles, person, action)
    enroll(handles, slot, program, action)
    return slot


@compiled
def _create(handles: Int64s, person: int, action: int) -> int:
    """A new participant, ACTIVE, in the next slot."""
    registers = vector(handles, REGISTERS)
    slot = claim(handles, HOLDER_NUMBERS, R_SLOTS)
    registers[R_HOLDER] += 1
    put(handles, HOLDER_NUMBERS, slot, registers[R_HOLDER])
    put(handles, PERSON_SLOTS, person, slot)
    put_byte(handles, STATUS, slot, _ACTIVE)
    put_byte(handles, HOLDER_KINDS, slot, _KIND_PARTICIPANT)
    row = claim_column(handles, NEW_HOLDERS, R_NEW_HOLDERS)
    created = matrix(handles, NEW_HOLDERS)
    created[0, row] = person
    created[1, row] = registers[R_HOLDER]
    created[2, row] = registers[R_LOG_SEQ]
    write_change(handles, action, slot, _PARTICIPANT, 0, _SET, _INT, _ACTIVE)
    return slot


@compiled
def enroll(handles: Int64s, slot: int, program: int, action: int) -> None:
    """Make the holder's enrollment in the program ACTIVE, if it is not."""
    registers = vector(handles, REGISTERS)
    at = slot * registers[R_PROGRAMS] + program
    if byte_vector(handles, ENROLLMENTS)[at] != _ACTIVE:
        put_byte(handles, ENROLLMENTS, at, _ACTIVE)
        number = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]
        write_change(handles, action, slot, _ENROLLMENT, number, _SET, _INT, _ACTIVE)
