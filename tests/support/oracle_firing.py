"""Automations at work, for the oracle (§17.2, §17.3): when they are live, what is due, and whom a firing reaches.

Where SEMANTICS is open:

- an automation is live while its status is active and its program ACTIVE; becoming so, by a load or an operation, is an
  activation, and what is not live has nothing in the queue;
- a one_time whose time comes while it is not live stays unfired, and can still be triggered or cancelled;
- for scope program `guard_condition` is asked once, about nobody, and `participant_filter` not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from earnbook.rules.values import CelError, CelLimit
from tests.support.oracle_automations import Automation
from tests.support.oracle_cel import evaluate
from tests.support.oracle_cron import next_tick
from tests.support.oracle_definitions import Definitions, Program
from tests.support.oracle_intake import Person
from tests.support.oracle_ledger import DueItem
from tests.support.oracle_members import known_participant
from tests.support.oracle_state import Cause, GeneratedEvent, State, StoredAutomation, json_text
from tests.support.oracle_times import format_time
from tests.support.oracle_turn import scope_of

AUTOMATION = 1
"""The origin of their events in the order of §4.4."""
REFRESH, FIRING = 0, 1
"""The order of what an automation has due at one time."""
Name = tuple[str, str]


def all_automations(definitions: Definitions) -> Iterator[tuple[Name, Program, Automation]]:
    """Every automation the book has, in order of their numbers."""
    found = [
        ((program.key, automation.key), program, automation)
        for program in definitions.programs.values()
        for automation in program.automations.values()
    ]
    yield from sorted(found, key=lambda item: item[2].number)


def load_automations(state: State, definitions: Definitions, loaded_at: int) -> None:
    """Takes over new and changed automations (§6.3); those that become live are activated."""
    for name, _, automation in all_automations(definitions):
        stored = state.automations.get(name)
        if stored is not None and stored.content == automation.content:
            continue
        freeze_subscriptions(state, name)
        is_new = stored is None or not _has_trigger(stored, automation)
        is_over = stored is not None and stored.is_over and not is_new
        state.automations[name] = StoredAutomation(
            status="archived" if is_over else automation.status,
            content=automation.content,
            was_live=stored is not None and stored.was_live and not is_new,
            is_over=is_over,
        )
    activate_automations(state, definitions, loaded_at)


def _has_trigger(stored: StoredAutomation, automation: Automation) -> bool:
    """Whether a load leaves the trigger as it was."""
    assert isinstance(stored.content, list)
    return stored.content[0] == automation.trigger


def is_live(state: State, program: Program, name: Name) -> bool:
    """Whether an automation fires now."""
    return state.automations[name].status == "active" and state.programs[program.key] == "ACTIVE"


def activate_automations(state: State, definitions: Definitions, at: int) -> None:
    """Starts what has become live, stops what no longer is."""
    for name, program, automation in all_automations(definitions):
        stored = state.automations[name]
        now_live = is_live(state, program, name)
        if now_live and not stored.is_live:
            state.automations[name] = replace(
                stored,
                is_live=True,
                was_live=True,
                next_at=_first_firing(stored, automation, at),
                refresh_at=at if automation.schedule is not None else None,
                was_refreshed=False,
            )
        elif stored.is_live and not now_live:
            freeze_subscriptions(state, name)
            state.automations[name] = replace(stored, is_live=False, next_at=None, refresh_at=None)


def freeze_subscriptions(state: State, name: Name) -> None:
    """What an automation that is not live leaves: subscriptions that have nothing to come."""
    for key, subscription in state.subscriptions.items():
        if key[:2] == name:
            state.subscriptions[key] = replace(subscription, next_at=None)


def _first_firing(stored: StoredAutomation, automation: Automation, at: int) -> int | None:
    """When an automation that becomes live fires next."""
    if automation.ticks is not None:
        return next_tick(automation.ticks.cron, at, automation.ticks.zone)
    if automation.trigger_at is not None:
        is_late = automation.trigger_at <= at
        return None if is_late and stored.was_live else max(automation.trigger_at, at)
    return at if automation.type == "immediate" and not stored.was_live else None


def due_automations(state: State, definitions: Definitions) -> Iterator[DueItem]:
    """Rank 6 of §4.4, but for subscriptions."""
    for name, program, automation in all_automations(definitions):
        stored = state.automations.get(name)
        if stored is not None and stored.next_at is not None:
            perform = _firing(state, definitions, program, automation, stored.next_at)
            yield DueItem(due_at=stored.next_at, rank=6, key=(automation.number, FIRING, 0), perform=perform)


def _firing(
    state: State, definitions: Definitions, program: Program, automation: Automation, due_at: int
) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        name = (program.key, automation.key)
        prefix = f"earnbook:auto:{automation.id}:{format_time(due_at)}"
        fire(state, definitions, program, automation, prefix, due_at)
        ticks = automation.ticks
        after = None if ticks is None else next_tick(ticks.cron, due_at, ticks.zone)
        state.automations[name] = replace(state.automations[name], next_at=after)
        if automation.type == "one_time":
            end_one_time(state, due_cause(program, automation, processed_at), name)

    return perform


def due_cause(program: Program, automation: Automation, processed_at: int) -> Cause:
    """An automation as the cause of what falls due."""
    due_object = f"{program.key}/{automation.key}"
    return Cause(kind="DUE", number=None, program=program.key, processed_at=processed_at, due_object=due_object)


def end_one_time(state: State, cause: Cause, name: Name) -> None:
    """A one_time that has fired or was cancelled is archived."""
    stored = state.automations[name]
    state.automations[name] = replace(stored, status="archived", is_live=False, is_over=True, next_at=None)
    old, new = json_text(stored.status), json_text("archived")
    state.note(cause, ("PROGRAM", name[0]), "automation", name[1], "set", old=old, new=new)


def fire(
    state: State, definitions: Definitions, program: Program, automation: Automation, prefix: str, due_at: int
) -> None:
    """One event for the program, or one for everybody whom filter and guard let through, in id order."""
    if not automation.is_for_program:
        for participant in sorted(state.participants, key=lambda name: state.participants[name].number):
            if not is_selected(state, definitions, program, automation, participant, due_at):
                continue
            if holds(state, definitions, program, automation.guard, participant, due_at):
                key = f"{prefix}:{state.participant_ids[participant]}"
                enqueue(state, program, automation, key, due_at, participant)
        return
    given = automation.participant_id
    person = None if given is None else known_participant(state, Person(external_id=None, id=given))
    if holds(state, definitions, program, automation.guard, person, due_at):
        enqueue(state, program, automation, f"{prefix}:{given or 'program'}", due_at, person, participant_id=given)


def is_selected(
    state: State, definitions: Definitions, program: Program, automation: Automation, participant: str, at: int
) -> bool:
    """Whether a participant is active, enrolled, and let through by the filter."""
    if state.participants[participant].status != "ACTIVE" or not state.is_enrolled(participant, program.key):
        return False
    return holds(state, definitions, program, automation.filter, participant, at)


def holds(
    state: State, definitions: Definitions, program: Program, condition: str | None, participant: str | None, at: int
) -> bool:
    """Whether a filter or guard is true of a participant, or of nobody; an error counts as false."""
    if condition is None:
        return True
    try:
        return evaluate(condition, scope_of(state, definitions, program, participant, {}, at)) is True
    except (CelError, CelLimit):
        return False


def enqueue(
    state: State,
    program: Program,
    automation: Automation,
    key: str,
    due_at: int,
    participant: str | None,
    *,
    participant_id: uuid.UUID | None = None,
    count: int = 0,
) -> None:
    """Puts an event of an automation into the queue; `count` is k of the k-th THRESHOLD event."""
    number = 0 if participant is None else state.participants[participant].number
    state.waiting.append(
        GeneratedEvent(
            due_at=due_at,
            timestamp=due_at,
            key=(AUTOMATION, automation.number, 0, 0, number, count),
            program=program.key,
            idempotency_key=key,
            participant=participant,
            data=automation.event_data,
            parent=None,
            generation=0,
            is_broadcast=False,
            descends_from_broadcast=False,
            participant_id=participant_id,
            automation=automation.key,
        )
    )
