"""Persons: how holders are named, and what of them the book knows."""

from __future__ import annotations

import pyarrow as pa

from earnbook.pipeline.people import NOBODY, People
from earnbook.rules.definitions_ids import object_id

ORGANIZATION = "247de422-21bc-551b-951a-d6e6f805e3c1"
ID = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"


def test_kinds_of_names_never_meet() -> None:
    people = People(ORGANIZATION)
    external = people.name_external_ids(pa.array(["smith", ID, "\x00gsmith", "\x00" + ID]))
    ids = people.name_participant_ids(pa.array([ID.upper()]))
    groups = people.name_groups(pa.array(["smith", ID.upper(), "\x00smith"]))
    assert [*external, *ids, *groups] == list(range(8))
    assert people.texts(external).to_pylist() == ["smith", ID, "\x00gsmith", "\x00" + ID]
    assert people.texts(groups).to_pylist() == ["smith", ID, "\x00smith"]
    assert people.is_group(ids).tolist() == [False]
    assert people.is_group(groups).tolist() == [True, True, True]


def test_every_kind_is_listed_from_a_number_on() -> None:
    people = People(ORGANIZATION)
    people.name_groups(pa.array(["early"]))
    people.name_external_ids(pa.array(["alice", "bob"]))
    people.name_participant_ids(pa.array([ID]))
    people.name_groups(pa.array(["smith", ID]))
    assert people.external_ids(2)[0].tolist() == [2]
    assert people.external_ids(2)[1].to_pylist() == ["bob"]
    assert people.ids(1)[1].to_pylist() == [ID]
    assert people.group_keys(1)[0].tolist() == [4]
    assert people.group_ids(0)[0].tolist() == [5]


def test_an_id_means_the_group_whose_key_gives_it() -> None:
    people = People(ORGANIZATION)
    own = object_id(ORGANIZATION, "group", "smith")
    by_id, by_key, other = people.name_groups(pa.array([own, "smith", ID])).tolist()
    assert people.origins().tolist() == [by_key, NOBODY, other]
    assert people.group_of(by_id) == people.group_of(by_key) == (own, "smith")


def test_the_book_may_know_a_group_by_a_given_id() -> None:
    people = People(ORGANIZATION)
    (by_id,) = people.name_groups(pa.array([ID])).tolist()
    people.set_group_origin(by_id, "jones")
    assert people.texts(people.origins()[[by_id]]).to_pylist() == ["jones"]
    assert people.group_of(by_id) == (ID, "jones")


def test_a_group_key_is_no_external_id() -> None:
    people = People(ORGANIZATION)
    people.name_groups(pa.array(["alice"]))
    people.name_participant_ids(pa.array([object_id(ORGANIZATION, "participant", "alice")]))
    assert people.origins().tolist() == [NOBODY, 1]
