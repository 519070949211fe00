"""Evaluations with what became of every action, from physical rows (§10.3, §18.5); see `bulk_decode`.

An applied action is told by its entry or its change, one without effect by having neither; the others have a stored
result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from earnbook.ledger.schema import (
    ActionResult as Result,
)
from earnbook.ledger.schema import (
    ActionType,
    Bucket,
    ChangeOperation,
    EntryType,
    Kind,
    Outcome,
    StateType,
)
from earnbook.pipeline.registry import ActionEntry
from earnbook.pipeline.store_tables import EvaluationReason, EvaluationStatus
from tests.support.bulk_decode import Row, Rows, account_entity
from tests.support.bulk_values import added, cell_text, plain_number, wide_integer
from tests.support.logical import ActionResult, Evaluation

_GIVES_TO_HOLDER = (EntryType.CREDIT, EntryType.HOLD, EntryType.RELEASE, EntryType.SETTLE)
_NAMED_BY_KEY = (ActionType.TAG, ActionType.UNTAG, ActionType.SCHEDULE_EVENT, ActionType.BROADCAST)
_MAKES_EVENTS = (ActionType.SCHEDULE_EVENT, ActionType.BROADCAST)


@dataclass(frozen=True, slots=True)
class _Traces:
    """What the actions of events left, by (log_seq, action): movements, the last change, the stored results."""

    movements: Mapping[tuple[int, int], list[Row]]
    changes: Mapping[tuple[int, int], Row]
    results: Mapping[tuple[int, int, int], Row]


def evaluations_of(rows: Rows) -> tuple[Evaluation, ...]:
    """The rows of every attempt at every event, in rule order."""
    patterns: dict[int, list[Row]] = defaultdict(list)
    for row in rows["evaluation_patterns"]:
        patterns[row["pattern"]].append(row)
    of_rule: dict[tuple[int, int], list[tuple[int, ActionEntry]]] = defaultdict(list)
    for number, action in enumerate(rows.actions, start=1):
        of_rule[action.rule, action.rule_version].append((number, action))
    traces = _traces(rows)
    attempts = [{**row, "attempt": 1} for row in rows["events"]] + rows["attempts"]
    found = [
        _evaluation(rows, attempt, row, of_rule[row["rule"], row["rule_version"]], traces)
        for attempt in attempts
        for row in patterns.get(attempt["pattern"], ())
    ]
    return tuple(sorted(found, key=lambda row: (row.log_seq, row.attempt, row.rule_order)))


def _evaluation(
    rows: Rows, attempt: Row, row: Row, actions: list[tuple[int, ActionEntry]], traces: _Traces
) -> Evaluation:
    is_matched = row["status"] <= EvaluationStatus.FAILED or row["reason"] == EvaluationReason.BUDGET_EXCEEDED
    told = sorted(actions, key=lambda item: item[1].action_index) if is_matched else []
    return Evaluation(
        log_seq=attempt["log_seq"],
        attempt=attempt["attempt"],
        rule=rows.rule(row["rule"]).key,
        rule_version=row["rule_version"],
        rule_order=row["rule_order"],
        status=EvaluationStatus(row["status"]).name,
        reason=EvaluationReason(row["reason"]).name if row["reason"] else None,
        stopped_by_rule=rows.rule(row["stopped_by"]).key if row["stopped_by"] else None,
        applied=row["status"] == EvaluationStatus.SUCCESS and attempt["outcome"] == 0,
        actions=tuple(_results(rows, attempt, told, traces)),
    )


def _results(
    rows: Rows, attempt: Row, actions: list[tuple[int, ActionEntry]], traces: _Traces
) -> Iterator[ActionResult]:
    log_seq, is_done = attempt["log_seq"], attempt["outcome"] == 0
    for number, action in actions:
        stored = traces.results.get((log_seq, attempt["attempt"], number))
        if not is_done and stored is None:
            continue
        movements = traces.movements.get((log_seq, number), []) if is_done else []
        change = traces.changes.get((log_seq, number)) if is_done else None
        amount = _amount(movements)
        if amount is None and stored is not None and stored["amount"] != -1:
            amount = stored["amount"]
        target = _target(movements, change, stored)
        yield ActionResult(
            index=action.action_index,
            type=ActionType(action.type).name,
            result=_result(action, movements, change, stored),
            entry_seq=min((row["entry_seq"] for row in movements), default=None),
            code=Outcome(attempt["outcome"]).name if stored is not None and stored["result"] == Result.FAILED else None,
            target=None if target is None else rows.entity(target),
            asset=rows.asset(action.asset) if action.asset else None,
            amount=amount,
            value=_value(action, change, stored),
        )


def _result(action: ActionEntry, movements: list[Row], change: Row | None, stored: Row | None) -> str:
    if stored is not None:
        return Result(stored["result"]).name
    is_applied = bool(movements) or change is not None or action.type in _MAKES_EVENTS
    return "APPLIED" if is_applied else "NO_EFFECT"


def _amount(movements: list[Row]) -> int | None:
    """What an action moved; of a settle what reached the holder's other buckets."""
    counted = [
        row["amount"]
        for row in movements
        if row["entry_type"] != EntryType.SETTLE or (row["credit"] > 3 and row["credit"] % 4 != Bucket.HELD)
    ]
    return sum(counted) if counted else None


