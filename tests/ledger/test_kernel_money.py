"""Money through the kernel: the worked examples of §9 and the checks of §12.3, with effects written by hand."""

from __future__ import annotations

import pytest

from earnbook.ledger.schema import ActionType, Bucket, InventoryMode, IssuancePolicy, OperationType, Outcome, Status
from earnbook.ledger.terms import ActionTerms, AssetTerms, Date, ProgramTerms, Terms
from tests.support.ledger_driver import DAY, HOUR, Driver, Effect, Event, Operation

CREDIT, DEBIT, OVERDRAW, DEFER, EXPIRE, HELD = range(6)
TWO_DAYS, TEN_DAYS = Date(duration=48 * HOUR), Date(duration=240 * HOUR)
MAX = "92233720368547758.07"


def terms(
    mode: InventoryMode = InventoryMode.SIMPLE,
    policy: IssuancePolicy = IssuancePolicy.UNLIMITED,
    scale: int = 2,
    *,
    maximum: int | None = None,
    asset_status: Status = Status.ACTIVE,
    program_status: Status = Status.ACTIVE,
    linked: tuple[int, ...] = (0,),
    defer: Date = TWO_DAYS,
    expire: Date = TEN_DAYS,
    late_expiry: Date | None = None,
) -> Terms:
    """One asset, one program, the six actions above."""
    asset = AssetTerms(number=1, scale=scale, mode=mode, policy=policy, max_transaction=maximum, status=asset_status)
    actions = (
        ActionTerms(type=ActionType.CREDIT, number=1, asset=0),
        ActionTerms(type=ActionType.DEBIT, number=2, asset=0),
        ActionTerms(type=ActionType.DEBIT, number=3, asset=0, allow_negative=True),
        ActionTerms(type=ActionType.CREDIT, number=4, asset=0, matures=defer, expires=late_expiry or Date()),
        ActionTerms(type=ActionType.CREDIT, number=5, asset=0, expires=expire),
        ActionTerms(type=ActionType.DEBIT, number=6, asset=0, bucket=Bucket.HELD),
    )
    program = ProgramTerms(number=1, linked=linked, rules=1, actions=actions, status=program_status)
    return Terms(assets=(asset,), programs=(program,))


def event(who: str, action: int, value: str, at: int = 0) -> Event:
    return Event(who=who, effects=[Effect(action=action, value=value)], at=at)


def fund(amount: str, at: int = 0) -> Operation:
    return Operation(type=OperationType.FUND, amount=amount, at=at)


def burn(amount: str, at: int = 0) -> Operation:
    return Operation(type=OperationType.BURN, amount=amount, at=at)


def test_m1_a_credit_mints() -> None:
    driver = Driver(terms())
    assert driver.run([event("alice", CREDIT, "5.00")]) == [Outcome.OK]
    assert driver.journal() == ["CREDIT ISSUANCE -5.00 | alice.A +5.00"]
    assert driver.balances() == "ISSUANCE -5.00 | alice.A 5.00"


def test_m2_a_wallet_is_funded_runs_dry_and_is_burned() -> None:
    driver = Driver(terms(policy=IssuancePolicy.PREFUNDED))
    records: list[Event | Operation] = [
        fund("1000"),
        event("alice", CREDIT, "300"),
        event("bob", CREDIT, "650"),
        event("bob", CREDIT, "60"),
        burn("50"),
        burn("0.01"),
    ]
    wallet = Outcome.INSUFFICIENT_WALLET
    assert driver.run(records) == [Outcome.OK, Outcome.OK, Outcome.OK, wallet, Outcome.OK, wallet]
    assert driver.journal() == [
        "FUND ISSUANCE -1000.00 | wallet +1000.00",
        "CREDIT wallet -300.00 | alice.A +300.00",
        "CREDIT wallet -650.00 | bob.A +650.00",
        "BURN wallet -50.00 | BREAKAGE +50.00",
    ]
    assert driver.balances() == "wallet 0.00 | ISSUANCE -1000.00 | BREAKAGE 50.00 | alice.A 300.00 | bob.A 650.00"


def test_m3_a_debit_returns_value_to_issuance() -> None:
    driver = Driver(terms())
    driver.run([event("alice", CREDIT, "20"), event("alice", DEBIT, "7.50")])
    assert driver.journal()[1] == "DEBIT alice.A -7.50 | ISSUANCE +7.50"
    assert driver.balances() == "ISSUANCE -12.50 | alice.A 12.50"


@pytest.mark.parametrize("mode", InventoryMode)
def test_m4_a_debit_returns_value_to_the_wallet(mode: InventoryMode) -> None:
    driver = Driver(terms(mode, IssuancePolicy.PREFUNDED))
    driver.run([fund("100"), event("alice", CREDIT, "40"), event("alice", DEBIT, "15")])
    assert driver.journal()[2] == "DEBIT alice.A -15.00 | wallet +15.00"
    assert driver.balances() == "wallet 75.00 | ISSUANCE -100.00 | alice.A 25.00"


