"""Closures against Google's own engine, where strict CEL and ours mean the same: everything but doubles (§5.1).

Google's engine visits the keys of a map in any order, so maps have one key here.
"""

from __future__ import annotations

import random

import pytest
from cel_expr_python import cel

from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.parse import parse_expression
from earnbook.rules.values import CelError
from tests.support.cel_expressions import random_expression, random_library_expression, random_value
from tests.support.google import ERROR, comparable, google_engine, google_value

EXPRESSIONS_PER_SEED = 60
EVENTS_PER_EXPRESSION = 4


@pytest.fixture(scope="module")
def google() -> cel.Env:
    """An environment in which `event` is a map of anything."""
    return google_engine({"event": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)})


@pytest.mark.parametrize("seed", range(30))
def test_closures_agree_with_google_s_engine(seed: int, google: cel.Env) -> None:
    chance = random.Random(f"google {seed}")
    for _ in range(EXPRESSIONS_PER_SEED):
        text = chance.choice((random_expression, random_library_expression))(chance, chance.randint(1, 5))
        theirs = google.compile(text, disable_check=True)
        ours = lower_closure(parse_expression(text))
        for _ in range(EVENTS_PER_EXPRESSION):
            event = {name: random_value(chance, 2) for name in "abcd" if chance.random() < 0.8}
            expected = theirs.eval(data={"event": event})
            try:
                value = comparable(ours({"event": event}))
            except CelError:
                value = ERROR
            assert value == google_value(expected), f"{text} on {event}"
