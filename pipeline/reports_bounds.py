"""Bounds in time as bounds in entry numbers.

An entry's `created_at` never decreases with its number (§9.2), so the entries up to a time are those up to a number.
The clock of every batch is stored: all batches whose clock has not passed the time lie before it whole, all after the
next one lie behind it. So only one batch is searched, and the journal is then scanned without joining times.
"""

from __future__ import annotations

import duckdb

from earnbook.pipeline.reports import ReportBook
from earnbook.pipeline.reports_calendar import Every, Interval, intervals
from earnbook.pipeline.store_rows import one_row


def last_entry(connection: duckdb.DuckDBPyConnection, until_us: int) -> int:
    """The last entry created at or before a time; 0 where there is none."""
    before, first, last = _batch_of(connection, until_us, "entry_seq")
    first_log, last_log = _batch_of(connection, until_us, "log_seq")[1:]
    query = f"""
        WITH record AS (
            SELECT max(log_seq) AS last FROM (
                SELECT log_seq FROM store.events WHERE processed_at <= {until_us}
                    AND log_seq BETWEEN {first_log} AND {last_log}
                UNION ALL
                SELECT log_seq FROM store.operations WHERE processed_at <= {until_us}
                    AND log_seq BETWEEN {first_log} AND {last_log}
            )
        ), retried AS (
            -- What a retry makes has the number of the event, but the time of the attempt (§10.2).
            SELECT log_seq, max(processed_at) AS processed_at FROM store.attempts GROUP BY log_seq
        )
        SELECT greatest({before},
            (SELECT coalesce(max(entry_seq), 0) FROM store.movements
                WHERE entry_seq BETWEEN {first} AND {last} AND log_seq > 0
                AND log_seq <= coalesce((FROM record), {first_log - 1})
                AND log_seq NOT IN (SELECT log_seq FROM retried WHERE processed_at > {until_us})),
            (SELECT coalesce(max(entry_seq), 0) FROM store.due_entries
                WHERE entry_seq BETWEEN {first} AND {last} AND created_at <= {until_us})
        )
    """
    row = one_row(connection, query)
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def last_change(connection: duckdb.DuckDBPyConnection, until_us: int) -> int:
    """The last change of state at or before a time; 0 where there is none."""
    before, first, last = _batch_of(connection, until_us, "change_seq")
    query = f"""
        WITH made AS (SELECT change_seq, log_seq FROM store.changes WHERE change_seq BETWEEN {first} AND {last}),
        timed AS (
            SELECT m.change_seq, coalesce(a.processed_at, d.changed_at, r.processed_at) AS changed_at
            FROM made AS m
            LEFT JOIN store.attempts AS a ON a.log_seq = m.log_seq
                AND m.change_seq BETWEEN a.first_change_seq AND a.last_change_seq
            LEFT JOIN store.due_changes AS d ON d.change_seq = m.change_seq
            LEFT JOIN (SELECT log_seq, processed_at FROM store.events
                UNION ALL SELECT log_seq, processed_at FROM store.operations) AS r ON r.log_seq = m.log_seq
        )
        SELECT greatest({before}, (SELECT coalesce(max(change_seq), 0) FROM timed WHERE changed_at <= {until_us}))
    """
    row = one_row(connection, query)
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def last_batch(connection: duckdb.DuckDBPyConnection, entry: int) -> int:
    """The last batch whose entries are all up to a number; 0 where there is none."""
    row = one_row(connection, f"SELECT coalesce(max(batch), 0) FROM store.batches WHERE last_entry_seq <= {entry}")
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def last_entry_of(connection: duckdb.DuckDBPyConnection, batch: int) -> int:
    """The last entry up to the end of a batch; 0 for batch 0."""
    row = one_row(connection, f"SELECT coalesce(max(last_entry_seq), 0) FROM store.batches WHERE batch <= {batch}")
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def batch_at(connection: duckdb.DuckDBPyConnection, until_us: int) -> int:
    """The batch of the last record processed at or before a time; 0 where there is none."""
    first, last = _batch_of(connection, until_us, "log_seq")[1:]
    query = f"""
        SELECT coalesce(max(batch), 0) FROM store.batch_spans WHERE last_log_seq < {first} OR (last_log_seq = {last}
            AND EXISTS (SELECT 1 FROM (SELECT log_seq, processed_at FROM store.events
                UNION ALL SELECT log_seq, processed_at FROM store.operations)
                WHERE log_seq BETWEEN {first} AND {last} AND processed_at <= {until_us}))
    """
    row = one_row(connection, query)
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def book_months(book: ReportBook, from_us: int | None = None, until_us: int | None = None) -> list[str]:
    """The months from the first record's to that of the book clock, within the bounds; none in an empty book."""
    return [month.name for month in book_intervals(book, Every.MONTH, from_us, until_us)]


def book_intervals(
    book: ReportBook, every: Every, from_us: int | None = None, until_us: int | None = None
) -> list[Interval]:
    """The intervals from the first record's to that of the book clock, within the bounds; none in an empty book.

    The first begins with that record, or at the bound; the last ends at the clock, or at the bound.
    """
    row = one_row(
        book.connection,
        """SELECT min(processed_at) FROM (SELECT min(processed_at) AS processed_at FROM store.events
            UNION ALL SELECT min(processed_at) FROM store.operations)""",
    )
    if row is None or row[0] is None:
        return []
    first = max(int(row[0]), from_us if from_us is not None else int(row[0]))
    return intervals(first, min(book.clock_us, until_us if until_us is not None else book.clock_us), every)


def _batch_of(connection: duckdb.DuckDBPyConnection, until_us: int, number: str) -> tuple[int, int, int]:
    """The last number of the batches before the one that a time lies in, and the numbers from and to within it."""
    query = f"""
        SELECT coalesce(max(last_{number}) FILTER (WHERE book_clock <= {until_us}), 0),
            coalesce(min_by(last_{number}, batch) FILTER (WHERE book_clock > {until_us}), -1)
        FROM store.batches
    """
    row = one_row(connection, query)
    assert row is not None, "an aggregate has one row"
    before, last = int(row[0]), int(row[1])
    return before, before + 1, last
