"""The gradual type check: what is refused, where the caret stands, what the remedy is, and which types are inferred."""

from __future__ import annotations

import pytest

from earnbook.rules.check import Environment, Result, check_expression, infer_types
from earnbook.rules.issues import IssueCode, Severity, render_issue
from earnbook.rules.parse import parse_expression
from earnbook.rules.types import (
    DOUBLE,
    DYN,
    INT,
    NUMBER,
    STRING,
    TIMESTAMP,
    join,
    list_of,
    map_of,
    optional_of,
    parse_type,
)

UNKNOWN = IssueCode.CEL_UNKNOWN_NAME
TYPE = IssueCode.CEL_TYPE

MISTAKES: list[tuple[Result, str, IssueCode, str, str]] = [
    ("bool", "event.amount + 1", TYPE, "event.amount + 1", "compare it"),
    ("bool", "1", TYPE, "1", "compare it"),
    ("bool", "'true'", TYPE, "'true'", "compare it"),
    ("bool", "now", TYPE, "now", "compare it"),
    ("number", "'5'", TYPE, "'5'", "double(x)"),
    ("number", "event.a > 1", TYPE, "event.a > 1", "x ? 1 : 0"),
    ("number", "participant.status", TYPE, "participant.status", "double(x)"),
    ("number", "[1]", TYPE, "[1]", "double(x)"),
    ("text", "5", TYPE, "5", "string(x)"),
    ("text", "size(event.id)", TYPE, "size(event.id)", "string(x)"),
    ("number", "now.getHours('Berlin')", TYPE, "'Berlin'", "Europe/Berlin"),
    ("bool", "amount > 5", UNKNOWN, "amount", "event.amount"),
    ("bool", "evnt.amount > 5", UNKNOWN, "evnt", "`event`"),
    ("bool", "event.type == purchase", UNKNOWN, "purchase", "'purchase' in quotes"),
    ("bool", "group.id == 'x'", UNKNOWN, "group", "group_field"),
    ("bool", "participant.counter.x > 1", UNKNOWN, "counter", "`counters`"),
    ("bool", "participant['stauts'] == 'ACTIVE'", UNKNOWN, "stauts", "`status`"),
    ("bool", "participant.tiers.gold.rnk > 1", UNKNOWN, "rnk", "`rank`"),
    ("bool", "has(participant.email)", UNKNOWN, "email", "choose one of"),
    ("bool", "program.tiers.x.rank > 1", UNKNOWN, "tiers", "choose one of"),
    ("number", "rond(event.x)", UNKNOWN, "rond", "`round`"),
    ("number", "math.greatst(1, 2)", UNKNOWN, "greatst", "`math.greatest`"),
    ("number", "math.foo(1)", UNKNOWN, "foo", "math.floor"),
    ("bool", "event.kind.startwith('a')", UNKNOWN, "startwith", "`startsWith`"),
    ("bool", "startsWith(event.kind, 'a')", UNKNOWN, "startsWith", "it is a method"),
    ("number", "event.amount.round(2)", UNKNOWN, "round", "it is a function"),
    ("bool", "event.items.exist(x, x > 1)", UNKNOWN, "exist", "`exists`"),
    ("number", "round(event.a, 2, 3)", TYPE, "round(event.a, 2, 3)", "round(number, number)"),
    ("number", "get(participant.counters, 'x')", TYPE, "get(participant.counters, 'x')", "get(map(K, V), K, V)"),
    ("number", "event.a + 'x' * 2", TYPE, "'x' * 2", "double(x)"),
    ("text", "'a' + 1", TYPE, "'a' + 1", "string(x)"),
    ("number", "1 + 2u", TYPE, "1 + 2u", "convert one side"),
    ("number", "true + 1", TYPE, "true + 1", "one type"),
    ("number", "-'a'", TYPE, "-'a'", "a number"),
    ("bool", "1 < 2 < 3", TYPE, "1 < 2 < 3", "a < b && b < c"),
    ("bool", "'a' > 5", TYPE, "'a' > 5", "double(x)"),
    ("bool", "now > '2026-01-01'", TYPE, "now > '2026-01-01'", "timestamp("),
    ("bool", "now + 3600 > now", TYPE, "now + 3600", "duration('24h')"),
    ("bool", "participant.counters.x == 'a'", TYPE, "participant.counters.x == 'a'", "in quotes"),
    ("bool", "participant.status == 1", TYPE, "participant.status == 1", "in quotes"),
    ("bool", "participant.tags == 'vip'", TYPE, "participant.tags == 'vip'", "one type"),
    ("bool", "5 in participant.tags", TYPE, "5 in participant.tags", "in quotes"),
    ("bool", "'a' in 'abc'", TYPE, "'a' in 'abc'", "text.contains(part)"),
    ("bool", "event.a && 5", TYPE, "5", "compare it"),
    ("bool", "!event.b.size()", TYPE, "event.b.size()", "compare it"),
    ("number", "size(event.a) ? 1 : 2", TYPE, "size(event.a)", "compare it"),
    ("bool", "participant.tags.all(t, t.size())", TYPE, "t.size()", "compare it"),
    ("bool", "participant.tags.all(t, t > 5)", TYPE, "t > 5", "double(x)"),
    ("bool", "participant.status.all(t, true)", TYPE, "participant.status", "a list or a map"),
    ("bool", "participant.status.name == 'x'", TYPE, "name", "only objects and maps"),
    ("bool", "participant.status[0] == 'x'", TYPE, "participant.status[0]", "charAt"),
    ("bool", "participant.tags['a'] == 'x'", TYPE, "'a'", "whole numbers"),
    ("bool", "event.k.matches('(')", TYPE, "'('", "RE2"),
    ("bool", "event.k.matches(r'(?=a)')", TYPE, "r'(?=a)'", "RE2"),
    ("bool", "now > timestamp('2026-13-01T00:00:00Z')", TYPE, "'2026-13-01T00:00:00Z'", "timestamp('2026-01-31"),
    ("bool", "now - timestamp(0) > duration('1 day')", TYPE, "'1 day'", "duration('1h30m')"),
    ("number", "double('1,5')", TYPE, "'1,5'", "double('12.50')"),
    ("number", "round(event.a, 20)", TYPE, "20", "-18 to 18"),
    ("number", "round(event.a, 0.5)", TYPE, "0.5", "-18 to 18"),
    ("any", "{1.5: 2}", TYPE, "1.5", "whole numbers"),
    ("any", "[1].optMap(x, x)", TYPE, "[1]", "an optional"),
]


