"""Automations at work (§17): activation, firings, subscriptions, thresholds, and the operations on them.

The kernel stops when an automation is due, and after a record or due item that changed what automations watch. Then
everything is decided here, over the state that the run holds: whom a firing reaches, who is subscribed, which criterion
has become true. What comes out are events in the kernel's queue, changes in its log, and the next due times. Nobody is
looked at who has nothing to do with it: participants of the book are loaded when their subscription falls due, and all
of a program's only for a firing or an evaluation of all.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from earnbook.ledger import automations as ledger
from earnbook.ledger import layout as at
from earnbook.ledger.automations import FIRING, REFRESH
from earnbook.ledger.operate_write import note, slot_of
from earnbook.ledger.schema import (
    AutomationStatus,
    ChangeOperation,
    EntityType,
    Int64s,
    Kind,
    Outcome,
    StateType,
    Status,
)
from earnbook.ledger.state import State
from earnbook.pipeline.automations_state import (
    StoredAutomation,
    SubscriptionName,
    automation_rows,
    read_automations,
    read_subscriptions,
    subscription_rows,
)
from earnbook.pipeline.automations_terms import AutomationTerms
from earnbook.pipeline.generated import Firing, GeneratedEvents
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.ruleset import RulesetLoad
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.subscriptions import Cause, Subscriptions
from earnbook.rules.calendar import next_midnight
from earnbook.rules.canonical import read_json
from earnbook.rules.lower_closure import Closure
from earnbook.rules.times import format_timestamp
from earnbook.rules.values import EvaluationError, Timestamp, Value

_ACTIVE = int(Status.ACTIVE)
_SET, _INT = int(ChangeOperation.SET), int(Kind.INT)
_OLD_STATUS_SHIFT = 8
"""A change of an automation's status says the old one too: loads change it without a row (§18.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """What CEL sees (§11.1): of a participant (slot, program, now) and of a program (slot, now).

    `name` makes known who the participants at these slots are; `load_all` brings every participant of a program into
    the state.
    """

    participant: Callable[[int, int, int], Mapping[str, Value]]
    program: Callable[[int, int], Mapping[str, Value]]
    name: Callable[[Int64s], None]
    load_all: Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAutomation:
    """What a load did to an automation (its number): whether its trigger is another one than before."""

    number: int
    has_new_trigger: bool


def loaded_automations(registry: Registry, load: RulesetLoad) -> Iterator[LoadedAutomation]:
    """The automations that a load starts again: new ones, and those whose trigger, filter or status differs."""
    for change in load.changes:
        if change.kind != "automation":
            continue
        fields = read_json(change.changes).keys()
        is_new = change.change_type == "created"
        if is_new or fields & {"trigger", "participant_filter", "status"}:
            number = registry.find_object(ObjectKind.AUTOMATION, change.id)
            assert number is not None
            yield LoadedAutomation(number=number, has_new_trigger=is_new or "trigger" in fields)


class Automations:
    """The automations of one run, in number order."""

    def __init__(
        self,
        state: State,
        terms: Sequence[AutomationTerms],
        scopes: Scopes,
        generated: GeneratedEvents,
        *,
        subscriptions: Subscriptions,
        persons: Mapping[int, int],
        retired: Container[tuple[int, str]] = frozenset(),
    ) -> None:
        """`persons` are those that the automations with a participant_id name, by number.

        `retired` are the programs (slots) and ids of automations that the definitions have no more: they are archived.
        """
        self._state = state
        self._terms = {each.number: each for each in terms}
        self._scopes = scopes
        self._generated = generated
        self._persons = persons
        self._retired = retired
        self.stored: dict[int, StoredAutomation] = {}
        self._touched: set[int] = set()
        self.subscriptions = subscriptions

    # --- beginning --------------------------------------------------------------------------------------------------

    def take_in(self, rows: pa.Table) -> None:
        """Automations as the book has them, rows of state; what they have due comes into the queue."""
        self.stored = read_automations(rows)
        for number, known in self.stored.items():
            if known.is_live and number in self._terms:
                self._queue(number, known)
        self._watch()

    def take_in_subscriptions(self, rows: pa.Table) -> None:
        """Subscriptions of holders that came into the state, rows of state; what they have due comes into the queue."""
        if rows.num_rows:
            live = {number for number, _ in self._live(is_subscribed=True) if self.stored[number].was_refreshed}
            self.subscriptions.take_in(read_subscriptions(rows), live=live)

    def load(self, loaded: Iterable[LoadedAutomation], loaded_at: int) -> None:
        """Take over what a load changed about automations (§6.3); those that become live are activated."""
        for each in sorted(loaded, key=lambda item: item.number):
            known = self.stored.get(each.number)
            terms = self._terms.get(each.number)
            is_new = known is None or each.has_new_trigger
            is_over = known is not None and known.is_over and not is_new
            stated = AutomationStatus.ARCHIVED if terms is None else terms.status
            self._put(
                each.number,
                StoredAutomation(
                    status=AutomationStatus.ARCHIVED if is_over else stated,
                    was_live=known is not None and known.was_live and not is_new,
                    is_over=is_over,
                ),
            )
        self.activate(loaded_at)

    def begin(self) -> None:
        """A batch begins, of which nothing is touched yet."""
        self._touched.clear()
        self.subscriptions.begin()

    def batch_rows(self, batch: int) -> dict[str, pa.Table]:
        """What the batch changed about automations and subscriptions, as it left them."""
        touched = {number: self.stored[number] for number in self._touched}
        return {
            "automation_terms": automation_rows(touched, batch=batch),
            "subscription_terms": subscription_rows(self.subscriptions.touched(), batch=batch),
        }

    def state_rows(self) -> dict[str, pa.Table]:
        """All automations, and the subscriptions of everybody in the state."""
        return {
            "automations": automation_rows(self.stored),
            "subscriptions": subscription_rows(self.subscriptions.stored),
        }

    def activate(self, now: int) -> None:
        """Start what has become live, stop what no longer is."""
        for number, terms in self._terms.items():
            known = self.stored.get(number)
            if known is None:
                continue
            is_live = self._is_live(terms, known)
            if is_live and not known.is_live:
                first_at = terms.first_firing(now, was_live=known.was_live)
                refresh_at = now if terms.is_subscribed else None
                live = replace(
                    known, is_live=True, was_live=True, was_refreshed=False, next_at=first_at, refresh_at=refresh_at
                )
                self._put(number, live)
                self._queue(number, live)
            elif known.is_live and not is_live:
                self._put(number, replace(known, is_live=False, next_at=None, refresh_at=None))
        self._watch()

    def _is_live(self, terms: AutomationTerms, stored: StoredAutomation) -> bool:
        programs = self._state.table(at.PROGRAMS)
        return stored.status == AutomationStatus.ACTIVE and programs[terms.program, at.PROGRAM_STATUS] == _ACTIVE

    def _queue(self, number: int, stored: StoredAutomation) -> None:
        for due_at, what in ((stored.refresh_at, REFRESH), (stored.next_at, FIRING)):
            if due_at is not None:
                ledger.queue(self._state, due_at, number, what)

    def _put(self, number: int, stored: StoredAutomation) -> None:
        self.stored[number] = stored
        self._touched.add(number)

    def _watch(self) -> None:
        """Say which changes matter now: statuses of programs always, others where a live automation has subscribers."""
        watched = {StateType.PROGRAM} if self._terms else set()
        live = [terms for _, terms in self._live(is_subscribed=True)]
        for terms in live:
            watched |= terms.watched
        ledger.watch(self._state, watched, self.subscriptions.criteria(live))

    def _live(self, *, is_subscribed: bool) -> Iterator[tuple[int, AutomationTerms]]:
        """The automations that are live, by number."""
        for number, terms in self._terms.items():
            known = self.stored.get(number)
            if known is not None and known.is_live and terms.is_subscribed == is_subscribed:
                yield number, terms

    # --- what falls due ---------------------------------------------------------------------------------------------

    def do_due(self) -> None:
        """Take the item at the top of the queue out and do it, if its automation still waits for it."""
        due_at, number, what, participant = ledger.first_due(self._state)
        ledger.take_first(self._state)
        known, terms = self.stored.get(number), self._terms.get(number)
        if known is None or terms is None or not known.is_live:
            return
        if what == REFRESH:
            if known.refresh_at == due_at:
                self._refresh_due(number, terms, known, due_at)
        elif participant:
            if known.was_refreshed:
                self._fire_subscription((number, participant), terms, due_at)
        elif known.next_at == due_at:
            self._fire_due(number, terms, known, due_at)

    def _refresh_due(self, number: int, terms: AutomationTerms, known: StoredAutomation, due_at: int) -> None:
        """Evaluate all subscriptions; again at the next midnight where time alone can change them (§17.4)."""
        now = ledger.set_clock(self._state, due_at)
        self._refresh_all(terms, now, Cause.DUE, is_activation=not known.was_refreshed)
        again = next_midnight(now) if terms.is_revaluated else None
        after = replace(self.stored[number], refresh_at=again, was_refreshed=True)
        self._put(number, after)
        if again is not None:
            ledger.queue(self._state, again, number, REFRESH)

    def _fire_due(self, number: int, terms: AutomationTerms, known: StoredAutomation, due_at: int) -> None:
        """A tick, a one_time or an immediate one."""
        ledger.set_clock(self._state, due_at)
        self._fire(terms, _prefix(terms, due_at), due_at)
        after = replace(known, next_at=terms.next_tick(due_at))
        self._put(number, after)
        self._queue(number, replace(after, refresh_at=None))
        if terms.definition.trigger.type == "one_time":
            self._end(terms, Cause.DUE)

    def _fire_subscription(self, name: SubscriptionName, terms: AutomationTerms, due_at: int) -> None:
        """A subscription's date or tick: the guard alone is asked, for the subscription stands for the filter."""
        subscription = self.subscriptions.stored.get(name)
        if subscription is None or subscription.next_at != due_at:
            return
        ledger.set_clock(self._state, due_at)
        slot = self.subscriptions.slot_of(name[1])
        if self._holds(terms.guard, terms, slot, due_at):
            self._send(terms, _prefix(terms, due_at), due_at, np.array([slot], np.int64))
        self.subscriptions.go_on(terms, slot, due_at)

    # --- firings ----------------------------------------------------------------------------------------------------

    def _fire(self, terms: AutomationTerms, prefix: str, due_at: int) -> None:
        """One event for the program, or one for everybody whom filter and guard let through (§17.2)."""
        if terms.is_for_program:
            person = self._persons.get(terms.number, -1)
            slot = int(slot_of(self._state.handles, person)) if person >= 0 else at.NO_SLOT
            if self._holds(terms.guard, terms, max(slot, at.NO_SLOT), due_at):
                # Whom nobody knows now may be created before the event's turn.
                slot = slot if slot >= 0 or person < 0 else at.NO_SLOT - 1 - person
                self._send(terms, prefix, due_at, np.array([slot], np.int64))
            return
        self._scopes.load_all(terms.program)
        slots = self._members(terms.program)
        if terms.filter is not None or terms.guard is not None:
            program = self._scopes.program(terms.program, due_at)
            self._scopes.name(slots)
            chosen = [slot for slot in slots.tolist() if self._lets_through(terms, slot, due_at, program)]
            slots = np.array(chosen, np.int64)
        self._send(terms, prefix, due_at, slots)

    def _members(self, program: int) -> Int64s:
        """The slots of ACTIVE participants with an ACTIVE enrollment, in the order of their numbers."""
        state, count = self._state, self._state.slots
        is_member = (
            (state.bytes_of(at.ENROLLMENTS)[:count, program] == _ACTIVE)
            & (state.cells.status[:count] == _ACTIVE)
            & (state.bytes_of(at.HOLDER_KINDS)[:count, 0] == int(EntityType.PARTICIPANT))
        )
        slots = np.flatnonzero(is_member)
        return slots[np.argsort(state.numbers[slots], kind="stable")]

    def _lets_through(self, terms: AutomationTerms, slot: int, now: int, program: Mapping[str, Value]) -> bool:
        scope = _scope(self._scopes.participant(slot, terms.program, now), program, now)
        return _is_true(terms.filter, scope) and _is_true(terms.guard, scope)

    def _holds(self, condition: Closure | None, terms: AutomationTerms, slot: int, now: int) -> bool:
        """Whether a filter or guard is true of a participant, or of nobody; an error counts as false."""
        if condition is None:
            return True
        program = self._scopes.program(terms.program, now)
        return _is_true(condition, _scope(self._scopes.participant(slot, terms.program, now), program, now))

    def _send(self, terms: AutomationTerms, prefix: str, due_at: int, slots: Int64s, *, count: int = 0) -> None:
        """Put the events of a firing into the queue; `count` is k of the k-th THRESHOLD event of somebody."""
        if not len(slots):
            return
        firing = Firing(
            automation=terms.number,
            prefix=prefix,
            whom=terms.definition.participant_id or "program",
            suffix=f":{count}" if count else "",
        )
        number = self._generated.add_firing(firing)
        ledger.queue_events(
            self._state,
            due_at,
            terms.number,
            template=terms.template,
            slots=slots,
            firing=number,
            in_order=count > 0,
        )

    def _end(self, terms: AutomationTerms, cause: Cause) -> None:
        """A one_time that has fired or was cancelled is archived (§17.1)."""
        number, known = terms.number, self.stored[terms.number]
        archived = AutomationStatus.ARCHIVED
        self._put(number, replace(known, status=archived, is_live=False, is_over=True, next_at=None))
        value = int(known.status) << _OLD_STATUS_SHIFT | int(archived)
        kind = StateType.AUTOMATION
        ledger.make_change_room(self._state, 1)
        if cause is Cause.DUE:
            ledger.note_due(self._state, number, terms.program, kind, number, _SET, _INT, value)
        else:
            note(self._state.handles, terms.program, int(kind), number, _SET, _INT, value)

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """After a record or due item: evaluate the subscriptions of whom it changed, then thresholds (§17.4)."""
        changes = ledger.unfollowed(self._state).copy()
        now = self._state.clock
        live = [
            (terms, self.stored[number])
            for number, terms in self._live(is_subscribed=True)
            if self._is_live(terms, self.stored[number])
        ]
        if live:
            self._generated.know_created(self._state)
            changed = self.subscriptions.changed(changes)
            for terms, _ in live:
                self._refresh(terms, changed.slots_of(terms.watched), now, Cause.DUE)
            for terms, _ in live:
                for slot in changed.counted(terms):
                    self._cross(terms, slot, now)
        ledger.followed(self._state)
        if (changes[4] == int(StateType.PROGRAM)).any():
            self.activate(now)

    def _refresh_all(self, terms: AutomationTerms, now: int, cause: Cause, *, is_activation: bool = False) -> None:
        self._scopes.load_all(terms.program)
        slots = self.subscriptions.known_slots(terms, self._members(terms.program))
        self._scopes.name(slots)
        self._refresh(terms, slots.tolist(), now, cause, is_activation=is_activation)

    def _refresh(
        self, terms: AutomationTerms, slots: Iterable[int], now: int, cause: Cause, *, is_activation: bool = False
    ) -> None:
        """Subscribe new matches, cancel what no longer matches; an activation plans every firing anew."""
        program = None
        for slot in slots:
            matches = self._is_member(slot, terms.program)
            if matches and terms.filter is not None:
                program = self._scopes.program(terms.program, now) if program is None else program
                participant = self._scopes.participant(slot, terms.program, now)
                matches = _is_true(terms.filter, _scope(participant, program, now))
            self.subscriptions.settle(terms, slot, now, cause, matches=matches, is_activation=is_activation)

    def _is_member(self, slot: int, program: int) -> bool:
        state = self._state
        return bool(state.cells.status[slot] == _ACTIVE and state.bytes_of(at.ENROLLMENTS)[slot, program] == _ACTIVE)

    def _cross(self, terms: AutomationTerms, slot: int, now: int) -> None:
        """Fire a THRESHOLD whose criterion has become true."""
        if not self.subscriptions.crosses(terms, slot, now) or not self._holds(terms.guard, terms, slot, now):
            return
        count = self.subscriptions.count(terms, slot)
        self._send(terms, _prefix(terms, now), now, np.array([slot], np.int64), count=count)

    # --- operations -------------------------------------------------------------------------------------------------

    def trigger(self, program: int, automation_id: str, operation_id: str) -> Outcome:
        """Fire now; a cron keeps its schedule, a pending one_time counts as fired (§17.3)."""
        programs = self._state.table(at.PROGRAMS)
        status = int(programs[program, at.PROGRAM_STATUS])
        if status != _ACTIVE:
            return Outcome.PROGRAM_SUSPENDED if status == Status.SUSPENDED else Outcome.PROGRAM_ARCHIVED
        terms = self._find(program, automation_id)
        if terms is None:
            return self._unfound(program, automation_id, Outcome.AUTOMATION_NOT_ACTIVE)
        if self.stored[terms.number].status != AutomationStatus.ACTIVE:
            return Outcome.AUTOMATION_NOT_ACTIVE
        is_one_time = terms.definition.trigger.type == "one_time"
        if terms.is_subscribed or (is_one_time and terms.is_for_program):
            return Outcome.AUTOMATION_NOT_TRIGGERABLE
        self._fire(terms, f"earnbook:trig:{terms.definition.id}:{operation_id}", self._state.clock)
        if is_one_time:
            self._end(terms, Cause.OPERATION)
        return Outcome.OK

    def cancel(self, program: int, automation_id: str) -> Outcome:
        """A one_time that has not fired is archived (§17.3)."""
        terms = self._find(program, automation_id)
        if terms is None:
            return self._unfound(program, automation_id, Outcome.NOTHING_TO_CANCEL)
        is_over = self.stored[terms.number].status == AutomationStatus.ARCHIVED
        if terms.definition.trigger.type != "one_time" or is_over:
            return Outcome.NOTHING_TO_CANCEL
        self._end(terms, Cause.OPERATION)
        return Outcome.OK

    def refresh(self, program: int, automation_id: str) -> Outcome:
        """Evaluate all subscriptions; nothing is evaluated while the program is not ACTIVE (§17.3)."""
        terms = self._find(program, automation_id)
        if terms is None:
            return self._unfound(program, automation_id, Outcome.AUTOMATION_NOT_ACTIVE)
        known = self.stored[terms.number]
        if known.status != AutomationStatus.ACTIVE:
            return Outcome.AUTOMATION_NOT_ACTIVE
        if not terms.is_subscribed:
            return Outcome.AUTOMATION_NOT_TRIGGERABLE
        before = self._state.registers.change_seq
        if self._is_live(terms, known):
            self._refresh_all(terms, self._state.clock, Cause.OPERATION)
        return Outcome.OK if self._state.registers.change_seq > before else Outcome.NO_EFFECT

    def _find(self, program: int, automation_id: str) -> AutomationTerms | None:
        for terms in self._terms.values():
            if terms.program == program and terms.definition.id == automation_id:
                return terms
        return None

    def _unfound(self, program: int, automation_id: str, of_archived: Outcome) -> Outcome:
        """The outcome for an automation that no definition states: archived by its absence, or never there."""
        return of_archived if (program, automation_id) in self._retired else Outcome.AUTOMATION_NOT_FOUND


def _prefix(terms: AutomationTerms, due_at: int) -> str:
    """How the keys of a firing begin (§17.2); its time has as many decimals as it needs."""
    whole, point, decimals = format_timestamp(due_at).removesuffix("Z").partition(".")
    return f"earnbook:auto:{terms.definition.id}:{whole}{point}{decimals.rstrip('0')}Z"


def _scope(participant: Mapping[str, Value], program: Mapping[str, Value], now: int) -> dict[str, Value]:
    """The variables of a filter or guard: no event is at hand, and no group."""
    return {
        "event": {},
        "participant": participant,
        "program": program,
        "group": {"tags": [], "counters": {}, "attributes": {}, "tiers": {}},
        "now": Timestamp.from_microseconds(now),
    }


def _is_true(condition: Closure | None, scope: Mapping[str, Value]) -> bool:
    if condition is None:
        return True
    try:
        return condition.evaluate(scope) is True
    except EvaluationError:
        return False
