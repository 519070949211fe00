"""Log order and idempotency (§3.4, §4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from earnbook.ledger.schema import UInt64s
from earnbook.pipeline.records import Reject


class SeenKeys:
    """Records of this run whose key hash repeats, by (scope, key), with their log position."""

    def __init__(self, repeated_hashes: UInt64s) -> None:
        self.repeated_hashes = repeated_hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """A batch without repeats: `records` get log_seq first_log_seq, first_log_seq + 1, … in order."""

    records: pa.Table
    duplicates: int
    conflicts: tuple[Reject, ...]


def drop_duplicates(
    batch: pa.Table, seen: SeenKeys, *, first_log_seq: int, originals: pa.Table | None = None
) -> Deduplicated:
    """Drop rows whose key an earlier record of the log already has (§3.4).

    `batch` is in log order; `originals` (schema `records.ORIGINALS`) holds the book's records with key hashes of this
    batch. `seen` is extended by the batch's own records.
    """
    raise NotImplementedError
