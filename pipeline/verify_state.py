"""Refolding state (I3, I7, I13): the folds of the whole book against what the book shows as state.

What the book shows is the checkpoint and the rows after it, so a checkpoint that was changed by hand differs, and one
that a crash left behind does not.
"""

from __future__ import annotations

from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.store_folds import STATE_KEYS, fold_sql
from earnbook.pipeline.verify_checks import Check

_PROPERTIES = {
    "balances": "I3",
    "system_balances": "I3",
    "overdrafts": "I3",
    "open_lots": "I7",
    "counters": "I13",
    "tags": "I13",
    "attributes": "I13",
    "enrollments": "I13",
    "budgets": "I14",
    "tiers": "I13",
    "holder_statuses": "I13",
    "profiles": "I13",
    "members": "I13",
    "reward_counts": "I15",
    "program_statuses": "I13",
    "asset_links": "I13",
    "automations": "I13",
    "subscriptions": "I13",
    "schedule": "I13",
}


def _refold(table: str) -> Check:
    """State rows that only the fold or only the book has; an example shows where each stands."""
    columns = ", ".join(f'"{name}"' for name in STATE_TABLES[table].names)
    keys = " || ', ' || ".join(f"'{name} ' || {name}" for name in STATE_KEYS[table].columns)
    fold = f"SELECT {columns} FROM ({fold_sql(table, from_checkpoint=False)})"
    shown = f"SELECT {columns} FROM store.current_{table}"
    return Check(
        name=f"refold_{table}",
        property=_PROPERTIES[table],
        table=table,
        message=f"{table} are not the fold of the stored rows",
        query=f"""SELECT NULL, {keys} || ': only in the fold of the rows' FROM ({fold} EXCEPT {shown})
            UNION ALL SELECT NULL, {keys} || ': only in the book''s state' FROM ({shown} EXCEPT {fold})""",
    )


STATE_CHECKS: tuple[Check, ...] = tuple(_refold(table) for table in STATE_TABLES)
"""One check per state table."""
