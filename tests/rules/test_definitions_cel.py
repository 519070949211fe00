"""Mistakes in expressions (A.5): a caret into the expression and its place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from earnbook.rules.issues import IssueCode, LintCode, render_issue
from tests.support.definition_files import CREDIT, FIRST, action, check, rule

CARETS = [
    (
        "condition: event.amount > 0 and true",
        IssueCode.CEL_SYNTAX,
        "rules[base].condition",
        "event.amount > 0 and true",
        "                 ^^^",
    ),
    (
        "condition: event.amount + 1",
        IssueCode.CEL_TYPE,
        "rules[base].condition",
        "event.amount + 1",
        "^^^^^^^^^^^^^^^^",
    ),
    (
        "condition: \"participnt.status == 'ACTIVE'\"",
        IssueCode.CEL_UNKNOWN_NAME,
        "rules[base].condition",
        "participnt.status == 'ACTIVE'",
        "^^^^^^^^^^",
    ),
    (
        "condition: group.id == 'x'",
        IssueCode.CEL_UNKNOWN_NAME,
        "rules[base].condition",
        "group.id == 'x'",
        "^^^^^",
    ),
]


@pytest.mark.parametrize("line, code, path, source, caret", CARETS)
def test_a_mistake_in_cel_has_a_caret_in_the_file(
    tmp_path: Path, line: str, code: IssueCode, path: str, source: str, caret: str
) -> None:
    inside = f"rules:\n  - key: base\n    name: Base\n    {line}\n    actions: [{CREDIT}]\n"
    issues = check(tmp_path, inside)
    assert [(issue.code, issue.path) for issue in issues] == [(code, f"programs[loyalty].{path}")]
    issue = issues[0]
    shown = render_issue(issue).splitlines()
    assert shown[1:3] == [f"    {source}", f"    {caret}"]
    assert issue.line == FIRST + 3
    quote = 1 if '"' in line else 0
    assert issue.column == len("        condition: ") + quote + 1 + len(caret) - len(caret.lstrip())


@pytest.mark.parametrize(
    "text, code",
    [
        ("{type: CREDIT, asset: PTS, amount: \"'five'\"}", IssueCode.CEL_TYPE),
        ("{type: CREDIT, asset: PTS, amount: rond(5)}", IssueCode.CEL_UNKNOWN_NAME),
        ("{type: CREDIT, asset: PTS, amount: 5, reference_id: 7}", IssueCode.CEL_TYPE),
        ("{type: COUNTER, key: n, value: 'true'}", IssueCode.CEL_TYPE),
        ("{type: TAG, tag: x, target: {type: PARTICIPANT, external_id: event.}}", IssueCode.CEL_SYNTAX),
        ("{type: SET_ATTRIBUTE, key: n, value: '=1 +'}", IssueCode.CEL_SYNTAX),
        ("{type: SET_ATTRIBUTE, key: n, value: driven || event.x}", IssueCode.CEL_UNKNOWN_NAME),
    ],
)
def test_expressions_of_actions_are_checked(tmp_path: Path, text: str, code: IssueCode) -> None:
    issues = check(tmp_path, action(text))
    assert [issue.code for issue in issues] == [code], "\n".join(map(render_issue, issues))
    assert issues[0].remedy


@pytest.mark.parametrize(
    "text",
    [
        "{type: SET_ATTRIBUTE, key: n, value: hello world}",
        "{type: SET_ATTRIBUTE, key: n, value: unknown_name}",
        "{type: SET_ATTRIBUTE, key: n, value: 5}",
        "{type: TAG, tag: x, target: {type: GROUP, id: 5f4d6c80-b779-5174-9e3e-37d6ea331a70}}",
        "{type: CREDIT, asset: PTS, amount: 0.10}",
    ],
)
def test_literals_are_no_mistakes(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, action(text)) == []


def test_a_caret_behind_an_equals_sign_counts_it(tmp_path: Path) -> None:
    (issue,) = check(tmp_path, action("{type: SET_ATTRIBUTE, key: n, value: '=nope + 1'}"))
    assert render_issue(issue).splitlines()[1:3] == ["    =nope + 1", "     ^^^^"]


def test_group_exists_where_the_program_has_a_group_field(tmp_path: Path) -> None:
    inside = "group_field: group_id\n" + rule(f"condition: group.id == 'x', actions: [{CREDIT}]")
    assert check(tmp_path, inside) == []


def test_a_filter_sees_no_event(tmp_path: Path) -> None:
    inside = (
        "automations:\n  - {key: a, name: A, event_name: e, scope: participants, trigger: {type: immediate},"
        " participant_filter: event.x == 1}\n"
    )
    assert [issue.code for issue in check(tmp_path, inside)] == [IssueCode.CEL_UNKNOWN_NAME]


def test_an_expression_can_be_too_large(tmp_path: Path) -> None:
    inside = rule(f"condition: '{' || '.join(['true'] * 6000)}', actions: [{CREDIT}]")
    assert [issue.code for issue in check(tmp_path, inside)] == [IssueCode.CEL_TOO_LARGE]


def test_a_tag_in_capitals_is_only_a_warning(tmp_path: Path) -> None:
    inside = rule(f"condition: \"'VIP' in participant.tags\", actions: [{CREDIT}]")
    issues = check(tmp_path, inside)
    assert [(issue.code, issue.is_error) for issue in issues] == [(LintCode.UPPER_CASE_TAG, False)]
