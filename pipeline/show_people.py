"""A participant or a group of a book, explained."""

from __future__ import annotations

from pathlib import Path

import duckdb

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.show import EVENTS_SHOWN_DEFAULT, Reader, Section, Shown, is_uuid, lots_of, of_entity
from earnbook.pipeline.store_rows import one_row


def show_participant(path: Path, key: str, *, events_max: int = EVENTS_SHOWN_DEFAULT) -> Shown:
    """A participant by external id or id: state, balances, open lots, redemptions, last events and changes.

    Raises `EarnbookError` when there is no such participant.
    """
    with reading(path) as connection:
        number, external_id = _find_participant(connection, key)
        read = Reader(connection, {"number": number, "key": external_id, "events_max": events_max})
        state, changes = _state(read, "PARTICIPANT")
        sections = (
            read.section("participant", "Participant", _PARTICIPANT, single=True),
            read.section("balances", "Balances", _BALANCES, amounts=("available", "held", "deferred")),
            read.section("lots", "Open lots, in the order of use", _LOTS, amounts=("remaining", "amount")),
            read.section("enrollments", "Enrollments", _ENROLLMENTS),
            read.section("groups", "Groups", _GROUPS),
            *state,
            read.section("tiers", "Tiers", _TIERS),
            read.section("redemptions", "Last redemptions", _REDEMPTIONS, amounts=("amount", "reversed_amount")),
            read.section("events", "Last events", _LAST_EVENTS),
            changes,
        )
    return Shown(title=f"Participant {external_id}", sections=sections)


def show_group(path: Path, key: str, *, events_max: int = EVENTS_SHOWN_DEFAULT) -> Shown:
    """A group by key or id: members, balances, open lots, state, last changes.

    Raises `EarnbookError` when there is no such group.
    """
    with reading(path) as connection:
        number, group = _find_group(connection, key)
        read = Reader(connection, {"number": number, "key": group, "events_max": events_max})
        state, changes = _state(read, "GROUP")
        sections = (
            read.section("group", "Group", _GROUP, single=True),
            read.section("members", "Members", _MEMBERS),
            read.section("balances", "Balances", _GROUP_BALANCES, amounts=("amount",)),
            read.section("lots", "Open lots, in the order of use", _LOTS, amounts=("remaining", "amount")),
            *state,
            changes,
        )
    return Shown(title=f"Group {group}", sections=sections)


def _state(read: Reader, entity_type: str) -> tuple[tuple[Section, ...], Section]:
    """Tags, counters and attributes; and the last changes of any state."""
    queries = of_entity(entity_type)
    state = tuple(read.section(name, name.capitalize(), queries[name]) for name in ("tags", "counters", "attributes"))
    return state, read.section("changes", "Last changes of state", queries["changes"])


def _find_participant(connection: duckdb.DuckDBPyConnection, key: str) -> tuple[int, str]:
    column = "id" if is_uuid(key) else "external_id"
    query = f"SELECT number, external_id FROM participants WHERE {column} = ?"
    row = one_row(connection, query, [key])
    if row is None:
        query = "SELECT external_id FROM participants ORDER BY number LIMIT 3"
        known = ", ".join(str(name) for (name,) in connection.execute(query).fetchall())
        raise EarnbookError(f"there is no participant {key!r}", f"The first ones are {known}." if known else "")
    return int(row[0]), str(row[1])


def _find_group(connection: duckdb.DuckDBPyConnection, key: str) -> tuple[int, str]:
    column = "id" if is_uuid(key) else "key"
    row = one_row(connection, f"SELECT number, key FROM groups WHERE {column} = ?", [key])
    if row is None:
        known = ", ".join(
            str(k) for (k,) in connection.execute("SELECT key FROM groups ORDER BY number LIMIT 3").fetchall()
        )
        raise EarnbookError(f"there is no group {key!r}", f"The first ones are {known}." if known else "")
    return int(row[0]), str(row[1])


_PARTICIPANT = """
    SELECT external_id, id, status, created_at, email, phone, first_name, last_name, display_name
    FROM participants WHERE number = $number
"""
_BALANCES = """
    SELECT b.asset, a.scale, b.available, b.held, b.deferred
    FROM participant_balances AS b JOIN assets AS a ON a.symbol = b.asset
    WHERE b.external_id = $key ORDER BY a.number
"""
_LOTS = lots_of("o.holder = $number")
_ENROLLMENTS = "SELECT program, status FROM enrollments WHERE external_id = $key ORDER BY program"
_GROUPS = """SELECT "group", role, status FROM members WHERE external_id = $key ORDER BY "group" """
_TIERS = """
    SELECT program, tier, level, rank, acquired_at, expires_at, own_expiry, downgrade_at, noted_level
    FROM tiers WHERE external_id = $key
    ORDER BY program, tier
"""
_REDEMPTIONS = """
    SELECT r.log_seq, r.id, r.created_at, r.program, r.asset, a.scale, r.amount, r.reward, r.quantity, r.status,
        r.reversed_amount
    FROM redemptions AS r JOIN assets AS a ON a.symbol = r.asset
    WHERE r.external_id = $key ORDER BY r.log_seq DESC LIMIT $events_max
"""
_LAST_EVENTS = """
    SELECT log_seq, program, idempotency_key, event_timestamp, status, code FROM event_status
    WHERE external_id = $key ORDER BY log_seq DESC LIMIT $events_max
"""
_GROUP = "SELECT key, id, name, status, created_at FROM groups WHERE number = $number"
_MEMBERS = """SELECT external_id, role, status FROM members WHERE "group" = $key ORDER BY external_id"""
_GROUP_BALANCES = """
    SELECT b.asset, a.scale, b.bucket, b.amount FROM balances AS b JOIN assets AS a ON a.symbol = b.asset
    WHERE b.entity_type = 'GROUP' AND b.entity = $key ORDER BY a.number, b.bucket
"""
