"""Reports recomputed from a logical book (§20), row by row, in minor units: slow, obvious, and without SQL.

Each function takes the book that the oracle made and gives plain rows or sums that a report must show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from tests.support.logical import Account, Entry, LogicalBook, Lot

HOLDERS = ("PARTICIPANT", "GROUP")
Lines: TypeAlias = "dict[str, int]"

_SIMPLE_LINES = {
    "CREDIT": "issued",
    "DEBIT": "debited",
    "EXPIRATION": "expired",
    "FORFEIT": "forfeited",
    "VOID_HOLD": "holds_voided",
}


@dataclass(frozen=True)
class Scope:
    """Which entries count: created up to a time, after a time, of a program, of an asset; None: no bound."""

    until_us: int | None = None
    after_us: int | None = None
    program: str | None = None
    asset: str | None = None

    def has(self, entry: Entry) -> bool:
        """Whether an entry counts."""
        return (
            (self.until_us is None or entry.created_at <= self.until_us)
            and (self.after_us is None or entry.created_at > self.after_us)
            and self.program in (None, entry.program)
            and self.asset in (None, entry.asset)
        )


def month_of(time_us: int) -> str:
    """The month of a time in UTC."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m")


def is_holder(account: Account) -> bool:
    """Whether an account is a participant's or group's."""
    return account[0] in HOLDERS


def balances(book: LogicalBook, scope: Scope) -> dict[Account, int]:
    """What entries of a scope left on each account."""
    found: dict[Account, int] = defaultdict(int)
    for entry in filter(scope.has, book.entries):
        for posting in entry.postings:
            found[posting.account] += posting.amount
    return found


def held(book: LogicalBook, scope: Scope) -> int:
    """What all holders have."""
    return sum(amount for account, amount in balances(book, scope).items() if is_holder(account))


def lines(book: LogicalBook, scope: Scope) -> Lines:
    """The lines of the roll-forward (§20.4), magnitudes without those of 0."""
    found: Lines = defaultdict(int)
    for entry in filter(scope.has, book.entries):
        for line, amount in _lines_of(entry):
            found[line] += amount
    return {line: amount for line, amount in found.items() if amount}


def _lines_of(entry: Entry) -> Iterator[tuple[str, int]]:
    on_holders = [posting for posting in entry.postings if is_holder(posting.account)]
    match entry.action_type:
        case "SETTLE":
            taken = -sum(posting.amount for posting in on_holders if posting.account[3] == "HELD")
            yield (
                ("issued", entry.amount - taken) if entry.amount > taken else ("issuance_returns", taken - entry.amount)
            )
        case "REDEMPTION" | "REDEMPTION_REVERSAL" as kind:
            names = ("redeemed", "redemption_receipts")
            if kind == "REDEMPTION_REVERSAL":
                names = ("reversal_clawbacks", "redemption_reversals")
            for posting in on_holders:
                yield names[posting.amount > 0], abs(posting.amount)
        case "TRANSFER" | "HOLD" | "RELEASE" | "MATURITY" | "FUND" | "BURN":
            return
        case kind:
            yield _SIMPLE_LINES[kind], abs(sum(posting.amount for posting in on_holders))


def participants_with_value(book: LogicalBook, scope: Scope) -> int:
    """Distinct participants with an account that is not zero."""
    return len({a[1] for a, amount in balances(book, scope).items() if a[0] == "PARTICIPANT" and amount})


# --- lots -----------------------------------------------------------------------------------------------------------


def remaining(book: LogicalBook, asset: str, until_us: int | None) -> dict[int, int]:
    """What is left of each lot of an asset by its moves up to a time."""
    created = {entry.seq: entry.created_at for entry in book.entries}
    lots = {lot.lot_seq for lot in book.lots if lot.asset == asset}
    left: dict[int, int] = {}
    for move in sorted(book.lot_moves, key=lambda move: (move.entry_seq, move.index)):
        if move.lot_seq in lots and (until_us is None or created[move.entry_seq] <= until_us):
            left[move.lot_seq] = move.remaining_after
    return {lot: amount for lot, amount in left.items() if amount}


def lots_by_expiry(book: LogicalBook, asset: str, until_us: int | None) -> dict[int | None, tuple[int, int]]:
    """Amount and number of what is left by expiry."""
    lots = {lot.lot_seq: lot for lot in book.lots}
    found: dict[int | None, tuple[int, int]] = {}
    for lot_seq, amount in remaining(book, asset, until_us).items():
        at = lots[lot_seq].expires_at
        before = found.get(at, (0, 0))
        found[at] = (before[0] + amount, before[1] + 1)
    return found


