"""Lifecycles of tier types in a run: their dates for the kernel, and whose levels and counters fall due (§14.3, §14.4).

The next boundary of a type is the first one after the book clock, for nothing is overdue in a committed book, or after
the load that brings the period. So periods have no state of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from earnbook.ledger import layout as at
from earnbook.ledger.schema import TIME_NONE, EntityType, Int64s, Retention, StateType
from earnbook.ledger.state import State
from earnbook.ledger.state_load import begin_periods
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.store_tables import ObjectKind
from earnbook.pipeline.terms import RunTerms
from earnbook.pipeline.terms_tiers import TierColumn, lifecycle_terms, tier_columns
from earnbook.rules.calendar import add_months, downgrade_date, period_end
from earnbook.rules.definitions import Definitions
from earnbook.rules.models_tiers import TierType

_NEVER = int(TIME_NONE)
_NO_DATES = (_NEVER,) * at.PERIOD_DATES


def period_dates(tier: TierType, after: int) -> tuple[int, ...]:
    """The PERIOD_DATES of the period that is running right after a time; all TIME_NONE where a type has no periods."""
    lifecycle = tier.lifecycle
    end = next_boundary(tier, after)
    if lifecycle is None or end is None:
        return _NO_DATES
    months = lifecycle.status_validity.extend_months if lifecycle.status_validity else 0
    grace_days = lifecycle.downgrade_policy.grace_days if lifecycle.downgrade_policy else 0
    following = next_boundary(tier, end)
    dates = (
        end,
        add_months(end, months),
        None if following is None else add_months(following, months),
        downgrade_date(end, extend_months=months, grace_days=grace_days),
    )
    return tuple(_NEVER if date is None else date for date in dates)


def next_boundary(tier: TierType, after: int) -> int | None:
    """The first period end of a tier type strictly after a time; None where it has no periods, or no more of them."""
    period = tier.lifecycle.qualification_period if tier.lifecycle else None
    if tier.status != "ACTIVE" or period is None or period.type == "NONE":
        return None
    return period_end(after, start_month=period.start_month or 1, start_day=period.start_day or 1)


def start_periods(state: State, columns: Sequence[TierColumn], after: int) -> None:
    """The periods that run right after a time, once for a State."""
    dates = [(*period_dates(column.definition, after), place) for place, column in enumerate(columns)]
    begin_periods(state, [row for row in dates if row[at.PERIOD_END] != TIME_NONE])


def begin_period_end(state: State, run: RunTerms) -> None:
    """Tell the kernel whom the period end at the top of the queue is about, and the dates of what follows it."""
    end = state.period_end
    ends = state.table(at.TIERS)[: len(run.tiers), at.TIER_PERIOD + at.PERIOD_END]
    due = sorted(np.flatnonzero(ends == end).tolist(), key=lambda place: run.tiers[place].number)
    dates = [(*period_dates(run.tiers[place].definition, end), place) for place in due]
    rolls = list(_rolls(run, due))
    state.begin_period(_concerned(state, run.tiers, due, [counter for counter, _, _ in rolls]), dates, rolls)


def _rolls(run: RunTerms, due: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Rows of PERIOD_ROLLS: counters in the order in which the types mention them first."""
    keys = run.keys[StateType.COUNTER]
    listed = {place: _qualifying(run.tiers[place].definition) for place in due}
    for key in dict.fromkeys(key for place in due for key in listed[place]):
        column = keys.columns[key]
        for place in due:
            if key in listed[place]:
                yield column, int(keys.numbers[column]), place


def _concerned(state: State, tiers: Sequence[TierColumn], due: Sequence[int], counters: Sequence[int]) -> Int64s:
    """The participants with an enrollment in a program of the types, and a level or a counter there, by number."""
    used = slice(0, state.slots)
    programs = sorted({tiers[place].program for place in due})
    is_concerned = (state.table(at.TIER_LEVEL)[used][:, list(due)] > 0).any(axis=1)
    is_concerned |= (state.table(at.COUNTER_SCALE)[used][:, list(counters)] >= 0).any(axis=1)
    is_concerned &= (state.table(at.ENROLLMENTS)[used][:, programs] != 0).any(axis=1)
    slots = np.flatnonzero(is_concerned & (state.table(at.HOLDER_KINDS)[used, 0] == int(EntityType.PARTICIPANT)))
    return slots[np.argsort(state.numbers[slots], kind="stable")]