def _target(movements: list[Row], change: Row | None, stored: Row | None) -> int | None:
    """Whom an action was about, by number."""
    accounts = [
        row["credit"] if row["credit"] > 3 and row["entry_type"] in _GIVES_TO_HOLDER else row["debit"]
        for row in movements
        if (row["credit"] > 3 and row["entry_type"] in _GIVES_TO_HOLDER) or row["debit"] > 3
    ]
    if accounts:
        return account_entity(max(accounts))
    if change is not None:
        return int(change["entity"])
    return (stored["entity"] or None) if stored is not None else None


def _value(action: ActionEntry, change: Row | None, stored: Row | None) -> str | None:
    """The number, tag, text, level or event name of an action."""
    if action.type == ActionType.SET_TIER:
        return None if stored is not None and stored["result"] == Result.FAILED else action.key
    if stored is not None:
        return _stored_value(action, stored)
    if action.type in _NAMED_BY_KEY:
        return action.key
    if action.type == ActionType.COUNTER and change is not None:
        return str(change["added"])
    if action.type == ActionType.SET_ATTRIBUTE and change is not None:
        return cell_text(change["value_kind"], change["value"], change["value_scale"], change["text"])
    return None


def _stored_value(action: ActionEntry, stored: Row) -> str | None:
    kind, scale = stored["value_kind"], stored["value_scale"]
    if action.type == ActionType.COUNTER and kind == Kind.NUMBER:
        return plain_number(wide_integer(stored["value"], stored["value_high"]), scale)
    if action.type == ActionType.SET_ATTRIBUTE and kind > 0:
        return cell_text(kind, stored["value"], scale, stored["text"])
    return action.key if action.type in _NAMED_BY_KEY and kind > 0 else None


def _traces(rows: Rows) -> _Traces:
    movements: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows["movements"]:
        if row["action"] > 0 and row["entry_type"] != EntryType.EXPIRATION:
            movements[row["log_seq"], row["action"]].append(row)
    results = {(row["log_seq"], row["attempt"], row["action"]): row for row in rows["action_results"]}
    return _Traces(movements, dict(_last_changes(rows)), results)


def _last_changes(rows: Rows) -> Iterator[tuple[tuple[int, int], Row]]:
    """The last change of each action, with its details and what it added to a counter."""
    details: Mapping[int, Row] = {row["change_seq"]: row for row in rows["change_details"]}
    before: dict[tuple[int, int, int], tuple[int, int] | None] = {}
    for row in sorted(rows["changes"], key=lambda row: row["change_seq"]):
        change: dict[str, Any] = {"value_high": None, "text": None, **details.get(row["change_seq"], {}), **row}
        identity = (row["entity"], row["state_type"], row["key"])
        if row["state_type"] == StateType.COUNTER:
            is_gone = row["operation"] == ChangeOperation.DELETE
            now = (wide_integer(row["value"], change["value_high"]), row["value_scale"])
            change["added"] = added(now, before.get(identity))
            before[identity] = None if is_gone else now
        if row["action"] > 0 and row["state_type"] not in (StateType.PARTICIPANT, StateType.ENROLLMENT):
            yield (row["log_seq"], row["action"]), change
