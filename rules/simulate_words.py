"""What actions of a simulated rule do, in words."""

from __future__ import annotations

from earnbook.rules.models import (
    BroadcastAction,
    CounterAction,
    ScheduleEventAction,
    SetAttributeAction,
    SetTierAction,
    TagAction,
    Target,
    UntagAction,
    VoidHoldAction,
)
from earnbook.rules.plan import ActionPlan
from earnbook.rules.tiers import BASE_LEVELS
from earnbook.rules.times import format_duration


def describe_action(action: ActionPlan) -> str:
    """What the action does, for people."""
    definition = action.definition
    whom = _whom(action)
    match definition:
        case CounterAction(key=key):
            return f"adds to counter {key} of {whom}"
        case TagAction(tag=tag):
            return f"adds tag {tag.lower()} to {whom}"
        case UntagAction(tag=tag):
            return f"removes tag {tag.lower()} from {whom}"
        case SetAttributeAction(key=key):
            return f"sets attribute {key} of {whom}"
        case SetTierAction(tier=tier, level=level) if level in BASE_LEVELS:
            return f"takes {whom} back to the base level of {tier}"
        case SetTierAction(tier=tier, level=level, expires_at=expires_at):
            until = "" if expires_at is None else f", until {expires_at}"
            return f"puts {whom} on level {level} of {tier}{until}"
        case ScheduleEventAction(event_name=name, delay=delay):
            return f"sends event {name} for {whom} after {format_duration(delay)}"
        case BroadcastAction(event_name=name):
            return f"sends event {name} for every active participant of the program"
        case VoidHoldAction(asset_id=symbol):
            return f"sends held {symbol} of {whom} back to where it came from"
        case _:
            quantity = "all " if action.value is None else ""
            return f"{_VERBS[definition.type]} {quantity}{definition.asset_id} of {whom} {_bucket(action)}"


_VERBS = {
    "CREDIT": "credits",
    "DEBIT": "debits",
    "HOLD": "holds",
    "RELEASE": "releases",
    "FORFEIT": "forfeits",
}


def _bucket(action: ActionPlan) -> str:
    if action.definition.type == "HOLD":
        return "from AVAILABLE to HELD"
    if action.definition.type == "RELEASE":
        return "from HELD to AVAILABLE"
    return f"in {getattr(action.definition, 'bucket', 'AVAILABLE')}"


def _whom(action: ActionPlan) -> str:
    target: Target | None = getattr(action.definition, "target", None)
    if target is None:
        return "the event's participant"
    return "the program" if target.type == "PROGRAM" else f"the target {target.type.lower()}"
