"""One book out of several: batches that were decided apart get the numbers of one ordered pass (§2.3, §4.1, §4.4).

Each State decided its own holders' records, numbering entries, lots, changes, holders and records from where the book
stood. The argument for the order: records stand in log order; due work stands before the first record whose processing
time it does not come after, and among itself in due order; what one State did keeps its order. Numbers given in that
order grow with each State's own, so chains of lots and the queue stay sorted when they are renumbered in place.

Only what records and lots do is merged: `merge` refuses rows of any other table, because their place is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import join_words
from earnbook.ledger.results import Rows, batch_tables, outcomes, touched_balances
from earnbook.ledger.schema import EntryType, Int64s, LotStatus
from earnbook.ledger.state import Registers, State

_BUCKETS = 4  # an account code of a holder is its number times this, and the bucket
_MATURITY = int(EntryType.MATURITY)
_HELD = int(LotStatus.HELD)
_LOT_MASK = (1 << at.DUE_RANK_SHIFT) - 1
_COLUMNS = {
    "movements": {"entry_seq": "entry", "log_seq": "log", "lot_seq": "lot", "debit": "account", "credit": "account"},
    "due_entries": {"entry_seq": "entry", "lot_seq": "lot"},
    "lots": {"lot_seq": "lot", "entry_seq": "entry", "holder": "holder", "root": "lot"},
    "lot_moves": {"entry_seq": "entry", "lot_seq": "lot"},
    "entry_references": {"entry_seq": "entry"},
    "action_results": {"log_seq": "log", "entity": "holder"},
    "changes": {"change_seq": "change", "log_seq": "log", "entity": "holder"},
    "holders": {"number": "holder", "log_seq": "log"},
}
"""The columns of each table that hold numbers; the first one is what its rows are ordered by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one State decided: the positions of its records in the batch, ascending."""

    state: State
    records: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A batch as one pass would have written it; `patterns` of `outcomes` are still those of each State."""

    tables: dict[str, Rows]
    outcomes: Rows
    balances: Rows


