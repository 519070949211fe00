"""Chains of lots stay in the order of §9.6, whatever matures, is spent and expires between them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from earnbook.ledger.invariants import check_chains
from earnbook.ledger.layout import LOT_HINT, LOT_SEQ, LOT_STATUS, LOTS, R_LOTS
from earnbook.ledger.schema import ActionType, InventoryMode, IssuancePolicy, LotStatus, Outcome
from earnbook.ledger.state import State
from earnbook.ledger.state_load import add_holders, load_lots, open_lots
from earnbook.ledger.terms import ActionTerms, AssetTerms, Date, ProgramTerms, Terms
from tests.support.ledger_driver import HOUR, Driver, Effect, Event

CREDIT, SPEND, SOON, LATE, FIXED, BRIEF = range(6)
KINDS = (CREDIT, CREDIT, SPEND, SOON, SOON, LATE, FIXED, BRIEF)


def terms() -> Terms:
    """Lots that are there at once, mature after a short, a long or a fixed time, or expire before the others mature."""
    asset = AssetTerms(number=1, scale=0, mode=InventoryMode.LOT, policy=IssuancePolicy.UNLIMITED)
    dates: list[dict[str, Any]] = [
        {"matures": Date(duration=5 * HOUR)},
        {"matures": Date(duration=30 * HOUR)},
        {"matures": Date(time=60 * HOUR)},
        {"expires": Date(duration=3 * HOUR)},
    ]
    actions = (
        ActionTerms(type=ActionType.CREDIT, number=1, asset=0),
        ActionTerms(type=ActionType.DEBIT, number=2, asset=0),
        *(ActionTerms(type=ActionType.CREDIT, number=number, asset=0, **date) for number, date in enumerate(dates, 3)),
    )
    return Terms(assets=(asset,), programs=(ProgramTerms(number=1, linked=(0,), rules=1, actions=actions),))


def event(kind: int, at: int, value: int = 1) -> Event:
    return Event(who="alice", effects=[Effect(action=kind, value=str(value))], at=at)


def hints(state: State) -> dict[int, int]:
    """The lot each DEFERRED lot has for a hint, by their numbers (0: none)."""
    lots = state.table(LOTS)[: state.register(R_LOTS)]
    waiting = lots[lots[:, LOT_STATUS] == LotStatus.DEFERRED].tolist()
    return {row[LOT_SEQ]: int(lots[row[LOT_HINT] - 1, LOT_SEQ]) if row[LOT_HINT] else 0 for row in waiting}


@pytest.mark.parametrize("seed", range(6))
def test_lots_of_a_busy_holder_mature_into_their_places(seed: int) -> None:
    rng = random.Random(seed)
    driver = Driver(terms())
    at = 0
    for _ in range(60):
        events = []
        for _ in range(8):
            at += rng.choice((0, 0, HOUR // 4, HOUR))
            events.append(event(rng.choice(KINDS), at, rng.randint(1, 9)))
        assert set(driver.run(events)) <= {Outcome.OK, Outcome.INSUFFICIENT_BALANCE}
        assert check_chains(driver.state) == []
    assert {"MATURITY", "EXPIRATION", "DEBIT"} <= {line.split()[0] for line in driver.journal()}


def test_a_deferred_lot_looks_from_the_last_available_lot_or_the_one_that_matured_before_it() -> None:
    driver = Driver(terms())
    driver.run([event(CREDIT, 0), event(SOON, 1), event(SOON, 2), event(CREDIT, 3), event(SOON, 4)])
    assert hints(driver.state) == {2: 1, 3: 1, 5: 4}
    driver.run([], until=5 * HOUR + 1)
    assert hints(driver.state) == {3: 2, 5: 4}
    driver.run([event(SPEND, 5 * HOUR + 1, 3)], until=6 * HOUR)
    assert check_chains(driver.state) == []


def test_lots_of_a_book_mature_into_their_places() -> None:
    driver = Driver(terms())
    count = 18
    driver.run([event((SOON, CREDIT)[at % 2], at) for at in range(count)])
    again = State(terms(), driver.state.registers)
    slot = int(add_holders(again, [1])[0])
    lots = {name: values for name, values in open_lots(driver.state).items() if name not in ("holder", "asset")}
    load_lots(again, {**lots, "slot": [slot] * count, "asset": [0] * count})
    assert check_chains(again) == []
    assert hints(again) == hints(driver.state)
