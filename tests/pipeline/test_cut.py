"""A book cut back to a batch is the book that stood there: rows, state and seals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from earnbook.pipeline.cut import copy_book, cut_book, later_rows
from earnbook.pipeline.drive import run
from earnbook.pipeline.errors import BookError
from earnbook.pipeline.schema import BATCH_TABLES
from earnbook.pipeline.store_tables import BOOK_TABLES
from earnbook.pipeline.verify import verify_book
from tests.support.engines import run_request
from tests.support.features import ABOUT_MONEY, EVERYTHING
from tests.support.fingerprint import unequal_tables
from tests.support.logical import Scenario
from tests.support.logs import cut_by_days, random_month
from tests.support.years import random_year


def _seals(book: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(book, read_only=True) as connection:
        return connection.execute("SELECT batch, seal, last_holder FROM store.batches ORDER BY batch").fetchall()


def _days(folder: Path, scenario: Scenario) -> tuple[Path, dict[int, Path]]:
    """The book of all runs, and a copy after each of them by its last batch."""
    book, config, rows = (folder / name for name in ("book.duckdb", "config.json", "rows.ndjson"))
    config.write_text(json.dumps(scenario.definitions), encoding="utf-8")
    stood = {}
    for one in scenario.runs:
        rows.write_text("".join(f"{line}\n" for line in one.lines), encoding="utf-8")
        run(run_request(one, book, config, rows, kernel=False, batch_records=1_000))
        batch = len(_seals(book))
        stood[batch] = Path(shutil.copy(book, folder / f"stood-{batch}.duckdb"))
    return book, stood


LOGS = {
    "everything": cut_by_days(random_month(3, 1, rows=120, features=EVERYTHING), 8),
    "money": cut_by_days(random_month(1, 1, rows=120, features=ABOUT_MONEY), 8),
    "a year": cut_by_days(random_year(9, 1, rows=80), 120),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_book_as_of_every_batch_is_the_book_of_that_day(tmp_path: Path, name: str) -> None:
    book, stood = _days(tmp_path, LOGS[name])
    assert len(stood) > 2
    for batch, then in stood.items():
        cut = tmp_path / f"cut-{batch}.duckdb"
        copy_book(book, cut)
        cut_book(cut, batch)
        assert _seals(cut) == _seals(then)
        assert unequal_tables(cut, then) == []
        assert verify_book(cut).findings == ()


def test_a_copy_has_what_the_last_writer_logged_and_did_not_move_into_the_file(tmp_path: Path) -> None:
    book, _ = _days(tmp_path, random_month(3, 1, rows=20))
    script = f"""
import duckdb, os
connection = duckdb.connect({str(book)!r}, config={{"checkpoint_threshold": "1GB"}})
connection.execute("UPDATE store.meta SET created_by = 'who was killed'")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    before = book.read_bytes()
    copy_book(book, tmp_path / "copy.duckdb")
    assert book.read_bytes() == before
    with duckdb.connect(tmp_path / "copy.duckdb") as connection:
        assert connection.execute("SELECT created_by FROM store.meta").fetchall() == [("who was killed",)]


def test_batch_0_is_the_empty_book_and_a_batch_that_is_not_there_is_refused(tmp_path: Path) -> None:
    book, _ = _days(tmp_path, random_month(3, 1, rows=20))
    with pytest.raises(BookError, match=r"no batch 7.*\n.*1 to 1"):
        cut_book(book, 7)
    cut_book(book, 0)
    assert verify_book(book).batches == 0
    assert _filled(book) == {"meta"}


def test_every_table_says_which_rows_are_later() -> None:
    assert later_rows().keys() == BATCH_TABLES.keys() | BOOK_TABLES.keys() - {"meta"}


def _filled(book: Path) -> set[str]:
    """The physical tables with any row."""
    with duckdb.connect(book, read_only=True) as connection:
        names = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store'").fetchall()
        return {name for (name,) in names if connection.execute(f"SELECT 1 FROM store.{name} LIMIT 1").fetchall()}
