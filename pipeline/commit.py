"""Committing a batch: check what must hold, seal it, write it, all in one DuckDB transaction.

What goes in is one `CommitRequest`: the decided rows, the batch's header, new numbers, definitions. What comes out is
the sealed batch. Either all of it is in the book or nothing is; a crash at any point leaves the book before the batch
or after it. Nothing is decided here.

Speed: the seal's digests are computed by two threads while DuckDB takes in the Arrow tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import duckdb
import pyarrow as pa

from earnbook.pipeline.commit_checks import BatchHeader, check_batch
from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.load import Registers, StoredRuleset, load_registers
from earnbook.pipeline.outbox import write_outbox
from earnbook.pipeline.schema import BATCH_TABLES
from earnbook.pipeline.seal import SEAL_TABLES, Digest, SealHeader, digest_table, seal_of
from earnbook.pipeline.store import Book
from earnbook.pipeline.store_checkpoint import Checkpoint, write_checkpoint
from earnbook.pipeline.store_rows import append_rows, one_row, transaction
from earnbook.pipeline.store_tables import BOOK_TABLES, REGISTRY_TABLES
from earnbook.pipeline.store_views import install_views

HASH_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """One batch to commit.

    `tables` has rows of `BATCH_TABLES` in number order (absent: none); `registry` the new rows that
    `Registry.take_rows` gave; `definitions` the history rows of a load; `ruleset` a version that comes into force with
    this batch; `checkpoint` the state of touched entities, with the last batch of a run; `positions` where the batch
    leaves the parts of a stream (`stream_positions`).
    """

    header: BatchHeader
    tables: Mapping[str, pa.Table]
    registry: Mapping[str, pa.Table] = field(default_factory=dict)
    definitions: pa.Table | None = None
    ruleset: StoredRuleset | None = None
    checkpoint: Checkpoint | None = None
    positions: pa.Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedBatch:
    """What the book says after a commit: the registers, and the digests of the batch."""

    registers: Registers
    digests: tuple[Digest, ...]


StepListener = Callable[[str], None]
"""Called before each step of a commit with its name; tests raise or exit here to stand for a crash."""

COMMIT_STEPS = ("begin", "rows", "numbers", "definitions", "checkpoint", "seal", "commit", "committed")
"""The steps of a commit in order; the last one is after the transaction."""


def _no_listener(_: str) -> None:
    """Nobody watches the steps."""


def commit_batch(book: Book, request: CommitRequest, *, at_step: StepListener = _no_listener) -> CommittedBatch:
    """Commits one batch (§4.1, §19.2) and returns the book's new registers.

    Raises `IntegrityError`, with nothing written, when the rows or counts are not what a batch must be.
    """
    rows = _all_rows(request)
    with book.session() as connection, ThreadPoolExecutor(HASH_THREADS) as hashing:
        before = load_registers(connection)
        after = check_batch(before, request.header, rows)
        pending = [hashing.submit(digest_table, table, rows) for table in SEAL_TABLES]
        at_step("begin")
        with transaction(connection):
            write_outbox(connection, rows, batch=request.header.batch, types=request.header.outbox_types)
            _write_rows(connection, request, rows, at_step)
            _check_log(connection, after)
            at_step("checkpoint")
            if request.checkpoint is not None:
                write_checkpoint(connection, request.checkpoint, request.header.batch)
            at_step("seal")
            digests = tuple(digest.result() for digest in pending)
            _write_header(connection, request.header, after, before.seal, digests)
            at_step("commit")
        at_step("committed")
        return CommittedBatch(registers=load_registers(connection), digests=digests)


def store_pending_ruleset(book: Book, ruleset: StoredRuleset) -> None:
    """Stores a version of the definitions for the next batch (§6.3); it replaces an earlier pending one."""
    with book.session() as connection, transaction(connection):
        connection.execute("DELETE FROM store.rulesets WHERE batch = 0")
        _insert_ruleset(connection, ruleset, 0)


def _all_rows(request: CommitRequest) -> dict[str, pa.Table]:
    """Every physical table that the batch appends to, with the columns of its schema; empty where nothing is given."""
    given = {**request.tables, **request.registry}
    if request.definitions is not None:
        given["definitions"] = request.definitions
    schemas = BATCH_TABLES | {name: BOOK_TABLES[name] for name in (*REGISTRY_TABLES, "definitions")}
    unknown = given.keys() - schemas.keys()
    if unknown:
        raise IntegrityError(f"a batch has no table {sorted(unknown)[0]}")
    return {
        name: given[name].select(schema.names).cast(schema) if name in given else schema.empty_table()
        for name, schema in schemas.items()
    }


def _write_rows(
    connection: duckdb.DuckDBPyConnection, request: CommitRequest, rows: Mapping[str, pa.Table], at_step: StepListener
) -> None:
    """Appends the rows, in their order; numbers and definitions after the rows that name them."""
    batch = request.header.batch
    at_step("rows")
    for name in BATCH_TABLES:
        append_rows(connection, name, rows[name])
    at_step("numbers")
    for name in REGISTRY_TABLES:
        append_rows(connection, name, rows[name])
    if rows["objects"].num_rows:
        install_views(connection)
    if request.positions is not None:
        _put_positions(connection, request.positions)
    at_step("definitions")
    append_rows(connection, "definitions", rows["definitions"])
    if request.ruleset is not None:
        connection.execute("DELETE FROM store.rulesets WHERE batch = 0")
        _put_ruleset(connection, request.ruleset, batch)


def _check_log(connection: duckdb.DuckDBPyConnection, after: Registers) -> None:
    """The log has as many rows as numbers: a batch that stands in it twice is found before another one follows it."""
    row = one_row(connection, "SELECT (SELECT count(*) FROM store.events) + (SELECT count(*) FROM store.operations)")
    rows = row[0] if row is not None else 0
    if rows != after.log_seq:
        raise IntegrityError(
            f"the book has {rows:,} records, but the last one is number {after.log_seq:,}",
            "Nothing of the batch was written. Run `earnbook verify`, and restore the book from a copy.",
        )


def _put_positions(connection: duckdb.DuckDBPyConnection, positions: pa.Table) -> None:
    """The positions take the place of those before them, and never go back: what was taken in is not taken in again."""
    connection.register("new_positions", positions)
    overlap = one_row(
        connection,
        """SELECT n.stream, n.part, p.position, n.first_position
        FROM store.stream_positions AS p JOIN new_positions AS n USING (stream, part)
        WHERE n.first_position < p.position OR n.position < n.first_position LIMIT 1""",
    )
    if overlap is not None:
        stream, part, known, first = overlap
        raise IntegrityError(
            f"part {part!r} of stream {stream!r} is at {known:,}, and a batch reads it from {first:,} on",
            "Nothing of the batch was written. This is a defect of earnbook, or of the stream's source.",
        )
    connection.execute(
        "DELETE FROM store.stream_positions WHERE (stream, part) IN (SELECT (stream, part) FROM new_positions)"
    )
    connection.unregister("new_positions")
    append_rows(connection, "stream_positions", positions)


def _put_ruleset(connection: duckdb.DuckDBPyConnection, ruleset: StoredRuleset, batch: int) -> None:
    """A new version, or other sources beside the version that the book has: they are not part of its hash (§6.1)."""
    version = [ruleset.version, ruleset.sha256]
    known = one_row(connection, "SELECT 1 FROM store.rulesets WHERE batch > 0 AND version = ? AND sha256 = ?", version)
    if known is None:
        _insert_ruleset(connection, ruleset, batch)
    else:
        connection.execute(
            "UPDATE store.rulesets SET sources = ? WHERE version = ? AND sha256 = ?", [ruleset.sources, *version]
        )


def _insert_ruleset(connection: duckdb.DuckDBPyConnection, ruleset: StoredRuleset, batch: int) -> None:
    connection.execute(
        "INSERT INTO store.rulesets VALUES (?, ?, ?, ?, ?)",
        [ruleset.version, ruleset.sha256, ruleset.document, ruleset.sources, batch],
    )


def _write_header(
    connection: duckdb.DuckDBPyConnection,
    header: BatchHeader,
    after: Registers,
    previous_seal: str,
    digests: tuple[Digest, ...],
) -> None:
    """The `batches` row with its seal, and the digests that the seal covers."""
    sealed = SealHeader(
        organization=header.organization,
        batch=header.batch,
        previous_seal=previous_seal,
        clock_mode=header.clock_mode,
        book_clock=header.book_clock,
        ruleset_sha256=header.ruleset_sha256,
        last_log_seq=after.log_seq,
        last_entry_seq=after.entry_seq,
    )
    values: dict[str, object] = {
        name: getattr(header, name) for name in BOOK_TABLES["batches"].names if hasattr(header, name)
    }
    values |= asdict(header.counts)
    values |= {
        "previous_seal": previous_seal,
        "last_log_seq": after.log_seq,
        "last_entry_seq": after.entry_seq,
        "last_lot_seq": after.lot_seq,
        "last_change_seq": after.change_seq,
        "last_holder": after.holder,
        "timestamp_max": after.timestamp_max,
        "seal": seal_of(sealed, digests),
    }
    names = BOOK_TABLES["batches"].names
    places = ", ".join("?" for _ in names)
    connection.execute(f"INSERT INTO store.batches VALUES ({places})", [values[name] for name in names])
    connection.executemany(
        "INSERT INTO store.digests VALUES (?, ?, ?, ?, ?)",
        [[header.batch, at, digest.name, digest.rows, digest.digest] for at, digest in enumerate(digests)],
    )
