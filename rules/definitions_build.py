"""From read documents to resolved models: the stages of a load in their order, collecting every mistake.

Stages: collect raw objects → validate each by itself → name and resolve → assign orders → check across objects. Later
stages work on whatever the earlier ones let through, so one mistake does not hide the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from earnbook.rules.definitions_cel import CheckedPlace, check_expressions
from earnbook.rules.definitions_collect import Collected, RawObject, collect, issue_of
from earnbook.rules.definitions_ids import organization_id
from earnbook.rules.definitions_names import Names, check_unique_names, natural_key
from earnbook.rules.definitions_nodes import Mapping as MappingNode
from earnbook.rules.definitions_nodes import Scalar, is_null, show_path
from earnbook.rules.definitions_read import Document
from earnbook.rules.definitions_resolve import Resolver, Scope, check_shared_counters
from earnbook.rules.definitions_validate import validate
from earnbook.rules.event_schema import read_event_schema
from earnbook.rules.issues import Issue, IssueCode
from earnbook.rules.lint_definitions import lint_definitions
from earnbook.rules.models import Asset, Organization, Program, Rule, Source
from earnbook.rules.models_automations import Automation
from earnbook.rules.models_tiers import Reward, TierType

ORDER_STEP = 10
"""A rule without order comes so far after the highest order of its program (§6.3)."""

_Child = TypeVar("_Child", Rule, TierType, Reward, Automation)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The resolved objects of one load; `origins` says where each id stands, `orders_assigned` whose order we chose."""

    organization: Organization
    assets: tuple[Asset, ...]
    programs: tuple[Program, ...]
    sources: Mapping[str, Source]
    origins: Mapping[str, RawObject]
    orders_assigned: frozenset[str]


def build(documents: Sequence[Document], issues: list[Issue]) -> Resolved | None:
    """The resolved objects of all documents; None when there is no organization. Mistakes are added to `issues`."""
    return _Build(collect(documents, issues), issues).run()


def assign_orders(rules: Sequence[Rule], kept: Mapping[str, int]) -> tuple[Rule, ...]:
    """Give every rule of one program that has none (order 0) its order (§6.3).

    A rule known before keeps its order (`kept`, by rule id); the others follow the program's highest order in steps of
    10, in file order. Stated orders of all rules count, wherever they stand, so that an assigned order never clashes.
    """
    settled = [rule.order or kept.get(rule.id, 0) for rule in rules]
    highest = max([*settled, *kept.values()], default=0)
    result = []
    for rule, order in zip(rules, settled, strict=True):
        if not order:
            highest += ORDER_STEP
            order = highest
        result.append(rule if rule.order == order else rule.model_copy(update={"order": order}))
    return tuple(result)


def check_orders(programs: Iterable[Program], origins: Mapping[str, RawObject]) -> list[Issue]:
    """Two ACTIVE rules of one program may not have the same order (§6.3)."""
    issues = []
    for program in programs:
        first: dict[int, Rule] = {}
        for rule in program.rules:
            if rule.status != "ACTIVE":
                continue
            other = first.setdefault(rule.order, rule)
            if other is not rule:
                at = origins[other.id].node.at if other.id in origins else None
                place = f" ({at.file}:{at.line})" if at else ""
                message = f"order {rule.order} is also the order of rule `{other.key}`{place}"
                remedy = "give each ACTIVE rule of the program its own order, or leave order out"
                issues.append(issue_of(origins, rule.id, Issue(IssueCode.ORDER_CLASH, message, remedy), "order"))
    return issues


