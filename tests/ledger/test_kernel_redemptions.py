"""Transfers, redemptions and reversals through the kernel: M8, M18, M21 to M24, and what each is refused for (§16)."""

from __future__ import annotations

from typing import Any

import pytest

from earnbook.ledger.layout import PROGRAM_STATUS, PROGRAMS, R_DUE
from earnbook.ledger.money_verbs import MoneyVerbs
from earnbook.ledger.schema import (
    ACCOUNT_BREAKAGE,
    Bucket,
    Direction,
    InventoryMode,
    IssuancePolicy,
    LotMoveKind,
    LotStatus,
    OperationType,
    Outcome,
    RewardStatus,
    StateType,
    Status,
)
from earnbook.ledger.state_load import compact_due
from earnbook.ledger.terms import AssetTerms, Date, ProgramTerms, Terms
from tests.ledger.test_kernel_operations import credit, fails, operation, run
from tests.support.ledger_driver import DAY, Driver, Event, Operation

HOLD, RELEASE, FORFEIT, REDEEM, TRANSFER = (OperationType(number) for number in (2, 3, 4, 6, 9))
LOT, SIMPLE = InventoryMode.LOT, InventoryMode.SIMPLE
UNLIMITED, PREFUNDED = IssuancePolicy.UNLIMITED, IssuancePolicy.PREFUNDED
R1 = 1
MAX = str((1 << 63) - 1)
DEBIT = Direction.DEBIT


def terms(
    mode: InventoryMode = LOT, policy: IssuancePolicy = UNLIMITED, *, maximum: int | None = None, **program: Any
) -> Terms:
    """One asset without decimals; two programs, of which the first is given more."""
    asset = AssetTerms(number=1, scale=0, mode=mode, policy=policy, max_transaction=maximum)
    programs = (ProgramTerms(number=1, **{"linked": (0,), **program}), ProgramTerms(number=2, linked=(0,)))
    return Terms(assets=(asset,), programs=programs)


def driver_with(terms: Terms, *records: Event | Operation, group: str | None = None) -> Driver:
    """Books with a group (the first person), alice, bob and carol, in which the records went well."""
    driver = Driver(terms)
    if group is not None:
        driver.add_group(group)
    people = [Event(who=name) for name in ("alice", "bob", "carol")]
    assert set(run(driver, *people, *records)) == {Outcome.OK}
    return driver


def redeem(amount: str, **fields: Any) -> Operation:
    return operation(REDEEM, amount, **fields)


def transfer(*recipients: tuple[str, str], **fields: Any) -> Operation:
    return operation(TRANSFER, "0", recipients=recipients, **fields)


def reverse(driver: Driver, redemption: int, amount: int, **fields: Any) -> Outcome:
    """Reverse a part of alice's redemption in a batch of its own."""
    return run(driver, driver.reversal(redemption=redemption, who="alice", amount=amount, **fields))[0]


def moves(driver: Driver, entry: int) -> list[tuple[str, int, int, int, str]]:
    """The lot moves of an entry in order: kind, lot, remaining before and after, status after."""
    rows = [row for row in driver.tables["lot_moves"] if row["entry_seq"] == entry]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [
        (
            LotMoveKind(row["kind"]).name,
            row["lot_seq"],
            row["remaining_before"],
            row["remaining_after"],
            LotStatus(row["status_after"]).name,
        )
        for row in rows
    ]


# --- transfers --------------------------------------------------------------------------------------------------------


def test_m8_a_transfer_takes_the_oldest_lots_and_makes_fresh_ones() -> None:
    driver = driver_with(terms(), credit("30", expires=Date(duration=9 * DAY)), credit("50"))
    run(driver, transfer(("bob", "40"), ("carol", "20"), at=DAY))
    assert driver.journal()[2:] == ["TRANSFER alice.A -60 | bob.A +40 | carol.A +20"]
    assert driver.balances() == "ISSUANCE -80 | alice.A 20 | bob.A 40 | carol.A 20"
    assert driver.describe_lots() == ("L1 30/0 CONSUMED, L2 50/20 AVAILABLE, L3 40/40 AVAILABLE, L4 20/20 AVAILABLE")
    fresh = driver.tables["lots"][2]
    assert (fresh["root"], fresh["created_at"], fresh["reference"], fresh["source"]) == (3, DAY, -1, 1)
    assert fresh["expires_at"] < 0
    assert moves(driver, 3) == [
        ("CONSUME", 1, 30, 0, "CONSUMED"),
        ("CONSUME", 2, 50, 20, "AVAILABLE"),
        ("CREATE", 3, 0, 40, "AVAILABLE"),
        ("CREATE", 4, 0, 20, "AVAILABLE"),
    ]
    assert [row["lot_seq"] for row in driver.tables["movements"]] == [1, 2, 3, 4]


