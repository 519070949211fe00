"""Physical rows as a logical book, in plain Python: what the views of a book say, without a database.

In: the result of a log (`bulk_engine.LogResult`) and the registry that its numbers are of. Out: the `LogicalBook` that
`book_reader` would read from a file with these rows. Text, causes, times and versions follow from numbers here as they
do in `pipeline/views.sql`; entries, lots, evaluations, redemptions and state are in `bulk_decode_entries`,
`bulk_decode_lots`, `bulk_decode_rules`, `bulk_decode_redemptions` and `bulk_decode_state`.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from earnbook.ledger.schema import (
    Bucket,
    ChangeOperation,
    DueSource,
    EntityType,
    HolderField,
    MemberStatus,
    OperationType,
    Outcome,
    RewardStatus,
    Role,
    StateType,
    Status,
)
from earnbook.pipeline.registry import ActionEntry, ObjectEntry, Registry
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.models_tiers import Reward
from tests.support.bulk_engine import LogResult
from tests.support.bulk_values import cell_text, plain_number, wide_integer
from tests.support.logical import Account, Change, Entity, Record, RecordOutcome, Tier

Row = dict[str, Any]
SYSTEM = {1: "SYSTEM_ISSUANCE", 2: "SYSTEM_REDEMPTION", 3: "SYSTEM_BREAKAGE"}


class Rows:
    """The rows of a log by table, and what its numbers stand for."""

    def __init__(self, registry: Registry, result: LogResult, rewards: Mapping[str, Reward]) -> None:
        """`rewards` are those of the definitions, by id."""
        self._tables = {
            name: [row for batch in result.batches for row in rows_of(batch.tables[name])]
            for name in (result.batches[0].tables if result.batches else ())
        }
        self._state = result.state or {}
        self.result = result
        self.programs = registry.objects(ObjectKind.PROGRAM)
        self.assets = registry.objects(ObjectKind.ASSET)
        self.rules = registry.objects(ObjectKind.RULE)
        self.tiers = registry.objects(ObjectKind.TIER)
        self.rewards = [(entry, rewards[entry.id]) for entry in registry.objects(ObjectKind.REWARD)]
        self.actions = registry.actions()
        self.budgets = registry.budgets()
        self.names = registry.names()
        self.holders = {row["number"]: row for row in self["holders"]}
        self.events = {row["log_seq"]: row for row in self["events"]}
        self.operations = {row["log_seq"]: row for row in self["operations"]}
        self.redemptions = {row["log_seq"]: row for row in self["redemptions"]}
        self.reversals = {row["log_seq"]: row for row in self["reversals"]}
        self.attempts: dict[int, list[Row]] = defaultdict(list)
        for row in sorted(self["attempts"], key=lambda row: row["attempt"]):
            self.attempts[row["log_seq"]].append(row)

    def __getitem__(self, table: str) -> list[Row]:
        return self._tables.get(table, [])

    def state(self, table: str) -> list[Row]:
        """The rows of a state table after the last batch."""
        return rows_of(self._state[table]) if table in self._state else []

    def program(self, number: int) -> str:
        """A program's key."""
        return self.programs[number - 1].key

    def asset(self, number: int) -> str:
        """An asset's symbol."""
        return self.assets[number - 1].key

    def rule(self, number: int) -> ObjectEntry:
        """The rule with a number."""
        return self.rules[number - 1]

    def reward(self, number: int) -> str | None:
        """A reward's key, None for 0."""
        return self.rewards[number - 1][0].key if number else None

    def action(self, number: int) -> ActionEntry | None:
        """The action with a number, None for 0."""
        return self.actions[number - 1] if number else None

    def entity(self, number: int) -> Entity:
        """A holder, or a program under minus its number."""
        if number < 0:
            return "PROGRAM", self.program(-number)
        holder = self.holders[number]
        return EntityType(holder["kind"]).name, holder["external_id"]

    def tier_row(self, level: int, row: Row) -> Tier:
        """The level with a number, with its dates in a row of `tiers` or `tier_changes`."""
        dates = {name: row[name] for name in ("acquired_at", "expires_at", "own_expiry", "downgrade_at")}
        noted = row["noted_level"]
        return Tier(level=self.names[level - 1][1], noted_level=self.names[noted - 1][1] if noted else None, **dates)

    def participant(self, number: int) -> str | None:
        """A participant's external id, None for 0."""
        return self.holders[number]["external_id"] if number else None

    def redemption(self, log_seq: int) -> Row | None:
        """The redemption that an operation makes or reverses, None for any other record."""
        reversal = self.reversals.get(log_seq)
        return self.redemptions.get(log_seq if reversal is None else reversal["redemption"])

    def account(self, number: int, asset: int) -> Account:
        """An account as the postings name it."""
        if number in SYSTEM:
            return SYSTEM[number], None, self.asset(asset), "AVAILABLE"
        owner = account_entity(number)
        assert owner is not None
        bucket = Bucket(number % 4).name if number > 3 else "AVAILABLE"
        return *self.entity(owner), self.asset(asset), bucket

    def event_id(self, log_seq: int) -> uuid.UUID:
        """The id of an event (§2.3)."""
        event = self.events[log_seq]
        return uuid.uuid5(uuid.UUID(self.programs[event["program"] - 1].id), event["idempotency_key"])

    def scheduled_key(self, parent: int, action: ActionEntry) -> str:
        """The idempotency key of an event that an action of an event schedules (§17.5)."""
        return f"earnbook:sched:{self.event_id(parent)}:{self.rule(action.rule).id}:{action.action_index}"


