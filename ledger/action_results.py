"""What became of the actions of an event, where no other row tells it (§18.5): suppressed, or of a failed attempt.

An action that was applied is told by its entry or change, one without effect by having neither. A credit that a budget
suppressed, and every action up to the failing one of a failed attempt, has a row of its own with what was resolved.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ACTION_NUMBER,
    ACTION_RULE,
    ACTIONS,
    EFFECTS,
    HOLDER_NUMBERS,
    PROGRAM_ACTION,
    PROGRAM_COLUMNS,
    PROGRAM_WORDS,
    PROGRAMS,
    R_ATTEMPT,
    R_LOG_SEQ,
    R_RESULTS,
    R_SLOTS,
    REGISTERS,
    RESULTS,
    claim_column,
    matrix,
    vector,
)
from earnbook.ledger.schema import (
    FX_ACTION,
    FX_RESULT,
    FX_RESULT_AMOUNT,
    FX_RESULT_TARGET,
    FX_TEXT,
    FX_TEXT_KIND,
    FX_VALUE,
    FX_VALUE_CODE,
    FX_VALUE_HIGH,
    FX_VALUE_SCALE,
    WORDS_SUPPRESSED,
    ActionResult,
    Int64s,
    Kind,
    Outcome,
    UInt64s,
)

_APPLIED = int(ActionResult.APPLIED)
_SUPPRESSED = int(ActionResult.SUPPRESSED)
_FAILED = int(ActionResult.FAILED)
_NUMBER = int(Kind.NUMBER)
_VALUE_UNKNOWN_LAST = int(Outcome.EXPRESSION_LIMIT)
"""Outcomes up to this one end an action before its value is known (stages 1 to 4 of §12.3)."""


@compiled
def write_suppressed(handles: Int64s, count: int, program: int) -> None:
    """Rows of the suppressed effects of an event that succeeds."""
    effects = matrix(handles, EFFECTS)
    first = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_ACTION]
    for effect in range(count):
        if effects[effect, FX_RESULT] == _SUPPRESSED:
            _write(handles, effect, first)


@compiled
def mark_suppressed(handles: Int64s, count: int, program: int, words: UInt64s) -> None:
    """Set the words of rules whose credits were suppressed and that did nothing else, among the first `count` effects.

    The rule whose action failed is none of them: its row says that (§10.3).
    """
    effects, actions = matrix(handles, EFFECTS), matrix(handles, ACTIONS)
    row = program * PROGRAM_COLUMNS
    first = vector(handles, PROGRAMS)[row + PROGRAM_ACTION]
    section = WORDS_SUPPRESSED * vector(handles, PROGRAMS)[row + PROGRAM_WORDS]
    start = 0
    while start < count:
        rule = actions[first + effects[start, FX_ACTION], ACTION_RULE]
        end, suppressed, applied = start, 0, 0
        while end < count and actions[first + effects[end, FX_ACTION], ACTION_RULE] == rule:
            if effects[end, FX_RESULT] == _SUPPRESSED:
                suppressed += 1
            elif effects[end, FX_RESULT] in (_APPLIED, _FAILED):
                applied += 1
            end += 1
        if suppressed > 0 and applied == 0:
            words[section + (rule >> 6)] |= 1 << (rule & 63)
        start = end


@compiled
def write_attempt(handles: Int64s, count: int, program: int, code: int) -> None:
    """Rows of the first `count` effects of an attempt that failed with a code, the failing one last; it is undone."""
    first = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_ACTION]
    for effect in range(count):
        _write(handles, effect, first)
    if code <= _VALUE_UNKNOWN_LAST:
        results, row = matrix(handles, RESULTS), vector(handles, REGISTERS)[R_RESULTS] - 1
        results[6, row] = 0
        results[7, row] = 0
        results[8, row] = 0


@inlined
def _write(handles: Int64s, effect: int, first: int) -> None:
    registers, effects = vector(handles, REGISTERS), matrix(handles, EFFECTS)
    row = claim_column(handles, RESULTS, R_RESULTS)
    results = matrix(handles, RESULTS)
    results[0, row] = registers[R_LOG_SEQ]
    results[1, row] = registers[R_ATTEMPT]
    results[2, row] = matrix(handles, ACTIONS)[first + effects[effect, FX_ACTION], ACTION_NUMBER]
    results[3, row] = effects[effect, FX_RESULT]
    target = effects[effect, FX_RESULT_TARGET]
    # A holder that the attempt itself had created is gone with it.
    results[4, row] = vector(handles, HOLDER_NUMBERS)[target] if 0 <= target < registers[R_SLOTS] else 0
    results[5, row] = effects[effect, FX_RESULT_AMOUNT]
    kind = effects[effect, FX_TEXT_KIND]
    if kind == 0 and effects[effect, FX_VALUE_CODE] == 0:
        kind = _NUMBER
        results[7, row] = effects[effect, FX_VALUE]
        results[8, row] = effects[effect, FX_VALUE_HIGH]
    else:
        results[7, row] = effects[effect, FX_TEXT]
        results[8, row] = effects[effect, FX_TEXT] >> 63
    results[6, row] = kind
    results[9, row] = effects[effect, FX_VALUE_SCALE]
