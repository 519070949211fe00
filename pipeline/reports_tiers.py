"""Tiers: how many participants stand on each level, and how they came there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa

from earnbook.ledger.schema import ChangeOperation, EntityType, HolderField, StateType, Status
from earnbook.pipeline.reports import RATE, Report, ReportBook, ReportRequest, open_report, rate, report_table, untied
from earnbook.pipeline.reports_bounds import last_change
from earnbook.pipeline.store_tables import ObjectKind


class _TierType(NamedTuple):
    """A tier type, and its levels with their ranks as its newest version has them."""

    number: int
    key: str
    program: int
    levels: Mapping[str, int]


def tier_distribution(request: ReportRequest, *, tier: str | None = None) -> Report:
    """Per tier type and level, and for no level: enrolled ACTIVE participants there, and their share of all such.

    The base are participants whose own status and enrollment in the tier's program are ACTIVE, as of `as_of_us`.
    """
    with open_report(request) as book:
        change = None if request.as_of_us is None else last_change(book.connection, request.as_of_us)
        base, counts = _enrolled(book, change), _on_levels(book, change)
        rows: list[dict[str, object]] = []
        for kind in _tier_types(book, tier):
            rows.extend(_distribution_rows(book, kind, base.get(kind.program, 0), counts))
        provisional = book.is_provisional(request.as_of_us)
    table = report_table(rows, _DISTRIBUTION)
    return Report(title="Tier distribution", table=table, amounts=(), provisional=provisional)


def tier_movements(request: ReportRequest, *, tier: str | None = None) -> Report:
    """Per tier type: changes from one level to another, and how many participants made them, within the bounds.

    `direction` is entered, up, down, left, or renewed where the level stayed and its dates are new; ranks are those of
    the newest version of the type. Participants of any status count.

    Raises:
        UntiedReport: who stands on a level is not who came there and did not leave.
    """
    until = request.to_us if request.to_us is not None else request.as_of_us
    with open_report(request) as book:
        first = 0 if request.from_us is None else last_change(book.connection, request.from_us - 1)
        last = None if until is None else last_change(book.connection, until)
        kinds = {kind.number: kind for kind in _tier_types(book, tier)}
        if last is None:
            _tie_tiers(book)
        rows = []
        for number, before, after, movements, participants in book.connection.execute(
            _movements(first, last)
        ).fetchall():
            if int(number) in kinds:
                kind = kinds[int(number)]
                row = {"program": book.program_key(kind.program), "tier": kind.key, "from_level": before}
                row |= {"to_level": after, "direction": _direction(kind, before, after)}
                rows.append(row | {"movements": int(movements), "participants": int(participants)})
        provisional = book.is_provisional(until)
    rows.sort(key=lambda row: (str(row["program"]), str(row["tier"]), str(row["from_level"]), str(row["to_level"])))
    return Report(title="Tier movements", table=report_table(rows, _MOVEMENTS), amounts=(), provisional=provisional)


_DISTRIBUTION: dict[str, pa.DataType | None] = {
    "program": pa.string(),
    "tier": pa.string(),
    "level": pa.string(),
    "rank": pa.int32(),
    "participants": pa.int64(),
    "share": RATE,
}
_MOVEMENTS: dict[str, pa.DataType | None] = {
    "program": pa.string(),
    "tier": pa.string(),
    "from_level": pa.string(),
    "to_level": pa.string(),
    "direction": pa.string(),
    "movements": pa.int64(),
    "participants": pa.int64(),
}


def _distribution_rows(
    book: ReportBook, kind: _TierType, base: int, counts: Mapping[tuple[int, str], int]
) -> Iterator[dict[str, object]]:
    names: dict[str, object] = {"program": book.program_key(kind.program), "tier": kind.key}
    # A level that a newer version of the type has no more still has its participants.
    gone = sorted(level for number, level in counts if number == kind.number and level not in kind.levels)
    levels: dict[str, int | None] = {**kind.levels, **dict.fromkeys(gone)}
    placed = 0
    for level, rank_ in levels.items():
        count = counts.get((kind.number, level), 0)
        placed += count
        yield names | {"level": level, "rank": rank_, "participants": count, "share": rate(count, base)}
    if placed > base:
        raise untied(f"{placed} participants have a level of tier {kind.key}, {base} are enrolled")
    rest = base - placed
    yield names | {"level": None, "rank": None, "participants": rest, "share": rate(rest, base)}


def _direction(kind: _TierType, before: str | None, after: str | None) -> str:
    if before is None:
        return "entered"
    if after is None:
        return "left"
    if before == after:
        return "renewed"
    return "up" if kind.levels.get(after, -1) > kind.levels.get(before, -1) else "down"


def _tier_types(book: ReportBook, tier: str | None) -> list[_TierType]:
    query = f"""
        SELECT o.number, o.key, o.program, l.level, l.rank FROM store.objects AS o
        LEFT JOIN store.level_list AS l ON l.tier = o.number
        WHERE o.kind = {ObjectKind.TIER} ORDER BY o.number, l.rank
    """
    found: dict[int, _TierType] = {}
    for number, key, program, level, rank_ in book.connection.execute(query).fetchall():
        kind = found.setdefault(int(number), _TierType(int(number), str(key), int(program), {}))
        if level is not None:
            found[int(number)] = kind._replace(levels={**kind.levels, str(level): int(rank_)})
    return [kind for kind in found.values() if book.program in (None, kind.program) and tier in (None, kind.key)]


# --- state, now and then --------------------------------------------------------------------------------------------


def _active(change: int | None) -> str:
    """Holder and program of every enrolled ACTIVE participant."""
    participants = f"SELECT number FROM store.holders WHERE kind = {EntityType.PARTICIPANT}"
    if change is None:
        return f"""
            SELECT holder, program FROM store.current_enrollments
            WHERE status = {Status.ACTIVE} AND holder IN ({participants})
                AND holder NOT IN (SELECT holder FROM store.current_holder_statuses)"""
    return f"""
        SELECT entity AS holder, key AS program
        FROM (SELECT entity, key, arg_max(value, change_seq) AS status FROM store.changes
            WHERE state_type = {StateType.ENROLLMENT} AND change_seq <= {change} GROUP BY entity, key)
        WHERE status = {Status.ACTIVE} AND entity IN ({participants}) AND entity NOT IN (
            SELECT entity FROM store.changes WHERE state_type = {StateType.PARTICIPANT}
                AND key = {HolderField.STATUS} AND change_seq <= {change}
            GROUP BY entity HAVING arg_max(value, change_seq) <> {Status.ACTIVE})"""


def _enrolled(book: ReportBook, change: int | None) -> dict[int, int]:
    """Enrolled ACTIVE participants by program."""
    query = f"SELECT program, count(*) FROM ({_active(change)}) GROUP BY program"
    return {int(program): int(count) for program, count in book.connection.execute(query).fetchall()}


def _on_levels(book: ReportBook, change: int | None) -> dict[tuple[int, str], int]:
    """Enrolled ACTIVE participants by tier type and level."""
    tiers = "SELECT holder, tier, level FROM store.current_tiers"
    if change is not None:
        tiers = f"""
            SELECT entity AS holder, key AS tier, last.value AS level
            FROM (SELECT entity, key, arg_max(struct_pack(operation, value), change_seq) AS last FROM store.changes
                WHERE state_type = {StateType.TIER} AND change_seq <= {change} GROUP BY entity, key)
            WHERE last.operation = {ChangeOperation.SET}"""
    query = f"""
        SELECT t.tier, k.text, count(*) FROM ({tiers}) AS t
        JOIN store.objects AS o ON o.kind = {ObjectKind.TIER} AND o.number = t.tier
        JOIN ({_active(change)}) AS a ON a.holder = t.holder AND a.program = o.program
        JOIN store.names AS k ON k.number = t.level GROUP BY t.tier, k.text
    """
    return {(int(tier), str(level)): int(count) for tier, level, count in book.connection.execute(query).fetchall()}


_STEPS = f"""
    SELECT c.change_seq, c.entity, c.key AS tier, k.text AS level,
        lag(k.text) OVER (PARTITION BY c.entity, c.key ORDER BY c.change_seq) AS level_before
    FROM store.changes AS c
    LEFT JOIN store.names AS k ON k.number = c.value AND c.operation = {ChangeOperation.SET}
    WHERE c.state_type = {StateType.TIER}
