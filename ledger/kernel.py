"""The decision loop: each record of a batch in log order, due work first (§4.3, §10.1).

`decide` runs until the batch is done or it needs something that only its caller has, says what, and goes on where it
stopped when it is called again:

- `BAIL`: the record at the cursor cannot be proposed in int64 (or its program has no kernel); `state.bail_reason`
  says why. Its holders exist already. The caller evaluates it with the closures against the cells of `state.slot`,
  calls `state.give(effects, words)` and calls `decide` again.
- `MISS`: a target's text was not looked up (`state.missing_target`); the event is undone. The caller looks it up, calls
  `state.name_targets` and calls `decide` again.
- `TICK`: a budget's reset waits for the tick of its cron expression after R_TICK_AFTER. The caller calls
  `state.give_tick(tick)` and `decide` again.
- `PERIOD`: the tier period end at the top of the queue (`state.period_end`) waits for whom it is about and for the
  dates of the next period. The caller calls `state.begin_period` and `decide` again.
- `OPERATE`: the record at the cursor is an operation that Python carries out; it has its number and its time. The
  caller does that, and calls `finish_operation` with the outcome before it goes on.
- `ALL_HOLDERS`: a BROADCAST needs every holder enrolled in the program of the event at `state.row`; the caller loads
  them and says so (`state.mark_loaded`).
- `RETRY_MISS`: the operation at the cursor retries an event that is not among the rows of the batch; the caller says
  which row of GENERATED it is, or that there is none (`state.set_event`).
- `DUE_FOLLOW`: what was done last changed something that automations watch (`ledger.automations`). The caller follows
  the changes and says so.
- `DUE_AUTOMATION`: an item of an automation is due; the caller takes it out and does it.
- `TOO_MANY_GENERATED`: stop, and commit nothing of the batch.
- `DUE_OVERFLOW`: a maturing lot does not fit into its holder's balance (§5.3 knows no outcome for due work): stop.
- `DONE`: all records have outcomes and due work up to `until` is done.

Tables that are full are grown inside: the record is undone, the table doubled, the record done again. New texts made
while bailing out lie beyond the lookup tables of the batch; the caller extends those before it goes on.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from numba import njit, types
from numba.typed import List

from earnbook.ledger.action_results import mark_suppressed, write_attempt, write_suppressed
from earnbook.ledger.admit import admit
from earnbook.ledger.ahead import look_ahead
from earnbook.ledger.apply import APPLY_TEXT, apply_effects
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.due import DUE_DONE, DUE_EVENT, do_due, has_due_room, must_follow, pop_due, settle_due
from earnbook.ledger.layout import (
    DUE,
    DUE_AT,
    DUE_ITEM,
    EVENT_ASK,
    FROM_DUE,
    FROM_LOG,
    FROM_RETRY,
    GENERATED,
    LOTS_ASK,
    OPERAND_PARTS,
    OPERANDS,
    OUTCOME_ACTION,
    OUTCOME_CODE,
    OUTCOME_HOLDER,
    OUTCOME_LATE,
    OUTCOME_LOG_SEQ,
    OUTCOME_PATTERN,
    OUTCOME_PROCESSED,
    OUTCOME_RECIPIENT,
    OUTCOMES,
    PROGRAM_COLUMNS,
    PROGRAM_LITERAL,
    PROGRAM_LITERALS,
    PROGRAM_TIERS,
    PROGRAM_WORDS,
    PROGRAMS,
    R_ATTEMPT,
    R_BAIL,
    R_BROADCASTS,
    R_CLOCK,
    R_CURSOR,
    R_DESCENT,
    R_DUE,
    R_FAILED_ACTION,
    R_FAILED_EFFECT,
    R_FULL,
    R_GENERATED,
    R_GIVEN,
    R_GIVEN_RECORD,
    R_GROUP,
    R_IS_SYSTEM,
    R_LATEST,
    R_LOG_SEQ,
    R_ORIGIN,
    R_RECIPIENT,
    R_RECORDS,
    R_ROW,
    R_SCHEDULED,
    R_SLOT,
    R_STEP,
    R_SUPPRESSED,
    REGISTERS,
    WORK,
    WORK_BASE,
    WORK_EVENT,
    WORK_KIND,
    WORK_OPERAND,
    WORK_PROGRAM,
    WORK_TYPE,
    matrix,
    vector,
)
from earnbook.ledger.memory import fixed_in
from earnbook.ledger.operate import operate
from earnbook.ledger.patterns import pattern_of
from earnbook.ledger.retry import finish_attempt, start_attempt
from earnbook.ledger.schedule import free_item, start_generated
from earnbook.ledger.schema import (
    BAIL,
    TIME_NONE,
    WORD_SECTIONS,
    Bail,
    Cells,
    Columns,
    Int64s,
    OperationType,
    RecordKind,
    Tables,
    UInt64s,
    propose_signature,
)
from earnbook.ledger.state import State
from earnbook.ledger.texts import Texts
from earnbook.ledger.tiers import evaluate_tiers, refresh_activity
from earnbook.ledger.undo import back_to_mark, back_to_start, begin, mark

DONE = 0
FULL = -2
DUE_OVERFLOW = -3
TEXT_FORMS = -4
MISS = -5
OPERATE = -6
TICK = -7
PERIOD = -14
RETRY_MISS = -9
NOT_STARTED = -100

_ALL_DONE = -1000
_EVENT = int(RecordKind.EVENT)
_NOBODY = int(Bail.NOBODY)
_MONEY_LAST = int(OperationType.BURN)
_HOLD = int(OperationType.HOLD)
_FORFEIT = int(OperationType.FORFEIT)
_REDEEM_ITEM = int(OperationType.REDEEM_ITEM)
_REVERSE = int(OperationType.REVERSE_REDEMPTION)
_RETRY_EVENT = int(OperationType.RETRY_EVENT)


class Rules(NamedTuple):
    """What `decide` reads of the compiled rules for one batch.

    `proposes` is a list made by `propose_list`, one function per program; `literals` the literals of all programs, one
    program after the other (each program's part is named in its `ProgramRow`).
    """

    proposes: Any
    literals: Int64s
    tables: Tables


def propose_list(functions: list[Any | None]) -> Any:
    """The numba list of the programs' `propose` functions; None (no kernel) stands for one that always bails out."""
    proposes = List.empty_list(types.FunctionType(propose_signature()))
    for function in functions:
        proposes.append(_Propose(_bail_out() if function is None else function))
    return proposes


class _Propose(types.WrapperAddressProtocol):  # type: ignore[misc]
    """A compiled `propose` as an address: numba compiles a list's `append` once for all, not for every function."""

    def __init__(self, function: Any) -> None:
        self._compiled = function.get_compile_result(propose_signature())

    def __wrapper_address__(self) -> Any:
        compiled = self._compiled
        return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)

    def signature(self) -> Any:
        """The signature that all of them have."""
        return propose_signature()


