"""Synthetic event files for trials and benchmarks: seeded, deterministic, column by column.

A file holds `events` distinct good events, plus rows that repeat one exactly (duplicates) and rows that intake rejects
(bad). Participants follow a Zipf law, the hours of a day a shop's rhythm; amounts are whole cents throughout. Events
are numbered in time order; a shuffled file has the same kind of events in another order.

Sketch: 1 M rows are one chunk; a chunk is about ten passes of numpy over 8-byte columns and one write, so that Parquet
leaves at well over 1 M rows/s and memory does not grow with the file (a shuffled file needs 8 bytes per event).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from earnbook.pipeline.config import Progress, ProgressListener
from earnbook.pipeline.errors import SourceError

CHUNK_EVENTS = 1_000_000
"""Events made at a time; part of what a seed means, so it never changes."""

_HOUR_US = 3_600_000_000
_HOUR_WEIGHTS = np.array([1, 1, 1, 1, 1, 2, 4, 7, 9, 8, 7, 8, 10, 9, 7, 7, 8, 10, 11, 9, 7, 5, 3, 2], np.int64)

# (mcc, category, weight in percent, mean amount in cents)
_KINDS = (
    ("5812", "dining", 22, 2_450),
    ("5814", "coffee", 25, 620),
    ("5411", "grocery", 24, 4_380),
    ("5541", "fuel", 9, 5_150),
    ("5942", "books", 8, 1_990),
    ("4111", "transit", 7, 340),
    ("5732", "electronics", 5, 18_900),
)
_CHANNELS = ("pos", "app", "web")
_TYPES = ("purchase", "refund", "visit")
_VISIT = 2
_BAD_KINDS = 5

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """The size and shape of a file; shares are parts of `events`, times microseconds since 1970."""

    path: Path
    events: int
    participants: int
    program: str
    start_us: int
    days: int
    merchants: int = 500
    skew: float = 1.0
    refund_share: float = 0.04
    visit_share: float = 0.10
    duplicate_share: float = 0.0
    bad_share: float = 0.0
    shuffled: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateReport:
    """What was written."""

    path: Path
    rows: int
    events: int
    duplicates: int
    bad: int
    bytes: int
    seconds: float

    def document(self) -> dict[str, object]:
        """The report as plain values."""
        return {**asdict(self), "path": str(self.path), "seconds": f"{self.seconds:.3f}"}


def generate_events(request: GenerateRequest, *, progress: ProgressListener) -> GenerateReport:
    """Writes the file of a request; the file appears whole or not at all."""
    started = time.perf_counter()
    writer_of = _WRITERS.get(request.path.suffix.lower())
    if writer_of is None:
        raise SourceError(
            f"{request.path}: cannot tell the format from the ending {request.path.suffix!r}",
            f"Name the file with one of: {', '.join(_WRITERS)}.",
        )
    rows = 0
    counts = {"duplicates": 0, "bad": 0}
    with _whole_file(request.path) as sink:
        writer = writer_of(sink)
        for chunk in _chunks(request):
            writer.write(chunk)
            rows += len(chunk.event)
            counts["duplicates"] += chunk.duplicates
            counts["bad"] += int(np.count_nonzero(chunk.bad_kind))
            progress(Progress(stage="generate", done=rows, total=None, unit="rows"))
        writer.close()
    return GenerateReport(
        path=request.path,
        rows=rows,
        events=request.events,
        bytes=request.path.stat().st_size,
        seconds=time.perf_counter() - started,
        **counts,
    )


# --- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """The rows of a chunk as integer columns, in file order; `bad_kind` is 0 for good rows."""

    program: str
    event: _Ints
    timestamp: _Ints
    participant: _Ints
    participant_names: pa.Array
    type: _Ints
    kind: _Ints
    cents: _Ints
    merchant: _Ints
    merchant_names: pa.Array
    channel: _Ints
    bad_kind: _Ints
    duplicates: int


def _chunks(request: GenerateRequest) -> Iterator[_Chunk]:
    generator = np.random.Generator(np.random.PCG64(request.seed))
    draw_participants = _ParticipantDraw(request, generator)
    order = generator.permutation(request.events) if request.shuffled else None
    for first in range(0, request.events, CHUNK_EVENTS):
        count = min(CHUNK_EVENTS, request.events - first)
        numbers = np.arange(first, first + count, dtype=np.int64)
        if order is not None:
            numbers = order[first : first + count].astype(np.int64)
        yield _chunk(request, generator, draw_participants, numbers)


def _chunk(request: GenerateRequest, generator: np.random.Generator, draw: _ParticipantDraw, numbers: _Ints) -> _Chunk:
    count = len(numbers)
    kind = np.searchsorted(np.cumsum([k[2] for k in _KINDS]), generator.integers(0, 100, count), side="right")
    means = np.array([k[3] for k in _KINDS], np.int64)[kind]
    # The product of two even draws is skewed as purchases are: many small ones, few at four times the mean.
    factors = generator.integers(1, 200, count) * generator.integers(1, 200, count)
    timestamp = _timestamps(request, generator, numbers)
    columns = {
        "participant": draw(count),
        "event": numbers,
        "timestamp": timestamp,
        "type": _types(request, generator, count),
        "kind": kind.astype(np.int64),
        "cents": np.maximum(means * factors // 10_000, 1),
        "merchant": generator.integers(0, request.merchants, count),
        "channel": np.searchsorted((60, 85), generator.integers(0, 100, count), side="right").astype(np.int64),
    }
    rows, bad_kind, duplicates = _rows(request, generator, count)
    columns = {name: values[rows] for name, values in columns.items()}
    return _Chunk(
        program=request.program,
        participant_names=draw.names,
        merchant_names=_names("m-", np.arange(1, request.merchants + 1, dtype=np.int64), 4),
        bad_kind=bad_kind,
        duplicates=duplicates,
        **columns,
    )


class _ParticipantDraw:
    """Draws participants by a Zipf law: rank r with weight r ** -skew; ranks are dealt to ids at random."""

    def __init__(self, request: GenerateRequest, generator: np.random.Generator) -> None:
        ranks = np.arange(1, request.participants + 1, dtype=np.float64)
        self._cumulative = np.cumsum(ranks**-request.skew)
        self._generator = generator
        width = len(str(request.participants))
        self.names: pa.Array = _names("p-", generator.permutation(request.participants) + 1, width)

    def __call__(self, count: int) -> _Ints:
        drawn = self._generator.random(count) * self._cumulative[-1]
        # Sorted needles make the search walk memory forwards: three times faster on a million participants.
        order = np.argsort(drawn, kind="stable")
        ranks = np.empty(count, np.int64)
        ranks[order] = np.searchsorted(self._cumulative, drawn[order], side="right")
        return np.minimum(ranks, len(self._cumulative) - 1)


def _timestamps(request: GenerateRequest, generator: np.random.Generator, numbers: _Ints) -> _Ints:
    """Event n lies in the n-th of `events` equal slots of the days' weighted time, so time order is number order."""
    day_units = int(_HOUR_WEIGHTS.sum()) * _HOUR_US
    slot = max(1, request.days * day_units // request.events)
    units = numbers * slot + generator.integers(0, slot, len(numbers))
    day, within = np.divmod(units, day_units)
    starts = np.concatenate([[0], np.cumsum(_HOUR_WEIGHTS)[:-1]]) * _HOUR_US
    hour = np.searchsorted(starts, within, side="right") - 1
    microseconds: _Ints = (
        request.start_us + (day * 24 + hour) * _HOUR_US + (within - starts[hour]) // _HOUR_WEIGHTS[hour]
    )
    return microseconds


def _types(request: GenerateRequest, generator: np.random.Generator, count: int) -> _Ints:
    """Positions in `_TYPES`."""
    drawn = generator.integers(0, 1_000_000, count)
    refunds = round(request.refund_share * 1_000_000)
    visits = round(request.visit_share * 1_000_000)
    return np.where(drawn < refunds, 1, np.where(drawn < refunds + visits, _VISIT, 0)).astype(np.int64)


def _rows(request: GenerateRequest, generator: np.random.Generator, count: int) -> tuple[_Ints, _Ints, int]:
    """Which event each row shows, what is bad about it, and how many rows repeat one; copies follow their original."""
    duplicates = round(request.duplicate_share * count)
    bad = round(request.bad_share * count)
    copies = [np.arange(count), generator.integers(0, count, duplicates), generator.integers(0, count, bad)]
    kinds = [np.zeros(count + duplicates, np.int64), np.arange(bad) % _BAD_KINDS + 1]
    rows, bad_kind = np.concatenate(copies).astype(np.int64), np.concatenate(kinds)
    order = generator.permutation(len(rows)) if request.shuffled else np.argsort(rows, kind="stable")
    return rows[order], bad_kind[order], duplicates


# --- columns --------------------------------------------------------------------------------------------------------


def _columns(chunk: _Chunk) -> dict[str, pa.Array]:
    """The chunk as Arrow columns, words as dictionaries. Of a bad row one required field is absent or names an unknown
    program; what is wrong with rows of the last kind is up to the file format."""
    bad = chunk.bad_kind
    visit = chunk.type == _VISIT
    codes, categories = tuple(kind[0] for kind in _KINDS), tuple(kind[1] for kind in _KINDS)
    return {
        "program_id": _words((chunk.program, "no-such-program"), (bad == 4).astype(np.int64), None),
        "idempotency_key": _keys(chunk),
        "event_timestamp": pa.array(chunk.timestamp, mask=bad == 2).cast(pa.timestamp("us", "UTC")),
        "external_id": pa.DictionaryArray.from_arrays(
            pa.array(chunk.participant.astype(np.int32), mask=bad == 3), chunk.participant_names
        ),
        "type": _words(_TYPES, chunk.type, None),
        "amount": _decimal(chunk.cents, visit),
        "mcc": _words(codes, chunk.kind, visit),
        "category": _words(categories, chunk.kind, visit),
        "merchant": pa.DictionaryArray.from_arrays(
            pa.array(chunk.merchant.astype(np.int32), mask=visit), chunk.merchant_names
        ),
        "channel": _words(_CHANNELS, chunk.channel, None),
    }


def _keys(chunk: _Chunk) -> pa.Array:
    """`e-` and the event's number; bad rows have keys of their own, so that they never stand for a good one."""
    numbers = pl.Series(chunk.event).cast(pl.String).str.zfill(9)
    if not chunk.bad_kind.any():
        return _arrow("e-" + numbers)
    frame = pl.DataFrame({"number": numbers, "bad": chunk.bad_kind})
    key = pl.when(pl.col("bad") != 0).then(pl.lit("bad-")).otherwise(pl.lit("e-")) + pl.col("number")
    return _arrow(frame.select(pl.when(pl.col("bad") != 1).then(key).alias("key"))["key"])


def _names(prefix: str, numbers: _Ints, width: int) -> pa.Array:
    return _arrow(prefix + pl.Series(numbers).cast(pl.String).str.zfill(width))


def _arrow(texts: pl.Series) -> pa.Array:
    """Text of polars as 32-bit offset text, the plainest type there is."""
    return texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())


