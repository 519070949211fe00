"""Applying effects: the checks of §12.3 in their order, then the act. State here, money in `apply_money`.

Every function returns 0 when the effect was applied or had nothing to do, an Outcome (> 0) when it fails, or a
suspension of the kernel (< 0). A failing effect may have written something: its event is undone by the caller.
"""

from __future__ import annotations

from earnbook.ledger.apply_money import APPLY_FULL, APPLY_SUPPRESSED, apply_money
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ACTION_NUMBER,
    ACTION_TYPE,
    ACTIONS,
    EFFECTS,
    HOLDER_KINDS,
    PROGRAM_ACTION,
    PROGRAM_COLUMNS,
    PROGRAMS,
    R_CHANGE_SEQ,
    R_ENTRY_SEQ,
    R_FAILED_ACTION,
    R_FAILED_EFFECT,
    R_FULL,
    R_PENDING_DUE,
    R_PROGRAMS,
    R_SUPPRESSED,
    R_TARGET,
    R_TEXT_EFFECT,
    R_TIER_MARKS,
    REGISTERS,
    STATUS,
    byte_vector,
    matrix,
    vector,
)
from earnbook.ledger.schedule import broadcast, schedule_event
from earnbook.ledger.schema import (
    FX_ACTION,
    FX_RESULT,
    FX_RESULT_AMOUNT,
    FX_RESULT_TARGET,
    FX_TARGET,
    FX_TARGET_CODE,
    FX_TARGET_KIND,
    FX_VALUE_CODE,
    ActionResult,
    ActionType,
    EntityType,
    Int64s,
    Outcome,
    Status,
)
from earnbook.ledger.tally import add_tag, add_to_counter, remove_tag, set_attribute
from earnbook.ledger.targets import resolve_target
from earnbook.ledger.tiers import ANY_TIER, mark_tiers, set_tier

APPLY_TEXT = -4
"""An attribute's old and new value are of different kinds: only their text forms tell whether it changes."""

_CREDIT = int(ActionType.CREDIT)
_VOID_HOLD = int(ActionType.VOID_HOLD)
_COUNTER = int(ActionType.COUNTER)
_TAG = int(ActionType.TAG)
_UNTAG = int(ActionType.UNTAG)
_SET_TIER = int(ActionType.SET_TIER)
_SCHEDULE_EVENT = int(ActionType.SCHEDULE_EVENT)
_BROADCAST = int(ActionType.BROADCAST)
_MONEY_LAST = int(ActionType.FORFEIT)
_APPLIED = int(ActionResult.APPLIED)
_NO_EFFECT = int(ActionResult.NO_EFFECT)
_SUPPRESSED = int(ActionResult.SUPPRESSED)
_FAILED = int(ActionResult.FAILED)
_ACTIVE = int(Status.ACTIVE)
_PARTICIPANT = int(EntityType.PARTICIPANT)
_TARGET_MISSING = int(Outcome.TARGET_MISSING)
_INACTIVE = int(Outcome.PARTICIPANT_INACTIVE)
_GROUP = int(EntityType.GROUP)
_GROUP_ARCHIVED = int(Outcome.GROUP_ARCHIVED)


@compiled
def apply_effects(handles: Int64s, count: int, program: int, slot: int, recipient: int, at: int, now: int) -> int:
    """Apply the first `count` effects in order; the first that fails decides and is named in R_FAILED_ACTION.

    Args:
        handles: the tables; effects stand in EFFECTS.
        count: how many effects.
        program: slot of the event's program.
        slot: slot of its participant, -1: none.
        recipient: slot of its recipient, -1: none.
        at: processing time.
        now: event_timestamp.
    """
    registers = vector(handles, REGISTERS)
    effects = matrix(handles, EFFECTS)
    registers[R_TIER_MARKS] = 0
    first = vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_ACTION]
    registers[R_SUPPRESSED] = 0
    for effect in range(count):
        action = first + effects[effect, FX_ACTION]
        effects[effect, FX_RESULT] = _NO_EFFECT
        effects[effect, FX_RESULT_TARGET] = -1
        effects[effect, FX_RESULT_AMOUNT] = -1
        code = _apply_effect(handles, effect, action, program, slot, recipient, at, now)
        if registers[R_FULL] != 0:
            return APPLY_FULL
        if code == APPLY_TEXT:
            registers[R_TEXT_EFFECT] = effect
        if code == APPLY_SUPPRESSED:
            effects[effect, FX_RESULT] = _SUPPRESSED
            registers[R_SUPPRESSED] += 1
            continue
        if code > 0:
            effects[effect, FX_RESULT] = _FAILED
            registers[R_FAILED_ACTION] = matrix(handles, ACTIONS)[action, ACTION_NUMBER]
            registers[R_FAILED_EFFECT] = effect
        if code != 0:
            return code
    return 0


