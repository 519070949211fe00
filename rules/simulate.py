"""One rule on one event, without a book (§21.1): what its condition says and what its actions would do.

In: a resolved program, a rule, an event, a state. Out: plain results; nothing is written. The closures decide, so the
result is what a run would propose. What only a book knows is left out: balances, lots, budgets, time windows, the rules
before this one. An error of the condition is shown; in a run it counts as false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from earnbook.ledger.schema import Outcome
from earnbook.rules.canonical import plain_number
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.models import (
    AMOUNT_MINOR_MAX,
    Asset,
    BroadcastAction,
    CounterAction,
    Program,
    Rule,
    ScheduleEventAction,
    SetAttributeAction,
    SetTierAction,
    TagAction,
    UntagAction,
    VoidHoldAction,
)
from earnbook.rules.plan import ActionPlan, plan_program
from earnbook.rules.proposal import REFERENCE_LENGTH_MAX, SCALE_MAX, decimals_of
from earnbook.rules.simulate_state import SimulatedState
from earnbook.rules.simulate_words import describe_action
from earnbook.rules.syntax import Expression
from earnbook.rules.values import CelLimit, EvaluationError, Timestamp, Value, spoken_type
from earnbook.rules.values_time import timestamp_text

COUNTER_MAX = Decimal(10) ** 20
"""Counters stay below this (§13.1)."""

_SHOWN_MAX = 60

Scope = Mapping[str, Value]
Shown = str | bool | list[str] | None
"""A value of a result, as JSON."""


class RuleStatus(StrEnum):
    """Whether the condition could be evaluated."""

    EVALUATED = "evaluated"
    CONDITION_FAILED = "condition_failed"


class ActionStatus(StrEnum):
    """Whether an action has a result: `evaluated`, `described` (no projection), `failed` or `unsupported`."""

    EVALUATED = "evaluated"
    DESCRIBED = "described"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What one action would do.

    `outcome` is the code that the books would give before they look at balances. `values` are the fields of §21.1 that
    the action type has, amounts and counters as text; `reason` says why there are none.
    """

    index: int
    type: str
    status: ActionStatus
    outcome: Outcome
    description: str
    values: Mapping[str, Shown]
    reason: str | None = None

    def document(self) -> dict[str, object]:
        """The result as JSON values."""
        return {
            "index": self.index,
            "type": self.type,
            "status": self.status.value,
            "outcome": self.outcome.name,
            "description": self.description,
            **self.values,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a rule would do with an event; `actions` only when it matched."""

    rule: Rule
    matched: bool
    status: RuleStatus
    reason: str | None
    actions: tuple[ActionResult, ...]

    def document(self) -> dict[str, object]:
        """The result as JSON values."""
        rule = self.rule
        return {
            "rule": {
                "id": rule.id,
                "name": rule.name,
                "condition": rule.condition,
                "order": rule.order,
                "stop_after_match": rule.stop_after_match,
            },
            "matched": self.matched,
            "status": self.status.value,
            "reason": self.reason,
            "actions": [action.document() for action in self.actions],
        }


class _Failure(Exception):
    """An action ends here with an outcome."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


def simulate_rule(
    program: Program, rule: Rule, assets: Mapping[str, Asset], scope: Scope, state: SimulatedState
) -> Simulation:
    """What the rule, whatever its status, would do; `scope` holds the variables of §11.1, `assets` are by symbol."""
    alone = program.model_copy(update={"rules": (rule.model_copy(update={"status": "ACTIVE"}),)})
    (plan,) = plan_program(alone, assets).rules
    try:
        condition = _evaluated(plan.condition, scope)
    except _Failure as failure:
        return Simulation(rule=rule, matched=False, status=RuleStatus.CONDITION_FAILED, reason=str(failure), actions=())
    if not isinstance(condition, bool):
        reason = f"the condition gives {_a(condition)}, and must give true or false"
        return Simulation(rule=rule, matched=False, status=RuleStatus.CONDITION_FAILED, reason=reason, actions=())
    projector = _Projector(assets, scope, state)
    actions = tuple(projector.result(action) for action in plan.actions) if condition else ()
    return Simulation(rule=rule, matched=condition, status=RuleStatus.EVALUATED, reason=None, actions=actions)


def render_simulation(simulation: Simulation) -> str:
    """The result as lines for people."""
    rule = simulation.rule
    stop = ", a match stops later rules" if rule.stop_after_match else ""
    lines = [
        f"rule {rule.key}: {rule.name} (order {rule.order}{stop})",
        f"condition  {' '.join(rule.condition.split())}",
    ]
    if simulation.status is RuleStatus.CONDITION_FAILED:
        lines += [
            f"failed     {simulation.reason}",
            "           in a run this counts as false, and is counted as SKIPPED_ERROR",
        ]
    else:
        lines.append("matched    yes" if simulation.matched else "matched    no")
    for action in simulation.actions:
        lines.append(f"action {action.index}   {action.type}: {action.description}")
        values = [f"{name} {_spoken(value)}" for name, value in action.values.items() if value is not None]
        lines += [f"           {', '.join(values)}"] if values else []
        if action.reason is not None:
            why = action.outcome.name if action.status is ActionStatus.FAILED else action.status.value
            lines.append(f"           {why}: {action.reason}")
        elif action.outcome is not Outcome.OK:
            lines.append(f"           {action.outcome.name}")
    return "\n".join(lines)


class _Projector:
    """Results of actions; each sees the state before the event (§10.1)."""

    def __init__(self, assets: Mapping[str, Asset], scope: Scope, state: SimulatedState) -> None:
        self._assets = assets
        self._scope = scope
        self._state = state

    def result(self, action: ActionPlan) -> ActionResult:
        """The result of one action; a failure is a result as well."""
        description = describe_action(action)
        if isinstance(action.definition, VoidHoldAction):
            reason = "VOID_HOLD works on lots, and a simulation of one rule has none"
            return _result(action, ActionStatus.UNSUPPORTED, Outcome.OK, description, {}, reason)
        values: dict[str, Shown] = {}
        try:
            target = self._target(action)
            if target is not None:
                values["target"] = target
            outcome, own = self._values(action, is_own=action.target is None and not action.target_is_program)
            values |= own
        except _Failure as failure:
            return _result(action, ActionStatus.FAILED, failure.outcome, description, values, str(failure))
        has_projection = not isinstance(action.definition, SetTierAction | ScheduleEventAction | BroadcastAction)
        status = ActionStatus.EVALUATED if has_projection else ActionStatus.DESCRIBED
        return _result(action, status, outcome, description, values, None)

    def _target(self, action: ActionPlan) -> str | None:
        """Whom the action names, None for the event's participant (§12.3, stage 1)."""
        if action.target_is_program:
            return "PROGRAM"
        if action.target is None:
            return None
        found: Value = action.target
        if isinstance(action.target, Expression):
            found = _evaluated(action.target, self._scope)
        if found is None or found == "":
            raise _Failure(Outcome.TARGET_MISSING, "the target expression gives nothing")
        if not isinstance(found, str):
            raise _Failure(Outcome.EXPRESSION_ERROR, f"the target expression gives {_a(found)}, and must give a text")
        if len(found) > REFERENCE_LENGTH_MAX:
            why = f"the target expression gives {len(found)} characters, and must give at most {REFERENCE_LENGTH_MAX}"
            raise _Failure(Outcome.EXPRESSION_ERROR, why)
        return found

    def _values(self, action: ActionPlan, *, is_own: bool) -> tuple[Outcome, dict[str, Shown]]:
        match action.definition:
            case CounterAction(key=key):
                return self._counter(action, key, is_own)
            case TagAction(tag=tag):
                return self._tag(tag.lower(), "would_add", is_own)
            case UntagAction(tag=tag):
                return self._tag(tag.lower(), "would_remove", is_own)
            case SetAttributeAction(key=key):
                return self._attribute(action, key, is_own)
            case SetTierAction() | ScheduleEventAction() | BroadcastAction():
                return Outcome.OK, {}
            case _:
                return self._money(action)

    def _money(self, action: ActionPlan) -> tuple[Outcome, dict[str, Shown]]:
        asset = self._assets[getattr(action.definition, "asset_id", "")]
        values: dict[str, Shown] = {"amount": None, "asset_symbol": asset.symbol}
        outcome = Outcome.OK
        if action.value is not None:
            amount = _amount(_evaluated(action.value, self._scope), asset)
            values["amount"] = f"{amount:.{asset.scale}f}"
            outcome = Outcome.OK if amount else Outcome.NO_EFFECT
        if action.reference is not None:
            values["reference_id"] = _reference(_evaluated(action.reference, self._scope))
        return outcome, values

    def _counter(self, action: ActionPlan, key: str, is_own: bool) -> tuple[Outcome, dict[str, Shown]]:
        assert action.value is not None, "the models require the value of a COUNTER"
        delta = _delta(_evaluated(action.value, self._scope))
        outcome = Outcome.OK if delta else Outcome.NO_EFFECT
        if not is_own:
            return outcome, {"key": key, "value": plain_number(delta)}
        current = self._state.holdings.counters.get(key, Decimal(0))
        projected = current + delta
        if abs(projected) >= COUNTER_MAX:
            raise _Failure(Outcome.COUNTER_OUT_OF_RANGE, "a counter stays below 10^20")
        return outcome, {
            "key": key,
            "value": plain_number(delta),
            "current_value": plain_number(current),
            "projected_value": plain_number(projected),
            "would_change": projected != current,
        }

    def _tag(self, tag: str, name: str, is_own: bool) -> tuple[Outcome, dict[str, Shown]]:
        if not is_own:
            return Outcome.OK, {"tag": tag}
        tags = self._state.holdings.tags
        changes = (tag in tags) == (name == "would_remove")
        outcome = Outcome.OK if changes else Outcome.NO_EFFECT
        return outcome, {"tag": tag, "current_tags": list(tags), name: changes, "would_change": changes}

    def _attribute(self, action: ActionPlan, key: str, is_own: bool) -> tuple[Outcome, dict[str, Shown]]:
        text = action.text
        projected = _attribute_text(_evaluated(text, self._scope)) if isinstance(text, Expression) else text
        if not is_own:
            return Outcome.OK, {"key": key, "projected_value": projected}
        current = self._state.holdings.attributes.get(key)
        changes = current != projected
        outcome = Outcome.OK if changes else Outcome.NO_EFFECT
        values: dict[str, Shown] = {
            "key": key,
            "current_value": current,
            "projected_value": projected,
            "would_change": changes,
        }
        return outcome, values


def _result(
    action: ActionPlan,
    status: ActionStatus,
    outcome: Outcome,
    description: str,
    values: Mapping[str, Shown],
    reason: str | None,
) -> ActionResult:
    return ActionResult(
        index=action.index,
        type=action.definition.type,
        status=status,
        outcome=outcome,
        description=description,
        values=values,
        reason=reason,
    )


# --- values of expressions ------------------------------------------------------------------------------------------


def _evaluated(expression: Expression, scope: Scope) -> Value:
    closure = lower_closure(expression)
    try:
        return closure(scope)
    except EvaluationError as error:
        span = closure.locate(error) or expression.root.span
        part = expression.text[span.start : span.end]
        shown = part if len(part) <= _SHOWN_MAX else f"{part[:_SHOWN_MAX]}…"
        outcome = Outcome.EXPRESSION_LIMIT if isinstance(error, CelLimit) else Outcome.EXPRESSION_ERROR
        raise _Failure(outcome, f"{error} in `{shown}`") from None


def _amount(value: Value, asset: Asset) -> Decimal:
    """An amount that the asset can have, 0 included (§5.3, §12.3 stages 5 and 6)."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise _Failure(Outcome.INVALID_AMOUNT, f"the amount is {_a(value)}, and must be a finite number")
    amount = Decimal(value)
    if amount < 0:
        raise _Failure(Outcome.AMOUNT_NOT_POSITIVE, f"the amount is {plain_number(amount)}")
    if decimals_of(amount) > asset.scale:
        message = f"{plain_number(amount)} has more decimals than the {asset.scale} of {asset.symbol}: use round()"
        raise _Failure(Outcome.AMOUNT_EXCEEDS_SCALE, message)
    if amount > Decimal(AMOUNT_MINOR_MAX).scaleb(-asset.scale):
        raise _Failure(Outcome.AMOUNT_OVERFLOW, f"{plain_number(amount)} is more than any account can hold")
    if asset.max_transaction_amount is not None and amount > asset.max_transaction_amount:
        largest = plain_number(asset.max_transaction_amount)
        message = f"{plain_number(amount)} is more than the {largest} that {asset.symbol} allows at once"
        raise _Failure(Outcome.MAX_TRANSACTION_EXCEEDED, message)
    return amount


def _delta(value: Value) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise _Failure(Outcome.INVALID_VALUE, f"the value is {_a(value)}, and must be a finite number")
    delta = Decimal(value)
    if delta and (decimals_of(delta) > SCALE_MAX or abs(delta) >= 2 * COUNTER_MAX):
        raise _Failure(
            Outcome.COUNTER_OUT_OF_RANGE, f"a counter has at most {SCALE_MAX} decimals and stays below 10^20"
        )
    return delta


def _reference(value: Value) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= REFERENCE_LENGTH_MAX:
        message = f"reference_id is {_a(value)}, and must be a text of 1 to {REFERENCE_LENGTH_MAX} characters"
        raise _Failure(Outcome.INVALID_REFERENCE, message)
    return value


def _attribute_text(value: Value) -> str:
    """The text of an attribute's new value (§11.4)."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Timestamp():
            return timestamp_text(value)
        case int() | Decimal() if Decimal(value).is_finite():
            return plain_number(Decimal(value))
        case _:
            message = f"an attribute is a text, a number, true, false or a time, not {_a(value)}"
            raise _Failure(Outcome.INVALID_VALUE, message)


def _a(value: Value) -> str:
    """A value as messages show it: its text where it has one, and its type."""
    if isinstance(value, str):
        return "an empty text" if not value else f"the text '{value[:_SHOWN_MAX]}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return plain_number(Decimal(value)) if Decimal(value).is_finite() else str(value)
    return f"a {spoken_type(value)}" if value is not None else "null"


def _spoken(value: Shown) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return str(value)
