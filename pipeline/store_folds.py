"""State as a fold of the append-only rows (§18.6, I3, I7, I13): one SQL query per state table.

The same folds serve three readers. From the checkpoint, they add the rows after it: the views of state and the next
writer use this. From nothing, they fold the whole book: `verify` compares the result with the checkpoint. No fold looks
at what the ledger computed; they know only movements, lots, lot moves and changes.

Speed: from the checkpoint a fold scans the checkpoint table and the tail of the journal (zone maps skip the rest); from
nothing it scans the journal once per table.
"""

from __future__ import annotations

from dataclasses import dataclass

from earnbook.ledger.schema import (
    ACCOUNT_BREAKAGE,
    ACCOUNT_ISSUANCE,
    Bucket,
    ChangeOperation,
    EntryType,
    HolderField,
    InventoryMode,
    LotMoveKind,
    LotStatus,
    StateType,
    Status,
)
from earnbook.pipeline.store_folds_automations import automations_fold, subscriptions_fold
from earnbook.pipeline.store_tables import ObjectKind


@dataclass(frozen=True, slots=True)
class StateKey:
    """The columns that identify a row of a state table; all others are its value."""

    columns: tuple[str, ...]


STATE_KEYS: dict[str, StateKey] = {
    "balances": StateKey(("account", "asset")),
    "system_balances": StateKey(("account", "asset")),
    "overdrafts": StateKey(("holder", "asset")),
    "counters": StateKey(("entity", "key")),
    "tags": StateKey(("entity", "key")),
    "attributes": StateKey(("entity", "key")),
    "enrollments": StateKey(("holder", "program")),
    "tiers": StateKey(("holder", "tier")),
    "open_lots": StateKey(("lot_seq",)),
    "budgets": StateKey(("budget",)),
    "holder_statuses": StateKey(("holder",)),
    "profiles": StateKey(("holder", "field")),
    "members": StateKey(("holder", "member")),
    "reward_counts": StateKey(("reward", "holder")),
    "program_statuses": StateKey(("program",)),
    "asset_links": StateKey(("program", "asset")),
    "automations": StateKey(("automation",)),
    "subscriptions": StateKey(("automation", "holder")),
    "schedule": StateKey(("parent", "position")),
}
"""What makes a row of each state table the same row before and after."""

_SYSTEM = f"BETWEEN {ACCOUNT_ISSUANCE} AND {ACCOUNT_BREAKAGE}"

_TAKES = f"debit > {ACCOUNT_BREAKAGE} AND entry_type <> {EntryType.MATURITY}"
_AUTHORISES = f"entry_type = {EntryType.CREDIT} AND credit > {ACCOUNT_BREAKAGE} AND credit % 4 = {Bucket.HELD}"


def fold_sql(table: str, *, from_checkpoint: bool) -> str:
    """The query that yields a state table as it is now, with that table's columns in no particular order."""
    folds = {
        "balances": _balances,
        "system_balances": _system_balances,
        "overdrafts": _overdrafts,
        "counters": _counters,
        "tags": _tags,
        "attributes": _attributes,
        "enrollments": _enrollments,
        "tiers": _tiers,
        "open_lots": _open_lots,
        "budgets": _budgets,
        "holder_statuses": _holder_statuses,
        "profiles": _profiles,
        "members": _members,
        "reward_counts": _reward_counts,
        "program_statuses": _program_statuses,
        "asset_links": _asset_links,
        "automations": automations_fold,
        "subscriptions": subscriptions_fold,
        "schedule": _schedule,
    }
    return folds[table](from_checkpoint)


def _rows(table: str, number: str, from_checkpoint: bool) -> str:
    """An append-only table, restricted to the rows after the checkpoint."""
    if not from_checkpoint:
        return f"store.{table}"
    return f"(SELECT * FROM store.{table} WHERE {number} > (SELECT last_{number} FROM store.checkpoint_position))"


