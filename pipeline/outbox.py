"""The outbox (§22.1, §22.2): which notifications a batch writes, as rows of integers in the batch's own transaction.

In: the rows of a batch, before they are appended, so that the book still stands as before it. Out: rows of
`store.outbox`. A row says what happened by the number of the journal, change or log row that made it happen, whose
account it is about, and what stood on that account after it; the view `outbox` renders bodies from that. Nothing is
done for a batch that writes no type.

Order: records by their place in the log (a further attempt stands where its `retry_event` does), within a record as
§22.1 says. Due work stands after the last record that was processed before it. That record is the last one whose
processing time is smaller; a tier may also fall due at the very time of the record that set it, so a change comes
after the last record that set a tier before it as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import ChangeOperation, EntityType, EntryType, Outcome, StateType
from earnbook.pipeline.config import OutboxMode
from earnbook.pipeline.store_rows import one_row
from earnbook.rules.models_automations import Webhook


class NotificationType(IntEnum):
    """The types of §22.2; the last three only with `--webhook-extensions`."""

    BALANCE_CREDITED = 1
    BALANCE_DEBITED = 2
    BALANCE_EXPIRED = 3
    BALANCE_HELD = 4
    BALANCE_RELEASED = 5
    REDEMPTION_COMPLETED = 6
    REDEMPTION_REVERSED = 7
    TRANSFER_COMPLETED = 8
    PROGRAM_FUNDED = 9
    PROGRAM_BURNED = 10
    EVENT_COMPLETED = 11
    EVENT_FAILED = 12
    PARTICIPANT_CREATED = 13
    PARTICIPANT_TIER_CHANGED = 14
    BALANCE_FORFEITED = 15
    BALANCE_VOIDED = 16
    BALANCE_MATURED = 17

    @property
    def text(self) -> str:
        """How the type is printed: its object, a dot, what happened to it."""
        return self.name.lower().replace("_", ".", 1)


EXTENSIONS = frozenset(
    {NotificationType.BALANCE_FORFEITED, NotificationType.BALANCE_VOIDED, NotificationType.BALANCE_MATURED}
)

TYPE_OF_ENTRY: Mapping[EntryType, NotificationType] = {
    EntryType.CREDIT: NotificationType.BALANCE_CREDITED,
    EntryType.SETTLE: NotificationType.BALANCE_CREDITED,
    EntryType.DEBIT: NotificationType.BALANCE_DEBITED,
    EntryType.EXPIRATION: NotificationType.BALANCE_EXPIRED,
    EntryType.HOLD: NotificationType.BALANCE_HELD,
    EntryType.RELEASE: NotificationType.BALANCE_RELEASED,
    EntryType.REDEMPTION: NotificationType.REDEMPTION_COMPLETED,
    EntryType.REDEMPTION_REVERSAL: NotificationType.REDEMPTION_REVERSED,
    EntryType.TRANSFER: NotificationType.TRANSFER_COMPLETED,
    EntryType.FUND: NotificationType.PROGRAM_FUNDED,
    EntryType.BURN: NotificationType.PROGRAM_BURNED,
    EntryType.FORFEIT: NotificationType.BALANCE_FORFEITED,
    EntryType.VOID_HOLD: NotificationType.BALANCE_VOIDED,
    EntryType.MATURITY: NotificationType.BALANCE_MATURED,
}
"""What an entry of each type announces, once, whatever it moves."""

RECEIVING_ENTRIES = (
    EntryType.CREDIT,
    EntryType.SETTLE,
    EntryType.HOLD,
    EntryType.RELEASE,
    EntryType.MATURITY,
    EntryType.REDEMPTION_REVERSAL,
    EntryType.FUND,
)
"""The entries that are told of the account that receives; the others are told of the one that gives."""

ANY_TYPE = "*"
"""In `enabled_events`: every type."""

_BATCH_ROWS = (
    "movements",
    "due_entries",
    "events",
    "operations",
    "attempts",
    "holders",
    "changes",
    "due_changes",
    "balance_snapshots",
)


def written_types(mode: OutboxMode, webhooks: Iterable[Webhook], *, extensions: bool) -> int:
    """The types that a batch writes, as a mask with bit 2^code for each; 0 where it writes none."""
    if mode is OutboxMode.NONE:
        return 0
    possible = [kind for kind in NotificationType if extensions or kind not in EXTENSIONS]
    if mode is OutboxMode.ENABLED:
        asked = {name for webhook in webhooks if webhook.status == "ACTIVE" for name in webhook.enabled_events}
        possible = [kind for kind in possible if ANY_TYPE in asked or kind.text in asked]
    return sum(1 << kind for kind in possible)


def write_outbox(
    connection: duckdb.DuckDBPyConnection, rows: Mapping[str, pa.Table], *, batch: int, types: int
) -> None:
    """Appends the notifications of a batch; in its transaction, before its rows are appended."""
    if not types:
        return
    row = one_row(connection, "SELECT coalesce(max(n), 0) FROM store.outbox")
    before = 0 if row is None else int(row[0])
    for name in _BATCH_ROWS:
        connection.register(f"outbox_{name}", rows[name])
    connection.execute(_INSERT, {"types": types, "batch": batch, "before": before})
    for name in _BATCH_ROWS:
        connection.unregister(f"outbox_{name}")


def count_notifications(connection: duckdb.DuckDBPyConnection, batches: Sequence[int]) -> int:
    """How many notifications these batches wrote."""
    row = one_row(connection, "SELECT count(*) FROM store.outbox WHERE batch IN (SELECT unnest(?))", [list(batches)])
    return 0 if row is None else int(row[0])


def entry_type_cases(column: str) -> str:
    """SQL for the notification type of an entry type."""
    cases = " ".join(f"WHEN {int(entry)} THEN {int(kind)}" for entry, kind in TYPE_OF_ENTRY.items())
    return f"CASE {column} {cases} END"


_RECEIVING = ", ".join(str(int(entry)) for entry in RECEIVING_ENTRIES)

_INSERT = f"""
INSERT INTO store.outbox
WITH
records AS (
    SELECT log_seq, processed_at FROM outbox_events UNION ALL SELECT log_seq, processed_at FROM outbox_operations),
