"""Books written by hand: rows as a batch would have them, without rules or ledger.

`BookMaker` keeps plain dictionaries of what it wrote and makes each batch's rows, numbers and checkpoint from them. Its
world: organization `demo`, program `loyalty` (1), assets PTS (1: LOT, scale 2, UNLIMITED) and CASH (2: SIMPLE, scale 0,
PREFUNDED), rule `base` (1) whose actions are 1 CREDIT PTS, 2 DEBIT PTS, 3 COUNTER visits, 4 TAG vip, 5 SET_ATTRIBUTE
city, 6 CREDIT PTS. Ids are those of §2.3.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from earnbook.ledger.pool import hash_texts
from earnbook.pipeline.commit import CommitRequest, CommittedBatch, StepListener, commit_batch
from earnbook.pipeline.commit_checks import BatchCounts, BatchHeader
from earnbook.pipeline.load import StoredRuleset, load_registers, load_registry
from earnbook.pipeline.registry import ActionEntry, ObjectEntry, SourceEntry
from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_checkpoint import Checkpoint
from earnbook.pipeline.store_tables import BOOK_TABLES, ObjectKind

ROOT = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
ORGANIZATION = uuid.uuid5(ROOT, "organization:demo")
LOYALTY = uuid.uuid5(ORGANIZATION, "program:loyalty")
BASE = uuid.uuid5(LOYALTY, "rule:base")
PTS = uuid.uuid5(ORGANIZATION, "asset:PTS")
CASH = uuid.uuid5(ORGANIZATION, "asset:CASH")

DOCUMENT = '{"organization":{"key":"demo"}}'
DOCUMENT_SHA256 = hashlib.sha256(DOCUMENT.encode()).hexdigest()

T0 = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""
HOUR = 3_600_000_000


@dataclass
class MadeLot:
    """A lot and what is left of it."""

    lot_seq: int
    holder: int
    remaining: int
    status: int
    row: dict[str, Any]


@dataclass
class BookMaker:
    """Writes a book batch by batch. Amounts are minor units, times microseconds."""

    path: Path
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    batch: int = 1
    log_seq: int = 0
    entry_seq: int = 0
    change_seq: int = 0
    clock: int = T0
    holders: dict[str, int] = field(default_factory=dict)
    lots: dict[int, MadeLot] = field(default_factory=dict)
    balances: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    overdrafts: dict[tuple[int, int], int] = field(default_factory=dict)
    cells: dict[str, dict[tuple[int, int], dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    reward_counts: dict[tuple[int, int], int] = field(default_factory=dict)
    redemptions: dict[int, dict[str, Any]] = field(default_factory=dict)
    touched: set[tuple[int, int]] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def event(self, key: str, who: str, at: int, *, outcome: int = 0, action: int = 0, pattern: int = 1) -> int:
        """An event of `who`, who is created and enrolled when new; returns its log_seq."""
        self._record("failed" if outcome else "completed", at)
        holder = self._holder(who)
        self.rows["events"].append(
            {
                "log_seq": self.log_seq,
                "program": 1,
                "key_hash": hash_texts(pa.array([key]))[0],
                "idempotency_key": key,
                "holder": holder,
                "recipient": 0,
                "given": 1,
                "given_participant": None,
                "given_recipient": None,
                "event_timestamp": at,
                "late": False,
                "source": 1,
                "source_row": self.log_seq,
                "event_data": '{"type":"purchase","amount":5.10}',
                "processed_at": self.clock,
                "outcome": outcome,
                "action": action,
                "pattern": pattern,
            }
        )
        self.counts["events"] += 1
        return self.log_seq

    def operation(self, type_: int, key: str, at: int, fields: str = "{}", *, outcome: int = 0) -> int:
        """An operation of the program; returns its log_seq."""
        self._record("failed" if outcome > 1 else "completed", at)
        self.rows["operations"].append(
            {
                "log_seq": self.log_seq,
                "type": type_,
                "program": 1,
                "key_hash": hash_texts(pa.array([key]))[0],
                "idempotency_key": key,
                "effective_at": at,
                "holder": 0,
                "fields": fields,
                "late": False,
                "source": 1,
                "source_row": self.log_seq,
                "processed_at": self.clock,
                "outcome": outcome,
            }
        )
        self.counts["operations"] += 1
        return self.log_seq

    def move(self, type_: int, debit: int, credit: int, asset: int, amount: int, **rest: int) -> int:
        """One movement as an entry of its own, or of the entry before with `same=1`; returns its entry_seq."""
        if not rest.pop("same", 0):
            self.entry_seq += 1
        row = {"log_seq": self.log_seq, "action": 0, "lot_seq": 0} | rest
        row |= {"entry_seq": self.entry_seq, "entry_type": type_, "debit": debit, "credit": credit}
        self.rows["movements"].append(row | {"asset": asset, "amount": amount})
        for account, change in ((debit, -amount), (credit, amount)):
            before = self.balances.get((account, asset), (0, 0))[0]
            self.balances[account, asset] = (before + change, self.entry_seq)
            self.touched.add((account, asset))
        return self.entry_seq

    def credit(
        self, who: str, amount: int, *, action: int = 1, matures_at: int | None = None, expires_at: int | None = None
    ) -> int:
        """CREDIT PTS as a new lot; repays overdraft when it is available at once; returns its lot_seq."""
        holder, lot_seq = self.holders[who], len(self.lots) + 1
        bucket = 1 if matures_at is None else 3
        self.move(1, 1, holder * 4 + bucket, 1, amount, action=action, lot_seq=lot_seq)
        row: dict[str, Any] = {
            "lot_seq": lot_seq,
            "entry_seq": self.entry_seq,
            "holder": holder,
            "asset": 1,
            "program": 1,
        }
        row |= {"wallet": 0, "root": lot_seq, "amount": amount, "created_at": self.clock, "expires_at": expires_at}
        row |= {"matures_at": matures_at, "reference": None, "place": 0}
        self.rows["lots"].append(row)
        lot = self.lots[lot_seq] = MadeLot(lot_seq, holder, amount, 2 if matures_at is None else 1, row)
        if matures_at is None:
            self._repay(lot, 1, 0, 0)
        return lot_seq

    def debit(self, who: str, amount: int) -> int:
        """DEBIT PTS from the oldest lots, the rest as overdraft; one entry."""
        holder, same = self.holders[who], 0
        for lot in self.lots.values():
            taken = min(amount, lot.remaining) if lot.holder == holder and lot.status == 2 else 0
            if taken:
                self.move(2, holder * 4 + 1, 1, 1, taken, action=2, lot_seq=lot.lot_seq, same=same)
                lot.remaining -= taken
                amount, same = amount - taken, 1
        if amount:
            self.move(2, holder * 4 + 1, 1, 1, amount, action=2, same=same)
            self.overdrafts[holder, 1] = self.overdrafts.get((holder, 1), 0) + amount
        return self.entry_seq

    def mature(self, lot_seq: int, at: int) -> None:
        """The maturity of a lot as due work."""
        lot = self.lots[lot_seq]
        holder = lot.holder * 4
        entry = self.move(8, holder + 3, holder + 1, 1, lot.remaining, log_seq=0, lot_seq=lot_seq)
        self._due(entry, lot_seq, at)
        lot.status = 2
        self._repay(lot, 6, 1, lot.remaining)

    def expire(self, lot_seq: int, at: int) -> None:
        """The expiration of a lot as due work."""
        lot = self.lots[lot_seq]
        entry = self.move(9, lot.holder * 4 + 1, 3, 1, lot.remaining, log_seq=0, lot_seq=lot_seq)
        self._due(entry, lot_seq, at)
        lot.remaining = 0

    def change(self, who: str, state_type: int, key: int, operation: int, **cell: Any) -> None:
        """A change row of a holder, by rule action `action` (0: none)."""
        entity = self.holders[who]
        self.change_seq += 1
        row = {"change_seq": self.change_seq, "log_seq": self.log_seq, "action": 0, "entity": entity}
        row |= {"state_type": state_type, "key": key, "operation": operation, "value_kind": 0, "value": 0}
        self.rows["changes"].append(
            row | {"value_high": 0, "value_scale": 0, "reset_at": None, "reset_after": None, "text": None} | cell
        )
        name = {1: "tags", 2: "counters", 3: "attributes", 6: "enrollments"}.get(state_type)
        if name is not None and operation in (2, 4):
            self.cells[name].pop((entity, key))
        elif name is not None:
            self.cells[name][entity, key] = cell

    def due_change(self, who: str, at: int, state_type: int, key: int, operation: int, **cell: Any) -> None:
        """A change of a holder made by due work of rule 1."""
        self.clock = max(self.clock, at)
        self.change(who, state_type, key, operation, log_seq=0, **cell)
        row = {"change_seq": self.change_seq, "changed_at": self.clock, "kind": 4, "object": 1}
        self.rows["due_changes"].append(row)

    def reject(self, row: int, reason: int, raw: str) -> None:
        """A row of source 1 that became no record."""
        self.counts["rejected"] += 1
        self.rows["rejects"].append(
            {"batch": self.batch, "n": len(self.rows["rejects"]) + 1, "source": 1, "source_row": row, "reason": reason}
            | {"field": None, "message": "not JSON", "original_log_seq": None, "raw": raw}
        )

    def request(self, *, checkpoint: bool = True) -> CommitRequest:
        """The batch so far as a request; starts the next batch."""
        for (account, asset), (amount, _) in sorted(self.balances.items()):
            if (account, asset) in self.touched:
                name = "system_snapshots" if 1 <= account <= 3 else "balance_snapshots"
                amount_of = Decimal(amount) if name == "system_snapshots" else amount
                self.rows[name].append({"batch": self.batch, "account": account, "asset": asset, "amount": amount_of})
        self._split_details()
        tables = {name: pa.Table.from_pylist(self.rows[name], schema=BATCH_TABLES[name]) for name in self.rows}
        counts = dict(self.counts)
        counts["rows_read"] = sum(counts.get(name, 0) for name in ("events", "operations", "rejected"))
        header = BatchHeader(
            batch=self.batch,
            organization=str(ORGANIZATION),
            clock_mode="event",
            book_clock=self.clock,
            ruleset_version=1,
            ruleset_sha256=DOCUMENT_SHA256,
            counts=BatchCounts(**counts),
            committed_at=T0,
            host="here",
            run_id=f"run-{self.batch}",
        )
        state = Checkpoint(entities=pa.array([-1, *self.holders.values()], pa.int64()), tables=self.state_tables())
        request = CommitRequest(
            header=header, tables=tables, checkpoint=state if checkpoint else None, **self._definitions()
        )
        self.batch += 1
        self.rows, self.touched, self.counts = defaultdict(list), set(), defaultdict(int)
        return request

    def commit(self, *, checkpoint: bool = True, at_step: StepListener | None = None) -> CommittedBatch:
        """Commits the batch so far; starts the next one."""
        with open_book(self.path, mode=BookMode.WRITE) as book:
            request = self.request(checkpoint=checkpoint)
            return commit_batch(book, request) if at_step is None else commit_batch(book, request, at_step=at_step)

    def state_tables(self) -> dict[str, pa.Table]:
        """The state of everything, as a checkpoint has it."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in STATE_TABLES}
        for (account, asset), (amount, last) in self.balances.items():
            row = {"account": account, "asset": asset, "last_entry_seq": last}
            system = 1 <= account <= 3
            rows["system_balances" if system else "balances"].append(
                row | {"amount": Decimal(amount) if system else amount}
            )
        for (holder, asset), amount in self.overdrafts.items():
            rows["overdrafts"] += [{"holder": holder, "asset": asset, "amount": amount}] if amount else []
        for lot in self.lots.values():
            now = {"remaining": lot.remaining, "status": lot.status, "hold_reference": None, "provisional": False}
            rows["open_lots"] += [lot.row | now] if lot.remaining else []
        for (entity, key), cell in self.cells["counters"].items():
            row = {"entity": entity, "key": key, "low": cell["value"], "high": 0, "scale": cell.get("value_scale", 0)}
            rows["counters"].append(row | {name: cell.get(name) for name in ("reset_at", "reset_after")})
        for entity, key in self.cells["tags"]:
            rows["tags"].append({"entity": entity, "key": key})
        for (entity, key), cell in self.cells["attributes"].items():
            row = {"entity": entity, "key": key, "kind": cell["value_kind"], "value": cell.get("value", 0), "scale": 0}
            rows["attributes"].append(row | {"text": cell.get("text")})
        for (holder, program), cell in self.cells["enrollments"].items():
            rows["enrollments"].append({"holder": holder, "program": program, "status": cell["value"]})
        for (reward, holder), count in self.reward_counts.items():
            rows["reward_counts"].append({"reward": reward, "holder": holder, "redeemed_count": count})
        return {
            name: pa.Table.from_pylist([{k: row[k] for k in schema.names} for row in rows[name]], schema=schema)
            for name, schema in STATE_TABLES.items()
        }

    def _split_details(self) -> None:
        """What few lots and changes have goes to rows of its own, for those that have it."""
        for row in self.rows["lots"]:
            if row["matures_at"] is not None or row["reference"] is not None:
                self.rows["lot_details"].append(row)
        for row in self.rows["changes"]:
            if row["value_high"] or any(row[name] is not None for name in ("reset_at", "reset_after", "text")):
                self.rows["change_details"].append(row)

    def _record(self, result: str, at: int) -> None:
        self.log_seq += 1
        self.clock = max(self.clock, at)
        self.counts[result] += 1

    def _holder(self, who: str) -> int:
        if who not in self.holders:
            number = self.holders[who] = len(self.holders) + 1
            self.rows["holders"].append(
                {"number": number, "kind": 1, "external_id": who, "given_id": None, "log_seq": self.log_seq}
            )
            self.change(who, 5, 0, 1, value=1)
            self.change(who, 6, 1, 1, value=1)
        return self.holders[who]

    def _due(self, entry: int, lot_seq: int, at: int) -> None:
        self.clock = max(self.clock, at)
        self.rows["due_entries"].append(
            {"entry_seq": entry, "created_at": self.clock, "program": 1, "lot_seq": lot_seq}
        )

    def _repay(self, lot: MadeLot, kind: int, status_before: int, before: int) -> None:
        repaid = min(self.overdrafts.get((lot.holder, 1), 0), lot.remaining)
        if repaid:
            self.overdrafts[lot.holder, 1] -= repaid
            lot.remaining -= repaid
            self.rows["lot_moves"].append(
                {"entry_seq": self.entry_seq, "index": 0, "lot_seq": lot.lot_seq, "kind": kind}
                | {"status_before": status_before, "remaining_before": before}
                | {"status_after": 2 if lot.remaining else 4, "remaining_after": lot.remaining}
                | {"hold_reference": None, "repaid": repaid}
            )

    def _definitions(self) -> dict[str, Any]:
        """What batch 1 brings: numbers, one evaluation pattern's rule, a history row, the ruleset."""
        with open_book(self.path, mode=BookMode.READ) as book, book.session() as connection:
            registry = load_registry(connection)
            if load_registers(connection).batch:
                return {"registry": registry.take_rows(self.batch, sources=[1])}
        objects = [
            ObjectEntry(kind=ObjectKind.ORGANIZATION, id=str(ORGANIZATION), key="demo"),
            ObjectEntry(kind=ObjectKind.ASSET, id=str(PTS), key="PTS", scale=2, inventory_mode=2, issuance_policy=1),
            ObjectEntry(kind=ObjectKind.ASSET, id=str(CASH), key="CASH", scale=0, inventory_mode=1, issuance_policy=2),
            ObjectEntry(kind=ObjectKind.PROGRAM, id=str(LOYALTY), key="loyalty"),
            ObjectEntry(kind=ObjectKind.RULE, id=str(BASE), key="base", program=1),
        ]
        for entry in objects:
            registry.object_number(entry)
        for index, type_ in enumerate((1, 2, 7, 8, 10, 1)):
            asset = 1 if type_ < 7 else 0
            action = ActionEntry(program=1, rule=1, rule_version=1, action_index=index, type=type_, asset=asset)
            registry.action_number(action)
        for state_type, text in ((2, "visits"), (1, "vip"), (3, "city")):
            registry.name_number(state_type, text)
        source = registry.add_source(SourceEntry(name="events.ndjson", sha256="ab" * 32, format="ndjson", rows=9))
        history: dict[str, Any] = {
            "batch": 1,
            "n": 1,
            "kind": 4,
            "object": 1,
            "version": 1,
            "change_type": 1,
            "changed_at": T0,
        }
        history |= {"changes": "{}", "snapshot": '{"key":"base"}', "ruleset_version": 1}
        return {
            "registry": registry.take_rows(self.batch, sources=[source]),
            "definitions": pa.Table.from_pylist([history], schema=BOOK_TABLES["definitions"]),
            "ruleset": StoredRuleset(version=1, sha256=DOCUMENT_SHA256, document=DOCUMENT, sources="{}"),
        }