def _base(columns: str, table: str, from_checkpoint: bool) -> str:
    return f"SELECT {columns} FROM store.{table} UNION ALL " if from_checkpoint else ""


def _posting_sums(table: str, accounts: str, amount_type: str, from_checkpoint: bool) -> str:
    movements = _rows("movements", "entry_seq", from_checkpoint)
    return f"""SELECT account, asset, CAST(sum(amount) AS {amount_type}) AS amount,
        max(last_entry_seq) AS last_entry_seq
    FROM ({_base("account, asset, amount, last_entry_seq", table, from_checkpoint)}
        SELECT debit, asset, -CAST(amount AS {amount_type}), entry_seq FROM {movements} WHERE debit {accounts}
        UNION ALL
        SELECT credit, asset, CAST(amount AS {amount_type}), entry_seq FROM {movements} WHERE credit {accounts}
    ) AS postings(account, asset, amount, last_entry_seq) GROUP BY account, asset"""


def _balances(from_checkpoint: bool) -> str:
    return _posting_sums("balances", f"NOT {_SYSTEM}", "BIGINT", from_checkpoint)


def _system_balances(from_checkpoint: bool) -> str:
    return _posting_sums("system_balances", _SYSTEM, "DECIMAL(38, 0)", from_checkpoint)


def _overdrafts(from_checkpoint: bool) -> str:
    """What DEBITs took beyond the lots of LOT assets, less what arriving lots repaid (§9.7)."""
    return f"""SELECT holder, asset, CAST(sum(amount) AS BIGINT) AS amount
    FROM ({_base("holder, asset, amount", "overdrafts", from_checkpoint)}
        SELECT debit // 4, asset, amount FROM {_rows("movements", "entry_seq", from_checkpoint)}
        WHERE entry_type = {EntryType.DEBIT} AND lot_seq = 0 AND debit > {ACCOUNT_BREAKAGE}
            AND debit % 4 = {Bucket.AVAILABLE}
            AND asset IN (SELECT number FROM store.objects
                WHERE kind = {ObjectKind.ASSET} AND inventory_mode = {InventoryMode.LOT})
        UNION ALL
        SELECT lots.holder, lots.asset, -moves.repaid
        FROM {_rows("lot_moves", "entry_seq", from_checkpoint)} AS moves
        JOIN store.lots AS lots USING (lot_seq) WHERE moves.repaid > 0
    ) AS steps(holder, asset, amount) GROUP BY holder, asset HAVING sum(amount) <> 0"""


