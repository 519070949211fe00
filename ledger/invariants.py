"""What must hold of a State after every batch: properties I2 to I7 of §19.4, checked by other code than made it.

Each check is a pure function of the arrays, written with whole columns, and returns what it found as sentences; the
kernel's own loops and helpers are not used. `check_books` runs them all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import join_words
from earnbook.ledger.schema import Int64s, InventoryMode, LotStatus
from earnbook.ledger.state import State

Check = Callable[[State], list[str]]
_EXAMPLES = 5
_WORD = 1 << 32
_BUCKETS = ("AVAILABLE", "HELD", "DEFERRED")
_LOT_OF_BUCKET = (int(LotStatus.AVAILABLE), int(LotStatus.HELD), int(LotStatus.DEFERRED))


def check_books(state: State, *, is_whole: bool = True) -> list[str]:
    """All findings, empty when the books are sound.

    `is_whole` says that every holder of the book is in the State; conservation (I2) can be checked only then.
    """
    checks: tuple[Check, ...] = (check_lots, check_overdrafts, check_negative_balances, check_chains, check_due)
    if is_whole:
        checks = (check_conservation, *checks)
    return [finding for check in checks for finding in check(state)]


def check_conservation(state: State) -> list[str]:
    """I2: per asset, all accounts together are zero."""
    found = []
    accounts = _accounts(state)
    for asset in range(len(state.terms.assets)):
        total = sum(_exact_sum(accounts[:, asset, bucket]) for bucket in range(3))
        systems = state.table(at.SYSTEMS)[3 * asset : 3 * asset + 3]
        total += sum(join_words(low, high) for low, high, _ in systems.tolist())
        if total != 0:
            found.append(f"I2: the accounts of asset {state.terms.assets[asset].number} sum to {total}, not 0")
    return found


def check_fold(before: Int64s, state: State) -> list[str]:
    """I3: the batch's movements, added to the balances `before` it (see `balances`), give the balances after it."""
    movements = state.table(at.MOVEMENTS)[:, : state.register(at.R_MOVEMENTS)]
    folded = _pad(before, state.slots).copy()
    index_of = {asset.number: index for index, asset in enumerate(state.terms.assets)}
    assets = np.array([index_of[number] for number in movements[6].tolist()], np.int64)
    for accounts, sign in ((movements[4], -1), (movements[5], 1)):
        ours = (accounts < 0) | (accounts > 3)
        account = accounts[ours]
        slots = state.slots_of(np.where(account < 0, account, account >> 2))
        buckets = np.where(account < 0, 0, (account & 3) - 1)
        np.add.at(folded, (slots, assets[ours], buckets), sign * movements[7][ours])
    wrong = np.argwhere(folded != balances(state))
    return [
        f"I3: {_BUCKETS[bucket]} of entity {state.numbers[slot]} in asset {state.terms.assets[asset].number} is not "
        "the fold of its postings"
        for slot, asset, bucket in wrong[:_EXAMPLES].tolist()
    ]


def check_lots(state: State) -> list[str]:
    """I4 and I7: open lots have something left and sum to the buckets; AVAILABLE less what is overdrawn."""
    lots, accounts = _open_lots(state), _accounts(state)
    found = [
        f"I7: lot {row[at.LOT_SEQ]} is open with {row[at.LOT_REMAINING]} left"
        for row in lots[lots[:, at.LOT_REMAINING] <= 0][:_EXAMPLES].tolist()
    ]
    for asset, terms in enumerate(state.terms.assets):
        if terms.mode != InventoryMode.LOT:
            continue
        for bucket, status in enumerate(_LOT_OF_BUCKET):
            chosen = (lots[:, at.LOT_ASSET] == asset) & (lots[:, at.LOT_STATUS] == status)
            held = np.zeros(state.slots, np.int64)
            np.add.at(held, lots[chosen, at.LOT_SLOT], lots[chosen, at.LOT_REMAINING])
            balance = accounts[:, asset, bucket].copy()
            if bucket == 0:
                balance += accounts[:, asset, at.ACCOUNT_OVERDRAFT]
            programs = len(state.terms.programs)
            wrong = np.flatnonzero(balance[programs:] != held[programs:]) + programs
            found += [
                f"I4: {_BUCKETS[bucket]} of holder {state.numbers[slot]} in asset {terms.number} is {balance[slot]} "
                f"before overdraft, its lots hold {held[slot]}"
                for slot in wrong[:_EXAMPLES].tolist()
            ]
    return found


