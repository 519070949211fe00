"""Cron expressions for the oracle: the next tick in a zone, found by looking at local day after local day (§4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from tests.support.oracle_calendar import instant, utc

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAYS_SEARCHED = 9 * 366
"""A leap day may be eight years away."""
UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The values of each field; `is_any_day` says that one of the two day fields is `*`, so that both must hold."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool

    def has_day(self, day: datetime) -> bool:
        """Restricted day of month and day of week combine with OR."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        matches = in_month and in_week if self.is_any_day else in_month or in_week
        return day.month in self.months and matches


def parse_cron(text: str) -> Cron:
    """The five fields of an expression that is taken as valid."""
    minute, hour, day, month, weekday = text.lower().split()
    return Cron(
        minutes=_values(minute, range(60), ()),
        hours=_values(hour, range(24), ()),
        days=_values(day, range(1, 32), ()),
        months=_values(month, range(1, 13), ("", *MONTHS)),
        weekdays=_values(weekday, range(7), DAYS),
        is_any_day=any({"*", "*/1"} & set(field.split(",")) for field in (day, weekday)),
    )


def next_tick(cron: Cron, after: int, zone: ZoneInfo = UTC_ZONE) -> int | None:
    """The first tick strictly after a time, in microseconds; None when none comes.

    Local times go up within a day, and so do their instants: two times in one gap are one tick.
    """
    today = utc(after).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for number in range(-1, DAYS_SEARCHED):
        try:
            day = today + timedelta(days=number)
        except OverflowError:
            continue
        if not cron.has_day(day):
            continue
        for hour, minute in product(sorted(cron.hours), sorted(cron.minutes)):
            tick = instant(day.replace(hour=hour, minute=minute), zone)
            if tick is not None and tick > after:
                return tick
    return None


def _values(text: str, field: range, names: tuple[str, ...]) -> frozenset[int]:
    """The values of a field's items: `*`, a value, a range that may go past the field's end, each with a step."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*" or (field.stop, first, last) == (7, "0", "7"):
            values = list(field)
        else:
            start = _value(first, field, names)
            end = field[-1] if step and not last else _value(last or first, field, names)
            values = (
                [*range(start, end + 1)] if start <= end else [*range(start, field.stop), *range(field[0], end + 1)]
            )
        found |= set(values[:: int(step or 1)])
    return frozenset(found)


def _value(text: str, field: range, names: tuple[str, ...]) -> int:
    """A number or name; in the days of the week 7 is Sunday too."""
    value = names.index(text) if text in names else int(text)
    return 0 if field.stop == len(DAYS) and value == len(DAYS) else value