class _Build:
    def __init__(self, found: Collected, issues: list[Issue]) -> None:
        self._found = found
        self._issues = issues
        self._origins: dict[str, RawObject] = {}
        self._assigned: set[str] = set()
        self._organization = self._read_organization()
        # Without an organization there are no ids, but the other mistakes are still worth naming.
        self._owner_id = self._organization.id if self._organization else organization_id("unknown")
        self._program_names = Names(found.programs, self._owner_id, issues)
        self._asset_names = Names(found.assets, self._owner_id, issues)

    def run(self) -> Resolved | None:
        schemas = {
            natural_key(raw): read_event_schema(raw, self._issues) for raw in self._program_names.by_key.values()
        }
        expressions: dict[RawObject, list[CheckedPlace]] = {}
        for raw in self._found.children:
            schema = schemas.get(self._owner(raw) or "")
            has_group = self._has_group(raw)
            expressions[raw] = check_expressions(raw, self._issues, has_group=has_group, schema=schema)
        assets = self._assets()
        scopes = self._scopes(assets)
        resolver = Resolver(self._asset_names, {asset.symbol: asset for asset in assets}, self._issues)
        for asset in assets:
            raw = self._asset_names.by_key[asset.symbol]
            resolver.check_scale(raw, asset.symbol, asset.max_transaction_amount, "max_transaction_amount")
        for raw in self._found.children:
            self._child(raw, scopes, resolver)
        programs = tuple(program for raw in self._found.programs if (program := self._program(raw, scopes)))
        self._issues += check_orders(programs, self._origins)
        check_shared_counters(programs, self._origins, self._issues)
        if not any(issue.is_error for issue in self._issues):
            by_symbol = {asset.symbol: asset for asset in assets}
            self._issues += lint_definitions(programs, by_symbol, expressions, self._origins)
        sources = self._sources()
        if self._organization is None:
            return None
        return Resolved(self._organization, assets, programs, sources, self._origins, frozenset(self._assigned))

    def _read_organization(self) -> Organization | None:
        raw = self._found.organization
        organization = validate(raw, Organization, self._issues) if raw else None
        if raw is None or organization is None:
            return None
        identifier = organization.id or organization_id(organization.key)
        webhooks = [
            RawObject("webhook", node, show_path(raw.path, ("webhooks", index), raw.node))
            for index, node in enumerate(raw.node.items_of("webhooks"))
            if isinstance(node, MappingNode)
        ]
        names = Names(webhooks, identifier, self._issues)
        resolved = []
        for webhook, place in zip(organization.webhooks, webhooks, strict=True):
            own = names.id_of(place)
            resolved.append(webhook.model_copy(update={"key": natural_key(place), "id": own}))
            self._origins[own] = place
        self._origins[identifier] = raw
        return organization.model_copy(update={"id": identifier, "webhooks": tuple(resolved)})

    def _assets(self) -> tuple[Asset, ...]:
        assets = []
        for raw in self._asset_names.by_key.values():
            asset = validate(raw, Asset, self._issues)
            if asset is None:
                continue
            programs = []
            for index, reference in enumerate(asset.programs):
                key = self._program_names.resolve(reference, raw, self._issues, "programs", index)
                programs += [key] if key is not None and key not in programs else []
            identifier = self._asset_names.id_of(raw)
            self._origins[identifier] = raw
            assets.append(asset.model_copy(update={"id": identifier, "programs": tuple(programs)}))
        for raw in self._found.assets:
            if not natural_key(raw):
                validate(raw, Asset, self._issues)
        return tuple(assets)

    def _scopes(self, assets: Sequence[Asset]) -> dict[str, Scope]:
        children: dict[tuple[str | None, str], list[RawObject]] = {}
        for child in self._found.children:
            children.setdefault((self._owner(child), child.kind), []).append(child)
        scopes = {}
        for key, raw in self._program_names.by_key.items():
            identifier = self._program_names.id_of(raw)
            tiers = children.get((key, "tier"), [])
            scopes[key] = Scope(
                key=key,
                id=identifier,
                linked=frozenset(asset.symbol for asset in assets if key in asset.programs),
                tiers=Names(tiers, identifier, self._issues),
                levels={natural_key(tier): _level_keys(tier) for tier in tiers},
            )
            for kind in ("rule", "reward", "automation"):
                raws = children.get((key, kind), [])
                Names(raws, identifier, self._issues)
                if kind != "rule":
                    check_unique_names(raws, self._issues)
        return scopes

    def _owner(self, raw: RawObject) -> str | None:
        """The key of the program that a raw object belongs to, without reporting anything."""
        if raw.owner is not None:
            return natural_key(raw.owner)
        reference = raw.node.text("program_id") or raw.node.text("program")
        return self._program_names.find(reference) if reference else None

    def _has_group(self, raw: RawObject) -> bool:
        """Whether expressions of this object may name `group`; granted where its program is not known."""
        program = self._program_names.by_key.get(self._owner(raw) or "")
        return program is None or not is_null(program.node.members.get("group_field"))

    def _child(self, raw: RawObject, scopes: Mapping[str, Scope], resolver: Resolver) -> None:
        scope = self._scope_of(raw, scopes)
        match raw.kind:
            case "rule":
                rule = validate(raw, Rule, self._issues)
                if rule and scope:
                    scope.rules.append(self._known(raw, resolver.rule(raw, rule, scope)))
            case "tier":
                tier = validate(raw, TierType, self._issues)
                if tier and scope:
                    scope.tier_types.append(self._known(raw, resolver.tier_type(raw, tier, scope)))
            case "reward":
                reward = validate(raw, Reward, self._issues)
                if reward and scope:
                    scope.rewards.append(self._known(raw, resolver.reward(raw, reward, scope)))
            case _:
                automation = validate(raw, Automation, self._issues)
                if automation and scope:
                    scope.automations.append(self._known(raw, resolver.automation(raw, automation, scope)))

    def _scope_of(self, raw: RawObject, scopes: Mapping[str, Scope]) -> Scope | None:
        reference = raw.node.text("program_id") or raw.node.text("program")
        stated = None
        if reference:
            stated = self._program_names.resolve(reference, raw, self._issues, "program_id")
        if raw.owner is None:
            if not reference:
                message = f"the {raw.kind} stands outside a program and names none"
                self._issues.append(raw.issue(IssueCode.MISSING_FIELD, message, "add program: key", "program"))
            return scopes.get(stated or "")
        around = natural_key(raw.owner)
        if stated is not None and stated != around:
            message = f"the {raw.kind} stands in program `{around}` and names program `{stated}`"
            self._issues.append(raw.issue(IssueCode.INVALID_COMBINATION, message, "remove one of them", "program_id"))
        return scopes.get(around)

    def _known(self, raw: RawObject, model: _Child) -> _Child:
        self._origins.setdefault(model.id, raw)
        return model

    def _program(self, raw: RawObject, scopes: Mapping[str, Scope]) -> Program | None:
        own = RawObject(raw.kind, raw.node.without(("rules", "tiers", "rewards", "automations")), raw.path)
        program = validate(own, Program, self._issues)
        key = natural_key(raw)
        if program is None or self._program_names.by_key.get(key) is not raw:
            return None
        scope = scopes[key]
        self._origins[scope.id] = raw
        self._assigned |= {rule.id for rule in scope.rules if not rule.order}
        children = {
            "rules": assign_orders(scope.rules, {}),
            "tiers": tuple(scope.tier_types),
            "rewards": tuple(scope.rewards),
            "automations": tuple(scope.automations),
        }
        return program.model_copy(update={"key": key, "id": scope.id, **children})

    def _sources(self) -> dict[str, Source]:
        sources = {}
        for name, raw in self._found.sources.items():
            source = validate(raw, Source, self._issues)
            if source is None:
                continue
            if source.program is not None:
                key = self._program_names.resolve(source.program, raw, self._issues, "program")
                source = source.model_copy(update={"program": key})
            sources[name] = source
        return sources


def _level_keys(raw: RawObject) -> frozenset[str]:
    levels = raw.node.items_of("levels")
    keys = [level.members.get("key") for level in levels if isinstance(level, MappingNode)]
    return frozenset(key.value for key in keys if isinstance(key, Scalar) and isinstance(key.value, str))
