"""Tags, counters and attributes of an entity for the oracle (§13); each effective change writes a change row."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction

from tests.support.logical import Entity
from tests.support.oracle_json import canonical_number, number_text
from tests.support.oracle_state import Cause, Failure, State, StoredCounter, json_text

COUNTER_LIMIT = 10**20
COUNTER_DECIMALS = 18
EXACT = Context(prec=5000)


def exact_decimal(number: Fraction) -> Decimal:
    """A fraction that is a decimal number, without trailing zeros."""
    return canonical_number(EXACT.divide(Decimal(number.numerator), Decimal(number.denominator)))


def add_tag(state: State, cause: Cause, entity: Entity, tag: str) -> bool:
    """Adds a tag; whether that changed anything."""
    if (*entity, tag) in state.tags:
        return False
    state.tags.add((*entity, tag))
    state.note(cause, entity, "tag", tag, "add")
    return True


def remove_tag(state: State, cause: Cause, entity: Entity, tag: str) -> bool:
    """Removes a tag; whether that changed anything."""
    if (*entity, tag) not in state.tags:
        return False
    state.tags.remove((*entity, tag))
    state.note(cause, entity, "tag", tag, "remove")
    return True


def replace_tags(state: State, cause: Cause, entity: Entity, tags: Iterable[str]) -> bool:
    """Makes the set of tags what is given: removals first, then additions, each in order of code points."""
    wanted = {tag.lower() for tag in tags}
    present = {tag for *owner, tag in state.tags if tuple(owner) == entity}
    for tag in sorted(present - wanted):
        remove_tag(state, cause, entity, tag)
    for tag in sorted(wanted - present):
        add_tag(state, cause, entity, tag)
    return wanted != present


def set_attribute(state: State, cause: Cause, entity: Entity, key: str, text: str) -> bool:
    """Sets or overwrites text; whether that changed anything."""
    old = state.attributes.get((*entity, key))
    if old == text:
        return False
    state.attributes[*entity, key] = text
    state.note(cause, entity, "attribute", key, "set", old=json_text(old), new=json_text(text))
    return True


def remove_attribute(state: State, cause: Cause, entity: Entity, key: str) -> bool:
    """Removes an attribute; whether there was one."""
    old = state.attributes.pop((*entity, key), None)
    if old is None:
        return False
    state.note(cause, entity, "attribute", key, "delete", old=json_text(old))
    return True


def count(
    state: State, cause: Cause, entity: Entity, key: str, delta: Fraction, *, at: int, reset_after: int | None
) -> None:
    """COUNTER (§13.2): adds to the stored value; a window that has elapsed at `at` starts anew first."""
    stored = state.counters.get((*entity, key))
    window_start = stored.last_reset_at if stored is not None else None
    value = stored.value if stored is not None else Decimal(0)
    if stored is not None and stored.is_elapsed(at):
        state.note(cause, entity, "counter", key, "auto_reset", old=number_text(value), new="0")
        value, window_start = Decimal(0), at
    if reset_after is None and stored is not None:
        reset_after = stored.reset_after
    if reset_after is not None and window_start is None:
        window_start = at
    after = counter_value(Fraction(value) + delta)
    state.counters[*entity, key] = StoredCounter(value=after, last_reset_at=window_start, reset_after=reset_after)
    old = None if stored is None else number_text(value)
    state.note(cause, entity, "counter", key, "set", old=old, new=number_text(after))


def set_counter(
    state: State, cause: Cause, entity: Entity, key: str, value: Fraction, *, at: int, reset_after: str | int | None
) -> bool:
    """`set_counter`: an omitted `reset_after` keeps the setting, "" removes it, and the window restarts (§13.2)."""
    stored = state.counters.get((*entity, key))
    window = stored.reset_after if reset_after is None and stored is not None else reset_after
    start: int | None = at
    if not isinstance(window, int):
        window = start = None
    elif stored is not None and stored.last_reset_at is not None:
        start = max(stored.last_reset_at, at)
    after = StoredCounter(value=counter_value(value), last_reset_at=start, reset_after=window)
    if stored == after:
        return False
    state.counters[*entity, key] = after
    old = None if stored is None else number_text(stored.value)
    state.note(cause, entity, "counter", key, "set", old=old, new=number_text(after.value))
    return True


def delete_counter(state: State, cause: Cause, entity: Entity, key: str) -> bool:
    """Deletes a counter with its window; whether there was one."""
    stored = state.counters.pop((*entity, key), None)
    if stored is None:
        return False
    state.note(cause, entity, "counter", key, "delete", old=number_text(stored.value))
    return True


def is_countable(delta: Fraction) -> bool:
    """Whether any counter could take a number in: the result of an action names no other (docs/decisions.md).

    128 bits of its mantissa are what a result has room for.
    """
    exponent = exact_decimal(delta).as_tuple().exponent
    assert isinstance(exponent, int), "a finite number"
    decimals = max(-exponent, 0)
    is_near = abs(delta) < 2 * COUNTER_LIMIT
    return decimals <= COUNTER_DECIMALS and is_near and abs(delta) * 10**decimals < 2**127


def counter_value(value: Fraction) -> Decimal:
    """The value as it is stored; COUNTER_OUT_OF_RANGE (§13.1)."""
    if abs(value) >= COUNTER_LIMIT or (value * 10**COUNTER_DECIMALS).denominator != 1:
        raise Failure("COUNTER_OUT_OF_RANGE")
    return exact_decimal(value)
