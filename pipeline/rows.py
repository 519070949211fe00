"""Decided columns as the physical tables of a batch: codes become texts, absent times null, indexes numbers.

Each function takes the named arrays of `ledger.results` and gives one Arrow table of `pipeline.schema`, in row order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.layout import OWN_EXPIRY
from earnbook.ledger.members import Members
from earnbook.ledger.pool import StringPool
from earnbook.ledger.results import Rows
from earnbook.ledger.schema import TIME_NONE, ChangeOperation, EntityType, Int64s, Kind, StateType
from earnbook.pipeline.people import People
from earnbook.pipeline.records import Given
from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES

_TEXT = int(Kind.TEXT)
_TIER = int(StateType.TIER)
_SET = int(ChangeOperation.SET)


def table_of(name: str, columns: Mapping[str, Any], schema: pa.Schema | None = None) -> pa.Table:
    """A table of the schema from arrays by name; a number stands for itself in every row, None for null."""
    schema = BATCH_TABLES[name] if schema is None else schema
    rows = max((len(column) for column in columns.values() if hasattr(column, "__len__")), default=0)
    return pa.table([_column(columns[field.name], field.type, rows) for field in schema], schema=schema)


def lot_rows(columns: Rows, pool: StringPool) -> dict[str, pa.Table]:
    """New lots, and the details of those that have any: `lots` and `lot_details`."""
    source, root = columns["source"], columns["root"]
    wallets = np.where(source < 0, -source, 0)
    has_details = (root != columns["lot_seq"]) | (columns["matures_at"] != TIME_NONE) | (columns["reference"] >= 0)
    lots = {**columns, "wallet": wallets, "expires_at": _nullable_times(columns["expires_at"])}
    lots["place"] = _places(columns["entry_seq"])
    few = {name: columns[name][has_details] for name in ("lot_seq", "root", "matures_at", "reference")}
    details = {**few, "matures_at": _nullable_times(few["matures_at"]), "reference": pool.texts(few["reference"])}
    return {"lots": table_of("lots", lots), "lot_details": table_of("lot_details", details)}


def lot_move_rows(columns: Rows, pool: StringPool) -> pa.Table:
    """Lot moves that are written down, with the text of the stamp."""
    return table_of("lot_moves", {**columns, "hold_reference": pool.texts(columns["hold_reference"])})


def reference_rows(columns: Rows, pool: StringPool) -> pa.Table:
    """References of entries whose lots do not carry them."""
    return table_of("entry_references", {**columns, "reference": pool.texts(columns["reference"])})


def redemption_rows(columns: Rows, catalog: Callable[[Int64s], Mapping[str, Int64s]]) -> pa.Table:
    """Redemptions, with version and unit cost of their rewards (`catalog` of reward numbers; a cost of -1: none)."""
    found = catalog(columns["reward"])
    costs = {"quantity": _nullable(columns["quantity"]), "unit_cost": _nullable(found["unit_cost"])}
    return table_of("redemptions", {**columns, **found, **costs})


def reversal_rows(columns: Rows) -> pa.Table:
    """Reversals; no quantity is null."""
    return table_of("reversals", {**columns, "quantity": _nullable(columns["quantity"])})


def open_lot_rows(columns: Rows, pool: StringPool) -> pa.Table:
    """The state of lots: dates that are TIME_NONE become null, stamps texts."""
    dates = {name: _nullable_times(columns[name]) for name in ("expires_at", "matures_at")}
    stamps = {"hold_reference": pool.texts(columns["hold_reference"])}
    return table_of("open_lots", {**columns, **dates, **stamps}, STATE_TABLES["open_lots"])


def member_rows(members: Members) -> pa.Table:
    """The state of members of groups."""
    holder, member, role, status = zip(*rows, strict=True) if (rows := list(members.rows())) else ((), (), (), ())
    columns = {"holder": holder, "member": member, "role": role, "status": status}
    schema = STATE_TABLES["members"]
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def window_rows(columns: Rows) -> pa.Table:
    """The state of counters: no window is null."""
    windows = {name: _nullable_times(columns[name]) for name in ("reset_at", "reset_after")}
    return table_of("counters", {**columns, **windows}, STATE_TABLES["counters"])


def tier_rows(columns: Rows) -> pa.Table:
    """The state of tiers: no expiry and no downgrade is null."""
    return table_of("tiers", {**columns, **_dates_of_levels(columns)}, STATE_TABLES["tiers"])


def change_rows(columns: Rows, pool: StringPool) -> dict[str, pa.Table]:
    """Changes, and the details of those that have any: `changes`, `change_details` and `tier_changes`.

    A new text leaves the value column empty, because its code means nothing outside the run.
    """
    is_text = columns["value_kind"] == _TEXT
    is_tier = columns["state_type"] == _TIER
    has_window = (columns["reset_after"] != TIME_NONE) & ~is_tier
    is_wide = columns["value_high"] != columns["value"] >> 63
    changes = {**columns, "value": np.where(is_text, 0, columns["value"])}
    few = {name: column[is_text | has_window | is_wide] for name, column in columns.items()}
    was_text = few["value_kind"] == _TEXT
    details = {
        "change_seq": few["change_seq"],
        "value_high": np.where(was_text, 0, few["value_high"]),
        "reset_at": _nullable_times(few["reset_at"]),
        "reset_after": _nullable_times(few["reset_after"]),
        "text": pool.texts(np.where(was_text, few["value"], -1)),
    }
    return {
        "changes": table_of("changes", changes),
        "change_details": table_of("change_details", details),
        "tier_changes": _tier_changes(columns, is_tier & (columns["operation"] == _SET)),
    }


def _tier_changes(columns: Rows, keep: np.ndarray[Any, Any]) -> pa.Table:
    """What else there is of new levels; the ledger writes their times where counters have their window."""
    few = {name: columns[name][keep] for name in ("change_seq", "downgrade_at", "noted")}
    few |= {"acquired_at": columns["reset_at"][keep], "expires_at": columns["reset_after"][keep]}
    return table_of("tier_changes", {**few, **_dates_of_levels(few)})


def _dates_of_levels(columns: Rows) -> dict[str, Any]:
    """Dates of levels, with whose they are: `noted` as in `ledger.results`."""
    noted = columns["noted"]
    return {
        "expires_at": _nullable_times(columns["expires_at"]),
        "own_expiry": noted == OWN_EXPIRY,
        "downgrade_at": _nullable_times(columns["downgrade_at"]),
        "noted_level": np.maximum(noted, 0),
    }


def result_rows(columns: Rows, pool: StringPool) -> pa.Table:
    """Results of actions; a text is told by itself, because its code means nothing outside the run."""
    is_text = columns["value_kind"] == _TEXT
    texts = pool.texts(np.where(is_text, columns["value"], -1))
    return table_of("action_results", {**columns, "value": np.where(is_text, 0, columns["value"]), "text": texts})


def holder_rows(columns: Rows, people: People) -> pa.Table:
    """New participants and groups by number; the external id of a group is its key."""
    is_group = people.is_group(columns["person"])
    return table_of(
        "holders",
        {
            "number": columns["number"],
            "kind": np.where(is_group, int(EntityType.GROUP), int(EntityType.PARTICIPANT)),
            "external_id": people.texts(columns["person"]),
            "given_id": people.own_ids(columns["person"]),
            "log_seq": columns["log_seq"],
        },
    )


def event_rows(records: pa.Table, outcomes: Rows, keep: np.ndarray[Any, Any], sources: Int64s) -> pa.Table:
    """The events among the records, with their outcomes."""
    records, outcomes = _kept(records, outcomes, keep)
    given = records.column("given").to_numpy()
    return table_of(
        "events",
        {
            **_common(records, outcomes, sources),
            "holder": outcomes["holder"],
            "recipient": outcomes["recipient"],
            "given": given,
            "given_participant": _as_given(
                records.column("participant"), outcomes["holder"], given, Given.PARTICIPANT_ID
            ),
            "given_recipient": _as_given(records.column("recipient"), outcomes["recipient"], given, Given.RECIPIENT_ID),
            "event_timestamp": records.column("timestamp"),
            "event_data": records.column("event_data"),
            "action": outcomes["action"],
            "pattern": outcomes["pattern"],
        },
    )


def operation_rows(records: pa.Table, outcomes: Rows, is_event: np.ndarray[Any, Any], sources: Int64s) -> pa.Table:
    """The operations among the records, with their outcomes."""
    records, outcomes = _kept(records, outcomes, ~is_event)
    return table_of(
        "operations",
        {
            **_common(records, outcomes, sources),
            "type": records.column("operation"),
            "effective_at": records.column("timestamp"),
            "holder": outcomes["holder"],
            "fields": records.column("fields"),
        },
    )


def in_log_order(events: pa.Table, others: pa.Table) -> pa.Table:
    """Rows of `events` from two tables, by log_seq."""
    if not others.num_rows:
        return events
    both = pa.concat_tables([events, others])
    return both.take(pa.array(np.argsort(both.column("log_seq").to_numpy(), kind="stable")))


def attempt_rows(columns: Rows) -> pa.Table:
    """Further attempts at events; patterns are numbers of the book."""
    return table_of("attempts", columns)


def schedule_rows(columns: Rows) -> pa.Table:
    """The state of scheduled events."""
    descent = columns["descent"]
    details = {"generation": descent >> 1, "under_broadcast": (descent & 1) == 1}
    return table_of("schedule", {**columns, **details}, STATE_TABLES["schedule"])


def system_rows(rows: list[tuple[int, int, int, int]], schema: pa.Schema, *, batch: int = 0) -> pa.Table:
    """Balances of system accounts (account, asset, amount, last entry) as snapshots of a batch or as state."""
    account, asset, amount, last = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = {"batch": [batch] * len(rows), "account": account, "asset": asset, "last_entry_seq": last}
    arrays = [
        pa.array(amount, pa.decimal128(38, 0)) if field.name == "amount" else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _common(records: pa.Table, outcomes: Rows, sources: Int64s) -> dict[str, Any]:
    """What events and operations share."""
    return {
        "log_seq": outcomes["log_seq"],
        "program": records.column("program").to_numpy() + 1,
        "key_hash": records.column("key_hash"),
        "idempotency_key": records.column("idempotency_key"),
        "late": outcomes["late"],
        "source": sources[records.column("source").to_numpy()],
        "source_row": records.column("source_row"),
        "processed_at": outcomes["processed_at"],
        "outcome": outcomes["outcome"],
    }


def _kept(records: pa.Table, outcomes: Rows, keep: np.ndarray[Any, Any]) -> tuple[pa.Table, Rows]:
    if keep.all():
        return records, outcomes
    return records.filter(pa.array(keep)), {name: column[keep] for name, column in outcomes.items()}


def _as_given(texts: pa.ChunkedArray, holders: Int64s, given: Int64s, by_id: Given) -> Any:
    """The text as given, where it is not the external id of the holder that was found."""
    follows = (holders > 0) & ((given & int(by_id)) == 0)
    if follows.all():
        return None
    return pc.if_else(pa.array(follows), pa.scalar(None, pa.string()), texts)


def _places(entries: Int64s) -> Int64s:
    """The position of each row among those of its entry, which stand together."""
    rows = np.arange(len(entries))
    is_first = np.diff(entries, prepend=-1) != 0
    return rows - np.maximum.accumulate(np.where(is_first, rows, 0))


def _nullable(numbers: Int64s) -> pa.Array:
    """Numbers of which -1 stands for null."""
    return pa.array(numbers, pa.int64(), mask=numbers < 0)


def _nullable_times(times: Int64s) -> pa.Array:
    return pa.array(times, pa.int64(), mask=times == TIME_NONE)


def _column(value: Any, kind: pa.DataType, rows: int) -> pa.Array | pa.ChunkedArray:
    if value is None:
        return pa.nulls(rows, kind)
    if isinstance(value, int):
        return pa.array(np.full(rows, value), kind)
    if isinstance(value, np.ndarray):
        value = pa.array(value)
    return value if value.type == kind else value.cast(kind)