def lot_cohorts(book: LogicalBook, asset: str) -> dict[str, Lines]:
    """Breakage of a LOT asset by the month of the root lot (§20.7)."""
    lots = {lot.lot_seq: lot for lot in book.lots if lot.asset == asset}
    entries = {entry.seq: entry for entry in book.entries}
    made_by = {move.lot_seq: entries[move.entry_seq].action_type for move in book.lot_moves if move.kind == "CREATE"}
    found: dict[str, Lines] = defaultdict(lambda: dict.fromkeys(_COHORT, 0))

    def cohort(lot: Lot) -> Lines:
        return found[month_of(lots[lot.root_lot_seq].created_at)]

    for lot in lots.values():
        cohort(lot)["outstanding"] += lot.remaining
        if lot.root_lot_seq == lot.lot_seq and made_by[lot.lot_seq] in ("CREDIT", "SETTLE"):
            cohort(lot)["issued"] += lot.amount
        if lot.root_lot_seq == lot.lot_seq and made_by[lot.lot_seq] in ("TRANSFER", "REDEMPTION"):
            cohort(lot)["received"] += lot.amount
    for move in book.lot_moves:
        taken = move.remaining_before - move.remaining_after
        if move.lot_seq not in lots or move.kind not in ("CONSUME", "EXPIRE"):
            continue
        line = {"EXPIRATION": "expired", "FORFEIT": "forfeited", "SETTLE": "returned", "VOID_HOLD": "returned"}
        name = line.get(entries[move.entry_seq].action_type)
        if name == "returned":
            cohort(lots[move.lot_seq])["issued"] -= taken
        elif name is not None:
            cohort(lots[move.lot_seq])[name] += taken
    return dict(found)


_COHORT = ("issued", "received", "expired", "forfeited", "outstanding")


def posting_cohorts(book: LogicalBook, asset: str) -> dict[str, Lines]:
    """Breakage of a SIMPLE asset by the month of posting (§20.7)."""
    found: dict[str, Lines] = {}
    for entry in book.entries:
        if entry.asset != asset or not any(is_holder(posting.account) for posting in entry.postings):
            continue
        cohort = found.setdefault(month_of(entry.created_at), dict.fromkeys(_COHORT[:4], 0))
        if entry.action_type == "TRANSFER":
            cohort["received"] += sum(posting.amount for posting in entry.postings if posting.amount > 0)
        for line, amount in _lines_of(entry):
            sign = {"issued": 1, "issuance_returns": -1, "holds_voided": -1}.get(line)
            if sign is not None:
                cohort["issued"] += sign * amount
            elif line == "redemption_receipts":
                cohort["received"] += amount
            elif line in ("expired", "forfeited"):
                cohort[line] += amount
    return found


# --- rules ----------------------------------------------------------------------------------------------------------


def rule_costs(book: LogicalBook) -> dict[tuple[str, str, str, str], Lines]:
    """By program, rule, asset and month: credits, issued, returned, suppressed (§20.8)."""
    found: dict[tuple[str, str, str, str], Lines] = defaultdict(lambda: defaultdict(int))
    for entry in book.entries:
        if entry.rule is not None and entry.action_type in ("CREDIT", "SETTLE"):
            cost = found[entry.program, entry.rule, entry.asset, month_of(entry.created_at)]
            cost["credits"] += 1
            for line, amount in _lines_of(entry):
                cost["issued" if line == "issued" else "returned"] += amount
    programs = {record.log_seq: record.program for record in book.records}
    outcomes = {(outcome.log_seq, outcome.attempt): outcome for outcome in book.outcomes}
    for evaluation in book.evaluations:
        outcome = outcomes[evaluation.log_seq, evaluation.attempt]
        for action in evaluation.actions or ():
            if action.result == "SUPPRESSED" and outcome.status == "COMPLETED":
                program, month = programs[evaluation.log_seq], month_of(outcome.processed_at)
                cost = found[str(program), evaluation.rule, str(action.asset), month]
                cost["suppressed"] += 1
                cost["suppressed_amount"] += action.amount or 0
    return {name: {line: amount for line, amount in cost.items() if amount} for name, cost in found.items()}


def consumed(book: LogicalBook, name: tuple[str, str, str], until_us: int) -> int:
    """What a budget (program, rule, asset) has consumed by a time: issued since its last reset, which comes first.

    For budgets that began with the book and are reset as due work only.
    """
    program, rule, asset = name
    resets = [
        change.changed_at
        for change in book.changes
        if (change.state_type, change.entity[1], change.key) == ("budget", program, f"{rule}/{asset}")
    ]
    since = max((at for at in resets if at <= until_us), default=0)
    own = [e for e in book.entries if (e.program, e.rule, e.asset) == name and since <= e.created_at <= until_us]
    measured = (line for e in own if e.action_type in ("CREDIT", "SETTLE") for line in _lines_of(e))
    return sum(amount for line, amount in measured if line == "issued")


# --- tiers ----------------------------------------------------------------------------------------------------------


def enrolled(book: LogicalBook, program: str) -> set[str]:
    """ACTIVE participants with an ACTIVE enrollment."""
    return {
        who
        for (who, where), status in book.enrollments.items()
        if where == program and status == "ACTIVE" and book.participants[who].status == "ACTIVE"
    }


def levels(book: LogicalBook, program: str, tier: str) -> dict[str | None, int]:
    """How many of them stand on each level; None: on none."""
    found: dict[str | None, int] = defaultdict(int)
    for who in enrolled(book, program):
        stands = book.tiers.get((who, program, tier))
        found[None if stands is None else stands.level] += 1
    return dict(found)


def tier_steps(book: LogicalBook) -> dict[tuple[str, str | None, str | None], tuple[int, int]]:
    """By `program/tier`, level before and after: how many changes, of how many participants."""
    found: dict[tuple[str, str | None, str | None], list[str]] = defaultdict(list)
    for change in book.changes:
        if change.state_type == "tier":
            before, after = change.old_value, change.new_value
            found[change.key, _text(before), _text(after)].append(change.entity[1])
    return {step: (len(who), len(set(who))) for step, who in found.items()}


def _text(value: str | None) -> str | None:
    return None if value is None else value.strip('"')
