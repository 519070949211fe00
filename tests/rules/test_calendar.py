"""Months, periods, dates of attributes, intervals and zones (§4.6, §14.3, §14.4, §17.4)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnbook.rules.calendar import (
    AttributeDate,
    add_months,
    check_zone,
    date_of,
    day_number,
    downgrade_date,
    first_instant,
    level_expiry,
    load_zone,
    month_length,
    next_midnight,
    next_multiple,
    parse_attribute_date,
    parse_minute_of_day,
    period_end,
    wall_time,
)
from earnbook.rules.times import HOUR, MINUTE, TIMESTAMP_MAX, format_timestamp, parse_timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(day_or_time: str) -> int:
    return parse_timestamp(day_or_time if "T" in day_or_time else f"{day_or_time}T00:00:00Z")


def text(moment: int | None) -> str:
    """A time as it is written here: the day alone where it is midnight."""
    return "never" if moment is None else format_timestamp(moment).removesuffix("T00:00:00Z")


@pytest.mark.parametrize(
    "start, months, expected",
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2026-08-31T13:14:15.000016Z", 1, "2026-09-30T13:14:15.000016Z"),
        ("2026-12-01", 1, "2027-01-01"),
        ("2026-11-30", 3, "2027-02-28"),
        ("2026-05-31", 0, "2026-05-31"),
        ("2096-02-29", 48, "2100-02-28"),
        ("9999-11-30T23:59:59Z", 1, "9999-12-30T23:59:59Z"),
        ("9999-12-01", 1, "never"),
        ("9000-01-01", 12_000, "never"),
    ],
)
def test_months_keep_the_day_or_end_on_the_last(start: str, months: int, expected: str) -> None:
    assert text(add_months(at(start), months)) == expected


@pytest.mark.parametrize(
    "moment, month, day, expected",
    [
        ("2025-09-01", 1, 1, "2026-01-01"),
        ("2025-12-31T23:59:59.999999Z", 1, 1, "2026-01-01"),
        ("2026-01-01", 1, 1, "2027-01-01"),
        ("2026-03-31", 4, 1, "2026-04-01"),
        ("2026-04-01", 4, 1, "2027-04-01"),
        ("2026-12-30", 12, 31, "2026-12-31"),
        ("2026-12-31", 12, 31, "2027-12-31"),
        # From 29 February: on the 28th in other years.
        ("2024-02-28", 2, 29, "2024-02-29"),
        ("2024-02-29", 2, 29, "2025-02-28"),
        ("2027-06-01", 2, 29, "2028-02-29"),
        ("2099-06-01", 2, 29, "2100-02-28"),
        ("9999-03-01", 4, 1, "9999-04-01"),
        ("9999-04-01", 4, 1, "never"),
        ("9999-04-01", 1, 1, "never"),
    ],
)
def test_a_period_ends_where_the_next_begins(moment: str, month: int, day: int, expected: str) -> None:
    assert text(period_end(at(moment), start_month=month, start_day=day)) == expected


def test_example_t2_has_these_dates() -> None:
    assert text(level_expiry(at("2025-09-01"), extend_months=1)) == "2026-02-01"
    assert text(level_expiry(at("2026-01-01"), extend_months=1)) == "2027-02-01"
    assert text(downgrade_date(at("2027-01-01"), extend_months=1, grace_days=30)) == "2027-03-03"
    assert text(level_expiry(at("2027-03-03"), extend_months=1)) == "2028-02-01"


@pytest.mark.parametrize(
    "end, months, days, expected",
    [
        ("2026-01-01", 0, 0, "2026-01-01"),
        ("2026-08-31", 1, 1, "2026-10-01"),
        ("2026-01-31", 1, 30, "2026-03-30"),
        ("9999-12-01", 0, 31, "never"),
        ("9999-12-01", 1, 0, "never"),
    ],
)
def test_a_downgrade_is_months_and_then_days_after_the_end(end: str, months: int, days: int, expected: str) -> None:
    assert text(downgrade_date(at(end), extend_months=months, grace_days=days)) == expected


def test_a_level_of_the_last_period_expires_never() -> None:
    assert level_expiry(at("9999-06-01"), extend_months=0) is None
    assert level_expiry(at("9999-06-01"), extend_months=5, start_month=8, start_day=1) is None
    assert text(level_expiry(at("9999-06-01"), extend_months=4, start_month=8, start_day=1)) == "9999-12-01"


@pytest.mark.parametrize(
    "value, expected",
    [
        ("06-15", AttributeDate(year=None, month=6, day=15)),
        ("02-29", AttributeDate(year=None, month=2, day=29)),
        ("2024-02-29", AttributeDate(year=2024, month=2, day=29)),
        ("0001-01-01", AttributeDate(year=1, month=1, day=1)),
    ],
)
def test_an_attribute_holds_a_date_of_one_year_or_of_all(value: str, expected: AttributeDate) -> None:
    assert parse_attribute_date(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *["", "6-15", "06/15", "06-31", "02-30", "13-01", "00-10", "06-00", "2026-02-29", "1900-02-29", "0000-01-01"],
        *["2026-06-15T00:00:00Z", " 06-15", "06-15\n", "--06-15", "٠٦-١٥", "June 15", None, 615, True, ["06-15"]],
    ],
)
def test_other_values_are_unreadable(value: object) -> None:
    assert parse_attribute_date(value) is None


@pytest.mark.parametrize(
    "value, offset_days, time, zone, after, expected",
    [
        # R26, and again a year later; the date itself is over when it is due.
        ("06-15", 0, "00:00", "UTC", "2026-01-01", "2026-06-15"),
        ("06-15", 0, "00:00", "UTC", "2026-06-15", "2027-06-15"),
        ("06-15", 0, "00:00", "UTC", "2026-06-14T23:59:59.999999Z", "2026-06-15"),
        ("2026-06-15", 0, "00:00", "UTC", "2026-06-14", "2026-06-15"),
        ("2026-06-15", 0, "00:00", "UTC", "2026-06-15", "never"),
        ("1990-06-15", 0, "00:00", "UTC", "2026-01-01", "never"),
        ("0001-01-01", -366, "00:00", "America/Chicago", "1970-01-01", "never"),
        # 29 February is the 28th in other years; the offset counts from there.
        ("02-29", 0, "00:00", "UTC", "2026-01-01", "2026-02-28"),
        ("02-29", 0, "00:00", "UTC", "2027-03-01", "2028-02-29"),
        ("02-29", 1, "00:00", "UTC", "2026-01-01", "2026-03-01"),
        ("02-29", 1, "00:00", "UTC", "2028-01-01", "2028-03-01"),
        ("02-29", 0, "00:00", "UTC", "2099-03-01", "2100-02-28"),
        # Offsets across one or two turns of the year.
        ("01-03", -7, "00:00", "UTC", "2026-06-01", "2026-12-27"),
        ("12-30", 7, "00:00", "UTC", "2026-01-01", "2026-01-06"),
        ("12-31", 366, "00:00", "UTC", "2026-01-01", "2027-01-01"),
        ("01-01", 366, "00:00", "UTC", "2028-01-02T00:00:00Z", "2029-01-01"),
        ("01-01", -366, "00:00", "UTC", "2026-12-30T12:00:00Z", "2026-12-31"),
        ("01-01", -366, "00:00", "UTC", "2026-12-31T12:00:00Z", "2028-01-01"),
        # Time and zone; a time that is left out or comes twice.
        ("06-15", 0, "09:30", "America/Chicago", "2026-01-01", "2026-06-15T14:30:00Z"),
        ("01-01", 0, "00:00", "Asia/Kathmandu", "2026-06-01", "2026-12-31T18:15:00Z"),
        ("03-08", 0, "02:30", "America/Chicago", "2026-01-01", "2026-03-08T08:00:00Z"),
        ("2026-11-01", 0, "01:30", "America/Chicago", "2026-01-01", "2026-11-01T06:30:00Z"),
        ("2026-11-01", 0, "01:30", "America/Chicago", "2026-11-01T06:30:00Z", "never"),
        # The end of the calendar.
        ("06-15", 0, "00:00", "UTC", "9999-06-15", "never"),
        ("06-15", -366, "00:00", "UTC", "9999-01-01", "9999-06-15"),
        ("01-01", 0, "00:00", "Asia/Kathmandu", "9999-06-01", "9999-12-31T18:15:00Z"),
        ("12-31", 0, "23:00", "America/Chicago", "9999-06-01", "never"),
        ("9999-12-31", 1, "00:00", "UTC", "9999-06-01", "never"),
    ],
)
def test_an_attribute_date_falls_due(
    value: str, offset_days: int, time: str, zone: str, after: str, expected: str
) -> None:
    found = parse_attribute_date(value)
    assert found is not None
    due = found.next_after(
        at(after), offset_days=offset_days, minute_of_day=parse_minute_of_day(time), zone=load_zone(zone)
    )
    assert text(due) == expected


@given(
    st.dates(date(1980, 1, 1), date(2080, 12, 31)),
    st.integers(-366, 366),
    st.integers(1, 12).flatmap(lambda month: st.tuples(st.just(month), st.integers(1, month_length(4, month)))),
)
def test_the_next_yearly_date_is_the_first_of_all_years(after: date, offset: int, day: tuple[int, int]) -> None:
    month, number = day
    days = [date(y, month, min(number, month_length(y, month))) + timedelta(offset) for y in range(1970, 2090)]
    expected = min(candidate for candidate in days if candidate > after)
    found = AttributeDate(year=None, month=month, day=number).next_after(
        at(after.isoformat()), offset_days=offset, minute_of_day=0, zone=UTC
    )
    assert text(found) == expected.isoformat()


@pytest.mark.parametrize(
    "origin, every, after, expected",
    [
        ("2026-01-01", 24 * HOUR, "2026-01-01", "2026-01-02"),
        ("2026-01-01", 24 * HOUR, "2026-01-02", "2026-01-03"),
        ("2026-01-01T06:00:00Z", 36 * HOUR, "2026-01-04", "2026-01-04T06:00:00Z"),
        ("2026-01-05", 24 * HOUR, "2026-01-01", "2026-01-06"),
        ("2026-01-01", TIMESTAMP_MAX, "2026-01-01", "never"),
    ],
)
def test_an_interval_counts_from_its_origin(origin: str, every: int, after: str, expected: str) -> None:
    assert text(next_multiple(at(origin), every, at(after))) == expected


@pytest.mark.parametrize(
    "after, expected",
    [
        ("2026-02-28T00:00:00Z", "2026-03-01"),
        ("2026-02-28T23:59:59.999999Z", "2026-03-01"),
        ("9999-12-30T01:00:00Z", "9999-12-31"),
        ("9999-12-31T00:00:00Z", "never"),
    ],
)
def test_midnight_is_strictly_later(after: str, expected: str) -> None:
    assert text(next_midnight(at(after))) == expected


def test_days_have_the_dates_of_the_calendar() -> None:
    for number in range(day_number(1, 1, 1), day_number(9999, 12, 31), 97):
        expected = date(1970, 1, 1) + timedelta(days=number)
        assert date_of(number) == (expected.year, expected.month, expected.day)
        assert day_number(*date_of(number)) == number
    assert date_of(day_number(10_000, 2, 29)) == (10_000, 2, 29)
    assert [month_length(year, 2) for year in (1900, 2000, 2024, 2100, 2026)] == [28, 29, 29, 28, 28]


@pytest.mark.parametrize("name", ["UTC", "America/Chicago", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Monrovia"])
@given(st.integers(0, at("9998-12-31")))
def test_wall_times_are_those_of_the_zone(name: str, moment: int) -> None:
    zone = load_zone(name)
    local = (EPOCH + timedelta(microseconds=moment)).astimezone(zone)
    shown = wall_time(moment, zone)
    assert EPOCH + timedelta(microseconds=shown) == local.replace(tzinfo=UTC)
    # Its first instant is the time itself, or earlier where the hour is repeated.
    assert first_instant(shown, zone) == moment if local.fold == 0 else first_instant(shown, zone) < moment


def test_what_a_gap_leaves_out_is_its_end() -> None:
    zone = load_zone("America/Chicago")
    for minute in range(60):
        assert first_instant(at("2026-03-08T02:00:00Z") + minute * MINUTE, zone) == at("2026-03-08T08:00:00Z")
    assert first_instant(at("2026-03-08T01:59:00Z"), zone) == at("2026-03-08T07:59:00Z")
    assert first_instant(at("2026-03-08T03:01:00Z"), zone) == at("2026-03-08T08:01:00Z")
    # The same rules hold 400 years × 14 later.
    assert first_instant(at("7626-03-08T02:30:00Z"), zone) == at("7626-03-08T08:00:00Z")


def test_a_zone_is_one_of_the_database() -> None:
    for name in ("America/Chicago", "UTC", "Etc/GMT+5", "America/Argentina/Ushuaia"):
        check_zone(name)


@pytest.mark.parametrize(
    "name",
    [
        "Mars/Olympus",
        "../etc/passwd",
        "",
        "america/chicago",
        "localtime",
        "right/UTC",
        "posix/UTC",
        "America",
        "zone.tab",
    ],
)
def test_other_names_are_no_zones_whatever_the_machine_has(name: str) -> None:
    with pytest.raises(ValueError, match="is not a zone of the time zone database"):
        check_zone(name)


def test_every_zone_of_the_database_can_be_read() -> None:
    names = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    assert len(names) > 500
    for name in names:
        assert abs(wall_time(at("2026-01-01"), load_zone(name)) - at("2026-01-01")) <= 14 * HOUR
