"""Times, durations and cron texts (§4.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnbook.rules.times import (
    DURATION_MAX,
    TIMESTAMP_MAX,
    LotDate,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_lot_date,
    parse_timestamp,
)


@pytest.mark.parametrize(
    "text, microseconds",
    [
        ("24h", 86_400_000_000),
        ("1h30m", 5_400_000_000),
        ("8760h", 31_536_000_000_000),
        ("1.5h", 5_400_000_000),
        (".5s", 500_000),
        ("1.s", 1_000_000),
        ("1m0.25s", 60_250_000),
        ("1ms", 1_000),
        ("1us", 1),
        ("1999ns", 1),
        ("0.6us0.6us", 1),
        ("0s", 0),
        ("30m1h", 5_400_000_000),
    ],
)
def test_a_go_duration_is_exact_microseconds_cut_once(text: str, microseconds: int) -> None:
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    "text", ["", "24", "1d", "1h 30m", "-1h", "+1h", "h", ".h", "1H", "1µs", "٣h", "1e3s", "9" * 30 + "h", "1h" * 60]
)
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|is longer than this calendar"):
        parse_duration(text)


@pytest.mark.parametrize(
    "microseconds, text",
    [(0, "0s"), (86_400_000_000, "24h"), (5_400_000_000, "1h30m"), (60_250_000, "1m0.25s"), (1, "0.000001s")],
)
def test_a_duration_prints_in_its_shortest_form(microseconds: int, text: str) -> None:
    assert format_duration(microseconds) == text


@given(st.integers(0, DURATION_MAX))
def test_durations_survive_printing(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds)) == microseconds


@pytest.mark.parametrize(
    "text, microseconds",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-01T02:00:00+02:00", 1_767_225_600_000_000),
        ("2025-12-31T18:30:00-05:30", 1_767_225_600_000_000),
        ("2026-01-01t00:00:00z", 1_767_225_600_000_000),
        ("2026-01-01T00:00:00.5Z", 1_767_225_600_500_000),
        ("2026-01-01T00:00:00.1234569Z", 1_767_225_600_123_456),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("9999-12-31T23:59:59.999999999Z", TIMESTAMP_MAX),
    ],
)
def test_an_rfc_3339_time_is_microseconds_of_utc(text: str, microseconds: int) -> None:
    assert parse_timestamp(text) == microseconds


@pytest.mark.parametrize(
    "text, why",
    [
        ("2026-01-01T00:00:00", "not an RFC 3339 time with offset"),
        ("2026-01-01", "not an RFC 3339 time with offset"),
        ("2026-01-01 00:00:00Z", "not an RFC 3339 time with offset"),
        ("2026-01-01T00:00:00.Z", "not an RFC 3339 time with offset"),
        ("2026-01-01T00:00:00Z\n", "not an RFC 3339 time with offset"),
        ("2016-12-31T23:59:60Z", "leap seconds"),
        ("2026-01-01T24:00:00Z", "not a time of day"),
        ("2026-02-29T00:00:00Z", "not a day of the calendar"),
        ("2026-13-01T00:00:00Z", "not a day of the calendar"),
        ("2026-01-01T00:00:00+24:00", "impossible offset"),
        ("1969-12-31T23:59:59Z", "outside 1970"),
        ("1970-01-01T00:30:00+01:00", "outside 1970"),
        ("9999-12-31T23:59:59-00:01", "outside 1970"),
        ("0000-01-01T00:00:00Z", "not a day of the calendar"),
    ],
)
def test_other_texts_are_no_times(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_timestamp(text)


@given(st.integers(0, TIMESTAMP_MAX), st.booleans())
def test_times_survive_printing(timestamp: int, full: bool) -> None:
    assert parse_timestamp(format_timestamp(timestamp, full=full)) == timestamp


def test_a_time_prints_its_fraction_only_where_there_is_one() -> None:
    assert format_timestamp(0) == "1970-01-01T00:00:00Z"
    assert format_timestamp(500_000) == "1970-01-01T00:00:00.500000Z"
    assert format_timestamp(0, full=True) == "1970-01-01T00:00:00.000000Z"


def test_a_lot_date_counts_from_creation_or_stands_by_itself() -> None:
    relative, absolute = parse_lot_date("24h"), parse_lot_date("1970-01-03T00:00:00Z")
    assert relative == LotDate("duration", 86_400_000_000)
    assert relative.resolve(1) == 86_400_000_001
    assert absolute.resolve(1) == 172_800_000_000
    assert (str(relative), str(absolute)) == ("24h", "1970-01-03T00:00:00Z")
    assert (relative.is_duration, absolute.is_duration) == (True, False)
