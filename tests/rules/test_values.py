"""Numbers, equality, order and conversions of CEL values (§5.1, §5.2, §11.3)."""

from __future__ import annotations

from decimal import Decimal, getcontext, localcontext

import pytest

from earnbook.rules.lower_closure import evaluate
from earnbook.rules.syntax import Uint
from earnbook.rules.values import CelError, CelLimit, Duration, Timestamp, Value
from earnbook.rules.values_numbers import DIGITS_MAX, number_text

D = Decimal
INFINITY = D("Infinity")


def typed(value: Value) -> tuple[type, Value]:
    """A value with its type, because 1 == 1.0 == True in Python."""
    return type(value), value


def event(number: str) -> dict[str, Value]:
    """An event whose `n` comes from JSON."""
    return {"n": D(number)}


# Example N1, row by row.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("49.99 * 0.03", D("1.4997")),
        ("round(49.99 * 0.03, 2)", D("1.5")),
        ("round(1.009, 2)", D("1.01")),
        ("round(0.125, 2)", D("0.13")),
        ("round(-0.125, 2)", D("-0.13")),
        ("round(2.5)", D(3)),
        ("round(1250, -2)", D(1300)),
        ("0.1 + 0.2 == 0.3", True),
        ("string(50.0)", "50"),
        ("int(-2.7)", -2),
        ("51 / 2", 25),
        ("10 / 3.0", D("3.333333333333333333333333333333333")),
        ("2.0 / 3", D("0.6666666666666666666666666666666667")),
        ("9223372036854775807 + 1.0", D("9223372036854775808")),
        ("1.0 / 0", INFINITY),
    ],
)
def test_example_n1_values(text: str, expected: Value) -> None:
    assert typed(evaluate(text)) == typed(expected)


@pytest.mark.parametrize(
    ("text", "number", "expected"),
    [
        ("event.n == 50", "50.0", True),
        ("event.n == 50.0", "50", True),
        ("event.n / 2", "51", D("25.5")),
        ("event.n % 2", "7", 1),
    ],
)
def test_example_n1_with_an_event(text: str, number: str, expected: Value) -> None:
    assert typed(evaluate(text, event=event(number))) == typed(expected)


