"""One thing of a book, explained: what all kinds of things share.

In: a book and a key. Out: `Shown`: sections of rows from the public views, most telling first. Nothing is computed that
the views do not say, except an event's impact, which is the sum of its postings (§10.6), and counts. The kinds of
things are in `show_*.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import duckdb
import pyarrow as pa

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.store_rows import one_row

EVENTS_SHOWN_DEFAULT = 10
"""The last events and changes of one thing that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows about one aspect; `single` where there is one row at most, `amounts` as in a `Report`."""

    name: str
    title: str
    table: pa.Table
    single: bool = False
    amounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What there is to say about one thing."""

    title: str
    sections: tuple[Section, ...]


class Reader:
    """Runs the queries of one thing with its parameters."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, parameters: dict[str, object]) -> None:
        self._connection = connection
        self._parameters = parameters

    def section(
        self, name: str, title: str, query: str, *, single: bool = False, amounts: tuple[str, ...] = ()
    ) -> Section:
        used = {key: value for key, value in self._parameters.items() if f"${key}" in query}
        table = self._connection.sql(query, params=used).to_arrow_table()
        return Section(name=name, title=title, table=table, single=single, amounts=amounts)


def of_entity(entity_type: str) -> dict[str, str]:
    """The queries for tags, counters, attributes and the last changes of the holder or program `$key`, by section."""
    where = f"entity_type = '{entity_type}' AND entity = $key"
    return {
        "tags": f"SELECT tag FROM tags WHERE {where} ORDER BY tag",
        "counters": f"""SELECT key, value, last_reset_at, CAST(reset_after AS VARCHAR) AS reset_after FROM counters
            WHERE {where} ORDER BY key""",
        "attributes": f"SELECT key, value FROM attributes WHERE {where} ORDER BY key",
        "changes": f"""SELECT change_seq, changed_at, state_type, program, key, operation, old_value, new_value, cause,
            rule FROM changes WHERE {where} ORDER BY change_seq DESC LIMIT $events_max""",
    }


def lots_of(condition: str) -> str:
    """The query for the open lots `o` that meet a condition, in the order of use (§9.6)."""
    return f"""
        SELECT o.lot_seq, a.symbol AS asset, a.scale, store.lot_status_name(o.status) AS status,
            store.units(o.remaining, a.unit) AS remaining, store.units(l.amount, a.unit) AS amount,
            store.instant(l.created_at) AS created_at, store.instant(o.matures_at) AS matures_at,
            store.instant(o.expires_at) AS expires_at, coalesce(o.hold_reference, l.reference) AS reference_id
        FROM store.current_open_lots AS o
        JOIN store.full_lots AS l USING (lot_seq)
        JOIN store.asset_list AS a ON a.number = o.asset
        WHERE {condition} ORDER BY o.asset, l.created_at, l.root, o.lot_seq
    """


POSTINGS = """
    SELECT p.entry_seq, p.index, p.entity_type, p.entity, p.asset, p.bucket, a.scale, p.amount
    FROM postings AS p JOIN assets AS a ON a.symbol = p.asset
    WHERE p.entry_seq BETWEEN $first AND $last ORDER BY p.entry_seq, p.index
"""


def is_uuid(text: str) -> bool:
    """Whether a key has the form of an id (§2.2)."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def find_numbered(connection: duckdb.DuckDBPyConnection, key: str, *, noun: str, view: str, number: str) -> int:
    """The number of an entry or lot by that number (column `number` of `view`) or by its id.

    Raises `EarnbookError` when there is none.
    """
    if not is_uuid(key) and not key.isdecimal():
        raise EarnbookError(f"{key!r} is no {noun}", f"Give its number ({number}) or its id.")
    column = "id" if is_uuid(key) else number
    row = one_row(connection, f"SELECT {number} FROM {view} WHERE {column} = ?", [key])
    if row is None:
        last = one_row(connection, f"SELECT coalesce(max(last_{noun}_seq), 0) FROM batches")
        raise EarnbookError(f"there is no {noun} {key!r}", f"The last one has number {last[0] if last else 0}.")
    return int(row[0])


def entry_range(connection: duckdb.DuckDBPyConnection, log_seq: int) -> tuple[int, int]:
    """First and last entry of a record; an empty range where it made none."""
    query = "SELECT coalesce(min(entry_seq), 1), coalesce(max(entry_seq), 0) FROM store.movements WHERE log_seq = ?"
    row = one_row(connection, query, [log_seq])
    assert row is not None, "an aggregate has one row"
    return int(row[0]), int(row[1])
