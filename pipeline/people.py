"""Persons: the distinct holders that the records and rules of a run name, as dense integers for the kernel.

A person is an external id, a participant id (UUID), a group key or a group id (UUID); each kind is a namespace of its
own. The kernel maps persons to slots; an external id may become a new holder, an id only ever means the holder whose id
it is. So each id points to the person of its external id or key where one is known (`origin`), also when that holder is
created later in the same run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Int64s
from earnbook.pipeline.intake import UUID_PATTERN
from earnbook.pipeline.records import Given
from earnbook.rules.definitions_ids import object_id
from earnbook.rules.models_fields import is_uuid

NOBODY = -1
"""Origin of an external id or a group key: it is itself."""

# The pool holds external ids as they are (the mark doubled where one begins with it), participant ids behind a mark,
# group keys and ids behind the mark and a letter that no UUID begins with: no two can be the same text. A group's key
# of UUID form, which is no id, has a letter of its own.
_MARK = "\x00"
_GROUP_MARK = "\x00g"
_UUID_KEY_MARK = "\x00k"


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
        self._groups: dict[int, str] = {}
        self._given_ids: dict[int, str] = {}
        self._uuid_keys: set[int] = set()
        self._own_ids: dict[int, str] = {}
        self._id_persons: dict[str, int] = {}
        self._origins: dict[int, int] = {}
        self._known_ids: dict[str, int] = {}
        self._known_group_ids: dict[str, int] = {}
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
                    self._ids[int(person)] = text = self._pool.text(int(person))[1:]
                    self._id_persons[text] = int(person)
        return persons

    def name_external_ids(self, texts: pa.Array) -> Int64s:
        """The persons of external ids."""
        return self._number(texts, np.zeros(len(texts), np.int8), recipient=False)

    def name_participant_ids(self, texts: pa.Array) -> Int64s:
        """The persons of participant ids, texts of UUID form."""
        return self._number(texts, np.full(len(texts), int(Given.PARTICIPANT_ID), np.int8), recipient=False)

    def name_groups(self, texts: pa.Array) -> Int64s:
        """The persons of groups by key or id, -1 for null; a text of UUID form is an id (§2.2)."""
        if texts.null_count == len(texts):
            return np.full(len(texts), -1, np.int64)
        before = len(self._pool)
        is_id = pc.match_substring_regex(texts, UUID_PATTERN)
        plain = pc.if_else(is_id, pc.ascii_lower(texts), texts)
        persons = self._pool.intern(_behind(_GROUP_MARK, plain))
        for person, text in enumerate(self._pool.all_texts(before).to_pylist(), before):
            self._groups[person] = text[len(_GROUP_MARK) :]
        return persons

    def name_group_keys(self, texts: pa.Array) -> Int64s:
        """The persons of groups by key, also where a key has UUID form: a new group may have such a one."""
        before = len(self._pool)
        given = texts.to_pylist()
        marks = [_UUID_KEY_MARK if is_uuid(text) else _GROUP_MARK for text in given]
        persons = self._pool.intern(pa.array([mark + text for mark, text in zip(marks, given, strict=True)]))
        for person, text, mark in zip(persons.tolist(), given, marks, strict=True):
            if person >= before:
                self._groups[person] = text
                if mark == _UUID_KEY_MARK:
                    self._uuid_keys.add(person)
        return persons

    def _is_group_id(self, person: int) -> bool:
        return person not in self._uuid_keys and is_uuid(self._groups[person])

    @property
    def has_ids(self) -> bool:
        """Whether any person is named by id, so that origins matter."""
        return bool(self._ids) or any(self._is_group_id(person) for person in self._groups)

    def external_ids(self, first: int) -> tuple[Int64s, pa.Array]:
        """The persons from number `first` on that are external ids, and these."""
        is_external = np.ones(len(self) - first, bool)
        others = [person - first for kind in (self._ids, self._groups) for person in kind if person >= first]
        is_external[others] = False
        persons = first + np.flatnonzero(is_external)
        return persons, _unmark(self._pool.texts(persons))

    def ids(self, first: int) -> tuple[Int64s, pa.Array]:
        """The persons from number `first` on that are participant ids, and these as lower-case text."""
        return _sorted_rows((person, text) for person, text in self._ids.items() if person >= first)

    def group_keys(self, first: int) -> tuple[Int64s, pa.Array]:
        """The persons from number `first` on that are group keys, and these."""
        rows = self._groups.items()
        return _sorted_rows(
            (person, text) for person, text in rows if person >= first and not self._is_group_id(person)
        )

    def group_ids(self, first: int) -> tuple[Int64s, pa.Array]:
        """The persons from number `first` on that are group ids, and these as lower-case text."""
        rows = self._groups.items()
        return _sorted_rows((person, text) for person, text in rows if person >= first and self._is_group_id(person))

    def texts(self, persons: Int64s) -> pa.Array:
        """The external ids, or group keys, of persons."""
        return _unmark(self._pool.texts(persons))

    def is_group(self, persons: Int64s) -> np.ndarray:
        """Whether each person is a group."""
        return (
            np.isin(persons, np.array(list(self._groups), np.int64)) if self._groups else np.zeros(len(persons), bool)
        )

    def set_origin(self, person: int, external_id: str) -> None:
        """Say whose id a participant id is, as the book knows it; the external id becomes a person if it is not one."""
        self._origins[person] = int(self._pool.intern(_escape(pa.array([external_id], pa.string())))[0])

    def give_id(self, person: int, text: str) -> list[int]:
        """An external id has an id of its own (§2.3), given at creation; returns the persons that no longer mean it."""
        derived = object_id(self._organization_id, "participant", self.texts(np.array([person]))[0].as_py())
        self._own_ids[person] = text
        if self._known_ids.get(derived) == person:
            del self._known_ids[derived]
        self._known_ids[text] = person
        former = self._id_persons.get(derived)
        return [] if former is None or derived == text else [former]

    def participant_of(self, person: int) -> tuple[str, str]:
        """External id and id (§2.3) of the participant that a person, an external id, is or would be."""
        external_id = self.texts(np.array([person]))[0].as_py()
        return external_id, self._own_ids.get(person) or object_id(self._organization_id, "participant", external_id)

    def own_ids(self, persons: Int64s) -> pa.Array:
        """The ids that were given to external ids at creation; null where the id follows from the external id."""
        return pa.array([self._own_ids.get(person) for person in persons.tolist()], pa.string())

    def set_group_origin(self, person: int, key: str) -> None:
        """Say whose id a group id is, as the book knows it; the key becomes a person if it is not one."""
        owner = int(self.name_group_keys(pa.array([key], pa.string()))[0])
        self._origins[person] = owner
        self._given_ids[owner] = self._groups[person]

    def group_of(self, person: int) -> tuple[str, str]:
        """Id and key of the group that a person of the book's groups is (§11.1)."""
        key = self._groups[person]
        if self._is_group_id(person):
            owner = self._origins.get(person)
            person = self._known_group_ids[key] if owner is None else owner
            key = self._groups[person]
        return self._given_ids.get(person) or object_id(self._organization_id, "group", key), key

    def origins(self) -> Int64s:
        """For each person: NOBODY for an external id or a group key; for an id the person of its external id or key, or
        itself while nobody has that id (then it can never be created)."""
        origins = np.full(len(self), NOBODY, np.int64)
        if self.has_ids:
            self._identify()
        for person, text in self._ids.items():
            found = self._origins.get(person)
            origins[person] = found if found is not None else self._known_ids.get(text, person)
        for person, text in self._groups.items():
            if self._is_group_id(person):
                found = self._origins.get(person)
                origins[person] = found if found is not None else self._known_group_ids.get(text, person)
        return origins

    def _identify(self) -> None:
        """The ids that external ids and group keys of this run have or would get (§2.3); only needed where ids are
        given."""
        for kind, known, (persons, texts) in (
            ("participant", self._known_ids, self.external_ids(self._identified)),
            ("group", self._known_group_ids, self.group_keys(self._identified)),
        ):
            for person, text in zip(persons.tolist(), texts.to_pylist(), strict=True):
                own_id = self._own_ids.get(person) if kind == "participant" else None
                known[own_id or object_id(self._organization_id, kind, text)] = person
        self._identified = len(self)