def test_a_transfer_of_a_simple_asset_has_a_movement_for_each_recipient() -> None:
    driver = driver_with(terms(SIMPLE), credit("80"))
    run(driver, transfer(("bob", "40"), ("bob", "20")))
    assert driver.journal()[1:] == ["TRANSFER alice.A -60 | bob.A +60"]
    assert [(row["amount"], row["lot_seq"]) for row in driver.tables["movements"][1:]] == [(40, 0), (20, 0)]
    assert driver.tables["lot_moves"] == []


def test_what_is_transferred_repays_an_overdraft() -> None:
    driver = driver_with(terms(), credit("90"), credit("25", who="bob", direction=DEBIT, allow_negative=True))
    run(driver, transfer(("bob", "20"), ("bob", "15")))
    assert driver.balances() == "ISSUANCE -65 | alice.A 55 | bob.A 10"
    assert driver.describe_lots() == "L1 90/55 AVAILABLE, L2 20/0 CONSUMED, L3 15/10 AVAILABLE"
    assert [row["repaid"] for row in driver.tables["lot_moves"]] == [0, 20, 5]


def test_groups_give_and_receive() -> None:
    driver = driver_with(terms(), credit("30", group="team"), group="team")
    assert run(driver, transfer(("bob", "10"), group="team"), transfer(("#team", "4"), who="bob")) == [Outcome.OK] * 2
    assert driver.balances() == "ISSUANCE -30 | team.A 24 | bob.A 6"
    assert [row["holder"] for row in driver.outcomes[-2:]] == [0, 3]


def test_transfers_that_are_refused() -> None:
    driver = driver_with(terms(maximum=50), credit("40"), credit("40"), group="team")
    slot = int(driver.state.slots_of([1])[0])
    driver.state.cells.status[slot] = int(Status.ARCHIVED)
    driver.state.cells.status[driver.state.slots_of([4])[0]] = int(Status.CLOSED)
    cases = {
        Outcome.PARTICIPANT_NOT_FOUND: transfer(("nobody", "1"), ("#none", "1"), who="no"),
        Outcome.RECIPIENT_NOT_FOUND: transfer(("#none", "1"), ("nobody", "1"), group="none"),
        Outcome.GROUP_NOT_FOUND: transfer(("bob", "1"), group="none"),
        Outcome.ASSET_NOT_FOUND: transfer(("bob", "1"), asset=-1),
        Outcome.PARTICIPANT_INACTIVE: transfer(("#team", "1"), ("carol", "1")),
        Outcome.GROUP_ARCHIVED: transfer(("#team", "1"), ("bob", "1")),
        Outcome.SELF_TRANSFER: transfer(("bob", "0"), ("alice", "1")),
        Outcome.AMOUNT_NOT_POSITIVE: transfer(("bob", "0.5"), ("bob", "0")),
        Outcome.AMOUNT_EXCEEDS_SCALE: transfer(("bob", "99"), ("bob", "0.5")),
        Outcome.AMOUNT_OVERFLOW: transfer(("bob", MAX), ("bob", "1")),
        Outcome.MAX_TRANSACTION_EXCEEDED: transfer(("bob", "50"), ("bob", "1")),
    }
    for code, record in cases.items():
        fails(driver, record, code)
    fails(driver, transfer(("#none", "1"), ("bob", "1")), Outcome.GROUP_NOT_FOUND)


def test_a_transfer_that_does_not_fit_is_undone() -> None:
    driver = driver_with(terms(), credit("30"), credit(MAX, who="carol"))
    fails(driver, transfer(("bob", "31")), Outcome.INSUFFICIENT_BALANCE)
    fails(driver, transfer(("bob", "10"), ("carol", "1")), Outcome.AMOUNT_OVERFLOW)
    driver.state.table(PROGRAMS)[0, PROGRAM_STATUS] = int(Status.ARCHIVED)
    fails(driver, transfer(("bob", "1")), Outcome.PROGRAM_ARCHIVED)


# --- redemptions ------------------------------------------------------------------------------------------------------


