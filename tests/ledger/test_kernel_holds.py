"""Holds through the kernel: the worked examples of §9.4 to §9.9 and what each action refuses, effects by hand."""

from __future__ import annotations

from typing import Any

import pytest

from earnbook.ledger.invariants import check_books
from earnbook.ledger.layout import R_DUE
from earnbook.ledger.schema import (
    ActionType,
    Bucket,
    EntryType,
    InventoryMode,
    IssuancePolicy,
    LotMoveKind,
    LotStatus,
    OperationType,
    Outcome,
    Status,
)
from earnbook.ledger.state_load import open_lots
from earnbook.ledger.terms import ActionTerms, AssetTerms, Date, ProgramTerms, Terms
from tests.support.ledger_driver import DAY, HOUR, Driver, Effect, Event, Operation

CREDIT, AUTHORISE, HOLD, RELEASE, RELEASE_ALL, FORFEIT, FORFEIT_ALL, FORFEIT_HELD, VOID, DEBIT, DEBIT_HELD = range(11)
OVERDRAW, EXPIRING, VESTING, HELD_EXPIRING, BAD_DATES = range(11, 16)
R1, R2 = 1, 2
MAX = "92233720368547758.07"
LOT, SIMPLE = InventoryMode.LOT, InventoryMode.SIMPLE


def terms(
    mode: InventoryMode = LOT,
    policy: IssuancePolicy = IssuancePolicy.UNLIMITED,
    scale: int = 2,
    *,
    maximum: int | None = None,
    asset_status: Status = Status.ACTIVE,
    linked: tuple[int, ...] = (0,),
    programs: int = 1,
) -> Terms:
    """One asset and the actions above, in every program."""
    asset = AssetTerms(number=1, scale=scale, mode=mode, policy=policy, max_transaction=maximum, status=asset_status)
    rows: list[dict[str, Any]] = [
        {"type": ActionType.CREDIT},
        {"type": ActionType.CREDIT, "bucket": Bucket.HELD},
        {"type": ActionType.HOLD},
        {"type": ActionType.RELEASE},
        {"type": ActionType.RELEASE, "everything": True},
        {"type": ActionType.FORFEIT},
        {"type": ActionType.FORFEIT, "everything": True},
        {"type": ActionType.FORFEIT, "bucket": Bucket.HELD},
        {"type": ActionType.VOID_HOLD, "everything": True},
        {"type": ActionType.DEBIT},
        {"type": ActionType.DEBIT, "bucket": Bucket.HELD},
        {"type": ActionType.DEBIT, "allow_negative": True},
        {"type": ActionType.CREDIT, "expires": Date(duration=240 * HOUR)},
        {"type": ActionType.CREDIT, "matures": Date(duration=48 * HOUR)},
        {"type": ActionType.CREDIT, "bucket": Bucket.HELD, "expires": Date(duration=240 * HOUR)},
        {"type": ActionType.CREDIT, "expires": Date(duration=0)},
    ]
    actions = tuple(ActionTerms(number=place, asset=0, **row) for place, row in enumerate(rows, start=1))
    return Terms(
        assets=(asset,),
        programs=tuple(
            ProgramTerms(number=number, linked=linked, rules=1, actions=actions) for number in range(1, programs + 1)
        ),
    )


def effect(action: int, value: str | None = None, reference: int = -1, **codes: Outcome) -> Effect:
    return Effect(action=action, value=value, reference=reference, **codes)


def event(action: int, value: str | None = None, reference: int = -1, *, at: int = 0, program: int = 0) -> Event:
    """One effect for alice."""
    return Event(who="alice", effects=[effect(action, value, reference)], at=at, program=program)


def fund(amount: str, program: int = 0) -> Operation:
    return Operation(type=OperationType.FUND, amount=amount, program=program)


def run(driver: Driver, *records: Event | Operation, until: int | None = None) -> list[Outcome]:
    """Decide a batch, after which the books must be sound."""
    codes = driver.run(records, until=until)
    assert check_books(driver.state) == []
    return codes


def moves(driver: Driver) -> list[tuple[str, int, int, int, str]]:
    """The lot moves that are written down: kind, lot, remaining before and after, status after."""
    return [
        (
            LotMoveKind(row["kind"]).name,
            row["lot_seq"],
            row["remaining_before"],
            row["remaining_after"],
            LotStatus(row["status_after"]).name,
        )
        for row in driver.tables["lot_moves"]
    ]


