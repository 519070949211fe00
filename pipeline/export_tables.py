"""What an export holds: datasets of the book's logical rows (§18), their columns with fixed types, their order.

The columns are written out here and not taken from the views, so that the files of one batch look the same whenever
they are written; a change of them is a new `SCHEMA_VERSION`. State that later batches change is left out of the rows of
a batch (what is left of a lot, what was reversed of a redemption); it is in the full snapshots instead. `batch` is the
directory, not a column.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
"""The version of datasets, columns and types; a directory of another version is refused."""

AMOUNT_SCALE = 18
"""Decimals of every amount column: the largest scale that an asset can have, so that files of all batches agree."""

_TYPES: dict[str, tuple[pa.DataType, str]] = {
    "int": (pa.int64(), "CAST({} AS BIGINT)"),
    "bool": (pa.bool_(), "{}"),
    "text": (pa.string(), "{}"),
    "id": (pa.string(), "CAST({} AS VARCHAR)"),
    "time": (pa.timestamp("us", "UTC"), "CAST({} AS TIMESTAMPTZ)"),
    # What does not fit 20 digits before the point is null; its minor units are there.
    "amount": (pa.decimal128(38, AMOUNT_SCALE), f"TRY_CAST({{}} AS DECIMAL(38, {AMOUNT_SCALE}))"),
    "wide": (pa.decimal128(38, 0), "CAST({} AS DECIMAL(38, 0))"),
    "json": (pa.string(), "CAST(to_json({}) AS VARCHAR)"),
}
"""By the word of a column: its type in the files, and the SQL that makes it from the view's column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows of one view: `columns` by name to word, ordered by `order`; `number` is the column that batches bound.

    `numbers` names the counter of `store.batches` that `number` is dense in: `entry`, `log`, `lot` or `change`.
    """

    name: str
    columns: dict[str, str]
    order: str
    number: str | None = None
    numbers: str = "entry"
    is_snapshot: bool = False
    """Whether it is of the whole book as a batch left it, and not of the rows of that batch."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are in the files."""
        return pa.schema([pa.field(name, _TYPES[word][0]) for name, word in self.columns.items()])

    @property
    def select(self) -> str:
        """The columns as SQL over the view."""
        return ", ".join(f'{_TYPES[word][1].format(_quoted(name))} AS "{name}"' for name, word in self.columns.items())


def _quoted(name: str) -> str:
    return f'"{name}"'


def _columns(words: str) -> dict[str, str]:
    """Columns from `name:word` pairs, in their order."""
    return dict(pair.split(":") for pair in words.split())


_AMOUNT = "amount:amount amount_minor:int"

