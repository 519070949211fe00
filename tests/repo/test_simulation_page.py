"""docs/simulation.md: its commands do what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from tests.support.tour import assert_shows, steps_of, words_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/simulation.md").read_text(encoding="utf-8")
CHANGE = ("round(event.amount * 0.03, 2)", "round(event.amount * 0.035, 2)")


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    shutil.copytree(ROOT / "sample_data/coffee_shop/config", "proposed")
    rules = Path("proposed/loyalty.yaml")
    text = rules.read_text(encoding="utf-8")
    assert CHANGE[0] in text
    rules.write_text(text.replace(*CHANGE), encoding="utf-8")
    for command, expected in steps_of(GUIDE):
        result = run_command(*words_of(command))
        assert result.exit_code == 0, f"{command}\n{result.stderr}"
        assert_shows(result.stdout + result.stderr, expected)
    assert len(list(Path("compared").iterdir())) == 5
    assert "cashback" in Path("compared.html").read_text(encoding="utf-8")
