"""The properties of §19.4 over a logical book: a tuple of named checks, each giving the sentences of what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TypeAlias

from tests.support.logical import Account, Entity, Entry, LogicalBook, LotMove, RecordOutcome, Redemption
from tests.support.oracle_state import json_text

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
HOLDERS = ("PARTICIPANT", "GROUP")
OWN_BALANCE = (*HOLDERS, "PROGRAM")
State: TypeAlias = "dict[tuple[str, ...], str]"


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
        # A settle may also give something back to the source; its amount is what the holder keeps (§18.1).
        kept = [posting.amount for posting in entry.postings if posting.account[0] in HOLDERS]
        moved = kept if entry.action_type == "SETTLE" else amounts
        if sum(amount for amount in moved if amount > 0) != entry.amount:
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
    holders = {account[:3] for account in book.balances if account[0] in HOLDERS and account[2] in lot_assets}
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
    """I6 (a negative holder was debited) and the bounds of §5.3."""
    debited = {posting.account for entry in book.entries if entry.action_type == "DEBIT" for posting in entry.postings}
    for account, amount in book.balances.items():
        overdrawn = account[0] in HOLDERS and account[3] == "AVAILABLE" and account in debited
        if amount < 0 and account[0] != "SYSTEM_ISSUANCE" and not overdrawn:
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
        if not own or own[0].kind not in ("CREATE", "SPLIT", "RESTORE") or own[0].status_before is not None:
            yield f"lot {lot.lot_seq} does not begin with its creation"
            continue
        for earlier, later in pairwise(own):
            if (earlier.status_after, earlier.remaining_after) != (later.status_before, later.remaining_before):
                yield f"the moves of lot {lot.lot_seq} do not follow each other"
            if later.status_before in ("CONSUMED", "EXPIRED") and later.kind != "RESTORE":
                yield f"the move {later.kind} brings back lot {lot.lot_seq}"
        last = (own[-1].status_after, own[-1].remaining_after, own[-1].hold_reference_after)
        if last != (lot.status, lot.remaining, lot.hold_reference_id):
            yield f"lot {lot.lot_seq} is not what its last move left"
        if lot.status != "HELD" and (lot.provisional or lot.hold_reference_id is not None):
            yield f"lot {lot.lot_seq} is {lot.status} and has the marks of a held one"


def postings_follow_lot_moves(book: LogicalBook) -> Iterator[str]:
    """I8: what an entry posts to a bucket of a LOT asset is what its lot moves and the overdraft say.

    What a DEBIT posts to AVAILABLE beyond its lots is overdraft; less what lots repaid, it is the overdraft of the end.
    """
    owners: Mapping[int, tuple[Entity, str]] = {lot.lot_seq: (lot.holder, lot.asset) for lot in book.lots}
    moved: dict[tuple[int, Account], int] = defaultdict(int)
    for move in book.lot_moves:
        holder, asset = owners[move.lot_seq]
        moved[move.entry_seq, (*holder, asset, move.status_after)] += move.remaining_after + (
            move.repaid if move.status_after == "AVAILABLE" else 0
        )
        if move.status_after in ("CONSUMED", "EXPIRED") and move.repaid:
            moved[move.entry_seq, (*holder, asset, "AVAILABLE")] += move.repaid
        if move.status_before is not None:
            moved[move.entry_seq, (*holder, asset, move.status_before)] -= move.remaining_before
    overdrafts: dict[Account, int] = defaultdict(int)
    for move in book.lot_moves:
        holder, asset = owners[move.lot_seq]
        overdrafts[*holder, asset, "AVAILABLE"] -= move.repaid
    lot_assets = {asset for _, asset in owners.values()} | {asset for _, _, asset in book.overdrafts}
    for entry in book.entries:
        posted: dict[Account, int] = defaultdict(int)
        for posting in entry.postings:
            # A transfer to the same recipient twice has two postings for one account.
            if posting.account[0] in HOLDERS and entry.asset in lot_assets:
                posted[posting.account] += posting.amount
        for account, amount in posted.items():
            overdraft = moved[entry.seq, account] - amount
            if overdraft < 0 or (overdraft > 0 and (entry.action_type, account[3]) != ("DEBIT", "AVAILABLE")):
                yield f"entry {entry.seq} posts {amount} to {account}, its lots say {moved[entry.seq, account]}"
            overdrafts[account] += overdraft
    for account, amount in overdrafts.items():
        expected = book.overdrafts.get((account[0], account[1] or "", account[2]), 0)
        if amount != (expected if account[3] == "AVAILABLE" else 0):
            yield f"the overdraft of {account} is not {amount}"


def numbers_are_dense(book: LogicalBook) -> Iterator[str]:
    """I9, without batches and ids."""
    numbered: Mapping[str, list[int]] = {
        "log_seq": [record.log_seq for record in book.records],
        "seq": [entry.seq for entry in book.entries],
        "lot_seq": [lot.lot_seq for lot in book.lots],
        "change_seq": [change.change_seq for change in book.changes],
        "holder": [participant.number for participant in book.participants.values()]
        + [group.number for group in book.groups.values()],
    }
    for name, numbers in numbered.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            yield f"{name} is not dense: {numbers}"
    for earlier, later in pairwise(book.entries):
        if later.created_at < earlier.created_at:
            yield f"entry {later.seq} is older than the one before it"


def causes_exist(book: LogicalBook) -> Iterator[str]:
    """I10: entries and changes have a cause that happened then; FAILED attempts leave creation and enrollment only."""
    last = {outcome.log_seq: outcome for outcome in book.outcomes}
    attempts = {(outcome.log_seq, outcome.processed_at) for outcome in book.outcomes}
    lots = {lot.lot_seq for lot in book.lots}
    for entry in book.entries:
        if entry.cause == "DUE":
            if entry.cause_number not in lots:
                yield f"entry {entry.seq} is about lot {entry.cause_number}, which does not exist"
            continue
        outcome = last.get(entry.cause_number)
        if outcome is None or outcome.status == "FAILED" or outcome.processed_at != entry.created_at:
            yield f"entry {entry.seq} belongs to record {entry.cause_number}, which did not complete then"
    for change in book.changes:
        if change.cause == "DUE" or change.cause_number is None:
            continue
        outcome = last.get(change.cause_number)
        if outcome is None or (change.cause_number, change.changed_at) not in attempts:
            yield f"change {change.change_seq} belongs to record {change.cause_number}, which was not processed then"
        elif outcome.status == "FAILED" and (
            change.rule is not None or change.state_type not in ("participant", "enrollment")
        ):
            yield f"change {change.change_seq} belongs to record {change.cause_number}, which failed"


def attempts_end_with_success(book: LogicalBook) -> Iterator[str]:
    """I11: attempts are numbered from 1, and nothing follows a COMPLETED one."""
    attempts: dict[int, list[RecordOutcome]] = defaultdict(list)
    for outcome in book.outcomes:
        attempts[outcome.log_seq].append(outcome)
    for record in book.records:
        own = attempts[record.log_seq]
        if [outcome.attempt for outcome in own] != list(range(1, len(own) + 1)) or not own:
            yield f"record {record.log_seq} has the attempts {[outcome.attempt for outcome in own]}"
        if any(outcome.status == "COMPLETED" for outcome in own[:-1]):
            yield f"record {record.log_seq} was tried again after it had completed"
        if any((outcome.by_operation is None) != (outcome.attempt == 1) for outcome in own):
            yield f"record {record.log_seq} has an attempt that nobody asked for"


def keys_are_unique(book: LogicalBook) -> Iterator[str]:
    """I12."""
    seen: set[tuple[str | None, ...]] = set()
    for record in book.records:
        kind = record.type if record.kind == "OPERATION" else "event"
        name = (kind, record.program, record.idempotency_key)
        if name in seen:
            yield f"record {record.log_seq} has the key of another one: {name}"
        seen.add(name)


def state_folds_changes(book: LogicalBook) -> Iterator[str]:
    """I13, for what the change log carries in plain form."""
    folded: dict[str, State] = defaultdict(dict)
    for change in book.changes:
        name = (*change.entity, change.key)
        if change.operation in ("delete", "remove"):
            folded[change.state_type].pop(name, None)
        else:
            folded[change.state_type][name] = change.new_value or ""
    for state_type, stored in _stored_state(book).items():
        if folded[state_type] != stored:
            wrong = sorted(set(folded[state_type].items()) ^ set(stored.items()))
            yield f"{state_type}: changes and state differ in {wrong}"


def _stored_state(book: LogicalBook) -> dict[str, State]:
    """The state that the changes of each type fold to, by (entity type, entity, key), as JSON text."""
    profiles: State = {
        ("PARTICIPANT", name, field): json_text(text) or ""
        for name, participant in book.participants.items()
        for field, text in {"status": participant.status, **participant.profile}.items()
    }
    groups: State = {
        ("GROUP", key, field): json_text(text) or ""
        for key, group in book.groups.items()
        for field, text in {"status": group.status, "name": group.name}.items()
    }
    return {
        "tag": dict.fromkeys(book.tags, ""),
        "counter": {name: counter.value for name, counter in book.counters.items()},
        "attribute": {name: json_text(text) or "" for name, text in book.attributes.items()},
        "tier": {
            ("PARTICIPANT", who, f"{program}/{key}"): json_text(tier.level) or ""
            for (who, program, key), tier in book.tiers.items()
        },
        "enrollment": {
            ("PARTICIPANT", who, program): json_text(status) or ""
            for (who, program), status in book.enrollments.items()
        },
        "member": {
            ("GROUP", group, who): f'{{"role":"{member.role}","status":"{member.status}"}}'
            for (group, who), member in book.members.items()
        },
        "participant": profiles,
        "group": groups,
    }


def budgets_add_up(book: LogicalBook) -> Iterator[str]:
    """I14: what is consumed is the sum of the measures (§10.4) of the rule's credits since the last reset."""
    done_by = {(row.log_seq, row.processed_at): row.by_operation or row.log_seq for row in book.outcomes}
    for (program, rule, asset), budget in book.budgets.items():
        # Due resets come before anything else of their time; a `reset_budget` in the order of the log.
        resets = [
            (change.changed_at, change.cause_number or 0)
            for change in book.changes
            if (change.state_type, change.entity[1], change.key) == ("budget", program, f"{rule}/{asset}")
        ]
        total = 0
        for entry in book.entries:
            if (entry.program, entry.rule, entry.asset) != (program, rule, asset):
                continue
            done_at = (entry.created_at, done_by[entry.cause_number, entry.created_at])
            if entry.action_type in ("CREDIT", "SETTLE") and (not resets or done_at > resets[-1]):
                held = sum(posting.amount for posting in entry.postings if posting.account[3] == "HELD")
                total += max(entry.amount + min(held, 0), 0)
        if total != budget.consumed:
            yield f"budget {program}/{rule}/{asset} has consumed {budget.consumed}, its credits add up to {total}"


