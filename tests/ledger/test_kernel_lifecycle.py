"""What falls due by the lifecycle of tiers in the kernel (§14.4): activity, downgrades, period ends, rolls."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import COUNTER_LIMIT, join_words, split_words
from earnbook.ledger.schema import (
    TIME_NONE,
    ActionType,
    ChangeOperation,
    Comparison,
    InventoryMode,
    IssuancePolicy,
    Retention,
    StateType,
)
from earnbook.ledger.state import State
from earnbook.ledger.state_load import begin_periods, checkpoint, load_counters, load_tiers
from earnbook.ledger.terms import ActionTerms, AssetTerms, Date, ProgramTerms, Terms
from earnbook.ledger.terms_tiers import CriterionTerms, LevelTerms, LifecycleTerms, TierTerms
from tests.support.ledger_driver import DAY, Driver, Effect, Event
from tests.support.oracle_json import canonical_number

SPEND, NIGHTS = 0, 1
ACTIVE, YEARLY, ONE_DOWN = 0, 1, 2
YEAR = 365 * DAY
LEVELS = tuple(
    LevelTerms(name=10 + place, rank=place, criteria=(CriterionTerms.of(SPEND, Comparison.AT_LEAST, Decimal(amount)),))
    for place, amount in enumerate((100, 500, 2000), start=1)
)
PERIODS = LifecycleTerms(retention=Retention.PERIOD_BASED, grace=30 * DAY)
TIERS = (
    TierTerms(
        number=1,
        program=0,
        levels=LEVELS,
        lifecycle=LifecycleTerms(retention=Retention.ACTIVITY_REFRESH, duration=10 * DAY, grace=2 * DAY, floor=1),
    ),
    TierTerms(number=3, program=0, levels=LEVELS, lifecycle=PERIODS),
    TierTerms(
        number=2,
        program=1,
        levels=LEVELS,
        lifecycle=LifecycleTerms(retention=Retention.PERIOD_BASED, drops_one=True, floor=1, is_excess=True),
    ),
)
ADD_SPEND, ADD_NIGHTS, TO_TOP, FOR_A_DAY, TO_BASE = range(5)
ACTIONS = (
    *(ActionTerms(type=ActionType.COUNTER, number=key + 1, key=key, name=key + 1) for key in (SPEND, NIGHTS)),
    ActionTerms(type=ActionType.SET_TIER, number=3, key=ACTIVE, name=3),
    ActionTerms(type=ActionType.SET_TIER, number=4, key=ACTIVE, name=3, expires=Date(duration=DAY)),
    ActionTerms(type=ActionType.SET_TIER, number=5, key=ACTIVE, name=0),
)


def terms() -> Terms:
    asset = AssetTerms(number=1, scale=0, mode=InventoryMode.SIMPLE, policy=IssuancePolicy.UNLIMITED)
    programs = tuple(ProgramTerms(number=number, linked=(0,), actions=ACTIONS, rules=1) for number in (1, 2))
    return Terms(assets=(asset,), programs=programs, counters=2, tiers=TIERS)


def dates(place: int, end: int) -> tuple[int, ...]:
    """PERIOD_DATES of years of 365 days; a level outlasts its year by 30 days, and then there is the grace."""
    return end, end + 30 * DAY, end + YEAR + 30 * DAY, end + 30 * DAY + TIERS[place].lifecycle.grace, place


def begin_period(state: State) -> None:
    """Both yearly types end together, and both list both counters."""
    numbers = state.numbers
    slots = sorted(range(2, state.slots), key=lambda slot: int(numbers[slot]))
    due = [ONE_DOWN, YEARLY]  # by number
    rolls = [(key, key + 1, place) for key in (SPEND, NIGHTS) for place in due]
    state.begin_period(slots, [dates(place, state.period_end + YEAR) for place in due], rolls)


@pytest.fixture
def driver() -> Driver:
    made = Driver(terms(), begin_period=begin_period)
    begin_periods(made.state, [dates(YEARLY, YEAR), dates(ONE_DOWN, YEAR)])
    return made


def event(who: str, action: int | None = None, day: float = 0, *, value: str | None = None, program: int = 0) -> Event:
    effects = () if action is None else (Effect(action=action, value=value),)
    return Event(who=who, effects=effects, at=int(day * DAY), program=program)


def rows(driver: Driver, tier: int) -> dict[int, tuple[Any, ...]]:
    """By holder: level, and the days of acquired_at, expires_at and downgrade_at, and what is noted."""
    found = checkpoint(driver.state)["tiers"]
    days = [
        [None if time == TIME_NONE else time / DAY for time in found[name].tolist()]
        for name in ("acquired_at", "expires_at", "downgrade_at")
    ]
    told = zip(found["holder"], found["tier"], found["level"], *days, found["noted"], strict=True)
    return {int(row[0]): (int(row[2]), *row[3:6], int(row[6])) for row in told if row[1] == TIERS[tier].number}


def due_rows(driver: Driver, state_type: StateType = StateType.TIER) -> list[tuple[int, ...]]:
    """The day, holder, key and new value of changes made by due work."""
    changes = {row["change_seq"]: row for row in driver.tables["changes"]}
    found = [(row["changed_at"] // DAY, changes[row["change_seq"]]) for row in driver.tables["due_changes"]]
    return [(day, row["entity"], row["key"], row["value"]) for day, row in found if row["state_type"] == state_type]


# --- activity -------------------------------------------------------------------------------------------------------


def test_events_move_an_expiry_and_its_one_item_in_the_queue_follows(driver: Driver) -> None:
    driver.run([event("alice", TO_TOP), *(event("alice", day=day) for day in range(1, 40))])
    assert rows(driver, ACTIVE) == {1: (13, 0, 49, None, 0)}
    assert driver.state.register(at.R_DUE) == 3  # hers, and the two period ends
    driver.run([], until=51 * DAY - 1)
    assert due_rows(driver) == []
    driver.run([], until=51 * DAY)
    assert rows(driver, ACTIVE) == {1: (11, 51, 61, None, 0)}  # nothing is earned, but there is the floor


def test_a_level_falls_to_what_is_earned_and_not_below_the_floor(driver: Driver) -> None:
    driver.run([event("alice", TO_TOP), event("bob", TO_TOP)])
    driver.run([event("alice", ADD_SPEND, 1, value="600")])
    driver.run([], until=13 * DAY)
    assert due_rows(driver) == [(12, 2, 1, 11), (13, 1, 1, 12)]
    driver.run([], until=100 * DAY)
    # alice is renewed every twelve days as long as she earns it; bob is at the floor, and stays there past his expiry.
    assert rows(driver, ACTIVE) == {1: (12, 13, 107, None, 0), 2: (11, 12, 22, None, 0)}


def test_an_own_expiry_is_not_moved_and_removes(driver: Driver) -> None:
    driver.run([event("alice", FOR_A_DAY), event("alice", day=0.5)])
    assert rows(driver, ACTIVE) == {1: (13, 0, 1, None, at.OWN_EXPIRY)}
    driver.run([event("alice", day=2)])
    assert due_rows(driver) == [(1, 1, 1, 0)]


def test_items_of_one_level_that_meet_are_one(driver: Driver) -> None:
    driver.run([event("alice", FOR_A_DAY), event("alice", TO_BASE, 0.1), event("alice", TO_TOP, 0.2)])
    driver.run(
        [event("alice", FOR_A_DAY, 0.3), event("alice", TO_TOP, 0.4), event("alice", ADD_SPEND, 1, value="3000")]
    )
    driver.run([], until=60 * DAY)
    assert [day for day, *_ in due_rows(driver)] == [13, 25, 37, 49]
    assert driver.state.register(at.R_DUE) == 3


def test_a_failed_event_moves_nothing(driver: Driver) -> None:
    driver.run([event("alice", TO_TOP)])
    too_much = Event(who="alice", at=DAY, effects=[Effect(action=ADD_SPEND, value="99999999999999999999")] * 2)
    driver.run([too_much])
    assert rows(driver, ACTIVE) == {1: (13, 0, 10, None, 0)}


# --- period ends ----------------------------------------------------------------------------------------------------


def test_a_period_end_renews_notes_and_rolls_and_the_downgrade_comes_later(driver: Driver) -> None:
    driver.run([event(who, ADD_SPEND, 1, value="600") for who in ("alice", "bob")])
    driver.run([event("bob", ADD_SPEND, 2, value="-450")])
    driver.run([], until=YEAR - 1)
    assert [row for row in due_rows(driver) if row[2] == 3] == []
    driver.run([], until=YEAR)
    assert rows(driver, YEARLY) == {1: (12, 1, 760, None, 0), 2: (12, 1, 395, 425, 11)}
    assert due_rows(driver, StateType.COUNTER) == [(365, 1, 1, 0), (365, 2, 1, 0)]
    driver.run([event("bob", ADD_SPEND, 400, value="90")])
    driver.run([], until=425 * DAY)
    assert rows(driver, YEARLY)[2] == (11, 425, 760, None, 0)
    driver.run([], until=2 * YEAR)
    assert rows(driver, YEARLY) == {1: (12, 1, 760, 790, 0), 2: (11, 425, 760, 790, 0)}


def test_what_is_granted_at_a_period_end_belongs_to_the_next_period(driver: Driver) -> None:
    driver.run([event("alice", ADD_SPEND, 364.999, value="600"), event("bob", ADD_SPEND, 365, value="600")])
    assert [row[2] for row in rows(driver, YEARLY).values()] == [760, 760]  # hers was renewed
    driver.run([event("carol", ADD_SPEND, 366, value="600")])
    assert rows(driver, YEARLY)[3][2] == 760


def test_one_down_carries_over_what_exceeds_the_level(driver: Driver) -> None:
    driver.run(
        [event("alice", ADD_SPEND, 1, value="2600.5", program=1), event("bob", ADD_NIGHTS, 1, value="7", program=1)]
    )
    driver.run([], until=YEAR)
    assert due_rows(driver, StateType.COUNTER) == [(365, 1, 1, 6005), (365, 2, 2, 0)]
    driver.run([], until=2 * YEAR)
    assert rows(driver, ONE_DOWN)[1] == (13, 1, 760, 760, 12)
    driver.run([], until=760 * DAY)
    assert rows(driver, ONE_DOWN)[1] == (12, 760, 1125, None, 0)


def test_a_period_end_goes_by_type_and_participant_and_tables_grow_under_it(driver: Driver) -> None:
    people = [f"p{number}" for number in range(300)]
    for action in (ADD_SPEND, ADD_NIGHTS):
        driver.run([event(who, action, 1, value="150") for who in people])
    driver.run([event(who, ADD_SPEND, 1, value="-100") for who in people])
    before = len(driver.tables["due_changes"])
    driver.run([], until=YEAR)
    changes = {row["change_seq"]: row for row in driver.tables["changes"]}
    due = [(row, changes[row["change_seq"]]) for row in driver.tables["due_changes"][before:]]
    kinds = [
        (row["state_type"], row["key"]) for _, row in due if row["key"] != 1 or row["state_type"] != StateType.TIER
    ]
    # Nobody has a level of the second program: the first is due later by number, but comes alone.
    noted = [(StateType.TIER, 3)] * 300
    assert kinds == [*noted, *[(StateType.COUNTER, 1), (StateType.COUNTER, 2)] * 300]
    assert [row["entity"] for _, row in due if row["state_type"] == StateType.COUNTER][::2] == list(range(1, 301))
    assert {row["operation"] for _, row in due if row["state_type"] == StateType.COUNTER} == {
        ChangeOperation.AUTO_RESET
    }
    assert driver.state.register(at.R_PERIOD_AT) == TIME_NONE


# --- what is carried over -------------------------------------------------------------------------------------------


def _drawn(chance: random.Random) -> Decimal:
    """A number of a counter, from short to as long as there are."""
    limit = chance.choice((1000, 10**12, COUNTER_LIMIT - 1))
    scale = chance.choice((0, 0, 2, 18))
    return canonical_number(Decimal(f"{chance.randrange(0, limit * 10**scale)}e-{scale}"))


def test_what_is_carried_over_is_exact() -> None:
    chance = random.Random(14)
    for _ in range(150):
        thresholds = [_drawn(chance) for _ in range(chance.choice((1, 2, 3)))]
        value = chance.choice((_drawn(chance), max(thresholds)))
        criteria = tuple(CriterionTerms.of(SPEND, Comparison.AT_LEAST, number) for number in thresholds)
        tier = TierTerms(
            number=1,
            program=0,
            levels=(LevelTerms(name=1, rank=1, criteria=criteria),),
            lifecycle=LifecycleTerms(is_excess=True),
        )
        rolled = _rolled(tier, value)
        carried = max(Fraction(value) - max(map(Fraction, thresholds)), Fraction(0))
        assert rolled == carried, (value, thresholds)


def _rolled(tier: TierTerms, value: Decimal) -> Fraction:
    """The counter of somebody on the level of a tier type after a period end."""
    asset = AssetTerms(number=1, scale=0, mode=InventoryMode.SIMPLE, policy=IssuancePolicy.UNLIMITED)
    program = ProgramTerms(number=1, linked=(0,), actions=ACTIONS[:1], rules=1)
    never = int(TIME_NONE)
    driver = Driver(
        Terms(assets=(asset,), programs=(program,), counters=1, tiers=(tier,)),
        rows=100,
        begin_period=lambda state: state.begin_period([1], [(never, never, never, never, 0)], [(SPEND, 1, 0)]),
    )
    begin_periods(driver.state, [(DAY, never, never, never, 0)])
    driver.run([event("alice")])
    scale = max(0, -int(value.as_tuple().exponent))
    low, high = split_words(int(Fraction(value) * 10**scale))
    window = {"reset_at": [never], "reset_after": [never]}
    load_counters(driver.state, slots=[1], keys=[0], low=[low], high=[high], scale=[scale], **window)
    load_tiers(driver.state, slots=[1], tiers=[0], levels=[1], acquired_at=[0], expires_at=[never])
    driver.run([], until=DAY)
    cells = driver.state.cells
    mantissa = join_words(int(cells.counter_low[1, 0]), int(cells.counter_high[1, 0]))
    return Fraction(mantissa, 10 ** int(cells.counter_scale[1, 0]))
