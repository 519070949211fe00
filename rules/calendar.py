"""The calendar of everything that falls due: zones, months, periods, dates of attributes, intervals (§4.6, §14, §17.4).

Pure functions over microseconds since 1970 UTC. A *wall time* is what the clocks of a zone show, written as if it were
UTC, in the same unit. A result beyond 9999-12-31T23:59:59.999999Z is None. Cron expressions are in `cron`, texts of
times and durations in `times`.

Zones come from the tzdata package alone, never from the machine: two machines with the same packages must write the
same books, and the database of a machine may hold more (`localtime`, `right/UTC` with leap seconds) or other names.

The Gregorian calendar, weekdays included, repeats every 400 years, and so do the rules of every zone once its table of
past changes has ended (2037). Times far ahead are therefore computed in an equal year nearer to us; thus no step leaves
the years that Python's dates can hold, even where the wall time of a zone is already in the year 10000.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from earnbook.rules.times import DAY, MINUTE, SECOND, TIMESTAMP_MAX, shown

CYCLE_DAYS = 146_097
"""The days of 400 years."""

MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_CYCLE = CYCLE_DAYS * DAY
_FAR = 2 * _CYCLE
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_ONE_SECOND = timedelta(seconds=1)
_ATTRIBUTE_DATE = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeDate:
    """The date that an attribute holds: of one year, or of every year where `year` is None (§17.4)."""

    year: int | None
    month: int
    day: int

    def next_after(self, after: int, *, offset_days: int, minute_of_day: int, zone: tzinfo) -> int | None:
        """When it falls due next, strictly after a time; None if never again.

        `offset_days` shifts the date, then the clocks of the zone must show `minute_of_day`.
        """
        shift = offset_days * DAY + minute_of_day * MINUTE
        for year in self._years(after):
            wall = day_number(year, self.month, min(self.day, month_length(year, self.month))) * DAY + shift
            # No zone is two days from UTC; what is over anyway may lie before all dates.
            if wall > after - 2 * DAY and (due := first_instant(wall, zone)) > after:
                return due if due <= TIMESTAMP_MAX else None
        return None

    def _years(self, after: int) -> range:
        """The years whose date may be the next: 366 days of offset reach over two turns of the year."""
        if self.year is not None:
            return range(self.year, self.year + 1)
        year, _, _ = date_of(after // DAY)
        return range(year - 3, year + 5)


def parse_attribute_date(value: object) -> AttributeDate | None:
    """The date `MM-DD` or `YYYY-MM-DD` in an attribute's value; None if it is unreadable or no day of the calendar."""
    match = _ATTRIBUTE_DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    year = int(match.group(1)) if match.group(1) else None
    month, day = int(match.group(2)), int(match.group(3))
    # 29 February without a year is a birthday like any other.
    if year == 0 or not 1 <= month <= 12 or not 1 <= day <= month_length(4 if year is None else year, month):
        return None
    return AttributeDate(year=year, month=month, day=day)


