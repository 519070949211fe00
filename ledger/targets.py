"""Whom an action is for when its rule names somebody: stage 1 of §12.3, as far as texts and persons decide it (§12.2).

Effects name a target by a kind and the code of a text. What the text means is looked up outside (which person, or that
it can name nobody) and stands in TARGET_PERSONS; a text that nobody looked up yet suspends the kernel, which undoes the
event and does it again. Here the person becomes a slot; a participant is created and enrolled as one that a record
names (§7.2), but after the mark of the record: a failed event takes that part back.
"""

from __future__ import annotations

from earnbook.ledger.admit import enter, is_admissible, slot_of
from earnbook.ledger.compiled import compiled
from earnbook.ledger.layout import (
    EFFECTS,
    R_MISS_KIND,
    R_MISS_TEXT,
    R_TARGET,
    REGISTERS,
    TARGET_PERSONS,
    matrix,
    vector,
)
from earnbook.ledger.schema import FX_TARGET, FX_TARGET_KIND, Int64s, Outcome, TargetKind

TARGET_MISS = -5
"""A target's text was not looked up yet; R_MISS_KIND and R_MISS_TEXT say which."""

_GROUP = int(TargetKind.GROUP)
_GROUP_NOT_FOUND = int(Outcome.GROUP_NOT_FOUND)
_PARTICIPANT_NOT_FOUND = int(Outcome.PARTICIPANT_NOT_FOUND)


@compiled
def resolve_target(handles: Int64s, effect: int, program: int, action: int) -> int:
    """Find the holder that an effect of an action (its number) names, as R_TARGET; 0, an Outcome, or TARGET_MISS.

    An unknown external id is created where the program does so (§7.2); groups are neither created nor enrolled.
    """
    registers, effects = vector(handles, REGISTERS), matrix(handles, EFFECTS)
    kind, text = effects[effect, FX_TARGET_KIND], effects[effect, FX_TARGET]
    found = 0
    if text < handles[3 * TARGET_PERSONS + 1]:
        found = matrix(handles, TARGET_PERSONS)[text, kind - 1]
    if found == 0:
        registers[R_MISS_KIND] = kind
        registers[R_MISS_TEXT] = text
        return TARGET_MISS
    if found < 0:
        return -found
    person = found - 1
    if kind == _GROUP:
        registers[R_TARGET] = slot_of(handles, person)
        return 0 if registers[R_TARGET] >= 0 else _GROUP_NOT_FOUND
    if not is_admissible(handles, person, program):
        return _PARTICIPANT_NOT_FOUND
    registers[R_TARGET] = enter(handles, person, program, action)
    return 0
