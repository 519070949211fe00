"""Our side of a reconciliation (§20.9): net effect of events, closing balances of holders, roll-forward lines.

Each makes the temporary table `ours(key, asset, amount, n, dated_at, last_entry)`, one row per key and asset, in minor
units, without rows of zero: `n` counts what was added up, `dated_at` is the time of an event, `last_entry` the newest
entry behind a balance. `known(key, dated_at)` are keys of the other side that the book knows, in `ours` or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from earnbook.pipeline.reports import LAST_SYSTEM_ACCOUNT, report_book
from earnbook.pipeline.reports_bounds import last_entry
from earnbook.pipeline.reports_lines import entries_condition, journal_sums, total

LINES = (
    "opening", "issued", "issuance_returns", "redeemed", "redemption_receipts", "redemption_reversals",
    "reversal_clawbacks", "debited", "expired", "forfeited", "holds_voided", "transfers_net", "bucket_movements_net",
    "adjustments_net", "closing",
)  # fmt: skip
"""The keys of basis `total`: the lines of the liability roll-forward (§20.4). Magnitudes are positive."""


_SYSTEM = LAST_SYSTEM_ACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which entries count: created from `from_us` to `until_us` (None: no bound), of one program or all."""

    from_us: int | None = None
    until_us: int | None = None
    program: int | None = None


def load_event_effects(connection: duckdb.DuckDBPyConnection, scope: Scope) -> None:
    """By idempotency key: what events did to holders, all buckets together (§10.6). Needs `theirs`."""
    first, last = _entry_bounds(connection, scope)
    of_program = "true" if scope.program is None else f"e.program = {scope.program}"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE ours AS
        SELECT e.idempotency_key AS key, m.asset, CAST(sum(m.amount) AS DECIMAL(38, 0)) AS amount, count(*) AS n,
            min(e.event_timestamp) AS dated_at, max(m.last_entry) AS last_entry
        FROM (SELECT m.log_seq, m.asset, sum(CASE WHEN m.credit > {_SYSTEM} THEN m.amount ELSE -m.amount END) AS amount,
                max(m.entry_seq) AS last_entry
            FROM store.movements AS m
            WHERE m.log_seq > 0 AND (m.credit > {_SYSTEM}) <> (m.debit > {_SYSTEM})
                AND {entries_condition(None, first, last)}
            GROUP BY ALL) AS m
        JOIN store.events AS e USING (log_seq)
        WHERE {of_program} GROUP BY ALL HAVING sum(m.amount) <> 0"""
    )
    bounds = [of_program]
    bounds += [] if scope.until_us is None else [f"e.processed_at <= {scope.until_us}"]
    bounds += [] if scope.from_us is None else [f"e.processed_at >= {scope.from_us}"]
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE known AS
        SELECT e.idempotency_key AS key, min(e.event_timestamp) AS dated_at
        FROM store.events AS e SEMI JOIN theirs AS t ON t.key = e.idempotency_key
        WHERE {" AND ".join(bounds)} GROUP BY ALL"""
    )


def load_closing_balances(connection: duckdb.DuckDBPyConnection, scope: Scope) -> None:
    """By external id of participants and key of groups: what a holder has, all buckets together."""
    _, last = _entry_bounds(connection, scope)
    legs = f"SELECT account, asset, amount, last_entry_seq FROM store.current_balances WHERE account > {_SYSTEM}"
    if last is not None or scope.program is not None:
        within = entries_condition(scope.program, None, last)
        legs = f"""SELECT m.credit AS account, m.asset, m.amount, m.entry_seq AS last_entry_seq
            FROM store.movements AS m WHERE m.credit > {_SYSTEM} AND {within}
            UNION ALL SELECT m.debit, m.asset, -m.amount, m.entry_seq
            FROM store.movements AS m WHERE m.debit > {_SYSTEM} AND {within}"""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE ours AS
        SELECT h.external_id AS key, b.asset, CAST(sum(b.amount) AS DECIMAL(38, 0)) AS amount, count(*) AS n,
            CAST(NULL AS BIGINT) AS dated_at, max(b.last_entry) AS last_entry
        FROM (SELECT account // 4 AS holder, asset, sum(amount) AS amount, max(last_entry_seq) AS last_entry
            FROM ({legs}) GROUP BY ALL) AS b
        JOIN store.holders AS h ON h.number = b.holder
        GROUP BY ALL HAVING sum(b.amount) <> 0"""
    )
    created = ""
    if scope.until_us is not None:
        records = " UNION ALL ".join(
            f"SELECT log_seq FROM store.{table} WHERE processed_at <= {scope.until_us}"
            for table in ("events", "operations")
        )
        created = f"WHERE h.log_seq IN ({records})"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE known AS
        SELECT DISTINCT h.external_id AS key, CAST(NULL AS BIGINT) AS dated_at
        FROM store.holders AS h SEMI JOIN theirs AS t ON t.key = h.external_id {created}"""
    )


def load_lines(connection: duckdb.DuckDBPyConnection, scope: Scope) -> None:
    """By line of the roll-forward: its amount in the period, or of all time."""
    first, last = _entry_bounds(connection, scope)
    book = replace(report_book(connection), program=scope.program)
    sums = journal_sums(book, [first or 0, last])
    rows = []
    for asset in book.assets:
        opening, during = total(sums, asset.number, 0).net, total(sums, asset.number, 1)
        amounts = during.lines | {"opening": opening, "closing": opening + during.net}
        rows += [(line, asset.number, amounts[line]) for line in LINES if amounts.get(line)]
    table = pa.table(
        {
            "key": pa.array([line for line, _, _ in rows], pa.string()),
            "asset": pa.array([asset for _, asset, _ in rows], pa.int32()),
            "amount": pa.array([str(amount) for _, _, amount in rows], pa.string()),
        }
    )
    connection.register("line_rows", table)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE ours AS
        SELECT key, asset, CAST(amount AS DECIMAL(38, 0)) AS amount, CAST(1 AS BIGINT) AS n,
            CAST(NULL AS BIGINT) AS dated_at, CAST(NULL AS BIGINT) AS last_entry
        FROM line_rows"""
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE known AS SELECT DISTINCT key, CAST(NULL AS BIGINT) AS dated_at FROM theirs"
    )
    connection.unregister("line_rows")


def _entry_bounds(connection: duckdb.DuckDBPyConnection, scope: Scope) -> tuple[int | None, int | None]:
    """The entry before the first that counts, and the last one; None: no bound."""
    first = None if scope.from_us is None else last_entry(connection, scope.from_us - 1)
    last = None if scope.until_us is None else last_entry(connection, scope.until_us)
    return first, last