def decide(
    state: State, columns: Columns, rules: Rules, *, until: int = int(TIME_NONE), pool: Texts | None = None
) -> int:
    """Go on deciding the batch that `state.begin_batch` set up.

    Args:
        state: the books; holds the cursor and everything written.
        columns: event columns, [column, record]; `now` also serves operations.
        rules: functions, literals and lookup tables.
        until: after the last record, due work up to here is done and the book clock is at least here; TIME_NONE for
            the book clock itself.
        pool: the run's texts, needed when an attribute changes between text and number.

    Returns:
        DONE, BAIL, MISS, TICK, PERIOD, ALL_HOLDERS, RETRY_MISS, DUE_FOLLOW, DUE_AUTOMATION, TOO_MANY_GENERATED or
        DUE_OVERFLOW.
    """
    while True:
        code = _run(
            state.handles,
            columns,
            state.cells,
            rules.literals,
            rules.tables,
            rules.proposes,
            state.effects,
            state.words,
            until,
        )
        if code == FULL:
            state.grow()
        elif code == TEXT_FORMS:
            if pool is None:
                raise ValueError("an attribute changes its kind and no pool was given to compare the texts")
            state.settle_text_forms(pool)
        else:
            return int(code)


def finish_operation(state: State, columns: Columns, outcome: int) -> int:
    """Make the operation at the cursor certain, after OPERATE.

    Returns:
        OPERATE when the next record is another operation to be carried out; anything else: `decide` goes on. So a row
        of operations does not pass through `decide` with all its arguments one by one.
    """
    code = int(_finish_operation(state.handles, columns.now, outcome))
    if code == FULL:
        raise MemoryError("an operation was carried out without room for its end")
    return code


@cache
def _bail_out() -> Any:
    return njit(propose_signature(), cache=True)(_always_bail)


def _always_bail(
    record: int,  # noqa: ARG001 (the arguments are those of `propose`)
    slot: int,  # noqa: ARG001
    program_slot: int,  # noqa: ARG001
    group_slot: int,  # noqa: ARG001
    processed_at: int,  # noqa: ARG001
    columns: Columns,  # noqa: ARG001
    cells: Cells,  # noqa: ARG001
    literals: Int64s,  # noqa: ARG001
    tables: Tables,  # noqa: ARG001
    effects: Int64s,  # noqa: ARG001
    words: UInt64s,  # noqa: ARG001
) -> int:
    return BAIL


