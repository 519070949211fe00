"""Which lots an operation means: those earned in a time, those that it lists, those of a reference (§9.6).

A filter stands in a row of OPERANDS; -1 stands for an action, which has none. Lots that are listed stand in PARTS in
ascending order of their numbers.
"""

from __future__ import annotations

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ACCOUNTS,
    LOT_CREATED,
    LOT_HOLD,
    LOT_NEXT,
    LOT_PROVISIONAL,
    LOT_REFERENCE,
    LOT_REMAINING,
    LOT_SEQ,
    LOT_STATUS,
    LOTS,
    OPERAND_FROM,
    OPERAND_PART,
    OPERAND_PARTS,
    OPERAND_TO,
    OPERANDS,
    PART_LOT,
    PARTS,
    matrix,
    vector,
)
from earnbook.ledger.lots import chain_at
from earnbook.ledger.schema import TIME_MAX, Int64s, LotStatus, Outcome

_HELD = int(LotStatus.HELD)
_REFERENCE_NOT_FOUND = int(Outcome.REFERENCE_NOT_FOUND)
_LOT_NOT_FOUND = int(Outcome.LOT_NOT_FOUND)


@inlined
def has_filter(handles: Int64s, operand: int) -> bool:
    """Whether an operand leaves out any lots by their time or number."""
    if operand < 0:
        return False
    operands = matrix(handles, OPERANDS)
    is_timed = operands[operand, OPERAND_FROM] > 0 or operands[operand, OPERAND_TO] < TIME_MAX
    return bool(is_timed or operands[operand, OPERAND_PARTS] >= 0)


@inlined
def is_match(handles: Int64s, lot: int, reference: int, only_provisional: bool, operand: int) -> bool:
    """Whether a lot is among those that are meant.

    A reference (-1: any) is compared with the stamp of a HELD lot, and with the lot's own reference otherwise.
    """
    lots = matrix(handles, LOTS)
    if reference >= 0:
        own = LOT_HOLD if lots[lot, LOT_STATUS] == _HELD else LOT_REFERENCE
        if lots[lot, own] != reference:
            return False
    if only_provisional and lots[lot, LOT_PROVISIONAL] != 1:
        return False
    return operand < 0 or _is_in(handles, lot, operand)


@compiled
def _is_in(handles: Int64s, lot: int, operand: int) -> bool:
    """Whether a lot was earned in the filter's time, and stands in its list where it has one."""
    lots, operands = matrix(handles, LOTS), matrix(handles, OPERANDS)
    created = lots[lot, LOT_CREATED]
    if created < operands[operand, OPERAND_FROM] or created > operands[operand, OPERAND_TO]:
        return False
    return bool(operands[operand, OPERAND_PARTS] < 0 or _is_listed(handles, lots[lot, LOT_SEQ], operand))


@compiled
def _is_listed(handles: Int64s, seq: int, operand: int) -> bool:
    """Whether a lot stands in the list of a filter."""
    operands, parts = matrix(handles, OPERANDS), matrix(handles, PARTS)
    low = operands[operand, OPERAND_PART]
    high = low + operands[operand, OPERAND_PARTS]
    end = high
    while low < high:
        middle = (low + high) >> 1
        if parts[middle, PART_LOT] < seq:
            low = middle + 1
        else:
            high = middle
    return bool(low < end and parts[low, PART_LOT] == seq)


@compiled
def left_in(
    handles: Int64s, slot: int, asset: int, status: int, reference: int, only_provisional: bool, operand: int
) -> int:
    """What a holder's lots of a status have left that are meant: 0 exactly when there are none.

    Walks the chain; their sum is a balance and fits in an int64.
    """
    lots = matrix(handles, LOTS)
    lot = vector(handles, ACCOUNTS)[chain_at(handles, slot, asset, status)] - 1
    left = 0
    while lot >= 0:
        if is_match(handles, lot, reference, only_provisional, operand):
            left += lots[lot, LOT_REMAINING]
        lot = lots[lot, LOT_NEXT] - 1
    return left


@compiled
def choose(handles: Int64s, slot: int, asset: int, status: int, reference: int, operand: int) -> tuple[int, int]:
    """What is left of the lots that a reference (-1: any) and a filter mean together, and why that is no question.

    Returns:
        The amount, and 0, REFERENCE_NOT_FOUND (no lot of the status has the reference) or LOT_NOT_FOUND (a lot that is
        listed is not among the holder's of the status).
    """
    if reference >= 0 and left_in(handles, slot, asset, status, reference, False, -1) == 0:
        return 0, _REFERENCE_NOT_FOUND
    if operand >= 0 and not _has_listed(handles, slot, asset, status, operand):
        return 0, _LOT_NOT_FOUND
    return left_in(handles, slot, asset, status, reference, False, operand), 0


@compiled
def _has_listed(handles: Int64s, slot: int, asset: int, status: int, operand: int) -> bool:
    """Whether all lots that a filter lists are a holder's lots of a status; a lot may be listed again."""
    operands, parts, lots = matrix(handles, OPERANDS), matrix(handles, PARTS), matrix(handles, LOTS)
    first = operands[operand, OPERAND_PART]
    missing, last = 0, 0
    for part in range(first, first + operands[operand, OPERAND_PARTS]):
        missing += 1 if parts[part, PART_LOT] != last else 0
        last = parts[part, PART_LOT]
    lot = vector(handles, ACCOUNTS)[chain_at(handles, slot, asset, status)] - 1
    while lot >= 0 and missing > 0:
        missing -= 1 if _is_listed(handles, lots[lot, LOT_SEQ], operand) else 0
        lot = lots[lot, LOT_NEXT] - 1
    return bool(missing == 0)