def parse_minute_of_day(text: str) -> int:
    """The minutes after midnight of `HH:MM`, which the definitions have checked."""
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def next_multiple(origin: int, every: int, after: int) -> int | None:
    """The first of origin + k × every (k ≥ 1) that is strictly after a time (§10.4, §17.4)."""
    due = origin + max((after - origin) // every + 1, 1) * every
    return due if due <= TIMESTAMP_MAX else None


def next_midnight(after: int) -> int | None:
    """The first midnight UTC strictly after a time."""
    return next_multiple(0, DAY, after)


def add_months(at: int, months: int) -> int | None:
    """The same time of day and day of month so many months later, clamped to the month's last day (§4.6)."""
    days, rest = divmod(at, DAY)
    year, month, day = date_of(days)
    year, month = divmod(year * 12 + month - 1 + months, 12)
    moved = day_number(year, month + 1, min(day, month_length(year, month + 1))) * DAY + rest
    return moved if moved <= TIMESTAMP_MAX else None


def period_end(at: int, *, start_month: int = 1, start_day: int = 1) -> int | None:
    """The first boundary strictly after a time: 00:00 UTC on the day a period starts (§14.3).

    A time at a boundary lies in the period that begins there. A period that starts on 29 February starts on the 28th
    in other years, as months are added and as attribute dates are read.
    """
    year, _, _ = date_of(at // DAY)
    for candidate in (year, year + 1):
        day = min(start_day, month_length(candidate, start_month))
        boundary = day_number(candidate, start_month, day) * DAY
        if boundary > at:
            return boundary if boundary <= TIMESTAMP_MAX else None
    raise AssertionError("a year has a boundary")


def level_expiry(at: int, *, extend_months: int, start_month: int = 1, start_day: int = 1) -> int | None:
    """When a level granted at a time expires: the end of the period it lies in, and so many months (§14.4)."""
    end = period_end(at, start_month=start_month, start_day=start_day)
    return None if end is None else add_months(end, extend_months)


def downgrade_date(end: int, *, extend_months: int, grace_days: int) -> int | None:
    """When a level that was not renewed at the end of a period is lost: months first, then days of 24 h (§14.4)."""
    extended = add_months(end, extend_months)
    due = None if extended is None else extended + grace_days * DAY
    return due if due is not None and due <= TIMESTAMP_MAX else None


@lru_cache(maxsize=1024)
def load_zone(name: str) -> tzinfo:
    """A zone of the time zone database; `ValueError` if there is none of that name."""
    if name not in _zone_names():
        raise ValueError(f"{shown(name)} is not a zone of the time zone database")
    if name == "UTC":
        return UTC
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as table:
        return ZoneInfo.from_file(table, key=name)


def check_zone(name: str) -> None:
    """Raise `ValueError` unless the text names a zone of the time zone database."""
    load_zone(name)


def wall_time(at: int, zone: tzinfo) -> int:
    """What the clocks of a zone show at a time."""
    if zone is UTC:
        return at
    near = _near(at)
    return at + _offset((_EPOCH + timedelta(microseconds=near)).astimezone(zone))


def first_instant(wall: int, zone: tzinfo) -> int:
    """The first instant at which the clocks of a zone show a wall time, or else the first after the gap it is in."""
    if zone is UTC:
        return wall
    near = _near(wall)
    shown_time = (_EPOCH + timedelta(microseconds=near)).replace(tzinfo=zone)
    earlier, later = _offset(shown_time), _offset(shown_time.replace(fold=1))
    if earlier < later:
        return wall - near + _end_of_gap(near - later, near - earlier, later, zone)
    return wall - earlier


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date that exists, in any year."""
    cycles, rest = divmod(year, 400)
    return date(rest + 400, month, day).toordinal() - _EPOCH_DAY + (cycles - 1) * CYCLE_DAYS


def date_of(number: int) -> tuple[int, int, int]:
    """Year, month and day of the day so many days after 1970-01-01."""
    cycles, rest = divmod(number, CYCLE_DAYS)
    found = date.fromordinal(_EPOCH_DAY + rest)
    return found.year + 400 * cycles, found.month, found.day


def month_length(year: int, month: int) -> int:
    """How many days a month has."""
    is_leap_day = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return MONTH_LENGTHS[month - 1] + is_leap_day


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _near(time: int) -> int:
    """The time in the year that equals its year and is not far ahead."""
    return time if time < _FAR else time % _CYCLE + _CYCLE


def _offset(moment: datetime) -> int:
    """How far the clocks of its zone are ahead of UTC, in microseconds; early ones in whole seconds, not minutes."""
    offset = moment.utcoffset()
    assert offset is not None
    return (offset.days * 86_400 + offset.seconds) * SECOND


def _end_of_gap(before: int, inside: int, later: int, zone: tzinfo) -> int:
    """The first second in (before, inside] at which the later offset holds, by halving."""
    low, high = before // SECOND, inside // SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if _offset((_EPOCH + middle * _ONE_SECOND).astimezone(zone)) == later:
            high = middle
        else:
            low = middle
    return high * SECOND