def _open_lots(from_checkpoint: bool) -> str:
    """Lots with something left: what they had, less what movements took, and what written moves made of them.

    Movements count of entries whose lot moves are not written down. A lot begins DEFERRED where it has yet to mature,
    HELD and provisional where a CREDIT went to HELD, else AVAILABLE; its last written move says what it is since. A lot
    that a reversal brought back after the checkpoint was not open in it.
    """
    columns = "lot_seq, holder, asset, status, remaining, expires_at, matures_at, hold_reference, provisional"
    first_status = f"CASE WHEN matures_at IS NULL THEN {LotStatus.AVAILABLE} ELSE {LotStatus.DEFERRED} END"
    return f"""WITH written AS (
        SELECT lot_seq, CAST(sum(CASE WHEN status_before = 0 THEN -repaid ELSE remaining_after - remaining_before END)
                AS BIGINT) AS change,
            bool_or(status_after <> {LotStatus.HELD}) AS has_left,
            arg_max(struct_pack(status := status_after, hold_reference := hold_reference), entry_seq) AS last
        FROM {_rows("lot_moves", "entry_seq", from_checkpoint)} GROUP BY lot_seq
    ), moved AS (
        SELECT lot_seq, CAST(sum(amount) FILTER (WHERE {_TAKES}) AS BIGINT) AS taken,
            bool_or(entry_type = {EntryType.MATURITY}) AS matured, bool_or({_AUTHORISES}) AS authorised
        FROM {_rows("movements", "entry_seq", from_checkpoint)}
        WHERE lot_seq > 0 AND entry_seq NOT IN (SELECT entry_seq FROM store.lot_moves) GROUP BY lot_seq
    ), base({columns}) AS ({_base(columns, "open_lots", from_checkpoint)}
        SELECT lot_seq, holder, asset, {first_status}, amount, expires_at, matures_at, reference, NULL
        FROM {_rows("full_lots", "lot_seq", from_checkpoint)}{_restored_lots() if from_checkpoint else ""}
    ), folded AS (
        SELECT base.lot_seq, base.holder, base.asset, base.expires_at, base.matures_at,
            CASE WHEN moved.matured AND coalesce(written.last.status, {LotStatus.DEFERRED}) = {LotStatus.DEFERRED}
                    THEN {LotStatus.AVAILABLE}
                WHEN written.last IS NOT NULL THEN written.last.status
                WHEN moved.authorised THEN {LotStatus.HELD} ELSE base.status END AS status,
            base.remaining - coalesce(moved.taken, 0) + coalesce(written.change, 0) AS remaining,
            CASE WHEN written.last IS NULL THEN base.hold_reference ELSE written.last.hold_reference END
                AS hold_reference,
            coalesce(base.provisional, moved.authorised, false) AND NOT coalesce(written.has_left, false) AS provisional
        FROM base LEFT JOIN moved USING (lot_seq) LEFT JOIN written USING (lot_seq)
    )
    SELECT lot_seq, holder, asset, CAST(status AS TINYINT) AS status, remaining, expires_at, matures_at,
        CASE WHEN status = {LotStatus.HELD} THEN hold_reference END AS hold_reference,
        status = {LotStatus.HELD} AND provisional AS provisional
    FROM folded WHERE remaining <> 0"""


def _restored_lots() -> str:
    """Lots closed in the checkpoint that a reversal restored after it, with nothing left."""
    moves = _rows("lot_moves", "entry_seq", True)
    return f"""
        UNION ALL SELECT lot_seq, holder, asset, {LotStatus.CONSUMED}, 0, expires_at, matures_at, NULL, false
        FROM store.full_lots WHERE lot_seq <= (SELECT last_lot_seq FROM store.checkpoint_position)
            AND lot_seq IN (SELECT lot_seq FROM {moves} WHERE kind = {LotMoveKind.RESTORE} AND status_before <> 0)
            AND lot_seq NOT IN (SELECT lot_seq FROM store.open_lots)"""


def _reward_counts(from_checkpoint: bool) -> str:
    """Units redeemed less units reversed, of each reward and of each holder and reward."""
    redeemed = _rows("redemptions", "log_seq", from_checkpoint)
    reversed_ = _rows("reversals", "log_seq", from_checkpoint)
    return f"""SELECT reward, holder, CAST(sum(units) AS BIGINT) AS redeemed_count
    FROM ({_base("reward, holder, redeemed_count", "reward_counts", from_checkpoint)}
        SELECT reward, unnest([CAST(0 AS BIGINT), holder]), units
        FROM (SELECT reward, holder, quantity AS units FROM {redeemed} WHERE quantity IS NOT NULL
            UNION ALL SELECT d.reward, d.holder, -v.quantity
            FROM {reversed_} AS v JOIN store.redemptions AS d ON d.log_seq = v.redemption
            WHERE v.quantity IS NOT NULL)
    ) AS steps(reward, holder, units) GROUP BY reward, holder HAVING sum(units) <> 0"""


