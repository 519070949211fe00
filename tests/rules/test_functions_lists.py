"""List functions, base64, optionals in lists, and shared parts of an expression."""

from __future__ import annotations

from decimal import Decimal

import pytest

from earnbook.rules.check import Environment, infer_types
from earnbook.rules.issues import IssueError
from earnbook.rules.lower_closure import evaluate
from earnbook.rules.parse import parse_expression
from earnbook.rules.values import CelError, CelLimit, Value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[3, 1, 2].sort()", [1, 2, 3]),
        ("[2.5, 1, 2u].sort()", [1, 2, Decimal("2.5")]),
        ("[].sort()", []),
        ("['b', 'a'].sort()", ["a", "b"]),
        ("[{'n': 2}, {'n': 1}].sortBy(e, e.n)", [{"n": 1}, {"n": 2}]),
        ("['bb', 'a', 'cc'].sortBy(t, size(t))", ["a", "bb", "cc"]),
        ("[1, 1.0, true, true, 'a', 'a'].distinct()", [1, True, "a"]),
        ("[[1], [1.0], {'a': 1}, {'a': 1}].distinct()", [[1], {"a": 1}]),
        ("[[1], [2, [3]]].flatten()", [1, 2, [3]]),
        ("[[1], [2, [3]]].flatten(2)", [1, 2, 3]),
        ("[1, 2, 3, 4].slice(1, 3)", [2, 3]),
        ("[1, 2].reverse()", [2, 1]),
        ("'ab'.reverse()", "ba"),
        ("lists.range(3)", [0, 1, 2]),
        ("lists.range(0)", []),
        ("[1, 2].first().value() + [1, 2].last().value()", 3),
        ("[].first().hasValue() || [].last().hasValue()", False),
        ("optional.unwrap([optional.of(1), optional.none()])", [1]),
        ("[optional.of(1), optional.none()].unwrapOpt()", [1]),
        ("base64.encode(b'hello')", "aGVsbG8="),
        ("base64.decode('aGVsbG8=') == base64.decode('aGVsbG8')", True),
    ],
)
def test_values(expression: str, value: Value) -> None:
    found = evaluate(expression)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "expression",
    [
        "[1, 'a'].sort()",
        "[[1], [2]].sort()",
        "[0.0 / 0.0, 1.0].sort()",
        "[1].slice(0, 2)",
        "[1].slice(-1, 1)",
        "[1, 2].slice(2, 1)",
        "[1].flatten(-1)",
        "base64.decode('?')",
        "[1].unwrapOpt()",
    ],
)
def test_errors(expression: str) -> None:
    with pytest.raises(CelError):
        evaluate(expression)


def test_lists_do_not_grow_without_bound() -> None:
    with pytest.raises(CelLimit):
        evaluate("lists.range(2000000)")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("cel.block([1, cel.index(0) + 1], cel.index(1) * 2)", 4),
        ("cel.block([1 / 0, 2], cel.index(1))", 2),
        ("cel.block([1 / 0], cel.index(0) == 1 || true)", True),
        ("[1, 2].exists(cel.iterVar(0, 0), cel.iterVar(0, 0) == 2)", True),
        ("cel.block([[1, 2]], cel.index(0).map(cel.iterVar(0, 0), cel.iterVar(0, 0) + size(cel.index(0))))", [3, 4]),
    ],
)
def test_shared_parts_are_evaluated_once_and_fail_where_they_are_read(expression: str, value: Value) -> None:
    assert evaluate(expression) == value


def test_an_error_of_a_shared_part_that_is_read_is_an_error() -> None:
    with pytest.raises(CelError, match="division by zero"):
        evaluate("cel.block([1 / 0], cel.index(0))")


@pytest.mark.parametrize("expression", ["cel.block(1)", "cel.block(1, 2)", "cel.block([1])"])
def test_shared_parts_stand_in_a_list(expression: str) -> None:
    with pytest.raises(IssueError, match=r"cel\.block takes a list"):
        parse_expression(expression)


def test_a_slot_that_does_not_exist_is_an_unknown_variable() -> None:
    checked = infer_types(parse_expression("cel.block([1], cel.index(1))"), Environment({}))
    assert [issue.code for issue in checked.issues] == ["CEL_UNKNOWN_NAME"]


def test_types_follow_from_the_list() -> None:
    for expression, type_ in (("[2, 1].sortBy(n, -n)", "list(int)"), ("lists.range(2).first()", "optional(int)")):
        checked = infer_types(parse_expression(expression), Environment({}))
        assert not checked.issues
        assert str(checked.type) == type_