def account_entity(account: int) -> int | None:
    """Whose account it is; None for a system account."""
    if account < 0:
        return account
    return account // 4 if account > 3 else None


def rows_of(table: pa.Table) -> list[Row]:
    """A table as rows."""
    if not table.num_rows:
        return []
    columns = table.to_pydict()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def records_of(rows: Rows) -> tuple[Record, ...]:
    """Events and operations in log order (§18.4)."""
    generated = {row["log_seq"]: row for row in rows["generated_events"]}
    found = []
    for row in rows["events"]:
        made = generated.get(row["log_seq"])
        found.append(
            Record(
                log_seq=row["log_seq"],
                kind="EVENT",
                type="EXTERNAL" if made is None else "SYSTEM",
                program=rows.program(row["program"]),
                idempotency_key=row["idempotency_key"],
                timestamp=row["event_timestamp"],
                late=row["late"],
                parent=None if made is None or not made["parent"] else made["parent"],
                generation=0 if made is None else made["generation"],
            )
        )
    for row in rows["operations"]:
        found.append(
            Record(
                log_seq=row["log_seq"],
                kind="OPERATION",
                type=OperationType(row["type"]).name.lower(),
                program=rows.program(row["program"]) if row["program"] else None,
                idempotency_key=row["idempotency_key"],
                timestamp=row["effective_at"],
                late=row["late"],
            )
        )
    return tuple(sorted(found, key=lambda record: record.log_seq))


def outcomes_of(rows: Rows) -> tuple[RecordOutcome, ...]:
    """Every attempt at every record (§10.2, §18.4)."""
    first = [{**row, "attempt": 1, "by_log_seq": 0} for row in rows["events"]]
    others = [{**row, "attempt": 1, "by_log_seq": 0, "recipient": 0, "action": 0} for row in rows["operations"]]
    found = []
    for row in (*first, *others, *rows["attempts"]):
        action = rows.action(row["action"])
        is_operation = row["log_seq"] in rows.operations
        found.append(
            RecordOutcome(
                log_seq=row["log_seq"],
                attempt=row["attempt"],
                processed_at=row["processed_at"],
                participant=rows.participant(row["holder"]),
                recipient=rows.participant(row["recipient"]),
                status="FAILED" if row["outcome"] > int(is_operation) else "COMPLETED",
                code=Outcome(row["outcome"]).name,
                rule=None if action is None else rows.rule(action.rule).key,
                action_index=None if action is None else action.action_index,
                by_operation=row["by_log_seq"] or None,
            )
        )
    return tuple(sorted(found, key=lambda row: (row.log_seq, row.attempt)))


# --- changes --------------------------------------------------------------------------------------------------------