def redemptions_add_up(book: LogicalBook) -> Iterator[str]:
    """I15: redemptions, their entries and reversals tie; nothing is reversed twice; the catalog counts what is left."""
    entries = {entry.seq: entry for entry in book.entries}
    redemptions = {redemption.log_seq: redemption for redemption in book.redemptions}
    undone: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for reversal in book.reversals:
        if reversal.redemption not in redemptions:
            yield f"reversal {reversal.log_seq} is of redemption {reversal.redemption}, which does not exist"
            continue
        undone[reversal.redemption][0] += reversal.amount
        undone[reversal.redemption][1] += reversal.quantity or 0
        if not _is_redeemed(entries[reversal.entry_seq], "REDEMPTION_REVERSAL", redemptions[reversal.redemption], -1):
            yield f"reversal {reversal.log_seq} is not its entry"
        if entries[reversal.entry_seq].amount != reversal.amount:
            yield f"reversal {reversal.log_seq} has another amount than its entry"
    for redemption in book.redemptions:
        done = (redemption.reversed_amount, redemption.reversed_quantity or 0)
        if done != tuple(undone[redemption.log_seq]) or not 0 <= done[0] <= redemption.amount:
            yield f"redemption {redemption.log_seq} has {done} reversed, its reversals say {undone[redemption.log_seq]}"
        is_full = redemption.amount == done[0]
        if redemption.status != ("FULLY_REVERSED" if is_full else "PARTIALLY_REVERSED" if done[0] else "COMPLETED"):
            yield f"redemption {redemption.log_seq} is {redemption.status}"
        entry = entries[redemption.entry_seq]
        if entry.amount != redemption.amount or not _is_redeemed(entry, "REDEMPTION", redemption, 1):
            yield f"redemption {redemption.log_seq} is not its entry"
        if redemption.quantity is not None and (
            redemption.amount != redemption.quantity * (redemption.unit_cost or 0)
            or done[0] != done[1] * (redemption.unit_cost or 0)
        ):
            yield f"redemption {redemption.log_seq} is no whole number of units"
    made = sorted(entry.seq for entry in book.entries if entry.redemption is not None)
    if made != sorted([row.entry_seq for row in book.redemptions] + [row.entry_seq for row in book.reversals]):
        yield "entries say something else about redemptions than redemptions and reversals do"
    yield from _counts_of_rewards(book)


