"""Filling a State from a book, and giving back what the checkpoint holds: arrays in, arrays out.

Everything is checked before it is believed (slots, keys, ranges): a book that does not fit is a `ValueError`, never a
write outside the tables. Columns are those of the state tables of `pipeline/schema.py`, with slots for entities,
indexes for assets, columns of the cells for keys and text codes for texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import split_words
from earnbook.ledger.budgets import schedule_reset
from earnbook.ledger.compiled import compiled
from earnbook.ledger.due import push_due, settle_due
from earnbook.ledger.holds import stamp
from earnbook.ledger.levels import await_level, due_date
from earnbook.ledger.lifecycle import await_period
from earnbook.ledger.lots import await_due, link
from earnbook.ledger.memory import fixed_in
from earnbook.ledger.results import Rows, account_codes
from earnbook.ledger.schedule import due_item, due_key
from earnbook.ledger.schema import TIME_NONE, EntityType, Int64s, InventoryMode, LotStatus, Status
from earnbook.ledger.state import State

Numbers = npt.ArrayLike

_HELD = int(LotStatus.HELD)


def ascending(numbers: Int64s) -> Int64s:
    """The distinct numbers in ascending order: `np.unique`, which hashes, takes fifty times as long for a million."""
    ordered: Int64s = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def add_holders(
    state: State,
    numbers: Numbers,
    status: Numbers = int(Status.ACTIVE),
    kinds: Numbers = int(EntityType.PARTICIPANT),
) -> Int64s:
    """Take in holders of the book, not yet in the State; returns their slots, in order."""
    given = np.asarray(numbers, np.int64)
    if len(given) and (given.min() < 1 or given.max() > state.registers.holder):
        raise ValueError(f"holder numbers are 1 to {state.registers.holder}")
    if len(ascending(given)) != len(given) or (state.slots_of(given) >= 0).any():
        raise ValueError("a holder is added twice")
    state.reserve(at.HOLDER_NUMBERS, len(given))
    first = state.slots
    slots = np.arange(first, first + len(given))
    state.table(at.HOLDER_NUMBERS)[slots, 0] = given
    state.table(at.STATUS)[slots, 0] = np.asarray(status)
    state.table(at.HOLDER_KINDS)[slots, 0] = np.asarray(kinds)
    state.table(at.REGISTERS)[0, at.R_SLOTS] = first + len(given)
    return slots


def add_persons(state: State, slots: Numbers, origins: Numbers = -1) -> Int64s:
    """Take in persons (distinct ways in which records name participants); returns their indexes, in order.

    Args:
        state: the books.
        slots: the slot of each, -1 where no holder of the book is meant.
        origins: -1 for an external id, which may be created; for a `participant_id`, the index of the person whose
            external id would get that id (it is found once that one exists), or the person's own index: never.
    """
    given = np.asarray(slots, np.int64)
    _check(given, -1, state.slots, "slots")
    state.reserve(at.PERSON_SLOTS, len(given))
    state.reserve(at.PERSON_ORIGINS, len(given))
    persons = np.arange(state.persons, state.persons + len(given))
    state.table(at.PERSON_SLOTS)[persons, 0] = given
    origin = np.broadcast_to(np.asarray(origins, np.int64), given.shape)
    _check(origin, -1, state.persons + len(given), "origins")
    state.table(at.PERSON_ORIGINS)[persons, 0] = origin
    state.persons += len(given)
    return persons


def load_balances(
    state: State, *, slots: Numbers, assets: Numbers, buckets: Numbers, amounts: Numbers, last: Numbers
) -> None:
    """Balances of holders and wallets, with their last entry."""
    cells = _account_cells(state, slots, assets)
    bucket = np.asarray(buckets, np.int64)
    _check(bucket, 1, 4, "buckets")
    accounts = state.table(at.ACCOUNTS).reshape(-1)
    accounts[cells + bucket - 1] = np.asarray(amounts, np.int64)
    accounts[cells + bucket - 1 + at.ACCOUNT_LAST] = np.asarray(last, np.int64)


def load_overdrafts(state: State, *, slots: Numbers, assets: Numbers, amounts: Numbers) -> None:
    """Overdrafts of AVAILABLE accounts, > 0."""
    state.table(at.ACCOUNTS).reshape(-1)[_account_cells(state, slots, assets) + at.ACCOUNT_OVERDRAFT] = np.asarray(
        amounts, np.int64
    )


def load_system_balances(state: State, rows: list[tuple[int, int, int, int]]) -> None:
    """Balances of system accounts as (account, asset index, amount, last_entry_seq)."""
    for account, asset, amount, last in rows:
        low, high = split_words(amount)
        state.table(at.SYSTEMS)[asset * 3 + account - 1] = (low, high, last)


def load_enrollments(state: State, *, slots: Numbers, programs: Numbers, status: Numbers) -> None:
    """Enrollments; `programs` are slots of programs."""
    rows, columns = _cells(state, slots, programs, len(state.terms.programs), "programs")
    state.table(at.ENROLLMENTS)[rows, columns] = np.asarray(status)


def load_counters(
    state: State,
    *,
    slots: Numbers,
    keys: Numbers,
    low: Numbers,
    high: Numbers,
    scale: Numbers,
    reset_at: Numbers,
    reset_after: Numbers,
) -> None:
    """Counters; TIME_NONE stands for no window."""
    rows, columns = _cells(state, slots, keys, state.terms.counters, "counters")
    parts = {at.COUNTER_LOW: low, at.COUNTER_HIGH: high, at.COUNTER_SCALE: scale}
    parts |= {at.COUNTER_RESET_AT: reset_at, at.COUNTER_RESET_AFTER: reset_after}
    for table, values in parts.items():
        state.table(table)[rows, columns] = np.asarray(values)


def load_tags(state: State, *, slots: Numbers, keys: Numbers) -> None:
    """Tags."""
    rows, columns = _cells(state, slots, keys, state.terms.tags, "tags")
    bits = np.left_shift(np.uint64(1), (columns & 63).astype(np.uint64))
    np.bitwise_or.at(state.cells.tags, (rows, columns >> 6), bits)


def load_attributes(
    state: State, *, slots: Numbers, keys: Numbers, kinds: Numbers, values: Numbers, scales: Numbers
) -> None:
    """Attributes; values of kind TEXT are codes of the run's pool."""
    rows, columns = _cells(state, slots, keys, state.terms.attributes, "attributes")
    parts = {at.ATTRIBUTE_KIND: kinds, at.ATTRIBUTE_VALUE: values, at.ATTRIBUTE_SCALE: scales}
    for table, given in parts.items():
        state.table(table)[rows, columns] = np.asarray(given)


