"""One load of a file full of mistakes says all of them, and how each of them reads.

`tests/golden/mistakes.txt` is what `tests/golden/mistakes.yaml` gives. EARNBOOK_UPDATE_GOLDEN=1 writes it anew; the
difference is to be reviewed, because it is what people read.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from earnbook.rules.definitions import check_definitions
from earnbook.rules.issues import Issue, render_issue

GOLDEN = Path(__file__).parents[1] / "golden"
FILE = GOLDEN / "mistakes.yaml"
TEXT = GOLDEN / "mistakes.txt"


@pytest.fixture(scope="module")
def mistakes() -> list[Issue]:
    """All issues of the file."""
    definitions, issues = check_definitions(FILE)
    assert definitions is None
    return issues


def test_all_mistakes_read_as_they_should(mistakes: list[Issue]) -> None:
    text = "\n".join(map(render_issue, mistakes)).replace(str(FILE), FILE.name) + "\n"
    if os.environ.get("EARNBOOK_UPDATE_GOLDEN"):
        TEXT.write_text(text, encoding="utf-8")
    assert text == TEXT.read_text(encoding="utf-8")


def test_each_has_a_line_a_caret_a_cause_and_a_remedy(mistakes: list[Issue]) -> None:
    for issue in mistakes:
        headline, source, carets, remedy = render_issue(issue).splitlines()
        assert f"{FILE}:{issue.line}: " in headline
        assert issue.message in headline
        assert set(carets) == {" ", "^"}
        assert len(source) >= carets.index("^")
        assert remedy == f"    remedy: {issue.remedy}"


def test_there_are_many_and_different_ones(mistakes: list[Issue]) -> None:
    assert len({(issue.code, issue.message) for issue in mistakes}) >= 65
    assert len({issue.code for issue in mistakes}) >= 14


def test_no_mistake_is_said_twice(mistakes: list[Issue]) -> None:
    said = [(issue.line, issue.path, issue.message, issue.span) for issue in mistakes]
    assert len(said) == len(set(said))