def _budgets(from_checkpoint: bool) -> str:
    """What every budget consumed since its last reset: credits, and what settles add to what was held (§10.4).

    The change of a reset says which entry was the last before it; a budget ends where the next one of its rule and
    asset begins.
    """
    position = "coalesce((SELECT last_entry_seq FROM store.checkpoint_position), 0)" if from_checkpoint else "0"
    base = "coalesce(kept.consumed, 0)" if from_checkpoint else "0"
    join = "LEFT JOIN store.budgets AS kept ON kept.budget = b.number" if from_checkpoint else ""
    issued = f"{EntryType.CREDIT}, {EntryType.SETTLE}"
    return f"""WITH resets AS (SELECT key AS budget, arg_max(reset_after, change_seq) AS entry_seq
            FROM {_rows("full_changes", "change_seq", from_checkpoint)} WHERE state_type = {StateType.BUDGET}
            GROUP BY key),
        lives AS (SELECT *, lead(started_entry) OVER (PARTITION BY rule, asset ORDER BY number) AS ended_entry
            FROM store.budget_starts),
        spans AS (SELECT b.number AS budget, b.rule, b.asset, b.ended_entry,
                greatest(b.started_entry, {position}, r.entry_seq) AS after,
                CASE WHEN r.entry_seq IS NULL THEN {base} ELSE 0 END AS consumed
            FROM lives AS b LEFT JOIN resets AS r ON r.budget = b.number {join}),
        issued AS (SELECT s.budget, m.entry_seq, greatest(sum(CASE
                    WHEN m.entry_type = {EntryType.SETTLE} AND m.credit <= {ACCOUNT_BREAKAGE} THEN -m.amount
                    WHEN m.entry_type = {EntryType.SETTLE} AND m.debit > {ACCOUNT_BREAKAGE} THEN 0
                    ELSE m.amount END), 0) AS amount
            FROM spans AS s JOIN store.actions AS a ON a.rule = s.rule AND a.asset = s.asset
            JOIN {_rows("movements", "entry_seq", from_checkpoint)} AS m ON m.action = a.number AND m.asset = s.asset
                AND m.entry_seq > s.after AND (s.ended_entry IS NULL OR m.entry_seq <= s.ended_entry)
            WHERE m.entry_type IN ({issued}) GROUP BY s.budget, m.entry_seq)
        SELECT s.budget, CAST(any_value(s.consumed) + coalesce(sum(i.amount), 0) AS BIGINT) AS consumed
        FROM spans AS s LEFT JOIN issued AS i USING (budget) GROUP BY s.budget"""


def _latest(
    table: str,
    key: str,
    values: str,
    cell: str,
    state_type: StateType,
    from_checkpoint: bool,
) -> str:
    """The last change per entity and key; `cell` names the columns of a state row, `values` them in a change row."""
    base = f"SELECT {key}, CAST(0 AS BIGINT), CAST({ChangeOperation.SET} AS TINYINT), {cell} FROM store.{table}"
    names = ", ".join(f"{name} := {name}" for name in cell.split(", "))
    fields = ", ".join(f"last.cell.{name} AS {name}" for name in cell.split(", "))
    return f"""SELECT {key}, {fields}
    FROM (SELECT {key}, arg_max(struct_pack(operation := operation, {names}), change_seq) AS cell
        FROM ({base + " UNION ALL " if from_checkpoint else ""}
            SELECT entity, key, change_seq, operation, {values}
            FROM {_rows("full_changes", "change_seq", from_checkpoint)} WHERE state_type = {state_type}
        ) AS steps({key}, change_seq, operation, {cell}) GROUP BY ALL) AS last
    WHERE last.cell.operation NOT IN ({ChangeOperation.DELETE}, {ChangeOperation.REMOVE})"""


def _counters(from_checkpoint: bool) -> str:
    values = "value, value_high, value_scale, reset_at, reset_after"
    cell = "low, high, scale, reset_at, reset_after"
    return _latest("counters", "entity, key", values, cell, StateType.COUNTER, from_checkpoint)


def _attributes(from_checkpoint: bool) -> str:
    values, cell = "value_kind, value, value_scale, text", "kind, value, scale, text"
    return _latest("attributes", "entity, key", values, cell, StateType.ATTRIBUTE, from_checkpoint)


