"""The oracle's rules: one event, its rules by order, and the effect of each action on the state (§10.3, §12, §13).

Expressions are evaluated by the closures of `earnbook.rules`; everything else is written here once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from fractions import Fraction

from earnbook.rules.values import CelError, CelLimit, Timestamp, Value
from tests.support.logical import ActionResult, Change, Entity, Evaluation
from tests.support.oracle_cel import Scope, evaluate, expression_of_value, timestamp_text
from tests.support.oracle_definitions import Action, Asset, Definitions, Program, Rule
from tests.support.oracle_intake import Record, canonical_number
from tests.support.oracle_ledger import INT64_MAX, Cause, Failure, credit, debit
from tests.support.oracle_state import State, StoredCounter

COUNTER_LIMIT = 10**20
COUNTER_DECIMALS = 18
EXACT = Context(prec=5000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One attempt at one event: what conditions and actions are evaluated with. `scope` is the snapshot (§10.1)."""

    definitions: Definitions
    record: Record
    program: Program
    log_seq: int
    processed_at: int
    participant: str
    recipient: str | None
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules made of an event: its evaluation rows, and the failing action, if one failed."""

    evaluations: tuple[Evaluation, ...]
    code: str
    rule: str | None
    action_index: int | None


def go_through_rules(state: State, turn: Turn) -> Verdict:
    """Evaluates the rules in order and acts; on a failure the caller takes the state back."""
    rows: list[Evaluation] = []
    stopped_by: str | None = None
    for rule in turn.program.rules:
        if stopped_by is not None:
            rows.append(_row(turn, rule, "SKIPPED", reason="STOPPED_BY_RULE", stopped_by=stopped_by))
            continue
        if not _is_in_window(rule, turn.processed_at):
            rows.append(_row(turn, rule, "SKIPPED", reason="OUTSIDE_TIME_WINDOW"))
            continue
        try:
            matches = evaluate(rule.condition, turn.scope)
        except CelLimit:
            rows.append(_row(turn, rule, "SKIPPED_TIMEOUT"))
            continue
        except CelError:
            matches = None
        if type(matches) is not bool:
            rows.append(_row(turn, rule, "SKIPPED_ERROR"))
            continue
        if not matches:
            continue
        results, code = _act_all(state, turn, rule)
        rows.append(_row(turn, rule, "SUCCESS" if code is None else "FAILED", actions=results))
        if code is not None:
            failed_rows = tuple(replace(row, applied=False) for row in rows)
            return Verdict(evaluations=failed_rows, code=code, rule=rule.key, action_index=results[-1].index)
        if rule.stops:
            stopped_by = rule.key
    return Verdict(evaluations=tuple(rows), code="OK", rule=None, action_index=None)


def _is_in_window(rule: Rule, processed_at: int) -> bool:
    if rule.active_from is not None and processed_at < rule.active_from:
        return False
    return rule.active_to is None or processed_at <= rule.active_to


def _row(
    turn: Turn,
    rule: Rule,
    status: str,
    *,
    reason: str | None = None,
    stopped_by: str | None = None,
    actions: tuple[ActionResult, ...] = (),
) -> Evaluation:
    return Evaluation(
        log_seq=turn.log_seq,
        attempt=1,
        rule=rule.key,
        rule_version=1,
        rule_order=rule.order,
        status=status,
        reason=reason,
        stopped_by_rule=stopped_by,
        applied=status == "SUCCESS",
        actions=actions,
    )


def _act_all(state: State, turn: Turn, rule: Rule) -> tuple[tuple[ActionResult, ...], str | None]:
    """Runs the actions of a matched rule; the last result is the failing one when a code is given."""
    results: list[ActionResult] = []
    for action in rule.actions:
        before = (len(state.entries), len(state.changes))
        try:
            _act(state, turn, rule, action)
        except Failure as failure:
            results.append(_result(action, "FAILED", code=failure.code))
            return tuple(results), failure.code
        if len(state.entries) > before[0]:
            results.append(_result(action, "APPLIED", entry_seq=len(state.entries)))
        else:
            results.append(_result(action, "APPLIED" if len(state.changes) > before[1] else "NO_EFFECT"))
    return tuple(results), None


def _result(action: Action, result: str, *, entry_seq: int | None = None, code: str | None = None) -> ActionResult:
    return ActionResult(index=action.index, type=action.type, result=result, entry_seq=entry_seq, code=code)


def _act(state: State, turn: Turn, rule: Rule, action: Action) -> None:
    match action.type:
        case "CREDIT" | "DEBIT":
            _move_money(state, turn, rule, action)
        case "COUNTER":
            _count(state, turn, rule, action)
        case "TAG" | "UNTAG":
            _tag(state, turn, rule, action)
        case "SET_ATTRIBUTE":
            _set_attribute(state, turn, rule, action)
        case _:
            raise NotImplementedError(f"the oracle has no action {action.type}")


def _move_money(state: State, turn: Turn, rule: Rule, action: Action) -> None:
    """CREDIT and DEBIT: the checks of §12.3 in their order."""
    assert action.asset is not None
    assert action.amount is not None
    asset = turn.definitions.asset_named(action.asset)
    assert asset is not None
    name = turn.recipient if action.type == "CREDIT" and turn.recipient is not None else turn.participant
    if state.participants[name] != "ACTIVE":
        raise Failure("PARTICIPANT_INACTIVE")
    if action.type == "CREDIT" and asset.is_archived:
        raise Failure("ASSET_ARCHIVED")
    if turn.program.key not in asset.programs:
        raise Failure("ASSET_NOT_LINKED")
    values = [_evaluate(turn, text) for text in (action.amount, action.reference) if text is not None]
    minor = minor_units(values[0], asset)
    if minor == 0:
        return
    if asset.max_transaction is not None and Fraction(minor, 10**asset.scale) > Fraction(asset.max_transaction):
        raise Failure("MAX_TRANSACTION_EXCEEDED")
    reference = None if action.reference is None else values[1]
    if action.reference is not None and not (isinstance(reference, str) and 1 <= len(reference) <= 255):
        raise Failure("INVALID_REFERENCE")
    cause = Cause(
        kind="EVENT",
        number=turn.log_seq,
        program=turn.program.key,
        processed_at=turn.processed_at,
        rule=rule.key,
        action_index=action.index,
        reference=reference if isinstance(reference, str) else None,
        description=action.description,
    )
    holder = ("PARTICIPANT", name)
    if action.type == "CREDIT":
        credit(state, cause, holder, asset, minor, expires_at=action.expires_at, matures_at=action.matures_at)
    else:
        debit(state, cause, holder, asset, minor, allow_negative=action.allow_negative)


def minor_units(value: Value, asset: Asset) -> int:
    """The amount in minor units, 0 for nothing; raises the value codes 63 to 66 (§5.3)."""
    number = _finite_number(value)
    if number is None:
        raise Failure("INVALID_AMOUNT")
    if number < 0:
        raise Failure("AMOUNT_NOT_POSITIVE")
    minor = number * 10**asset.scale
    if minor.denominator != 1:
        raise Failure("AMOUNT_EXCEEDS_SCALE")
    if minor > INT64_MAX:
        raise Failure("AMOUNT_OVERFLOW")
    return int(minor)


def _count(state: State, turn: Turn, rule: Rule, action: Action) -> None:
    """COUNTER (§13.2); the time of the window is the event's timestamp."""
    entity = _state_entity(state, turn, action)
    delta = _finite_number(_evaluate(turn, action.text))
    if delta is None:
        raise Failure("INVALID_VALUE")
    if delta == 0:
        return
    at = turn.record.timestamp
    name = (*entity, action.key)
    stored = state.counters.get(name)
    window_start = stored.last_reset_at if stored is not None else None
    value = stored.value if stored is not None else Decimal(0)
    if stored is not None and stored.is_elapsed(at):
        _change(state, turn, rule, action, entity, "counter", "auto_reset", number_text(value), "0")
        value, window_start = Decimal(0), at
    reset_after = action.reset_after
    if reset_after is None and stored is not None:
        reset_after = stored.reset_after
    if reset_after is not None and window_start is None:
        window_start = at
    total = Fraction(value) + delta
    if abs(total) >= COUNTER_LIMIT or (total * 10**COUNTER_DECIMALS).denominator != 1:
        raise Failure("COUNTER_OUT_OF_RANGE")
    after = canonical_number(EXACT.divide(Decimal(total.numerator), Decimal(total.denominator)))
    state.counters[name] = StoredCounter(value=after, last_reset_at=window_start, reset_after=reset_after)
    old = None if stored is None else number_text(value)
    _change(state, turn, rule, action, entity, "counter", "set", old, number_text(after))


