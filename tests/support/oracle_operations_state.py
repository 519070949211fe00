"""The operations on tags, counters, attributes, tiers and budgets (§15.3) for the oracle.

Where SEMANTICS is open: `set_tier` and `remove_tier` need an ACTIVE enrollment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from tests.support.oracle_actions import check_active
from tests.support.oracle_budgets import reset_budget
from tests.support.oracle_definitions import BASE_LEVELS, read_date, rule_named, tier_named
from tests.support.oracle_operation import Operation
from tests.support.oracle_state import Failure
from tests.support.oracle_tags import (
    add_tag,
    delete_counter,
    remove_attribute,
    remove_tag,
    replace_tags,
    set_attribute,
    set_counter,
)
from tests.support.oracle_tiers import assign_tier, remove_tier
from tests.support.oracle_times import parse_duration


def _change_tag(operation: Operation) -> bool:
    change = add_tag if operation.record.type == "add_tag" else remove_tag
    return change(operation.state, operation.cause, operation.entity(), operation.needed("tag").lower())


def _set_tags(operation: Operation) -> bool:
    return replace_tags(operation.state, operation.cause, operation.entity(), operation.tags())


def _set_counter(operation: Operation) -> bool:
    value, window = operation.fields["value"], operation.text("reset_after")
    assert isinstance(value, Decimal)
    return set_counter(
        operation.state,
        operation.cause,
        operation.entity(),
        operation.needed("key"),
        Fraction(value),
        at=operation.record.timestamp,
        reset_after=parse_duration(window) if window else window,
    )


def _delete_counter(operation: Operation) -> bool:
    return delete_counter(operation.state, operation.cause, operation.entity(), operation.needed("key"))


def _set_attribute(operation: Operation) -> bool:
    entity, text = operation.entity(), operation.needed("value")
    return set_attribute(operation.state, operation.cause, entity, operation.needed("key"), text)


def _set_attributes(operation: Operation) -> bool:
    entity = operation.entity()
    changes = [set_attribute(operation.state, operation.cause, entity, *item) for item in operation.attributes()]
    return any(changes)


def _remove_attribute(operation: Operation) -> bool:
    return remove_attribute(operation.state, operation.cause, operation.entity(), operation.needed("key"))


def _change_tier(operation: Operation) -> bool:
    """`set_tier` and `remove_tier` (§14.5), tested in the order of A.1."""
    state, program = operation.state, operation.program
    participant = operation.participant()
    tier, level = tier_named(program, operation.needed("tier")), operation.text("level") or ""
    if tier is None:
        raise Failure("TIER_NOT_FOUND")
    if level not in BASE_LEVELS and level not in tier.levels:
        raise Failure("TIER_LEVEL_NOT_FOUND")
    check_active(state, ("PARTICIPANT", participant))
    if not state.is_enrolled(participant, program.key):
        raise Failure("NOT_ENROLLED")
    if tier.is_archived:
        raise Failure("TIER_ARCHIVED")
    if level in BASE_LEVELS:
        return remove_tier(state, operation.cause, participant, tier)
    date = read_date(operation.text("expires_at"))
    expires_at = None if date is None else date.from_creation(operation.cause.processed_at)
    return assign_tier(state, operation.cause, participant, tier, level, expires_at)


def _reset_budget(operation: Operation) -> bool:
    asset = operation.asset()
    rule = rule_named(operation.program, operation.needed("rule_id"))
    if rule is None:
        raise Failure("RULE_NOT_FOUND")
    budget = rule.budgets.get(asset.symbol)
    if budget is None:
        raise Failure("BUDGET_NOT_FOUND")
    name = (operation.program.key, rule.key, asset.symbol)
    return reset_budget(operation.state, operation.cause, name, budget, "set")


STATE_VERBS: Mapping[str, Callable[[Operation], bool]] = {
    "add_tag": _change_tag,
    "remove_tag": _change_tag,
    "set_tags": _set_tags,
    "set_counter": _set_counter,
    "delete_counter": _delete_counter,
    "set_attribute": _set_attribute,
    "set_attributes": _set_attributes,
    "remove_attribute": _remove_attribute,
    "set_tier": _change_tier,
    "remove_tier": _change_tier,
    "reset_budget": _reset_budget,
}
