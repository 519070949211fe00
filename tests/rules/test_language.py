"""The language against Google's engine: every expression of `language.txt`, and each way in which ours differs.

Both evaluate without their checkers, so that what a checker would refuse is an error of the evaluation. Values are
compared with their types; a double of ours is brought to the nearest binary double first, because theirs are (§5.1).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from cel_expr_python import cel

from earnbook.rules.issues import IssueError
from earnbook.rules.lower_closure import evaluate
from earnbook.rules.values import EvaluationError, Value
from tests.support.google import ERROR, comparable, google_engine, google_value

DIFFERENT: tuple[tuple[str, Value, str], ...] = (
    ("1.0 + 1", Decimal(2), "numbers mix (§5.1)"),
    ("1.0 % 1.0", 0, "whole decimals have a remainder (§5.1)"),
    ("[1][?dyn(0.0)].hasValue()", True, "whole decimals are indexes (§5.1)"),
    ("timestamp(1.0) == timestamp(1u)", True, "a JSON number is a time in seconds as well (§5.1)"),
    ("string(-0.0)", "0", "zero has no sign (§5.1)"),
    ("string(1e20)", "100000000000000000000", "plain up to 10^21 (§5.1)"),
    ("string(0.00001)", "0.00001", "plain down to 10^-7 (§5.1)"),
    ("'%.1f'.format([0.35])", "0.4", "0.35 is a half, and not a little less (§5.1)"),
    ("'%f'.format([1e25])", "10000000000000000000000000.000000", "decimals are exact (§5.1)"),
    ("'%d'.format([1.5])", "1.5", "a JSON number has no other type (§5.1)"),
    ("string(duration('1.5s'))", "1.5s", "as many digits as needed, as in Go"),
    ("string(timestamp('2009-02-13T23:31:30.5Z'))", "2009-02-13T23:31:30.5Z", "as many digits as needed, as in Go"),
    ("duration('315576000000s')", ERROR, "64 bits of nanoseconds, as in Go"),
    ("timestamp('2009-02-13T23:31:60Z')", ERROR, "no leap seconds (§4.6)"),
    ("int(true)", ERROR, "there is no such conversion in the definition of the language"),
    ("-duration('1s') == duration('-1s')", True, "as in Go"),
    ("''.split('')", [], "as in Go"),
    ("{1: 1, 1u: 2}", ERROR, "equal keys are repeated keys"),
    ("{'a': [1]}.?a[1].hasValue()", False, "there is no second item"),
    ("[1, 2].all(i, v, i < v)", True, "their version has no macros of two variables"),
    ("[1, 2].existsOne(i, v, v == 2)", True, "their version has no macros of two variables"),
    ("{'a': 1}.transformMap(k, v, v + 1)", {"a": 2}, "their version has no macros of two variables"),
)
"""Expressions whose values differ, ours, and why."""


def _sections() -> dict[str, list[str]]:
    """The expressions of the file by the heading over them."""
    sections: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("language.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            current = sections.setdefault(line.removeprefix("# "), [])
        elif line:
            current.append(line)
    return sections


SECTIONS = _sections()


@pytest.fixture(scope="module")
def engine() -> cel.Env:
    """Google's engine with its extension libraries, and a variable x."""
    return google_engine({"x": cel.Type.DYN})


@pytest.mark.parametrize("section", SECTIONS)
def test_expressions_have_the_value_that_google_s_engine_gives(section: str, engine: cel.Env) -> None:
    found = {text: (ours(text), theirs(engine, text)) for text in SECTIONS[section]}
    assert {text: pair for text, pair in found.items() if pair[0] != pair[1]} == {}


def test_errors_are_not_functions_that_are_missing() -> None:
    """An error that only says that there is no such function would prove nothing."""
    missing = {text for section in SECTIONS.values() for text in section if "no function" in str(_outcome(text))}
    assert missing == set()


@pytest.mark.parametrize(("text", "value", "reason"), DIFFERENT, ids=[text for text, *_ in DIFFERENT])
def test_what_differs_is_listed_with_the_reason(text: str, value: Value, reason: str, engine: cel.Env) -> None:
    assert ours(text) == (ERROR if value is ERROR else comparable(value)), reason
    assert theirs(engine, text) != ours(text), "it no longer differs"


def ours(text: str) -> Value:
    """The value that our closures give, comparable."""
    found = _outcome(text)
    return ERROR if isinstance(found, Exception) else comparable(found)


def _outcome(text: str) -> Value:
    try:
        return evaluate(text, x=1)
    except (EvaluationError, IssueError) as error:
        return error


def theirs(engine: cel.Env, text: str) -> Value:
    """The value that Google's engine gives, comparable; it raises where an expression cannot be compiled."""
    try:
        value = engine.compile(text, disable_check=True).eval(data={"x": 1})
    except (RuntimeError, ValueError):
        return ERROR
    return google_value(value)
