"""Opening and creating a book."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from earnbook.pipeline.errors import BookError, BookLocked
from earnbook.pipeline.store import Book, BookMode, open_book
from earnbook.pipeline.store_rows import one_row, transaction
from earnbook.pipeline.store_tables import FORMAT_VERSION, all_tables, create_table_sql


def tables_of(book: Book) -> dict[str, list[str]]:
    with book.session() as connection:
        rows = connection.execute(
            """SELECT table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns
            WHERE table_schema = 'store' AND table_name IN (SELECT table_name FROM information_schema.tables
                WHERE table_type = 'BASE TABLE') GROUP BY table_name"""
        ).fetchall()
    return dict(rows)


def test_the_first_writer_creates_every_table(tmp_path: Path) -> None:
    with open_book(tmp_path / "shop.duckdb", mode=BookMode.WRITE) as book:
        assert tables_of(book) == {name: schema.names for name, schema in all_tables().items()}


def test_columns_have_the_type_and_nullability_of_their_schema() -> None:
    sql = create_table_sql("system_balances", all_tables()["system_balances"])
    assert sql == (
        'CREATE TABLE store.system_balances ("account" BIGINT NOT NULL, "asset" INTEGER NOT NULL, '
        '"amount" DECIMAL(38, 0) NOT NULL, "last_entry_seq" BIGINT NOT NULL)'
    )
    assert '"reference" VARCHAR,' not in sql
    assert '"reference" VARCHAR)' in create_table_sql("lot_details", all_tables()["lot_details"])


def test_reading_a_book_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="there is no book at") as refusal:
        open_book(tmp_path / "none.duckdb", mode=BookMode.READ)
    assert "earnbook run" in refusal.value.remedy
    assert not (tmp_path / "none.duckdb").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("milk, beans " * 1000)
    with pytest.raises(BookError, match=r"cannot open .*notes.txt"):
        open_book(text, mode=BookMode.WRITE)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE customers (name VARCHAR)")
    with pytest.raises(BookError, match="not a book of earnbook"):
        open_book(other, mode=BookMode.WRITE)


def test_another_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    open_book(path, mode=BookMode.WRITE).close()
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE store.meta SET format = 99, created_by = '9.9.9'")
    expected = rf"format 99 \(made by earnbook 9\.9\.9\); this earnbook reads format {FORMAT_VERSION}"
    with pytest.raises(BookError, match=expected):
        open_book(path, mode=BookMode.READ)


def test_a_refused_book_leaves_no_lock_behind(tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE customers (name VARCHAR)")
    for _ in range(2):
        with pytest.raises(BookError, match="not a book"):
            open_book(other, mode=BookMode.WRITE)


def test_sessions_share_the_file_and_let_go_of_it_together(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with open_book(path, mode=BookMode.WRITE) as book:
        with book.session() as first, book.session() as second:
            first.execute("UPDATE store.meta SET created_by = 'both'")
            assert one_row(second, "SELECT created_by FROM store.meta") == ("both",)
        assert read_in_another_process(path) == "both"


def test_a_file_held_by_another_process_is_named_as_locked(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    open_book(path, mode=BookMode.WRITE).close()
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BookLocked, match=rf"is open in .*PID {holder.pid}"):
            open_book(path, mode=BookMode.READ)
        holder.communicate("\n")


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    with open_book(tmp_path / "shop.duckdb", mode=BookMode.WRITE) as book, book.session() as connection:
        with pytest.raises(duckdb.Error), transaction(connection):
            connection.execute("UPDATE store.meta SET created_by = 'half'; SELECT no_such_column")
        assert one_row(connection, "SELECT count(*) FROM store.meta WHERE created_by = 'half'") == (0,)


def read_in_another_process(path: Path) -> str:
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True);"
        "print(c.execute('SELECT created_by FROM store.meta').fetchall()[0][0])"
    )
    return subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    ).stdout.strip()
