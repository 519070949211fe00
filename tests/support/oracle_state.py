"""What the oracle remembers: dictionaries of natural keys, and lists of the rows it has written.

Rows are frozen, so a copy of the state is a copy of its containers. That copy is how a failed event is undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, fields
from decimal import Decimal

from tests.support.logical import Account, Change, Entity, Entry, Lot, LotMove


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


@dataclass(slots=True, kw_only=True)
class State:
    """The book. Holders are named by (entity_type, key); participants are numbered by their place in `participants`."""

    book_clock: int | None = None
    log_seq: int = 0
    participants: dict[str, str] = field(default_factory=dict)
    enrollments: dict[tuple[str, str], str] = field(default_factory=dict)
    balances: dict[Account, int] = field(default_factory=dict)
    overdrafts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    lots: dict[int, Lot] = field(default_factory=dict)
    counters: dict[tuple[str, str, str], StoredCounter] = field(default_factory=dict)
    tags: set[tuple[str, str, str]] = field(default_factory=set)
    attributes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    lot_moves: list[LotMove] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def snapshot(self) -> State:
        """An independent copy."""
        copied = copy(self)
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, dict | set | list):
                setattr(copied, part.name, value.copy())
        return copied

    def balance(self, account: Account) -> int:
        return self.balances.get(account, 0)

    def overdraft(self, holder: Entity, asset: str) -> int:
        return self.overdrafts.get((*holder, asset), 0)

    def lots_of(self, holder: Entity, asset: str, status: str) -> Iterator[Lot]:
        """Lots of one status in order of consumption (§9.6)."""
        found = [lot for lot in self.lots.values() if (lot.holder, lot.asset, lot.status) == (holder, asset, status)]
        yield from sorted(found, key=lambda lot: (lot.created_at, lot.root_lot_seq, lot.lot_seq))
