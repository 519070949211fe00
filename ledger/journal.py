"""Writing down what happens: entries as movements, balances, lot moves and changes (§9.2, §18).

A movement is one row that names the account that gives and the account that receives, so no entry can be unbalanced.
The caller has checked that balances fit; system accounts have 128 bits and always do.
"""

from __future__ import annotations

import numpy as np

from earnbook.ledger.amounts import add_small
from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ACCOUNT_LAST,
    ACCOUNT_OVERDRAFT,
    ACCOUNTS,
    ASSET_COLUMNS,
    ASSET_MODE,
    ASSET_NUMBER,
    ASSET_POLICY,
    ASSETS,
    CHANGES,
    DUE_CHANGES,
    ENTRY_REFERENCES,
    HOLDER_NUMBERS,
    LOT_MOVES,
    MOVEMENTS,
    PROGRAM_COLUMNS,
    PROGRAM_NUMBER,
    PROGRAMS,
    R_ASSETS,
    R_BATCH_ENTRY,
    R_CHANGE_SEQ,
    R_CHANGES,
    R_CLOCK,
    R_DUE_CHANGES,
    R_ENTRY_REFERENCES,
    R_ENTRY_SEQ,
    R_LOG_SEQ,
    R_LOT_MOVES,
    R_MOVEMENTS,
    R_PROGRAMS,
    R_STRIDE,
    R_TOUCHED,
    REGISTERS,
    SYSTEM_COLUMNS,
    SYSTEM_HIGH,
    SYSTEM_LAST,
    SYSTEM_LOW,
    SYSTEMS,
    TOUCHED,
    claim_column,
    matrix,
    put,
    vector,
)
from earnbook.ledger.schema import ACCOUNT_ISSUANCE, Bucket, Int64s, InventoryMode, IssuancePolicy

_AVAILABLE = int(Bucket.AVAILABLE)
_LOT = int(InventoryMode.LOT)
_UNLIMITED = int(IssuancePolicy.UNLIMITED)
_MAX = np.iinfo(np.int64).max


@inlined
def account_at(handles: Int64s, slot: int, asset: int) -> int:
    """Where the row of (slot, asset) begins in ACCOUNTS."""
    registers = vector(handles, REGISTERS)
    return (slot * registers[R_ASSETS] + asset) * registers[R_STRIDE]  # type: ignore[no-any-return]


@inlined
def balance_of(handles: Int64s, slot: int, asset: int, bucket: int) -> int:
    """The balance of a bucket, in minor units."""
    return vector(handles, ACCOUNTS)[account_at(handles, slot, asset) + bucket - 1]  # type: ignore[no-any-return]


@inlined
def can_hold(handles: Int64s, slot: int, asset: int, bucket: int, amount: int, more: int) -> bool:
    """Whether a bucket can take in an amount, and the holder all buckets together `more` than now (§5.3).

    What is held or deferred reaches AVAILABLE later, by release or maturity, and must fit there then.
    """
    accounts = vector(handles, ACCOUNTS)
    at = account_at(handles, slot, asset)
    # Only AVAILABLE can be negative, so no partial sum is larger than the whole.
    total = accounts[at] + accounts[at + 1] + accounts[at + 2]
    return bool(accounts[at + bucket - 1] <= _MAX - amount and (more <= 0 or total <= _MAX - more))


@inlined
def overdraft_of(handles: Int64s, slot: int, asset: int) -> int:
    """The overdraft of a holder's AVAILABLE account (§9.7), in minor units."""
    return vector(handles, ACCOUNTS)[account_at(handles, slot, asset) + ACCOUNT_OVERDRAFT]  # type: ignore[no-any-return]


@inlined
def set_overdraft(handles: Int64s, slot: int, asset: int, overdraft: int) -> None:
    """Set the overdraft of a holder's AVAILABLE account."""
    put(handles, ACCOUNTS, account_at(handles, slot, asset) + ACCOUNT_OVERDRAFT, overdraft)


@inlined
def account_code(handles: Int64s, slot: int, bucket: int) -> int:
    """The account code of a holder's bucket or, for the slot of a program, of its wallet."""
    number = vector(handles, HOLDER_NUMBERS)[slot]
    return int(number) if slot < vector(handles, REGISTERS)[R_PROGRAMS] else int(number * 4 + bucket)


@inlined
def source_of(handles: Int64s, program: int, asset: int) -> int:
    """The account that pays credits of the asset in the program (src of §9.3): issuance or the program's wallet."""
    if vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_POLICY] == _UNLIMITED:
        return ACCOUNT_ISSUANCE
    return -vector(handles, PROGRAMS)[program * PROGRAM_COLUMNS + PROGRAM_NUMBER]  # type: ignore[no-any-return]


@inlined
def has_lots(handles: Int64s, asset: int) -> bool:
    """Whether an asset keeps lots."""
    return bool(vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_MODE] == _LOT)


@inlined
def next_entry(handles: Int64s) -> int:
    """The number of a new entry."""
    registers = vector(handles, REGISTERS)
    registers[R_ENTRY_SEQ] += 1
    return registers[R_ENTRY_SEQ]  # type: ignore[no-any-return]


@inlined
def move_balance(handles: Int64s, slot: int, asset: int, bucket: int, delta: int, entry: int) -> None:
    """Add to a holder's or wallet's balance; the sum fits in an int64."""
    registers = vector(handles, REGISTERS)
    accounts = vector(handles, ACCOUNTS)
    at = account_at(handles, slot, asset) + bucket - 1
    if accounts[at + ACCOUNT_LAST] <= registers[R_BATCH_ENTRY]:
        row = claim_column(handles, TOUCHED, R_TOUCHED)
        vector(handles, TOUCHED)[row] = at
    put(handles, ACCOUNTS, at, accounts[at] + delta)
    put(handles, ACCOUNTS, at + ACCOUNT_LAST, entry)