def test_m18_a_redemption_consumes_the_oldest_lots() -> None:
    driver = driver_with(terms(), credit("100"), credit("50"), credit("70"))
    run(driver, redeem("120"))
    assert driver.journal()[3:] == ["REDEMPTION alice.A -120 | REDEMPTION +120"]
    assert driver.describe_lots() == "L1 100/0 CONSUMED, L2 50/30 AVAILABLE, L3 70/70 AVAILABLE"
    assert [(row["lot_seq"], row["amount"]) for row in driver.tables["movements"][3:]] == [(1, 100), (2, 20)]
    assert driver.tables["lot_moves"] == []
    assert driver.tables["redemptions"] == [
        {
            "log_seq": 7,
            "holder": 1,
            "program": 1,
            "asset": 1,
            "amount": 120,
            "reward": 0,
            "quantity": -1,
            "target": 2,
            "entry_seq": 4,
        }
    ]


@pytest.mark.parametrize("mode", InventoryMode)
def test_redemptions_go_to_breakage_and_to_wallets(mode: InventoryMode) -> None:
    driver = driver_with(terms(mode, target=ACCOUNT_BREAKAGE), credit("10"), redeem("4"))
    assert driver.journal()[1] == "REDEMPTION alice.A -4 | BREAKAGE +4"
    fund = Operation(type=OperationType.FUND, amount="20")
    driver = driver_with(terms(mode, PREFUNDED, target=-2), fund, credit("10"), redeem("4"))
    assert driver.journal()[2] == "REDEMPTION alice.A -4 | wallet2 +4"
    assert driver.tables["redemptions"][0]["target"] == -2
    unlimited = driver_with(terms(mode, target=-2), credit("10"))
    fails(unlimited, redeem("4"), Outcome.NOT_PREFUNDED)


def test_m23_a_holder_as_target_gives_back_what_it_still_has() -> None:
    for mode in InventoryMode:
        driver = driver_with(terms(mode, target=0, target_group=0), credit("50"), redeem("30"), group="shop")
        assert driver.journal()[1] == "REDEMPTION alice.A -30 | shop.A +30"
        assert driver.tables["redemptions"][0]["target"] == 5
        run(driver, credit("25", group="shop", direction=DEBIT))
        assert reverse(driver, 5, 30) == Outcome.INSUFFICIENT_BALANCE
        assert reverse(driver, 5, 5) == Outcome.OK
        assert driver.journal()[-1] == "REDEMPTION_REVERSAL shop.A -5 | alice.A +5"
        assert driver.balances() == "ISSUANCE -25 | shop.A 0 | alice.A 25"
        if mode == LOT:
            assert moves(driver, 2) == [("CONSUME", 1, 50, 20, "AVAILABLE"), ("CREATE", 2, 0, 30, "AVAILABLE")]
            assert moves(driver, 4) == [("CONSUME", 2, 5, 0, "CONSUMED"), ("RESTORE", 1, 20, 25, "AVAILABLE")]
            assert [row["lot_seq"] for row in driver.tables["movements"]] == [1, 2, 2, 1]


def test_a_participant_as_target_must_exist_and_be_somebody_else() -> None:
    driver = driver_with(terms(target=0, target_person=0), credit("50", who="bob"))
    fails(driver, redeem("5"), Outcome.SELF_TRANSFER)
    assert run(driver, redeem("5", who="bob")) == [Outcome.OK]
    assert driver.journal()[-1] == "REDEMPTION bob.A -5 | alice.A +5"
    nobody = driver_with(terms(target=0, target_person=-1), credit("50"))
    fails(nobody, redeem("5", who="nobody"), Outcome.TARGET_MISSING)


def test_redemptions_that_are_refused() -> None:
    driver = driver_with(terms(maximum=50), credit("40"), credit("40"))
    fails(driver, redeem("5", who="nobody"), Outcome.PARTICIPANT_NOT_FOUND)
    fails(driver, redeem("5", asset=-1), Outcome.ASSET_NOT_FOUND)
    fails(driver, redeem("0"), Outcome.AMOUNT_NOT_POSITIVE)
    fails(driver, redeem("51"), Outcome.MAX_TRANSACTION_EXCEEDED)
    fails(driver, redeem("5", who="bob"), Outcome.INSUFFICIENT_BALANCE)
    assert run(driver, credit("1", who="bob", direction=DEBIT, allow_negative=True)) == [Outcome.OK]
    driver.state.cells.status[driver.state.slots_of([1])[0]] = int(Status.SUSPENDED)
    fails(driver, redeem("5"), Outcome.PARTICIPANT_INACTIVE)
    unlinked = driver_with(terms(linked=()))
    fails(unlinked, redeem("5"), Outcome.ASSET_NOT_LINKED)


