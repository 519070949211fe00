"""A copy of a book, cut back to one of its batches: what a simulation starts from (§21.2).

A book grows only at its end: every table but the checkpoint of state is append-only, and each of its rows is of a
batch. So the book as of a batch is the present one less the rows after it, and its state is folded from what is left,
by the folds that `verify` compares with. Seals are untouched: those of the batches that stay cover the rows that stay.

A new table needs nothing here as long as one of `_KEYS` says of which batch its rows are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from earnbook.pipeline.errors import BookError
from earnbook.pipeline.load import bring_checkpoint_forward
from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_rows import one_row, transaction
from earnbook.pipeline.store_tables import BOOK_TABLES
from earnbook.pipeline.store_views import install_views

_KEYS = {
    "batch": "batch",
    "by_log_seq": "last_log_seq",
    "change_seq": "last_change_seq",
    "entry_seq": "last_entry_seq",
    "lot_seq": "last_lot_seq",
    "log_seq": "last_log_seq",
}
"""The column that says of which batch a row is, the first that a table has, by the register of `batches` behind it."""

_OTHERS = {
    "meta": "",
    "holders": "number > {last_holder}",
    # What the attempt of a later `retry_event` left has the number of the event.
    "action_results": """log_seq > {last_log_seq} OR (log_seq, attempt) IN
        (SELECT log_seq, attempt FROM store.attempts WHERE by_log_seq > {last_log_seq})""",
    # Patterns are numbered as they first occur.
    "evaluation_patterns": """pattern > greatest(
        (SELECT coalesce(max(pattern), 0) FROM store.events WHERE log_seq <= {last_log_seq}),
        (SELECT coalesce(max(pattern), 0) FROM store.attempts WHERE by_log_seq <= {last_log_seq}))""",
}
"""The rows after a batch of the tables without such a column; nothing where rows are of no batch."""

_REGISTERS = ("batch", "last_log_seq", "last_entry_seq", "last_lot_seq", "last_change_seq", "last_holder")


def copy_book(source: Path, target: Path, *, lock_wait_seconds: float = 0.0) -> None:
    """Copies a book as its last committed batch left it.

    A reading session keeps writers of other processes out for as long as the copy takes; what the last writer had
    logged and not yet moved into the file is copied with it.
    """
    with open_book(source, mode=BookMode.READ, lock_wait_seconds=lock_wait_seconds) as book, book.session():
        for suffix in ("", ".wal"):
            part = source.with_name(source.name + suffix)
            if part.exists():
                shutil.copyfile(part, target.with_name(target.name + suffix))


def cut_book(path: Path, batch: int) -> None:
    """Takes everything after a batch out of a book, and folds its state anew; batch 0 leaves an empty book.

    Raises `BookError` when the book has no such batch.
    """
    with open_book(path, mode=BookMode.WRITE) as book, book.session() as connection:
        lasts = _registers(connection, batch)
        with transaction(connection):
            for table, condition in later_rows().items():
                connection.execute(f"DELETE FROM store.{table} WHERE {condition.format(**lasts)}")
            for table in STATE_TABLES:
                connection.execute(f"DELETE FROM store.{table}")
            connection.execute("UPDATE store.meta SET state_batch = 0")
            install_views(connection)
        bring_checkpoint_forward(connection)


def later_rows() -> dict[str, str]:
    """For each append-only table the condition of its rows after a batch, with the batch's registers to be filled in.

    A table that others are asked for comes after them. A pending ruleset is of the present, so it goes as well.
    """
    conditions = {}
    for table, schema in (BATCH_TABLES | BOOK_TABLES).items():
        key = next((name for name in _KEYS if name in schema.names), None)
        if table in _OTHERS:
            conditions[table] = _OTHERS[table]
        elif key is not None:
            conditions[table] = f"{key} > {{{_KEYS[key]}}}"
    conditions["rulesets"] += " OR batch = 0"
    asked = sorted(conditions, key=lambda table: table not in _OTHERS)
    return {table: conditions[table] for table in asked if conditions[table]}


def _registers(connection: duckdb.DuckDBPyConnection, batch: int) -> dict[str, int]:
    if batch == 0:
        return dict.fromkeys(_REGISTERS, 0)
    row = one_row(connection, f"SELECT {', '.join(_REGISTERS)} FROM store.batches WHERE batch = ?", [batch])
    if row is None:
        last = one_row(connection, "SELECT coalesce(max(batch), 0) FROM store.batches")
        assert last is not None, "an aggregate has one row"
        raise BookError(f"the book has no batch {batch}", f"Its batches are 1 to {last[0]}; 0 is the empty book.")
    return dict(zip(_REGISTERS, row, strict=True))
