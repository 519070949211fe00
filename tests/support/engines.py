"""The engines that must give the same book: the oracle, and the product with and without its kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tests.support.engine import run_engine
from tests.support.logical import LogicalBook, Scenario
from tests.support.oracle import run_oracle

ENGINES: Mapping[str, Callable[[Scenario], LogicalBook]] = {
    "oracle": run_oracle,
    "closures": partial(run_engine, mode="closures"),
    "kernel": partial(run_engine, mode="kernel"),
}