def _enrollments(from_checkpoint: bool) -> str:
    return _latest(
        "enrollments", "holder, program", "CAST(value AS TINYINT)", "status", StateType.ENROLLMENT, from_checkpoint
    )


def _tiers(from_checkpoint: bool) -> str:
    """The last change per participant and tier type, and what activity has moved since (§14.4).

    A completed external event moves the expiry of a level that is kept by activity under the definitions of its batch.
    It comes after the change that made the level if it has a later number in the log, or the same one; a change that
    fell due stands in the log by its batch and time, before the records of that time. A retry stands where its
    operation does.
    """
    cell = "level, acquired_at, expires_at, own_expiry, downgrade_at, noted_level"
    fields = ", ".join(f"{name} := {name}" for name in ("change_seq", "log_seq", "operation", *cell.split(", ")))
    base = f"SELECT holder, tier, CAST(0 AS BIGINT), CAST(-1 AS BIGINT), {ChangeOperation.SET}, {cell} FROM store.tiers"
    generated = "SELECT log_seq FROM store.generated_events"
    after = "(SELECT last_log_seq FROM store.checkpoint_position)" if from_checkpoint else "0"
    return f"""WITH held AS (SELECT holder, tier, last.* FROM (SELECT holder, tier,
                arg_max(struct_pack({fields}), change_seq) AS last
            FROM ({base + " UNION ALL " if from_checkpoint else ""}
                SELECT entity, key, change_seq, log_seq, operation, CAST(value AS INTEGER), acquired_at, expires_at,
                    own_expiry, downgrade_at, noted_level
                FROM {_rows("full_tier_changes", "change_seq", from_checkpoint)}
            ) AS steps(holder, tier, change_seq, log_seq, operation, {cell}) GROUP BY holder, tier)
        WHERE last.operation <> {ChangeOperation.DELETE}),
    moving AS (SELECT l.tier, o.program, l.batch, l.next_batch, l.duration FROM store.lifecycles AS l
        JOIN store.objects AS o ON o.kind = {ObjectKind.TIER} AND o.number = l.tier
        WHERE l.retention = 'ACTIVITY_REFRESH'),
    kept AS (SELECT h.*, coalesce(m.by_log_seq, h.log_seq) AS place, coalesce(b.batch, 0) AS batch, d.changed_at
        FROM held AS h
        LEFT JOIN store.attempts AS m ON m.log_seq = h.log_seq
            AND h.change_seq BETWEEN m.first_change_seq AND m.last_change_seq
        LEFT JOIN store.due_changes AS d ON d.change_seq = h.change_seq
        LEFT JOIN store.change_batches AS b ON h.change_seq BETWEEN b.first_change_seq AND b.last_change_seq
        WHERE NOT h.own_expiry AND h.tier IN (SELECT tier FROM moving)),
    completed AS (SELECT a.holder, a.program, a.place, a.processed_at, b.batch FROM (
            SELECT holder, program, log_seq AS place, processed_at
            FROM {_rows("events", "log_seq", from_checkpoint)} WHERE outcome = 0 AND log_seq NOT IN ({generated})
            UNION ALL SELECT t.holder, e.program, t.by_log_seq, t.processed_at
            FROM store.attempts AS t JOIN store.events AS e USING (log_seq)
            WHERE t.by_log_seq > {after} AND t.outcome = 0 AND t.log_seq NOT IN ({generated})) AS a
        JOIN store.log_batches AS b ON a.place BETWEEN b.first_log_seq AND b.last_log_seq
        WHERE a.holder IN (SELECT holder FROM kept)),
    moved AS (SELECT k.holder, k.tier, arg_max(c.processed_at + v.duration, c.place) AS expires_at
        FROM kept AS k JOIN moving AS v ON v.tier = k.tier
        JOIN completed AS c ON c.holder = k.holder AND c.program = v.program
            AND c.batch >= v.batch AND (v.next_batch IS NULL OR c.batch < v.next_batch)
            AND CASE WHEN k.place <> 0 THEN c.place >= k.place
                ELSE c.batch > k.batch OR c.batch = k.batch AND c.processed_at >= k.changed_at END
        GROUP BY k.holder, k.tier)
    SELECT h.holder, h.tier, h.level, h.acquired_at, coalesce(m.expires_at, h.expires_at) AS expires_at, h.own_expiry,
        h.downgrade_at, h.noted_level
    FROM held AS h LEFT JOIN moved AS m USING (holder, tier)"""


