"""Dense numbers: given once, kept, and handed to the batch that first needs them."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.registry import ActionEntry, ObjectEntry, Registry, SourceEntry
from earnbook.pipeline.store_tables import BOOK_TABLES, REGISTRY_TABLES, ObjectKind

PROGRAM = ObjectEntry(kind=ObjectKind.PROGRAM, id="p-1", key="loyalty")
ASSET = ObjectEntry(kind=ObjectKind.ASSET, id="a-1", key="PTS", scale=2, inventory_mode=2, issuance_policy=1)
RULE = ObjectEntry(kind=ObjectKind.RULE, id="r-1", key="base", program=1)
ACTION = ActionEntry(program=1, rule=1, rule_version=1, action_index=0, type=1, asset=1, bucket=1)
SOURCE = SourceEntry(name="a.csv", sha256="00", format="csv", rows=3)


def filled() -> Registry:
    registry = Registry()
    for entry in (RULE, PROGRAM, ASSET):
        registry.object_number(entry)
    registry.name_number(2, "visits")
    registry.action_number(ACTION)
    registry.add_source(SOURCE)
    return registry


def test_objects_are_numbered_per_kind_by_first_use() -> None:
    registry = filled()
    assert registry.object_number(replace(PROGRAM, id="p-2", key="second")) == 2
    assert registry.object_number(PROGRAM) == 1
    assert registry.object_number(ASSET) == 1
    assert [entry.key for entry in registry.objects(ObjectKind.PROGRAM)] == ["loyalty", "second"]
    assert registry.find_object(ObjectKind.RULE, "r-1") == 1
    assert registry.find_object(ObjectKind.RULE, "p-1") is None
    assert registry.object_entry(ObjectKind.ASSET, 1).scale == 2


def test_one_text_has_a_number_per_state_type() -> None:
    registry = filled()
    assert [registry.name_number(2, "visits"), registry.name_number(1, "visits")] == [1, 2]
    assert registry.names() == [(2, "visits"), (1, "visits")]


def test_a_new_version_of_a_rule_gets_new_action_numbers() -> None:
    registry = filled()
    assert registry.action_number(replace(ACTION, rule_version=2)) == 2
    assert registry.action_number(ACTION) == 1
    assert [entry.rule_version for entry in registry.actions()] == [1, 2]


def test_the_same_file_read_twice_is_two_sources() -> None:
    assert filled().add_source(SOURCE) == 2


def test_rows_are_handed_out_once_with_the_schema_of_their_table() -> None:
    registry = filled()
    tables = registry.take_rows(7, sources=[1])
    assert tables.keys() == set(REGISTRY_TABLES)
    assert all(tables[name].schema == BOOK_TABLES[name] for name in tables)
    assert tables["objects"].column("key").to_pylist() == ["loyalty", "PTS", "base"]
    assert tables["objects"].column("batch").to_pylist() == [7, 7, 7]
    assert tables["batch_sources"].to_pylist() == [{"batch": 7, "source": 1}]
    assert tables["actions"].to_pylist()[0] == {
        "batch": 7, "number": 1, "program": 1, "rule": 1, "rule_version": 1, "action_index": 0, "type": 1,
        "asset": 1, "bucket": 1, "key": None, "description": None,
    }  # fmt: skip
    assert all(table.num_rows == 0 for table in registry.take_rows(8).values())


def test_a_registry_of_stored_rows_gives_the_same_numbers() -> None:
    registry = filled()
    again = Registry.of_rows(registry.take_rows(1, sources=[1]))
    assert again.object_number(RULE) == 1
    assert again.name_number(2, "visits") == 1
    assert again.action_number(ACTION) == 1
    assert again.add_source(SOURCE) == 2
    rows = again.take_rows(2)
    assert [rows[name].num_rows for name in REGISTRY_TABLES] == [1, 0, 0, 0, 0, 0]


def test_stored_numbers_with_a_gap_are_refused() -> None:
    tables = filled().take_rows(1)
    tables["names"] = tables["names"].set_column(1, "number", pa.array([5], pa.int32()))
    with pytest.raises(IntegrityError, match="name number 5 of the book is out of order"):
        Registry.of_rows(tables)
