"""retry_event: a FAILED event is processed once more (§10.2, §15.3).

The operation is the record of the log; the event gets a further attempt at the operation's processing time, with the
rules and the state of that moment and its own time as `now`. While the attempt runs, R_LOG_SEQ is the event's number,
because what it does has the event as its cause; then it is the operation's again.
"""

from __future__ import annotations

from earnbook.ledger.admit import admit
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ATTEMPT_BY,
    ATTEMPT_FIRST_CHANGE,
    ATTEMPT_LAST_CHANGE,
    ATTEMPT_NUMBER,
    ATTEMPTS,
    EVENT_GENERATED,
    EVENT_UNKNOWN,
    FROM_RETRY,
    GENERATED,
    NEW_HOLDERS,
    OUTCOME_ACTION,
    OUTCOME_ATTEMPTS,
    OUTCOME_CODE,
    OUTCOME_LAST,
    OUTCOME_LATE,
    OUTCOME_LOG_SEQ,
    OUTCOME_PATTERN,
    OUTCOME_PROCESSED,
    OUTCOMES,
    R_ATTEMPT,
    R_ATTEMPTS,
    R_BROADCASTS,
    R_CHANGE_SEQ,
    R_CLOCK,
    R_CURSOR,
    R_DESCENT,
    R_IS_SYSTEM,
    R_LOG_SEQ,
    R_NEW_HOLDERS,
    R_ORIGIN,
    R_ROW,
    R_SCHEDULED,
    REGISTERS,
    SAVED,
    WORK,
    WORK_DESCENT,
    WORK_EVENT,
    WORK_PROGRAM,
    claim_column,
    matrix,
    vector,
)
from earnbook.ledger.schedule import enter_generated
from earnbook.ledger.schema import Int64s, Outcome

_EVENT_NOT_FOUND = int(Outcome.EVENT_NOT_FOUND)
_EVENT_NOT_FAILED = int(Outcome.EVENT_NOT_FAILED)


@inlined
def _place_of(event: int) -> tuple[int, int]:
    """The table and the column in which the first outcome of an event stands."""
    return (OUTCOMES, event) if event >= 0 else (GENERATED, EVENT_GENERATED - event)


@compiled
def start_attempt(handles: Int64s, record: int, now: Int64s) -> int:
    """Begin a further attempt at the event that the operation names; its number and clock are given already.

    Returns:
        An outcome: the operation's when there is no attempt (R_ORIGIN stays FROM_LOG), else that of the event, which
        was refused; 0 when the event now needs its effects.
    """
    registers, work = vector(handles, REGISTERS), matrix(handles, WORK)
    event = work[WORK_EVENT, record]
    if event == EVENT_UNKNOWN:
        return _EVENT_NOT_FOUND
    table, place = _place_of(event)
    outcomes = matrix(handles, table)
    attempts = outcomes[OUTCOME_ATTEMPTS, place]
    if (outcomes[OUTCOME_LAST, place] if attempts > 0 else outcomes[OUTCOME_CODE, place]) == 0:
        return _EVENT_NOT_FAILED
    column = claim_column(handles, ATTEMPTS, R_ATTEMPTS)
    rows = matrix(handles, ATTEMPTS)
    rows[OUTCOME_LOG_SEQ, column] = outcomes[OUTCOME_LOG_SEQ, place]
    rows[OUTCOME_PROCESSED, column] = registers[R_CLOCK]
    rows[OUTCOME_LATE, column] = 0
    rows[ATTEMPT_NUMBER, column] = attempts + 2
    rows[ATTEMPT_BY, column] = registers[R_LOG_SEQ]
    rows[ATTEMPT_FIRST_CHANGE, column] = registers[R_CHANGE_SEQ] + 1
    registers[R_ORIGIN] = FROM_RETRY
    registers[R_ATTEMPT] = attempts + 2
    registers[R_LOG_SEQ] = outcomes[OUTCOME_LOG_SEQ, place]
    if table == GENERATED:
        return enter_generated(handles, place, ATTEMPTS, column, now)
    registers[R_ROW] = event
    registers[R_IS_SYSTEM] = 1 if work[WORK_DESCENT, event] >= 0 else 0
    registers[R_DESCENT] = max(0, work[WORK_DESCENT, event])
    registers[R_SCHEDULED] = 0
    registers[R_BROADCASTS] = 0
    return admit(handles, event, work[WORK_PROGRAM, event], ATTEMPTS, column)


@compiled
def finish_attempt(handles: Int64s, code: int, action: int, pattern: int) -> None:
    """Write the outcome of the attempt; that of the operation is OK, whatever the event's is."""
    registers = vector(handles, REGISTERS)
    record = registers[R_CURSOR]
    outcomes, rows = matrix(handles, OUTCOMES), matrix(handles, ATTEMPTS)
    column = registers[R_ATTEMPTS] - 1
    rows[OUTCOME_CODE, column] = code
    rows[OUTCOME_ACTION, column] = action
    rows[OUTCOME_PATTERN, column] = pattern
    rows[ATTEMPT_LAST_CHANGE, column] = registers[R_CHANGE_SEQ]
    outcomes[OUTCOME_CODE, record] = 0
    outcomes[OUTCOME_ACTION, record] = 0
    outcomes[OUTCOME_PATTERN, record] = -1
    table, place = _place_of(matrix(handles, WORK)[WORK_EVENT, record])
    known = matrix(handles, table)
    known[OUTCOME_LAST, place] = code
    known[OUTCOME_ATTEMPTS, place] += 1
    registers[R_LOG_SEQ] = outcomes[OUTCOME_LOG_SEQ, record]
    # Whoever was created was created now, so by this record of the log.
    created = matrix(handles, NEW_HOLDERS)
    for row in range(vector(handles, SAVED)[R_NEW_HOLDERS], registers[R_NEW_HOLDERS]):
        created[2, row] = registers[R_LOG_SEQ]
