"""Times and durations for the oracle: int microseconds, written from §4.6 and from nothing of earnbook."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MAX = 253_402_300_799_999_999
UNIT_MICROSECONDS = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "ms": Fraction(1000),
    "s": Fraction(1_000_000),
    "m": Fraction(60_000_000),
    "h": Fraction(3_600_000_000),
}

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", flags=re.ASCII
)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|ms|s|m|h)", flags=re.ASCII)


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time with offset; ValueError when it is none or out of range."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"not an RFC 3339 time: {text}")
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if found[8]:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 23 or minutes > 59:
            raise ValueError(f"not an offset: {text}")
        offset = (hours * 60 + minutes) * 60_000_000
    else:
        offset = 0
    micros = (moment - EPOCH) // timedelta(microseconds=1) + int(((found[7] or "") + "000000")[:6])
    micros += offset if found[8] == "-" else -offset
    if not 0 <= micros <= TIME_MAX:
        raise ValueError(f"out of range: {text}")
    return micros


def format_time(micros: int) -> str:
    """RFC 3339 in UTC with as many decimals as needed."""
    moment = EPOCH + timedelta(microseconds=micros)
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}".zfill(19) + fraction + "Z"


def parse_duration(text: str) -> int:
    """Microseconds of a Go duration such as `1h30m`, cut off; ValueError when it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a Go duration: {text}")
    return int(sum(Fraction(number) * UNIT_MICROSECONDS[unit] for number, unit in parts))
