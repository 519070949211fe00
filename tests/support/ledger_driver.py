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
from earnbook.ledger.kernel import DONE, MISS, Rules, decide, propose_list
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
    Bucket,
    Columns,
    EntityType,
    EntryType,
    Kind,
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
from earnbook.ledger.terms import Terms

HOUR = 3_600_000_000
DAY = 24 * HOUR
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
    """A fund or burn of a program's wallet, or a retry of an event: a row of the batch, -1 for none."""

    type: OperationType
    amount: str = "0"
    at: int = 0
    asset: int = 0
    program: int = 0
    event: int | None = None


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
        rules = Rules(propose_list([None] * len(self.terms.programs)), np.zeros(1, np.int64), _no_tables())
        options: dict[str, Any] = {} if until is None else {"until": until}
        while (code := decide(self.state, columns, rules, pool=self.pool, **options)) in (BAIL, MISS):
            if code == MISS:
                self._look_up()
                continue
            event = rows[self.state.row]
            assert not isinstance(event, Operation)
            effects = event.effects(self.state) if callable(event.effects) else event.effects
            self.state.give([effect.row(self.pool) for effect in effects], event.words)
        assert code == DONE, code
        self._collect()
        return [Outcome(row["outcome"]) for row in self.outcomes[len(self.outcomes) - len(batch) :]]

    def _look_up(self) -> None:
        kind, code = self.state.missing_target
        text = self.pool.text(code)
        self.misses.append(text)
        meaning = self.person(text) + 1 if text else -int(Outcome.TARGET_MISSING)
        self.state.name_targets(kind, np.array([code]), np.array([meaning]))

    def _work(self, rows: Sequence[Event | Operation | Template]) -> Any:
        names = "kind program person recipient base operation asset amount code group"
        columns: dict[str, list[int]] = {name: [] for name in names.split()}
        for record in rows:
            row = dict.fromkeys(columns, 0)
            row |= {"program": record.program, "person": -1, "recipient": -1, "group": -1}
            if isinstance(record, Template):
                row |= {"kind": RecordKind.EVENT}
            elif isinstance(record, Event):
                row |= {"kind": RecordKind.EVENT, "person": self.person(record.who)}
                row |= {"recipient": self.person(record.recipient), "group": self.person(record.group)}
                row["base"] = record.at if record.base is None else record.base
            else:
                scale = self.terms.assets[record.asset].scale if record.asset >= 0 else 0
                amount, code = classify_amount(Decimal(record.amount), scale)
                amount = amount if record.event is None else record.event
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
