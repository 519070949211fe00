"""The README's tour runs as it is written: commands in order, in an empty folder beside the sample.

`sh` blocks install things; `.ci/run` runs those.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from tests.support.tour import assert_shows, blocks, steps_of, words_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tour_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    for command, expected in steps_of(README):
        result = run_command(*words_of(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
        assert_shows(result.output, expected)


def test_the_tour_has_the_main_commands() -> None:
    commands = {words_of(command)[0] for command, _ in steps_of(README)}
    assert {"run", "report", "show", "sql", "verify", "advance", "definitions", "rules"} <= commands


def test_the_first_book_is_one_command_and_it_is_the_first_of_the_tour() -> None:
    install, test = blocks(README, "sh")
    assert install.strip() == f"pip install . && {steps_of(README)[0][0]}"
    assert test.strip() == "pip install -e '.[test]' && pytest"


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
