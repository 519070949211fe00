"""Reading the outbox: notifications as rows with rendered bodies, in order, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from earnbook.pipeline.outbox import NotificationType
from earnbook.pipeline.reports_query import reading

CHUNK_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRequest:
    """Which notifications: those after number `after`, of these batches and types (empty: all), at most `limit`."""

    book: Path
    after: int = 0
    batches: tuple[int, ...] = ()
    types: tuple[NotificationType, ...] = ()
    limit: int | None = None


@contextmanager
def outbox_rows(request: OutboxRequest) -> Iterator[pa.RecordBatchReader]:
    """The notifications in order, as the rows of the view `outbox`."""
    conditions = [f"n > {request.after}"]
    if request.batches:
        conditions.append(f"batch IN ({', '.join(map(str, request.batches))})")
    if request.types:
        names = ", ".join(f"'{kind.text}'" for kind in request.types)
        conditions.append(f"type IN ({names})")
    limit = "" if request.limit is None else f"LIMIT {request.limit}"
    with reading(request.book) as connection:
        query = f"SELECT * FROM outbox WHERE {' AND '.join(conditions)} ORDER BY n {limit}"
        yield connection.sql(query).to_arrow_reader(CHUNK_ROWS)
