"""What the definitions made, explained: a program, a rule."""

from __future__ import annotations

from pathlib import Path

import duckdb

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.show import EVENTS_SHOWN_DEFAULT, Reader, Shown, is_uuid, of_entity
from earnbook.pipeline.store_rows import one_row


def show_program(path: Path, key: str, *, events_max: int = EVENTS_SHOWN_DEFAULT) -> Shown:
    """A program by key or id: status, wallet, assets, rules, tier types, rewards, budgets, state, last changes.

    Raises `EarnbookError` when there is no such program.
    """
    with reading(path) as connection:
        number, program = _find_program(connection, key)
        read = Reader(connection, {"number": number, "key": program, "events_max": events_max})
        state = of_entity("PROGRAM")
        sections = (
            read.section("program", "Program", _PROGRAM, single=True),
            read.section("wallet", "Wallet", _WALLET, amounts=("amount",)),
            read.section("assets", "Assets", _ASSETS),
            read.section("rules", "Rules", _RULES),
            read.section("tiers", "Tier types", _TIERS),
            read.section("rewards", "Rewards", _REWARDS, amounts=("unit_cost",)),
            read.section("budgets", "Budgets", _BUDGETS, amounts=("limit", "consumed", "remaining")),
            *(read.section(name, name.capitalize(), state[name]) for name in ("tags", "counters", "attributes")),
            read.section("history", "Versions of its definition", _HISTORY_OF_PROGRAM),
            read.section("changes", "Last changes of state", state["changes"]),
        )
    return Shown(title=f"Program {program}", sections=sections)


def show_rule(path: Path, key: str, *, program: str | None = None) -> Shown:
    """A rule by key or id: what it says, what it did, what it issued, its budgets, its versions.

    Raises `EarnbookError` when there is no such rule, or several programs have one of this key.
    """
    with reading(path) as connection:
        number, rule = _find_rule(connection, key, program)
        read = Reader(connection, {"number": number})
        sections = (
            read.section("rule", "Rule", _RULE, single=True),
            read.section("actions", "Actions", _ACTIONS),
            read.section("evaluations", "Evaluations of the last attempts", _EVALUATIONS),
            read.section("issued", "Issued", _ISSUED, amounts=("issued",)),
            read.section("budgets", "Budgets", _RULE_BUDGETS, amounts=("limit", "consumed", "remaining")),
            read.section("history", "Versions", _HISTORY_OF_RULE),
        )
    return Shown(title=f"Rule {rule}", sections=sections)


def _find_program(connection: duckdb.DuckDBPyConnection, key: str) -> tuple[int, str]:
    column = "id" if is_uuid(key) else "key"
    row = one_row(connection, f"SELECT number, key FROM programs WHERE {column} = ?", [key])
    if row is None:
        known = ", ".join(str(k) for (k,) in connection.execute("SELECT key FROM programs ORDER BY number").fetchall())
        raise EarnbookError(f"there is no program {key!r}", f"The book has {known}." if known else "")
    return int(row[0]), str(row[1])


def _find_rule(connection: duckdb.DuckDBPyConnection, key: str, program: str | None) -> tuple[int, str]:
    column = "id" if is_uuid(key) else "key"
    rows = connection.execute(f"SELECT number, key, program FROM rules WHERE {column} = ?", [key]).fetchall()
    found = [(int(number), str(name), str(owner)) for number, name, owner in rows if program in (None, owner)]
    if not found:
        raise EarnbookError(f"there is no rule {key!r}", "Those of the book: earnbook sql 'FROM rules'.")
    if len(found) > 1:
        programs = ", ".join(owner for *_, owner in found)
        raise EarnbookError(f"{len(found)} programs have a rule {key!r}: {programs}", "Name one with --program.")
    return found[0][0], found[0][1]


