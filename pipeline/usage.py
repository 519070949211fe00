"""Which programs have entries in which assets: what `unlink_asset` must know (§7.4).

The program of an entry is that of its rule, else of its operation, else of the lot that fell due. The book is asked
once, when a run has such an operation; the entries of the run itself are looked through when the question comes up.
"""

from __future__ import annotations

import duckdb
import numpy as np

from earnbook.ledger import layout as at
from earnbook.ledger.results import batch_tables
from earnbook.ledger.state import State


class AssetUsage:
    """The pairs of program and asset (slots and indexes) that have an entry."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._used: set[tuple[int, int]] = set()
        self._programs = {
            action.number: program.number - 1 for program in state.terms.programs for action in program.actions
        }
        self.is_wanted = False
        """Whether the run asks at all."""

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """What the book has."""
        self.is_wanted = True
        rows = connection.execute(
            """SELECT DISTINCT coalesce(a.program, o.program, d.program), m.asset FROM store.movements AS m
            LEFT JOIN store.actions AS a ON a.number = m.action
            LEFT JOIN store.operations AS o ON o.log_seq = m.log_seq AND m.action = 0
            LEFT JOIN store.due_entries AS d ON d.entry_seq = m.entry_seq AND m.log_seq = 0
            WHERE m.log_seq NOT IN (SELECT log_seq FROM store.reversals)"""
        ).fetchall()
        self._used = {(program - 1, asset - 1) for program, asset in rows}

    def is_used(self, program: int, asset: int) -> bool:
        """Whether a program has an entry in an asset, in the book or in the batch so far."""
        if (program, asset) not in self._used:
            self.note_batch()
        return (program, asset) in self._used

    def note_batch(self) -> None:
        """Take in the entries of the batch so far."""
        tables = batch_tables(self._state)
        movements, due = tables["movements"], tables["due_entries"]
        assets = movements["asset"] - 1
        ruled = movements["action"] > 0
        pairs = zip(movements["action"][ruled].tolist(), assets[ruled].tolist(), strict=True)
        self._used.update((self._programs[action], asset) for action, asset in set(pairs))
        work, outcomes = self._state.table(at.WORK), self._state.table(at.OUTCOMES)
        # A reversal's program is that of its redemption, which has an entry already.
        is_reversal = np.isin(movements["log_seq"], tables["reversals"]["log_seq"])
        operated = ~ruled & (movements["log_seq"] > 0) & ~is_reversal
        order = np.argsort(outcomes[at.OUTCOME_LOG_SEQ], kind="stable")
        log_seq = outcomes[at.OUTCOME_LOG_SEQ][order]
        places = order[np.searchsorted(log_seq, movements["log_seq"][operated])]
        self._used.update(zip(work[at.WORK_PROGRAM][places].tolist(), assets[operated].tolist(), strict=True))
        lots = dict(zip(due["entry_seq"].tolist(), (due["program"] - 1).tolist(), strict=True))
        is_due = movements["log_seq"] == 0
        entries = zip(movements["entry_seq"][is_due].tolist(), assets[is_due].tolist(), strict=True)
        self._used.update((lots[entry], asset) for entry, asset in entries)
