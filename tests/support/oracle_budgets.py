"""Budgets for the oracle (§10.4): what a rule may still issue, and resets as due work of rank 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.support.oracle_definitions import Budget, Definitions
from tests.support.oracle_ledger import DueItem
from tests.support.oracle_state import Cause, State, StoredBudget

Name = tuple[str, str, str]


def start_budgets(state: State, definitions: Definitions, loaded_at: int) -> None:
    """Budgets as a load makes them: nothing consumed, the first reset after the load."""
    for name, _, _, _, budget in definitions.budgets():
        first = budget.next_reset(loaded_at, loaded_at)
        state.budgets[name] = StoredBudget(consumed=0, next_reset_at=first, origin=loaded_at)


def spend_budget(state: State, name: Name, budget: Budget, measure: int) -> bool:
    """Adds what a credit issues; False, and nothing added, where that would exceed the limit."""
    stored = state.budgets[name]
    if stored.consumed + measure > budget.limit:
        return False
    state.budgets[name] = replace(stored, consumed=stored.consumed + measure)
    return True


def reset_budget(state: State, cause: Cause, name: Name, budget: Budget, operation: str) -> bool:
    """Consumed back to 0 and the next reset after now; whether anything changed. A reset from 0 writes no row."""
    stored = state.budgets[name]
    after = budget.next_reset(stored.origin, cause.processed_at)
    state.budgets[name] = replace(stored, consumed=0, next_reset_at=after)
    if stored.consumed:
        program, rule, asset = name
        key = f"{rule}/{asset}"
        state.note(cause, ("PROGRAM", program), "budget", key, operation, old=str(stored.consumed), new="0")
    return state.budgets[name] != stored


def due_budgets(state: State, definitions: Definitions) -> Iterator[DueItem]:
    """Rank 3 of §4.4."""
    for name, _, rule, asset, budget in definitions.budgets():
        stored = state.budgets.get(name)
        if stored is not None and stored.next_reset_at is not None:
            key = (rule.number, asset.number)
            yield DueItem(due_at=stored.next_reset_at, rank=3, key=key, perform=_reset(state, name, budget))


def _reset(state: State, name: Name, budget: Budget) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        cause = Cause(kind="DUE", number=None, program=name[0], processed_at=processed_at)
        reset_budget(state, cause, name, budget, "auto_reset")

    return perform