def _is_redeemed(entry: Entry, action_type: str, redemption: Redemption, sign: int) -> bool:
    """Whether an entry moves value between the participant and the captured target."""
    postings = {posting.account: posting.amount for posting in entry.postings}
    payer = ("PARTICIPANT", redemption.participant, redemption.asset, "AVAILABLE")
    expected = {payer: -sign * entry.amount, (*redemption.target, redemption.asset, "AVAILABLE"): sign * entry.amount}
    said = (entry.action_type, entry.redemption, entry.program)
    return postings == expected and said == (action_type, redemption.log_seq, redemption.program)


def _counts_of_rewards(book: LogicalBook) -> Iterator[str]:
    counts: dict[tuple[str, str | None], int] = defaultdict(int)
    for redemption in book.redemptions:
        units = (redemption.quantity or 0) - (redemption.reversed_quantity or 0)
        counts[redemption.program, redemption.reward] += units
    told = {
        (change.entity[1], change.key): change.new_value for change in book.changes if change.state_type == "reward"
    }
    for name, reward in book.rewards.items():
        if reward.redeemed_count != counts[name]:
            yield f"reward {name} counts {reward.redeemed_count}, its redemptions {counts[name]}"
        if reward.max_total is not None and reward.redeemed_count > reward.max_total:
            yield f"reward {name} has been redeemed {reward.redeemed_count} times of {reward.max_total}"
        if name in told and f'"redeemed_count":{reward.redeemed_count},' not in (told[name] or ""):
            yield f"reward {name} counts {reward.redeemed_count}, its last change says {told[name]}"
        if name not in told and reward.redeemed_count:
            yield f"reward {name} has changed and no row says so"


