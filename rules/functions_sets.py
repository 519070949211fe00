"""The set functions over lists (§11.2): elements are compared as `==` compares them, and repeats do not count."""

from __future__ import annotations

from collections.abc import Callable

from earnbook.rules.values import CelLimit, Value, contains, no_overload

COMPARISONS_MAX = 1_000_000
"""Pairs of elements that one call may compare."""


def sets_contains(whole: Value, part: Value) -> bool:
    """`sets.contains(list, list)`: whether every element of the second is in the first."""
    left, right = _lists("sets.contains", whole, part)
    return all(contains(item, left) for item in right)


def sets_intersects(one: Value, other: Value) -> bool:
    """`sets.intersects(list, list)`: whether they have an element in common."""
    left, right = _lists("sets.intersects", one, other)
    return any(contains(item, left) for item in right)


def sets_equivalent(one: Value, other: Value) -> bool:
    """`sets.equivalent(list, list)`: whether each contains the other."""
    left, right = _lists("sets.equivalent", one, other)
    return all(contains(item, left) for item in right) and all(contains(item, right) for item in left)


def _lists(function: str, one: Value, other: Value) -> tuple[list[Value], list[Value]]:
    if type(one) is not list or type(other) is not list:
        raise no_overload(function, one, other)
    if len(one) * len(other) > COMPARISONS_MAX:
        raise CelLimit(f"{function} of lists with {len(one):,} and {len(other):,} elements")
    return one, other


TABLE: tuple[tuple[str | list[str], Callable[..., object], str], ...] = (
    ("sets.contains(list(T), list(U)) -> bool", sets_contains, "whether all of the second are in the first"),
    ("sets.intersects(list(T), list(U)) -> bool", sets_intersects, "whether the lists have an element in common"),
    ("sets.equivalent(list(T), list(U)) -> bool", sets_equivalent, "whether the lists have the same elements"),
)
