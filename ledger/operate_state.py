"""Operations on participants, programs and state, carried out in Python (§13, §15.3).

Each verb takes what it is about as slots, columns of the cells and text codes, and says whether it changed anything; a
change that changes nothing writes none. Outcomes that only the state can tell are raised by the callers. All writing
goes through `operate_write`; the caller has made room.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import join_words, split_words
from earnbook.ledger.operate_write import create_holder, note, store
from earnbook.ledger.schema import (
    TIME_NONE,
    ChangeOperation,
    EntityType,
    HolderField,
    Kind,
    StateType,
    Status,
)
from earnbook.ledger.state import State, text_of
from earnbook.ledger.texts import Texts

_ABSENT, _INT, _NUMBER, _TEXT = (int(kind) for kind in (Kind.ABSENT, Kind.INT, Kind.NUMBER, Kind.TEXT))
_SET, _DELETE, _ADD, _REMOVE = (
    int(operation)
    for operation in (ChangeOperation.SET, ChangeOperation.DELETE, ChangeOperation.ADD, ChangeOperation.REMOVE)
)
_TAG, _COUNTER, _ATTRIBUTE = int(StateType.TAG), int(StateType.COUNTER), int(StateType.ATTRIBUTE)
_ENROLLMENT, _PROGRAM, _LINK = int(StateType.ENROLLMENT), int(StateType.PROGRAM), int(StateType.ASSET_LINK)
_STATUS_FIELD = int(HolderField.STATUS)
_NO_WINDOW = int(TIME_NONE)
_WORD = 64
_STATE_OF = {int(EntityType.PARTICIPANT): int(StateType.PARTICIPANT), int(EntityType.GROUP): int(StateType.GROUP)}


class StateVerbs:
    """What operations do to holders and programs of one State; `pool` has the texts of the run."""

    def __init__(self, state: State, pool: Texts) -> None:
        self._state = state
        self._pool = pool

    # --- holders ----------------------------------------------------------------------------------------------------

    def create(self, person: int, entity_type: EntityType, status: Status) -> int:
        """A new holder; the change row of its status is its creation. Returns its slot."""
        slot = int(create_holder(self._state.handles, person, int(entity_type), int(status)))
        note(self._state.handles, slot, _STATE_OF[int(entity_type)], _STATUS_FIELD, _SET, _INT, int(status))
        return slot

    def give_id(self, person: int, slot: int) -> None:
        """A person that is an id means a holder from now on."""
        store(self._state.handles, at.PERSON_SLOTS, person, slot)

    def forget_id(self, person: int) -> None:
        """A person that is an id means nobody any more."""
        store(self._state.handles, at.PERSON_ORIGINS, person, person)

    def set_status(self, slot: int, status: Status) -> bool:
        """Set the status of a holder."""
        state = self._state
        if state.cells.status[slot] == status:
            return False
        kind = int(state.bytes_of(at.HOLDER_KINDS)[slot, 0])
        store(state.handles, at.STATUS, slot, int(status))
        note(state.handles, slot, _STATE_OF[kind], _STATUS_FIELD, _SET, _INT, int(status))
        return True

    def set_text(self, slot: int, field: HolderField, code: int) -> bool:
        """Set a text of a holder: a field of a participant's profile, or a group's name."""
        state = self._state
        texts = state.table(at.PROFILES)
        column = int(field) - 1
        if texts[slot, column] == code + 1:
            return False
        kind = int(state.bytes_of(at.HOLDER_KINDS)[slot, 0])
        store(state.handles, at.PROFILES, slot * texts.shape[1] + column, code + 1)
        note(state.handles, slot, _STATE_OF[kind], int(field), _SET, _TEXT, code)
        return True

    def enroll(self, slot: int, program: int, status: Status) -> bool:
        """Set the status of an enrollment, which is made where there is none."""
        state = self._state
        enrollments = state.bytes_of(at.ENROLLMENTS)
        if enrollments[slot, program] == status:
            return False
        store(state.handles, at.ENROLLMENTS, slot * enrollments.shape[1] + program, int(status))
        note(state.handles, slot, _ENROLLMENT, program + 1, _SET, _INT, int(status))
        return True

    # --- programs ---------------------------------------------------------------------------------------------------

    def set_program_status(self, program: int, status: Status) -> bool:
        """Set the status of a program (§7.1)."""
        state = self._state
        if state.table(at.PROGRAMS)[program, at.PROGRAM_STATUS] == status:
            return False
        store(state.handles, at.PROGRAMS, program * at.PROGRAM_COLUMNS + at.PROGRAM_STATUS, int(status))
        store(state.handles, at.STATUS, program, int(status))
        note(state.handles, program, _PROGRAM, 0, _SET, _INT, int(status))
        return True

    def is_linked(self, program: int, asset: int) -> bool:
        """Whether a program may use an asset (§7.4)."""
        return bool(self._state.table(at.LINKS)[program, asset])

    def set_link(self, program: int, asset: int, *, linked: bool) -> None:
        """Link an asset to a program that it is not linked to, or unlink it."""
        state = self._state
        store(state.handles, at.LINKS, program * state.table(at.LINKS).shape[1] + asset, int(linked))
        number = int(state.table(at.ASSETS)[asset, at.ASSET_NUMBER])
        note(state.handles, program, _LINK, number, _ADD if linked else _REMOVE, _ABSENT, 0)

    # --- tags -------------------------------------------------------------------------------------------------------

    def has_tag(self, slot: int, column: int) -> bool:
        """Whether an entity has a tag."""
        return bool(int(self._state.cells.tags[slot, column // _WORD]) >> (column % _WORD) & 1)

    def set_tag(self, slot: int, column: int, name: int, *, present: bool) -> bool:
        """Add or remove a tag; `name` is its number in the book's names."""
        state = self._state
        if self.has_tag(slot, column) == present:
            return False
        tags = state.table(at.TAGS)
        word = int(state.cells.tags[slot, column // _WORD]) ^ (1 << column % _WORD)
        low, _ = split_words(word)
        store(state.handles, at.TAGS, slot * tags.shape[1] + column // _WORD, low)
        note(state.handles, slot, _TAG, name, _ADD if present else _REMOVE, _ABSENT, 0)
        return True

    def tags_of(self, slot: int) -> list[int]:
        """The columns of the tags of an entity, ascending."""
        words = self._state.cells.tags[slot].tolist()
        return [w * _WORD + bit for w, word in enumerate(words) if word for bit in range(_WORD) if word >> bit & 1]

    # --- attributes -------------------------------------------------------------------------------------------------

    def set_attribute(self, slot: int, column: int, name: int, code: int) -> bool:
        """Set an attribute to a text; the same text in another form is no change."""
        state = self._state
        kind, value, scale = self._attribute(slot, column)
        if kind == _TEXT and value == code:
            return False
        if kind not in (_TEXT, _ABSENT) and text_of(kind, value, scale, self._pool) == self._pool.text(code):
            return False
        self._store_attribute(slot, column, _TEXT, code)
        note(state.handles, slot, _ATTRIBUTE, name, _SET, _TEXT, code)
        return True

    def remove_attribute(self, slot: int, column: int, name: int) -> bool:
        """Remove an attribute."""
        if self._attribute(slot, column)[0] == _ABSENT:
            return False
        self._store_attribute(slot, column, _ABSENT, 0)
        note(self._state.handles, slot, _ATTRIBUTE, name, _DELETE, _ABSENT, 0)
        return True

    def _attribute(self, slot: int, column: int) -> tuple[int, int, int]:
        cells = self._state.cells
        cell = cells.attribute_kind[slot, column], cells.attribute_value[slot, column]
        return int(cell[0]), int(cell[1]), int(cells.attribute_scale[slot, column])

    def _store_attribute(self, slot: int, column: int, kind: int, value: int) -> None:
        state = self._state
        cell = slot * state.table(at.ATTRIBUTE_VALUE).shape[1] + column
        for table, part in ((at.ATTRIBUTE_KIND, kind), (at.ATTRIBUTE_VALUE, value), (at.ATTRIBUTE_SCALE, 0)):
            store(state.handles, table, cell, part)

    # --- counters ---------------------------------------------------------------------------------------------------

    def set_counter(
        self, slot: int, column: int, name: int, number: tuple[int, int], *, now: int, reset_after: int | None
    ) -> bool:
        """Set a counter to a number (mantissa, decimals); its window restarts (§13.2).

        `reset_after` is the window's length in microseconds, TIME_NONE to remove it, None to keep what there is.
        """
        cells = self._state.cells
        old_scale = int(cells.counter_scale[slot, column])
        old_start, old_length = int(cells.counter_reset_at[slot, column]), int(cells.counter_reset_after[slot, column])
        if old_scale < 0:
            old_start = old_length = _NO_WINDOW
        length = old_length if reset_after is None else reset_after
        start = _NO_WINDOW if length == _NO_WINDOW else max(old_start, now)
        mantissa, decimals = number
        low, high = split_words(mantissa)
        is_same = (
            old_scale == decimals
            and join_words(int(cells.counter_low[slot, column]), int(cells.counter_high[slot, column])) == mantissa
        )
        if is_same and (old_start, old_length) == (start, length):
            return False
        self._store_counter(slot, column, low, high, decimals, start, length)
        self._note_counter(slot, name, _SET, low, high, decimals, start, length)
        return True

    def delete_counter(self, slot: int, column: int, name: int) -> bool:
        """Delete a counter with its window."""
        if self._state.cells.counter_scale[slot, column] < 0:
            return False
        self._store_counter(slot, column, 0, 0, -1, 0, 0)
        note(self._state.handles, slot, _COUNTER, name, _DELETE, _ABSENT, 0)
        return True

    def _store_counter(
        self, slot: int, column: int, low: int, high: int, decimals: int, start: int, length: int
    ) -> None:
        state = self._state
        cell = slot * state.table(at.COUNTER_LOW).shape[1] + column
        parts: Iterable[tuple[int, int]] = (
            (at.COUNTER_LOW, low),
            (at.COUNTER_HIGH, high),
            (at.COUNTER_SCALE, decimals),
            (at.COUNTER_RESET_AT, start),
            (at.COUNTER_RESET_AFTER, length),
        )
        for table, part in parts:
            store(state.handles, table, cell, part)

    def _note_counter(
        self, slot: int, name: int, operation: int, low: int, high: int, decimals: int, start: int, length: int
    ) -> None:
        state = self._state
        row = note(state.handles, slot, _COUNTER, name, operation, _NUMBER, low)
        state.table(at.CHANGES)[9:13, row] = np.array((high, decimals, start, length), np.int64)