def load_budgets(state: State, *, numbers: Numbers, consumed: Numbers) -> None:
    """What the budgets in force have consumed, and their next resets; budgets that are not in force are left out."""
    table = state.table(at.BUDGETS)[: len(state.terms.budgets)]
    amounts = dict(zip(np.asarray(numbers).tolist(), np.asarray(consumed).tolist(), strict=True))
    for row in table:
        row[at.BUDGET_CONSUMED] = amounts.get(int(row[at.BUDGET_NUMBER]), 0)
    state.reserve(at.DUE, len(table))
    await_resets(state.handles, len(table))


def begin_budget(state: State, budget: int, *, number: int, origin: int, next_reset_at: int | None) -> None:
    """A budget of the terms begins: its number in the book, where its intervals count from, its first reset."""
    row = state.table(at.BUDGETS)[budget]
    row[at.BUDGET_NUMBER], row[at.BUDGET_ORIGIN] = number, origin
    row[at.BUDGET_NEXT] = int(TIME_NONE) if next_reset_at is None else next_reset_at
    state.reserve(at.DUE, 1)
    await_reset(state.handles, budget)


def budgets(state: State) -> Rows:
    """The budgets in force, by number: what they have consumed."""
    table = state.table(at.BUDGETS)[: len(state.terms.budgets)]
    begun = table[table[:, at.BUDGET_NUMBER] > 0]
    return {"budget": begun[:, at.BUDGET_NUMBER].astype(np.int32), "consumed": begun[:, at.BUDGET_CONSUMED].copy()}