def _tags(from_checkpoint: bool) -> str:
    base = f"SELECT entity, key, 0, {ChangeOperation.ADD} FROM store.tags UNION ALL "
    return f"""SELECT entity, key FROM ({base if from_checkpoint else ""}
        SELECT entity, key, change_seq, operation
        FROM {_rows("changes", "change_seq", from_checkpoint)} WHERE state_type = {StateType.TAG}
    ) AS steps(entity, key, change_seq, operation)
    GROUP BY entity, key HAVING arg_max(operation, change_seq) = {ChangeOperation.ADD}"""


_HOLDERS = f"state_type IN ({StateType.PARTICIPANT}, {StateType.GROUP})"


def _holder_statuses(from_checkpoint: bool) -> str:
    """The last status of participants and groups, where it is not ACTIVE."""
    base = "SELECT holder, CAST(0 AS BIGINT), CAST(status AS BIGINT) FROM store.holder_statuses UNION ALL "
    return f"""SELECT holder, CAST(last AS TINYINT) AS status
    FROM (SELECT holder, arg_max(status, change_seq) AS last FROM ({base if from_checkpoint else ""}
            SELECT entity, change_seq, value FROM {_rows("changes", "change_seq", from_checkpoint)}
            WHERE {_HOLDERS} AND key = {HolderField.STATUS}
        ) AS steps(holder, change_seq, status) GROUP BY holder)
    WHERE last <> {Status.ACTIVE}"""


def _profiles(from_checkpoint: bool) -> str:
    """The last text of each field of participants and groups."""
    base = "SELECT holder, field, CAST(0 AS BIGINT), text FROM store.profiles UNION ALL "
    return f"""SELECT holder, field, arg_max(text, change_seq) AS text FROM ({base if from_checkpoint else ""}
        SELECT entity, CAST(key AS TINYINT), change_seq, text
        FROM {_rows("full_changes", "change_seq", from_checkpoint)}
        WHERE {_HOLDERS} AND key <> {HolderField.STATUS}
    ) AS steps(holder, field, change_seq, text) GROUP BY holder, field"""


def _members(from_checkpoint: bool) -> str:
    """The last role and status of each member of each group."""
    base = """SELECT holder, member, CAST(0 AS BIGINT), CAST(role AS BIGINT) * 256 + status
        FROM store.members UNION ALL """
    return f"""SELECT holder, member, CAST(last // 256 AS TINYINT) AS role, CAST(last % 256 AS TINYINT) AS status
    FROM (SELECT holder, member, arg_max(code, change_seq) AS last FROM ({base if from_checkpoint else ""}
            SELECT entity, CAST(key AS BIGINT), change_seq, value
            FROM {_rows("changes", "change_seq", from_checkpoint)} WHERE state_type = {StateType.MEMBER}
        ) AS steps(holder, member, change_seq, code) GROUP BY holder, member)"""


_BATCH_STEP = "1000000000000000000"  # more than changes that a book can have


def _position(batch: str, change_seq: str) -> str:
    """Where something stands among loads and changes: a load comes before the records of its batch (§6.3)."""
    return f"CAST({batch} AS HUGEINT) * {_BATCH_STEP} + {change_seq}"


