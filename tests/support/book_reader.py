"""A book file as a logical book: read through its public views, as an analyst would.

Sources must be named `run-<number>.ndjson`, number from 0: rejects are told apart by it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from tests.support.logical import (
    Account,
    ActionResult,
    Automation,
    Budget,
    Change,
    Counter,
    Counts,
    Entry,
    Evaluation,
    Group,
    LogicalBook,
    Lot,
    LotMove,
    Member,
    Participant,
    Posting,
    Record,
    RecordOutcome,
    Redemption,
    Reject,
    Reversal,
    Reward,
    Scheduled,
    Subscription,
    Tier,
)
from tests.support.oracle_times import parse_time

PROFILE = ("email", "phone", "first_name", "last_name", "display_name")
ENTRIES = """
    SELECT e.seq, epoch_us(e.created_at) AS created_at, e.action_type, e.program, e.asset, e.amount_minor AS amount,
        e.cause, coalesce(e.log_seq, l.lot_seq) AS cause_number, e.rule, e.rule_version, e.action_index,
        e.reference_id, e.description, r.log_seq AS redemption
    FROM entries AS e LEFT JOIN lots AS l ON e.cause = 'DUE' AND l.id = e.cause_id
    LEFT JOIN redemptions AS r ON r.id = e.redemption_id ORDER BY e.seq
"""
POSTINGS = """
    SELECT entry_seq, entity_type, entity, asset, bucket, amount_minor AS amount FROM postings ORDER BY entry_seq, index
"""
LOTS = """
    SELECT l.lot_seq, l.holder_type, l.holder, l.asset, l.program, l.source_type, p.key AS source, l.root_lot_seq,
        l.amount_minor AS amount, epoch_us(l.created_at) AS created_at, epoch_us(l.expires_at) AS expires_at,
        epoch_us(l.matures_at) AS matures_at, l.reference_id, l.remaining_minor AS remaining, l.status,
        l.hold_reference_id, l.provisional
    FROM lots AS l LEFT JOIN programs AS p ON p.id = l.source_id ORDER BY l.lot_seq
"""
LOT_MOVES = """
    SELECT entry_seq, index, lot_seq, kind, status_before, remaining_before_minor AS remaining_before, status_after,
        remaining_after_minor AS remaining_after, hold_reference_after, repaid_minor AS repaid
    FROM lot_moves ORDER BY entry_seq, index
"""
RECORDS = """
    SELECT e.log_seq, 'EVENT' AS kind, e.event_type AS type, e.program, e.idempotency_key,
        epoch_us(e.event_timestamp) AS timestamp, e.late, p.log_seq AS parent, e.generation, e.automation
    FROM events AS e LEFT JOIN events AS p ON p.id = e.parent_event_id
    UNION ALL
    SELECT log_seq, 'OPERATION', type, program, idempotency_key, epoch_us(effective_at), late, NULL, 0, NULL
    FROM operations
    ORDER BY log_seq
"""
OUTCOMES = """
    SELECT o.log_seq, o.attempt, epoch_us(o.processed_at) AS processed_at, p.external_id AS participant,
        r.external_id AS recipient, o.status, o.code, o.rule, o.action_index, b.log_seq AS by_operation
    FROM outcomes AS o LEFT JOIN operations AS b ON b.id = o.by_operation_id
    LEFT JOIN participants AS p ON p.id = o.participant_id
    LEFT JOIN participants AS r ON r.id = o.recipient_id ORDER BY o.log_seq, o.attempt
"""
EVALUATIONS = """
    SELECT log_seq, attempt, rule, rule_version, rule_order, status, reason, stopped_by_rule, applied, actions
    FROM evaluations ORDER BY log_seq, attempt, rule_order
"""
SCHEDULE = """
    SELECT idempotency_key, program, external_id AS participant, epoch_us(event_timestamp) AS due_at,
        parent_log_seq AS parent, generation FROM schedule
"""
CHANGES = """
    SELECT change_seq, entity_type, entity, state_type,
        CASE state_type WHEN 'tier' THEN changes.program || '/' || changes.key ELSE changes.key END AS key, operation,
        CASE state_type WHEN 'tier' THEN CAST(old_value -> '$.level' AS VARCHAR) ELSE old_value END AS old_value,
        CASE state_type WHEN 'tier' THEN CAST(new_value -> '$.level' AS VARCHAR) ELSE new_value END AS new_value,
        CASE state_type WHEN 'tier' THEN new_value END AS tier, cause,
        log_seq AS cause_number, rule, action_index, epoch_us(changed_at) AS changed_at,
        o.program || '/' || o.key AS due_object
    FROM changes LEFT JOIN (SELECT CAST(t.id AS UUID) AS cause_id, p.key AS program, t.key
        FROM store.objects AS t JOIN store.objects AS p ON p.kind = 2 AND p.number = t.program WHERE t.kind = 5) AS o
        ON o.cause_id = changes.cause_id AND changes.cause = 'DUE'
    ORDER BY change_seq