def load_profiles(state: State, *, slots: Numbers, fields: Numbers, texts: Numbers) -> None:
    """Texts of holders: HolderField and code."""
    rows, columns = _cells(state, slots, np.asarray(fields, np.int64) - 1, at.PROFILE_COLUMNS, "fields")
    state.table(at.PROFILES)[rows, columns] = np.asarray(texts, np.int64) + 1


def load_lots(state: State, lots: Mapping[str, Numbers]) -> None:
    """Open lots, in any order.

    Args:
        state: the books.
        lots: lot_seq, slot, asset (index), program (number), source, root, status, remaining, created_at, expires_at,
            matures_at (TIME_NONE: none), reference and hold_reference (text codes, -1: none), provisional.
    """
    columns = {name: np.asarray(values, np.int64) for name, values in lots.items()}
    count = len(columns["lot_seq"])
    _check(columns["slot"], len(state.terms.programs), state.slots, "holders of lots")
    _check(columns["asset"], 0, len(state.terms.assets), "assets of lots")
    _check(columns["status"], int(LotStatus.DEFERRED), int(LotStatus.HELD) + 1, "statuses of lots")
    if count and (columns["remaining"].min() < 1 or columns["lot_seq"].max() > state.registers.lot_seq):
        raise ValueError("an open lot has nothing left or a number not yet given")
    modes = np.array([asset.mode for asset in state.terms.assets])
    if count and (modes[columns["asset"]] != InventoryMode.LOT).any():
        raise ValueError("a lot of an asset without lots")
    state.reserve(at.LOTS, count)
    state.reserve(at.DUE, count)
    order = np.lexsort([columns[name] for name in ("lot_seq", "root", "created_at")])
    rows = np.zeros((count, at.LOT_COLUMNS), np.int64)
    places = {
        "lot_seq": at.LOT_SEQ,
        "slot": at.LOT_SLOT,
        "asset": at.LOT_ASSET,
        "status": at.LOT_STATUS,
        "remaining": at.LOT_REMAINING,
        "created_at": at.LOT_CREATED,
        "expires_at": at.LOT_EXPIRES,
        "matures_at": at.LOT_MATURES,
        "root": at.LOT_ROOT,
        "program": at.LOT_PROGRAM,
        "source": at.LOT_SOURCE,
        "reference": at.LOT_REFERENCE,
        "hold_reference": at.LOT_HOLD,
        "provisional": at.LOT_PROVISIONAL,
    }
    for name, column in places.items():
        rows[:, column] = columns[name][order]
    _take_in(state.handles, rows)


def load_tiers(
    state: State,
    *,
    slots: Numbers,
    tiers: Numbers,
    levels: Numbers,
    acquired_at: Numbers,
    expires_at: Numbers,
    downgrade_at: Numbers = int(TIME_NONE),
    noted: Numbers = 0,
) -> None:
    """Levels of participants: `tiers` are columns of the cells, `levels` positions by ascending rank from 1.

    `downgrade_at` and `noted` are as TIER_DOWNGRADE and TIER_NOTED.
    """
    rows, columns = _cells(state, slots, tiers, len(state.terms.tiers), "tiers")
    level, notes = np.asarray(levels, np.int64), np.broadcast_to(np.asarray(noted, np.int64), rows.shape)
    most = np.array([len(tier.levels) for tier in state.terms.tiers], np.int64)
    is_odd = (level < 1) | (level > most[columns]) | (notes < at.OWN_EXPIRY) | (notes > most[columns])
    if is_odd.any():
        raise ValueError("somebody is on a level that the tier type has not")
    parts = {at.TIER_LEVEL: level, at.TIER_ACQUIRED: acquired_at, at.TIER_EXPIRES: expires_at}
    parts |= {at.TIER_DOWNGRADE: downgrade_at, at.TIER_NOTED: notes}
    for table, values in parts.items():
        state.table(table)[rows, columns] = np.asarray(values)
    state.reserve(at.DUE, len(rows))
    _await_levels(state.handles, rows, columns)


