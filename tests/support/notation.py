"""The ledger notation of §1.4: parsed into steps, and compared with a logical book.

Steps are separated by ` ; `. The entries of a book must be exactly the entry steps, in their order; balances and lots
are those after the entries before them; a `! CODE` step is a record that failed at that place. Beside the `wallet` of
an entry's program, `shop.wallet` is that of program `shop`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from tests.support.logical import Account, Entry, LogicalBook, Lot, LotMove

SYSTEM_ACCOUNTS = {
    "ISSUANCE": "SYSTEM_ISSUANCE",
    "REDEMPTION": "SYSTEM_REDEMPTION",
    "BREAKAGE": "SYSTEM_BREAKAGE",
}
BUCKETS = {"A": "AVAILABLE", "H": "HELD", "D": "DEFERRED"}

_LOT = re.compile(r"L(\d+) (-?[\d.]+)/(-?[\d.]+) ([A-Z]+)(?:\[(.+)\])?")


@dataclass(frozen=True, slots=True)
class EntryStep:
    """`CREDIT ISSUANCE -5.00 | alice.A +5.00`: account names as written, amounts in asset units."""

    text: str
    action_type: str
    postings: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class BalanceStep:
    """`= alice.A 5.00 | wallet 0.00`."""

    text: str
    balances: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class LotsStep:
    """`lots alice: L1 60.00/0.00 CONSUMED; overdraft 30.00`: all lots the holder has at that point."""

    text: str
    holder: str
    lots: tuple[tuple[int, Decimal, Decimal, str, str | None], ...]
    overdraft: Decimal


@dataclass(frozen=True, slots=True)
class FailureStep:
    """`! INSUFFICIENT_WALLET (credit 60.00)`."""

    text: str
    code: str


@dataclass(frozen=True, slots=True)
class MarkStep:
    """`-- period`: a place that reports refer to."""

    text: str


Step: TypeAlias = EntryStep | BalanceStep | LotsStep | FailureStep | MarkStep


def parse_notation(text: str) -> list[Step]:
    """The steps of an example; lines that start with `#` are titles. ValueError names a step that cannot be read."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    parts = re.split(r"\s;(?:\s+|$)", "\n".join(lines) + " ")
    return [_parse_step(" ".join(part.split())) for part in parts if part.strip()]


def _parse_step(text: str) -> Step:
    plain = re.sub(r"\s*\([^)]*\)$", "", text)
    if plain.startswith("-- "):
        return MarkStep(plain)
    if plain.startswith("! "):
        return FailureStep(text, plain.removeprefix("! ").strip())
    if plain.startswith("= "):
        return BalanceStep(text, tuple(_parse_amounts(plain.removeprefix("= "))))
    if plain.startswith("lots "):
        return _parse_lots(text, plain)
    action_type, _, postings = plain.partition(" ")
    if not action_type.isupper() or not postings:
        raise ValueError(f"not a step of the ledger notation: {text}")
    return EntryStep(text, action_type, tuple(_parse_amounts(postings)))


def _parse_amounts(text: str) -> Iterator[tuple[str, Decimal]]:
    for part in text.split("|"):
        account, amount = part.split()
        yield account, Decimal(amount)


def _parse_lots(text: str, plain: str) -> LotsStep:
    found = re.fullmatch(r"lots (\S+): (.*?)(?:; overdraft ([\d.]+))?", plain)
    if found is None:
        raise ValueError(f"not a lots step: {text}")
    lots = []
    for part in found[2].split(", "):
        lot = _LOT.fullmatch(part)
        if lot is None:
            raise ValueError(f"not a lot: {part} in {text}")
        lots.append((int(lot[1]), Decimal(lot[2]), Decimal(lot[3]), lot[4], lot[5]))
    return LotsStep(text, found[1], tuple(lots), Decimal(found[3] or 0))


def notation_mismatches(steps: Sequence[Step], book: LogicalBook, *, asset: str, scale: int) -> list[str]:
    """Where the book's rows of one asset differ from the steps, one sentence each; empty when it reads as written."""
    reading = _Reading(book, asset, scale)
    for step in steps:
        match step:
            case EntryStep():
                reading.read_entry(step)
            case BalanceStep():
                reading.read_balances(step)
            case LotsStep():
                reading.read_lots(step)
            case FailureStep():
                reading.read_failure(step)
            case MarkStep():
                pass
    reading.read_end()
    return reading.mismatches


