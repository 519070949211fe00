"""What operators watch of a stream: counters, latency and backlog, as the text that Prometheus reads.

Figures are added up from committed batches alone. The file is replaced whole, by a rename, with every batch, so a
collector that reads text files (as node_exporter does) never sees half of one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from earnbook.pipeline.stream_job import StreamBatch
from earnbook.pipeline.stream_source import Backlog

LATENCY_BUCKETS = ("0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30")
"""Upper bounds of the histogram of latencies, in seconds."""

_PREFIX = "earnbook_stream"

Labels = tuple[tuple[str, str], ...]


class StreamMetrics:
    """The figures of one stream since it was started."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._rows: Counter[str] = Counter()
        self._records: Counter[str] = Counter()
        self._rejects: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._latencies: list[int] = [0] * (len(LATENCY_BUCKETS) + 1)
        self._latency_seconds = 0.0
        self._commit_seconds = 0.0
        self._batches = 0
        self._last: StreamBatch | None = None
        self._backlog = Backlog()
        self._at_us = 0

    def add(self, batch: StreamBatch, backlog: Backlog, *, at_us: int) -> None:
        """Count a committed batch; `at_us` is the wall clock."""
        self._batches += 1
        self._rows.update(
            event=batch.events, operation=batch.operations, duplicate=batch.duplicates, rejected=batch.rejected
        )
        self._records.update({name: getattr(batch, name) for name in _RECORD_COUNTERS})
        self._rejects.update(batch.rejects)
        self._failures.update(batch.failures)
        bound = next((n for n, limit in enumerate(LATENCY_BUCKETS) if batch.latency_seconds <= float(limit)), -1)
        self._latencies[bound] += 1
        self._latency_seconds += batch.latency_seconds
        self._commit_seconds += batch.commit_seconds
        self._last, self._backlog, self._at_us = batch, backlog, at_us

    def text(self) -> str:
        """The figures in Prometheus' text format."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from self._metric("batches_total", "counter", "Batches committed.", [((), self._batches)])
        rows = _labelled("kind", self._rows)
        yield from self._metric("rows_total", "counter", "Rows read, by what became of them.", rows)
        for name, sentence in _RECORD_COUNTERS.items():
            yield from self._metric(f"{name}_total", "counter", sentence, [((), self._records[name])])
        rejects = _labelled("reason", self._rejects)
        yield from self._metric("rejects_total", "counter", "Rejected rows by reason.", rejects)
        failures = _labelled("code", self._failures)
        yield from self._metric("failures_total", "counter", "Failed records by outcome code.", failures)
        yield from self._latency_lines()
        seconds = [((), f"{self._commit_seconds:.6f}")]
        yield from self._metric("commit_seconds_total", "counter", "Seconds spent on writing batches.", seconds)
        backlog = _labelled("unit", {unit: n for unit, n in asdict(self._backlog).items() if n is not None})
        yield from self._metric("backlog", "gauge", "What had arrived and waited at the last commit.", backlog)
        if self._last is not None:
            at_times = (
                ("last_commit_timestamp_seconds", "Wall clock of the last commit.", self._at_us),
                ("book_clock_timestamp_seconds", "Book clock after the last batch.", self._last.book_clock_us),
            )
            for name, sentence, time_us in at_times:
                yield from self._metric(name, "gauge", sentence, [((), _seconds(time_us))])
            yield from self._metric("last_batch", "gauge", "Number of the last batch.", [((), self._last.batch)])

    def _latency_lines(self) -> Iterator[str]:
        name, count = "batch_latency_seconds", 0
        yield from self._head(name, "histogram", "From the arrival of a batch's first record to the end of its commit.")
        for limit, batches in zip((*LATENCY_BUCKETS, "+Inf"), self._latencies, strict=True):
            count += batches
            yield self._sample(f"{name}_bucket", (("le", limit),), count)
        yield self._sample(f"{name}_sum", (), f"{self._latency_seconds:.6f}")
        yield self._sample(f"{name}_count", (), count)

    def _metric(self, name: str, kind: str, sentence: str, values: Sequence[tuple[Labels, int | str]]) -> Iterator[str]:
        yield from self._head(name, kind, sentence)
        for labels, value in values:
            yield self._sample(name, labels, value)

    def _head(self, name: str, kind: str, sentence: str) -> Iterator[str]:
        yield f"# HELP {_PREFIX}_{name} {sentence}"
        yield f"# TYPE {_PREFIX}_{name} {kind}"

    def _sample(self, name: str, labels: Labels, value: int | str) -> str:
        pairs = ",".join(f'{key}="{_escape(text)}"' for key, text in (("stream", self._stream), *labels))
        return f"{_PREFIX}_{name}{{{pairs}}} {value}"


_RECORD_COUNTERS = {
    "generated": "Events that due work made.",
    "completed": "Records that were completed.",
    "failed": "Records that failed.",
    "late": "Records whose time is before that of one before them.",
    "entries": "Journal entries.",
}


def write_metrics(path: Path, text: str) -> None:
    """Replace a file by a text, in one step."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _labelled(label: str, counts: Mapping[str, int]) -> list[tuple[Labels, int | str]]:
    """Samples that one label tells apart, in the order of its texts."""
    return [(((label, text),), count) for text, count in sorted(counts.items())]


def _seconds(time_us: int) -> str:
    """Microseconds as seconds, cut to milliseconds."""
    return f"{time_us // 1_000_000}.{time_us // 1000 % 1000:03}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
