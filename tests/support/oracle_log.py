"""What the oracle writes about records: the log, outcomes, evaluations and rejects. Never undone, unlike `State`."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.logical import Counts, Evaluation, RecordOutcome, Reject
from tests.support.logical import Record as LogicalRecord
from tests.support.oracle_intake import Person
from tests.support.oracle_json import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the log with all that another attempt at it needs."""

    log_seq: int
    program: str
    key: str
    timestamp: int
    person: Person | None
    recipient: Person | None
    data: Fields
    generation: int = 0
    descends_from_broadcast: bool = False
    is_external: bool = True


@dataclass(slots=True, kw_only=True)
class Log:
    """`latest` is the largest timestamp of an external record so far, `originals` the payload under each key (§3.4)."""

    records: list[LogicalRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    outcomes: list[RecordOutcome] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    rejects: set[Reject] = field(default_factory=set)
    originals: dict[tuple[str | None, str | None, str], object] = field(default_factory=dict)
    latest: int | None = None
    rows_read: int = 0
    duplicates: int = 0

    def last_outcome(self, log_seq: int) -> RecordOutcome | None:
        """The outcome of a record's last attempt."""
        own = [outcome for outcome in self.outcomes if outcome.log_seq == log_seq]
        return max(own, key=lambda outcome: outcome.attempt, default=None)

    def counts(self) -> Counts:
        """The numbers of §3.6; attempts made by retries are not counted."""
        own = [outcome for outcome in self.outcomes if outcome.attempt == 1]
        failed = sum(outcome.status == "FAILED" for outcome in own)
        return Counts(
            rows_read=self.rows_read,
            events=sum((record.kind, record.type) == ("EVENT", "EXTERNAL") for record in self.records),
            operations=sum(record.kind == "OPERATION" for record in self.records),
            duplicates=self.duplicates,
            rejected=len(self.rejects),
            generated=sum(record.type == "SYSTEM" for record in self.records),
            completed=len(own) - failed,
            failed=failed,
            late=sum(record.late for record in self.records),
        )
