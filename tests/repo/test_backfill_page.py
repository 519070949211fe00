"""docs/backfill.md: a history is loaded, completed, tied to known balances and checked as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import run_command
from tests.support.tour import assert_shows, blocks, steps_of, words_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/backfill.md").read_text(encoding="utf-8")


def _do(command: str) -> str:
    """A command of the page, with standard input from a file where it says so; returns what it says."""
    command, _, source = command.partition(" < ")
    given = Path(source).read_text(encoding="utf-8") if source else None
    result = run_command(*words_of(command), input=given)
    assert result.exit_code == 0, f"{command}\n{result.stderr}"
    return result.stdout + result.stderr


def test_the_history_of_the_page_is_loaded_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    known, corrections = blocks(GUIDE, "sql")
    files = {"known.sql": known, "corrections.sql": corrections}
    (files["forgotten.ndjson"],) = blocks(GUIDE, "ndjson")
    (files["corrections.csv"],) = blocks(GUIDE, "csv")
    for name, text in files.items():
        assert f"`{name}`" in GUIDE
        Path(name).write_text(text, encoding="utf-8")
    for command, expected in steps_of(GUIDE):
        assert_shows(_do(command), expected)
    assert len(Path("outcomes.csv").read_text(encoding="utf-8").splitlines()) == 1848
