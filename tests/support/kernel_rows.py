"""Rows for a kernel in plain values: makes the arrays of `ledger.schema`, runs `propose`, and compares with closures.

A `Row` is one event with the state before it. Columns are coded as the contract says: the scale of a column is the
largest of the batch, at most 6; a number that does not fit is WIDE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import numpy as np

from earnbook.ledger.schema import (
    COLUMN_SCALE_MAX,
    FX_COLUMNS,
    FX_REFERENCE,
    FX_REFERENCE_CODE,
    FX_RESULT,
    FX_TEXT_KIND,
    FX_VALUE,
    FX_VALUE_CODE,
    FX_VALUE_HIGH,
    FX_VALUE_SCALE,
    TIME_NONE,
    WORD_SECTIONS,
    Bail,
    Cells,
    Columns,
    Kind,
    Outcome,
    Status,
    Tables,
    word_count,
)
from earnbook.rules.compile import CompiledProgram, CompiledRuleset, look_up, precompute
from earnbook.rules.lower_kernel import FUNCTIONS_START
from earnbook.rules.models import Program
from earnbook.rules.plan_columns import PrecomputedColumn
from earnbook.rules.proposal import decimals_of
from earnbook.rules.syntax import Uint
from earnbook.rules.tiers import levels_by_rank, tier_value
from earnbook.rules.values import CelError, EvaluationError, Timestamp, Value

NOW = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""

ABSENT = object()

Effect = tuple[int | Fraction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """A counter with a window."""

    value: Decimal
    reset_at: int
    reset_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """The state of a participant or program that rules read."""

    counters: Mapping[str, Decimal | Windowed] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    status: str = "ACTIVE"
    tiers: dict[str, tuple[str, int, int | None]] = field(default_factory=dict)
    """Level, acquired_at and expires_at by tier type."""

    def scope(self, now: int) -> dict[str, Value]:
        """The state as a CEL variable."""
        counters: dict[str, Decimal] = {}
        for key, counter in self.counters.items():
            if isinstance(counter, Windowed):
                elapsed = now - counter.reset_at >= counter.reset_after
                counters[key] = Decimal(0) if elapsed else counter.value
            else:
                counters[key] = counter
        state = {"counters": counters, "tags": sorted(self.tags), "attributes": dict(self.attributes)}
        return {**state, "status": self.status, "tiers": {}}

    def tier_scope(self, program: Program) -> dict[str, Value]:
        """`participant.tiers` (§11.1)."""
        tiers: dict[str, Value] = {}
        for tier in program.tiers:
            if tier.key in self.tiers:
                name, acquired_at, expires_at = self.tiers[tier.key]
                level = next(level for level in tier.levels if level.key == name)
                ends = None if expires_at is None else Timestamp.from_microseconds(expires_at)
                tiers[tier.key] = tier_value(level, Timestamp.from_microseconds(acquired_at), ends)
        return tiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event; `participant` None stands for an event without one, `group` None for one that names no group."""

    event: dict[str, Any]
    participant: Entity | None = field(default_factory=Entity)
    program: Entity = field(default_factory=Entity)
    group: Entity | None = None
    now: int = NOW
    processed_at: int = NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What one target proposes for a row: the words, and the effects with numbers by value."""

    words: tuple[int, ...]
    effects: tuple[Effect, ...]


class Pool:
    """A text pool."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code_of(self, text: str) -> int:
        """The code of a text, interned when new."""
        return self.codes.setdefault(text, len(self.codes))


def interpreted(source: str) -> Callable[..., int]:
    """`propose` of a generated module as plain Python: no compiler to wait for, and no integer that could wrap."""
    names: dict[str, Any] = {
        "njit": lambda *_, **__: lambda function: function,
        "address_of": lambda array: array.reshape(-1),
        "address_of_field": lambda holder, index: holder[index].reshape(-1),
        "width_of_field": lambda holder, index: holder[index].shape[1],
        "load_int8": lambda array, index: int(array[index]),
        "load_int64": lambda array, index: int(array[index]),
        "store_int64": _store,
    }
    names |= {"np": np, "propose_signature": lambda: None}
    exec(compile(source[source.index(FUNCTIONS_START) :], "<kernel>", "exec"), names)
    return cast("Callable[..., int]", names["propose"])


def _store(array: np.ndarray[Any, Any], index: int, value: int) -> None:
    array[index] = np.int64(value).view(np.uint64) if array.dtype == np.uint64 else value


def run_kernel(
    ruleset: CompiledRuleset, rows: Sequence[Row], pool: Pool, propose: object | None = None
) -> list[Proposed | None]:
    """What the kernel of the only program proposes for each row; None where it bails out."""
    results = kernel_results(ruleset, rows, pool, propose)
    return [None if isinstance(result, Bail) else result for result in results]


