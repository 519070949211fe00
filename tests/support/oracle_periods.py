"""What falls due by the lifecycle of tiers, for the oracle: period ends (rank 5) and downgrades (rank 4) (§14.4).

Where SEMANTICS is open:

- a period end is one step for all tier types of all programs that are due then, since counters are shared by programs;
- everybody who has an enrollment in the program takes part, whatever its status, for due work ignores statuses;
- who qualifies for more than the current level keeps it: only events lift anybody;
- a level at or below `min_level` that does not qualify is neither noted nor downgraded, and its row stays as it is;
- what a roll with EXCESS takes off is the largest threshold of the counter in the criteria of the levels held in the
  types that share it; a counter with a window that is rolled starts its window anew;
- an archived type has no period ends and no downgrades.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial

from tests.support.logical import Tier
from tests.support.oracle_definitions import Definitions, Program
from tests.support.oracle_json import number_text
from tests.support.oracle_ledger import DueItem
from tests.support.oracle_lifecycle import Lifecycle
from tests.support.oracle_state import State
from tests.support.oracle_tags import exact_decimal
from tests.support.oracle_tier_types import Criterion, Level, TierType
from tests.support.oracle_tiers import due_cause, put_tier, qualified_level, remove_tier

Kind = tuple[Program, TierType]


def start_periods(state: State, definitions: Definitions, loaded_at: int) -> None:
    """The first boundary after a load, of types whose period it brings or changes."""
    ends: dict[tuple[str, str], tuple[tuple[int, int], int]] = {}
    for program, tier in _kinds(definitions):
        lifecycle = tier.lifecycle
        if lifecycle is None or lifecycle.period is None or tier.is_archived:
            continue
        name = (program.key, tier.key)
        known = state.period_ends.get(name)
        end = known[1] if known is not None and known[0] == lifecycle.period else lifecycle.period_end(loaded_at)
        if end is not None:
            ends[name] = (lifecycle.period, end)
    state.period_ends = ends


def due_lifecycles(state: State, definitions: Definitions) -> Iterator[DueItem]:
    """The second half of rank 4, and rank 5 (§4.4)."""
    for (participant, key, tier_key), held in state.tiers.items():
        program = definitions.programs[key]
        tier = program.tiers[tier_key]
        date = _downgrade_date(tier, held)
        if date is not None:
            number = state.participants[participant].number
            perform = partial(_downgrade, state, program, tier, participant)
            yield DueItem(due_at=date, rank=4, key=(tier.number, number), perform=perform)
    numbers = {(program.key, tier.key): tier.number for program, tier in _kinds(definitions)}
    for end in {end for _, end in state.period_ends.values()}:
        first = min(numbers[name] for name, (_, own) in state.period_ends.items() if own == end)
        yield DueItem(due_at=end, rank=5, key=(first,), perform=_period_end(state, definitions, end))


def _kinds(definitions: Definitions) -> list[Kind]:
    """All tier types in order of their numbers."""
    kinds = [(program, tier) for program in definitions.programs.values() for tier in program.tiers.values()]
    return sorted(kinds, key=lambda kind: kind[1].number)


def _downgrade_date(tier: TierType, held: Tier) -> int | None:
    """When a level is to be downgraded or renewed, as its lifecycle now says."""
    lifecycle = tier.lifecycle
    if lifecycle is None or not lifecycle.can_downgrade or tier.is_archived or held.own_expiry:
        return None
    if lifecycle.is_period_based:
        return held.downgrade_at
    if lifecycle.duration is None or held.expires_at is None or _is_floor(tier, held.level):
        return None
    return held.expires_at + lifecycle.grace


def _is_floor(tier: TierType, level: str) -> bool:
    """Whether a level is at or below `min_level`."""
    assert tier.lifecycle is not None
    return tier.rank_of(level) <= tier.rank_of(tier.lifecycle.min_level)


# --- period ends -----------------------------------------------------------------------------------------------------


def _period_end(state: State, definitions: Definitions, end: int) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        due = [
            (program, tier)
            for program, tier in _kinds(definitions)
            if state.period_ends.get((program.key, tier.key), (None, None))[1] == end
        ]
        for program, tier in due:
            for participant in _enrolled(state, program):
                _renew_or_note(state, program, tier, participant, processed_at)
        _roll_all(state, due, processed_at)
        for program, tier in due:
            assert tier.lifecycle is not None
            assert tier.lifecycle.period is not None
            name, after = (program.key, tier.key), tier.lifecycle.period_end(end)
            del state.period_ends[name]
            if after is not None:
                state.period_ends[name] = (tier.lifecycle.period, after)

    return perform


def _enrolled(state: State, program: Program) -> list[str]:
    return [name for name in _people(state) if (name, program.key) in state.enrollments]


def _people(state: State) -> list[str]:
    """All participants in id order."""
    return sorted(state.participants, key=lambda name: state.participants[name].number)


def _renew_or_note(state: State, program: Program, tier: TierType, participant: str, end: int) -> None:
    """Steps 1 and 2 of a period end for one participant."""
    lifecycle, held = tier.lifecycle, state.tiers.get((participant, program.key, tier.key))
    assert lifecycle is not None
    if held is None or held.own_expiry or not lifecycle.is_period_based or not lifecycle.can_downgrade:
        return
    reached = qualified_level(state, participant, tier, end)
    if _rank(reached) >= tier.rank_of(held.level):
        _renew(state, program, tier, participant, held, end)
        return
    date = lifecycle.downgrade_date(end)
    if _is_floor(tier, held.level) or date is None:
        return
    noted = replace(held, downgrade_at=date, noted_level=None if reached is None else reached.key)
    if date == end:
        _drop(state, program, tier, participant, noted, reached, end)
    else:
        put_tier(state, due_cause(program.key, tier, end), participant, tier, noted)


def _roll_all(state: State, due: list[Kind], end: int) -> None:
    """Step 3: each qualifying counter of everybody, once."""
    keys = dict.fromkeys(key for _, tier in due for key in _lifecycle(tier).qualifying)
    for participant in _people(state):
        for key in keys:
            sharing = [
                (program, tier)
                for program, tier in due
                if key in _lifecycle(tier).qualifying and (participant, program.key) in state.enrollments
            ]
            if sharing:
                _roll(state, sharing, participant, key, end)


def _roll(state: State, sharing: list[Kind], participant: str, key: str, end: int) -> None:
    name = ("PARTICIPANT", participant, key)
    stored = state.counters.get(name)
    if stored is None:
        return
    program, tier = sharing[0]
    carried = Fraction(0)
    if _lifecycle(tier).is_excess:
        thresholds = [criterion.threshold for kind in sharing for criterion in _criteria(state, participant, kind, key)]
        if thresholds:
            carried = max(Fraction(stored.effective(end)) - max(thresholds), Fraction(0))
    after = exact_decimal(carried)
    if after == stored.value:
        return
    started_at = stored.last_reset_at if stored.reset_after is None else end
    state.counters[name] = replace(stored, value=after, last_reset_at=started_at)
    old, new = number_text(stored.value), number_text(after)
    cause = due_cause(program.key, tier, end)
    state.note(cause, ("PARTICIPANT", participant), "counter", key, "auto_reset", old=old, new=new)


def _criteria(state: State, participant: str, kind: Kind, key: str) -> Iterator[Criterion]:
    program, tier = kind
    held = state.tiers.get((participant, program.key, tier.key))
    if held is not None:
        yield from (one for one in tier.levels[held.level].criteria or () if one.counter == key)


def _lifecycle(tier: TierType) -> Lifecycle:
    assert tier.lifecycle is not None
    return tier.lifecycle


# --- downgrades ------------------------------------------------------------------------------------------------------


def _downgrade(state: State, program: Program, tier: TierType, participant: str, date: int) -> None:
    """What is done at D: the higher of what was noted and what the counters satisfy now decides."""
    held = state.tiers[participant, program.key, tier.key]
    noted = None if held.noted_level is None else tier.levels[held.noted_level]
    best = max((noted, qualified_level(state, participant, tier, date)), key=_rank)
    if _rank(best) >= tier.rank_of(held.level):
        _renew(state, program, tier, participant, held, date)
    else:
        _drop(state, program, tier, participant, held, best, date)


def _renew(state: State, program: Program, tier: TierType, participant: str, held: Tier, at: int) -> None:
    expires_at = _lifecycle(tier).expiry(at)
    renewed = replace(held, expires_at=expires_at, downgrade_at=None, noted_level=None)
    put_tier(state, due_cause(program.key, tier, at), participant, tier, renewed)


def _drop(
    state: State, program: Program, tier: TierType, participant: str, held: Tier, best: Level | None, at: int
) -> None:
    """To the best level or to the next lower one, not below `min_level`."""
    lifecycle = _lifecycle(tier)
    cause = due_cause(program.key, tier, at)
    if _is_floor(tier, held.level):
        put_tier(state, cause, participant, tier, replace(held, downgrade_at=None, noted_level=None))
        return
    lower = [level for level in tier.levels.values() if level.rank < tier.rank_of(held.level)]
    next_lower = max(lower, key=_rank, default=None)
    floor = None if lifecycle.min_level is None else tier.levels[lifecycle.min_level]
    target = max((best if lifecycle.policy == "DROP_TO_QUALIFYING" else next_lower, floor), key=_rank)
    if target is None:
        remove_tier(state, cause, participant, tier)
        return
    new = Tier(level=target.key, acquired_at=at, expires_at=lifecycle.expiry(at), own_expiry=False)
    put_tier(state, cause, participant, tier, new)


def _rank(level: Level | None) -> int:
    return 0 if level is None else level.rank