@pytest.mark.parametrize(("result", "text", "code", "marked", "remedy"), MISTAKES)
def test_mistakes_are_marked_and_come_with_a_remedy(
    result: Result, text: str, code: IssueCode, marked: str, remedy: str
) -> None:
    (issue,) = check_expression(parse_expression(text), Environment.for_rule(result))
    assert issue.code is code
    assert issue.severity is Severity.ERROR
    assert issue.span is not None
    assert text[issue.span.start : issue.span.end] == marked
    assert remedy in issue.remedy
    assert "^" in render_issue(issue)


SOUND: list[tuple[Result, str]] = [
    ("bool", "event.type == 'purchase' && event.amount > 0"),
    ("bool", "event.flag"),
    ("bool", "event.anything.at.all == 50 || event.anything['x'] in ['a', 'b']"),
    ("bool", "event.x ? true : event.y"),
    ("bool", "get(participant.counters, 'visits', 0.0) >= 1"),
    ("bool", "get(participant.attributes, 'city', null) == null"),
    ("bool", "participant.counters.x == 1 && participant.counters['x'] > 1u"),
    ("bool", "'vip' in participant.tags && 'x' in participant.counters"),
    ("bool", "participant.tiers.loyalty.rank >= 2 && participant.tiers.loyalty.expires_at == null"),
    ("bool", "get(participant.tiers, 'loyalty', {}) == {}"),
    ("bool", "has(participant.tiers.loyalty) && has(event.a.b)"),
    ("bool", "event.items.exists(i, i.price > 5 && i.name != 'x')"),
    ("bool", "participant.tags.exists(t, t.startsWith('tier-'))"),
    ("bool", "participant.counters.exists(k, v, k == 'a' && v > 1)"),
    ("bool", "now >= timestamp('2026-01-01T00:00:00Z') && now() - timestamp(event.at) < duration('24h')"),
    ("bool", "now.getDayOfWeek('Europe/Berlin') in [0, 6]"),
    ("bool", "sets.intersects(event.categories, ['a', 'b'])"),
    ("bool", "type(event.x) == int"),
    ("bool", "1 == 1.0 && 1u < 2"),
    ("bool", "'x' in participant"),
    ("number", "round(event.amount * 0.05, 2)"),
    ("number", "event.amount"),
    ("number", "size(event.items) * 2 + 0.5"),
    ("number", "event.b ? 1 : 0.5"),
    ("number", "event.items.map(i, i.price)[0]"),
    ("number", "max(event.a, 1, 2.5)"),
    ("number", "min([1, 2.0])"),
    ("number", "cel.bind(x, event.amount * 2, x + x)"),
    ("number", "event.?bonus.orValue(0)"),
    ("number", "event.?bonus.optMap(b, b * 2).orValue(0)"),
    ("number", "math.greatest(event.a, 1)"),
    ("text", "'ref-' + string(event.amount)"),
    ("text", "event.id"),
    ("text", "participant.tags.join(',')"),
    ("any", "[1, 'a', null]"),
]


