"""Requests: what a command asks of the pipeline, complete and frozen, and every limit by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

BATCH_RECORDS_DEFAULT = 1_000_000
"""Records of one batch (§4.1)."""

HORIZON_NOW_US = 24 * 3_600_000_000
HORIZON_EVENT_US = 5 * 60_000_000
"""How far past the wall clock a timestamp may lie (§4.3), by clock mode."""

CLOCK_TOLERANCE_US = 60_000_000
"""How far a reading of the wall clock may lie before the book clock and still count as it (§4.3)."""

OLD_EVENT_US = 48 * 3_600_000_000
"""An event older than this counts for the warning under `now` and the refusal under `event` (§4.3)."""


GENERATED_FACTOR = 10
"""A batch may generate so many events per record and participant, if `--max-generated` does not say (§17.5)."""


class ClockMode(StrEnum):
    """Where the base time of a record comes from (§4.3)."""

    NOW = "now"
    EVENT = "event"
    FIXED = "fixed"


class Order(StrEnum):
    """The log order of a run on files (§4.1)."""

    TIME = "time"
    INPUT = "input"


class OutboxMode(StrEnum):
    """Which notifications a batch writes: those that an ACTIVE endpoint enables, all, or none."""

    ENABLED = "enabled"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A step of long work: `done` of `total` (None: not known) units of `unit`."""

    stage: str
    done: int
    total: int | None
    unit: str = "records"


COMPILE_STAGE = "compile"
"""The stage of a run in which rules and kernel are compiled or loaded from their cache."""

ProgressListener = Callable[[Progress], None]


WarningListener = Callable[[str], None]


ResultsListener = Callable[[pa.Table], None]
"""Takes the results of a batch (`run_results.RESULT_COLUMNS`), in log order."""


def _silent(_: Progress | str) -> None:
    """No listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Where a job publishes the book when it is done (`pipeline.publish`); None: not at all."""

    directory: Path | None = None
    """Parquet datasets by batch."""
    read_copy: Path | None = None
    """A copy of the book's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One `earnbook run` (§3, §4). Times are microseconds since 1970."""

    book: Path
    inputs: tuple[str, ...]
    config: Path | None = None
    source: str | None = None
    format: str | None = None
    program: str | None = None
    clock: ClockMode = ClockMode.NOW
    clock_fixed_us: int | None = None
    order: Order = Order.TIME
    allow_late: bool = False
    prune: bool = False
    lock_wait_seconds: float = 0.0
    horizon_us: int | None = None
    no_horizon: bool = False
    assume_utc: bool = False
    ignore_conflicts: bool = False
    max_rejects: int | None = None
    control: Path | None = None
    """A file of control totals (`pipeline.control`) that the operations must tie to."""
    batch_records: int = BATCH_RECORDS_DEFAULT
    max_generated: int | None = None
    """How many events a batch may generate; None: as `GENERATED_FACTOR` says."""
    evaluations_full: bool = True
    dry_run: bool = False
    publication: Publication = field(default_factory=Publication)
    kernel: bool = True
    outbox: OutboxMode = OutboxMode.ENABLED
    """Which notifications are written to the outbox (§22.1)."""
    webhook_extensions: bool = False
    """Whether forfeits, voids and maturities are notifications, too."""
    partitions: int = 1
    """By how many threads participants are decided, where they can go apart."""
    wall_clock_us: int | None = None
    """One reading of the wall clock, passed in (never read in the core); None: `drive` reads it once."""
    progress: ProgressListener = field(default=_silent)
    results: ResultsListener | None = None
    """Takes what became of each record; None: nobody asks."""
    warn: WarningListener = field(default=_silent)
    """Told, before anything is decided, what the summary will warn of as well (§4.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvanceRequest:
    """One `earnbook advance --to` (§4.3)."""

    book: Path
    to_us: int
    lock_wait_seconds: float = 0.0
    no_horizon: bool = False
    horizon_us: int | None = None
    max_generated: int | None = None
    publication: Publication = field(default_factory=Publication)
    outbox: OutboxMode = OutboxMode.ENABLED
    webhook_extensions: bool = False
    wall_clock_us: int | None = None
    progress: ProgressListener = field(default=_silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """One `earnbook definitions load`: store a pending version for the next batch (§6.3)."""

    book: Path
    config: Path
    prune: bool = False
    lock_wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputReport:
    """One source of a run: its bytes' hash and its rows."""

    name: str
    sha256: str
    rows: int
    rejected: int
    mapped_from: int | None = None
    """Rows of `input` before a mapping; None where there is none."""
    mapping_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementTotal:
    """Entries and their amount of one asset and action type in the run; amount in minor units."""

    asset: str
    scale: int
    entry_type: str
    entries: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceTotal:
    """An asset's balances before and after the run, minor units, by kind of account."""

    asset: str
    scale: int
    account: str
    """`holders`, `wallets`, `issuance`, `redemption` or `breakage`."""
    opening_minor: int
    change_minor: int
    """The sum of the run's postings on these accounts, taken from the journal rows."""
    closing_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did, for the summary and for `--format json`. Counts are of this run."""

    book: Path
    inputs: tuple[InputReport, ...]
    batches: tuple[int, ...]
    rows_read: int
    events: int
    operations: int
    duplicates: int
    conflicts: int
    rejected: dict[str, int]
    rejects_known: int
    """Of the rejected rows, those the book already has from an earlier run of the same file."""
    completed: int
    failed: dict[str, int]
    late: int
    generated: int
    participants_created: int
    entries: int
    movements: tuple[MovementTotal, ...]
    balances: tuple[BalanceTotal, ...]
    lots_created: int
    changes: int
    bailed: dict[str, int]
    """Events for which the closures proposed, by the reason why the kernel did not (`ledger.schema.Bail`)."""
    ruleset_version: int | None
    ruleset_changed: bool
    clock: str
    clock_before_us: int
    clock_after_us: int
    seconds: float
    stage_seconds: dict[str, float]
    peak_memory_bytes: int
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    notifications: int = 0
    """What the run's batches wrote to the outbox."""

    @property
    def new_records(self) -> int:
        """Records that entered the log."""
        return self.events + self.operations

    @property
    def ties(self) -> bool:
        """Both counting identities of §3.6, and opening + change = closing for every line."""
        read = self.events + self.operations + self.duplicates + sum(self.rejected.values())
        done = self.completed + sum(self.failed.values())
        balanced = all(b.opening_minor + b.change_minor == b.closing_minor for b in self.balances)
        return self.rows_read == read and self.new_records + self.generated == done and balanced
