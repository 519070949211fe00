"""One thing of a book, explained: a participant, an event, an entry or a batch.

In: a book and a key. Out: `Shown`: sections of rows from the public views, most telling first. Nothing is computed that
the views do not say, except an event's impact, which is the sum of its postings (§10.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.store_rows import one_row

EVENTS_SHOWN_DEFAULT = 10
"""The last events of a participant that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows about one aspect; `single` where there is one row at most, `amounts` as in a `Report`."""

    name: str
    title: str
    table: pa.Table
    single: bool = False
    amounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What there is to say about one thing."""

    title: str
    sections: tuple[Section, ...]


def show_participant(path: Path, key: str, *, events_max: int = EVENTS_SHOWN_DEFAULT) -> Shown:
    """A participant by external id or id: state, balances, open lots, last events (newest first).

    Raises `EarnbookError` when there is no such participant.
    """
    with reading(path) as connection:
        number, external_id = _find_participant(connection, key)
        read = _Reader(connection, {"number": number, "key": external_id, "events_max": events_max})
        sections = (
            read.section("participant", "Participant", _PARTICIPANT, single=True),
            read.section("balances", "Balances", _BALANCES, amounts=("available", "held", "deferred")),
            read.section("lots", "Open lots, in the order of use", _LOTS, amounts=("remaining", "amount")),
            read.section("enrollments", "Enrollments", _ENROLLMENTS),
            read.section("tags", "Tags", _TAGS),
            read.section("counters", "Counters", _COUNTERS),
            read.section("attributes", "Attributes", _ATTRIBUTES),
            read.section("tiers", "Tiers", _TIERS),
            read.section("events", "Last events", _LAST_EVENTS),
        )
    return Shown(title=f"Participant {external_id}", sections=sections)


def show_event(path: Path, key: str, *, program: str | None = None) -> Shown:
    """An event by idempotency key or id: outcome, evaluations, entries with postings, changes, impact (§10.6).

    Raises `EarnbookError` when there is no such event, or several programs have one of this key.
    """
    with reading(path) as connection:
        log_seq = _find_event(connection, key, program)
        first, last = _entry_range(connection, log_seq)
        read = _Reader(connection, {"log_seq": log_seq, "first": first, "last": last})
        sections = (
            read.section("event", "Event", _EVENT, single=True),
            read.section("evaluations", "Rules", _EVALUATIONS),
            read.section("entries", "Entries", _ENTRIES, amounts=("amount",)),
            read.section("postings", "Postings", _POSTINGS, amounts=("amount",)),
            read.section("changes", "Changes of state", _CHANGES),
            read.section("impact", "Impact on balances", _IMPACT, amounts=("amount",)),
        )
    return Shown(title=f"Event {key}", sections=sections)


