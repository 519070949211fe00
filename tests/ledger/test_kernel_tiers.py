"""Tiers in the kernel: explicit assignment, expiry as due work, qualification after an event (§14.1, §14.2, §14.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from earnbook.ledger import layout as at
from earnbook.ledger.schema import (
    ActionType,
    ChangeOperation,
    Comparison,
    DueSource,
    InventoryMode,
    IssuancePolicy,
    Outcome,
    StateType,
    Status,
)
from earnbook.ledger.state_load import add_holders, checkpoint, compact_due, load_tiers
from earnbook.ledger.terms import ActionTerms, AssetTerms, Date, ProgramTerms, Terms
from earnbook.ledger.terms_tiers import CriterionTerms, LevelTerms, TierTerms
from tests.support.ledger_driver import DAY, HOUR, Driver, Effect, Event

SPEND, NIGHTS = 0, 1
STATUS, CLUB, OLD = 0, 1, 2
SILVER, GOLD = 1, 2
NAMES = {11: "silver", 12: "gold", 13: "member", 14: "relic"}
COUNT_SPEND, COUNT_NIGHTS, SET_GOLD, SET_BASE, SILVER_TEN_DAYS, GOLD_UNTIL, SET_OLD, SPEND_WINDOW, TOO_LATE = range(9)
UNTIL = 40 * DAY


def at_least(counter: int, threshold: str) -> CriterionTerms:
    return CriterionTerms.of(counter, Comparison.AT_LEAST, Decimal(threshold))


LEVELS = (
    LevelTerms(name=11, rank=10, criteria=(at_least(SPEND, "500"),)),
    LevelTerms(name=12, rank=20, criteria=(at_least(SPEND, "2000"), at_least(NIGHTS, "10"))),
)
TIERS = (
    TierTerms(number=1, program=0, levels=LEVELS),
    TierTerms(number=3, program=0, levels=(LevelTerms(name=13, rank=1, criteria=(at_least(NIGHTS, "5"),)),)),
    TierTerms(
        number=2,
        program=1,
        levels=(LevelTerms(name=14, rank=1, criteria=(at_least(SPEND, "1"),)),),
        status=Status.ARCHIVED,
    ),
)


def counting(number: int, key: int, reset_after: int | None = None) -> ActionTerms:
    return ActionTerms(type=ActionType.COUNTER, number=number, key=key, name=key + 1, reset_after=reset_after)


def setting(number: int, level: int, tier: int = STATUS, expires: Date | None = None) -> ActionTerms:
    expiry = Date() if expires is None else expires
    return ActionTerms(type=ActionType.SET_TIER, number=number, key=tier, name=level, expires=expiry)


ACTIONS = (
    counting(1, SPEND),
    counting(2, NIGHTS),
    setting(3, GOLD),
    setting(4, 0),
    setting(5, SILVER, expires=Date(duration=10 * DAY)),
    setting(6, GOLD, expires=Date(time=UNTIL)),
    setting(7, 1, tier=OLD),
    counting(8, SPEND, reset_after=24 * HOUR),
    setting(9, GOLD, expires=Date(duration=253_402_300_799_999_999)),
    ActionTerms(type=ActionType.DEBIT, number=10, asset=0),
)
DEBIT = 9


def terms(tiers: tuple[TierTerms, ...] = TIERS) -> Terms:
    asset = AssetTerms(number=1, scale=0, mode=InventoryMode.SIMPLE, policy=IssuancePolicy.UNLIMITED)
    programs = (
        ProgramTerms(number=1, linked=(0,), actions=ACTIONS, rules=1),
        ProgramTerms(number=2, linked=(0,), actions=ACTIONS, rules=1),
    )
    return Terms(assets=(asset,), programs=programs, counters=2, tiers=tiers)


@pytest.fixture
def driver() -> Driver:
    return Driver(terms())


def event(who: str, effects: Sequence[Effect] = (), at: int = 0, program: int = 0) -> Event:
    return Event(who=who, effects=effects, at=at, program=program)


def levels(driver: Driver) -> dict[tuple[int, int], tuple[str, int, int | None]]:
    """(holder, tier type number) to level key, acquired_at and expires_at."""
    rows = checkpoint(driver.state)["tiers"]
    found = {}
    names = ("holder", "tier", "level", "acquired_at", "expires_at")
    for holder, tier, level, acquired, expires in zip(*(rows[name].tolist() for name in names), strict=True):
        found[holder, tier] = (NAMES[level], acquired, None if expires == np.iinfo(np.int64).min else expires)
    return found


def tier_changes(driver: Driver) -> list[tuple[Any, ...]]:
    """(log_seq, action, holder, tier type, level key or None) of each change of a tier."""
    rows = [row for row in driver.tables["changes"] if row["state_type"] == StateType.TIER]
    for row in rows:
        assert row["operation"] == (ChangeOperation.SET if row["value"] else ChangeOperation.DELETE)
    return [(row["log_seq"], row["action"], row["entity"], row["key"], NAMES.get(row["value"])) for row in rows]


def test_set_tier_goes_up_and_down_and_keeps_the_time_of_the_level(driver: Driver) -> None:
    gold, base = Effect(action=SET_GOLD), Effect(action=SET_BASE)
    driver.run([event("alice", [gold], at=DAY), event("alice", [gold], at=2 * DAY)])
    assert levels(driver) == {(1, 1): ("gold", DAY, None)}
    driver.run([event("alice", [Effect(action=GOLD_UNTIL)], at=3 * DAY)])
    assert levels(driver) == {(1, 1): ("gold", DAY, UNTIL)}
    driver.run([event("alice", [base], at=4 * DAY), event("alice", [base], at=5 * DAY)])
    assert levels(driver) == {}
    assert tier_changes(driver) == [(1, 3, 1, 1, "gold"), (3, 6, 1, 1, "gold"), (4, 4, 1, 1, None)]


def test_an_assignment_expires_as_due_work_by_type_and_participant(driver: Driver) -> None:
    silver = Effect(action=SILVER_TEN_DAYS)
    driver.run([event("bob", [silver], at=DAY), event("alice", [silver], at=DAY)])
    assert levels(driver) == {(1, 1): ("silver", DAY, 11 * DAY), (2, 1): ("silver", DAY, 11 * DAY)}
    driver.run([], until=11 * DAY - 1)
    assert len(levels(driver)) == 2
    driver.run([event("carol", at=12 * DAY)])
    assert levels(driver) == {}
    assert tier_changes(driver)[2:] == [(0, 0, 1, 1, None), (0, 0, 2, 1, None)]
    due = driver.tables["due_changes"]
    assert [(row["changed_at"], row["kind"], row["object"]) for row in due] == [(11 * DAY, DueSource.TIER, 1)] * 2
    assert [row["change_seq"] for row in due] == [7, 8]


def test_a_replaced_expiry_is_no_due_work(driver: Driver) -> None:
    silver, gold = Effect(action=SILVER_TEN_DAYS), Effect(action=SET_GOLD)
    driver.run([event("alice", [silver], at=0), event("alice", [gold], at=DAY)])
    driver.run([], until=20 * DAY)
    assert levels(driver) == {(1, 1): ("gold", DAY, None)}
    driver.run([event("alice", [silver], at=21 * DAY), event("alice", [silver], at=22 * DAY)])
    driver.run([], until=31 * DAY)
    assert levels(driver) == {(1, 1): ("silver", 21 * DAY, 32 * DAY)}
    driver.run([], until=32 * DAY)
    assert levels(driver) == {}


def test_an_expiry_in_the_past_is_due_at_once(driver: Driver) -> None:
    until = Effect(action=GOLD_UNTIL)
    driver.run([event("alice", [until], at=UNTIL + DAY), event("bob", at=UNTIL + 2 * DAY)])
    assert levels(driver) == {}
    assert driver.tables["due_changes"][0]["changed_at"] == UNTIL + DAY


def test_an_expiry_after_the_last_time_is_refused(driver: Driver) -> None:
    assert driver.run([event("alice", [Effect(action=TOO_LATE)], at=DAY)]) == [Outcome.INVALID_VALUE]


def test_an_archived_type_takes_no_assignment_and_does_not_evaluate(driver: Driver) -> None:
    spend = Effect(action=COUNT_SPEND, value="5000")
    found = driver.run([event("alice", [Effect(action=SET_OLD)], program=1), event("alice", [spend], program=1, at=1)])
    assert found == [Outcome.TIER_ARCHIVED, Outcome.OK]
    assert levels(driver) == {}


def test_counters_lead_to_the_highest_level_that_they_satisfy(driver: Driver) -> None:
    spend, nights = Effect(action=COUNT_SPEND, value="499.99"), Effect(action=COUNT_NIGHTS, value="10")
    driver.run([event("alice", [spend], at=1)])
    assert levels(driver) == {}
    driver.run([event("alice", [Effect(action=COUNT_SPEND, value="0.01")], at=2)])
    assert levels(driver) == {(1, 1): ("silver", 2, None)}
    driver.run([event("alice", [Effect(action=COUNT_SPEND, value="1500")], at=3), event("alice", [nights], at=4)])
    assert levels(driver) == {(1, 1): ("gold", 4, None), (1, 3): ("member", 4, None)}
    assert tier_changes(driver) == [(2, 0, 1, 1, "silver"), (4, 0, 1, 1, "gold"), (4, 0, 1, 3, "member")]


def test_counters_never_lead_down_and_an_upgrade_replaces_an_expiry(driver: Driver) -> None:
    spend = Effect(action=COUNT_SPEND, value="2000")
    driver.run([event("alice", [Effect(action=SILVER_TEN_DAYS)], at=1)])
    driver.run([event("alice", [spend, Effect(action=COUNT_NIGHTS, value="10")], at=2)])
    assert levels(driver)[1, 1] == ("gold", 2, None)
    driver.run([event("alice", [Effect(action=COUNT_SPEND, value="-2000")], at=3)], until=30 * DAY)
    assert levels(driver)[1, 1] == ("gold", 2, None)


def test_a_level_that_expired_is_reached_again_by_the_next_event(driver: Driver) -> None:
    driver.run([event("alice", [Effect(action=COUNT_SPEND, value="600"), Effect(action=SILVER_TEN_DAYS)], at=1)])
    driver.run([], until=11 * DAY)
    assert levels(driver) == {}
    driver.run([event("alice", at=12 * DAY)])
    assert levels(driver) == {(1, 1): ("silver", 12 * DAY, None)}


def test_a_set_tier_in_the_event_keeps_its_type_from_evaluation(driver: Driver) -> None:
    effects = [Effect(action=SET_BASE), Effect(action=COUNT_SPEND, value="600"), Effect(action=COUNT_NIGHTS, value="5")]
    driver.run([event("alice", effects, at=1)])
    assert levels(driver) == {(1, 3): ("member", 1, None)}


def test_others_whose_counters_change_are_evaluated_in_id_order(driver: Driver) -> None:
    driver.run([event(who, at=0) for who in ("alice", "bob", "carol")])

    def of(name: str, value: str) -> Effect:
        target = int(driver.state.slots_of([{"alice": 1, "bob": 2, "carol": 3}[name]])[0])
        return Effect(action=COUNT_SPEND, value=value, target=target)

    driver.run([event("bob", [of("carol", "600"), of("alice", "700"), of("bob", "800"), of("carol", "1")], at=1)])
    assert [row[2] for row in tier_changes(driver)] == [1, 2, 3]
    driver.run([event("bob", [of("alice", "0"), Effect(action=COUNT_NIGHTS, value="10")], at=2)])
    assert [row[2:] for row in tier_changes(driver)[3:]] == [(2, 3, "member")]


def test_a_window_that_has_passed_counts_as_nothing(driver: Driver) -> None:
    spend = Effect(action=SPEND_WINDOW, value="400")
    driver.run([event("alice", [spend], at=DAY), event("alice", [spend], at=2 * DAY)])
    assert levels(driver) == {}
    driver.run([event("alice", [spend], at=2 * DAY + HOUR)])
    assert levels(driver) == {(1, 1): ("silver", 2 * DAY + HOUR, None)}
    driver.run([event("bob", [spend, spend], at=3 * DAY)])
    assert levels(driver)[2, 1] == ("silver", 3 * DAY, None)


def test_a_failed_event_leaves_no_tier(driver: Driver) -> None:
    effects = [Effect(action=SILVER_TEN_DAYS), Effect(action=COUNT_SPEND, value="600"), Effect(action=DEBIT, value="1")]
    assert driver.run([event("alice", effects, at=1)]) == [Outcome.INSUFFICIENT_BALANCE]
    assert levels(driver) == {}
    assert not tier_changes(driver)
    driver.run([], until=30 * DAY)
    assert not driver.tables["due_changes"]


@pytest.mark.parametrize(
    ("operator", "threshold", "values"),
    [
        (Comparison.AT_LEAST, "5", {"5": True, "4.9": False}),
        (Comparison.MORE, "5", {"5": False, "5.000000000000000001": True}),
        (Comparison.EQUAL, "5.50", {"5.5": True, "5.51": False, "-5.5": False}),
        (Comparison.AT_MOST, "-5", {"-5": True, "-4.9": False, "3": False}),
        (Comparison.LESS, "-5", {"-5": False, "-5.1": True}),
        (Comparison.AT_LEAST, "0.0000000000000000001", {"0.000000000000000001": True, "-1": False}),
        (Comparison.LESS, "-0.0000000000000000001", {"-0.000000000000000001": True, "1": False}),
        (Comparison.EQUAL, "0.0000000000000000001", {"0.000000000000000001": False, "1": False}),
        (Comparison.AT_LEAST, "1e30", {"99999999999999999999.999999999999999999": False}),
        (Comparison.MORE, "-1e30", {"-99999999999999999999.999999999999999999": True}),
        (Comparison.AT_LEAST, "99999999999999999999", {"99999999999999999999": True, "99999999999999999998.9": False}),
        (Comparison.MORE, "12345678901234567890", {"12345678901234567890.1": True, "12345678901234567890": False}),
    ],
)
def test_thresholds_are_compared_exactly(operator: Comparison, threshold: str, values: dict[str, bool]) -> None:
    level = LevelTerms(name=11, rank=1, criteria=(CriterionTerms.of(SPEND, operator, Decimal(threshold)),))
    driver = Driver(terms((TierTerms(number=1, program=0, levels=(level,)),)))
    for number, (value, expected) in enumerate(values.items(), start=1):
        driver.run([event(f"p{number}", [Effect(action=COUNT_SPEND, value=value)], at=number)])
        assert ((number, 1) in levels(driver)) is expected, value


def test_any_criterion_is_enough_for_a_level_that_says_so() -> None:
    level = replace(LEVELS[1], is_any=True)
    driver = Driver(terms((TierTerms(number=1, program=0, levels=(level,)),)))
    driver.run([event("alice", [Effect(action=COUNT_NIGHTS, value="10")], at=1), event("bob", at=2)])
    assert levels(driver) == {(1, 1): ("gold", 1, None)}


def test_tables_that_run_out_of_room_change_nothing() -> None:
    def run(rows: int) -> Driver:
        driver = Driver(terms(), rows=rows)
        effects = [Effect(action=SILVER_TEN_DAYS), Effect(action=COUNT_NIGHTS, value="5")]
        driver.run([event(f"p{number}", effects, at=number * HOUR) for number in range(400)], until=40 * DAY)
        return driver

    small, large = run(1), run(4096)
    assert small.tables == large.tables
    assert len(small.tables["due_changes"]) == 400


def test_loaded_levels_expire_and_keep_their_times(driver: Driver) -> None:
    driver.state.table(at.REGISTERS)[0, at.R_HOLDER] = 2
    slots = add_holders(driver.state, [2, 1])
    never = int(np.iinfo(np.int64).min)
    load_tiers(
        driver.state,
        slots=slots,
        tiers=[STATUS, CLUB],
        levels=[GOLD, 1],
        acquired_at=[5, 6],
        expires_at=[DAY, never],
        noted=[at.OWN_EXPIRY, 0],
    )
    compact_due(driver.state)
    assert levels(driver) == {(2, 1): ("gold", 5, DAY), (1, 3): ("member", 6, None)}
    driver.run([], until=DAY)
    assert levels(driver) == {(1, 3): ("member", 6, None)}
    with pytest.raises(ValueError, match="level"):
        load_tiers(driver.state, slots=slots[:1], tiers=[CLUB], levels=[2], acquired_at=[0], expires_at=[never])
