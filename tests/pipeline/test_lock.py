"""One writer per book, and a clear word about who it is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from earnbook.pipeline.errors import BookError, BookLocked
from earnbook.pipeline.lock import WriterLock


def test_the_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    book = tmp_path / "shop.duckdb"
    with WriterLock(book), pytest.raises(BookLocked) as refusal:
        WriterLock(book)
    assert f"is being written by process {os.getpid()} on " in refusal.value.message
    assert " since 20" in refusal.value.message
    assert "--lock-wait" in refusal.value.remedy


def test_a_released_lock_is_free_again(tmp_path: Path) -> None:
    book = tmp_path / "shop.duckdb"
    first = WriterLock(book)
    first.release()
    first.release()
    with WriterLock(book):
        pass


def test_a_waiting_writer_gets_the_lock_when_it_is_released(tmp_path: Path) -> None:
    book = tmp_path / "shop.duckdb"
    first = WriterLock(book)
    release = threading.Timer(0.2, first.release)
    release.start()
    begin = time.monotonic()
    with WriterLock(book, wait_seconds=20):
        waited = time.monotonic() - begin
    release.join()
    assert 0.1 < waited < 20


def test_the_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    book = tmp_path / "shop.duckdb"
    script = (
        "import os, sys; from pathlib import Path; from earnbook.pipeline.lock import WriterLock;"
        "lock = WriterLock(Path(sys.argv[1])); os._exit(9)"
    )
    died = subprocess.run([sys.executable, "-c", script, str(book)], check=False)
    assert died.returncode == 9
    assert "process" in (tmp_path / "shop.duckdb.lock").read_text()
    with WriterLock(book):
        pass


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"cannot lock .*missing/shop.duckdb"):
        WriterLock(tmp_path / "missing" / "shop.duckdb")
