"""The second opinion on expressions: what cel-python's grammar reads, and what only ours does."""

from __future__ import annotations

import pytest

from earnbook.rules.parse import parse_expression
from earnbook.rules.parse_portable import is_portable


@pytest.mark.parametrize("text", ["event.amount * 0.03 > 5.0", "'vip' in participant.tags", "[1, 2].exists(x, x > 1)"])
def test_plain_cel_is_portable(text: str) -> None:
    assert is_portable(parse_expression(text))


@pytest.mark.parametrize("text", ["event.?amount.orValue(0.0) > 1.0", "event.`a-b` == 1"])
def test_newer_syntax_is_read_here_and_not_there(text: str) -> None:
    assert not is_portable(parse_expression(text))