def _definition_rows(kind: ObjectKind, value: str, from_checkpoint: bool) -> str:
    """History rows of a kind with the value before; from the checkpoint, those of loads after it."""
    after = "WHERE batch > (SELECT state_batch FROM store.meta)" if from_checkpoint else ""
    return f"""(SELECT * FROM (SELECT batch, object, {value} AS value,
            lag({value}) OVER (PARTITION BY object ORDER BY batch, n) AS value_before
        FROM store.definitions WHERE kind = {kind}) {after})"""


def _program_changes(state_type: StateType, from_checkpoint: bool) -> str:
    """Changes of programs by operations, with the batch that they are of."""
    return f"""(SELECT -c.entity AS program, c.change_seq, c.key, c.operation, c.value, b.batch
        FROM {_rows("changes", "change_seq", from_checkpoint)} AS c
        ASOF JOIN store.change_batches AS b ON c.change_seq >= b.first_change_seq
        WHERE c.state_type = {state_type})"""


_STATED_STATUS = f"""CASE snapshot ->> '$.status' WHEN 'SUSPENDED' THEN {Status.SUSPENDED}
    WHEN 'ARCHIVED' THEN {Status.ARCHIVED} ELSE {Status.ACTIVE} END"""


def _program_statuses(from_checkpoint: bool) -> str:
    """The status in force: the last that an operation set or that the files stated anew (§6.3)."""
    base = "SELECT program, CAST(0 AS HUGEINT), CAST(status AS BIGINT) FROM store.program_statuses UNION ALL "
    return f"""SELECT CAST(program AS INTEGER) AS program, CAST(arg_max(status, position) AS TINYINT) AS status
    FROM ({base if from_checkpoint else ""}
        SELECT object, {_position("batch", "0")}, value
        FROM {_definition_rows(ObjectKind.PROGRAM, _STATED_STATUS, from_checkpoint)}
        WHERE value IS DISTINCT FROM value_before
        UNION ALL SELECT program, {_position("batch", "change_seq")}, value
        FROM {_program_changes(StateType.PROGRAM, from_checkpoint)}
    ) AS steps(program, position, status) GROUP BY program"""


def _asset_links(from_checkpoint: bool) -> str:
    """The links in force: those the files stated, and what operations linked and unlinked since."""
    base = "SELECT program, asset, CAST(0 AS HUGEINT), true FROM store.asset_links UNION ALL "
    listed = "from_json(snapshot -> '$.programs', '[\"VARCHAR\"]')"
    return f"""SELECT CAST(program AS INTEGER) AS program, CAST(asset AS INTEGER) AS asset
    FROM ({base if from_checkpoint else ""}
        SELECT p.number, d.object, d.position, true
        FROM (SELECT object, {_position("batch", "0")} AS position,
                unnest(list_filter(value, lambda key: NOT list_contains(coalesce(value_before, []), key))) AS key
            FROM {_definition_rows(ObjectKind.ASSET, listed, from_checkpoint)}) AS d
        JOIN store.objects AS p ON p.kind = {ObjectKind.PROGRAM} AND p.key = d.key
        UNION ALL SELECT program, key, {_position("batch", "change_seq")}, operation = {ChangeOperation.ADD}
        FROM {_program_changes(StateType.ASSET_LINK, from_checkpoint)}
    ) AS steps(program, asset, position, linked)
    GROUP BY program, asset HAVING arg_max(linked, position)"""


def _schedule(from_checkpoint: bool) -> str:
    """What was scheduled, less what became an event."""
    columns = "holder, due_at, parent, position, action, generation, under_broadcast"
    return f"""SELECT {columns} FROM ({_base(columns, "schedule", from_checkpoint)}
        SELECT entity, value, log_seq,
            CAST(row_number() OVER (PARTITION BY log_seq ORDER BY change_seq) - 1 AS INTEGER), action, value_scale,
            key = 1
        FROM {_rows("changes", "change_seq", from_checkpoint)} WHERE state_type = {StateType.SCHEDULED_EVENT}
    ) AS waiting({columns})
    ANTI JOIN {_rows("generated_events", "log_seq", from_checkpoint)} AS done USING (parent, action)"""
