"""What a batch reads of the book about earlier redemptions and lots (§16.3, §9.6): by key, by id, by number.

Every batch before it is committed by then. Functions take an open session; results are Arrow tables or small values.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import ACCOUNT_BREAKAGE, EntryType, LotMoveKind, OperationType

_REDEEMS = f"type IN ({OperationType.REDEEM}, {OperationType.REDEEM_ITEM})"


def find_redemptions(connection: duckdb.DuckDBPyConnection, *, key_hashes: pa.Array, ids: pa.Array) -> pa.Table:
    """Redemptions whose operation has one of these key hashes (uint64), or that have one of these ids (text).

    Columns: those of `redemptions`, type, owner (program number) and idempotency_key of the operation, the redemption's
    id (null where no ids were asked for), reversed_amount and reversed_quantity. Hashes are found by scanning one
    narrow column; for an id the operation of every redemption is hashed.
    """
    connection.register("wanted_hashes", pa.table({"key_hash": key_hashes.cast(pa.uint64())}))
    connection.register("wanted_ids", pa.table({"id": ids.cast(pa.string())}))
    redemption_id = "store.uuid5(store.uuid5(o.namespace, o.name), 'redemption')"
    named = f"""SELECT log_seq FROM store.operations
        WHERE {_REDEEMS} AND key_hash IN (SELECT key_hash FROM wanted_hashes)"""
    if len(ids):
        named += f""" UNION SELECT o.log_seq FROM store.operation_list AS o
            WHERE o.log_seq IN (SELECT log_seq FROM store.redemptions)
                AND {redemption_id} IN (SELECT CAST(id AS UUID) FROM wanted_ids)"""
    rows = connection.sql(
        f"""WITH named AS ({named})
        SELECT d.*, o.type, o.program AS owner, o.idempotency_key,
            {f"CAST({redemption_id} AS VARCHAR)" if len(ids) else "CAST(NULL AS VARCHAR)"} AS id,
            coalesce(v.amount, 0) AS reversed_amount, coalesce(v.quantity, 0) AS reversed_quantity
        FROM store.redemptions AS d JOIN store.operation_list AS o ON o.log_seq = d.log_seq
        LEFT JOIN (SELECT redemption, CAST(sum(amount) AS BIGINT) AS amount, CAST(sum(quantity) AS BIGINT) AS quantity
            FROM store.reversals GROUP BY redemption) AS v ON v.redemption = d.log_seq
        WHERE d.log_seq IN (SELECT log_seq FROM named) ORDER BY d.log_seq"""
    ).to_arrow_table()
    connection.unregister("wanted_hashes")
    connection.unregister("wanted_ids")
    return rows


def load_consumed(connection: duckdb.DuckDBPyConnection, log_seqs: pa.Array) -> pa.Table:
    """What redemptions took from lots, in the order of consumption: log_seq, lot_seq, amount, and each lot's facts.

    The facts are root, program, source, created_at, expires_at, matures_at, reference, and whether it ever expired.
    """
    connection.register("wanted_redemptions", pa.table({"log_seq": log_seqs.cast(pa.int64())}))
    rows = connection.sql(
        f"""WITH wanted AS (SELECT log_seq, entry_seq, target FROM store.redemptions
                WHERE log_seq IN (SELECT log_seq FROM wanted_redemptions)),
            taken AS (
                SELECT w.log_seq, m.lot_seq, m.amount, m.rowid AS place
                FROM wanted AS w JOIN store.movements AS m ON m.entry_seq = w.entry_seq
                WHERE w.target <= {ACCOUNT_BREAKAGE} AND m.lot_seq > 0
                UNION ALL
                SELECT w.log_seq, p.lot_seq, p.remaining_before - p.remaining_after, p.index
                FROM wanted AS w JOIN store.lot_moves AS p ON p.entry_seq = w.entry_seq
                WHERE w.target > {ACCOUNT_BREAKAGE} AND p.kind = {LotMoveKind.CONSUME})
        SELECT t.log_seq, t.lot_seq, t.amount, l.root, l.program, l.source, l.created_at, l.expires_at, l.matures_at,
            l.reference, x.lot_seq IS NOT NULL AS is_expired
        FROM taken AS t JOIN store.full_lots AS l ON l.lot_seq = t.lot_seq
        LEFT JOIN (SELECT DISTINCT lot_seq FROM store.movements WHERE entry_type = {EntryType.EXPIRATION}) AS x
            ON x.lot_seq = t.lot_seq
        ORDER BY t.log_seq, t.place"""
    ).to_arrow_table()
    connection.unregister("wanted_redemptions")
    return rows


def load_lot_ids(connection: duckdb.DuckDBPyConnection, lot_seqs: pa.Array) -> dict[str, int]:
    """The numbers of these lots by their ids, lower-case text."""
    connection.register("wanted_lots", pa.table({"lot_seq": lot_seqs.cast(pa.int64())}))
    rows = connection.execute(
        """SELECT CAST(store.lot_id(l.kind, store.uuid5(l.namespace, l.name), l.rule_id, l.action_index, l.place)
            AS VARCHAR), l.lot_seq FROM store.lot_list AS l WHERE l.lot_seq IN (SELECT lot_seq FROM wanted_lots)"""
    ).fetchall()
    connection.unregister("wanted_lots")
    return dict(rows)
