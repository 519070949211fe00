"""Budgets: what a rule may issue of an asset, checked with each credit and reset as due work (§10.4, §4.4 rank 3).

`consumed` counts since the last reset. A reset of nothing writes no change and goes on to the next boundary after the
book clock. Boundaries of an interval are arithmetic; those of a cron expression are known outside, so a reset waits
(`needs_tick`) until the caller has written the tick that follows.

The change of a reset says what had been consumed, the next reset, and (in the place of a window's length) the number of
the last entry: what is consumed afterwards is the sum over later entries.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.journal import write_change, write_due_change
from earnbook.ledger.layout import (
    BUDGET_COLUMNS,
    BUDGET_CONSUMED,
    BUDGET_INTERVAL,
    BUDGET_KEY,
    BUDGET_KEY_SHIFT,
    BUDGET_LIMIT,
    BUDGET_NEXT,
    BUDGET_NUMBER,
    BUDGET_ORIGIN,
    BUDGET_PROGRAM,
    BUDGET_TICK,
    BUDGET_TICK_AFTER,
    BUDGETS,
    CHANGES,
    DUE_AT,
    DUE_COLUMNS,
    DUE_ITEM,
    DUE_KEY,
    DUE_RANK_SHIFT,
    PENDING_DUE,
    R_CLOCK,
    R_ENTRY_SEQ,
    R_PENDING_DUE,
    R_TICK,
    R_TICK_AFTER,
    RANK_BUDGET,
    REGISTERS,
    claim,
    matrix,
    put,
    vector,
)
from earnbook.ledger.memory import fixed_in
from earnbook.ledger.schema import TIME_MAX, TIME_NONE, ChangeOperation, DueSource, Int64s, Kind, StateType

_AUTO_RESET = int(ChangeOperation.AUTO_RESET)
_SET = int(ChangeOperation.SET)
_RULE = int(DueSource.RULE)
_STATE_BUDGET = int(StateType.BUDGET)
_INT = int(Kind.INT)
_NEVER = int(TIME_NONE)


@inlined
def is_suppressed(handles: Int64s, budget: int, measure: int) -> bool:
    """Whether a credit of so much goes over the budget; one that does not is consumed."""
    row = budget * BUDGET_COLUMNS
    budgets = vector(handles, BUDGETS)
    consumed = budgets[row + BUDGET_CONSUMED]
    if measure > budgets[row + BUDGET_LIMIT] - consumed:
        return True
    if measure > 0:
        put(handles, BUDGETS, row + BUDGET_CONSUMED, consumed + measure)
    return False


@compiled
def needs_tick(handles: Int64s, budget: int, at: int) -> bool:
    """Whether the reset due at `at` must wait for the caller, who is told by R_TICK and R_TICK_AFTER."""
    registers, budgets = vector(handles, REGISTERS), matrix(handles, BUDGETS)
    if budgets[budget, BUDGET_NEXT] != at or budgets[budget, BUDGET_INTERVAL] != 0:
        return False
    after = _after(handles, budget, at)
    if budgets[budget, BUDGET_TICK_AFTER] == after:
        return False
    registers[R_TICK] = budget
    registers[R_TICK_AFTER] = after
    return True


@compiled
def reset_due(handles: Int64s, budget: int, at: int) -> None:
    """Do the reset that fell due at `at`, at the book clock; an item that is no longer the next one is skipped."""
    budgets = matrix(handles, BUDGETS)
    if budgets[budget, BUDGET_NEXT] != at:
        return
    after = _after(handles, budget, at)
    registers = vector(handles, REGISTERS)
    registers[R_CLOCK] = max(registers[R_CLOCK], at)
    next_at = next_reset(handles, budget, after)
    consumed = budgets[budget, BUDGET_CONSUMED]
    if consumed != 0:
        rule = budgets[budget, BUDGET_KEY] >> BUDGET_KEY_SHIFT
        slot, number = budgets[budget, BUDGET_PROGRAM], budgets[budget, BUDGET_NUMBER]
        row = write_due_change(handles, _RULE, rule, slot, _STATE_BUDGET, number, _AUTO_RESET, _INT, consumed)
        _empty(handles, budget, row, next_at)
    schedule_reset(handles, budget, next_at)


@inlined
def _after(handles: Int64s, budget: int, at: int) -> int:
    """The next reset is the first boundary after the due time, or after the clock where nothing was consumed."""
    if matrix(handles, BUDGETS)[budget, BUDGET_CONSUMED] != 0:
        return at
    return max(at, vector(handles, REGISTERS)[R_CLOCK])  # type: ignore[no-any-return]


@inlined
def next_reset(handles: Int64s, budget: int, after: int) -> int:
    """The first boundary after a time; of a cron budget the tick that the caller gave for it. TIME_NONE: never."""
    budgets = matrix(handles, BUDGETS)
    interval = budgets[budget, BUDGET_INTERVAL]
    if interval == 0:
        return budgets[budget, BUDGET_TICK]  # type: ignore[no-any-return]
    origin = budgets[budget, BUDGET_ORIGIN]
    boundary = origin + ((after - origin) // interval + 1) * interval
    return boundary if boundary <= TIME_MAX else _NEVER


@inlined
def _empty(handles: Int64s, budget: int, row: int, next_at: int) -> None:
    """Nothing consumed any more; `row` is the change that says so."""
    put(handles, BUDGETS, budget * BUDGET_COLUMNS + BUDGET_CONSUMED, 0)
    changes = matrix(handles, CHANGES)
    changes[11, row] = next_at
    changes[12, row] = vector(handles, REGISTERS)[R_ENTRY_SEQ]


@inlined
def schedule_reset(handles: Int64s, budget: int, next_at: int) -> None:
    """Note the next reset, and queue it."""
    put(handles, BUDGETS, budget * BUDGET_COLUMNS + BUDGET_NEXT, next_at)
    if next_at != _NEVER:
        row = claim(handles, PENDING_DUE, R_PENDING_DUE) * DUE_COLUMNS
        pending = vector(handles, PENDING_DUE)
        pending[row + DUE_AT] = next_at
        pending[row + DUE_KEY] = (RANK_BUDGET << DUE_RANK_SHIFT) | matrix(handles, BUDGETS)[budget, BUDGET_KEY]
        pending[row + DUE_ITEM] = budget


@compiled
def reset_by_operation(given: Int64s, budget: int, next_at: int) -> bool:
    """`reset_budget` (§15.3): nothing consumed any more; returns whether anything changed.

    `next_at` is the next scheduled time after the clock, TIME_NONE for a lifetime budget.
    """
    handles = fixed_in(given)
    budgets = matrix(handles, BUDGETS)
    if budgets[budget, BUDGET_CONSUMED] == 0 and budgets[budget, BUDGET_NEXT] == next_at:
        return False
    slot, number = budgets[budget, BUDGET_PROGRAM], budgets[budget, BUDGET_NUMBER]
    row = write_change(handles, 0, slot, _STATE_BUDGET, number, _SET, _INT, budgets[budget, BUDGET_CONSUMED])
    _empty(handles, budget, row, next_at)
    if budgets[budget, BUDGET_NEXT] != next_at:
        schedule_reset(handles, budget, next_at)
    return True