@compiled
def _run(
    given: Int64s,
    columns: Columns,
    cells: Cells,
    literals: Int64s,
    tables: Tables,
    proposes: Any,
    effects: Int64s,
    words: UInt64s,
    until: int,
) -> int:
    handles = fixed_in(given)
    registers, work = vector(handles, REGISTERS), matrix(handles, WORK)
    programs = matrix(handles, PROGRAMS)
    while True:
        if registers[R_STEP] == 0:
            code = _start_next(handles, columns.now, until)
            if code == _ALL_DONE:
                return DONE
            if code < BAIL:
                return code
            if code >= 0:
                if not _finish(handles, code, 0, -1):
                    return FULL
                continue
        registers[R_STEP] = 0
        row = registers[R_ROW]
        program = work[WORK_PROGRAM, row]
        if registers[R_GIVEN_RECORD] == registers[R_CURSOR]:
            count = registers[R_GIVEN]
        elif registers[R_SLOT] < 0:
            count = _NOBODY
        else:
            first = programs[program, PROGRAM_LITERAL]
            count = proposes[program](
                row,
                registers[R_SLOT],
                program,
                registers[R_GROUP],
                registers[R_CLOCK],
                columns,
                cells,
                literals[first : first + programs[program, PROGRAM_LITERALS]],
                tables,
                effects,
                words[: WORD_SECTIONS * programs[program, PROGRAM_WORDS]],
            )
        if count < 0:
            registers[R_STEP] = 1
            registers[R_BAIL] = count
            return BAIL
        code = _dispose(handles, program, columns.now[row], count, words)
        if code != 0:
            return code


@compiled
def _finish_operation(given: Int64s, now: Int64s, outcome: int) -> int:
    """Finish the operation at the cursor and start the next record if it is one; FULL when the first was undone."""
    handles = fixed_in(given)
    registers, work = vector(handles, REGISTERS), matrix(handles, WORK)
    if not _finish(handles, outcome, 0, -1):
        return FULL
    record = registers[R_CURSOR]
    if record >= registers[R_RECORDS] or must_follow(handles) or not _is_carried_out(handles, record):
        return NOT_STARTED
    at = max(work[WORK_BASE, record], registers[R_CLOCK])
    if registers[R_DUE] > 0 and matrix(handles, DUE)[0, DUE_AT] <= at:
        return NOT_STARTED
    code = _start(handles, record, at, now)
    return OPERATE if code == OPERATE else NOT_STARTED


@inlined
def _is_carried_out(handles: Int64s, record: int) -> bool:
    """Whether a record is an operation that the caller carries out.

    Of those on money these are the ones about redemptions and rewards of earlier batches, and those that list lots by
    ids that are not looked up yet.
    """
    work = matrix(handles, WORK)
    kind = work[WORK_TYPE, record]
    if work[WORK_KIND, record] == _EVENT or kind == _RETRY_EVENT:
        return False
    if _HOLD <= kind <= _FORFEIT:
        return bool(matrix(handles, OPERANDS)[work[WORK_OPERAND, record], OPERAND_PARTS] == LOTS_ASK)
    return bool(kind > _MONEY_LAST or _REDEEM_ITEM <= kind <= _REVERSE)


@compiled
def _start_next(handles: Int64s, now: Int64s, until: int) -> int:
    """Due work, then what comes next: an event that is due, the record at the cursor, or the end of the batch.

    Returns:
        _ALL_DONE; FULL or another suspension; the outcome of an operation or of an event that was refused; BAIL for an
        event that now needs its effects.
    """
    registers = vector(handles, REGISTERS)
    record, records = registers[R_CURSOR], registers[R_RECORDS]
    at = until
    if record < records:
        look_ahead(handles, record, records)
        at = matrix(handles, WORK)[WORK_BASE, record]
    at = max(at, registers[R_CLOCK])
    code = do_due(handles, at)
    if code == DUE_EVENT:
        code = start_generated(handles, now)
        return BAIL if code == 0 else code
    if code != DUE_DONE:
        return code
    if record < records:
        return _start(handles, record, at, now)
    registers[R_CLOCK] = at
    return _ALL_DONE


