"""The text pool and the stable hash."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnbook.ledger.pool import StringPool, hash_texts

WORD = (1 << 64) - 1


def reference_hash(text: str) -> int:
    """The published recipe in plain integers."""
    data = text.encode()
    state = (0x2545F4914F6CDD1D + len(data) * 0x9E3779B97F4A7C15) & WORD
    for at in range(0, len(data), 8):
        state = ((state ^ int.from_bytes(data[at : at + 8], "little")) * 0x9E3779B97F4A7C15) & WORD
        state ^= state >> 29
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 1):
        state = ((state ^ (state >> 33)) * multiplier) & WORD
    return state or 1


def test_hashes_are_those_of_the_format() -> None:
    hashes = hash_texts(pa.array(["alice", "bob", None, "", "élan" * 5]))
    assert hashes.tolist() == [
        8407543614631178003,
        5588723726583735594,
        0,
        reference_hash(""),
        11230574916852357268,
    ]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_the_hash_follows_its_recipe(text: str) -> None:
    assert hash_texts(pa.array([text])).tolist() == [reference_hash(text)]


def test_a_seed_chooses_another_hash() -> None:
    assert hash_texts(pa.array(["alice"]), 7)[0] != hash_texts(pa.array(["alice"]))[0]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_codes_do_not_depend_on_how_arrow_holds_the_text(kind: pa.DataType) -> None:
    pool = StringPool()
    texts = pa.array(["b", None, "a", "b", ""]).cast(kind)
    assert pool.intern(texts).tolist() == [0, -1, 1, 0, 2]
    assert pool.intern(texts.slice(2, 2)).tolist() == [1, 0]
    assert pool.intern(pa.chunked_array([texts.slice(2), texts.slice(0, 2)])).tolist() == [1, 0, 2, 0, -1]


def test_lookup_adds_nothing() -> None:
    pool = StringPool()
    pool.intern(pa.array(["a"]))
    assert pool.lookup(pa.array(["b", "a", None])).tolist() == [-1, 0, -1]
    assert len(pool) == 1


def test_empty_input_gives_no_codes() -> None:
    pool = StringPool()
    assert pool.intern(pa.array([], pa.string())).tolist() == []
    assert pool.intern(pa.chunked_array([], pa.string())).tolist() == []
    assert pool.intern(pa.nulls(2, pa.string())).tolist() == [-1, -1]
    assert hash_texts(pa.chunked_array([], pa.string())).tolist() == []


def test_texts_come_back_by_code() -> None:
    pool = StringPool()
    pool.intern(pa.array(["a", "zażółć", ""]))
    assert pool.texts(np.array([1, -1, 2, 1])).to_pylist() == ["zażółć", None, "", "zażółć"]
    assert pool.text(1) == "zażółć"
    assert pool.all_texts(1).to_pylist() == ["zażółć", ""]
    with pytest.raises(IndexError):
        pool.text(3)
    with pytest.raises(IndexError):
        pool.texts([3])


def test_the_pool_grows_in_texts_and_in_bytes() -> None:
    pool = StringPool()
    texts = [f"user-{n}" for n in range(5_000)] + ["x" * 100_000, "y" * 3]
    assert pool.intern(pa.array(texts)).tolist() == list(range(len(texts)))
    assert pool.intern(pa.array(texts[::-1])).tolist() == list(range(len(texts)))[::-1]
    assert pool.texts(np.arange(len(texts))).to_pylist() == texts


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=60))
def test_interning_equals_a_dictionary(texts: list[str | None]) -> None:
    pool = StringPool()
    known: dict[str, int] = {}
    expected = [-1 if text is None else known.setdefault(text, len(known)) for text in texts]
    assert pool.intern(pa.array(texts, pa.string())).tolist() == expected