"""
TIERS = """
    SELECT external_id, program, tier, level, epoch_us(acquired_at) AS acquired_at, epoch_us(expires_at) AS expires_at,
        epoch_us(downgrade_at) AS downgrade_at, noted_level, own_expiry FROM tiers
"""
SUBSCRIPTIONS = """
    SELECT program, automation, external_id, status, epoch_us(subscribed_at) AS subscribed_at,
        epoch_us(next_at) AS next_at FROM subscriptions
"""
REDEMPTIONS = """
    SELECT log_seq, external_id AS participant, program, asset, amount_minor AS amount, reward, quantity,
        unit_cost_minor AS unit_cost, target_type, target, entry_seq, epoch_us(created_at) AS created_at,
        reversed_amount_minor AS reversed_amount, reversed_quantity, status
    FROM redemptions ORDER BY log_seq
"""
REVERSALS = """
    SELECT log_seq, redemption_log_seq AS redemption, amount_minor AS amount, quantity, reason, entry_seq,
        epoch_us(created_at) AS created_at
    FROM reversals ORDER BY log_seq
"""
COUNTS = """
    SELECT coalesce(sum(rows_read), 0) AS rows_read, coalesce(sum(events), 0) AS events,
        coalesce(sum(operations), 0) AS operations, coalesce(sum(duplicates), 0) AS duplicates,
        coalesce(sum(rejected), 0) AS rejected, coalesce(sum(generated), 0) AS generated,
        coalesce(sum(completed), 0) AS completed, coalesce(sum(failed), 0) AS failed, coalesce(sum(late), 0) AS late
    FROM batches
"""


def read_book(path: Path) -> LogicalBook:
    """Everything a committed book says in its public views."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return _Reader(connection).book()


