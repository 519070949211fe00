"""Standard input and named pipes as streams of NDJSON lines.

A thread reads bytes as they come and notes when; the loop takes whole lines. The position is the number of bytes handed
over, the row the number of lines, both counted from the beginning of the stream, over all runs that read it. A pipe
cannot be read again, so what happens after a crash is the feeder's choice (docs/streams.md): it goes on from the
position that the book says, or resends what it is not sure of, which is dropped by key, or resends the stream from its
beginning (`replay`), of which the part that the book has is passed over unread.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.source_ndjson import LINE_BYTES_MAX
from earnbook.pipeline.stage import Lines
from earnbook.pipeline.stream_source import Arrival, Backlog, Position

READ_BYTES = 1 << 20
"""Bytes read at once, at most."""

BACKLOG_BYTES_MAX = 64 << 20
"""Bytes that wait here, at most; beyond that the feeder waits."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Bytes that end at a line break, their lines, and when the last of them came."""

    data: bytes
    lines: int
    arrived_at: float


class LineSource:
    """NDJSON lines from a file descriptor; see `stream_source.StreamSource`."""

    def __init__(self, descriptor: int, *, name: str, label: str, replay: bool = False) -> None:
        """`label` names the stream in the book's sources; with `replay` the bytes begin at position 0."""
        self._descriptor = descriptor
        self._name = name
        self._label = label
        self._is_replay = replay
        self._chunks: deque[_Chunk] = deque()
        self._lines = 0
        self._bytes = 0
        self._is_over = False
        self._failure: Exception | None = None
        self._is_stopped = False
        self._changed = threading.Condition()
        self._position = 0
        self._row = 0
        self._thread = threading.Thread(target=self._read, name="stream-read", daemon=True)

    @property
    def name(self) -> str:
        """Under which name the book keeps the position."""
        return self._name

    def begin(self, stored: Sequence[Position]) -> None:
        """Start reading; a replay is read up to the stored position first, and must be what was read before."""
        last = next(iter(stored), None)
        if last is not None:
            self._position, self._row = last.position, last.row
            if self._is_replay:
                self._pass_over(last)
        self._thread.start()

    def take(self, *, rows_max: int, delay_seconds: float, wait_seconds: float | None) -> Arrival | None:
        """See `StreamSource.take`."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._is_over or self._is_stopped, wait_seconds)
            if not self._chunks:
                self._raise_failure()
                return None
            deadline = self._chunks[0].arrived_at + delay_seconds
            while self._lines < rows_max and not self._is_over and not self._is_stopped:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._take(rows_max)

    @property
    def has_ended(self) -> bool:
        """Whether the stream is at its end, or stopped, and every line was handed over."""
        with self._changed:
            is_over = self._is_over and self._failure is None
            return (is_over or self._is_stopped) and not self._chunks

    @property
    def backlog(self) -> Backlog:
        """Lines and bytes that wait."""
        with self._changed:
            return Backlog(rows=self._lines, bytes=self._bytes)

    def committed(self, positions: Sequence[Position]) -> None:
        """A pipe keeps no position."""

    def stop(self) -> None:
        """Take in nothing more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """The thread may wait for bytes for ever; it holds nothing that needs to be given back."""
        self.stop()

    # --- reading, in its own thread ---------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            self._read_lines()
        except Exception as error:
            # Raised again where lines are taken: an error of a thread of its own would pass unseen.
            self._failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _read_lines(self) -> None:
        rest: list[bytes] = []
        rest_bytes = 0
        while data := os.read(self._descriptor, READ_BYTES):
            arrived_at = time.monotonic()
            cut = data.rfind(b"\n") + 1
            if cut:
                self._add(b"".join([*rest, data[:cut]]), arrived_at)
                rest, rest_bytes = [], 0
            rest.append(data[cut:])
            rest_bytes += len(data) - cut
            if rest_bytes > LINE_BYTES_MAX:
                raise SourceError(
                    f"{self._label}: {LINE_BYTES_MAX:,} bytes without a line break",
                    "A stream has one JSON record per line: correct what feeds it.",
                )
            if self._is_stopped:
                return
        if rest_bytes:
            self._add(b"".join(rest), time.monotonic())

    def _add(self, data: bytes, arrived_at: float) -> None:
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < BACKLOG_BYTES_MAX or self._is_stopped)
            self._chunks.append(_Chunk(data, lines, arrived_at))
            self._lines += lines
            self._bytes += len(data)
            self._changed.notify_all()

    # --- handing over -----------------------------------------------------------------------------------------------

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _take(self, rows_max: int) -> Arrival:
        """At most `rows_max` lines from the front."""
        arrived_at = self._chunks[0].arrived_at
        parts: list[bytes] = []
        rows = 0
        while self._chunks and rows < rows_max:
            chunk = self._chunks.popleft()
            if rows + chunk.lines > rows_max:
                cut = _end_of_line(chunk.data, rows_max - rows)
                left = chunk.lines - (rows_max - rows)
                self._chunks.appendleft(_Chunk(chunk.data[cut:], left, chunk.arrived_at))
                chunk = _Chunk(chunk.data[:cut], rows_max - rows, chunk.arrived_at)
            parts.append(chunk.data)
            rows += chunk.lines
        data = b"".join(parts)
        self._lines -= rows
        self._bytes -= len(data)
        self._changed.notify_all()
        first_row, first_position = self._row + 1, self._position
        self._row += rows
        self._position += len(data)
        position = Position(
            part="",
            label=self._label,
            first_position=first_position,
            position=self._position,
            row=self._row,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        return Arrival(
            arrived_at=arrived_at,
            rows=rows,
            lines=(Lines(name=self._label, data=data, first_row=first_row),),
            positions=(position,),
        )

    def _pass_over(self, last: Position) -> None:
        """Read what the book has; the last piece of it must be the same bytes."""
        self._skip(last.first_position)
        digest = hashlib.sha256()
        for data in self._exactly(last.position - last.first_position):
            digest.update(data)
        if digest.hexdigest() != last.sha256:
            raise SourceError(
                f"{self._label}: bytes {last.first_position:,} to {last.position:,} are not those that the book has of "
                f"the stream {self._name!r}",
                "Send the stream from its beginning as it was, or send only what is new, without --replay.",
            )

    def _skip(self, count: int) -> None:
        for _ in self._exactly(count):
            pass

    def _exactly(self, count: int) -> Iterator[bytes]:
        while count:
            data = os.read(self._descriptor, min(count, READ_BYTES))
            if not data:
                raise SourceError(
                    f"{self._label}: the stream ends {count:,} bytes before the position that the book has of it",
                    "Send the stream from its beginning, or send only what is new, without --replay.",
                )
            count -= len(data)
            yield data


def _end_of_line(data: bytes, lines: int) -> int:
    """Where the first so many lines end."""
    breaks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    return int(breaks[lines - 1]) + 1
