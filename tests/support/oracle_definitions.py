"""Definitions as the oracle reads them: a plain document to small dataclasses (§6.2, the part it models).

Objects are numbered from 1 by kind, in the order of the document (§2.3). A document is taken as valid.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Any

from tests.support.oracle_cron import Cron, next_tick, parse_cron
from tests.support.oracle_json import Fields, Json
from tests.support.oracle_times import parse_duration, parse_time

BASE_LEVELS = ("", "base")


@dataclass(frozen=True, slots=True, kw_only=True)
class LotDate:
    """`expires_at` or `matures_at`: a distance from the creation of the lot, or an absolute time (§9.5)."""

    after: int | None
    at: int | None

    def from_creation(self, created_at: int) -> int:
        if self.at is not None:
            return self.at
        assert self.after is not None
        return created_at + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    symbol: str
    number: int
    id: uuid.UUID
    scale: int
    is_lot: bool
    is_prefunded: bool
    is_archived: bool
    max_transaction: Decimal | None
    programs: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`type` and the one text it takes, with the name of its field; PROGRAM takes none (§12.2)."""

    type: str
    field: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of a rule; `text` is its COUNTER or SET_ATTRIBUTE value, `key` its key or tag."""

    index: int
    type: str
    asset: str | None
    amount: str | None
    bucket: str
    allow_negative: bool
    reference: str | None
    expires_at: LotDate | None
    matures_at: LotDate | None
    key: str
    text: str
    reset_after: int | None
    target: Target | None
    description: str | None
    tier: str
    level: str
    event_name: str
    delay: int
    payload: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`limit` in minor units; without cron and interval a lifetime cap (§10.4)."""

    asset: str
    limit: int
    cron: Cron | None
    interval: int | None

    def next_reset(self, origin: int, after: int) -> int | None:
        """The first boundary strictly after a time: a cron tick, or origin + k × interval."""
        if self.cron is not None:
            return next_tick(self.cron, after)
        if self.interval is None:
            return None
        return origin + ((after - origin) // self.interval + 1) * self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`version` counts the contents that the book has had under this key; `content` is the present one (§6.3)."""

    key: str
    id: uuid.UUID
    number: int
    order: int
    status: str
    condition: str
    stops: bool
    active_from: int | None
    active_to: int | None
    actions: tuple[Action, ...]
    budgets: Mapping[str, Budget]
    content: Json
    version: int = 1


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

    def rank_of(self, level: str | None) -> int:
        """No level is base, rank 0 (§14.1)."""
        return 0 if level is None else self.levels[level].rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """An item of the catalog (§16.2); `unit_cost` in minor units, `status` what the definitions say."""

    key: str
    id: uuid.UUID
    name: str
    status: str
    is_unit_based: bool
    asset: str
    unit_cost: int
    max_total: int | None
    max_per_participant: int | None
    available_from: int | None
    available_until: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`rules` are all of them by ascending order, whatever their status; `status` is what the definitions say.

    `target_reference` is the id or key of the entity that LEDGER_ENTITY redeems into (§16.1).
    """

    key: str
    id: uuid.UUID
    number: int
    status: str
    creates_participants: bool
    group_field: str | None
    rules: tuple[Rule, ...]
    tiers: Mapping[str, TierType]
    target_type: str
    target_reference: str | None
    rewards: Mapping[str, Reward]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    organization_id: uuid.UUID
    programs: Mapping[str, Program]
    assets: Mapping[str, Asset]

    def program_named(self, reference: str) -> Program | None:
        """A program by key or id (§2.2)."""
        return self.programs.get(reference) or next((p for p in self.programs.values() if is_id(reference, p.id)), None)

    def asset_named(self, reference: str) -> Asset | None:
        """An asset by symbol or id (§2.2)."""
        return self.assets.get(reference) or next((a for a in self.assets.values() if is_id(reference, a.id)), None)

    def participant_id(self, external_id: str) -> uuid.UUID:
        """The id of a participant that an event created (§2.3)."""
        return uuid.uuid5(self.organization_id, f"participant:{external_id}")

    def group_id(self, key: str) -> uuid.UUID:
        """The id of a group (§2.3)."""
        return uuid.uuid5(self.organization_id, f"group:{key}")

    def budgets(self) -> Iterator[tuple[tuple[str, str, str], Program, Rule, Asset, Budget]]:
        """All budgets with their name: (program, rule, asset)."""
        for program in self.programs.values():
            for rule in program.rules:
                for symbol, budget in rule.budgets.items():
                    yield (program.key, rule.key, symbol), program, rule, self.assets[symbol], budget


def succeed(old: Definitions, new: Definitions) -> Definitions:
    """The new definitions with rule versions that go on from the old ones; objects may change, not come and go."""
    programs = {}
    for key, program in new.programs.items():
        before = {rule.key: rule for rule in old.programs[key].rules}
        assert before.keys() == {rule.key for rule in program.rules}, "rules may change, not come and go"
        assert old.programs[key].rewards.keys() == program.rewards.keys(), "rewards may change, not come and go"
        rules = tuple(
            replace(rule, version=before[rule.key].version + (rule.content != before[rule.key].content))
            for rule in program.rules
        )
        programs[key] = replace(program, rules=rules)
    return replace(new, programs=programs)


def is_id(reference: str, object_id: uuid.UUID) -> bool:
    """Whether a text is this id, in any case."""
    return reference.lower() == str(object_id)


def rule_named(program: Program, reference: str) -> Rule | None:
    """A rule of a program by key or id."""
    return next((rule for rule in program.rules if reference == rule.key or is_id(reference, rule.id)), None)


def tier_named(program: Program, reference: str) -> TierType | None:
    """A tier type of a program by key or id."""
    return next((tier for tier in program.tiers.values() if reference == tier.key or is_id(reference, tier.id)), None)


def reward_named(program: Program, reference: str) -> Reward | None:
    """A reward of a program by key or id."""
    return next((one for one in program.rewards.values() if reference == one.key or is_id(reference, one.id)), None)


def read_definitions(document: Mapping[str, Any]) -> Definitions:
    """The definitions of a document that keeps rules and tiers inside their programs."""
    root = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
    organization_id = uuid.uuid5(root, f"organization:{document['organization']['key']}")
    assets = {
        asset["symbol"]: _read_asset(asset, number, organization_id)
        for number, asset in enumerate(document["assets"], start=1)
    }
    rule_numbers, tier_numbers = count(1), count(1)
    programs: dict[str, Program] = {}
    for number, program in enumerate(document["programs"], start=1):
        program_id = uuid.uuid5(organization_id, f"program:{program['key']}")
        programs[program["key"]] = Program(
            key=program["key"],
            id=program_id,
            number=number,
            status=program.get("status", "ACTIVE"),
            creates_participants=program.get("on_unknown_participant", "CREATE") == "CREATE",
            group_field=program.get("group_field"),
            rules=_read_rules(program.get("rules", []), rule_numbers, program_id, assets),
            tiers={tier["key"]: _read_tier(tier, next(tier_numbers), program_id) for tier in program.get("tiers", [])},
            target_type=program.get("redemption_target_type", "SYSTEM_REDEMPTION"),
            target_reference=program.get("redemption_target_entity_id"),
            rewards=_read_rewards(program.get("rewards", []), program_id, assets),
        )
    return Definitions(organization_id=organization_id, programs=programs, assets=assets)


def plain_json(value: Any) -> Json:
    """A value of a document as the value of a JSON text: every number is a decimal."""
    if isinstance(value, Mapping):
        return {name: plain_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    assert value is None or isinstance(value, bool | Decimal | str)
    return value


def _read_asset(document: Mapping[str, Any], number: int, organization_id: uuid.UUID) -> Asset:
    limit = document.get("max_transaction_amount")
    return Asset(
        symbol=document["symbol"],
        number=number,
        id=uuid.uuid5(organization_id, f"asset:{document['symbol']}"),
        scale=document["scale"],
        is_lot=document["inventory_mode"] == "LOT",
        is_prefunded=document["issuance_policy"] == "PREFUNDED",
        is_archived=document.get("status", "ACTIVE") == "ARCHIVED",
        max_transaction=None if limit is None else Decimal(str(limit)),
        programs=frozenset(document["programs"]),
    )


def _read_rules(
    documents: Sequence[Mapping[str, Any]], numbers: Iterator[int], program_id: uuid.UUID, assets: Mapping[str, Asset]
) -> tuple[Rule, ...]:
    highest = max((document.get("order", 0) for document in documents), default=0)
    rules = []
    for document in documents:
        if "order" in document:
            order = document["order"]
        else:
            highest += 10
            order = highest
        rules.append(_read_rule(document, order, next(numbers), program_id, assets))
    return tuple(sorted(rules, key=lambda rule: rule.order))


def _read_rule(
    document: Mapping[str, Any], order: int, number: int, program_id: uuid.UUID, assets: Mapping[str, Asset]
) -> Rule:
    active_from, active_to = document.get("active_from"), document.get("active_to")
    key = document.get("key", document["name"])
    budgets = [_read_budget(budget, assets) for budget in document.get("budgets", [])]
    return Rule(
        key=key,
        id=uuid.uuid5(program_id, f"rule:{key}"),
        number=number,
        order=order,
        status=document.get("status", "ACTIVE"),
        condition=document["condition"],
        stops=document.get("stop_after_match", False),
        active_from=parse_time(active_from) if active_from else None,
        active_to=parse_time(active_to) if active_to else None,
        actions=tuple(_read_action(index, action) for index, action in enumerate(document["actions"])),
        budgets={budget.asset: budget for budget in budgets},
        content=plain_json(document),
    )


def _read_budget(document: Mapping[str, Any], assets: Mapping[str, Asset]) -> Budget:
    asset = assets[document.get("asset_id", document.get("asset"))]
    kind = document.get("schedule_type")
    return Budget(
        asset=asset.symbol,
        limit=int(Fraction(str(document["limit"])) * 10**asset.scale),
        cron=parse_cron(document["cron_expression"]) if kind == "CRON" else None,
        interval=parse_duration(document["interval"]) if kind == "INTERVAL" else None,
    )


def _read_action(index: int, document: Mapping[str, Any]) -> Action:
    reset_after = document.get("reset_after")
    amount = document.get("amount")
    payload = plain_json(document.get("payload") or {})
    assert isinstance(payload, dict)
    return Action(
        index=index,
        type=document["type"],
        asset=document.get("asset_id", document.get("asset")),
        amount=None if amount is None else str(amount),
        bucket=document.get("bucket", "AVAILABLE"),
        allow_negative=document.get("allow_negative", False),
        reference=document.get("reference_id"),
        expires_at=read_date(document.get("expires_at")),
        matures_at=read_date(document.get("matures_at")),
        key=document["tag"].lower() if "tag" in document else document.get("key", ""),
        text=str(document.get("value", "")),
        reset_after=parse_duration(reset_after) if reset_after else None,
        target=_read_target(document["target"]) if document.get("target") else None,
        description=document.get("description"),
        tier=document.get("tier", ""),
        level=document.get("level", ""),
        event_name=document.get("event_name", ""),
        delay=parse_duration(document.get("delay", "0s")),
        payload=payload,
    )


def _read_target(document: Mapping[str, Any]) -> Target:
    for name in ("external_id", "participant_id", "id"):
        if name in document:
            return Target(type=document["type"], field=name, text=str(document[name]))
    return Target(type=document["type"], field="", text="")


def read_date(text: str | None) -> LotDate | None:
    """A Go duration or an RFC 3339 time; ValueError when it is neither."""
    if text is None:
        return None
    try:
        return LotDate(after=parse_duration(text), at=None)
    except ValueError:
        return LotDate(after=None, at=parse_time(text))


def _read_rewards(
    documents: Sequence[Mapping[str, Any]], program_id: uuid.UUID, assets: Mapping[str, Asset]
) -> dict[str, Reward]:
    rewards = {}
    for document in documents:
        key, asset = document.get("key", document["name"]), assets[document.get("asset_id", document.get("asset"))]
        since, until = document.get("available_from"), document.get("available_until")
        rewards[key] = Reward(
            key=key,
            id=uuid.uuid5(program_id, f"reward:{key}"),
            name=document["name"],
            status=document["status"],
            is_unit_based=document["redemption_type"] == "UNIT_BASED",
            asset=asset.symbol,
            unit_cost=int(Fraction(str(document["unit_cost"])) * 10**asset.scale),
            max_total=document.get("max_total"),
            max_per_participant=document.get("max_per_participant"),
            available_from=parse_time(since) if since else None,
            available_until=parse_time(until) if until else None,
        )
    return rewards


def _read_tier(document: Mapping[str, Any], number: int, program_id: uuid.UUID) -> TierType:
    assert "lifecycle" not in document, "the oracle does not model the lifecycle of tiers"
    levels = [_read_level(level) for level in document["levels"]]
    return TierType(
        key=document["key"],
        id=uuid.uuid5(program_id, f"tier:{document['key']}"),
        number=number,
        is_archived=document.get("status", "ACTIVE") == "ARCHIVED",
        levels={level.key: level for level in levels},
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
