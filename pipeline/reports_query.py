"""Read-only queries over a book: what `sql` runs, and the session that reports read through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.store import BookMode, open_book

_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class QueryError(EarnbookError):
    """A query that DuckDB refuses: a mistake of who wrote it."""


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only session on a book, with times in UTC."""
    with open_book(path, mode=BookMode.READ) as book, book.session() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def query_book(path: Path, query: str) -> pa.Table:
    """The result of one query, in its own order.

    Raises:
        QueryError: DuckDB cannot run it, it changes something, or it is more than one statement.
    """
    with reading(path) as connection:
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1:
                raise QueryError(f"there are {len(statements)} statements", "Give one SELECT.")
            if statements[0].type not in _READING:
                raise QueryError("this statement does not only read", "Give a SELECT, DESCRIBE or EXPLAIN.")
            result = connection.sql(statements[0])
            return result.to_arrow_table() if result is not None else pa.table({})
        except duckdb.Error as error:
            remedy = "The views and their columns: SELECT view_name, column_name FROM duckdb_columns() or docs/book.md."
            raise QueryError(str(error).strip(), remedy) from error