def _qualifying(tier: TierType) -> tuple[str, ...]:
    lifecycle = tier.lifecycle
    return lifecycle.counters.qualifying if lifecycle is not None and lifecycle.counters is not None else ()


# --- who falls due --------------------------------------------------------------------------------------------------


def find_tier_holders(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[TierColumn],
    counters: Mapping[str, int],
    *,
    after: int,
    until: int,
) -> Int64s:
    """Numbers of the holders of the book whose levels or counters fall due after one time, at or before another.

    Those are levels that end or are downgraded or renewed, and at period ends the levels of the types and their
    qualifying counters (`counters`: key to number in `names`).
    """
    if not columns:
        return np.zeros(0, np.int64)
    parts = [_find_due_levels(connection, columns, until)]
    due = [column for column in columns if (next_boundary(column.definition, after) or until + 1) <= until]
    if due:
        parts.append(_find_period_holders(connection, due, counters))
    return np.unique(np.concatenate(parts))


def has_tier_due(
    connection: duckdb.DuckDBPyConnection, definitions: Definitions, registry: Registry, *, after: int, until: int
) -> bool:
    """Whether any level or counter of the book falls due between two times, as definitions say that the book has."""
    numbered = {registry.find_object(ObjectKind.PROGRAM, program.id) or 0: program for program in definitions.programs}
    columns = tier_columns([numbered[number] for number in sorted(numbered)], registry)
    names = enumerate(registry.names(), start=1)
    counters = {text: number for number, (kind, text) in names if kind == int(StateType.COUNTER)}
    return bool(len(find_tier_holders(connection, columns, counters, after=after, until=until)))


def _find_due_levels(connection: duckdb.DuckDBPyConnection, columns: Sequence[TierColumn], until: int) -> Int64s:
    rows = []
    for column in columns:
        terms = lifecycle_terms(column)
        first = terms.floor if terms.retention is Retention.ACTIVITY_REFRESH else 0
        for name in column.names[first:] if terms.retention is not None else ():
            rows.append((column.number, name, int(terms.retention or 0), terms.grace))
    kinds = {"tier": pa.int32(), "level": pa.int32(), "retention": pa.int8(), "grace": pa.int64()}
    parts = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    kept = pa.table([pa.array(part, kind) for part, kind in zip(parts, kinds.values(), strict=True)], names=list(kinds))
    connection.register("kept_levels", kept)
    found = _numbers(
        connection,
        f"""SELECT DISTINCT t.holder FROM store.tiers AS t LEFT JOIN kept_levels AS k USING (tier, level)
        WHERE CASE WHEN t.own_expiry THEN t.expires_at <= {int(until)}
            WHEN k.retention = {Retention.PERIOD_BASED} THEN t.downgrade_at <= {int(until)}
            ELSE t.expires_at + k.grace <= {int(until)} END""",
    )
    connection.unregister("kept_levels")
    return found


def _find_period_holders(
    connection: duckdb.DuckDBPyConnection, due: Sequence[TierColumn], counters: Mapping[str, int]
) -> Int64s:
    """The enrolled holders with a level of the types or something in their counters; others keep what they have."""
    keys = {
        counters[key]: lifecycle_terms(column).is_excess for column in due for key in _qualifying(column.definition)
    }
    # A counter that is 0 stays so, unless the threshold taken off is below 0.
    carried, emptied = ({key for key, is_excess in keys.items() if is_excess is wanted} for wanted in (True, False))
    programs = {column.program + 1 for column in due}
    types = {column.number for column in due}
    return _numbers(
        connection,
        f"""SELECT DISTINCT holder FROM store.enrollments WHERE program IN ({_listed(programs)}) AND holder IN (
            SELECT holder FROM store.tiers WHERE tier IN ({_listed(types)}) AND NOT own_expiry
            UNION ALL SELECT entity FROM store.counters
            WHERE key IN ({_listed(carried)}) OR key IN ({_listed(emptied)}) AND (low <> 0 OR high <> 0))""",
    )


def _listed(numbers: set[int]) -> str:
    """Numbers for IN; no number of the book is 0."""
    return ", ".join(map(str, sorted(numbers))) or "0"


def _numbers(connection: duckdb.DuckDBPyConnection, query: str) -> Int64s:
    found: Int64s = connection.sql(query).to_arrow_table().column("holder").to_numpy().astype(np.int64)
    return found
