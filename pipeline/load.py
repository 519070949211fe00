"""What a run reads of the book before it decides: registers, numbers, state of the holders it will touch, keys it may
have seen before.

Every function takes an open session and returns Arrow tables with the columns of `pipeline.schema`, or small values.
Lookups by many keys join a registered Arrow table with a narrow scan; nothing grows with the size of the book except
those scans. State is read from the checkpoint, so a writer brings it forward first.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import TIME_MAX, TIME_NONE, EntityType, LotStatus
from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.seal import FIRST_PREVIOUS_SEAL
from earnbook.pipeline.store_folds import fold_sql
from earnbook.pipeline.store_rows import one_row, transaction
from earnbook.pipeline.store_tables import REGISTRY_TABLES

LOADED_LOTS: pa.Schema = pa.schema(
    [
        *STATE_TABLES["open_lots"],
        pa.field("program", pa.int32(), nullable=False),
        pa.field("source", pa.int64(), nullable=False),
        pa.field("root", pa.int64(), nullable=False),
        pa.field("created_at", pa.int64(), nullable=False),
        pa.field("reference", pa.string()),
    ]
)
"""Open lots as `load_state` gives them: the checkpoint's columns and those of their lots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """The last number of everything (§2.3), the clock and the seal after the last batch; zeros in a new book.

    `book_clock` and `timestamp_max` (the largest timestamp of an external record, which decides lateness) are in
    microseconds since 1970 and None before the first record. `state_batch` is the batch of the checkpoint.
    """

    batch: int = 0
    log_seq: int = 0
    entry_seq: int = 0
    lot_seq: int = 0
    change_seq: int = 0
    holder: int = 0
    pattern: int = 0
    book_clock: int | None = None
    timestamp_max: int | None = None
    seal: str = FIRST_PREVIOUS_SEAL
    ruleset_version: int = 0
    ruleset_sha256: str | None = None
    state_batch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRuleset:
    """A version of the definitions (§6.3): canonical document, its hash, and the `sources` block beside it.

    `batch` is the first batch that it governs, 0 while it is pending.
    """

    version: int
    sha256: str
    document: str
    sources: str
    batch: int = 0


def load_registers(connection: duckdb.DuckDBPyConnection) -> Registers:
    """The registers after the last committed batch."""
    state_batch = _scalar(connection, "SELECT state_batch FROM store.meta")
    row = one_row(
        connection,
        """SELECT batch, last_log_seq, last_entry_seq, last_lot_seq, last_change_seq, last_holder, book_clock,
            timestamp_max, seal, ruleset_version, ruleset_sha256
        FROM store.batches ORDER BY batch DESC LIMIT 1""",
    )
    if row is None:
        return Registers()
    return Registers(
        batch=row[0],
        log_seq=row[1],
        entry_seq=row[2],
        lot_seq=row[3],
        change_seq=row[4],
        holder=row[5],
        pattern=_scalar(connection, "SELECT coalesce(max(pattern), 0) FROM store.evaluation_patterns"),
        book_clock=row[6],
        timestamp_max=row[7],
        seal=row[8],
        ruleset_version=row[9],
        ruleset_sha256=row[10],
        state_batch=state_batch,
    )


def load_registry(connection: duckdb.DuckDBPyConnection) -> Registry:
    """The dense numbers that the book has given."""
    tables = {}
    for name in REGISTRY_TABLES:
        order = "kind, number" if name == "objects" else "batch" if name == "batch_sources" else "number"
        tables[name] = _table(connection, f"SELECT * FROM store.{name} ORDER BY {order}")
    return Registry.of_rows(tables)


def load_ruleset(connection: duckdb.DuckDBPyConnection) -> StoredRuleset | None:
    """The definitions in force after the last batch; None before the first load."""
    return _ruleset(connection, "batch > 0")


def load_pending_ruleset(connection: duckdb.DuckDBPyConnection) -> StoredRuleset | None:
    """The version that `definitions load` stored for the next batch; None when there is none."""
    return _ruleset(connection, "batch = 0")


def load_definition_objects(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The newest history row of every object of the definitions, with its id and key, by kind and number.

    Columns: kind, object, id, key, version, change_type, snapshot (canonical JSON), ruleset_version.
    """
    return _table(
        connection,
        """SELECT d.kind, d.object, o.id, o.key, d.version, d.change_type, d.snapshot, d.ruleset_version
        FROM store.definitions AS d JOIN store.objects AS o ON o.kind = d.kind AND o.number = d.object
        QUALIFY row_number() OVER (PARTITION BY d.kind, d.object ORDER BY d.batch DESC, d.n DESC) = 1
        ORDER BY d.kind, d.object""",
    )


