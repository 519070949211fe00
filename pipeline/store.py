"""The book file: opening, creating, and sessions with DuckDB.

A book is one DuckDB file: physical tables in schema `store`, public views in `main`. A `Book` for writing holds the
writer lock from `open_book` to `close`; DuckDB itself holds the file only while a session is open, so a run opens
sessions around prefetch and commit and leaves the file to readers between them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from types import TracebackType

import duckdb

from earnbook.pipeline.errors import BookError, BookLocked
from earnbook.pipeline.lock import POLL_SECONDS, WriterLock
from earnbook.pipeline.store_rows import one_row, transaction
from earnbook.pipeline.store_tables import FORMAT_VERSION, create_tables
from earnbook.pipeline.store_views import install_views


class BookMode(StrEnum):
    """What a book is opened for."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSettings:
    """What DuckDB may use. `threads` 0 means all processors; `memory_limit` is DuckDB's notation."""

    threads: int = 0
    memory_limit: str = "1GB"

    def config(self) -> dict[str, str | bool | int | float | list[str]]:
        """The settings as DuckDB options. Insertion order is kept, because the seals hash rows in it."""
        return {
            "threads": self.threads or os.cpu_count() or 1,
            "memory_limit": self.memory_limit,
            "preserve_insertion_order": True,
            # A checkpoint rewrites the tail of every table; one when the book is closed is enough for a whole run.
            "checkpoint_threshold": "1GB",
            "default_null_order": "nulls_first",
            "autoinstall_known_extensions": False,
        }


class Book:
    """One open book. Use `open_book`; close it, or use it as a context manager."""

    def __init__(
        self, path: Path, *, mode: BookMode, settings: BookSettings, lock: WriterLock | None, wait_seconds: float
    ) -> None:
        self.path = path
        self.mode = mode
        self.settings = settings
        self._lock = lock
        self._wait_seconds = wait_seconds
        self._guard = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._sessions = 0

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to the book, for one thread; the file is held while any session is open.

        Raises `BookLocked` when another process has the file open and does not leave it within the lock wait.
        """
        with self._guard:
            if self._connection is None:
                self._connection = _connect(
                    self.path, read_only=self.mode is BookMode.READ, settings=self.settings, wait=self._wait_seconds
                )
            self._sessions += 1
            connection = self._connection.cursor()
        try:
            yield connection
        finally:
            connection.close()
            with self._guard:
                self._sessions -= 1
                if self._sessions == 0 and self._connection is not None:
                    self._connection.close()
                    self._connection = None

    def close(self) -> None:
        """Gives up the writer lock. Sessions must have ended."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Book:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_book(
    path: Path,
    *,
    mode: BookMode,
    lock_wait_seconds: float = 0.0,
    settings: BookSettings | None = None,
) -> Book:
    """Opens the book at `path`; for writing it is created on first use and locked against other writers.

    Raises `BookLocked` (another writer, or another process has the file open), `BookError` (missing when reading, not
    a book, or a book of another format version).
    """
    settings = settings or BookSettings()
    if mode is BookMode.READ and not path.exists():
        raise BookError(f"there is no book at {path}", "Give --book FILE, or make the book with `earnbook run`.")
    lock = WriterLock(path, wait_seconds=lock_wait_seconds) if mode is BookMode.WRITE else None
    book = Book(path, mode=mode, settings=settings, lock=lock, wait_seconds=lock_wait_seconds)
    with ExitStack() as undo:
        undo.callback(book.close)
        with book.session() as connection:
            _prepare(connection, book)
        undo.pop_all()
    return book


def _prepare(connection: duckdb.DuckDBPyConnection, book: Book) -> None:
    """Creates the schema in a new file, checks the format of an old one, and refreshes outdated views."""
    tables = {
        (str(schema), str(name))
        for schema, name in connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = current_database()"
        ).fetchall()
    }
    if ("store", "meta") not in tables:
        if tables or book.mode is BookMode.READ:
            remedy = "Give another --book FILE; earnbook never writes into a database of something else."
            raise BookError(f"{book.path} is a DuckDB file, but not a book of earnbook", remedy)
        _create(connection)
    row = one_row(connection, "SELECT format, created_by FROM store.meta")
    if row is None or row[0] != FORMAT_VERSION:
        found = "none" if row is None else f"{row[0]} (made by earnbook {row[1]})"
        raise BookError(
            f"{book.path} has book format {found}; this earnbook reads format {FORMAT_VERSION}",
            "Use the version of earnbook that made the book, or make a new book from the same inputs.",
        )
    if book.mode is BookMode.WRITE:
        with transaction(connection):
            install_views(connection)


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes all tables in one transaction, so that a file is either empty or a whole book."""
    with transaction(connection):
        create_tables(connection)
        made_by = metadata.version("earnbook")
        connection.execute("INSERT INTO store.meta VALUES (?, ?, 0, '')", [FORMAT_VERSION, made_by])


def _connect(path: Path, *, read_only: bool, settings: BookSettings, wait: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + wait
    while True:
        try:
            return duckdb.connect(path, read_only=read_only, config=settings.config())
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error):
                remedy = "Give another --book FILE, or restore this one from a copy."
                raise BookError(f"cannot open {path}: {str(error).splitlines()[0]}", remedy) from error
            if time.monotonic() >= deadline:
                holder = str(error).partition("held in ")[2].partition(". See")[0] or "another process"
                raise BookLocked(
                    f"{path} is open in {holder}",
                    "DuckDB lets one process at a time open a file that somebody writes: close the other program, "
                    "or give --lock-wait SECONDS to wait here.",
                ) from error
        time.sleep(POLL_SECONDS)
