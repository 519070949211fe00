"""From definitions to what the books calculate with: `ledger.terms.Terms`, and the integers of the rules' literals.

Keys of counters, tags and attributes become columns of the cells, in the order of their numbers in the book's `names`;
actions get their numbers in the book. Both are assigned by the registry when they are new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import ActionType, Bucket, Int64s, InventoryMode, IssuancePolicy, StateType, Status
from earnbook.ledger.terms import ActionTerms, AssetTerms, BudgetTerms, Date, ProgramTerms, Terms
from earnbook.pipeline.automations_terms import AutomationTerms, automation_terms
from earnbook.pipeline.budgets import ENDED, BudgetPlan, plan_budgets
from earnbook.pipeline.operation_needs import OperationNeeds
from earnbook.pipeline.registry import ActionEntry, Registry
from earnbook.pipeline.ruleset import RulesetLoad
from earnbook.pipeline.standing import Standing
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.templates import Template, event_data_of
from earnbook.pipeline.terms_rewards import RewardTerms, redemption_target, reward_terms
from earnbook.pipeline.terms_tiers import TierColumn, find_level, tier_columns, tier_terms
from earnbook.rules.compile import CompiledProgram, CompiledRuleset
from earnbook.rules.models import (
    Asset,
    BroadcastAction,
    CounterAction,
    CreditAction,
    DebitAction,
    ScheduleEventAction,
    SetAttributeAction,
    SetTierAction,
    TagAction,
    UntagAction,
)
from earnbook.rules.models import Program as ProgramDefinition
from earnbook.rules.plan import ActionPlan
from earnbook.rules.plan_columns import StateLiteral
from earnbook.rules.tiers import BASE_LEVELS
from earnbook.rules.times import LotDate

_MOVES_VALUE = (ActionType.RELEASE, ActionType.FORFEIT, ActionType.VOID_HOLD)
_STATE_TYPES = {"counter": StateType.COUNTER, "tag": StateType.TAG, "attribute": StateType.ATTRIBUTE}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumns:
    """The columns of one kind of key: the numbers in `names` and the texts, in column order."""

    numbers: Int64s
    texts: tuple[str, ...]
    columns: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerms:
    """Everything the engine needs of definitions; programs in number order.

    `programs` are the compiled programs and `definitions` their models, by slot; `literals` all literals as integers;
    `actions` the action numbers of each program by `FX_ACTION`; `templates` what the actions that make events say.
    """

    terms: Terms
    programs: tuple[CompiledProgram, ...]
    definitions: tuple[ProgramDefinition, ...]
    literals: Int64s
    actions: tuple[tuple[int, ...], ...]
    keys: Mapping[StateType, KeyColumns]
    asset_indexes: Mapping[str, int]
    """By asset id."""
    tiers: tuple[TierColumn, ...]
    budgets: tuple[BudgetPlan, ...]
    """In the order of `Terms.budgets`, then the ends of those that rules have no more."""
    budget_places: Mapping[tuple[str, int], int]
    """Where the budget of a rule (id) for an asset (index) stands in `budgets`."""
    automations: tuple[AutomationTerms, ...]
    """By number."""
    retired_automations: frozenset[tuple[int, str]]
    """Program (slot) and id of those that the definitions have no more."""
    templates: tuple[Template, ...] = ()
    rewards: Mapping[str, RewardTerms]
    """By id."""
    needs: OperationNeeds
    """What the operations of the run need."""


def run_terms(
    load: RulesetLoad,
    compiled: CompiledRuleset,
    registry: Registry,
    pool: StringPool,
    *,
    clock: int,
    standing: Standing,
    needs: OperationNeeds,
) -> RunTerms:
    """The terms of a run that begins at a book clock; every object already has its number (`number_objects`).

    `standing` is how programs stand, `needs` what the run's operations need.
    """
    assets = {entry.key: number for number, entry in enumerate(registry.objects(ObjectKind.ASSET), start=1)}
    models = {asset.symbol: asset for asset in load.definitions.assets}
    definitions = _in_number_order(load, registry)
    programs = tuple(compiled.program(program.key) for program in definitions)
    for program in programs:
        for action in program.actions:
            _name_key(registry, action)
    tiers = tier_columns(definitions, registry)
    for state_type, text in needs.names:
        registry.name_number(state_type, text)
    keys = {state_type: _key_columns(registry, state_type) for state_type in _STATE_TYPES.values()}
    numbers = tuple(_action_numbers(registry, load, program, assets) for program in programs)
    budgets = plan_budgets(load.definitions, registry)
    capped = {(plan.rule, plan.asset): place for place, plan in enumerate(budgets) if plan.schedule != ENDED}
    of_actions = tuple(_templates(programs, numbers))
    places = {template.action: place for place, template in enumerate(of_actions)}
    automations, of_automations = automation_terms(definitions, registry, templates=len(of_actions))
    terms = Terms(
        assets=tuple(_asset_terms(models[symbol], number) for symbol, number in assets.items()),
        programs=tuple(
            _program_terms(
                position,
                definition,
                program,
                actions,
                assets,
                standing,
                keys,
                tiers,
                registry,
                capped,
                places,
                redemption_target(definition, definitions),
            )
            for position, (definition, program, actions) in enumerate(zip(definitions, programs, numbers, strict=True))
        ),
        counters=len(keys[StateType.COUNTER].texts),
        tags=len(keys[StateType.TAG].texts),
        attributes=len(keys[StateType.ATTRIBUTE].texts),
        budgets=tuple(_budget_terms(plan, registry, clock) for plan in budgets if plan.schedule != ENDED),
        tiers=tier_terms(tiers, keys[StateType.COUNTER].columns),
        has_members=needs.has_members,
    )
    return RunTerms(
        terms=terms,
        programs=programs,
        definitions=definitions,
        literals=_literals(programs, keys, tiers, pool),
        actions=numbers,
        keys=keys,
        asset_indexes={entry.id: position for position, entry in enumerate(registry.objects(ObjectKind.ASSET))},
        budgets=budgets,
        tiers=tiers,
        budget_places={
            (registry.object_entry(ObjectKind.RULE, rule).id, asset - 1): place
            for (rule, asset), place in capped.items()
        },
        rewards=reward_terms(definitions, assets, models, registry, load.versions),
        needs=needs,
        automations=automations,
        retired_automations=_retired(registry, automations),
        templates=of_actions + of_automations,
    )


def _retired(registry: Registry, automations: tuple[AutomationTerms, ...]) -> frozenset[tuple[int, str]]:
    """The automations of the book that no definition states any more."""
    stated = {automation.definition.id for automation in automations}
    known = registry.objects(ObjectKind.AUTOMATION)
    return frozenset((entry.program - 1, entry.id) for entry in known if entry.id not in stated)


def _templates(programs: tuple[CompiledProgram, ...], numbers: tuple[tuple[int, ...], ...]) -> Iterator[Template]:
    """What the actions that make events say, programs in number order."""
    for slot, (program, actions) in enumerate(zip(programs, numbers, strict=True)):
        for action, number in zip(program.actions, actions, strict=True):
            definition = action.definition
            if isinstance(definition, ScheduleEventAction | BroadcastAction):
                yield Template(
                    action=number,
                    action_index=action.index,
                    rule_id=program.rules[action.rule].definition.id,
                    type=int(action.type),
                    program=slot,
                    event_data=event_data_of(definition.event_name, definition.payload),
                )


def _in_number_order(load: RulesetLoad, registry: Registry) -> tuple[ProgramDefinition, ...]:
    by_id = {program.id: program for program in load.definitions.programs}
    return tuple(by_id[entry.id] for entry in registry.objects(ObjectKind.PROGRAM))


def _key_of(action: ActionPlan) -> tuple[StateType, str] | None:
    """The key that an action writes; tags in the lower case in which they are stored."""
    match action.definition:
        case CounterAction(key=key):
            return StateType.COUNTER, key
        case TagAction(tag=tag) | UntagAction(tag=tag):
            return StateType.TAG, tag.lower()
        case SetAttributeAction(key=key):
            return StateType.ATTRIBUTE, key
        case _:
            return None


def _level_of(action: ActionPlan) -> str | None:
    """The level that SET_TIER sets, empty for base."""
    definition = action.definition
    if not isinstance(definition, SetTierAction):
        return None
    return "" if definition.level in BASE_LEVELS else definition.level


def _name_key(registry: Registry, action: ActionPlan) -> None:
    key = _key_of(action)
    if key is not None:
        registry.name_number(int(key[0]), key[1])


def _key_columns(registry: Registry, state_type: StateType) -> KeyColumns:
    found = [(number, text) for number, (kind, text) in enumerate(registry.names(), start=1) if kind == int(state_type)]
    return KeyColumns(
        numbers=np.array([number for number, _ in found], np.int64),
        texts=tuple(text for _, text in found),
        columns={text: column for column, (_, text) in enumerate(found)},
    )


def _action_numbers(
    registry: Registry, load: RulesetLoad, program: CompiledProgram, assets: Mapping[str, int]
) -> tuple[int, ...]:
    """The book's number of each action of a program, by `FX_ACTION`."""
    numbers = []
    owner = registry.find_object(ObjectKind.PROGRAM, program.plan.program.id)
    for action in program.actions:
        rule = program.rules[action.rule].definition
        key = _key_of(action)
        numbers.append(
            registry.action_number(
                ActionEntry(
                    program=owner or 0,
                    rule=registry.find_object(ObjectKind.RULE, rule.id) or 0,
                    rule_version=load.versions[rule.id],
                    action_index=action.index,
                    type=int(action.type),
                    asset=assets.get(getattr(action.definition, "asset_id", ""), 0),
                    bucket=int(Bucket[getattr(action.definition, "bucket", "AVAILABLE")]),
                    key=key[1] if key else getattr(action.definition, "event_name", None) or _level_of(action),
                    description=getattr(action.definition, "description", None),
                )
            )
        )
    return tuple(numbers)


