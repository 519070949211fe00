"""Subscriptions of participants to automations of type participant_state (§17.4), as the run holds them.

Whether somebody matches a filter is decided by the caller; what follows from it, when a subscription fires next and
whether a criterion was crossed is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction

import numpy as np

from earnbook.ledger import automations as ledger
from earnbook.ledger import layout as at
from earnbook.ledger.amounts import join_words
from earnbook.ledger.automations import FIRING
from earnbook.ledger.operate_write import note
from earnbook.ledger.schema import (
    TIME_NONE,
    ChangeOperation,
    EntityType,
    Int64s,
    Kind,
    StateType,
    SubscriptionStatus,
)
from earnbook.ledger.state import State, text_of
from earnbook.ledger.terms_tiers import CriterionTerms
from earnbook.ledger.texts import Texts
from earnbook.pipeline.automations_state import StoredSubscription, SubscriptionName
from earnbook.pipeline.automations_terms import SEEN, AutomationTerms
from earnbook.pipeline.terms import KeyColumns
from earnbook.pipeline.terms_tiers import COMPARISONS

_SET, _INT = int(ChangeOperation.SET), int(Kind.INT)
_COUNTER_CELLS = (at.COUNTER_LOW, at.COUNTER_HIGH, at.COUNTER_SCALE, at.COUNTER_RESET_AT, at.COUNTER_RESET_AFTER)
_OPEN = (SubscriptionStatus.ACTIVE, SubscriptionStatus.FAILED)


class Cause(Enum):
    """What changes subscriptions: an automation by itself, or the operation at hand."""

    DUE = "due"
    OPERATION = "operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Whom a record or due item changed: (slot, StateType, key) of each change of a participant, by number."""

    rows: tuple[tuple[int, int, int], ...]
    counters: Mapping[str, int]
    """The numbers of counters in the book's names."""

    def slots_of(self, watched: frozenset[StateType]) -> list[int]:
        """Whose change is of a watched type, by number."""
        return list(dict.fromkeys(slot for slot, kind, _ in self.rows if kind in watched))

    def counted(self, terms: AutomationTerms) -> list[int]:
        """Whose counter changed that a THRESHOLD waits for, by number."""
        threshold = terms.threshold
        if threshold is None:
            return []
        wanted = (int(StateType.COUNTER), self.counters.get(threshold.counter, -1))
        return list(dict.fromkeys(slot for slot, kind, key in self.rows if (kind, key) == wanted))


