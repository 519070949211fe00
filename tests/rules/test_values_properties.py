"""Exact arithmetic against fractions: sums, products, quotients, rounding, order and text of any numbers (§5.1)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from earnbook.rules import values, values_numbers
from earnbook.rules.values import INT_MAX, INT_MIN, CelError

INTEGERS = st.one_of(
    st.integers(INT_MIN, INT_MAX), st.sampled_from([0, 1, -1, INT_MIN, INT_MIN + 1, INT_MAX, INT_MAX - 1])
)
DECIMALS = st.builds(
    lambda mantissa, exponent: Decimal(mantissa).scaleb(exponent),
    st.integers(-(10**27), 10**27),
    st.integers(-30, 30),
)
NUMBERS = st.one_of(INTEGERS, DECIMALS)


def fraction(value: object) -> Fraction:
    """The exact value of a number."""
    assert isinstance(value, int | Decimal)
    return Fraction(value)


def half_away(number: Fraction) -> int:
    """The nearest integer, half away from zero."""
    whole = (abs(number) * 2 + 1) // 2
    return int(whole if number >= 0 else -whole)


@given(DECIMALS, NUMBERS)
def test_decimal_sums_and_products_are_exact(left: Decimal, right: int | Decimal) -> None:
    assert fraction(values_numbers.add(left, right)) == fraction(left) + fraction(right)
    assert fraction(values_numbers.subtract(right, left)) == fraction(right) - fraction(left)
    assert fraction(values_numbers.multiply(left, right)) == fraction(left) * fraction(right)


@given(INTEGERS, INTEGERS)
def test_integer_arithmetic_is_exact_or_an_error(left: int, right: int) -> None:
    for operation, exact in (
        (values_numbers.add, left + right),
        (values_numbers.subtract, left - right),
        (values_numbers.multiply, left * right),
    ):
        try:
            result = operation(left, right)
        except CelError:
            assert not INT_MIN <= exact <= INT_MAX
        else:
            assert (type(result), result) == (int, exact)


@given(INTEGERS, INTEGERS)
def test_integer_quotient_and_remainder_make_the_dividend(left: int, right: int) -> None:
    if right == 0 or (left, right) == (INT_MIN, -1):
        for operation in (values_numbers.divide, values_numbers.modulo):
            try:
                operation(left, right)
            except CelError:
                continue
            raise AssertionError(f"{operation} of {left} and {right} is no error")
        return
    quotient, remainder = values_numbers.divide(left, right), values_numbers.modulo(left, right)
    assert isinstance(quotient, int)
    assert isinstance(remainder, int)
    assert quotient * right + remainder == left
    assert abs(remainder) < abs(right)
    assert remainder == 0 or (remainder < 0) == (left < 0)


@given(DECIMALS, NUMBERS.filter(lambda number: number != 0))
def test_a_quotient_is_the_nearest_number_of_34_digits(left: Decimal, right: int | Decimal) -> None:
    quotient = values_numbers.divide(left, right)
    assert isinstance(quotient, Decimal)
    exact = fraction(left) / fraction(right)
    if exact == 0:
        assert quotient == 0
        return
    unit = Fraction(10) ** (quotient.adjusted() - 33)
    distance = abs(fraction(quotient) - exact)
    assert distance <= unit / 2
    if distance == unit / 2:
        assert int(fraction(quotient) / unit) % 2 == 0


@given(NUMBERS, st.integers(-18, 18))
def test_rounding_is_half_away_from_zero(number: int | Decimal, places: int) -> None:
    rounded = values_numbers.round_half_away(number, places)
    scale = Fraction(10) ** places
    assert fraction(rounded) == half_away(fraction(number) * scale) / scale


@given(NUMBERS)
def test_floor_ceil_and_int(number: int | Decimal) -> None:
    exact = fraction(number)
    assert fraction(values_numbers.floor(number)) == exact.__floor__()
    assert fraction(values_numbers.ceil(number)) == exact.__ceil__()
    try:
        whole = values_numbers.to_int(number)
    except CelError:
        assert not INT_MIN <= int(exact) <= INT_MAX
    else:
        assert whole == int(exact)


@given(NUMBERS, NUMBERS)
def test_order_and_equality_go_by_exact_value(left: int | Decimal, right: int | Decimal) -> None:
    one, other = fraction(left), fraction(right)
    assert values.equals(left, right) == (one == other)
    assert values.less(left, right) == (one < other)
    assert values.less_equal(left, right) == (one <= other)
    assert values.greater(left, right) == (one > other)
    assert values.greater_equal(left, right) == (one >= other)


@given(NUMBERS)
def test_the_text_of_a_number_reads_back(number: int | Decimal) -> None:
    text = values_numbers.number_text(number)
    assert fraction(values_numbers.decimal_of_text(text)) == fraction(number)
    mantissa = text.partition("e")[0]
    assert "." not in mantissa or not mantissa.endswith(("0", "."))
