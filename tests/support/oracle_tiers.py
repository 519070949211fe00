"""Tiers for the oracle (§14): explicit assignment, its expiry, evaluation by qualification, and activity.

What falls due by the lifecycle (period ends and downgrades) is in `oracle_periods.py`. Where SEMANTICS is open: the
same level assigned again keeps its acquired_at, and its dates follow as if it were granted now.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from tests.support.logical import Tier
from tests.support.oracle_definitions import BASE_LEVELS, Definitions, Program
from tests.support.oracle_ledger import DueItem
from tests.support.oracle_state import Cause, State, StoredCounter, json_text
from tests.support.oracle_tier_types import Level, TierType

COMPARISONS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
}
Name = tuple[str, str, str]


def assign_tier(
    state: State, cause: Cause, participant: str, tier: TierType, level: str, expires_at: int | None
) -> bool:
    """SET_TIER, `set_tier` and an upgrade; without `expires_at` the dates follow the lifecycle (§14.5)."""
    if level in BASE_LEVELS:
        return remove_tier(state, cause, participant, tier)
    old = state.tiers.get((participant, cause.program, tier.key))
    is_same = old is not None and old.level == level
    own = expires_at is not None
    if not own and tier.lifecycle is not None:
        expires_at = tier.lifecycle.expiry(cause.processed_at)
    new = Tier(
        level=level,
        acquired_at=old.acquired_at if old is not None and is_same else cause.processed_at,
        expires_at=expires_at,
        own_expiry=own,
    )
    return put_tier(state, cause, participant, tier, new)


def put_tier(state: State, cause: Cause, participant: str, tier: TierType, new: Tier) -> bool:
    """Writes a row that differs; whether it did."""
    name = (participant, cause.program, tier.key)
    old = state.tiers.get(name)
    if new == old:
        return False
    state.tiers[name] = new
    _note(state, cause, participant, tier, "set", None if old is None else old.level, new)
    return True


def remove_tier(state: State, cause: Cause, participant: str, tier: TierType) -> bool:
    """Back to base; whether there was a level."""
    old = state.tiers.pop((participant, cause.program, tier.key), None)
    if old is None:
        return False
    _note(state, cause, participant, tier, "delete", old.level, None)
    return True


def evaluate_tiers(
    state: State, cause: Cause, program: Program, participants: Iterable[str], assigned: set[tuple[str, str]], at: int
) -> None:
    """After an event (§14.2): whoever qualifies for a higher level gets it; never a downgrade.

    `assigned` are the (participant, tier type) of the event's SET_TIER actions, `at` is the event's timestamp.
    """
    ordered = sorted(set(participants), key=lambda name: state.participants[name].number)
    for tier in program.tiers.values():
        if tier.is_archived:
            continue
        for participant in ordered:
            if (participant, tier.key) in assigned:
                continue
            current = state.tiers.get((participant, program.key, tier.key))
            rank = tier.rank_of(None if current is None else current.level)
            best = qualified_level(state, participant, tier, at)
            if best is not None and best.rank > rank:
                assign_tier(state, cause, participant, tier, best.key, None)


def refresh_activity(state: State, program: Program, participant: str, processed_at: int) -> None:
    """A completed external event moves the expiry of levels kept by activity, without a change row (§14.4)."""
    for tier in program.tiers.values():
        name, lifecycle = (participant, program.key, tier.key), tier.lifecycle
        held = state.tiers.get(name)
        if held is None or held.own_expiry or tier.is_archived or lifecycle is None or lifecycle.duration is None:
            continue
        if lifecycle.can_downgrade:
            state.tiers[name] = replace(held, expires_at=processed_at + lifecycle.duration)


def qualified_level(state: State, participant: str, tier: TierType, at: int) -> Level | None:
    """The level of the highest rank that a participant's effective counters satisfy."""
    satisfied = [level for level in tier.levels.values() if _qualifies(state, participant, level, at)]
    return max(satisfied, key=lambda level: level.rank, default=None)


def _qualifies(state: State, participant: str, level: Level, at: int) -> bool:
    """Whether a participant's effective counters satisfy a level; one without qualification never."""
    if level.criteria is None:
        return False
    held = [
        compare(state.counters.get(("PARTICIPANT", participant, criterion.counter)), at, criterion.operator)(
            criterion.threshold
        )
        for criterion in level.criteria
    ]
    return any(held) if level.is_any else all(held)


def compare(stored: StoredCounter | None, at: int, name: str) -> Callable[[Fraction], bool]:
    """The comparison of an effective counter, absent ones being 0, with a threshold."""
    value = Fraction(0) if stored is None else Fraction(stored.effective(at))
    return lambda threshold: COMPARISONS[name](value, threshold)


def due_tiers(state: State, definitions: Definitions) -> Iterator[DueItem]:
    """Rank 4 of §4.4, its first half: assignments with an own `expires_at` are removed then, whatever the lifecycle."""
    for (participant, program, key), held in state.tiers.items():
        if not held.own_expiry:
            continue
        tier = definitions.programs[program].tiers[key]
        assert held.expires_at is not None
        number = state.participants[participant].number
        yield DueItem(
            due_at=held.expires_at,
            rank=4,
            key=(tier.number, number),
            perform=_expiry(state, participant, program, tier),
        )


def due_cause(program: str, tier: TierType, processed_at: int) -> Cause:
    """The tier type as the cause of what falls due."""
    due_object = f"{program}/{tier.key}"
    return Cause(kind="DUE", number=None, program=program, processed_at=processed_at, due_object=due_object)


def _expiry(state: State, participant: str, program: str, tier: TierType) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        remove_tier(state, due_cause(program, tier, processed_at), participant, tier)

    return perform


def _note(
    state: State, cause: Cause, participant: str, tier: TierType, operation: str, old: str | None, new: Tier | None
) -> None:
    entity = ("PARTICIPANT", participant)
    level = None if new is None else new.level
    key = f"{cause.program}/{tier.key}"
    state.note(cause, entity, "tier", key, operation, old=json_text(old), new=json_text(level), tier=new)
