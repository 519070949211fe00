"""The redemptions that reversals name (§16.3): those of the book, and those that the batch itself makes.

`name` a batch before its holders are loaded, `load` what the book has, `begin` deciding, then `find` at each reversal.
What a redemption consumed, and what is reversed of it, is kept only for those that reversals of the batch name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger import layout as at
from earnbook.ledger.operate_write import slot_of
from earnbook.ledger.pool import StringPool, hash_texts
from earnbook.ledger.schema import (
    ACCOUNT_BREAKAGE,
    TIME_NONE,
    EntryType,
    Int64s,
    LotMoveKind,
    LotStatus,
    OperationType,
    RecordKind,
)
from earnbook.ledger.state import State
from earnbook.ledger.state_load import open_lots_of
from earnbook.pipeline.load_redemptions import find_redemptions, load_consumed
from earnbook.pipeline.records import operation_id
from earnbook.pipeline.terms_rewards import RewardTerms

REDEEMING = (int(OperationType.REDEEM), int(OperationType.REDEEM_ITEM))

_REVERSE = int(OperationType.REVERSE_REDEMPTION)
_EXPIRATION = int(EntryType.EXPIRATION)
_CONSUME = int(LotMoveKind.CONSUME)
_NEVER = int(TIME_NONE)
# Rows of the journal as the ledger writes it (`ledger.results`).
_MOVED_ENTRY, _MOVED_TYPE, _MOVED_AMOUNT, _MOVED_LOT = 0, 2, 7, 8
_MOVE_ENTRY, _MOVE_LOT, _MOVE_KIND, _MOVE_BEFORE, _MOVE_AFTER = 0, 2, 3, 5, 7
_NEW_FACTS = (6, 4, 5, 8, 9, 10, 11)
_OPEN_FACTS = (
    at.LOT_ROOT,
    at.LOT_PROGRAM,
    at.LOT_SOURCE,
    at.LOT_CREATED,
    at.LOT_EXPIRES,
    at.LOT_MATURES,
    at.LOT_REFERENCE,
)

Facts = tuple[int, ...]
"""What never changes of a lot: root, program, source, created_at, expires_at, matures_at, code of its reference."""


@dataclass(frozen=True, slots=True)
class RedemptionName:
    """How a reversal names a redemption: by its id, or by type and key of its operation and the program's slot."""

    id: str | None
    program: int = -1
    kind: int = 0
    key: str = ""


@dataclass(slots=True, kw_only=True)
class Redemption:
    """A redemption, and how much of it is reversed by now. `slot` is the participant's, `asset` an index.

    `parts` are the lots that it consumed and how much of each, in this order; none on SIMPLE assets.
    """

    log_seq: int
    slot: int
    program: int
    asset: int
    amount: int
    reward: int
    quantity: int | None
    unit_cost: int
    target: int
    payee: int
    parts: tuple[tuple[int, int], ...]
    reversed_amount: int = 0
    reversed_quantity: int = 0

    def backwards(self, amount: int) -> list[tuple[int, int]]:
        """The parts that the next reversal, of this amount, restores: those before what is reversed already."""
        skipped, found = self.reversed_amount, []
        for lot_seq, taken in reversed(self.parts):
            rest = taken - min(skipped, taken)
            skipped -= taken - rest
            part = min(rest, amount)
            if part:
                found.append((lot_seq, part))
                amount -= part
        return found


