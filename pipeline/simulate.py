"""Simulating a whole ruleset: records decided over a copy of the book, and what that would change (§21.2).

In: a `SimulateRequest`. Out: a `Simulation`: the report of each run and, where asked, a comparison. The book is read
for as long as it is copied and never written; the copy may be cut back to a batch (`cut.py`) or be empty. Records are
decided by `drive.run` itself, over that copy.

Left is what there is, right is what there would be: with `against` a configuration, left runs under the definitions of
the request (else those of the book) and right under the others; with `against_actual`, left is the book after the
batches that hold the records, and right is the book before them with the records decided once more (`simulate_actual`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from earnbook.pipeline.clock import wall_clock_us
from earnbook.pipeline.compare import Comparison, Fork, compare_books
from earnbook.pipeline.config import RunReport, RunRequest
from earnbook.pipeline.cut import copy_book, cut_book
from earnbook.pipeline.drive import run
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.load import load_registers
from earnbook.pipeline.ruleset import ruleset_in_force
from earnbook.pipeline.simulate_actual import find_span
from earnbook.pipeline.store import BookMode, open_book
from earnbook.rules.definitions import Definitions, load_definitions

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateRequest:
    """One `earnbook simulate`.

    `run` is the run to simulate; its `book` is not looked at: `book` is what to start from, None or batch 0 for an
    empty book. `as_of_batch` None is the present. `has_clock` says that the clock of `run` was asked for; without it,
    `against_actual` takes the clock of the book's batches.
    """

    run: RunRequest
    book: Path | None = None
    as_of_batch: int | None = None
    against: Path | None = None
    against_actual: bool = False
    has_clock: bool = True
    keep: Path | None = None
    """Where the simulated book stays; None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a simulation: what it is called, and the report of its run (None where the book had it already)."""

    name: str
    report: RunReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What came out; without a comparison the only side is the simulated run."""

    sides: tuple[Side, ...]
    comparison: Comparison | None
    warnings: tuple[str, ...] = ()


def simulate(request: SimulateRequest) -> Simulation:
    """Decides the records over a copy of the book, and compares where asked.

    Raises what `drive.run` raises; Refused for requests that contradict themselves, or when the book's batches do not
    tie to the records; BookError for a batch that the book has not.
    """
    _refuse_contradictions(request)
    config = request.run.config
    given = load_definitions(config) if config is not None else None
    other = load_definitions(request.against) if request.against is not None else None
    wall_us = wall_clock_us() if request.run.wall_clock_us is None else request.run.wall_clock_us
    request = replace(request, run=replace(request.run, wall_clock_us=wall_us))
    beside = None if request.keep is None else request.keep.absolute().parent
    with tempfile.TemporaryDirectory(prefix="earnbook-simulation-", dir=beside) as scratch:
        folder = Path(scratch)
        if request.against_actual:
            simulation, book = _against_actual(request, given, folder)
        elif other is not None:
            simulation, book = _against_ruleset(request, given, other, folder)
        else:
            book = _start(request, folder / "book.duckdb")
            side = Side(name=_ruleset_name(config), report=run(replace(request.run, book=book), given=given))
            simulation = Simulation(sides=(side,), comparison=None)
        if request.keep is not None:
            book.replace(request.keep)
    return simulation


def _refuse_contradictions(request: SimulateRequest) -> None:
    if request.book is None and (request.as_of_batch or request.against_actual):
        raise Refused("there is no book to look at", "Give --book FILE.")
    if request.against_actual and request.as_of_batch is not None:
        raise Refused(
            "--as-of-batch and --against actual exclude each other",
            "What the book posted starts from the batch before those that hold the records.",
        )
    if (request.against is not None or request.against_actual) and STANDARD_INPUT in request.run.inputs:
        raise Refused("a comparison reads its inputs twice, and standard input can be read once", "Give a file.")
    if request.keep is not None and request.keep.exists():
        raise Refused(f"{request.keep} is there already", "Give --keep a new file, or remove this one.")
    if (request.book is None or request.as_of_batch == 0) and request.run.config is None:
        raise Refused("an empty book has no definitions", "Give them with --config DIR (or EARNBOOK_CONFIG).")


def _start(request: SimulateRequest, path: Path) -> Path:
    """The book that the records meet, at `path`."""
    if request.book is None or request.as_of_batch == 0:
        open_book(path, mode=BookMode.WRITE).close()
        return path
    copy_book(request.book, path, lock_wait_seconds=request.run.lock_wait_seconds)
    if request.as_of_batch is not None:
        cut_book(path, request.as_of_batch)
    return path


def _against_ruleset(
    request: SimulateRequest, given: Definitions | None, other: Definitions, folder: Path
) -> tuple[Simulation, Path]:
    """Both rulesets over the same records from the same book; the book that stays is the one of the other ruleset."""
    left, right = _start(request, folder / "left.duckdb"), folder / "right.duckdb"
    copy_book(left, right)
    fork = _fork(left)
    # What became of each record is asked of what would be.
    first = replace(request.run, results=None)
    sides = (
        Side(name=_ruleset_name(request.run.config), report=run(replace(first, book=left), given=given)),
        Side(name=_ruleset_name(request.against), report=run(replace(request.run, book=right), given=other)),
    )
    return Simulation(sides=sides, comparison=compare_books(left, right, fork)), right


def _against_actual(request: SimulateRequest, given: Definitions | None, folder: Path) -> tuple[Simulation, Path]:
    """The book as its batches of these records left it, and the book before them with the records decided again."""
    assert request.book is not None, "refused before"
    left, right = folder / "actual.duckdb", folder / "book.duckdb"
    copy_book(request.book, left, lock_wait_seconds=request.run.lock_wait_seconds)
    span = find_span(left, request.run, given)
    cut_book(left, span.last_batch)
    copy_book(left, right)
    # What the book's own definitions left out since then was consented to when they were loaded.
    wanted = replace(request.run, book=right, prune=request.run.prune or given is None)
    if not request.has_clock:
        wanted = span.run_again(wanted)
    with open_book(left, mode=BookMode.READ) as book, book.session() as connection:
        in_force = ruleset_in_force(connection).definitions
    cut_book(right, span.first_batch - 1)
    fork = _fork(right)
    sides = (
        Side(name=f"what {request.book} posted in {span.name}", report=None),
        Side(name=_ruleset_name(request.run.config), report=run(wanted, given=given or in_force)),
    )
    return Simulation(sides=sides, comparison=compare_books(left, right, fork), warnings=span.warnings), right


def _ruleset_name(config: Path | None) -> str:
    return "with the definitions of the book" if config is None else f"with {config}"


def _fork(path: Path) -> Fork:
    """Where a book stands."""
    with open_book(path, mode=BookMode.READ) as book, book.session() as connection:
        registers = load_registers(connection)
    return Fork(log_seq=registers.log_seq, entry_seq=registers.entry_seq)
