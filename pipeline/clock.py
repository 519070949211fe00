"""Clocks of a run (§4.3): which base time a record has, how far ahead a timestamp may lie, and what is refused.

Pure: the reading of the wall clock comes in as an argument. Times are int64 microseconds since 1970 (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from earnbook.ledger.schema import Int64s
from earnbook.pipeline.config import (
    CLOCK_TOLERANCE_US,
    HORIZON_EVENT_US,
    HORIZON_NOW_US,
    OLD_EVENT_US,
    AdvanceRequest,
    ClockMode,
    RunRequest,
)
from earnbook.pipeline.errors import Refused
from earnbook.rules.times import format_timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The clock of one run: mode, its reading (for FIXED the given time), and the horizon (None: none)."""

    mode: ClockMode
    reading_us: int
    horizon_us: int | None

    def base_times(self, timestamps: Int64s) -> Int64s:
        """c(r) of each record: its own timestamp under `event`, else the reading."""
        if self.mode is ClockMode.EVENT:
            return timestamps
        return np.full(len(timestamps), self.reading_us, np.int64)

    def end_of_batch(self, book_clock_us: int) -> int:
        """E: up to where due work is done after the last record of a batch."""
        return book_clock_us if self.mode is ClockMode.EVENT else max(self.reading_us, book_clock_us)


def format_time(us: int) -> str:
    """A time as `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    return format_timestamp(us, full=True)


def wall_clock_us() -> int:
    """The one reading of the wall clock; only jobs and drive call it, once a run."""
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


def run_clock(request: RunRequest, *, wall_us: int, book_clock_us: int) -> Clock:
    """The clock of a run on a book whose clock stands at `book_clock_us`; refuses times that lie before it."""
    horizon = _horizon(request, wall_us, HORIZON_EVENT_US if request.clock is ClockMode.EVENT else HORIZON_NOW_US)
    if request.clock is ClockMode.FIXED:
        reading = request.clock_fixed_us
        if reading is None:
            raise Refused("no time is given for the fixed clock", "Write --clock 2026-01-31T00:00:00Z.")
        _refuse_before_book(reading, book_clock_us, "--clock")
        _refuse_beyond_horizon(reading, horizon, "--clock")
    else:
        reading = wall_us
    if request.clock is ClockMode.NOW and reading < book_clock_us:
        if book_clock_us - reading > CLOCK_TOLERANCE_US:
            raise Refused(
                f"the wall clock ({format_time(reading)}) is behind the book clock ({format_time(book_clock_us)})",
                "Check this machine's time, or process the records by their own times with --clock event.",
            )
        reading = book_clock_us
    return Clock(mode=request.clock, reading_us=reading, horizon_us=horizon)


def advance_clock(request: AdvanceRequest, *, wall_us: int, book_clock_us: int) -> Clock:
    """The clock of `advance --to T`."""
    _refuse_before_book(request.to_us, book_clock_us, "--to")
    horizon = _horizon(request, wall_us, HORIZON_NOW_US)
    _refuse_beyond_horizon(request.to_us, horizon, "--to")
    return Clock(mode=ClockMode.FIXED, reading_us=request.to_us, horizon_us=horizon)


def old_event_time(clock: Clock) -> int | None:
    """Under `now`, the time before which a record counts as old; None under the other clocks."""
    return clock.reading_us - OLD_EVENT_US if clock.mode is ClockMode.NOW else None


def old_event_warning(*, old: int, records: int) -> str | None:
    """What to say when more than half of the records are older than 48 h under `now`."""
    if old * 2 <= records:
        return None
    return (
        f"{old:,} of {records:,} records are older than 48 h, and rule windows, expiries and budgets follow "
        "the wall clock: to process history as of its own time, use --clock event."
    )


def refuse_late(*, late: int, records: int, book_clock_us: int) -> None:
    """Under `event`, refuse a run whose new records lie mostly over 48 h before the book clock."""
    if late * 2 > records:
        raise Refused(
            f"{late:,} of {records:,} new records lie more than 48 h before the book clock "
            f"({format_time(book_clock_us)}): their own day's windows, budgets and expiries are gone",
            "Restore an older copy of the book, or accept it with --allow-late.",
        )


def _horizon(request: RunRequest | AdvanceRequest, wall_us: int, default_us: int) -> int | None:
    if request.no_horizon:
        return None
    return request.horizon_us if request.horizon_us is not None else wall_us + default_us


def _refuse_before_book(time_us: int, book_clock_us: int, option: str) -> None:
    if time_us < book_clock_us:
        raise Refused(
            f"{option} {format_time(time_us)} is before the book clock ({format_time(book_clock_us)})",
            "The book clock never goes back: give a later time.",
        )


def _refuse_beyond_horizon(time_us: int, horizon_us: int | None, option: str) -> None:
    if horizon_us is not None and time_us > horizon_us:
        raise Refused(
            f"{option} {format_time(time_us)} lies beyond the horizon ({format_time(horizon_us)})",
            "If the time is meant, set --horizon to a later one, or --horizon none.",
        )
