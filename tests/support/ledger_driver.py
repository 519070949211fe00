"""Drives the ledger kernel by hand: every program bails out and the test itself proposes the effects.

Records are named events and operations in log order; results read in the notation of §1.4, so that a test states its
scenario and its journal as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import classify_amount, format_minor, split_words
from earnbook.ledger.kernel import DONE, MISS, OPERATE, PERIOD, Rules, decide, finish_operation, propose_list
from earnbook.ledger.money_verbs import MoneyVerbs
from earnbook.ledger.pool import StringPool
from earnbook.ledger.results import (
    attempts,
    batch_tables,
    generated,
    outcomes,
    system_balances,
    touched_balances,
    work_of,
)
from earnbook.ledger.schema import (
    BAIL,
    FX_ACTION,
    FX_COLUMNS,
    FX_REFERENCE,
    FX_REFERENCE_CODE,
    FX_TARGET,
    FX_TARGET_CODE,
    FX_TARGET_KIND,
    FX_TEXT,
    FX_TEXT_KIND,
    FX_VALUE,
    FX_VALUE_CODE,
    FX_VALUE_HIGH,
    FX_VALUE_SCALE,
    TIME_MAX,
    Bucket,
    Columns,
    Direction,
    EntityType,
    EntryType,
    Kind,
    LotMoveKind,
    LotStatus,
    OperationType,
    Outcome,
    RecordKind,
    Status,
    Tables,
    TargetKind,
)
from earnbook.ledger.state import Registers, State
from earnbook.ledger.state_load import add_holders, add_persons, open_lots
from earnbook.ledger.terms import Date, Terms

HOUR = 3_600_000_000
DAY = 24 * HOUR
NO_DATE = Date()
SYSTEMS = {1: "ISSUANCE", 2: "REDEMPTION", 3: "BREAKAGE"}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One effect of an event, as the rules would propose it; `value` is an amount or a counter delta.

    `whom` names a participant or group as target, `by` says how; an id is what `Driver.origins` knows.
    """

    action: int
    value: str | None = None
    target: int = -1
    whom: str | None = None
    by: TargetKind = TargetKind.EXTERNAL_ID
    target_code: Outcome = Outcome.OK
    value_code: Outcome = Outcome.OK
    reference_code: Outcome = Outcome.OK
    reference: int = -1
    attribute: tuple[Kind, int, int] | None = None  # kind, value, scale

    def row(self, pool: StringPool) -> list[int]:
        """The row of EFFECTS."""
        row = [0] * FX_COLUMNS
        row[FX_ACTION], row[FX_TARGET], row[FX_TARGET_CODE] = self.action, self.target, int(self.target_code)
        row[FX_VALUE_CODE], row[FX_REFERENCE_CODE] = int(self.value_code), int(self.reference_code)
        row[FX_REFERENCE] = self.reference
        if self.whom is not None:
            row[FX_TARGET], row[FX_TARGET_KIND] = pool.intern_text(self.whom), int(self.by)
        if self.value is not None:
            whole, _, fraction = self.value.partition(".")
            row[FX_VALUE], row[FX_VALUE_HIGH] = split_words(int(whole + fraction))
            row[FX_VALUE_SCALE] = len(fraction)
        if self.attribute is not None:
            row[FX_TEXT_KIND], row[FX_TEXT], row[FX_VALUE_SCALE] = self.attribute
        return row


