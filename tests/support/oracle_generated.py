"""Events that rules make, for the oracle: SCHEDULE_EVENT and BROADCAST (§17.5), waiting as due work of rank 7.

Where SEMANTICS is open: a broadcast reaches the participants that are active and enrolled when its event is complete,
those that a later action of the event has created included; it is due at once, also where the event's own time is
yet to come; it leaves no change row, since it is always done before the next record.
"""

from __future__ import annotations

from tests.support.oracle_definitions import Action, Rule
from tests.support.oracle_json import Fields
from tests.support.oracle_state import Failure, GeneratedEvent, State
from tests.support.oracle_turn import Turn

GENERATION_LIMIT = 9
FRESH_DELAY = 60_000_000
"""A delay from which on an event counts as new (generation 0)."""
SCHEDULED, BROADCAST = 2, 3
"""Origins in the order of §4.4; 1 is automations."""


def schedule(state: State, turn: Turn, rule: Rule, action: Action, participant: str) -> None:
    """Puts one event for a participant into the queue, and into the change log."""
    is_fresh = action.delay >= FRESH_DELAY
    key = f"earnbook:sched:{turn.event_id}:{rule.id}:{action.index}"
    state.waiting.append(
        GeneratedEvent(
            due_at=turn.timestamp + action.delay,
            timestamp=turn.timestamp + action.delay,
            key=_sort_key(state, turn, SCHEDULED, rule, action, participant),
            program=turn.program.key,
            idempotency_key=key,
            participant=participant,
            data=_event_data(action),
            parent=turn.log_seq,
            generation=0 if is_fresh else _next_generation(turn),
            is_broadcast=False,
            descends_from_broadcast=turn.descends_from_broadcast and not is_fresh,
        )
    )
    state.note(turn.cause(rule, action), ("PARTICIPANT", participant), "scheduled_event", key, "add")


def check_broadcast(turn: Turn) -> None:
    """GENERATION_LIMIT for a broadcast that descends from another, or is too deep."""
    if turn.descends_from_broadcast:
        raise Failure("GENERATION_LIMIT")
    _next_generation(turn)


def fan_out(state: State, turn: Turn) -> None:
    """The broadcasts of an event that is complete: one event for each active participant with an active enrollment."""
    for rule, action in turn.broadcasts:
        for participant, person in state.participants.items():
            if person.status != "ACTIVE" or not state.is_enrolled(participant, turn.program.key):
                continue
            participant_id = state.participant_ids[participant]
            state.waiting.append(
                GeneratedEvent(
                    due_at=min(turn.timestamp, turn.processed_at),
                    timestamp=turn.timestamp,
                    key=_sort_key(state, turn, BROADCAST, rule, action, participant),
                    program=turn.program.key,
                    idempotency_key=f"earnbook:bcast:{turn.event_id}:{rule.id}:{action.index}:{participant_id}",
                    participant=participant,
                    data=_event_data(action),
                    parent=turn.log_seq,
                    generation=_next_generation(turn),
                    is_broadcast=True,
                    descends_from_broadcast=True,
                )
            )


def _next_generation(turn: Turn) -> int:
    if turn.generation + 1 >= GENERATION_LIMIT:
        raise Failure("GENERATION_LIMIT")
    return turn.generation + 1


def _sort_key(state: State, turn: Turn, origin: int, rule: Rule, action: Action, participant: str) -> tuple[int, ...]:
    return (origin, turn.log_seq, rule.order, action.index, state.participants[participant].number)


def _event_data(action: Action) -> Fields:
    return {**action.payload, "type": action.event_name}