def test_a_simple_balance_is_overdrawn_only_where_the_action_allows_it() -> None:
    driver = Driver(terms())
    codes = driver.run([event("alice", DEBIT, "1"), event("alice", OVERDRAW, "6"), event("alice", CREDIT, "7.50")])
    assert codes == [Outcome.INSUFFICIENT_BALANCE, Outcome.OK, Outcome.OK]
    assert driver.balances() == "ISSUANCE -1.50 | alice.A 1.50"


def test_m9_a_credit_repays_the_overdraft_of_a_lot_asset_first() -> None:
    driver = Driver(terms(InventoryMode.LOT))
    driver.run([event("alice", CREDIT, "30"), event("alice", CREDIT, "20"), event("alice", OVERDRAW, "80")])
    assert driver.balances() == "ISSUANCE 30.00 | alice.A -30.00"
    assert driver.lots() == {1: (3000, 0), 2: (2000, 0)}
    driver.run([event("alice", CREDIT, "100")])
    assert driver.journal()[2:] == [
        "DEBIT alice.A -80.00 | ISSUANCE +80.00",
        "CREDIT ISSUANCE -100.00 | alice.A +100.00",
    ]
    assert driver.balances() == "ISSUANCE -70.00 | alice.A 70.00"
    assert driver.lots() == {1: (3000, 0), 2: (2000, 0), 3: (10000, 7000)}
    (move,) = driver.tables["lot_moves"]
    assert (move["lot_seq"], move["remaining_after"], move["repaid"]) == (3, 7000, 3000)


def test_a_credit_that_only_repays_leaves_no_open_lot() -> None:
    driver = Driver(terms(InventoryMode.LOT))
    driver.run(
        [event("alice", OVERDRAW, "30"), event("alice", EXPIRE, "30"), event("alice", CREDIT, "1")], until=DAY * 99
    )
    assert driver.lots() == {1: (3000, 0), 2: (100, 100)}
    assert driver.balances() == "ISSUANCE -1.00 | alice.A 1.00"


def test_m10_a_deferred_credit_repays_when_it_matures() -> None:
    driver = Driver(terms(InventoryMode.LOT, scale=0))
    driver.run([event("alice", CREDIT, "40"), event("alice", OVERDRAW, "70"), event("alice", DEFER, "100")])
    assert driver.balances() == "ISSUANCE -70 | alice.A -30 | alice.D 100"
    driver.run([], until=2 * DAY)
    assert driver.journal()[3] == "MATURITY alice.D -100 | alice.A +100"
    assert driver.balances() == "ISSUANCE -70 | alice.A 70 | alice.D 0"
    assert driver.lots() == {1: (40, 0), 2: (100, 70)}


def test_m19_what_is_not_mature_cannot_be_spent() -> None:
    driver = Driver(terms(InventoryMode.LOT, scale=0, defer=Date(duration=720 * HOUR)))
    codes = driver.run([event("alice", DEFER, "500"), event("alice", DEBIT, "1", at=30 * DAY - 1)])
    assert codes == [Outcome.OK, Outcome.INSUFFICIENT_BALANCE]
    assert driver.run([event("alice", DEBIT, "1", at=30 * DAY)]) == [Outcome.OK]
    assert driver.journal()[1:] == ["MATURITY alice.D -500 | alice.A +500", "DEBIT alice.A -1 | ISSUANCE +1"]