def changes_of(rows: Rows, program_statuses: Mapping[str, str]) -> tuple[Change, ...]:
    """The change log (§18.5); `program_statuses` are those that the definitions state."""
    details = {row["change_seq"]: row for row in rows["change_details"]}
    due = {row["change_seq"]: row for row in rows["due_changes"]}
    levels = {row["change_seq"]: row for row in rows["tier_changes"]}
    before: dict[tuple[int, int, int], Row] = {}
    statuses = dict(program_statuses)
    found = []
    for row in sorted(rows["changes"], key=lambda row: row["change_seq"]):
        row |= {"value_high": None, "text": None} | details.get(row["change_seq"], {})
        identity = (row["entity"], row["state_type"], row["key"])
        action = rows.action(row["action"])
        log_seq = row["log_seq"]
        entity = rows.entity(row["entity"])
        old_value, new_value = _value(rows, before.get(identity)), _value(rows, row)
        if row["state_type"] == StateType.BUDGET:
            old_value = str(row["value"])
        if row["state_type"] == StateType.PROGRAM:
            old_value, statuses[entity[1]] = f'"{statuses[entity[1]]}"', Status(row["value"]).name
        before[identity] = row
        found.append(
            Change(
                change_seq=row["change_seq"],
                entity=entity,
                state_type=StateType(row["state_type"]).name.lower(),
                key=_key(rows, row, action),
                operation=ChangeOperation(row["operation"]).name.lower(),
                old_value=old_value,
                new_value=new_value,
                cause="EVENT" if log_seq in rows.events else "OPERATION" if log_seq in rows.operations else "DUE",
                cause_number=log_seq or None,
                rule=None if action is None else rows.rule(action.rule).key,
                action_index=None if action is None else action.action_index,
                changed_at=_changed_at(rows, row, due),
                tier=rows.tier_row(row["value"], levels[row["change_seq"]]) if row["change_seq"] in levels else None,
                due_object=_due_object(rows, due.get(row["change_seq"])),
            )
        )
    return tuple(found)


def _due_object(rows: Rows, cause: Row | None) -> str | None:
    """The tier type that a change made by due work follows from."""
    if cause is None or cause["kind"] != DueSource.TIER:
        return None
    tier = rows.tiers[cause["object"] - 1]
    return f"{rows.program(tier.program)}/{tier.key}"


def _changed_at(rows: Rows, row: Row, due: Mapping[int, Row]) -> int:
    """When a change was made: by a further attempt at its event, by its record, or by due work."""
    seq, log_seq = row["change_seq"], row["log_seq"]
    if not log_seq:
        return int(due[seq]["changed_at"])
    for attempt in rows.attempts[log_seq]:
        if attempt["first_change_seq"] <= seq <= attempt["last_change_seq"]:
            return int(attempt["processed_at"])
    return int((rows.events.get(log_seq) or rows.operations[log_seq])["processed_at"])


def _key(rows: Rows, row: Row, action: ActionEntry | None) -> str:
    """The key of a change in words."""
    key: int = row["key"]
    match StateType(row["state_type"]):
        case StateType.TIER:
            tier = rows.tiers[key - 1]
            return f"{rows.program(tier.program)}/{tier.key}"
        case StateType.PARTICIPANT | StateType.GROUP:
            return HolderField(key).name.lower()
        case StateType.ENROLLMENT:
            return rows.program(key)
        case StateType.MEMBER:
            return str(rows.holders[key]["external_id"])
        case StateType.PROGRAM:
            return "status"
        case StateType.ASSET_LINK:
            return rows.asset(key)
        case StateType.BUDGET:
            budget = rows.budgets[key - 1]
            return f"{rows.rule(budget.rule).key}/{rows.asset(budget.asset)}"
        case StateType.REWARD:
            return rows.rewards[key - 1][0].key
        case StateType.SCHEDULED_EVENT:
            assert action is not None
            return rows.scheduled_key(row["log_seq"], action)
        case _:
            return rows.names[key - 1][1]


def _value(rows: Rows, row: Row | None) -> str | None:
    """What a change leaves, as JSON text."""
    if row is None or row["operation"] in (ChangeOperation.DELETE, ChangeOperation.REMOVE):
        return None
    kind, value = row["value_kind"], row["value"]
    match StateType(row["state_type"]):
        case StateType.COUNTER:
            return plain_number(wide_integer(value, row["value_high"]), row["value_scale"])
        case StateType.ATTRIBUTE:
            return _quoted(cell_text(kind, value, row["value_scale"], row["text"]))
        case StateType.TIER:
            return _quoted(rows.names[value - 1][1])
        case StateType.BUDGET:
            return "0"
        case StateType.REWARD:
            return f'{{"redeemed_count":{value},"status":"{RewardStatus(row["value_scale"]).name}"}}'
        case StateType.MEMBER:
            role, status = Role(value // 256).name, MemberStatus(value % 256).name
            return f'{{"role":"{role}","status":"{status}"}}'
        case StateType.PARTICIPANT | StateType.GROUP if row["text"] is not None:
            return _quoted(row["text"])
        case StateType.PARTICIPANT | StateType.GROUP | StateType.ENROLLMENT | StateType.PROGRAM:
            return f'"{Status(value).name}"'
        case _:
            return None


def _quoted(text: str | None) -> str | None:
    return None if text is None else json.dumps(text, ensure_ascii=False)