class _Numbers:
    """Old and new numbers of one State, by kind; those up to where the book stood are the same."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._new: dict[str, Int64s] = {}

    def put(self, kind: str, first: int, new: Int64s) -> None:
        """The numbers after `first` become these."""
        self._first[kind], self._new[kind] = first, new

    def of(self, kind: str | None, old: Int64s) -> Int64s:
        """The new numbers; what is no number (no kind) stays as it is."""
        if kind is None:
            return old
        if kind == "account":
            holders = np.where(old >= _BUCKETS, old // _BUCKETS, 0)
            return np.where(old >= _BUCKETS, self.of("holder", holders) * _BUCKETS + old % _BUCKETS, old)
        first, new = self._first[kind], self._new[kind]
        if not len(new):
            return old
        return np.where(old > first, new[np.clip(old - first - 1, 0, len(new) - 1)], old)


def merge(shares: Sequence[Share], start: Registers, reached: Int64s, now: Int64s) -> Merged:
    """Merge what the States decided since `start`, and renumber them so that they go on as one book.

    Args:
        shares: the States with their records.
        start: where the book, and so every State, stood before the batch.
        reached: P(r) of every record of the batch (§4.3), which never decreases.
        now: the timestamp of every record.
    """
    tables = [batch_tables(share.state) for share in shares]
    others = {name for rows in tables for name in rows if name not in _COLUMNS and len(next(iter(rows[name].values())))}
    if others:
        raise ValueError(f"rows of {', '.join(sorted(others))} cannot be merged")
    numbers = [_Numbers() for _ in shares]
    for share, known in zip(shares, numbers, strict=True):
        known.put("log", start.log_seq, start.log_seq + 1 + share.records)
    logs = [{name: known.of("log", rows[name]["log_seq"]) for name in ("movements", "changes", "holders")}
            for known, rows in zip(numbers, tables, strict=True)]  # fmt: skip
    _number(numbers, "holder", start.holder, [(log["holders"],) for log in logs])
    _number(numbers, "change", start.change_seq, [(log["changes"],) for log in logs])
    made = [_causes(rows["lots"]["entry_seq"], rows, log, start) for rows, log in zip(tables, logs, strict=True)]
    _number(numbers, "lot", start.lot_seq, [(log,) for log in made])
    places = [
        _entry_places(rows, log["movements"], known, start, reached)
        for rows, log, known in zip(tables, logs, numbers, strict=True)
    ]
    _number(numbers, "entry", start.entry_seq, places)
    merged = {name: _merged(name, tables, numbers) for name in tables[0]}
    found = _outcomes(shares, numbers, start, now)
    for share, known in zip(shares, numbers, strict=True):
        _renumber(share.state, known)
    _go_on(shares, start, reached, now)
    balances = [touched_balances(share.state) for share in shares]
    joined = {name: np.concatenate([rows[name] for rows in balances]) for name in balances[0]}
    order = np.lexsort((joined["asset"], joined["account"]))
    return Merged(tables=merged, outcomes=found, balances={name: column[order] for name, column in joined.items()})


def merged_systems(states: Sequence[State], *, since_entry: int) -> list[tuple[int, int, int, int]]:
    """As `results.system_balances`, over States that share the system accounts."""
    rows = []
    for asset, number in enumerate(states[0].table(at.ASSETS)[: len(states[0].terms.assets), at.ASSET_NUMBER].tolist()):
        for account in (1, 2, 3):
            cells = [state.table(at.SYSTEMS)[asset * 3 + account - 1].tolist() for state in states]
            last = max(cell[at.SYSTEM_LAST] for cell in cells)
            if last > since_entry:
                rows.append((account, number, sum(join_words(low, high) for low, high, _ in cells), last))
    return rows


# --- numbers --------------------------------------------------------------------------------------------------------


def _number(numbers: Sequence[_Numbers], kind: str, first: int, keys: Sequence[tuple[Int64s, ...]]) -> None:
    """Give new numbers in the order of the keys, the first key first; equal keys are of one State, in its order."""
    joined = [np.concatenate(column) for column in zip(*keys, strict=True)]
    order = np.lexsort((*reversed(joined),)) if joined else np.zeros(0, np.int64)
    new = np.empty(len(order), np.int64)
    new[order] = first + 1 + np.arange(len(order))
    at_row = 0
    for known, columns in zip(numbers, keys, strict=True):
        known.put(kind, first, new[at_row : at_row + len(columns[0])])
        at_row += len(columns[0])


def _causes(entries: Int64s, rows: Rows | dict[str, Rows], log: dict[str, Int64s], start: Registers) -> Int64s:
    """The record, by its new number, behind each of these entries."""
    movements = rows["movements"]
    causes = np.zeros(int(movements["entry_seq"].max(initial=start.entry_seq)) - start.entry_seq, np.int64)
    causes[movements["entry_seq"] - start.entry_seq - 1] = log["movements"]
    found: Int64s = causes[entries - start.entry_seq - 1]
    return found


def _entry_places(
    rows: dict[str, Rows], log: Int64s, known: _Numbers, start: Registers, reached: Int64s
) -> tuple[Int64s, ...]:
    """What each new entry of a State is ordered by: place among the records, then due time, rank and lot (§4.4)."""
    movements, due = rows["movements"], rows["due_entries"]
    entries = movements["entry_seq"] - start.entry_seq - 1
    count = int(entries.max(initial=-1)) + 1
    place, when, rank, lot = (np.zeros(count, np.int64) for _ in range(4))
    place[entries] = 2 * (log - start.log_seq - 1) + 1
    own = due["entry_seq"] - start.entry_seq - 1
    place[own] = 2 * np.searchsorted(reached, due["created_at"], side="left")
    when[own] = due["created_at"]
    lot[own] = known.of("lot", due["lot_seq"])
    kinds = np.zeros(count, np.int64)
    kinds[entries] = movements["entry_type"]
    rank[own] = np.where(kinds[own] == _MATURITY, at.RANK_MATURITY, at.RANK_EXPIRATION)
    return place, when, rank, lot


# --- rows -----------------------------------------------------------------------------------------------------------


def _merged(name: str, tables: Sequence[dict[str, Rows]], numbers: Sequence[_Numbers]) -> Rows:
    kinds = _COLUMNS.get(name, {})
    columns: Rows = {
        column: np.concatenate(
            [
                known.of(kinds[column], rows[name][column]).astype(values.dtype)
                if column in kinds
                else rows[name][column]
                for rows, known in zip(tables, numbers, strict=True)
            ]
        )
        for column, values in tables[0][name].items()
    }
    if not kinds:
        return columns
    order = np.argsort(columns[next(iter(kinds))], kind="stable")
    return {column: values[order] for column, values in columns.items()}


def _outcomes(shares: Sequence[Share], numbers: Sequence[_Numbers], start: Registers, now: Int64s) -> Rows:
    """The outcomes of all records, in log order."""
    found = [outcomes(share.state) for share in shares]
    places = np.concatenate([share.records for share in shares])
    merged: Rows = {}
    for name, values in found[0].items():
        merged[name] = np.empty(len(places), values.dtype)
        merged[name][places] = np.concatenate([rows[name] for rows in found])
    for name in ("holder", "recipient"):
        merged[name][places] = np.concatenate(
            [known.of("holder", rows[name]) for known, rows in zip(numbers, found, strict=True)]
        )
    merged["log_seq"] = start.log_seq + 1 + np.arange(len(places))
    merged["late"] = now < np.maximum.accumulate(np.concatenate(([start.latest], now)))[:-1]
    return merged


# --- states ---------------------------------------------------------------------------------------------------------


def _renumber(state: State, known: _Numbers) -> None:
    """Give everything that a State keeps its new numbers."""

    def change(values: Int64s, kind: str) -> None:
        values[:] = known.of(kind, values)

    change(state.table(at.HOLDER_NUMBERS)[: state.slots, 0], "holder")
    accounts = state.table(at.ACCOUNTS).reshape(-1)
    cells = state.table(at.TOUCHED)[0, : state.register(at.R_TOUCHED)] + at.ACCOUNT_LAST
    accounts[cells] = known.of("entry", accounts[cells])
    change(state.table(at.SYSTEMS)[:, at.SYSTEM_LAST], "entry")
    lots = state.table(at.LOTS)[: state.register(at.R_LOTS)]
    change(lots[:, at.LOT_SEQ], "lot")
    change(lots[:, at.LOT_ROOT], "lot")
    hinted = lots[:, at.LOT_STATUS] != _HELD
    lots[hinted, at.LOT_HINT_SEQ] = known.of("lot", lots[hinted, at.LOT_HINT_SEQ])
    keys = state.table(at.DUE)[: state.register(at.R_DUE), at.DUE_KEY]
    keys[:] = (keys & ~_LOT_MASK) | known.of("lot", keys & _LOT_MASK)


def _go_on(shares: Sequence[Share], start: Registers, reached: Int64s, now: Int64s) -> None:
    """Set the registers of all States to where the whole book stands."""
    last: Callable[[int], int] = lambda register: max(share.state.register(register) for share in shares)  # noqa: E731
    given = (at.R_ENTRY_SEQ, at.R_LOT_SEQ, at.R_CHANGE_SEQ, at.R_HOLDER)
    firsts = (start.entry_seq, start.lot_seq, start.change_seq, start.holder)
    ends = [
        first + sum(share.state.register(register) - first for share in shares)
        for register, first in zip(given, firsts, strict=True)
    ]
    clock = last(at.R_CLOCK)
    for share in shares:
        registers = share.state.table(at.REGISTERS)[0]
        registers[list(given)] = ends
        registers[at.R_LOG_SEQ] = start.log_seq + len(reached)
        registers[at.R_CLOCK] = clock
        registers[at.R_LATEST] = max(start.latest, int(now.max(initial=start.latest)))
