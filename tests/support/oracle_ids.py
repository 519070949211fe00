"""The ids of §2.3 that operations name: of records, redemptions and lots, worked out from the rows there are."""

from __future__ import annotations

import uuid

from tests.support.logical import Entry
from tests.support.oracle_definitions import Definitions
from tests.support.oracle_state import State


def record_id(definitions: Definitions, kind: str | None, program: str | None, key: str) -> uuid.UUID:
    """The id of an event (no `kind`), or of an operation of a type."""
    namespace = definitions.organization_id if program is None else definitions.programs[program].id
    return uuid.uuid5(namespace, key if kind is None else f"operation:{kind}:{key}")


def redemption_id(state: State, log_seq: int) -> uuid.UUID:
    """The id of the redemption that an operation made."""
    return uuid.uuid5(state.record_ids[log_seq], "redemption")


def lot_id(state: State, definitions: Definitions, lot_seq: int) -> uuid.UUID:
    """The id of a lot: its place among the lots that its entry made. No due work makes any."""
    created = [move for move in state.lot_moves if move.status_before is None]
    entry_seq = next(move.entry_seq for move in created if move.lot_seq == lot_seq)
    entry = state.entries[entry_seq - 1]
    place = [move.lot_seq for move in created if move.entry_seq == entry_seq].index(lot_seq)
    return uuid.uuid5(_entry_id(state, definitions, entry), f"lot:{place}")


def _entry_id(state: State, definitions: Definitions, entry: Entry) -> uuid.UUID:
    """Entries of one cause are numbered from 0; those of an event within their action."""
    own = [
        other.seq
        for other in state.entries
        if (other.cause, other.cause_number, other.rule, other.action_index)
        == (entry.cause, entry.cause_number, entry.rule, entry.action_index)
    ]
    place = own.index(entry.seq)
    if entry.cause == "OPERATION":
        return uuid.uuid5(state.record_ids[entry.cause_number], f"entry:{place}")
    assert entry.cause == "EVENT", "due work makes no lots"
    rule = next(rule for rule in definitions.programs[entry.program].rules if rule.key == entry.rule)
    return uuid.uuid5(state.record_ids[entry.cause_number], f"entry:{rule.id}:{entry.action_index}:{place}")
