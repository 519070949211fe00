"""Lots and their moves from physical rows (§9.5, §18.3); see `bulk_decode`.

A book writes down only the moves of holds, releases, settles and repayments; all others follow from the movements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from earnbook.ledger.schema import Bucket, EntryType, LotMoveKind, LotStatus
from tests.support.bulk_decode import Row, Rows
from tests.support.logical import Lot, LotMove

_STATUS_OF_BUCKET = {
    Bucket.AVAILABLE: LotStatus.AVAILABLE,
    Bucket.HELD: LotStatus.HELD,
    Bucket.DEFERRED: LotStatus.DEFERRED,
}


def lots_of(rows: Rows) -> tuple[Lot, ...]:
    """Every lot with what is left of it."""
    details = {row["lot_seq"]: row for row in rows["lot_details"]}
    left = {row["lot_seq"]: row for row in rows.state("open_lots")}
    expired = {row["lot_seq"] for row in rows["movements"] if row["entry_type"] == EntryType.EXPIRATION}
    return tuple(
        _lot(rows, row, details.get(row["lot_seq"]), left.get(row["lot_seq"]), is_expired=row["lot_seq"] in expired)
        for row in sorted(rows["lots"], key=lambda row: row["lot_seq"])
    )


def _lot(rows: Rows, row: Row, detail: Row | None, left: Row | None, *, is_expired: bool) -> Lot:
    gone = "EXPIRED" if is_expired else "CONSUMED"
    return Lot(
        lot_seq=row["lot_seq"],
        holder=rows.entity(row["holder"]),
        asset=rows.asset(row["asset"]),
        program=rows.program(row["program"]),
        source=("PROGRAM", rows.program(row["wallet"])) if row["wallet"] else ("SYSTEM_ISSUANCE", None),
        root_lot_seq=row["lot_seq"] if detail is None else detail["root"],
        amount=row["amount"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        matures_at=None if detail is None else detail["matures_at"],
        reference_id=None if detail is None else detail["reference"],
        remaining=0 if left is None else left["remaining"],
        status=gone if left is None else LotStatus(left["status"]).name,
        hold_reference_id=None if left is None else left["hold_reference"],
        provisional=left is not None and left["provisional"],
    )


def lot_moves_of(rows: Rows) -> tuple[LotMove, ...]:
    """Every move of every lot, by entry and then in the order in which the entry made them."""
    lots = {row["lot_seq"]: row for row in rows["lots"]}
    references = {row["lot_seq"]: row["reference"] for row in rows["lot_details"]}
    written = sorted(rows["lot_moves"], key=lambda row: (row["entry_seq"], row["index"]))
    told = {row["entry_seq"] for row in written}
    steps = [_written_step(row, lots[row["lot_seq"]]) for row in written]
    steps += [
        _implied_step(row, place, lots[row["lot_seq"]], references.get(row["lot_seq"]))
        for place, row in enumerate(rows["movements"])
        if row["lot_seq"] > 0 and row["entry_seq"] not in told
    ]
    of_lot: dict[int, list[Row]] = defaultdict(list)
    for step in sorted(steps, key=lambda step: (step["entry_seq"], step["place"])):
        of_lot[step["lot_seq"]].append(step)
    of_entry: dict[int, list[tuple[int, Row]]] = defaultdict(list)
    for own in of_lot.values():
        for place, move in _moves(own):
            of_entry[move["entry_seq"]].append((place, move))
    return tuple(
        LotMove(index=index, **move)
        for _, moves in sorted(of_entry.items())
        for index, (_, move) in enumerate(sorted(moves, key=lambda item: item[0]))
    )


def _written_step(row: Row, lot: Row) -> Row:
    """A move that is written down; of a new lot what it repaid at once was never left of it."""
    is_new = row["status_before"] == 0
    change = lot["amount"] - row["repaid"] if is_new else row["remaining_after"] - row["remaining_before"]
    return {
        "entry_seq": row["entry_seq"],
        "lot_seq": row["lot_seq"],
        "place": row["index"],
        "kind": row["kind"],
        "is_written": True,
        "before": row["status_before"] or None,
        "status": row["status_after"],
        "reference": row["hold_reference"],
        "repaid": row["repaid"],
        "change": change,
        "stored": (row["remaining_before"], row["remaining_after"]),
    }


def _implied_step(row: Row, place: int, lot: Row, reference: str | None) -> Row:
    """What a movement that names a lot does to it: create, take from, mature or expire it."""
    status: int | None = None
    stamp = None
    kind, change = LotMoveKind.CONSUME, -row["amount"]
    if row["entry_seq"] == lot["entry_seq"]:
        bucket = Bucket(row["credit"] % 4)
        kind, change, status = LotMoveKind.CREATE, row["amount"], _STATUS_OF_BUCKET[bucket]
        stamp = reference if bucket is Bucket.HELD else None
    elif row["entry_type"] == EntryType.MATURITY:
        kind, change, status = LotMoveKind.MATURE, 0, LotStatus.AVAILABLE
    elif row["entry_type"] == EntryType.EXPIRATION:
        kind, status = LotMoveKind.EXPIRE, LotStatus.EXPIRED
    return {
        "entry_seq": row["entry_seq"],
        "lot_seq": row["lot_seq"],
        "place": place,
        "kind": kind,
        "is_written": False,
        "before": None,
        "status": status,
        "reference": stamp,
        "repaid": 0,
        "change": change,
        "stored": None,
    }


def _moves(steps: list[Row]) -> Iterator[tuple[int, Row]]:
    """The moves of one lot from its steps: what was left before and after, and the status that stays."""
    left = 0
    known: tuple[int, str | None] | None = None
    for step in steps:
        before, left = left, left + step["change"]
        if step["stored"] not in (None, (before, left)):
            raise AssertionError(f"lot {step['lot_seq']} has {(before, left)} left, entry says {step['stored']}")
        status_before = step["before"] if step["is_written"] else known and known[0]
        status, stamp = step["status"], step["reference"]
        if status is None:
            assert known is not None
            status, stamp = known if left else (LotStatus.CONSUMED, None)
        yield (
            step["place"],
            {
                "entry_seq": step["entry_seq"],
                "lot_seq": step["lot_seq"],
                "kind": LotMoveKind(step["kind"]).name,
                "status_before": None if status_before is None else LotStatus(status_before).name,
                "remaining_before": before,
                "status_after": LotStatus(status).name,
                "remaining_after": left,
                "hold_reference_after": stamp,
                "repaid": step["repaid"],
            },
        )
        if step["status"] is not None:
            known = (step["status"], step["reference"])