@inlined
def _move_system(handles: Int64s, asset: int, account: int, delta: int, entry: int) -> None:
    systems = vector(handles, SYSTEMS)
    at = (asset * 3 + account - 1) * SYSTEM_COLUMNS
    low, high = add_small(systems[at + SYSTEM_LOW], systems[at + SYSTEM_HIGH], delta)
    put(handles, SYSTEMS, at + SYSTEM_LOW, low)
    put(handles, SYSTEMS, at + SYSTEM_HIGH, high)
    put(handles, SYSTEMS, at + SYSTEM_LAST, entry)


@inlined
def move_account(handles: Int64s, account: int, asset: int, delta: int, entry: int) -> None:
    """Add to the balance of a system account or a wallet, by account code; a wallet's sum fits in an int64."""
    if account > 0:
        _move_system(handles, asset, account, delta, entry)
    else:
        move_balance(handles, -account - 1, asset, _AVAILABLE, delta, entry)


@inlined
def has_room(handles: Int64s, account: int, asset: int, amount: int) -> bool:
    """Whether a system account or a wallet can take in the amount (§5.3)."""
    return account > 0 or balance_of(handles, -account - 1, asset, _AVAILABLE) <= _MAX - amount


@compiled
def write_movement(
    handles: Int64s,
    entry: int,
    cause: int,
    kind: int,
    action: int,
    debit: int,
    credit: int,
    asset: int,
    amount: int,
    lot: int,
) -> None:
    """Append one movement: `amount` minor units from account `debit` to account `credit`.

    `cause` is the log_seq (0: due work), `action` the number of the rule action (0: none), `lot` a lot_seq (0: none).
    """
    row = claim_column(handles, MOVEMENTS, R_MOVEMENTS)
    movements = matrix(handles, MOVEMENTS)
    movements[0, row] = entry
    movements[1, row] = cause
    movements[2, row] = kind
    movements[3, row] = action
    movements[4, row] = debit
    movements[5, row] = credit
    movements[6, row] = vector(handles, ASSETS)[asset * ASSET_COLUMNS + ASSET_NUMBER]
    movements[7, row] = amount
    movements[8, row] = lot


@compiled
def write_lot_move(
    handles: Int64s,
    entry: int,
    index: int,
    lot: int,
    kind: int,
    status_before: int,
    before: int,
    status_after: int,
    after: int,
    hold: int,
    repaid: int,
) -> None:
    """Append a lot move (§18.3): `index` is its place in the entry, `hold` the text code of the stamp after it.

    An entry has all of its moves written down, or none: then they follow from its movements.
    """
    row = claim_column(handles, LOT_MOVES, R_LOT_MOVES)
    moves = matrix(handles, LOT_MOVES)
    moves[0, row] = entry
    moves[1, row] = index
    moves[2, row] = lot
    moves[3, row] = kind
    moves[4, row] = status_before
    moves[5, row] = before
    moves[6, row] = status_after
    moves[7, row] = after
    moves[8, row] = hold
    moves[9, row] = repaid


@compiled
def write_reference(handles: Int64s, entry: int, reference: int) -> None:
    """Note the reference of an entry (§18.1), where there is one and no new lot carries it; a text code or -1."""
    if reference >= 0:
        row = claim_column(handles, ENTRY_REFERENCES, R_ENTRY_REFERENCES)
        references = matrix(handles, ENTRY_REFERENCES)
        references[0, row] = entry
        references[1, row] = reference


@compiled
def write_change(
    handles: Int64s, action: int, slot: int, state: int, key: int, operation: int, kind: int, value: int
) -> int:
    """Append a change row with a value of one word and return where, for callers that have more to say.

    `key` is a number in `names` (of a program for enrollments), `kind` the Kind of the new value.
    """
    registers = vector(handles, REGISTERS)
    row = claim_column(handles, CHANGES, R_CHANGES)
    registers[R_CHANGE_SEQ] += 1
    changes = matrix(handles, CHANGES)
    changes[0, row] = registers[R_CHANGE_SEQ]
    changes[1, row] = registers[R_LOG_SEQ]
    changes[2, row] = action
    changes[3, row] = vector(handles, HOLDER_NUMBERS)[slot]
    changes[4, row] = state
    changes[5, row] = key
    changes[6, row] = operation
    changes[7, row] = kind
    changes[8, row] = value
    changes[9, row] = value >> 63
    changes[10, row] = 0
    changes[11, row] = np.iinfo(np.int64).min
    changes[12, row] = np.iinfo(np.int64).min
    return row


@compiled
def write_due_change(
    handles: Int64s, source: int, number: int, slot: int, state: int, key: int, operation: int, kind: int, value: int
) -> int:
    """Append a change made by due work at the book clock; like `write_change`.

    `source` (DueSource) and `number` name the object that it follows from.
    """
    registers = vector(handles, REGISTERS)
    row = write_change(handles, 0, slot, state, key, operation, kind, value)
    matrix(handles, CHANGES)[1, row] = 0
    due = claim_column(handles, DUE_CHANGES, R_DUE_CHANGES)
    causes = matrix(handles, DUE_CHANGES)
    causes[0, due] = registers[R_CHANGE_SEQ]
    causes[1, due] = registers[R_CLOCK]
    causes[2, due] = source
    causes[3, due] = number
    return row