@compiled
def _await_levels(given: Int64s, slots: Int64s, tiers: Int64s) -> None:
    """Queue when loaded levels fall due; the queue has room."""
    handles = fixed_in(given)
    for k in range(len(slots)):
        date = due_date(handles, slots[k], tiers[k])
        if date != TIME_NONE:
            await_level(handles, slots[k], tiers[k], date)
            settle_due(handles)


def begin_periods(state: State, rows: Numbers) -> None:
    """The running periods of tier types, once for a State: [row, PERIOD_COLUMNS]."""
    given = np.asarray(rows, np.int64).reshape(-1, at.PERIOD_COLUMNS)
    dates = slice(at.TIER_PERIOD, at.TIER_PERIOD + at.PERIOD_DATES)
    state.table(at.TIERS)[given[:, at.PERIOD_TIER], dates] = given[:, : at.PERIOD_DATES]
    state.reserve(at.DUE, len(given))
    _await_periods(state.handles, np.ascontiguousarray(given[:, at.PERIOD_TIER]))


@compiled
def _await_periods(given: Int64s, tiers: Int64s) -> None:
    """Queue the ends of periods; the queue has room."""
    handles = fixed_in(given)
    for k in range(len(tiers)):
        await_period(handles, tiers[k])
        settle_due(handles)


@compiled
def await_resets(given: Int64s, count: int) -> None:
    """Queue the next resets of the first `count` budgets; the queue has room."""
    for budget in range(count):
        await_reset(given, budget)


@compiled
def await_reset(given: Int64s, budget: int) -> None:
    """Queue the next reset of a budget; the queue has room."""
    handles = fixed_in(given)
    schedule_reset(handles, budget, at.matrix(handles, at.BUDGETS)[budget, at.BUDGET_NEXT])
    settle_due(handles)


@compiled
def _take_in(given: Int64s, rows: Int64s) -> None:
    """Append lots that stand in chain order; LOTS and the queue have room."""
    handles = fixed_in(given)
    registers, lots = at.vector(handles, at.REGISTERS), at.matrix(handles, at.LOTS)
    for k in range(len(rows)):
        lot = registers[at.R_LOTS]
        registers[at.R_LOTS] = lot + 1
        for column in range(at.LOT_COLUMNS):
            lots[lot, column] = rows[k, column]
        # The stamp stands where `link` looks for a hint.
        lots[lot, at.LOT_HINT] = 0
        link(handles, lot)
        if lots[lot, at.LOT_STATUS] == _HELD:
            stamp(handles, lot, rows[k, at.LOT_HOLD], rows[k, at.LOT_PROVISIONAL])
        await_due(handles, lot)
        settle_due(handles)


def load_schedule(
    state: State,
    *,
    slots: Numbers,
    at_times: Numbers,
    parents: Numbers,
    positions: Numbers,
    actions: Numbers,
    templates: Numbers,
    descents: Numbers,
) -> None:
    """Scheduled events of holders, with the template and the descent (`layout.R_DESCENT`) of each."""
    given = (at_times, parents, actions, templates, slots, descents, positions)
    columns = [np.asarray(values, np.int64) for values in given]
    count = len(columns[0])
    _check(columns[4], len(state.terms.programs), state.slots, "holders of scheduled events")
    state.reserve(at.SCHEDULE, count)
    state.reserve(at.DUE, count)
    _take_in_schedule(state.handles, np.stack([*columns, np.zeros(count, np.int64)], axis=1))


