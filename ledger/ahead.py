"""Looking ahead: the memory of records to come is asked for early, so that the decision does not wait for it.

Participants come in random order, so every array of a slot is a cache miss of about 100 ns; a dozen of them one after
the other cost more than the decision itself. Asked for some records ahead they overlap. Nothing here changes anything:
a prefetch of any address is harmless, and a wrong guess (a person who gets a slot meanwhile) only costs time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from earnbook.ledger.compiled import compiled, inlined
from earnbook.ledger.layout import (
    ACCOUNT_CHAIN,
    ACCOUNT_STRIDE_LOT,
    ACCOUNTS,
    ATTRIBUTE_KIND,
    ATTRIBUTE_VALUE,
    BYTE_TABLES,
    COUNTER_HIGH,
    COUNTER_LOW,
    COUNTER_RESET_AFTER,
    COUNTER_RESET_AT,
    COUNTER_SCALE,
    DUE,
    DUE_ITEM,
    DUE_KEY,
    DUE_RANK_SHIFT,
    ENROLLMENTS,
    HOLDER_NUMBERS,
    LOT_ASSET,
    LOT_NEXT,
    LOT_SLOT,
    LOTS,
    PERSON_SLOTS,
    R_ASSETS,
    R_DUE,
    R_PROGRAMS,
    R_STRIDE,
    RANK_EXPIRATION,
    REGISTERS,
    STATUS,
    TAGS,
    WORK,
    WORK_PERSON,
    matrix,
    vector,
)
from earnbook.ledger.schema import Int64s

FAR, NEAR, NEXT = 24, 12, 6
_LINE = 64
_DUE_AHEAD = 7  # the first three levels of the heap: what is due next is among them


def _built(function: Callable[[Any, Any], Any]) -> Callable[[int], None]:
    return cast(Callable[[int], None], intrinsic(function))


@_built
def _prefetch(_typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to be written."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = cgutils.int32_t
        kind = cgutils.ir.FunctionType(cgutils.ir.VoidType(), [cgutils.voidptr_t, word, word, word])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(prefetch, [pointer, word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(address), build


@inlined
def _ask(handles: Int64s, table: int, row: int) -> None:
    """Ask for the beginning of a row."""
    size = 1 if table >= BYTE_TABLES else 8
    _prefetch(handles[3 * table] + row * handles[3 * table + 2] * size)


@compiled
def look_ahead(handles: Int64s, record: int, records: int) -> None:
    """Ask for what records some way ahead will read: first their slots, then the rows, then the chains' last lots."""
    people = matrix(handles, WORK)
    slots = vector(handles, PERSON_SLOTS)
    if record + FAR < records and people[WORK_PERSON, record + FAR] >= 0:
        _ask(handles, PERSON_SLOTS, people[WORK_PERSON, record + FAR])
    if record + NEAR < records and people[WORK_PERSON, record + NEAR] >= 0:
        slot = slots[people[WORK_PERSON, record + NEAR]]
        if slot >= 0:
            _ask_slot(handles, slot)
    if record + NEXT < records and people[WORK_PERSON, record + NEXT] >= 0:
        slot = slots[people[WORK_PERSON, record + NEXT]]
        if slot >= 0:
            _ask_chains(handles, slot)


@inlined
def _ask_slot(handles: Int64s, slot: int) -> None:
    size = handles[3 * ACCOUNTS + 2] * 8
    for offset in range(0, size, _LINE):
        _prefetch(handles[3 * ACCOUNTS] + slot * size + offset)
    for table in (HOLDER_NUMBERS, ENROLLMENTS, STATUS, COUNTER_LOW, COUNTER_HIGH, COUNTER_SCALE):
        _ask(handles, table, slot)
    for table in (COUNTER_RESET_AT, COUNTER_RESET_AFTER, TAGS, ATTRIBUTE_KIND, ATTRIBUTE_VALUE):
        _ask(handles, table, slot)


@inlined
def _ask_chains(handles: Int64s, slot: int) -> None:
    registers, accounts = vector(handles, REGISTERS), vector(handles, ACCOUNTS)
    if registers[R_STRIDE] < ACCOUNT_STRIDE_LOT:
        return
    for asset in range(registers[R_ASSETS]):
        chain = (slot * registers[R_ASSETS] + asset) * ACCOUNT_STRIDE_LOT + ACCOUNT_CHAIN + 2
        for end in range(2):
            lot = accounts[chain + end]
            if lot > 0:
                _ask(handles, LOTS, lot - 1)
                _prefetch(handles[3 * LOTS] + (lot - 1) * handles[3 * LOTS + 2] * 8 + _LINE)


@inlined
def ask_due(handles: Int64s) -> None:
    """Ask for what is due next: its lots, and where they are known, their accounts and neighbours."""
    registers, heap, lots = vector(handles, REGISTERS), matrix(handles, DUE), matrix(handles, LOTS)
    count = min(registers[R_DUE], _DUE_AHEAD)
    for place in range(count):
        if heap[place, DUE_KEY] >> DUE_RANK_SHIFT > RANK_EXPIRATION:
            continue
        lot = heap[place, DUE_ITEM]
        if heap[place, DUE_KEY] >> DUE_RANK_SHIFT > RANK_EXPIRATION:
            continue  # its item is no lot
        if place > 2:
            _ask(handles, LOTS, lot)
            _prefetch(handles[3 * LOTS] + lot * handles[3 * LOTS + 2] * 8 + _LINE)
        elif lots[lot, LOT_SLOT] >= registers[R_PROGRAMS]:
            row = lots[lot, LOT_SLOT] * registers[R_ASSETS] + lots[lot, LOT_ASSET]
            size = registers[R_STRIDE] * 8
            _prefetch(handles[3 * ACCOUNTS] + row * size)
            _prefetch(handles[3 * ACCOUNTS] + row * size + size - 8)
            _ask(handles, HOLDER_NUMBERS, lots[lot, LOT_SLOT])
            if lots[lot, LOT_NEXT] > 0:
                _prefetch(handles[3 * LOTS] + (lots[lot, LOT_NEXT] - 1) * handles[3 * LOTS + 2] * 8 + _LINE)
