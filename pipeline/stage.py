"""Staging: every input is read once, conformed, and held in order before anything is decided (§3, §4.1).

In: a `StageRequest`. Out: a `Staged`: the accepted records (in memory, or spilled to Arrow IPC files above a limit),
every rejected row, and the counts of each source. Nothing here looks at the book; duplicates are the caller's, with
`order.drop_duplicates`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Int64s, UInt64s
from earnbook.pipeline.config import Order, Progress, ProgressListener
from earnbook.pipeline.intake import Contract
from earnbook.pipeline.intake_columns import Conformed, Intake
from earnbook.pipeline.records import Reference, Reject, RejectReason, records_schema
from earnbook.pipeline.source_files import InputFile, find_inputs
from earnbook.pipeline.source_input import SourceMapping, check_mapping
from earnbook.pipeline.source_mapping import MappedReader, rank_records
from earnbook.pipeline.source_ndjson import read_ndjson
from earnbook.pipeline.source_read import SourceReader
from earnbook.pipeline.stage_store import RecordStore

STAGED_BYTES_MAX = 1 << 28
"""Bytes of conformed records held in memory; beyond that they are spilled to files."""


def _silent(_: Progress) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequest:
    """What to read and what records are checked against.

    `programs`, `assets`, `rules`, `tiers`, `rewards` and `automations` (these four with the index of their program) are
    as this run's definitions leave them; `default_program` is an index into `programs` for rows without one; `paths`
    are the event paths that rules read; `horizon_us` None means no horizon (§4.3).
    """

    inputs: tuple[str, ...]
    programs: tuple[Reference, ...]
    assets: tuple[Reference, ...] = ()
    rules: tuple[tuple[int, Reference], ...] = ()
    tiers: tuple[tuple[int, Reference], ...] = ()
    rewards: tuple[tuple[int, Reference], ...] = ()
    automations: tuple[tuple[int, Reference], ...] = ()
    default_program: int | None = None
    format: str | None = None
    mapping: SourceMapping | None = None
    paths: tuple[tuple[str, ...], ...] = ()
    pool: StringPool = field(default_factory=StringPool)
    horizon_us: int | None = None
    assume_utc: bool = False
    memory_bytes_max: int = STAGED_BYTES_MAX
    spill_directory: Path | None = None
    progress: ProgressListener = field(default=_silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedSource:
    """One source: the hash of its bytes and where its rows went; rows_read = accepted + rejected."""

    name: str
    sha256: str
    rows_read: int
    accepted: int
    rejected: Mapping[RejectReason, int]
    unknown_fields: Mapping[str, int]
    """Top-level event fields that were ignored, with the number of rows that had them."""
    mapping_sha256: str | None = None
    input_rows: int | None = None
    """Rows of `input` before a mapping; `left_out` of them did not come out of it."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell the user about this source."""
        if not self.unknown_fields:
            return ()
        names = ", ".join(f"{name} ({rows:,} rows)" for name, rows in sorted(self.unknown_fields.items()))
        return (f"{self.name}: unknown event fields were ignored: {names}; what rules need belongs into event_data",)


