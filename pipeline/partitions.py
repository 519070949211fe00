"""Partitions: participants decided apart by several threads, where nothing they do can touch another (§4.1).

Which partition a holder belongs to never changes within a run and decides nothing: the books are those of one ordered
pass, number for number. In: the definitions and what the records of a run name. Out: why a run must be one pass, or the
threads' shares of a batch. Merging is `ledger.merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from earnbook.ledger.layout import WORK_BASE
from earnbook.ledger.merge import Merged, Share, merge
from earnbook.ledger.schema import Columns, Int64s, RecordKind
from earnbook.ledger.state import State
from earnbook.pipeline.records import Given
from earnbook.pipeline.stage import Staged
from earnbook.rules.compile import CompiledRuleset

_APART = frozenset({"CREDIT", "DEBIT", "COUNTER", "TAG", "UNTAG", "SET_ATTRIBUTE"})
"""Actions that touch nobody but their target, and leave nothing due but lots of their own."""

_OTHERS = int(Given.PARTICIPANT_ID | Given.RECIPIENT_EXTERNAL_ID | Given.RECIPIENT_ID)


def why_one_pass(ruleset: CompiledRuleset, staged: Staged) -> str | None:
    """Why the records of a run must be decided in one ordered pass; None where participants can go apart."""
    for program in ruleset.programs:
        if program.couples:
            return f"program {program.key}: {program.plan.coupling[0]}"
        if program.plan.program.tiers:
            return f"program {program.key} has tiers"
        for action in program.actions:
            rule = program.rules[action.rule].definition.key
            if action.type.name not in _APART or getattr(action.definition, "bucket", "AVAILABLE") != "AVAILABLE":
                return f"rule {rule} of program {program.key} keeps or moves what is held ({action.type.name})"
    if staged.has_any("record_kind", int(RecordKind.OPERATION)):
        return "there are operations"
    if staged.has_any("given", _OTHERS):
        return "some events have recipients, or name participants by id"
    return None


@dataclass(frozen=True, slots=True)
class RecordRows:
    """Some rows of a table of records, read one at a time where the closures need them."""

    records: pa.Table
    rows: Int64s

    def column(self, name: str) -> _Cells:
        """A column by position among these rows."""
        return _Cells(self.records.column(name), self.rows)


@dataclass(frozen=True, slots=True)
class _Cells:
    cells: Any
    rows: Int64s

    def __getitem__(self, row: int) -> Any:
        return self.cells[int(self.rows[row])]


Result = TypeVar("Result")


def decide_apart(
    states: tuple[State, ...],
    homes: Int64s,
    work: Int64s,
    records: pa.Table,
    columns: Columns,
    persons: Int64s,
    *,
    base: Int64s,
    until: int,
    decide: Callable[[int, RecordRows, Columns, Int64s, int], Result],
) -> tuple[Merged, tuple[Share, ...], list[Result]]:
    """Decide a batch by one thread per State and merge it; `homes` is the partition of each person.

    `decide` is given a partition, its records, columns and persons, and until when due work is done.

    Processing times are those of the whole log: a record's is the latest base time so far (§4.3).
    """
    start = states[0].registers
    reached = np.maximum.accumulate(np.maximum(base, start.clock))
    end = max(until, int(reached.max(initial=start.clock)))
    shares = tuple(Share(state=state, records=np.flatnonzero(homes[persons] == k)) for k, state in enumerate(states))
    with ThreadPoolExecutor(len(states), thread_name_prefix="partition") as threads:
        pending = []
        for k, share in enumerate(shares):
            rows = share.records
            share.state.begin_batch(_work_of(work, rows, reached))
            own = Columns(
                kind=np.ascontiguousarray(columns.kind[:, rows]),
                value=np.ascontiguousarray(columns.value[:, rows]),
                scale=columns.scale,
                now=columns.now[rows],
            )
            pending.append(threads.submit(decide, k, RecordRows(records, rows), own, persons[rows], end))
        results = [one.result() for one in pending]
    return merge(shares, start, reached, columns.now), shares, results


def _work_of(work: Int64s, rows: Int64s, reached: Int64s) -> Int64s:
    own = np.ascontiguousarray(work[:, rows])
    own[WORK_BASE] = reached[rows]
    return own


def new_patterns(shares: tuple[Share, ...], known: list[int], found: Int64s) -> Iterator[tuple[int, int]]:
    """The patterns that each State has beyond those known, as (State, pattern) in the order in which records met them.

    `found` is the pattern of each record of the batch within its State.
    """
    met: list[tuple[int, int, int]] = []
    for k, share in enumerate(shares):
        patterns, first = np.unique(found[share.records], return_index=True)
        new = patterns >= known[k]
        places = share.records[first[new]]
        met.extend((int(place), k, int(pattern)) for place, pattern in zip(places, patterns[new], strict=True))
    for _, k, pattern in sorted(met):
        yield k, pattern
