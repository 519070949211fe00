"""Exact JSON: numbers as text, canonical form, cells, limits (§3.4, §5.2)."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnbook.ledger.schema import Kind
from earnbook.pipeline.intake_json import (
    NumberText,
    canonical_json,
    canonical_number,
    cell_of,
    depth_of,
    number_mistake,
    parse_object,
    parse_value,
    write_json,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("5.10", "5.1"), ("50.0", "50"), ("1e3", "1000"), ("-0", "0"), ("-0.0", "0"), ("1.50e-3", "0.0015"),
        ("12300e-2", "123"), ("0e999999999999", "0"), ("0.1", "0.1"), ("100", "100"), ("-7.000", "-7"),
    ],
)  # fmt: skip
def test_canonical_numbers_are_plain(text: str, canonical: str) -> None:
    assert canonical_number(text) == canonical


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_canonical_numbers_keep_the_value_and_are_unique(number: Decimal) -> None:
    text = format(number, "f")
    plain = canonical_number(text)
    assert Decimal(plain) == number
    assert plain == canonical_number(f"{number:.60E}") == canonical_number(plain)
    assert "e" not in plain.lower()


def test_canonical_json_sorts_members_and_drops_space() -> None:
    assert canonical_json(' { "b" : [ 1.0 , {"z":null, "a":true} ], "a":"\\u00e9\\/" } ') == (
        '{"a":"é/","b":[1,{"a":true,"z":null}]}'
    )


@pytest.mark.parametrize(
    ("text", "fits"),
    [("1" * 34, True), ("1" * 35, False), ("1" + "0" * 40, True), ("0." + "0" * 50 + "1", True), ("1e400", True),
     ("1e401", False), ("1e-400", True), ("1e-401", False), ("NaN", False), ("0e9999", True)],
)  # fmt: skip
def test_numbers_have_34_digits_and_an_exponent_to_400(text: str, fits: bool) -> None:
    assert (number_mistake(text) is None) is fits


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("12.340", (Kind.NUMBER, 1234, 2)), ("-5", (Kind.NUMBER, -5, 0)), ("1e2", (Kind.NUMBER, 100, 0)),
        ("0.0000001", (Kind.WIDE, 0, 0)), ("0.1234560", (Kind.NUMBER, 123456, 6)),
        ("9223372036854775807", (Kind.NUMBER, 2**63 - 1, 0)), ("9223372036854775808", (Kind.WIDE, 0, 0)),
        ("null", (Kind.NULL, 0, 0)), ("true", (Kind.BOOL, 1, 0)), ("[]", (Kind.LIST, 0, 0)), ("{}", (Kind.MAP, 0, 0)),
    ],
)  # fmt: skip
def test_cells(text: str, cell: tuple[Kind, int, int]) -> None:
    members, _ = parse_object(f'{{"a":{{"b":{text}}}}}')
    assert cell_of(members, ("a", "b"))[:3] == cell
    assert cell_of(members, ("a", "c"))[0] is Kind.ABSENT
    assert cell_of(members, ("a", "b", "c"))[0] is Kind.ABSENT


def test_texts_of_members_are_as_written() -> None:
    assert parse_object('{"a" : 1.50 ,"b":"\\u00e9"}') == ({"a": "1.50", "b": "é"}, {"a": "1.50", "b": '"\\u00e9"'})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_writing_and_reading_give_the_value_back(value: object) -> None:
    text = json.dumps(value)
    parsed = parse_value(text)
    assert json.loads(write_json(parsed)) == value
    assert parse_value(write_json(parsed)) == parsed


def test_depth_counts_objects_and_lists() -> None:
    assert depth_of(NumberText("1")) == 0
    assert depth_of({"a": [{"b": None}], "c": {}}) == 3