@compiled
def _take_in_schedule(given: Int64s, rows: Int64s) -> None:
    """Append items; SCHEDULE and the queue have room."""
    handles = fixed_in(given)
    registers, schedule = at.vector(handles, at.REGISTERS), at.matrix(handles, at.SCHEDULE)
    for k in range(len(rows)):
        row = registers[at.R_SCHEDULE]
        registers[at.R_SCHEDULE] = row + 1
        for column in range(at.SCHEDULE_COLUMNS):
            schedule[row, column] = rows[k, column]
        key = due_key(at.ORIGIN_SCHEDULED, rows[k, at.SCHEDULE_PARENT], rows[k, at.SCHEDULE_POSITION])
        push_due(handles, rows[k, at.SCHEDULE_AT], key, due_item(handles, rows[k, at.SCHEDULE_SLOT], row))


def scheduled(state: State) -> Rows:
    """The scheduled events by parent and position: holder is a number, `descent` as in `load_schedule`."""
    items = state.table(at.DUE)[: state.register(at.R_DUE)]
    items = items[items[:, at.DUE_KEY] >> at.DUE_RANK_SHIFT == at.RANK_EVENT]
    rows = state.table(at.SCHEDULE)[items[:, at.DUE_ITEM] & ((1 << at.SCHEDULE_ROW_BITS) - 1)]
    rows = rows[np.lexsort([rows[:, at.SCHEDULE_POSITION], rows[:, at.SCHEDULE_PARENT]])]
    return {
        "holder": state.numbers[rows[:, at.SCHEDULE_SLOT]],
        "due_at": rows[:, at.SCHEDULE_AT],
        "parent": rows[:, at.SCHEDULE_PARENT],
        "position": rows[:, at.SCHEDULE_POSITION].astype(np.int32),
        "action": rows[:, at.SCHEDULE_ACTION].astype(np.int32),
        "descent": rows[:, at.SCHEDULE_DESCENT],
    }


def compact_due(state: State) -> None:
    """Drop queued items whose lots are gone and repeated ones; worth it when most are (long expiries, short lives)."""
    registers = state.table(at.REGISTERS)[0]
    queued = state.table(at.DUE)[: registers[at.R_DUE]]
    of_lots = queued[:, at.DUE_KEY] >> at.DUE_RANK_SHIFT <= at.RANK_EXPIRATION
    items, others = queued[of_lots], queued[~of_lots]
    lots = state.table(at.LOTS)[items[:, at.DUE_ITEM]]
    is_maturity = items[:, at.DUE_KEY] >> at.DUE_RANK_SHIFT == at.RANK_MATURITY
    # A lot that is HELD may be AVAILABLE again when its item comes out.
    is_wanted = (lots[:, at.LOT_STATUS] == LotStatus.DEFERRED) == is_maturity
    seq = items[:, at.DUE_KEY] & ((1 << at.DUE_RANK_SHIFT) - 1)
    kept = np.concatenate([items[(lots[:, at.LOT_SEQ] == seq) & is_wanted], others])
    # Items in order are a heap. A lot that was closed and came back may have left one for each time.
    kept = np.unique(kept, axis=0)
    state.table(at.DUE)[: len(kept)] = kept
    registers[at.R_DUE] = len(kept)


_LOT_COLUMNS = {
    "lot_seq": at.LOT_SEQ,
    "holder": at.LOT_SLOT,
    "asset": at.LOT_ASSET,
    "program": at.LOT_PROGRAM,
    "source": at.LOT_SOURCE,
    "root": at.LOT_ROOT,
    "status": at.LOT_STATUS,
    "remaining": at.LOT_REMAINING,
    "created_at": at.LOT_CREATED,
    "expires_at": at.LOT_EXPIRES,
    "matures_at": at.LOT_MATURES,
    "reference": at.LOT_REFERENCE,
    "hold_reference": at.LOT_HOLD,
    "provisional": at.LOT_PROVISIONAL,
}
OPEN_LOT_COLUMNS = tuple(_LOT_COLUMNS)
"""What `open_lots` can tell of a lot."""