def _tag(state: State, turn: Turn, rule: Rule, action: Action) -> None:
    entity = _state_entity(state, turn, action)
    tag = (*entity, action.key)
    if (tag in state.tags) == (action.type == "TAG"):
        return
    if action.type == "TAG":
        state.tags.add(tag)
        _change(state, turn, rule, action, entity, "tag", "add", None, None)
    else:
        state.tags.remove(tag)
        _change(state, turn, rule, action, entity, "tag", "remove", None, None)


def _set_attribute(state: State, turn: Turn, rule: Rule, action: Action) -> None:
    entity = _state_entity(state, turn, action)
    text = _attribute_text(turn, action.text)
    name = (*entity, action.key)
    old = state.attributes.get(name)
    if old == text:
        return
    state.attributes[name] = text
    old_json = None if old is None else json.dumps(old, ensure_ascii=False)
    _change(state, turn, rule, action, entity, "attribute", "set", old_json, json.dumps(text, ensure_ascii=False))


def _attribute_text(turn: Turn, text: str) -> str:
    """The value of SET_ATTRIBUTE as text: a literal, or what its expression gives (§11.4)."""
    expression = expression_of_value(text)
    if expression is None:
        return text
    value = _evaluate(turn, expression)
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _finite_number(value)
    if number is not None:
        return number_text(EXACT.divide(Decimal(number.numerator), Decimal(number.denominator)))
    if isinstance(value, str):
        return value
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    raise Failure("INVALID_VALUE")


