"""Warnings: what is legal and surely not meant, each with a caret and a remedy, and what is left in peace."""

from __future__ import annotations

from pathlib import Path

import pytest

from earnbook.rules.issues import Issue, LintCode, Severity
from tests.support.definition_files import CREDIT, check

SCHEMA = """\
event_schema:
  required: [customer]
  properties:
    type: {enum: [purchase, refund]}
    quantity: {type: integer}
    customer: {type: object, properties: {name: {type: string}, address: {type: object, properties: {}}}}
"""


def lint(tmp_path: Path, condition: str, action: str = CREDIT, *, before: str = "") -> list[Issue]:
    """The warnings about a rule."""
    quoted = condition.replace("'", "''")
    text = f"rules:\n  - key: base\n    name: Base\n    condition: '{quoted}'\n    actions: [{action}]\n"
    issues = check(tmp_path, before + text)
    assert all(issue.severity is Severity.WARNING for issue in issues)
    assert all(issue.remedy and issue.line and issue.path for issue in issues)
    return issues


def marked(issue: Issue) -> str:
    assert issue.source is not None
    assert issue.span is not None
    return issue.source[issue.span.start : issue.span.end]


@pytest.mark.parametrize(
    "condition, part, message",
    [
        ("false", "false", "the condition is never true"),
        ("1 > 2", "1 > 2", "the condition is never true"),
        ("1 < 2", "1 < 2", "the condition is always true"),
        ("event.a > 5 && 1 > 2", "1 > 2", "the condition is never true"),
        ("event.a > 5 || size('x') == 1", "size('x') == 1", "the condition is always true"),
        ("!(event.a > 5 || true)", "true", "the condition is never true"),
        ("event.a > 5 && 'a'.startsWith('a')", "'a'.startsWith('a')", "this part is always true"),
        ("event.b || event.a > 5 && 1 > 2", "1 > 2", "this part is never true"),
        ("event.a ? 1 > 2 : 2 > 3", "event.a ? 1 > 2 : 2 > 3", "the condition is never true"),
        ("(1 > 2) ? event.a : false", "false", "the condition is never true"),
        ("event.t == 'a' && event.t == 'b'", "event.t == 'a' && event.t == 'b'", "event.t cannot be both"),
        (
            "event.t == 'a' && event.x && 'b' == event.t",
            "event.t == 'a' && event.x && 'b' == event.t",
            "cannot be both",
        ),
        ("event.t != 'a' || event.t != 'b'", "event.t != 'a' || event.t != 'b'", "always true"),
        ("event.x && (event.t != 1 || event.t != 2)", "event.t != 1 || event.t != 2", "this part is always true"),
        ("event.a > 100 && event.a < 50", "event.a > 100 && event.a < 50", "never true"),
        ("event.a > 5 && event.a <= 5", "event.a > 5 && event.a <= 5", "never true"),
        ("event.a == 5 && event.a > 5", "event.a == 5 && event.a > 5", "never true"),
        ("event.a == 5 && event.a != 5.0", "event.a == 5 && event.a != 5.0", "never true"),
        ("event.a >= 5 || event.a < 5", "event.a >= 5 || event.a < 5", "always true"),
        ("event.a && !event.a", "event.a && !event.a", "never true"),
        (
            "now < timestamp('2025-01-01T00:00:00Z') && now > timestamp('2026-01-01T00:00:00Z')",
            "now < timestamp('2025-01-01T00:00:00Z') && now > timestamp('2026-01-01T00:00:00Z')",
            "never true",
        ),
    ],
)
def test_a_condition_that_nothing_changes(tmp_path: Path, condition: str, part: str, message: str) -> None:
    (issue,) = lint(tmp_path, condition)
    assert issue.code is LintCode.CONSTANT_CONDITION
    assert marked(issue) == part
    assert message in issue.message


@pytest.mark.parametrize(
    "condition",
    [
        "true",
        "event.a > 5 && event.a < 10",
        "event.a >= 5 && event.a <= 5",
        "event.t == 'a' || event.t == 'b'",
        "event.t != 'a' && event.t != 'b'",
        "event.a > 10 || event.a < 5",
        "event.t == 'a' && event.u == 'b'",
        "event.a == 5 && event.a == 5.0",
        "event.a > 5 && event.a < 'x'",
        "now() > timestamp('2025-01-01T00:00:00Z')",
        "event.list.exists(x, x > 1 && x < 5)",
        "1 / 0 > 1",
        "cel.bind(x, event.a, x == 1 || x == 2)",
    ],
)
def test_conditions_that_vary_are_left_in_peace(tmp_path: Path, condition: str) -> None:
    assert lint(tmp_path, condition) == []