@pytest.mark.parametrize("mode", InventoryMode)
def test_m6_a_hold_is_forfeited_in_part_and_released(mode: InventoryMode) -> None:
    driver = Driver(terms(mode))
    run(driver, event(CREDIT, "50"), event(HOLD, "20"), event(FORFEIT_HELD, "5"), event(RELEASE_ALL))
    assert driver.journal() == [
        "CREDIT ISSUANCE -50.00 | alice.A +50.00",
        "HOLD alice.A -20.00 | alice.H +20.00",
        "FORFEIT alice.H -5.00 | BREAKAGE +5.00",
        "RELEASE alice.H -15.00 | alice.A +15.00",
    ]
    assert driver.balances() == "ISSUANCE -50.00 | BREAKAGE 5.00 | alice.A 45.00 | alice.H 0.00"


def test_m7_a_hold_splits_the_last_lot_and_release_clears_the_stamp() -> None:
    driver = Driver(terms())
    run(driver, event(CREDIT, "60"), event(CREDIT, "50", at=DAY), event(HOLD, "80", R1, at=DAY))
    assert driver.describe_lots() == "L1 60.00/60.00 HELD[R1], L2 50.00/30.00 AVAILABLE, L3 20.00/20.00 HELD[R1]"
    assert driver.tables["lots"][2]["root"] == 2
    run(driver, event(RELEASE_ALL, at=DAY), event(DEBIT, "70", at=DAY))
    assert driver.describe_lots() == "L1 60.00/0.00 CONSUMED, L2 50.00/20.00 AVAILABLE, L3 20.00/20.00 AVAILABLE"
    assert driver.journal()[2:] == [
        "HOLD alice.A -80.00 | alice.H +80.00",
        "RELEASE alice.H -80.00 | alice.A +80.00",
        "DEBIT alice.A -70.00 | ISSUANCE +70.00",
    ]
    assert moves(driver) == [
        ("HOLD", 1, 6000, 6000, "HELD"),
        ("SPLIT", 2, 5000, 3000, "AVAILABLE"),
        ("SPLIT", 3, 0, 2000, "HELD"),
        ("RELEASE", 1, 6000, 6000, "AVAILABLE"),
        ("RELEASE", 3, 2000, 2000, "AVAILABLE"),
    ]


def test_a_split_lot_keeps_its_age_and_dates() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(EXPIRING, "50", R2), event(CREDIT, "9", at=1), event(HOLD, "20", R1, at=2))
    whole, part = driver.tables["lots"][0], driver.tables["lots"][2]
    same = ("root", "created_at", "expires_at", "matures_at", "reference", "source", "program")
    assert [whole[name] for name in same] == [part[name] for name in same]
    run(driver, event(RELEASE_ALL, at=3), event(DEBIT, "50", at=4))
    assert driver.describe_lots() == "L1 50/0 CONSUMED, L2 9/9 AVAILABLE, L3 20/0 CONSUMED"


def test_a_partial_release_splits_a_held_lot() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(CREDIT, "50"), event(HOLD, "50", R1), event(RELEASE, "20", R1))
    assert driver.describe_lots() == "L1 50/30 HELD[R1], L2 20/20 AVAILABLE"
    assert moves(driver)[1:] == [("SPLIT", 1, 50, 30, "HELD"), ("SPLIT", 2, 0, 20, "AVAILABLE")]
    assert [row["hold_reference"] for row in driver.tables["lot_moves"]] == [R1, R1, -1]


def test_m11_m12_m13_settling_lower_higher_and_equal() -> None:
    for amount, line, issued in (
        ("45", "SETTLE alice.H -50.00 | alice.A +45.00 | ISSUANCE +5.00", "45.00"),
        ("60", "SETTLE alice.H -50.00 | ISSUANCE -10.00 | alice.A +60.00", "60.00"),
        ("50", "SETTLE alice.H -50.00 | alice.A +50.00", "50.00"),
    ):
        driver = Driver(terms())
        run(driver, event(AUTHORISE, "50", R1), event(CREDIT, amount, R1))
        assert driver.journal()[1] == line
        assert driver.balances() == f"ISSUANCE -{issued} | alice.A {issued} | alice.H 0.00"
        assert driver.describe_lots() == f"L1 50.00/0.00 CONSUMED, L2 {issued}/{issued} AVAILABLE"
        run(driver, event(CREDIT, "50", R1))
        assert driver.journal()[2] == "CREDIT ISSUANCE -50.00 | alice.A +50.00"


