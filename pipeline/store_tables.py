"""The tables that describe a book beside what its batches hold: batches, numbers, definitions, sources.

Together with `pipeline.schema` this is the whole physical schema (`store`) of a book. Each table is an Arrow schema;
`create_table_sql` turns one into DDL. Nothing here is indexed: rows are appended in number order, so DuckDB's zone maps
find a batch, and keys are looked up by joining narrow columns.
"""

from __future__ import annotations

from enum import IntEnum

import duckdb
import pyarrow as pa

from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES

FORMAT_VERSION = 4
"""The version of the physical schema; a book of another version is refused with a message."""


class ObjectKind(IntEnum):
    """What a dense object number is given to (§2.2); holders have their own table."""

    ORGANIZATION = 1
    PROGRAM = 2
    ASSET = 3
    RULE = 4
    TIER = 5
    REWARD = 6
    AUTOMATION = 7
    WEBHOOK = 8


class ChangeType(IntEnum):
    """What a load did to an object (A.3)."""

    CREATED = 1
    UPDATED = 2
    ARCHIVED = 3
    SUSPENDED = 4
    ACTIVATED = 5


class EvaluationStatus(IntEnum):
    """The status of an evaluation row (A.2)."""

    SUCCESS = 1
    FAILED = 2
    SKIPPED = 3
    SKIPPED_ERROR = 4
    SKIPPED_TIMEOUT = 5


class EvaluationReason(IntEnum):
    """Why an evaluation was SKIPPED (A.2)."""

    OUTSIDE_TIME_WINDOW = 1
    BUDGET_EXCEEDED = 2
    STOPPED_BY_RULE = 3


_TYPES: dict[str, pa.DataType] = {
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "text": pa.string(),
}


def _table(columns: str) -> pa.Schema:
    """A schema from `name:type` words; a `?` after the type makes the column nullable."""
    fields = []
    for word in columns.split():
        name, kind = word.split(":")
        fields.append(pa.field(name, _TYPES[kind.rstrip("?")], nullable=kind.endswith("?")))
    return pa.schema(fields)


BOOK_TABLES: dict[str, pa.Schema] = {
    # One row: the format, the batch up to which the checkpoint of state stands, and which views are installed.
    "meta": _table("format:int32 created_by:text state_batch:int64 views_sha256:text"),
    # The fields of the seal's line (§19.2), counts (§3.6), clock readings; the last five are not sealed:
    # which notifications the batch wrote (a mask of types, 2^code each), when, where and by which run.
    "batches": _table(
        """batch:int64 organization:text previous_seal:text clock_mode:text book_clock:int64
        ruleset_version:int32 ruleset_sha256:text? last_log_seq:int64 last_entry_seq:int64 seal:text
        last_lot_seq:int64 last_change_seq:int64 last_holder:int64 timestamp_max:int64?
        clock_reading:int64? clock_fixed:int64? horizon:int64? record_order:text evaluations:text
        rows_read:int64 events:int64 operations:int64 duplicates:int64 rejected:int64 generated:int64
        completed:int64 failed:int64 late:int64 outbox:text outbox_types:int64
        committed_at:int64? host:text? run_id:text?"""
    ),
    "digests": _table("batch:int64 position:int8 name:text row_count:int64 digest:text"),
    "sources": _table(
        "number:int32 batch:int64 name:text sha256:text format:text rows:int64 mapping_sha256:text? mapped_from:int64?"
    ),
    "batch_sources": _table("batch:int64 source:int32"),
    # How far each part of each stream has been taken in: the present positions, and the batch that brought them there.
    "stream_positions": _table(
        """stream:text part:text label:text batch:int64 first_position:int64 position:int64 row:int64 sha256:text
        complete:int8"""
    ),
    # A pending version has batch 0; `sources` is the block of that name, which is not part of the document's hash.
    "rulesets": _table("version:int32 sha256:text document:text sources:text batch:int64"),
    "definitions": _table(
        """batch:int64 n:int64 kind:int8 object:int32 version:int32 change_type:int8 changed_at:int64
        changes:text snapshot:text ruleset_version:int32"""
    ),
    # The dense numbers of §2.2. `key` is the natural key: key, symbol or name. The last three columns are of assets.
    "objects": _table(
        """batch:int64 kind:int8 number:int32 id:text key:text program:int32
        scale:int8? inventory_mode:int8? issuance_policy:int8?"""
    ),
    # Texts that change rows and state name by number: tags, counter keys, attribute keys, keys of levels.
    "names": _table("batch:int64 number:int32 state_type:int8 text:text"),
    # Each action of each rule version that was ever compiled; entries and changes name it by number.
    "actions": _table(
        """batch:int64 number:int32 program:int32 rule:int32 rule_version:int32 action_index:int32 type:int8
        asset:int32 bucket:int8 key:text? description:text?"""
    ),
    # The notifications of each batch (§22.1) in order. `number` is an entry_seq, a change_seq, the number of a holder,
    # or the log_seq of an event with the attempt; `balance` what stood on `account` (0: none) after it, minor units.
    "outbox": _table(
        "n:int64 batch:int64 type:int8 number:int64 attempt:int32 account:int64 balance:int64 created_at:int64"
    ),
    # Each budget that ever began (§10.4): its schedule, P of the load that began it, and the last entry before that.
    "budget_starts": _table(
        """batch:int64 number:int32 program:int32 rule:int32 asset:int32 schedule:text started_at:int64
        started_entry:int64"""
    ),
}
"""Tables of the book itself, written in the transaction of the batch that needs them."""

REGISTRY_TABLES: tuple[str, ...] = ("sources", "batch_sources", "objects", "names", "actions", "budget_starts")
"""The tables whose new rows a `Registry` hands to a batch."""


def _column_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    names = {
        pa.int8(): "TINYINT",
        pa.int16(): "SMALLINT",
        pa.int32(): "INTEGER",
        pa.int64(): "BIGINT",
        pa.uint64(): "UBIGINT",
        pa.bool_(): "BOOLEAN",
        pa.string(): "VARCHAR",
    }
    return names[kind]


_COMPRESSION = {"event_data": "zstd"}
"""Where one method is always best, DuckDB need not try the others: a tenth of an insert's time, and smaller."""


def create_table_sql(name: str, schema: pa.Schema) -> str:
    """The CREATE TABLE statement of one physical table."""
    return f"CREATE TABLE store.{name} ({', '.join(map(_column_sql, schema))})"


def _column_sql(field: pa.Field) -> str:
    kind = _column_type(field.type)
    compression = f" USING COMPRESSION {_COMPRESSION[field.name]}" if field.name in _COMPRESSION else ""
    return f'"{field.name}" {kind}{"" if field.nullable else " NOT NULL"}{compression}'


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the schema `store` with every physical table, empty."""
    connection.execute("CREATE SCHEMA store")
    for name, schema in all_tables().items():
        connection.execute(create_table_sql(name, schema))


def all_tables() -> dict[str, pa.Schema]:
    """Every physical table of a book by name."""
    return BOOK_TABLES | BATCH_TABLES | STATE_TABLES