def kernel_results(
    ruleset: CompiledRuleset, rows: Sequence[Row], pool: Pool, propose: object | None = None
) -> list[Proposed | Bail]:
    """What the kernel of the only program proposes for each row, or why it bails out."""
    program = ruleset.programs[0]
    chosen = propose or program.propose
    assert chosen is not None, program.refused
    propose = cast("Callable[..., int]", chosen)
    arguments = kernel_arguments(ruleset, rows, pool)
    words = np.full(WORD_SECTIONS * word_count(len(program.rules)), 0xFF, dtype=np.uint64)
    effects = np.full((max(1, len(program.actions)), FX_COLUMNS), 77, dtype=np.int64)
    results: list[Proposed | Bail] = []
    for number, row in enumerate(rows):
        slot = -1 if row.participant is None else 2 * number + 1
        group = -1 if row.group is None else 2 * len(rows) + number
        places = (number, slot, 2 * number, group, row.processed_at)
        count = propose(*places, *arguments, effects, words)
        results.append(Bail(count) if count < 0 else _proposed(effects, words, count))
    return results


def kernel_arguments(
    ruleset: CompiledRuleset, rows: Sequence[Row], pool: Pool
) -> tuple[Columns, Cells, np.ndarray[Any, Any], Tables]:
    """Columns, cells, literals and tables of the rows, as `propose` of the only program takes them.

    The participant of row n has slot 2n + 1, its program slot 2n; groups follow after all of them.
    """
    columns = _columns(ruleset, rows, pool)
    cells, literals = _cells(ruleset.programs[0], rows, pool)
    return columns, cells, literals, _tables(ruleset, pool)


def run_closures(ruleset: CompiledRuleset, rows: Sequence[Row], pool: Pool) -> list[Proposed]:
    """What the closures propose, through the same arrays."""
    program = ruleset.programs[0]
    words = np.zeros(WORD_SECTIONS * word_count(len(program.rules)), dtype=np.uint64)
    effects = np.zeros((max(1, len(program.actions)), FX_COLUMNS), dtype=np.int64)
    results = []
    for number, row in enumerate(rows):
        nobody: dict[str, Value] = {"counters": {}, "tags": [], "attributes": {}, "tiers": {}}
        model = program.plan.program
        participant = nobody
        if row.participant is not None:
            participant = row.participant.scope(row.now) | {"tiers": row.participant.tier_scope(model)}
        program_scope = {**row.program.scope(row.now), "id": model.id, "key": model.key}
        group = None if row.group is None else row.group.scope(row.now)
        if group is not None:
            del group["tiers"]  # groups have none (§8.3)
        proposal = program.propose_row(row.event, participant, program_scope, row.now, row.processed_at, group=group)
        count = proposal.write(effects, words, program_slot=2 * number, code_of=pool.code_of)
        results.append(_proposed(effects, words, count))
    return results


def _proposed(effects: np.ndarray[Any, Any], words: np.ndarray[Any, Any], count: int) -> Proposed:
    return Proposed(
        words=tuple(int(word) for word in words),
        effects=tuple(_effect([int(cell) for cell in effects[row][:FX_RESULT]]) for row in range(count)),
    )


def _effect(cells: list[int]) -> Effect:
    """An effect row with its number by value, so that 1.50 and 1.5 are the same; beside a code it has none."""
    scale = cells[FX_VALUE_SCALE]
    value = Fraction(cells[FX_VALUE_HIGH] * 2**64 + cells[FX_VALUE] % 2**64, 10**scale)
    if cells[FX_VALUE_CODE]:
        value = Fraction(0)
    if cells[FX_VALUE_CODE] in (Outcome.EXPRESSION_ERROR, Outcome.EXPRESSION_LIMIT):
        # The action ends at stage 4 of §12.3, so nobody looks at its reference.
        cells[FX_REFERENCE], cells[FX_REFERENCE_CODE] = -1, 0
    keep_scale = cells[FX_TEXT_KIND] == Kind.NUMBER
    # The columns from FX_RESULT on are the books'; `propose` leaves them alone.
    left_out = (FX_VALUE, FX_VALUE_HIGH, FX_VALUE_SCALE)
    others = [cell for column, cell in enumerate(cells[:FX_RESULT]) if column not in left_out]
    return (value, scale if keep_scale else 0, *others)


def _columns(ruleset: CompiledRuleset, rows: Sequence[Row], pool: Pool) -> Columns:
    shape = (max(1, len(ruleset.columns)), len(rows))
    kinds, values = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.int64)
    scales = np.zeros(shape[0], dtype=np.int64)
    nows = [row.now for row in rows]
    for number, column in enumerate(ruleset.columns):
        cells: list[Any]
        if isinstance(column, PrecomputedColumn):
            cells = list(precompute(column, [row.event for row in rows], nows))
        else:
            cells = [_member(row.event, column.path) for row in rows]
        decimals = [decimals_of(cell) for cell in cells if isinstance(cell, Decimal) and cell.is_finite()]
        scales[number] = min(COLUMN_SCALE_MAX, max(decimals, default=0))
        for record, cell in enumerate(cells):
            kinds[number, record], values[number, record] = _cell(cell, int(scales[number]), pool)
    return Columns(kinds, values, scales, np.array(nows, dtype=np.int64))


