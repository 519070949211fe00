"""Lots that are HELD: their stamps, what is held under them, and parts split off a lot (§9.5, §9.6, §9.8).

A holder's HELD lots are found by walking their chain: an action with a reference takes as many steps as the holder has
HELD lots of the asset. That is meant for the tens or hundreds that a person has open, not for an account that collects
the holds of many.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.filters import left_in
from earnbook.ledger.layout import (
    LOT_ASSET,
    LOT_CREATED,
    LOT_EXPIRES,
    LOT_HOLD,
    LOT_MATURES,
    LOT_PROGRAM,
    LOT_PROVISIONAL,
    LOT_REFERENCE,
    LOT_REMAINING,
    LOT_ROOT,
    LOT_SLOT,
    LOT_SOURCE,
    LOTS,
    matrix,
)
from earnbook.ledger.lots import next_lot, open_lot, set_lot, write_new_lot
from earnbook.ledger.schema import Int64s, LotStatus

_HELD = int(LotStatus.HELD)


@inlined
def stamp(handles: Int64s, lot: int, hold: int, is_provisional: int) -> None:
    """Mark a lot that has just become HELD: the text code of its stamp (-1: none), 1 if it was credited there."""
    set_lot(handles, lot, LOT_HOLD, hold)
    set_lot(handles, lot, LOT_PROVISIONAL, is_provisional)


@inlined
def held_of(handles: Int64s, slot: int, asset: int, reference: int, only_provisional: bool) -> int:
    """What the HELD lots of a holder that match have left: 0 exactly when there are none."""
    return left_in(handles, slot, asset, _HELD, reference, only_provisional, -1)


@compiled
def split_off(handles: Int64s, lot: int, entry: int, amount: int) -> int:
    """Take a part off a lot as a new lot with its root, dates, reference and source (§9.6).

    The new lot is written down but not open; returns its number.
    """
    lots = matrix(handles, LOTS)
    set_lot(handles, lot, LOT_REMAINING, lots[lot, LOT_REMAINING] - amount)
    seq = next_lot(handles)
    write_new_lot(
        handles,
        seq,
        entry,
        lots[lot, LOT_SLOT],
        lots[lot, LOT_ASSET],
        lots[lot, LOT_ROOT],
        lots[lot, LOT_PROGRAM],
        lots[lot, LOT_SOURCE],
        amount,
        lots[lot, LOT_CREATED],
        lots[lot, LOT_EXPIRES],
        lots[lot, LOT_MATURES],
        lots[lot, LOT_REFERENCE],
    )
    return seq


@compiled
def open_part(handles: Int64s, lot: int, seq: int, status: int, remaining: int, hint: int) -> int:
    """Open what was split off a lot; returns its row. `hint` as in `open_lot`."""
    lots = matrix(handles, LOTS)
    return open_lot(
        handles,
        seq,
        lots[lot, LOT_SLOT],
        lots[lot, LOT_ASSET],
        status,
        remaining,
        lots[lot, LOT_ROOT],
        lots[lot, LOT_PROGRAM],
        lots[lot, LOT_SOURCE],
        lots[lot, LOT_CREATED],
        lots[lot, LOT_EXPIRES],
        lots[lot, LOT_MATURES],
        lots[lot, LOT_REFERENCE],
        hint,
    )