Effects = Sequence[Effect] | Callable[[State], Sequence[Effect]]


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of `who` at a time (microseconds); `base` is c(r) where it differs from the event's own time."""

    who: str | None
    effects: Effects = ()
    at: int = 0
    base: int | None = None
    recipient: str | None = None
    program: int = 0
    group: str | None = None
    words: tuple[int, ...] = (1, 0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation on money, or a retry of an event: a row of the batch, -1 for none.

    `who` and `group` are its entity, of a transfer the source; an amount of None means all that matches. Recipients are
    participants and amounts, or groups where the name begins with `#`. `lots` are the lot_seqs that it lists; without
    `is_known` the kernel has to ask for them. What a redeem_item or a reverse_redemption does is `act`, which gets the
    verbs at the suspension.
    """

    type: OperationType
    amount: str | None = "0"
    at: int = 0
    asset: int = 0
    program: int = 0
    event: int | None = None
    who: str | None = None
    group: str | None = None
    direction: Direction = Direction.CREDIT
    bucket: Bucket = Bucket.AVAILABLE
    allow_negative: bool = False
    reference: int = -1
    expires: Date = NO_DATE
    matures: Date = NO_DATE
    earned: tuple[int, int] = (0, int(TIME_MAX))
    lots: tuple[int, ...] | None = None
    is_known: bool = True
    recipients: tuple[tuple[str, str], ...] = ()
    act: Callable[[Driver, MoneyVerbs], Outcome] | None = None

    @property
    def is_lot(self) -> bool:
        """Whether it says anything that only LOT assets have."""
        dates = (self.expires, self.matures, self.earned)
        return self.reference >= 0 or self.lots is not None or dates != (NO_DATE, NO_DATE, (0, TIME_MAX))


@dataclass(frozen=True, kw_only=True)
class Template:
    """What the events of an action that makes events propose (§17.5)."""

    effects: Effects = ()
    program: int = 0
    words: tuple[int, ...] = (1, 0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Known:
    """An event of an earlier batch that a record of this one retries; its row stands behind the templates."""

    event: Event
    log_seq: int
    outcome: Outcome
    attempts: int = 0
    descent: int = -1


@dataclass
class Driver:
    """A State with names for its persons, and everything its batches wrote so far."""

    terms: Terms
    rows: int = 4096
    registers: Registers | None = None
    origins: dict[str, str] = field(default_factory=dict)  # participant_id -> external id it would belong to, or itself
    pool: StringPool = field(default_factory=StringPool)
    templates: tuple[Template, ...] = ()
    begin_period: Callable[[State], None] = lambda _: None
    """Answers PERIOD."""

    def __post_init__(self) -> None:
        self.state = State(self.terms, self.registers, holders=16 if self.rows < 1000 else 4096, rows=self.rows)
        self.persons: dict[str, int] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.outcomes: list[dict[str, Any]] = []
        self.generated: list[dict[str, Any]] = []
        self.attempts: list[dict[str, Any]] = []
        self.snapshots: list[dict[tuple[int, int], int]] = []
        self.names: dict[int, str] = {}
        self.misses: list[str] = []
        self.verbs = MoneyVerbs(self.state)

    def add_group(self, name: str, status: Status = Status.ACTIVE) -> int:
        """Make a group, as an operation would; returns its slot."""
        registers = self.state.table(at.REGISTERS)[0]
        registers[at.R_HOLDER] += 1
        number = int(registers[at.R_HOLDER])
        (slot,) = add_holders(self.state, [number], int(status), int(EntityType.GROUP)).tolist()
        self.state.table(at.PERSON_SLOTS)[self.person(name), 0] = slot
        self.names[number] = name
        return int(slot)

    def person(self, name: str | None) -> int:
        """The index of a person; new names become persons that may be created."""
        if name is None:
            return -1
        if name not in self.persons:
            origin = -1
            if name in self.origins:
                target = self.origins[name]
                origin = len(self.persons) if target == name else self.person(target)
            self.persons[name] = int(add_persons(self.state, [-1], [origin])[0])
        return self.persons[name]

    def run(
        self, records: Sequence[Event | Operation], *, until: int | None = None, known: Sequence[Known] = ()
    ) -> list[Outcome]:
        """Decide one batch; returns the outcomes of its records."""
        batch = list(records)
        rows = (*batch, *self.templates, *(item.event for item in known))
        columns = _columns([0 if isinstance(row, Template) else row.at for row in rows])
        self.state.begin_batch(self._work(rows), records=len(batch))
        for place, item in enumerate(known, start=len(rows) - len(known)):
            facts = {"log_seq": item.log_seq, "outcome": item.outcome, "attempts": item.attempts}
            self.state.know_event(place, **facts, descent=item.descent)
        self.state.begin_operands(*self._operands(batch))
        rules = Rules(propose_list([None] * len(self.terms.programs)), np.zeros(1, np.int64), _no_tables())
        options: dict[str, Any] = {} if until is None else {"until": until}
        answered = (BAIL, MISS, OPERATE, PERIOD)
        while (code := decide(self.state, columns, rules, pool=self.pool, **options)) in answered:
            if code == PERIOD:
                self.begin_period(self.state)
                continue
            if code == MISS:
                self._look_up()
                continue
            if code == OPERATE:
                self._carry_out(batch, columns)
                continue
            event = rows[self.state.row]
            assert not isinstance(event, Operation)
            effects = event.effects(self.state) if callable(event.effects) else event.effects
            self.state.give([effect.row(self.pool) for effect in effects], event.words)
        assert code == DONE, code
        self._collect()
        return [Outcome(row["outcome"]) for row in self.outcomes[len(self.outcomes) - len(batch) :]]

    def _carry_out(self, batch: Sequence[Event | Operation], columns: Columns) -> None:
        """Carry out the operation at the cursor, and those that follow it."""
        while True:
            operation = batch[self.state.cursor]
            assert isinstance(operation, Operation)
            if operation.act is not None:
                outcome = operation.act(self, self.verbs)
            else:
                assert operation.lots is not None
                outcome = self.verbs.move_listed(operation.lots)
            if finish_operation(self.state, columns, outcome) != OPERATE:
                return

    def _operands(self, batch: Sequence[Event | Operation]) -> tuple[list[list[int]], list[list[int]]]:
        """OPERANDS with a row for every record, and PARTS."""
        operands, parts = [], []
        for record in batch:
            row = [0] * at.OPERAND_COLUMNS
            operands.append(row)
            if isinstance(record, Event):
                continue
            row[: at.OPERAND_IS_LOT] = record.direction, record.bucket, record.allow_negative, record.reference
            row[at.OPERAND_IS_LOT] = record.is_lot
            row[at.OPERAND_EXPIRES_KIND : at.OPERAND_FROM] = *record.expires.columns(), *record.matures.columns()
            row[at.OPERAND_FROM : at.OPERAND_PART] = record.earned
            row[at.OPERAND_PART], row[at.OPERAND_PARTS] = len(parts), at.LOTS_NONE
            if record.lots is not None:
                row[at.OPERAND_PARTS] = len(record.lots) if record.is_known else at.LOTS_ASK
                parts += [[seq, 0, 0, 0] for seq in sorted(record.lots) if record.is_known]
            if record.recipients:
                row[at.OPERAND_PARTS] = len(record.recipients)
            for name, text in record.recipients:
                amount, code = classify_amount(Decimal(text), self._scale_of(record))
                is_group = name.startswith("#")
                person = self.person(name.removeprefix("#"))
                parts.append([-1 if is_group else person, person if is_group else -1, amount, int(code)])
        return [[int(cell) for cell in row] for row in operands], parts

    def _scale_of(self, record: Operation) -> int:
        return self.terms.assets[record.asset].scale if record.asset >= 0 else 0

    def _look_up(self) -> None:
        kind, code = self.state.missing_target
        text = self.pool.text(code)
        self.misses.append(text)
        meaning = self.person(text) + 1 if text else -int(Outcome.TARGET_MISSING)
        self.state.name_targets(kind, np.array([code]), np.array([meaning]))

    def _work(self, rows: Sequence[Event | Operation | Template]) -> Any:
        names = "kind program person recipient base operation asset amount code group"
        columns: dict[str, list[int]] = {name: [] for name in names.split()}
        for place, record in enumerate(rows):
            row = dict.fromkeys(columns, 0)
            row |= {"program": record.program, "person": -1, "recipient": -1, "group": -1}
            if isinstance(record, Template):
                row |= {"kind": RecordKind.EVENT}
            elif isinstance(record, Event):
                row |= {"kind": RecordKind.EVENT, "person": self.person(record.who)}
                row |= {"recipient": self.person(record.recipient), "group": self.person(record.group)}
                row["base"] = record.at if record.base is None else record.base
            else:
                amount, code = -1, Outcome.OK
                if record.amount is not None:
                    amount, code = classify_amount(Decimal(record.amount), self._scale_of(record))
                amount = amount if record.event is None else record.event
                row |= {"person": self.person(record.who), "group": self.person(record.group), "recipient": place}
                for name, _ in record.recipients:
                    self.person(name.removeprefix("#"))
                row["base"] = record.at
                row |= {"kind": RecordKind.OPERATION, "operation": record.type, "asset": record.asset}
                row |= {"amount": amount, "code": code}
            for name, value in row.items():
                columns[name].append(int(value))
        return work_of(**{name: np.array(values, np.int64) for name, values in columns.items()})

    def _collect(self) -> None:
        for name, table in batch_tables(self.state).items():
            self.tables.setdefault(name, []).extend(_rows(table))
        self.outcomes.extend(_rows(outcomes(self.state)))
        self.generated.extend(_rows(generated(self.state)))
        self.attempts.extend(_rows(attempts(self.state)))
        touched = _rows(touched_balances(self.state))
        self.snapshots.append({(row["account"], row["asset"]): row["amount"] for row in touched})
        for row in self.tables["holders"]:
            name = next(name for name, index in self.persons.items() if index == row["person"])
            self.names[row["number"]] = name

    # --- reversals --------------------------------------------------------------------------------------------------

    def reversal(self, *, redemption: int, who: str, amount: int, asset: int = 0, at: int = 0) -> Operation:
        """A reverse_redemption of minor units of the redemption with that log_seq, whose parts are found here."""

        def act(driver: Driver, verbs: MoneyVerbs) -> Outcome:
            rows = driver.written()
            (found,) = (row for row in rows["redemptions"] if row["log_seq"] == redemption)
            slot = int(driver.state.slots_of([found["holder"]])[0])
            restores = driver.restores(rows, found, amount)
            facts = {"redemption": redemption, "slot": slot, "asset": asset, "target": found["target"]}
            return verbs.reverse(**facts, amount=amount, restores=restores)

        return Operation(type=OperationType.REVERSE_REDEMPTION, who=who, asset=asset, at=at, act=act)

    def written(self) -> dict[str, list[dict[str, Any]]]:
        """Everything written so far, the batch at hand included."""
        return {name: self.tables.get(name, []) + _rows(table) for name, table in batch_tables(self.state).items()}

    def restores(
        self, rows: dict[str, list[dict[str, Any]]], redemption: dict[str, Any], amount: int
    ) -> list[list[int]]:
        """Rows of RESTORES: the parts that a redemption consumed, from the end on, after those given back before."""
        entry = redemption["entry_seq"]
        parts = [
            (move["lot_seq"], move["remaining_before"] - move["remaining_after"])
            for move in rows["lot_moves"]
            if move["entry_seq"] == entry and move["kind"] == LotMoveKind.CONSUME
        ] or [(move["lot_seq"], move["amount"]) for move in rows["movements"] if move["entry_seq"] == entry]
        given = sum(row["amount"] for row in rows["reversals"] if row["redemption"] == redemption["log_seq"])
        found = []
        for seq, part in reversed(parts):
            skipped = min(given, part)
            given, part = given - skipped, min(part - skipped, amount)
            amount -= part
            if part > 0 and seq > 0:
                found.append(self._restore(rows, seq, part))
        return found

    def _restore(self, rows: dict[str, list[dict[str, Any]]], seq: int, part: int) -> list[int]:
        (lot,) = (row for row in rows["lots"] if row["lot_seq"] == seq)
        types = [move["entry_type"] for move in rows["movements"] if move["lot_seq"] == seq]
        status = LotStatus.EXPIRED if EntryType.EXPIRATION in types else LotStatus.CONSUMED
        names = "root program source created_at expires_at matures_at reference"
        return [seq, part, *(lot[name] for name in names.split()), int(status)]

    # --- reading in the notation of §1.4 ----------------------------------------------------------------------------

    def account(self, code: int) -> str:
        """The name of an account."""
        if code < 0:
            return "wallet" if len(self.terms.programs) == 1 else f"wallet{-code}"
        if code < 4:
            return SYSTEMS[code]
        return f"{self.names[code // 4]}.{Bucket(code % 4).name[0]}"

    def journal(self) -> list[str]:
        """Every entry as a step: action type, then its postings, negative ones first."""
        entries: dict[int, list[dict[str, Any]]] = {}
        for movement in self.tables.get("movements", []):
            entries.setdefault(movement["entry_seq"], []).append(movement)
        return [self._step(rows) for _, rows in sorted(entries.items())]

    def _step(self, movements: list[dict[str, Any]]) -> str:
        legs: dict[int, int] = {}
        for sign, side in ((-1, "debit"), (1, "credit")):
            for movement in movements:
                legs[movement[side]] = legs.get(movement[side], 0) + sign * movement["amount"]
        scale = next(a.scale for a in self.terms.assets if a.number == movements[0]["asset"])
        order = sorted(legs.items(), key=lambda leg: leg[1] > 0)
        postings = [f"{self.account(code)} {'+' if n > 0 else ''}{format_minor(n, scale)}" for code, n in order]
        return f"{EntryType(movements[0]['entry_type']).name} {' | '.join(postings)}"

    def balances(self) -> str:
        """All balances that ever moved, as `name amount`, in account order (wallets, systems, holders)."""
        scales = {asset.number: asset.scale for asset in self.terms.assets}
        latest: dict[tuple[int, int], int] = {}
        for snapshot in self.snapshots:
            latest |= snapshot
        latest |= {(row[0], row[1]): row[2] for row in system_balances(self.state, since_entry=0)}
        return " | ".join(
            f"{self.account(account)} {format_minor(amount, scales[asset])}"
            for (account, asset), amount in sorted(latest.items())
        )

    def lots(self) -> dict[int, tuple[int, int]]:
        """lot_seq -> (amount, remaining) of all lots, in minor units."""
        left = {row["lot_seq"]: row["remaining"] for row in _rows(open_lots(self.state))}
        return {row["lot_seq"]: (row["amount"], left.get(row["lot_seq"], 0)) for row in self.tables["lots"]}

    def describe_lots(self) -> str:
        """All lots as §1.4 writes them, a reference as `R` and its code: `L1 60.00/60.00 HELD[R1], L2 …`."""
        held = {row["lot_seq"]: row for row in _rows(open_lots(self.state))}
        expired = {m["lot_seq"] for m in self.tables["movements"] if m["entry_type"] == EntryType.EXPIRATION}
        scales = {asset.number: asset.scale for asset in self.terms.assets}
        found = []
        for row in self.tables["lots"]:
            now = held.get(row["lot_seq"], {"remaining": 0, "hold_reference": -1})
            closed = "EXPIRED" if row["lot_seq"] in expired else "CONSUMED"
            status = LotStatus(now["status"]).name if "status" in now else closed
            mark = "" if now["hold_reference"] < 0 else f"[R{now['hold_reference']}]"
            amounts = "/".join(format_minor(n, scales[row["asset"]]) for n in (row["amount"], now["remaining"]))
            found.append(f"L{row['lot_seq']} {amounts} {status}{mark}")
        return ", ".join(found)


def _columns(times: list[int]) -> Columns:
    records = len(times)
    return Columns(
        np.zeros((1, records), np.int8),
        np.zeros((1, records), np.int64),
        np.zeros(1, np.int64),
        np.array(times, np.int64),
    )


def _no_tables() -> Tables:
    return Tables(np.zeros(1, np.int64), np.zeros(1, np.uint8))


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(table)
    return [dict(zip(names, values, strict=True)) for values in zip(*(table[n].tolist() for n in names), strict=True)]