def _member(event: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(event, dict) or name not in event:
            return ABSENT
        event = event[name]
    return event


def _cell(cell: Any, scale: int, pool: Pool) -> tuple[Kind, int]:
    if cell is ABSENT:
        return Kind.ABSENT, 0
    if cell is None:
        return Kind.NULL, 0
    if isinstance(cell, bool):
        return Kind.BOOL, int(cell)
    if isinstance(cell, EvaluationError):
        return (Kind.ERROR if isinstance(cell, CelError) else Kind.WIDE), 0
    if isinstance(cell, Decimal) and cell.is_finite():
        scaled = Fraction(cell) * 10**scale
        fits = scaled.denominator == 1 and -(2**63) <= scaled < 2**63
        return (Kind.NUMBER, int(scaled)) if fits else (Kind.WIDE, 0)
    if isinstance(cell, int) and not isinstance(cell, Uint):
        return Kind.INT, cell
    if isinstance(cell, str):
        return Kind.TEXT, pool.code_of(cell)
    if isinstance(cell, Timestamp) and cell.nanoseconds % 1000 == 0:
        return Kind.TIMESTAMP, cell.nanoseconds // 1000
    if isinstance(cell, list | dict):
        return (Kind.LIST if isinstance(cell, list) else Kind.MAP), 0
    return Kind.WIDE, 0


def _cells(program: CompiledProgram, rows: Sequence[Row], pool: Pool) -> tuple[Cells, np.ndarray[Any, Any]]:
    keys: dict[str, dict[str, int]] = {"counter": {}, "tag": {}, "attribute": {}, "tier": {}}
    literals = []
    for literal in program.literals:
        if literal.kind == "text":
            literals.append(pool.code_of(literal.text))
        else:
            literals.append(keys[literal.kind].setdefault(literal.text, len(keys[literal.kind])))
    slots = 3 * len(rows)
    wide = max(1, *(len(known) for known in keys.values()))

    def table(item: Any, value: int = 0) -> Any:
        return np.full((slots, wide), value, dtype=item)

    cells = Cells(
        table(np.int64),
        table(np.int64),
        table(np.int8, -1),
        table(np.int64, TIME_NONE),
        table(np.int64, TIME_NONE),
        table(np.uint64),
        table(np.int8),
        table(np.int64),
        table(np.int8),
        np.zeros(slots, dtype=np.int8),
        table(np.int8),
        table(np.int64),
        table(np.int64, TIME_NONE),
    )
    for number, row in enumerate(rows):
        group = (2 * len(rows) + number, row.group or Entity())
        for slot, entity in ((2 * number, row.program), (2 * number + 1, row.participant or Entity()), group):
            _fill(cells, slot, entity, keys, pool)
            _fill_tiers(cells, slot, entity, keys["tier"], program.plan.program)
    return cells, np.array(literals or [0], dtype=np.int64)


def _fill(cells: Cells, slot: int, entity: Entity, keys: dict[str, dict[str, int]], pool: Pool) -> None:
    cells.status[slot] = Status[entity.status]
    for key, counter in entity.counters.items():
        column = keys["counter"].get(key)
        if column is None:
            continue
        value = counter.value if isinstance(counter, Windowed) else counter
        scale = decimals_of(value)
        mantissa = int(Fraction(value) * 10**scale)
        low = mantissa % 2**64
        cells.counter_low[slot, column] = low if low < 2**63 else low - 2**64
        cells.counter_high[slot, column] = mantissa >> 64
        cells.counter_scale[slot, column] = scale
        if isinstance(counter, Windowed):
            cells.counter_reset_at[slot, column] = counter.reset_at
            cells.counter_reset_after[slot, column] = counter.reset_after
    for tag in entity.tags:
        if tag in keys["tag"]:
            bit = keys["tag"][tag]
            cells.tags[slot, bit // 64] |= np.uint64(1 << bit % 64)
    for key, text in entity.attributes.items():
        if key in keys["attribute"]:
            cells.attribute_kind[slot, keys["attribute"][key]] = Kind.TEXT
            cells.attribute_value[slot, keys["attribute"][key]] = pool.code_of(text)


def _fill_tiers(cells: Cells, slot: int, entity: Entity, columns: dict[str, int], program: Program) -> None:
    for tier in program.tiers:
        if tier.key in entity.tiers and tier.key in columns:
            column = columns[tier.key]
            name, acquired_at, expires_at = entity.tiers[tier.key]
            cells.tier_level[slot, column] = 1 + [level.key for level in levels_by_rank(tier)].index(name)
            cells.tier_acquired_at[slot, column] = acquired_at
            cells.tier_expires_at[slot, column] = TIME_NONE if expires_at is None else expires_at


def _tables(ruleset: CompiledRuleset, pool: Pool) -> Tables:
    size = len(pool.codes)
    results = [look_up(table, list(pool.codes)) for table in ruleset.tables]
    offsets = np.arange(max(1, len(results)), dtype=np.int64) * size
    joined = np.concatenate(results) if results else np.zeros(1, dtype=np.uint8)
    return Tables(offsets, joined)
