"""Staging: every input is read once, conformed, and held in order before anything is decided (§3, §4.1).

In: a `StageRequest`. Out: a `Staged`: the accepted records (in memory, or spilled to Arrow IPC files above a limit),
every rejected row, and the counts of each source. Nothing here looks at the book; duplicates are the caller's, with
`order.drop_duplicates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Int64s, UInt64s
from earnbook.pipeline.config import Order, Progress, ProgressListener
from earnbook.pipeline.records import Reference, Reject, RejectReason

STAGED_BYTES_MAX = 1 << 30
"""Bytes of conformed records held in memory; beyond that they are spilled to files."""


def _silent(_: Progress) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMapping:
    """A definition of `sources`: how a partner's own columns become records (§4.1)."""

    name: str
    select: str | None = None
    format: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequest:
    """What to read and what records are checked against.

    `programs` and `assets` are as this run's definitions leave them; `default_program` is an index into `programs` for
    rows without one; `paths` are the event paths that rules read; `horizon_us` None means no horizon (§4.3).
    """

    inputs: tuple[str, ...]
    programs: tuple[Reference, ...]
    assets: tuple[Reference, ...] = ()
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
    """Conformed records of all sources."""

    sources: tuple[StagedSource, ...]
    rejects: tuple[Reject, ...]
    rows_accepted: int
    timestamps: Int64s  # of all accepted records, in input order
    repeated_hashes: UInt64s  # sorted key hashes that occur more than once

    def batches(self, size: int, order: Order = Order.TIME) -> Iterator[pa.Table]:
        """Tables of `records_schema(len(paths))` with at most `size` rows, in log order (§4.1)."""
        raise NotImplementedError

    def close(self) -> None:
        """Remove spilled files."""


def stage_inputs(request: StageRequest) -> Staged:
    """Read, check and stage every input; raises SourceError for an input that cannot be read."""
    raise NotImplementedError
