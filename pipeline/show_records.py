"""A record of a book, explained, and what it led to: an event, an entry, a batch."""

from __future__ import annotations

from pathlib import Path

import duckdb

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.show import POSTINGS, Reader, Shown, entry_range, find_numbered, is_uuid
from earnbook.pipeline.store_rows import one_row


def show_event(path: Path, key: str, *, program: str | None = None) -> Shown:
    """An event by idempotency key or id: outcome, evaluations, entries with postings, changes, impact (§10.6).

    Raises `EarnbookError` when there is no such event, or several programs have one of this key.
    """
    with reading(path) as connection:
        log_seq = _find_event(connection, key, program)
        first, last = entry_range(connection, log_seq)
        read = Reader(connection, {"log_seq": log_seq, "first": first, "last": last})
        sections = (
            read.section("event", "Event", _EVENT, single=True),
            read.section("attempts", "Attempts", _ATTEMPTS),
            read.section("evaluations", "Rules", _EVALUATIONS),
            read.section("actions", "Actions", _ACTIONS, amounts=("amount",)),
            read.section("entries", "Entries", _ENTRIES, amounts=("amount",)),
            read.section("postings", "Postings", POSTINGS, amounts=("amount",)),
            read.section("changes", "Changes of state", _CHANGES),
            read.section("generated", "Events that it made", _GENERATED),
            read.section("impact", "Impact on balances", _IMPACT, amounts=("amount",)),
        )
    return Shown(title=f"Event {key}", sections=sections)


def show_entry(path: Path, key: str) -> Shown:
    """A journal entry by number or id: postings, lots it moved, the redemption it is about, and what it follows from.

    Raises `EarnbookError` when there is no such entry.
    """
    with reading(path) as connection:
        seq = find_numbered(connection, key, noun="entry", view="entries", number="seq")
        read = Reader(connection, {"first": seq, "last": seq, "seq": seq})
        sections = (
            read.section("entry", "Entry", _ENTRY, single=True, amounts=("amount",)),
            read.section("postings", "Postings", POSTINGS, amounts=("amount",)),
            read.section("lots", "Lots", _LOT_MOVES, amounts=("remaining_before", "remaining_after")),
            read.section("redemption", "Redemption", _REDEMPTION, single=True, amounts=_REDEMPTION_AMOUNTS),
            read.section("cause", "Caused by", _CAUSE, single=True),
            read.section("rule", "By this rule, as it was then", _RULE, single=True),
        )
    return Shown(title=f"Entry {seq}", sections=sections)


def show_batch(path: Path, key: str) -> Shown:
    """A batch by number, or `last`: clock, counts, sources, and its seal with the digests under it.

    Raises `EarnbookError` when there is no such batch.
    """
    with reading(path) as connection:
        batch = _find_batch(connection, key)
        read = Reader(connection, {"batch": batch})
        sections = (
            read.section("batch", "Batch", _BATCH, single=True),
            read.section("counts", "Counts", _COUNTS, single=True),
            read.section("sources", "Sources", _SOURCES),
            read.section("rejects", "Rejected rows", _REJECTS),
            read.section("seal", "Seal", _SEAL, single=True),
            read.section("digests", "Sealed tables", _DIGESTS),
        )
    return Shown(title=f"Batch {batch}", sections=sections)


def _find_event(connection: duckdb.DuckDBPyConnection, key: str, program: str | None) -> int:
    column = "id" if is_uuid(key) else "idempotency_key"
    rows = connection.execute(f"SELECT log_seq, program FROM event_status WHERE {column} = ?", [key]).fetchall()
    found = [(int(log_seq), str(owner)) for log_seq, owner in rows if program in (None, owner)]
    if not found:
        raise EarnbookError(f"there is no event {key!r}", "Give its idempotency key or its id.")
    if len(found) > 1:
        programs = ", ".join(owner for _, owner in found)
        raise EarnbookError(f"{len(found)} programs have an event {key!r}: {programs}", "Name one with --program.")
    return found[0][0]


def _find_batch(connection: duckdb.DuckDBPyConnection, key: str) -> int:
    row = one_row(connection, "SELECT coalesce(max(batch), 0) FROM batches")
    last = int(row[0]) if row is not None else 0
    batch = last if key == "last" else int(key) if key.isdecimal() else 0
    if not 1 <= batch <= last:
        known = f"The book has batches 1 to {last}." if last else "The book has no batch yet."
        raise EarnbookError(f"there is no batch {key!r}", known)
    return batch


