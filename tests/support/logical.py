"""A book as SEMANTICS reads it (§18), in plain values: what the oracle and the real engines are compared by.

Every engine takes a `Scenario` and returns a `LogicalBook`. Natural keys stand for ids: a participant is its external
id, a program its key, an asset its symbol, a rule its key, a record its `log_seq`, a lot its `lot_seq`. Amounts are
int minor units, times int microseconds since 1970, counters plain decimal text. Rows are in key order; nothing that
depends on batches, files or the wall clock is kept (§4.5).

What the reader of an engine's book must fill, once that engine has the feature:

- records: generated events are EVENT/SYSTEM with the `log_seq` of their `parent` and their `generation` (§17.5), those
  of automations with the key of their `automation`;
- outcomes: `by_operation`, the `log_seq` of the `retry_event` that made an attempt;
- evaluations: `actions` with all that an action had resolved when it ended (§12.3);
- changes: `cause_number` is the record's `log_seq`, None for DUE; keys and values as `Change` says;
- redemptions, reversals: named by the `log_seq` of their operation, also in `redemption` of their entries;
- state: `groups`, `members`, `tiers`, `budgets`, `schedule`, `rewards`, `automations`, `subscriptions`, `profile` of
  participants; `programs` and `asset_links`, which are not compared while a reader leaves them None.
"""

from __future__ import annotations

from collections import Counter as Bag
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

Account: TypeAlias = "tuple[str, str | None, str, str]"
"""(entity_type, entity key or None for system accounts, asset symbol, bucket)."""