def load_patterns(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Every stored evaluation pattern, in pattern and rule order."""
    return _table(connection, "SELECT * FROM store.evaluation_patterns ORDER BY pattern, rule_order")


def load_budget_terms(connection: duckdb.DuckDBPyConnection) -> dict[int, tuple[int, int]]:
    """Limit (minor units) and next reset (microseconds; TIME_NONE: never) of each budget as last written, by number."""
    rows = connection.execute(
        """SELECT budget, arg_max(struct_pack(limit_minor, next_reset_at), batch) FROM store.budget_terms
        GROUP BY budget ORDER BY budget"""
    ).fetchall()
    never = int(TIME_NONE)
    return {
        budget: (last["limit_minor"], never if last["next_reset_at"] is None else last["next_reset_at"])
        for budget, last in rows
    }


def find_holders(
    connection: duckdb.DuckDBPyConnection,
    *,
    external_ids: pa.Array | None = None,
    ids: pa.Array | None = None,
    kind: EntityType = EntityType.PARTICIPANT,
) -> pa.Table:
    """Which of the given texts are holders of the book, of one kind.

    `external_ids` are external ids (of groups: keys), `ids` UUIDs as lower-case text; both without repeats. Rows:
    `given` (the text), `by_id` (bool), `number`, `kind`, `external_id`, `given_id`; texts that nobody has give no row.
    """
    parts = []
    if external_ids is not None and len(external_ids):
        connection.register("wanted_texts", pa.table({"given": external_ids.cast(pa.string())}))
        parts.append(
            f"""SELECT w.given, false AS by_id, h.number, h.kind, h.external_id, h.given_id
            FROM store.holders AS h JOIN wanted_texts AS w ON h.external_id = w.given AND h.kind = {int(kind)}"""
        )
    if ids is not None and len(ids):
        connection.register("wanted_ids", pa.table({"given": ids.cast(pa.string())}))
        parts.append(
            f"""SELECT w.given, true AS by_id, h.number, h.kind, h.external_id, h.given_id
            FROM store.holder_list AS h JOIN wanted_ids AS w ON h.id = CAST(w.given AS UUID) AND h.kind = {int(kind)}"""
        )
    if not parts:
        parts.append(
            """SELECT external_id AS given, false AS by_id, number, kind, external_id, given_id
            FROM store.holders WHERE false"""
        )
    return _table(connection, " UNION ALL ".join(parts))


def load_state(
    connection: duckdb.DuckDBPyConnection,
    holders: pa.Array,
    *,
    has_programs: bool = True,
    has_members: bool = False,
    has_rewards: bool = False,
) -> dict[str, pa.Table]:
    """The checkpoint's rows of the given holders (numbers, without repeats) and of all programs and system accounts.

    Without `has_programs` those of the holders alone: a run reads what is not theirs once, and knows it better since.

    One table per name of `STATE_TABLES` (`open_lots` as `LOADED_LOTS`, `schedule` with the program and key of the event
    that made each; what is known of programs beside their own state, and automations, left out; profiles and members,
    and counts of rewards, only when asked for), plus `holders` with the rows of `holders` that were asked for.
    Rows are in the order of their entity, lots in `lot_seq` order.
    """
    connection.register("wanted", pa.table({"number": holders.cast(pa.int64())}))
    others = "true" if has_programs else "false"
    of_entity = f"{others} AND {{0}} < 0 OR {{0}} IN (SELECT number FROM wanted)"
    filters = {
        "balances": (f"{others} AND account < 0 OR account // 4 IN (SELECT number FROM wanted)", "account, asset"),
        "system_balances": (others, "account, asset"),
        "overdrafts": ("holder IN (SELECT number FROM wanted)", "holder, asset"),
        "counters": (of_entity.format("entity"), "entity, key"),
        "tags": (of_entity.format("entity"), "entity, key"),
        "attributes": (of_entity.format("entity"), "entity, key"),
        "enrollments": ("holder IN (SELECT number FROM wanted)", "holder, program"),
        "budgets": (others, "budget"),
        "tiers": ("holder IN (SELECT number FROM wanted)", "holder, tier"),
        "open_lots": ("holder IN (SELECT number FROM wanted)", "lot_seq"),
        "holder_statuses": ("holder IN (SELECT number FROM wanted)", "holder"),
        "subscriptions": ("holder IN (SELECT number FROM wanted)", "automation, holder"),
        "schedule": ("holder IN (SELECT number FROM wanted)", "parent, position"),
    }
    if has_members:
        filters["profiles"] = ("holder IN (SELECT number FROM wanted)", "holder, field")
        filters["members"] = ("holder IN (SELECT number FROM wanted)", "holder, member")
    if has_rewards:
        filters["reward_counts"] = (
            f"{others} AND holder = 0 OR holder IN (SELECT number FROM wanted)",
            "reward, holder",
        )
    tables = {}
    for name, (condition, order) in filters.items():
        rows = _table(connection, f"SELECT * FROM store.{name} WHERE {condition} ORDER BY {order}")
        tables[name] = rows.cast(STATE_TABLES[name])
    tables["open_lots"] = _whole_lots(connection, tables["open_lots"])
    tables["schedule"] = _whole_schedule(connection, tables["schedule"])
    tables["holders"] = _table(
        connection, "SELECT * FROM store.holders WHERE number IN (SELECT number FROM wanted) ORDER BY number"
    )
    connection.unregister("wanted")
    return tables


def _whole_lots(connection: duckdb.DuckDBPyConnection, open_lots: pa.Table) -> pa.Table:
    """Open lots with what never changes of a lot: program, source, root, created_at, reference."""
    connection.register("wanted_lots", open_lots)
    rows = _table(
        connection,
        """SELECT o.*, l.program, l.source, l.root, l.created_at, l.reference
        FROM wanted_lots AS o LEFT JOIN store.full_lots AS l USING (lot_seq) ORDER BY lot_seq""",
    )
    connection.unregister("wanted_lots")
    if rows.column("created_at").null_count:
        raise IntegrityError("an open lot is not among the lots", "Run `earnbook verify`, or restore a copy.")
    return rows.cast(LOADED_LOTS)


def load_program_statuses(connection: duckdb.DuckDBPyConnection) -> dict[int, int]:
    """The status in force (code) of every program that the book knows, by number."""
    return dict(connection.execute("SELECT program, status FROM store.program_statuses").fetchall())


def load_asset_links(connection: duckdb.DuckDBPyConnection) -> set[tuple[int, int]]:
    """Which assets each program may use, as (program, asset) numbers."""
    return set(connection.execute("SELECT program, asset FROM store.asset_links").fetchall())


def _whole_schedule(connection: duckdb.DuckDBPyConnection, schedule: pa.Table) -> pa.Table:
    """Scheduled events with the program and the key of the event that made them."""
    connection.register("wanted_schedule", schedule)
    rows = _table(
        connection,
        """SELECT s.*, e.program AS parent_program, e.idempotency_key AS parent_key
        FROM wanted_schedule AS s LEFT JOIN store.events AS e ON e.log_seq = s.parent ORDER BY s.parent, s.position""",
    )
    connection.unregister("wanted_schedule")
    if rows.column("parent_key").null_count:
        raise IntegrityError("a scheduled event was made by no event", "Run `earnbook verify`, or restore a copy.")
    return rows


def find_due_holders(connection: duckdb.DuckDBPyConnection, until: int) -> pa.Array:
    """Numbers of holders with something due at or before `until` (microseconds), ascending (§4.4).

    That is a lot that matures or expires, a scheduled event, or a subscription.
    """
    rows = _table(
        connection,
        f"""SELECT DISTINCT holder FROM store.open_lots
        WHERE status = {LotStatus.DEFERRED} AND matures_at <= {int(until)}
            OR status <> {LotStatus.HELD} AND expires_at <= {int(until)}
        UNION SELECT s.holder FROM store.subscriptions AS s JOIN store.automations AS a USING (automation)
        WHERE a.is_live AND a.was_refreshed AND s.next_at <= {int(until)}
        UNION SELECT holder FROM store.schedule WHERE due_at <= {int(until)} ORDER BY holder""",
    )
    return rows.column("holder").combine_chunks()


def load_automations(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Where every automation that the book knows stands, by number."""
    return _table(connection, "SELECT * FROM store.automations ORDER BY automation").cast(STATE_TABLES["automations"])


def has_automation_due(connection: duckdb.DuckDBPyConnection, until: int) -> bool:
    """Whether an automation or a subscription has anything due at or before `until`."""
    query = f"""SELECT 1 FROM store.automations WHERE least(next_at, refresh_at) <= {int(until)}
        UNION ALL SELECT 1 FROM store.subscriptions AS s JOIN store.automations AS a USING (automation)
        WHERE a.is_live AND a.was_refreshed AND s.next_at <= {int(until)} LIMIT 1"""
    return one_row(connection, query) is not None


def has_schedule(connection: duckdb.DuckDBPyConnection, *, until: int = TIME_MAX) -> bool:
    """Whether any event waits for a time at or before `until`."""
    return one_row(connection, f"SELECT 1 FROM store.schedule WHERE due_at <= {int(until)} LIMIT 1") is not None


def find_event_keys(connection: duckdb.DuckDBPyConnection, key_hashes: pa.Array) -> pa.Table:
    """The stored events whose key hash (uint64) is among those given: what duplicates are compared with (§3.4).

    Columns: key_hash, program, idempotency_key, log_seq, event_timestamp, given, external_id (the holder's),
    given_participant, recipient_external_id (the recipient holder's), given_recipient, event_data; in log order.
    """
    return _find_keys(
        connection,
        "events",
        key_hashes,
        """SELECT t.key_hash, t.program, t.idempotency_key, t.log_seq, t.event_timestamp, t.given,
            h.external_id, t.given_participant, r.external_id AS recipient_external_id, t.given_recipient, t.event_data
        FROM hits AS t LEFT JOIN store.holders AS h ON h.number = t.holder
        LEFT JOIN store.holders AS r ON r.number = t.recipient ORDER BY t.log_seq""",
    )


def find_operation_keys(connection: duckdb.DuckDBPyConnection, key_hashes: pa.Array) -> pa.Table:
    """The stored operations whose key hash (uint64) is among those given.

    Columns: key_hash, program, type, idempotency_key, log_seq, effective_at, fields; in log order.
    """
    return _find_keys(
        connection,
        "operations",
        key_hashes,
        """SELECT key_hash, program, type, idempotency_key, log_seq, effective_at, fields
        FROM hits ORDER BY log_seq""",
    )


def find_event_numbers(connection: duckdb.DuckDBPyConnection, *, key_hashes: pa.Array, ids: pa.Array) -> pa.Table:
    """The stored events with one of these key hashes (uint64) or ids (lower-case text): log_seq, program, key.

    Hashes are found by scanning one narrow column; for an id the key of every event is hashed.
    """
    connection.register("wanted_hashes", pa.table({"key_hash": key_hashes.cast(pa.uint64())}))
    connection.register("wanted_ids", pa.table({"id": ids.cast(pa.string())}))
    query = """SELECT log_seq, program, idempotency_key FROM store.events
        WHERE key_hash IN (SELECT key_hash FROM wanted_hashes)"""
    if len(ids):
        query += """ UNION SELECT e.log_seq, e.program, e.idempotency_key
            FROM store.events AS e JOIN store.program_list AS p ON p.number = e.program
            WHERE store.uuid5(p.id, e.idempotency_key) IN (SELECT CAST(id AS UUID) FROM wanted_ids)"""
    rows = _table(connection, query)
    connection.unregister("wanted_hashes")
    connection.unregister("wanted_ids")
    return rows


def load_events(connection: duckdb.DuckDBPyConnection, log_seqs: pa.Array) -> pa.Table:
    """Stored events as they were given, with what became of them, in log order.

    `outcome` is that of the last attempt, `attempts` counts those after the first; `generation` and `under_broadcast`
    are null for external events.
    """
    connection.register("wanted_events", pa.table({"log_seq": log_seqs}))
    rows = _table(
        connection,
        """SELECT e.log_seq, e.program, e.idempotency_key, e.event_timestamp, e.given, e.event_data,
            coalesce(e.given_participant, h.external_id) AS participant,
            coalesce(e.given_recipient, r.external_id) AS recipient,
            coalesce(t.outcome, e.outcome) AS outcome, coalesce(t.attempts, 0) AS attempts,
            g.generation, g.under_broadcast
        FROM store.events AS e
        LEFT JOIN store.holders AS h ON h.number = e.holder
        LEFT JOIN store.holders AS r ON r.number = e.recipient
        LEFT JOIN (SELECT log_seq, arg_max(outcome, attempt) AS outcome, count(*) AS attempts FROM store.attempts
            GROUP BY log_seq) AS t ON t.log_seq = e.log_seq
        LEFT JOIN store.generated_events AS g ON g.log_seq = e.log_seq
        WHERE e.log_seq IN (SELECT log_seq FROM wanted_events) ORDER BY e.log_seq""",
    )
    connection.unregister("wanted_events")
    return rows


def find_enrolled_holders(connection: duckdb.DuckDBPyConnection, program: int) -> pa.Array:
    """Numbers of the holders with an enrollment in a program (its number) in the checkpoint, ascending."""
    rows = _table(
        connection,
        f"SELECT holder FROM store.enrollments WHERE program = {int(program)} GROUP BY holder ORDER BY holder",
    )
    return rows.column("holder").combine_chunks()


def _find_keys(connection: duckdb.DuckDBPyConnection, table: str, key_hashes: pa.Array, query: str) -> pa.Table:
    """Finds log numbers by scanning only the hash column, then reads whole rows in their range of numbers."""
    connection.register("wanted_hashes", pa.table({"key_hash": key_hashes.cast(pa.uint64())}))
    found = _table(
        connection,
        f"SELECT log_seq FROM store.{table} WHERE key_hash IN (SELECT key_hash FROM wanted_hashes) ORDER BY log_seq",
    )
    connection.unregister("wanted_hashes")
    numbers = found.column("log_seq")
    low, high = (numbers[0].as_py(), numbers[-1].as_py()) if len(numbers) else (0, -1)
    connection.register("found", found)
    rows = _table(
        connection,
        f"""WITH hits AS (SELECT * FROM store.{table}
            WHERE log_seq BETWEEN {low} AND {high} AND log_seq IN (SELECT log_seq FROM found)) {query}""",
    )
    connection.unregister("found")
    return rows


def stored_rejects(connection: duckdb.DuckDBPyConnection, source_hashes: list[str]) -> pa.Table:
    """The rejects already stored of inputs with these hashes: sha256, source_row, reason (§3.5)."""
    connection.register("wanted_sources", pa.table({"sha256": pa.array(source_hashes, pa.string())}))
    rows = _table(
        connection,
        """SELECT DISTINCT s.sha256, r.source_row, r.reason FROM store.rejects AS r
        JOIN store.sources AS s ON s.number = r.source
        WHERE s.sha256 IN (SELECT sha256 FROM wanted_sources) ORDER BY s.sha256, r.source_row, r.reason""",
    )
    connection.unregister("wanted_sources")
    return rows


def load_stream_positions(connection: duckdb.DuckDBPyConnection, stream: str) -> pa.Table:
    """How far the parts of a stream have been taken in, as rows of `stream_positions`."""
    connection.register("wanted_stream", pa.table({"stream": [stream]}))
    rows = _table(
        connection, "SELECT p.* FROM store.stream_positions AS p JOIN wanted_stream USING (stream) ORDER BY label, part"
    )
    connection.unregister("wanted_stream")
    return rows


def bring_checkpoint_forward(connection: duckdb.DuckDBPyConnection) -> bool:
    """Folds the rows after the checkpoint into it, in one transaction; says whether there was anything to do.

    A writer calls this before it reads state: a run that stopped between two batches left the checkpoint behind.
    """
    registers = load_registers(connection)
    if registers.state_batch == registers.batch:
        return False
    with transaction(connection):
        for name, schema in STATE_TABLES.items():
            columns = ", ".join(f'"{column}"' for column in schema.names)
            connection.execute(
                f"CREATE TEMP TABLE folded_{name} AS SELECT {columns} FROM ({fold_sql(name, from_checkpoint=True)})"
            )
        for name in STATE_TABLES:
            connection.execute(f"DELETE FROM store.{name}")
            connection.execute(f"INSERT INTO store.{name} SELECT * FROM folded_{name}")
            connection.execute(f"DROP TABLE folded_{name}")
        connection.execute("UPDATE store.meta SET state_batch = ?", [registers.batch])
    return True


def _ruleset(connection: duckdb.DuckDBPyConnection, condition: str) -> StoredRuleset | None:
    row = one_row(
        connection,
        f"""SELECT version, sha256, document, sources, batch FROM store.rulesets
        WHERE {condition} ORDER BY batch DESC, version DESC LIMIT 1""",
    )
    if row is None:
        return None
    return StoredRuleset(version=row[0], sha256=row[1], document=row[2], sources=row[3], batch=row[4])


def _table(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    return connection.sql(query).to_arrow_table()


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = one_row(connection, query)
    return int(row[0]) if row is not None else 0