def test_a_target_that_is_full_refuses() -> None:
    driver = driver_with(terms(target=0, target_group=0), credit("50"), credit(MAX, group="shop"), group="shop")
    fails(driver, redeem("1"), Outcome.AMOUNT_OVERFLOW)


# --- rewards ----------------------------------------------------------------------------------------------------------


def item(amount: int, asset: int = 0, **codes: Outcome) -> Operation:
    """Two of reward 9, whose count is 2 afterwards."""

    def act(_: Driver, verbs: MoneyVerbs) -> Outcome:
        outcome = verbs.redeem_item(asset=asset, amount=amount, reward=9, quantity=2, **codes)
        if outcome == Outcome.OK:
            verbs.note_reward(0, 9, 2, RewardStatus.OUT_OF_STOCK)
        return outcome

    return Operation(type=OperationType.REDEEM_ITEM, who="alice", act=act)


def test_a_reward_is_redeemed_and_its_count_noted() -> None:
    driver = driver_with(terms(), credit("50"))
    assert run(driver, item(30), item(30)) == [Outcome.OK, Outcome.INSUFFICIENT_BALANCE]
    (row,) = driver.tables["redemptions"]
    assert (row["amount"], row["reward"], row["quantity"]) == (30, 9, 2)
    (change,) = [row for row in driver.tables["changes"] if row["state_type"] == StateType.REWARD]
    assert (change["entity"], change["key"], change["value"], change["value_scale"]) == (-1, 9, 2, 3)
    assert change["log_seq"] == row["log_seq"] == 5


def test_the_smallest_code_of_reward_and_books_decides() -> None:
    driver = driver_with(terms(maximum=50), credit("50"))
    fails(driver, item(30, reward_code=Outcome.REWARD_OUT_OF_STOCK), Outcome.REWARD_OUT_OF_STOCK)
    fails(driver, item(0, asset=-1, reward_code=Outcome.REWARD_NOT_FOUND), Outcome.REWARD_NOT_FOUND)
    fails(driver, item(0, asset=-1), Outcome.REWARD_NOT_FOUND)
    fails(driver, item(51, reward_code=Outcome.AMOUNT_BELOW_MINIMUM), Outcome.AMOUNT_BELOW_MINIMUM)
    fails(driver, item(51), Outcome.MAX_TRANSACTION_EXCEEDED)
    fails(driver, item(0, value_code=Outcome.AMOUNT_OVERFLOW), Outcome.AMOUNT_OVERFLOW)
    driver.state.cells.status[driver.state.slots_of([1])[0]] = int(Status.CLOSED)
    fails(driver, item(30, reward_code=Outcome.REWARD_NOT_ACTIVE), Outcome.PARTICIPANT_INACTIVE)


# --- reversals --------------------------------------------------------------------------------------------------------


def test_m21_parts_come_back_from_the_end() -> None:
    driver = driver_with(terms(), credit("40"), credit("60"), credit("30"), redeem("110"))
    assert reverse(driver, 7, 25) == Outcome.OK
    assert driver.describe_lots() == "L1 40/0 CONSUMED, L2 60/15 AVAILABLE, L3 30/30 AVAILABLE"
    assert moves(driver, 5) == [("RESTORE", 3, 20, 30, "AVAILABLE"), ("RESTORE", 2, 0, 15, "AVAILABLE")]
    assert reverse(driver, 7, 50) == Outcome.OK
    assert driver.describe_lots() == "L1 40/5 AVAILABLE, L2 60/60 AVAILABLE, L3 30/30 AVAILABLE"
    assert driver.journal()[-1] == "REDEMPTION_REVERSAL REDEMPTION -50 | alice.A +50"
    assert driver.balances() == "ISSUANCE -130 | REDEMPTION 35 | alice.A 95"
    rows = [(row["log_seq"], row["redemption"], row["amount"], row["quantity"]) for row in driver.tables["reversals"]]
    assert rows == [(8, 7, 25, -1), (9, 7, 50, -1)]
    run(driver, credit("95", direction=DEBIT))
    assert driver.describe_lots() == "L1 40/0 CONSUMED, L2 60/0 CONSUMED, L3 30/0 CONSUMED"


