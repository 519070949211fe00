"""Fingerprints of books, to say that two books are equal in the sense of §4.5 without holding their rows."""

from __future__ import annotations

from pathlib import Path

import duckdb

# What may differ between two ways of cutting the log (§4.5): batch numbers, sources and positions.
_LEFT_OUT = {"batch", "source", "source_row", "n", "created_by", "views_sha256"}
_NOT_COMPARED = {
    "meta", "batches", "digests", "sources", "batch_sources", "rulesets", "balance_snapshots", "system_snapshots",
    "stream_positions",
}  # fmt: skip


def fingerprint(book: Path) -> dict[str, tuple[int, int]]:
    """For every physical table: its row count and an order-free hash of the rows, batches and positions left out."""
    with duckdb.connect(str(book), read_only=True) as connection:
        tables = connection.execute(
            "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
            "WHERE schema_name = 'store' AND table_name IN (SELECT table_name FROM duckdb_tables()) "
            "GROUP BY table_name ORDER BY table_name"
        ).fetchall()
        result = {}
        for table, columns in tables:
            if table in _NOT_COMPARED:
                continue
            kept = ", ".join(f'"{name}"' for name in columns if name not in _LEFT_OUT)
            row = connection.execute(
                f"SELECT count(*), coalesce(sum(hash({kept})::HUGEINT), 0) FROM store.{table}"
            ).fetchone()
            assert row is not None
            result[table] = (int(row[0]), int(row[1]))
        clock = connection.execute("SELECT book_clock FROM store.batches ORDER BY batch DESC LIMIT 1").fetchone()
    result["book clock"] = (0, int(clock[0]) if clock else 0)
    return result


def unequal_tables(left: Path, right: Path) -> list[str]:
    """The tables in which two books differ; empty when they are equal."""
    one, other = fingerprint(left), fingerprint(right)
    return [f"{name}: {one.get(name)} / {other.get(name)}" for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)]  # fmt: skip
