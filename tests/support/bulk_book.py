"""The logical book of a log that was decided in memory."""

from __future__ import annotations

from tests.support.bulk_decode import Rows, changes_of, outcomes_of, records_of
from tests.support.bulk_decode_entries import entries_of
from tests.support.bulk_decode_lots import lot_moves_of, lots_of
from tests.support.bulk_decode_redemptions import redemptions_of, reversals_of, rewards_of
from tests.support.bulk_decode_rules import evaluations_of
from tests.support.bulk_decode_state import counts_of, state_of
from tests.support.bulk_engine import BulkEngine, LogResult
from tests.support.logical import LogicalBook, Reject


def decoded_book(engine: BulkEngine, result: LogResult) -> LogicalBook:
    """What the views of a book with these rows would say."""
    rows = Rows(engine.registry, result, engine.rewards)
    return LogicalBook(
        book_clock=(result.batches[-1].book_clock or None) if result.batches else None,
        records=records_of(rows),
        outcomes=outcomes_of(rows),
        entries=entries_of(rows),
        lots=lots_of(rows),
        lot_moves=lot_moves_of(rows),
        evaluations=evaluations_of(rows),
        changes=changes_of(rows, engine.program_statuses),
        redemptions=redemptions_of(rows),
        reversals=reversals_of(rows),
        rewards=rewards_of(rows),
        rejects=frozenset(Reject(run=0, row=row, reason=reason) for row, reason in result.rejects),
        counts=counts_of(result),
        **state_of(rows),
    )
