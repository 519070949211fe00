"""What closures make of a tree: absorption, branches, macros, limits, depth, and where errors stand (§11.3)."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from decimal import Decimal

import pytest

from earnbook.rules.lower_closure import evaluate, lower_closure, lower_closures
from earnbook.rules.parse import DEPTH_MAX, parse_expression
from earnbook.rules.values import ELEMENTS_MAX, CelError, CelLimit, EvaluationError, Timestamp, Value
from tests.support.cel_expressions import random_expression, random_value

D = Decimal

ERROR = object()
"""Stands for an evaluation error in a table of expected values."""


def outcome(text: str, **variables: Value) -> Value:
    """The value, or ERROR."""
    try:
        return evaluate(text, **variables)
    except CelError:
        return ERROR


@pytest.mark.parametrize(
    ("left", "right", "conjunction", "disjunction"),
    [
        ("true", "true", True, True),
        ("true", "false", False, True),
        ("false", "true", False, True),
        ("false", "false", False, False),
        ("true", "1/0 > 0", ERROR, True),
        ("1/0 > 0", "true", ERROR, True),
        ("false", "1/0 > 0", False, ERROR),
        ("1/0 > 0", "false", False, ERROR),
        ("1/0 > 0", "1/0 > 0", ERROR, ERROR),
        ("true", "5", ERROR, True),
        ("5", "false", False, ERROR),
        ("'x'", "null", ERROR, ERROR),
    ],
)
def test_and_and_or_absorb_what_the_other_side_decides(
    left: str, right: str, conjunction: Value, disjunction: Value
) -> None:
    assert outcome(f"{left} && {right}") is conjunction
    assert outcome(f"{left} || {right}") is disjunction


def test_absorption_reaches_over_a_whole_chain() -> None:
    assert outcome("event.x > 1 && true && event.y && false", event={}) is False
    assert outcome("event.x > 1 || false || event.y || true", event={}) is True
    assert outcome("true && true && event.y && true", event={}) is ERROR


def test_the_first_error_of_a_chain_is_the_one_reported() -> None:
    with pytest.raises(CelError, match="no field 'x'"):
        evaluate("event.x && event.y && 1/0 > 0", event={})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true ? 1 : 1/0", 1),
        ("false ? 1/0 : 2", 2),
        ("1/0 > 0 ? 1 : 2", ERROR),
        ("'x' ? 1 : 2", ERROR),
        ("false ? 1 : true ? 2 : 3", 2),
        ("(true && false) ? 1 : (false || true) ? 2 : 1/0", 2),
        ("!true", False),
        ("!!true", True),
        ("!'x'", ERROR),
        ("!(1/0 > 0)", ERROR),
    ],
)
def test_choices_evaluate_one_branch(text: str, expected: Value) -> None:
    assert outcome(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2].all(x, x > 0)", True),
        ("[1, 'a', 3].all(x, x > 0)", ERROR),
        ("[1, 'a', -3].all(x, x > 0)", False),
        ("['a', 1].all(x, x > 0)", ERROR),
        ("[].all(x, 1/0 > 0)", True),
        ("['a', 1].exists(x, x > 0)", True),
        ("['a', -1].exists(x, x > 0)", ERROR),
        ("[].exists(x, true)", False),
        ("[1, 2].exists(x, x)", ERROR),
        ("[1, 2].exists_one(x, x > 1)", True),
        ("[1, 2].exists_one(x, x > 0)", False),
        ("[2, 'a'].exists_one(x, x > 1)", ERROR),
        ("[1, 2, 3].map(x, x * 2)", [2, 4, 6]),
        ("[1, 2, 3].map(x, x > 1, x * 2)", [4, 6]),
        ("[1, 2, 3].filter(x, x > 1)", [2, 3]),
        ("[1, 'a'].map(x, x * 2)", ERROR),
        ("[1].filter(x, 'x')", ERROR),
        ("{'a': 1, 'b': 2}.all(k, k in ['a', 'b'])", True),
        ("{'a': 1, 'b': 2}.map(k, k + k)", ["aa", "bb"]),
        ("{true: 1}.map(k, k)", [True]),
        ("{'b': 1, 'a': 2, 10: 3, 9u: 4, true: 5, false: 6}.map(k, string(k))", ["false", "true", "9", "10", "a", "b"]),
        ("{'b': 1, 'a': 2}.transformList(k, v, v)", [2, 1]),
        ("[5, 6].all(i, x, x == i + 5)", True),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", True),
        ("[5, 6].transformList(i, x, i > 0, x * 2)", [12]),
        ("{'a': 1}.transformMap(k, v, v + 1)", {"a": 2}),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", {"x": "a"}),
        ("['x', 'x'].transformMapEntry(i, v, {v: i})", ERROR),
        ("'abc'.all(x, true)", ERROR),
        ("null.exists(x, true)", ERROR),
        ("[[1, 2], [3]].map(x, x.map(y, y * size(x)))", [[2, 4], [3]]),
        ("[1, 2].map(x, [3].exists(x, x == 3) && x < 2)", [True, False]),
        ("[1].map(event, event)", [1]),
        ("[1].map(event, .event.a)", [7]),
        ("cel.bind(x, 2, cel.bind(y, x * 3, [x, y]))", [2, 6]),
        ("[1, 2].map(x, cel.bind(y, x > 1 || false, y ? x : -x))", [-1, 2]),
    ],
)
def test_macros(text: str, expected: Value) -> None:
    assert outcome(text, event={"a": 7}) == expected


def test_a_macro_counts_its_full_range_whatever_it_visits() -> None:
    event = {"half": [D(1)] * (ELEMENTS_MAX // 2), "one": [D(1)]}
    assert evaluate("event.half.exists(x, true) && event.half.all(x, x > 0)", event=event) is True
    with pytest.raises(CelLimit):
        evaluate("event.half.exists(x, true) && event.half.all(x, x > 0) && event.one.all(x, true)", event=event)


def test_a_nested_macro_counts_each_time() -> None:
    event = {"a": [D(1)] * 400}
    assert evaluate("event.a.map(x, event.a.exists(y, true)).size()", event={"a": [D(1)] * 300}) == 300
    with pytest.raises(CelLimit):
        evaluate("event.a.map(x, event.a.exists(y, true)).size()", event=event)


def test_the_count_starts_anew_with_each_evaluation() -> None:
    closure = lower_closure(parse_expression("event.a.all(x, true)"))
    for _ in range(3):
        assert closure({"event": {"a": [D(1)] * (ELEMENTS_MAX - 1)}}) is True


def test_nothing_absorbs_a_limit() -> None:
    event = {"a": [D(1)] * (ELEMENTS_MAX + 1)}
    for text in ("event.a.all(x, true) || true", "[1].exists(y, event.a.all(x, true)) || true"):
        with pytest.raises(CelLimit):
            evaluate(text, event=event)


@pytest.mark.parametrize(
    "text",
    [
        "(" * (DEPTH_MAX - 5) + "event.n" + ")" * (DEPTH_MAX - 5),
        " + ".join(["event.n"] * (DEPTH_MAX - 5)),
        "!" * (DEPTH_MAX - 3) + "(event.n > 0)",
        "".join(f"event.n == {n} ? {n} : " for n in range(DEPTH_MAX - 5)) + "event.n",
        "(event.n > 0 && " * (DEPTH_MAX // 3) + "true" + ")" * (DEPTH_MAX // 3),
        "(event.n > 0 && (event.n < 0 || " * (DEPTH_MAX // 4) + "true" + "))" * (DEPTH_MAX // 4),
        "".join(f"[event.n].all(x{n}, x{n} > 0 && " for n in range(30)) + "x0 == x29" + ")" * 30,
        "".join(f"cel.bind(x{n}, event.n + {n}, " for n in range(DEPTH_MAX - 5)) + "x0" + ")" * (DEPTH_MAX - 5),
        "int(" * (DEPTH_MAX - 5) + "event.n" + ")" * (DEPTH_MAX - 5),
        "(" * (DEPTH_MAX - 5) + "event.n > 0 || false && 1 == 1 + 2 * -3" + ")" * (DEPTH_MAX - 5),
        "optional.none().orValue(" * (DEPTH_MAX // 2 - 5) + "event.n + 0" + ")" * (DEPTH_MAX // 2 - 5),
        "[" * (DEPTH_MAX - 5) + "event.n" + "]" * (DEPTH_MAX - 5),
    ],
)
def test_deep_expressions_evaluate(text: str) -> None:
    assert evaluate(text, event={"n": D(500)}) is not None


def test_a_wide_expression_evaluates() -> None:
    text = "[" + ", ".join(f"event.n + {n}" for n in range(2000)) + "].size()"
    assert evaluate(text, event={"n": D(1)}) == 2000


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("event.a + event.missing", "event.missing"),
        ("event.a > 0 && event.b.c == 1", "event.b.c"),
        ("round(event.a / 0, 30)", "round(event.a / 0, 30)"),
        ("event.a > 0 ? event.list[7] : 0", "event.list[7]"),
        ("event.list.map(x, x + 'a')", "x + 'a'"),
        ("event.list.all(x, x > 'a')", "x > 'a'"),
        ("event.a.all(x, true)", "event.a"),
        ("event.text.matches(event.text)", "event.text.matches(event.text)"),
        ("event.a && true", "event.a"),
        ("(1 + 2) * (9223372036854775807 + event.one)", "9223372036854775807 + event.one"),
        ("'é' + event.a", "'é' + event.a"),
        ("(event.a > 0 && " * 20 + "event.gone" + ")" * 20, "event.gone"),
    ],
)
def test_an_error_can_be_located(text: str, part: str) -> None:
    closure = lower_closure(parse_expression(text))
    event = {"a": D(1), "b": {}, "list": [D(1)], "text": "(", "one": 1}
    with pytest.raises(EvaluationError) as failed:
        closure({"event": event})
    span = closure.locate(failed.value)
    assert span is not None
    assert text[span.start : span.end] == part


def test_an_error_of_another_expression_has_no_place() -> None:
    closure = lower_closure(parse_expression("event.a"))
    assert closure.locate(CelError("elsewhere")) is None


def test_the_source_is_the_same_every_time_and_can_be_read() -> None:
    text = "event.type == 'purchase' && event.items.exists(i, i.price > 5.0)"
    one, other = lower_closures([parse_expression(text), parse_expression(text)])
    assert one.source == other.source
    assert one.source.startswith("def evaluate(s):\n")
    assert "select(s['event'], 'type') == 'purchase'" in one.source
    assert not set(one.source) & {"\x01", "\x02", "\x03"}


def test_text_in_an_expression_cannot_reach_the_generated_source() -> None:
    text = "'\\'); import os; os.abort(\\'' + '\\x01\\x02\\x03\\n{}%s' + event.`a-b`"
    assert evaluate(text, event={"a-b": "!"}) == "'); import os; os.abort('\x01\x02\x03\n{}%s!"


def test_variables_are_those_declared() -> None:
    closure = lower_closure(parse_expression("now - now == duration('0s')"))
    assert closure({"now": Timestamp(5)}) is True
    with pytest.raises(CelError, match="no variable `other`"):
        lower_closure(parse_expression("other == 1"))({})
    assert lower_closure(parse_expression("true || other"))({}) is True


def test_evaluation_changes_nothing_and_repeats() -> None:
    event: dict[str, Value] = {"a": [D(1), {"k": [D(2)]}], "m": {"x": D(1)}}
    before = copy.deepcopy(event)
    closure = lower_closure(parse_expression("[event.a + [1], event.m, event.a.map(x, x), [1, 2] + [3], {'k': [1]}]"))
    first = copy.deepcopy(closure({"event": event}))
    assert closure({"event": event}) == first
    assert event == before


@pytest.mark.parametrize("seed", range(20))
def test_any_expression_on_any_event_gives_a_value_or_an_evaluation_error(seed: int) -> None:
    chance = random.Random(f"closure {seed}")
    for _ in range(100):
        text = random_expression(chance, chance.randint(1, 5), decimals=True)
        event = {name: random_value(chance, 2, decimals=True) for name in "abcd" if chance.random() < 0.8}
        with suppress(EvaluationError):
            evaluate(text, event=event)
