"""The thirteen actions for the oracle: the checks of §12.3 in their order, then the effect.

Where SEMANTICS is open: a target that is no text, or longer than 255 characters, is an EXPRESSION_ERROR; a
participant target by `id` or `participant_id` that is no UUID names nobody (PARTICIPANT_NOT_FOUND).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from earnbook.rules.values import CelError, CelLimit, Timestamp, Value
from tests.support.logical import Entity, Entry
from tests.support.oracle_budgets import spend_budget
from tests.support.oracle_cel import evaluate, expression_of_value, timestamp_text
from tests.support.oracle_definitions import BASE_LEVELS, Action, Asset, Rule, Target
from tests.support.oracle_generated import check_broadcast, schedule
from tests.support.oracle_intake import Person
from tests.support.oracle_json import number_text
from tests.support.oracle_ledger import credit, debit, forfeit, hold, lot_dates, release, settled_lots, void_hold
from tests.support.oracle_members import admit, find_group, find_participant
from tests.support.oracle_operation_fields import is_uuid
from tests.support.oracle_postings import INT64_MAX
from tests.support.oracle_state import Cause, Failure, State
from tests.support.oracle_tags import add_tag, count, exact_decimal, is_countable, remove_tag, set_attribute
from tests.support.oracle_tiers import assign_tier
from tests.support.oracle_turn import Turn

MONEY = ("CREDIT", "DEBIT", "HOLD", "RELEASE", "FORFEIT", "VOID_HOLD")
GATED = ("CREDIT", "DEBIT", "HOLD", "RELEASE", "FORFEIT", "COUNTER")
"""Actions that need an active target (§8.1)."""
LIMITED = ("CREDIT", "DEBIT")
"""Actions that `max_transaction_amount` limits (§7.4)."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """What an action has resolved so far, for its result row."""

    target: Entity | None = None
    amount: int | None = None
    value: str | None = None
    entry_seq: int | None = None


def act(state: State, turn: Turn, rule: Rule, action: Action, progress: Progress) -> str:
    """Runs one action: APPLIED, NO_EFFECT or SUPPRESSED; raises Failure with the code of the first check that fails."""
    cause = turn.cause(rule, action)
    if action.type == "BROADCAST":
        progress.value = action.event_name
        check_broadcast(turn)
        turn.broadcasts.append((rule, action))
        return "APPLIED"
    progress.target = _target(state, turn, cause, action)
    if action.type in GATED:
        check_active(state, progress.target)
    if action.type in MONEY:
        return _move_money(state, turn, rule, action, progress)
    match action.type:
        case "COUNTER":
            changed = _count(state, turn, cause, action, progress)
        case "TAG" | "UNTAG":
            progress.value = action.key
            change_tag = add_tag if action.type == "TAG" else remove_tag
            changed = change_tag(state, cause, progress.target, action.key)
        case "SET_ATTRIBUTE":
            progress.value = _attribute_text(turn, action.text)
            changed = set_attribute(state, cause, progress.target, action.key, progress.value)
        case "SET_TIER":
            changed = _set_tier(state, turn, cause, action, progress)
        case "SCHEDULE_EVENT":
            progress.value = action.event_name
            schedule(state, turn, rule, action, progress.target[1])
            changed = True
        case _:
            raise NotImplementedError(f"the oracle has no action {action.type}")
    return "APPLIED" if changed else "NO_EFFECT"


def check_active(state: State, entity: Entity) -> None:
    """Check 2: the status of a holder that money or a counter moves at (§8.1)."""
    kind, name = entity
    if kind == "PARTICIPANT" and state.participants[name].status != "ACTIVE":
        raise Failure("PARTICIPANT_INACTIVE")
    if kind == "GROUP" and state.groups[name].status != "ACTIVE":
        raise Failure("GROUP_ARCHIVED")


def check_asset(state: State, program: str, asset: Asset, *, is_credit: bool) -> None:
    """Check 3 for assets."""
    if is_credit and asset.is_archived:
        raise Failure("ASSET_ARCHIVED")
    if (program, asset.symbol) not in state.asset_links:
        raise Failure("ASSET_NOT_LINKED")


def minor_units(value: Value, asset: Asset) -> int:
    """The amount in minor units, 0 for nothing; raises the value codes 63 to 66 (§5.3)."""
    number = finite_number(value)
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


def check_maximum(asset: Asset, amount: int) -> None:
    """Check 6 (§7.4); equal is allowed."""
    if asset.max_transaction is not None and Fraction(amount, 10**asset.scale) > Fraction(asset.max_transaction):
        raise Failure("MAX_TRANSACTION_EXCEEDED")


def finite_number(value: Value) -> Fraction | None:
    """The exact number, None for anything that is none, infinities and NaN included."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    return Fraction(value)


# --- check 1: the target ---------------------------------------------------------------------------------------------


def _target(state: State, turn: Turn, cause: Cause, action: Action) -> Entity:
    """The holder or program an action is for (§12.2); a participant is created or enrolled like that of an event."""
    if action.target is None:
        is_routed = action.type == "CREDIT" and turn.recipient is not None
        name = turn.recipient if is_routed else turn.participant
        if name is None:
            raise Failure("TARGET_MISSING")
        return ("PARTICIPANT", name)
    if action.target.type == "PROGRAM":
        return ("PROGRAM", turn.program.key)
    reference = _target_text(turn, action.target)
    if action.target.type == "GROUP":
        return ("GROUP", find_group(state, turn.definitions, reference))
    if action.target.field == "external_id":
        person = Person(external_id=reference, id=None)
    elif is_uuid(reference):
        person = Person(external_id=None, id=uuid.UUID(reference))
    else:
        raise Failure("PARTICIPANT_NOT_FOUND")
    participant = find_participant(state, person, turn.program, "PARTICIPANT_NOT_FOUND")
    admit(state, turn.definitions, cause, participant, turn.program.key)
    return ("PARTICIPANT", participant)