@inlined
def _note_applied(handles: Int64s, effect: int, before: int) -> None:
    """An effect that wrote an entry, a change or something due was applied."""
    if _written(handles) != before:
        matrix(handles, EFFECTS)[effect, FX_RESULT] = _APPLIED


@inlined
def _written(handles: Int64s) -> int:
    registers = vector(handles, REGISTERS)
    return registers[R_ENTRY_SEQ] + registers[R_CHANGE_SEQ] + registers[R_PENDING_DUE]  # type: ignore[no-any-return]


@compiled
def _apply_effect(
    handles: Int64s, effect: int, action: int, program: int, slot: int, recipient: int, at: int, now: int
) -> int:
    """Stage 1 of §12.3, then the effect on its target; notes whether it was applied."""
    effects, actions = matrix(handles, EFFECTS), matrix(handles, ACTIONS)
    kind = actions[action, ACTION_TYPE]
    if effects[effect, FX_TARGET_CODE] != 0:
        return effects[effect, FX_TARGET_CODE]  # type: ignore[no-any-return]
    if kind == _BROADCAST:
        effects[effect, FX_RESULT] = _APPLIED
        return broadcast(handles, action, program, at, now)
    target = effects[effect, FX_TARGET]
    if effects[effect, FX_TARGET_KIND] != 0:
        code = resolve_target(handles, effect, program, actions[action, ACTION_NUMBER])
        if code != 0:
            return code
        target = vector(handles, REGISTERS)[R_TARGET]
    elif target < 0:
        target = recipient if kind == _CREDIT and recipient >= 0 else slot
        if target < 0:
            return _TARGET_MISSING
    effects[effect, FX_RESULT_TARGET] = target
    before = _written(handles)
    code = _act(handles, effect, action, program, target, slot, at, now)
    if code == 0:
        _note_applied(handles, effect, before)
    return code


@inlined
def _act(handles: Int64s, effect: int, action: int, program: int, target: int, slot: int, at: int, now: int) -> int:
    """Stage 2 of §12.3, then the effect by its type."""
    effects, kind = matrix(handles, EFFECTS), matrix(handles, ACTIONS)[action, ACTION_TYPE]
    is_gated = kind <= _MONEY_LAST or kind == _COUNTER
    is_holder = target >= vector(handles, REGISTERS)[R_PROGRAMS]
    if is_gated and is_holder and byte_vector(handles, STATUS)[target] != _ACTIVE:
        return _GROUP_ARCHIVED if byte_vector(handles, HOLDER_KINDS)[target] == _GROUP else _INACTIVE
    if kind == _SET_TIER:
        return set_tier(handles, action, target, at)
    if kind <= _VOID_HOLD:
        return apply_money(handles, effect, action, program, target, at)
    if effects[effect, FX_VALUE_CODE] != 0:
        return effects[effect, FX_VALUE_CODE]  # type: ignore[no-any-return]
    if kind == _COUNTER:
        return _count(handles, effect, action, target, slot, now)
    if kind == _TAG:
        return add_tag(handles, action, target)
    if kind == _UNTAG:
        return remove_tag(handles, action, target)
    if kind == _SCHEDULE_EVENT:
        return schedule_event(handles, action, target, now)
    return set_attribute(handles, effect, action, target)


@inlined
def _count(handles: Int64s, effect: int, action: int, target: int, slot: int, now: int) -> int:
    """COUNTER; a participant other than the event's own whose counter changes is evaluated for tiers as well."""
    registers = vector(handles, REGISTERS)
    before = registers[R_CHANGE_SEQ]
    code = add_to_counter(handles, effect, action, target, now)
    is_changed = code == 0 and registers[R_CHANGE_SEQ] != before
    if target != slot and is_changed and byte_vector(handles, HOLDER_KINDS)[target] == _PARTICIPANT:
        mark_tiers(handles, target, ANY_TIER)
    return code