def check_overdrafts(state: State) -> list[str]:
    """I5: no overdraft is negative, and whoever is overdrawn has no AVAILABLE lot with anything left."""
    accounts, lots = _accounts(state), _open_lots(state)
    overdrafts = accounts[:, :, at.ACCOUNT_OVERDRAFT]
    found = [
        f"I5: overdraft of entity {state.numbers[slot]} is negative"
        for slot, _ in np.argwhere(overdrafts < 0)[:_EXAMPLES].tolist()
    ]
    spendable = lots[lots[:, at.LOT_STATUS] == LotStatus.AVAILABLE]
    both = spendable[overdrafts[spendable[:, at.LOT_SLOT], spendable[:, at.LOT_ASSET]] > 0]
    return found + [
        f"I5: holder {state.numbers[row[at.LOT_SLOT]]} is overdrawn and has lot {row[at.LOT_SEQ]} to spend"
        for row in both[:_EXAMPLES].tolist()
    ]


def check_negative_balances(state: State) -> list[str]:
    """I6: only AVAILABLE of holders may be below zero, on LOT assets by no more than the overdraft; nor BREAKAGE."""
    accounts, programs = _accounts(state), len(state.terms.programs)
    negative = accounts[:, :, :3] < 0
    is_lot = np.array([asset.mode == InventoryMode.LOT for asset in state.terms.assets] or [False])
    is_covered = accounts[programs:, :, 0] >= -accounts[programs:, :, at.ACCOUNT_OVERDRAFT]
    negative[programs:, :, 0] &= is_lot & ~is_covered
    found = [
        f"I6: {_BUCKETS[bucket]} of entity {state.numbers[slot]} is {accounts[slot, asset, bucket]}"
        for slot, asset, bucket in np.argwhere(negative)[:_EXAMPLES].tolist()
    ]
    for row, (low, high, _) in enumerate(state.table(at.SYSTEMS).tolist()):
        if row % 3 and join_words(low, high) < 0:
            found.append(f"I6: system account {row % 3 + 1} of asset {row // 3} is {join_words(low, high)}")
    return found


def check_chains(state: State) -> list[str]:
    """Every open lot stands in exactly one chain, that of its holder, asset and status, in the order of §9.6."""
    if not state.terms.has_lots:
        return []
    lots, stride = state.table(at.LOTS), state.register(at.R_STRIDE)
    accounts = state.table(at.ACCOUNTS)[: state.slots].reshape(-1, stride)
    rows, seen, found = np.argwhere(accounts[:, at.ACCOUNT_CHAIN : at.ACCOUNT_CHAIN + 6 : 2] != 0), 0, []
    assets = state.register(at.R_ASSETS)
    for row, chain in rows.tolist():
        lot, last = int(accounts[row, at.ACCOUNT_CHAIN + 2 * chain]) - 1, (-1, -1, -1)
        while lot >= 0:
            seen += 1
            key = tuple(lots[lot, [at.LOT_CREATED, at.LOT_ROOT, at.LOT_SEQ]].tolist())
            place = tuple(lots[lot, [at.LOT_SLOT, at.LOT_ASSET, at.LOT_STATUS]].tolist())
            if key <= last or place != (row // assets, row % assets, chain + 1):
                found.append(f"chain: lot {lots[lot, at.LOT_SEQ]} is out of place")
                break
            lot, last = int(lots[lot, at.LOT_NEXT]) - 1, key
    count = len(_open_lots(state))
    if seen != count and not found:
        found.append(f"chain: {count} lots are open, {seen} stand in chains")
    return found


def check_due(state: State) -> list[str]:
    """I16: nothing is due at or before the book clock."""
    lots = _open_lots(state)
    at_hand = np.where(lots[:, at.LOT_STATUS] == LotStatus.DEFERRED, lots[:, at.LOT_MATURES], lots[:, at.LOT_EXPIRES])
    timed = lots[:, at.LOT_STATUS] != LotStatus.HELD
    overdue = lots[timed & (at_hand > np.iinfo(np.int64).min) & (at_hand <= state.clock)]
    return [f"I16: lot {row[at.LOT_SEQ]} is overdue" for row in overdue[:_EXAMPLES].tolist()]


def balances(state: State) -> Int64s:
    """A copy of all balances, [slot, asset, bucket], to be compared after a batch with `check_fold`."""
    return _accounts(state)[:, :, :3].copy()


def _accounts(state: State) -> Int64s:
    shape = (state.slots, state.register(at.R_ASSETS), state.register(at.R_STRIDE))
    return state.table(at.ACCOUNTS)[: state.slots].reshape(shape)


def _open_lots(state: State) -> Int64s:
    lots = state.table(at.LOTS)[: state.register(at.R_LOTS)]
    return lots[lots[:, at.LOT_SEQ] > 0]


def _exact_sum(values: npt.NDArray[np.int64]) -> int:
    """The sum of a column in Python's integers: of high and low halves, which cannot overflow."""
    return int((values >> 32).sum()) * _WORD + int((values & (_WORD - 1)).sum())


def _pad(values: Int64s, rows: int) -> Int64s:
    return np.concatenate([values, np.zeros((rows - len(values), *values.shape[1:]), np.int64)])