@pytest.mark.parametrize("text", ["9223372036854775807 + 1", "1 / 0"])
def test_example_n1_errors(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


def test_remainder_of_a_fraction_is_an_error() -> None:
    with pytest.raises(CelError, match="whole number"):
        evaluate("event.n % 2", event=event("7.5"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / -2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("7u / 2u", Uint(3)),
        ("7u % 4u", Uint(3)),
        ("7.0 % 4", 3),
        ("-7.0 % 4.0", -3),
        ("9223372036854775806 + 1", 9223372036854775807),
        ("-9223372036854775808", -9223372036854775808),
        ("18446744073709551615u", Uint(18446744073709551615)),
        ("1 + 0.5", D("1.5")),
        ("0.5 + 1u", D("1.5")),
        ("2 * 0.25", D("0.5")),
        ("1.10 * 1.10", D("1.21")),
        ("1e20 + 1e-20", D("100000000000000000000.00000000000000000001")),
        ("-(0.5)", D("-0.5")),
        ("-1.0 / 0", -INFINITY),
        ("1.0 / -0.0", INFINITY),
        ("5.0 / (1.0 / 0)", D(0)),
        ("1.0 / 0 + 1", INFINITY),
        ("1.0 / 0 > 9223372036854775807", True),
        ("0.0 / 0 == 0.0 / 0", False),
        ("0.0 / 0 != 0.0 / 0", True),
        ("0.0 / 0 < 1", False),
        ("0.0 / 0 >= 1", False),
        ("1 <= 0.0 / 0", False),
        ("1 > 0.0 / 0", False),
        ("string(-0.0)", "0"),
        ("-0.0 == 0.0", True),
    ],
)
def test_arithmetic(text: str, expected: Value) -> None:
    assert typed(evaluate(text)) == typed(expected)


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775807 + 1",
        "-9223372036854775808 - 1",
        "4611686018427387904 * 2",
        "-9223372036854775808 / -1",
        "-(-9223372036854775808)",
        "abs(-9223372036854775808)",
        "18446744073709551615u + 1u",
        "0u - 1u",
        "-(1u)",
        "1 % 0",
        "-9223372036854775808 % -1",
        "1.0 % 0",
        "1u / 0u",
        "1 + 1u",
        "1 + true",
        "true * 2",
        "'1' * 2",
        "1.0 / 0 % 2",
    ],
)
def test_arithmetic_errors(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


def test_an_exact_result_may_need_1024_digits_and_no_more() -> None:
    nines = "9" * (DIGITS_MAX // 2)
    assert len(str(evaluate(f"{nines}.0 * {nines}.0")).rstrip("0").rstrip(".")) == DIGITS_MAX
    with pytest.raises(CelError, match="1,024 digits"):
        evaluate(f"{nines}.0 * {nines}.0 * 3")
    with pytest.raises(CelError, match="1,024 digits"):
        evaluate("1e600 + 1e-600")


def test_a_large_exponent_alone_is_not_many_digits() -> None:
    assert evaluate("1e600 * 1e600") == D("1e1200")
    assert evaluate("1e-400 * 1e-400 > 0") is True


def test_division_rounds_half_to_even_at_34_digits() -> None:
    assert evaluate("10000000000000000000000000000000005.0 / 10") == D("1000000000000000000000000000000000")
    assert evaluate("10000000000000000000000000000000015.0 / 10") == D("1000000000000000000000000000000002")


def test_results_do_not_depend_on_the_thread_s_decimal_context() -> None:
    with localcontext() as context:
        context.prec = 3
        assert evaluate("1.23456789 * 1.0 + 1.0 / 3") == D("1.5679012233333333333333333333333333")
        assert evaluate("round(12345.678, 1)") == D("12345.7")
    assert getcontext().prec == 28


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("round(2.5)", D(3)),
        ("round(-2.5)", D(-3)),
        ("round(2.4999)", D(2)),
        ("round(0.5)", D(1)),
        ("round(-0.4)", D(0)),
        ("round(1.005, 2)", D("1.01")),
        ("round(5, -1)", D(10)),
        ("round(4, -1)", D(0)),
        ("round(1.5, 18)", D("1.5")),
        ("round(1.5, 1.0)", D("1.5")),
        ("round(1.0 / 0, 2)", INFINITY),
        ("round(7u)", D(7)),
        ("floor(-1.5)", D(-2)),
        ("floor(1.5)", D(1)),
        ("ceil(1.2)", D(2)),
        ("ceil(-1.2)", D(-1)),
        ("ceil(3)", D(3)),
        ("abs(-1.5)", D("1.5")),
        ("abs(-3)", 3),
        ("min(3, 1.5)", D("1.5")),
        ("max(3, 1.5, 2u)", 3),
        ("min([3, 1, 2])", 1),
        ("max(1, 1.0)", 1),
    ],
)
def test_rounding_and_extremes(text: str, expected: Value) -> None:
    assert typed(evaluate(text)) == typed(expected)


@pytest.mark.parametrize(
    "text", ["round(1.5, 19)", "round(1.5, -19)", "round(1.5, 0.5)", "round('1')", "min([])", "max('a', 1)", "abs('a')"]
)
def test_rounding_and_extremes_refuse(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


def test_extremes_with_nan_are_nan() -> None:
    result = evaluate("min(1, 0.0 / 0)")
    assert isinstance(result, Decimal)
    assert result.is_nan()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int(2.9)", 2),
        ("int('42')", 42),
        ("int(7u)", 7),
        ("int(timestamp('1970-01-01T00:01:00Z'))", 60),
        ("uint(3.7)", Uint(3)),
        ("double('12.50')", D("12.5")),
        ("double('1e3')", D(1000)),
        ("double('-.5')", D("-0.5")),
        ("double(3)", D(3)),
        ("double('-Infinity')", -INFINITY),
        ("bool('true')", True),
        ("string(true)", "true"),
        ("string(1.50)", "1.5"),
        ("string(100)", "100"),
        ("string(b'abc')", "abc"),
        ("string(duration('90s'))", "90s"),
        ("string(duration('1.5s'))", "1.5s"),
        ("string(timestamp('2026-01-31T10:00:00+01:00'))", "2026-01-31T09:00:00Z"),
        ("bytes('é')", "é".encode()),
        ("size('é€')", 2),
        ("size(b'\\xff\\x00')", 2),
    ],
)
def test_conversions(text: str, expected: Value) -> None:
    assert typed(evaluate(text)) == typed(expected)


