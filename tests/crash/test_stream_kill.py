"""Kill a stream with -9 at random moments and start it again: the book is that of one run (§4.1, §4.5)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from earnbook.pipeline.generate import GenerateRequest, generate_events
from earnbook.pipeline.verify import verify_book
from tests.support.fingerprint import unequal_tables

DEFINITIONS = Path(__file__).parents[1] / "benchmarks" / "small" / "definitions.yaml"
START_US = 1_735_689_600_000_000
MODULE = [sys.executable, "-m", "earnbook.jobs"]


def _options(book: Path) -> list[str]:
    return ["--book", str(book), "--config", str(DEFINITIONS), "--clock", "event"]


def _prepare(folder: Path, events: int) -> tuple[Path, Path]:
    """The events as lines, and the book of a run over them in their order."""
    source, whole = folder / "events.ndjson", folder / "whole.duckdb"
    generate_events(
        GenerateRequest(
            path=source, events=events, participants=events // 10, program="loyalty", start_us=START_US, days=120,
            duplicate_share=0.01, bad_share=0.01,
        ),
        progress=lambda _: None,
    )  # fmt: skip
    command = [*MODULE, "run", str(source), *_options(whole), "--order", "input", "--no-progress", "-q"]
    subprocess.run(command, check=True)
    return source, whole


def _position(book: Path) -> int:
    """Up to which byte the book has the stream."""
    if not book.exists():
        return 0
    with duckdb.connect(book) as connection:
        found = connection.execute("SELECT position FROM store.stream_positions WHERE stream = 'till'").fetchall()
    return int(found[0][0]) if found else 0


def _start(source: Path, book: Path, feed: str, *, batch: int) -> subprocess.Popen[bytes]:
    """A stream that is fed the rest of the lines, or all of them: to be passed over, or to be dropped by key."""
    command = [*MODULE, "stream", "-", *_options(book), "--name", "till", "--max-records", str(batch)]
    command += ["--max-delay", "50ms", "--log-format", "json", "--checkpoint", "1s"]
    with source.open("rb") as stdin:
        stdin.seek(_position(book) if feed == "rest" else 0)
        return subprocess.Popen(
            [*command, "--replay"] if feed == "replay" else command, stdin=stdin, stderr=subprocess.PIPE
        )


def _kill_after(process: subprocess.Popen[bytes], *, batches: int, seconds: float) -> bool:
    """Kill a stream some time after some batches; says whether it was still running."""
    assert process.stderr is not None
    told = 0
    while told < batches and (line := process.stderr.readline()):
        told += line.startswith(b"{")
    time.sleep(seconds)
    is_running = process.poll() is None
    process.kill()
    process.communicate()
    return is_running


def _kill_and_restart(
    source: Path, book: Path, feeds: Sequence[str], *, batch: int, moments: random.Random, batches_max: int
) -> int:
    """One life for each feed but the last, which runs to the end; returns how many were killed while they ran."""
    kills = 0
    for feed in feeds[:-1]:
        process = _start(source, book, feed, batch=batch)
        kills += _kill_after(process, batches=moments.randint(0, batches_max), seconds=moments.uniform(0, 0.3))
    process = _start(source, book, feeds[-1], batch=batch)
    _, told = process.communicate()
    assert process.returncode == 0, told[-2000:].decode()
    return kills


def _is_continuous(book: Path) -> bool:
    """Whether numbers of records and batches are dense, each once, and each batch ends where the next begins."""
    with duckdb.connect(book, read_only=True) as connection:
        (found,) = connection.execute(
            """SELECT (SELECT count(*) = count(DISTINCT log_seq) AND count(*) = max(log_seq) FROM
                    (SELECT log_seq FROM store.events UNION ALL SELECT log_seq FROM store.operations)),
                (SELECT count(*) = count(DISTINCT batch) AND count(*) = max(batch) FROM store.batches),
                (SELECT bool_and(last_log_seq - before = events + operations + generated) FROM
                    (SELECT *, lag(last_log_seq, 1, 0) OVER (ORDER BY batch) AS before FROM store.batches))"""
        ).fetchall()
    return all(found)


def _check(whole: Path, book: Path) -> None:
    assert _is_continuous(book)
    assert unequal_tables(whole, book) == []
    assert verify_book(book).findings == ()


def test_a_stream_killed_at_random_moments_gives_the_book_of_a_run(tmp_path: Path) -> None:
    source, whole = _prepare(tmp_path, 6_000)
    book, moments = tmp_path / "killed.duckdb", random.Random(1)
    feeds = ("rest", "replay", "rest", "replay")
    kills = _kill_and_restart(source, book, feeds, batch=150, moments=moments, batches_max=8)
    assert kills == 3, "the streams ended before they were killed"
    _check(whole, book)
    with duckdb.connect(book, read_only=True) as connection:
        found = connection.execute("SELECT sum(rows_read) FROM store.batches").fetchall()
        assert found == [(len(source.read_bytes().splitlines()),)]


@pytest.mark.slow
def test_lines_sent_again_from_the_beginning_are_dropped_by_key(tmp_path: Path) -> None:
    source, whole = _prepare(tmp_path, 20_000)
    book, moments = tmp_path / "killed.duckdb", random.Random(2)
    kills = _kill_and_restart(source, book, ["again"] * 6, batch=500, moments=moments, batches_max=10)
    assert kills >= 4, "the streams ended before they were killed"
    _check(whole, book)


@pytest.mark.slow
def test_a_million_events_killed_fifty_times_give_the_book_of_a_run(tmp_path: Path) -> None:
    source, whole = _prepare(tmp_path, 1_000_000)
    book, moments = tmp_path / "killed.duckdb", random.Random(3)
    feeds = [moments.choice(("rest", "replay")) for _ in range(51)]
    kills = _kill_and_restart(source, book, feeds, batch=3_000, moments=moments, batches_max=4)
    print(json.dumps({"kills": kills}))
    assert kills == 50, "the streams ended before they were killed"
    _check(whole, book)
