"""Legs of entries and what there is to say about each entry, for the few that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from earnbook.ledger.schema import Bucket, EntryType
from earnbook.pipeline.reports import LAST_SYSTEM_ACCOUNT, ReportBook, instant


class Leg(NamedTuple):
    """A posting (§18.2) as reports need it; `place` is the stored position of its first movement."""

    entry_seq: int
    account: int
    asset: int
    amount: int
    place: int
    entry_type: int
    log_seq: int
    action: int

    @property
    def order(self) -> tuple[int, bool, int]:
        """Entries by number; in each negative postings first, then as they were written (§9.2)."""
        return self.entry_seq, self.amount > 0, self.place

    @property
    def bucket(self) -> str:
        """The bucket of the account; wallets and system accounts have AVAILABLE only."""
        return Bucket(self.account % 4).name if self.account > LAST_SYSTEM_ACCOUNT else Bucket.AVAILABLE.name


def legs_of(book: ReportBook, movements: str) -> list[Leg]:
    """The postings that movements add up to, in no order: one per account, but each recipient of a transfer (§16.4).

    `movements` is a query for rows of `store.movements` with their `rowid` as `place`; an account's legs are whole
    where all movements of the account in an entry are among them.
    """
    query = f"""
        WITH m AS MATERIALIZED ({movements})
        SELECT entry_seq, account, any_value(asset), sum(amount), min(place), any_value(entry_type),
            any_value(log_seq), any_value(action)
        FROM (SELECT *, debit AS account, -amount AS signed FROM m
            UNION ALL SELECT *, credit, amount FROM m WHERE entry_type <> {EntryType.TRANSFER})
            AS s(entry_seq, log_seq, entry_type, action, debit, credit, asset, unsigned, lot_seq, place, account,
                amount)
        GROUP BY entry_seq, account HAVING sum(amount) <> 0
        UNION ALL
        SELECT entry_seq, credit, asset, amount, place, entry_type, log_seq, action FROM m
        WHERE entry_type = {EntryType.TRANSFER}
    """
    return [Leg(*map(int, row)) for row in book.connection.execute(query).fetchall()]


def entry_details(book: ReportBook, legs: Sequence[Leg]) -> dict[int, dict[str, object]]:
    """By entry: when, what, of which program, caused by which event or operation, rule, reference, description.

    `created_us` is `created_at` in microseconds.
    """
    shown = {leg.entry_seq: leg for leg in legs}
    if not shown:
        return {}
    records = sorted({leg.log_seq for leg in shown.values()})
    keys = pa.table(
        {
            "entry_seq": pa.array(list(shown), pa.int64()),
            "log_seq": pa.array([leg.log_seq for leg in shown.values()], pa.int64()),
            "action": pa.array([leg.action for leg in shown.values()], pa.int32()),
        }
    )
    book.connection.register("shown_entries", keys)
    query = _DETAILS.format(
        records=f"log_seq BETWEEN {records[0]} AND {records[-1]}",
        entries=f"entry_seq BETWEEN {min(shown)} AND {max(shown)}",
    )
    found = book.connection.execute(query).fetchall()
    book.connection.unregister("shown_entries")
    return {
        int(seq): {
            "seq": int(seq),
            "created_us": created_at,
            "created_at": instant(created_at),
            "action_type": EntryType(shown[int(seq)].entry_type).name,
            "program": book.program_key(program),
            "event": event,
            "operation": operation,
            "event_timestamp": instant(event_timestamp),
            "rule": rule,
            "reference_id": reference,
            "description": description if shown[int(seq)].entry_type != EntryType.EXPIRATION else None,
        }
        for seq, created_at, program, event, operation, event_timestamp, rule, reference, description in found
    }


_DETAILS = """
    WITH retried AS (
        SELECT log_seq, max(processed_at) AS processed_at FROM store.attempts
        WHERE log_seq IN (SELECT log_seq FROM shown_entries) GROUP BY log_seq
    ), redeemed AS (
        SELECT d.log_seq, d.program, 'Redeemed: ' || w.name AS description
        FROM store.redemptions AS d
        LEFT JOIN store.reward_versions AS w ON w.reward = d.reward AND w.version = d.reward_version
        WHERE d.log_seq IN (SELECT log_seq FROM shown_entries)
        UNION ALL
        SELECT v.log_seq, d.program, NULL FROM store.reversals AS v
        JOIN store.redemptions AS d ON d.log_seq = v.redemption
        WHERE v.log_seq IN (SELECT log_seq FROM shown_entries)
    ), referred AS (
        SELECT l.entry_seq, d.reference FROM store.lots AS l JOIN store.lot_details AS d USING (lot_seq)
        WHERE l.{entries} AND d.reference IS NOT NULL AND d.root = d.lot_seq
            AND l.entry_seq IN (SELECT entry_seq FROM shown_entries)
        UNION ALL
        SELECT entry_seq, reference FROM store.entry_references
        WHERE entry_seq IN (SELECT entry_seq FROM shown_entries)
    )
    SELECT s.entry_seq, coalesce(u.created_at, t.processed_at, e.processed_at, o.processed_at),
        coalesce(u.program, r.program, e.program, o.program), e.idempotency_key, o.idempotency_key, e.event_timestamp,
        k.key, f.reference,
        coalesce(a.description, o.fields ->> CASE o.type WHEN 8 THEN '$.reason' ELSE '$.description' END, r.description)
    FROM shown_entries AS s
    LEFT JOIN store.due_entries AS u ON u.entry_seq = s.entry_seq AND u.{entries}
    LEFT JOIN store.events AS e ON e.log_seq = s.log_seq AND e.{records}
    LEFT JOIN store.operations AS o ON o.log_seq = s.log_seq AND o.{records}
    LEFT JOIN retried AS t ON t.log_seq = s.log_seq
    LEFT JOIN redeemed AS r ON r.log_seq = s.log_seq
    LEFT JOIN referred AS f ON f.entry_seq = s.entry_seq
    LEFT JOIN store.actions AS a ON a.number = s.action
    LEFT JOIN store.rule_list AS k ON k.number = a.rule
"""
