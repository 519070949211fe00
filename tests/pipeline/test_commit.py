"""Committing: all or nothing, dense, counted, sealed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from earnbook.pipeline.commit import COMMIT_STEPS, CommitRequest, commit_batch, store_pending_ruleset
from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.load import (
    Registers,
    StoredRuleset,
    load_pending_ruleset,
    load_registers,
    load_ruleset,
)
from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.store import Book, BookMode, open_book
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.store_tables import all_tables
from earnbook.pipeline.verify import verify_book
from tests.support.book_maker import DOCUMENT_SHA256, HOUR, T0, BookMaker, make_patterns, make_small_book


def registers_of(path: Path) -> Registers:
    with open_book(path, mode=BookMode.READ) as book, book.session() as connection:
        return load_registers(connection)


def row_counts(path: Path) -> dict[str, int]:
    with open_book(path, mode=BookMode.READ) as book, book.session() as connection:
        counts = {name: one_row(connection, f"SELECT count(*) FROM store.{name}") for name in all_tables()}
    return {name: row[0] for name, row in counts.items() if row is not None}


def first_batch(path: Path) -> CommitRequest:
    """A request of one event with one credit into the new book at `path`."""
    open_book(path, mode=BookMode.WRITE).close()
    maker = BookMaker(path)
    make_patterns(maker)
    maker.event("e-1", "alice", T0)
    maker.credit("alice", 100)
    return maker.request()


def test_registers_after_a_batch_are_its_last_numbers(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    make_small_book(path)
    registers = registers_of(path)
    assert replace(registers, seal="") == Registers(
        batch=3,
        log_seq=7,
        entry_seq=9,
        lot_seq=4,
        change_seq=10,
        holder=2,
        pattern=1,
        book_clock=T0 + 250 * HOUR,
        timestamp_max=T0 + 100 * HOUR,
        seal="",
        ruleset_version=1,
        ruleset_sha256=DOCUMENT_SHA256,
        state_batch=3,
    )
    assert len(registers.seal) == 64


def test_the_same_rows_give_the_same_seal_wherever_and_whenever(tmp_path: Path) -> None:
    seals = []
    for name in ("here", "there"):
        request = first_batch(tmp_path / f"{name}.duckdb")
        request = replace(request, header=replace(request.header, host=name, run_id=name, committed_at=len(name)))
        with open_book(tmp_path / f"{name}.duckdb", mode=BookMode.WRITE) as book:
            seals.append(commit_batch(book, request).registers.seal)
    assert seals[0] == seals[1]


@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_a_failure_at_any_step_leaves_the_book_before_or_after(tmp_path: Path, step: str) -> None:
    path = tmp_path / "shop.duckdb"
    make_small_book(path)
    before = row_counts(path)
    maker = BookMaker(path, batch=4, log_seq=7, entry_seq=9, change_seq=10, clock=T0 + 250 * HOUR)
    maker.event("e-7", "carol", T0 + 300 * HOUR)
    maker.rows["holders"][0]["number"] = 3

    def fail(at: str) -> None:
        if at == step:
            raise InterruptedError(at)

    with pytest.raises(InterruptedError, match=step):
        maker.commit(checkpoint=False, at_step=fail)
    committed = step == "committed"
    assert (row_counts(path) != before) == committed
    assert registers_of(path).batch == (4 if committed else 3)


@pytest.mark.parametrize("step", ["rows", "checkpoint", "commit", "committed"])
def test_a_process_that_dies_at_any_step_leaves_a_whole_book(tmp_path: Path, step: str) -> None:
    path = tmp_path / "shop.duckdb"
    script = (
        "import os, sys; from pathlib import Path; from tests.support.book_maker import *;"
        "maker = make_small_book(Path(sys.argv[1]));"
        "maker.event('e-7', 'alice', T0 + 300 * HOUR); maker.credit('alice', 5);"
        "maker.commit(at_step=lambda at: os._exit(9) if at == sys.argv[2] else None)"
    )
    died = subprocess.run([sys.executable, "-c", script, str(path), step], check=False)
    assert died.returncode == 9
    assert registers_of(path).batch == (4 if step == "committed" else 3)
    assert verify_book(path).findings == ()


def expect_refusal(path: Path, request: CommitRequest, message: str) -> None:
    before = row_counts(path)
    with open_book(path, mode=BookMode.WRITE) as book, pytest.raises(IntegrityError, match=message):
        commit_batch(book, request)
    assert row_counts(path) == before


def test_rows_that_are_not_dense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    request = first_batch(path)
    for table, column, message in (
        ("events", "log_seq", "log_seq 5 stands where 1 must stand"),
        ("movements", "entry_seq", "entry_seq 5 does not follow"),
        ("lots", "lot_seq", "lot_seq 5 stands where 1 must stand"),
        ("changes", "change_seq", "change_seq 5 stands where 1 must stand"),
        ("holders", "number", "holder number 5 stands where 1 must stand"),
    ):
        rows = request.tables[table]
        numbers = pa.array([5, *range(6, 5 + rows.num_rows)], pa.int64())
        wrong = rows.set_column(rows.schema.get_field_index(column), rows.schema.field(column), numbers)
        expect_refusal(path, replace(request, tables={**request.tables, table: wrong}), message)


def test_counts_that_break_an_identity_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    request = first_batch(path)
    for change, message in (
        ({"rows_read": 2}, "rows_read is 2, but 1 rows are accounted for"),
        ({"completed": 2}, "1 records, but 2 outcomes"),
        ({"completed": 0, "failed": 1}, "1 failed records are counted, but 0 are stored"),
        ({"late": 1}, "1 late records are counted, but 0 are stored"),
        ({"rows_read": 2, "events": 2, "completed": 2}, "2 records are counted, but 1 are stored"),
    ):
        counts = replace(request.header.counts, **change)
        expect_refusal(path, replace(request, header=replace(request.header, counts=counts)), message)


def test_a_batch_out_of_turn_or_back_in_time_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    request = first_batch(path)
    expect_refusal(path, replace(request, header=replace(request.header, batch=2)), "batch 2 does not follow batch 0")
    with open_book(path, mode=BookMode.WRITE) as book:
        commit_batch(book, request)
    counts = replace(request.header.counts, rows_read=0, events=0, completed=0)
    empty = replace(request.header, batch=2, book_clock=T0 - 1, counts=counts)
    expect_refusal(path, CommitRequest(header=empty, tables={}), "batch 2 moves the book clock back")


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    request = first_batch(path)
    expect_refusal(path, replace(request, tables={"postings": pa.table({})}), "a batch has no table postings")


def test_a_batch_without_records_is_sealed_too(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    maker = make_small_book(path)
    before = registers_of(path)
    maker.clock += HOUR
    maker.commit()
    after = registers_of(path)
    assert (after.batch, after.log_seq, after.book_clock) == (4, before.log_seq, maker.clock)
    assert after.seal != before.seal
    assert verify_book(path).findings == ()


def test_the_checkpoint_replaces_only_touched_entities(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    maker = make_small_book(path)
    maker.event("e-7", "alice", T0 + 300 * HOUR)
    maker.credit("alice", 5)
    request = maker.request()
    assert request.checkpoint is not None
    alice = {
        name: table.filter(pa.array(map(is_alice, table.to_pylist()), pa.bool_()))
        for name, table in request.checkpoint.tables.items()
    }
    touched = replace(request.checkpoint, entities=pa.array([1], pa.int64()), tables=alice)
    with open_book(path, mode=BookMode.WRITE) as book:
        commit_batch(book, replace(request, checkpoint=touched))
        assert stored_state(book) == expected_state(maker)
    assert verify_book(path).findings == ()


def test_a_pending_ruleset_comes_into_force_with_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    make_small_book(path)
    pending = StoredRuleset(version=2, sha256="22", document="{}", sources="{}")
    with open_book(path, mode=BookMode.WRITE) as book:
        store_pending_ruleset(book, replace(pending, version=3))
        store_pending_ruleset(book, pending)
        with book.session() as connection:
            assert load_pending_ruleset(connection) == pending
            in_force = load_ruleset(connection)
    assert in_force is not None
    assert (in_force.version, in_force.batch) == (1, 1)


def is_alice(row: dict[str, int]) -> bool:
    """Whether a state row is of holder 1, or of a system account."""
    if row.get("account") in (1, 2, 3):
        return True
    return row.get("holder", row.get("entity", row.get("account", 0) // 4)) == 1


def stored_state(book: Book) -> dict[str, list[str]]:
    with book.session() as connection:
        return {
            name: sorted(map(repr, connection.execute(f"SELECT * FROM store.{name}").fetchall()))
            for name in STATE_TABLES
        }


def expected_state(maker: BookMaker) -> dict[str, list[str]]:
    return {
        name: sorted(repr(tuple(row.values())) for row in table.to_pylist())
        for name, table in maker.state_tables().items()
    }
