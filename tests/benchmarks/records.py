"""Columns of made-up records for benchmarks: native rows (§3.2) whose values follow from their numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

OPENING_US = 1_735_689_600_000_000  # 2025-01-01
DAY_US = 86_400_000_000
STEP_US = 1_000
SEED = 20_250_101


def event_table(prefix: str, when: pa.Array, members: np.ndarray, data: pa.Array) -> pa.Table:
    """Events of the program `loyalty`, keys in order behind a prefix, each of a member by number."""
    count = len(members)
    return pa.table(
        {
            "program_id": repeated("loyalty", count),
            "idempotency_key": texts(prefix, np.arange(count)),
            "event_timestamp": when,
            "external_id": texts("p", members),
            "event_data": data,
        }
    )


def texts(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Each number behind a prefix."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def repeated(text: str, count: int) -> pa.Array:
    """One text, so many times."""
    return pa.array([text]).take(pa.array(np.zeros(count, np.int64)))


def times(start_us: int, count: int, step_us: int = STEP_US) -> pa.Array:
    """Times from a start on, each a step after the one before."""
    return pa.array(start_us + step_us * np.arange(count)).cast(pa.timestamp("us", "UTC"))
