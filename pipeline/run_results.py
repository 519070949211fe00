"""What became of each record of a run, one row each in log order: what `run --results` writes.

In: the decided tables of a batch, before or after they are committed. Out: an Arrow table of `RESULT_COLUMNS`, made by
the book's own macros, so that ids and names are those of the views. Participants are read from the run's new holders,
and from the book where they are older.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.ledger.schema import Outcome
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.schema import BATCH_TABLES
from earnbook.pipeline.store_tables import ObjectKind

RESULT_COLUMNS = (
    "id",
    "kind",
    "type",
    "program",
    "idempotency_key",
    "timestamp",
    "log_seq",
    "processed_at",
    "status",
    "code",
    "rule",
    "action_index",
    "participant",
    "late",
)
"""Names as in the views `events`, `operations` and `outcomes`; `type` is EXTERNAL, SYSTEM or the operation's."""

NO_RECORDS = {
    name: BATCH_TABLES[name].empty_table() for name in ("events", "operations", "holders", "generated_events")
}
"""The tables of a run without new records."""

_QUERY = f"""
WITH records AS (
    SELECT log_seq, 'EVENT' AS kind,
        CASE WHEN log_seq IN (SELECT log_seq FROM result_generated) THEN 'SYSTEM' ELSE 'EXTERNAL' END AS type,
        program, program AS owner, idempotency_key AS name,
        idempotency_key, event_timestamp AS timestamp, processed_at, outcome, outcome > {Outcome.OK} AS failed, action,
        holder, late
    FROM result_events
    UNION ALL
    SELECT log_seq, 'OPERATION', store.operation_type_name(type), program, program,
        'operation:' || store.operation_type_name(type) || ':' || idempotency_key, idempotency_key, effective_at,
        processed_at, outcome, outcome > {Outcome.NO_EFFECT}, 0, holder, late
    FROM result_operations
)
SELECT CAST(store.uuid5(p.id, r.name) AS VARCHAR) AS id, r.kind, r.type, p.key AS program, r.idempotency_key,
    store.instant(r.timestamp) AS timestamp, r.log_seq, store.instant(r.processed_at) AS processed_at,
    CASE WHEN r.failed THEN 'FAILED' ELSE 'COMPLETED' END AS status, store.outcome_name(r.outcome) AS code,
    a.rule, a.action_index, coalesce(n.external_id, h.external_id) AS participant, r.late
FROM records AS r
JOIN result_programs AS p ON p.number = r.owner
LEFT JOIN result_actions AS a ON a.number = r.action
LEFT JOIN result_holders AS n ON n.number = r.holder
LEFT JOIN (SELECT number, external_id FROM store.holders
    WHERE number IN (SELECT holder FROM records)) AS h ON h.number = r.holder
ORDER BY r.log_seq
"""


class RunResults:
    """The results of one run, batch by batch."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, registry: Registry, organization_id: str) -> None:
        self._connection = connection
        self._registry = registry
        self._organization_id = organization_id
        self._holders = BATCH_TABLES["holders"].empty_table()

    def of_batch(self, tables: Mapping[str, pa.Table]) -> pa.Table:
        """The results of a batch; batches come in order."""
        self._holders = pa.concat_tables([self._holders, tables["holders"].cast(BATCH_TABLES["holders"])])
        rows = {
            "result_events": tables["events"].drop_columns(["event_data"]),
            "result_operations": tables["operations"].drop_columns(["fields"]),
            "result_generated": tables["generated_events"].select(["log_seq"]),
            "result_holders": self._holders,
            "result_programs": self._program_rows(),
            "result_actions": self._action_rows(),
        }
        for name, table in rows.items():
            self._connection.register(name, table)
        found = self._connection.sql(_QUERY).to_arrow_table().select(list(RESULT_COLUMNS))
        for name in rows:
            self._connection.unregister(name)
        return found

    def _program_rows(self) -> pa.Table:
        """Programs by number; under 0 the organization, which owns what names no program (§2.3)."""
        programs = self._registry.objects(ObjectKind.PROGRAM)
        return pa.table(
            {
                "number": pa.array(range(len(programs) + 1), pa.int32()),
                "id": [self._organization_id, *(entry.id for entry in programs)],
                "key": [None, *(entry.key for entry in programs)],
            }
        )

    def _action_rows(self) -> pa.Table:
        actions, rules = self._registry.actions(), self._registry.objects(ObjectKind.RULE)
        return pa.table(
            {
                "number": pa.array(np.arange(1, len(actions) + 1), pa.int32()),
                "rule": pa.array([rules[action.rule - 1].key for action in actions], pa.string()),
                "action_index": pa.array([action.action_index for action in actions], pa.int32()),
            }
        )