def test_a_settle_of_nothing_and_a_credit_to_held_leave_the_authorisation() -> None:
    driver = Driver(terms(scale=0))
    codes = run(driver, event(AUTHORISE, "50", R1), event(CREDIT, "0", R1), event(AUTHORISE, "5", R1))
    assert codes == [Outcome.OK] * 3
    assert driver.describe_lots() == "L1 50/50 HELD[R1], L2 5/5 HELD[R1]"


def test_a_settle_may_be_deferred() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(AUTHORISE, "50", R1), event(VESTING, "40", R1))
    assert driver.journal()[1] == "SETTLE alice.H -50 | alice.D +40 | ISSUANCE +10"
    assert driver.describe_lots() == "L1 50/0 CONSUMED, L2 40/40 DEFERRED"
    run(driver, until=2 * DAY)
    assert driver.journal()[2] == "MATURITY alice.D -40 | alice.A +40"


def test_a_settle_repays_overdraft() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(AUTHORISE, "50", R1), event(OVERDRAW, "15"), event(CREDIT, "40", R1))
    assert driver.describe_lots() == "L1 50/0 CONSUMED, L2 40/25 AVAILABLE"
    assert [row["repaid"] for row in driver.tables["lot_moves"]] == [0, 15]


def test_m14_a_void_takes_one_reference_once() -> None:
    driver = Driver(terms())
    codes = run(driver, event(AUTHORISE, "50", R1), event(AUTHORISE, "8", R2), event(VOID, None, R1))
    assert codes == [Outcome.OK] * 3
    assert driver.journal()[2] == "VOID_HOLD alice.H -50.00 | ISSUANCE +50.00"
    assert driver.balances() == "ISSUANCE -8.00 | alice.H 8.00"
    assert run(driver, event(VOID, None, R1)) == [Outcome.REFERENCE_NOT_FOUND]


def test_m15_a_settle_gives_back_to_the_wallet_what_the_lots_do_not_need() -> None:
    driver = Driver(terms(policy=IssuancePolicy.PREFUNDED))
    run(driver, fund("100"), event(AUTHORISE, "30", R1), event(AUTHORISE, "20", R1), event(CREDIT, "35", R1))
    assert driver.journal()[3] == "SETTLE alice.H -50.00 | alice.A +35.00 | wallet +15.00"
    assert driver.balances() == "wallet 65.00 | ISSUANCE -100.00 | alice.A 35.00 | alice.H 0.00"
    assert driver.describe_lots() == "L1 30.00/0.00 CONSUMED, L2 20.00/0.00 CONSUMED, L3 35.00/35.00 AVAILABLE"
    returned = [row for row in driver.tables["movements"] if row["credit"] < 0 and row["entry_seq"] == 4]
    assert [(row["lot_seq"], row["amount"]) for row in returned] == [(2, 1500)]


def test_a_settle_in_another_program_returns_to_the_wallets_that_paid() -> None:
    driver = Driver(terms(policy=IssuancePolicy.PREFUNDED, scale=0, programs=2))
    records = [fund("100"), fund("100", 1), event(AUTHORISE, "30", R1), event(AUTHORISE, "20", R1, program=1)]
    run(driver, *records, event(CREDIT, "10", R1, program=1))
    assert driver.journal()[4] == "SETTLE alice.H -50 | alice.A +10 | wallet1 +20 | wallet2 +20"
    assert (driver.tables["lots"][2]["source"], driver.tables["lots"][2]["program"]) == (-2, 2)


def test_m16_two_ordinary_holds_and_a_release_of_one() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(CREDIT, "100"), event(HOLD, "30", R1), event(HOLD, "20", R2))
    assert driver.balances() == "ISSUANCE -100 | alice.A 50 | alice.H 50"
    run(driver, event(RELEASE_ALL, None, R1), event(DEBIT, "25"))
    assert driver.balances() == "ISSUANCE -75 | alice.A 55 | alice.H 20"
    run(driver, event(RELEASE_ALL, None, R2))
    assert driver.journal()[3:] == [
        "RELEASE alice.H -30 | alice.A +30",
        "DEBIT alice.A -25 | ISSUANCE +25",
        "RELEASE alice.H -20 | alice.A +20",
    ]
    references = {row["entry_seq"]: row["reference"] for row in driver.tables["entry_references"]}
    assert references == {2: R1, 3: R2, 4: R1, 6: R2}


