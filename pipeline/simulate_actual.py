"""Where in a book the records of some inputs stand, so that they can be decided once more (§21.2).

A comparison with what the book posted is of the same records on both sides, or it says nothing. So the batches from the
first to the last that hold any of the inputs' records must hold no others, and the book must have all of them; then the
book as of the batch before, with these records, stands where the book as of the last one stood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.ledger.schema import Int64s
from earnbook.pipeline.clock import Clock
from earnbook.pipeline.config import BATCH_RECORDS_DEFAULT, ClockMode, Order, RunRequest
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.job import Job
from earnbook.pipeline.load import bring_checkpoint_forward, load_registers
from earnbook.pipeline.order import SeenKeys, drop_duplicates
from earnbook.pipeline.originals import find_originals
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.ruleset import prepare_ruleset, ruleset_in_force
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_rows import one_row
from earnbook.rules.definitions import Definitions

_SCOPE = ["record_kind", "operation", "program", "idempotency_key"]
"""The columns within which a key is unique (§3.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """By which clock and in which order a batch was decided."""

    time_us: int | None
    """The reading or the given time; None: each record's own."""
    horizon_us: int | None
    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The batches that hold the records; `readings` are the different ones among them."""

    first_batch: int
    last_batch: int
    readings: tuple[_Reading, ...]
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The batches, in words."""
        if self.first_batch == self.last_batch:
            return f"batch {self.first_batch}"
        return f"batches {self.first_batch} to {self.last_batch}"

    def run_again(self, request: RunRequest) -> RunRequest:
        """The run with the clock, horizon and order of the batches; a reading of the wall clock becomes a given time.

        Raises Refused when the batches do not have one clock.
        """
        if len(self.readings) != 1:
            raise Refused(
                f"{self.name} were decided by {len(self.readings)} different clocks",
                "Give the inputs of one run at a time, or say by which --clock to simulate them.",
            )
        (reading,) = self.readings
        return replace(
            request,
            clock=ClockMode.EVENT if reading.time_us is None else ClockMode.FIXED,
            clock_fixed_us=reading.time_us,
            horizon_us=reading.horizon_us,
            no_horizon=reading.horizon_us is None,
            order=Order(reading.order),
            allow_late=True,
        )


def find_span(path: Path, request: RunRequest, given: Definitions | None) -> Span:
    """The batches of a book that hold the records of the request's inputs, and nothing else.

    `path` is a copy, which nobody else has open. Raises Refused when the batches and the inputs do not tie.
    """
    with open_book(path, mode=BookMode.WRITE) as book, book.session() as connection:
        bring_checkpoint_forward(connection)
        registers = load_registers(connection)
        clock = Clock(mode=ClockMode.EVENT, reading_us=request.wall_clock_us or 0, horizon_us=None)
        load = (
            ruleset_in_force(connection)
            if given is None
            else prepare_ruleset(connection, registers, given, prune=request.prune)
        )
        # Nothing is decided here, so there is nothing to compile for.
        wanted = replace(request, book=path, kernel=False, results=None)
        job = Job(book, connection, wanted, clock, load, wall_us=clock.reading_us)
        with job.stage() as staged:
            found = _look_up(connection, staged.batches(BATCH_RECORDS_DEFAULT), SeenKeys(staged.repeated_hashes))
        return _tie(connection, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Records of the inputs: those that the book has (their numbers in its log, ascending), and how many it has not."""

    log_seqs: Int64s
    new: int
    conflicts: int


def _look_up(connection: duckdb.DuckDBPyConnection, tables: Iterator[pa.Table], seen: SeenKeys) -> _Found:
    numbers: list[Int64s] = []
    counts: Counter[str] = Counter()
    for table in tables:
        originals = find_originals(connection, table)
        rest = drop_duplicates(table, seen, first_log_seq=0, originals=originals)
        counts["new"] += rest.records.num_rows
        counts["conflicts"] += len(rest.conflicts)
        ours = table.select(_SCOPE)
        numbers.append(originals.join(ours, keys=_SCOPE, join_type="left semi").column("log_seq").to_numpy())
    log_seqs = np.unique(np.concatenate([np.zeros(0, np.int64), *numbers]))
    return _Found(log_seqs=log_seqs, new=counts["new"], conflicts=counts["conflicts"])


def _tie(connection: duckdb.DuckDBPyConnection, found: _Found) -> Span:
    """The span of the records that were found; Refused where it holds others, or where some were not found."""
    if len(found.log_seqs) == 0:
        raise Refused("the book has none of these records", "Compare two rulesets with --against DIR.")
    if found.new:
        raise Refused(
            f"{found.new:,} records of the inputs are not in the book",
            "Leave them out, or compare two rulesets over all of them with --against DIR.",
        )
    first, last = (_batch_of(connection, int(number)) for number in (found.log_seqs[0], found.log_seqs[-1]))
    row = one_row(
        connection,
        f"""SELECT sum(events + operations), sum(late), (SELECT count(*) FROM store.rejects
            WHERE batch BETWEEN {first} AND {last} AND reason = {RejectReason.IDEMPOTENCY_CONFLICT})
        FROM store.batches WHERE batch BETWEEN {first} AND {last}""",
    )
    assert row is not None, "an aggregate has one row"
    others = int(row[0]) - len(found.log_seqs)
    span = Span(
        first_batch=first,
        last_batch=last,
        readings=_readings(connection, first, last),
        warnings=tuple(_warnings(late=int(row[1]), known=int(row[2]), conflicts=found.conflicts, is_one=first == last)),
    )
    if others:
        raise Refused(
            f"{span.name} of the book hold {others:,} records that the inputs do not have",
            "Give all inputs of these batches; `earnbook show batch N` names them.",
        )
    return span


def _warnings(*, late: int, known: int, conflicts: int, is_one: bool) -> Iterator[str]:
    if late and not is_one:
        yield (
            f"{late:,} records were late in the book and are simulated in the order of their times: "
            "what they changed then may come out differently for that reason alone"
        )
    if conflicts > known:
        yield f"{conflicts - known:,} rows of the inputs have another payload than the record of their key in the book"


def _batch_of(connection: duckdb.DuckDBPyConnection, log_seq: int) -> int:
    row = one_row(connection, "SELECT min(batch) FROM store.batches WHERE last_log_seq >= ?", [log_seq])
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def _readings(connection: duckdb.DuckDBPyConnection, first: int, last: int) -> tuple[_Reading, ...]:
    """The different clocks of the batches with records; a batch without any only did what was due."""
    rows = connection.execute(
        """SELECT DISTINCT coalesce(clock_reading, clock_fixed), horizon, record_order FROM store.batches
        WHERE batch BETWEEN ? AND ? AND events + operations > 0 ORDER BY ALL""",
        [first, last],
    ).fetchall()
    return tuple(_Reading(time_us=time_us, horizon_us=horizon, order=order) for time_us, horizon, order in rows)
