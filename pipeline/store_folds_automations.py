"""How automations and subscriptions stand (§17), as folds of what batches wrote; see `store_folds`.

What changes do not tell is what the last batch that touched something left. The status of a subscription is that of its
last change, which is sealed.
"""

from __future__ import annotations

from earnbook.ledger.schema import StateType

_AUTOMATION = "status, is_live, was_live, is_over, was_refreshed, next_at, refresh_at"
_SUBSCRIPTION = "subscribed_at, next_at, text, fired"
_AFTER = "WHERE batch > (SELECT state_batch FROM store.meta)"


def automations_fold(from_checkpoint: bool) -> str:
    """Each automation as the last batch left it that touched it."""
    return _last("automation", _AUTOMATION, "automation_terms", "automations", from_checkpoint)


def subscriptions_fold(from_checkpoint: bool) -> str:
    """Each subscription as the last batch left it that touched it, with the status of its last change."""
    key = "automation, holder"
    terms = _last(key, _SUBSCRIPTION, "subscription_terms", "subscriptions", from_checkpoint)
    base = after = ""
    if from_checkpoint:
        base = (
            "SELECT automation, holder, CAST(0 AS BIGINT), CAST(status AS BIGINT) FROM store.subscriptions UNION ALL "
        )
        after = "AND change_seq > (SELECT last_change_seq FROM store.checkpoint_position)"
    return f"""SELECT {key}, CAST(s.status AS TINYINT) AS status, {_SUBSCRIPTION}
    FROM ({terms}) AS t JOIN (SELECT {key}, arg_max(status, change_seq) AS status FROM ({base}
            SELECT key, entity, change_seq, value FROM store.changes
            WHERE state_type = {StateType.SUBSCRIPTION} {after}
        ) AS steps({key}, change_seq, status) GROUP BY {key}) AS s USING ({key})"""


def _last(key: str, columns: str, table: str, state: str, from_checkpoint: bool) -> str:
    """The columns of the newest row of each key; the checkpoint stands before all batches."""
    names = columns.split(", ")
    packed = ", ".join(f"{name} := {name}" for name in names)
    unpacked = ", ".join(f"last.{name} AS {name}" for name in names)
    base = (
        f"SELECT {key}, CAST(0 AS BIGINT) AS batch, {columns} FROM store.{state} UNION ALL " if from_checkpoint else ""
    )
    return f"""SELECT {key}, {unpacked} FROM (SELECT {key}, arg_max(struct_pack({packed}), batch) AS last
        FROM ({base}SELECT {key}, batch, {columns} FROM store.{table} {_AFTER if from_checkpoint else ""})
        GROUP BY {key})"""
