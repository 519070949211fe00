"""Times and durations as text and as integers (§4.6).

Text in, integer microseconds out, and back. Everything is exact: digits beyond the microsecond are cut off, never
rounded; no binary float is involved. A text that is not of the documented form raises `ValueError` with a message for
people; callers turn it into an issue, a reject or an outcome.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

TIMESTAMP_MAX = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds since 1970-01-01T00:00:00Z."""

DURATION_MAX = TIMESTAMP_MAX
"""The longest duration in microseconds; together with any timestamp it stays inside 64 bits."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

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
        raise ValueError(f"{shown(text)} is not a duration")
    # Each part is an exact fraction; the sum is cut once, at the end.
    total = Fraction(0)
    for number, unit in _DURATION_PART.findall(text):
        total += Fraction(number) * _UNIT_NANOSECONDS[unit]
    microseconds = int(total / 1_000)
    if microseconds > DURATION_MAX:
        raise ValueError(f"{shown(text)} is longer than this calendar")
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
        raise ValueError(f"{shown(text)} is not an RFC 3339 time with offset")
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{shown(text)} is not a time of day (leap seconds are not supported)")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError(f"{shown(text)} is not a day of the calendar") from None
    local = days * DAY + hour * HOUR + minute * MINUTE + second * SECOND
    local += int((match.group(7) or "")[:6].ljust(6, "0"))
    timestamp = local - _offset(text, match)
    if not 0 <= timestamp <= TIMESTAMP_MAX:
        raise ValueError(f"{shown(text)} is outside 1970-01-01 to 9999-12-31 (UTC)")
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


def shown(text: str) -> str:
    """The text in quotes for a message, shortened where it is long."""
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"


def _offset(text: str, match: re.Match[str]) -> int:
    if match.group(8):
        return 0
    hours, minutes = int(match.group(10)), int(match.group(11))
    if hours > 23 or minutes > 59:
        raise ValueError(f"{shown(text)} has an impossible offset")
    offset = hours * HOUR + minutes * MINUTE
    return offset if match.group(9) == "+" else -offset