def show_entry(path: Path, key: str) -> Shown:
    """A journal entry by number or id: postings, lots it moved, the redemption it is about, and what it follows from.

    Raises `EarnbookError` when there is no such entry.
    """
    with reading(path) as connection:
        seq = _find_entry(connection, key)
        read = _Reader(connection, {"first": seq, "last": seq, "seq": seq})
        sections = (
            read.section("entry", "Entry", _ENTRY, single=True, amounts=("amount",)),
            read.section("postings", "Postings", _POSTINGS, amounts=("amount",)),
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
        read = _Reader(connection, {"batch": batch})
        sections = (
            read.section("batch", "Batch", _BATCH, single=True),
            read.section("counts", "Counts", _COUNTS, single=True),
            read.section("sources", "Sources", _SOURCES),
            read.section("rejects", "Rejected rows", _REJECTS),
            read.section("seal", "Seal", _SEAL, single=True),
            read.section("digests", "Sealed tables", _DIGESTS),
        )
    return Shown(title=f"Batch {batch}", sections=sections)


class _Reader:
    """Runs the queries of one thing with its parameters."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, parameters: dict[str, object]) -> None:
        self._connection = connection
        self._parameters = parameters

    def section(
        self, name: str, title: str, query: str, *, single: bool = False, amounts: tuple[str, ...] = ()
    ) -> Section:
        used = {key: value for key, value in self._parameters.items() if f"${key}" in query}
        table = self._connection.sql(query, params=used).to_arrow_table()
        return Section(name=name, title=title, table=table, single=single, amounts=amounts)


# --- finding --------------------------------------------------------------------------------------------------------


def _find_participant(connection: duckdb.DuckDBPyConnection, key: str) -> tuple[int, str]:
    column = "id" if _is_uuid(key) else "external_id"
    query = f"SELECT number, external_id FROM participants WHERE {column} = ?"
    row = one_row(connection, query, [key])
    if row is None:
        query = "SELECT external_id FROM participants ORDER BY number LIMIT 3"
        known = ", ".join(str(name) for (name,) in connection.execute(query).fetchall())
        raise EarnbookError(f"there is no participant {key!r}", f"The first ones are {known}." if known else "")
    return int(row[0]), str(row[1])


def _find_event(connection: duckdb.DuckDBPyConnection, key: str, program: str | None) -> int:
    column = "id" if _is_uuid(key) else "idempotency_key"
    rows = connection.execute(f"SELECT log_seq, program FROM event_status WHERE {column} = ?", [key]).fetchall()
    found = [(int(log_seq), str(owner)) for log_seq, owner in rows if program in (None, owner)]
    if not found:
        raise EarnbookError(f"there is no event {key!r}", "Give its idempotency key or its id.")
    if len(found) > 1:
        programs = ", ".join(owner for _, owner in found)
        raise EarnbookError(f"{len(found)} programs have an event {key!r}: {programs}", "Name one with --program.")
    return found[0][0]


def _entry_range(connection: duckdb.DuckDBPyConnection, log_seq: int) -> tuple[int, int]:
    """First and last entry of a record; an empty range where it made none."""
    query = "SELECT coalesce(min(entry_seq), 1), coalesce(max(entry_seq), 0) FROM store.movements WHERE log_seq = ?"
    row = one_row(connection, query, [log_seq])
    assert row is not None, "an aggregate has one row"
    return int(row[0]), int(row[1])


def _find_entry(connection: duckdb.DuckDBPyConnection, key: str) -> int:
    if not _is_uuid(key) and not key.isdecimal():
        raise EarnbookError(f"{key!r} is no entry", "Give its number (seq) or its id.")
    column = "id" if _is_uuid(key) else "seq"
    row = one_row(connection, f"SELECT seq FROM entries WHERE {column} = ?", [key])
    if row is None:
        last = one_row(connection, "SELECT coalesce(max(last_entry_seq), 0) FROM batches")
        raise EarnbookError(f"there is no entry {key!r}", f"The last one has number {last[0] if last else 0}.")
    return int(row[0])


def _find_batch(connection: duckdb.DuckDBPyConnection, key: str) -> int:
    row = one_row(connection, "SELECT coalesce(max(batch), 0) FROM batches")
    last = int(row[0]) if row is not None else 0
    batch = last if key == "last" else int(key) if key.isdecimal() else 0
    if not 1 <= batch <= last:
        known = f"The book has batches 1 to {last}." if last else "The book has no batch yet."
        raise EarnbookError(f"there is no batch {key!r}", known)
    return batch


def _is_uuid(text: str) -> bool:
    """Whether a key has the form of an id (§2.2)."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


# --- queries --------------------------------------------------------------------------------------------------------

_PARTICIPANT = "SELECT external_id, id, status, created_at FROM participants WHERE number = $number"
_BALANCES = """
    SELECT b.asset, a.scale, b.available, b.held, b.deferred
    FROM participant_balances AS b JOIN assets AS a ON a.symbol = b.asset
    WHERE b.external_id = $key ORDER BY a.number
"""
_LOTS = """
    SELECT o.lot_seq, a.symbol AS asset, a.scale, store.lot_status_name(o.status) AS status,
        store.units(o.remaining, a.unit) AS remaining, store.units(l.amount, a.unit) AS amount,
        store.instant(l.created_at) AS created_at, store.instant(o.matures_at) AS matures_at,
        store.instant(o.expires_at) AS expires_at, coalesce(o.hold_reference, l.reference) AS reference_id
    FROM store.current_open_lots AS o
    JOIN store.full_lots AS l USING (lot_seq)
    JOIN store.asset_list AS a ON a.number = o.asset
    WHERE o.holder = $number ORDER BY o.asset, l.created_at, l.root, o.lot_seq
"""
_ENROLLMENTS = "SELECT program, status FROM enrollments WHERE external_id = $key ORDER BY program"
_TAGS = "SELECT tag FROM tags WHERE entity_type = 'PARTICIPANT' AND entity = $key ORDER BY tag"
_COUNTERS = """
    SELECT key, value, last_reset_at, CAST(reset_after AS VARCHAR) AS reset_after FROM counters
    WHERE entity_type = 'PARTICIPANT' AND entity = $key ORDER BY key
"""
_ATTRIBUTES = "SELECT key, value FROM attributes WHERE entity_type = 'PARTICIPANT' AND entity = $key ORDER BY key"
_TIERS = """
    SELECT program, tier, level, rank, acquired_at, expires_at FROM tiers WHERE external_id = $key
    ORDER BY program, tier
"""
_LAST_EVENTS = """
    SELECT log_seq, program, idempotency_key, event_timestamp, status, code FROM event_status
    WHERE external_id = $key ORDER BY log_seq DESC LIMIT $events_max
"""
_EVENT = """
    SELECT s.log_seq, s.id, s.program, s.idempotency_key, s.external_id, s.event_timestamp, s.processed_at, s.late,
        s.status, s.code, s.failed_rule, s.failed_action, e.batch, e.source, e.source_row, e.event_data
    FROM event_status AS s JOIN events AS e USING (log_seq) WHERE s.log_seq = $log_seq
"""
_EVALUATIONS = """
    SELECT attempt, rule, rule_version, rule_order, status, reason, stopped_by_rule, applied FROM evaluations
    WHERE log_seq = $log_seq ORDER BY attempt, rule_order
"""
_ENTRIES = """
    SELECT e.seq, e.action_type, e.asset, a.scale, e.amount, e.rule, e.rule_version, e.action_index, e.reference_id,
        e.description
    FROM entries AS e JOIN assets AS a ON a.symbol = e.asset WHERE e.seq BETWEEN $first AND $last ORDER BY e.seq
"""
_POSTINGS = """
    SELECT p.entry_seq, p.index, p.entity_type, p.entity, p.asset, p.bucket, a.scale, p.amount
    FROM postings AS p JOIN assets AS a ON a.symbol = p.asset
    WHERE p.entry_seq BETWEEN $first AND $last ORDER BY p.entry_seq, p.index
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
