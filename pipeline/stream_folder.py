"""A followed folder as a stream: files that are moved into it are taken in once each, by the hash of their bytes.

Whoever writes a file writes it elsewhere (or under a name that begins with a dot) and renames it when it is complete;
what is in the folder is taken for whole. Files that are there together are taken in by name. The position of a file
is its row, so that a file that makes several batches goes on after a crash where it stood. Nothing is ever moved or
removed here; a file that was taken in may be, at any time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.source_files import has_known_format
from earnbook.pipeline.stream_source import Arrival, Backlog, Position

POLL_SECONDS = 0.1
"""How often the folder is looked at."""

FILES_MAX = 256
BYTES_MAX = 64 << 20
"""How much is handed over at once, one file at least."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the folder; its identity changes when another file takes its name."""

    path: Path
    bytes: int
    identity: tuple[str, int, int, int]


class FolderSource:
    """Files of a folder; see `stream_source.StreamSource`."""

    def __init__(self, folder: Path, *, name: str, is_any_format: bool = False) -> None:
        """Files with endings that say nothing are passed over, unless `is_any_format`."""
        self._folder = folder
        self._name = name
        self._is_any_format = is_any_format
        self._seen: set[tuple[str, int, int, int]] = set()
        self._known: dict[str, Position] = {}
        self._waiting: list[_Found] = []
        self._is_stopped = False

    @property
    def name(self) -> str:
        """Under which name the book keeps the positions."""
        return self._name

    def begin(self, stored: Sequence[Position]) -> None:
        """What the book has of each file, by its hash."""
        self._known = {position.part: position for position in stored}
        self._waiting = self._new_files()

    def take(self, *, rows_max: int, delay_seconds: float, wait_seconds: float | None) -> Arrival | None:  # noqa: ARG002
        """See `StreamSource.take`; a file is complete when it is seen, so nothing has to be waited for."""
        deadline = None if wait_seconds is None else time.monotonic() + wait_seconds
        while not self._is_stopped:
            self._waiting = self._waiting or self._new_files()
            arrival = self._take()
            if arrival is not None:
                return arrival
            left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return None
            time.sleep(left)
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the stream was stopped: files that are not taken in yet stay where they are."""
        return self._is_stopped

    @property
    def backlog(self) -> Backlog:
        """Files that wait."""
        return Backlog(files=len(self._waiting), bytes=sum(file.bytes for file in self._waiting))

    def committed(self, positions: Sequence[Position]) -> None:
        """The book alone says what was taken in."""

    def stop(self) -> None:
        """Take in nothing more."""
        self._is_stopped = True

    def close(self) -> None:
        """Nothing is held."""
        self.stop()

    def _take(self) -> Arrival | None:
        """The files at the front that are new by content."""
        arrived_at = time.monotonic()
        positions: dict[Path, Position] = {}
        total = 0
        while self._waiting and len(positions) < FILES_MAX and total < BYTES_MAX:
            found = self._waiting.pop(0)
            self._seen.add(found.identity)
            position = self._position_of(found)
            if position is not None:
                positions[found.path] = position
                total += found.bytes
        if not positions:
            return None
        return Arrival(arrived_at=arrived_at, rows=0, files=tuple(positions), positions=tuple(positions.values()))

    def _position_of(self, found: _Found) -> Position | None:
        """How far a file was taken in; None where that is to its end, or where it went away."""
        sha256 = _hash_file(found.path)
        if sha256 is None:
            return None
        known = self._known.get(sha256)
        # A copy beside the file at hand is the same content once more.
        self._known[sha256] = Position(part=sha256, position=0, row=0, is_complete=True)
        if known is None:
            return Position(part=sha256, position=0, row=0)
        return None if known.is_complete else known

    def _new_files(self) -> list[_Found]:
        """Files that were not seen yet, by name."""
        return sorted((found for found in self._files() if found.identity not in self._seen), key=lambda f: f.path)

    def _files(self) -> Iterator[_Found]:
        try:
            entries = list(os.scandir(self._folder))
        except OSError as error:
            raise SourceError(
                f"{self._folder}: the folder cannot be read: {error.strerror}", "Check that it exists."
            ) from error
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(".") or not (self._is_any_format or has_known_format(path)):
                continue
            try:
                found = entry.stat()
            except FileNotFoundError:
                continue
            if entry.is_file():
                identity = (entry.name, found.st_ino, found.st_size, found.st_mtime_ns)
                yield _Found(path=path, bytes=found.st_size, identity=identity)


def _hash_file(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except FileNotFoundError:
        return None
    return digest.hexdigest()
