"""`participant.tiers` means the same in the kernel and in the closures, for every level, base and nobody (§11.1)."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal
from typing import Any

import pytest

from earnbook.rules.compile import compile_program
from earnbook.rules.models import Program
from earnbook.rules.models_tiers import TierType
from tests.support.kernel_programs import PTS, attribute_program
from tests.support.kernel_rows import NOW, Entity, Pool, Row, interpreted, run_closures, run_kernel

HOUR = 3_600_000_000


def level(key: str, rank: int, benefits: dict[str, Any] | None) -> dict[str, Any]:
    return {"key": key, "rank": rank, "benefits": benefits}


STATUS = TierType.model_validate(
    {
        "key": "status",
        "display_name": "Status",
        "levels": [
            level("gold", 20, {"rate": "1.50", "multiplier": 2, "mixed": "two", "lounge": True, "deep": {"x": 5}}),
            level("silver", 10, {"rate": "1.25", "multiplier": Decimal("1.5"), "mixed": 1, "deep": {"x": None}}),
            level("bronze", 5, None),
        ],
    }
)
CLUB = TierType.model_validate({"key": "club", "display_name": "Club", "levels": [level("member", 1, {})]})

EXPRESSIONS = (
    "participant.tiers.status.level",
    "participant.tiers.status.level == 'gold'",
    "participant.tiers.status.level in ['gold', 'silver']",
    "participant.tiers.status.level.startsWith('g')",
    "participant.tiers['status'].rank",
    "participant.tiers.status.rank >= 10",
    "participant.tiers.status.rank + 1",
    "participant.tiers.status.acquired_at",
    "now - participant.tiers.status.acquired_at < duration('24h')",
    "participant.tiers.status.expires_at",
    "participant.tiers.status.expires_at == null",
    "participant.tiers.status.expires_at != null && participant.tiers.status.expires_at > now",
    "participant.tiers.status.expires_at > now",
    "participant.tiers.status.benefits.rate",
    "participant.tiers.status.benefits.multiplier",
    "participant.tiers.status.benefits.multiplier * 10",
    "participant.tiers.status.benefits.mixed",
    "participant.tiers.status.benefits.mixed == 1",
    "participant.tiers.status.benefits.lounge",
    "participant.tiers.status.benefits.lounge || participant.tiers.status.rank == 10",
    "participant.tiers.status.benefits.deep.x",
    "participant.tiers.status.benefits.deep.x.y",
    "participant.tiers.status.benefits.nothing",
    "has(participant.tiers.status)",
    "'status' in participant.tiers",
    "'other' in participant.tiers",
    "has(participant.tiers.status.expires_at)",
    "has(participant.tiers.status.benefits)",
    "has(participant.tiers.status.benefits.lounge)",
    "has(participant.tiers.status.benefits.deep.x)",
    "has(participant.tiers.status.benefits.deep.x.y)",
    "has(participant.tiers.status.benefits.nothing)",
    "has(participant.tiers.status) ? participant.tiers.status.benefits.multiplier : 1",
    "has(participant.tiers.club) && participant.tiers.club.rank == 1",
    "participant.tiers.club.benefits.nothing",
    "has(participant.tiers.other)",
    "has(participant.tiers.other.level)",
    "participant.tiers.other.rank",
)


def program_of(expressions: tuple[str, ...]) -> Program:
    return attribute_program(expressions).model_copy(update={"tiers": (STATUS, CLUB)})


def rows() -> list[Row]:
    """Everybody: base or a level of one type, with and without expiry, beside base or a level of the other; nobody."""
    held: list[Any] = [None]
    for key, expires_at in itertools.product(("gold", "silver", "bronze"), (None, NOW, NOW + HOUR)):
        held.append((key, NOW - 30 * HOUR if expires_at else NOW - HOUR, expires_at))
    people: list[Entity | None] = [None]
    for status, club in itertools.product(held, (None, ("member", 5, None))):
        tiers = {"status": status, "club": club}
        people.append(Entity(tiers={key: value for key, value in tiers.items() if value is not None}))
    return [Row(event={}, participant=person) for person in people]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_kernel_decides_tiers_as_the_closures_do(expression: str) -> None:
    ruleset = compile_program(program_of((expression,)), [PTS], kernel=False)
    pool = Pool()
    expected = run_closures(ruleset, rows(), pool)
    actual = run_kernel(ruleset, rows(), pool, interpreted(ruleset.programs[0].source))
    for row, right, found in zip(rows(), expected, actual, strict=True):
        assert found == right, f"{expression}\n{row.participant}\n{ruleset.programs[0].rule_sources[0]}"


def test_machine_code_of_all_of_them_at_once_does_too() -> None:
    ruleset = compile_program(program_of(EXPRESSIONS), [PTS])
    chosen = random.Random(7).sample(rows(), 12)
    pool = Pool()
    assert run_kernel(ruleset, chosen, pool) == run_closures(ruleset, chosen, pool)


@pytest.mark.parametrize(
    "expression", ["participant.tiers.status.benefits.deep == {'x': 5}", "size(participant.tiers)"]
)
def test_maps_as_a_whole_are_left_to_the_closures(expression: str) -> None:
    ruleset = compile_program(program_of((expression,)), [PTS], kernel=False)
    pool = Pool()
    expected = run_closures(ruleset, rows(), pool)
    actual = run_kernel(ruleset, rows(), pool, interpreted(ruleset.programs[0].source))
    assert all(found is None or found == right for right, found in zip(expected, actual, strict=True))
    assert None in actual
