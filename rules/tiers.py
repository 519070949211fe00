"""Levels of tier types as expressions see them (§11.1, §14.1): order by rank, and the value of a held level."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from earnbook.rules.models_tiers import Level, TierType
from earnbook.rules.values import Timestamp, Value

BASE_LEVELS = ("", "base")
"""Levels of SET_TIER that remove the assignment (§14.5)."""


def levels_by_rank(tier: TierType) -> tuple[Level, ...]:
    """The levels of a tier type, the lowest rank first; a level's position counts from 1, base is 0."""
    return tuple(sorted(tier.levels, key=lambda level: level.rank))


def tier_value(level: Level, acquired_at: Timestamp | None, expires_at: Timestamp | None) -> dict[str, Value]:
    """What `participant.tiers.<key>` is on a level."""
    return {
        "level": level.key,
        "rank": level.rank,
        "acquired_at": acquired_at,
        "expires_at": expires_at,
        "benefits": json_value(level.benefits or {}),
    }


def json_value(value: Any) -> Value:
    """A value of JSON as CEL sees it: every number is a Decimal (§5.1)."""
    if isinstance(value, Mapping):
        return {name: json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value
