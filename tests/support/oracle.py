"""The slow oracle: an obvious model of SEMANTICS in dictionaries and decimals, one record at a time.

`run_oracle(scenario)` gives the logical book that every engine must give. It shares no code with `earnbook.ledger`,
`earnbook.pipeline` or the targets of the rules; only syntax trees and CEL values are those of `earnbook.rules`, which
have their own tests.

It models definitions, the order and the clocks (§4), intake and idempotency (§3), due work of ranks 1 to 4 and 7
(§4.4), programs, participants and groups (§7, §8), rules with all actions (§9 to §13), tiers without lifecycle (§14),
generated events of rules (§17.5), the operations on money (§15.2), redemptions and the catalog (§16), and those on
members and state (§15.3). Automations and the lifecycle of tiers are not modelled: another rank of due work is another
iterator in `_due_items`, another operation another verb in `oracle_operations.py`.

Where SEMANTICS is open, the decision stands in the module that takes it; of this one: a generated event is never late
and makes no later record late; due work that a record brings about at or before its own processing time is done
directly after it, which is the same as before the next record.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from tests.support.logical import (
    Budget,
    Counter,
    Evaluation,
    LogicalBook,
    RecordOutcome,
    Reject,
    Run,
    Scenario,
    Scheduled,
)
from tests.support.logical import Record as LogicalRecord
from tests.support.oracle_budgets import due_budgets, start_budgets
from tests.support.oracle_definitions import Program, is_id, read_definitions, succeed
from tests.support.oracle_ids import record_id
from tests.support.oracle_intake import Person, Record, read_row
from tests.support.oracle_json import Rejected, number_text
from tests.support.oracle_ledger import DueItem, due_lots
from tests.support.oracle_log import Event, Log
from tests.support.oracle_members import admit, find_participant, known_participant
from tests.support.oracle_operations import operate
from tests.support.oracle_redemptions import rewards_of
from tests.support.oracle_rules import go_through_rules
from tests.support.oracle_state import Cause, Failure, GeneratedEvent, State
from tests.support.oracle_tiers import due_tiers
from tests.support.oracle_times import parse_time
from tests.support.oracle_turn import Turn, scope_of


def run_oracle(scenario: Scenario, *, after_record: Callable[[LogicalBook], None] | None = None) -> LogicalBook:
    """The book of a scenario. `after_record` sees the book after every record and after the due work of every run."""
    oracle = Oracle(scenario, after_record)
    for number, run in enumerate(scenario.runs):
        oracle.run(number, run)
    return oracle.book()


class Oracle:
    """A book that records are fed to, run by run."""

    def __init__(self, scenario: Scenario, after_record: Callable[[LogicalBook], None] | None = None) -> None:
        self._definitions = read_definitions(scenario.definitions)
        self._next_definitions = self._definitions
        self._is_loaded = False
        self._state = State()
        self._log = Log()
        self._after_record = after_record

    def run(self, number: int, run: Run) -> None:
        """One run: conform the rows, order them (§4.1), process them, do what is due at the end (§4.3)."""
        fixed_at = None if run.clock == "event" else parse_time(run.clock)
        if fixed_at is not None and self._state.book_clock is not None and fixed_at < self._state.book_clock:
            raise ValueError("a fixed time before the book clock is refused (§4.3)")
        if run.definitions is not None:
            self._next_definitions = read_definitions(run.definitions)
        before = (self._state.log_seq, self._state.book_clock, len(self._log.rejects))
        counted = (self._log.rows_read, self._log.duplicates)
        records = list(self._conform(number, run))
        if run.order == "time":
            records.sort(key=lambda record: record.timestamp)
        for record in records:
            self._take(record, record.timestamp if fixed_at is None else fixed_at)
        if run.lines and fixed_at is not None:
            self._do_due_work(fixed_at)
            self._load()
        if before == (self._state.log_seq, self._state.book_clock, len(self._log.rejects)):
            # A run of nothing but duplicates commits no batch, so no batch counts its rows.
            self._log.rows_read, self._log.duplicates = counted
        if run.advance_to is not None:
            self._do_due_work(parse_time(run.advance_to))
        self._report()

    def _report(self) -> None:
        if self._after_record is not None:
            self._after_record(self.book())

    def _load(self) -> None:
        """The definitions come into force, at the processing time of the first record (§6.3)."""
        if self._next_definitions is not self._definitions:
            self._definitions = succeed(self._definitions, self._next_definitions)
            self._next_definitions = self._definitions
        if self._is_loaded:
            return
        self._is_loaded = True
        for program in self._definitions.programs.values():
            self._state.programs[program.key] = program.status
        for asset in self._definitions.assets.values():
            self._state.asset_links |= {(program, asset.symbol) for program in asset.programs}
        start_budgets(self._state, self._definitions, self._state.processing_time)

    def _conform(self, number: int, run: Run) -> Iterator[Record]:
        for row, line in enumerate(run.lines, start=1):
            self._log.rows_read += 1
            try:
                yield read_row(line, number, row, self._next_definitions)
            except Rejected as rejected:
                self._log.rejects.add(Reject(run=number, row=row, reason=str(rejected)))

    def _take(self, record: Record, base_time: int) -> None:
        """Duplicates and conflicts are found in log order and take no part in anything else (§3.4)."""
        if record.scope in self._log.originals:
            if self._log.originals[record.scope] == record.payload:
                self._log.duplicates += 1
            else:
                conflict = Reject(run=record.run, row=record.row, reason="IDEMPOTENCY_CONFLICT")
                self._log.rejects.add(conflict)
            return
        self._log.originals[record.scope] = record.payload
        clock = self._state.book_clock
        self._do_due_work(base_time if clock is None else max(base_time, clock))
        self._load()
        self._state.log_seq += 1
        self._enter(record)
        if record.type is None:
            self._process_external(record)
        else:
            self._process_operation(record)
        self._do_due_work(self._state.processing_time)
        self._report()

    def _enter(self, record: Record) -> None:
        latest = self._log.latest
        self._state.record_ids[self._state.log_seq] = record_id(
            self._definitions, record.type, record.program, record.key
        )
        self._log.records.append(
            LogicalRecord(
                log_seq=self._state.log_seq,
                kind="EVENT" if record.type is None else "OPERATION",
                type="EXTERNAL" if record.type is None else record.type,
                program=record.program,
                idempotency_key=record.key,
                timestamp=record.timestamp,
                late=latest is not None and record.timestamp < latest,
            )
        )
        self._log.latest = record.timestamp if latest is None else max(latest, record.timestamp)

    # --- due work ---------------------------------------------------------------------------------------------------

    def _due_items(self) -> Iterator[DueItem]:
        """Everything that will become due, of every rank the oracle knows (§4.4)."""
        yield from due_lots(self._state, dict(self._definitions.assets))
        yield from due_budgets(self._state, self._definitions)
        yield from due_tiers(self._state, self._definitions)
        for waiting in self._state.waiting:
            perform = partial(self._process_generated, waiting)
            yield DueItem(due_at=waiting.due_at, rank=7, key=waiting.key, perform=perform)

    def _do_due_work(self, until: int) -> None:
        """One item at a time, the smallest (due time, rank, key) first; then the book clock is `until` (§4.4)."""
        while True:
            due = [item for item in self._due_items() if item.due_at <= until]
            if not due:
                break
            item = min(due, key=lambda item: (item.due_at, item.rank, item.key))
            clock = self._state.book_clock
            self._state.book_clock = item.due_at if clock is None else max(item.due_at, clock)
            item.perform(self._state.book_clock)
        self._state.book_clock = until

    def _process_generated(self, waiting: GeneratedEvent, processed_at: int) -> None:
        """A generated event becomes a record and goes through the rules like any other (§17.5)."""
        state = self._state
        assert processed_at == state.processing_time
        state.waiting.remove(waiting)
        state.log_seq += 1
        state.record_ids[state.log_seq] = record_id(self._definitions, None, waiting.program, waiting.idempotency_key)
        self._log.records.append(
            LogicalRecord(
                log_seq=state.log_seq,
                kind="EVENT",
                type="SYSTEM",
                program=waiting.program,
                idempotency_key=waiting.idempotency_key,
                timestamp=waiting.timestamp,
                late=False,
                parent=waiting.parent,
                generation=waiting.generation,
            )
        )
        event = Event(
            log_seq=state.log_seq,
            program=waiting.program,
            key=waiting.idempotency_key,
            timestamp=waiting.timestamp,
            person=Person(external_id=waiting.participant, id=None),
            recipient=None,
            data=waiting.data,
            generation=waiting.generation,
            descends_from_broadcast=waiting.descends_from_broadcast,
        )
        self._log.events.append(event)
        self._attempt(event, None)

    # --- events -----------------------------------------------------------------------------------------------------

    def _process_external(self, record: Record) -> None:
        assert record.program is not None
        event = Event(
            log_seq=self._state.log_seq,
            program=record.program,
            key=record.key,
            timestamp=record.timestamp,
            person=record.person,
            recipient=record.recipient,
            data=record.data,
        )
        self._log.events.append(event)
        self._attempt(event, None)

    def _attempt(self, event: Event, by_operation: int | None) -> None:
        """One attempt at an event, the steps of §10.1 in their order."""
        program = self._definitions.programs[event.program]
        status = self._state.programs[program.key]
        if status != "ACTIVE":
            self._conclude(event.log_seq, f"PROGRAM_{status}", None, None, by_operation=by_operation)
            return
        try:
            participant, recipient = self._resolve(event, program)
        except Failure as failure:
            known = [known_participant(self._state, person) for person in (event.person, event.recipient)]
            self._conclude(event.log_seq, failure.code, *known, by_operation=by_operation)
            return
        turn = self._turn(event, program, participant, recipient)
        attempted = self._state.snapshot()
        verdict = go_through_rules(attempted, turn)
        if verdict.code == "OK":
            self._state = attempted
        self._log.evaluations.extend(self._known_targets(row) for row in verdict.evaluations)
        self._conclude(
            event.log_seq,
            verdict.code,
            participant,
            recipient,
            rule=verdict.rule,
            action_index=verdict.action_index,
            by_operation=by_operation,
        )

    def _known_targets(self, row: Evaluation) -> Evaluation:
        """A row without targets that only a failed attempt had created: they are gone with it."""
        actions = tuple(
            replace(action, target=None)
            if action.target is not None
            and action.target[0] == "PARTICIPANT"
            and action.target[1] not in self._state.participants
            else action
            for action in row.actions or ()
        )
        return replace(row, actions=actions)

    def _turn(self, event: Event, program: Program, participant: str, recipient: str | None) -> Turn:
        """Creates and enrolls who is missing, which outlives a failure, and takes the snapshot (§10.1)."""
        processed_at = self._state.processing_time
        cause = Cause(kind="EVENT", number=event.log_seq, program=program.key, processed_at=processed_at)
        for name in (participant, recipient):
            if name is not None:
                admit(self._state, self._definitions, cause, name, program.key)
        last = self._log.last_outcome(event.log_seq)
        return Turn(
            definitions=self._definitions,
            program=program,
            log_seq=event.log_seq,
            attempt=1 if last is None else last.attempt + 1,
            event_id=uuid.uuid5(program.id, event.key),
            timestamp=event.timestamp,
            processed_at=processed_at,
            participant=participant,
            recipient=recipient,
            generation=event.generation,
            descends_from_broadcast=event.descends_from_broadcast,
            scope=scope_of(self._state, self._definitions, program, participant, event.data, event.timestamp),
        )

    def _resolve(self, event: Event, program: Program) -> tuple[str, str | None]:
        """Participant and recipient, both before either is created (§7.2)."""
        assert event.person is not None
        participant = find_participant(self._state, event.person, program, "PARTICIPANT_NOT_FOUND")
        if event.recipient is None:
            return participant, None
        return participant, find_participant(self._state, event.recipient, program, "RECIPIENT_NOT_FOUND")

    # --- operations -------------------------------------------------------------------------------------------------

    def _process_operation(self, record: Record) -> None:
        log_seq = self._state.log_seq
        try:
            if record.type == "retry_event":
                self._attempt(self._failed_event(record), log_seq)
                code = "OK"
            else:
                attempted = self._state.snapshot()
                code = operate(attempted, self._definitions, record)
                self._state = attempted
        except Failure as failure:
            code = failure.code
        self._conclude(log_seq, code, known_participant(self._state, record.person), None)

    def _failed_event(self, record: Record) -> Event:
        """The event that `retry_event` names by key or id."""
        assert record.program is not None
        program = self._definitions.programs[record.program]
        key, event_id = record.fields.get("event_key"), record.fields.get("event_id")
        for event in self._log.events:
            if event.program != program.key:
                continue
            if event.key == key or (isinstance(event_id, str) and is_id(event_id, uuid.uuid5(program.id, event.key))):
                last = self._log.last_outcome(event.log_seq)
                assert last is not None
                if last.status != "FAILED":
                    raise Failure("EVENT_NOT_FAILED")
                return event
        raise Failure("EVENT_NOT_FOUND")

    def _conclude(
        self,
        log_seq: int,
        code: str,
        participant: str | None,
        recipient: str | None,
        *,
        rule: str | None = None,
        action_index: int | None = None,
        by_operation: int | None = None,
    ) -> None:
        last = self._log.last_outcome(log_seq)
        self._log.outcomes.append(
            RecordOutcome(
                log_seq=log_seq,
                attempt=1 if last is None else last.attempt + 1,
                processed_at=self._state.processing_time,
                participant=participant,
                recipient=recipient,
                status="COMPLETED" if code in ("OK", "NO_EFFECT") else "FAILED",
                code=code,
                rule=rule,
                action_index=action_index,
                by_operation=by_operation,
            )
        )

    # --- the book ---------------------------------------------------------------------------------------------------

    def book(self) -> LogicalBook:
        """The book as it stands."""
        state, log = self._state, self._log
        return LogicalBook(
            book_clock=state.book_clock,
            records=tuple(log.records),
            outcomes=tuple(sorted(log.outcomes, key=lambda row: (row.log_seq, row.attempt))),
            entries=tuple(state.entries),
            lots=tuple(lot for _, lot in sorted(state.lots.items())),
            lot_moves=tuple(state.lot_moves),
            evaluations=tuple(sorted(log.evaluations, key=lambda row: (row.log_seq, row.attempt, row.rule_order))),
            changes=tuple(state.changes),
            redemptions=tuple(state.redemptions.values()),
            reversals=tuple(state.reversals),
            rejects=frozenset(log.rejects),
            participants=dict(state.participants),
            enrollments=dict(state.enrollments),
            balances={account: amount for account, amount in state.balances.items() if amount},
            overdrafts={account: amount for account, amount in state.overdrafts.items() if amount},
            counters={
                name: Counter(
                    value=number_text(stored.value),
                    last_reset_at=stored.last_reset_at,
                    reset_after=stored.reset_after,
                )
                for name, stored in state.counters.items()
            },
            tags=frozenset(state.tags),
            attributes=dict(state.attributes),
            groups=dict(state.groups),
            members=dict(state.members),
            tiers=dict(state.tiers),
            budgets={
                name: Budget(consumed=stored.consumed, next_reset_at=stored.next_reset_at)
                for name, stored in state.budgets.items()
            },
            schedule={
                waiting.idempotency_key: Scheduled(
                    program=waiting.program,
                    participant=waiting.participant,
                    due_at=waiting.due_at,
                    parent=waiting.parent,
                    generation=waiting.generation,
                )
                for waiting in state.waiting
                if not waiting.is_broadcast
            },
            rewards=rewards_of(state, self._definitions) if self._is_loaded else {},
            programs=dict(state.programs),
            asset_links=frozenset(state.asset_links),
            counts=log.counts(),
        )