@compiled
def _start(handles: Int64s, record: int, at: int, now: Int64s) -> int:
    """The record's number and clock, then an operation whole or an event's holders; as `_start_next`."""
    registers, work, outcomes = vector(handles, REGISTERS), matrix(handles, WORK), matrix(handles, OUTCOMES)
    begin(handles)
    registers[R_CLOCK] = at
    registers[R_LOG_SEQ] += 1
    outcomes[OUTCOME_LOG_SEQ, record] = registers[R_LOG_SEQ]
    outcomes[OUTCOME_PROCESSED, record] = at
    outcomes[OUTCOME_LATE, record] = 1 if now[record] < registers[R_LATEST] else 0
    registers[R_LATEST] = max(registers[R_LATEST], now[record])
    registers[R_ORIGIN] = FROM_LOG
    registers[R_ATTEMPT] = 1
    registers[R_ROW] = record
    registers[R_IS_SYSTEM] = 0
    registers[R_DESCENT] = 0
    registers[R_SCHEDULED] = 0
    registers[R_BROADCASTS] = 0
    program = work[WORK_PROGRAM, record]
    if work[WORK_KIND, record] == _EVENT:
        code = admit(handles, record, program, OUTCOMES, record)
        mark(handles)
        return BAIL if code == 0 else code
    outcomes[OUTCOME_HOLDER, record] = 0
    outcomes[OUTCOME_RECIPIENT, record] = 0
    if work[WORK_TYPE, record] == _RETRY_EVENT:
        if work[WORK_EVENT, record] == EVENT_ASK:
            back_to_start(handles)
            return RETRY_MISS
        code = start_attempt(handles, record, now)
        mark(handles)
        return BAIL if code == 0 else code
    mark(handles)
    return OPERATE if _is_carried_out(handles, record) else operate(handles, record, program)


@compiled
def _dispose(handles: Int64s, program: int, now: int, count: int, words: UInt64s) -> int:
    """Apply the effects of the event at hand and write its outcome; 0, or a suspension (the event is undone)."""
    registers = vector(handles, REGISTERS)
    code = apply_effects(handles, count, program, registers[R_SLOT], registers[R_RECIPIENT], registers[R_CLOCK], now)
    if code < 0:
        back_to_start(handles)
        if code == APPLY_TEXT:
            registers[R_GIVEN] = count
        return code
    action, acted = 0, count
    if code != 0:
        back_to_mark(handles)
        action, acted = registers[R_FAILED_ACTION], registers[R_FAILED_EFFECT] + 1
        write_attempt(handles, acted, program, code)
    else:
        if vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_TIERS] != 0:
            evaluate_tiers(handles, program, registers[R_SLOT], registers[R_CLOCK], now)
            if registers[R_IS_SYSTEM] == 0 and registers[R_SLOT] >= 0:
                refresh_activity(handles, program, registers[R_SLOT], registers[R_CLOCK])
        if registers[R_SUPPRESSED] > 0:
            write_suppressed(handles, count, program)
    if registers[R_SUPPRESSED] > 0:
        mark_suppressed(handles, acted, program, words)
    count_words = WORD_SECTIONS * vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_WORDS]
    pattern = pattern_of(handles, program, action, words, count_words)
    return 0 if _finish(handles, code, action, pattern) else FULL


@inlined
def _finish(handles: Int64s, code: int, action: int, pattern: int) -> bool:
    """Write the outcome of what is at hand and make it certain; False when it had to be undone: a table is full."""
    registers = vector(handles, REGISTERS)
    if not has_due_room(handles) or registers[R_FULL] != 0:
        back_to_start(handles)
        return False
    if registers[R_ORIGIN] == FROM_DUE:
        _finish_generated(handles, code, action, pattern)
    elif registers[R_ORIGIN] == FROM_RETRY:
        finish_attempt(handles, code, action, pattern)
        registers[R_CURSOR] += 1
    else:
        record, outcomes = registers[R_CURSOR], matrix(handles, OUTCOMES)
        outcomes[OUTCOME_CODE, record] = code
        outcomes[OUTCOME_ACTION, record] = action
        outcomes[OUTCOME_PATTERN, record] = pattern
        registers[R_CURSOR] = record + 1
    registers[R_GIVEN_RECORD] = -1
    settle_due(handles)
    return True


@compiled
def _finish_generated(handles: Int64s, code: int, action: int, pattern: int) -> None:
    """The event at the top of the queue is done."""
    generated = matrix(handles, GENERATED)
    place = vector(handles, REGISTERS)[R_GENERATED] - 1
    generated[OUTCOME_CODE, place] = code
    generated[OUTCOME_ACTION, place] = action
    generated[OUTCOME_PATTERN, place] = pattern
    free_item(handles, matrix(handles, DUE)[0, DUE_ITEM])
    pop_due(handles)
