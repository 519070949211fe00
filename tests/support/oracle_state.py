"""What the oracle remembers: dictionaries of natural keys, and lists of the rows it has written.

Rows are frozen, so a copy of the state is a copy of its containers. That copy is how a failed record is undone.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, fields
from decimal import Decimal

from tests.support.logical import (
    Account,
    Change,
    Entity,
    Entry,
    Group,
    Lot,
    LotMove,
    Member,
    Participant,
    Redemption,
    Reversal,
    Tier,
)
from tests.support.oracle_json import Fields


class Failure(Exception):
    """An outcome code (A.1) that fails the record."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Who writes an entry or a change, and when (§18.1, §18.5). `number` is a log_seq, for DUE entries a lot_seq.

    `redemption` is the log_seq of the redemption that an entry makes or reverses.
    """

    kind: str
    number: int | None
    program: str
    processed_at: int
    rule: str | None = None
    rule_version: int | None = None
    action_index: int | None = None
    reference: str | None = None
    description: str | None = None
    redemption: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCounter:
    """A counter and its window (§13.2)."""

    value: Decimal
    last_reset_at: int | None
    reset_after: int | None

    def is_elapsed(self, at: int) -> bool:
        if self.reset_after is None or self.last_reset_at is None:
            return False
        return at - self.last_reset_at >= self.reset_after

    def effective(self, at: int) -> Decimal:
        """The value as CEL and reports read it."""
        return Decimal(0) if self.is_elapsed(at) else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBudget:
    """What a rule has issued of an asset since the last reset; `origin` is what intervals are counted from (§10.4)."""

    consumed: int
    next_reset_at: int | None
    origin: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedEvent:
    """An event waiting to be processed as due work of rank 7; `key` is what sorts it there (§4.4)."""

    due_at: int
    timestamp: int
    key: tuple[int, ...]
    program: str
    idempotency_key: str
    participant: str
    data: Fields
    parent: int
    generation: int
    is_broadcast: bool
    descends_from_broadcast: bool


@dataclass(slots=True, kw_only=True)
class State:
    """The book. Entities are named by (entity_type, key); participants and groups carry their object number.

    `record_ids` are the ids of the records by log_seq, `redemptions` are under the log_seq of their operation.
    """

    book_clock: int | None = None
    log_seq: int = 0
    record_ids: dict[int, uuid.UUID] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    asset_links: set[tuple[str, str]] = field(default_factory=set)
    participants: dict[str, Participant] = field(default_factory=dict)
    participant_ids: dict[str, uuid.UUID] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    members: dict[tuple[str, str], Member] = field(default_factory=dict)
    enrollments: dict[tuple[str, str], str] = field(default_factory=dict)
    balances: dict[Account, int] = field(default_factory=dict)
    overdrafts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)
    counters: dict[tuple[str, str, str], StoredCounter] = field(default_factory=dict)
    tags: set[tuple[str, str, str]] = field(default_factory=set)
    attributes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    tiers: dict[tuple[str, str, str], Tier] = field(default_factory=dict)
    explicit_tiers: set[tuple[str, str, str]] = field(default_factory=set)
    budgets: dict[tuple[str, str, str], StoredBudget] = field(default_factory=dict)
    waiting: list[GeneratedEvent] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    lot_moves: list[LotMove] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    redemptions: dict[int, Redemption] = field(default_factory=dict)
    reversals: list[Reversal] = field(default_factory=list)

    def snapshot(self) -> State:
        """An independent copy."""
        copied = copy(self)
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, dict | set | list):
                setattr(copied, part.name, value.copy())
        return copied

    @property
    def processing_time(self) -> int:
        """P of the record in hand: the due work before it has brought the book clock there."""
        assert self.book_clock is not None
        return self.book_clock

    def next_holder_number(self) -> int:
        """Participants and groups are numbered in one sequence (§2.3)."""
        return len(self.participants) + len(self.groups) + 1

    def is_enrolled(self, participant: str, program: str) -> bool:
        return self.enrollments.get((participant, program)) == "ACTIVE"

    def balance(self, account: Account) -> int:
        return self.balances.get(account, 0)

    def overdraft(self, holder: Entity, asset: str) -> int:
        return self.overdrafts.get((*holder, asset), 0)

    def lots_of(self, holder: Entity, asset: str, status: str) -> Iterator[Lot]:
        """Lots of one status in order of consumption (§9.6)."""
        found = [lot for lot in self.lots.values() if (lot.holder, lot.asset, lot.status) == (holder, asset, status)]
        yield from sorted(found, key=lambda lot: (lot.created_at, lot.root_lot_seq, lot.lot_seq))

    def note(
        self,
        cause: Cause,
        entity: Entity,
        state_type: str,
        key: str,
        operation: str,
        *,
        old: str | None = None,
        new: str | None = None,
    ) -> None:
        """Writes one change row (§18.5); the values are JSON text."""
        self.changes.append(
            Change(
                change_seq=len(self.changes) + 1,
                entity=entity,
                state_type=state_type,
                key=key,
                operation=operation,
                old_value=old,
                new_value=new,
                cause=cause.kind,
                cause_number=cause.number,
                rule=cause.rule,
                action_index=cause.action_index,
                changed_at=cause.processed_at,
            )
        )


def json_text(value: str | None) -> str | None:
    """The JSON text of a text, None for none."""
    return None if value is None else json.dumps(value, ensure_ascii=False)