def open_lots(state: State, columns: Collection[str] = OPEN_LOT_COLUMNS) -> Rows:
    """The open lots by lot_seq, in the given columns: holder and asset are numbers, references text codes.

    Only the columns asked for are copied: a book may have many open lots.
    """
    lots = state.table(at.LOTS)[: state.register(at.R_LOTS)]
    rows = np.flatnonzero(_is_open(lots))
    rows = rows[np.argsort(lots[rows, at.LOT_SEQ], kind="stable")]
    found: Rows = {name: lots[rows, column] for name, column in _LOT_COLUMNS.items() if name in columns}
    is_held = lots[rows, at.LOT_STATUS] == LotStatus.HELD
    if "hold_reference" in found:
        found["hold_reference"] = np.where(is_held, found["hold_reference"], -1)
    if "provisional" in found:
        found["provisional"] = is_held & (found["provisional"] == 1)
    if "holder" in found:
        found["holder"] = state.numbers[found["holder"]]
    if "asset" in found:
        found["asset"] = _asset_numbers(state, found["asset"])
    if "program" in found:
        found["program"] = found["program"].astype(np.int32)
    if "status" in found:
        found["status"] = found["status"].astype(np.int8)
    return found


def open_lots_of(state: State, slots: Int64s) -> Int64s:
    """The rows of LOTS that are open lots of these slots, whole, in no particular order."""
    lots = state.table(at.LOTS)[: state.register(at.R_LOTS)]
    return lots[_is_open(lots) & np.isin(lots[:, at.LOT_SLOT], slots)]


def _is_open(lots: Int64s) -> npt.NDArray[np.bool_]:
    return (lots[:, at.LOT_SEQ] > 0) & (lots[:, at.LOT_REMAINING] > 0)


def checkpoint(state: State, lot_columns: Collection[str] = OPEN_LOT_COLUMNS) -> dict[str, Rows]:
    """All state of the State's holders and programs as rows of the state tables (system accounts: `system_balances`).

    Keys of counters, tags and attributes are columns of the cells, programs of enrollments are numbers; of open lots
    there are the columns asked for.
    """
    used, terms = state.slots, state.terms
    assets, stride = state.register(at.R_ASSETS), state.register(at.R_STRIDE)
    accounts = state.table(at.ACCOUNTS)[:used].reshape(used, assets, stride)
    slot, asset, bucket = np.nonzero(accounts[:, :, at.ACCOUNT_LAST : at.ACCOUNT_LAST + 3])
    drawn, drawn_asset = np.nonzero(accounts[:, :, at.ACCOUNT_OVERDRAFT])
    counter, counter_key = np.nonzero(state.table(at.COUNTER_SCALE)[:used, : terms.counters] >= 0)
    bits = np.unpackbits(
        state.table(at.TAGS)[:used].view(np.uint8), axis=1, bitorder="little", count=terms.tags or None
    )
    tagged, tag = np.nonzero(bits[:, : terms.tags])
    attributed, attribute = np.nonzero(state.table(at.ATTRIBUTE_KIND)[:used, : terms.attributes])
    tiered, tier = np.nonzero(state.table(at.TIER_LEVEL)[:used, : len(terms.tiers)])
    enrolled, program = np.nonzero(state.table(at.ENROLLMENTS)[:used, : len(terms.programs)])
    numbers = state.numbers
    return {
        "balances": {
            "account": account_codes(state, slot, bucket + 1),
            "asset": _asset_numbers(state, asset),
            "amount": accounts[slot, asset, bucket],
            "last_entry_seq": accounts[slot, asset, bucket + at.ACCOUNT_LAST],
        },
        "overdrafts": {
            "holder": numbers[drawn],
            "asset": _asset_numbers(state, drawn_asset),
            "amount": accounts[drawn, drawn_asset, at.ACCOUNT_OVERDRAFT],
        },
        "counters": {
            "entity": numbers[counter],
            "key": counter_key,
            "low": state.table(at.COUNTER_LOW)[counter, counter_key],
            "high": state.table(at.COUNTER_HIGH)[counter, counter_key],
            "scale": state.table(at.COUNTER_SCALE)[counter, counter_key],
            "reset_at": state.table(at.COUNTER_RESET_AT)[counter, counter_key],
            "reset_after": state.table(at.COUNTER_RESET_AFTER)[counter, counter_key],
        },
        "tags": {"entity": numbers[tagged], "key": tag},
        "attributes": {
            "entity": numbers[attributed],
            "key": attribute,
            "kind": state.table(at.ATTRIBUTE_KIND)[attributed, attribute],
            "value": state.table(at.ATTRIBUTE_VALUE)[attributed, attribute],
            "scale": state.table(at.ATTRIBUTE_SCALE)[attributed, attribute],
        },
        "enrollments": {
            "holder": numbers[enrolled],
            "program": (program + 1).astype(np.int32),
            "status": state.table(at.ENROLLMENTS)[enrolled, program],
        },
        "tiers": _tier_rows(state, tiered, tier),
        "open_lots": open_lots(state, lot_columns),
    }


