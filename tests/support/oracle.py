"""The slow oracle: an obvious model of SEMANTICS in dictionaries and decimals, one record at a time.

`run_oracle(scenario)` gives the logical book that every engine must give. It shares no code with `earnbook.ledger`,
`earnbook.pipeline` or the targets of the rules; only syntax trees and CEL values are those of `earnbook.rules`, which
have their own tests.

It models definitions, the order and the clocks (§4), intake and idempotency (§3), due work of all ranks (§4.4),
programs, participants and groups (§7, §8), rules with all actions (§9 to §13), tiers with their lifecycle (§14), the
operations on money, members and state (§15), redemptions and the catalog (§16), automations and generated events (§17).
Another kind of due work is another iterator in `_due_items`, another operation another verb in `oracle_operations.py`.

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
    Evaluation,
    LogicalBook,
    RecordOutcome,
    Reject,
    Run,
    Scenario,
)
from tests.support.logical import Record as LogicalRecord
from tests.support.oracle_book import read_state
from tests.support.oracle_budgets import due_budgets, start_budgets
from tests.support.oracle_definitions import Program, is_id, read_definitions, succeed
from tests.support.oracle_firing import activate_automations, due_automations, load_automations
from tests.support.oracle_ids import record_id
from tests.support.oracle_intake import Person, Record, read_row
from tests.support.oracle_json import Rejected
from tests.support.oracle_ledger import DueItem, due_lots
from tests.support.oracle_log import Event, Log
from tests.support.oracle_members import admit, find_participant, known_participant
from tests.support.oracle_operations import operate
from tests.support.oracle_periods import due_lifecycles, start_periods
from tests.support.oracle_rules import go_through_rules
from tests.support.oracle_state import Cause, Failure, GeneratedEvent, State
from tests.support.oracle_subscriptions import due_subscriptions, follow_changes
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
        generated = self._log.counts().generated
        for record in records:
            self._take(record, record.timestamp if fixed_at is None else fixed_at)
        if run.lines and fixed_at is not None:
            self._do_due_work(fixed_at)
            self._load()
        if run.max_generated is not None and self._log.counts().generated - generated > run.max_generated:
            raise ValueError("a batch with more generated events than --max-generated is refused (§17.5)")
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
        """The definitions come into force at the time of the first record, and what they make due is done (§6.3)."""
        is_new = self._next_definitions is not self._definitions
        if is_new:
            self._definitions = succeed(self._definitions, self._next_definitions)
            self._next_definitions = self._definitions
        loaded_at = self._state.processing_time
        if not self._is_loaded:
            for program in self._definitions.programs.values():
                self._state.programs[program.key] = program.status
            for asset in self._definitions.assets.values():
                self._state.asset_links |= {(program, asset.symbol) for program in asset.programs}
            start_budgets(self._state, self._definitions, loaded_at)
        if is_new or not self._is_loaded:
            start_periods(self._state, self._definitions, loaded_at)
            load_automations(self._state, self._definitions, loaded_at)
        self._is_loaded = True
        self._do_due_work(loaded_at)

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
        self._and_what_follows(lambda: self._process(record))
        self._do_due_work(self._state.processing_time)
        self._report()

    def _process(self, record: Record) -> None:
        if record.type is None:
            self._process_external(record)
        else:
            self._process_operation(record)

    def _and_what_follows(self, step: Callable[[], None]) -> None:
        """A record or due item, then the subscriptions that follow its changes (§17.4), and what it made live."""
        changes, counters = len(self._state.changes), self._state.counters.copy()
        step()
        at = self._state.processing_time
        follow_changes(self._state, self._definitions, changes, counters, at)
        activate_automations(self._state, self._definitions, at)

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
        yield from due_lifecycles(self._state, self._definitions)
        yield from due_automations(self._state, self._definitions)
        yield from due_subscriptions(self._state, self._definitions)
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
            processed_at = item.due_at if clock is None else max(item.due_at, clock)
            self._state.book_clock = processed_at
            self._and_what_follows(partial(item.perform, processed_at))
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
                automation=waiting.automation,
            )
        )
        is_named = waiting.participant is not None or waiting.participant_id is not None
        event = Event(
            log_seq=state.log_seq,
            program=waiting.program,
            key=waiting.idempotency_key,
            timestamp=waiting.timestamp,
            person=Person(external_id=waiting.participant, id=waiting.participant_id) if is_named else None,
            recipient=None,
            data=waiting.data,
            generation=waiting.generation,
            descends_from_broadcast=waiting.descends_from_broadcast,
            is_external=False,
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

    def _turn(self, event: Event, program: Program, participant: str | None, recipient: str | None) -> Turn:
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
            is_external=event.is_external,
            scope=scope_of(self._state, self._definitions, program, participant, event.data, event.timestamp),
        )

    def _resolve(self, event: Event, program: Program) -> tuple[str | None, str | None]:
        """Participant and recipient, both before either is created (§7.2); events of programs have none."""
        if event.person is None:
            return None, None
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

    def book(self) -> LogicalBook:
        """The book as it stands."""
        return read_state(self._state, self._log, self._definitions if self._is_loaded else None)
