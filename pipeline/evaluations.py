"""Evaluations as patterns: what each rule of a program did, written once for all events for which it was the same.

An event stores the number of its pattern; the view `evaluations` is their join (§10.3, §18.5). Equal patterns have one
number over the life of a book, so numbers depend on the log alone, not on how it was cut into runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from earnbook.ledger.layout import R_PATTERNS
from earnbook.ledger.results import patterns
from earnbook.ledger.schema import (
    WORDS_ERRORED,
    WORDS_LIMITED,
    WORDS_MATCHED,
    WORDS_OUTSIDE,
    WORDS_SUPPRESSED,
    Int64s,
    word_count,
)
from earnbook.ledger.state import State
from earnbook.pipeline.schema import BATCH_TABLES
from earnbook.pipeline.store_tables import EvaluationReason, EvaluationStatus

NO_PATTERN = 0
"""The number of an event in which no rule has a row."""

_SUPPRESSED = int(EvaluationReason.BUDGET_EXCEEDED)
_COLUMNS = tuple(name for name in BATCH_TABLES["evaluation_patterns"].names if name != "pattern")
Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PatternRule:
    """An active rule of a program as patterns name it: object number, version, order, and whether it stops."""

    number: int
    version: int
    order: int
    stops: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternProgram:
    """The rules of a program in rule order, and the position of the rule of each action number of the book."""

    number: int
    rules: tuple[PatternRule, ...]
    rule_of_action: Mapping[int, int]


class Patterns:
    """The book's patterns, and those that a run adds."""

    def __init__(self, programs: Sequence[PatternProgram], stored: pa.Table, *, full: bool) -> None:
        """`stored` are the rows of `evaluation_patterns` in pattern order; `full` false keeps matched rules only."""
        self._programs = programs
        self._full = full
        self._known: dict[tuple[Row, ...], int] = {}
        for number, rows in _by_pattern(stored):
            self._known[rows] = number
        self._numbers = [NO_PATTERN]
        self._new: list[Row] = []

    def numbers(self, state: State) -> Int64s:
        """The book's number of each pattern of the state; the first item is for -1, an event refused before rules."""
        for number in range(len(self._numbers) - 1, state.register(R_PATTERNS)):
            self._numbers.append(self.number(state, number))
        return np.array(self._numbers, np.int64)

    def number(self, state: State, pattern: int) -> int:
        """The book's number of one pattern of a state, a new one where the book has none like it."""
        found = patterns(state, start=pattern, stop=pattern + 1)
        program, action, words = found["program"][0], found["action"][0], found["words"][0]
        rows = tuple(self._rows(self._programs[int(program)], int(action), words))
        return self._number(rows) if rows else NO_PATTERN

    def take_rows(self) -> pa.Table:
        """The rows of patterns that are new since the last call."""
        schema = BATCH_TABLES["evaluation_patterns"]
        columns = list(zip(*self._new, strict=True)) or [()] * len(schema)
        self._new = []
        return pa.table([pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema)

    def _number(self, rows: tuple[Row, ...]) -> int:
        number = self._known.get(rows)
        if number is None:
            number = self._known[rows] = len(self._known) + 1
            self._new.extend((number, *row) for row in rows)
        return number

    def _rows(self, program: PatternProgram, action: int, words: np.ndarray) -> Iterator[Row]:
        """The evaluation rows of §10.3 in rule order."""
        failed = program.rule_of_action[action] if action else None
        stopped_by = 0
        count = word_count(len(program.rules))
        for position, rule in enumerate(program.rules):
            status, reason = _judge(words, count, position)
            if stopped_by:
                status, reason = EvaluationStatus.SKIPPED, int(EvaluationReason.STOPPED_BY_RULE)
            if position == failed:
                status = EvaluationStatus.FAILED
            is_matched = status in (EvaluationStatus.SUCCESS, EvaluationStatus.FAILED) or reason == _SUPPRESSED
            if status is not None and (self._full or is_matched):
                head = (program.number, rule.number, rule.version, rule.order)
                yield (*head, int(status), reason, stopped_by)
            if position == failed:
                return
            if rule.stops and (status is EvaluationStatus.SUCCESS or reason == _SUPPRESSED):
                stopped_by = rule.number


def _judge(words: np.ndarray, count: int, position: int) -> tuple[EvaluationStatus | None, int]:
    """Status and reason of the rule at a position; no status where its condition was false."""

    def is_set(section: int) -> bool:
        return bool(int(words[section * count + (position >> 6)]) >> (position & 63) & 1)

    if is_set(WORDS_MATCHED) and is_set(WORDS_SUPPRESSED):
        return EvaluationStatus.SKIPPED, _SUPPRESSED
    if is_set(WORDS_MATCHED):
        return EvaluationStatus.SUCCESS, 0
    if is_set(WORDS_ERRORED):
        return EvaluationStatus.SKIPPED_ERROR, 0
    if is_set(WORDS_LIMITED):
        return EvaluationStatus.SKIPPED_TIMEOUT, 0
    if is_set(WORDS_OUTSIDE):
        return EvaluationStatus.SKIPPED, int(EvaluationReason.OUTSIDE_TIME_WINDOW)
    return None, 0


def _by_pattern(stored: pa.Table) -> Iterator[tuple[int, tuple[Row, ...]]]:
    rows: dict[int, list[Row]] = {}
    for row in stored.to_pylist():
        rows.setdefault(row["pattern"], []).append(tuple(row[name] for name in _COLUMNS))
    for number, found in rows.items():
        yield number, tuple(found)
