"""Closures against Google's own engine, where strict CEL and ours mean the same: everything but doubles (§5.1).

Google's engine visits the keys of a map in any order, so maps have one key here.
"""

from __future__ import annotations

import random

import pytest
from cel_expr_python import cel

from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.parse import parse_expression
from earnbook.rules.values import CelError, TypeValue, Value
from tests.support.cel_expressions import random_expression, random_value

EXPRESSIONS_PER_SEED = 60
EVENTS_PER_EXPRESSION = 4


@pytest.fixture(scope="module")
def google() -> cel.Env:
    """An environment in which `event` is a map of anything."""
    return cel.NewEnv(variables={"event": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)})


@pytest.mark.parametrize("seed", range(30))
def test_closures_agree_with_google_s_engine(seed: int, google: cel.Env) -> None:
    chance = random.Random(f"google {seed}")
    for _ in range(EXPRESSIONS_PER_SEED):
        text = random_expression(chance, chance.randint(1, 5))
        theirs = google.compile(text, disable_check=True)
        ours = lower_closure(parse_expression(text))
        for _ in range(EVENTS_PER_EXPRESSION):
            event = {name: random_value(chance, 2) for name in "abcd" if chance.random() < 0.8}
            expected = theirs.eval(data={"event": event})
            try:
                value = comparable(ours({"event": event}))
            except CelError:
                value = "error"
            assert value == google_value(expected), f"{text} on {event}"


def comparable(value: Value) -> Value:
    """A value with the types of its parts, because True == 1 in Python; the same for values of both engines."""
    if isinstance(value, list):
        return ["list", *map(comparable, value)]
    if isinstance(value, dict):
        return {comparable(key): comparable(part) for key, part in value.items()}
    if isinstance(value, TypeValue):
        return "type", value.name
    if isinstance(value, cel.Type):
        name = str(value.name()).lower().partition("<")[0]
        return "type", "null_type" if name == "null" else name
    return type(value).__name__, value


def google_value(value: cel.Value) -> Value:
    """A result of Google's engine in comparable form."""
    return "error" if value.type().name() == "ERROR" else comparable(value.plain_value())