-- Several records have one processing time: of each, the last.
times AS (SELECT processed_at, max(log_seq) AS log_seq FROM records GROUP BY processed_at),

-- Entries, with the one account that each is told of. A settle gives back to its sources what it does not need.
entries AS MATERIALIZED (
    SELECT entry_seq, any_value(log_seq) AS log_seq, any_value(asset) AS asset,
        any_value({entry_type_cases("entry_type")}) AS type,
        max(CASE WHEN entry_type = {EntryType.SETTLE} AND credit <= 3 THEN NULL
            WHEN entry_type IN ({_RECEIVING}) THEN credit ELSE debit END) AS account
    FROM outbox_movements WHERE $types >> ({entry_type_cases("entry_type")}) & 1 = 1 GROUP BY entry_seq),
legs AS (
    SELECT entry_seq, account, asset, sum(amount) AS amount
    FROM (SELECT entry_seq, debit AS account, asset, -amount AS amount FROM outbox_movements
        UNION ALL SELECT entry_seq, credit, asset, amount FROM outbox_movements)
    WHERE (account, asset) IN (SELECT (account, asset) FROM entries) GROUP BY ALL),
-- What stood on an account after an entry: what stands on it after the batch, without what came after the entry.
balances AS (
    SELECT l.entry_seq, l.account, s.amount - coalesce(sum(l.amount) OVER (PARTITION BY l.account, l.asset
        ORDER BY l.entry_seq ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING), 0) AS balance
    FROM legs AS l JOIN outbox_balance_snapshots AS s ON s.account = l.account AND s.asset = l.asset),
entry_places AS (
    SELECT e.entry_seq, e.type, e.account, coalesce(a.by_log_seq, nullif(e.log_seq, 0), t.log_seq, 0) AS place,
        e.log_seq = 0 AS is_due, d.created_at AS due_at
    FROM entries AS e
    LEFT JOIN outbox_attempts AS a ON a.log_seq = e.log_seq AND a.outcome = {Outcome.OK}
    LEFT JOIN outbox_due_entries AS d ON d.entry_seq = e.entry_seq
    ASOF LEFT JOIN times AS t ON coalesce(d.created_at, 0) > t.processed_at),

-- Changes that matter here: of tiers, and the first of every participant.
wanted_changes AS MATERIALIZED (
    SELECT change_seq, log_seq, entity, state_type, key, CASE operation WHEN {ChangeOperation.SET} THEN value ELSE 0 END
        AS level
    FROM outbox_changes
    WHERE state_type = {StateType.TIER} AND $types >> {NotificationType.PARTICIPANT_TIER_CHANGED} & 1 = 1
        OR state_type = {StateType.PARTICIPANT} AND $types >> {NotificationType.PARTICIPANT_CREATED} & 1 = 1),
