"""What money operations say, as the columns and operands that the kernel reads (§15.2, §16).

In: the records of a batch with their canonical fields. Out: `MoneyColumns`, one item per record, and the rows of
OPERANDS and PARTS. Whom the operations name beside their participants becomes persons of the run here, so this runs
before holders are loaded. Nothing is decided: an unknown asset, an amount with too many decimals or a name that nobody
has is a number that the kernel turns into an outcome.

Canonical fields hold texts and integers alone, so the members are taken out by the byte scanner of `source_scan` and
everything after that works on whole columns; rows that it does not vouch for (escapes in a wanted text) are read one by
one and join the columns as texts. Sketch: 250 bytes an operation are scanned in 1 µs; the rest is 14 short columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger import layout as at
from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import TIME_MAX, Bucket, Direction, Int64s, OperationType, UInt8s
from earnbook.pipeline.people import People
from earnbook.pipeline.source_amounts import minor_units
from earnbook.pipeline.source_bytes import Bools, gather
from earnbook.pipeline.source_lists import split_lists
from earnbook.pipeline.source_scan import PLAIN, build_trie, scan_objects
from earnbook.pipeline.source_text import Texts, from_arrow, present_rows, to_arrow
from earnbook.rules.times import parse_duration

MONEY_TYPES = (
    OperationType.ADJUST,
    OperationType.HOLD,
    OperationType.RELEASE,
    OperationType.FORFEIT,
    OperationType.VOID_HOLD,
    OperationType.REDEEM,
    OperationType.TRANSFER,
    OperationType.FUND,
    OperationType.BURN,
)
"""Types that the kernel carries out by itself; of hold, release and forfeit those without `lot_ids`."""

_WALLET = (int(OperationType.FUND), int(OperationType.BURN))
_HELD = (int(OperationType.RELEASE), int(OperationType.VOID_HOLD))
_FIELDS = (
    "amount",
    "asset_id",
    "direction",
    "bucket",
    "allow_negative",
    "reference_id",
    "expires_at",
    "matures_at",
    "earned_from",
    "earned_to",
    "group_id",
    "source_group_id",
    "lot_ids",
    "recipients",
)
_LOT_FIELDS = ("reference_id", "expires_at", "matures_at", "earned_from", "earned_to", "lot_ids")
_RECIPIENT_FIELDS = ("amount", "external_id", "participant_id", "group_id")
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))

Columns: TypeAlias = dict[str, pa.Array]
"""The members of objects by name, as texts: numbers by their digits, truth values as words, lists as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyColumns:
    """Per record, in log order: what WORK has of a money operation; others have -1, and 0 for amount and code.

    `amount` is in minor units (EVERYTHING where none is given, or ALL), `code` its value code, `group` the person of
    the group that it is about, `operand` its row of `operands`. `parts` are the recipients, operation by operation.
    """

    asset: Int64s
    amount: Int64s
    code: Int64s
    group: Int64s
    operand: Int64s
    operands: Int64s
    parts: Int64s


def money_columns(records: pa.Table, asset_scales: Mapping[str, int], people: People, pool: StringPool) -> MoneyColumns:
    """The columns of a batch; names the holders that its money operations are about beside their participants.

    `asset_scales` are the scales of all assets by their ids, in the order of their indexes.
    """
    count = records.num_rows
    per_record = {name: np.full(count, -1, np.int64) for name in ("asset", "group", "operand")}
    per_record |= {name: np.zeros(count, np.int64) for name in ("amount", "code")}
    operation = records.column("operation").to_numpy()
    rows = np.flatnonzero(np.isin(operation, MONEY_TYPES))
    if not len(rows):
        nothing = np.zeros(0, np.int64)
        return MoneyColumns(
            **per_record,
            operands=nothing.reshape(0, at.OPERAND_COLUMNS),
            parts=nothing.reshape(0, at.PART_COLUMNS),
        )
    kinds = operation[rows].astype(np.int64)
    texts = records.column("fields")
    fields = _members((texts if len(rows) == count else texts.take(pa.array(rows))).combine_chunks(), _FIELDS)
    asset = _indexes(fields["asset_id"], list(asset_scales))
    # Without an asset the amount does not matter: ASSET_NOT_FOUND is the smaller code (A.1).
    scales = np.array([*asset_scales.values(), 0], np.int64)[asset]
    per_record["asset"][rows] = asset
    per_record["amount"][rows], per_record["code"][rows] = minor_units(fields["amount"], scales)
    per_record["group"][rows] = people.name_groups(pc.coalesce(fields["group_id"], fields["source_group_id"]))
    is_operand = ~np.isin(kinds, _WALLET)
    per_record["operand"][rows[is_operand]] = np.arange(np.count_nonzero(is_operand))
    operands = _operands(kinds, fields, pool)
    parts, counts = _parts(fields["recipients"], scales, people)
    is_transfer = kinds == int(OperationType.TRANSFER)
    operands[is_transfer, at.OPERAND_PART] = (np.cumsum(counts) - counts)[is_transfer]
    operands[is_transfer, at.OPERAND_PARTS] = counts[is_transfer]
    return MoneyColumns(**per_record, operands=operands[is_operand], parts=parts)


# --- members as columns ---------------------------------------------------------------------------------------------


def _members(objects: pa.Array, names: tuple[str, ...]) -> Columns:
    """The wanted members of canonical JSON objects."""
    texts = from_arrow(objects)
    return _span_members(texts.data, texts.offsets[:-1], texts.offsets[1:], names)


