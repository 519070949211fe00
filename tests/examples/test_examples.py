"""The worked examples of SEMANTICS, on every engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.engines import ENGINES
from tests.support.examples import example_names, load_example, mismatches


def _cases() -> Iterator[tuple[str, str]]:
    for name in example_names():
        for engine in load_example(name).engines or ENGINES:
            yield name, engine


@pytest.mark.parametrize("name, engine", list(_cases()))
def test_example_gives_the_book_it_describes(name: str, engine: str) -> None:
    example = load_example(name)
    book = ENGINES[engine](example.scenario)
    assert mismatches(example, book) == []
