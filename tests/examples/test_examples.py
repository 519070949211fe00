"""The worked examples of SEMANTICS, on every engine."""

from __future__ import annotations

import pytest

from tests.support.engines import ENGINES
from tests.support.examples import example_names, load_example, mismatches


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", example_names())
def test_example_gives_the_book_it_describes(name: str, engine: str) -> None:
    example = load_example(name)
    book = ENGINES[engine](example.scenario)
    assert mismatches(example, book) == []
