"""Kill a run at random moments and repeat the same command: the book equals the uninterrupted one (§4.1, §4.5)."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earnbook.pipeline.config import ClockMode, RunRequest
from earnbook.pipeline.drive import run
from earnbook.pipeline.generate import GenerateRequest, generate_events
from earnbook.pipeline.verify import verify_book
from tests.support.fingerprint import unequal_tables

DEFINITIONS = Path(__file__).parents[1] / "benchmarks" / "small" / "definitions.yaml"
START_US = 1_735_689_600_000_000
SEEDS = range(20)


def _command(book: Path, events: Path, *, batch: int) -> list[str]:
    return [
        sys.executable, "-m", "earnbook.jobs", "run", str(events), "--book", str(book),
        "--config", str(DEFINITIONS), "--clock", "event", "--batch-size", str(batch), "--no-progress", "-q",
    ]  # fmt: skip


def _prepare(folder: Path, events: int, *, batch: int) -> tuple[Path, Path, float]:
    """The events, the book of an uninterrupted run, and the seconds of such a run with warm caches."""
    source = folder / "events.parquet"
    generate_events(
        GenerateRequest(
            path=source, events=events, participants=events // 10, program="loyalty", start_us=START_US, days=120,
            duplicate_share=0.01, bad_share=0.01,
        ),
        progress=lambda _: None,
    )  # fmt: skip
    whole = folder / "whole.duckdb"
    subprocess.run(_command(folder / "warm.duckdb", source, batch=batch), check=True)
    started = time.monotonic()
    subprocess.run(_command(whole, source, batch=batch), check=True)
    return source, whole, time.monotonic() - started


def _kill_and_repeat(folder: Path, source: Path, whole: Path, seconds: float, *, seed: int, batch: int) -> int:
    """Runs with up to three kills, then to the end; returns how many kills hit a running process."""
    moments = random.Random(seed)
    book = folder / f"killed_{seed}.duckdb"
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(_command(book, source, batch=batch))
        try:
            process.wait(moments.uniform(0.05, 0.95) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run(_command(book, source, batch=batch), check=True)
    assert unequal_tables(whole, book) == [], f"seed {seed}"
    assert verify_book(book).findings == (), f"seed {seed}"
    book.unlink()
    return kills


@pytest.mark.slow
def test_a_million_events_killed_at_random_moments_give_the_same_book(tmp_path: Path) -> None:
    source, whole, seconds = _prepare(tmp_path, 1_000_000, batch=100_000)
    kills = [_kill_and_repeat(tmp_path, source, whole, seconds, seed=seed, batch=100_000) for seed in SEEDS]
    assert sum(kills) >= len(kills), "the runs ended before they were killed"
    shutil.rmtree(tmp_path)


def test_a_run_killed_at_random_moments_gives_the_same_book(tmp_path: Path) -> None:
    source, whole, seconds = _prepare(tmp_path, 8_000, batch=500)
    kills = _kill_and_repeat(tmp_path, source, whole, seconds, seed=1, batch=500)
    assert kills >= 1, "the runs ended before they were killed"


def test_any_batch_size_gives_the_same_book(tmp_path: Path) -> None:
    source, whole, _ = _prepare(tmp_path, 6_000, batch=1_000_000)
    for batch in (777, 2_500):
        book = tmp_path / f"batches_{batch}.duckdb"
        run(
            RunRequest(book=book, inputs=(str(source),), config=DEFINITIONS, clock=ClockMode.EVENT, batch_records=batch)
        )
        assert unequal_tables(whole, book) == [], f"batch size {batch}"