def test_m17_a_void_leaves_what_a_hold_put_there() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(AUTHORISE, "100", R1), event(CREDIT, "20"), event(HOLD, "20", R1), event(VOID, None, R1))
    assert driver.balances() == "ISSUANCE -20 | alice.A 0 | alice.H 20"
    run(driver, event(RELEASE_ALL, None, R1))
    assert driver.journal()[3:] == ["VOID_HOLD alice.H -100 | ISSUANCE +100", "RELEASE alice.H -20 | alice.A +20"]


def test_a_released_provisional_lot_becomes_ordinary() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(AUTHORISE, "50", R1), event(RELEASE_ALL, None, R1), event(HOLD, "50", R1))
    assert open_lots(driver.state)["provisional"].tolist() == [False]
    assert run(driver, event(VOID, None, R1)) == [Outcome.REFERENCE_NOT_FOUND]
    run(driver, event(CREDIT, "50", R1))
    assert driver.journal()[3] == "CREDIT ISSUANCE -50 | alice.A +50"


def test_what_a_partial_release_leaves_stays_provisional() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(AUTHORISE, "50", R1), event(RELEASE, "20", R1), event(VOID, None, R1))
    assert driver.journal()[2] == "VOID_HOLD alice.H -30 | ISSUANCE +30"
    assert driver.describe_lots() == "L1 50/0 CONSUMED, L2 20/20 AVAILABLE"


def test_m20_held_value_outlives_its_expiry_and_expires_when_released() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(EXPIRING, "100"), event(HOLD, "40", R1), event(RELEASE_ALL, None, R1, at=19 * DAY))
    assert driver.journal()[2:] == [
        "EXPIRATION alice.A -60 | BREAKAGE +60",
        "RELEASE alice.H -40 | alice.A +40",
        "EXPIRATION alice.A -40 | BREAKAGE +40",
    ]
    assert driver.balances() == "ISSUANCE -100 | BREAKAGE 100 | alice.A 0 | alice.H 0"
    assert driver.describe_lots() == "L1 100/0 EXPIRED, L2 40/0 EXPIRED"
    last = [row for row in driver.tables["movements"] if row["entry_seq"] == 5]
    assert [(row["log_seq"], row["action"], row["lot_seq"]) for row in last] == [(3, RELEASE_ALL + 1, 2)]
    assert len(driver.tables["due_entries"]) == 1


def test_what_comes_back_overdue_repays_first_and_cannot_be_spent() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(HELD_EXPIRING, "40", R1), event(HELD_EXPIRING, "20", R1), event(OVERDRAW, "50"))
    both = Event(who="alice", effects=[effect(RELEASE_ALL), effect(DEBIT, "1")], at=30 * DAY)
    assert run(driver, both, event(RELEASE_ALL, at=30 * DAY)) == [Outcome.INSUFFICIENT_BALANCE, Outcome.OK]
    assert driver.journal()[3:] == ["RELEASE alice.H -60 | alice.A +60", "EXPIRATION alice.A -10 | BREAKAGE +10"]
    assert driver.describe_lots() == "L1 40/0 CONSUMED, L2 20/0 EXPIRED"
    assert driver.balances().endswith("alice.A 0 | alice.H 0")


def test_overdue_lots_expire_among_lots_that_stay() -> None:
    driver = Driver(terms(scale=0))
    run(
        driver,
        event(HELD_EXPIRING, "1", R1),
        event(CREDIT, "2", at=1),
        event(AUTHORISE, "3", R1, at=2),
        event(HELD_EXPIRING, "4", R1, at=3),
        event(HELD_EXPIRING, "5", R2, at=4),
        event(RELEASE_ALL, None, R1, at=20 * DAY),
    )
    assert driver.journal()[5:] == [
        "RELEASE alice.H -8 | alice.A +8",
        "EXPIRATION alice.A -1 | BREAKAGE +1",
        "EXPIRATION alice.A -4 | BREAKAGE +4",
    ]
    assert driver.describe_lots().endswith("L3 3/3 AVAILABLE, L4 4/0 EXPIRED, L5 5/5 HELD[R2]")


def test_a_lot_released_in_time_expires_when_it_is_due() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(EXPIRING, "10"))
    queued = driver.state.register(R_DUE)
    for hour in range(1, 20):
        run(driver, event(HOLD, "10", at=hour * HOUR), event(RELEASE_ALL, at=hour * HOUR))
    assert driver.state.register(R_DUE) == queued
    run(driver, until=10 * DAY)
    assert driver.journal()[-1] == "EXPIRATION alice.A -10 | BREAKAGE +10"


