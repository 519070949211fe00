"""The `retry` job: FAILED events of a book become `retry_event` operations, which are run like any others (§10.2).

The key of an operation follows from the event and how often it was tried, so a command that is repeated after a crash
retries nothing twice.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from earnbook.ledger.schema import Outcome
from earnbook.pipeline.clock import format_time, wall_clock_us
from earnbook.pipeline.config import (
    ClockMode,
    OutboxMode,
    ProgressListener,
    Publication,
    RunReport,
    RunRequest,
    WarningListener,
)
from earnbook.pipeline.drive import run
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.load import load_registers
from earnbook.pipeline.reports_query import reading


def _silent(_: object) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """Which FAILED events to retry: those of all given programs, codes and keys; all of them where none is given."""

    book: Path
    programs: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    config: Path | None = None
    clock: ClockMode = ClockMode.NOW
    clock_fixed_us: int | None = None
    max_generated: int | None = None
    prune: bool = False
    outbox: OutboxMode = OutboxMode.ENABLED
    webhook_extensions: bool = False
    lock_wait_seconds: float = 0.0
    publication: Publication = field(default_factory=Publication)
    wall_clock_us: int | None = None
    progress: ProgressListener = field(default=_silent)
    warn: WarningListener = field(default=_silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedEvent:
    """A FAILED event: its program's key, its id, and how many attempts there were."""

    program: str
    id: str
    attempts: int


def find_failed(request: RetryRequest) -> list[FailedEvent]:
    """The events to retry, in log order; Refused for a code that does not exist or a key that no FAILED event has."""
    unknown = [code for code in request.codes if code not in Outcome.__members__]
    if unknown:
        raise Refused(
            f"there is no outcome code {unknown[0]!r}", "Codes are those of `event_status`, such as TARGET_MISSING."
        )
    with reading(request.book) as connection:
        rows = connection.execute(
            """SELECT program, CAST(id AS VARCHAR), attempts, idempotency_key FROM event_status WHERE status = 'FAILED'
                AND (len($programs) = 0 OR list_contains($programs, program))
                AND (len($codes) = 0 OR list_contains($codes, code))
                AND (len($keys) = 0 OR list_contains($keys, idempotency_key)) ORDER BY log_seq""",
            {"programs": list(request.programs), "codes": list(request.codes), "keys": list(request.keys)},
        ).fetchall()
    missing = [key for key in request.keys if key not in {row[3] for row in rows}]
    if missing:
        raise Refused(
            f"no FAILED event has the key {missing[0]!r}", "`earnbook show event KEY` says what became of it."
        )
    return [FailedEvent(program=program, id=event_id, attempts=attempts) for program, event_id, attempts, _ in rows]


def operation_lines(request: RetryRequest, events: Iterable[FailedEvent]) -> list[str]:
    """The operations as NDJSON lines, at the time at which they are processed."""
    at = format_time(_effective_at(request))
    return [
        json.dumps(
            {
                "type": "retry_event",
                "idempotency_key": f"retry:{event.id}:{event.attempts}",
                "effective_at": at,
                "program_id": event.program,
                "event_id": event.id,
            }
        )
        for event in events
    ]


def retry(request: RetryRequest) -> RunReport | None:
    """Run the operations; None when there is nothing to retry."""
    lines = operation_lines(request, find_failed(request))
    if not lines:
        return None
    with tempfile.TemporaryDirectory(prefix="earnbook-") as folder:
        path = Path(folder) / "retry.ndjson"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return run(
            RunRequest(
                book=request.book,
                inputs=(str(path),),
                config=request.config,
                clock=request.clock,
                clock_fixed_us=request.clock_fixed_us,
                # The operations are of the time at which they run, whatever the book's events are of.
                no_horizon=True,
                allow_late=True,
                max_generated=request.max_generated,
                prune=request.prune,
                outbox=request.outbox,
                webhook_extensions=request.webhook_extensions,
                lock_wait_seconds=request.lock_wait_seconds,
                publication=request.publication,
                wall_clock_us=request.wall_clock_us,
                progress=request.progress,
                warn=request.warn,
            )
        )


def _effective_at(request: RetryRequest) -> int:
    """The time of the operations: that of the clock; under `event` the book clock."""
    if request.clock is ClockMode.FIXED and request.clock_fixed_us is not None:
        return request.clock_fixed_us
    if request.clock is ClockMode.NOW:
        return wall_clock_us() if request.wall_clock_us is None else request.wall_clock_us
    with reading(request.book) as connection:
        return load_registers(connection).book_clock or 0
