"""Templates: what the events of an action that makes events, or of an automation, say (§17.2, §17.5): all the same.

Each template is a row of every batch, behind its records, with the cells that rules read. Events that were scheduled
under an earlier version of a rule say what that version said; it is read from the history of the definitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import ActionType, RecordKind
from earnbook.pipeline.intake import NOBODY, Record
from earnbook.pipeline.intake_columns import record_rows
from earnbook.pipeline.intake_json import parse_value
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.rules.canonical import canonical_json, read_json

KEY_WORDS = {int(ActionType.SCHEDULE_EVENT): "sched", int(ActionType.BROADCAST): "bcast"}
"""The second word of the idempotency key of an event that an action of this type makes (§17.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What an action makes events of: `action` is its number, `program` the slot of its program.

    Of an automation, `automation` is its number, and what is of actions stays empty.
    """

    program: int
    event_data: str
    action: int = 0
    action_index: int = 0
    rule_id: str = ""
    type: int = 0
    automation: int = 0

    def key(self, parent_id: str, participant_id: str) -> str:
        """The idempotency key of an event for a participant, made by the event with this id (§17.5)."""
        key = f"earnbook:{KEY_WORDS[self.type]}:{parent_id}:{self.rule_id}:{self.action_index}"
        return f"{key}:{participant_id}" if self.type == ActionType.BROADCAST else key


def event_data_of(event_name: str, payload: Mapping[str, Any] | None) -> str:
    """The event_data of an event of this name: the payload with `type` (§17.2)."""
    return canonical_json({**(payload or {}), "type": event_name})


def template_rows(templates: Iterable[Template], paths: Sequence[tuple[str, ...]], pool: StringPool) -> pa.Table:
    """One row of `records.records_schema` per template."""
    records = [
        Record(
            record_kind=RecordKind.EVENT,
            program=template.program,
            idempotency_key="",
            timestamp=0,
            given=NOBODY,
            event_data=template.event_data,
            event=parse_value(template.event_data),
        )
        for template in templates
    ]
    return pa.Table.from_batches([record_rows([(0, record) for record in records], 0, paths, pool)])


def stored_templates(connection: duckdb.DuckDBPyConnection, known: Iterable[int]) -> list[Template]:
    """The templates of events that wait in the book and whose actions are none of the known ones."""
    rows = connection.execute(
        f"""SELECT a.number, a.action_index, a.type, a.program, o.id, d.snapshot
        FROM (SELECT DISTINCT action FROM store.schedule) AS s
        JOIN store.actions AS a ON a.number = s.action
        JOIN store.objects AS o ON o.kind = {ObjectKind.RULE} AND o.number = a.rule
        JOIN store.definitions AS d ON d.kind = {ObjectKind.RULE} AND d.object = a.rule AND d.version = a.rule_version
        ORDER BY a.number"""
    ).fetchall()
    skipped = set(known)
    found = []
    for number, index, kind, program, rule_id, snapshot in rows:
        if number in skipped:
            continue
        action = read_json(snapshot)["actions"][index]
        found.append(
            Template(
                action=number,
                action_index=index,
                rule_id=rule_id,
                type=kind,
                program=program - 1,
                event_data=event_data_of(action["event_name"], action.get("payload")),
            )
        )
    return found
