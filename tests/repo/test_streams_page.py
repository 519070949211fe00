"""docs/streams.md: its commands run in a shell as they are written, and show what the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.tour import assert_shows, steps_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/streams.md").read_text(encoding="utf-8")


def test_the_commands_run_and_show_what_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    program = tmp_path / "bin" / "earnbook"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m earnbook.jobs "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    steps = steps_of(PAGE)
    assert len(steps) >= 5
    for command, expected in steps:
        result = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        assert_shows(result.stdout + result.stderr, expected)
