"""Checking that stored key hashes are those of their keys: what idempotency (§3.4) looks keys up by."""

from __future__ import annotations

import duckdb
import pyarrow.compute as pc

from earnbook.ledger.pool import hash_texts
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.verify_finding import EXAMPLES_MAX, Finding

CHUNK_ROWS = 200_000


def find_wrong_key_hashes(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    """A finding per table in which a `key_hash` is not the hash of its `idempotency_key`."""
    findings = []
    for table in ("events", "operations"):
        reader = connection.sql(f"SELECT log_seq, key_hash, idempotency_key FROM store.{table}").to_arrow_reader(
            CHUNK_ROWS
        )
        wrong: list[int] = []
        for chunk in reader:
            differs = hash_texts(chunk.column("idempotency_key")) != chunk.column("key_hash").to_numpy()
            wrong += pc.filter(chunk.column("log_seq"), differs).to_pylist()
        if wrong:
            row = one_row(connection, "SELECT min(batch) FROM store.batches WHERE last_log_seq >= ?", [min(wrong)])
            findings.append(
                Finding(
                    check="key_hashes",
                    property="I12",
                    batch=row[0] if row is not None else None,
                    table=table,
                    message="the stored hash of an idempotency key is not the hash of that key",
                    count=len(wrong),
                    examples=tuple(f"log_seq {number}" for number in sorted(wrong)[:EXAMPLES_MAX]),
                )
            )
    return findings
