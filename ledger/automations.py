"""What automations need of the ledger (§17): their items in the queue, their events, and what they must be told.

The kernel knows of an automation only when it is due: an item of rank 6 stops it (`due.DUE_AUTOMATION`), the caller
takes it out, decides whom the firing reaches, and puts an event into the queue for each. Which changes the caller
follows stands in R_WATCHED, a bit per StateType: after a record or due item that wrote one, and before anything else,
the kernel stops (`due.DUE_FOLLOW`). What such an item has overwritten can still be read then.

An event of an automation has no parent. Its row of SCHEDULE names instead the firing that it belongs to, as minus a
number from 1 that the caller gives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from earnbook.ledger import layout as at
from earnbook.ledger.compiled import compiled
from earnbook.ledger.due import pop_due, push_due
from earnbook.ledger.journal import write_due_change
from earnbook.ledger.memory import fixed_in
from earnbook.ledger.schedule import claim_item, due_item
from earnbook.ledger.schema import DueSource, Int64s, StateType
from earnbook.ledger.state import State
from earnbook.ledger.terms_tiers import CriterionTerms

REFRESH, FIRING = 0, 1
"""The order of what one automation has due at one time."""

_SOURCE = int(DueSource.AUTOMATION)


def watch(
    state: State, state_types: Iterable[StateType], thresholds: Sequence[tuple[CriterionTerms, int]] | None
) -> None:
    """Say which changes are followed from now on; those before count as followed.

    Of changes of counters these are the ones that may have made one of the thresholds true, each with its counter's
    number in the book's names; None: all of them.
    """
    state.name_thresholds(thresholds or ())
    registers = state.table(at.REGISTERS)[0]
    registers[at.R_THRESHOLDS] = -1 if thresholds is None else len(thresholds)
    registers[at.R_WATCHED] = sum(1 << int(state_type) for state_type in set(state_types))
    followed(state)


def followed(state: State) -> None:
    """Say that every change so far was followed."""
    registers = state.table(at.REGISTERS)[0]
    registers[at.R_FOLLOWED] = registers[at.R_CHANGES]


def unfollowed(state: State) -> Int64s:
    """The changes to follow: columns of CHANGES by row."""
    first, last = state.register(at.R_FOLLOWED), state.register(at.R_CHANGES)
    return state.table(at.CHANGES)[:, first:last]


def overwritten(state: State, tables: Collection[int]) -> dict[tuple[int, int], int]:
    """What cells of some tables, by table and flat index, held before the item that was done last."""
    log = state.table(at.UNDO)[: state.register(at.R_UNDO_DONE)]
    rows = log[np.isin(log[:, at.UNDO_TABLE], list(tables))]
    # The first value that was overwritten is the one before it all.
    return {(table, index): value for table, index, value in reversed(rows.tolist())}


def first_due(state: State) -> tuple[int, int, int, int]:
    """The item of an automation at the top of the queue: due time, automation, REFRESH or FIRING, participant or 0."""
    row = state.table(at.DUE)[0]
    key = int(row[at.DUE_KEY]) & ((1 << at.DUE_RANK_SHIFT) - 1)
    return int(row[at.DUE_AT]), key >> 1, key & 1, int(row[at.DUE_ITEM])


def take_first(state: State) -> None:
    """Take the item at the top of the queue out."""
    _take_first(state.handles)


def set_clock(state: State, due_at: int) -> int:
    """The book clock once an item due at a time is done (§4.4)."""
    registers = state.table(at.REGISTERS)[0]
    registers[at.R_CLOCK] = max(int(registers[at.R_CLOCK]), due_at)
    return int(registers[at.R_CLOCK])


def queue(state: State, due_at: int, automation: int, what: int, participant: int = 0) -> None:
    """Put an item of an automation (its number) into the queue: REFRESH or FIRING, of a participant (number) or all."""
    state.make_room(at.DUE, at.R_DUE, 1)
    key = (at.RANK_AUTOMATION << at.DUE_RANK_SHIFT) | automation << 1 | what
    _push(state.handles, due_at, key, participant)


def queue_events(
    state: State, due_at: int, automation: int, *, template: int, slots: Int64s, firing: int, in_order: bool = False
) -> None:
    """Put an event of an automation for each slot into the queue, due at the time that it bears (§17.2).

    `firing` is the caller's number of the firing, from 1. Events `in_order` come after those for the same participant
    that are waiting for the same time.
    """
    count = len(slots)
    state.make_room(at.SCHEDULE, at.R_SCHEDULE, count)
    state.make_room(at.DUE, at.R_DUE, count)
    key = (at.RANK_EVENT << at.DUE_RANK_SHIFT) | at.ORIGIN_AUTOMATION << at.KEY_ORIGIN_SHIFT
    key |= automation << at.KEY_PARENT_SHIFT
    _push_events(state.handles, due_at, key, template, np.ascontiguousarray(slots, np.int64), -firing, in_order)


def note_due(
    state: State, automation: int, slot: int, state_type: StateType, key: int, operation: int, kind: int, value: int
) -> None:
    """Append a change that an automation (its number) made, at the book clock; see `journal.write_due_change`."""
    make_change_room(state, 1)
    _note_due(state.handles, automation, slot, int(state_type), key, operation, kind, value)


def make_change_room(state: State, changes: int) -> None:
    """Room for so many changes."""
    state.make_room(at.CHANGES, at.R_CHANGES, changes)
    state.make_room(at.DUE_CHANGES, at.R_DUE_CHANGES, changes)


@compiled
def _take_first(given: Int64s) -> None:
    pop_due(fixed_in(given))


@compiled
def _push(given: Int64s, due_at: int, key: int, item: int) -> None:
    push_due(fixed_in(given), due_at, key, item)


@compiled
def _push_events(
    given: Int64s, due_at: int, key: int, template: int, slots: Int64s, parent: int, in_order: bool
) -> None:
    """Rows of SCHEDULE with their items; a fresh row comes after all that are waiting."""
    handles = fixed_in(given)
    for k in range(len(slots)):
        row = at.claim(handles, at.SCHEDULE, at.R_SCHEDULE) if in_order else claim_item(handles)
        schedule = at.matrix(handles, at.SCHEDULE)
        schedule[row, at.SCHEDULE_AT] = due_at
        schedule[row, at.SCHEDULE_PARENT] = parent
        schedule[row, at.SCHEDULE_ACTION] = 0
        schedule[row, at.SCHEDULE_TEMPLATE] = template
        schedule[row, at.SCHEDULE_SLOT] = slots[k]
        schedule[row, at.SCHEDULE_DESCENT] = 0
        schedule[row, at.SCHEDULE_POSITION] = 0
        push_due(handles, due_at, key, due_item(handles, slots[k], row))


@compiled
def _note_due(
    given: Int64s, automation: int, slot: int, state_type: int, key: int, operation: int, kind: int, value: int
) -> None:
    write_due_change(fixed_in(given), _SOURCE, automation, slot, state_type, key, operation, kind, value)
