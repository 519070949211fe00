"""The checkpoint of state: rewriting the rows of touched entities (docs/architecture.md).

The checkpoint is a cache of the folds in `store_folds`, never the truth. A run's last batch writes the state that the
ledger holds in memory; after a crash the folds bring it forward instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.store_rows import append_rows, one_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The whole present state of every entity that changed since the last checkpoint.

    `entities` (int64, without repeats) are holder numbers, and minus a program's number for a program; `tables` has all
    their rows of `STATE_TABLES` (absent: none), overdrafts and open lots only where something is left. All rows of
    `system_balances`, `program_statuses`, `asset_links` and `automations` are given, touched or not, and of
    `reward_counts` those of all holders together. Tables in `kept` stay as they are.
    """

    entities: pa.Array
    tables: Mapping[str, pa.Table]
    kept: frozenset[str] = frozenset()


_ENTITY = {
    "balances": "CASE WHEN account < 0 THEN account ELSE account // 4 END",
    "overdrafts": "holder",
    "counters": "entity",
    "tags": "entity",
    "attributes": "entity",
    "enrollments": "holder",
    "tiers": "holder",
    "open_lots": "holder",
    "holder_statuses": "holder",
    "profiles": "holder",
    "members": "holder",
    "subscriptions": "holder",
    "schedule": "holder",
    "reward_counts": "holder = 0 OR holder",
}


def write_checkpoint(connection: duckdb.DuckDBPyConnection, checkpoint: Checkpoint, batch: int) -> None:
    """Replaces the rows of the touched entities and stamps the checkpoint with its batch; in the open transaction."""
    unknown = checkpoint.tables.keys() - STATE_TABLES.keys()
    if unknown:
        raise IntegrityError(f"there is no state table {sorted(unknown)[0]}")
    connection.register("touched", pa.table({"entity": checkpoint.entities.cast(pa.int64())}))
    for name, schema in STATE_TABLES.items():
        if name in checkpoint.kept:
            continue
        rows = checkpoint.tables.get(name, schema.empty_table())
        if one_row(connection, f"SELECT 1 FROM store.{name} LIMIT 1") is not None:
            condition = f"{_ENTITY[name]} IN (SELECT entity FROM touched)" if name in _ENTITY else "true"
            connection.execute(f"DELETE FROM store.{name} WHERE {condition}")
        append_rows(connection, name, rows.select(schema.names).cast(schema))
    connection.unregister("touched")
    connection.execute("UPDATE store.meta SET state_batch = ?", [batch])