class _Reader:
    """Queries over one open book."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def book(self) -> LogicalBook:
        balances = self._rows("SELECT entity_type, entity, asset, bucket, amount_minor, overdraft_minor FROM balances")
        return LogicalBook(
            book_clock=self._book_clock(),
            records=tuple(Record(**row) for row in self._rows(RECORDS)),
            outcomes=tuple(RecordOutcome(**row) for row in self._rows(OUTCOMES)),
            entries=self._entries(),
            lots=tuple(_lot(row) for row in self._rows(LOTS)),
            lot_moves=tuple(LotMove(**row) for row in self._rows(LOT_MOVES)),
            evaluations=tuple(_evaluation(row) for row in self._rows(EVALUATIONS)),
            changes=self._changes(),
            redemptions=tuple(_redemption(row) for row in self._rows(REDEMPTIONS)),
            reversals=tuple(Reversal(**row) for row in self._rows(REVERSALS)),
            rejects=frozenset(_reject(row) for row in self._rows("SELECT source, source_row, reason FROM rejects")),
            participants={row["external_id"]: _participant(row) for row in self._rows("SELECT * FROM participants")},
            groups={
                row["key"]: Group(number=row["number"], name=row["name"], status=row["status"])
                for row in self._rows("SELECT key, number, name, status FROM groups")
            },
            members={
                (row["group"], row["external_id"]): Member(role=row["role"], status=row["status"])
                for row in self._rows('SELECT "group", external_id, role, status FROM members')
            },
            programs={row["key"]: row["status"] for row in self._rows("SELECT key, status FROM programs")},
            asset_links=frozenset(
                (row["program"], row["asset"]) for row in self._rows("SELECT program, asset FROM asset_links")
            ),
            enrollments={
                (row["external_id"], row["program"]): row["status"]
                for row in self._rows("SELECT external_id, program, status FROM enrollments")
            },
            balances={_account(row): int(row["amount_minor"]) for row in balances if row["amount_minor"]},
            overdrafts={
                (row["entity_type"], row["entity"], row["asset"]): row["overdraft_minor"]
                for row in balances
                if row["overdraft_minor"]
            },
            counters=self._counters(),
            tags=frozenset(
                (row["entity_type"], row["entity"], row["tag"])
                for row in self._rows("SELECT entity_type, entity, tag FROM tags")
            ),
            attributes={
                (row["entity_type"], row["entity"], row["key"]): row["value"]
                for row in self._rows("SELECT entity_type, entity, key, value FROM attributes")
            },
            budgets={
                (row["program"], row["rule"], row["asset"]): Budget(consumed=row["consumed"], next_reset_at=row["next"])
                for row in self._rows(
                    "SELECT program, rule, asset, consumed_minor AS consumed, epoch_us(next_reset_at) AS next "
                    "FROM budgets"
                )
            },
            tiers={
                (row.pop("external_id"), row.pop("program"), row.pop("tier")): Tier(**row) for row in self._rows(TIERS)
            },
            schedule={row.pop("idempotency_key"): Scheduled(**row) for row in self._rows(SCHEDULE)},
            rewards={
                (row.pop("program"), row.pop("key")): Reward(**row)
                for row in self._rows("SELECT program, key, status, redeemed_count, max_total FROM rewards")
            },
            automations={
                (row.pop("program"), row.pop("key")): Automation(**row)
                for row in self._rows("SELECT program, key, status, epoch_us(next_at) AS next_at FROM automations")
            },
            subscriptions={
                (row.pop("program"), row.pop("automation"), row.pop("external_id")): Subscription(**row)
                for row in self._rows(SUBSCRIPTIONS)
            },
            counts=Counts(**{name: int(count) for name, count in self._rows(COUNTS)[0].items()}),
        )

    def _rows(self, query: str) -> list[dict[str, Any]]:
        cursor = self._connection.execute(query)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _book_clock(self) -> int | None:
        rows = self._rows(
            "SELECT nullif(epoch_us(book_clock), 0) AS book_clock FROM batches ORDER BY batch DESC LIMIT 1"
        )
        return rows[0]["book_clock"] if rows else None

    def _entries(self) -> tuple[Entry, ...]:
        postings: dict[int, list[Posting]] = defaultdict(list)
        for row in self._rows(POSTINGS):
            postings[row["entry_seq"]].append(Posting(account=_account(row), amount=row["amount"]))
        return tuple(Entry(**row, postings=tuple(postings[row["seq"]])) for row in self._rows(ENTRIES))

    def _changes(self) -> tuple[Change, ...]:
        scales = {row["symbol"]: row["scale"] for row in self._rows("SELECT symbol, scale FROM assets")}
        return tuple(_change(row, scales) for row in self._rows(CHANGES))

    def _counters(self) -> dict[tuple[str, str, str], Counter]:
        query = """
            SELECT entity_type, entity, key, value, epoch_us(last_reset_at) AS last_reset_at,
                epoch_us(reset_after) AS reset_after FROM counters
        """
        return {
            (row["entity_type"], row["entity"], row["key"]): Counter(
                value=row["value"], last_reset_at=row["last_reset_at"], reset_after=row["reset_after"]
            )
            for row in self._rows(query)
        }


def _account(row: dict[str, Any]) -> Account:
    return (row["entity_type"], row["entity"], row["asset"], row["bucket"])


def _lot(row: dict[str, Any]) -> Lot:
    holder = (row.pop("holder_type"), row.pop("holder"))
    source = (row.pop("source_type"), row.pop("source"))
    return Lot(**row, holder=holder, source=source)


def _redemption(row: dict[str, Any]) -> Redemption:
    target = (row.pop("target_type"), row.pop("target"))
    return Redemption(**row, target=target)


def _evaluation(row: dict[str, Any]) -> Evaluation:
    actions = tuple(_action(action) for action in row.pop("actions") or ())
    return Evaluation(**row, actions=actions)


def _action(row: dict[str, Any]) -> ActionResult:
    return ActionResult(
        index=row["index"],
        type=row["type"],
        result=row["result"],
        entry_seq=row["entry_seq"],
        code=row["code"],
        target=None if row["target"] is None else (row["target_type"], row["target"]),
        asset=row["asset"],
        amount=row["amount_minor"],
        value=row["value"],
    )


def _change(row: dict[str, Any], scales: dict[str, int]) -> Change:
    entity = (row.pop("entity_type"), row.pop("entity"))
    if row["state_type"] == "budget":
        scale = scales[row["key"].rpartition("/")[2]]
        for name in ("old_value", "new_value"):
            row[name] = str(int(Decimal(row[name]).scaleb(scale)))
    if row["state_type"] == "counter":
        row |= {name: _plain_number(row[name]) for name in ("old_value", "new_value")}
    row["tier"] = _tier(row["tier"])
    return Change(**row, entity=entity)


def _tier(text: str | None) -> Tier | None:
    """The level that a change of a tier leaves."""
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    times = ("acquired_at", "expires_at", "downgrade_at")
    return Tier(**fields | {name: fields[name] and parse_time(fields[name]) for name in times})


def _participant(row: dict[str, Any]) -> Participant:
    profile = {name: row[name] for name in PROFILE if row[name] is not None}
    return Participant(number=row["number"], status=row["status"], profile=profile)


def _plain_number(text: str | None) -> str | None:
    """The number of a counter's change, which is an object where it has a window."""
    return str(json.loads(text, parse_float=str, parse_int=str)["value"]) if text and text.startswith("{") else text


def _reject(row: dict[str, Any]) -> Reject:
    found = re.search(r"run-(\d+)\.ndjson$", row["source"])
    assert found is not None, f"a source of another name: {row['source']}"
    return Reject(run=int(found[1]), row=row["source_row"], reason=row["reason"])
