"""Jobs that a benchmark compares: each in a process of its own, on its own copy of one book."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from earnbook.pipeline.config import ClockMode, RunReport, RunRequest
from earnbook.pipeline.drive import run
from tests.benchmarks.measure import show_stages

DEFINITIONS = Path(__file__).parent / "operations" / "definitions.yaml"
Argument = TypeVar("Argument")


def run_files(book: Path, sources: list[Path]) -> RunReport:
    """A run of files under the definitions of these benchmarks."""
    inputs = tuple(str(source) for source in sources)
    return run(RunRequest(book=book, inputs=inputs, config=DEFINITIONS, clock=ClockMode.EVENT))


def run_apart(job: Callable[[Path, Argument], RunReport], book: Path, argument: Argument) -> RunReport:
    """A job, a function of a module's top level, in a new process, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        report: RunReport = pool.apply(job, (book, argument))
    if not report.ties:
        sys.exit(f"{job.__name__} of {book.name} does not tie")
    if report.failed or report.rejected:
        sys.exit(f"{job.__name__} of {book.name} has failures {report.failed} and rejects {report.rejected}")
    return report


def run_on_copy(
    name: str, job: Callable[[Path, Argument], RunReport], book: Path, argument: Argument
) -> tuple[RunReport, Path]:
    """A job on a copy of a book beside it; returns its report and the copy."""
    print(f"\r{name} …   ", end="", file=sys.stderr, flush=True)
    copy = book.with_name(f"{book.stem}_{name}.duckdb")
    shutil.copyfile(book, copy)
    return run_apart(job, copy, argument), copy


def show_job(name: str, report: RunReport, remark: str) -> None:
    """The seconds of a job, with a remark, its peak of memory, and its stages."""
    print(f"{name:<22}{report.seconds:>14,.2f}   s   {remark}")
    print(f"  peak memory         {report.peak_memory_bytes / 2**30:>14,.2f}   GiB")
    show_stages(report)
