"""Rows in and out of a session: transactions, appending Arrow tables, reading single rows.

DuckDB keeps a connection busy until a result is read to its end; the helpers here always do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import duckdb
import pyarrow as pa


def one_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] | Mapping[str, object] = ()
) -> tuple[Any, ...] | None:
    """The first row of a query, None without one. The result is read to its end, so the connection is free again."""
    rows = connection.execute(query, parameters).fetchall()
    return rows[0] if rows else None


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Everything inside is committed together, or not at all when it is left by an exception."""
    connection.execute("BEGIN")
    with ExitStack() as undo:
        undo.callback(connection.execute, "ROLLBACK")
        yield
        undo.pop_all()
    connection.execute("COMMIT")


def append_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Appends rows, which have the table's columns in its order, keeping their order."""
    if rows.num_rows == 0:
        return
    connection.register("appended_rows", rows)
    connection.execute(f"INSERT INTO store.{table} SELECT * FROM appended_rows")
    connection.unregister("appended_rows")
