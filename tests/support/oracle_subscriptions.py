"""Subscriptions of participants to automations of type participant_state, for the oracle (§17.4).

Where SEMANTICS is open:

- who a record or due item changes is who has a change row of it that CEL, or the subscription itself, can see;
- after a record or due item subscriptions are evaluated first, then thresholds, so that the first purchase of somebody
  new can cross one; a participant and a counter that did not exist before read 0;
- dates and ticks come strictly after the subscription, and after the change of the attribute that they stand in;
- at a firing only the guard is asked: the subscription stands for the filter;
- a completed subscription is not cancelled, and comes back when its attribute changes to a date that is to come;
- while an automation does not fire, its subscriptions stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from tests.support.oracle_automations import AttributeDate, Automation, Interval, Schedule, Threshold, Ticks
from tests.support.oracle_calendar import is_date_text, next_date, next_midnight
from tests.support.oracle_cel import reads_clock_or_counters
from tests.support.oracle_cron import next_tick
from tests.support.oracle_definitions import Definitions, Program
from tests.support.oracle_firing import (
    FIRING,
    REFRESH,
    all_automations,
    due_cause,
    enqueue,
    holds,
    is_live,
    is_selected,
)
from tests.support.oracle_ledger import DueItem
from tests.support.oracle_state import Cause, State, StoredCounter, StoredSubscription, json_text
from tests.support.oracle_tiers import compare
from tests.support.oracle_times import format_time

SEEN = frozenset({"participant", "enrollment", "tag", "counter", "attribute", "tier"})
"""The types of changes after which subscriptions of a participant are evaluated."""
Counters = Mapping[tuple[str, str, str], StoredCounter]
Plan = tuple[str, int | None]


def follow_changes(state: State, definitions: Definitions, changes: int, counters: Counters, at: int) -> None:
    """After a record or due item: `changes` rows and `counters` were there before it (§17.4)."""
    rows = [row for row in state.changes[changes:] if row.entity[0] == "PARTICIPANT" and row.state_type in SEEN]
    changed = _in_order(state, {row.entity[1] for row in rows})
    counted = _in_order(state, {row.entity[1] for row in rows if row.state_type == "counter"})
    live = [
        (program, automation)
        for name, program, automation in all_automations(definitions)
        if automation.schedule is not None and state.automations[name].is_live and is_live(state, program, name)
    ]
    for program, automation in live:
        refresh(state, definitions, program, automation, changed, due_cause(program, automation, at))
    for program, automation in live:
        for participant in counted:
            _cross(state, definitions, program, automation, participant, counters, at)


def _in_order(state: State, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: state.participants[name].number)


def refresh(
    state: State,
    definitions: Definitions,
    program: Program,
    automation: Automation,
    participants: Iterable[str],
    cause: Cause,
    *,
    is_activation: bool = False,
) -> None:
    """Subscribes new matches, cancels what no longer matches; an activation plans every firing anew."""
    for participant in participants:
        _evaluate(state, definitions, program, automation, participant, cause, is_activation)


def _evaluate(
    state: State,
    definitions: Definitions,
    program: Program,
    automation: Automation,
    participant: str,
    cause: Cause,
    is_activation: bool,
) -> None:
    name, at = (program.key, automation.key, participant), cause.processed_at
    stored = state.subscriptions.get(name)
    if not is_selected(state, definitions, program, automation, participant, at):
        if stored is not None and stored.status in ("active", "failed"):
            _put(state, cause, name, replace(stored, status="cancelled", next_at=None))
        return
    schedule = automation.schedule
    assert schedule is not None
    attribute = schedule.attribute if isinstance(schedule, AttributeDate) else None
    text = None if attribute is None else state.attributes.get(("PARTICIPANT", participant, attribute))
    is_new = stored is None or stored.status == "cancelled"
    if stored is not None and not is_new and not is_activation and text == stored.text:
        return
    subscribed_at = at if stored is None or is_new else stored.subscribed_at
    status, next_at = _plan(schedule, subscribed_at, at, text)
    fired = 0 if stored is None else stored.fired
    new = StoredSubscription(status=status, subscribed_at=subscribed_at, next_at=next_at, text=text, fired=fired)
    _put(state, cause, name, new)


def _put(state: State, cause: Cause, name: tuple[str, str, str], new: StoredSubscription) -> None:
    """Writes a subscription; its status has a change row."""
    program, automation, participant = name
    old = state.subscriptions.get(name)
    state.subscriptions[name] = new
    if old is None or old.status != new.status:
        before, after = None if old is None else json_text(old.status), json_text(new.status)
        key = f"{program}/{automation}"
        state.note(cause, ("PARTICIPANT", participant), "subscription", key, "set", old=before, new=after)


def _plan(schedule: Schedule, subscribed_at: int, after: int, text: str | None) -> Plan:
    """The status of a subscription and its first firing strictly after a time."""
    match schedule:
        case AttributeDate():
            if text is None or not is_date_text(text):
                return "failed", None
            date = next_date(text, after, offset_days=schedule.offset_days, at=schedule.at, zone=schedule.zone)
            return ("completed", None) if date is None else ("active", date)
        case Interval():
            passed = (after - subscribed_at) // schedule.every
            return "active", subscribed_at + (passed + 1) * schedule.every
        case Ticks():
            return "active", next_tick(schedule.cron, after, schedule.zone)
        case Threshold():
            return "active", None


# --- thresholds ------------------------------------------------------------------------------------------------------


def _cross(
    state: State,
    definitions: Definitions,
    program: Program,
    automation: Automation,
    participant: str,
    before: Counters,
    at: int,
) -> None:
    """Fires a THRESHOLD whose criterion has become true."""
    schedule, name = automation.schedule, (program.key, automation.key, participant)
    stored = state.subscriptions.get(name)
    if not isinstance(schedule, Threshold) or stored is None or stored.status != "active":
        return
    counter = ("PARTICIPANT", participant, schedule.counter)
    held, holds_now = (
        compare(counters.get(counter), at, schedule.operator)(schedule.threshold)
        for counters in (before, state.counters)
    )
    if held or not holds_now or not holds(state, definitions, program, automation.guard, participant, at):
        return
    count = stored.fired + 1
    state.subscriptions[name] = replace(stored, fired=count)
    key = f"{_key(state, automation, participant, at)}:{count}"
    enqueue(state, program, automation, key, at, participant, count=count)


def _key(state: State, automation: Automation, participant: str, due_at: int) -> str:
    return f"earnbook:auto:{automation.id}:{format_time(due_at)}:{state.participant_ids[participant]}"


# --- due work --------------------------------------------------------------------------------------------------------


def due_subscriptions(state: State, definitions: Definitions) -> Iterator[DueItem]:
    """Rank 6 of §4.4: evaluations of all subscriptions of an automation, and firings of each."""
    for name, program, automation in all_automations(definitions):
        stored = state.automations.get(name)
        if stored is None or not stored.is_live or automation.schedule is None:
            continue
        if stored.refresh_at is not None:
            perform = _refresh_all(state, definitions, program, automation)
            yield DueItem(due_at=stored.refresh_at, rank=6, key=(automation.number, REFRESH, 0), perform=perform)
        for (key, automation_key, participant), subscription in state.subscriptions.items():
            if (key, automation_key) == name and subscription.next_at is not None:
                number = state.participants[participant].number
                perform = _firing(state, definitions, program, automation, participant)
                due_at = subscription.next_at
                yield DueItem(due_at=due_at, rank=6, key=(automation.number, FIRING, number), perform=perform)


def _refresh_all(
    state: State, definitions: Definitions, program: Program, automation: Automation
) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        name = (program.key, automation.key)
        is_activation = not state.automations[name].was_refreshed
        people = _in_order(state, state.participants)
        cause = due_cause(program, automation, processed_at)
        refresh(state, definitions, program, automation, people, cause, is_activation=is_activation)
        again = automation.filter is not None and reads_clock_or_counters(automation.filter)
        refresh_at = next_midnight(processed_at) if again else None
        state.automations[name] = replace(state.automations[name], refresh_at=refresh_at, was_refreshed=True)

    return perform


def _firing(
    state: State, definitions: Definitions, program: Program, automation: Automation, participant: str
) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        name = (program.key, automation.key, participant)
        stored, schedule = state.subscriptions[name], automation.schedule
        assert schedule is not None
        due_at = stored.next_at
        assert due_at is not None
        if holds(state, definitions, program, automation.guard, participant, due_at):
            enqueue(state, program, automation, _key(state, automation, participant, due_at), due_at, participant)
        status, next_at = _plan(schedule, stored.subscribed_at, due_at, stored.text)
        cause = due_cause(program, automation, processed_at)
        _put(state, cause, name, replace(stored, status=status, next_at=next_at))

    return perform
