"""docs/outbox.md: its commands run and show what it says, and its table has every type."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from earnbook.pipeline.outbox import EXTENSIONS, NotificationType
from tests.support.command_line import run_command
from tests.support.tour import assert_shows, steps_of, words_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "outbox.md").read_text(encoding="utf-8")


def test_the_page_shows_what_its_commands_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    for command, expected in steps_of(TEXT):
        result = run_command(*words_of(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
        assert_shows(result.output, expected)
    assert (tmp_path / "new.ndjson").read_bytes() == b""


def test_the_table_has_every_type() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z]+\.[a-z_]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(kind.text for kind in NotificationType)
    (extended,) = (row for row in rows if "--webhook-extensions" in row)
    assert set(re.findall(r"`([a-z]+\.[a-z]+)`", extended)) == {kind.text for kind in EXTENSIONS}