class Staged:
    """Conformed records of all sources; close it, or use it as a context, to remove spilled files."""

    def __init__(
        self,
        *,
        sources: tuple[StagedSource, ...],
        rejects: tuple[Reject, ...],
        store: RecordStore,
        rows_accepted: int,
        repeated_hashes: UInt64s,
    ) -> None:
        self.sources = sources
        self.rejects = rejects
        self.rows_accepted = rows_accepted
        self.repeated_hashes = repeated_hashes
        """Key hashes that occur more than once, ascending; what `order.SeenKeys` is made with."""
        self._store = store

    @property
    def rows_read(self) -> int:
        """Rows of all sources: accepted and rejected (§3.6)."""
        return sum(source.rows_read for source in self.sources)

    @property
    def is_spilled(self) -> bool:
        """Whether records are in files."""
        return self._store.is_spilled

    def count_before(self, time_us: int) -> int:
        """How many accepted records have a timestamp before a time."""
        return sum(int(np.count_nonzero(times < time_us)) for times in self._store.column("timestamp"))

    def operations(self) -> Iterator[tuple[Int64s, pa.Array]]:
        """Type and canonical fields of every accepted operation, in the order in which they were read."""
        return self._store.operations()

    def has_any(self, column: str, bits: int) -> bool:
        """Whether any accepted record has one of these bits in an integer column."""
        return any(bool(np.any(values & bits)) for values in self._store.column(column))

    def batches(self, size: int, order: Order = Order.TIME) -> Iterator[pa.Table]:
        """Tables of `records_schema(len(paths))` with `size` rows (the last may be smaller), in log order (§4.1)."""
        return self._store.batches(size, order)

    def close(self) -> None:
        """Remove spilled files."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """NDJSON that a stream has brought: whole lines, and the number of the first one in the stream."""

    name: str
    data: bytes
    first_row: int = 1


def stage_lines(request: StageRequest, lines: Sequence[Lines]) -> Staged:
    """Check and stage lines; each `Lines` is a source of its own, `inputs` of the request are not read."""
    stager = _Stager(request, ())
    for index, part in enumerate(lines):
        stager.take(index, part)
    return stager.staged()


def stage_inputs(request: StageRequest) -> Staged:
    """Read, check and stage every input; raises SourceError for an input that cannot be read."""
    files = find_inputs(request.inputs, request.format or (request.mapping.format if request.mapping else None))
    if request.mapping is not None and request.mapping.select is not None:
        check_mapping(request.mapping)
    stager = _Stager(request, files)
    with ExitStack() as undo:
        undo.callback(stager.store.close)
        for index, file in enumerate(files):
            stager.read(index, file)
        staged = stager.staged()
        undo.pop_all()
    return staged


@dataclass(slots=True, kw_only=True)
class _Taken:
    """What one source gave beside its records."""

    rows_read: int = 0
    accepted: int = 0
    rejects: list[Reject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


class _Stager:
    """Collects what the sources give; one use."""

    def __init__(self, request: StageRequest, files: tuple[InputFile, ...]) -> None:
        self.request = request
        self.store = self._new_store()
        self._contract = Contract(
            programs=request.programs,
            assets=request.assets,
            rules=request.rules,
            tiers=request.tiers,
            rewards=request.rewards,
            automations=request.automations,
            default_program=request.default_program,
            horizon_us=request.horizon_us,
            assume_utc=request.assume_utc,
        )
        self._bytes_total = sum(file.path.stat().st_size for file in files if file.path is not None)
        self._bytes_read = 0
        self._is_total_known = all(file.path is not None for file in files)
        self._sources: list[StagedSource] = []
        self._rejects: list[Reject] = []
        self._position = 0

    def read(self, index: int, file: InputFile) -> None:
        """Read one source to its end."""
        request = self.request
        intake = Intake(contract=self._contract, source=index, paths=request.paths, pool=request.pool)
        mapping = request.mapping
        is_mapped = mapping is not None and mapping.select is not None
        reader: SourceReader | MappedReader
        if mapping is not None and is_mapped:
            reader = MappedReader(file, mapping, intake, self._on_read, request.spill_directory)
        else:
            reader = SourceReader(file, intake, self._on_read, mapping.timezone if mapping else None)
        store = self._new_store() if is_mapped else self.store
        taken = self._take(reader, store)
        rejects = taken.rejects
        if isinstance(reader, MappedReader):
            rejects = [
                *reader.set_aside,
                *rank_records(store, rejects, first_position=self._position - taken.accepted),
            ]
            taken.rows_read += len(reader.set_aside)
            store.move_to(self.store)
        self._finish(
            file.name,
            reader.sha256,
            replace(taken, rejects=rejects),
            mapping_sha256=reader.mapping_sha256 if isinstance(reader, MappedReader) else None,
            input_rows=reader.input_rows if isinstance(reader, MappedReader) else None,
        )

    def take(self, index: int, lines: Lines) -> None:
        """Take in lines that are at hand."""
        request = self.request
        intake = Intake(contract=self._contract, source=index, paths=request.paths, pool=request.pool)
        conformed = read_ndjson(BytesIO(lines.data), lines.name, intake, first_line=lines.first_row)
        self._finish(lines.name, hashlib.sha256(lines.data).hexdigest(), self._take(conformed, self.store))

    def _take(self, rows: Iterable[Conformed], store: RecordStore) -> _Taken:
        taken = _Taken()
        for conformed in rows:
            taken.rows_read += conformed.rows_read
            taken.rejects += conformed.rejects
            taken.unknown.update(conformed.unknown_fields)
            taken.accepted += len(conformed.records)
            self._add(conformed.records, store)
        return taken

    def _finish(
        self,
        name: str,
        sha256: str,
        taken: _Taken,
        *,
        mapping_sha256: str | None = None,
        input_rows: int | None = None,
    ) -> None:
        self._rejects += sorted(taken.rejects, key=lambda reject: reject.source_row)
        self._sources.append(
            StagedSource(
                name=name,
                sha256=sha256,
                rows_read=taken.rows_read,
                accepted=taken.accepted,
                rejected=dict(Counter(reject.reason for reject in taken.rejects)),
                unknown_fields=dict(taken.unknown),
                mapping_sha256=mapping_sha256,
                input_rows=input_rows,
            )
        )

    def staged(self) -> Staged:
        """Everything read."""
        return Staged(
            sources=tuple(self._sources),
            rejects=tuple(self._rejects),
            store=self.store,
            rows_accepted=self._position,
            repeated_hashes=self.store.repeated("key_hash"),
        )

    def _new_store(self) -> RecordStore:
        schema = records_schema(len(self.request.paths))
        return RecordStore(schema, self.request.memory_bytes_max, self.request.spill_directory)

    def _add(self, records: pa.RecordBatch, store: RecordStore) -> None:
        positions = np.arange(self._position, self._position + len(records), dtype=np.int64)
        self._position += len(records)
        store.append(records.set_column(0, records.schema.field(0), pa.array(positions)))

    def _on_read(self, count: int) -> None:
        self._bytes_read += count
        total = self._bytes_total if self._is_total_known else None
        self.request.progress(Progress(stage="read", done=self._bytes_read, total=total, unit="bytes"))
