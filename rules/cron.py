"""Cron expressions: what they say, and when they tick (§4.6).

Five fields: minute, hour, day of month, month, day of week. An item of a field is `*`, a value or a range, each with an
optional `/step`; ranges may wrap (`22-2`, `fri-mon`), and a value with a step runs to the end of its field. A day field
is unrestricted if one of its items is `*`; if both day fields are restricted, a day that fits either is taken.

Ticks are found in the wall time of a zone. Each minute of the wall clock that an expression names happens at one
instant: the first at which the clocks show it, or the end of the gap that leaves it out. That order-keeping step is why
the search needs no look at the zone: go through the named minutes after the wall time, and take the first whose instant
is later than the given time. The others, skipped, are those of a repeated hour that have had their turn.

A tick costs about 5 µs in UTC and 10 µs in a zone (`tests/benchmarks/bench_cron.py`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache

from earnbook.rules.calendar import date_of, day_number, first_instant, load_zone, month_length, wall_time
from earnbook.rules.times import MINUTE, TIMESTAMP_MAX, shown

MONTHS_SEARCHED = 12 * 8 + 1
"""29 February comes again within eight years, everything else within one."""

_DAY_MINUTES = 24 * 60
_MONTH_LENGTHS_MAX = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """What a field may hold; `size` values from `low` on, `high` is the greatest number that may be written."""

    name: str
    low: int
    size: int
    high: int
    names: tuple[str, ...] = ()


_MINUTE = _Field(name="minute", low=0, size=60, high=59)
_HOUR = _Field(name="hour", low=0, size=24, high=23)
_DAY = _Field(name="day of month", low=1, size=31, high=31)
_MONTH = _Field(
    name="month",
    low=1,
    size=12,
    high=12,
    names=("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
_WEEKDAY = _Field(name="day of week", low=0, size=7, high=7, names=("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
_FIELDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
_ITEM = re.compile(r"(?:(\*)|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([1-9][0-9]?))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A cron expression; `minutes` are those of the day, they and `days` ascend, and weekday 0 is Sunday.

    `is_either_day` says that both day fields are restricted, so that a day needs to fit only one.
    """

    minutes: tuple[int, ...]
    days: tuple[int, ...]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either_day: bool

    def next_tick(self, after: int, zone: tzinfo = UTC) -> int | None:
        """The first tick strictly after a time, both in microseconds since 1970 UTC; None beyond the year 9999."""
        day, minute = divmod(wall_time(after, zone) // MINUTE, _DAY_MINUTES)
        index = bisect_right(self.minutes, minute) if self._has(day) else len(self.minutes)
        while True:
            if index == len(self.minutes):
                following = self._day_from(day + 1)
                if following is None:
                    return None
                day, index = following, 0
            tick = first_instant((day * _DAY_MINUTES + self.minutes[index]) * MINUTE, zone)
            if tick > after:
                return tick if tick <= TIMESTAMP_MAX else None
            index += 1

    def fires(self) -> bool:
        """Whether a day that it names exists in a month that it names."""
        return self.is_either_day or any(min(self.days) <= _MONTH_LENGTHS_MAX[month - 1] for month in self.months)

    def _has(self, number: int) -> bool:
        _, month, day = date_of(number)
        return month in self.months and self._has_day(day, number)

    def _has_day(self, day: int, number: int) -> bool:
        """Whether a day of a named month fits; day 0 of this calendar was a Thursday."""
        fits = (number + 4) % 7 in self.weekdays
        return (fits or day in self.days) if self.is_either_day else (fits and day in self.days)

    def _day_from(self, number: int) -> int | None:
        """The first named day that is not before the given one, in days since 1970."""
        year, month, first = date_of(number)
        for _ in range(MONTHS_SEARCHED):
            if month in self.months and (found := self._day_in(year, month, first)) is not None:
                return found
            year, month, first = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        return None

    def _day_in(self, year: int, month: int, first: int) -> int | None:
        before, length = day_number(year, month, 1) - 1, month_length(year, month)
        for day in range(first, length + 1) if self.is_either_day else self.days:
            if first <= day <= length and self._has_day(day, before + day):
                return before + day
        return None


@lru_cache(maxsize=512)
def parse_cron(text: str) -> Cron:
    """A cron expression of §4.6; `ValueError` if it is none (no `@` word, no zone, no seconds) or never fires."""
    fields = [field for field in text.split(" ") if field] if text == text.strip() else []
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{shown(text)} has not the five fields minute, hour, day of month, month, day of week")
    items = [_match_items(field, written) for field, written in zip(_FIELDS, fields, strict=True)]
    minutes, hours, days, months, weekdays = (
        frozenset(value for match in matches for value in _values(field, match))
        for field, matches in zip(_FIELDS, items, strict=True)
    )
    cron = Cron(
        minutes=tuple(hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)),
        days=tuple(sorted(days)),
        months=months,
        weekdays=weekdays,
        is_either_day=not _is_any(items[2]) and not _is_any(items[4]),
    )
    if not cron.fires():
        raise ValueError(f"{shown(text)} never fires")
    return cron


def check_cron(text: str) -> None:
    """Raise `ValueError` unless the text is a cron expression that fires (§4.6)."""
    parse_cron(text)


def next_cron_tick(text: str, after: int, zone: str = "UTC") -> int | None:
    """The first tick of a checked expression in a zone, strictly after a time (microseconds since 1970 UTC)."""
    return parse_cron(text).next_tick(after, load_zone(zone))


def _match_items(field: _Field, text: str) -> list[re.Match[str]]:
    matches = [_ITEM.fullmatch(item) for item in text.lower().split(",")]
    found = [match for match in matches if match is not None and _knows_names(field, match)]
    if len(found) != len(matches):
        raise ValueError(f"{shown(text)} is not a {field.name} of a cron expression")
    return found


def _knows_names(field: _Field, match: re.Match[str]) -> bool:
    return all(part is None or part.isdecimal() or part in field.names for part in match.group(2, 3))


def _values(field: _Field, match: re.Match[str]) -> list[int]:
    """The values of one item, which may stand several times."""
    star, first, last, step = match.groups()
    begin = field.low if star else _number(field, first)
    # The week has Sunday at both ends: where something begins it is 0, where a range ends it may be 7.
    start = begin if begin < field.low + field.size else field.low
    if last is not None:
        reach = _reach(field, begin, start, _number(field, last))
    else:
        reach = field.low + field.size - 1 - start if star or step else 0
    return [field.low + (start - field.low + more) % field.size for more in range(0, reach + 1, int(step or 1))]


def _reach(field: _Field, begin: int, start: int, end: int) -> int:
    """How many values a range has after its first; one that ends before it begins goes round."""
    if begin == end:
        return 0
    return end - start if end >= start else end - start + field.size


def _number(field: _Field, text: str) -> int:
    number = int(text) if text.isdecimal() else field.low + field.names.index(text)
    if not field.low <= number <= field.high:
        raise ValueError(f"{number} is outside the range of {field.name}, {field.low} to {field.high}")
    return number


def _is_any(matches: list[re.Match[str]]) -> bool:
    return any(match.group(1) and match.group(4) in (None, "1") for match in matches)
