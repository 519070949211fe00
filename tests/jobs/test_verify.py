"""`verify` at the command line: 0 for a whole book, 3 and the batch for a changed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from tests.support.book_maker import make_small_book
from tests.support.command_line import run_command


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "small.duckdb"
    make_small_book(path)
    return path


def test_a_whole_book_exits_0_and_prints_the_newest_seal(book: Path) -> None:
    result = run_command("verify", "--book", book)
    assert result.exit_code == 0, result.stderr
    assert "is whole" in result.stderr
    with duckdb.connect(book, read_only=True) as connection:
        seals = connection.execute("SELECT seal FROM batches WHERE batch = 3").fetchall()
    assert f"newest seal {seals[0][0]}" in result.stderr


def test_one_changed_amount_exits_3_and_names_the_batch_and_the_table(book: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed.duckdb"
    shutil.copy(book, path)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE store.movements SET amount = amount + 1 WHERE entry_seq = 4")
    result = run_command("verify", "--book", path, "--format", "json")
    assert result.exit_code == 3
    assert "is NOT whole" in result.stderr
    assert "first bad batch 2" in result.stderr
    document = json.loads(result.stdout)
    assert document["first_bad_batch"] == 2
    assert "movements" in document["bad_tables"]


def test_a_window_that_does_not_reach_batch_1_says_so(book: Path) -> None:
    result = run_command("verify", "--book", book, "--window", "1")
    assert result.exit_code == 0
    assert "chained from batch 3, not anchored at batch 1" in result.stderr


def test_quiet_says_nothing_about_a_whole_book(book: Path) -> None:
    result = run_command("verify", "--book", book, "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
