"""What the books must know of definitions: assets, programs, and their actions, as plain numbers.

Everything is resolved: assets are indexes in asset order, keys are columns of the cells, durations are microseconds.
Programs stand in number order, all of the book, because the slot of program n is n - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earnbook.ledger.layout import (
    ACTION_COLUMNS,
    ASSET_COLUMNS,
    BUDGET_COLUMNS,
    BUDGET_KEY_SHIFT,
    DATE_DURATION,
    DATE_NONE,
    DATE_TIME,
    PROGRAM_COLUMNS,
)
from earnbook.ledger.schema import (
    ACCOUNT_REDEMPTION,
    TIME_NONE,
    ActionType,
    Bucket,
    Int64s,
    InventoryMode,
    IssuancePolicy,
    Status,
    word_count,
)
from earnbook.ledger.terms_tiers import TierTerms, tier_spans


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTerms:
    """An asset; `max_transaction` in minor units, None: no limit."""

    number: int
    scale: int
    mode: InventoryMode
    policy: IssuancePolicy
    status: Status = Status.ACTIVE
    max_transaction: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Date:
    """A date of a lot: a duration from processing time, or a time, in microseconds."""

    duration: int | None = None
    time: int | None = None

    def columns(self) -> tuple[int, int]:
        """Kind and value as the kernel reads them."""
        if self.duration is not None:
            return DATE_DURATION, self.duration
        return (DATE_NONE, 0) if self.time is None else (DATE_TIME, self.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTerms:
    """An action of a rule: `number` in the book's `actions`, `key` a column of the cells, `name` one of `names`.

    `rule` is the position of its rule, `budget` an index in `Terms.budgets` of a CREDIT that a budget caps.
    `everything`: the action moves value but names no amount: all that matches.
    Of SET_TIER, `key` is the tier type's column, `name` the position of the level (0: base).
    Of an action that makes events, `key` is its template (a row behind the records of a batch) and `reset_after` its
    delay.
    """

    type: ActionType
    number: int
    asset: int = -1
    bucket: Bucket = Bucket.AVAILABLE
    allow_negative: bool = False
    expires: Date = Date()
    matures: Date = Date()
    key: int = -1
    name: int = 0
    reset_after: int | None = None
    rule: int = 0
    budget: int = -1
    everything: bool = False

    def columns(self) -> tuple[int, ...]:
        """The row of ACTIONS."""
        reset_after = int(TIME_NONE) if self.reset_after is None else self.reset_after
        money = (int(self.type), self.asset, int(self.bucket), int(self.allow_negative))
        dates = (*self.expires.columns(), *self.matures.columns())
        return (
            *money,
            *dates,
            self.key,
            self.name,
            self.number,
            reset_after,
            self.rule,
            self.budget,
            int(self.everything),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetTerms:
    """A cap on what a rule issues of one asset (§10.4), with nothing consumed.

    `number` is the book's, `rule` and `asset` are object numbers, `program` a slot, `limit` minor units.
    With an `interval` (microseconds) it is reset at `origin` + k × interval; with a `next_reset_at` and no interval by
    a cron expression that the caller knows; with neither never.
    """

    number: int
    rule: int
    asset: int
    program: int
    limit: int
    interval: int = 0
    origin: int = 0
    next_reset_at: int | None = None

    def columns(self) -> tuple[int, ...]:
        """The row of BUDGETS."""
        next_at = int(TIME_NONE) if self.next_reset_at is None else self.next_reset_at
        key = (self.rule << BUDGET_KEY_SHIFT) | self.asset
        none = int(TIME_NONE)
        return (
            *(self.number, self.program, self.limit, 0, next_at, key),
            *(self.interval, self.origin, none, none),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramTerms:
    """A program: its actions in the order `propose` counts them, how many literals and compiled rules it has.

    `target` is where its redemptions go (§16.1): the account code of a system account or a wallet, or 0 for a holder,
    one of the persons `target_group` and `target_person` (-1: none).
    """

    number: int
    linked: tuple[int, ...]
    actions: tuple[ActionTerms, ...] = ()
    literals: int = 0
    rules: int = 0
    status: Status = Status.ACTIVE
    creates: bool = True
    target: int = ACCOUNT_REDEMPTION
    target_group: int = -1
    target_person: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """All definitions of a run; counters, tags and attributes are the numbers of distinct keys in the cells.

    `tiers` are the tier types in the order of their columns: those of one program together, by number.
    `has_members`: operations of the run are about profiles, groups or members, so that these are loaded and kept.
    """

    assets: tuple[AssetTerms, ...]
    programs: tuple[ProgramTerms, ...]
    counters: int = 0
    tags: int = 0
    attributes: int = 0
    tiers: tuple[TierTerms, ...] = ()
    budgets: tuple[BudgetTerms, ...] = ()
    has_members: bool = False

    def __post_init__(self) -> None:
        """Programs are dense and tier types in order; ValueError otherwise."""
        if [program.number for program in self.programs] != list(range(1, len(self.programs) + 1)):
            raise ValueError("programs must be all programs of the book, in number order")
        places = [(tier.program, tier.number) for tier in self.tiers]
        if places != sorted(set(places)):
            raise ValueError("tier types must stand by program and number")

    @property
    def has_lots(self) -> bool:
        """Whether any asset keeps lots."""
        return any(asset.mode == InventoryMode.LOT for asset in self.assets)

    @property
    def words(self) -> int:
        """Words in one section of the evaluation words of the program with the most rules."""
        return max((word_count(program.rules) for program in self.programs), default=1)

    @property
    def effects(self) -> int:
        """The largest number of effects that one event can have."""
        return max((len(program.actions) for program in self.programs), default=0) + 1

    def asset_table(self) -> Int64s:
        """ASSETS."""
        rows = [
            (a.number, a.scale, int(a.mode), int(a.policy), int(a.status), _or_minus_one(a.max_transaction))
            for a in self.assets
        ]
        return _table(rows, ASSET_COLUMNS)

    def program_table(self) -> Int64s:
        """PROGRAMS."""
        rows, action, literal = [], 0, 0
        spans = tier_spans(self.tiers, len(self.programs))
        for p, span in zip(self.programs, spans, strict=True):
            head = (p.number, int(p.status), int(p.creates), action, len(p.actions))
            target = (p.target, p.target_group, p.target_person)
            rows.append((*head, literal, p.literals, word_count(p.rules), *span, 0, *target))
            action, literal = action + len(p.actions), literal + p.literals
        return _table(rows, PROGRAM_COLUMNS)

    def link_table(self) -> Int64s:
        """LINKS."""
        links = np.zeros((len(self.programs), max(1, len(self.assets))), np.int64)
        for row, program in enumerate(self.programs):
            links[row, list(program.linked)] = 1
        return links

    def budget_table(self) -> Int64s:
        """BUDGETS."""
        return _table([budget.columns() for budget in self.budgets], BUDGET_COLUMNS)

    def action_table(self) -> Int64s:
        """ACTIONS."""
        return _table([action.columns() for program in self.programs for action in program.actions], ACTION_COLUMNS)


def _or_minus_one(value: int | None) -> int:
    return -1 if value is None else value


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> Int64s:
    """Rows as a table; one row of zeros stands for none, so that it has an address."""
    return np.array(rows or [(0,) * columns], np.int64).reshape(-1, columns)