_NEWEST = """
    SELECT kind, object, arg_max(snapshot, version) AS snapshot, max(version) AS version FROM store.definitions
    GROUP BY kind, object
"""
_PROGRAM = f"""
    SELECT p.key, p.id, d.snapshot ->> '$.name' AS name, p.status, d.version
    FROM programs AS p LEFT JOIN ({_NEWEST}) AS d ON d.kind = 2 AND d.object = p.number WHERE p.number = $number
"""
_WALLET = """
    SELECT b.asset, a.scale, b.amount FROM balances AS b JOIN assets AS a ON a.symbol = b.asset
    WHERE b.entity_type = 'PROGRAM' AND b.entity = $key ORDER BY a.number
"""
_ASSETS = """
    SELECT a.symbol AS asset, a.scale AS decimals, a.inventory_mode, a.issuance_policy
    FROM asset_links AS l JOIN assets AS a ON a.symbol = l.asset WHERE l.program = $key ORDER BY a.number
"""
_RULES = f"""
    SELECT r.key AS rule, CAST(d.snapshot ->> '$.order' AS INTEGER) AS "order", d.snapshot ->> '$.status' AS status,
        d.version, d.snapshot ->> '$.name' AS name, d.snapshot ->> '$.condition' AS condition
    FROM rules AS r LEFT JOIN ({_NEWEST}) AS d ON d.kind = 4 AND d.object = r.number
    WHERE r.program = $key ORDER BY "order", r.number
"""
_TIERS = """
    SELECT o.key AS tier, l.level, l.rank, count(t.external_id) AS participants
    FROM store.objects AS o LEFT JOIN store.level_list AS l ON l.tier = o.number
    LEFT JOIN tiers AS t ON t.program = $key AND t.tier = o.key AND t.level = l.level
    WHERE o.kind = 5 AND o.program = $number GROUP BY o.number, o.key, l.level, l.rank ORDER BY o.number, l.rank
"""
_REWARDS = """
    SELECT r.key AS reward, r.name, r.status, r.redemption_type, r.asset, coalesce(a.scale, 0) AS scale, r.unit_cost,
        r.redeemed_count, r.max_total, r.max_per_participant
    FROM rewards AS r LEFT JOIN assets AS a ON a.symbol = r.asset WHERE r.program = $key ORDER BY r.number
"""
_BUDGET_COLUMNS = """
    b.rule, b.asset, a.scale, b.schedule_type, coalesce(b.cron_expression, b.interval) AS schedule, b."limit",
    b.consumed, b.remaining, b.next_reset_at
"""
_BUDGETS = f"""
    SELECT {_BUDGET_COLUMNS} FROM budgets AS b JOIN assets AS a ON a.symbol = b.asset
    WHERE b.program = $key ORDER BY b.rule, a.number
"""
_HISTORY_OF_PROGRAM = """
    SELECT d.version, d.change_type, d.changed_at, d.changes, d.batch FROM definitions AS d
    WHERE d.kind = 'program' AND d.key = $key ORDER BY d.version
"""
_RULE = f"""
    SELECT r.key AS rule, r.id, r.program, d.version, CAST(d.snapshot ->> '$.order' AS INTEGER) AS "order",
        d.snapshot ->> '$.status' AS status, d.snapshot ->> '$.name' AS name,
        d.snapshot ->> '$.condition' AS condition, d.snapshot ->> '$.stop_after_match' AS stop_after_match,
        d.snapshot ->> '$.active_from' AS active_from, d.snapshot ->> '$.active_to' AS active_to
    FROM rules AS r LEFT JOIN ({_NEWEST}) AS d ON d.kind = 4 AND d.object = r.number WHERE r.number = $number
"""
_ACTIONS = f"""
    SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS index, action ->> '$.type' AS type, action
    FROM (SELECT unnest(CAST(d.snapshot -> '$.actions' AS JSON[])) AS action FROM ({_NEWEST}) AS d
        WHERE d.kind = 4 AND d.object = $number)
"""
_EVALUATIONS = """
    SELECT t.rule_version AS version, store.evaluation_status_name(t.status) AS status,
        store.evaluation_reason_name(t.reason) AS reason, CAST(sum(e.events) AS BIGINT) AS events
    FROM store.evaluation_patterns AS t
    JOIN (SELECT coalesce(n.pattern, e.pattern) AS pattern, count(*) AS events FROM store.events AS e
        LEFT JOIN (SELECT log_seq, arg_max(pattern, attempt) AS pattern FROM store.attempts GROUP BY log_seq) AS n
            USING (log_seq) GROUP BY 1) AS e USING (pattern)
    WHERE t.rule = $number GROUP BY t.rule_version, t.status, t.reason ORDER BY t.rule_version, t.status, t.reason
"""
_ISSUED = """
    SELECT i.asset, a.scale, i.credits, i.issued FROM rule_issuance AS i JOIN assets AS a ON a.symbol = i.asset
    JOIN rules AS r ON r.key = i.rule AND r.program = i.program WHERE r.number = $number ORDER BY a.number
"""
_RULE_BUDGETS = f"""
    SELECT {_BUDGET_COLUMNS} FROM budgets AS b JOIN assets AS a ON a.symbol = b.asset
    JOIN rules AS r ON r.id = b.rule_id WHERE r.number = $number ORDER BY a.number
"""
_HISTORY_OF_RULE = """
    SELECT d.version, d.change_type, d.changed_at, d.changes, d.batch
    FROM definitions AS d JOIN rules AS r ON r.id = d.object_id WHERE r.number = $number ORDER BY d.version
"""
