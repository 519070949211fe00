"""Cron expressions: what is one, and when it ticks, against walking through every minute (§4.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from earnbook.rules.calendar import load_zone
from earnbook.rules.cron import check_cron, next_cron_tick, parse_cron
from earnbook.rules.times import DAY, HOUR, MINUTE, TIMESTAMP_MAX, format_timestamp, parse_timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Wanted = Callable[[datetime], bool]

EXPRESSIONS: dict[str, Wanted] = {
    "* * * * *": lambda wall: wall.second == 0,
    "*/7 * * * *": lambda wall: wall.minute % 7 == 0,
    "30 2 * * *": lambda wall: (wall.hour, wall.minute) == (2, 30),
    "0 0 * * *": lambda wall: (wall.hour, wall.minute) == (0, 0),
    "0,59 23-1 * * *": lambda wall: wall.hour in (23, 0, 1) and wall.minute in (0, 59),
    "*/20 1-3 * * sat-sun": lambda wall: (
        wall.minute in (0, 20, 40) and wall.hour in (1, 2, 3) and wall.isoweekday() in (6, 7)
    ),
    "0 9 * * MON": lambda wall: (wall.hour, wall.minute, wall.isoweekday()) == (9, 0, 1),
    "15 */2 25-31 3,10 7": lambda wall: (
        wall.minute == 15
        and wall.hour % 2 == 0
        and wall.month in (3, 10)
        and (wall.day >= 25 or wall.isoweekday() == 7)
    ),
    "5 3 31 * *": lambda wall: (wall.day, wall.hour, wall.minute) == (31, 3, 5),
}
"""Expressions, each with what it says about the clock on the wall in other words."""

CHANGING_ZONES = ("America/Chicago", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo")
ZONES = (*CHANGING_ZONES, "Asia/Kathmandu", "UTC")


def at(text: str) -> int:
    return parse_timestamp(text)


def ticks(text: str, zone: str, after: str, count: int) -> list[str]:
    """The next ticks after a time, as texts."""
    found: list[str] = []
    moment: int | None = at(after)
    while moment is not None and len(found) < count:
        moment = next_cron_tick(text, moment, zone)
        found.append("never" if moment is None else format_timestamp(moment))
    return found


def wall_of(moment: int, zone: tzinfo) -> datetime:
    return (EPOCH + timedelta(microseconds=moment)).astimezone(zone)


def walk(start: int, end: int, zone: tzinfo) -> Iterator[tuple[int, list[datetime]]]:
    """Each minute of UTC, with the minutes of the wall clock whose turn it is: none in the second pass of a repeated
    hour, and all that a gap left out at its end.
    """
    before = wall_of(start - MINUTE, zone).replace(tzinfo=None, fold=0)
    for moment in range(start, end, MINUTE):
        wall = wall_of(moment, zone)
        shown, is_first = wall.replace(tzinfo=None, fold=0), wall.fold == 0
        turn = [shown] if is_first else []
        while (before := before + timedelta(minutes=1)) < shown:
            turn.append(before)
        before = shown
        yield moment, turn


def assert_as_walked(start: int, end: int, zone: str) -> None:
    """At every half hour from start to end, and around every tick, the next tick is that of the walk."""
    turns = list(walk(start, end, load_zone(zone)))
    for text, is_wanted in EXPRESSIONS.items():
        expected = [moment for moment, turn in turns if any(map(is_wanted, turn))]
        cron, position = parse_cron(text), 0
        for after in range(start - 1, end, HOUR // 2):
            while position < len(expected) and expected[position] <= after:
                position += 1
            if position < len(expected):
                assert cron.next_tick(after, load_zone(zone)) == expected[position], (text, zone, after)
        for tick, following in pairwise(expected):
            assert cron.next_tick(tick, load_zone(zone)) == following, (text, zone, tick)
        for tick in expected[:3]:
            assert cron.next_tick(tick - 1, load_zone(zone)) == tick, (text, zone, tick)


def changes(zone: str, years: range) -> Iterator[int]:
    """The days, from 1970 on, within which the clocks of a zone are changed."""
    for day in range(at(f"{years.start}-01-01T00:00:00Z"), at(f"{years.stop}-01-01T00:00:00Z"), DAY):
        if wall_of(day, load_zone(zone)).utcoffset() != wall_of(day + DAY, load_zone(zone)).utcoffset():
            yield day


@pytest.mark.parametrize("zone", CHANGING_ZONES)
@pytest.mark.parametrize("years", [range(1985, 1986), range(2007, 2008), range(2026, 2027), range(2037, 2038)], ids=str)
def test_around_changes_of_the_clock_ticks_are_those_of_walking_through_all_minutes(zone: str, years: range) -> None:
    for day in changes(zone, years):
        assert_as_walked(day - 6 * HOUR, day + DAY + 6 * HOUR, zone)


@pytest.mark.slow
@pytest.mark.parametrize("zone", CHANGING_ZONES)
def test_so_they_are_on_every_such_weekend_from_1970_to_2037(zone: str) -> None:
    days = list(changes(zone, range(1970, 2038)))
    assert len(days) > 60
    for day in days:
        assert_as_walked(max(day - DAY, MINUTE), day + 2 * DAY, zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("month", ["1972-02", "2100-02", "2026-10"])
def test_month_ends_are_those_of_walking_through_all_minutes(zone: str, month: str) -> None:
    start = at(f"{month}-27T12:00:00Z")
    assert_as_walked(start, start + 4 * DAY, zone)


@pytest.mark.parametrize(
    "text, zone, after, expected",
    [
        # T3: Mondays at 9, across the change to summer time and back.
        ("0 9 * * MON", "America/Chicago", "2026-03-01T00:00:00Z", ["2026-03-02T15:00:00Z", "2026-03-09T14:00:00Z"]),
        ("0 9 * * MON", "America/Chicago", "2026-10-30T00:00:00Z", ["2026-11-02T15:00:00Z"]),
        # 02:30 is left out in Chicago on 2026-03-08: 03:00 summer time. 01:30 comes twice on 2026-11-01: the first.
        ("30 2 * * *", "America/Chicago", "2026-03-08T00:00:00Z", ["2026-03-08T08:00:00Z", "2026-03-09T07:30:00Z"]),
        ("30 1 * * *", "America/Chicago", "2026-11-01T00:00:00Z", ["2026-11-01T06:30:00Z", "2026-11-02T07:30:00Z"]),
        # A gap is one tick, whatever it leaves out; the second pass of an hour is silent.
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]),
        # Half an hour: 02:00 to 02:30 is left out on 2026-10-04, 01:30 to 02:00 comes twice on 2026-04-05.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]),
        # Midnight itself is left out; a whole day is; an offset of seconds; a quarter of an hour.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T20:00:00Z",
            ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
        ),
        ("0 9 * * *", "Africa/Monrovia", "1971-06-01T00:00:00Z", ["1971-06-01T09:44:30Z", "1971-06-02T09:44:30Z"]),
        ("0 6 1 * *", "Asia/Kathmandu", "2026-01-15T00:00:00Z", ["2026-02-01T00:15:00Z", "2026-03-01T00:15:00Z"]),
        # 29 February, with and without a century; the end of the calendar, also where it is already the next year.
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", ["2104-02-29T00:00:00Z"]),
        ("0 0 29 2 *", "UTC", "9996-02-29T00:00:00Z", ["never"]),
        ("59 23 31 12 *", "UTC", "9999-12-31T00:00:00Z", ["9999-12-31T23:59:00Z", "never"]),
        ("0 0 1 1 *", "Asia/Kathmandu", "9999-06-01T00:00:00Z", ["9999-12-31T18:15:00Z", "never"]),
        ("0 0 1 1 *", "America/Chicago", "9999-06-01T00:00:00Z", ["never"]),
        ("30 2 * * *", "America/Chicago", "9999-03-14T00:00:00Z", ["9999-03-14T08:00:00Z", "9999-03-15T07:30:00Z"]),
        ("0 0 1 1 *", "America/Chicago", "1970-01-01T00:00:00Z", ["1970-01-01T06:00:00Z"]),
    ],
)
def test_a_stated_case_ticks_when_it_should(text: str, zone: str, after: str, expected: list[str]) -> None:
    assert ticks(text, zone, after, len(expected)) == expected


def test_a_year_of_quarter_hours_lacks_three_quarters_of_the_gap_and_repeats_none() -> None:
    cron, zone = parse_cron("*/15 * * * *"), load_zone("America/Chicago")
    count, tick, end = 0, cron.next_tick(at("2026-01-01T05:59:59Z"), zone), at("2027-01-01T06:00:00Z")
    while tick is not None and tick < end:
        count, tick = count + 1, cron.next_tick(tick, zone)
    # 02:00, 02:15, 02:30 and 02:45 of 8 March tick with 03:00.
    assert count == 365 * 96 - 4


@pytest.mark.parametrize("zone", ZONES)
def test_thirty_years_of_month_ends_tick_at_midnight_of_the_wall_clock(zone: str) -> None:
    expected = []
    day = datetime(2026, 1, 1)
    while day.year < 2056:
        if day.day == 31 or (day.month, day.day) == (2, 29):
            expected.append(int((day.replace(hour=7, tzinfo=load_zone(zone)) - EPOCH) / timedelta(microseconds=1)))
        day += timedelta(days=1)
    found = sorted(
        tick
        for text in ("0 7 31 * *", "0 7 29 2 *")
        for tick in walked_ticks(text, zone, at("2026-01-01T12:00:00Z"), at("2056-01-01T12:00:00Z"))
    )
    assert found == expected
    assert len(found) == 30 * 7 + 7


def walked_ticks(text: str, zone: str, after: int, end: int) -> Iterator[int]:
    tick = next_cron_tick(text, after, zone)
    while tick is not None and tick <= end:
        yield tick
        tick = next_cron_tick(text, tick, zone)


def item(low: int, high: int) -> st.SearchStrategy[str]:
    """Items of a field that all cron libraries read alike."""
    number = st.integers(low, high)
    spans = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.tuples(st.one_of(spans, st.just("*")), st.integers(2, 9)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(number.map(str), spans, steps)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    return st.one_of(st.just("*"), st.lists(item(low, high), min_size=1, max_size=3).map(",".join))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)),
    st.integers(0, at("2090-01-01T00:00:00Z")),
)
def test_in_utc_ticks_are_those_of_a_library(fields: tuple[str, ...], after: int) -> None:
    text = " ".join(fields)
    library = croniter(text, (EPOCH + timedelta(microseconds=after)).replace(microsecond=0))
    tick: int | None = after
    for _ in range(3):
        assert tick is not None
        tick = next_cron_tick(text, tick)
        assert tick == (library.get_next(datetime) - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text, same",
    [
        ("0 0 5-5 * *", "0 0 5 * *"),
        ("0 22-2/3 * * *", "0 22,1 * * *"),
        ("50-10/7 * * * *", "50,57,4 * * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("*/99 * * * *", "0 * * * *"),
        ("0 0 1 nov-feb *", "0 0 1 11,12,1,2 *"),
        ("0 0 28-3 * *", "0 0 28,29,30,31,1,2,3 * *"),
        ("0 0 * DEC/3 *", "0 0 * 12 *"),
        ("0 0 * * sat-sun", "0 0 * * 0,6"),
        ("0 0 * * 5-7", "0 0 * * fri,sat,sun"),
        ("0 0 * * 7-2", "0 0 * * 0,1,2"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("0 0 * * 07-7", "0 0 * * 0"),
        ("0 0 * * fri-mon/2", "0 0 * * 5,0"),
        ("0 0 * * mon/2", "0 0 * * 1,3,5"),
        ("0 0 * * 7/2", "0 0 * * 0,2,4,6"),
        ("00 00 01 01 07", "0 0 1 1 0"),
        # `*` and `*/1` leave a day field open; everything else restricts it, even if it names all days.
        ("0 0 */1 * mon", "0 0 * * mon"),
        ("0 0 *,5 * mon", "0 0 * * mon"),
        ("0 0 1-31 * mon", "0 0 * * *"),
        ("0 0 13 * 0-6", "0 0 * * *"),
        ("0 0 13 * 0-7", "0 0 * * *"),
        ("0 0 1-31 * */2", "0 0 * * *"),
        ("0 0 30 2 mon", "0 0 * 2 mon"),
    ],
)
def test_other_ways_to_say_the_same_tick_alike(text: str, same: str) -> None:
    assert ticks(text, "UTC", "2026-01-01T00:00:00Z", 40) == ticks(same, "UTC", "2026-01-01T00:00:00Z", 40)


@given(st.integers(0, TIMESTAMP_MAX), st.sampled_from(sorted(EXPRESSIONS)), st.sampled_from(ZONES))
def test_a_tick_is_strictly_later_and_none_lies_between(after: int, text: str, zone: str) -> None:
    tick = next_cron_tick(text, after, zone)
    if tick is None:
        assert after > TIMESTAMP_MAX - 366 * DAY
    else:
        assert after < tick <= TIMESTAMP_MAX
        assert next_cron_tick(text, (after + tick) // 2, zone) == tick


@pytest.mark.parametrize(
    "text", ["* * * * *", "0 9 * * MON", "*/5 0-3 1,15 jan-MAR 7", "0 0 29 2 *", "0 0 31 4 mon", "5/10 * * * sat-sun"]
)
def test_five_fields_are_cron(text: str) -> None:
    check_cron(text)


@pytest.mark.parametrize(
    "text, why",
    [
        ("* * * *", "five fields"),
        ("0 0 0 1 * *", "five fields"),
        ("@daily", "five fields"),
        (" * * * * *", "five fields"),
        ("*\t* * * *", "five fields"),
        ("TZ=UTC * * * * *", "five fields"),
        ("TZ=UTC * * * *", "'TZ=UTC' is not a minute"),
        ("60 * * * *", "60 is outside the range of minute, 0 to 59"),
        ("* 24 * * *", "24 is outside the range of hour, 0 to 23"),
        ("* * 0 * *", "0 is outside the range of day of month, 1 to 31"),
        ("* * 1-32 * *", "32 is outside the range of day of month"),
        ("* * * 13 *", "13 is outside the range of month, 1 to 12"),
        ("* * * * 8", "8 is outside the range of day of week, 0 to 7"),
        ("* * L * *", "not a day of month"),
        ("* * * * mon#1", "not a day of week"),
        ("* * * * jan", "not a day of week"),
        ("* * * mon *", "not a month"),
        ("* * * * january", "not a day of week"),
        ("H * * * *", "not a minute"),
        ("*/0 * * * *", "not a minute"),
        ("*-5 * * * *", "not a minute"),
        ("5- * * * *", "not a minute"),
        ("1,,2 * * * *", "not a minute"),
        ("٣ * * * *", "not a minute"),
        ("? * * * *", "not a minute"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 30-31 feb */1", "never fires"),
    ],
)
def test_what_is_not_cron_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_cron(text)
