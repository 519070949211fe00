"""The features that random programs and logs can be restricted to, so that an engine is brought up one by one.

Without any, `programs.py` and `logs.py` stay inside CREDIT, DEBIT, COUNTER, TAG, UNTAG and SET_ATTRIBUTE on the event's
participant, and the operations fund and burn.
"""

from __future__ import annotations

import random
import uuid
from enum import StrEnum
from typing import TypeAlias


class Feature(StrEnum):
    """One group of rule features, with the operations that belong to it."""

    HOLDS = "holds"
    """HOLD, RELEASE, FORFEIT, VOID_HOLD, credits to HELD, settles and debits from HELD."""
    BUDGETS = "budgets"
    """Budgets of rules, and `reset_budget`."""
    TARGETS = "targets"
    """PARTICIPANT targets."""
    GROUPS = "groups"
    """GROUP targets, `group_field`, and the operations on groups."""
    PROGRAM_STATE = "program state"
    """PROGRAM targets."""
    WINDOWS = "windows"
    """Counters with `reset_after`."""
    TIERS = "tiers"
    """Tier types with qualification, SET_TIER, and the operations on tiers."""
    SCHEDULE = "schedule"
    """SCHEDULE_EVENT."""
    BROADCAST = "broadcast"
    """BROADCAST."""
    MEMBERS = "members"
    """The operations on participants, enrollments, programs and asset links."""
    STATE = "state"
    """The operations on tags, counters and attributes."""
    RETRY = "retry"
    """`retry_event`."""


Features: TypeAlias = frozenset[Feature]

BASIC: Features = frozenset()
EVERYTHING: Features = frozenset(Feature)
FEATURES_TOGETHER = 3

EVENT_TYPES: dict[Feature, tuple[str, ...]] = {
    Feature.HOLDS: ("hold", "authorise", "settle", "release", "void", "forfeit"),
    Feature.TIERS: ("stay", "upgrade"),
    Feature.SCHEDULE: ("signup", "ping"),
    Feature.BROADCAST: ("party",),
}
"""Types of events that the rules of a feature wait for."""

GROUPS = ("smith", "team")
ROOT = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
ORGANIZATION = uuid.uuid5(ROOT, "organization:demo")


def drawn_features(seed: int, features: Features) -> Features:
    """The features that a seed's definitions and logs use: each of them or about half of many, so that they meet."""
    if len(features) <= FEATURES_TOGETHER:
        return features
    chance = random.Random(f"features {seed}")
    return frozenset(feature for feature in sorted(features) if chance.random() < 0.5)


def participant_id(name: str) -> str:
    """The id of a participant of organization `demo` that an event created (§2.3)."""
    return str(uuid.uuid5(ORGANIZATION, f"participant:{name}"))


def group_id(key: str) -> str:
    """The id of a group of organization `demo` (§2.3)."""
    return str(uuid.uuid5(ORGANIZATION, f"group:{key}"))