Entity: TypeAlias = "tuple[str, str]"
"""(entity_type, key), for example ("PARTICIPANT", "alice") or ("PROGRAM", "loyalty")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One `earnbook run` over NDJSON rows: `clock` is "event" or an RFC 3339 time, `order` is "time" or "input".

    The horizon is always off (`--horizon none`), late runs are allowed and conflicts are rejected.
    `advance_to` (RFC 3339) asks for `earnbook advance --to T` after the rows. `definitions` are those of the scenario
    with other contents of its rules and other automations, in force from this run's first record on; None leaves those
    of the book. `max_generated` is `--max-generated`, None for as many as there are.
    """

    lines: tuple[str, ...] = ()
    clock: str = "event"
    order: str = "time"
    advance_to: str | None = None
    definitions: Mapping[str, Any] | None = None
    max_generated: int | None = None


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
    """§18.1 with its postings (§18.2) in posting order. `cause_number`: the record's log_seq, or the lot's lot_seq.

    `redemption` is the log_seq of the redeeming operation, of entries that redeem or reverse it.
    """

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
    redemption: int | None = None


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
    """§18.4 events and operations: `kind` is EVENT or OPERATION, `type` the operation's type or EXTERNAL/SYSTEM.

    `parent` is the log_seq of the event that scheduled or broadcast this one, `automation` the key of the automation
    that made it. Generated events are never late.
    """

    log_seq: int
    kind: str
    type: str
    program: str | None
    idempotency_key: str
    timestamp: int
    late: bool
    parent: int | None = None
    generation: int = 0
    automation: str | None = None


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
    by_operation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """§18.5: `result` is APPLIED, NO_EFFECT, SUPPRESSED or FAILED; the rest is what the checks of §12.3 had resolved.

    `target` is the holder or program acted on, once step 1 has found it (None for BROADCAST); `asset` follows from the
    action; `amount` and `value` are known from step 5 on: `amount` is what moves (0 for an omitted amount that finds
    nothing), `value` the number added to a counter, the tag, the attribute's text, the level's key ("" for base) or the
    name of the event. `entry_seq` is the action's own entry, None in a failed attempt, which has none.
    """

    index: int
    type: str
    result: str
    entry_seq: int | None
    code: str | None
    target: Entity | None = None
    asset: str | None = None
    amount: int | None = None
    value: str | None = None


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
    """§18.5. Values are JSON text; `cause_number` is the log_seq of the event or operation, None for DUE.

    | state_type | entity | key | operation | values |
    |---|---|---|---|---|
    | tag | holder or program | the tag | add, remove | None |
    | counter | holder or program | its key | set, auto_reset, delete | the number, without its window |
    | attribute | holder or program | its key | set, delete | the text |
    | tier | participant | `program/tier type` | set, delete | the level's key, None for base |
    | participant | participant | `status` (also its creation) or the field | set | the text |
    | enrollment | participant | the program | set | the status |
    | group | group | `status` (first row of its creation), `name` | set | the text |
    | member | group | the participant | set | `{"role":"ADMIN","status":"ACTIVE"}` |
    | program | program | `status` | set | the status |
    | asset_link | program | the asset | add, remove | None |
    | budget | program | `rule/asset` | auto_reset (due), set (`reset_budget`) | consumed, minor units |
    | scheduled_event | participant | the event's idempotency key | add | None |
    | reward | program | the reward's key | set | `{"redeemed_count":1,"status":"ACTIVE"}`, old None the first time |
    | automation | program | its key | set | the status, of a one_time that fired or was cancelled |
    | subscription | participant | `program/automation` | set | the status |

    `tier` is the whole row that a change of a tier leaves, and `due_object` (a tier type or automation, `program/key`)
    the cause of cause DUE, in changes of tiers, counters, automations and subscriptions; both are not compared where a
    reader leaves them None.
    """

    change_seq: int
    entity: Entity
    state_type: str
    key: str
    operation: str
    old_value: str | None
    new_value: str | None
    cause: str
    cause_number: int | None
    rule: str | None
    action_index: int | None
    changed_at: int
    tier: Tier | None = None
    due_object: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """The stored value (not the effective one), as plain text without trailing zeros; times in microseconds."""

    value: str
    last_reset_at: int | None
    reset_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """`number` is the dense object number of §2.3, from 1 in order of creation, groups and participants together.

    `profile` has the fields that an upsert gave: email, phone, first_name, last_name, display_name.
    """

    number: int
    status: str
    profile: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`number` is of the same sequence as those of participants."""

    number: int
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    role: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The level somebody is on; base has no row. `expires_at` is that of an explicit assignment or of the lifecycle.

    `own_expiry` says which of them, None where a reader cannot tell, and then it is not compared. `downgrade_at` is
    the date of a level that was not renewed at a period end, and `noted_level` what was reached then, None for base.
    """

    level: str
    acquired_at: int
    expires_at: int | None
    downgrade_at: int | None = None
    noted_level: str | None = None
    own_expiry: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`next_reset_at` is None for a lifetime budget."""

    consumed: int
    next_reset_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """An event that SCHEDULE_EVENT has made and that is not due yet."""

    program: str
    participant: str
    due_at: int
    parent: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """`status` is the effective one: a one_time that fired or was cancelled is archived. `next_at` is its next firing.

    It is None of participant_state, of what has nothing left to do, and of what is paused, archived, or of a program
    that is not ACTIVE.
    """

    status: str
    next_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A participant and an automation of type participant_state (§17.4). `next_at` is None of THRESHOLD.

    While its automation does not fire, a subscription stays as it was, `next_at` aside, which is None.
    """

    status: str
    subscribed_at: int
    next_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """§18.6, state columns included; `log_seq` is that of the redeeming operation.

    `target` is ("SYSTEM_REDEMPTION", None), ("SYSTEM_BREAKAGE", None), or (PROGRAM, PARTICIPANT or GROUP, key).
    `quantity`, `unit_cost` and `reversed_quantity` are those of UNIT_BASED rewards; `unit_cost` also of AMOUNT_BASED.
    """

    log_seq: int
    participant: str
    program: str
    asset: str
    amount: int
    reward: str | None
    quantity: int | None
    unit_cost: int | None
    target: tuple[str, str | None]
    entry_seq: int
    created_at: int
    reversed_amount: int
    reversed_quantity: int | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """§18.6; `log_seq` is that of the reversing operation, `redemption` that of the redeeming one."""

    log_seq: int
    redemption: int
    amount: int
    quantity: int | None
    reason: str
    entry_seq: int
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What a reward of the catalog has come to: units redeemed less those reversed, and its effective status."""

    status: str
    redeemed_count: int
    max_total: int | None


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

    Balances of zero, overdrafts of zero and absent state have no item. Groups are named by key, budgets by (program,
    rule, asset), tiers by (participant, program, tier type), members by (group, participant), scheduled events by
    idempotency key, rewards by (program, reward), automations by (program, automation), subscriptions by (program,
    automation, participant). All rewards and automations that the book has had are there.
    """

    book_clock: int | None
    records: tuple[Record, ...] = ()
    outcomes: tuple[RecordOutcome, ...] = ()
    entries: tuple[Entry, ...] = ()
    lots: tuple[Lot, ...] = ()
    lot_moves: tuple[LotMove, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    changes: tuple[Change, ...] = ()
    redemptions: tuple[Redemption, ...] = ()
    reversals: tuple[Reversal, ...] = ()
    rejects: frozenset[Reject] = frozenset()
    participants: Mapping[str, Participant] = field(default_factory=dict)
    enrollments: Mapping[tuple[str, str], str] = field(default_factory=dict)
    balances: Mapping[Account, int] = field(default_factory=dict)
    overdrafts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    counters: Mapping[tuple[str, str, str], Counter] = field(default_factory=dict)
    tags: frozenset[tuple[str, str, str]] = frozenset()
    attributes: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    members: Mapping[tuple[str, str], Member] = field(default_factory=dict)
    tiers: Mapping[tuple[str, str, str], Tier] = field(default_factory=dict)
    budgets: Mapping[tuple[str, str, str], Budget] = field(default_factory=dict)
    schedule: Mapping[str, Scheduled] = field(default_factory=dict)
    automations: Mapping[tuple[str, str], Automation] = field(default_factory=dict)
    subscriptions: Mapping[tuple[str, str, str], Subscription] = field(default_factory=dict)
    rewards: Mapping[tuple[str, str], Reward] = field(default_factory=dict)
    programs: Mapping[str, str] | None = None
    asset_links: frozenset[tuple[str, str]] | None = None
    counts: Counts | None = None


NOT_ALWAYS_READ = frozenset({"programs", "asset_links"})
"""Parts that are compared only where both books have them."""


def differences(left: LogicalBook, right: LogicalBook, *, limit: int = 12) -> list[str]:
    """Where two books differ, one sentence each, at most `limit`; empty when they are equal."""
    found: list[str] = []
    for part in fields(LogicalBook):
        found.extend(_part_differences(part.name, getattr(left, part.name), getattr(right, part.name)))
    return found[:limit]


def differences_of_cuts(left: LogicalBook, right: LogicalBook) -> list[str]:
    """Differences but for counts and the place of rejects, which are compared as a set of (row, reason) (§4.5)."""
    reasons = [Bag(reject.reason for reject in book.rejects) for book in (left, right)]
    found = [] if reasons[0] == reasons[1] else [f"rejects: {reasons[0]} / {reasons[1]}"]
    return found + differences(left, replace(right, rejects=left.rejects, counts=left.counts))


def _part_differences(name: str, left: object, right: object) -> Iterator[str]:
    match left, right:
        case (None, _) | (_, None) if name in NOT_ALWAYS_READ:
            return
        case tuple(), tuple():
            yield from _row_differences(name, left, right)
        case frozenset(), frozenset():
            for item in sorted(left - right, key=repr):
                yield f"{name}: only left: {item}"
            for item in sorted(right - left, key=repr):
                yield f"{name}: only right: {item}"
        case Mapping(), Mapping():
            for key in sorted(left.keys() | right.keys(), key=repr):
                if not _equal(left.get(key), right.get(key)):
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
    if isinstance(one, Change) and column in ("tier", "due_object"):
        return left is None or right is None or _equal(left, right)
    if isinstance(one, Evaluation) and column == "actions":
        return left is None or right is None or [*map(_told, left)] == [*map(_told, right)]
    return bool(left == right)


def _equal(left: object, right: object) -> bool:
    """Whether two values of a mapping are equal, but for whether a tier's expiry is its own where one cannot tell."""
    if isinstance(left, Tier) and isinstance(right, Tier) and None in (left.own_expiry, right.own_expiry):
        return replace(left, own_expiry=None) == replace(right, own_expiry=None)
    return left == right


def _told(action: ActionResult) -> ActionResult:
    """What a book tells of an action: an effect that was none leaves nothing that would say on whom, or how much."""
    if action.result != "NO_EFFECT":
        return action
    return ActionResult(index=action.index, type=action.type, result=action.result, entry_seq=None, code=None)
