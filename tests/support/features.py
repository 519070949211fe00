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
    MONEY = "money"
    """The operations on money, with filters, and transfers."""
    REWARDS = "rewards"
    """Redemption targets, the catalog, redemptions and their reversals."""
    RETRY = "retry"
    """`retry_event`."""
    LIFECYCLE = "lifecycle"
    """Tier types with a lifecycle, and logs over a year."""
    AUTOMATION = "automation"
    """Automations, the operations on them, loads that change them, and logs over a year."""


Features: TypeAlias = frozenset[Feature]

BASIC: Features = frozenset()
TIME: Features = frozenset({Feature.LIFECYCLE, Feature.AUTOMATION})
EVERYTHING: Features = frozenset(Feature) - TIME
"""What happens within a month; `TIME` is drawn for itself, since it needs a year."""

ABOUT_LEVELS: Features = frozenset(
    {Feature.LIFECYCLE, Feature.RETRY, Feature.STATE, Feature.WINDOWS, Feature.MEMBERS, Feature.TARGETS}
)
"""What meets the lifecycle of tiers most."""

ABOUT_MONEY: Features = frozenset({Feature.MONEY, Feature.REWARDS, Feature.HOLDS, Feature.MEMBERS, Feature.GROUPS})
"""What meets the operations on money most."""

ABOUT_AUTOMATIONS: Features = frozenset({Feature.AUTOMATION})
"""Automations by themselves, so that most of a log is about them."""

EVENT_TYPES: dict[Feature, tuple[str, ...]] = {
    Feature.HOLDS: (
        *("visit", "visit", "hold", "hold", "release", "release", "forfeit"),
        *("authorise", "authorise", "settle", "void"),
    ),
    Feature.GROUPS: ("family", "family"),
    Feature.TIERS: ("stay", "upgrade"),
    Feature.SCHEDULE: ("signup", "ping"),
    Feature.BROADCAST: ("party",),
    Feature.LIFECYCLE: ("stay", "stay", "upgrade"),
    Feature.AUTOMATION: ("signup", "visit", "refund"),
}
"""Types of events that the rules of a feature wait for, as often as they should come."""

GROUPS = ("smith", "team")
ROOT = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
ORGANIZATION = uuid.uuid5(ROOT, "organization:demo")


def drawn_features(seed: int, features: Features) -> Features:
    """The features that a seed's definitions and logs use: a few of many, so that each has room and they still meet."""
    chance = random.Random(f"features {seed}")
    count = chance.choice((1, 2, 3, 3, 4, 5))
    return features if count >= len(features) else frozenset(chance.sample(sorted(features), count))


def participant_id(name: str) -> str:
    """The id of a participant of organization `demo` that an event created (§2.3)."""
    return str(uuid.uuid5(ORGANIZATION, f"participant:{name}"))


def group_id(key: str) -> str:
    """The id of a group of organization `demo` (§2.3)."""
    return str(uuid.uuid5(ORGANIZATION, f"group:{key}"))
