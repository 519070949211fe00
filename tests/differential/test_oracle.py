"""The oracle keeps the properties of §19.4 after every record, and the checks of those properties can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from earnbook.rules.definitions import check_definitions
from tests.support.examples import load_example
from tests.support.features import ABOUT_MONEY, EVERYTHING, Feature
from tests.support.invariants import violations
from tests.support.logical import Budget, Entry, Group, LogicalBook, LotMove
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle
from tests.support.oracle_definitions import read_definitions
from tests.support.programs import random_definitions

EVERY_FEATURE = [(definitions, definitions % 3) for definitions in range(100)]
SEEDS = [(definitions, log) for definitions in range(50) for log in range(2)]

BASIC_ACTIONS = {"CREDIT", "DEBIT", "COUNTER", "TAG", "UNTAG", "SET_ATTRIBUTE"}
ACTIONS_OF = {
    Feature.HOLDS: {"HOLD", "RELEASE", "FORFEIT", "VOID_HOLD"},
    Feature.TIERS: {"SET_TIER"},
    Feature.SCHEDULE: {"SCHEDULE_EVENT"},
    Feature.BROADCAST: {"BROADCAST"},
    Feature.LIFECYCLE: {"SET_TIER"},
}
OPERATIONS_OF = {
    Feature.BUDGETS: {"reset_budget"},
    Feature.TIERS: {"set_tier", "remove_tier"},
    Feature.RETRY: {"retry_event"},
    Feature.LIFECYCLE: {"set_tier", "remove_tier"},
    Feature.AUTOMATION: {
        *("trigger_automation", "cancel_automation", "refresh_automation"),
        *("set_attribute", "add_tag", "remove_tag"),
    },
    Feature.MONEY: {
        *("adjust", "hold", "release", "forfeit", "void_hold", "transfer"),
        *("upsert_participant", "create_group"),
    },
    Feature.REWARDS: {"adjust", "redeem", "redeem_item", "reverse_redemption", "upsert_participant"},
    Feature.GROUPS: {
        *("upsert_participant", "create_group", "update_group", "archive_group"),
        *("add_member", "set_member_role", "remove_member"),
    },
    Feature.MEMBERS: {
        *("upsert_participant", "set_participant_status", "set_program_status", "enroll"),
        *("link_asset", "unlink_asset"),
    },
    Feature.STATE: {
        *("add_tag", "remove_tag", "set_tags", "set_counter", "delete_counter"),
        *("set_attribute", "set_attributes", "remove_attribute"),
    },
}
WANTED = {
    *("BUDGET_EXCEEDED", "STOPPED_BY_RULE", "OUTSIDE_TIME_WINDOW", "SKIPPED_ERROR"),
    *("GENERATION_LIMIT", "TARGET_MISSING", "GROUP_NOT_FOUND", "PARTICIPANT_INACTIVE", "GROUP_ARCHIVED"),
    *("TIER_ARCHIVED", "REFERENCE_NOT_FOUND", "INVALID_REFERENCE", "INSUFFICIENT_WALLET", "AMOUNT_OVERFLOW"),
    *("HOLD", "RELEASE", "FORFEIT", "VOID_HOLD", "SETTLE", "GROUP", "PROGRAM"),
    *("EXPIRATION by EVENT", "EXPIRATION by DUE", "MATURITY by DUE"),
    *("SPLIT None", "SPLIT AVAILABLE", "SPLIT HELD", "HOLD AVAILABLE", "RELEASE HELD", "CONSUME HELD"),
    *("CREDIT SUPPRESSED", "RELEASE NO_EFFECT", "FORFEIT NO_EFFECT", "SET_TIER NO_EFFECT"),
    *("budget auto_reset by DUE", "budget set by OPERATION", "tier delete by DUE", "tier set by EVENT"),
    *("tier set by OPERATION", "counter auto_reset by EVENT", "counter delete by OPERATION"),
    *("tag remove by OPERATION", "attribute delete by OPERATION", "scheduled_event add by EVENT"),
    *("asset_link add by OPERATION", "asset_link remove by OPERATION", "program set by OPERATION"),
    *("group set by OPERATION", "member set by OPERATION", "participant set by OPERATION"),
    *("generation 0", "generation 1", "generation 8", "attempt 2 COMPLETED", "attempt 2 FAILED"),
    *("SYSTEM OK", "upsert_participant NO_EFFECT", "upsert_participant INVALID_VALUE", "enroll OK"),
    *("set_tier NOT_ENROLLED", "remove_member LAST_ADMIN", "add_member ALREADY_MEMBER", "create_group GROUP_EXISTS"),
    *("unlink_asset ASSET_IN_USE", "link_asset ALREADY_LINKED", "retry_event EVENT_NOT_FAILED"),
    *("retry_event EVENT_NOT_FOUND", "reset_budget BUDGET_NOT_FOUND", "set_counter COUNTER_OUT_OF_RANGE"),
}
WANTED_OF_MONEY = {
    *("adjust INSUFFICIENT_BALANCE", "adjust INSUFFICIENT_WALLET", "adjust INVALID_LOT_DATES", "adjust OK"),
    *("adjust ASSET_ARCHIVED", "adjust MAX_TRANSACTION_EXCEEDED", "adjust AMOUNT_OVERFLOW"),
    *("hold LOT_NOT_FOUND", "hold NO_EFFECT", "hold OK", "hold PARTICIPANT_INACTIVE", "hold PROGRAM_SUSPENDED"),
    *("release REFERENCE_NOT_FOUND", "release LOT_NOT_FOUND", "release NO_EFFECT", "release OK"),
    *("forfeit REFERENCE_NOT_FOUND", "forfeit INSUFFICIENT_BALANCE", "forfeit NO_EFFECT", "forfeit OK"),
    *("void_hold NOT_LOT_ASSET", "void_hold REFERENCE_NOT_FOUND", "void_hold OK"),
    *("transfer SELF_TRANSFER", "transfer RECIPIENT_NOT_FOUND", "transfer INSUFFICIENT_BALANCE", "transfer OK"),
    *("TRANSFER with 2", "TRANSFER with 3"),
    *("redeem TARGET_MISSING", "redeem NOT_PREFUNDED", "redeem SELF_TRANSFER", "redeem INSUFFICIENT_BALANCE"),
    *("redeem_item REWARD_NOT_FOUND", "redeem_item REWARD_NOT_ACTIVE", "redeem_item REWARD_OUT_OF_WINDOW"),
    *("redeem_item REWARD_OUT_OF_STOCK", "redeem_item REWARD_LIMIT_REACHED", "redeem_item AMOUNT_BELOW_MINIMUM"),
    *("redeem_item INVALID_AMOUNT", "redeem_item AMOUNT_OVERFLOW", "redeem_item OK", "reward set by OPERATION"),
    *("reverse_redemption INVALID_REVERSAL", "reverse_redemption REVERSAL_EXCEEDS_REMAINING"),
    *("reverse_redemption REDEMPTION_NOT_FOUND", "reverse_redemption INSUFFICIENT_BALANCE", "reverse_redemption OK"),
    *("SYSTEM_REDEMPTION PARTIALLY_REVERSED", "SYSTEM_BREAKAGE FULLY_REVERSED", "PROGRAM FULLY_REVERSED"),
    *("PARTICIPANT FULLY_REVERSED", "GROUP FULLY_REVERSED", "GROUP COMPLETED"),
    *("RESTORE AVAILABLE to AVAILABLE", "RESTORE CONSUMED to AVAILABLE", "RESTORE CONSUMED to CONSUMED repaying"),
    *("RESTORE EXPIRED to AVAILABLE", "RESTORE EXPIRED to EXPIRED repaying", "RESTORE None to AVAILABLE"),
    *("RESTORE None to CONSUMED repaying", "RESTORE CONSUMED to AVAILABLE repaying", "EXPIRATION by OPERATION"),
    *("rejected INVALID_FIELD", "rejected MISSING_FIELD", "rejected MISSING_PROGRAM", "rejected IDEMPOTENCY_CONFLICT"),
}
GIFT = ("loyalty", "gift")
UNTOUCHED = Budget(consumed=0, next_reset_at=None)


@pytest.mark.parametrize("definitions_seed, log_seed", SEEDS)
def test_every_property_holds_after_every_record(definitions_seed: int, log_seed: int) -> None:
    seen: list[str] = []

    def check(book: LogicalBook) -> None:
        seen.extend(violations(book))

    run_oracle(random_scenario(definitions_seed, log_seed), after_record=check)
    assert seen == []


@pytest.mark.parametrize("definitions_seed, log_seed", EVERY_FEATURE)
def test_every_property_holds_after_every_record_with_every_feature(definitions_seed: int, log_seed: int) -> None:
    seen: list[str] = []
    scenario = random_scenario(definitions_seed, log_seed, EVERYTHING)
    counts = run_oracle(scenario, after_record=lambda book: seen.extend(violations(book))).counts
    assert seen == []
    assert counts is not None
    assert counts.rows_read == counts.events + counts.operations + counts.duplicates + counts.rejected


@pytest.mark.parametrize("feature", [None, *Feature])
def test_random_definitions_are_valid(feature: Feature | None, tmp_path: Path) -> None:
    for seed in range(12):
        file = tmp_path / f"{seed}.json"
        file.write_text(json.dumps(random_definitions(seed, frozenset({feature} if feature else Feature))))
        definitions, issues = check_definitions(file)
        assert definitions is not None, [str(issue) for issue in issues if issue.is_error]


@pytest.mark.parametrize("feature", Feature)
def test_a_feature_alone_keeps_to_itself(feature: Feature) -> None:
    """What engines are brought up with: nothing of another feature is in the rules and the log."""
    actions: set[str] = set()
    operations: set[str] = set()
    for seed in range(20):
        scenario = random_scenario(seed, 0, frozenset({feature}))
        programs = scenario.definitions["programs"]
        actions |= {action["type"] for program in programs for rule in program["rules"] for action in rule["actions"]}
        operations |= {record.type for record in run_oracle(scenario).records if record.kind == "OPERATION"}
    assert actions <= BASIC_ACTIONS | ACTIONS_OF.get(feature, set())
    assert operations <= {"fund", "burn"} | OPERATIONS_OF.get(feature, set())
    assert actions >= ACTIONS_OF.get(feature, set())


def test_random_logs_of_every_feature_reach_what_they_are_for() -> None:
    reached: set[str] = set()
    for definitions_seed, log_seed in EVERY_FEATURE:
        reached |= _marks(run_oracle(random_scenario(definitions_seed, log_seed, EVERYTHING)))
    for definitions_seed, feature in product(range(12), Feature):
        reached |= _marks(run_oracle(random_scenario(definitions_seed, 0, frozenset({feature}))))
    assert reached >= WANTED, sorted(WANTED - reached)


def test_random_logs_of_money_reach_what_they_are_for() -> None:
    reached: set[str] = set()
    for seed in range(150):
        book = run_oracle(random_scenario(seed, seed % 3, ABOUT_MONEY))
        reached |= _marks(book) | {f"rejected {reject.reason}" for reject in book.rejects}
        reached |= {f"{row.target[0]} {row.status}" for row in book.redemptions}
        reached |= {
            f"RESTORE {move.status_before} to {move.status_after}" + (" repaying" if move.repaid else "")
            for move in book.lot_moves
            if move.kind == "RESTORE"
        }
        reached |= {f"{entry.action_type} with {len(entry.postings)}" for entry in book.entries}
    assert reached >= WANTED_OF_MONEY, sorted(WANTED_OF_MONEY - reached)


def _marks(book: LogicalBook) -> set[str]:
    """What a book has in it, in words."""
    kinds = {record.log_seq: record.type for record in book.records}
    return {
        *(f"{kinds[row.log_seq]} {row.code}" for row in book.outcomes if kinds[row.log_seq] != "EXTERNAL"),
        *(row.code for row in book.outcomes),
        *(f"attempt {row.attempt} {row.status}" for row in book.outcomes),
        *(row.reason or row.status for row in book.evaluations),
        *(f"{action.type} {action.result}" for row in book.evaluations for action in row.actions or ()),
        *(entry.action_type for entry in book.entries),
        *(f"{entry.action_type} by {entry.cause}" for entry in book.entries),
        *(posting.account[0] for entry in book.entries for posting in entry.postings),
        *(f"{move.kind} {move.status_before}" for move in book.lot_moves),
        *(f"{change.state_type} {change.operation} by {change.cause}" for change in book.changes),
        *(f"generation {record.generation}" for record in book.records),
    }


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
        ("I11", lambda book: replace(book, outcomes=tuple(replace(row, attempt=2) for row in book.outcomes))),
        ("I12", lambda book: replace(book, records=(book.records[0], replace(book.records[0], log_seq=2)))),
        ("I13", lambda book: replace(book, enrollments={})),
        ("I13", lambda book: replace(book, groups={"smith": Group(number=2, name="Smith", status="ACTIVE")})),
        ("I14", lambda book: replace(book, budgets={("loyalty", "earn", "PTS"): UNTOUCHED})),
        ("I16", lambda book: replace(book, lots=tuple(replace(lot, expires_at=0) for lot in book.lots))),
        ("I17", lambda book: replace(book, counts=replace(book.counts, completed=0))),
    ],
)
def test_a_corrupted_book_violates_the_property(check: str, corrupt: Callable[[LogicalBook], LogicalBook]) -> None:
    _is_violated("m9", check, corrupt)


@pytest.mark.parametrize(
    "name, check, corrupt",
    [
        ("m24", "I7", lambda book: replace(book, lot_moves=tuple(map(_as_hold, book.lot_moves)))),
        ("m21", "I15", lambda book: replace(book, redemptions=())),
        ("m21", "I15", lambda book: replace(book, redemptions=(replace(book.redemptions[0], amount=111),))),
        ("m21", "I15", lambda book: replace(book, redemptions=(replace(book.redemptions[0], reversed_amount=76),))),
        ("m21", "I15", lambda book: replace(book, redemptions=(replace(book.redemptions[0], status="COMPLETED"),))),
        ("m21", "I15", lambda book: replace(book, redemptions=(replace(book.redemptions[0], participant="bob"),))),
        ("m21", "I15", lambda book: replace(book, reversals=book.reversals[1:])),
        (
            "m21",
            "I15",
            lambda book: replace(book, entries=tuple(replace(one, redemption=None) for one in book.entries)),
        ),
        ("r21", "I15", lambda book: replace(book, redemptions=(replace(book.redemptions[0], quantity=3),))),
        ("r21", "I15", lambda book: replace(book, rewards={GIFT: replace(book.rewards[GIFT], redeemed_count=3)})),
        ("r21", "I15", lambda book: replace(book, rewards={GIFT: replace(book.rewards[GIFT], max_total=1)})),
        ("r21", "I15", lambda book: replace(book, changes=())),
        ("m4", "I19", lambda book: replace(book, balances={})),
        ("m4", "I19", lambda book: replace(book, entries=tuple(map(_as_hold_entry, book.entries)))),
        ("m4", "I19", lambda book: replace(book, entries=book.entries[1:])),
    ],
)
def test_a_corrupted_book_of_money_violates_the_property(
    name: str, check: str, corrupt: Callable[[LogicalBook], LogicalBook]
) -> None:
    _is_violated(name, check, corrupt)


def _is_violated(name: str, check: str, corrupt: Callable[[LogicalBook], LogicalBook]) -> None:
    book = run_oracle(load_example(name).scenario)
    assert violations(book) == []
    broken = violations(corrupt(book))
    assert any(sentence.startswith(f"{check}: ") for sentence in broken)


def _as_hold(move: LotMove) -> LotMove:
    return replace(move, kind="HOLD") if move.kind == "RESTORE" else move


def _as_hold_entry(entry: Entry) -> Entry:
    return replace(entry, action_type="HOLD") if entry.action_type == "CREDIT" else entry


def _with_amount(book: LogicalBook, amount: int) -> object:
    entry = book.entries[0]
    return replace(entry, postings=(replace(entry.postings[0], amount=amount), *entry.postings[1:]))


def _with_repaid(book: LogicalBook) -> object:
    return replace(book.lot_moves[0], remaining_after=1)