def test_a_release_repays_overdraft() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(AUTHORISE, "10", R1), event(AUTHORISE, "30", R1), event(OVERDRAW, "25"))
    run(driver, event(RELEASE, "20"), event(RELEASE, "10"))
    assert driver.describe_lots() == "L1 10/0 CONSUMED, L2 30/10 HELD[R1], L3 10/0 CONSUMED, L4 10/5 AVAILABLE"
    assert [row["repaid"] for row in driver.tables["lot_moves"]] == [10, 0, 10, 0, 5]


def test_held_lots_are_debited_and_forfeited_oldest_first() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(CREDIT, "10"), event(HOLD, "10", R1), event(AUTHORISE, "20", R2), event(DEBIT_HELD, "12"))
    assert driver.describe_lots() == "L1 10/0 CONSUMED, L2 20/18 HELD[R2]"
    run(driver, event(FORFEIT_HELD, "3"), event(VOID, None, R2))
    assert driver.journal()[3:] == [
        "DEBIT alice.H -12 | ISSUANCE +12",
        "FORFEIT alice.H -3 | BREAKAGE +3",
        "VOID_HOLD alice.H -15 | ISSUANCE +15",
    ]


@pytest.mark.parametrize("mode", InventoryMode)
def test_everything_of_nothing_has_no_effect(mode: InventoryMode) -> None:
    driver = Driver(terms(mode))
    records = [event(OVERDRAW, "5"), event(FORFEIT_ALL), event(RELEASE_ALL), event(FORFEIT, "0"), event(HOLD, "0")]
    assert run(driver, *records) == [Outcome.OK] * 5
    assert driver.journal() == ["DEBIT alice.A -5.00 | ISSUANCE +5.00"]


@pytest.mark.parametrize("mode", InventoryMode)
@pytest.mark.parametrize("action", [HOLD, RELEASE, FORFEIT, FORFEIT_HELD, DEBIT, DEBIT_HELD])
def test_more_than_there_is_fails(action: int, mode: InventoryMode) -> None:
    driver = Driver(terms(mode))
    run(driver, event(CREDIT, "10"), event(HOLD, "5"))
    assert run(driver, event(action, "5.01"), event(action, "5")) == [Outcome.INSUFFICIENT_BALANCE, Outcome.OK]


def test_a_release_by_reference_finds_less_than_the_bucket_holds() -> None:
    driver = Driver(terms())
    run(driver, event(CREDIT, "10"), event(HOLD, "5", R1), event(HOLD, "5", R2))
    short, missing = Outcome.INSUFFICIENT_BALANCE, Outcome.REFERENCE_NOT_FOUND
    codes = run(driver, event(RELEASE, "6", R1), event(RELEASE, "1", 7), event(RELEASE_ALL, None, 7))
    assert codes == [short, missing, missing]


@pytest.mark.parametrize("mode", InventoryMode)
def test_the_buckets_of_a_holder_fit_together(mode: InventoryMode) -> None:
    driver = Driver(terms(mode))
    overflow = Outcome.AMOUNT_OVERFLOW
    codes = run(driver, event(AUTHORISE, MAX), event(CREDIT, "0.01"), event(AUTHORISE, "0.01"), event(RELEASE, MAX))
    assert codes == [Outcome.OK, overflow, overflow, Outcome.OK]
    assert driver.balances().endswith(f"alice.A {MAX} | alice.H 0.00")


def test_a_settle_does_not_wrap_its_bucket_or_a_wallet() -> None:
    driver = Driver(terms(policy=IssuancePolicy.PREFUNDED))
    run(driver, fund("10"), event(AUTHORISE, "10", R1), fund(MAX))
    overflow = Outcome.AMOUNT_OVERFLOW
    assert run(driver, event(CREDIT, "9", R1), event(VOID, None, R1)) == [overflow, overflow]
    assert run(driver, event(CREDIT, "20", R1)) == [Outcome.OK]
    free = Driver(terms())
    run(free, event(AUTHORISE, "10", R1), event(CREDIT, "92233720368547748.07"))
    assert run(free, event(CREDIT, "10.01", R1), event(CREDIT, "10", R1)) == [overflow, Outcome.OK]


