"""Which lots the ids in `lot_ids` mean (§9.6): among the open lots of the holder that an operation is about.

Ids of lots are UUIDv5 of their creating entry (§2.3), so they are computed, not stored: of the book's lots by its own
macros before deciding, of the batch's own when an operation asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID, uuid5

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.ledger import layout as at
from earnbook.ledger.schema import Int64s, LotStatus, OperationType
from earnbook.ledger.state import State
from earnbook.ledger.state_load import open_lots_of
from earnbook.pipeline.generated import GeneratedEvents
from earnbook.pipeline.load_redemptions import load_lot_ids
from earnbook.pipeline.records import operation_id

_NEW_ENTRY = 1
_MOVED_ENTRY, _MOVED_LOG_SEQ, _MOVED_ACTION = 0, 1, 3


class LotNames:
    """The ids of the lots that one run's operations may list."""

    def __init__(
        self,
        state: State,
        organization_id: str,
        program_ids: Sequence[str],
        actions: Mapping[int, tuple[str, int]],
        generated: GeneratedEvents,
    ) -> None:
        """`actions` are rule id and action index by the book's number of the action."""
        self._state, self._organization_id, self._program_ids = state, organization_id, program_ids
        self._actions, self._generated = actions, generated
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def load(self, connection: duckdb.DuckDBPyConnection, slots: Int64s, lots: Iterable[int]) -> None:
        """Find the ids of the open lots of these holders, and of further lots, all of them of the book."""
        own = open_lots_of(self._state, slots)[:, at.LOT_SEQ]
        wanted = [lot_seq for lot_seq in {*own.tolist(), *lots} if lot_seq not in self._ids]
        if wanted:
            self._know(load_lot_ids(connection, pa.array(wanted, pa.int64())))

    def _know(self, numbers: Mapping[str, int]) -> None:
        self._numbers |= numbers
        self._ids |= {number: text for text, number in numbers.items()}

    def begin(self, records: pa.Table) -> None:
        """Deciding begins."""
        self._records = records

    def find(self, ids: Sequence[str], slot: int, asset: int, status: LotStatus) -> list[int]:
        """The lots that ids mean among a holder's lots of a status; -1 for an id that none of them has."""
        for lot_seq in self._open_lots(slot, asset, status):
            if lot_seq not in self._ids:
                self._know({self._id_of(lot_seq): lot_seq})
        return [self._numbers.get(str(UUID(text)), -1) for text in ids]

    def _open_lots(self, slot: int, asset: int, status: LotStatus) -> list[int]:
        """A chain of lots, oldest first."""
        state = self._state
        stride, assets = state.register(at.R_STRIDE), state.register(at.R_ASSETS)
        if slot < 0 or asset < 0 or stride < at.ACCOUNT_STRIDE_LOT:
            return []
        chain = (slot * assets + asset) * stride + at.ACCOUNT_CHAIN + 2 * (int(status) - 1)
        lots = state.table(at.LOTS)
        lot, found = int(state.table(at.ACCOUNTS).reshape(-1)[chain]) - 1, []
        while lot >= 0:
            found.append(int(lots[lot, at.LOT_SEQ]))
            lot = int(lots[lot, at.LOT_NEXT]) - 1
        return found

    def _id_of(self, lot_seq: int) -> str:
        """The id of a lot that the batch created."""
        state = self._state
        new = state.table(at.NEW_LOTS)[:, : state.register(at.R_NEW_LOTS)]
        entry = int(new[_NEW_ENTRY, lot_seq - int(new[0, 0])])
        place = lot_seq - int(new[0, np.searchsorted(new[_NEW_ENTRY], entry)])
        moved = state.table(at.MOVEMENTS)[:, : state.register(at.R_MOVEMENTS)]
        row = int(np.searchsorted(moved[_MOVED_ENTRY], entry))
        log_seq, action = int(moved[_MOVED_LOG_SEQ, row]), int(moved[_MOVED_ACTION, row])
        if action:
            rule_id, index = self._actions[action]
            record, name = self._generated.event_id(state, log_seq), f"entry:{rule_id}:{index}:0"
        else:
            record, name = self._operation_id(log_seq), "entry:0"
        return str(uuid5(uuid5(UUID(record), name), f"lot:{place}"))

    def _operation_id(self, log_seq: int) -> str:
        """The id of an operation of the batch."""
        numbers = self._state.table(at.OUTCOMES)[at.OUTCOME_LOG_SEQ, : self._state.cursor]
        row = int(np.searchsorted(numbers, log_seq))
        program, kind, key = (
            self._records.column(name)[row].as_py() for name in ("program", "operation", "idempotency_key")
        )
        namespace = self._organization_id if program is None or program < 0 else self._program_ids[program]
        return operation_id(namespace, OperationType(kind), key)
