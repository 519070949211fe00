"""Installing the views of a book: `views.sql` on top of folds, enumeration names and UUID macros.

Views read like §18; what they stand on is generated here: one macro per enumeration (code to name, A.6), one view
`store.current_*` per state table (checkpoint plus the rows after it), and the largest scale of the book's assets, which
is the scale of every amount column. They are installed again when any of that changed.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from functools import cache
from importlib import resources

import duckdb

from earnbook.ledger import schema as codes
from earnbook.pipeline.outbox import NotificationType
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.store_folds import fold_sql
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import ChangeType, EvaluationReason, EvaluationStatus, ObjectKind

LOWER_NAMES = (
    "state_type",
    "change_operation",
    "operation_type",
    "object_kind",
    "change_type",
    "holder_field",
    "automation_status",
    "subscription_status",
)
"""Enumerations whose names are printed in lower case."""

NAMED_CODES: dict[str, type[IntEnum]] = {
    "action_result": codes.ActionResult,
    "action_type": codes.ActionType,
    "automation_status": codes.AutomationStatus,
    "bucket": codes.Bucket,
    "change_operation": codes.ChangeOperation,
    "change_type": ChangeType,
    "entity_type": codes.EntityType,
    "entry_type": codes.EntryType,
    "evaluation_reason": EvaluationReason,
    "evaluation_status": EvaluationStatus,
    "holder_field": codes.HolderField,
    "inventory_mode": codes.InventoryMode,
    "issuance_policy": codes.IssuancePolicy,
    "lot_move_kind": codes.LotMoveKind,
    "lot_status": codes.LotStatus,
    "member_status": codes.MemberStatus,
    "notification_type": NotificationType,
    "object_kind": ObjectKind,
    "operation_type": codes.OperationType,
    "outcome": codes.Outcome,
    "reject_reason": RejectReason,
    "reward_status": codes.RewardStatus,
    "role": codes.Role,
    "state_type": codes.StateType,
    "status": codes.Status,
    "subscription_status": codes.SubscriptionStatus,
}
"""Every enumeration of the book by the name of its macro `store.<name>_name(code)`."""

VIEW_FILES = ("views.sql", "views_outbox.sql")
"""The SQL of all views, in this order."""


def code_name(enumeration: str, code: IntEnum) -> str:
    """How a code is printed."""
    if isinstance(code, NotificationType):
        return code.text
    return code.name.lower() if enumeration in LOWER_NAMES else code.name


def install_views(connection: duckdb.DuckDBPyConnection) -> bool:
    """Makes the book's views those of this version and of its assets; says whether they had to change."""
    row = one_row(
        connection,
        """SELECT (SELECT views_sha256 FROM store.meta),
            (SELECT coalesce(max(scale), 0) FROM store.objects)""",
    )
    installed, scale = row if row is not None else ("", 0)
    script = views_script(scale)
    digest = hashlib.sha256(script.encode()).hexdigest()
    if digest == installed:
        return False
    connection.execute(script)
    connection.execute("UPDATE store.meta SET views_sha256 = ?", [digest])
    return True


@cache
def views_script(scale: int) -> str:
    """The SQL that makes all macros and views; amounts get `scale` decimals."""
    names = "".join(_name_macro(name, enumeration) for name, enumeration in NAMED_CODES.items())
    folds = "".join(
        f"CREATE OR REPLACE VIEW store.current_{table} AS {fold_sql(table, from_checkpoint=True)};\n"
        for table in STATE_TABLES
    )
    package = resources.files("earnbook.pipeline")
    text = "\n".join(package.joinpath(name).read_text(encoding="utf-8") for name in VIEW_FILES)
    base, marker, public = text.partition("-- (state views are made here)\n")
    return (names + base + folds + marker + public).replace("{scale}", str(scale))


def _name_macro(name: str, enumeration: type[IntEnum]) -> str:
    cases = " ".join(f"WHEN {code.value} THEN '{code_name(name, code)}'" for code in enumeration)
    return f"CREATE OR REPLACE MACRO store.{name}_name(code) AS CASE code {cases} END;\n"
