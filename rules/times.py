"""Times and durations as text and as integers (§4.6).

Text in, integer microseconds out, and back. Everything is exact: digits beyond the microsecond are cut off, never
rounded; no binary float is involved. A text that is not of the documented form raises `ValueError` with a message for
people; callers turn it into an issue, a reject or an outcome.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

TIMESTAMP_MAX = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds since 1970-01-01T00:00:00Z."""

DURATION_MAX = TIMESTAMP_MAX
"""The longest duration in microseconds; together with any timestamp it stays inside 64 bits."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CRON_YEARS = 50
"""How many years ahead the next tick of a cron expression is looked for; 29 February on a Monday comes within 40."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_UNIT_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_DURATION_TEXT_MAX = 100

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)

_CRON_NAMES = {
    3: "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec",
    4: "sun|mon|tue|wed|thu|fri|sat",
}
_CRON_FIELDS = ("minute", "hour", "day of month", "month", "day of week")


@dataclass(frozen=True, slots=True)
class LotDate:
    """`expires_at` or `matures_at` of an action: a duration from the lot's `created_at`, or a fixed time (§9.5).

    `microseconds` is a length for kind `duration` and microseconds since 1970 (UTC) for kind `time`.
    """

    kind: Literal["duration", "time"]
    microseconds: int

    @property
    def is_duration(self) -> bool:
        """Whether the date counts from the lot's creation."""
        return self.kind == "duration"

    def resolve(self, created_at: int) -> int:
        """The date in microseconds since 1970, for a lot created at `created_at` (same unit)."""
        return created_at + self.microseconds if self.kind == "duration" else self.microseconds

    def __str__(self) -> str:
        return format_duration(self.microseconds) if self.kind == "duration" else format_timestamp(self.microseconds)


def parse_duration(text: str) -> int:
    """A Go duration such as `24h` or `1h30m` in microseconds (§4.6), cut off below the microsecond."""
    if len(text) > _DURATION_TEXT_MAX or not _DURATION.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a duration")
    # Each part is an exact fraction; the sum is cut once, at the end.
    total = Fraction(0)
    for number, unit in _DURATION_PART.findall(text):
        total += Fraction(number) * _UNIT_NANOSECONDS[unit]
    microseconds = int(total / 1_000)
    if microseconds > DURATION_MAX:
        raise ValueError(f"{_shown(text)} is longer than this calendar")
    return microseconds


def format_duration(microseconds: int) -> str:
    """The shortest Go duration of so many microseconds in hours, minutes and seconds: `8760h`, `1h30m`, `0.25s`."""
    hours, rest = divmod(microseconds, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, fraction = divmod(rest, SECOND)
    parts = [f"{hours}h"] if hours else []
    if minutes:
        parts.append(f"{minutes}m")
    if seconds or fraction or not parts:
        decimals = f".{fraction:06d}".rstrip("0") if fraction else ""
        parts.append(f"{seconds}{decimals}s")
    return "".join(parts)


def parse_timestamp(text: str) -> int:
    """An RFC 3339 time with offset in microseconds since 1970 UTC (§4.6); further digits are cut off."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not an RFC 3339 time with offset")
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{_shown(text)} is not a time of day (leap seconds are not supported)")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError(f"{_shown(text)} is not a day of the calendar") from None
    local = days * DAY + hour * HOUR + minute * MINUTE + second * SECOND
    local += int((match.group(7) or "")[:6].ljust(6, "0"))
    timestamp = local - _offset(text, match)
    if not 0 <= timestamp <= TIMESTAMP_MAX:
        raise ValueError(f"{_shown(text)} is outside 1970-01-01 to 9999-12-31 (UTC)")
    return timestamp


def format_timestamp(timestamp: int, *, full: bool = False) -> str:
    """RFC 3339 in UTC; the fraction is left out where it is zero unless `full` asks for all six digits."""
    days, rest = divmod(timestamp, DAY)
    seconds, fraction = divmod(rest, SECOND)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    day = date.fromordinal(_EPOCH_DAY + days).isoformat()
    decimals = f".{fraction:06d}" if fraction or full else ""
    return f"{day}T{hours:02d}:{minutes:02d}:{seconds:02d}{decimals}Z"


def parse_lot_date(text: str) -> LotDate:
    """A Go duration or an RFC 3339 time, as `expires_at` and `matures_at` take it (§11.4)."""
    if _DURATION.fullmatch(text):
        return LotDate("duration", parse_duration(text))
    return LotDate("time", parse_timestamp(text))


def check_cron(text: str) -> None:
    """Raise `ValueError` unless the text is a cron expression of §4.6: five fields, no `@` word, no zone, no seconds.

    An expression that never fires (such as 30 February) is refused too.
    """
    fields = text.split(" ") if text == text.strip() else []
    if len([field for field in fields if field]) != 5:
        raise ValueError(f"{_shown(text)} has not the five fields minute, hour, day of month, month, day of week")
    for index, field in enumerate(field for field in fields if field):
        _check_cron_field(index, field)
    if not croniter.is_valid(text, second_at_beginning=False):
        raise ValueError(f"{_shown(text)} has a value outside its field's range")
    if not _fires(text):
        raise ValueError(f"{_shown(text)} never fires")


def next_cron_tick(text: str, after: int) -> int | None:
    """The first tick of a cron expression after a time, in UTC; both microseconds since 1970. None beyond year 9999."""
    ticks = croniter(text, datetime.fromtimestamp(after // SECOND, UTC), max_years_between_matches=CRON_YEARS)
    try:
        tick = ticks.get_next(datetime)
    except (CroniterBadDateError, OverflowError, ValueError):
        return None
    found = (tick.toordinal() - _EPOCH_DAY) * DAY + tick.hour * HOUR + tick.minute * MINUTE
    return found if found <= TIMESTAMP_MAX else None


def check_zone(name: str) -> None:
    """Raise `ValueError` unless the text names a zone of the time zone database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{_shown(name)} is not a zone of the time zone database") from None


def _offset(text: str, match: re.Match[str]) -> int:
    if match.group(8):
        return 0
    hours, minutes = int(match.group(10)), int(match.group(11))
    if hours > 23 or minutes > 59:
        raise ValueError(f"{_shown(text)} has an impossible offset")
    offset = hours * HOUR + minutes * MINUTE
    return offset if match.group(9) == "+" else -offset


def _check_cron_field(index: int, field: str) -> None:
    value = "[0-9]{1,2}" + (f"|{_CRON_NAMES[index]}" if index in _CRON_NAMES else "")
    item = rf"(?:\*|(?:{value})(?:-(?:{value}))?)(?:/[1-9][0-9]?)?"
    if not re.fullmatch(rf"{item}(?:,{item})*", field, re.ASCII | re.IGNORECASE):
        raise ValueError(f"{_shown(field)} is not a {_CRON_FIELDS[index]} of a cron expression")


def _fires(text: str) -> bool:
    """Whether a day of month of the expression exists in one of its months, in some year."""
    expanded = croniter.expand(text)[0]
    days, months, week_days = expanded[2], expanded[3], expanded[4]
    if days == ["*"] or week_days != ["*"]:
        return True
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    chosen = range(1, 13) if months == ["*"] else [int(month) for month in months]
    return any(int(day) <= longest.get(month, 31) for day in days for month in chosen)


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
