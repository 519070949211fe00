"""Minor units, mantissas and 128-bit words: exact, or an outcome (§5.3, example N2)."""

from __future__ import annotations

from decimal import Context, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnbook.ledger.amounts import (
    COUNTER_LIMIT,
    MINOR_MAX,
    add_counter,
    classify_amount,
    classify_counter,
    format_mantissa,
    format_minor,
    join_words,
    minor_of,
    split_words,
)
from earnbook.ledger.schema import Outcome

EXACT = Context(prec=200)
scales = st.integers(0, 18)


def edges(bits: int) -> st.SearchStrategy[int]:
    """Integers of all sizes up to so many bits, often near powers of two and of ten."""
    near = [
        sign * (base + step)
        for base in [0, *(2**n for n in (31, 32, 63, 64, 96)), *(10**n for n in (1, 18, 19, 20, 37))]
        for step in (-1, 0, 1)
        for sign in (-1, 1)
    ]
    small = st.sampled_from(near)
    wide = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    round_ones = st.builds(lambda a, n: a * 10**n, st.integers(-999, 999), st.integers(0, 30))
    return st.one_of(small, wide, round_ones, st.integers(-1000, 1000))


def decimal_of(mantissa: int, decimals: int) -> Decimal:
    return Decimal(mantissa).scaleb(-decimals, EXACT)


@pytest.mark.parametrize(
    "value, minor, code",
    [
        ("5", 500, Outcome.OK),
        ("5.000", 500, Outcome.OK),
        ("5E+1", 5000, Outcome.OK),
        ("5.005", 0, Outcome.AMOUNT_EXCEEDS_SCALE),
        ("-1", 0, Outcome.AMOUNT_NOT_POSITIVE),
        ("-0.001", 0, Outcome.AMOUNT_NOT_POSITIVE),
        ("0", 0, Outcome.OK),
        ("-0", 0, Outcome.OK),
        ("0E-9", 0, Outcome.OK),
        ("Infinity", 0, Outcome.INVALID_AMOUNT),
        ("-Infinity", 0, Outcome.INVALID_AMOUNT),
        ("NaN", 0, Outcome.INVALID_AMOUNT),
        ("92233720368547758.07", MINOR_MAX, Outcome.OK),
        ("92233720368547758.08", 0, Outcome.AMOUNT_OVERFLOW),
        ("1E+400", 0, Outcome.AMOUNT_OVERFLOW),
        ("1E-400", 0, Outcome.AMOUNT_EXCEEDS_SCALE),
    ],
)
def test_n2_amounts_become_minor_units_or_a_code(value: str, minor: int, code: Outcome) -> None:
    assert classify_amount(Decimal(value), 2) == (minor, code)


def test_n2_the_largest_amount_at_scale_18() -> None:
    assert classify_amount(Decimal("9.223372036854775807"), 18) == (MINOR_MAX, Outcome.OK)
    assert classify_amount(Decimal("9.223372036854775808"), 18) == (0, Outcome.AMOUNT_OVERFLOW)


@settings(deadline=None)
@given(edges(128), scales, scales)
def test_the_kernel_judges_amounts_as_decimals_do(mantissa: int, decimals: int, scale: int) -> None:
    assert minor_of(*split_words(mantissa), decimals, scale) == classify_amount(decimal_of(mantissa, decimals), scale)


@settings(deadline=None)
@given(edges(128))
def test_words_hold_128_bits(value: int) -> None:
    low, high = split_words(value)
    assert join_words(low, high) == value
    assert -(2**63) <= low < 2**63


@pytest.mark.parametrize("value", [2**127, -(2**127) - 1])
def test_more_than_128_bits_are_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        split_words(value)


@settings(deadline=None)
@given(edges(128), scales, edges(128), scales)
def test_counters_add_exactly_or_are_out_of_range(stored: int, decimals: int, delta: int, by: int) -> None:
    if decimal_of(stored, decimals).copy_abs() >= COUNTER_LIMIT:
        stored = stored % 10**18
    low, high, scale, code = add_counter(*split_words(stored), decimals, *split_words(delta), by)
    expected = EXACT.add(decimal_of(stored, decimals), decimal_of(delta, by))
    # `abs` would round to the 28 digits of the default context.
    if expected.copy_abs() >= COUNTER_LIMIT:
        assert code == Outcome.COUNTER_OUT_OF_RANGE
    else:
        assert code == Outcome.OK
        assert decimal_of(join_words(low, high), scale) == expected
        assert scale == 0 or join_words(low, high) % 10 != 0


@pytest.mark.parametrize(
    "value, expected",
    [
        ("1.50", (15, 1, Outcome.OK)),
        ("-3E+2", (-300, 0, Outcome.OK)),
        ("0.000", (0, 0, Outcome.OK)),
        ("NaN", (0, 0, Outcome.INVALID_VALUE)),
        ("1E-19", (0, 0, Outcome.COUNTER_OUT_OF_RANGE)),
        ("2E+20", (0, 0, Outcome.COUNTER_OUT_OF_RANGE)),
        ("1.99E+20", (199 * 10**18, 0, Outcome.OK)),
    ],
)
def test_counter_values_become_mantissas_or_a_code(value: str, expected: tuple[int, int, Outcome]) -> None:
    assert classify_counter(Decimal(value)) == expected


@pytest.mark.parametrize(
    "minor, scale, text",
    [(500, 2, "5.00"), (-5, 2, "-0.05"), (0, 2, "0.00"), (7, 0, "7"), (-MINOR_MAX - 1, 18, "-9.223372036854775808")],
)
def test_amounts_print_with_all_decimals_of_their_asset(minor: int, scale: int, text: str) -> None:
    assert format_minor(minor, scale) == text


@pytest.mark.parametrize("mantissa, decimals, text", [(150, 2, "1.5"), (-100, 2, "-1"), (0, 3, "0"), (100, 0, "100")])
def test_counters_print_without_trailing_zeros(mantissa: int, decimals: int, text: str) -> None:
    assert format_mantissa(mantissa, decimals) == text
