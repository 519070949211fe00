"""A book as SEMANTICS reads it (§18), in plain values: what the oracle and the real engines are compared by.

Every engine takes a `Scenario` and returns a `LogicalBook`. Natural keys stand for ids: a participant is its external
id, a program its key, an asset its symbol, a rule its key, a record its `log_seq`, a lot its `lot_seq`. Amounts are
int minor units, times int microseconds since 1970, counters plain decimal text. Rows are in key order; nothing that
depends on batches, files or the wall clock is kept (§4.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

Account: TypeAlias = "tuple[str, str | None, str, str]"
"""(entity_type, entity key or None for system accounts, asset symbol, bucket)."""

Entity: TypeAlias = "tuple[str, str]"
"""(entity_type, key), for example ("PARTICIPANT", "alice") or ("PROGRAM", "loyalty")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One `earnbook run` over NDJSON rows: `clock` is "event" or an RFC 3339 time, `order` is "time" or "input".

    The horizon is always off (`--horizon none`), late runs are allowed and conflicts are rejected.
    `advance_to` (RFC 3339) asks for `earnbook advance --to T` after the rows.
    """

    lines: tuple[str, ...] = ()
    clock: str = "event"
    order: str = "time"
    advance_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A definitions document (JSON values, as in a definitions file) and the runs over it, all into one new book."""

    definitions: Mapping[str, Any]
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    account: Account
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """§18.1 with its postings (§18.2) in posting order. `cause_number`: the record's log_seq, or the lot's lot_seq."""

    seq: int
    created_at: int
    action_type: str
    program: str
    asset: str
    amount: int
    cause: str
    cause_number: int
    rule: str | None
    rule_version: int | None
    action_index: int | None
    reference_id: str | None
    description: str | None
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """§18.3, state columns included. `source` is ("SYSTEM_ISSUANCE", None) or ("PROGRAM", key)."""

    lot_seq: int
    holder: Entity
    asset: str
    program: str
    source: tuple[str, str | None]
    root_lot_seq: int
    amount: int
    created_at: int
    expires_at: int | None
    matures_at: int | None
    reference_id: str | None
    remaining: int
    status: str
    hold_reference_id: str | None
    provisional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LotMove:
    entry_seq: int
    index: int
    lot_seq: int
    kind: str
    status_before: str | None
    remaining_before: int
    status_after: str
    remaining_after: int
    hold_reference_after: str | None
    repaid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """§18.4 events and operations: `kind` is EVENT or OPERATION, `type` the operation's type or EXTERNAL/SYSTEM."""

    log_seq: int
    kind: str
    type: str
    program: str | None
    idempotency_key: str
    timestamp: int
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOutcome:
    log_seq: int
    attempt: int
    processed_at: int
    participant: str | None
    recipient: str | None
    status: str
    code: str
    rule: str | None
    action_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    index: int
    type: str
    result: str
    entry_seq: int | None
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """§18.5. `actions` is None where an engine does not report them; only then are they not compared."""

    log_seq: int
    attempt: int
    rule: str
    rule_version: int
    rule_order: int
    status: str
    reason: str | None
    stopped_by_rule: str | None
    applied: bool
    actions: tuple[ActionResult, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """§18.5. Values are JSON text; of a counter with a window only the `value` member, as a plain number.

    The key of an enrollment is the program, that of a participant's creation `status`.
    """

    change_seq: int
    entity: Entity
    state_type: str
    key: str
    operation: str
    old_value: str | None
    new_value: str | None
    cause: str
    cause_number: int
    rule: str | None
    action_index: int | None
    changed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """The stored value (not the effective one), as plain text without trailing zeros; times in microseconds."""

    value: str
    last_reset_at: int | None
    reset_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """`number` is the dense object number of §2.3, from 1 in order of creation."""

    number: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """`run` and `row` count from 0 and 1; rejects are compared as a set."""

    run: int
    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counting identities of §3.6, summed over all runs."""

    rows_read: int
    events: int
    operations: int
    duplicates: int
    rejected: int
    generated: int
    completed: int
    failed: int
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalBook:
    """Everything of a committed book that does not depend on how it was cut into batches.

    Balances of zero, overdrafts of zero and absent state have no item.
    """

    book_clock: int | None
    records: tuple[Record, ...] = ()
    outcomes: tuple[RecordOutcome, ...] = ()
    entries: tuple[Entry, ...] = ()
    lots: tuple[Lot, ...] = ()
    lot_moves: tuple[LotMove, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    changes: tuple[Change, ...] = ()
    rejects: frozenset[Reject] = frozenset()
    participants: Mapping[str, Participant] = field(default_factory=dict)
    enrollments: Mapping[tuple[str, str], str] = field(default_factory=dict)
    balances: Mapping[Account, int] = field(default_factory=dict)
    overdrafts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    counters: Mapping[tuple[str, str, str], Counter] = field(default_factory=dict)
    tags: frozenset[tuple[str, str, str]] = frozenset()
    attributes: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    counts: Counts | None = None


def differences(left: LogicalBook, right: LogicalBook, *, limit: int = 12) -> list[str]:
    """Where two books differ, one sentence each, at most `limit`; empty when they are equal."""
    found: list[str] = []
    for part in fields(LogicalBook):
        found.extend(_part_differences(part.name, getattr(left, part.name), getattr(right, part.name)))
    return found[:limit]


def _part_differences(name: str, left: object, right: object) -> Iterator[str]:
    match left, right:
        case tuple(), tuple():
            yield from _row_differences(name, left, right)
        case frozenset(), frozenset():
            for item in sorted(left - right, key=repr):
                yield f"{name}: only left: {item}"
            for item in sorted(right - left, key=repr):
                yield f"{name}: only right: {item}"
        case Mapping(), Mapping():
            for key in sorted(left.keys() | right.keys(), key=repr):
                if left.get(key) != right.get(key):
                    yield f"{name}[{key}]: {left.get(key)} / {right.get(key)}"
        case _:
            if left != right:
                yield f"{name}: {left} / {right}"


def _row_differences(name: str, left: tuple[Any, ...], right: tuple[Any, ...]) -> Iterator[str]:
    if len(left) != len(right):
        yield f"{name}: {len(left)} rows / {len(right)} rows"
    for position, (one, other) in enumerate(zip(left, right, strict=False), start=1):
        unequal = [
            f"{column.name} {getattr(one, column.name)!r} / {getattr(other, column.name)!r}"
            for column in fields(one)
            if not _same(one, other, column.name)
        ]
        if unequal:
            yield f"{name} {position}: {'; '.join(unequal)} in {one}"


def _same(one: object, other: object, column: str) -> bool:
    left, right = getattr(one, column), getattr(other, column)
    if isinstance(one, Evaluation) and column == "actions" and (left is None or right is None):
        return True
    return bool(left == right)
