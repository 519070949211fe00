"""One writer per book: a lock file beside the book that names who holds it.

DuckDB refuses a second process by itself, but only while the first has the file open; a run holds the book open only
while it reads state and commits. The lock file covers the time between. It is an advisory `flock`, so a process that
dies releases it, whatever it left in the file. The file itself is never removed: removing it would let two writers lock
two different files of the same name.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from earnbook.pipeline.errors import BookError, BookLocked

POLL_SECONDS = 0.05
"""How often a waiting writer tries again."""


class WriterLock:
    """The exclusive right to write to one book, held from construction to `release`.

    Raises `BookLocked`, which says who holds the book, when it is not free within `wait_seconds`.
    """

    def __init__(self, book: Path, *, wait_seconds: float = 0.0) -> None:
        self.path = book.with_name(book.name + ".lock")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            remedy = "Check that the directory exists and that you may write to it."
            raise BookError(f"cannot lock {book}: {error.strerror}", remedy) from error
        deadline = time.monotonic() + wait_seconds
        while not self._try_lock():
            if time.monotonic() >= deadline:
                holder = self.path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
                os.close(self._file)
                raise BookLocked(
                    f"{book} is being written by {holder}",
                    "Wait for it to finish, or give --lock-wait SECONDS to wait here.",
                )
            time.sleep(POLL_SECONDS)
        self._sign()

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _sign(self) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        text = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def release(self) -> None:
        """Gives the book free. Calling it again does nothing."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
