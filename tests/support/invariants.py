"""The properties of §19.4 over a logical book: a tuple of named checks, each giving the sentences of what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from tests.support.logical import Account, Entity, LogicalBook, LotMove

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
OWN_BALANCE = ("PARTICIPANT", "GROUP", "PROGRAM")


def violations(book: LogicalBook) -> list[str]:
    """Everything that is wrong with a book; empty when all properties hold."""
    return [f"{name}: {sentence}" for name, check in CHECKS for sentence in check(book)]


def entries_balance(book: LogicalBook) -> Iterator[str]:
    """I1; and negative legs stand before positive ones (§9.2)."""
    for entry in book.entries:
        amounts = [posting.amount for posting in entry.postings]
        if len(amounts) < 2 or 0 in amounts or sum(amounts) != 0:
            yield f"entry {entry.seq} has the postings {amounts}"
        if any(posting.account[2] != entry.asset for posting in entry.postings):
            yield f"entry {entry.seq} has another asset in its postings"
        if sorted(amounts, key=lambda amount: amount > 0) != amounts:
            yield f"entry {entry.seq} has a positive leg before a negative one"
        if sum(amount for amount in amounts if amount > 0) != entry.amount:
            yield f"entry {entry.seq} moves something else than its amount {entry.amount}"


def value_is_conserved(book: LogicalBook) -> Iterator[str]:
    """I2."""
    totals: dict[str, int] = defaultdict(int)
    for account, amount in book.balances.items():
        totals[account[2]] += amount
    for asset, total in totals.items():
        if total != 0:
            yield f"the balances of {asset} add up to {total}"


def balances_fold_postings(book: LogicalBook) -> Iterator[str]:
    """I3."""
    folded: dict[Account, int] = defaultdict(int)
    for entry in book.entries:
        for posting in entry.postings:
            folded[posting.account] += posting.amount
    for account in folded.keys() | book.balances.keys():
        if folded.get(account, 0) != book.balances.get(account, 0):
            yield f"{account} is {book.balances.get(account, 0)}, its postings give {folded.get(account, 0)}"


def lots_explain_balances(book: LogicalBook) -> Iterator[str]:
    """I4 and I5."""
    remaining: dict[Account, int] = defaultdict(int)
    for lot in book.lots:
        if lot.status in ("AVAILABLE", "HELD", "DEFERRED"):
            remaining[*lot.holder, lot.asset, lot.status] += lot.remaining
    lot_assets = {lot.asset for lot in book.lots} | {asset for _, _, asset in book.overdrafts}
    holders = {account[:3] for account in book.balances if account[0] == "PARTICIPANT" and account[2] in lot_assets}
    for holder in sorted(holders | book.overdrafts.keys() | {account[:3] for account in remaining}, key=repr):
        kind, name, asset = holder
        overdraft = book.overdrafts.get((kind, name or "", asset), 0)
        if overdraft < 0 or (overdraft > 0 and remaining[kind, name, asset, "AVAILABLE"] > 0):
            yield f"{holder} has the overdraft {overdraft} and available lots"
        for bucket in ("AVAILABLE", "HELD", "DEFERRED"):
            expected = remaining[kind, name, asset, bucket] - (overdraft if bucket == "AVAILABLE" else 0)
            if book.balances.get((kind, name, asset, bucket), 0) != expected:
                yield f"{holder} {bucket} differs from its lots, {expected}"


def only_allowed_balances_are_negative(book: LogicalBook) -> Iterator[str]:
    """I6 (the sign of every balance) and the bounds of §5.3."""
    for account, amount in book.balances.items():
        may_be_negative = account[0] == "SYSTEM_ISSUANCE" or (account[0] == "PARTICIPANT" and account[3] == "AVAILABLE")
        if amount < 0 and not may_be_negative:
            yield f"{account} is {amount}"
        if account[0] in OWN_BALANCE and not INT64_MIN <= amount <= INT64_MAX:
            yield f"{account} is {amount}, outside 64 bits"


def lots_fold_their_moves(book: LogicalBook) -> Iterator[str]:
    """I7."""
    moves: dict[int, list[LotMove]] = defaultdict(list)
    for move in book.lot_moves:
        moves[move.lot_seq].append(move)
    for lot in book.lots:
        if not 0 <= lot.remaining <= lot.amount or (lot.remaining == 0) != (lot.status in ("CONSUMED", "EXPIRED")):
            yield f"lot {lot.lot_seq} has {lot.remaining} of {lot.amount} and is {lot.status}"
        own = moves[lot.lot_seq]
        if not own or own[0].kind not in ("CREATE", "SPLIT") or own[0].status_before is not None:
            yield f"lot {lot.lot_seq} does not begin with its creation"
            continue
        for earlier, later in pairwise(own):
            if (earlier.status_after, earlier.remaining_after) != (later.status_before, later.remaining_before):
                yield f"the moves of lot {lot.lot_seq} do not follow each other"
        if (own[-1].status_after, own[-1].remaining_after) != (lot.status, lot.remaining):
            yield f"lot {lot.lot_seq} is not what its last move left"


def postings_follow_lot_moves(book: LogicalBook) -> Iterator[str]:
    """I8: what an entry posts to a bucket of a LOT asset is what its lot moves and the overdraft say."""
    owners: Mapping[int, tuple[Entity, str]] = {lot.lot_seq: (lot.holder, lot.asset) for lot in book.lots}
    moved: dict[tuple[int, Account], int] = defaultdict(int)
    for move in book.lot_moves:
        holder, asset = owners[move.lot_seq]
        moved[move.entry_seq, (*holder, asset, move.status_after)] += move.remaining_after + (
            move.repaid if move.status_after == "AVAILABLE" else 0
        )
        if move.status_after == "CONSUMED" and move.repaid:
            moved[move.entry_seq, (*holder, asset, "AVAILABLE")] += move.repaid
        if move.status_before is not None:
            moved[move.entry_seq, (*holder, asset, move.status_before)] -= move.remaining_before
    lot_assets = {asset for _, asset in owners.values()}
    for entry in book.entries:
        for posting in entry.postings:
            account = posting.account
            if account[0] != "PARTICIPANT" or entry.asset not in lot_assets:
                continue
            overdraft = moved[entry.seq, account] - posting.amount
            if overdraft < 0 or (overdraft > 0 and entry.action_type != "DEBIT"):
                yield f"entry {entry.seq} posts {posting.amount} to {account}, its lots say {moved[entry.seq, account]}"


def numbers_are_dense(book: LogicalBook) -> Iterator[str]:
    """I9, without batches and ids."""
    numbered: Mapping[str, list[int]] = {
        "log_seq": [record.log_seq for record in book.records],
        "seq": [entry.seq for entry in book.entries],
        "lot_seq": [lot.lot_seq for lot in book.lots],
        "change_seq": [change.change_seq for change in book.changes],
        "participant": [participant.number for participant in book.participants.values()],
    }
    for name, numbers in numbered.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            yield f"{name} is not dense: {numbers}"
    for earlier, later in pairwise(book.entries):
        if later.created_at < earlier.created_at:
            yield f"entry {later.seq} is older than the one before it"


def failed_records_leave_nothing(book: LogicalBook) -> Iterator[str]:
    """I10: FAILED attempts have no entry, and no change but creation and enrollment."""
    failed = {outcome.log_seq for outcome in book.outcomes if outcome.status == "FAILED"}
    for entry in book.entries:
        if entry.cause != "DUE" and entry.cause_number in failed:
            yield f"entry {entry.seq} belongs to record {entry.cause_number}, which failed"
    for change in book.changes:
        if change.cause_number in failed and change.state_type not in ("participant", "enrollment"):
            yield f"change {change.change_seq} belongs to record {change.cause_number}, which failed"


def state_folds_changes(book: LogicalBook) -> Iterator[str]:
    """I13, for what the change log carries in plain form."""
    tags: set[tuple[str, str, str]] = set()
    counters: dict[tuple[str, str, str], str] = {}
    enrolled: set[tuple[str, str]] = set()
    for change in book.changes:
        name = (*change.entity, change.key)
        match change.state_type, change.operation:
            case "tag", "add":
                tags.add(name)
            case "tag", "remove":
                tags.remove(name)
            case "counter", _:
                counters[name] = change.new_value or ""
            case "enrollment", _:
                enrolled.add((change.entity[1], change.key))
    if tags != book.tags:
        yield f"tags are {sorted(book.tags)}, the changes give {sorted(tags)}"
    if counters != {name: counter.value for name, counter in book.counters.items()}:
        yield f"counters are {book.counters}, the changes give {counters}"
    if enrolled != book.enrollments.keys():
        yield f"enrollments are {book.enrollments}, the changes give {enrolled}"


def nothing_is_overdue(book: LogicalBook) -> Iterator[str]:
    """I16."""
    for lot in book.lots:
        due_at = {"DEFERRED": lot.matures_at, "AVAILABLE": lot.expires_at}.get(lot.status)
        if due_at is not None and book.book_clock is not None and due_at <= book.book_clock:
            yield f"lot {lot.lot_seq} is {lot.status} and was due at {due_at}"


def counts_tie(book: LogicalBook) -> Iterator[str]:
    """I17."""
    counts = book.counts
    if counts is None:
        return
    if counts.events + counts.operations + counts.generated != counts.completed + counts.failed:
        yield f"records are not outcomes: {counts}"
    if len(book.records) != counts.events + counts.operations + counts.generated:
        yield f"{len(book.records)} records, but {counts}"


CHECKS: tuple[tuple[str, Callable[[LogicalBook], Iterator[str]]], ...] = (
    ("I1", entries_balance),
    ("I2", value_is_conserved),
    ("I3", balances_fold_postings),
    ("I4 I5", lots_explain_balances),
    ("I6", only_allowed_balances_are_negative),
    ("I7", lots_fold_their_moves),
    ("I8", postings_follow_lot_moves),
    ("I9", numbers_are_dense),
    ("I10", failed_records_leave_nothing),
    ("I13", state_folds_changes),
    ("I16", nothing_is_overdue),
    ("I17", counts_tie),
)
