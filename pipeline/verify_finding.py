"""What a check of `verify` reports."""

from __future__ import annotations

from dataclasses import dataclass

EXAMPLES_MAX = 5
"""Examples kept of each failed check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One failed check: `property` is its label in §19.4, `batch` the first batch concerned where one can be named.

    `count` is the number of violations, `examples` describes up to five of them.
    """

    check: str
    property: str
    batch: int | None
    table: str | None
    message: str
    count: int
    examples: tuple[str, ...]
