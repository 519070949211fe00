"""The calendar that reports cut time by: days, weeks from Monday and months, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import instant, microseconds, month_of, month_start_us, next_month

INTERVALS_MAX = 10_000

_DAY_US = 86_400_000_000


class Every(StrEnum):
    """How long the intervals of a report are."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Interval:
    """A named stretch of time, both ends inclusive; None is no bound."""

    name: str
    from_us: int | None
    to_us: int | None


def intervals(from_us: int, to_us: int, every: Every) -> list[Interval]:
    """The calendar's intervals from and to, the first and the last cut to these ends.

    A day and a week are named by their first day, a month like `2026-01`. Refuses more intervals than anybody reads.
    """
    found: list[Interval] = []
    start = _start(from_us, every)
    while start <= to_us:
        following = _following(start, every)
        found.append(Interval(_name(start, every), max(start, from_us), min(following - 1, to_us)))
        start = following
        if len(found) > INTERVALS_MAX:
            raise EarnbookError(
                f"the window has more than {INTERVALS_MAX:,} intervals", "Take longer ones with --by, or a nearer --to."
            )
    return found


def _name(start_us: int, every: Every) -> str:
    first = instant(start_us)
    assert first is not None, "there is a time"
    return month_of(start_us) if every is Every.MONTH else f"{first.year:04d}-{first.month:02d}-{first.day:02d}"


def _start(time_us: int, every: Every) -> int:
    time = instant(time_us)
    assert time is not None, "there is a time"
    day = datetime(time.year, time.month, time.day, tzinfo=UTC)
    match every:
        case Every.DAY:
            return microseconds(day)
        case Every.WEEK:
            return microseconds(day - timedelta(days=day.weekday()))
        case Every.MONTH:
            return month_start_us(month_of(time_us))


def _following(start_us: int, every: Every) -> int:
    match every:
        case Every.DAY:
            return start_us + _DAY_US
        case Every.WEEK:
            return start_us + 7 * _DAY_US
        case Every.MONTH:
            return month_start_us(next_month(month_of(start_us)))
