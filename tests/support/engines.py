"""The engines that must give the same book: the oracle, and the product with and without its kernel."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from earnbook.pipeline.config import BATCH_RECORDS_DEFAULT, AdvanceRequest, ClockMode, Order, OutboxMode, RunRequest
from earnbook.pipeline.drive import advance, run
from tests.support.book_reader import read_book
from tests.support.logical import LogicalBook, Run, Scenario
from tests.support.oracle import run_oracle
from tests.support.oracle_times import parse_time


def run_engine(scenario: Scenario, *, mode: str, batch_records: int = BATCH_RECORDS_DEFAULT) -> LogicalBook:
    """The book that the real pipeline makes of a scenario, in a temporary folder; `mode` is kernel or closures."""
    with tempfile.TemporaryDirectory(prefix="earnbook-") as folder:
        return run_in(Path(folder), scenario, mode=mode, batch_records=batch_records)


def run_in(
    folder: Path, scenario: Scenario, *, mode: str = "kernel", batch_records: int = BATCH_RECORDS_DEFAULT
) -> LogicalBook:
    """The same in a given folder, where `book.duckdb` stays."""
    book = folder / "book.duckdb"
    config = folder / "definitions.json"
    config.write_text(json.dumps(scenario.definitions), encoding="utf-8")
    for number, one in enumerate(scenario.runs):
        if one.definitions is not None:
            config.write_text(json.dumps(one.definitions), encoding="utf-8")
        rows = folder / f"run-{number}.ndjson"
        rows.write_text("".join(f"{line}\n" for line in one.lines), encoding="utf-8")
        run(run_request(one, book, config, rows, kernel=mode == "kernel", batch_records=batch_records))
        if one.advance_to is not None:
            to_us = parse_time(one.advance_to)
            advance(AdvanceRequest(book=book, to_us=to_us, no_horizon=True, max_generated=GENERATED_MAX))
    return read_book(book)


def run_request(one: Run, book: Path, config: Path, rows: Path, *, kernel: bool, batch_records: int) -> RunRequest:
    """What `earnbook run` asks for one run of a scenario."""
    is_event = one.clock == "event"
    return RunRequest(
        book=book,
        inputs=(str(rows),),
        config=config,
        outbox=OutboxMode.ALL,
        webhook_extensions=True,
        clock=ClockMode.EVENT if is_event else ClockMode.FIXED,
        clock_fixed_us=None if is_event else parse_time(one.clock),
        order=Order(one.order),
        allow_late=True,
        no_horizon=True,
        batch_records=batch_records,
        kernel=kernel,
        prune=True,
        max_generated=one.max_generated or GENERATED_MAX,
    )


GENERATED_MAX = 1 << 40
"""More events than any scenario makes."""

ENGINES: Mapping[str, Callable[[Scenario], LogicalBook]] = {
    "oracle": run_oracle,
    "closures": partial(run_engine, mode="closures"),
    "kernel": partial(run_engine, mode="kernel"),
}
