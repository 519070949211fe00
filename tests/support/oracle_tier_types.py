"""Tier types, levels and their criteria as definitions state them (§14), for the oracle."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.support.oracle_json import Json, plain_json
from tests.support.oracle_lifecycle import Lifecycle, read_lifecycle


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    counter: str
    operator: str
    threshold: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """`criteria` is None where the level has no qualification; `is_any` is mode ANY."""

    key: str
    rank: int
    criteria: tuple[Criterion, ...] | None
    is_any: bool
    benefits: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class TierType:
    key: str
    id: uuid.UUID
    number: int
    is_archived: bool
    levels: Mapping[str, Level]
    lifecycle: Lifecycle | None = None

    def rank_of(self, level: str | None) -> int:
        """No level is base, rank 0 (§14.1)."""
        return 0 if level is None else self.levels[level].rank


def read_tier(document: Mapping[str, Any], number: int, program_id: uuid.UUID) -> TierType:
    """A tier type from its document."""
    levels = [_read_level(level) for level in document["levels"]]
    return TierType(
        key=document["key"],
        id=uuid.uuid5(program_id, f"tier:{document['key']}"),
        number=number,
        is_archived=document.get("status", "ACTIVE") == "ARCHIVED",
        levels={level.key: level for level in levels},
        lifecycle=read_lifecycle(document.get("lifecycle")),
    )


def _read_level(document: Mapping[str, Any]) -> Level:
    qualification = document.get("qualification")
    criteria = None
    if qualification is not None:
        criteria = tuple(
            Criterion(
                counter=criterion["counter"],
                operator=criterion["operator"],
                threshold=Fraction(str(criterion["threshold"])),
            )
            for criterion in qualification["criteria"]
        )
    return Level(
        key=document["key"],
        rank=document["rank"],
        criteria=criteria,
        is_any=qualification is not None and qualification["mode"] == "ANY",
        benefits=plain_json(document.get("benefits") or {}),
    )
