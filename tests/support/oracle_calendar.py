"""Calendars for the oracle, from §4.6 and zone data alone: local times, months, years, and dates in attributes.

Times are UTC microseconds. Where SEMANTICS is open: a day that a year lacks (29 February) is the last day of its month.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tests.support.oracle_times import EPOCH, TIME_MAX

DAY = 86_400_000_000
MICROSECOND = timedelta(microseconds=1)
OFFSET_YEARS = 3
"""`offset_days` reaches at most this many years (§17.4)."""

_YEARLY = re.compile(r"(\d\d)-(\d\d)", flags=re.ASCII)
_ONCE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", flags=re.ASCII)


def utc(at: int) -> datetime:
    """A time as an aware datetime."""
    return EPOCH + timedelta(microseconds=at)


def instant(local: datetime, zone: ZoneInfo) -> int | None:
    """The instant of a local time: the first of two, and the first one after the gap of one that does not exist.

    None where that is outside the years of §4.6.
    """
    try:
        first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if first.astimezone(zone).replace(tzinfo=None) != local:
            first = _gap_end(local.replace(tzinfo=zone, fold=1).astimezone(UTC), first, zone)
    except OverflowError:
        return None
    at = (first - EPOCH) // MICROSECOND
    return at if 0 <= at <= TIME_MAX else None


def _gap_end(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Halves the time between an instant before the change of the clocks and one after it until they meet."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > MICROSECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def next_midnight(after: int) -> int | None:
    """The first midnight UTC strictly after a time."""
    return _in_range((after // DAY + 1) * DAY)


def add_months(at: int, months: int) -> int | None:
    """The same day and time so many months later, the last day of a month that lacks the day (§4.6)."""
    moment = utc(at)
    years, month = divmod(moment.month - 1 + months, 12)
    if moment.year + years > 9999:
        return None
    day = min(moment.day, monthrange(moment.year + years, month + 1)[1])
    return (moment.replace(year=moment.year + years, month=month + 1, day=day) - EPOCH) // MICROSECOND


def next_year_day(after: int, month: int, day: int) -> int | None:
    """The first midnight UTC of a day of the year strictly after a time."""
    for year in range(utc(after).year, 10_000):
        start = datetime(year, month, _clamped(year, month, day), tzinfo=UTC)
        if (start - EPOCH) // MICROSECOND > after:
            return (start - EPOCH) // MICROSECOND
    return None


def is_date_text(text: str | None) -> bool:
    """Whether a text is a date that an automation can wait for: `MM-DD` or `YYYY-MM-DD` (§17.4)."""
    return text is not None and (_yearly(text) is not None or _once(text) is not None)


def next_date(text: str, after: int, *, offset_days: int, at: time, zone: ZoneInfo) -> int | None:
    """The first time strictly after another that a date in an attribute stands for; None when none comes."""
    once, yearly = _once(text), _yearly(text)
    if once is not None:
        days = [once]
    else:
        assert yearly is not None
        around = utc(after).year
        years = range(max(around - OFFSET_YEARS, 1), min(around + OFFSET_YEARS, 9999) + 1)
        days = [date(year, yearly[0], _clamped(year, *yearly)) for year in years]
    times = (_moved(day, offset_days, at, zone) for day in days)
    return min((found for found in times if found is not None and found > after), default=None)


def _moved(day: date, offset_days: int, at: time, zone: ZoneInfo) -> int | None:
    try:
        return instant(datetime.combine(day + timedelta(days=offset_days), at), zone)
    except OverflowError:
        return None


def _yearly(text: str) -> tuple[int, int] | None:
    found = _YEARLY.fullmatch(text)
    if found is None:
        return None
    month, day = int(found[1]), int(found[2])
    return (month, day) if 1 <= month <= 12 and 1 <= day <= monthrange(2000, month)[1] else None


def _once(text: str) -> date | None:
    found = _ONCE.fullmatch(text)
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None


def _clamped(year: int, month: int, day: int) -> int:
    return min(day, monthrange(year, month)[1])


def _in_range(at: int) -> int | None:
    return at if at <= TIME_MAX else None