@pytest.mark.parametrize(
    "condition, part, message, remedy",
    [
        ("event.type == 'purchse'", "'purchse'", "never true", "did you mean `purchase`?"),
        ("'purchse' != event.type", "'purchse'", "always true", "did you mean `purchase`?"),
        ("event['type'] == 'gift'", "'gift'", "never true", "choose one of `purchase`, `refund`"),
        ("event.type in ['purchase', 'refnd']", "'refnd'", "adds nothing", "`refund`"),
    ],
)
def test_a_text_that_the_schema_does_not_list(
    tmp_path: Path, condition: str, part: str, message: str, remedy: str
) -> None:
    (issue,) = lint(tmp_path, condition, before=SCHEMA)
    assert issue.code is LintCode.NEVER_EQUAL
    assert marked(issue) == part
    assert message in issue.message
    assert remedy in issue.remedy


def test_texts_that_the_schema_lists_are_left_in_peace(tmp_path: Path) -> None:
    assert lint(tmp_path, "event.type == 'purchase' || event.type in ['refund']", before=SCHEMA) == []


@pytest.mark.parametrize("condition", ["!has(event.a.b)", "has(event.a.b) ? event.a.b > 1 : event.c > 2"])
def test_has_of_something_that_may_be_missing(tmp_path: Path, condition: str) -> None:
    (issue,) = lint(tmp_path, condition)
    assert issue.code is LintCode.UNGUARDED_HAS
    assert marked(issue) == "has(event.a.b)"
    assert issue.remedy == "ask for it first: has(event.a) && has(event.a.b)"


@pytest.mark.parametrize(
    "condition",
    [
        "!has(event.a)",
        "has(event.a.b)",
        "has(event.a) && !has(event.a.b)",
        "!has(event.customer.name)",
    ],
)
def test_has_of_something_that_is_there(tmp_path: Path, condition: str) -> None:
    assert lint(tmp_path, condition, before=SCHEMA) == []


def test_required_fields_do_not_make_their_own_fields_required(tmp_path: Path) -> None:
    (issue,) = lint(tmp_path, "!has(event.customer.address.street)", before=SCHEMA)
    assert issue.code is LintCode.UNGUARDED_HAS


@pytest.mark.parametrize(
    "amount, decimals",
    [
        ("event.amount * 0.015", "5"),
        ("event.amount / 3", "any number of"),
        ("event.price * event.rate", "4"),
        ("event.amount + 0.001", "3"),
        ("event.vip ? event.amount * 0.5 : event.amount", "3"),
        ("round(event.amount * 0.015, 4)", "4"),
        ("min(event.amount * 0.1, 5)", "3"),
        ("cel.bind(x, event.amount * 0.1, x + 1)", "3"),
        ("get(participant.counters, 'n', 0.0) * 0.1", "3"),
        ("1.005", "3"),
    ],
)
def test_an_amount_that_may_have_too_many_decimals(tmp_path: Path, amount: str, decimals: str) -> None:
    counter = "{type: COUNTER, key: n, value: 1}"
    (issue,) = lint(tmp_path, "true", f'{{type: CREDIT, asset: PTS, amount: "{amount}"}}, {counter}')
    assert issue.code is LintCode.UNROUNDED_AMOUNT
    assert issue.message == f"PTS has 2 decimals, this can have {decimals}: then it fails"
    assert issue.remedy == f"write round({amount}, 2)"
    assert issue.path == "programs[loyalty].rules[base].actions[0].amount"


@pytest.mark.parametrize(
    "amount",
    [
        "5",
        "0.10",
        "0.5 * 0.5",
        "event.amount",
        "event.amount * 10",
        "event.amount * 2.0",
        "round(event.amount * 0.015, 2)",
        "floor(event.amount / 3)",
        "ceil(event.amount * 0.1) + event.amount",
        "event.quantity * 0.25",
        "event.quantity * event.amount",
        "size(event.list) * 1.5",
        "double(int(event.amount)) * 0.1",
        "event.amount % 5",
    ],
)
def test_amounts_that_fit_are_left_in_peace(tmp_path: Path, amount: str) -> None:
    assert lint(tmp_path, "true", f'{{type: CREDIT, asset: PTS, amount: "{amount}"}}', before=SCHEMA) == []


