"""Legs of entries and what there is to say about each entry, for the few that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from earnbook.ledger.schema import Bucket, EntityType, EntryType
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import INSTANT, LAST_SYSTEM_ACCOUNT, ReportBook, holder_number, instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose accounts: a participant or group by external id, or a program's wallet by its key."""

    kind: EntityType
    key: str


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


ENTRY_COLUMNS: dict[str, pa.DataType | None] = {
    "seq": pa.int64(),
    "created_at": INSTANT,
    "action_type": pa.string(),
    "program": pa.string(),
}
CAUSE_COLUMNS: dict[str, pa.DataType | None] = {
    "event": pa.string(),
    "operation": pa.string(),
    "event_timestamp": INSTANT,
    "rule": pa.string(),
    "reference_id": pa.string(),
    "description": pa.string(),
}


def entry_details(book: ReportBook, legs: Sequence[Leg]) -> dict[int, dict[str, object]]:
    """By entry: when, what, of which program, caused by which event or operation, rule, reference, description.

    `created_us` is `created_at` in microseconds.
    """
    shown = {leg.entry_seq: leg for leg in legs}
    if not shown:
        return {}
    lots = {asset.number for asset in book.assets if asset.has_lots}
    query = _DETAILS.format(
        shown=_values([(leg.entry_seq, leg.log_seq, leg.action) for leg in shown.values()]),
        due=_rows("due_entries", "entry_seq", [leg.entry_seq for leg in shown.values() if not leg.log_seq]),
        events=_rows("events", "log_seq", [leg.log_seq for leg in shown.values() if leg.action]),
        operations=_rows("operations", "log_seq", [leg.log_seq for leg in shown.values() if not leg.action]),
        lots=_rows("lots", "entry_seq", [leg.entry_seq for leg in shown.values() if leg.asset in lots]),
    )
    found = book.connection.execute(query).fetchall()
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


def accounts_of(book: ReportBook, owner: Owner, bucket: Bucket | None) -> list[int]:
    """The account numbers of an owner."""
    if owner.kind is EntityType.PROGRAM:
        for number, key in book.programs.items():
            if key == owner.key:
                return [-number]
        raise EarnbookError(f"there is no program {owner.key!r}", f"The book has {', '.join(book.programs.values())}.")
    number = holder_number(book.connection, owner.kind, owner.key)
    return [number * 4 + int(one) for one in Bucket if bucket in (None, one)]


def listed_numbers(numbers: Sequence[int]) -> str:
    """Numbers for an IN; 0, which nothing has, where there are none."""
    return ", ".join(map(str, numbers)) or "0"


def _rows(table: str, number: str, wanted: Sequence[int]) -> str:
    """The rows of a table with some numbers.

    Rows lie in number order, so that each of a few numbers is found by the zone maps; many are found by one scan.
    """
    numbers = sorted(set(wanted))
    if not numbers:
        return f"(SELECT * FROM store.{table} WHERE false)"
    if len(numbers) > _POINTS_MAX:
        within = f"{number} BETWEEN {numbers[0]} AND {numbers[-1]}"
        return f"(SELECT * FROM store.{table} WHERE {within} AND {number} IN ({', '.join(map(str, numbers))}))"
    return "(" + " UNION ALL ".join(f"SELECT * FROM store.{table} WHERE {number} = {one}" for one in numbers) + ")"


def _values(rows: Sequence[tuple[int, int, int]]) -> str:
    return "(VALUES " + ", ".join(str(row) for row in rows) + ")"


_POINTS_MAX = 200
_DETAILS = """
    WITH shown(entry_seq, log_seq, action) AS MATERIALIZED {shown},
    lots AS {lots},
    retried AS (
        SELECT log_seq, max(processed_at) AS processed_at FROM store.attempts
        WHERE log_seq IN (SELECT log_seq FROM shown) GROUP BY log_seq
    ), redeemed AS (
        SELECT d.log_seq, d.program, 'Redeemed: ' || w.name AS description
        FROM store.redemptions AS d
        LEFT JOIN store.reward_versions AS w ON w.reward = d.reward AND w.version = d.reward_version
        WHERE d.log_seq IN (SELECT log_seq FROM shown)
        UNION ALL
        SELECT v.log_seq, d.program, NULL FROM store.reversals AS v
        JOIN store.redemptions AS d ON d.log_seq = v.redemption
        WHERE v.log_seq IN (SELECT log_seq FROM shown)
    ), referred AS (
        SELECT l.entry_seq, d.reference FROM lots AS l JOIN store.lot_details AS d USING (lot_seq)
        WHERE d.reference IS NOT NULL AND d.root = d.lot_seq
        UNION ALL
        SELECT entry_seq, reference FROM store.entry_references WHERE entry_seq IN (SELECT entry_seq FROM shown)
    )
    SELECT s.entry_seq, coalesce(u.created_at, t.processed_at, e.processed_at, o.processed_at),
        coalesce(u.program, r.program, e.program, o.program), e.idempotency_key, o.idempotency_key, e.event_timestamp,
        k.key, f.reference,
        coalesce(a.description, o.fields ->> CASE o.type WHEN 8 THEN '$.reason' ELSE '$.description' END, r.description)
    FROM shown AS s
    LEFT JOIN {due} AS u ON u.entry_seq = s.entry_seq
    LEFT JOIN {events} AS e ON e.log_seq = s.log_seq
    LEFT JOIN {operations} AS o ON o.log_seq = s.log_seq
    LEFT JOIN retried AS t ON t.log_seq = s.log_seq
    LEFT JOIN redeemed AS r ON r.log_seq = s.log_seq
    LEFT JOIN referred AS f ON f.entry_seq = s.entry_seq
    LEFT JOIN store.actions AS a ON a.number = s.action
    LEFT JOIN store.rule_list AS k ON k.number = a.rule
"""