def _state_entity(state: State, turn: Turn, action: Action) -> Entity:
    """Whose tags, counters or attributes an action changes; COUNTER needs an active participant (§8.1)."""
    if action.target == "PROGRAM":
        return ("PROGRAM", turn.program.key)
    if action.type == "COUNTER" and state.participants[turn.participant] != "ACTIVE":
        raise Failure("PARTICIPANT_INACTIVE")
    return ("PARTICIPANT", turn.participant)


def _evaluate(turn: Turn, text: str) -> Value:
    try:
        return evaluate(text, turn.scope)
    except CelLimit:
        raise Failure("EXPRESSION_LIMIT") from None
    except CelError:
        raise Failure("EXPRESSION_ERROR") from None


def _finite_number(value: Value) -> Fraction | None:
    """The exact number, None for anything that is none, infinities and NaN included."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    return Fraction(value)


def number_text(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    return f"{canonical_number(value):f}"


def _change(
    state: State,
    turn: Turn,
    rule: Rule,
    action: Action,
    entity: Entity,
    state_type: str,
    operation: str,
    old: str | None,
    new: str | None,
) -> None:
    state.changes.append(
        Change(
            change_seq=len(state.changes) + 1,
            entity=entity,
            state_type=state_type,
            key=action.key,
            operation=operation,
            old_value=old,
            new_value=new,
            cause="EVENT",
            cause_number=turn.log_seq,
            rule=rule.key,
            action_index=action.index,
            changed_at=turn.processed_at,
        )
    )


def scope_of(state: State, definitions: Definitions, program: Program, participant: str, record: Record) -> Scope:
    """The CEL variables of an event (§11.1), read from the state as it is now."""
    about_participant: dict[str, Value] = {
        "id": str(definitions.participant_id(participant)),
        "external_id": participant,
        "status": state.participants[participant],
        "tiers": {},
        **_state_variables(state, ("PARTICIPANT", participant), record.timestamp),
    }
    about_program: dict[str, Value] = {
        "id": str(program.id),
        "key": program.key,
        "status": program.status,
        **_state_variables(state, ("PROGRAM", program.key), record.timestamp),
    }
    return Scope(event=record.data, participant=about_participant, program=about_program, now=record.timestamp)


def _state_variables(state: State, entity: Entity, at: int) -> Mapping[str, Value]:
    counters = {key[2]: stored.effective(at) for key, stored in state.counters.items() if key[:2] == entity}
    return {
        "tags": sorted(tag for *owner, tag in state.tags if tuple(owner) == entity),
        "counters": counters,
        "attributes": {key[2]: text for key, text in state.attributes.items() if key[:2] == entity},
    }