@pytest.mark.parametrize(
    "text",
    [
        "int(9223372036854775808.0)",
        "int(1e300)",
        "int('4.2')",
        "int('')",
        "int(true)",
        "int(1.0 / 0)",
        "uint(-1)",
        "double('1,5')",
        "double('')",
        "double(' 1')",
        "double('١')",
        "bool('yes')",
        "string(null)",
        "string([1])",
        "string(b'\\xff')",
        "size(5)",
    ],
)
def test_conversions_refuse(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("50.0", "50"),
        ("0.10", "0.1"),
        ("-12.3400", "-12.34"),
        ("1000", "1000"),
        ("1e3", "1000"),
        ("0E-10", "0"),
        ("0.0000001", "0.0000001"),
        ("0.00000009", "9e-8"),
        ("-0.000000012", "-1.2e-8"),
        ("123456789012345678901", "123456789012345678901"),
        ("999999999999999999999.5", "999999999999999999999.5"),
        ("1000000000000000000000", "1e+21"),
        ("1.50e30", "1.5e+30"),
        ("Infinity", "Infinity"),
        ("NaN", "NaN"),
    ],
)
def test_text_of_a_number(number: str, text: str) -> None:
    assert number_text(D(number)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 == 1.0 && 1 == 1u && 1u == 1.0", True),
        ("9007199254740993 == 9007199254740992.0", False),
        ("1 == true", False),
        ("1 == '1'", False),
        ("null == null", True),
        ("null == false", False),
        ("[1, 2.0] == [1.0, 2]", True),
        ("[1] == [1, 2]", False),
        ("{'a': 1} == {'a': 1.0}", True),
        ("{'a': 1} == {'b': 1}", False),
        ("{1: 'x'} == {1u: 'x'}", True),
        ("{true: 'x'} == {1: 'x'}", False),
        ("{true: 'a', 1: 'b'}[true]", "a"),
        ("{true: 'a', 1: 'b'}[1.0]", "b"),
        ("'a' == b'a'", False),
        ("[true] == [1]", False),
        ("true in [1]", False),
        ("1 in [2, 1.0]", True),
        ("'a' in {'a': null}", True),
        ("2 in {2u: 1}", True),
        ("'1' in {1: 1}", False),
        ("'a' < 'b' && 'B' < 'a'", True),
        ("'\U00010000' > '\uffff'", True),
        ("false < true", True),
        ("b'a' < b'b'", True),
        ("1 < 1.5 && 1u < 2 && -1 < 0u", True),
        ("timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-01T00:00:00.000000001Z')", True),
        ("duration('1h') == duration('60m')", True),
        ("type(1) == int && type(1.0) == double && type('') == string", True),
        ("type(null) == null_type && type([]) == list && type({}) == map", True),
        ("type(timestamp(0)) == google.protobuf.Timestamp", True),
    ],
)
def test_equality_order_and_membership(text: str, expected: Value) -> None:
    assert typed(evaluate(text)) == typed(expected)


@pytest.mark.parametrize(
    "text", ["1 < 'a'", "null < 1", "[1] < [2]", "true < 1", "1 in 'abc'", "'a' in null", "'a' < b'a'"]
)
def test_order_across_types_is_an_error(text: str) -> None:
    with pytest.raises(CelError, match="does not accept"):
        evaluate(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timestamp('2026-01-01T00:00:00Z') + duration('24h')", "2026-01-02T00:00:00Z"),
        ("timestamp('2026-01-01T00:00:00Z') - duration('1ns')", "2025-12-31T23:59:59.999999999Z"),
        ("duration('1h') + timestamp(0)", "1970-01-01T01:00:00Z"),
        ("timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z')", "86400s"),
        ("duration('1h') - duration('90m')", "-1800s"),
        ("timestamp('0001-01-01T00:00:00Z')", "0001-01-01T00:00:00Z"),
        ("timestamp('2026-01-01T00:00:00.123456789Z')", "2026-01-01T00:00:00.123456789Z"),
        ("duration('1h2m3.004s')", "3723.004s"),
        ("duration('-1.5ms')", "-0.0015s"),
        ("timestamp(event.n)", "1970-01-01T00:01:00Z"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert evaluate(f"string({text})", event=event("60")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "timestamp('2026-02-30T00:00:00Z')",
        "timestamp('2026-01-01T00:00:60Z')",
        "timestamp('2026-01-01T00:00:00')",
        "timestamp('2026-01-01')",
        "timestamp('9999-12-31T23:59:59Z') + duration('1s')",
        "timestamp('0001-01-01T00:00:00Z') - duration('1ns')",
        "duration('1')",
        "duration('1d')",
        "duration('')",
        "duration('h')",
        "duration('99999999999h')",
        "timestamp(0).getHours('Nowhere/At_All')",
        "timestamp(0).getHours('../etc/passwd')",
        "timestamp(0) + timestamp(0)",
        "timestamp(0) + 1",
        "duration('1s') * 2",
    ],
)
def test_times_refuse(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getFullYear()", 2026),
        ("getMonth()", 2),
        ("getDate()", 1),
        ("getDayOfMonth()", 0),
        ("getDayOfWeek()", 0),
        ("getDayOfYear()", 59),
        ("getHours()", 3),
        ("getMinutes()", 4),
        ("getSeconds()", 5),
        ("getMilliseconds()", 678),
        ("getHours('Europe/Berlin')", 4),
        ("getHours('-04:30')", 22),
        ("getDate('America/New_York')", 28),
        ("getHours('+02:00')", 5),
    ],
)
def test_parts_of_a_date(text: str, expected: int) -> None:
    assert evaluate(f"timestamp('2026-03-01T03:04:05.678Z').{text}") == expected