def _sorted_rows(rows: Iterable[tuple[int, str]]) -> tuple[Int64s, pa.Array]:
    """Persons in ascending order and their texts."""
    found = sorted(rows)
    return np.array([person for person, _ in found], np.int64), pa.array([text for _, text in found], pa.string())


def _mark(texts: pa.Array, marked: np.ndarray) -> pa.Array:
    """The texts with participant ids (canonical lower case) behind the mark, external ids escaped."""
    ids = _behind(_MARK, pc.ascii_lower(texts))
    escaped = pc.if_else(pc.starts_with(texts, _MARK), _behind(_MARK, texts), texts)
    return pc.if_else(pa.array(marked), ids, escaped)


def _behind(mark: str, texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(mark, texts.type), texts, "")


def _escape(texts: pa.Array) -> pa.Array:
    if not pc.any(pc.starts_with(texts, _MARK)).as_py():
        return texts
    return _mark(texts, np.zeros(len(texts), bool))


def _unmark(texts: pa.Array) -> pa.Array:
    if not pc.any(pc.starts_with(texts, _MARK)).as_py():
        return texts
    return pa.array([_plain(text) for text in texts.to_pylist()], pa.string())


def _plain(text: str) -> str:
    if text.startswith(_MARK * 2):
        return text[1:]
    return text[len(_GROUP_MARK) :] if text.startswith((_GROUP_MARK, _UUID_KEY_MARK)) else text
