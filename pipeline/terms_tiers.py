"""Tier types as the books and the closures know them, from definitions and the book's numbers (§14.1).

Columns of the cells go by program, then by the tier type's number; positions of levels by ascending rank. The keys of
levels have numbers in the book's `names`, because change and state rows must stay readable when ranks change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earnbook.ledger.layout import OWN_EXPIRY
from earnbook.ledger.schema import Comparison, Int64s, Retention, StateType, Status
from earnbook.ledger.terms_tiers import CriterionTerms, LevelTerms, LifecycleTerms, TierTerms
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.models import Program, SetTierAction
from earnbook.rules.models_tiers import Level, Lifecycle, TierType
from earnbook.rules.tiers import BASE_LEVELS, levels_by_rank
from earnbook.rules.times import DAY

COMPARISONS = {
    ">=": Comparison.AT_LEAST,
    ">": Comparison.MORE,
    "==": Comparison.EQUAL,
    "<=": Comparison.AT_MOST,
    "<": Comparison.LESS,
}
"""The operators of criteria on counters (§14.2, §17.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierColumn:
    """A tier type of a program (by slot) with its number; `levels` by ascending rank, `names` their numbers."""

    definition: TierType
    program: int
    number: int
    levels: tuple[Level, ...]
    names: tuple[int, ...]

    def position(self, level: str) -> int:
        """The position of a level from 1; 0 for base."""
        if level in BASE_LEVELS:
            return 0
        return next(place for place, known in enumerate(self.levels, start=1) if known.key == level)


def tier_columns(programs: Sequence[Program], registry: Registry) -> tuple[TierColumn, ...]:
    """The tier types of all programs (by slot) in column order; names levels and the counters they are about."""
    columns = []
    for slot, program in enumerate(programs):
        numbered = {registry.find_object(ObjectKind.TIER, tier.id) or 0: tier for tier in program.tiers}
        columns += [_column(numbered[number], slot, number, registry) for number in sorted(numbered)]
    return tuple(columns)


def _column(tier: TierType, slot: int, number: int, registry: Registry) -> TierColumn:
    for level in tier.levels:
        for criterion in level.qualification.criteria if level.qualification else ():
            registry.name_number(int(StateType.COUNTER), criterion.counter)
    counters = tier.lifecycle.counters if tier.lifecycle else None
    for key in counters.qualifying if counters else ():
        registry.name_number(int(StateType.COUNTER), key)
    names = {level.key: registry.name_number(int(StateType.TIER), level.key) for level in tier.levels}
    levels = levels_by_rank(tier)
    return TierColumn(
        definition=tier, program=slot, number=number, levels=levels, names=tuple(names[level.key] for level in levels)
    )


def tier_terms(columns: Sequence[TierColumn], counters: Mapping[str, int]) -> tuple[TierTerms, ...]:
    """What the books need of the tier types; `counters` are the columns of counter keys."""
    return tuple(
        TierTerms(
            number=column.number,
            program=column.program,
            levels=tuple(
                _level_terms(level, name, counters) for level, name in zip(column.levels, column.names, strict=True)
            ),
            status=Status[column.definition.status],
            lifecycle=lifecycle_terms(column),
        )
        for column in columns
    )


def lifecycle_terms(column: TierColumn) -> LifecycleTerms:
    """What the lifecycle of a tier type says of its levels; an archived type does nothing by itself."""
    lifecycle = column.definition.lifecycle
    if lifecycle is None or column.definition.status != "ACTIVE":
        return LifecycleTerms()
    policy, retention, counters = lifecycle.downgrade_policy, _retention(lifecycle), lifecycle.counters
    return LifecycleTerms(
        retention=retention,
        duration=(lifecycle.retention.duration or 0) if lifecycle.retention else 0,
        grace=policy.grace_days * DAY if policy else 0,
        floor=column.position(policy.min_level) if policy and policy.min_level else 0,
        drops_one=policy is not None and policy.mode == "DROP_ONE",
        is_excess=counters is not None and counters.rollover == "EXCESS",
    )


def _retention(lifecycle: Lifecycle) -> Retention | None:
    """The retention that is in force: under HOLD no level has dates."""
    policy = lifecycle.downgrade_policy
    if lifecycle.retention is None or (policy is not None and policy.mode == "HOLD"):
        return None
    return Retention[lifecycle.retention.mode]


def _level_terms(level: Level, name: int, counters: Mapping[str, int]) -> LevelTerms:
    qualification = level.qualification
    if qualification is None:
        return LevelTerms(name=name, rank=level.rank)
    return LevelTerms(
        name=name,
        rank=level.rank,
        criteria=tuple(
            CriterionTerms.of(counters[item.counter], COMPARISONS[item.operator], item.threshold)
            for item in qualification.criteria
        ),
        is_any=qualification.mode == "ANY",
    )


def find_level(columns: Sequence[TierColumn], program: int, action: SetTierAction) -> tuple[int, int]:
    """The column and the level's position of a SET_TIER in a program."""
    for place, column in enumerate(columns):
        if column.program == program and column.definition.key == action.tier:
            return place, column.position(action.level)
    raise KeyError(action.tier)


def places_of(
    columns: Sequence[TierColumn], numbers: Int64s, names: Int64s, noted: Int64s, owns: Int64s
) -> tuple[list[int], list[int], list[int]]:
    """Columns, positions, and what is noted of the levels of state rows (`TIER_NOTED`).

    `numbers` are those of tier types, `names` those of the keys of levels, `noted` of the noted levels' (0: base), and
    `owns` says whose expiry is their own. Raises KeyError for a level that the definitions have no more, which no load
    allows.
    """
    known = {
        (column.number, name): (place, position)
        for place, column in enumerate(columns)
        for position, name in enumerate(column.names, start=1)
    }
    found = [known[pair] for pair in zip(numbers.tolist(), names.tolist(), strict=True)]
    notes = [
        OWN_EXPIRY if own else known[number, note][1] if note else 0
        for number, note, own in zip(numbers.tolist(), noted.tolist(), owns.tolist(), strict=True)
    ]
    return [place for place, _ in found], [position for _, position in found], notes
