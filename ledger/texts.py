"""The text forms of values that are not text, and what the books need of a text pool."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Texts(Protocol):
    """The run's text pool, as far as the books need it (`ledger.pool.StringPool`)."""

    def text(self, code: int) -> str:
        """The text of a code."""
        ...

    def intern_text(self, text: str) -> int:
        """The code of a text, adding it if it is new."""
        ...


def timestamp_text(microseconds: int) -> str:
    """A time as RFC 3339 in UTC, with as many decimals of a second as it has (§11.4)."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment.isoformat()[:19]}{fraction}Z"
