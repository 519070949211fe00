"""Programs and their rules: what each program did (§20.2), and what each rule costs against its budget (§20.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from earnbook.ledger.schema import EntityType, EntryType
from earnbook.pipeline import reports_lines as lines
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import (
    INSTANT,
    LAST_SYSTEM_ACCOUNT,
    Report,
    ReportBook,
    ReportRequest,
    amount_columns,
    instant,
    open_report,
    report_table,
)
from earnbook.pipeline.reports_bounds import last_entry
from earnbook.pipeline.reports_entries import entry_details, legs_of
from earnbook.pipeline.reports_lines import Sums, journal_sums, program_movements
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import ObjectKind

_ENTRIES_AT_ONCE = 5_000_000

# --- activity -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Activity:
    """The figures of a program that have no asset; times are microseconds."""

    event_count: int = 0
    journal_count: int = 0
    unique_participants: int = 0
    last_activity_us: int | None = None
    counts: Mapping[str, int]


def program_activity(request: ReportRequest, *, since_us: int | None = None) -> Report:
    """Per program, one row for each asset linked to it or moved in it (§20.2); all figures but the amounts repeat.

    `from_us` and `to_us` bound the events counted and the amounts, nothing else; `since_us` leaves out programs without
    an entry from then on. Redemptions are net of reversals, as their payers see them.
    """
    if request.as_of_us is not None:
        raise EarnbookError(
            "program activity is that of the present book", "Bound its events and amounts by --from/--to."
        )
    with open_report(request) as book:
        first = 0 if request.from_us is None else last_entry(book.connection, request.from_us - 1)
        last = None if request.to_us is None else last_entry(book.connection, request.to_us)
        sums = journal_sums(book, [first, last], by_program=True)
        moved = {(place.program, place.asset): found for place, found in sums.items() if place.period == 1}
        pairs = {*moved, *_links(book), *((place.program, place.asset) for place in sums)}
        activities = _activities(book, request)
        rows = []
        for number, key in book.programs.items():
            activity = activities[number]
            is_chosen = book.program in (None, number)
            if not is_chosen or (since_us is not None and (activity.last_activity_us or since_us - 1) < since_us):
                continue
            own = [asset for asset in book.assets if (number, asset.number) in pairs]
            for symbol, scale, found in [
                *((asset.symbol, asset.scale, moved.get((number, asset.number), Sums())) for asset in own),
                *([] if own else [(None, 0, Sums())]),
            ]:
                rows.append(_activity_row(key, symbol, scale, activity, found))
        provisional = book.is_provisional(request.to_us)
    table = report_table(rows, _ACTIVITY)
    return Report(title="Program activity", table=table, amounts=amount_columns(table), provisional=provisional)


_ACTIVITY: dict[str, pa.DataType | None] = {
    "program": pa.string(),
    "asset": pa.string(),
    "scale": pa.int8(),
    "total_issued": None,
    "total_redeemed": None,
    "event_count": pa.int64(),
    "journal_count": pa.int64(),
    "unique_participants": pa.int64(),
    "last_activity_at": INSTANT,
    "asset_count": pa.int64(),
    "reward_count": pa.int64(),
    "rule_count": pa.int64(),
    "tier_count": pa.int64(),
}


def _activity_row(key: str, asset: str | None, scale: int, activity: _Activity, found: Sums) -> dict[str, object]:
    return {
        "program": key,
        "asset": asset,
        "scale": scale,
        "total_issued": found.of(lines.ISSUED),
        "total_redeemed": -found.of(lines.REDEEMED, lines.REVERSED),
        "event_count": activity.event_count,
        "journal_count": activity.journal_count,
        "unique_participants": activity.unique_participants,
        "last_activity_at": instant(activity.last_activity_us),
        **activity.counts,
    }


def _activities(book: ReportBook, request: ReportRequest) -> dict[int, _Activity]:
    since = "true" if request.from_us is None else f"processed_at >= {request.from_us}"
    until = "true" if request.to_us is None else f"processed_at <= {request.to_us}"
    events = _by_program(book, f"SELECT program, count(*) FROM store.events WHERE {since} AND {until} GROUP BY program")
    journal, newest = _entries(book)
    participants = _by_program(book, _unique_participants())
    times = _times(book, sorted(newest.values()))
    counts = _object_counts(book)
    return {
        number: _Activity(
            event_count=events.get(number, 0),
            journal_count=journal.get(number, 0),
            unique_participants=participants.get(number, 0),
            last_activity_us=times.get(newest.get(number, 0)),
            counts=counts[number],
        )
        for number in book.programs
    }


def _entries(book: ReportBook) -> tuple[dict[int, int], dict[int, int]]:
    """By program how many entries it has, and the newest. Ranges are counted, for all numbers at once fill memory."""
    row = one_row(book.connection, "SELECT coalesce(max(last_entry_seq), 0) FROM store.batches")
    assert row is not None, "an aggregate has one row"
    counts: dict[int, int] = {}
    newest: dict[int, int] = {}
    for first in range(0, int(row[0]), _ENTRIES_AT_ONCE):
        within = f"entry_seq > {first} AND entry_seq <= {first + _ENTRIES_AT_ONCE}"
        query = f"""SELECT program, count(DISTINCT entry_seq), max(entry_seq)
            FROM ({program_movements("entry_seq", within)}) GROUP BY program"""
        for program, count, entry in book.connection.execute(query).fetchall():
            counts[int(program)] = counts.get(int(program), 0) + int(count)
            newest[int(program)] = int(entry)
    return counts, newest


def _by_program(book: ReportBook, query: str) -> dict[int, int]:
    return {int(program): int(figure) for program, figure in book.connection.execute(query).fetchall()}


def _unique_participants() -> str:
    """Distinct participants that a CREDIT or SETTLE reached, or that a REDEMPTION took from, by program."""
    holder = f"CASE entry_type WHEN {EntryType.REDEMPTION} THEN debit ELSE credit END"
    types = f"{EntryType.CREDIT}, {EntryType.SETTLE}, {EntryType.REDEMPTION}"
    moved = program_movements(f"{holder} AS account", f"entry_type IN ({types})")
    return f"""
        SELECT program, count(DISTINCT account // 4) FROM ({moved})
        WHERE account > {LAST_SYSTEM_ACCOUNT}
            AND account // 4 IN (SELECT number FROM store.holders WHERE kind = {EntityType.PARTICIPANT})
        GROUP BY program
    """


def _times(book: ReportBook, entries: Sequence[int]) -> dict[int, int]:
    """When entries were created."""
    listed = ", ".join(map(str, entries)) or "0"
    legs = legs_of(book, f"SELECT *, rowid AS place FROM store.movements WHERE entry_seq IN ({listed})")
    return {entry: int(str(details["created_us"])) for entry, details in entry_details(book, legs).items()}


def _links(book: ReportBook) -> set[tuple[int, int]]:
    rows = book.connection.execute("SELECT program, asset FROM store.current_asset_links").fetchall()
    return {(int(program), int(asset)) for program, asset in rows}


def _object_counts(book: ReportBook) -> dict[int, dict[str, int]]:
    """Linked assets, rewards, rules and tier types of each program that are not archived."""
    query = """
        WITH stated AS (SELECT kind, object, arg_max(snapshot ->> '$.status', batch * 1000000 + n) AS status
            FROM store.definitions GROUP BY kind, object),
        alive AS (SELECT o.kind, o.number, o.program FROM store.objects AS o
            LEFT JOIN stated AS s ON s.kind = o.kind AND s.object = o.number
            WHERE s.status IS DISTINCT FROM 'ARCHIVED')
        SELECT program, kind, count(*) FROM (
            SELECT program, kind FROM alive
            UNION ALL SELECT l.program, a.kind FROM store.current_asset_links AS l
            JOIN alive AS a ON a.kind = 3 AND a.number = l.asset)
        GROUP BY program, kind
    """
    found = {(int(p), int(kind)): int(count) for p, kind, count in book.connection.execute(query).fetchall()}
    columns = {
        "asset_count": ObjectKind.ASSET,
        "reward_count": ObjectKind.REWARD,
        "rule_count": ObjectKind.RULE,
        "tier_count": ObjectKind.TIER,
    }
    return {n: {name: found.get((n, int(kind)), 0) for name, kind in columns.items()} for n in book.programs}
