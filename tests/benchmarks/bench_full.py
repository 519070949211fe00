"""The nightly run: twelve rules with lots, counters, tags, a tier and a budget, against the floor of the machine.

python -m tests.benchmarks.bench_full --events 10000000 --participants 1000000
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.measure import main

DEFINITIONS = Path(__file__).parent / "full" / "definitions.yaml"

if __name__ == "__main__":
    main(__doc__, DEFINITIONS)