def test_a_settle_takes_from_the_wallet_only_what_is_missing() -> None:
    driver = Driver(terms(policy=IssuancePolicy.PREFUNDED))
    run(driver, fund("52"), event(AUTHORISE, "50", R1))
    codes = run(driver, event(CREDIT, "52.01", R1), event(CREDIT, "52", R1), event(AUTHORISE, "1"))
    assert codes == [Outcome.INSUFFICIENT_WALLET, Outcome.OK, Outcome.INSUFFICIENT_WALLET]


def test_only_credits_and_debits_are_limited() -> None:
    driver = Driver(terms(maximum=1000))
    limit = Outcome.MAX_TRANSACTION_EXCEEDED
    run(driver, *(event(CREDIT, "10") for _ in range(5)), event(AUTHORISE, "10", R1), event(AUTHORISE, "10", R1))
    assert run(driver, event(AUTHORISE, "10.01"), event(DEBIT_HELD, "10.01")) == [limit, limit]
    assert run(driver, event(CREDIT, "10.01", R1)) == [limit]
    free = [event(VOID, None, R1), event(HOLD, "30"), event(RELEASE, "20"), event(FORFEIT, "25")]
    assert run(driver, *free) == [Outcome.OK] * 4


def test_an_archived_asset_moves_but_takes_no_credit() -> None:
    driver = Driver(terms(asset_status=Status.ARCHIVED))
    archived = Outcome.ASSET_ARCHIVED
    assert run(driver, event(AUTHORISE, "1"), event(HOLD, "1")) == [archived, Outcome.INSUFFICIENT_BALANCE]
    assert run(driver, event(RELEASE_ALL), event(FORFEIT_ALL)) == [Outcome.OK] * 2


@pytest.mark.parametrize("action", [AUTHORISE, HOLD, RELEASE, RELEASE_ALL, FORFEIT_ALL, VOID])
def test_an_asset_that_is_not_linked_fails(action: int) -> None:
    driver = Driver(terms(linked=()))
    assert run(driver, event(action, "-1", R1)) == [Outcome.ASSET_NOT_LINKED]


@pytest.mark.parametrize(
    "given, code",
    [
        (effect(HOLD, "-1", reference_code=Outcome.INVALID_REFERENCE), Outcome.AMOUNT_NOT_POSITIVE),
        (effect(HOLD, "1", reference_code=Outcome.INVALID_REFERENCE), Outcome.INVALID_REFERENCE),
        (effect(RELEASE_ALL, reference_code=Outcome.INVALID_REFERENCE), Outcome.INVALID_REFERENCE),
        (effect(RELEASE_ALL, value_code=Outcome.EXPRESSION_ERROR), Outcome.EXPRESSION_ERROR),
        (effect(RELEASE, "0", R1), Outcome.OK),
        (effect(RELEASE, "0.001", R1), Outcome.AMOUNT_EXCEEDS_SCALE),
        (effect(BAD_DATES, "1"), Outcome.INVALID_LOT_DATES),
        (effect(VOID, reference=R1), Outcome.REFERENCE_NOT_FOUND),
        (effect(AUTHORISE, "1", reference_code=Outcome.INVALID_REFERENCE), Outcome.INVALID_REFERENCE),
    ],
)
def test_checks_go_in_their_order(given: Effect, code: Outcome) -> None:
    driver = Driver(terms())
    assert run(driver, Event(who="alice", effects=[given])) == [code]
    assert driver.journal() == []


def test_dates_are_checked_before_what_a_settle_finds() -> None:
    driver = Driver(terms())
    run(driver, event(AUTHORISE, "50", R1))
    assert run(driver, event(BAD_DATES, "1", R1)) == [Outcome.INVALID_LOT_DATES]


def test_a_failed_event_puts_held_lots_back() -> None:
    driver = Driver(terms(scale=0))
    run(driver, event(EXPIRING, "30"), event(AUTHORISE, "9", R1), event(HOLD, "10", R2))
    before = driver.describe_lots()
    effects = [
        effect(HOLD, "15", R1),
        effect(RELEASE_ALL),
        effect(AUTHORISE, "5", R1),
        effect(CREDIT, "3", R1),
        effect(DEBIT, "99"),
    ]
    assert run(driver, Event(who="alice", effects=effects)) == [Outcome.INSUFFICIENT_BALANCE]
    assert driver.describe_lots() == before
    assert {row["entry_type"] for row in driver.tables["movements"]} == {EntryType.CREDIT, EntryType.HOLD}
    assert len(driver.tables["entry_references"]) == 1
