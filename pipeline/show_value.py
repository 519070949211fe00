"""Value of a book, explained: a lot with all that became of it, a redemption with its reversals."""

from __future__ import annotations

from pathlib import Path

import duckdb

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.show import POSTINGS, Reader, Shown, find_numbered, is_uuid


def show_lot(path: Path, key: str) -> Shown:
    """A lot by number or id: where it came from, every move, and the other lots of its root.

    Raises `EarnbookError` when there is no such lot.
    """
    with reading(path) as connection:
        lot_seq = find_numbered(connection, key, noun="lot", view="lots", number="lot_seq")
        read = Reader(connection, {"lot_seq": lot_seq})
        sections = (
            read.section("lot", "Lot", _LOT, single=True, amounts=("amount", "remaining")),
            read.section("moves", "Moves", _MOVES, amounts=("remaining_before", "remaining_after", "repaid")),
            read.section("family", "Lots of the same root", _FAMILY, amounts=("amount", "remaining")),
        )
    return Shown(title=f"Lot {lot_seq}", sections=sections)


def show_redemption(path: Path, key: str) -> Shown:
    """A redemption by its id, its operation's key, or its log_seq: amounts, reward, reversals, entries, lots.

    Raises `EarnbookError` when there is no such redemption, or several operations have this key.
    """
    with reading(path) as connection:
        log_seq = _find_redemption(connection, key)
        read = Reader(connection, {"log_seq": log_seq})
        sections = (
            read.section("redemption", "Redemption", _REDEMPTION, single=True, amounts=_REDEMPTION_AMOUNTS),
            read.section("reversals", "Reversals", _REVERSALS, amounts=("amount",)),
            read.section("postings", "Postings", _REDEMPTION_POSTINGS, amounts=("amount",)),
            read.section("lots", "Lots", _REDEMPTION_LOTS, amounts=("remaining_before", "remaining_after")),
        )
    return Shown(title=f"Redemption {key}", sections=sections)


def _find_redemption(connection: duckdb.DuckDBPyConnection, key: str) -> int:
    condition = "id = $key" if is_uuid(key) else "o.idempotency_key = $key OR CAST(r.log_seq AS VARCHAR) = $key"
    query = f"""
        SELECT r.log_seq, o.program FROM redemptions AS r
        JOIN (SELECT log_seq, idempotency_key, program FROM operations) AS o USING (log_seq) WHERE {condition}
        ORDER BY o.idempotency_key = $key DESC, r.log_seq
    """
    found = connection.execute(query, {"key": key}).fetchall()
    if not found:
        raise EarnbookError(f"there is no redemption {key!r}", "Give its id, its operation's key, or its log_seq.")
    if len(found) > 1:
        numbers = ", ".join(str(log_seq) for log_seq, _ in found)
        raise EarnbookError(f"{len(found)} redemptions are named {key!r}", f"Give one of the log_seqs {numbers}.")
    return int(found[0][0])


_LOT = """
    SELECT l.lot_seq, l.id, l.holder_type, l.holder, l.asset, a.scale, l.program, l.source_type, l.root_lot_seq,
        l.entry_seq, l.amount, l.remaining, l.status, l.created_at, l.matures_at, l.expires_at, l.reference_id,
        l.hold_reference_id, l.provisional, l.batch
    FROM lots AS l JOIN assets AS a ON a.symbol = l.asset WHERE l.lot_seq = $lot_seq
"""
_MOVES = """
    SELECT m.entry_seq, e.created_at, e.action_type, m.kind, m.status_before, m.status_after, a.scale,
        store.units(m.remaining_before_minor, a.unit) AS remaining_before,
        store.units(m.remaining_after_minor, a.unit) AS remaining_after, store.units(m.repaid_minor, a.unit) AS repaid,
        m.hold_reference_after
    FROM lot_moves AS m JOIN entries AS e ON e.seq = m.entry_seq
    JOIN store.lots AS l ON l.lot_seq = m.lot_seq JOIN store.asset_list AS a ON a.number = l.asset
    WHERE m.lot_seq = $lot_seq ORDER BY m.entry_seq, m.index
"""
_FAMILY = """
    SELECT l.lot_seq, a.scale, l.amount, l.remaining, l.status, l.reference_id, l.hold_reference_id, l.entry_seq
    FROM lots AS l JOIN assets AS a ON a.symbol = l.asset
    WHERE l.root_lot_seq = (SELECT root_lot_seq FROM lots WHERE lot_seq = $lot_seq) AND l.lot_seq <> $lot_seq
    ORDER BY l.lot_seq
"""
_REDEMPTION_AMOUNTS = ("amount", "unit_cost", "reversed_amount", "left_to_reverse")
_REDEMPTION = """
    SELECT r.log_seq, r.id, o.idempotency_key, r.external_id, r.program, r.asset, a.scale, r.amount, r.reward,
        r.quantity, r.unit_cost, r.target_type, r.target, r.entry_seq, r.created_at, r.status, r.reversed_amount,
        r.amount - r.reversed_amount AS left_to_reverse, r.reversed_quantity
    FROM redemptions AS r JOIN assets AS a ON a.symbol = r.asset JOIN operations AS o ON o.log_seq = r.log_seq
    WHERE r.log_seq = $log_seq
"""
_REVERSALS = """
    SELECT v.log_seq, v.id, v.created_at, a.scale, v.amount, v.quantity, v.reason, v.entry_seq
    FROM reversals AS v JOIN redemptions AS r ON r.log_seq = v.redemption_log_seq
    JOIN assets AS a ON a.symbol = r.asset WHERE v.redemption_log_seq = $log_seq ORDER BY v.log_seq
"""
_OWN_ENTRIES = """
    SELECT entry_seq FROM store.redemptions WHERE log_seq = $log_seq
    UNION ALL SELECT entry_seq FROM store.reversals WHERE redemption = $log_seq
"""
_REDEMPTION_POSTINGS = POSTINGS.replace("BETWEEN $first AND $last", f"IN ({_OWN_ENTRIES})")
_REDEMPTION_LOTS = f"""
    SELECT m.entry_seq, m.lot_seq, m.kind, m.status_before, m.status_after, a.scale,
        store.units(m.remaining_before_minor, a.unit) AS remaining_before,
        store.units(m.remaining_after_minor, a.unit) AS remaining_after
    FROM lot_moves AS m JOIN store.lots AS l USING (lot_seq) JOIN store.asset_list AS a ON a.number = l.asset
    WHERE m.entry_seq IN ({_OWN_ENTRIES}) ORDER BY m.entry_seq, m.index
"""
