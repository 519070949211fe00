"""docs/rules.md: its tables are those of the code, its examples give what it says."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from earnbook.rules.issues import LintCode
from earnbook.rules.lower_closure import evaluate
from earnbook.rules.parse import DEPTH_MAX, NODES_MAX, TEXT_MAX
from earnbook.rules.values import ELEMENTS_MAX, LENGTH_MAX, EvaluationError, Value
from earnbook.rules.values_numbers import DIGITS_MAX
from tests.support.command_line import run_command
from tests.support.definition_files import check
from tests.support.rules_page import PAGE, examples, rules_markdown, shown

TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = examples(TEXT)


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert rules_markdown(TEXT) == TEXT, "run: python -m tests.support.rules_page"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize("expression, expected", EXAMPLES, ids=[expression for expression, _ in EXAMPLES])
def test_an_example_gives_what_the_page_says(expression: str, expected: str) -> None:
    found: Value | EvaluationError
    try:
        found = evaluate(expression, event={"n": Decimal(51), "s": "x"})
    except EvaluationError as error:
        found = error
    assert shown(found) == expected


@pytest.mark.parametrize("limit", [TEXT_MAX, NODES_MAX, DEPTH_MAX, ELEMENTS_MAX, LENGTH_MAX, DIGITS_MAX])
def test_limits_are_those_of_the_code(limit: int) -> None:
    part = TEXT.partition("## Limits")[2].partition("\n## ")[0]
    assert f" {limit:,} " in part


@pytest.mark.parametrize("code", list(LintCode))
def test_every_warning_is_described(code: LintCode) -> None:
    assert f"| `{code.value}` |" in TEXT


def test_the_schema_of_the_page_is_accepted(tmp_path: Path) -> None:
    block = TEXT.partition("```yaml\nprograms:")[2].partition("```")[0]
    (program,) = yaml.safe_load("programs:" + block)["programs"]
    assert check(tmp_path, "event_schema: " + json.dumps(program["event_schema"]) + "\n") == []


def test_the_simulation_of_the_page_runs() -> None:
    block = TEXT.partition("```console\n$ earnbook ")[2].partition("```")[0]
    command, _, output = block.replace("\\\n", " ").partition("\n")
    result = run_command(*shlex.split(command))
    assert result.stdout == output
