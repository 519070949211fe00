"""docs/reconciliation.md: its example runs as it is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from tests.support.tour import assert_shows, blocks, steps_of, words_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reconciliation.md").read_text(encoding="utf-8")


def test_the_example_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    (file,) = blocks(PAGE, "csv")
    (tmp_path / "till.csv").write_text(file, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for command, expected in steps_of(PAGE):
        result = run_command(*words_of(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
        assert_shows(result.stdout + result.stderr, expected)
