"""Tiers for the oracle (§14): explicit assignment, its expiry, and evaluation by qualification.

Types with a lifecycle are not modelled. They would give `assign_tier` an expiry where none is stated, `due_tiers` the
downgrade dates, and due work another rank for period ends.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction

from tests.support.logical import Tier
from tests.support.oracle_definitions import BASE_LEVELS, Definitions, Level, Program, TierType
from tests.support.oracle_ledger import DueItem
from tests.support.oracle_state import Cause, State, json_text

COMPARISONS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
}


def assign_tier(
    state: State, cause: Cause, participant: str, tier: TierType, level: str, expires_at: int | None
) -> bool:
    """SET_TIER and `set_tier` (§14.5); the same level keeps its acquired_at. Whether anything changed."""
    name = (participant, cause.program, tier.key)
    if level in BASE_LEVELS:
        return remove_tier(state, cause, participant, tier)
    old = state.tiers.get(name)
    acquired_at = old.acquired_at if old is not None and old.level == level else cause.processed_at
    new = Tier(level=level, acquired_at=acquired_at, expires_at=expires_at)
    (state.explicit_tiers.discard if expires_at is None else state.explicit_tiers.add)(name)
    if new == old:
        return False
    state.tiers[name] = new
    _note(state, cause, participant, tier, "set", None if old is None else old.level, level)
    return True


def remove_tier(state: State, cause: Cause, participant: str, tier: TierType) -> bool:
    """Back to base; whether there was a level."""
    name = (participant, cause.program, tier.key)
    old = state.tiers.pop(name, None)
    state.explicit_tiers.discard(name)
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
            best = max(
                (level for level in tier.levels.values() if _qualifies(state, participant, level, at)),
                key=lambda level: level.rank,
                default=None,
            )
            if best is not None and best.rank > rank:
                assign_tier(state, cause, participant, tier, best.key, None)


def _qualifies(state: State, participant: str, level: Level, at: int) -> bool:
    """Whether a participant's effective counters satisfy a level; one without qualification never."""
    if level.criteria is None:
        return False
    held = []
    for criterion in level.criteria:
        stored = state.counters.get(("PARTICIPANT", participant, criterion.counter))
        value = Fraction(0) if stored is None else Fraction(stored.effective(at))
        held.append(COMPARISONS[criterion.operator](value, criterion.threshold))
    return any(held) if level.is_any else all(held)


def due_tiers(state: State, definitions: Definitions) -> Iterator[DueItem]:
    """Rank 4 of §4.4: assignments with an own `expires_at` are removed then, whatever the lifecycle says."""
    for participant, program, key in state.explicit_tiers:
        assignment = state.tiers[participant, program, key]
        tier = definitions.programs[program].tiers[key]
        assert assignment.expires_at is not None
        number = state.participants[participant].number
        yield DueItem(
            due_at=assignment.expires_at,
            rank=4,
            key=(tier.number, number),
            perform=_expiry(state, participant, program, tier),
        )


def _expiry(state: State, participant: str, program: str, tier: TierType) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        cause = Cause(kind="DUE", number=None, program=program, processed_at=processed_at)
        remove_tier(state, cause, participant, tier)

    return perform


def _note(
    state: State, cause: Cause, participant: str, tier: TierType, operation: str, old: str | None, new: str | None
) -> None:
    entity = ("PARTICIPANT", participant)
    state.note(cause, entity, "tier", f"{cause.program}/{tier.key}", operation, old=json_text(old), new=json_text(new))