class Redemptions:
    """The redemptions that one run's reversals name; see the module."""

    def __init__(
        self, state: State, pool: StringPool, program_ids: Sequence[str], rewards: Mapping[int, RewardTerms]
    ) -> None:
        """`rewards` are the rewards in force by their numbers."""
        self._state, self._pool, self._program_ids, self._rewards = state, pool, program_ids, rewards
        self._names: dict[int, RedemptionName] = {}
        self._rows: dict[RedemptionName, int] = {}
        self._stored: list[dict[str, Any]] = []
        self._found: dict[RedemptionName, Redemption] = {}
        self._by_log_seq: dict[int, Redemption] = {}
        self._facts: dict[int, Facts] = {}
        self._expired: set[int] = set()
        self._seen = 0
        self._payees: dict[int, int] = {}

    # --- before deciding --------------------------------------------------------------------------------------------

    def name(self, records: pa.Table) -> None:
        """Read which redemptions the records of a batch name, and which of them its own operations may make."""
        operation = records.column("operation").to_numpy()
        rows = np.flatnonzero(operation == _REVERSE)
        few = records.select(["program", "fields"]).take(pa.array(rows)).to_pylist()
        self._names = {
            row: _name_of(each["program"], json.loads(each["fields"]))
            for row, each in zip(rows.tolist(), few, strict=True)
        }
        self._rows, self._stored, self._found, self._by_log_seq = {}, [], {}, {}
        if self._names:
            self._find_rows(records, operation)

    def _find_rows(self, records: pa.Table, operation: Int64s) -> None:
        """The rows of the batch that may make what is named."""
        wanted = set(self._names.values())
        keys = pa.array({name.key for name in wanted if name.id is None}, pa.string())
        asked = pc.is_in(records.column("idempotency_key"), value_set=keys).to_numpy()
        # An id names whatever has it, so the operations must be hashed.
        has_ids = any(name.id is not None for name in wanted)
        is_operation = records.column("record_kind").to_numpy() == int(RecordKind.OPERATION)
        rows = np.flatnonzero(is_operation & np.isin(operation, REDEEMING) & (asked | has_ids))
        few = records.select(["program", "operation", "idempotency_key"]).take(pa.array(rows)).to_pylist()
        for row, each in zip(rows.tolist(), few, strict=True):
            program, kind, key = each["program"], each["operation"], each["idempotency_key"]
            names = [RedemptionName(None, program, kind, key)]
            if has_ids:
                names.append(RedemptionName(redemption_id(self._program_ids[program], kind, key)))
            self._rows |= {name: row for name in names if name in wanted}

    def load(self, connection: duckdb.DuckDBPyConnection) -> Int64s:
        """Read what is named of the book; returns the numbers of the holders that it is about."""
        wanted = {name for name in self._names.values() if name not in self._rows}
        if not wanted:
            return np.zeros(0, np.int64)
        keys = pa.array(sorted({name.key for name in wanted if name.id is None}), pa.string())
        ids = pa.array(sorted({name.id for name in wanted if name.id is not None}), pa.string())
        rows = find_redemptions(connection, key_hashes=pa.array(hash_texts(keys)), ids=ids)
        self._stored = rows.to_pylist()
        consumed = load_consumed(connection, rows.column("log_seq").combine_chunks())
        codes = self._pool.intern(consumed.column("reference").combine_chunks())
        parts: dict[int, list[tuple[int, int]]] = {}
        for row, code in zip(consumed.to_pylist(), codes.tolist(), strict=True):
            parts.setdefault(row["log_seq"], []).append((row["lot_seq"], row["amount"]))
            expires_at, matures_at = (_NEVER if row[key] is None else row[key] for key in ("expires_at", "matures_at"))
            dates = (row["created_at"], expires_at, matures_at)
            self._facts[row["lot_seq"]] = (row["root"], row["program"], row["source"], *dates, code)
            if row["is_expired"]:
                self._expired.add(row["lot_seq"])
        for row in self._stored:
            row["parts"] = tuple(parts.get(row["log_seq"], ()))
        targets = [row["target"] >> 2 for row in self._stored if row["target"] > ACCOUNT_BREAKAGE]
        return np.unique(np.array([*(row["holder"] for row in self._stored), *targets], np.int64))

    @property
    def lots(self) -> list[int]:
        """The lots of the book that what is named consumed."""
        return [lot_seq for row in self._stored for lot_seq, _ in row["parts"]]

    def begin(self, persons: Int64s) -> None:
        """Deciding begins: everybody is loaded, and the lots that the batch may consume are open."""
        self._persons = persons
        self._seen = 0
        self._place_stored()
        participants = {int(slot_of(self._state.handles, int(persons[row]))) for row in set(self._rows.values())}
        slots = np.array(sorted(participants - {-1}), np.int64)
        if not len(slots):
            return
        for row in open_lots_of(self._state, slots).tolist():
            self._facts[row[at.LOT_SEQ]] = tuple(row[column] for column in _OPEN_FACTS)

    def _place_stored(self) -> None:
        """What was read of the book, by its names; holders are slots now."""
        payees = [row["target"] >> 2 if row["target"] > ACCOUNT_BREAKAGE else 0 for row in self._stored]
        slots = self._state.slots_of([row["holder"] for row in self._stored]).tolist()
        paying = self._state.slots_of(payees).tolist()
        for row, slot, payee in zip(self._stored, slots, paying, strict=True):
            found = Redemption(
                log_seq=row["log_seq"],
                slot=slot,
                program=row["program"] - 1,
                asset=row["asset"] - 1,
                amount=row["amount"],
                reward=row["reward"],
                quantity=row["quantity"],
                unit_cost=row["unit_cost"] or 0,
                target=row["target"],
                payee=payee,
                parts=row["parts"],
                reversed_amount=row["reversed_amount"],
                reversed_quantity=row["reversed_quantity"],
            )
            by_key = RedemptionName(None, row["owner"] - 1, row["type"], row["idempotency_key"])
            self._found |= {by_key: found, RedemptionName(row["id"]): found}

    # --- deciding ---------------------------------------------------------------------------------------------------

    def find(self, row: int) -> Redemption | None:
        """The redemption that the reversal at a row names, None where there is none by now."""
        name = self._names[row]
        made = self._rows.get(name)
        if made is None:
            return self._found.get(name)
        if made >= row:
            return None
        log_seq = int(self._state.table(at.OUTCOMES)[at.OUTCOME_LOG_SEQ, made])
        if log_seq not in self._by_log_seq:
            found = self._of_batch(log_seq, int(self._persons[made]))
            if found is None:
                return None
            self._by_log_seq[log_seq] = found
        return self._by_log_seq[log_seq]

    def restores(self, redemption: Redemption, amount: int) -> Int64s:
        """The rows of RESTORES by which an amount of a redemption comes back, the last consumed part first."""
        self._note_expired()
        rows = []
        for lot_seq, part in redemption.backwards(amount):
            status = LotStatus.EXPIRED if lot_seq in self._expired else LotStatus.CONSUMED
            rows.append((lot_seq, part, *self._facts_of(lot_seq), int(status)))
        return np.array(rows, np.int64).reshape(-1, at.RESTORE_COLUMNS)

    def _of_batch(self, log_seq: int, person: int) -> Redemption | None:
        """A redemption that the batch made."""
        state = self._state
        made = state.table(at.REDEMPTIONS)[:, : state.register(at.R_REDEMPTIONS)]
        place = int(np.searchsorted(made[0], log_seq))
        if place == made.shape[1] or made[0, place] != log_seq:
            return None
        _, _, program, asset, amount, reward, quantity, target, entry = made[:, place].tolist()
        payee = self._slot_of_account(target) if target > ACCOUNT_BREAKAGE else -1
        return Redemption(
            log_seq=log_seq,
            slot=int(slot_of(state.handles, person)),
            program=program - 1,
            asset=asset - 1,
            amount=amount,
            reward=reward,
            quantity=None if quantity < 0 else quantity,
            unit_cost=self._rewards[reward].unit_cost if reward else 0,
            target=target,
            payee=payee,
            parts=self._parts(entry, is_written=target > ACCOUNT_BREAKAGE),
        )

    def _slot_of_account(self, account: int) -> int:
        if account not in self._payees:
            self._payees[account] = int(self._state.slots_of([account >> 2])[0])
        return self._payees[account]

    def _parts(self, entry: int, *, is_written: bool) -> tuple[tuple[int, int], ...]:
        """What an entry of the batch consumed; `is_written` where it has its lot moves written down."""
        state = self._state
        if is_written:
            moves = _of_entry(state.table(at.LOT_MOVES)[:, : state.register(at.R_LOT_MOVES)], _MOVE_ENTRY, entry)
            taken = moves[:, moves[_MOVE_KIND] == _CONSUME]
            return tuple(
                zip(taken[_MOVE_LOT].tolist(), (taken[_MOVE_BEFORE] - taken[_MOVE_AFTER]).tolist(), strict=True)
            )
        moved = _of_entry(state.table(at.MOVEMENTS)[:, : state.register(at.R_MOVEMENTS)], _MOVED_ENTRY, entry)
        moved = moved[:, moved[_MOVED_LOT] > 0]
        return tuple(zip(moved[_MOVED_LOT].tolist(), moved[_MOVED_AMOUNT].tolist(), strict=True))

    def _facts_of(self, lot_seq: int) -> Facts:
        facts = self._facts.get(lot_seq)
        if facts is None:
            new = self._state.table(at.NEW_LOTS)
            facts = tuple(new[_NEW_FACTS, lot_seq - int(new[0, 0])].tolist())
            self._facts[lot_seq] = facts
        return facts

    def _note_expired(self) -> None:
        """The lots that the batch expired since the last time; what is written down by now stays."""
        state = self._state
        rows = state.register(at.R_MOVEMENTS)
        moved = state.table(at.MOVEMENTS)[:, self._seen : rows]
        self._expired.update(moved[_MOVED_LOT, moved[_MOVED_TYPE] == _EXPIRATION].tolist())
        self._seen = rows


def redemption_id(program_id: str, kind: int, key: str) -> str:
    """The id of the redemption that an operation of a program makes (§2.3)."""
    return str(uuid5(UUID(operation_id(program_id, OperationType(kind), key)), "redemption"))


def _name_of(program: int, fields: Mapping[str, Any]) -> RedemptionName:
    if "redemption_id" in fields:
        return RedemptionName(str(UUID(fields["redemption_id"])))
    kind = OperationType[fields.get("redemption_type", "redeem").upper()]
    return RedemptionName(None, program, int(kind), fields["redemption_key"])


def _of_entry(rows: Int64s, column: int, entry: int) -> Int64s:
    """The rows, stored column by column in the order of their entries, of one entry."""
    first, last = np.searchsorted(rows[column], [entry, entry + 1])
    return rows[:, first:last]
