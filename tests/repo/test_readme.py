"""The README's tour runs as it is written: commands in order, in an empty folder beside the sample.

A `console` block holds commands after `$ ` and, below each, lines of its output: in this order, other lines between
them left out, runs of blanks alike, `…` standing for anything. `sh` blocks install things; `.ci/run` runs those.
"""

from __future__ import annotations

import re
import shlex
import shutil
from glob import glob
from pathlib import Path

import pytest

from tests.support.command_line import run_command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def tour() -> list[tuple[str, list[str]]]:
    """Every command of the tour with the output lines below it."""
    steps: list[tuple[str, list[str]]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.strip():
            steps[-1][1].append(line)
    return steps


def words_of(command: str) -> list[str]:
    """The command's words after `earnbook`, with file patterns expanded as a shell does."""
    program, *words = shlex.split(command)
    assert program == "earnbook", command
    return [path for word in words for path in (sorted(glob(word)) if "*" in word and " " not in word else [word])]


def pattern(line: str) -> re.Pattern[str]:
    parts = [re.escape(" ".join(part.split())) for part in line.strip().split("…")]
    return re.compile("^" + ".*".join(parts) + "$")


def assert_shows(output: str, expected: list[str]) -> None:
    """Every expected line occurs, in order."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in expected:
        wanted = pattern(line)
        assert any(wanted.match(shown) for shown in lines), f"no line like {line!r}, in this order, in:\n{output}"


def test_the_tour_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    for command, expected in tour():
        result = run_command(*words_of(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
        assert_shows(result.output, expected)


def test_the_tour_has_the_main_commands() -> None:
    commands = {words_of(command)[0] for command, _ in tour()}
    assert {"run", "report", "show", "sql", "verify", "advance", "definitions", "rules"} <= commands


def test_the_first_book_is_one_command_and_it_is_the_first_of_the_tour() -> None:
    install, test = blocks("sh")
    assert install.strip() == f"pip install . && {tour()[0][0]}"
    assert test.strip() == "pip install -e '.[test]' && pytest"


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
