"""What a program's rules read and write: parsed rules and actions, in the order in which they run (§10.3).

In: resolved definitions. Out: plain data that the kernel target, the closure target and `explain` share. Nothing here
evaluates an expression or generates code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from earnbook.ledger.schema import ActionType, TargetKind
from earnbook.rules.issues import IssueError
from earnbook.rules.models import (
    Action,
    Asset,
    BroadcastAction,
    CounterAction,
    Program,
    Rule,
    ScheduleEventAction,
    SetAttributeAction,
    SetTierAction,
    TagAction,
    Target,
    UntagAction,
)
from earnbook.rules.models_fields import is_uuid
from earnbook.rules.parse import parse_expression
from earnbook.rules.plan_reads import EventColumn, Reads, reads_of
from earnbook.rules.syntax import Expression

VARIABLES = frozenset({"event", "participant", "program", "group", "now"})
"""The variables of §11.1; mentioning one makes the value of SET_ATTRIBUTE an expression (§11.4)."""

_PROGRAM_CONSTANTS = frozenset({"program.id", "program.key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPlan:
    """One action with its expressions parsed.

    `number` is its position in the program's action list (`FX_ACTION`), `index` its position in its rule. `value` is
    the amount of a money action or the value of a COUNTER, None where it is left out; `text` is the value of
    SET_ATTRIBUTE, an expression or a literal text. `target_is_program`: the target is the event's program; `target` is
    the expression (or the UUID) of another target, None for the default one.
    """

    number: int
    rule: int
    index: int
    type: ActionType
    definition: Action
    value: Expression | None
    reference: Expression | None
    text: Expression | str | None
    target: Expression | str | None
    target_is_program: bool

    @property
    def target_kind(self) -> TargetKind:
        """How the target is named (§12.2); SLOT for the default target and the program."""
        target: Target | None = getattr(self.definition, "target", None)
        if self.target is None or target is None:
            return TargetKind.SLOT
        if target.type == "GROUP":
            return TargetKind.GROUP
        return TargetKind.PARTICIPANT_ID if target.external_id is None else TargetKind.EXTERNAL_ID

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """All expressions of the action."""
        parts = (self.value, self.reference, self.text, self.target)
        return tuple(part for part in parts if isinstance(part, Expression))


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePlan:
    """One active rule: `position` counts from 0 in rule order; `writes` names what its actions change, for people."""

    position: int
    definition: Rule
    condition: Expression
    actions: tuple[ActionPlan, ...]
    reads: Reads
    writes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramPlan:
    """The active rules of a program in ascending order, and why its participants influence each other.

    `coupling` is empty when every event touches nothing but its own participant; an event with a recipient touches two
    whatever the rules say.
    """

    program: Program
    rules: tuple[RulePlan, ...]
    coupling: tuple[str, ...]

    @property
    def actions(self) -> tuple[ActionPlan, ...]:
        """All actions, by number."""
        return tuple(action for rule in self.rules for action in rule.actions)

    @property
    def group_column(self) -> EventColumn | None:
        """The event field that names the group of an event (§11.1); None where no rule reads `group`."""
        names = [name for rule in self.rules for name in (*rule.reads.fields, *rule.reads.whole)]
        if self.program.group_field is None or not any(name.partition(".")[0] == "group" for name in names):
            return None
        return EventColumn((self.program.group_field,))

    @property
    def couples(self) -> bool:
        """Whether the program must be processed in one ordered pass."""
        return bool(self.coupling)


def plan_program(program: Program, assets: Mapping[str, Asset]) -> ProgramPlan:
    """The plan of a resolved program; `assets` by symbol. Raises IssueError for an expression that cannot be parsed."""
    active = sorted((rule for rule in program.rules if rule.status == "ACTIVE"), key=lambda rule: rule.order)
    rules: list[RulePlan] = []
    number = 0
    for position, rule in enumerate(active):
        rules.append(_plan_rule(rule, position, number))
        number += len(rule.actions)
    return ProgramPlan(program=program, rules=tuple(rules), coupling=_coupling(program, rules, assets))


def _plan_rule(rule: Rule, position: int, number: int) -> RulePlan:
    condition = parse_expression(rule.condition)
    actions = tuple(
        _plan_action(action, number=number + index, rule=position, index=index)
        for index, action in enumerate(rule.actions)
    )
    expressions = (condition, *(expression for action in actions for expression in action.expressions))
    return RulePlan(
        position=position,
        definition=rule,
        condition=condition,
        actions=actions,
        reads=reads_of(*(expression.root for expression in expressions)),
        writes=tuple(dict.fromkeys(_written(action) for action in actions)),
    )


def _plan_action(action: Action, *, number: int, rule: int, index: int) -> ActionPlan:
    value: str | None = action.value if isinstance(action, CounterAction) else getattr(action, "amount", None)
    reference: str | None = getattr(action, "reference_id", None)
    target: Target | None = getattr(action, "target", None)
    return ActionPlan(
        number=number,
        rule=rule,
        index=index,
        type=ActionType[action.type],
        definition=action,
        value=None if value is None else parse_expression(value),
        reference=None if reference is None else parse_expression(reference),
        text=attribute_value(action.value) if isinstance(action, SetAttributeAction) else None,
        target=_target(target),
        target_is_program=target is not None and target.type == "PROGRAM",
    )


def attribute_value(text: str) -> Expression | str:
    """How the `value` of SET_ATTRIBUTE reads (§11.4): an expression, or the text itself."""
    if text.startswith("="):
        return parse_expression(text[1:])
    try:
        expression = parse_expression(text)
    except IssueError:
        return text
    reads = reads_of(expression.root)
    mentioned = {*(("event",) if reads.event else ()), *(("now",) if reads.now else ()), *reads.whole}
    mentioned.update(field.partition(".")[0] for field in reads.fields)
    return expression if mentioned & VARIABLES else text


def _target(target: Target | None) -> Expression | str | None:
    if target is None or target.type == "PROGRAM":
        return None
    text = target.external_id or target.participant_id or target.id
    assert text is not None, "the models refuse a target that names nobody"
    return text if target.id is not None and is_uuid(text) else parse_expression(text)


def _written(action: ActionPlan) -> str:
    definition = action.definition
    whose = "participant"
    if action.target_is_program:
        whose = "program"
    elif action.target is not None:
        whose = "target"
    match definition:
        case CounterAction(key=key):
            return f"{whose}.counters.{key}"
        case TagAction(tag=tag) | UntagAction(tag=tag):
            return f"{whose}.tags.{tag.lower()}"
        case SetAttributeAction(key=key):
            return f"{whose}.attributes.{key}"
        case SetTierAction(tier=tier):
            return f"{whose}.tiers.{tier}"
        case ScheduleEventAction() | BroadcastAction():
            return "later events"
        case _:
            return f"{whose}'s {definition.asset_id}"


def _coupling(program: Program, rules: Iterable[RulePlan], assets: Mapping[str, Asset]) -> tuple[str, ...]:
    """Why participants of the program influence each other: state, limits and money they share, events they cause."""
    automations = (automation for automation in program.automations if automation.status == "active")
    reasons = [f"automation {automation.key} sends events" for automation in automations]
    for rule in rules:
        key = rule.definition.key
        state = [name for name in (*rule.reads.fields, *rule.reads.whole) if name.startswith(("program", "group"))]
        reasons.extend(f"rule {key} reads {name}" for name in state if name not in _PROGRAM_CONSTANTS)
        if rule.definition.budgets:
            reasons.append(f"rule {key} has a budget")
        for action in rule.actions:
            reasons.extend(f"rule {key} {reason}" for reason in _action_coupling(action, assets))
    return tuple(dict.fromkeys(reasons))


def _action_coupling(action: ActionPlan, assets: Mapping[str, Asset]) -> Iterator[str]:
    if action.target_is_program:
        yield "changes the program's state"
    if action.target is not None:
        yield "acts on another participant or a group"
    if action.type is ActionType.BROADCAST:
        yield "sends events to all participants"
    if action.type is ActionType.SCHEDULE_EVENT:
        yield "sends later events, which take their place among all others"
    asset = assets.get(getattr(action.definition, "asset_id", ""))
    if asset is not None and asset.issuance_policy == "PREFUNDED":
        yield f"moves {asset.symbol}, which the program's wallet pays"