@pytest.mark.parametrize(("result", "text"), SOUND)
def test_sound_expressions_have_no_issues(result: Result, text: str) -> None:
    assert check_expression(parse_expression(text), Environment.for_rule(result)) == []


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_text() -> None:
    text = "amount > 1 && event.a && 'x' + 1 == rond(2) && participant.foo == 1"
    issues = check_expression(parse_expression(text), Environment.for_rule("bool"))
    marked = [text[issue.span.start : issue.span.end] for issue in issues if issue.span]
    assert marked == ["amount", "'x' + 1", "rond", "foo"]


def test_what_follows_from_a_mistake_is_not_reported_again() -> None:
    issues = check_expression(parse_expression("rond(event.a) + 1 > foo * 2"), Environment.for_rule("bool"))
    assert [issue.code for issue in issues] == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(
    "text",
    [
        "'VIP' in participant.tags || 'Vip' in event.tags",
        "sets.contains(participant.tags, ['VIP', 'gold'])",
        "sets.intersects(program.tags, [event.tag, 'VIP']) || sets.contains(event.tags, ['VIP'])",
    ],
)
def test_an_upper_case_tag_is_a_warning(text: str) -> None:
    (issue,) = check_expression(parse_expression(text), Environment.for_rule("bool"))
    assert issue.severity is Severity.WARNING
    assert issue.remedy == "write 'vip'"


def test_the_group_exists_where_the_program_has_one() -> None:
    environment = Environment.for_rule("bool", has_group=True)
    assert check_expression(parse_expression("group.counters.x > 1"), environment) == []


def test_filters_see_no_event() -> None:
    issues = check_expression(parse_expression("event.a == 1"), Environment.for_filter())
    assert [issue.code for issue in issues] == [UNKNOWN]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event.a", "dyn"),
        ("1", "int"),
        ("1u", "uint"),
        ("1.0", "double"),
        ("51 / 2", "int"),
        ("event.n / 2", "number"),
        ("event.n * 0.5", "double"),
        ("event.n % 2.0", "int"),
        ("event.a + event.b", "dyn"),
        ("round(event.n)", "double"),
        ("size(event.n)", "int"),
        ("now - now", "duration"),
        ("now + duration('1h')", "timestamp"),
        ("participant.counters.x", "double"),
        ("participant.tiers.x.rank", "int"),
        ("get(participant.counters, 'x', 0.0)", "double"),
        ("get(participant.counters, 'x', 0)", "number"),
        ("[1, 2]", "list(int)"),
        ("[1, 2.0]", "list(number)"),
        ("[1, 'a']", "list(dyn)"),
        ("{'a': 1}", "map(string, int)"),
        ("{'a': 1}.a", "int"),
        ("[1, 2].map(x, string(x))", "list(string)"),
        ("[1, 2].map(x, x > 1, x)", "list(int)"),
        ("['a'].filter(x, true)", "list(string)"),
        ("{'a': 1}.map(k, k)", "list(string)"),
        ("['a'].transformMap(i, v, v)", "map(int, string)"),
        ("event.?a", "optional(dyn)"),
        ("[1][?0]", "optional(int)"),
        ("optional.of(1).orValue(2)", "int"),
        ("optional.of('a').optMap(x, size(x))", "optional(int)"),
        ("true ? 1 : 2.0", "number"),
        ("true ? 1 : 'a'", "dyn"),
        ("participant.tags", "list(string)"),
        ("'a,b'.split(',')", "list(string)"),
    ],
)
def test_inferred_types(text: str, expected: str) -> None:
    checked = infer_types(parse_expression(text), Environment.for_rule("any"))
    assert checked.issues == ()
    assert str(checked.type) == expected


def test_every_node_has_a_type() -> None:
    expression = parse_expression("event.items.exists(i, i.price * 2 > 5) && {'a': [1]}.a[0] == 1")
    checked = infer_types(expression, Environment.for_rule("bool"))
    assert set(checked.types) == set(range(len(checked.types)))


def test_types_are_read_and_joined() -> None:
    assert parse_type("map(string, list(int))") == map_of(STRING, list_of(INT))
    assert join(list_of(INT), list_of(DYN)) == list_of(DYN)
    assert join(list_of(INT), list_of(DOUBLE)) == list_of(NUMBER)
    assert join(list_of(INT), list_of(STRING)) == DYN
    assert join(INT, TIMESTAMP) == DYN
    assert join(optional_of(DYN), optional_of(INT)) == optional_of(DYN)