WALLET_SIGNS: Mapping[str, tuple[int, ...]] = {
    "FUND": (1,),
    "BURN": (-1,),
    "CREDIT": (-1,),
    "SETTLE": (-1, 1),
    "DEBIT": (1,),
    "VOID_HOLD": (1,),
    "REDEMPTION": (1,),
    "REDEMPTION_REVERSAL": (-1,),
}
"""Entries that touch a wallet, and whether they give or take."""


def wallets_add_up(book: LogicalBook) -> Iterator[str]:
    """I19: wallets are funded, burned, credited from, returned to, redeemed into and clawed back from; never short."""
    wallets: dict[Account, int] = defaultdict(int)
    for entry in book.entries:
        for posting in entry.postings:
            if posting.account[0] != "PROGRAM":
                continue
            wallets[posting.account] += posting.amount
            if (1 if posting.amount > 0 else -1) not in WALLET_SIGNS.get(entry.action_type, ()):
                yield f"entry {entry.seq} {entry.action_type} posts {posting.amount} to a wallet"
            if wallets[posting.account] < 0:
                yield f"the wallet {posting.account} is {wallets[posting.account]} after entry {entry.seq}"
    for account in wallets.keys() | {account for account in book.balances if account[0] == "PROGRAM"}:
        if wallets[account] != book.balances.get(account, 0):
            yield f"the wallet {account} is {book.balances.get(account, 0)}, not {wallets[account]}"


def nothing_is_overdue(book: LogicalBook) -> Iterator[str]:
    """I16."""
    due: dict[str, int | None] = {}
    for lot in book.lots:
        due[f"lot {lot.lot_seq}"] = {"DEFERRED": lot.matures_at, "AVAILABLE": lot.expires_at}.get(lot.status)
    due |= {f"event {key}": scheduled.due_at for key, scheduled in book.schedule.items()}
    due |= {f"budget {name}": budget.next_reset_at for name, budget in book.budgets.items()}
    due |= {f"tier {name}": tier.expires_at for name, tier in book.tiers.items()}
    for what, due_at in due.items():
        if due_at is not None and book.book_clock is not None and due_at <= book.book_clock:
            yield f"{what} was due at {due_at}"


def counts_tie(book: LogicalBook) -> Iterator[str]:
    """I17; in the middle of a run there are rows read that are not yet anything."""
    counts = book.counts
    if counts is None:
        return
    if counts.events + counts.operations + counts.generated != counts.completed + counts.failed:
        yield f"records are not outcomes: {counts}"
    if len(book.records) != counts.events + counts.operations + counts.generated:
        yield f"{len(book.records)} records, but {counts}"
    if counts.rows_read < counts.events + counts.operations + counts.duplicates + counts.rejected:
        yield f"more records than rows: {counts}"
    if counts.late > counts.events + counts.operations:
        yield f"more late records than external ones: {counts}"


CHECKS: tuple[tuple[str, Callable[[LogicalBook], Iterator[str]]], ...] = (
    ("I1", entries_balance),
    ("I2", value_is_conserved),
    ("I3", balances_fold_postings),
    ("I4 I5", lots_explain_balances),
    ("I6", only_allowed_balances_are_negative),
    ("I7", lots_fold_their_moves),
    ("I8", postings_follow_lot_moves),
    ("I9", numbers_are_dense),
    ("I10", causes_exist),
    ("I11", attempts_end_with_success),
    ("I12", keys_are_unique),
    ("I13", state_folds_changes),
    ("I14", budgets_add_up),
    ("I15", redemptions_add_up),
    ("I16", nothing_is_overdue),
    ("I17", counts_tie),
    ("I19", wallets_add_up),
)