def _asset_terms(asset: Asset, number: int) -> AssetTerms:
    limit = asset.max_transaction_amount
    return AssetTerms(
        number=number,
        scale=asset.scale,
        mode=InventoryMode[asset.inventory_mode],
        policy=IssuancePolicy[asset.issuance_policy],
        status=Status[asset.status],
        max_transaction=None if limit is None else int(Decimal(limit).scaleb(asset.scale)),
    )


def _program_terms(
    position: int,
    definition: ProgramDefinition,
    program: CompiledProgram,
    numbers: tuple[int, ...],
    assets: Mapping[str, int],
    standing: Standing,
    keys: Mapping[StateType, KeyColumns],
    tiers: tuple[TierColumn, ...],
    registry: Registry,
    capped: Mapping[tuple[int, int], int],
    templates: Mapping[int, int],
    target: int,
) -> ProgramTerms:
    rules = [registry.find_object(ObjectKind.RULE, rule.definition.id) or 0 for rule in program.rules]
    linked = [number - 1 for number in assets.values() if (position + 1, number) in standing.links]
    return ProgramTerms(
        number=position + 1,
        linked=tuple(linked),
        actions=tuple(
            _tier_action(action, action.definition, number, tiers, position)
            if isinstance(action.definition, SetTierAction)
            else _action_terms(action, number, assets, keys, rules[action.rule], capped, templates)
            for action, number in zip(program.actions, numbers, strict=True)
        ),
        literals=len(program.literals),
        rules=len(program.rules),
        status=standing.statuses[position + 1],
        creates=definition.on_unknown_participant == "CREATE",
        target=target,
    )


