"""The oracle keeps the properties of §19.4 after every record, and the checks of those properties can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.examples import load_example
from tests.support.invariants import violations
from tests.support.logical import LogicalBook
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle
from tests.support.oracle_definitions import read_definitions

SEEDS = [(definitions, log) for definitions in range(50) for log in range(2)]


@pytest.mark.parametrize("definitions_seed, log_seed", SEEDS)
def test_every_property_holds_after_every_record(definitions_seed: int, log_seed: int) -> None:
    seen: list[str] = []

    def check(book: LogicalBook) -> None:
        seen.extend(violations(book))

    run_oracle(random_scenario(definitions_seed, log_seed), after_record=check)
    assert seen == []


def test_random_logs_reach_what_they_are_for() -> None:
    codes: set[str] = set()
    statuses: set[str] = set()
    entry_types: set[str] = set()
    reasons: set[str] = set()
    repaid = late = duplicates = 0
    for definitions_seed, log_seed in SEEDS:
        book = run_oracle(random_scenario(definitions_seed, log_seed))
        codes |= {outcome.code for outcome in book.outcomes}
        statuses |= {evaluation.reason or evaluation.status for evaluation in book.evaluations}
        entry_types |= {entry.action_type for entry in book.entries}
        reasons |= {reject.reason for reject in book.rejects}
        repaid += sum(move.repaid > 0 for move in book.lot_moves)
        assert book.counts is not None
        late += book.counts.late
        duplicates += book.counts.duplicates
    assert statuses == {"SUCCESS", "FAILED", "SKIPPED_ERROR", "STOPPED_BY_RULE", "OUTSIDE_TIME_WINDOW"}
    assert entry_types == {"CREDIT", "DEBIT", "FUND", "BURN", "MATURITY", "EXPIRATION"}
    assert codes >= {
        "PROGRAM_SUSPENDED",
        "PARTICIPANT_NOT_FOUND",
        "RECIPIENT_NOT_FOUND",
        "ASSET_NOT_LINKED",
        "NOT_PREFUNDED",
        "EXPRESSION_ERROR",
        "INVALID_AMOUNT",
        "AMOUNT_NOT_POSITIVE",
        "AMOUNT_EXCEEDS_SCALE",
        "AMOUNT_OVERFLOW",
        "MAX_TRANSACTION_EXCEEDED",
        "INVALID_LOT_DATES",
        "INSUFFICIENT_BALANCE",
        "INSUFFICIENT_WALLET",
    }
    assert reasons >= {"IDEMPOTENCY_CONFLICT", "UNPARSEABLE_ROW", "INVALID_TIMESTAMP", "INVALID_NUMBER"}
    assert repaid >= 5
    assert late >= 100
    assert duplicates >= 50


def test_the_oracle_knows_the_golden_ids() -> None:
    definitions = read_definitions(
        {
            "organization": {"key": "demo"},
            "assets": [
                {
                    "symbol": "PTS",
                    "scale": 2,
                    "inventory_mode": "LOT",
                    "issuance_policy": "UNLIMITED",
                    "programs": ["loyalty"],
                }
            ],
            "programs": [{"key": "loyalty"}],
        }
    )
    assert str(definitions.programs["loyalty"].id) == "3a37bb6a-dfc8-50ba-8532-fadfaf037bdb"
    assert str(definitions.assets["PTS"].id) == "59bb73fc-f091-5918-a0dc-16c06074dd9c"
    assert str(definitions.participant_id("alice")) == "5f4d6c80-b779-5174-9e3e-37d6ea331a70"


@pytest.mark.parametrize(
    "check, corrupt",
    [
        ("I1", lambda book: replace(book, entries=(_with_amount(book, 5), *book.entries[1:]))),
        ("I2", lambda book: replace(book, balances={**book.balances, ("PROGRAM", "x", "PTS", "AVAILABLE"): 5})),
        ("I3", lambda book: replace(book, entries=book.entries[1:])),
        ("I4 I5", lambda book: replace(book, overdrafts={("PARTICIPANT", "alice", "PTS"): 1})),
        ("I6", lambda book: replace(book, balances={("SYSTEM_BREAKAGE", None, "PTS", "AVAILABLE"): -1})),
        ("I7", lambda book: replace(book, lots=(replace(book.lots[0], remaining=1), *book.lots[1:]))),
        ("I8", lambda book: replace(book, lot_moves=(_with_repaid(book), *book.lot_moves[1:]))),
        ("I9", lambda book: replace(book, records=book.records[1:])),
        ("I10", lambda book: replace(book, outcomes=tuple(replace(row, status="FAILED") for row in book.outcomes))),
        ("I13", lambda book: replace(book, enrollments={})),
        ("I16", lambda book: replace(book, lots=tuple(replace(lot, expires_at=0) for lot in book.lots))),
        ("I17", lambda book: replace(book, counts=replace(book.counts, completed=0))),
    ],
)
def test_a_corrupted_book_violates_the_property(check: str, corrupt: Callable[[LogicalBook], LogicalBook]) -> None:
    book = run_oracle(load_example("m9").scenario)
    assert violations(book) == []
    broken = violations(corrupt(book))
    assert any(sentence.startswith(f"{check}: ") for sentence in broken)


def _with_amount(book: LogicalBook, amount: int) -> object:
    entry = book.entries[0]
    return replace(entry, postings=(replace(entry.postings[0], amount=amount), *entry.postings[1:]))


def _with_repaid(book: LogicalBook) -> object:
    return replace(book.lot_moves[0], remaining_after=1)
