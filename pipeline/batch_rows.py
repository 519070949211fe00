"""The rows that the kernel reads of one batch: its records, the templates of generated events, events to retry.

Rules see all of them as rows of the same columns, and an event that is not a record of the batch by its row behind
them (§17.5, §10.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from earnbook.ledger.schema import Int64s
from earnbook.ledger.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEvents:
    """Events of earlier batches that the batch may retry: their rows, and what the book says of them.

    `outcome` is that of the last attempt, `attempts` counts those after the first; `descent` is `layout.R_DESCENT` of a
    generated event, -1 for an external one.
    """

    rows: pa.Table
    log_seq: Int64s
    outcome: Int64s
    attempts: Int64s
    descent: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRows:
    """`rows` are the records (so many), then the templates, then the known events; all of `records.records_schema`.

    `retried` is `layout.WORK_EVENT` of each record: 0 but for operations that retry an event; None without any.
    """

    rows: pa.Table
    count: int
    templates: int
    known: KnownEvents | None
    retried: Int64s | None

    @property
    def records(self) -> pa.Table:
        """The records alone, in log order."""
        return self.rows if self.rows.num_rows == self.count else self.rows.slice(0, self.count)

    @property
    def beyond(self) -> int:
        """How many rows are no records."""
        return int(self.rows.num_rows) - self.count

    def tell(self, state: State) -> None:
        """Tell the state what is known of the events to retry; the batch has begun."""
        if self.known is None:
            return
        first = self.count + self.templates
        for place in range(len(self.known.log_seq)):
            state.know_event(
                first + place,
                log_seq=int(self.known.log_seq[place]),
                outcome=int(self.known.outcome[place]),
                attempts=int(self.known.attempts[place]),
                descent=int(self.known.descent[place]),
            )


def batch_rows(
    records: pa.Table, templates: pa.Table, *, known: KnownEvents | None = None, retried: Int64s | None = None
) -> BatchRows:
    """The rows of a batch; a batch that retries nothing gives neither `known` nor `retried`."""
    parts: Sequence[pa.Table] = [table for table in (records, templates, known and known.rows) if table is not None]
    parts = [table for table in parts if table.num_rows] or [records]
    return BatchRows(
        rows=pa.concat_tables(parts) if len(parts) > 1 else parts[0],
        count=records.num_rows,
        templates=templates.num_rows,
        known=known,
        retried=retried,
    )
