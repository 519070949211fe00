"""Redemptions, reversals and transfers of a book written by hand: one more batch after `make_small_book`.

Program loyalty has the reward `card` (1: UNIT_BASED, 3.00 PTS, at most 2); its redemptions go where each one says.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from earnbook.pipeline.commit import commit_batch
from earnbook.pipeline.load import load_registry
from earnbook.pipeline.registry import ObjectEntry
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_tables import BOOK_TABLES, ObjectKind
from tests.support.book_maker import HOUR, LOYALTY, T0, BookMaker, MadeLot, make_small_book

CARD = uuid.uuid5(LOYALTY, "reward:card")
CARD_COST = 300
CARD_SNAPSHOT = {
    "asset_id": "PTS",
    "available_from": "2026-01-01T00:00:00Z",
    "id": str(CARD),
    "key": "card",
    "max_total": 2,
    "metadata": {"unit_cost": 9},
    "name": "Gift card",
    "program_id": "loyalty",
    "redemption_type": "UNIT_BASED",
    "status": "ACTIVE",
    "unit_cost": 3,
}

_REDEMPTION, _REVERSAL, _TRANSFER = 10, 11, 12
_CREATE, _CONSUME, _RESTORE = 1, 2, 8
_AVAILABLE, _CONSUMED = 2, 4


def make_money_book(path: Path, *, checkpoint: bool = True) -> BookMaker:
    """The small book and batch 4: two redemptions, a reversal of each, a transfer; the checkpoint as there."""
    maker = make_small_book(path, checkpoint=checkpoint)
    at = T0 + 300 * HOUR
    maker.event("e-7", "alice", at)
    maker.credit("alice", 3000)
    maker.event("e-8", "shop", at)
    maker.credit("shop", 100)
    plain = redeem(maker, "alice", 2000, key="r-1", target=2)
    item = redeem(maker, "alice", 600, key="i-1", target=maker.holders["shop"] * 4 + 1, quantity=2)
    reverse(maker, plain, [(5, 1500), (2, 200)], key="v-1")
    reverse(maker, item, [(5, 300)], key="v-2", quantity=1)
    transfer(maker, "alice", [("bob", 150), ("shop", 100), ("bob", 150)], key="t-1")
    with open_book(path, mode=BookMode.READ) as book, book.session() as connection:
        registry = load_registry(connection)
    registry.object_number(ObjectEntry(kind=ObjectKind.REWARD, id=str(CARD), key="card", program=1))
    history = {"batch": 4, "n": 1, "kind": int(ObjectKind.REWARD), "object": 1, "version": 1, "change_type": 1}
    history |= {"changed_at": at, "changes": "{}", "ruleset_version": 1}
    history |= {"snapshot": json.dumps(CARD_SNAPSHOT, separators=(",", ":"))}
    request = replace(
        maker.request(checkpoint=checkpoint),
        registry=registry.take_rows(4, sources=[1]),
        definitions=pa.Table.from_pylist([history], schema=BOOK_TABLES["definitions"]),
    )
    with open_book(path, mode=BookMode.WRITE) as book:
        commit_batch(book, request)
    return maker


def redeem(maker: BookMaker, who: str, amount: int, *, key: str, target: int, quantity: int | None = None) -> int:
    """A redemption of PTS, of `quantity` cards where that is given; returns its log_seq."""
    kind, fields = (6, {"description": "Cash"}) if quantity is None else (7, {"quantity": quantity})
    log_seq = maker.operation(kind, key, maker.clock, json.dumps(fields))
    account = maker.holders[who] * 4 + 1
    if target <= 3:
        for place, (lot, taken) in enumerate(_take(maker, who, amount)):
            same = min(place, 1)
            maker.move(_REDEMPTION, account, target, 1, taken, lot_seq=lot.lot_seq, same=same)
    else:
        maker.move(_REDEMPTION, account, target, 1, amount, lot_seq=len(maker.lots) + 1)
        _write_takes(maker, who, amount)
        _receive(maker, target // 4, amount, place=0)
    row: dict[str, Any] = {"log_seq": log_seq, "holder": maker.holders[who], "program": 1, "asset": 1}
    row |= {"amount": amount, "target": target, "entry_seq": maker.entry_seq}
    row |= {"reward": 0, "reward_version": 0, "quantity": None, "unit_cost": None}
    if quantity is not None:
        row |= {"reward": 1, "reward_version": 1, "quantity": quantity, "unit_cost": CARD_COST}
        _count(maker, row["holder"], quantity)
    maker.rows["redemptions"].append(row)
    maker.redemptions[log_seq] = row
    return log_seq


def reverse(
    maker: BookMaker, redemption: int, parts: Sequence[tuple[int, int]], *, key: str, quantity: int | None = None
) -> int:
    """A reversal that restores these amounts into lots of the redeemer; returns its log_seq."""
    was = maker.redemptions[redemption]
    amount = sum(part for _, part in parts)
    log_seq = maker.operation(8, key, maker.clock, '{"reason":"Returned"}')
    account = was["holder"] * 4 + 1
    for place, (lot_seq, part) in enumerate(parts):
        maker.move(_REVERSAL, was["target"], account, 1, part, lot_seq=lot_seq, same=min(place, 1))
    if was["target"] > 3:
        _write_takes(maker, _name_of(maker, was["target"] // 4), amount)
    for lot_seq, part in parts:
        lot = maker.lots[lot_seq]
        before = (_AVAILABLE if lot.remaining else _CONSUMED, lot.remaining)
        lot.remaining += part
        _write_move(maker, lot, _RESTORE, *before)
    row = {"log_seq": log_seq, "redemption": redemption, "amount": amount, "quantity": quantity}
    maker.rows["reversals"].append(row | {"entry_seq": maker.entry_seq})
    if quantity is not None:
        _count(maker, was["holder"], -quantity)
    return log_seq


def transfer(maker: BookMaker, who: str, legs: Sequence[tuple[str, int]], *, key: str) -> int:
    """A transfer of PTS to each recipient in turn; returns its log_seq."""
    log_seq = maker.operation(9, key, maker.clock, '{"description":"Gifts"}')
    first = len(maker.lots) + 1
    for place, (recipient, amount) in enumerate(legs):
        accounts = (maker.holders[who] * 4 + 1, maker.holders[recipient] * 4 + 1)
        maker.move(_TRANSFER, *accounts, 1, amount, lot_seq=first + place, same=min(place, 1))
    _write_takes(maker, who, sum(amount for _, amount in legs))
    for place, (recipient, amount) in enumerate(legs):
        _receive(maker, maker.holders[recipient], amount, place=place)
    return log_seq


def _take(maker: BookMaker, who: str, amount: int) -> list[tuple[MadeLot, int]]:
    """Takes from the oldest lots; what was taken of each."""
    taken = []
    for lot in maker.lots.values():
        part = min(amount, lot.remaining) if lot.holder == maker.holders[who] and lot.status == _AVAILABLE else 0
        if part:
            lot.remaining -= part
            amount -= part
            taken.append((lot, part))
    assert amount == 0
    return taken


def _write_takes(maker: BookMaker, who: str, amount: int) -> None:
    for lot, taken in _take(maker, who, amount):
        _write_move(maker, lot, _CONSUME, _AVAILABLE, lot.remaining + taken)


def _receive(maker: BookMaker, holder: int, amount: int, *, place: int) -> None:
    """A fresh lot of the newest entry."""
    lot_seq = len(maker.lots) + 1
    row: dict[str, Any] = {"lot_seq": lot_seq, "entry_seq": maker.entry_seq, "holder": holder, "asset": 1, "program": 1}
    row |= {"wallet": 0, "root": lot_seq, "amount": amount, "created_at": maker.clock, "expires_at": None}
    row |= {"matures_at": None, "reference": None, "place": place}
    maker.rows["lots"].append(row)
    lot = maker.lots[lot_seq] = MadeLot(lot_seq, holder, amount, _AVAILABLE, row)
    _write_move(maker, lot, _CREATE, 0, 0)


def _write_move(maker: BookMaker, lot: MadeLot, kind: int, status_before: int, remaining_before: int) -> None:
    moves = maker.rows["lot_moves"]
    index = sum(move["entry_seq"] == maker.entry_seq for move in moves)
    after = {"status_after": _AVAILABLE if lot.remaining else _CONSUMED, "remaining_after": lot.remaining}
    before = {"status_before": status_before, "remaining_before": remaining_before}
    row = {"entry_seq": maker.entry_seq, "index": index, "lot_seq": lot.lot_seq, "kind": kind}
    moves.append(row | before | after | {"hold_reference": None, "repaid": 0})


def _count(maker: BookMaker, holder: int, units: int) -> None:
    """Counts units of the card, with a change row of the program."""
    for who in (0, holder):
        maker.reward_counts[1, who] = maker.reward_counts.get((1, who), 0) + units
    count = maker.reward_counts[1, 0]
    maker.change_seq += 1
    row = {"change_seq": maker.change_seq, "log_seq": maker.log_seq, "action": 0, "entity": -1, "state_type": 12}
    row |= {"key": 1, "operation": 1, "value_kind": 3, "value": count, "value_scale": 3 if count >= 2 else 2}
    row |= {"value_high": 0, "reset_at": None, "reset_after": None, "text": None}
    maker.rows["changes"].append(row)


def _name_of(maker: BookMaker, number: int) -> str:
    return next(name for name, holder in maker.holders.items() if holder == number)