def _words(words: tuple[str, ...], positions: _Ints, absent: npt.NDArray[np.bool_] | None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(positions.astype(np.int32), mask=absent), pa.array(words))


def _decimal(cents: _Ints, absent: npt.NDArray[np.bool_]) -> pa.Array:
    """Whole cents as decimal128 with two decimals, without passing through text."""
    words = np.empty((len(cents), 2), np.int64)
    words[:, 0] = cents
    words[:, 1] = cents >> 63
    present = pa.array(~absent).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [present, pa.py_buffer(words)])


def _frame(chunk: _Chunk) -> pl.DataFrame:
    """The chunk as text columns, with `bad` beside them."""
    texts = {name: column.cast(pa.string()) for name, column in _columns(chunk).items() if name != "event_timestamp"}
    frame = pl.DataFrame({name: pl.Series(values=column) for name, column in texts.items()})
    time_text = pl.Series(chunk.timestamp).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    frame = frame.with_columns(bad=pl.Series(chunk.bad_kind), event_timestamp=time_text)
    return frame.with_columns(event_timestamp=pl.when(pl.col("bad") != 2).then("event_timestamp"))


# --- files ----------------------------------------------------------------------------------------------------------


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only when it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as sink:
            yield sink
        os.replace(part, path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written ({error.strerror})", "Choose another place for it.") from error
    finally:
        part.unlink(missing_ok=True)


class _Writer(Protocol):
    """Writes chunks to an open file."""

    def __init__(self, sink: IO[bytes]) -> None: ...
    def write(self, chunk: _Chunk) -> None: ...
    def close(self) -> None: ...


_HEAD = ("program_id", "idempotency_key", "event_timestamp", "external_id")
_DATA = ("type", "amount", "mcc", "category", "merchant", "channel")
_CUT_AT = 60


class _ParquetFile:
    """`event_data` as a struct of typed columns; bad rows of kind 5 have no `event_data`."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None

    def write(self, chunk: _Chunk) -> None:
        columns = _columns(chunk)
        absent = pa.array(chunk.bad_kind == _BAD_KINDS)
        data = pa.StructArray.from_arrays([columns[name] for name in _DATA], names=list(_DATA), mask=absent)
        table = pa.table([*(columns[name] for name in _HEAD), data], names=[*_HEAD, "event_data"])
        if self._writer is None:
            # Without the Arrow schema in the file, dictionaries read back as plain text.
            self._writer = pq.ParquetWriter(
                self._sink, table.schema, compression="zstd", compression_level=1, store_schema=False
            )
        self._writer.write_table(table, row_group_size=CHUNK_EVENTS)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _NdjsonFile:
    """Native records; bad rows of kind 5 are cut off in the middle."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink

    def write(self, chunk: _Chunk) -> None:
        frame = _frame(chunk)
        member = {name: pl.concat_str(pl.lit(f'"{name}":"'), name, pl.lit('"')) for name in (*_HEAD, *_DATA)}
        member["amount"] = pl.concat_str(pl.lit('"amount":'), "amount")
        data = _object([member[name] for name in _DATA])
        line = _object([*(member[name] for name in _HEAD), pl.concat_str(pl.lit('"event_data":'), data)])
        cut = pl.when(pl.col("bad") == _BAD_KINDS).then(line.str.slice(0, _CUT_AT)).otherwise(line)
        frame.select(cut.alias("line")).write_csv(self._sink, include_header=False, quote_style="never")

    def close(self) -> None:
        """Nothing is buffered."""


class _CsvFile:
    """Flattened `event_data` columns; bad rows of kind 5 have an amount that is no number."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._header = True

    def write(self, chunk: _Chunk) -> None:
        no_number = pl.when(pl.col("bad") == _BAD_KINDS).then(pl.lit("n/a")).otherwise("amount").alias("amount")
        frame = _frame(chunk).with_columns(no_number).select(*_HEAD, *_DATA)
        names = {name: f"event_data.{name}" for name in _DATA} | {"amount": "event_data.amount:number"}
        frame.rename(names).write_csv(self._sink, include_header=self._header)
        self._header = False

    def close(self) -> None:
        """Nothing is buffered."""


def _object(members: list[pl.Expr]) -> pl.Expr:
    """A JSON object of the members that are present."""
    return pl.concat_str(pl.lit("{"), pl.concat_str(members, separator=",", ignore_nulls=True), pl.lit("}"))


_WRITERS: dict[str, type[_Writer]] = {".ndjson": _NdjsonFile, ".csv": _CsvFile, ".parquet": _ParquetFile}
