"""What a run reads of the book before it decides."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from earnbook.ledger.pool import hash_texts
from earnbook.pipeline import load
from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_tables import ObjectKind
from tests.support.book_maker import DOCUMENT, DOCUMENT_SHA256, HOUR, ORGANIZATION, T0, BookMaker, make_small_book


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BookMaker]:
    path = tmp_path_factory.mktemp("load") / "shop.duckdb"
    return path, make_small_book(path)


@pytest.fixture
def connection(book: tuple[Path, BookMaker]) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_book(book[0], mode=BookMode.READ) as opened, opened.session() as session:
        yield session


def test_a_new_book_has_registers_of_zero(tmp_path: Path) -> None:
    with open_book(tmp_path / "new.duckdb", mode=BookMode.WRITE) as new, new.session() as session:
        assert load.load_registers(session) == load.Registers()
        assert load.load_ruleset(session) is None
        assert load.load_registry(session).objects(ObjectKind.PROGRAM) == []


def test_the_registry_and_ruleset_are_those_committed(connection: duckdb.DuckDBPyConnection) -> None:
    registry = load.load_registry(connection)
    assert [entry.key for entry in registry.objects(ObjectKind.ASSET)] == ["PTS", "CASH"]
    assert registry.names() == [(2, "visits"), (1, "vip"), (3, "city")]
    assert [entry.type for entry in registry.actions()] == [1, 2, 7, 8, 10, 1]
    expected = load.StoredRuleset(version=1, sha256=DOCUMENT_SHA256, document=DOCUMENT, sources="{}", batch=1)
    assert load.load_ruleset(connection) == expected
    assert load.load_pending_ruleset(connection) is None


def test_definition_objects_are_the_newest_history_rows(connection: duckdb.DuckDBPyConnection) -> None:
    rows = load.load_definition_objects(connection).to_pylist()
    assert [(row["kind"], row["key"], row["version"], row["snapshot"]) for row in rows] == [
        (ObjectKind.RULE, "base", 1, '{"key":"base"}')
    ]


def test_holders_are_found_by_external_id_and_by_id(connection: duckdb.DuckDBPyConnection) -> None:
    bob = str(uuid.uuid5(ORGANIZATION, "participant:bob"))
    found = load.find_holders(
        connection, external_ids=pa.array(["alice", "nobody"]), ids=pa.array([bob, str(ORGANIZATION)])
    )
    assert sorted(map(tuple, (row.values() for row in found.to_pylist()))) == [
        (bob, True, 2, 1, "bob", None),
        ("alice", False, 1, 1, "alice", None),
    ]
    assert load.find_holders(connection).num_rows == 0


def test_state_is_that_of_the_asked_holders_and_of_all_programs(
    connection: duckdb.DuckDBPyConnection, book: tuple[Path, BookMaker]
) -> None:
    everything = book[1].state_tables()
    state = load.load_state(connection, pa.array([2]), has_members=True, has_rewards=True)
    of_programs = {"program_statuses", "asset_links", "automations"}
    assert state.keys() == (STATE_TABLES.keys() | {"holders"}) - of_programs
    schemas = STATE_TABLES | {"open_lots": load.LOADED_LOTS}
    assert all(state[name].schema == schemas[name] for name in STATE_TABLES.keys() - {"schedule", *of_programs})
    assert state["holders"].column("external_id").to_pylist() == ["bob"]
    assert state["balances"].column("account").to_pylist() == [-1, 9]
    assert state["system_balances"].num_rows == everything["system_balances"].num_rows
    own = [row for row in everything["attributes"].to_pylist() if row["entity"] == 2 or row["entity"] < 0]
    assert state["attributes"].to_pylist() == own
    assert state["counters"].num_rows == 0
    assert state["open_lots"].column("lot_seq").to_pylist() == [4]
    assert state["enrollments"].to_pylist() == [{"holder": 2, "program": 1, "status": 1}]


def test_state_of_holders_alone_has_nothing_of_programs(connection: duckdb.DuckDBPyConnection) -> None:
    everything = load.load_state(connection, pa.array([2]), has_rewards=True)
    state = load.load_state(connection, pa.array([2]), has_programs=False, has_rewards=True)
    assert state.keys() == everything.keys()
    assert state["balances"].column("account").to_pylist() == [9]
    assert state["system_balances"].num_rows == state["budgets"].num_rows == 0
    for name in ("counters", "tags", "attributes"):
        own = [row for row in everything[name].to_pylist() if row["entity"] > 0]
        assert state[name].to_pylist() == own
    assert all(row["holder"] > 0 for row in state["reward_counts"].to_pylist())
    assert state["open_lots"].equals(everything["open_lots"])


def test_state_of_nobody_is_that_of_the_programs(connection: duckdb.DuckDBPyConnection) -> None:
    state = load.load_state(connection, pa.array([], pa.int64()))
    assert state["balances"].column("account").to_pylist() == [-1]
    assert state["open_lots"].num_rows == 0


def test_due_holders_have_something_due_at_or_before_the_time(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    open_book(path, mode=BookMode.WRITE).close()
    maker = BookMaker(path)
    maker.event("e-1", "alice", T0, pattern=0)
    maker.credit("alice", 100, expires_at=T0 + 20 * HOUR)
    maker.event("e-2", "bob", T0, pattern=0)
    maker.credit("bob", 100, matures_at=T0 + 10 * HOUR)
    maker.event("e-3", "carol", T0, pattern=0)
    maker.credit("carol", 100)
    maker.commit()
    with open_book(path, mode=BookMode.READ) as opened, opened.session() as session:
        found = [load.find_due_holders(session, T0 + hours * HOUR).to_pylist() for hours in (9, 10, 19, 20, 999)]
    assert found == [[], [2], [2], [1, 2], [1, 2]]


def test_keys_are_found_with_what_duplicates_are_compared_by(connection: duckdb.DuckDBPyConnection) -> None:
    keys = pa.array(["e-5", "fund-1", "e-2", "never"])
    events = load.find_event_keys(connection, pa.array(hash_texts(keys)))
    assert events.column("idempotency_key").to_pylist() == ["e-2", "e-5"]
    assert events.to_pylist()[0] | {"key_hash": 0} == {
        "key_hash": 0,
        "program": 1,
        "idempotency_key": "e-2",
        "log_seq": 2,
        "event_timestamp": T0 + HOUR,
        "given": 1,
        "external_id": "bob",
        "given_participant": None,
        "recipient_external_id": None,
        "given_recipient": None,
        "event_data": '{"type":"purchase","amount":5.10}',
    }
    operations = load.find_operation_keys(connection, pa.array(hash_texts(keys)))
    assert [(row["type"], row["idempotency_key"], row["log_seq"]) for row in operations.to_pylist()] == [
        (10, "fund-1", 3)
    ]


def test_keys_that_nobody_used_are_not_found(connection: duckdb.DuckDBPyConnection) -> None:
    hashes = pa.array(hash_texts(pa.array(["never"])))
    assert load.find_event_keys(connection, hashes).num_rows == 0
    assert load.find_operation_keys(connection, hashes).num_rows == 0


def test_stored_rejects_are_found_by_the_hash_of_their_input(connection: duckdb.DuckDBPyConnection) -> None:
    rows = load.stored_rejects(connection, ["ab" * 32, "cd" * 32]).to_pylist()
    assert rows == [{"sha256": "ab" * 32, "source_row": 3, "reason": 1}]
    assert load.stored_rejects(connection, ["cd" * 32]).num_rows == 0


def test_a_checkpoint_that_is_behind_is_brought_forward_once(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    maker = make_small_book(path, checkpoint=False)
    with open_book(path, mode=BookMode.WRITE) as opened, opened.session() as session:
        assert load.load_registers(session).state_batch == 1
        assert load.bring_checkpoint_forward(session)
        assert not load.bring_checkpoint_forward(session)
        assert load.load_registers(session).state_batch == 3
        for name, table in maker.state_tables().items():
            rows = session.execute(f"SELECT * FROM store.{name}").fetchall()
            assert sorted(map(repr, rows)) == sorted(repr(tuple(row.values())) for row in table.to_pylist()), name
