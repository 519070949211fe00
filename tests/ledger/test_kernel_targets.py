"""Targets, recipients and groups through the kernel: whom an action reaches and may reach (§8.1, §10.5, §12.2)."""

from __future__ import annotations

import numpy as np
import pytest

from earnbook.ledger.layout import ENROLLMENTS, HOLDER_KINDS, STATUS
from earnbook.ledger.schema import (
    ActionType,
    EntityType,
    InventoryMode,
    IssuancePolicy,
    Outcome,
    StateType,
    Status,
    TargetKind,
)
from earnbook.ledger.state import State
from earnbook.ledger.terms import ActionTerms, AssetTerms, ProgramTerms, Terms
from tests.support.ledger_driver import Driver, Effect, Event

CREDIT, DEBIT, COUNTER, TAG = range(4)
BY_ID, GROUP = TargetKind.PARTICIPANT_ID, TargetKind.GROUP


def terms(*, creates: bool = True, programs: int = 1) -> Terms:
    """One asset, and programs with the four actions above."""
    asset = AssetTerms(number=1, scale=0, mode=InventoryMode.SIMPLE, policy=IssuancePolicy.UNLIMITED)
    rows = []
    for n in range(programs):
        first = 1 + 4 * n
        actions = (
            ActionTerms(type=ActionType.CREDIT, number=first, asset=0),
            ActionTerms(type=ActionType.DEBIT, number=first + 1, asset=0),
            ActionTerms(type=ActionType.COUNTER, number=first + 2, key=0, name=11),
            ActionTerms(type=ActionType.TAG, number=first + 3, key=0, name=12),
        )
        rows.append(ProgramTerms(number=n + 1, linked=(0,), actions=actions, rules=1, creates=creates))
    return Terms(assets=(asset,), programs=tuple(rows), counters=1, tags=1)


def credit(value: str, whom: str | None = None, by: TargetKind = TargetKind.EXTERNAL_ID) -> Effect:
    return Effect(action=CREDIT, value=value, whom=whom, by=by)


def event(who: str | None, *effects: Effect, recipient: str | None = None, program: int = 0) -> Event:
    return Event(who=who, effects=effects, recipient=recipient, program=program)


def slot_of(driver: Driver, name: str) -> int:
    return int(driver.state.slots_of([next(n for n, known in driver.names.items() if known == name)])[0])


def set_status(driver: Driver, name: str, status: Status) -> None:
    driver.state.table(STATUS)[slot_of(driver, name), 0] = int(status)


def counters(driver: Driver, name: str) -> int:
    return int(driver.state.cells.counter_low[slot_of(driver, name), 0])


# --- participants ---------------------------------------------------------------------------------------------------


def test_r15_a_referral_credits_the_referrer_and_the_new_participant() -> None:
    driver = Driver(terms())
    assert driver.run([event("alice")]) == [Outcome.OK]
    assert driver.run([event("bob", credit("500", "alice"), credit("250"))]) == [Outcome.OK]
    assert driver.journal() == ["CREDIT ISSUANCE -500 | alice.A +500", "CREDIT ISSUANCE -250 | bob.A +250"]


def test_an_unknown_target_is_created_and_enrolled_after_the_participant() -> None:
    driver = Driver(terms(programs=2))
    driver.run([event("bob", credit("5", "carol"), program=1)])
    assert driver.names == {1: "bob", 2: "carol"}
    assert driver.state.table(ENROLLMENTS)[2:4, :].tolist() == [[0, 1], [0, 1]]
    about = [(row["entity"], row["state_type"]) for row in driver.tables["changes"]]
    assert about == [(1, StateType.PARTICIPANT), (1, StateType.ENROLLMENT), (2, StateType.PARTICIPANT), (2, 6)]


def test_a_failed_event_takes_its_target_back_and_keeps_its_participant() -> None:
    driver = Driver(terms())
    codes = driver.run([event("bob", credit("5", "carol"), Effect(action=DEBIT, value="1")), event("dave")])
    assert codes == [Outcome.INSUFFICIENT_BALANCE, Outcome.OK]
    assert driver.names == {1: "bob", 2: "dave"}
    assert driver.run([event("bob", credit("5", "carol"))]) == [Outcome.OK]
    assert driver.names[3] == "carol"
    assert driver.balances() == "ISSUANCE -5 | carol.A 5"


