"""One attempt at one event for the oracle: who and what it is about, and the CEL variables it sees (§10.1, §11.1)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from earnbook.rules.values import Timestamp, Value
from tests.support.logical import Entity
from tests.support.oracle_cel import Scope
from tests.support.oracle_definitions import Action, Definitions, Program, Rule
from tests.support.oracle_json import Fields
from tests.support.oracle_members import find_group
from tests.support.oracle_state import Cause, Failure, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What conditions and actions are evaluated with. `scope` is the snapshot before the rules.

    `broadcasts` and `assigned_tiers` are filled while the actions run: the BROADCAST actions to fan out once the event
    is complete, and the (participant, tier type) that a SET_TIER has dealt with.
    """

    definitions: Definitions
    program: Program
    log_seq: int
    attempt: int
    event_id: uuid.UUID
    timestamp: int
    processed_at: int
    participant: str | None
    recipient: str | None
    generation: int
    descends_from_broadcast: bool
    is_external: bool
    scope: Scope
    broadcasts: list[tuple[Rule, Action]] = field(default_factory=list)
    assigned_tiers: set[tuple[str, str]] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)

    def cause(self, rule: Rule | None = None, action: Action | None = None) -> Cause:
        """The event, or one of its actions, as the cause of entries and changes."""
        return Cause(
            kind="EVENT",
            number=self.log_seq,
            program=self.program.key,
            processed_at=self.processed_at,
            rule=None if rule is None else rule.key,
            rule_version=None if rule is None else rule.version,
            action_index=None if action is None else action.index,
        )


def scope_of(
    state: State, definitions: Definitions, program: Program, participant: str | None, data: Fields, now: int
) -> Scope:
    """The CEL variables of an event, read from the state as it is now."""
    return Scope(
        event=data,
        participant=_nobody() if participant is None else _participant(state, program, participant, now),
        program={
            "id": str(program.id),
            "key": program.key,
            "status": state.programs[program.key],
            **_state_variables(state, ("PROGRAM", program.key), now),
        },
        group=_group(state, definitions, program, data, now),
        now=now,
    )


def _participant(state: State, program: Program, participant: str, now: int) -> dict[str, Value]:
    tiers: dict[str, Value] = {}
    for tier in program.tiers.values():
        held = state.tiers.get((participant, program.key, tier.key))
        if held is not None:
            level = tier.levels[held.level]
            tiers[tier.key] = {
                "level": level.key,
                "rank": level.rank,
                "acquired_at": Timestamp.from_microseconds(held.acquired_at),
                "expires_at": None if held.expires_at is None else Timestamp.from_microseconds(held.expires_at),
                "benefits": level.benefits,
            }
    return {
        "id": str(state.participant_ids[participant]),
        "external_id": participant,
        "status": state.participants[participant].status,
        "tiers": tiers,
        **_state_variables(state, ("PARTICIPANT", participant), now),
    }


def _group(state: State, definitions: Definitions, program: Program, data: Fields, now: int) -> dict[str, Value]:
    """The group that `group_field` of the event names, an object without content where there is none."""
    reference = data.get(program.group_field) if program.group_field is not None else None
    if not isinstance(reference, str):
        return _nobody()
    try:
        key = find_group(state, definitions, reference)
    except Failure:
        return _nobody()
    return {
        "id": str(definitions.group_id(key)),
        "key": key,
        "status": state.groups[key].status,
        **_state_variables(state, ("GROUP", key), now),
    }


def _nobody() -> dict[str, Value]:
    return {"tags": [], "counters": {}, "attributes": {}, "tiers": {}}


def _state_variables(state: State, entity: Entity, at: int) -> Mapping[str, Value]:
    counters = {key[2]: stored.effective(at) for key, stored in state.counters.items() if key[:2] == entity}
    return {
        "tags": sorted(tag for *owner, tag in state.tags if tuple(owner) == entity),
        "counters": counters,
        "attributes": {key[2]: text for key, text in state.attributes.items() if key[:2] == entity},
    }