def _tier_rows(state: State, slots: Int64s, tiers: Int64s) -> Rows:
    """The rows of (slot, tier type column): tier type and level by their numbers."""
    numbers, first = (state.table(at.TIERS)[tiers, column] for column in (at.TIER_NUMBER, at.TIER_LEVEL_FIRST))
    names, noted = state.table(at.LEVELS)[:, at.LEVEL_NAME], state.table(at.TIER_NOTED)[slots, tiers]
    return {
        "holder": state.numbers[slots],
        "tier": numbers.astype(np.int32),
        "level": names[first + state.table(at.TIER_LEVEL)[slots, tiers] - 1].astype(np.int32),
        "acquired_at": state.table(at.TIER_ACQUIRED)[slots, tiers],
        "expires_at": state.table(at.TIER_EXPIRES)[slots, tiers],
        "downgrade_at": state.table(at.TIER_DOWNGRADE)[slots, tiers],
        "noted": np.where(noted > 0, names[first + np.maximum(noted, 1) - 1], noted).astype(np.int32),
    }


def _asset_numbers(state: State, assets: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    return np.asarray(state.table(at.ASSETS)[assets, at.ASSET_NUMBER], np.int32)


def _account_cells(state: State, slots: Numbers, assets: Numbers) -> Int64s:
    rows, columns = _cells(state, slots, assets, len(state.terms.assets), "assets")
    return (rows * state.register(at.R_ASSETS) + columns) * state.register(at.R_STRIDE)


def _cells(state: State, slots: Numbers, columns: Numbers, count: int, what: str) -> tuple[Int64s, Int64s]:
    rows, chosen = np.asarray(slots, np.int64), np.asarray(columns, np.int64)
    _check(rows, 0, state.slots, "slots")
    _check(chosen, 0, count, what)
    return rows, chosen


def _check(values: Int64s, least: int, limit: int, what: str) -> None:
    if len(values) and (values.min() < least or values.max() >= limit):
        raise ValueError(f"{what} must be {least} to {limit - 1}, found {values.min()} to {values.max()}")


def set_origins(state: State, origins: Numbers) -> None:
    """The origins of all persons, as in `add_persons`: a participant id may get its person later."""
    given = np.asarray(origins, np.int64)
    if len(given) != state.persons:
        raise ValueError(f"there are {state.persons} persons, {len(given)} origins are given")
    _check(given, -1, state.persons, "origins")
    state.table(at.PERSON_ORIGINS)[: state.persons, 0] = given