@pytest.mark.parametrize("cuts", [[3], [1, 1, 1], [2, 0, 1]])
def test_e2_due_work_comes_before_the_record_of_its_time(cuts: list[int]) -> None:
    both = terms(InventoryMode.LOT, scale=0, late_expiry=Date(duration=240 * HOUR))
    driver = Driver(both)
    records = [event("alice", DEFER, "100", at=day * DAY) for day in (1, 5, 12)]
    for count in cuts:
        driver.run(records[:count])
        records = records[count:]
    assert driver.journal() == [
        "CREDIT ISSUANCE -100 | alice.D +100",
        "MATURITY alice.D -100 | alice.A +100",
        "CREDIT ISSUANCE -100 | alice.D +100",
        "MATURITY alice.D -100 | alice.A +100",
        "EXPIRATION alice.A -100 | BREAKAGE +100",
        "CREDIT ISSUANCE -100 | alice.D +100",
    ]
    created = [row["created_at"] // DAY for row in driver.tables["due_entries"]]
    assert created == [3, 7, 11]
    assert driver.state.clock == 12 * DAY


def test_lots_are_consumed_oldest_first_and_tell_their_sources() -> None:
    driver = Driver(terms(InventoryMode.LOT, scale=0))
    credits = [
        event("alice", CREDIT, "30", at=1),
        event("alice", CREDIT, "20", at=1),
        event("alice", CREDIT, "50", at=2),
    ]
    driver.run([*credits, event("alice", DEBIT, "60", at=3)])
    taken = [(m["lot_seq"], m["amount"]) for m in driver.tables["movements"] if m["entry_seq"] == 4]
    assert taken == [(1, 30), (2, 20), (3, 10)]


def test_a_lot_that_matures_takes_its_place_by_age() -> None:
    driver = Driver(terms(InventoryMode.LOT, scale=0))
    driver.run([event("alice", DEFER, "10", at=0), event("alice", CREDIT, "5", at=DAY)], until=3 * DAY)
    driver.run([event("alice", DEBIT, "12", at=4 * DAY)])
    taken = [(m["lot_seq"], m["amount"]) for m in driver.tables["movements"] if m["entry_type"] == 2]
    assert taken == [(1, 10), (2, 2)]


def test_due_items_of_one_time_go_by_rank_then_lot() -> None:
    expiring = terms(InventoryMode.LOT, scale=0, defer=Date(time=10 * DAY), expire=Date(time=10 * DAY))
    driver = Driver(expiring)
    driver.run(
        [event("bob", EXPIRE, "1"), event("alice", DEFER, "2"), event("alice", EXPIRE, "3"), event("bob", DEFER, "4")],
        until=10 * DAY,
    )
    assert driver.journal()[4:] == [
        "MATURITY alice.D -2 | alice.A +2",
        "MATURITY bob.D -4 | bob.A +4",
        "EXPIRATION bob.A -1 | BREAKAGE +1",
        "EXPIRATION alice.A -3 | BREAKAGE +3",
    ]


@pytest.mark.parametrize("expire", [Date(time=5), Date(duration=0)])
def test_a_lot_that_is_dead_on_arrival_fails(expire: Date) -> None:
    driver = Driver(terms(InventoryMode.LOT, expire=expire))
    assert driver.run([event("alice", EXPIRE, "1", at=5)]) == [Outcome.INVALID_LOT_DATES]
    assert driver.journal() == []


def test_a_lot_must_not_expire_before_it_matures() -> None:
    driver = Driver(terms(InventoryMode.LOT, defer=Date(time=10 * DAY), late_expiry=Date(time=10 * DAY)))
    assert driver.run([event("alice", DEFER, "1")]) == [Outcome.INVALID_LOT_DATES]


def test_a_maturity_in_the_past_means_available_at_once() -> None:
    driver = Driver(terms(InventoryMode.LOT, scale=0, defer=Date(time=10)))
    driver.run([event("alice", DEFER, "1", at=10)])
    assert driver.journal() == ["CREDIT ISSUANCE -1 | alice.A +1"]
    assert driver.tables["lots"][0]["matures_at"] < 0


@pytest.mark.parametrize(
    "value, code",
    [
        ("5.000", Outcome.OK),
        ("5.005", Outcome.AMOUNT_EXCEEDS_SCALE),
        ("-1", Outcome.AMOUNT_NOT_POSITIVE),
        ("-5.005", Outcome.AMOUNT_NOT_POSITIVE),
        ("0", Outcome.OK),
        ("0.000", Outcome.OK),
        (MAX, Outcome.OK),
        ("92233720368547758.08", Outcome.AMOUNT_OVERFLOW),
        ("92233720368547758.085", Outcome.AMOUNT_EXCEEDS_SCALE),
    ],
)
@pytest.mark.parametrize("mode", InventoryMode)
def test_n2_amounts_are_checked_in_order(value: str, code: Outcome, mode: InventoryMode) -> None:
    driver = Driver(terms(mode))
    assert driver.run([event("alice", CREDIT, value)]) == [code]
    assert len(driver.journal()) == (code == Outcome.OK and float(value) != 0)


@pytest.mark.parametrize("mode", InventoryMode)
def test_n2_balances_overflow_rather_than_wrap(mode: InventoryMode) -> None:
    driver = Driver(terms(mode))
    full = event("alice", CREDIT, "92233720368547758.00")
    assert driver.run([full, event("alice", CREDIT, "0.08"), event("alice", CREDIT, "0.07")]) == [
        Outcome.OK,
        Outcome.AMOUNT_OVERFLOW,
        Outcome.OK,
    ]
    assert driver.balances() == f"ISSUANCE -{MAX} | alice.A {MAX}"


def test_system_accounts_take_more_than_64_bits() -> None:
    driver = Driver(terms())
    driver.run([event(name, CREDIT, MAX) for name in ("alice", "bob", "carol")])
    assert driver.balances().startswith("ISSUANCE -276701161105643274.21 |")


def test_what_matures_fits_into_its_holders_balance() -> None:
    driver = Driver(terms(InventoryMode.LOT))
    codes = driver.run([event("alice", DEFER, "0.01"), event("alice", CREDIT, MAX), event("alice", CREDIT, "1")])
    assert codes == [Outcome.OK, Outcome.AMOUNT_OVERFLOW, Outcome.OK]
    driver.run([event("bob", CREDIT, "1", at=100 * DAY)])
    assert "MATURITY alice.D -0.01 | alice.A +0.01" in driver.journal()


def test_an_overdraft_does_not_wrap() -> None:
    driver = Driver(terms())
    codes = driver.run(
        [event("alice", OVERDRAW, MAX), event("alice", OVERDRAW, "0.01"), event("alice", OVERDRAW, "0.01")]
    )
    assert codes == [Outcome.OK, Outcome.OK, Outcome.AMOUNT_OVERFLOW]


@pytest.mark.parametrize("mode", InventoryMode)
def test_a_wallet_does_not_wrap(mode: InventoryMode) -> None:
    driver = Driver(terms(mode, IssuancePolicy.PREFUNDED))
    records: list[Event | Operation] = [
        fund("10"),
        event("alice", CREDIT, "10"),
        fund(MAX),
        fund("0.01"),
        event("alice", DEBIT, "0.01"),
    ]
    overflow = Outcome.AMOUNT_OVERFLOW
    assert driver.run(records) == [Outcome.OK, Outcome.OK, Outcome.OK, overflow, overflow]
    assert driver.balances().startswith(f"wallet {MAX} |")


def test_the_transaction_limit_includes_its_bound() -> None:
    driver = Driver(terms(maximum=1000))
    codes = driver.run([event("alice", CREDIT, "10"), event("alice", CREDIT, "10.01"), event("alice", DEBIT, "10.01")])
    assert codes == [Outcome.OK, Outcome.MAX_TRANSACTION_EXCEEDED, Outcome.MAX_TRANSACTION_EXCEEDED]


def test_fund_and_burn_are_not_limited_by_the_transaction_limit() -> None:
    driver = Driver(terms(policy=IssuancePolicy.PREFUNDED, maximum=1000))
    assert driver.run([fund("50"), burn("20")]) == [Outcome.OK, Outcome.OK]


def test_an_archived_asset_takes_no_credits_but_gives() -> None:
    driver = Driver(terms(asset_status=Status.ARCHIVED))
    codes = driver.run([event("alice", CREDIT, "-1"), event("alice", OVERDRAW, "1")])
    assert codes == [Outcome.ASSET_ARCHIVED, Outcome.OK]


def test_an_asset_that_is_not_linked_fails() -> None:
    driver = Driver(terms(linked=()))
    assert driver.run([event("alice", DEBIT, "1"), event("alice", CREDIT, "-1")]) == [Outcome.ASSET_NOT_LINKED] * 2


def test_held_value_is_debited_from_its_own_bucket() -> None:
    driver = Driver(terms(InventoryMode.LOT))
    codes = driver.run([event("alice", CREDIT, "5"), event("alice", HELD, "1")])
    assert codes == [Outcome.OK, Outcome.INSUFFICIENT_BALANCE]


@pytest.mark.parametrize(
    "changes, record, code",
    [
        ({"program_status": Status.SUSPENDED}, fund("1"), Outcome.PROGRAM_SUSPENDED),
        ({"program_status": Status.ARCHIVED}, fund("1"), Outcome.PROGRAM_ARCHIVED),
        ({"program_status": Status.ARCHIVED}, burn("1"), Outcome.INSUFFICIENT_WALLET),
        ({}, Operation(type=OperationType.FUND, amount="1", asset=-1), Outcome.ASSET_NOT_FOUND),
        ({"asset_status": Status.ARCHIVED, "linked": ()}, fund("1"), Outcome.ASSET_ARCHIVED),
        ({"asset_status": Status.ARCHIVED, "linked": ()}, burn("1"), Outcome.ASSET_NOT_LINKED),
        ({"policy": IssuancePolicy.UNLIMITED}, fund("-1"), Outcome.NOT_PREFUNDED),
        ({}, fund("-1"), Outcome.AMOUNT_NOT_POSITIVE),
        ({}, fund("0"), Outcome.AMOUNT_NOT_POSITIVE),
        ({}, fund("0.001"), Outcome.AMOUNT_EXCEEDS_SCALE),
        ({}, burn("92233720368547758.08"), Outcome.AMOUNT_OVERFLOW),
    ],
)
def test_fund_and_burn_fail_in_the_order_of_the_codes(
    changes: dict[str, object], record: Operation, code: Outcome
) -> None:
    options: dict[str, object] = {"policy": IssuancePolicy.PREFUNDED} | changes
    driver = Driver(terms(**options))  # type: ignore[arg-type]
    assert driver.run([record]) == [code]
    assert driver.journal() == []
