"""Tier types as the books must know them: levels by ascending rank, and their criteria as exact numbers (§14.1, §14.2).

A counter has at most 18 decimals and is below 10**20 in absolute value (§13.1), so a threshold with more digits than
that can be replaced by a shorter one that decides the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from earnbook.ledger.amounts import COUNTER_LIMIT, split_words
from earnbook.ledger.layout import CRITERION_COLUMNS, LEVEL_COLUMNS, PERIOD_DATES, TIER_COLUMNS
from earnbook.ledger.schema import COUNTER_SCALE_MAX, TIME_NONE, Comparison, Int64s, Retention, Status

LEVELS_MAX = 127
"""Levels of one tier type: a cell holds a position in one byte."""

_UNIT = 10**COUNTER_SCALE_MAX
_MANTISSA_LIMIT = COUNTER_LIMIT * _UNIT

_OF_FLOOR = {
    Comparison.AT_LEAST: Comparison.MORE,
    Comparison.MORE: Comparison.MORE,
    Comparison.AT_MOST: Comparison.AT_MOST,
    Comparison.LESS: Comparison.AT_MOST,
}
"""How a counter compares with the largest number of 18 decimals below a threshold that has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionTerms:
    """A comparison of a counter (a column of the cells) with mantissa / 10**scale."""

    counter: int
    operator: Comparison
    mantissa: int
    scale: int

    @classmethod
    def of(cls, counter: int, operator: Comparison, threshold: Decimal) -> CriterionTerms:
        """The criterion for a threshold of any size and precision."""
        exact = Fraction(threshold) * _UNIT
        mantissa = exact.numerator // exact.denominator
        if exact.denominator != 1:
            # No counter equals such a number; the limit is one that no counter reaches.
            mantissa = _MANTISSA_LIMIT if operator is Comparison.EQUAL else mantissa
            operator = _OF_FLOOR.get(operator, operator)
        mantissa = max(-_MANTISSA_LIMIT, min(_MANTISSA_LIMIT, mantissa))
        scale = COUNTER_SCALE_MAX
        while scale > 0 and mantissa % 10 == 0:
            mantissa, scale = mantissa // 10, scale - 1
        return cls(counter=counter, operator=operator, mantissa=mantissa, scale=scale)

    @property
    def words(self) -> tuple[int, ...]:
        """The columns of a criterion."""
        return (self.counter, int(self.operator), *split_words(self.mantissa), self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelTerms:
    """A level: `name` is its key's number in `names`; without criteria nobody reaches it by counters."""

    name: int
    rank: int
    criteria: tuple[CriterionTerms, ...] = ()
    is_any: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleTerms:
    """How levels are kept and lost (§14.3); no retention where they are held for good, whatever happens.

    `duration` (of ACTIVITY_REFRESH) and `grace` are microseconds, `floor` is the position of min_level, 0: none.
    """

    retention: Retention | None = None
    duration: int = 0
    grace: int = 0
    floor: int = 0
    drops_one: bool = False
    is_excess: bool = False

    @property
    def words(self) -> tuple[int, ...]:
        """The columns of TIERS that say this."""
        retention = 0 if self.retention is None else int(self.retention)
        return (retention, self.duration, self.grace, self.floor, int(self.drops_one), int(self.is_excess))


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTerms:
    """A tier type of a program (by slot): `number` is its object number, `levels` stand by ascending rank."""

    number: int
    program: int
    levels: tuple[LevelTerms, ...]
    status: Status = Status.ACTIVE
    lifecycle: LifecycleTerms = LifecycleTerms()

    def __post_init__(self) -> None:
        """Ranks ascend, and there are not too many levels; ValueError otherwise."""
        ranks = [level.rank for level in self.levels]
        if ranks != sorted(set(ranks)) or not 1 <= len(ranks) <= LEVELS_MAX:
            raise ValueError(f"a tier type has 1 to {LEVELS_MAX} levels by ascending rank")

    @property
    def qualifies(self) -> bool:
        """Whether counters can lead to any of its levels (§14.2)."""
        return self.status is Status.ACTIVE and any(level.criteria for level in self.levels)


def _follows_events(tier: TierTerms) -> bool:
    """Whether an event may change a level without an action that says so: by counters, or by being there."""
    return tier.qualifies or tier.lifecycle.retention is Retention.ACTIVITY_REFRESH


def tier_spans(tiers: Sequence[TierTerms], programs: int) -> list[tuple[int, int]]:
    """For each program the first tier type that follows events, and from there to the last; 0 where there is none."""
    spans = []
    for program in range(programs):
        found = [at for at, tier in enumerate(tiers) if tier.program == program and _follows_events(tier)]
        spans.append((found[0], found[-1] + 1 - found[0]) if found else (0, 0))
    return spans


def tier_tables(tiers: Sequence[TierTerms]) -> tuple[Int64s, Int64s, Int64s]:
    """TIERS, LEVELS and CRITERIA."""
    rows: list[tuple[int, ...]] = []
    levels: list[tuple[int, ...]] = []
    criteria: list[tuple[int, ...]] = []
    for tier in tiers:
        head = (tier.number, tier.program, int(tier.status), len(levels), len(tier.levels), int(tier.qualifies))
        rows.append((*head, *tier.lifecycle.words, *(int(TIME_NONE),) * PERIOD_DATES))
        for level in tier.levels:
            levels.append((level.name, level.rank, len(criteria), len(level.criteria), int(level.is_any)))
            for item in level.criteria:
                criteria.append(item.words)
    return (_table(rows, TIER_COLUMNS), _table(levels, LEVEL_COLUMNS), _table(criteria, CRITERION_COLUMNS))


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> Int64s:
    """Rows as a table; one row of zeros stands for none, so that it has an address."""
    return np.array(rows or [(0,) * columns], np.int64).reshape(-1, columns)
