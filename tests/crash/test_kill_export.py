"""Kill an export while it writes and repeat the same command: the directory equals that of an uninterrupted one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.book_maker import make_small_book

WAIT_SECONDS = 120.0


def _command(book: Path, directory: Path) -> list[str]:
    return [sys.executable, "-m", "earnbook.jobs", "export", "--book", str(book), "--to", str(directory), "-q"]


def _files(directory: Path) -> dict[str, bytes]:
    """Every file that counts: not what holds the lock."""
    found = (path for path in directory.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def _kill_at(book: Path, directory: Path, files: int) -> int:
    """Starts an export and kills it when so many files are in place; returns how it ended."""
    process = subprocess.Popen(_command(book, directory), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + WAIT_SECONDS
    while process.poll() is None and len(list(directory.rglob("*.parquet"))) < files:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.parametrize("files", [1, 20])
def test_a_killed_export_is_completed_by_the_same_command(tmp_path: Path, files: int) -> None:
    book = tmp_path / "b.duckdb"
    make_small_book(book)
    subprocess.run(_command(book, tmp_path / "whole"), check=True, stdout=subprocess.DEVNULL)
    whole = _files(tmp_path / "whole")
    ended = _kill_at(book, tmp_path / "killed", files)
    left = _files(tmp_path / "killed")
    assert ended == -signal.SIGKILL
    assert "manifest.json" not in left
    # What is in place is whole, whenever the process died.
    assert {name: data for name, data in left.items() if not name.endswith(".part")}.items() <= whole.items()
    subprocess.run(_command(book, tmp_path / "killed"), check=True, stdout=subprocess.DEVNULL)
    assert _files(tmp_path / "killed") == whole