def test_m22_what_is_overdue_expires_at_once() -> None:
    driver = driver_with(terms(), credit("40", expires=Date(duration=10 * DAY)), credit("60"), redeem("50"))
    assert reverse(driver, 6, 50, at=19 * DAY) == Outcome.OK
    assert driver.journal()[3:] == [
        "REDEMPTION_REVERSAL REDEMPTION -50 | alice.A +50",
        "EXPIRATION alice.A -40 | BREAKAGE +40",
    ]
    assert driver.describe_lots() == "L1 40/0 EXPIRED, L2 60/60 AVAILABLE"
    assert driver.balances() == "ISSUANCE -100 | REDEMPTION 0 | BREAKAGE 40 | alice.A 60"


def test_m24_a_part_of_a_lot_that_is_held_becomes_a_lot() -> None:
    driver = driver_with(terms(), credit("60"), redeem("20"), operation(HOLD, "40", reference=R1))
    assert reverse(driver, 5, 20) == Outcome.OK
    assert driver.describe_lots() == "L1 60/40 HELD[R1], L2 20/20 AVAILABLE"
    assert moves(driver, 4) == [("RESTORE", 2, 0, 20, "AVAILABLE")]
    assert [driver.tables["lots"][1][name] for name in ("root", "created_at")] == [1, 0]
    run(driver, operation(RELEASE))
    assert driver.balances() == "ISSUANCE -60 | REDEMPTION 0 | alice.A 60 | alice.H 0"


def test_simple_assets_and_wallets_give_back() -> None:
    driver = driver_with(terms(SIMPLE), credit("60"), redeem("20"))
    assert reverse(driver, 5, 15) == Outcome.OK
    assert driver.journal()[-1] == "REDEMPTION_REVERSAL REDEMPTION -15 | alice.A +15"
    fund = Operation(type=OperationType.FUND, amount="60")
    driver = driver_with(terms(LOT, PREFUNDED, target=-2), fund, credit("60"), redeem("20"))
    run(driver, Operation(type=OperationType.BURN, amount="12", program=1))
    assert reverse(driver, 6, 9) == Outcome.INSUFFICIENT_BALANCE
    assert reverse(driver, 6, 8) == Outcome.OK
    assert driver.journal()[-1] == "REDEMPTION_REVERSAL wallet2 -8 | alice.A +8"


def test_what_comes_back_repays_an_overdraft_and_closed_lots_stay_closed() -> None:
    """The oldest repays first, though it is given back last (§9.7)."""
    driver = driver_with(terms(), credit("10"), credit("20"), credit("30"), redeem("60"))
    run(driver, credit("45", direction=DEBIT, allow_negative=True))
    assert reverse(driver, 7, 60) == Outcome.OK
    assert driver.describe_lots() == "L1 10/0 CONSUMED, L2 20/0 CONSUMED, L3 30/15 AVAILABLE"
    assert moves(driver, 6) == [
        ("RESTORE", 3, 0, 15, "AVAILABLE"),
        ("RESTORE", 2, 0, 0, "CONSUMED"),
        ("RESTORE", 1, 0, 0, "CONSUMED"),
    ]
    assert [row["repaid"] for row in driver.tables["lot_moves"]] == [15, 20, 10]
    assert driver.balances() == "ISSUANCE -15 | REDEMPTION 0 | alice.A 15"


def test_a_part_that_becomes_a_lot_repays_after_the_others_of_its_root() -> None:
    driver = driver_with(terms(), credit("40"), operation(HOLD, "15"), operation(RELEASE), redeem("5"), redeem("35"))
    early, late = (row["log_seq"] for row in driver.tables["redemptions"])
    assert reverse(driver, early, 5) == Outcome.OK
    run(driver, operation(HOLD, "5"), credit("7", direction=DEBIT, allow_negative=True))
    assert driver.describe_lots() == "L1 40/5 HELD, L2 15/0 CONSUMED"
    assert reverse(driver, late, 35) == Outcome.OK
    # L1 is HELD: its 20 come back as L3, which is younger than L2.
    assert driver.describe_lots() == "L1 40/5 HELD, L2 15/8 AVAILABLE, L3 20/20 AVAILABLE"


def test_a_balance_that_is_full_takes_nothing_back() -> None:
    driver = driver_with(terms(), credit("10"), redeem("10"), credit(MAX))
    assert reverse(driver, 5, 1) == Outcome.AMOUNT_OVERFLOW
    assert driver.tables["reversals"] == []


def test_a_reversal_in_the_batch_of_its_redemption() -> None:
    driver = driver_with(terms(), credit("10"), credit("20"))
    again = driver.reversal(redemption=6, who="alice", amount=10)
    assert run(driver, redeem("25"), again, again, redeem("15")) == [Outcome.OK] * 4
    assert driver.describe_lots() == "L1 10/0 CONSUMED, L2 20/10 AVAILABLE"


