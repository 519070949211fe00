"""The nightly run in small: ten rules with lots over Parquet in, committed book out, against the floor of the machine.

python -m tests.benchmarks.bench_small --events 10000000 --participants 1000000
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.measure import main

DEFINITIONS = Path(__file__).parent / "small" / "definitions.yaml"

if __name__ == "__main__":
    main(__doc__, DEFINITIONS)