"""


def _movements(first: int, last: int | None) -> str:
    until = "true" if last is None else f"change_seq <= {last}"
    return f"""
        SELECT tier, level_before, level, count(*), count(DISTINCT entity) FROM ({_STEPS})
        WHERE change_seq > {first} AND {until} GROUP BY ALL
    """


def _tie_tiers(book: ReportBook) -> None:
    """Who came to a level and did not leave it is on it."""
    query = f"""
        WITH steps AS ({_STEPS}), came AS (
            SELECT tier, level, sum(step) AS stand FROM (
                SELECT tier, level, 1 AS step FROM steps UNION ALL SELECT tier, level_before, -1 FROM steps)
            WHERE level IS NOT NULL GROUP BY tier, level
        ), stand AS (
            SELECT t.tier, k.text AS level, count(*) AS stand FROM store.current_tiers AS t
            JOIN store.names AS k ON k.number = t.level GROUP BY t.tier, k.text
        )
        SELECT level, coalesce(came.stand, 0), coalesce(stand.stand, 0)
        FROM came FULL JOIN stand USING (tier, level) WHERE coalesce(came.stand, 0) <> coalesce(stand.stand, 0)
    """
    for level, came, stand in book.connection.execute(query).fetchall():
        raise untied(f"{came} participants came to level {level} and did not leave it, {stand} stand on it")
