"""docs/reports.md and docs/analysts.md: their commands, queries and programs run, and show what they say."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from earnbook.jobs.cli import cli
from earnbook.pipeline.config import ClockMode, RunRequest
from earnbook.pipeline.drive import run
from tests.support.command_line import run_command
from tests.support.commands_page import commands
from tests.support.tour import assert_shows, blocks, steps_of, words_of

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "sample_data" / "coffee_shop"
REPORTS = (ROOT / "docs/reports.md").read_text(encoding="utf-8")
ANALYSTS = (ROOT / "docs/analysts.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the book of the sample shop, made by the closures: the same book, without compiling."""
    folder = tmp_path_factory.mktemp("pages")
    inputs = (str(SHOP / "events.ndjson"), str(SHOP / "operations.ndjson"))
    book, config = folder / "coffee.duckdb", SHOP / "config"
    run(RunRequest(book=book, inputs=inputs, config=config, clock=ClockMode.EVENT, kernel=False))
    return folder


@pytest.fixture
def in_shop(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


def carry_out(page: str) -> None:
    """Every command of a page but the one that makes the book."""
    for command, expected in steps_of(page):
        if not command.startswith("earnbook run"):
            result = run_command(*words_of(command))
            assert result.exit_code == 0, f"{command}\n{result.output}"
            assert_shows(result.stdout, expected)


@pytest.mark.usefixtures("in_shop")
def test_the_reports_show_what_their_page_says() -> None:
    carry_out(REPORTS)


def test_every_report_is_on_the_page() -> None:
    names = [words[1] for words, _ in commands(cli) if words[0] == "report" and len(words) > 1]
    assert [name for name in names if f"`{name}`" not in REPORTS and f"report {name}" not in REPORTS] == []


def test_the_queries_run_and_find_something(in_shop: Path) -> None:
    for query in blocks(ANALYSTS, "sql"):
        result = run_command("sql", "--book", in_shop / "coffee.duckdb", "--format", "csv", query)
        assert result.exit_code == 0, f"{query}\n{result.output}"
        assert len(result.stdout.splitlines()) > 1, query


@pytest.mark.usefixtures("in_shop")
def test_the_programs_run_and_print_what_the_page_says() -> None:
    carry_out(ANALYSTS)
    programs, printed = blocks(ANALYSTS, "python"), blocks(ANALYSTS, "text")
    assert len(programs) == len(printed) > 0
    for program, expected in zip(programs, printed, strict=True):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(program, "docs/analysts.md", "exec"), {})  # the page's own program
        assert shown.getvalue() == expected


def test_each_page_of_the_book_balances(in_shop: Path) -> None:
    (balance,) = [query for query in blocks(ANALYSTS, "sql") if "Does the book" not in query and "AS total" in query]
    result = run_command("sql", "--book", in_shop / "coffee.duckdb", "--format", "csv", balance)
    assert {line.split(",")[1] for line in result.stdout.splitlines()[1:]} <= {"0", "0.00"}