class Subscriptions:
    """Every subscription of the participants that the run holds, by the numbers of automation and participant."""

    def __init__(self, state: State, keys: Mapping[StateType, KeyColumns], pool: Texts) -> None:
        self._state = state
        self._counters, self._attributes = keys[StateType.COUNTER], keys[StateType.ATTRIBUTE]
        self._counter_numbers = dict(zip(self._counters.texts, self._counters.numbers.tolist(), strict=True))
        self._pool = pool
        self.stored: dict[SubscriptionName, StoredSubscription] = {}
        self._touched: set[SubscriptionName] = set()
        self._slots: Int64s = np.full(1, -1, np.int64)
        self._slots_known = 0
        self._before: dict[tuple[int, int], int] | None = None

    def take_in(self, rows: Mapping[SubscriptionName, StoredSubscription], *, live: set[int]) -> None:
        """Subscriptions of holders that came into the state; those of live automations come into the queue."""
        self.stored |= rows
        for (number, participant), subscription in rows.items():
            if subscription.next_at is not None and number in live:
                ledger.queue(self._state, subscription.next_at, number, FIRING, participant)

    def begin(self) -> None:
        """A batch begins, of which nothing is touched yet."""
        self._touched.clear()

    def touched(self) -> dict[SubscriptionName, StoredSubscription]:
        """The subscriptions that the batch changed, as it left them."""
        return {name: self.stored[name] for name in self._touched}

    def of_automation(self, number: int) -> Iterator[tuple[SubscriptionName, StoredSubscription]]:
        """The subscriptions to an automation."""
        return ((name, stored) for name, stored in self.stored.items() if name[0] == number)

    # --- participants -----------------------------------------------------------------------------------------------

    def slot_of(self, participant: int) -> int:
        """The slot of a participant (number) of the state."""
        return int(self._slots_of(np.array([participant], np.int64))[0])

    def _slots_of(self, participants: Int64s) -> Int64s:
        count = self._state.slots
        if count > self._slots_known:
            numbers = self._state.numbers[self._slots_known : count]
            size = int(numbers.max(initial=0)) + 1
            if size > len(self._slots):
                grown = np.full(max(size, 2 * len(self._slots)), -1, np.int64)
                grown[: len(self._slots)] = self._slots
                self._slots = grown
            is_holder = numbers > 0
            self._slots[numbers[is_holder]] = self._slots_known + np.flatnonzero(is_holder)
            self._slots_known = count
        return self._slots[participants]

    def changed(self, changes: Int64s) -> Changed:
        """Whom changes (columns of CHANGES) are about, as far as subscriptions may depend on them."""
        self._before = None
        entity, kind, key = changes[3], changes[4], changes[5]
        rows = np.flatnonzero((entity > 0) & np.isin(kind, [int(each) for each in SEEN]))
        rows = rows[np.argsort(entity[rows], kind="stable")]
        slots = self._slots_of(entity[rows])
        is_participant = self._state.bytes_of(at.HOLDER_KINDS)[slots, 0] == int(EntityType.PARTICIPANT)
        found = zip(
            slots[is_participant].tolist(),
            kind[rows][is_participant].tolist(),
            key[rows][is_participant].tolist(),
            strict=True,
        )
        return Changed(rows=tuple(found), counters=self._counter_numbers)

    def known_slots(self, terms: AutomationTerms, members: Int64s) -> Int64s:
        """Members and whoever else has a subscription to the automation, in the order of their numbers."""
        holders = np.array([name[1] for name, _ in self.of_automation(terms.number)], np.int64)
        slots = np.union1d(members, self._slots_of(holders))
        return slots[np.argsort(self._state.numbers[slots], kind="stable")]

    def _name(self, terms: AutomationTerms, slot: int) -> SubscriptionName:
        return terms.number, int(self._state.numbers[slot])

    # --- what becomes of a subscription -----------------------------------------------------------------------------

    def settle(
        self, terms: AutomationTerms, slot: int, now: int, cause: Cause, *, matches: bool, is_activation: bool
    ) -> None:
        """A participant was found to match a filter, or not; an activation plans the next firing anew."""
        name = self._name(terms, slot)
        stored = self.stored.get(name)
        if not matches:
            if stored is not None and stored.status in _OPEN:
                self._put(terms, slot, replace(stored, status=SubscriptionStatus.CANCELLED, next_at=None), cause)
            return
        text = self._text(terms, slot)
        is_kept = stored is not None and stored.status is not SubscriptionStatus.CANCELLED
        if stored is not None and is_kept and not is_activation and text == stored.text:
            return
        subscribed_at = stored.subscribed_at if stored is not None and is_kept else now
        status, next_at = _plan(terms, subscribed_at, now, text)
        fired = 0 if stored is None else stored.fired
        planned = StoredSubscription(
            status=status, subscribed_at=subscribed_at, next_at=next_at, text=text, fired=fired
        )
        self._put(terms, slot, planned, cause)

    def go_on(self, terms: AutomationTerms, slot: int, due_at: int) -> None:
        """A subscription has fired at a time; plan the next one."""
        stored = self.stored[self._name(terms, slot)]
        status, next_at = _plan(terms, stored.subscribed_at, due_at, stored.text)
        self._put(terms, slot, replace(stored, status=status, next_at=next_at), Cause.DUE)

    def count(self, terms: AutomationTerms, slot: int) -> int:
        """One more event of a THRESHOLD: how many there are now."""
        name = self._name(terms, slot)
        stored = self.stored[name]
        self.stored[name] = replace(stored, fired=stored.fired + 1)
        self._touched.add(name)
        return stored.fired + 1

    def _put(self, terms: AutomationTerms, slot: int, new: StoredSubscription, cause: Cause) -> None:
        """Write a subscription; its status has a change row."""
        name = self._name(terms, slot)
        old = self.stored.get(name)
        self.stored[name] = new
        self._touched.add(name)
        if new.next_at is not None:
            ledger.queue(self._state, new.next_at, terms.number, FIRING, name[1])
        if old is not None and old.status is new.status:
            return
        kind = StateType.SUBSCRIPTION
        if cause is Cause.DUE:
            ledger.note_due(self._state, terms.number, slot, kind, terms.number, _SET, _INT, int(new.status))
        else:
            ledger.make_change_room(self._state, 1)
            note(self._state.handles, slot, int(kind), terms.number, _SET, _INT, int(new.status))

    def _text(self, terms: AutomationTerms, slot: int) -> str | None:
        """The text of the attribute that holds the date of a subscription."""
        column = self._attributes.columns.get(terms.attribute or "")
        if terms.attribute is None or column is None:
            return None
        cells = self._state.cells
        kind = int(cells.attribute_kind[slot, column])
        if kind == Kind.ABSENT:
            return None
        value, scale = int(cells.attribute_value[slot, column]), int(cells.attribute_scale[slot, column])
        return text_of(kind, value, scale, self._pool)

    # --- thresholds -------------------------------------------------------------------------------------------------

    def criteria(self, automations: Iterable[AutomationTerms]) -> list[tuple[CriterionTerms, int]] | None:
        """What THRESHOLDs wait for, with the numbers of their counters; None where a filter may read any counter."""
        found = []
        for terms in automations:
            threshold = terms.threshold
            if terms.watched == SEEN:
                return None
            if threshold is not None and threshold.counter in self._counters.columns:
                column = self._counters.columns[threshold.counter]
                criterion = CriterionTerms.of(column, COMPARISONS[threshold.operator], threshold.number)
                found.append((criterion, self._counter_numbers[threshold.counter]))
        return found

    def crosses(self, terms: AutomationTerms, slot: int, now: int) -> bool:
        """Whether the criterion of an active subscription was false before what was done last, and is true now."""
        stored, threshold = self.stored.get(self._name(terms, slot)), terms.threshold
        if threshold is None or stored is None or stored.status is not SubscriptionStatus.ACTIVE:
            return False
        column = self._counters.columns[threshold.counter]
        if not threshold.holds(self._counter(slot, column, now, before=False)):
            return False
        return not threshold.holds(self._counter(slot, column, now, before=True))

    def _counter(self, slot: int, column: int, now: int, *, before: bool) -> Fraction:
        """The value of a counter at a time, 0 where there is none or its window has elapsed."""
        low, high, scale, opened, length = (self._cell(table, slot, column, before) for table in _COUNTER_CELLS)
        if scale < 0 or (length != TIME_NONE and now - opened >= length):
            return Fraction(0)
        return Fraction(join_words(low, high), 10**scale)

    def _cell(self, table: int, slot: int, column: int, before: bool) -> int:
        cells = self._state.bytes_of(table) if table >= at.BYTE_TABLES else self._state.table(table)
        now = int(cells[slot, column])
        return self._overwritten().get((table, slot * cells.shape[1] + column), now) if before else now

    def _overwritten(self) -> Mapping[tuple[int, int], int]:
        """What cells of counters held before the item that is followed."""
        if self._before is None:
            self._before = ledger.overwritten(self._state, _COUNTER_CELLS)
        return self._before


def _plan(
    terms: AutomationTerms, subscribed_at: int, after: int, text: str | None
) -> tuple[SubscriptionStatus, int | None]:
    """The status of a subscription and its first firing strictly after a time."""
    is_readable, next_at = terms.next_firing(subscribed_at, after, text)
    if not is_readable:
        return SubscriptionStatus.FAILED, None
    is_over = terms.attribute is not None and next_at is None
    return (SubscriptionStatus.COMPLETED if is_over else SubscriptionStatus.ACTIVE), next_at
