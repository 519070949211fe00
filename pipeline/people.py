"""Persons: the distinct participants that the records of a run name, as dense integers for the kernel.

A person is an external id, or a participant id (UUID). The kernel maps persons to slots; an external id may become a
new holder, a participant id only ever means the holder whose id it is. So each id points to the person of its external
id where one is known (`origin`), also when that participant is created later in the same run.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Int64s
from earnbook.pipeline.records import Given
from earnbook.rules.definitions_ids import object_id

NOBODY = -1
"""Origin of an external id: it is itself."""

# The pool holds external ids as they are and participant ids behind a mark; an external id that begins with the mark
# gets it doubled, so that the two can never be the same text.
_MARK = "\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The persons that the records of a batch name, by record; -1 where there is none."""

    participant: Int64s
    recipient: Int64s


class People:
    """The persons of a run. Numbers are dense from 0 and never change."""

    def __init__(self, organization_id: str) -> None:
        self._organization_id = organization_id
        self._pool = StringPool()
        self._ids: dict[int, str] = {}
        self._origins: dict[int, int] = {}
        self._known_ids: dict[str, int] = {}
        self._identified = 0

    def __len__(self) -> int:
        return len(self._pool)

    def name(self, records: pa.Table) -> Named:
        """The persons of a batch's records; new ones get the next numbers."""
        given = records.column("given").to_numpy()
        return Named(
            participant=self._number(records.column("participant").combine_chunks(), given, recipient=False),
            recipient=self._number(records.column("recipient").combine_chunks(), given, recipient=True),
        )

    def _number(self, texts: pa.Array, given: Int64s, *, recipient: bool) -> Int64s:
        """The person of each record's participant (or recipient) as given; -1 where there is none."""
        if texts.null_count == len(texts):
            return np.full(len(texts), -1, np.int64)
        by_id = int(Given.RECIPIENT_ID if recipient else Given.PARTICIPANT_ID)
        marked = (given & by_id) != 0
        if marked.any() or pc.any(pc.starts_with(texts, _MARK)).as_py():
            texts = _mark(texts, marked)
        before = len(self._pool)
        persons = self._pool.intern(texts)
        if marked.any():
            for person in np.unique(persons[marked]):
                if person >= before:
                    self._ids[int(person)] = self._pool.text(int(person))[1:]
        return persons

    def external_ids(self, first: int) -> tuple[Int64s, pa.Array]:
        """The persons from number `first` on that are external ids, and these."""
        persons = np.array([p for p in range(first, len(self)) if p not in self._ids], np.int64) if self._ids else (
            np.arange(first, len(self), dtype=np.int64)
        )  # fmt: skip
        return persons, _unmark(self._pool.texts(persons))

    def ids(self, first: int) -> tuple[Int64s, pa.Array]:
        """The persons from number `first` on that are participant ids, and these as lower-case text."""
        persons = sorted(person for person in self._ids if person >= first)
        return np.array(persons, np.int64), pa.array([self._ids[person] for person in persons], pa.string())

    def texts(self, persons: Int64s) -> pa.Array:
        """The external ids of persons."""
        return _unmark(self._pool.texts(persons))

    def set_origin(self, person: int, external_id: str) -> None:
        """Say whose id a participant id is, as the book knows it; the external id becomes a person if it is not one."""
        self._origins[person] = int(self._pool.intern(_escape(pa.array([external_id], pa.string())))[0])

    def origins(self) -> Int64s:
        """For each person: NOBODY for an external id; for a participant id the person of its external id, or itself
        while no participant has that id (then it can never be created)."""
        origins = np.full(len(self), NOBODY, np.int64)
        if self._ids:
            self._identify()
        for person, text in self._ids.items():
            found = self._origins.get(person)
            origins[person] = found if found is not None else self._known_ids.get(text, person)
        return origins

    def _identify(self) -> None:
        """The ids that external ids of this run have or would get (§2.3); only needed where ids are given."""
        persons, texts = self.external_ids(self._identified)
        for person, external_id in zip(persons.tolist(), texts.to_pylist(), strict=True):
            self._known_ids[object_id(self._organization_id, "participant", external_id)] = person
        self._identified = len(self)


def _mark(texts: pa.Array, marked: np.ndarray) -> pa.Array:
    """The texts with participant ids (canonical lower case) behind the mark, external ids escaped."""
    values = texts.to_pylist()
    return pa.array(
        [
            None if value is None else _MARK + str(UUID(value)) if is_id else value.replace(_MARK, _MARK * 2, 1)
            if value.startswith(_MARK) else value
            for value, is_id in zip(values, marked.tolist(), strict=True)
        ],
        pa.string(),
    )  # fmt: skip


def _escape(texts: pa.Array) -> pa.Array:
    return _mark(texts, np.zeros(len(texts), bool))


def _unmark(texts: pa.Array) -> pa.Array:
    if not pc.any(pc.starts_with(texts, _MARK * 2)).as_py():
        return texts
    return pa.array([text[1:] if text.startswith(_MARK * 2) else text for text in texts.to_pylist()], pa.string())