def _span_members(data: UInt8s, starts: Int64s, ends: Int64s, names: tuple[str, ...]) -> Columns:
    trie = build_trie(tuple((name,) for name in names))
    scan = scan_objects(data, starts, ends, trie, len(names), notes_unknown=False)
    plain = scan.status == PLAIN
    columns = {}
    for slot, name in enumerate(names):
        start, end, present = scan.spans.start[slot], scan.spans.end[slot], (scan.spans.kind[slot] != 0) & plain
        if not present.any():
            columns[name] = pa.nulls(len(starts), pa.string())
            continue
        columns[name] = to_arrow(Texts(*gather(data, start, end, present), present))
    odd = np.flatnonzero(~plain)
    return columns if not len(odd) else _with_odd(columns, odd, data, starts, ends)


def _with_odd(columns: Columns, odd: Int64s, data: UInt8s, starts: Int64s, ends: Int64s) -> Columns:
    """The columns with the rows that the scan did not vouch for."""
    objects = [json.loads(data[starts[row] : ends[row]].tobytes()) for row in odd.tolist()]
    is_odd = np.zeros(len(starts), np.bool_)
    is_odd[odd] = True
    return {
        name: pc.replace_with_mask(
            column, pa.array(is_odd), pa.array([_text_of(each.get(name)) for each in objects], column.type)
        )
        for name, column in columns.items()
    }


def _text_of(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else _CANONICAL.encode(value)


# --- operands -------------------------------------------------------------------------------------------------------


def _operands(kinds: Int64s, fields: Columns, pool: StringPool) -> Int64s:
    """A row of OPERANDS for every money operation, those of wallets included; the recipients are still missing."""
    operands = np.zeros((len(kinds), at.OPERAND_COLUMNS), np.int64)
    given = {name: present_rows(column) for name, column in fields.items()}
    is_credit = _begins(fields["direction"], Direction.CREDIT.name)
    direction = np.where(is_credit, int(Direction.CREDIT), int(Direction.DEBIT))
    operands[:, at.OPERAND_DIRECTION] = np.where(given["direction"], direction, 0)
    is_held = np.where(given["bucket"], _begins(fields["bucket"], Bucket.HELD.name), np.isin(kinds, _HELD))
    operands[:, at.OPERAND_BUCKET] = np.where(is_held, int(Bucket.HELD), int(Bucket.AVAILABLE))
    operands[:, at.OPERAND_NEGATIVE] = _begins(fields["allow_negative"], "true")
    operands[:, at.OPERAND_REFERENCE] = pool.intern(fields["reference_id"])
    operands[:, at.OPERAND_IS_LOT] = np.logical_or.reduce([given[name] for name in _LOT_FIELDS])
    for name, kind, value in (
        ("expires_at", at.OPERAND_EXPIRES_KIND, at.OPERAND_EXPIRES),
        ("matures_at", at.OPERAND_MATURES_KIND, at.OPERAND_MATURES),
    ):
        operands[:, kind], operands[:, value] = _dates(fields[name])
    operands[:, at.OPERAND_FROM] = _times(fields["earned_from"], 0)
    operands[:, at.OPERAND_TO] = _times(fields["earned_to"], int(TIME_MAX))
    operands[:, at.OPERAND_PARTS] = np.where(given["lot_ids"], at.LOTS_ASK, at.LOTS_NONE)
    return operands


def _begins(texts: pa.Array, word: str) -> Bools:
    """Which texts, each one of a few words, are this one: the first byte tells."""
    columns = from_arrow(texts)
    first = columns.data[np.minimum(columns.offsets[:-1], len(columns.data) - 1)]
    found: Bools = columns.present & (first == ord(word[0]))
    return found


def _indexes(texts: pa.Array, asset_ids: list[str]) -> Int64s:
    """The index of each asset by its id; -1 where there is no such asset."""
    found = pc.index_in(texts, value_set=pa.array(asset_ids, texts.type)).fill_null(-1)
    indexes: Int64s = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return indexes


def _dates(texts: pa.Array) -> tuple[Int64s, Int64s]:
    """(kind, value) of dates of lots: durations by their text, times by their digits."""
    if texts.null_count == len(texts):
        return np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    encoded = texts.dictionary_encode()
    dates = [
        (at.DATE_TIME, int(text)) if text.isdecimal() else (at.DATE_DURATION, parse_duration(text))
        for text in encoded.dictionary.to_pylist()
    ]
    table = np.array([*dates, (at.DATE_NONE, 0)], np.int64)
    found = table[encoded.indices.fill_null(len(dates)).to_numpy(zero_copy_only=False)]
    return found[:, 0], found[:, 1]


def _times(texts: pa.Array, absent: int) -> Int64s:
    if texts.null_count == len(texts):
        return np.full(len(texts), absent, np.int64)
    times: Int64s = texts.cast(pa.int64()).fill_null(absent).to_numpy(zero_copy_only=False)
    return times


# --- recipients -----------------------------------------------------------------------------------------------------


def _parts(recipients: pa.Array, scales: Int64s, people: People) -> tuple[Int64s, Int64s]:
    """Rows of PARTS for the recipients of transfers, and how many each operation has.

    `scales` are those of the operations' assets.
    """
    texts = from_arrow(recipients)
    lists = split_lists(texts)
    counts = np.maximum(lists.counts, 0)
    fields = _span_members(texts.data, lists.starts, lists.ends, _RECIPIENT_FIELDS)
    rows = np.zeros((len(lists.starts), at.PART_COLUMNS), np.int64)
    rows[:, at.PART_AMOUNT], rows[:, at.PART_CODE] = minor_units(fields["amount"], np.repeat(scales, counts))
    by_key = people.name_external_ids(fields["external_id"])
    rows[:, at.PART_PERSON] = np.where(by_key >= 0, by_key, people.name_participant_ids(fields["participant_id"]))
    rows[:, at.PART_GROUP] = people.name_groups(fields["group_id"])
    return rows, counts