def test_a_known_target_is_enrolled_in_the_program_of_the_event() -> None:
    driver = Driver(terms(programs=2))
    driver.run([event("alice"), event("bob", credit("5", "alice"), program=1)])
    assert driver.state.table(ENROLLMENTS)[slot_of(driver, "alice"), :].tolist() == [1, 1]


def test_a_program_that_rejects_unknown_participants_rejects_unknown_targets() -> None:
    driver = Driver(terms(creates=False))
    assert driver.run([event("alice", credit("5", "carol"))]) == [Outcome.PARTICIPANT_NOT_FOUND]
    assert driver.run([event(None, credit("5", "carol"))]) == [Outcome.PARTICIPANT_NOT_FOUND]
    assert driver.outcomes[-1]["action"] == 1


def test_an_id_is_never_created_but_found_once_its_external_id_exists() -> None:
    driver = Driver(terms(), origins={"id-of-carol": "carol", "id-of-nobody": "id-of-nobody"})
    unknown = [event("alice", credit("5", name, BY_ID)) for name in ("id-of-carol", "id-of-nobody")]
    assert driver.run(unknown) == [Outcome.PARTICIPANT_NOT_FOUND] * 2
    assert driver.run([event("carol"), *unknown]) == [Outcome.OK, Outcome.OK, Outcome.PARTICIPANT_NOT_FOUND]
    assert driver.journal() == ["CREDIT ISSUANCE -5 | carol.A +5"]


def test_a_text_is_looked_up_once_for_all_events() -> None:
    driver = Driver(terms())
    driver.run([event("alice", credit("1", "carol"), credit("1", "dave")), event("bob", credit("1", "carol"))])
    driver.run([event("alice", credit("1", "carol"))])
    assert driver.misses == ["carol", "dave"]
    assert driver.balances() == "ISSUANCE -4 | carol.A 3 | dave.A 1"


def test_what_a_text_can_never_mean_is_the_outcome() -> None:
    driver = Driver(terms())
    assert driver.run([event("alice", credit("1", ""))]) == [Outcome.TARGET_MISSING]


def test_a_failed_target_expression_comes_before_everything_else() -> None:
    driver = Driver(terms())
    failed = Effect(action=CREDIT, value="1", target_code=Outcome.TARGET_MISSING, value_code=Outcome.EXPRESSION_ERROR)
    assert driver.run([event("alice", failed)]) == [Outcome.TARGET_MISSING]


def test_nobody_named_and_nobody_in_the_event_is_a_missing_target() -> None:
    assert Driver(terms()).run([event(None, credit("1"))]) == [Outcome.TARGET_MISSING]


def test_targets_survive_tables_that_are_full() -> None:
    small, large = Driver(terms(), rows=8), Driver(terms())
    batch = [
        event(f"p{n % 50}", credit("2", f"q{n % 70}"), Effect(action=COUNTER, value="1", whom=f"p{n % 20}"))
        for n in range(400)
    ]
    assert small.run(batch) == large.run(batch) == [Outcome.OK] * 400
    assert small.tables == large.tables


# --- status ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.CLOSED])
def test_the_status_of_the_target_is_tested_not_that_of_the_participant(status: Status) -> None:
    driver = Driver(terms())
    driver.run([event("alice"), event("bob")])
    set_status(driver, "bob", status)
    to_bob, to_alice = credit("5", "bob"), credit("5", "alice")
    assert driver.run([event("alice", to_bob), event("bob", to_alice)]) == [Outcome.PARTICIPANT_INACTIVE, Outcome.OK]
    gated = Effect(action=COUNTER, value="1", whom="bob")
    assert driver.run([event("alice", gated)]) == [Outcome.PARTICIPANT_INACTIVE]
    assert driver.run([event("alice", Effect(action=TAG, whom="bob"))]) == [Outcome.OK]


def test_the_status_comes_before_the_value() -> None:
    driver = Driver(terms())
    driver.run([event("bob")])
    set_status(driver, "bob", Status.SUSPENDED)
    failed = Effect(action=CREDIT, value_code=Outcome.EXPRESSION_ERROR, whom="bob")
    assert driver.run([event("alice", failed)]) == [Outcome.PARTICIPANT_INACTIVE]


# --- recipients -----------------------------------------------------------------------------------------------------


def gift(giver: str | None = "alice") -> Event:
    return event(giver, credit("25"), Effect(action=COUNTER, value="1"), recipient="bob")


def test_e6_the_credit_goes_to_the_recipient_and_the_counter_to_the_giver() -> None:
    driver = Driver(terms())
    assert driver.run([gift()]) == [Outcome.OK]
    assert driver.journal() == ["CREDIT ISSUANCE -25 | bob.A +25"]
    assert (counters(driver, "alice"), counters(driver, "bob")) == (1, 0)


