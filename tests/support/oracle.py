"""The slow oracle: an obvious model of SEMANTICS in dictionaries and decimals, one record at a time.

`run_oracle(scenario)` gives the logical book that every engine must give. It shares no code with `earnbook.ledger`,
`earnbook.pipeline` or the kernel target of the rules; CEL it evaluates with the closures, which have their own tests.

It models definitions, the order and the clocks (§4), intake and idempotency (§3), due work of ranks 1 and 2 (§4.4),
programs and participants (§7), rules (§10), the actions CREDIT, DEBIT, COUNTER, TAG, UNTAG and SET_ATTRIBUTE (§12), and
the operations fund and burn (§15.2). Another rank of due work is another iterator in `_due_items`; another operation is
another branch of `_operate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support.logical import (
    Change,
    Counter,
    Counts,
    Evaluation,
    LogicalBook,
    Participant,
    RecordOutcome,
    Reject,
    Run,
    Scenario,
)
from tests.support.logical import Record as LogicalRecord
from tests.support.oracle_definitions import Program, read_definitions
from tests.support.oracle_intake import Person, Record, Rejected, read_row
from tests.support.oracle_ledger import Cause, DueItem, Failure, burn, due_lots, fund
from tests.support.oracle_rules import Turn, go_through_rules, minor_units, number_text, scope_of
from tests.support.oracle_state import State
from tests.support.oracle_times import parse_time


def run_oracle(scenario: Scenario, *, after_record: Callable[[LogicalBook], None] | None = None) -> LogicalBook:
    """The book of a scenario. `after_record` sees the book after every record and after the due work of every run."""
    oracle = Oracle(scenario, after_record)
    for number, run in enumerate(scenario.runs):
        oracle.run(number, run)
    return oracle.book()


@dataclass(slots=True, kw_only=True)
class _Log:
    """What is written about records: never undone, unlike `State`."""

    records: list[LogicalRecord] = field(default_factory=list)
    outcomes: list[RecordOutcome] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    rejects: set[Reject] = field(default_factory=set)
    originals: dict[tuple[str, str | None, str], object] = field(default_factory=dict)
    latest: int | None = None
    rows_read: int = 0
    duplicates: int = 0


class Oracle:
    """A book that records are fed to, run by run."""

    def __init__(self, scenario: Scenario, after_record: Callable[[LogicalBook], None] | None = None) -> None:
        self._definitions = read_definitions(scenario.definitions)
        self._state = State()
        self._log = _Log()
        self._after_record = after_record

    def run(self, number: int, run: Run) -> None:
        """One run: conform the rows, order them (§4.1), process them, do what is due at the end (§4.3)."""
        fixed_at = None if run.clock == "event" else parse_time(run.clock)
        if fixed_at is not None and self._state.book_clock is not None and fixed_at < self._state.book_clock:
            raise ValueError("a fixed time before the book clock is refused (§4.3)")
        before = (self._state.log_seq, self._state.book_clock, len(self._log.rejects))
        counted = (self._log.rows_read, self._log.duplicates)
        records = list(self._conform(number, run))
        if run.order == "time":
            records.sort(key=lambda record: record.timestamp)
        for record in records:
            self._take(record, record.timestamp if fixed_at is None else fixed_at)
        if run.lines and fixed_at is not None:
            self._do_due_work(fixed_at)
        if before == (self._state.log_seq, self._state.book_clock, len(self._log.rejects)):
            # A run of nothing but duplicates commits no batch, so no batch counts its rows.
            self._log.rows_read, self._log.duplicates = counted
        if run.advance_to is not None:
            self._do_due_work(parse_time(run.advance_to))
        self._report()

    def _report(self) -> None:
        if self._after_record is not None:
            self._after_record(self.book())

    def _conform(self, number: int, run: Run) -> Iterator[Record]:
        for row, line in enumerate(run.lines, start=1):
            self._log.rows_read += 1
            try:
                yield read_row(line, number, row, self._definitions)
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
        self._state.log_seq += 1
        self._enter(record)
        if record.type is None:
            self._process_event(record)
        else:
            self._process_operation(record)
        self._report()

    def _enter(self, record: Record) -> None:
        latest = self._log.latest
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

    def _do_due_work(self, until: int) -> None:
        """One item at a time, the smallest (due time, rank, key) first; then the book clock is `until` (§4.4)."""
        while True:
            due = [item for item in self._due_items() if item.due_at <= until]
            if not due:
                break
            item = min(due, key=lambda item: (item.due_at, item.rank, item.key))
            clock = self._state.book_clock
            processed_at = item.due_at if clock is None else max(item.due_at, clock)
            item.perform(processed_at)
            self._state.book_clock = processed_at
        self._state.book_clock = until

    # --- events -----------------------------------------------------------------------------------------------------

    def _process_event(self, record: Record) -> None:
        program = self._definitions.programs[record.program]
        if program.status != "ACTIVE":
            self._conclude(f"PROGRAM_{program.status}", None, None)
            return
        try:
            participant, recipient = self._resolve(record, program)
        except Failure as failure:
            self._conclude(failure.code, self._known(record.person), self._known(record.recipient))
            return
        self._admit(participant, program)
        if recipient is not None:
            self._admit(recipient, program)
        turn = Turn(
            definitions=self._definitions,
            record=record,
            program=program,
            log_seq=self._state.log_seq,
            processed_at=self._processing_time(),
            participant=participant,
            recipient=recipient,
            scope=scope_of(self._state, self._definitions, program, participant, record),
        )
        attempted = self._state.snapshot()
        verdict = go_through_rules(attempted, turn)
        if verdict.code == "OK":
            self._state = attempted
        self._log.evaluations.extend(verdict.evaluations)
        self._conclude(verdict.code, participant, recipient, rule=verdict.rule, action_index=verdict.action_index)

    def _resolve(self, record: Record, program: Program) -> tuple[str, str | None]:
        """Participant and recipient, both before either is created (§7.2)."""
        assert record.person is not None
        participant = self._find(record.person, program, "PARTICIPANT_NOT_FOUND")
        if record.recipient is None:
            return participant, None
        return participant, self._find(record.recipient, program, "RECIPIENT_NOT_FOUND")

    def _find(self, person: Person, program: Program, code: str) -> str:
        known = self._known(person)
        if known is not None:
            return known
        if person.external_id is None or not program.creates_participants:
            raise Failure(code)
        return person.external_id

    def _known(self, person: Person | None) -> str | None:
        """The external id of a participant that the book has."""
        if person is None:
            return None
        for external_id in self._state.participants:
            if person.external_id == external_id or person.id == self._definitions.participant_id(external_id):
                return external_id
        return None

    def _admit(self, participant: str, program: Program) -> None:
        """Creates and enrolls where needed; both are changes of the event, without rule (§7.2)."""
        if participant not in self._state.participants:
            self._state.participants[participant] = "ACTIVE"
            self._note(participant, "participant", "status")
        if self._state.enrollments.get((participant, program.key)) != "ACTIVE":
            self._state.enrollments[participant, program.key] = "ACTIVE"
            self._note(participant, "enrollment", program.key)

    def _note(self, participant: str, state_type: str, key: str) -> None:
        self._state.changes.append(
            Change(
                change_seq=len(self._state.changes) + 1,
                entity=("PARTICIPANT", participant),
                state_type=state_type,
                key=key,
                operation="set",
                old_value=None,
                new_value='"ACTIVE"',
                cause="EVENT",
                cause_number=self._state.log_seq,
                rule=None,
                action_index=None,
                changed_at=self._processing_time(),
            )
        )

    # --- operations -------------------------------------------------------------------------------------------------

    def _process_operation(self, record: Record) -> None:
        attempted = self._state.snapshot()
        try:
            self._operate(attempted, record)
        except Failure as failure:
            self._conclude(failure.code, None, None)
            return
        self._state = attempted
        self._conclude("OK", None, None)

    def _operate(self, state: State, record: Record) -> None:
        """fund and burn (§15.2), tested in the order of A.1."""
        program = self._definitions.programs[record.program]
        if record.type == "fund" and program.status != "ACTIVE":
            raise Failure(f"PROGRAM_{program.status}")
        reference, description = record.fields["asset_id"], record.fields.get("description")
        assert isinstance(reference, str)
        asset = self._definitions.asset_named(reference)
        if asset is None:
            raise Failure("ASSET_NOT_FOUND")
        if record.type == "fund" and asset.is_archived:
            raise Failure("ASSET_ARCHIVED")
        if program.key not in asset.programs:
            raise Failure("ASSET_NOT_LINKED")
        if not asset.is_prefunded:
            raise Failure("NOT_PREFUNDED")
        amount = minor_units(record.fields["amount"], asset)
        if amount == 0:
            raise Failure("AMOUNT_NOT_POSITIVE")
        cause = Cause(
            kind="OPERATION",
            number=state.log_seq,
            program=program.key,
            processed_at=self._processing_time(),
            description=description if isinstance(description, str) else None,
        )
        if record.type == "fund":
            fund(state, cause, asset, amount)
        else:
            burn(state, cause, asset, amount)

    def _processing_time(self) -> int:
        """P of the record in hand: the due work before it has brought the book clock there."""
        assert self._state.book_clock is not None
        return self._state.book_clock

    def _conclude(
        self,
        code: str,
        participant: str | None,
        recipient: str | None,
        *,
        rule: str | None = None,
        action_index: int | None = None,
    ) -> None:
        self._log.outcomes.append(
            RecordOutcome(
                log_seq=self._state.log_seq,
                attempt=1,
                processed_at=self._processing_time(),
                participant=participant,
                recipient=recipient,
                status="COMPLETED" if code in ("OK", "NO_EFFECT") else "FAILED",
                code=code,
                rule=rule,
                action_index=action_index,
            )
        )

    # --- the book ---------------------------------------------------------------------------------------------------

    def book(self) -> LogicalBook:
        """The book as it stands."""
        state, log = self._state, self._log
        return LogicalBook(
            book_clock=state.book_clock,
            records=tuple(log.records),
            outcomes=tuple(log.outcomes),
            entries=tuple(state.entries),
            lots=tuple(lot for _, lot in sorted(state.lots.items())),
            lot_moves=tuple(state.lot_moves),
            evaluations=tuple(log.evaluations),
            changes=tuple(state.changes),
            rejects=frozenset(log.rejects),
            participants={
                external_id: Participant(number=number, status=status)
                for number, (external_id, status) in enumerate(state.participants.items(), start=1)
            },
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
            counts=self._counts(),
        )

    def _counts(self) -> Counts:
        log = self._log
        failed = sum(outcome.status == "FAILED" for outcome in log.outcomes)
        return Counts(
            rows_read=log.rows_read,
            events=sum(record.kind == "EVENT" for record in log.records),
            operations=sum(record.kind == "OPERATION" for record in log.records),
            duplicates=log.duplicates,
            rejected=len(log.rejects),
            generated=0,
            completed=len(log.outcomes) - failed,
            failed=failed,
            late=sum(record.late for record in log.records),
        )