change_places AS (
    SELECT c.change_seq, c.entity, c.state_type, coalesce(a.by_log_seq, nullif(c.log_seq, 0),
            greatest(t.log_seq, coalesce(b.by_log_seq, r.log_seq)), 0) AS place,
        c.log_seq = 0 AS is_due, d.changed_at AS due_at
    FROM wanted_changes AS c
    LEFT JOIN outbox_attempts AS a ON a.log_seq = c.log_seq
        AND c.change_seq BETWEEN a.first_change_seq AND a.last_change_seq
    LEFT JOIN outbox_due_changes AS d ON d.change_seq = c.change_seq
    ASOF LEFT JOIN times AS t ON coalesce(d.changed_at, 0) > t.processed_at
    ASOF LEFT JOIN (SELECT change_seq, log_seq FROM wanted_changes WHERE log_seq > 0) AS r
        ON c.change_seq > r.change_seq
    LEFT JOIN outbox_attempts AS b ON b.log_seq = r.log_seq
        AND r.change_seq BETWEEN b.first_change_seq AND b.last_change_seq),
-- A change that leaves the level as it was moves only its dates.
tier_steps AS (
    SELECT c.change_seq, c.level, coalesce(lag(c.level) OVER (PARTITION BY c.entity, c.key ORDER BY c.change_seq),
        t.level, 0) AS level_before
    FROM wanted_changes AS c
    LEFT JOIN (SELECT holder, tier, level FROM store.current_tiers
            WHERE holder IN (SELECT entity FROM wanted_changes WHERE state_type = {StateType.TIER})) AS t
        ON t.holder = c.entity AND t.tier = c.key
    WHERE c.state_type = {StateType.TIER}),

notifications AS (
    SELECT place, 0 AS is_due, 0 AS due_at, 1 AS stage, h.number, {NotificationType.PARTICIPANT_CREATED} AS type,
        0 AS attempt, 0 AS account, 0 AS balance, r.processed_at AS created_at
    FROM outbox_holders AS h
    JOIN (SELECT entity, min(place) AS place FROM change_places WHERE state_type = {StateType.PARTICIPANT}
        GROUP BY entity) AS p ON p.entity = h.number
    JOIN records AS r ON r.log_seq = p.place
    WHERE h.kind = {EntityType.PARTICIPANT}
    UNION ALL
    SELECT p.place, CAST(p.is_due AS INTEGER), coalesce(p.due_at, 0), 2, p.entry_seq, p.type, 0, p.account, b.balance,
        coalesce(p.due_at, r.processed_at)
    FROM entry_places AS p
    JOIN balances AS b ON b.entry_seq = p.entry_seq AND b.account = p.account
    LEFT JOIN records AS r ON r.log_seq = p.place
    UNION ALL
    SELECT p.place, CAST(p.is_due AS INTEGER), coalesce(p.due_at, 0), 3, p.change_seq,
        {NotificationType.PARTICIPANT_TIER_CHANGED}, 0, 0, 0,
        coalesce(p.due_at, r.processed_at)
    FROM change_places AS p
    JOIN tier_steps AS s ON s.change_seq = p.change_seq AND s.level <> s.level_before
    LEFT JOIN records AS r ON r.log_seq = p.place
    UNION ALL
    SELECT e.place, 0, 0, 4, e.log_seq, e.type, e.attempt, 0, 0, e.processed_at
    FROM (SELECT log_seq AS place, log_seq, 1 AS attempt, processed_at, CASE outcome WHEN {Outcome.OK}
                THEN {NotificationType.EVENT_COMPLETED} ELSE {NotificationType.EVENT_FAILED} END AS type
            FROM outbox_events
        UNION ALL
        SELECT by_log_seq, log_seq, attempt, processed_at, CASE outcome WHEN {Outcome.OK}
                THEN {NotificationType.EVENT_COMPLETED} ELSE {NotificationType.EVENT_FAILED} END
            FROM outbox_attempts) AS e
    WHERE $types >> e.type & 1 = 1)
SELECT $before + row_number() OVER (ORDER BY place, is_due, due_at, stage, number), $batch, type, number, attempt,
    account, balance, created_at
FROM notifications ORDER BY ALL
"""
