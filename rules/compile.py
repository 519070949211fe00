"""From definitions to everything that decides an event: the compiled ruleset (DESIGN: a compiler with two targets).

`compile_ruleset` plans all programs over one `Inventory`, generates and loads a kernel per program, and lowers the
same rules to closures. The pipeline reads from the result what to fetch (columns, tables, literals) and what each
action is, and calls `propose` (kernel) or `propose_row` (closures, the reference); both mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from earnbook.ledger.schema import UInt8s
from earnbook.rules.definitions import Definitions
from earnbook.rules.kernel_expressions import Note
from earnbook.rules.kernel_load import load_propose
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.lower_kernel import LoweredProgram, lower_program, program_source
from earnbook.rules.models import Asset, Program
from earnbook.rules.plan import ActionPlan, ProgramPlan, RulePlan, plan_program
from earnbook.rules.plan_columns import PLACEHOLDER, Inventory, LookupTable, PrecomputedColumn, StateLiteral
from earnbook.rules.plan_reads import EventColumn
from earnbook.rules.proposal import RowProposal, RowProposer
from earnbook.rules.syntax import Expression
from earnbook.rules.values import EvaluationError, Timestamp, Value

MEMO_MAX = 100_000
"""Distinct inputs whose precomputed value is remembered while a column is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledProgram:
    """One program, ready to decide.

    `literals` are resolved to integers by the pipeline and passed to `propose` in this order. `propose` is the numba
    function of `ledger.schema.propose_signature()`, or None; then `refused` says why, and every event goes through
    `propose_row`. `source` is the generated module, empty when there is none.
    """

    plan: ProgramPlan
    literals: tuple[StateLiteral, ...]
    propose: object | None
    refused: str | None
    source: str
    rule_sources: tuple[str, ...]
    notes: tuple[tuple[Note, ...], ...]
    proposer: RowProposer = field(repr=False)

    @property
    def key(self) -> str:
        """The program's key."""
        return self.plan.program.key

    @property
    def rules(self) -> tuple[RulePlan, ...]:
        """Active rules in ascending order; the position is the bit in the words."""
        return self.plan.rules

    @property
    def actions(self) -> tuple[ActionPlan, ...]:
        """All actions; the position is `FX_ACTION`."""
        return self.plan.actions

    @property
    def couples(self) -> bool:
        """Whether participants influence each other, so that events must be processed in one ordered pass."""
        return self.plan.couples

    def propose_row(
        self,
        event: Mapping[str, Value],
        participant: Mapping[str, Value],
        program: Mapping[str, Value],
        now: int,
        processed_at: int,
        *,
        group: Mapping[str, Value] | None = None,
    ) -> RowProposal:
        """What the rules propose for one event, by the closures.

        `event`, `participant`, `program` and `group` are the variables of §11.1 as the values of `rules.values` (maps
        are dicts, event numbers and counters Decimals, counters with an elapsed window already 0); `now` is the event's
        timestamp and `processed_at` is P of §4.3, both in microseconds since 1970.
        """
        scope: dict[str, Value] = {
            "event": event,
            "participant": participant,
            "program": program,
            "group": {"tags": [], "counters": {}, "attributes": {}, "tiers": {}} if group is None else group,
            "now": Timestamp.from_microseconds(now),
        }
        return self.proposer.propose(scope, processed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRuleset:
    """All programs of the definitions, in file order, with the columns and tables they share.

    `columns` are the columns of a batch: event columns first, precomputed columns after them. `tables` are the lookup
    tables over the text pool. Both are numbered over all programs.
    """

    programs: tuple[CompiledProgram, ...]
    columns: tuple[EventColumn | PrecomputedColumn, ...]
    tables: tuple[LookupTable, ...]

    @property
    def event_columns(self) -> tuple[EventColumn, ...]:
        """The columns that are fields of the event."""
        return tuple(column for column in self.columns if isinstance(column, EventColumn))

    @property
    def precomputed_columns(self) -> tuple[PrecomputedColumn, ...]:
        """The columns that `precompute` makes."""
        return tuple(column for column in self.columns if isinstance(column, PrecomputedColumn))

    def program(self, key: str) -> CompiledProgram:
        """The program with this key; KeyError when there is none."""
        for program in self.programs:
            if program.key == key:
                return program
        raise KeyError(key)


def compile_ruleset(
    definitions: Definitions, *, cache_directory: Path | None = None, kernel: bool = True
) -> CompiledRuleset:
    """Compile all programs; with `kernel=False` the closures decide every event, which gives the same books.

    The first compilation of a ruleset takes a moment per rule; later ones load machine code from the cache.
    """
    return _compile(definitions.programs, definitions.assets, cache_directory, kernel=kernel)


def compile_program(
    program: Program, assets: Iterable[Asset], *, cache_directory: Path | None = None, kernel: bool = True
) -> CompiledRuleset:
    """A ruleset of one resolved program."""
    return _compile((program,), assets, cache_directory, kernel=kernel)


def _compile(
    programs: Iterable[Program], assets: Iterable[Asset], cache_directory: Path | None, *, kernel: bool
) -> CompiledRuleset:
    by_symbol = {asset.symbol: asset for asset in assets}
    inventory = Inventory()
    lowered = [lower_program(plan_program(program, by_symbol), inventory, evaluate_constant) for program in programs]
    scales = {symbol: asset.scale for symbol, asset in by_symbol.items()}
    compiled = tuple(_load(program, inventory, scales, cache_directory, kernel=kernel) for program in lowered)
    return CompiledRuleset(programs=compiled, columns=inventory.columns, tables=tuple(inventory.tables))


def _load(
    lowered: LoweredProgram,
    inventory: Inventory,
    scales: Mapping[str, int],
    cache_directory: Path | None,
    *,
    kernel: bool,
) -> CompiledProgram:
    refused = lowered.refused if kernel else "the kernel is switched off"
    is_lowered = len(lowered.rules) == len(lowered.plan.rules)
    source = program_source(lowered, inventory) if is_lowered else ""
    return CompiledProgram(
        plan=lowered.plan,
        literals=lowered.literals,
        propose=load_propose(lowered, inventory, source, cache_directory) if refused is None else None,
        refused=refused,
        source=source,
        rule_sources=tuple(rule.source for rule in lowered.rules) if is_lowered else ("",) * len(lowered.plan.rules),
        notes=tuple(rule.notes for rule in lowered.rules) if is_lowered else ((),) * len(lowered.plan.rules),
        proposer=RowProposer(lowered.plan, scales),
    )


def evaluate_constant(expression: Expression) -> Value:
    """The value of an expression that reads nothing; raises EvaluationError when it has none."""
    return lower_closure(expression, ())({})


# --- columns and tables ---------------------------------------------------------------------------------------------


def precompute(
    column: PrecomputedColumn, events: Iterable[Mapping[str, Value]], nows: Iterable[int]
) -> Iterator[Value | EvaluationError]:
    """The value of a precomputed column for each event, in order; an evaluation that fails gives its error.

    `events` need to hold only what `column.reads` names; `nows` are event timestamps in microseconds. A `CelLimit` must
    be stored as WIDE, so that the kernel leaves the row to the closures.
    """
    closure = lower_closure(column.expression)
    memo: dict[object, Value | EvaluationError] = {}
    for event, now in zip(events, nows, strict=True):
        key = _memo_key(column, event, now)
        if key is not None and key in memo:
            yield memo[key]
            continue
        result: Value | EvaluationError
        try:
            result = closure({"event": event, "now": Timestamp.from_microseconds(now)})
        except EvaluationError as error:
            result = error.with_traceback(None)
        if key is not None:
            if len(memo) >= MEMO_MAX:
                memo.clear()
            memo[key] = result
        yield result


def _memo_key(column: PrecomputedColumn, event: Mapping[str, Value], now: int) -> object | None:
    """What the value depends on, if that is cheap to compare: the fields read, as long as they are plain."""
    if column.reads is None:
        return None
    key: list[object] = [now if column.reads_now else None]
    for field_read in column.reads:
        value: Value = event
        for depth, name in enumerate(field_read.path):
            if not isinstance(value, dict) or name not in value:
                # A missing member and a member of what is no map are different errors for `has`.
                value = (depth, isinstance(value, dict))
                break
            value = value[name]
        if isinstance(value, list | dict):
            return None
        key.append((type(value), value))
    return tuple(key)


def look_up(table: LookupTable, texts: Iterable[str]) -> UInt8s:
    """The results of a lookup table for texts, in order: 0 false, 1 true, 2 error."""
    closure = lower_closure(table.expression)

    def results() -> Iterator[int]:
        for text in texts:
            try:
                value = closure({PLACEHOLDER: text})
            except EvaluationError:
                yield 2
            else:
                yield int(value) if isinstance(value, bool) else 2

    return np.fromiter(results(), dtype=np.uint8)