class _Reading:
    """One walk along the steps of an example and the rows of a book."""

    def __init__(self, book: LogicalBook, asset: str, scale: int) -> None:
        self.mismatches: list[str] = []
        self._asset = asset
        self._scale = scale
        self._entries = [entry for entry in book.entries if entry.asset == asset]
        self._next = 0
        self._moves = book.lot_moves
        self._lots = {lot.lot_seq: lot for lot in book.lots}
        self._groups = book.groups
        self._failures = [outcome for outcome in book.outcomes if outcome.status == "FAILED"]
        self._next_failure = 0
        self._balances: dict[Account, int] = {}

    def read_entry(self, step: EntryStep) -> None:
        if self._next == len(self._entries):
            self._report(step, "the book has no further entry")
            return
        entry = self._entries[self._next]
        self._next += 1
        for posting in entry.postings:
            self._balances[posting.account] = self._balances.get(posting.account, 0) + posting.amount
        shown = (entry.action_type, tuple((posting.account, posting.amount) for posting in entry.postings))
        wanted = (
            step.action_type,
            tuple((self._account(name, entry.program), self._minor(amount)) for name, amount in step.postings),
        )
        if shown != wanted:
            self._report(step, f"entry {entry.seq} is {shown}")
        self._check_failures_before(step, entry)

    def _check_failures_before(self, step: EntryStep, entry: Entry) -> None:
        """A failure that no `!` step named must not lie before this entry's record."""
        if entry.cause == "DUE" or self._next_failure == len(self._failures):
            return
        failure = self._failures[self._next_failure]
        if failure.log_seq < entry.cause_number:
            self._report(step, f"record {failure.log_seq} failed before it with {failure.code}")

    def read_balances(self, step: BalanceStep) -> None:
        for name, amount in step.balances:
            balance = self._balances.get(self._account(name, self._program()), 0)
            if balance != self._minor(amount):
                self._report(step, f"{name} is {Decimal(balance).scaleb(-self._scale)}")

    def read_lots(self, step: LotsStep) -> None:
        wanted = {
            number: (self._minor(amount), self._minor(remaining), status, reference)
            for number, amount, remaining, status, reference in step.lots
        }
        moves = [move for move in self._moves if move.entry_seq <= self._entries[self._next - 1].seq]
        shown = dict(self._lots_after(moves, step.holder))
        if shown != wanted:
            self._report(step, f"lots are {shown}")
        overdraft = sum(remaining for _, remaining, status, _ in shown.values() if status == "AVAILABLE")
        overdraft -= self._balances.get((self._kind(step.holder), step.holder, self._asset, "AVAILABLE"), 0)
        if overdraft != self._minor(step.overdraft):
            self._report(step, f"the overdraft is {overdraft} minor units")

    def _lots_after(
        self, moves: Sequence[LotMove], holder: str
    ) -> Iterator[tuple[int, tuple[int, int, str, str | None]]]:
        latest: Mapping[int, LotMove] = {move.lot_seq: move for move in moves}
        for number, move in latest.items():
            lot: Lot = self._lots[number]
            if lot.holder[1] == holder and lot.asset == self._asset:
                yield number, (lot.amount, move.remaining_after, move.status_after, move.hold_reference_after)

    def read_failure(self, step: FailureStep) -> None:
        if self._next_failure == len(self._failures):
            self._report(step, "no further record failed")
            return
        failure = self._failures[self._next_failure]
        self._next_failure += 1
        if failure.code != step.code:
            self._report(step, f"record {failure.log_seq} failed with {failure.code}")
        earlier = [entry for entry in self._entries[: self._next] if entry.cause != "DUE"]
        if any(entry.cause_number >= failure.log_seq for entry in earlier):
            self._report(step, f"record {failure.log_seq} failed earlier than that")

    def read_end(self) -> None:
        for entry in self._entries[self._next :]:
            self.mismatches.append(f"the book has one more entry: {entry}")
        for failure in self._failures[self._next_failure :]:
            self.mismatches.append(f"record {failure.log_seq} failed with {failure.code}")

    def _program(self) -> str:
        return self._entries[self._next - 1].program if self._next else ""

    def _account(self, name: str, program: str) -> Account:
        if name in SYSTEM_ACCOUNTS:
            return (SYSTEM_ACCOUNTS[name], None, self._asset, "AVAILABLE")
        if name == "wallet":
            return ("PROGRAM", program, self._asset, "AVAILABLE")
        holder, _, bucket = name.rpartition(".")
        if bucket == "wallet":
            return ("PROGRAM", holder, self._asset, "AVAILABLE")
        return (self._kind(holder), holder, self._asset, BUCKETS[bucket])

    def _kind(self, holder: str) -> str:
        return "GROUP" if holder in self._groups else "PARTICIPANT"

    def _minor(self, amount: Decimal) -> int:
        return int(amount.scaleb(self._scale))

    def _report(self, step: Step, problem: str) -> None:
        self.mismatches.append(f"{step.text}: {problem}")
