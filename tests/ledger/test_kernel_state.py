"""Counters, tags, attributes, holders, late records and all-or-nothing through the kernel (§7.2, §10, §13)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earnbook.ledger.amounts import join_words
from earnbook.ledger.layout import ENROLLMENTS
from earnbook.ledger.results import patterns
from earnbook.ledger.schema import (
    TIME_NONE,
    ActionType,
    ChangeOperation,
    InventoryMode,
    IssuancePolicy,
    Kind,
    Outcome,
    StateType,
    Status,
)
from earnbook.ledger.state import State
from earnbook.ledger.state_load import checkpoint
from earnbook.ledger.terms import ActionTerms, AssetTerms, ProgramTerms, Terms
from tests.support.ledger_driver import DAY, HOUR, Driver, Effect, Event

CREDIT, VISITS, WINDOW, TAG, UNTAG, ATTRIBUTE, OTHER_WINDOW, DEBIT = range(8)
VIP = 70  # in the second word of the tag set


def actions(first: int) -> tuple[ActionTerms, ...]:
    """The eight actions above, numbered from `first`."""
    rows: list[dict[str, Any]] = [
        {"type": ActionType.CREDIT, "asset": 0},
        {"type": ActionType.COUNTER, "key": 0, "name": 11},
        {"type": ActionType.COUNTER, "key": 1, "name": 12, "reset_after": 720 * HOUR},
        {"type": ActionType.TAG, "key": VIP, "name": 13},
        {"type": ActionType.UNTAG, "key": VIP, "name": 13},
        {"type": ActionType.SET_ATTRIBUTE, "key": 1, "name": 14},
        {"type": ActionType.COUNTER, "key": 1, "name": 12, "reset_after": 24 * HOUR},
        {"type": ActionType.DEBIT, "asset": 0},
    ]
    return tuple(ActionTerms(number=first + place, **row) for place, row in enumerate(rows))


def terms(*, creates: bool = True, status: Status = Status.ACTIVE, programs: int = 1) -> Terms:
    asset = AssetTerms(number=1, scale=2, mode=InventoryMode.LOT, policy=IssuancePolicy.UNLIMITED)
    rows = tuple(
        ProgramTerms(number=n + 1, linked=(0,), actions=actions(1 + 8 * n), rules=3, creates=creates, status=status)
        for n in range(programs)
    )
    return Terms(assets=(asset,), programs=rows, counters=2, tags=VIP + 1, attributes=2)


def event(who: str | None, *effects: Effect, at: int = 0, **options: Any) -> Event:
    return Event(who=who, effects=effects, at=at, **options)


def counter(state: State, slot: int, key: int) -> tuple[int, int]:
    """Mantissa and decimals."""
    cells = state.cells
    return join_words(cells.counter_low[slot, key], cells.counter_high[slot, key]), int(cells.counter_scale[slot, key])


def changes(driver: Driver, state_type: StateType) -> list[dict[str, Any]]:
    return [row for row in driver.tables["changes"] if row["state_type"] == state_type]


# --- counters -------------------------------------------------------------------------------------------------------


def test_e3_effects_show_the_snapshot_before_the_event() -> None:
    driver = Driver(terms())
    seen: list[tuple[int, int]] = []

    def visit(state: State) -> list[Effect]:
        seen.append(counter(state, state.slot, 0))
        bonus = [Effect(action=CREDIT, value="5")] if seen[-1][1] >= 0 else []
        return [Effect(action=VISITS, value="1"), *bonus]

    driver.run([Event(who="alice", effects=visit, at=day) for day in range(3)])
    assert seen == [(0, -1), (1, 0), (2, 0)]
    assert driver.balances() == "ISSUANCE -10.00 | alice.A 10.00"


def test_counters_add_exactly_and_keep_no_trailing_zeros() -> None:
    driver = Driver(terms())
    for value, expected in (("0.5", (5, 1)), ("0.250", (75, 2)), ("0.25", (1, 0)), ("-1.00", (0, 0))):
        driver.run([event("alice", Effect(action=VISITS, value=value))])
        assert counter(driver.state, 1, 0) == expected
    assert [row["key"] for row in changes(driver, StateType.COUNTER)] == [11] * 4


def test_a_counter_below_ten_to_the_twenty_is_in_range() -> None:
    driver = Driver(terms())
    most = "99999999999999999999.999999999999999999"
    codes = driver.run(
        [
            event("alice", Effect(action=VISITS, value=most)),
            event("alice", Effect(action=VISITS, value="0.000000000000000001")),
            event("bob", Effect(action=VISITS, value="-100000000000000000000")),
        ]
    )
    assert codes == [Outcome.OK, Outcome.COUNTER_OUT_OF_RANGE, Outcome.COUNTER_OUT_OF_RANGE]
    assert counter(driver.state, 1, 0) == (10**38 - 1, 18)


def test_adding_nothing_does_nothing() -> None:
    driver = Driver(terms())
    assert driver.run([event("alice", Effect(action=WINDOW, value="0.0"))]) == [Outcome.OK]
    assert changes(driver, StateType.COUNTER) == []
    assert counter(driver.state, 1, 1)[1] == -1


def test_t1_a_window_resets_the_counter_and_a_late_event_does_not_move_it_back() -> None:
    driver = Driver(terms())
    stored = []
    for day in (0, 10, 29, 30, 19):
        driver.run([event("alice", Effect(action=WINDOW, value="1"), at=day * DAY)])
        stored.append(counter(driver.state, 1, 1)[0])
    assert stored == [1, 2, 3, 1, 2]
    assert driver.state.cells.counter_reset_at[1, 1] == 30 * DAY
    operations = [ChangeOperation(row["operation"]).name for row in changes(driver, StateType.COUNTER)]
    assert operations == ["SET", "SET", "SET", "AUTO_RESET", "SET", "SET"]


def test_another_window_replaces_the_setting_and_keeps_the_start() -> None:
    driver = Driver(terms())
    driver.run([event("alice", Effect(action=WINDOW, value="1"), at=0)])
    driver.run([event("alice", Effect(action=OTHER_WINDOW, value="1"), at=2 * DAY)])
    assert counter(driver.state, 1, 1) == (2, 0)
    assert driver.state.cells.counter_reset_at[1, 1] == 0
    driver.run([event("alice", Effect(action=OTHER_WINDOW, value="1"), at=2 * DAY)])
    assert counter(driver.state, 1, 1) == (1, 0)
    assert driver.state.cells.counter_reset_at[1, 1] == 2 * DAY


def test_a_counter_without_window_has_none() -> None:
    driver = Driver(terms())
    driver.run([event("alice", Effect(action=VISITS, value="1"), at=DAY)])
    assert driver.state.cells.counter_reset_after[1, 0] == TIME_NONE
    assert driver.state.cells.counter_reset_at[1, 0] == TIME_NONE


# --- tags and attributes --------------------------------------------------------------------------------------------


def test_repeating_a_tag_changes_nothing() -> None:
    driver = Driver(terms())
    tag, untag = Effect(action=TAG), Effect(action=UNTAG)
    driver.run([event("alice", untag), event("alice", tag), event("alice", tag), event("alice", untag, tag)])
    operations = [ChangeOperation(row["operation"]).name for row in changes(driver, StateType.TAG)]
    assert operations == ["ADD", "REMOVE", "ADD"]
    tags = checkpoint(driver.state)["tags"]
    assert (tags["entity"].tolist(), tags["key"].tolist()) == ([1], [VIP])


def test_an_attribute_is_set_once_per_value() -> None:
    driver = Driver(terms())
    gold = driver.pool.intern_text("gold")
    effects = [Effect(action=ATTRIBUTE, attribute=(Kind.TEXT, code, 0)) for code in (gold, gold, gold + 1)]
    driver.run([event("alice", effect) for effect in effects])
    assert [row["value"] for row in changes(driver, StateType.ATTRIBUTE)] == [gold, gold + 1]


def test_attributes_of_different_kinds_compare_by_text() -> None:
    driver = Driver(terms())
    five, true = driver.pool.intern_text("5"), driver.pool.intern_text("true")
    values = [
        (Kind.TEXT, five, 0),
        (Kind.NUMBER, 500, 2),  # still 5
        (Kind.NUMBER, 55, 1),
        (Kind.BOOL, 1, 0),
        (Kind.TEXT, true, 0),  # still true
        (Kind.TIMESTAMP, 1_500_000, 0),
    ]
    driver.run([event("alice", Effect(action=ATTRIBUTE, attribute=value)) for value in values])
    texts = [driver.pool.text(row["value"]) for row in changes(driver, StateType.ATTRIBUTE)]
    assert texts == ["5", "5.5", "true", "1970-01-01T00:00:01.5Z"]


def test_kinds_may_change_within_one_event() -> None:
    driver = Driver(terms())
    five = driver.pool.intern_text("5")
    both = [Effect(action=ATTRIBUTE, attribute=value) for value in ((Kind.NUMBER, 5, 0), (Kind.TEXT, five, 0))]
    driver.run([event("alice", *both)])
    assert [row["value"] for row in changes(driver, StateType.ATTRIBUTE)] == [five]


def test_state_of_the_program_is_a_target_too() -> None:
    driver = Driver(terms())
    driver.run([event("alice", Effect(action=VISITS, value="1", target=0), Effect(action=TAG, target=0))])
    assert counter(driver.state, 0, 0) == (1, 0)
    assert [row["entity"] for row in changes(driver, StateType.COUNTER) + changes(driver, StateType.TAG)] == [-1, -1]


# --- holders --------------------------------------------------------------------------------------------------------


def test_a_first_event_creates_and_enrolls_its_participant() -> None:
    driver = Driver(terms(programs=2))
    driver.run([event("alice"), event("bob", program=1), event("alice", program=1)])
    rows = [(StateType(row["state_type"]).name, row["entity"], row["key"]) for row in driver.tables["changes"]]
    assert rows == [
        ("PARTICIPANT", 1, 0),
        ("ENROLLMENT", 1, 1),
        ("PARTICIPANT", 2, 0),
        ("ENROLLMENT", 2, 2),
        ("ENROLLMENT", 1, 2),
    ]
    assert [row["holder"] for row in driver.outcomes] == [1, 2, 1]


@pytest.mark.parametrize("frozen", [Status.FROZEN, Status.LOCKED, Status.CLOSED])
def test_an_event_makes_an_enrollment_active_again(frozen: Status) -> None:
    driver = Driver(terms())
    driver.run([event("alice")])
    checkpoint_before = len(driver.tables["changes"])
    driver.state.table(ENROLLMENTS)[1, 0] = int(frozen)
    driver.run([event("alice")])
    assert len(driver.tables["changes"]) == checkpoint_before + 1
    assert checkpoint(driver.state)["enrollments"]["status"].tolist() == [Status.ACTIVE]


def test_a_program_that_rejects_creates_nobody() -> None:
    driver = Driver(terms(creates=False))
    assert driver.run([event("alice", recipient="bob")]) == [Outcome.PARTICIPANT_NOT_FOUND]
    assert driver.tables["holders"] == []
    assert driver.tables["changes"] == []


def test_an_unknown_recipient_leaves_the_participant_uncreated() -> None:
    driver = Driver(terms(), origins={"some-id": "some-id"})
    assert driver.run([event("alice", recipient="some-id")]) == [Outcome.RECIPIENT_NOT_FOUND]
    assert driver.run([event("some-id")]) == [Outcome.PARTICIPANT_NOT_FOUND]
    assert driver.tables["holders"] == []


def test_an_id_is_found_once_its_external_id_exists() -> None:
    driver = Driver(terms(), origins={"id-of-alice": "alice"})
    codes = driver.run([event("id-of-alice"), event("alice"), event("id-of-alice")])
    assert codes == [Outcome.PARTICIPANT_NOT_FOUND, Outcome.OK, Outcome.OK]
    assert [row["holder"] for row in driver.outcomes] == [0, 1, 1]


def test_e6_a_credit_goes_to_the_recipient_and_the_rest_stays() -> None:
    driver = Driver(terms())
    gift = event("alice", Effect(action=CREDIT, value="25"), Effect(action=VISITS, value="1"), recipient="bob")
    assert driver.run([gift]) == [Outcome.OK]
    assert driver.journal() == ["CREDIT ISSUANCE -25.00 | bob.A +25.00"]
    assert (counter(driver.state, 1, 0), counter(driver.state, 2, 0)[1]) == ((1, 0), -1)
    driver.state.cells.status[2] = int(Status.SUSPENDED)
    assert driver.run([gift]) == [Outcome.PARTICIPANT_INACTIVE]
    assert counter(driver.state, 1, 0) == (1, 0)


def test_one_person_may_be_participant_and_recipient() -> None:
    driver = Driver(terms())
    driver.run([event("alice", Effect(action=CREDIT, value="1"), recipient="alice")])
    assert len(driver.tables["holders"]) == 1
    assert driver.outcomes[0]["recipient"] == 1


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.CLOSED])
def test_an_inactive_participant_may_be_tagged_but_not_paid(status: Status) -> None:
    driver = Driver(terms())
    driver.run([event("alice")])
    driver.state.cells.status[1] = int(status)
    codes = driver.run([event("alice", Effect(action=n, value="1")) for n in (CREDIT, DEBIT, VISITS, TAG, UNTAG)])
    assert codes == [Outcome.PARTICIPANT_INACTIVE] * 3 + [Outcome.OK] * 2


@pytest.mark.parametrize(
    "status, code",
    [(Status.SUSPENDED, Outcome.PROGRAM_SUSPENDED), (Status.ARCHIVED, Outcome.PROGRAM_ARCHIVED)],
)
def test_a_program_that_is_not_active_refuses_before_anybody_is_created(status: Status, code: Outcome) -> None:
    driver = Driver(terms(status=status))
    assert driver.run([event("alice")]) == [code]
    assert driver.tables["holders"] == []
    assert (driver.outcomes[0]["holder"], driver.outcomes[0]["pattern"], driver.outcomes[0]["log_seq"]) == (0, -1, 1)


# --- records --------------------------------------------------------------------------------------------------------


def test_a_record_is_late_when_an_earlier_one_has_a_later_time() -> None:
    driver = Driver(terms())
    driver.run([event("alice", at=5), event("alice", at=3)])
    driver.run([event("alice", at=5), event("alice", at=4), event("alice", at=6)])
    assert [row["late"] for row in driver.outcomes] == [False, True, False, True, False]
    assert [row["processed_at"] for row in driver.outcomes] == [5, 5, 5, 5, 6]


def test_the_clock_follows_the_base_time_not_the_event() -> None:
    driver = Driver(terms())
    driver.run([event("alice", at=5, base=100), event("alice", at=7, base=100)])
    assert [row["processed_at"] for row in driver.outcomes] == [100, 100]
    driver.run([], until=200)
    assert driver.state.clock == 200


def test_e4_a_failed_event_leaves_only_its_holders() -> None:
    driver = Driver(terms())
    parts = [Effect(action=CREDIT, value="10"), Effect(action=VISITS, value="1"), Effect(action=TAG)]
    parts += [Effect(action=ATTRIBUTE, attribute=(Kind.BOOL, 1, 0)), Effect(action=CREDIT, value="0.49995")]
    assert driver.run([event("alice", *parts, words=(3, 0, 0, 0))]) == [Outcome.AMOUNT_EXCEEDS_SCALE]
    assert driver.outcomes[0]["action"] == 1  # the number of the CREDIT action
    assert driver.journal() == []
    assert [StateType(row["state_type"]).name for row in driver.tables["changes"]] == ["PARTICIPANT", "ENROLLMENT"]
    assert counter(driver.state, 1, 0)[1] == -1
    assert driver.state.registers.lot_seq == 0
    driver.run([event("alice", Effect(action=CREDIT, value="10"))])
    assert driver.tables["movements"][0]["entry_seq"] == 1


def test_a_failed_event_leaves_every_table_as_it_was() -> None:
    driver = Driver(terms())
    some = [Effect(action=CREDIT, value="10"), Effect(action=CREDIT, value="5"), Effect(action=WINDOW, value="1")]
    driver.run([event("alice", *some), event("bob", *some)])
    before = {
        name: {key: array.copy() for key, array in rows.items()} for name, rows in checkpoint(driver.state).items()
    }
    failing = [Effect(action=DEBIT, value="12"), Effect(action=WINDOW, value="2"), Effect(action=TAG)]
    failing += [Effect(action=CREDIT, value="7"), Effect(action=DEBIT, value="1000")]
    assert driver.run([event("alice", *failing, at=40 * DAY)]) == [Outcome.INSUFFICIENT_BALANCE]
    after = checkpoint(driver.state)
    for name, rows in before.items():
        for key, array in rows.items():
            assert np.array_equal(array, after[name][key]), (name, key)
    assert driver.snapshots[-1] == {}


@pytest.mark.parametrize(
    "effect, code",
    [
        (Effect(action=CREDIT, value="-1", target_code=Outcome.TARGET_MISSING), Outcome.TARGET_MISSING),
        (Effect(action=CREDIT, value_code=Outcome.EXPRESSION_ERROR), Outcome.EXPRESSION_ERROR),
        (Effect(action=VISITS, value_code=Outcome.INVALID_VALUE), Outcome.INVALID_VALUE),
        (Effect(action=ATTRIBUTE, value_code=Outcome.INVALID_VALUE), Outcome.INVALID_VALUE),
        (Effect(action=CREDIT, value="1", reference_code=Outcome.INVALID_REFERENCE), Outcome.INVALID_REFERENCE),
        (Effect(action=CREDIT, value="0", reference_code=Outcome.INVALID_REFERENCE), Outcome.OK),
        (Effect(action=CREDIT, value="-1", reference_code=Outcome.INVALID_REFERENCE), Outcome.AMOUNT_NOT_POSITIVE),
    ],
)
def test_what_the_expressions_decided_is_taken_at_its_stage(effect: Effect, code: Outcome) -> None:
    assert Driver(terms()).run([event("alice", effect)]) == [code]


def test_an_event_without_participant_has_no_default_target() -> None:
    driver = Driver(terms())
    codes = driver.run([event(None, Effect(action=TAG)), event(None, Effect(action=TAG, target=0)), event(None)])
    assert codes == [Outcome.TARGET_MISSING, Outcome.OK, Outcome.OK]


def test_equal_evaluations_share_a_pattern() -> None:
    driver = Driver(terms(programs=2))
    words = [(1, 0, 0, 0, 0), (1, 2, 0, 0, 0), (1, 0, 0, 0, 0), (1, 2, 0, 0, 0)]
    bad = Effect(action=CREDIT, value="-1")
    records = [event("alice", words=w) for w in words] + [event("alice", bad, words=words[0])]
    driver.run([*records, event("alice", words=words[0], program=1), event("alice", bad, words=words[0])])
    assert [row["pattern"] for row in driver.outcomes] == [0, 1, 0, 1, 2, 3, 2]
    rows = patterns(driver.state)
    assert rows["program"].tolist() == [0, 0, 0, 1]
    assert rows["action"].tolist() == [0, 0, 1, 0]
    assert rows["words"].tolist() == [[1, 0, 0, 0, 0], [1, 2, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
