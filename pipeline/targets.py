"""Whom texts name: the targets of actions and the groups of events, looked up in bulk before a batch (§11.1, §12.2).

In: the columns of a batch. Out: what each text means, in the books' table of targets (a person, or the outcome of a
text that can mean nobody), with the persons' state loaded. What cannot be foreseen is looked up one by one when the
kernel asks. Nothing here decides whether somebody exists when the event comes: that is the books'.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Columns, Int64s, Kind, Outcome, TargetKind
from earnbook.ledger.state import State
from earnbook.pipeline.people import People
from earnbook.rules.compile import CompiledProgram, CompiledRuleset
from earnbook.rules.models_fields import is_uuid
from earnbook.rules.plan_targets import named_targets

LENGTH_MAX = 255
"""Characters of a text that names somebody (§11.4)."""

_TEXT = int(Kind.TEXT)


class Targets:
    """The meanings of texts in one run. `load` brings the persons named since the last time from the book."""

    def __init__(
        self,
        programs: tuple[CompiledProgram, ...],
        ruleset: CompiledRuleset,
        *,
        state: State,
        people: People,
        pool: StringPool,
        load: Callable[[], None],
    ) -> None:
        """`programs` stand by slot."""
        self._state, self._people, self._pool, self._load = state, people, pool, load
        self._named = [named_targets(program.plan, ruleset.columns) for program in programs]
        self._constants = [
            (target.kind, target.text) for targets, _ in self._named for target in targets if target.text is not None
        ]

    def look_up_batch(self, columns: Columns, programs: Int64s) -> Int64s | int:
        """Look up what the columns of a batch name; returns the person of each record's group, -1 for none.

        `programs` is the slot of each record's program.
        """
        for kind, text in self._constants:
            self.look_up(kind, np.array([self._pool.intern_text(text)]))
        self._constants = []
        groups: Int64s | int = -1
        for slot, (targets, group) in enumerate(self._named):
            named = [(target.kind, target.column) for target in targets if target.column is not None]
            if not named and group is None:
                continue
            own = programs == slot
            for kind, column in named:
                self.look_up(kind, self._distinct(columns, column, own))
            if group is not None:
                self.look_up(TargetKind.GROUP, self._distinct(columns, group, own))
                groups = self._groups(columns, group, own, groups)
        return groups

    def look_up(self, kind: TargetKind, codes: Int64s) -> None:
        """Look up texts, given by their distinct codes in the pool, that nobody looked up yet."""
        codes = codes[self._state.target_meanings(kind, codes) == 0]
        if len(codes):
            meanings = self._meanings(kind, self._pool.texts(codes))
            self._load()
            self._state.name_targets(kind, codes, meanings)

    def _meanings(self, kind: TargetKind, texts: pa.Array) -> Int64s:
        wrong = _mistakes(kind, texts)
        good = texts.filter(pa.array(wrong == 0))
        meanings = -wrong
        match kind:
            case TargetKind.GROUP:
                persons = self._people.name_groups(good)
            case TargetKind.PARTICIPANT_ID:
                persons = self._people.name_participant_ids(good)
            case _:
                persons = self._people.name_external_ids(good)
        meanings[wrong == 0] = persons + 1
        return meanings

    def _distinct(self, columns: Columns, column: int, own: np.ndarray) -> Int64s:
        """The codes of the distinct texts of a column among the program's own records."""
        is_used = np.zeros(len(self._pool), bool)
        is_used[columns.value[column][own & (columns.kind[column] == _TEXT)]] = True
        return np.flatnonzero(is_used)

    def _groups(self, columns: Columns, column: int, own: np.ndarray, groups: Int64s | int) -> Int64s:
        """The groups of all records, with those of the program's own records filled in."""
        filled = np.full(len(own), -1, np.int64) if isinstance(groups, int) else groups
        rows = np.flatnonzero(own & (columns.kind[column] == _TEXT))
        meanings = self._state.target_meanings(TargetKind.GROUP, columns.value[column][rows])
        filled[rows] = np.maximum(meanings, 0) - 1
        return filled


def _mistakes(kind: TargetKind, texts: pa.Array) -> Int64s:
    """Why each text can name nobody, 0 where it can; too long a text is not what the expression must give (§11.4)."""
    lengths = pc.utf8_length(texts).to_numpy()
    wrong = np.zeros(len(texts), np.int64)
    if kind is TargetKind.PARTICIPANT_ID:
        is_id = np.array([is_uuid(text) for text in texts.to_pylist()], bool)
        wrong[~is_id] = int(Outcome.PARTICIPANT_NOT_FOUND)
    wrong[lengths > LENGTH_MAX] = int(Outcome.EXPRESSION_ERROR)
    wrong[lengths == 0] = int(Outcome.TARGET_MISSING)
    return wrong
