"""`earnbook stream` as a process: pipes, signals, readers beside it, what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import duckdb

from tests.support.command_line import run_command

SAMPLE = Path(__file__).parents[2] / "sample_data" / "coffee_shop"
EVENTS = SAMPLE / "events.ndjson"
DEADLINE_SECONDS = 60.0


def start(source: str | Path, book: Path, *arguments: str, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Streaming:
    command = [sys.executable, "-m", "earnbook.jobs", "stream", str(source), "--book", str(book)]
    command += ["--config", str(SAMPLE / "config"), "--clock", "event", "--log-format", "json", "--max-delay", "20ms"]
    return Streaming([*command, *arguments], stdin=stdin, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


class Streaming(subprocess.Popen[bytes]):
    """A stream that runs beside the test."""

    def next_batch(self) -> dict[str, Any]:
        """What it says of the next batch."""
        assert self.stderr is not None
        while line := self.stderr.readline():
            if line.startswith(b"{"):
                batch: dict[str, Any] = json.loads(line)
                return batch
        raise AssertionError("the stream has ended")

    def end(self, number: signal.Signals) -> int:
        self.send_signal(number)
        self.communicate(timeout=DEADLINE_SECONDS)
        return self.returncode


def sample_lines(first: int, last: int) -> bytes:
    return b"".join(EVENTS.read_bytes().splitlines(keepends=True)[first:last])


def opened(book: Path) -> duckdb.DuckDBPyConnection:
    """The book for reading, as soon as the stream leaves it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return duckdb.connect(book, read_only=True)
        except duckdb.IOException:
            assert time.monotonic() < deadline, "the stream never left the book"
            time.sleep(0.05)


def rows(book: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(book, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_named_pipe_has_many_writers_and_the_book_readers_beside_it(tmp_path: Path) -> None:
    book, pipe = tmp_path / "coffee.duckdb", tmp_path / "till.fifo"
    os.mkfifo(pipe)
    streaming = start(pipe, book, "--name", "till")
    pipe.write_bytes(sample_lines(0, 10))
    first = streaming.next_batch()
    assert (first["batch"], first["events"], first["rejected"]) == (1, 10, 0)
    # The file is free while the stream waits; while a reader has it, the next batch waits.
    with opened(book) as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchall() == [(10,)]
        pipe.write_bytes(sample_lines(10, 15))
        time.sleep(0.5)
        assert streaming.poll() is None
        assert reader.execute("SELECT count(*) FROM events").fetchall() == [(10,)]
    second = streaming.next_batch()
    assert (second["batch"], second["events"]) == (2, 5)
    assert second["positions"] == [{"part": "", "position": len(sample_lines(0, 15)), "row": 15}]
    assert second["latency_seconds"] > 0.4
    pipe.write_bytes(sample_lines(15, 17) + b'{"half a line')
    assert streaming.next_batch()["rows_read"] == 2
    assert streaming.end(signal.SIGTERM) == 0
    assert rows(book, 'SELECT stream, position, "row" FROM streams') == [("till", len(sample_lines(0, 17)), 17)]
    assert run_command("verify", "--book", book).exit_code == 0


def test_ctrl_c_commits_what_has_arrived_and_says_that_it_was_interrupted(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    streaming = start("-", book, "--max-records", "5", stdin=subprocess.PIPE)
    assert streaming.stdin is not None
    streaming.stdin.write(sample_lines(0, 20))
    streaming.stdin.flush()
    streaming.next_batch()
    assert streaming.end(signal.SIGINT) == 130
    assert rows(book, "SELECT max(last_log_seq) % 5, sum(events) = max(last_log_seq) FROM batches") == [(0, True)]


def test_the_end_of_standard_input_ends_the_stream(tmp_path: Path) -> None:
    book = tmp_path / "coffee.duckdb"
    with EVENTS.open("rb") as stdin:
        streaming = start("-", book, "--format", "json", "--max-records", "1000", stdin=stdin)
        out, _ = streaming.communicate(timeout=DEADLINE_SECONDS)
    assert streaming.returncode == 0
    report = json.loads(out)
    count = len(EVENTS.read_bytes().splitlines())
    assert report["rows_read"] == count
    assert rows(book, "SELECT sum(rows_read), any_value(record_order) FROM batches") == [(count, "arrival")]
    with EVENTS.open("rb") as stdin:
        streaming = start("-", book, "--format", "json", "--replay", stdin=stdin)
        out, _ = streaming.communicate(timeout=DEADLINE_SECONDS)
    assert (streaming.returncode, json.loads(out)["batches"]) == (0, 0)


def test_a_source_that_is_no_stream_is_a_usage_mistake(tmp_path: Path) -> None:
    for source, why in (
        (EVENTS, "is no stream. Give - for standard input, a named pipe, a folder, or kafka://"),
        (tmp_path / "none", "No such file or directory"),
    ):
        result = run_command("stream", source, "--book", tmp_path / "b.duckdb", "--config", SAMPLE / "config")
        assert result.exit_code == 2
        assert why in result.stderr
    assert not (tmp_path / "b.duckdb").exists()
