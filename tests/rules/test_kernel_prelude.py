"""The arithmetic of kernels against fractions, edges first: exact, or said not to fit."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from earnbook.rules import kernel_prelude as prelude

EDGES = [0, 1, -1, 2, -5, 10, 999, -1000, 2**31, -(2**31), 2**62 - 1, -(2**62), 2**63 - 1, -(2**63)]
SCALES = [0, 1, 2, 6, 18, 24]


def _value(number: int, scale: int) -> Fraction:
    return Fraction(number, 10**scale)


PAIRS = list(itertools.product(EDGES, (0, 2, 18), EDGES, (0, 6, 24)))


def test_comparison_is_exact_at_every_scale() -> None:
    for left, left_scale, right, right_scale in PAIRS:
        one, other = _value(left, left_scale), _value(right, right_scale)
        assert prelude._compare(left, left_scale, right, right_scale) == (one > other) - (one < other)


def test_sums_and_products_are_exact_or_do_not_fit() -> None:
    fitting = 0
    for left, left_scale, right, right_scale in PAIRS:
        one, other = _value(left, left_scale), _value(right, right_scale)
        for function, exact in ((prelude._add, one + other), (prelude._multiply, one * other)):
            number, scale, fits = function(left, left_scale, right, right_scale)
            assert not fits or (_value(number, scale) == exact and -(2**63) <= number < 2**63)
            fitting += fits
    assert fitting > len(PAIRS) // 2


def test_products_with_trailing_zeros_fit_where_their_plain_form_fits() -> None:
    number, scale, fits = prelude._multiply(5_000_000_000_000, 6, 4_000_000_000_000, 6)
    assert fits
    assert _value(number, scale) == 5_000_000 * 4_000_000


def _rounded(value: Fraction, places: int, mode: int) -> Fraction:
    shifted = value * Fraction(10) ** places
    if mode == 0:
        whole = abs(shifted) + Fraction(1, 2)
        rounded = (whole.numerator // whole.denominator) * (1 if shifted >= 0 else -1)
    elif mode == 1:
        rounded = shifted.numerator // shifted.denominator
    elif mode == 2:
        rounded = -(-shifted.numerator // shifted.denominator)
    else:
        rounded = abs(shifted.numerator) // shifted.denominator * (1 if shifted >= 0 else -1)
    return rounded / Fraction(10) ** places


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_rounding_is_exact_in_every_mode(mode: int) -> None:
    rng = random.Random(mode)
    numbers = [*EDGES, 125, -125, 15, -15, 25, 149, 151, *(rng.randint(-(10**12), 10**12) for _ in range(50))]
    for number, scale, places in itertools.product(numbers, SCALES, (-3, -1, 0, 1, 2, 6)):
        found, found_scale, fits = prelude._round(number, scale, places, mode)
        assert not fits or _value(found, found_scale) == _rounded(_value(number, scale), places, mode)
        if abs(number) < 2**62 and scale - places <= 18 and places >= 0:
            assert fits


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_a_rounded_quotient_is_exact_in_every_mode(mode: int) -> None:
    rng = random.Random(mode)
    fitting = 0
    for _ in range(3000):
        left, right = (rng.choice((rng.choice(EDGES), rng.randint(-(10**6), 10**6))) for _ in range(2))
        left_scale, right_scale, places = rng.choice((0, 2, 6)), rng.choice((0, 2, 6)), rng.choice((-2, 0, 2, 5))
        found, scale, fits = prelude._divide_round(left, left_scale, right, right_scale, places, mode)
        if fits:
            exact = _value(left, left_scale) / _value(right, right_scale)
            assert _value(found, scale) == _rounded(exact, places, mode)
            fitting += 1
        else:
            assert right == 0 or abs(left) > 10**6 or abs(right) > 10**6
    assert fitting > 1500


def test_whole_numbers_are_recognised_without_their_zeros() -> None:
    assert prelude._whole(700, 2) == (7, True)
    assert prelude._whole(705, 2)[1] is False
    assert prelude._whole(0, 6) == (0, True)


def test_a_counter_window_has_elapsed_at_its_end_and_never_before_its_start() -> None:
    assert prelude._counter_is_elapsed(100, 50, 150)
    assert not prelude._counter_is_elapsed(100, 50, 149)
    assert not prelude._counter_is_elapsed(100, 0, 99)
    assert not prelude._counter_is_elapsed(-(2**63), -(2**63), 99)


def test_parts_of_instants_are_those_of_the_calendar() -> None:
    rng = random.Random(7)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    days = [
        datetime(year, month, day, tzinfo=UTC)
        for year in (1600, 1900, 1999, 2000, 2024, 2100)
        for month, day in ((1, 1), (2, 28), (3, 1), (12, 31))
    ]
    days += [
        epoch + timedelta(seconds=rng.randint(-(10**10), 10**11), microseconds=rng.randint(0, 999_999))
        for _ in range(200)
    ]
    for moment in days:
        microseconds = (moment - epoch) // timedelta(microseconds=1)
        expected = [
            moment.year,
            moment.month - 1,
            moment.day - 1,
            moment.day,
            (moment.weekday() + 1) % 7,
            moment.timetuple().tm_yday - 1,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond // 1000,
        ]
        assert [prelude._time_part(microseconds, part) for part in range(10)] == expected