def test_e6_a_suspended_recipient_fails_the_event_and_leaves_no_counter() -> None:
    driver = Driver(terms())
    driver.run([event("alice"), event("bob")])
    set_status(driver, "bob", Status.SUSPENDED)
    assert driver.run([gift()]) == [Outcome.PARTICIPANT_INACTIVE]
    assert driver.state.cells.counter_scale[slot_of(driver, "alice"), 0] == -1


def test_a_suspended_giver_may_give_but_not_count() -> None:
    driver = Driver(terms())
    driver.run([event("alice"), event("bob")])
    set_status(driver, "alice", Status.SUSPENDED)
    assert driver.run([gift(), event("alice", credit("3"), recipient="bob")]) == [
        Outcome.PARTICIPANT_INACTIVE,
        Outcome.OK,
    ]
    assert driver.journal() == ["CREDIT ISSUANCE -3 | bob.A +3"]


def test_a_debit_and_a_named_credit_ignore_the_recipient() -> None:
    driver = Driver(terms())
    driver.run([event("alice", credit("10"))])
    effects = (Effect(action=DEBIT, value="4"), credit("1", "carol"))
    assert driver.run([event("alice", *effects, recipient="bob")]) == [Outcome.OK]
    assert driver.balances() == "ISSUANCE -7 | alice.A 6 | carol.A 1"


def test_a_recipient_of_nobodys_event_gets_the_credit_alone() -> None:
    driver = Driver(terms())
    assert driver.run([event(None, credit("3"), recipient="bob")]) == [Outcome.OK]
    assert driver.run([gift(giver=None)]) == [Outcome.TARGET_MISSING]


# --- groups ---------------------------------------------------------------------------------------------------------


def test_a_group_is_credited_counted_and_tagged_but_not_enrolled() -> None:
    driver = Driver(terms())
    slot = driver.add_group("smith")
    more = [Effect(action=action, value="2", whom="smith", by=GROUP) for action in (COUNTER, TAG)]
    assert driver.run([event("alice", credit("5", "smith", GROUP), *more)]) == [Outcome.OK]
    assert driver.journal() == ["CREDIT ISSUANCE -5 | smith.A +5"]
    assert counters(driver, "smith") == 2
    assert int(driver.state.cells.tags[slot, 0]) == 1
    assert driver.state.table(ENROLLMENTS)[slot, 0] == 0
    assert driver.state.table(HOLDER_KINDS)[slot, 0] == EntityType.GROUP


def test_an_unknown_group_is_not_created() -> None:
    driver = Driver(terms())
    assert driver.run([event("alice", credit("5", "smith", GROUP))]) == [Outcome.GROUP_NOT_FOUND]
    driver.add_group("smith")
    assert driver.run([event("alice", credit("5", "smith", GROUP))]) == [Outcome.OK]


def test_an_archived_group_is_like_a_closed_participant() -> None:
    driver = Driver(terms())
    driver.add_group("smith", Status.ARCHIVED)
    actions = [Effect(action=action, value="2", whom="smith", by=GROUP) for action in (CREDIT, DEBIT, COUNTER, TAG)]
    codes = driver.run([event("alice", effect) for effect in actions])
    assert codes == [Outcome.GROUP_ARCHIVED] * 3 + [Outcome.OK]


def test_the_group_of_an_event_is_known_to_its_rules_once_it_exists() -> None:
    driver = Driver(terms())
    seen: list[int] = []

    def look(state: State) -> list[Effect]:
        seen.append(state.group)
        return []

    batch = [Event(who="alice", effects=look, group=group) for group in ("smith", None)]
    driver.run(batch)
    slot = driver.add_group("smith")
    driver.run(batch)
    assert seen == [-1, -1, slot, -1]


def test_meanings_are_kept_per_kind_and_the_table_grows() -> None:
    state = Driver(terms()).state
    codes = np.array([3, 5000])
    assert state.target_meanings(GROUP, codes).tolist() == [0, 0]
    state.name_targets(GROUP, codes, np.array([7, -12]))
    state.name_targets(BY_ID, codes[:1], np.array([9]))
    assert state.target_meanings(GROUP, codes).tolist() == [7, -12]
    assert state.target_meanings(BY_ID, codes).tolist() == [9, 0]
    assert state.target_meanings(BY_ID, np.array([10**6])).tolist() == [0]