def test_lots_that_come_back_are_due_once() -> None:
    """The queue keeps the item of the closed lot and gets another one; only one of them finds the lot."""
    driver = driver_with(terms(), credit("10", expires=Date(duration=10 * DAY)))
    for turn in range(4):
        # The row of the closed lot is used by another one before it comes back, or is free.
        between = [credit("1", who="bob", expires=Date(duration=20 * DAY))] if turn % 2 else []
        run(driver, redeem("10"), *between)
        redemption = driver.tables["redemptions"][-1]["log_seq"]
        assert reverse(driver, redemption, 10) == Outcome.OK
    queued = driver.state.register(R_DUE)
    driver.run([], until=11 * DAY)
    assert driver.journal()[-1] == "EXPIRATION alice.A -10 | BREAKAGE +10"
    assert sum("alice.A -10 | BREAKAGE" in step for step in driver.journal()) == 1
    assert queued - driver.state.register(R_DUE) == 5
    assert driver.balances() == "ISSUANCE -12 | REDEMPTION 0 | BREAKAGE 10 | alice.A 0 | bob.A 2"


def test_compacting_the_queue_leaves_one_item_for_a_lot() -> None:
    driver = driver_with(terms(), credit("10", expires=Date(duration=10 * DAY)))
    for _ in range(3):
        run(driver, redeem("10"))
        reverse(driver, driver.tables["redemptions"][-1]["log_seq"], 10)
    compact_due(driver.state)
    assert driver.state.register(R_DUE) == 1
    driver.run([], until=11 * DAY)
    assert driver.balances() == "ISSUANCE -10 | REDEMPTION 0 | BREAKAGE 10 | alice.A 0"


def test_overdue_parts_of_one_root_expire_in_the_order_of_their_chain() -> None:
    """The part of the lot that is HELD becomes a lot younger than the one that came back before it."""
    driver = driver_with(terms(), credit("40", expires=Date(duration=10 * DAY)), operation(HOLD, "15"))
    run(driver, operation(RELEASE), redeem("5"), redeem("35"))
    early, late = (row["log_seq"] for row in driver.tables["redemptions"])
    assert reverse(driver, early, 5) == Outcome.OK
    run(driver, operation(HOLD, "5"))
    assert driver.describe_lots() == "L1 40/5 HELD, L2 15/0 CONSUMED"
    assert reverse(driver, late, 35, at=12 * DAY) == Outcome.OK
    assert [step for step in driver.journal() if "EXPIRATION" in step] == [
        "EXPIRATION alice.A -15 | BREAKAGE +15",
        "EXPIRATION alice.A -20 | BREAKAGE +20",
    ]
    assert driver.describe_lots() == "L1 40/5 HELD, L2 15/0 EXPIRED, L3 20/0 EXPIRED"


# --- room -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 4096])
def test_long_redemptions_reversals_and_transfers_find_room(rows: int) -> None:
    driver = Driver(terms(target=0, target_group=0), rows=rows)
    driver.add_group("shop")
    names = [f"person-{n}" for n in range(100)]
    run(driver, *[Event(who=name) for name in ("alice", *names)])
    dated = {"expires": Date(duration=10 * DAY)}
    run(driver, *[credit("2", **(dated if n % 2 else {})) for n in range(300)])
    assert run(driver, redeem("600")) == [Outcome.OK]
    redemption = driver.tables["redemptions"][0]["log_seq"]
    assert reverse(driver, redemption, 299, at=DAY) == Outcome.OK
    assert reverse(driver, redemption, 301, at=12 * DAY) == Outcome.OK
    assert driver.balances().startswith("ISSUANCE -600 | BREAKAGE 300 | shop.A 0 | alice.A 300")
    assert run(driver, transfer(*[(name, "3") for name in names], at=12 * DAY)) == [Outcome.OK]
    assert len(driver.tables["lots"]) == 300 + 1 + 100
    assert set(driver.lots().values()) == {(2, 0), (600, 0), (3, 3)}


def test_operations_read_the_bucket_that_they_say() -> None:
    driver = driver_with(terms(), credit("10"), operation(HOLD, "6"))
    fails(driver, redeem("5"), Outcome.INSUFFICIENT_BALANCE)
    fails(driver, transfer(("bob", "5")), Outcome.INSUFFICIENT_BALANCE)
    assert run(driver, operation(FORFEIT, "6", bucket=Bucket.HELD)) == [Outcome.OK]
