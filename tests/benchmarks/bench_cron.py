"""What the next tick of a cron expression costs, in UTC and in zones, beside the cron library of the tests.

    python -m tests.benchmarks.bench_cron

Microseconds of CPU per tick, each tick asked for after the one before, as due work does.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from croniter import croniter

from earnbook.rules.cron import next_cron_tick
from earnbook.rules.times import SECOND, parse_timestamp

_EXPRESSIONS = ("* * * * *", "*/5 * * * *", "0 9 * * 1", "0 0 1 * *", "0 0 31 * 1,3", "59 23 31 12 *", "0 0 29 2 *")
_ZONES = ("UTC", "America/Chicago", "Australia/Lord_Howe")
_TICKS = 1_000


def main() -> None:
    """One line per expression."""
    print(f"{'expression':<16}" + "".join(f"{name:>22}" for name in (*_ZONES, "library, UTC")))
    for text in _EXPRESSIONS:
        figures = [*(_measure(text, zone) for zone in _ZONES), _measure_library(text)]
        print(f"{text:<16}" + "".join(f"{figure:>22.1f}" for figure in figures))


def _measure(text: str, zone: str) -> float:
    tick: int | None = parse_timestamp("2026-01-01T00:00:00Z")
    begun = time.process_time()
    for _ in range(_TICKS):
        assert tick is not None
        tick = next_cron_tick(text, tick, zone)
    return (time.process_time() - begun) / _TICKS * SECOND


def _measure_library(text: str) -> float:
    ticks = croniter(text, datetime(2026, 1, 1, tzinfo=UTC))
    begun = time.process_time()
    for _ in range(_TICKS):
        ticks.get_next(float)
    return (time.process_time() - begun) / _TICKS * SECOND


if __name__ == "__main__":
    main()