def _target_text(turn: Turn, target: Target) -> str:
    if target.field == "id" and is_uuid(target.text):
        return target.text
    value = _evaluate(turn, target.text)
    if value is None or value == "":
        raise Failure("TARGET_MISSING")
    if not isinstance(value, str) or len(value) > 255:
        raise Failure("EXPRESSION_ERROR")
    return value


# --- money -----------------------------------------------------------------------------------------------------------


def _move_money(state: State, turn: Turn, rule: Rule, action: Action, progress: Progress) -> str:
    """Checks 3 to 11 of an action on an asset, and the entry."""
    assert action.asset is not None
    assert progress.target is not None
    asset = turn.definitions.asset_named(action.asset)
    assert asset is not None
    check_asset(state, turn.program.key, asset, is_credit=action.type == "CREDIT")
    amount_value = None if action.amount is None else _evaluate(turn, action.amount)
    reference_value = None if action.reference is None else _evaluate(turn, action.reference)
    amount = None
    if action.amount is not None:
        amount = progress.amount = minor_units(amount_value, asset)
        if amount == 0:
            return "NO_EFFECT"
        if action.type in LIMITED:
            check_maximum(asset, amount)
    if action.reference is not None and not (isinstance(reference_value, str) and 1 <= len(reference_value) <= 255):
        raise Failure("INVALID_REFERENCE")
    reference = reference_value if isinstance(reference_value, str) else None
    cause = replace(turn.cause(rule, action), reference=reference, description=action.description)
    if action.type == "CREDIT":
        assert amount is not None
        return _credit(state, turn, rule, action, asset, cause, amount, progress)
    entry = _move(state, cause, action, progress.target, asset, amount)
    if entry is None:
        progress.amount = 0
        return "NO_EFFECT"
    progress.amount, progress.entry_seq = entry.amount, entry.seq
    return "APPLIED"


def _credit(
    state: State,
    turn: Turn,
    rule: Rule,
    action: Action,
    asset: Asset,
    cause: Cause,
    amount: int,
    progress: Progress,
) -> str:
    """Checks 7 to 11 of CREDIT: dates, the rule's budget, then the wallet."""
    assert progress.target is not None
    dates = lot_dates(cause.processed_at, action.expires_at, action.matures_at)
    budget = rule.budgets.get(asset.symbol)
    if budget is not None:
        settled = settled_lots(state, progress.target, asset, cause.reference, action.bucket)
        measure = max(amount - sum(lot.remaining for lot in settled), 0)
        if not spend_budget(state, (turn.program.key, rule.key, asset.symbol), budget, measure):
            return "SUPPRESSED"
    entry = credit(state, cause, progress.target, asset, amount, bucket=action.bucket, dates=dates)
    progress.entry_seq = entry.seq
    return "APPLIED"


def _move(state: State, cause: Cause, action: Action, holder: Entity, asset: Asset, amount: int | None) -> Entry | None:
    match action.type:
        case "RELEASE":
            return release(state, cause, holder, asset, amount)
        case "FORFEIT":
            return forfeit(state, cause, holder, asset, amount, bucket=action.bucket)
        case "VOID_HOLD":
            return void_hold(state, cause, holder, asset)
    assert amount is not None
    if action.type == "HOLD":
        return hold(state, cause, holder, asset, amount)
    return debit(state, cause, holder, asset, amount, bucket=action.bucket, allow_negative=action.allow_negative)


# --- state -----------------------------------------------------------------------------------------------------------


def _count(state: State, turn: Turn, cause: Cause, action: Action, progress: Progress) -> bool:
    """COUNTER (§13.2); the time of the window is the event's timestamp."""
    delta = finite_number(_evaluate(turn, action.text))
    if delta is None:
        raise Failure("INVALID_VALUE")
    if is_countable(delta):
        progress.value = number_text(exact_decimal(delta))
    if delta == 0:
        return False
    assert progress.target is not None
    count(state, cause, progress.target, action.key, delta, at=turn.timestamp, reset_after=action.reset_after)
    if progress.target[0] == "PARTICIPANT":
        turn.counted.add(progress.target[1])
    return True


def _attribute_text(turn: Turn, text: str) -> str:
    """The value of SET_ATTRIBUTE as text: a literal, or what its expression gives (§11.4)."""
    expression = expression_of_value(text)
    if expression is None:
        return text
    value = _evaluate(turn, expression)
    if isinstance(value, bool):
        return "true" if value else "false"
    number = finite_number(value)
    if number is not None:
        return number_text(exact_decimal(number))
    if isinstance(value, str):
        return value
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    raise Failure("INVALID_VALUE")


def _set_tier(state: State, turn: Turn, cause: Cause, action: Action, progress: Progress) -> bool:
    """SET_TIER (§14.5); auto-evaluation then leaves this participant and type alone, even if nothing changed."""
    assert progress.target is not None
    tier = turn.program.tiers[action.tier]
    if tier.is_archived:
        raise Failure("TIER_ARCHIVED")
    progress.value = "" if action.level in BASE_LEVELS else action.level
    turn.assigned_tiers.add((progress.target[1], tier.key))
    expires_at = None if action.expires_at is None else action.expires_at.from_creation(turn.processed_at)
    return assign_tier(state, cause, progress.target[1], tier, action.level, expires_at)


def _evaluate(turn: Turn, text: str) -> Value:
    try:
        return evaluate(text, turn.scope)
    except CelLimit:
        raise Failure("EXPRESSION_LIMIT") from None
    except CelError:
        raise Failure("EXPRESSION_ERROR") from None