def make_patterns(maker: BookMaker) -> None:
    """Pattern 1: rule `base` succeeded."""
    row = {"pattern": 1, "program": 1, "rule": 1, "rule_version": 1, "rule_order": 10}
    maker.rows["evaluation_patterns"].append(row | {"status": 1, "reason": 0, "stopped_by": 0})


def make_small_book(path: Path, *, checkpoint: bool = True) -> BookMaker:
    """Three batches: credits, a wallet, maturity and expiration, an overdraft that is repaid, state, a reject.

    With `checkpoint` false the checkpoint stays at batch 1.
    """
    open_book(path, mode=BookMode.WRITE).close()
    maker = BookMaker(path)
    make_patterns(maker)
    maker.event("e-1", "alice", T0)
    maker.credit("alice", 3000, expires_at=T0 + 240 * HOUR)
    maker.credit("alice", 500, action=6, matures_at=T0 + 48 * HOUR)
    maker.change("alice", 2, 1, 1, action=3, value_kind=3, value=150, value_scale=2)
    maker.change("alice", 1, 2, 3, action=4)
    maker.event("e-2", "bob", T0 + HOUR)
    maker.credit("bob", 700)
    maker.reject(3, 1, "{not json")
    maker.commit()
    maker.operation(10, "fund-1", T0 + 2 * HOUR, '{"amount":"100","description":"opening"}')
    maker.move(13, 1, -1, 2, 100)
    maker.event("e-3", "bob", T0 + 24 * HOUR)
    maker.debit("bob", 900)
    maker.change("bob", 3, 3, 1, action=5, value_kind=4, text="Köln")
    maker.mature(2, T0 + 48 * HOUR)
    maker.event("e-4", "alice", T0 + 72 * HOUR, outcome=82, action=2, pattern=0)
    maker.commit(checkpoint=checkpoint)
    maker.event("e-5", "bob", T0 + 96 * HOUR)
    maker.credit("bob", 450)
    maker.event("e-6", "alice", T0 + 100 * HOUR)
    maker.debit("alice", 100)
    maker.change("alice", 1, 2, 4, action=4)
    window = {"reset_at": T0 + 100 * HOUR, "reset_after": 720 * HOUR}
    maker.change("alice", 2, 1, 1, action=3, value_kind=3, value=250, value_scale=2, **window)
    maker.expire(1, T0 + 240 * HOUR)
    maker.due_change("alice", T0 + 250 * HOUR, 3, 3, 1, value_kind=4, text="Bonn")
    maker.commit(checkpoint=checkpoint)
    return maker
