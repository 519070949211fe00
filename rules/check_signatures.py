"""Which signature of a function fits the arguments that it is given, and what it then results in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from earnbook.rules import functions
from earnbook.rules.check_objects import as_map
from earnbook.rules.types import ANY_NUMBER, DYN, FREE, NUMBER, NUMBERS, Signature, Type, compatible, join


def applied(signature: Signature, given: Sequence[Type]) -> Type | None:
    """The result of a function for arguments of these types, or None when it does not take them."""
    declared = (*([] if signature.target is None else [signature.target]), *signature.parameters)
    if len(declared) != len(given):
        return None
    bindings: dict[str, Type] = {}
    if not all(_unify(want, have, bindings) for want, have in zip(declared, given, strict=True)):
        return None
    return _substituted(signature.result, bindings)


def sole_result(entry: functions.Function, count: int) -> Type:
    """The result after a mistake: known when all signatures share it, so that the check can go on."""
    result = functions.result_type(entry, count)
    return DYN if result is None or result.is_variable or result.parameters else result


def _unify(declared: Type, given: Type, bindings: dict[str, Type]) -> bool:
    """Whether `given` fits `declared`; type variables take the joined type of all that they stand for."""
    if declared == ANY_NUMBER:
        if not compatible(NUMBER, given):
            return False
        given = given if given in NUMBERS else NUMBER
    if declared.is_variable:
        known = bindings.get(declared.kind)
        bindings[declared.kind] = given if known is None else join(known, given)
        return True
    if declared.kind == "map":
        given = as_map(given) or given
    if not compatible(declared, given):
        return False
    inner = given.parameters if given.kind == declared.kind else tuple(DYN for _ in declared.parameters)
    return all(_unify(want, have, bindings) for want, have in zip(declared.parameters, inner, strict=True))


def _substituted(declared: Type, bindings: Mapping[str, Type]) -> Type:
    if declared.is_variable:
        return bindings.get(declared.kind, FREE)
    return Type(declared.kind, tuple(_substituted(part, bindings) for part in declared.parameters))
