"""Two books made from one book by the same records, side by side: right minus left (§21.2).

In: two book files that are equal up to a point, and that point. Out: a `Comparison`: tables with one row for whatever
differs, and counts. Equal books give no rows. Nothing is decided here: the figures are sums of stored movements, as in
reports.

Both files are attached to one DuckDB and compared by joins over their physical tables, so that millions of records
spill instead of growing. Minor units of both sides are brought to one scale first; two rulesets may give an asset of an
empty book two scales.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import ACCOUNT_BREAKAGE, ActionType, EntityType, EntryType, OperationType, Outcome
from earnbook.pipeline.reports_lines import line_sums
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.show import Section
from earnbook.pipeline.store import BookSettings
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import EvaluationReason, EvaluationStatus, ObjectKind
from earnbook.pipeline.store_views import code_name

_DIGITS = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Where two books part: the last record and the last entry that both have."""

    log_seq: int = 0
    entry_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two books, each part with its rows in a fixed order; `counts` is always there."""

    counts: Section
    rules: Section
    assets: Section
    holders: Section
    records: Section

    @property
    def parts(self) -> tuple[Section, ...]:
        """All parts, the most telling first."""
        return self.counts, self.assets, self.rules, self.holders, self.records

    def first_rows(self, rows: int) -> tuple[Section, ...]:
        """All parts with so many rows at most; the title says where some are left out."""
        return tuple(_cut(part, rows) for part in self.parts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return all(part.table.num_rows == 0 for part in self.parts if part is not self.counts)


def _cut(part: Section, rows: int) -> Section:
    found = part.table.num_rows
    if found <= rows:
        return part
    return replace(part, title=f"{part.title} ({rows:,} of {found:,})", table=part.table.slice(0, rows))


def compare_books(left: Path, right: Path, fork: Fork, *, settings: BookSettings | None = None) -> Comparison:
    """Compares two committed books whose checkpoints are current, over all that came after the fork.

    What does not fit in memory is spilled beside the left one.
    """
    config = (settings or BookSettings()).config() | {"temp_directory": str(left.parent / "spilled")}
    lines = {side: _lines(path, fork) for side, path in (("l", left), ("r", right))}
    with duckdb.connect(":memory:", config=config) as connection:
        for side, path in (("l", left), ("r", right)):
            connection.register(f"{side}_line_rows", lines[side])
            quoted = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS {side} (READ_ONLY)")
        scale = _prepare(connection)
        for side in ("l", "r"):
            _write_side(connection, side, fork)
        read = _Reader(connection, scale)
        return Comparison(
            counts=read.section("counts", "Holders that gain and lose", _COUNTS, ()),
            assets=read.section("assets", "Lines of each asset", _ASSETS, ("left", "right", "delta")),
            rules=read.section("rules", "Rules", _RULES, ("left_issued", "right_issued", "delta_issued")),
            holders=read.section("holders", "Balances of holders", _HOLDERS, ("left", "right", "delta")),
            records=read.section("records", "Records", _RECORDS, ("left_net", "right_net", "delta_net")),
        )


def _lines(path: Path, fork: Fork) -> pa.Table:
    """The lines of the roll-forward (§20.4) after the fork, in minor units by asset number."""
    with reading(path) as connection:
        sums = line_sums(connection, first=fork.entry_seq)
    rows = [(asset, line, amount) for asset, lines in sums.items() for line, amount in lines.items()]
    assets, names, amounts = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "asset": pa.array(assets, pa.int64()),
            "line": pa.array(names, pa.string()),
            "amount": pa.array([Decimal(amount) for amount in amounts], pa.decimal128(_DIGITS, 0)),
        }
    )


def _prepare(connection: duckdb.DuckDBPyConnection) -> int:
    """Names of codes, and assets of both sides with the factor to the largest scale, which is returned."""
    row = one_row(
        connection,
        """SELECT greatest(0, (SELECT max(scale) FROM l.store.objects), (SELECT max(scale) FROM r.store.objects))""",
    )
    scale = int(row[0]) if row is not None else 0
    for name, codes in (("outcome", Outcome), ("operation_type", OperationType), ("entity_type", EntityType)):
        names = pa.table(
            {"code": pa.array([int(c) for c in codes], pa.int64()), "name": [code_name(name, c) for c in codes]}
        )
        connection.register(f"{name}_rows", names)
        connection.execute(f"CREATE TABLE {name}s AS SELECT * FROM {name}_rows")
    for side in ("l", "r"):
        connection.execute(
            f"""CREATE TABLE {side}_assets AS
            SELECT number, key AS asset, scale, CAST('1' || repeat('0', {scale} - scale) AS HUGEINT) AS factor
            FROM {side}.store.objects WHERE kind = {ObjectKind.ASSET}"""
        )
    return scale


def _write_side(connection: duckdb.DuckDBPyConnection, side: str, fork: Fork) -> None:
    """What one book says, in tables of its own named after the part."""
    values = {"side": side, "log_seq": fork.log_seq, "entry_seq": fork.entry_seq}
    for name, query in _SIDE.items():
        connection.execute(f"CREATE TABLE {side}_{name} AS {query.format(**values)}")


_HELD = f"> {ACCOUNT_BREAKAGE}"
_ISSUING = f"{EntryType.CREDIT}, {EntryType.SETTLE}"
_MATCHED = f"{EvaluationStatus.SUCCESS}, {EvaluationStatus.FAILED}"

_SUPPRESSED = EvaluationReason.BUDGET_EXCEEDED

_LINES = (
    *("opening", "issued", "issuance_returns", "redeemed", "redemption_receipts", "redemption_reversals"),
    *("reversal_clawbacks", "debited", "expired", "forfeited", "holds_voided", "closing"),
)


_SIDE = {
    "balances": f"""
        SELECT t.name AS kind, h.external_id AS holder, a.asset, any_value(a.scale) AS scale,
            CAST(sum(b.amount * a.factor) AS HUGEINT) AS amount
        FROM {{side}}.store.balances AS b
        JOIN {{side}}.store.holders AS h ON h.number = b.account // 4
        JOIN entity_types AS t ON t.code = h.kind
        JOIN {{side}}_assets AS a ON a.number = b.asset
        WHERE b.account {_HELD} GROUP BY ALL""",
    "lines": f"""
        WITH lines AS (
            SELECT asset, 'opening' AS line,
                sum(amount * ((credit {_HELD})::INT - (debit {_HELD})::INT)) AS amount
            FROM {{side}}.store.movements WHERE entry_seq <= {{entry_seq}} GROUP BY asset
            UNION ALL SELECT asset, line, CAST(amount AS HUGEINT) FROM {{side}}_line_rows
            UNION ALL SELECT asset, 'closing', sum(amount) FROM {{side}}.store.balances
            WHERE account {_HELD} GROUP BY asset
        )
        SELECT a.asset, a.scale, n.line, CAST(n.amount * a.factor AS HUGEINT) AS amount
        FROM lines AS n JOIN {{side}}_assets AS a ON a.number = n.asset""",
    "rules": f"""
        WITH matched AS (
            SELECT p.rule, count(*) AS matches
            FROM (SELECT pattern FROM {{side}}.store.events WHERE log_seq > {{log_seq}}
                UNION ALL SELECT pattern FROM {{side}}.store.attempts WHERE by_log_seq > {{log_seq}}) AS e
            JOIN {{side}}.store.evaluation_patterns AS p USING (pattern)
            WHERE p.status IN ({_MATCHED}) OR p.reason = {_SUPPRESSED} GROUP BY p.rule
        ), paid AS (
            SELECT c.rule, m.asset,
                count(*) FILTER (m.entry_type = {EntryType.CREDIT} OR m.debit {_HELD} AND m.credit {_HELD}) AS credits,
                CAST(coalesce(sum(m.amount) FILTER (NOT m.debit {_HELD}), 0) AS HUGEINT) AS issued
            FROM {{side}}.store.movements AS m JOIN {{side}}.store.actions AS c ON c.number = m.action
            WHERE m.entry_seq > {{entry_seq}} AND m.entry_type IN ({_ISSUING}) GROUP BY ALL
        ), paying AS (SELECT DISTINCT rule, asset FROM {{side}}.store.actions WHERE type = {ActionType.CREDIT})
        SELECT g.key AS program, o.key AS rule, a.asset, a.scale, coalesce(e.matches, 0) AS matches,
            coalesce(p.credits, 0) AS credits, CAST(coalesce(p.issued, 0) * coalesce(a.factor, 1) AS HUGEINT) AS issued
        FROM {{side}}.store.objects AS o
        JOIN {{side}}.store.objects AS g ON g.kind = {ObjectKind.PROGRAM} AND g.number = o.program
        LEFT JOIN matched AS e ON e.rule = o.number
        LEFT JOIN paying AS y ON y.rule = o.number
        LEFT JOIN paid AS p ON p.rule = o.number AND p.asset = y.asset
        LEFT JOIN {{side}}_assets AS a ON a.number = y.asset
        WHERE o.kind = {ObjectKind.RULE}""",
    "tried": """
        SELECT log_seq, arg_max(outcome, attempt) AS outcome FROM {side}.store.attempts
        WHERE by_log_seq > {log_seq} GROUP BY log_seq""",
    "nets": f"""
        SELECT m.log_seq, a.asset, any_value(a.scale) AS scale, CAST(sum(m.amount * a.factor
            * ((m.credit {_HELD})::INT - (m.debit {_HELD})::INT)) AS HUGEINT) AS net
        FROM {{side}}.store.movements AS m JOIN {{side}}_assets AS a ON a.number = m.asset
        WHERE m.entry_seq > {{entry_seq}} AND m.log_seq > 0 GROUP BY ALL""",
    "records": """
        SELECT e.log_seq, 'EVENT' AS kind, '' AS type, g.key AS program, e.idempotency_key,
            h.external_id AS participant, e.event_timestamp AS timestamp, n.name AS code
        FROM {side}.store.events AS e
        JOIN {side}.store.objects AS g ON g.kind = 2 AND g.number = e.program
        LEFT JOIN {side}_tried AS t USING (log_seq)
        LEFT JOIN {side}.store.holders AS h ON h.number = e.holder
        LEFT JOIN outcomes AS n ON n.code = coalesce(t.outcome, e.outcome)
        WHERE e.log_seq > {log_seq} OR t.log_seq IS NOT NULL
        UNION ALL
        SELECT o.log_seq, 'OPERATION', k.name, coalesce(g.key, ''), o.idempotency_key,
            h.external_id, o.effective_at, n.name
        FROM {side}.store.operations AS o
        LEFT JOIN {side}.store.objects AS g ON g.kind = 2 AND g.number = o.program
        LEFT JOIN {side}.store.holders AS h ON h.number = o.holder
        LEFT JOIN operation_types AS k ON k.code = o.type
        LEFT JOIN outcomes AS n ON n.code = o.outcome
        WHERE o.log_seq > {log_seq}""",
}
"""What one book says, by part; tables of names and assets come first, `{side}` is the book."""

_BALANCE_PAIRS = """(SELECT kind, holder, asset, coalesce(greatest(l.scale, r.scale), l.scale, r.scale) AS scale,
        coalesce(l.amount, 0) AS "left", coalesce(r.amount, 0) AS "right"
    FROM l_balances AS l FULL JOIN r_balances AS r USING (kind, holder, asset))"""

_COUNTS = f"""
    SELECT asset, count(*) FILTER ("right" > "left") AS gainers, count(*) FILTER ("right" < "left") AS losers,
        count(*) FILTER ("right" = "left") AS unchanged
    FROM {_BALANCE_PAIRS} GROUP BY asset ORDER BY asset"""

_HOLDERS = f"""
    SELECT kind, holder, asset, scale, "left", "right", "right" - "left" AS delta
    FROM {_BALANCE_PAIRS} WHERE "left" <> "right" ORDER BY asset, abs(delta) DESC, kind, holder"""

_ASSETS = f"""
    SELECT asset, coalesce(greatest(l.scale, r.scale), l.scale, r.scale) AS scale, line,
        coalesce(l.amount, 0) AS "left", coalesce(r.amount, 0) AS "right",
        coalesce(r.amount, 0) - coalesce(l.amount, 0) AS delta
    FROM l_lines AS l FULL JOIN r_lines AS r USING (asset, line)
    WHERE delta <> 0 ORDER BY asset, list_position({list(_LINES)}, line)"""

_RULES = """
    WITH pairs AS (
        SELECT coalesce(l.program, r.program) AS program, coalesce(l.rule, r.rule) AS rule,
            coalesce(l.asset, r.asset) AS asset, coalesce(greatest(l.scale, r.scale), l.scale, r.scale, 0) AS scale,
            coalesce(l.matches, 0) AS left_matches, coalesce(r.matches, 0) AS right_matches,
            coalesce(l.credits, 0) AS left_credits, coalesce(r.credits, 0) AS right_credits,
            coalesce(l.issued, 0) AS left_issued, coalesce(r.issued, 0) AS right_issued
        FROM l_rules AS l FULL JOIN r_rules AS r
            ON l.program = r.program AND l.rule = r.rule AND l.asset IS NOT DISTINCT FROM r.asset)
    SELECT program, rule, asset, scale, left_matches, right_matches, right_matches - left_matches AS delta_matches,
        left_credits, right_credits, right_credits - left_credits AS delta_credits,
        left_issued, right_issued, right_issued - left_issued AS delta_issued
    FROM pairs WHERE delta_matches <> 0 OR delta_credits <> 0 OR delta_issued <> 0 ORDER BY program, rule, asset"""

_RECORDS = """
    WITH pairs AS (
        SELECT kind, type, program, idempotency_key, coalesce(l.participant, r.participant) AS participant,
            coalesce(l.timestamp, r.timestamp) AS timestamp, l.log_seq AS left_seq, r.log_seq AS right_seq,
            l.code AS left_code, r.code AS right_code
        FROM l_records AS l FULL JOIN r_records AS r USING (kind, type, program, idempotency_key)
    ), assets AS (
        SELECT p.left_seq, p.right_seq, n.asset FROM pairs AS p JOIN l_nets AS n ON n.log_seq = p.left_seq
        UNION SELECT p.left_seq, p.right_seq, n.asset FROM pairs AS p JOIN r_nets AS n ON n.log_seq = p.right_seq
    ), nets AS (
        SELECT a.left_seq, a.right_seq, a.asset, coalesce(greatest(l.scale, r.scale), l.scale, r.scale) AS scale,
            coalesce(l.net, 0) AS left_net, coalesce(r.net, 0) AS right_net
        FROM assets AS a
        LEFT JOIN l_nets AS l ON l.log_seq = a.left_seq AND l.asset = a.asset
        LEFT JOIN r_nets AS r ON r.log_seq = a.right_seq AND r.asset = a.asset
        WHERE left_net <> right_net
    )
    SELECT p.kind, nullif(p.type, '') AS type, nullif(p.program, '') AS program, p.idempotency_key, p.participant,
        make_timestamp(p.timestamp) AS timestamp, p.left_code, p.right_code, n.asset, coalesce(n.scale, 0) AS scale,
        n.left_net, n.right_net, n.right_net - n.left_net AS delta_net
    FROM pairs AS p LEFT JOIN nets AS n
        ON n.left_seq IS NOT DISTINCT FROM p.left_seq AND n.right_seq IS NOT DISTINCT FROM p.right_seq
    WHERE n.asset IS NOT NULL OR p.left_code IS DISTINCT FROM p.right_code
    ORDER BY p.timestamp, coalesce(p.right_seq, p.left_seq), p.left_seq, n.asset"""


@dataclass(frozen=True, slots=True)
class _Reader:
    connection: duckdb.DuckDBPyConnection
    scale: int

    def section(self, name: str, title: str, query: str, amounts: tuple[str, ...]) -> Section:
        """The rows of a part, its columns of minor units as decimals of the common scale."""
        casts = ", ".join(f'CAST("{amount}" AS DECIMAL({_DIGITS}, 0)) AS "{amount}"' for amount in amounts)
        replaced = f"* REPLACE ({casts})" if amounts else "*"
        table = self.connection.sql(f"SELECT {replaced} FROM ({query})").to_arrow_table()
        for amount in amounts:
            index = table.column_names.index(amount)
            table = table.set_column(index, amount, _in_units(table.column(amount), self.scale))
        return Section(name=name, title=title, table=table, amounts=amounts)


def _in_units(minor: pa.ChunkedArray, scale: int) -> pa.Array:
    """Whole decimals read as decimals of a scale: the same digits, so nothing is computed."""
    array = pa.concat_arrays([*minor.chunks, pa.array([], minor.type)])
    return pa.Array.from_buffers(
        pa.decimal128(_DIGITS, scale), len(array), array.buffers(), null_count=array.null_count, offset=array.offset
    )