_EVENT = """
    SELECT s.log_seq, s.id, s.program, s.idempotency_key, s.external_id, s.event_timestamp, s.processed_at, s.late,
        s.status, s.code, s.failed_rule, s.failed_action, e.batch, e.source, e.source_row, e.event_data
    FROM event_status AS s JOIN events AS e USING (log_seq) WHERE s.log_seq = $log_seq
"""
_EVALUATIONS = """
    SELECT attempt, rule, rule_version, rule_order, status, reason, stopped_by_rule, applied FROM evaluations
    WHERE log_seq = $log_seq ORDER BY attempt, rule_order
"""
_ATTEMPTS = """
    SELECT o.attempt, o.processed_at, o.status, o.code, o.rule, o.action_index, b.idempotency_key AS by_operation
    FROM outcomes AS o LEFT JOIN operations AS b ON b.id = o.by_operation_id
    WHERE o.log_seq = $log_seq ORDER BY o.attempt
"""
_ACTIONS = """
    SELECT v.attempt, v.rule, v.action.index AS index, v.action.type AS type, v.action.result AS result,
        v.action.target_type AS target_type, v.action.target AS target, v.action.asset AS asset,
        coalesce(a.scale, 0) AS scale, v.action.amount AS amount, v.action.value AS value,
        v.action.entry_seq AS entry_seq, v.action.code AS code
    FROM (SELECT attempt, rule, rule_order, unnest(actions) AS action FROM evaluations WHERE log_seq = $log_seq) AS v
    LEFT JOIN assets AS a ON a.symbol = v.action.asset ORDER BY v.attempt, v.rule_order, v.action.index
"""
_GENERATED = """
    SELECT s.log_seq, s.idempotency_key, s.external_id, s.event_timestamp, s.status, s.code FROM event_status AS s
    WHERE s.log_seq IN (SELECT log_seq FROM store.generated_events WHERE parent = $log_seq) ORDER BY s.log_seq
"""
_ENTRIES = """
    SELECT e.seq, e.action_type, e.asset, a.scale, e.amount, e.rule, e.rule_version, e.action_index, e.reference_id,
        e.description
    FROM entries AS e JOIN assets AS a ON a.symbol = e.asset WHERE e.seq BETWEEN $first AND $last ORDER BY e.seq
"""
_CHANGES = """
    SELECT change_seq, entity_type, entity, state_type, key, operation, old_value, new_value, rule FROM changes
    WHERE log_seq = $log_seq ORDER BY change_seq
"""
_IMPACT = """
    SELECT p.entity_type, p.entity, p.asset, p.bucket, a.scale, sum(p.amount) AS amount
    FROM postings AS p JOIN assets AS a ON a.symbol = p.asset WHERE p.entry_seq BETWEEN $first AND $last
    GROUP BY ALL HAVING sum(p.amount) <> 0 ORDER BY p.asset, p.entity_type, p.entity, p.bucket
"""
_ENTRY = """
    SELECT e.seq, e.id, e.batch, e.created_at, e.action_type, e.asset, a.scale, e.amount, e.program, e.cause,
        e.cause_id, e.rule, e.rule_version, e.action_index, e.reference_id, e.description
    FROM entries AS e JOIN assets AS a ON a.symbol = e.asset WHERE e.seq = $seq
"""
_LOT_MOVES = """
    SELECT m.lot_seq, m.kind, m.status_before, m.status_after, a.scale,
        store.units(m.remaining_before_minor, a.unit) AS remaining_before,
        store.units(m.remaining_after_minor, a.unit) AS remaining_after
    FROM lot_moves AS m JOIN store.lots AS l USING (lot_seq) JOIN store.asset_list AS a ON a.number = l.asset
    WHERE m.entry_seq = $seq ORDER BY m.index
"""
_REDEMPTION_AMOUNTS = ("amount", "unit_cost", "reversed_amount")
_REDEMPTION = """
    SELECT r.log_seq, r.id, r.external_id, a.scale, r.amount, r.reward, r.quantity, r.unit_cost, r.target_type,
        r.target, r.reversed_amount, r.reversed_quantity, r.status
    FROM redemptions AS r JOIN assets AS a ON a.symbol = r.asset
    WHERE r.log_seq IN (SELECT log_seq FROM store.redemptions WHERE entry_seq = $seq
        UNION ALL SELECT redemption FROM store.reversals WHERE entry_seq = $seq)
"""
_CAUSE = """
    WITH entry AS (SELECT log_seq FROM entries WHERE seq = $seq)
    SELECT 'event' AS record, log_seq, id, program, idempotency_key, external_id, event_timestamp AS time, status
    FROM event_status WHERE log_seq = (FROM entry)
    UNION ALL
    SELECT 'operation ' || type, log_seq, id, program, idempotency_key, NULL, effective_at, NULL
    FROM operations WHERE log_seq = (FROM entry)
"""
_RULE = """
    WITH entry AS (SELECT rule_id, rule_version, action_index FROM entries WHERE seq = $seq)
    SELECT d.key AS rule, d.version, d.snapshot ->> '$.name' AS name, d.snapshot ->> '$.condition' AS condition,
        d.snapshot -> ('$.actions[' || e.action_index || ']') AS action
    FROM definitions AS d JOIN entry AS e ON d.object_id = e.rule_id AND d.version = e.rule_version
    WHERE d.kind = 'rule'
"""
_BATCH = """
    SELECT batch, clock_mode, book_clock, clock_reading, clock_fixed, horizon, record_order, evaluations,
        ruleset_version, ruleset_sha256, last_log_seq, last_entry_seq, last_lot_seq, last_change_seq, committed_at,
        host, run_id
    FROM batches WHERE batch = $batch
"""
_COUNTS = """
    SELECT rows_read, events, operations, duplicates, rejected, generated, completed, failed, late
    FROM batches WHERE batch = $batch
"""
_SOURCES = """
    SELECT s.name, s.sha256, s.rows FROM (SELECT unnest(sources) AS s FROM batches WHERE batch = $batch)
"""
_REJECTS = """
    SELECT source, source_row, reason, field, message FROM rejects WHERE batch = $batch ORDER BY n LIMIT 20
"""
_SEAL = "SELECT seal, previous_seal FROM batches WHERE batch = $batch"
_DIGESTS = """
    SELECT d."table", d."rows", d.digest FROM (SELECT unnest(digests) AS d FROM batches WHERE batch = $batch)
"""
