"""Operations on money through the kernel: what each posts, its filters, and what it is refused for (§9.6, §15.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from earnbook.ledger.invariants import check_books
from earnbook.ledger.layout import PROGRAM_STATUS, PROGRAMS
from earnbook.ledger.schema import (
    Bucket,
    Direction,
    InventoryMode,
    IssuancePolicy,
    OperationType,
    Outcome,
    Status,
)
from earnbook.ledger.terms import AssetTerms, Date, ProgramTerms, Terms
from tests.support.ledger_driver import DAY, HOUR, Driver, Event, Operation

ADJUST, HOLD, RELEASE, FORFEIT, VOID = (OperationType(number) for number in range(1, 6))
LOT, SIMPLE = InventoryMode.LOT, InventoryMode.SIMPLE
R1, R2 = 1, 2
MAX = "92233720368547758.07"
DEBIT, HELD = Direction.DEBIT, Bucket.HELD


def terms(
    mode: InventoryMode = LOT,
    policy: IssuancePolicy = IssuancePolicy.UNLIMITED,
    *,
    maximum: int | None = None,
    asset_status: Status = Status.ACTIVE,
    program_status: Status = Status.ACTIVE,
    linked: tuple[int, ...] = (0,),
) -> Terms:
    """One asset of two decimals, one program without rules."""
    asset = AssetTerms(number=1, scale=2, mode=mode, policy=policy, max_transaction=maximum, status=asset_status)
    return Terms(assets=(asset,), programs=(ProgramTerms(number=1, linked=linked, status=program_status),))


def operation(kind: OperationType, amount: str | None = None, **fields: Any) -> Operation:
    """An operation on alice, unless a group is named."""
    who = None if "group" in fields else "alice"
    return Operation(**{"type": kind, "amount": amount, "who": who, **fields})


def credit(amount: str, **fields: Any) -> Operation:
    return operation(ADJUST, amount, **fields)


def driver_with(terms: Terms, *records: Event | Operation) -> Driver:
    """Books in which alice exists and the records went well."""
    driver = Driver(terms)
    assert set(run(driver, Event(who="alice"), *records)) == {Outcome.OK}
    return driver


def run(driver: Driver, *records: Event | Operation) -> list[Outcome]:
    """Decide a batch, after which the books must be sound."""
    codes = driver.run(records)
    assert check_books(driver.state) == []
    return codes


def fails(driver: Driver, record: Operation, code: Outcome) -> None:
    """A record that fails with a code leaves nothing behind."""
    before = (driver.balances(), driver.describe_lots(), driver.journal(), driver.state.registers.lot_seq)
    entry = driver.state.registers.entry_seq
    assert run(driver, record) == [code]
    assert before == (driver.balances(), driver.describe_lots(), driver.journal(), driver.state.registers.lot_seq)
    assert driver.state.registers.entry_seq == entry


# --- adjust -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", InventoryMode)
def test_adjusts_credit_and_debit_both_buckets(mode: InventoryMode) -> None:
    driver = driver_with(terms(mode), credit("50"), credit("8", bucket=HELD), credit("20", direction=DEBIT))
    run(driver, credit("3", direction=DEBIT, bucket=HELD), credit("40", direction=DEBIT, allow_negative=True))
    assert driver.journal() == [
        "CREDIT ISSUANCE -50.00 | alice.A +50.00",
        "CREDIT ISSUANCE -8.00 | alice.H +8.00",
        "DEBIT alice.A -20.00 | ISSUANCE +20.00",
        "DEBIT alice.H -3.00 | ISSUANCE +3.00",
        "DEBIT alice.A -40.00 | ISSUANCE +40.00",
    ]
    assert driver.balances() == "ISSUANCE 5.00 | alice.A -10.00 | alice.H 5.00"
    assert all(row["action"] == 0 for row in driver.tables["movements"])


def test_an_adjustment_gives_a_lot_its_dates_and_reference() -> None:
    driver = driver_with(terms(), credit("5", expires=Date(duration=DAY), reference=R1, at=HOUR))
    run(driver, credit("7", matures=Date(time=3 * HOUR), expires=Date(time=9 * HOUR), at=2 * HOUR))
    assert driver.journal()[1] == "CREDIT ISSUANCE -7.00 | alice.D +7.00"
    dates = [(lot["reference"], lot["expires_at"], lot["matures_at"]) for lot in driver.tables["lots"]]
    assert dates[0][:2] == (R1, DAY + HOUR)
    assert dates[1] == (-1, 9 * HOUR, 3 * HOUR)
    driver.run([], until=2 * DAY)
    assert driver.balances() == "ISSUANCE -12.00 | BREAKAGE 12.00 | alice.A 0.00 | alice.D 0.00"


def test_an_adjustment_never_settles() -> None:
    driver = driver_with(terms(), credit("50", bucket=HELD, reference=R1), credit("45", reference=R1))
    assert driver.journal()[1] == "CREDIT ISSUANCE -45.00 | alice.A +45.00"
    assert driver.describe_lots() == "L1 50.00/50.00 HELD[R1], L2 45.00/45.00 AVAILABLE"
    run(driver, operation(VOID, reference=R1))
    assert driver.journal()[2] == "VOID_HOLD alice.H -50.00 | ISSUANCE +50.00"


def test_groups_are_adjusted_as_participants_are() -> None:
    driver = Driver(terms())
    driver.add_group("team")
    assert run(driver, credit("9", group="team"), operation(HOLD, "4", group="team")) == [Outcome.OK] * 2
    assert driver.balances() == "ISSUANCE -9.00 | team.A 5.00 | team.H 4.00"
    assert [row["holder"] for row in driver.outcomes] == [0, 0]


def test_the_outcome_names_the_participant() -> None:
    driver = driver_with(terms(), credit("9"))
    assert run(driver, credit("0"), credit("5", who="nobody")) == [
        Outcome.AMOUNT_NOT_POSITIVE,
        Outcome.PARTICIPANT_NOT_FOUND,
    ]
    assert [row["holder"] for row in driver.outcomes] == [1, 1, 1, 0]


# --- hold, release, forfeit, void_hold --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", InventoryMode)
def test_amounts_left_out_mean_everything_and_nothing_is_no_effect(mode: InventoryMode) -> None:
    driver = driver_with(terms(mode), credit("50"), operation(HOLD), operation(RELEASE))
    run(driver, operation(HOLD, "20"), operation(FORFEIT, bucket=HELD), operation(FORFEIT))
    assert driver.journal()[1:] == [
        "HOLD alice.A -50.00 | alice.H +50.00",
        "RELEASE alice.H -50.00 | alice.A +50.00",
        "HOLD alice.A -20.00 | alice.H +20.00",
        "FORFEIT alice.H -20.00 | BREAKAGE +20.00",
        "FORFEIT alice.A -30.00 | BREAKAGE +30.00",
    ]
    nothing = [operation(HOLD), operation(RELEASE), operation(FORFEIT), operation(FORFEIT, bucket=HELD)]
    assert run(driver, *nothing) == [Outcome.NO_EFFECT] * 4
    run(driver, credit("5", direction=DEBIT, allow_negative=True))
    assert run(driver, *nothing) == [Outcome.NO_EFFECT] * 4


def test_references_are_stamps_filters_and_those_of_the_entries() -> None:
    driver = driver_with(terms(), credit("30", reference=R2), credit("20"), operation(HOLD, "40", reference=R1))
    assert driver.describe_lots() == "L1 30.00/30.00 HELD[R1], L2 20.00/10.00 AVAILABLE, L3 10.00/10.00 HELD[R1]"
    run(driver, credit("7", reference=R2), operation(FORFEIT, "3", reference=R2))
    run(driver, operation(FORFEIT, "31", bucket=HELD, reference=R1), operation(RELEASE, reference=R1))
    assert driver.describe_lots() == (
        "L1 30.00/0.00 CONSUMED, L2 20.00/10.00 AVAILABLE, L3 10.00/9.00 AVAILABLE, L4 7.00/4.00 AVAILABLE"
    )
    references = {row["entry_seq"]: row["reference"] for row in driver.tables["entry_references"]}
    assert references == {3: R1, 5: R2, 6: R1, 7: R1}
    for kind, bucket in ((RELEASE, HELD), (FORFEIT, HELD), (FORFEIT, Bucket.AVAILABLE), (VOID, HELD)):
        fails(driver, operation(kind, reference=5, bucket=bucket), Outcome.REFERENCE_NOT_FOUND)


def test_times_choose_the_lots_that_are_held_released_and_forfeited() -> None:
    days = [credit("10", at=day * DAY) for day in range(4)]
    driver = driver_with(terms(), *days)
    middle = {"earned": (DAY, 2 * DAY), "at": 4 * DAY}
    fails(driver, operation(HOLD, "20.01", **middle), Outcome.INSUFFICIENT_BALANCE)
    run(driver, operation(HOLD, "15", **middle))
    assert driver.describe_lots() == (
        "L1 10.00/10.00 AVAILABLE, L2 10.00/10.00 HELD, L3 10.00/5.00 AVAILABLE, L4 10.00/10.00 AVAILABLE, "
        "L5 5.00/5.00 HELD"
    )
    run(driver, operation(FORFEIT, earned=(2 * DAY, 3 * DAY - 1), at=4 * DAY))
    run(driver, operation(RELEASE, earned=(2 * DAY, 9 * DAY), at=4 * DAY))
    assert driver.describe_lots() == (
        "L1 10.00/10.00 AVAILABLE, L2 10.00/10.00 HELD, L3 10.00/0.00 CONSUMED, L4 10.00/10.00 AVAILABLE, "
        "L5 5.00/5.00 AVAILABLE"
    )
    nothing = {"earned": (5 * DAY, 6 * DAY), "at": 4 * DAY}
    kinds = [operation(kind, **nothing) for kind in (HOLD, RELEASE, FORFEIT)]
    assert run(driver, *kinds) == [Outcome.NO_EFFECT] * 3


@pytest.mark.parametrize("is_known", [True, False])
def test_lots_that_are_listed_are_the_only_ones(is_known: bool) -> None:
    driver = driver_with(terms(), *[credit("10") for _ in range(4)])
    listed = {"is_known": is_known}
    run(driver, operation(HOLD, lots=(4, 2, 4), **listed), operation(FORFEIT, "12", lots=(3, 1), **listed))
    assert driver.describe_lots() == (
        "L1 10.00/0.00 CONSUMED, L2 10.00/10.00 HELD, L3 10.00/8.00 AVAILABLE, L4 10.00/10.00 HELD"
    )
    for kind, lots in ((HOLD, (3, 2)), (RELEASE, (2, -1)), (FORFEIT, (1,)), (FORFEIT, (3, 99))):
        fails(driver, operation(kind, lots=lots, **listed), Outcome.LOT_NOT_FOUND)
    fails(driver, operation(FORFEIT, "10.01", bucket=HELD, lots=(4,), **listed), Outcome.INSUFFICIENT_BALANCE)
    assert run(driver, operation(RELEASE, lots=(4,), **listed), operation(HOLD, lots=(3,), **listed)) == [
        Outcome.OK,
        Outcome.OK,
    ]
    assert driver.describe_lots() == (
        "L1 10.00/0.00 CONSUMED, L2 10.00/10.00 HELD, L3 10.00/8.00 HELD, L4 10.00/10.00 AVAILABLE"
    )
    assert [row["holder"] for row in driver.outcomes if row["outcome"] == Outcome.OK][-1] == 1


def test_filters_are_tested_each_and_then_together() -> None:
    driver = driver_with(terms(), credit("10", reference=R1), credit("20", reference=R2), operation(HOLD, reference=R1))
    both = operation(RELEASE, reference=R2, lots=(1, 9))
    fails(driver, both, Outcome.REFERENCE_NOT_FOUND)
    fails(driver, operation(RELEASE, reference=R1, lots=(1, 9)), Outcome.LOT_NOT_FOUND)
    assert run(driver, operation(RELEASE, reference=R1, lots=(1,), earned=(1, DAY))) == [Outcome.NO_EFFECT]
    assert run(driver, operation(RELEASE, "5", reference=R1, lots=(1, 2), earned=(0, 0))) == [Outcome.OK]
    assert driver.describe_lots() == ("L1 10.00/5.00 HELD[R1], L2 20.00/20.00 HELD[R1], L3 5.00/5.00 AVAILABLE")


def test_listed_lots_of_another_holder_are_not_found() -> None:
    driver = driver_with(terms(), Event(who="bob"), credit("10"), credit("10", who="bob"))
    fails(driver, operation(HOLD, lots=(2,)), Outcome.LOT_NOT_FOUND)


def test_a_lot_released_by_number_after_its_time_expires_at_once() -> None:
    driver = driver_with(terms(), credit("10", expires=Date(duration=DAY)), credit("10", expires=Date(duration=DAY)))
    run(driver, operation(HOLD), operation(RELEASE, lots=(2,), is_known=False, at=2 * DAY))
    assert driver.journal()[-2:] == [
        "RELEASE alice.H -10.00 | alice.A +10.00",
        "EXPIRATION alice.A -10.00 | BREAKAGE +10.00",
    ]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_operations_need_an_active_program_or_not() -> None:
    driver = driver_with(terms(), credit("10"), operation(HOLD, "4", reference=R1))
    driver.state.table(PROGRAMS)[0, PROGRAM_STATUS] = int(Status.SUSPENDED)
    for record in (credit("1"), operation(HOLD, "1")):
        fails(driver, record, Outcome.PROGRAM_SUSPENDED)
    assert run(driver, operation(RELEASE, "1"), operation(FORFEIT, "1")) == [Outcome.OK] * 2


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.CLOSED])
def test_holders_that_are_not_active(status: Status) -> None:
    driver = driver_with(terms(), credit("10"), credit("4", bucket=HELD, reference=R1), operation(HOLD, "1"))
    driver.state.cells.status[1] = int(status)
    for record in (credit("1"), operation(HOLD, "1"), operation(RELEASE, "1")):
        fails(driver, record, Outcome.PARTICIPANT_INACTIVE)
    assert run(driver, operation(FORFEIT, "1"), operation(VOID, reference=R1)) == [Outcome.OK] * 2


def test_groups_that_are_archived() -> None:
    driver = Driver(terms())
    slot = driver.add_group("team")
    run(driver, credit("9", group="team"))
    driver.state.cells.status[slot] = int(Status.ARCHIVED)
    for kind in (ADJUST, HOLD, RELEASE):
        fails(driver, operation(kind, "1", group="team"), Outcome.GROUP_ARCHIVED)
    fails(driver, operation(HOLD, "1", group="other"), Outcome.GROUP_NOT_FOUND)
    assert run(driver, operation(FORFEIT, "1", group="team")) == [Outcome.OK]


def test_assets_that_refuse() -> None:
    archived = Driver(terms(asset_status=Status.ARCHIVED))
    run(archived, Event(who="alice"))
    fails(archived, credit("1"), Outcome.ASSET_ARCHIVED)
    fails(archived, credit("1", direction=DEBIT), Outcome.INSUFFICIENT_BALANCE)
    fails(archived, credit("1", asset=-1), Outcome.ASSET_NOT_FOUND)
    unlinked = Driver(terms(linked=()))
    run(unlinked, Event(who="alice"))
    for kind in (ADJUST, HOLD, RELEASE, FORFEIT):
        fails(unlinked, operation(kind, "1"), Outcome.ASSET_NOT_LINKED)
    fails(unlinked, operation(VOID, reference=R1), Outcome.ASSET_NOT_LINKED)


def test_what_only_lots_have_is_refused_on_simple_assets() -> None:
    driver = driver_with(terms(SIMPLE), credit("10"))
    records = [
        operation(HOLD, "1", reference=R1),
        operation(RELEASE, earned=(1, DAY)),
        operation(FORFEIT, lots=(1,)),
        operation(VOID, reference=R1),
        credit("1", expires=Date(duration=DAY)),
    ]
    for record in records:
        fails(driver, record, Outcome.NOT_LOT_ASSET)


AMOUNTS = [
    ("0", Outcome.AMOUNT_NOT_POSITIVE),
    ("-1", Outcome.AMOUNT_NOT_POSITIVE),
    ("0.001", Outcome.AMOUNT_EXCEEDS_SCALE),
    ("1e30", Outcome.AMOUNT_OVERFLOW),
]


@pytest.mark.parametrize(("amount", "code"), AMOUNTS)
def test_amounts_that_are_refused_by_themselves(amount: str, code: Outcome) -> None:
    driver = driver_with(terms(), credit("10"), operation(HOLD, "5"))
    for kind in (ADJUST, HOLD, RELEASE, FORFEIT):
        fails(driver, operation(kind, amount), code)


def test_only_adjustments_are_limited() -> None:
    driver = driver_with(terms(maximum=1000), credit("10"), credit("10"), operation(HOLD, "20"))
    fails(driver, credit("10.01"), Outcome.MAX_TRANSACTION_EXCEEDED)
    fails(driver, credit("10.01", direction=DEBIT), Outcome.MAX_TRANSACTION_EXCEEDED)
    assert run(driver, operation(FORFEIT, "15", bucket=HELD)) == [Outcome.OK]


def test_balances_refuse_last() -> None:
    driver = driver_with(terms(policy=IssuancePolicy.PREFUNDED), Operation(type=OperationType.FUND, amount="5"))
    fails(driver, credit("6", expires=Date(duration=0)), Outcome.INVALID_LOT_DATES)
    fails(driver, credit("6"), Outcome.INSUFFICIENT_WALLET)
    fails(driver, credit("6", direction=DEBIT), Outcome.INSUFFICIENT_BALANCE)
    full = driver_with(terms(), credit(MAX))
    fails(full, credit("0.01"), Outcome.AMOUNT_OVERFLOW)


# --- room -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4096])
def test_operations_on_many_lots_find_room(rows: int) -> None:
    """Tables of the smallest size grow on the way: an operation writes more rows than they have."""
    driver = Driver(terms(), rows=rows)
    run(driver, Event(who="alice"), *[credit("1", expires=Date(duration=DAY)) for _ in range(300)])
    listed: Sequence[Operation] = [
        operation(HOLD, "250", lots=tuple(range(1, 301)), is_known=False, reference=R1),
        operation(RELEASE, "100", at=2 * DAY),
        operation(FORFEIT, bucket=HELD, lots=tuple(range(101, 251)), is_known=False, at=2 * DAY),
    ]
    assert run(driver, *listed) == [Outcome.OK] * 3
    assert driver.balances() == "ISSUANCE -300.00 | BREAKAGE 300.00 | alice.A 0.00 | alice.H 0.00"
    assert len(driver.tables["movements"]) == 300 + 250 + 50 + 100 + 100 + 150
