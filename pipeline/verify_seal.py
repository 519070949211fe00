"""Recomputing digests, seals and their chain from the stored rows (I18).

Each physical part of a sealed table is read once, in key order, in chunks: memory is bounded by the chunk, whatever the
size of the book. Rows that lie in no batch are left to the density checks (I9).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from earnbook.pipeline.seal import (
    FIRST_PREVIOUS_SEAL,
    SEAL_TABLES,
    Digest,
    PartHasher,
    SealHeader,
    SealPart,
    seal_of,
    table_digest,
)
from earnbook.pipeline.verify_finding import Finding

CHUNK_ROWS = 200_000

SEAL_CHECKS = ("digests", "chain", "seals")
"""The checks of the findings made here: they name the batch whose rows or header are not those that were sealed."""

_BATCH_OF_KEY = {
    "by_log_seq": "last_log_seq",
    "entry_seq": "last_entry_seq",
    "log_seq": "last_log_seq",
    "lot_seq": "last_lot_seq",
    "change_seq": "last_change_seq",
}
"""Tables whose key says the batch: the register of `batches` that bounds it. All others have a column `batch`."""


@dataclass(frozen=True, slots=True)
class _Batches:
    """The headers of all batches in order, as columns of `store.batches`."""

    rows: list[dict[str, object]]

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        return np.array([row[column] for row in self.rows], dtype=np.int64)


def verify_seals(connection: duckdb.DuckDBPyConnection, first_batch: int) -> list[Finding]:
    """Findings of the digests and seals of all batches from `first_batch` on, and of the chain between them."""
    batches = _Batches(connection.sql("SELECT * FROM store.batches ORDER BY batch").to_arrow_table().to_pylist())
    hashers = {}
    for table in SEAL_TABLES:
        for position, part in enumerate(table.parts):
            hashers[table.name, position] = _hash_part(connection, part, batches, first_batch)
    stored = _stored_digests(connection)
    findings: list[Finding] = []
    previous = FIRST_PREVIOUS_SEAL
    for at, row in enumerate(batches.rows):
        if at + 1 >= first_batch:
            digests = tuple(
                table_digest(table.name, [hashers[table.name, position][at] for position in range(len(table.parts))])
                for table in SEAL_TABLES
            )
            findings += _compare(row, digests, stored.get(at + 1, {}), previous if at + 1 > first_batch else None)
        previous = str(row["seal"])
    return findings


def _compare(
    row: dict[str, object], digests: tuple[Digest, ...], stored: dict[str, Digest], previous: str | None
) -> Iterator[Finding]:
    """What differs in one batch; `previous` is the stored seal before it, None where the check is not anchored."""
    batch = int(str(row["batch"]))
    for digest in digests:
        found = stored.get(digest.name)
        if found != digest:
            text = (
                "no digest is stored" if found is None else f"{found.rows} rows were sealed, {digest.rows} are stored"
            )
            yield _finding("digests", batch, digest.name, "the rows are not those that were sealed", text)
    if set(stored) - {digest.name for digest in digests}:
        yield _finding("digests", batch, "digests", "digests of unknown tables are stored", ", ".join(sorted(stored)))
    expected_previous = FIRST_PREVIOUS_SEAL if batch == 1 else previous
    if expected_previous is not None and row["previous_seal"] != expected_previous:
        yield _finding("chain", batch, "batches", "the seal before this batch is another one", expected_previous)
    header = SealHeader(
        organization=str(row["organization"]),
        batch=batch,
        previous_seal=str(row["previous_seal"]),
        clock_mode=str(row["clock_mode"]),
        book_clock=int(str(row["book_clock"])),
        ruleset_sha256=None if row["ruleset_sha256"] is None else str(row["ruleset_sha256"]),
        last_log_seq=int(str(row["last_log_seq"])),
        last_entry_seq=int(str(row["last_entry_seq"])),
    )
    seal = seal_of(header, digests)
    if seal != row["seal"]:
        yield _finding("seals", batch, "batches", "the seal is not that of the stored rows", f"recomputed {seal}")


def _finding(check: str, batch: int, table: str, message: str, example: str) -> Finding:
    return Finding(check=check, property="I18", batch=batch, table=table, message=message, count=1, examples=(example,))


def _stored_digests(connection: duckdb.DuckDBPyConnection) -> dict[int, dict[str, Digest]]:
    stored: dict[int, dict[str, Digest]] = {}
    for batch, name, rows, digest in connection.execute(
        "SELECT batch, name, row_count, digest FROM store.digests ORDER BY batch, position"
    ).fetchall():
        stored.setdefault(batch, {})[name] = Digest(name, rows, digest)
    return stored


def _hash_part(
    connection: duckdb.DuckDBPyConnection, part: SealPart, batches: _Batches, first_batch: int
) -> list[PartHasher]:
    """One hasher per batch, fed with that batch's rows."""
    stored_in_order = part.table == "holders" or part.key in _BATCH_OF_KEY
    if stored_in_order:
        lasts = batches.numbers("last_holder" if part.table == "holders" else _BATCH_OF_KEY[part.key])
        done = _feed(connection, part, lasts, first_batch, key=part.key, order="")
        return done or _feed(connection, part, lasts, first_batch, key=part.key, order=f"{part.key}, rowid") or []
    lasts = batches.numbers("batch")
    return _feed(connection, part, lasts, first_batch, key="batch", order=f"batch, {part.key}, rowid") or []


def _feed(
    connection: duckdb.DuckDBPyConnection,
    part: SealPart,
    lasts: npt.NDArray[np.int64],
    first_batch: int,
    *,
    key: str,
    order: str,
) -> list[PartHasher] | None:
    """Feeds one hasher per batch; None when rows that were hoped to be stored in key order are not."""
    hashers = [PartHasher(part) for _ in lasts]
    if len(lasts) == 0:
        return hashers
    after = lasts[first_batch - 2] if first_batch >= 2 else np.iinfo(np.int64).min
    columns = ", ".join(dict.fromkeys([key, *(column.name for column in part.columns)]))
    query = f"SELECT {columns} FROM store.{part.table} WHERE {key} > {after}"
    last_key = np.iinfo(np.int64).min
    for chunk in connection.sql(f"{query} ORDER BY {order}" if order else query).to_arrow_reader(CHUNK_ROWS):
        keys = chunk.column(key).to_numpy(zero_copy_only=False)
        if len(keys) == 0:
            continue
        if not order and (keys[0] < last_key or np.any(keys[1:] < keys[:-1])):
            return None
        last_key = keys[-1]
        for at, begin, end in _runs(np.searchsorted(lasts, keys, side="left")):
            if at < len(hashers):
                hashers[at].update(chunk.slice(begin, end - begin))
    return hashers


def _runs(batch_of_row: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """(value, begin, end) of every run of equal values."""
    cuts = np.flatnonzero(np.diff(batch_of_row)) + 1
    for begin, end in zip([0, *cuts], [*cuts, len(batch_of_row)], strict=True):
        yield int(batch_of_row[begin]), int(begin), int(end)