DATASETS: tuple[Dataset, ...] = (
    Dataset(
        name="batches",
        columns=_columns(
            """organization_id:id clock_mode:text book_clock:time ruleset_version:int ruleset_sha256:text
            last_log_seq:int last_entry_seq:int last_lot_seq:int last_change_seq:int last_holder:int
            clock_reading:time clock_fixed:time horizon:time record_order:text evaluations:text rows_read:int
            events:int operations:int duplicates:int rejected:int generated:int completed:int failed:int late:int
            outbox:text notification_types:json
            sources:json digests:json previous_seal:text seal:text committed_at:time host:text run_id:text"""
        ),
        order="batch",
    ),
    Dataset(
        name="entries",
        columns=_columns(
            f"""seq:int id:id created_at:time action_type:text program_id:id program:text asset_id:id asset:text
            {_AMOUNT} cause:text cause_id:id log_seq:int event_id:id rule_id:id rule:text rule_version:int
            action_index:int reference_id:text redemption_id:id description:text"""
        ),
        order="seq",
        number="seq",
    ),
    Dataset(
        name="postings",
        columns=_columns(
            f"""entry_seq:int index:int entity_type:text entity_id:id entity:text asset_id:id asset:text bucket:text
            {_AMOUNT}"""
        ),
        order="entry_seq, index",
        number="entry_seq",
    ),
    Dataset(
        name="lots",
        columns=_columns(
            f"""lot_seq:int id:id holder_type:text holder_id:id holder:text asset_id:id asset:text program_id:id
            program:text source_type:text source_id:id root_lot_seq:int entry_seq:int {_AMOUNT} created_at:time
            expires_at:time matures_at:time reference_id:text"""
        ),
        order="lot_seq",
        number="lot_seq",
        numbers="lot",
    ),
    Dataset(
        name="lot_moves",
        columns=_columns(
            """entry_seq:int index:int lot_seq:int kind:text status_before:text remaining_before_minor:int
            status_after:text remaining_after_minor:int hold_reference_after:text repaid_minor:int"""
        ),
        order="entry_seq, index",
        number="entry_seq",
    ),
    Dataset(
        name="events",
        columns=_columns(
            """id:id log_seq:int program_id:id program:text idempotency_key:text event_type:text external_id:text
            participant_id:id recipient_external_id:text recipient_id:id event_timestamp:time event_data:text late:bool
            generation:int parent_event_id:id automation_id:id automation:text source:text source_row:int"""
        ),
        order="log_seq",
        number="log_seq",
        numbers="log",
    ),
    Dataset(
        name="operations",
        columns=_columns(
            """id:id log_seq:int type:text program_id:id program:text idempotency_key:text effective_at:time fields:text
            late:bool source:text source_row:int"""
        ),
        order="log_seq",
        number="log_seq",
        numbers="log",
    ),
    # An attempt is of the batch of its retry, so its number says nothing about its batch.
    Dataset(
        name="outcomes",
        columns=_columns(
            """record_id:id log_seq:int attempt:int by_operation_id:id processed_at:time participant_id:id
            recipient_id:id status:text code:text rule_id:id rule:text action_index:int message:text"""
        ),
        order="log_seq, attempt",
    ),
    Dataset(
        name="changes",
        columns=_columns(
            """change_seq:int entity_type:text entity_id:id entity:text program_id:id program:text state_type:text
            key:text operation:text old_value:text new_value:text cause:text cause_id:id log_seq:int event_id:id
            rule_id:id rule:text action_index:int changed_at:time"""
        ),
        order="change_seq",
        number="change_seq",
        numbers="change",
    ),
    Dataset(
        name="redemptions",
        columns=_columns(
            f"""id:id operation_id:id log_seq:int participant_id:id external_id:text program_id:id program:text
            asset_id:id asset:text {_AMOUNT} reward_id:id reward:text quantity:int unit_cost:amount unit_cost_minor:int
            target_type:text target_id:id target:text entry_id:id entry_seq:int created_at:time"""
        ),
        order="log_seq",
        number="log_seq",
        numbers="log",
    ),
    Dataset(
        name="reversals",
        columns=_columns(
            f"""id:id redemption_id:id operation_id:id log_seq:int redemption_log_seq:int {_AMOUNT} quantity:int
            reason:text entry_id:id entry_seq:int created_at:time"""
        ),
        order="log_seq",
        number="log_seq",
        numbers="log",
    ),
    Dataset(
        name="definitions",
        columns=_columns(
            """kind:text object_id:id key:text version:int change_type:text changed_at:time changes:text snapshot:text
            ruleset_version:int ruleset_sha256:text"""
        ),
        order="kind, object_id, version",
    ),
    Dataset(
        name="rejects",
        columns=_columns(
            """n:int source:text source_row:int reason:text field:text message:text original_id:id raw:text"""
        ),
        order="n",
    ),
    Dataset(
        name="balance_snapshots",
        columns=_columns(
            """entity_type:text entity_id:id entity:text asset_id:id asset:text bucket:text amount:amount
            amount_minor:wide"""
        ),
        order="asset, entity_type, entity_id, bucket",
    ),
    Dataset(
        name="balances",
        columns=_columns(
            """entity_type:text entity_id:id entity:text asset_id:id asset:text bucket:text amount:amount
            amount_minor:wide overdraft:amount overdraft_minor:int last_entry_seq:int"""
        ),
        order="asset, entity_type, entity_id, bucket",
        is_snapshot=True,
    ),
    Dataset(
        name="open_lots",
        columns=_columns(
            """lot_seq:int id:id holder_type:text holder_id:id holder:text asset_id:id asset:text program_id:id
            program:text remaining:amount remaining_minor:int status:text hold_reference_id:text provisional:bool
            created_at:time expires_at:time matures_at:time"""
        ),
        order="lot_seq",
        is_snapshot=True,
    ),
)
"""Every dataset of an export, in the order in which they are written."""

SNAPSHOT_VIEWS = {"balances": "balances", "open_lots": "(SELECT * FROM lots WHERE remaining_minor > 0)"}
"""What full snapshots are read from: the state as the last batch left it."""
