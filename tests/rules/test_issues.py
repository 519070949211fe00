"""Issues as people see them: place, caret, remedy, order and cap."""

from __future__ import annotations

import pytest

from earnbook.rules.issues import (
    Issue,
    IssueCode,
    IssueError,
    Severity,
    cel_syntax,
    render_issue,
    render_issues,
    suggest,
    summarise_warnings,
)
from earnbook.rules.syntax import Span


def test_an_issue_shows_place_code_expression_caret_and_remedy() -> None:
    issue = cel_syntax("event.a = 1", Span(8, 9), "`=` is not an operator here", "write `==`")
    placed = issue.at(file="rules.yaml", line=12, column=18, path="programs[0].rules[1].condition")
    assert render_issue(placed).splitlines() == [
        "rules.yaml:12: programs[0].rules[1].condition: CEL_SYNTAX `=` is not an operator here",
        "    event.a = 1",
        "            ^",
        "    remedy: write `==`",
    ]


def test_an_issue_without_a_place_still_says_what_and_where_in_the_text() -> None:
    assert render_issue(Issue(IssueCode.CRON, "six fields")) == "CRON six fields"
    assert render_issue(Issue(IssueCode.CRON, "six fields", line=3)) == "line 3: CRON six fields"


def test_known_parts_of_a_place_are_kept() -> None:
    issue = Issue(IssueCode.SYNTAX, "no", file="a.yaml", line=1)
    assert issue.at(file="b.yaml", line=2, path="x") == Issue(IssueCode.SYNTAX, "no", file="a.yaml", line=1, path="x")


def test_only_the_line_of_the_mistake_is_shown() -> None:
    text = "event.a == 1 &&\n  event.b = 2 &&\n  event.c == 3"
    lines = render_issue(cel_syntax(text, Span(26, 27), "no", "yes")).splitlines()
    assert lines[1:3] == ["      event.b = 2 &&", "              ^"]


def test_a_span_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    lines = render_issue(cel_syntax("ab\ncd", Span(1, 5), "no")).splitlines()
    assert lines[1:] == ["    ab", "     ^"]


def test_wide_and_control_characters_do_not_move_the_caret() -> None:
    assert render_issue(cel_syntax("'日本' = 1", Span(5, 6), "no")).splitlines()[2] == " " * 4 + " " * 7 + "^"
    assert render_issue(cel_syntax("a\t= 1", Span(2, 3), "no")).splitlines()[1:] == ["    a = 1", "      ^"]


def test_a_very_long_line_is_cut_around_the_mistake() -> None:
    text = "x" * 500 + "=" + "y" * 500
    _, source, caret = render_issue(cel_syntax(text, Span(500, 501), "no")).splitlines()
    assert len(source) < 180
    assert source.strip().startswith("…")
    assert source.endswith("…")
    assert source[caret.index("^")] == "="


def test_issues_are_shown_in_reading_order_and_capped() -> None:
    issues = [Issue(IssueCode.CRON, f"number {line}", file="a.yaml", line=line) for line in range(250, 0, -1)]
    shown = render_issues(issues).splitlines()
    assert shown[0] == "a.yaml:1: CRON number 1"
    assert len(shown) == 101
    assert shown[-1] == "… and 150 more"


def test_an_error_carries_all_its_issues_sorted() -> None:
    second = Issue(IssueCode.SYNTAX, "second", file="a.yaml", line=9)
    first = Issue(IssueCode.SYNTAX, "first", file="a.yaml", line=2)
    error = IssueError([second, first])
    assert error.issues == (first, second)
    assert str(error) == "a.yaml:2: SYNTAX first\na.yaml:9: SYNTAX second"
    with pytest.raises(ValueError, match="at least one"):
        IssueError([])


def test_a_warning_says_so() -> None:
    issue = Issue(IssueCode.CEL_TYPE, "odd", severity=Severity.WARNING)
    assert not issue.is_error
    assert render_issue(issue) == "CEL_TYPE (warning) odd"


def test_the_nearest_name_is_suggested_whatever_its_case() -> None:
    assert suggest("startswith", ["startsWith", "endsWith"]) == "did you mean `startsWith`?"
    assert suggest("zzz", ["b", "a"]) == "choose one of `a`, `b`"
    assert suggest("zzz", map(str, range(50))).startswith("there are 50 to choose from, such as `0`, `1`")
    assert suggest("x", []) == ""


def test_a_run_lists_some_warnings_and_counts_the_rest() -> None:
    warnings = [Issue(IssueCode.CEL_TYPE, f"odd {n}", path=f"rules[{n}]", severity=Severity.WARNING) for n in range(5)]
    error = Issue(IssueCode.CEL_TYPE, "wrong")
    assert summarise_warnings([error, *warnings], shown_max=2) == [
        "rules[0]: odd 0",
        "rules[1]: odd 1",
        "3 more warnings about definitions; `earnbook rules check` shows all",
    ]
    assert summarise_warnings([Issue(IssueCode.CEL_TYPE, "odd", severity=Severity.WARNING)]) == ["odd"]