@pytest.mark.parametrize(
    "condition, part, message",
    [
        ("participant.counters.visits > 1", "participant.counters.visits", "counter `visits` of participant"),
        ("participant.counters['visits'] > 1", "participant.counters['visits']", "counter `visits`"),
        ("get(participant.counters, 'visits', 0.0) > 1", "'visits'", "counter `visits`"),
        ("'vip' in participant.tags", "'vip'", "tag `vip` of participant"),
        ("sets.intersects(participant.tags, ['vip'])", "'vip'", "tag `vip`"),
        ("has(participant.attributes.city)", "has(participant.attributes.city)", "attribute `city`"),
        ("program.counters.signups > 1", "program.counters.signups", "counter `signups` of program"),
        ("has(participant.tiers.status)", "has(participant.tiers.status)", "no tier type `status`"),
    ],
)
def test_state_that_no_rule_writes(tmp_path: Path, condition: str, part: str, message: str) -> None:
    (issue,) = lint(tmp_path, condition)
    assert issue.code is LintCode.UNWRITTEN_STATE
    assert marked(issue) == part
    assert message in issue.message


def test_state_is_named_once_per_rule_with_what_could_set_it(tmp_path: Path) -> None:
    (issue,) = lint(tmp_path, "participant.counters.a > 1 || participant.counters.a < -1")
    assert "only if an operation sets it" in issue.message
    assert issue.remedy == "write it with COUNTER, or set it with set_counter"


def test_the_nearest_written_name_is_suggested(tmp_path: Path) -> None:
    (issue,) = lint(tmp_path, "participant.counters.visit > 1", "{type: COUNTER, key: visits, value: 1}")
    assert issue.remedy == "did you mean `visits`?"


@pytest.mark.parametrize(
    "condition, action",
    [
        ("participant.counters.n > 1", "{type: COUNTER, key: n, value: 1}"),
        ("'vip' in participant.tags", "{type: TAG, tag: VIP}"),
        ("participant.attributes.a == 'x'", "{type: SET_ATTRIBUTE, key: a, value: x}"),
        ("program.counters.n > 1", "{type: COUNTER, key: n, value: 1, target: {type: PROGRAM}}"),
        ("event.list.exists(participant, participant.counters.n > 1)", CREDIT),
        ("participant.counters.map(k, k).size() > 1", CREDIT),
    ],
)
def test_state_that_a_rule_writes_is_left_in_peace(tmp_path: Path, condition: str, action: str) -> None:
    assert lint(tmp_path, condition, action) == []


def test_another_programs_rules_write_for_participants_but_not_for_programs(tmp_path: Path) -> None:
    counter = "{type: COUNTER, key: n, value: 1%s}"
    other = "rules:\n  - {key: c, name: C, program: other, condition: 'true', actions: [%s]}\n"
    file = tmp_path / "other.yaml"
    file.write_text(other % (counter % ""))
    own = "rules:\n  - {key: base, name: Base, condition: %s.counters.n > 1, actions: [" + CREDIT + "]}\n"
    assert _both(tmp_path, own % "participant") == []
    file.write_text(other % (counter % ", target: {type: PROGRAM}"))
    assert [issue.code for issue in _both(tmp_path, own % "program")] == [LintCode.UNWRITTEN_STATE]


def _both(tmp_path: Path, inside: str) -> list[Issue]:
    from earnbook.rules.definitions import check_definitions

    check(tmp_path, inside)
    return check_definitions(tmp_path)[1]


def test_filters_of_automations_are_read_too(tmp_path: Path) -> None:
    inside = (
        "automations:\n  - {key: a, name: A, event_name: e, scope: participants, trigger: {type: immediate},"
        " participant_filter: \"'vip' in participant.tags\"}\n"
    )
    (issue,) = check(tmp_path, inside)
    assert (issue.code, issue.path) == (
        LintCode.UNWRITTEN_STATE,
        "programs[loyalty].automations[a].participant_filter",
    )
