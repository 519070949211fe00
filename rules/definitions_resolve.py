"""Turns validated models into resolved ones: references become natural keys, ids are made, cross-checks are done.

What is checked here needs more than one object: references, links of assets to programs, asset modes, amounts against
scales, levels and lifecycles of tier types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.definitions_ids import object_id
from earnbook.rules.definitions_names import Names, natural_key
from earnbook.rules.issues import Issue, IssueCode, suggest
from earnbook.rules.models import (
    ActionBase,
    Asset,
    Budget,
    CreditAction,
    HoldAction,
    Program,
    ReleaseAction,
    Rule,
    SetTierAction,
    VoidHoldAction,
    fits_scale,
)
from earnbook.rules.models_automations import Automation
from earnbook.rules.models_tiers import Level, Reward, TierType
from earnbook.rules.tiers import BASE_LEVELS


@dataclass(slots=True)
class Scope:
    """What the objects of one program can see."""

    key: str
    id: str
    linked: frozenset[str]
    tiers: Names
    levels: Mapping[str, frozenset[str]]
    rules: list[Rule] = field(default_factory=list)
    tier_types: list[TierType] = field(default_factory=list)
    rewards: list[Reward] = field(default_factory=list)
    automations: list[Automation] = field(default_factory=list)


class Resolver:
    """Resolves the objects of one load; `assets` are the valid assets by symbol, `asset_names` all that are stated."""

    def __init__(self, asset_names: Names, assets: Mapping[str, Asset], issues: list[Issue]) -> None:
        self._asset_names = asset_names
        self._assets = assets
        self._issues = issues

    def rule(self, raw: RawObject, rule: Rule, scope: Scope) -> Rule:
        """A rule with resolved references, key and id."""
        actions = tuple(self._action(raw, index, action, scope) for index, action in enumerate(rule.actions))
        budgets = tuple(self._budget(raw, index, budget, scope) for index, budget in enumerate(rule.budgets))
        self._check_budgets(raw, budgets)
        key = natural_key(raw)
        identity = {"key": key, "id": rule.id or object_id(scope.id, "rule", key), "program_id": scope.key}
        return rule.model_copy(update={**identity, "actions": actions, "budgets": budgets})

    def tier_type(self, raw: RawObject, tier: TierType, scope: Scope) -> TierType:
        """A tier type with id; its levels are checked against each other."""
        self._check_levels(raw, tier.levels)
        policy = tier.lifecycle.downgrade_policy if tier.lifecycle else None
        if policy is not None and policy.min_level is not None:
            self._check_level(
                raw, policy.min_level, scope.levels[tier.key], "lifecycle", "downgrade_policy", "min_level"
            )
        identity = {"id": tier.id or object_id(scope.id, "tier", tier.key), "program_id": scope.key}
        return tier.model_copy(update=identity)

    def reward(self, raw: RawObject, reward: Reward, scope: Scope) -> Reward:
        """A reward with resolved asset, key and id."""
        symbol = self._linked_asset(raw, reward.asset_id, scope, "asset_id")
        self.check_scale(raw, symbol, reward.unit_cost, "unit_cost")
        key = natural_key(raw)
        identity = {"key": key, "id": reward.id or object_id(scope.id, "reward", key), "program_id": scope.key}
        return reward.model_copy(update={**identity, "asset_id": symbol})

    def automation(self, raw: RawObject, automation: Automation, scope: Scope) -> Automation:
        """An automation with key and id."""
        key = natural_key(raw)
        identity = {"key": key, "id": automation.id or object_id(scope.id, "automation", key), "program_id": scope.key}
        return automation.model_copy(update=identity)

    def check_scale(self, raw: RawObject, symbol: str, amount: Decimal | None, *steps: str | int) -> None:
        """A constant amount must be a whole number of the asset's minor units (§6.3)."""
        asset = self._assets.get(symbol)
        if asset is None or amount is None or fits_scale(amount, asset.scale):
            return
        decimals = f"{asset.scale} decimals" if asset.scale != 1 else "1 decimal"
        self._issues.append(
            raw.issue(
                IssueCode.INVALID_VALUE,
                f"{amount} does not fit asset {symbol}, which has {decimals}",
                f"write an amount with at most {decimals} below 2^63 minor units",
                *steps,
            )
        )

    def _action(self, raw: RawObject, index: int, action: ActionBase, scope: Scope) -> ActionBase:
        reference = getattr(action, "asset_id", None)
        if reference is not None:
            symbol = self._linked_asset(raw, str(reference), scope, "actions", index, "asset_id")
            action = action.model_copy(update={"asset_id": symbol})
            self._check_lot_fields(raw, index, action, symbol)
        if isinstance(action, SetTierAction):
            return self._set_tier(raw, index, action, scope)
        return action

    def _set_tier(self, raw: RawObject, index: int, action: SetTierAction, scope: Scope) -> SetTierAction:
        tier = scope.tiers.resolve(action.tier, raw, self._issues, "actions", index, "tier")
        if tier is None:
            return action
        if action.level not in BASE_LEVELS:
            self._check_level(raw, action.level, scope.levels[tier], "actions", index, "level")
        return action.model_copy(update={"tier": tier})

    def _budget(self, raw: RawObject, index: int, budget: Budget, scope: Scope) -> Budget:
        symbol = self._linked_asset(raw, budget.asset_id, scope, "budgets", index, "asset_id")
        self.check_scale(raw, symbol, budget.limit, "budgets", index, "limit")
        return budget.model_copy(update={"asset_id": symbol})

    def _check_budgets(self, raw: RawObject, budgets: Sequence[Budget]) -> None:
        seen: set[str] = set()
        for index, budget in enumerate(budgets):
            if budget.asset_id in seen:
                message = f"the rule has two budgets for {budget.asset_id}"
                remedy = "keep one budget per asset"
                self._issues.append(raw.issue(IssueCode.DUPLICATE_KEY, message, remedy, "budgets", index, "asset_id"))
            seen.add(budget.asset_id)
        if budgets and not raw.node.text("key") and not raw.node.text("id"):
            # Without either a changed name would be a new rule, and its budgets would start again at 0.
            message = "a rule with budgets needs a key or an id"
            self._issues.append(raw.issue(IssueCode.MISSING_FIELD, message, "add key", "key"))

    def _linked_asset(self, raw: RawObject, reference: str, scope: Scope, *steps: str | int) -> str:
        """The symbol of the asset meant; it must be linked to the program."""
        symbol = self._asset_names.resolve(reference, raw, self._issues, *steps)
        if symbol is None:
            return reference
        if symbol in self._assets and symbol not in scope.linked:
            self._issues.append(
                raw.issue(
                    IssueCode.ASSET_NOT_LINKED,
                    f"asset {symbol} is not linked to program `{scope.key}`",
                    f"add {scope.key} to programs of asset {symbol}",
                    *steps,
                )
            )
        return symbol

    def _check_lot_fields(self, raw: RawObject, index: int, action: ActionBase, symbol: str) -> None:
        asset = self._assets.get(symbol)
        if asset is None or asset.inventory_mode == "LOT":
            return
        if isinstance(action, VoidHoldAction):
            fields = ["type"]
        elif isinstance(action, CreditAction | HoldAction | ReleaseAction):
            names = ("reference_id", "expires_at", "matures_at")
            fields = [name for name in names if getattr(action, name, None) is not None]
        else:
            fields = []
        for name in fields:
            what = "VOID_HOLD" if name == "type" else f"`{name}`"
            self._issues.append(
                raw.issue(
                    IssueCode.NOT_LOT_ASSET,
                    f"{what} needs a LOT asset; {symbol} is SIMPLE",
                    "remove it, or use an asset with inventory_mode LOT",
                    "actions",
                    index,
                    name,
                )
            )

    def _check_level(self, raw: RawObject, level: str, known: frozenset[str], *steps: str | int) -> None:
        if level not in known:
            message = f"there is no level `{level}`"
            remedy = suggest(level, known) or "add it to the levels of the tier type"
            self._issues.append(raw.issue(IssueCode.UNKNOWN_REFERENCE, message, remedy, *steps))

    def _check_levels(self, raw: RawObject, levels: Sequence[Level]) -> None:
        for name in ("key", "rank"):
            seen: set[object] = set()
            for index, level in enumerate(levels):
                value = getattr(level, name)
                if value in seen:
                    message = f"two levels have the {name} {value}"
                    remedy = f"give each level its own {name}"
                    self._issues.append(raw.issue(IssueCode.DUPLICATE_KEY, message, remedy, "levels", index, name))
                seen.add(value)
        for index, level in enumerate(levels):
            if level.key in BASE_LEVELS:
                message, remedy = "`base` means no level", "call the level something else"
                self._issues.append(raw.issue(IssueCode.INVALID_VALUE, message, remedy, "levels", index, "key"))


def check_shared_counters(programs: Sequence[Program], origins: Mapping[str, RawObject], issues: list[Issue]) -> None:
    """Tier types that share a qualifying counter must roll it at the same time and in the same way (§14.4)."""
    first: dict[str, tuple[TierType, tuple[object, ...]]] = {}
    for tier in (tier for program in programs for tier in program.tiers):
        lifecycle = tier.lifecycle
        if tier.status != "ACTIVE" or lifecycle is None or lifecycle.counters is None:
            continue
        period = lifecycle.qualification_period
        if period is None or period.type == "NONE":
            continue
        start = (1, 1) if period.type == "CALENDAR_YEAR" else (period.start_month, period.start_day)
        how = (*start, lifecycle.counters.rollover)
        for index, counter in enumerate(lifecycle.counters.qualifying):
            other, other_how = first.setdefault(counter, (tier, how))
            if other_how != how:
                issues.append(
                    origins[tier.id].issue(
                        IssueCode.TIER_LIFECYCLE,
                        f"tier type `{other.key}` rolls counter `{counter}` at another time or in another way",
                        "use the same qualification_period and rollover, or another counter",
                        "lifecycle",
                        "counters",
                        "qualifying",
                        index,
                    )
                )
