"""What a stream is to the loop that processes it: records that arrive, positions, and an end that may never come.

A `StreamSource` hands over what has arrived as an `Arrival`, whole records only, with the position behind them.
Positions are the book's: they are committed with the batch (§4.1), handed back to `begin` when the stream is taken up
again, and told to `committed` once they are safe, for sources that keep a copy elsewhere. A source decides nothing and
reads no book.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from earnbook.pipeline.stage import Lines
from earnbook.pipeline.store_tables import BOOK_TABLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far one part of a stream has been taken in: everything before `position`.

    A part is what is ordered in itself: standard input as a whole (""), one file, one partition of a topic. What
    `position` counts is the source's choice (bytes, rows, offsets). `first_position` is where the last piece began and
    `sha256` the hash of its bytes, by which the piece is known again. `row` is the number of the last row taken in.
    """

    part: str
    position: int
    row: int
    first_position: int = 0
    sha256: str = ""
    label: str = ""
    is_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Records that arrived: lines, or whole files, never both.

    `positions` say where the parts of lines stand after them, and how far each file was taken in before (one position
    each, in their order; its part is the file's hash): files are cut into batches only when they are read. `arrived_at`
    is when the first of them came (of `time.monotonic`), `rows` how many rows they are, 0 where that is not known.
    """

    arrived_at: float
    rows: int
    lines: tuple[Lines, ...] = ()
    files: tuple[Path, ...] = ()
    positions: tuple[Position, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What has arrived at a source and is not handed over yet; None where the source cannot say."""

    rows: int | None = None
    bytes: int | None = None
    files: int | None = None


class StreamSource(Protocol):
    """A source without an end. One thread calls it; `stop` alone may be called by any, also by a signal handler."""

    @property
    def name(self) -> str:
        """Under which name the book keeps its positions."""
        ...

    def begin(self, stored: Sequence[Position]) -> None:
        """Start reading where the book stands; once, before anything else. Raises SourceError where it cannot."""
        ...

    def take(self, *, rows_max: int, delay_seconds: float, wait_seconds: float | None) -> Arrival | None:
        """What has arrived, once it is `rows_max` rows or its first row is `delay_seconds` old.

        None when nothing has arrived within `wait_seconds` (None: ever), when `stop` was called and nothing is left,
        and at the end.
        """
        ...

    @property
    def has_ended(self) -> bool:
        """Whether nothing will ever come again: the end of the stream, or a stop, and everything was handed over."""
        ...

    @property
    def backlog(self) -> Backlog:
        """What waits."""
        ...

    def committed(self, positions: Sequence[Position]) -> None:
        """These positions are in the book."""
        ...

    def stop(self) -> None:
        """Take in nothing more; what has arrived is still handed over."""
        ...

    def close(self) -> None:
        """Give everything back; no call follows."""
        ...


def position_rows(stream: str, positions: Iterable[Position], batch: int) -> pa.Table:
    """Positions as rows of `stream_positions`."""
    schema = BOOK_TABLES["stream_positions"]
    rows = [
        {
            "stream": stream,
            "part": position.part,
            "label": position.label,
            "batch": batch,
            "first_position": position.first_position,
            "position": position.position,
            "row": position.row,
            "sha256": position.sha256,
            "complete": int(position.is_complete),
        }
        for position in positions
    ]
    return pa.Table.from_pylist(rows, schema)


def positions_of(rows: pa.Table) -> tuple[Position, ...]:
    """The rows of `stream_positions` of one stream as positions."""
    return tuple(
        Position(
            part=row["part"],
            label=row["label"],
            first_position=row["first_position"],
            position=row["position"],
            row=row["row"],
            sha256=row["sha256"],
            is_complete=bool(row["complete"]),
        )
        for row in rows.to_pylist()
    )
