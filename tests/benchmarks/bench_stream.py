"""A stream over standard input: latency at a steady rate, and the highest rate that holds.

python -m tests.benchmarks.bench_stream --rate 20000 --seconds 300

The feeder writes lines every ten milliseconds, as many as the rate asks for, or with `--rate 0` as fast as they are
taken; it notes when each was sent, and the stream says when each batch was in the book. Warming up (until the first
batch is in) does not count. The rules are those of `bench_small`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np

from earnbook.pipeline.generate import GenerateRequest, generate_events
from tests.benchmarks.measure import START_US, options_in_folder

DEFINITIONS = Path(__file__).parent / "small" / "definitions.yaml"
TICK_SECONDS = 0.01
WARM_UP_LINES = 1_000
READ_BYTES = 1 << 20


@dataclass
class Sent:
    """When how many lines had been sent: Unix time and lines, in order."""

    at: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def note(self, lines: int) -> None:
        self.at.append(time.time())
        self.lines.append(lines)


@dataclass(frozen=True)
class Committed:
    """A batch as the stream tells of it."""

    at: float
    row: int
    commit_seconds: float
    memory_bytes: int


def main(description: str | None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rate", type=int, default=20_000, help="events a second; 0: as fast as they are taken")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--events", type=int, default=3_000_000, help="how many are sent with --rate 0")
    parser.add_argument("--participants", type=int, default=100_000)
    parser.add_argument("--max-records", default="50000")
    parser.add_argument("--max-delay", default="250ms")
    with options_in_folder(parser) as (options, folder):
        measure(options, folder)


def measure(options: argparse.Namespace, folder: Path) -> None:
    """One stream over generated lines; prints a table."""
    count = WARM_UP_LINES + (options.rate * options.seconds or options.events)
    lines = folder / f"events_{count}_{options.participants}.ndjson"
    if not lines.exists():
        request = GenerateRequest(
            path=lines, events=count, participants=options.participants, program="loyalty", start_us=START_US, days=180
        )
        generate_events(request, progress=lambda _: None)
    book = folder / "stream.duckdb"
    for old in (book, Path(f"{book}.wal")):
        old.unlink(missing_ok=True)
    process = _start(book, options)
    sent, batches = Sent(), list[Committed]()
    is_warm = threading.Event()
    reader = threading.Thread(target=_listen, args=(process, batches, is_warm))
    reader.start()
    assert process.stdin is not None
    with lines.open("rb") as source, process.stdin as sink:
        _send(source, sink, WARM_UP_LINES, sent)
        is_warm.wait()
        if options.rate:
            _send_steadily(source, sink, options.rate, count, sent)
        else:
            _send_all(source, sink, sent)
    process.wait()
    reader.join()
    if process.returncode or batches[-1].row != count:
        sys.exit(f"the stream ended with {process.returncode} after {batches[-1].row:,} of {count:,} lines")
    _show(options, sent, batches)


def _start(book: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "earnbook.jobs", "stream", "-", "--book", str(book), "--config", str(DEFINITIONS)]
    command += ["--clock", "event", "--log-format", "json"]
    command += ["--max-records", options.max_records, "--max-delay", options.max_delay]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def _listen(process: subprocess.Popen[bytes], batches: list[Committed], is_warm: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"{"):
            told = json.loads(line)
            at = datetime.fromisoformat(told["at"]).timestamp()
            row = told["positions"][0]["row"]
            batches.append(Committed(at, row, told["commit_seconds"], _memory_bytes(process.pid)))
            is_warm.set()
    is_warm.set()


def _memory_bytes(pid: int) -> int:
    """The resident memory of a process now; 0 when it has gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _send(source: IO[bytes], sink: IO[bytes], count: int, sent: Sent) -> None:
    sink.write(b"".join(source.readline() for _ in range(count)))
    sink.flush()
    sent.note((sent.lines[-1] if sent.lines else 0) + count)


def _send_steadily(source: IO[bytes], sink: IO[bytes], rate: int, count: int, sent: Sent) -> None:
    """What is due by now, every tick; when the stream takes less than that, what waits is late from when it was due."""
    started = time.time()
    while (done := sent.lines[-1]) < count:
        due = min(count, WARM_UP_LINES + int((time.time() - started) * rate))
        if due > done:
            sent.at.append(started + (due - WARM_UP_LINES) / rate)
            sent.lines.append(due)
            sink.write(b"".join(source.readline() for _ in range(due - done)))
            sink.flush()
        time.sleep(TICK_SECONDS)


def _send_all(source: IO[bytes], sink: IO[bytes], sent: Sent) -> None:
    while data := source.read(READ_BYTES):
        sink.write(data)
        sent.note(sent.lines[-1] + data.count(b"\n"))
    sink.flush()


def _show(options: argparse.Namespace, sent: Sent, batches: list[Committed]) -> None:
    rows = np.arange(WARM_UP_LINES + 1, batches[-1].row + 1)
    sent_at = np.array(sent.at)[np.searchsorted(np.array(sent.lines), rows)]
    committed_at = np.array([batch.at for batch in batches])[
        np.searchsorted(np.array([batch.row for batch in batches]), rows)
    ]
    latency = committed_at - sent_at
    seconds = batches[-1].at - sent.at[1]
    print(f"\nevents                {len(rows):>14,}")
    print(f"batches               {len(batches) - 1:>14,}")
    print(f"events/s              {len(rows) / seconds:>14,.0f}")
    if options.rate:
        for share in (50, 90, 99, 99.9):
            print(f"latency p{share:<12}{np.percentile(latency, share):>15,.3f}   s")
        print(f"latency max           {latency.max():>14,.3f}   s")
    print(f"commit, mean          {np.mean([batch.commit_seconds for batch in batches]):>14,.3f}   s")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (used.ru_utime + used.ru_stime) / batches[-1].row * 1e6
    print(f"processor time        {cpu:>14,.2f}   s for a million events, start included")
    quarters = [batches[len(batches) * n // 4 - 1].memory_bytes / 2**20 for n in range(1, 5)]
    print(f"memory by quarters    {', '.join(f'{memory:,.0f}' for memory in quarters)}   MiB")


if __name__ == "__main__":
    main(__doc__)
