"""The oracle's rules: one event, its rules by order, what became of each (§10.3), and the tiers after it (§14.2).

Expressions are evaluated by `oracle_cel.py`; the effect of each action is in `oracle_actions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from earnbook.rules.values import CelError, CelLimit
from tests.support.logical import ActionResult, Evaluation
from tests.support.oracle_actions import Progress, act
from tests.support.oracle_cel import evaluate
from tests.support.oracle_definitions import Action, Rule
from tests.support.oracle_generated import fan_out
from tests.support.oracle_state import Failure, State
from tests.support.oracle_tiers import evaluate_tiers, refresh_activity
from tests.support.oracle_turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules made of an event: its evaluation rows, and the failing action, if one failed."""

    evaluations: tuple[Evaluation, ...]
    code: str
    rule: str | None
    action_index: int | None


def go_through_rules(state: State, turn: Turn) -> Verdict:
    """Evaluates the rules in order and acts, then what follows; on a failure the caller takes the state back."""
    rows: list[Evaluation] = []
    stopped_by: str | None = None
    for rule in turn.program.rules:
        if rule.status != "ACTIVE":
            continue
        if stopped_by is not None:
            rows.append(_row(turn, rule, "SKIPPED", reason="STOPPED_BY_RULE", stopped_by=stopped_by))
            continue
        unmatched = _unmatched(turn, rule)
        if unmatched is not None:
            rows.extend(unmatched)
            continue
        results = _act_all(state, turn, rule)
        rows.append(_matched(turn, rule, results))
        if results[-1].result == "FAILED":
            return Verdict(
                evaluations=tuple(_undone(row) for row in rows),
                code=results[-1].code or "",
                rule=rule.key,
                action_index=results[-1].index,
            )
        if rule.stops:
            stopped_by = rule.key
    people = turn.counted | ({turn.participant} if turn.participant is not None else set())
    evaluate_tiers(state, turn.cause(), turn.program, people, turn.assigned_tiers, turn.timestamp)
    if turn.is_external and turn.participant is not None:
        refresh_activity(state, turn.program, turn.participant, turn.processed_at)
    fan_out(state, turn)
    return Verdict(evaluations=tuple(rows), code="OK", rule=None, action_index=None)


def _unmatched(turn: Turn, rule: Rule) -> tuple[Evaluation, ...] | None:
    """The row, or no row, of a rule that does not match; None when it does."""
    if not _is_in_window(rule, turn.processed_at):
        return (_row(turn, rule, "SKIPPED", reason="OUTSIDE_TIME_WINDOW"),)
    try:
        matches = evaluate(rule.condition, turn.scope)
    except CelLimit:
        return (_row(turn, rule, "SKIPPED_TIMEOUT"),)
    except CelError:
        matches = None
    if type(matches) is not bool:
        return (_row(turn, rule, "SKIPPED_ERROR"),)
    return None if matches else ()


def _is_in_window(rule: Rule, processed_at: int) -> bool:
    if rule.active_from is not None and processed_at < rule.active_from:
        return False
    return rule.active_to is None or processed_at <= rule.active_to


def _act_all(state: State, turn: Turn, rule: Rule) -> tuple[ActionResult, ...]:
    """Runs the actions of a matched rule up to the first that fails."""
    results: list[ActionResult] = []
    for action in rule.actions:
        progress = Progress()
        try:
            result = act(state, turn, rule, action, progress)
        except Failure as failure:
            results.append(_result(turn, action, "FAILED", progress, code=failure.code))
            break
        results.append(_result(turn, action, result, progress))
    return tuple(results)


def _result(turn: Turn, action: Action, result: str, progress: Progress, *, code: str | None = None) -> ActionResult:
    asset = None if action.asset is None else turn.definitions.asset_named(action.asset)
    return ActionResult(
        index=action.index,
        type=action.type,
        result=result,
        entry_seq=progress.entry_seq,
        code=code,
        target=progress.target,
        asset=None if asset is None else asset.symbol,
        amount=progress.amount,
        value=progress.value,
    )


def _matched(turn: Turn, rule: Rule, results: tuple[ActionResult, ...]) -> Evaluation:
    """The row of a rule that matched: the last three lines of §10.3."""
    found = {result.result for result in results}
    if "FAILED" in found:
        return _row(turn, rule, "FAILED", actions=results)
    if "SUPPRESSED" in found and "APPLIED" not in found:
        return _row(turn, rule, "SKIPPED", reason="BUDGET_EXCEEDED", actions=results)
    return _row(turn, rule, "SUCCESS", actions=results)


def _undone(row: Evaluation) -> Evaluation:
    """A row of a failed attempt: nothing of it was applied, and no entry of it is left."""
    actions = tuple(replace(result, entry_seq=None) for result in row.actions or ())
    return replace(row, applied=False, actions=actions)


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
        attempt=turn.attempt,
        rule=rule.key,
        rule_version=rule.version,
        rule_order=rule.order,
        status=status,
        reason=reason,
        stopped_by_rule=stopped_by,
        applied=status == "SUCCESS",
        actions=actions,
    )