def test_parts_of_a_duration_are_whole_units() -> None:
    assert evaluate("duration('3h90m').getHours()") == 4
    assert evaluate("duration('3h90m').getMinutes()") == 270
    assert evaluate("duration('1.234s').getMilliseconds()") == 234
    assert evaluate("duration('-90s').getMinutes()") == -1


def test_times_hold_nanoseconds() -> None:
    assert evaluate("timestamp('1970-01-01T00:00:00.000000001Z')") == Timestamp(1)
    assert evaluate("duration('1us')") == Duration(1000)
    assert Timestamp.from_microseconds(5) == Timestamp(5000)


def test_access_counts_from_zero_and_takes_whole_decimals() -> None:
    items = {"items": ["a", "b"], "at": D("1.0"), "half": D("0.5")}
    assert evaluate("event.items[1]", event=items) == "b"
    assert evaluate("event.items[event.at]", event=items) == "b"
    for text in ("event.items[2]", "event.items[-1]", "event.items[event.half]", "event.items['0']", "event.none"):
        with pytest.raises(CelError):
            evaluate(text, event=items)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(event.a)", True),
        ("has(event.b)", True),
        ("has(event.c)", False),
        ("has(event.a.x)", True),
        ("has(event.a.y)", False),
        ("event.b == null", True),
        ("get(event.a, 'x', 9)", D(1)),
        ("get(event.a, 'y', 9)", 9),
        ("event['a']['x'] == 1", True),
    ],
)
def test_fields(text: str, expected: Value) -> None:
    assert evaluate(text, event={"a": {"x": D(1)}, "b": None}) == expected


def test_has_below_a_missing_field_is_an_error() -> None:
    with pytest.raises(CelError, match="no field 'a'"):
        evaluate("has(event.a.b)", event={})


def test_map_literals_refuse_repeated_and_impossible_keys() -> None:
    for text in ("{'a': 1, 'a': 2}", "{1: 1, 1u: 2}", "{true: 1, true: 2}", "{1.0: 1}", "{null: 1}", "{[1]: 1}"):
        with pytest.raises(CelError):
            evaluate(text)


def test_a_text_that_grows_without_bound_is_a_limit() -> None:
    doubled = "cel.bind(a, event.t + event.t, cel.bind(b, a + a, cel.bind(c, b + b, c + c)))"
    assert len(str(evaluate(doubled, event={"t": "x" * 1000}))) == 16_000
    with pytest.raises(CelLimit):
        evaluate(doubled, event={"t": "x" * 100_000})


def test_a_value_that_holds_one_part_in_many_places_is_a_limit() -> None:
    nested = "".join(f"cel.bind(x{n + 1}, [x{n}, x{n}], " for n in range(40))
    for text in ("x40 == dyn(x40)", "'%s'.format([x40])"):
        with pytest.raises(CelLimit):
            evaluate(f"cel.bind(x0, [event.n], {nested}{text}{')' * 41}", event=event("1"))


def test_text_that_utf8_cannot_hold_is_an_error_where_it_matters() -> None:
    event_data = {"t": "a\ud800b"}
    assert evaluate("event.t.size() == 3 && event.t.startsWith('a')", event=event_data) is True
    for text in ("event.t.matches('b')", "bytes(event.t)"):
        with pytest.raises(CelError, match="UTF-8"):
            evaluate(text, event=event_data)


def test_a_date_outside_the_years_in_its_zone_is_an_error() -> None:
    with pytest.raises(CelError):
        evaluate("timestamp('0001-01-01T00:00:00Z').getHours('-05:00')")
