"""Timestamps and durations of CEL: their texts, and the parts of a calendar date in a time zone (§4.6, §11.2).

CEL values have nanoseconds and span the years 1 to 9999; records have microseconds. Python's datetime has microseconds,
so nanoseconds are carried beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache

from earnbook.rules.calendar import load_zone
from earnbook.rules.syntax import Uint
from earnbook.rules.values import CelError, Duration, Timestamp, Value, integer, no_overload

SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP_TEXT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9})\d*)?(?:([Zz])|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_DURATION_TEXT = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_OFFSET_TEXT = re.compile(r"([+-])?(\d{1,2}):(\d{2})", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 10**6,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_DURATION_DIGITS_MAX = 32


def to_timestamp(operand: Value) -> Timestamp:
    """`timestamp(x)` of RFC 3339 text, of seconds since 1970, or of a timestamp."""
    if type(operand) is Timestamp:
        return operand
    if type(operand) is str:
        return _timestamp_of_text(operand)
    if type(operand) is int or type(operand) is Uint or type(operand) is Decimal:
        return Timestamp(integer(operand, "timestamp") * SECOND)
    raise no_overload("timestamp", operand)


def to_duration(operand: Value) -> Duration:
    """`duration(x)` of Go text such as `1h30m`, or of a duration."""
    if type(operand) is Duration:
        return operand
    if type(operand) is str:
        return _duration_of_text(operand)
    raise no_overload("duration", operand)


@lru_cache(maxsize=4096)
def _timestamp_of_text(text: str) -> Timestamp:
    match = _TIMESTAMP_TEXT.fullmatch(text)
    if match is None:
        raise CelError("timestamp needs RFC 3339 text with an offset, such as '2026-01-31T09:00:00Z'")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise CelError("there is no such date and time") from None
    offset = int(offset_hours or 0) * 3600 + int(offset_minutes or 0) * 60
    if offset >= 24 * 3600:
        raise CelError("an offset must be less than 24 hours")
    seconds = _seconds_since_epoch(moment) + (offset if sign == "-" else -offset)
    return Timestamp(seconds * SECOND + int((fraction or "0").ljust(9, "0")))


@lru_cache(maxsize=4096)
def _duration_of_text(text: str) -> Duration:
    if text in ("0", "+0", "-0"):
        return Duration(0)
    if not _DURATION_TEXT.fullmatch(text):
        raise CelError("duration needs text such as '1h30m' or '-1.5s'")
    nanoseconds = 0
    for whole, fraction, unit in _DURATION_PART.findall(text):
        if len(whole) + len(fraction) > _DURATION_DIGITS_MAX:
            raise CelError("duration with too many digits")
        nanoseconds += int(whole or "0") * _UNITS[unit] + int(fraction or "0") * _UNITS[unit] // 10 ** len(fraction)
    return Duration(-nanoseconds if text.startswith("-") else nanoseconds)


def timestamp_text(value: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits of the second as needed."""
    moment, nanoseconds = _moment(value, UTC)
    date = f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{date}T{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}{fraction}Z"


def duration_text(value: Duration) -> str:
    """Seconds with as many decimals as needed, such as `1.5s`."""
    seconds, nanoseconds = divmod(abs(value.nanoseconds), SECOND)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{'-' if value.nanoseconds < 0 else ''}{seconds}{fraction}s"


def _date_part(name: str, part: Callable[[datetime], int]) -> Callable[..., int]:
    def read(target: Value, zone: Value = "UTC") -> int:
        if type(target) is not Timestamp or type(zone) is not str:
            raise no_overload(name, target, zone)
        return part(_moment(target, zone_of(zone))[0])

    read.__doc__ = f"`timestamp.{name}([zone])`."
    return read


get_full_year = _date_part("getFullYear", lambda moment: moment.year)
get_month = _date_part("getMonth", lambda moment: moment.month - 1)
get_date = _date_part("getDate", lambda moment: moment.day)
get_day_of_month = _date_part("getDayOfMonth", lambda moment: moment.day - 1)
get_day_of_week = _date_part("getDayOfWeek", lambda moment: moment.isoweekday() % 7)
get_day_of_year = _date_part("getDayOfYear", lambda moment: moment.timetuple().tm_yday - 1)


def _clock_part(
    name: str, part: Callable[[datetime], int], nanoseconds_per_unit: int, modulus: int | None = None
) -> Callable[..., int]:
    """A part of the time of day, or of a duration: there in whole units, `modulus` of them making the next larger."""

    def read(target: Value, zone: Value = "UTC") -> int:
        if type(target) is Duration and zone == "UTC":
            units = abs(target.nanoseconds) // nanoseconds_per_unit
            if modulus is not None:
                units %= modulus
            return -units if target.nanoseconds < 0 else units
        if type(target) is not Timestamp or type(zone) is not str:
            raise no_overload(name, target, zone)
        return part(_moment(target, zone_of(zone))[0])

    read.__doc__ = f"`timestamp.{name}([zone])` or `duration.{name}()`."
    return read


get_hours = _clock_part("getHours", lambda moment: moment.hour, 3600 * SECOND)
get_minutes = _clock_part("getMinutes", lambda moment: moment.minute, 60 * SECOND)
get_seconds = _clock_part("getSeconds", lambda moment: moment.second, SECOND)
get_milliseconds = _clock_part("getMilliseconds", lambda moment: moment.microsecond // 1000, 10**6, 1000)


def _moment(value: Timestamp, zone: tzinfo) -> tuple[datetime, int]:
    """The calendar time in a zone (cut to microseconds), and the nanoseconds of the second."""
    seconds, nanoseconds = divmod(value.nanoseconds, SECOND)
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
        return moment.astimezone(zone), nanoseconds
    except OverflowError:
        raise CelError("timestamp outside the years 1 to 9999 in this zone") from None


def _seconds_since_epoch(moment: datetime) -> int:
    difference = moment - _EPOCH
    return difference.days * 86_400 + difference.seconds


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """A zone by IANA name, or a fixed offset such as `+02:00` or `-8:30`."""
    if name in ("UTC", "Z", ""):
        return UTC
    if offset := _OFFSET_TEXT.fullmatch(name):
        minutes = int(offset.group(2)) * 60 + int(offset.group(3))
        if minutes >= 24 * 60:
            raise CelError(f"there is no time zone '{name}'")
        return timezone(timedelta(minutes=-minutes if offset.group(1) == "-" else minutes))
    try:
        return load_zone(name)
    except ValueError:
        raise CelError(f"there is no time zone '{name}'") from None
