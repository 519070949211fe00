"""The ledger notation is read as §1.4 describes it, and a book that differs from it is told apart."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.support.examples import load_example, mismatches
from tests.support.notation import (
    BalanceStep,
    EntryStep,
    FailureStep,
    LotsStep,
    MarkStep,
    notation_mismatches,
    parse_notation,
)
from tests.support.oracle import run_oracle


def test_steps_of_every_kind_are_read() -> None:
    text = """
    # M0 a title
    CREDIT ISSUANCE -5.00 | alice.H +5.00 ; = alice.H 5.00 | wallet 0.00 ; -- period ;
    ! INSUFFICIENT_WALLET (credit 60.00) ;
    lots alice: L1 60.00/0.00 CONSUMED, L2 50.00/30.00 HELD[R1]; overdraft 30.00 ;
    EXPIRATION alice.A -1 | BREAKAGE +1 (due 2026-01-11)
    """
    credit, balances, mark, failure, lots, expiration = parse_notation(text)
    assert isinstance(credit, EntryStep)
    assert credit.action_type == "CREDIT"
    assert credit.postings == (("ISSUANCE", Decimal(-5)), ("alice.H", Decimal(5)))
    assert isinstance(balances, BalanceStep)
    assert balances.balances == (("alice.H", Decimal(5)), ("wallet", Decimal(0)))
    assert mark == MarkStep("-- period")
    assert isinstance(failure, FailureStep)
    assert failure.code == "INSUFFICIENT_WALLET"
    assert isinstance(lots, LotsStep)
    assert lots.lots == ((1, Decimal(60), Decimal(0), "CONSUMED", None), (2, Decimal(50), Decimal(30), "HELD", "R1"))
    assert lots.overdraft == 30
    assert isinstance(expiration, EntryStep)
    assert expiration.postings[1] == ("BREAKAGE", Decimal(1))


@pytest.mark.parametrize("text", ["credit alice.A +5", "lots alice: L1 5 AVAILABLE", "= alice.A", "NOTHING"])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_notation(text)


@pytest.mark.parametrize(
    "written, changed",
    [
        ("CREDIT ISSUANCE -30.00 | alice.A +30.00", "CREDIT ISSUANCE -31.00 | alice.A +31.00"),
        ("CREDIT ISSUANCE -30.00 | alice.A +30.00", "CREDIT alice.A +30.00 | ISSUANCE -30.00"),
        ("CREDIT ISSUANCE -30.00 | alice.A +30.00 ;", ""),
        ("DEBIT alice.A -80.00", "FORFEIT alice.A -80.00"),
        ("= alice.A -30.00", "= alice.A -29.00"),
        ("; overdraft 30.00", ""),
        ("L3 100.00/70.00 AVAILABLE", "L3 100.00/70.00 AVAILABLE[R1]"),
        ("L1 30.00/0.00 CONSUMED, L2 20.00/0.00 CONSUMED, L3", "L2 20.00/0.00 CONSUMED, L3"),
        ("= alice.A 70.00", "! INSUFFICIENT_BALANCE ; = alice.A 70.00"),
        ("= alice.A 70.00", "= alice.A 70.00 ; CREDIT ISSUANCE -1.00 | alice.A +1.00"),
    ],
)
def test_a_book_that_differs_from_the_notation_is_told_apart(written: str, changed: str) -> None:
    example = load_example("m9")
    ledger = example.expected["ledger"]
    assert written in ledger
    steps = parse_notation(ledger.replace(written, changed))
    assert notation_mismatches(steps, run_oracle(example.scenario), asset="PTS", scale=2) != []


@pytest.mark.parametrize("changed", ["! INSUFFICIENT_BALANCE ;", ""])
def test_a_failure_must_be_written_with_its_code_and_in_its_place(changed: str) -> None:
    example = load_example("m2")
    ledger = example.expected["ledger"].replace("! INSUFFICIENT_WALLET (credit 60.00) ;", changed)
    book = run_oracle(example.scenario)
    assert notation_mismatches(parse_notation(ledger), book, asset="PTS", scale=2) != []


@pytest.mark.parametrize(
    "expectation, value",
    [
        ("outcomes", ["OK", "OK"]),
        ("created_at", ["2026-01-01"]),
        ("evaluations", {1: ["r10 SUCCESS"]}),
        ("balances", {"alice.A": "17.31"}),
        ("counters", {"alice.visits": "4"}),
        ("tags", ["alice.vip"]),
        ("attributes", {"alice.a": "b"}),
    ],
)
def test_an_expectation_that_does_not_hold_is_reported(expectation: str, value: object) -> None:
    _is_reported("e3", expectation, value)


@pytest.mark.parametrize(
    "name, expectation, value",
    [
        ("e5", "actions", {2: ["promo APPLIED 50.00", "base APPLIED 5.00"]}),
        ("e5", "budgets", {"promo/PTS": "100.00"}),
        ("e7", "impact", {3: {"alice.A": "5.00", "alice.H": "-30.00"}}),
        ("tiers", "tiers", {"alice.status": "silver"}),
        ("r24", "members", {"smith.alice": "ADMIN ACTIVE", "smith.bob": "ADMIN ACTIVE"}),
        ("r29", "generated", ["alice", "bob", "carol"]),
        ("r24", "balances", {"smith.A": "3.50"}),
        ("r24", "ledger", "CREDIT ISSUANCE -1.00 | alice.A +1.00"),
        ("r21", "redemptions", {5: "alice 2000.00 to REDEMPTION, 0.00 reversed, COMPLETED; gift 2 at 1000.00"}),
        ("r21", "rewards", {"gift": "OUT_OF_STOCK 3"}),
        ("r21", "changes", {8: []}),
        ("m21", "entries", {5: {"redemption": 4}}),
        ("m21", "entries", {5: {"amount": "50"}}),
        ("m21", "rejects", {"r0-1": "INVALID_FIELD"}),
        ("m21", "duplicates", 1),
    ],
)
def test_an_expectation_about_further_state_is_reported(name: str, expectation: str, value: object) -> None:
    _is_reported(name, expectation, value)


def _is_reported(name: str, expectation: str, value: object) -> None:
    example = load_example(name)
    book = run_oracle(example.scenario)
    assert mismatches(example, book) == []
    assert mismatches(replace(example, expected={expectation: value}), book) != []
