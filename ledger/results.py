"""Records in, rows out: the columns of a batch as the kernel reads them, and what it decided as named columns.

Names and meanings are those of `pipeline/schema.py`; text is still a code of the run's pool, absent times are
TIME_NONE. Columns are copies: the buffers serve the next batch at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import join_words
from earnbook.ledger.schema import RecordKind, Status
from earnbook.ledger.state import State

Rows = dict[str, npt.NDArray[Any]]

_MOVEMENTS = (
    "entry_seq:i8 log_seq:i8 entry_type:i1 action:i4 debit:i8 credit:i8 asset:i4 amount:i8 lot_seq:i8",
    at.MOVEMENTS,
    at.R_MOVEMENTS,
)
_TABLES: dict[str, tuple[str, int, int]] = {
    "movements": _MOVEMENTS,
    "due_entries": ("entry_seq:i8 created_at:i8 program:i4 lot_seq:i8", at.DUE_ENTRIES, at.R_DUE_ENTRIES),
    "lots": (
        "lot_seq:i8 entry_seq:i8 holder:i8 asset:i4 program:i4 source:i8 root:i8 amount:i8 created_at:i8 expires_at:i8 "
        "matures_at:i8 reference:i8",
        at.NEW_LOTS,
        at.R_NEW_LOTS,
    ),
    "lot_moves": (
        "entry_seq:i8 index:i4 lot_seq:i8 kind:i1 status_before:i1 remaining_before:i8 status_after:i1 "
        "remaining_after:i8 hold_reference:i8 repaid:i8",
        at.LOT_MOVES,
        at.R_LOT_MOVES,
    ),
    "entry_references": ("entry_seq:i8 reference:i8", at.ENTRY_REFERENCES, at.R_ENTRY_REFERENCES),
    "redemptions": (
        "log_seq:i8 holder:i8 program:i4 asset:i4 amount:i8 reward:i4 quantity:i8 target:i8 entry_seq:i8",
        at.REDEMPTIONS,
        at.R_REDEMPTIONS,
    ),
    "reversals": ("log_seq:i8 redemption:i8 amount:i8 quantity:i8 entry_seq:i8", at.REVERSALS, at.R_REVERSALS),
    "changes": (
        "change_seq:i8 log_seq:i8 action:i4 entity:i8 state_type:i1 key:i4 operation:i1 value_kind:i1 value:i8 "
        "value_high:i8 value_scale:i1 reset_at:i8 reset_after:i8 downgrade_at:i8 noted:i4",
        at.CHANGES,
        at.R_CHANGES,
    ),
    "action_results": (
        "log_seq:i8 attempt:i4 action:i4 result:i1 entity:i8 amount:i8 value_kind:i1 value:i8 value_high:i8 "
        "value_scale:i1",
        at.RESULTS,
        at.R_RESULTS,
    ),
    "due_changes": ("change_seq:i8 changed_at:i8 kind:i1 object:i4", at.DUE_CHANGES, at.R_DUE_CHANGES),
    "holders": ("person:i8 number:i8 log_seq:i8", at.NEW_HOLDERS, at.R_NEW_HOLDERS),
}
_GENERATED = (
    "event_timestamp:i8 parent:i8 by_action:i4 template:i8 slot:i8 descent:i8",
    at.GENERATED,
    at.R_GENERATED,
)
_ATTEMPTS = ("attempt:i4 by_log_seq:i8 first_change_seq:i8 last_change_seq:i8", at.ATTEMPTS, at.R_ATTEMPTS)
_OUTCOMES = "log_seq:i8 processed_at:i8 outcome:i2 action:i4 pattern:i4 holder:i8 recipient:i8 late:?"
_OUTCOME_WORDS = len(_OUTCOMES.split())


def work_of(
    *,
    program: npt.ArrayLike,
    base: npt.ArrayLike,
    person: npt.ArrayLike = -1,
    recipient: npt.ArrayLike = -1,
    kind: npt.ArrayLike = int(RecordKind.EVENT),
    operation: npt.ArrayLike = 0,
    asset: npt.ArrayLike = -1,
    amount: npt.ArrayLike = 0,
    code: npt.ArrayLike = 0,
    group: npt.ArrayLike = -1,
) -> npt.NDArray[np.int64]:
    """The records of a batch, in log order, for `State.begin_batch`.

    Args:
        program: slot of the program (its number - 1).
        base: base time c(r) of §4.3, microseconds.
        person: index of the participant among the run's persons, -1: none.
        recipient: likewise of the recipient; of a money operation its row of OPERANDS.
        kind: RecordKind.
        operation: OperationType of operations.
        asset: index of an operation's asset, -1: no such asset.
        amount: an operation's amount in minor units, -1: all that matches.
        code: the value code of an operation's amount (`amounts.classify_amount`).
        group: index of the group that a record names among the run's persons, -1: none.
    """
    columns = (kind, program, person, recipient, base, operation, asset, amount, code, group)
    records = np.asarray(program).shape[0]
    return np.stack([np.broadcast_to(np.asarray(column, np.int64), (records,)) for column in columns])


def batch_tables(state: State) -> dict[str, Rows]:
    """What the batch wrote, by table of `pipeline/schema.py`, in row order.

    `holders` has the person's index instead of an external id; `changes` the window of counters, or the times of a new
    level, in two more columns, and what else there is of a level (as in TIER_DOWNGRADE, and TIER_NOTED with a number in
    `names`) in two that mean nothing of other changes;
    a text in `value` (value_kind TEXT), `reference` and `hold_reference` (-1: none) are codes of the text pool.
    """
    return {name: _columns(state, *spec) for name, spec in _TABLES.items()}


def outcomes(state: State) -> Rows:
    """One row per record in order: log_seq, processed_at, outcome, failing action, pattern (-1: none), holders, late.

    `pattern` is a number within this State (see `patterns`); holder and recipient are numbers, 0: none.
    """
    return _named(_OUTCOMES, state.table(at.OUTCOMES)[:_OUTCOME_WORDS, : state.register(at.R_RECORDS)])


def generated(state: State) -> Rows:
    """The events that the batch generated, in order: the columns of `outcomes` and what each follows from (§17.5).

    `by_action` is the number of the action that made it, `template` its row behind the records, `descent` its
    generation * 2, + 1 where it descends from a broadcast.
    """
    return _with_outcomes(state, *_GENERATED)


def attempts(state: State) -> Rows:
    """Further attempts at events (§10.2): the columns of `outcomes` (log_seq is the event's), by what, and changes."""
    return _with_outcomes(state, *_ATTEMPTS)


def _with_outcomes(state: State, spec: str, table: int, register: int) -> Rows:
    rows = state.table(table)[:, : state.register(register)]
    return _named(_OUTCOMES, rows[:_OUTCOME_WORDS]) | _named(spec, rows[at.OUTCOME_COLUMNS :])


def patterns(state: State, start: int = 0, stop: int | None = None) -> Rows:
    """The evaluation patterns `start` to `stop`: program (slot), action (failing, 0: none), words [pattern, word]."""
    rows = state.table(at.PATTERNS)[start : state.register(at.R_PATTERNS) if stop is None else stop]
    return {
        "program": rows[:, at.PATTERN_PROGRAM].astype(np.int32),
        "action": rows[:, at.PATTERN_ACTION].astype(np.int32),
        "words": np.ascontiguousarray(rows[:, at.PATTERN_WORDS :]).view(np.uint64),
    }


def touched_balances(state: State) -> Rows:
    """The balances of holders and wallets that the batch changed, after it: account, asset, amount, last_entry_seq."""
    cells = np.sort(state.table(at.TOUCHED)[0, : state.register(at.R_TOUCHED)])
    stride, assets = state.register(at.R_STRIDE), state.register(at.R_ASSETS)
    slots, rest = cells // (stride * assets), cells % (stride * assets)
    accounts = state.table(at.ACCOUNTS).reshape(-1)
    asset, bucket = rest // stride, rest % stride
    return {
        "account": account_codes(state, slots, bucket + 1),
        "asset": state.table(at.ASSETS)[asset, at.ASSET_NUMBER].astype(np.int32),
        "amount": accounts[cells],
        "last_entry_seq": accounts[cells + at.ACCOUNT_LAST],
    }


def system_balances(state: State, *, since_entry: int) -> list[tuple[int, int, int, int]]:
    """(account, asset, amount, last_entry_seq) of system accounts whose last entry is after `since_entry`.

    `since_entry` is `state.register(R_BATCH_ENTRY)` for a batch's snapshots, 0 for all that ever moved.
    """
    rows = []
    for asset, number in enumerate(state.table(at.ASSETS)[: len(state.terms.assets), at.ASSET_NUMBER].tolist()):
        for account in (1, 2, 3):
            low, high, last = state.table(at.SYSTEMS)[asset * 3 + account - 1].tolist()
            if last > since_entry:
                rows.append((account, number, join_words(low, high), last))
    return rows


def holder_statuses(state: State) -> Rows:
    """Holders that are not ACTIVE: holder, status."""
    first = len(state.terms.programs)
    status = state.cells.status[: state.slots]
    slots = first + np.flatnonzero(status[first:] != int(Status.ACTIVE))
    return {"holder": state.numbers[slots], "status": status[slots]}


def profiles(state: State) -> Rows:
    """Texts of holders: holder, field (HolderField), text (a code)."""
    texts = state.table(at.PROFILES)[: state.slots]
    slot, column = np.nonzero(texts)
    return {"holder": state.numbers[slot], "field": (column + 1).astype(np.int8), "text": texts[slot, column] - 1}


def program_statuses(state: State) -> Rows:
    """Every program with its status in force: program, status."""
    rows = state.table(at.PROGRAMS)[: len(state.terms.programs)]
    return {
        "program": rows[:, at.PROGRAM_NUMBER].astype(np.int32),
        "status": rows[:, at.PROGRAM_STATUS].astype(np.int8),
    }


def asset_links(state: State) -> Rows:
    """Which programs may use which assets: program, asset, as numbers."""
    program, asset = np.nonzero(state.table(at.LINKS)[: len(state.terms.programs), : len(state.terms.assets)])
    return {"program": (program + 1).astype(np.int32), "asset": (asset + 1).astype(np.int32)}


def account_codes(state: State, slots: npt.NDArray[np.int64], buckets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The account codes of (slot, bucket); slots of programs mean their wallets."""
    numbers = state.numbers[slots]
    return np.where(numbers < 0, numbers, numbers * 4 + buckets)


def _columns(state: State, spec: str, table: int, register: int) -> Rows:
    return _named(spec, state.table(table)[:, : state.register(register)])


def _named(spec: str, rows: npt.NDArray[np.int64]) -> Rows:
    """Copies of the rows of a column-by-column table under their names and types."""
    columns = {}
    for row, word in zip(rows, spec.split(), strict=True):
        name, kind = word.split(":")
        columns[name] = row.astype(np.dtype(kind))
    return columns
