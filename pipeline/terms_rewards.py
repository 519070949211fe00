"""The catalog and the targets of redemptions as a run works with them (§16.1, §16.2).

Amounts are minor units, times microseconds; the definitions are those in force from the run's first batch on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earnbook.ledger.schema import ACCOUNT_BREAKAGE, ACCOUNT_REDEMPTION, TIME_MAX, Outcome, RewardStatus
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.models import Asset, Program
from earnbook.rules.models_fields import is_uuid
from earnbook.rules.models_tiers import Reward


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardTerms:
    """A reward: its number and version in the book, program as slot, asset as index; None: no limit."""

    number: int
    version: int
    program: int
    is_unit_based: bool
    asset: int
    unit_cost: int
    status: RewardStatus
    max_total: int | None
    max_per_participant: int | None
    available_from: int
    available_until: int

    def status_at(self, count: int) -> RewardStatus:
        """The status in force after so many units were redeemed in all."""
        if self.status is RewardStatus.ACTIVE and self.max_total is not None and count >= self.max_total:
            return RewardStatus.OUT_OF_STOCK
        return self.status

    def refusal(self, now: int, quantity: int, *, count: int, own_count: int) -> Outcome:
        """Why units, or for -1 an amount, cannot be redeemed at a time; the smallest code, else OK.

        `count` are the units redeemed of it in all, `own_count` those of the participant.
        """
        status = self.status_at(count)
        if status in (RewardStatus.DRAFT, RewardStatus.ARCHIVED):
            return Outcome.REWARD_NOT_ACTIVE
        if not self.available_from <= now <= self.available_until:
            return Outcome.REWARD_OUT_OF_WINDOW
        if status is RewardStatus.OUT_OF_STOCK or _is_beyond(count, quantity, self.max_total):
            return Outcome.REWARD_OUT_OF_STOCK
        if _is_beyond(own_count, quantity, self.max_per_participant):
            return Outcome.REWARD_LIMIT_REACHED
        return Outcome.OK


def _is_beyond(count: int, quantity: int, limit: int | None) -> bool:
    return limit is not None and quantity > 0 and count + quantity > limit


def reward_terms(
    programs: Sequence[Program], assets: Mapping[str, int], models: Mapping[str, Asset], registry: Registry,
    versions: Mapping[str, int],
) -> dict[str, RewardTerms]:  # fmt: skip
    """The rewards of all programs (in number order) by id; `assets` are the numbers of assets by symbol."""
    return {
        reward.id: _terms_of(reward, slot, assets, models, registry, versions)
        for slot, program in enumerate(programs)
        for reward in program.rewards
    }


def _terms_of(
    reward: Reward,
    program: int,
    assets: Mapping[str, int],
    models: Mapping[str, Asset],
    registry: Registry,
    versions: Mapping[str, int],
) -> RewardTerms:
    start, end = reward.available_from, reward.available_until
    return RewardTerms(
        number=registry.find_object(ObjectKind.REWARD, reward.id) or 0,
        version=versions[reward.id],
        program=program,
        is_unit_based=reward.redemption_type == "UNIT_BASED",
        asset=assets[reward.asset_id] - 1,
        unit_cost=int(reward.unit_cost.scaleb(models[reward.asset_id].scale)),
        status=RewardStatus[reward.status],
        max_total=reward.max_total,
        max_per_participant=reward.max_per_participant,
        available_from=-TIME_MAX if start is None else start,
        available_until=TIME_MAX if end is None else end,
    )


def redemption_target(program: Program, programs: Sequence[Program]) -> int:
    """The account that a program's redemptions go to, 0 for a holder; `programs` are in number order.

    A text of UUID form is an id, anything else a key (§2.2). A program's wallet goes before holders of the same name.
    """
    if program.redemption_target_type != "LEDGER_ENTITY":
        return ACCOUNT_BREAKAGE if program.redemption_target_type == "SYSTEM_BREAKAGE" else ACCOUNT_REDEMPTION
    name = program.redemption_target_entity_id or ""
    for number, other in enumerate(programs, start=1):
        if name.lower() == other.id if is_uuid(name) else name == other.key:
            return -number
    return 0