def _budget_terms(plan: BudgetPlan, registry: Registry, clock: int) -> BudgetTerms:
    """A budget as it goes on from the book clock; one that begins with this run's load has no reset yet."""
    if plan.number == 0:
        return plan.terms(origin=0, clock=None)
    return plan.terms(origin=registry.budgets()[plan.number - 1].started_at, clock=clock)


def _action_terms(
    action: ActionPlan,
    number: int,
    assets: Mapping[str, int],
    keys: Mapping[StateType, KeyColumns],
    rule: int,
    capped: Mapping[tuple[int, int], int],
    templates: Mapping[int, int],
) -> ActionTerms:
    definition = action.definition
    if number in templates:
        delay = definition.delay if isinstance(definition, ScheduleEventAction) else 0
        return ActionTerms(type=ActionType(action.type), number=number, key=templates[number], reset_after=delay)
    key = _key_of(action)
    column = keys[key[0]].columns[key[1]] if key else -1
    name = int(keys[key[0]].numbers[column]) if key else 0
    credit = definition if isinstance(definition, CreditAction) else None
    return ActionTerms(
        type=ActionType(action.type),
        number=number,
        asset=assets.get(getattr(definition, "asset_id", ""), 0) - 1,
        bucket=Bucket[getattr(definition, "bucket", "AVAILABLE")],
        allow_negative=isinstance(definition, DebitAction) and definition.allow_negative,
        expires=_date(credit.expires_at if credit else None),
        matures=_date(credit.matures_at if credit else None),
        key=column,
        name=name,
        reset_after=definition.reset_after if isinstance(definition, CounterAction) else None,
        rule=action.rule,
        budget=capped.get((rule, assets[credit.asset_id]), -1) if credit else -1,
        everything=action.type in _MOVES_VALUE and action.value is None,
    )


def _tier_action(
    action: ActionPlan, definition: SetTierAction, number: int, tiers: tuple[TierColumn, ...], program: int
) -> ActionTerms:
    column, level = find_level(tiers, program, definition)
    return ActionTerms(
        type=ActionType.SET_TIER,
        number=number,
        key=column,
        name=level,
        expires=_date(definition.expires_at),
        rule=action.rule,
    )


def _date(date: LotDate | None) -> Date:
    if date is None:
        return Date()
    return Date(duration=date.microseconds) if date.is_duration else Date(time=date.microseconds)


def _literals(
    programs: tuple[CompiledProgram, ...],
    keys: Mapping[StateType, KeyColumns],
    tiers: tuple[TierColumn, ...],
    pool: StringPool,
) -> Int64s:
    """The literals of all programs, one program after the other: codes of texts, columns of keys (-1: no such key)."""
    of_tiers = {(tier.program, tier.definition.key): column for column, tier in enumerate(tiers)}

    def value(slot: int, literal: StateLiteral) -> int:
        if literal.kind == "text":
            return pool.intern_text(literal.text)
        if literal.kind == "tier":
            return of_tiers.get((slot, literal.text), -1)
        return keys[_STATE_TYPES[literal.kind]].columns.get(literal.text, -1)

    values = [value(slot, literal) for slot, program in enumerate(programs) for literal in program.literals]
    return np.array(values, np.int64)
