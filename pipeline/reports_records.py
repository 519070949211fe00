"""Reports over what came in: the runs of a book, its records that failed, and the rows that became no record.

In: a book. Out: a `Report` of counts; nothing here is money. Counts of runs are those that each batch stored and
`verify` checks (§3.6); failures are counted over the records themselves, by the status of their last attempt, so that
what a retry has mended is not a failure any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from earnbook.ledger.schema import EntityType, Outcome
from earnbook.pipeline.errors import BookError
from earnbook.pipeline.reports import Report
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import ObjectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFacts:
    """What a book is and how far it has come."""

    organization: str
    """Its name, or its key where the definitions give no name."""
    book_clock: datetime
    first_record: datetime | None
    """When the first record was processed; times are in UTC, without a zone."""
    batches: int
    last_seal: str
    ruleset_version: int | None
    programs: tuple[str, ...]
    assets: tuple[str, ...]
    participants: int
    entries: int


def book_facts(book: Path) -> BookFacts:
    """The facts of a book; refuses one without a batch, about which nothing can be said yet."""
    with reading(book) as connection:
        newest = one_row(
            connection,
            """SELECT store.instant(book_clock), batch, seal, ruleset_version, last_entry_seq
            FROM store.batches ORDER BY batch DESC LIMIT 1""",
        )
        if newest is None:
            raise BookError(f"{book} has no batch yet", "Fill it with `earnbook run` first.")
        clock, batch, seal, ruleset_version, entries = newest
        name = one_row(
            connection,
            f"""SELECT coalesce(snapshot ->> '$.name', o.key) FROM store.objects AS o
            LEFT JOIN store.definitions AS d ON d.kind = o.kind AND d.object = o.number
            WHERE o.kind = {ObjectKind.ORGANIZATION} ORDER BY d.version DESC LIMIT 1""",
        )
        participants = one_row(connection, f"SELECT count(*) FROM store.holders WHERE kind = {EntityType.PARTICIPANT}")
        first = one_row(
            connection,
            """SELECT store.instant(min(processed_at)) FROM (SELECT min(processed_at) AS processed_at FROM store.events
                UNION ALL SELECT min(processed_at) FROM store.operations)""",
        )
        keys = connection.execute("SELECT kind, key FROM store.objects ORDER BY number").fetchall()
    return BookFacts(
        organization=str(name[0]) if name is not None else "",
        book_clock=clock,
        first_record=first[0] if first is not None else None,
        batches=int(batch),
        last_seal=str(seal),
        ruleset_version=None if ruleset_version is None else int(ruleset_version),
        programs=tuple(str(key) for kind, key in keys if kind == ObjectKind.PROGRAM),
        assets=tuple(str(key) for kind, key in keys if kind == ObjectKind.ASSET),
        participants=int(participants[0]) if participants is not None else 0,
        entries=int(entries),
    )


def run_history(book: Path) -> Report:
    """The runs of a book, oldest first, each with its batches, its counts (§3.6), and the seal it ended with."""
    query = """
        SELECT min(b.batch) AS first_batch, max(b.batch) AS last_batch, arg_max(b.clock_mode, b.batch) AS clock_mode,
            store.instant(max(b.book_clock)) AS book_clock,
            CAST(sum(b.rows_read) AS BIGINT) AS rows_read, CAST(sum(b.events) AS BIGINT) AS events,
            CAST(sum(b.operations) AS BIGINT) AS operations, CAST(sum(b.duplicates) AS BIGINT) AS duplicates,
            CAST(sum(b.rejected) AS BIGINT) AS rejected, CAST(sum(b.generated) AS BIGINT) AS generated,
            CAST(sum(b.completed) AS BIGINT) AS completed, CAST(sum(b.failed) AS BIGINT) AS failed,
            CAST(sum(b.late) AS BIGINT) AS late,
            CAST(sum(greatest(s.last_entry_seq - s.first_entry_seq + 1, 0)) AS BIGINT) AS entries,
            max(b.ruleset_version) AS ruleset_version, arg_max(b.seal, b.batch) AS seal
        FROM store.batches AS b JOIN store.batch_spans AS s USING (batch)
        GROUP BY coalesce(nullif(b.run_id, ''), CAST(b.batch AS VARCHAR)) ORDER BY first_batch
    """
    return _counts(book, "Runs", query)


def failures(book: Path) -> Report:
    """Records whose last attempt failed, by program, kind of record, code, and the rule that failed; most first."""
    query = f"""
        SELECT p.key AS program, t.record, store.outcome_name(t.outcome) AS code, a.rule_key AS rule,
            CAST(sum(t.records) AS BIGINT) AS records
        FROM (
            SELECT e.program, 'event' AS record, coalesce(l.outcome, e.outcome) AS outcome,
                coalesce(l.action, e.action) AS action, count(*) AS records
            FROM store.events AS e LEFT JOIN store.last_attempts AS l USING (log_seq)
            WHERE coalesce(l.outcome, e.outcome) > {Outcome.OK} GROUP BY ALL
            UNION ALL
            SELECT program, 'operation', outcome, 0, count(*) FROM store.operations
            WHERE outcome > {Outcome.NO_EFFECT} GROUP BY ALL
        ) AS t
        LEFT JOIN store.program_list AS p ON p.number = t.program
        LEFT JOIN store.action_list AS a ON a.number = t.action
        GROUP BY ALL ORDER BY records DESC, program, record, code, rule
    """
    return _counts(book, "Failed records", query)


def rejects(book: Path) -> Report:
    """Rows that became no record, by reason and field; most first."""
    query = """
        SELECT store.reject_reason_name(reason) AS reason, field, count(*) AS rows, min(batch) AS first_batch,
            max(batch) AS last_batch
        FROM store.rejects GROUP BY reason, field ORDER BY rows DESC, reason, field
    """
    return _counts(book, "Rejected rows", query)


def _counts(book: Path, title: str, query: str) -> Report:
    with reading(book) as connection:
        table: pa.Table = connection.sql(query).to_arrow_table()
    return Report(title=title, table=table, amounts=(), provisional=False)
