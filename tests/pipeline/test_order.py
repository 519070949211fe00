"""Idempotency: duplicates and conflicts within a run and against the book (§3.4)."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnbook.pipeline.order import Deduplicated, SeenKeys, canonical_payload, drop_duplicates
from earnbook.pipeline.records import ORIGINALS, Reject, RejectReason
from earnbook.pipeline.stage import Staged
from tests.support.staging import event, fund, records_of, stage, write_lines


def staged_rows(tmp_path: Path, *rows: dict[str, object]) -> Staged:
    return stage(write_lines(tmp_path / "a.ndjson", list(rows)))


def one_batch(staged: Staged, originals: pa.Table | None = None) -> Deduplicated:
    (batch,) = staged.batches(1_000)
    return drop_duplicates(batch, SeenKeys(staged.repeated_hashes), first_log_seq=100, originals=originals)


def originals_of(staged: Staged, first_log_seq: int = 1) -> pa.Table:
    (batch,) = staged.batches(1_000)
    numbers = pa.array(range(first_log_seq, first_log_seq + len(batch)), pa.int64())
    return batch.select([name for name in ORIGINALS.names if name != "log_seq"]).append_column("log_seq", numbers)


def test_the_same_key_and_payload_is_a_duplicate(tmp_path: Path) -> None:
    same = event(event_timestamp="2026-01-31T13:00:00+01:00", program_id="3a37bb6a-dfc8-50ba-8532-fadfaf037bdb")
    same["event_data"] = {"amount": 5.0, "type": "purchase"}
    result = one_batch(staged_rows(tmp_path, event(), same, event(color="red"), event(idempotency_key="e-2")))
    assert result.records["source_row"].to_pylist() == [1, 4]
    assert (result.duplicates, result.conflicts) == (2, ())


@pytest.mark.parametrize(
    "other",
    [
        {"event_data": {"type": "purchase", "amount": 6}},
        {"event_data": {"type": "purchase", "amount": "5"}},
        {"external_id": "bob"},
        {"recipient_external_id": "bob"},
        {"event_timestamp": "2026-01-31T12:00:00.000001Z"},
    ],
)
def test_the_same_key_with_another_payload_is_a_conflict(tmp_path: Path, other: dict[str, object]) -> None:
    result = one_batch(
        staged_rows(
            tmp_path, event(idempotency_key="x", event_timestamp="2026-01-01T00:00:00Z"), event(), event(**other)
        )
    )
    assert result.records["source_row"].to_pylist() == [1, 2]
    (conflict,) = result.conflicts
    assert (conflict.reason, conflict.field) == (RejectReason.IDEMPOTENCY_CONFLICT, "idempotency_key")
    assert (conflict.source_row, conflict.original_log_seq) == (3, 101)
    assert "record 101" in conflict.message
    assert "--on-conflict ignore" in conflict.message
    assert json.loads(conflict.raw)["idempotency_key"] == "e-1"
    assert result.duplicates == 0


def test_participant_id_and_external_id_are_different_payloads(tmp_path: Path) -> None:
    uuid = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
    staged = staged_rows(tmp_path, event(external_id=uuid), event(external_id=..., participant_id=uuid))
    assert len(one_batch(staged).conflicts) == 1


def test_the_first_in_log_order_is_the_original(tmp_path: Path) -> None:
    early = event(event_timestamp="2026-01-01T00:00:00Z")
    result = one_batch(staged_rows(tmp_path, event(), early))
    assert result.records["source_row"].to_pylist() == [2]
    assert [conflict.source_row for conflict in result.conflicts] == [1]


def test_keys_are_scoped_by_program_kind_and_type(tmp_path: Path) -> None:
    rows = [event(), event(program_id="partner"), fund(idempotency_key="e-1"), fund(idempotency_key="e-1", type="burn")]
    rows.append(fund(idempotency_key="e-1", amount=100))
    result = one_batch(staged_rows(tmp_path, *rows))
    assert result.records["source_row"].to_pylist() == [1, 2, 3, 4]
    assert result.duplicates == 1


def test_a_repeat_in_a_later_batch_of_the_run_is_found(tmp_path: Path) -> None:
    rows = [event(), event(idempotency_key="e-2"), event(idempotency_key="e-3"), event(), event(external_id="bob")]
    staged = staged_rows(tmp_path, *rows)
    seen = SeenKeys(staged.repeated_hashes)
    next_log_seq = 7
    kept: list[int] = []
    conflicts: list[Reject] = []
    for batch in staged.batches(2):
        result = drop_duplicates(batch, seen, first_log_seq=next_log_seq)
        next_log_seq += len(result.records)
        kept += result.records["source_row"].to_pylist()
        conflicts += result.conflicts
    assert kept == [1, 2, 3]
    assert [(conflict.source_row, conflict.original_log_seq) for conflict in conflicts] == [(5, 7)]
    assert len(seen.records) == 1


def test_the_same_files_twice_post_nothing_the_second_time(tmp_path: Path) -> None:
    staged = staged_rows(tmp_path, event(), event(idempotency_key="e-2", event_data={"a": None}), fund())
    result = one_batch(staged, originals_of(staged))
    assert (len(result.records), result.duplicates, result.conflicts) == (0, 3, ())


def test_a_record_of_the_book_is_the_original(tmp_path: Path) -> None:
    book = originals_of(staged_rows(tmp_path, event(), event(idempotency_key="e-2")), first_log_seq=41)
    other = event(idempotency_key="e-2", external_id="bob")
    written_otherwise = event(event_data={"amount": 5.0, "type": "purchase"})
    result = one_batch(staged_rows(tmp_path, other, written_otherwise, event(idempotency_key="e-3")), book)
    assert result.records["idempotency_key"].to_pylist() == ["e-3"]
    assert result.duplicates == 1
    assert [conflict.original_log_seq for conflict in result.conflicts] == [42]


def test_equal_hashes_of_different_keys_are_no_repeat(tmp_path: Path) -> None:
    staged = staged_rows(tmp_path, event(idempotency_key="new"))
    book = originals_of(staged_rows(tmp_path, event()))
    (batch,) = staged.batches(10)
    collided = book.set_column(book.schema.get_field_index("key_hash"), "key_hash", batch["key_hash"])
    result = drop_duplicates(batch, SeenKeys(staged.repeated_hashes), first_log_seq=9, originals=collided)
    assert (len(result.records), result.duplicates) == (1, 0)


def test_canonical_payloads_leave_the_key_and_the_writing_out(tmp_path: Path) -> None:
    (row,) = records_of(staged_rows(tmp_path, event(recipient_external_id="bob", event_data={"b": 1.50, "a": "é"})))
    assert canonical_payload(row) == (
        f'{{"event_data":{{"a":"é","b":1.5}},"event_timestamp":{row["timestamp"]},'
        '"external_id":"alice","recipient_external_id":"bob"}'
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=14),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=4, unique_by=lambda pair: pair[0]),
    st.integers(1, 6),
)
def test_any_cut_into_batches_keeps_the_first_of_each_key(
    tmp_path_factory: pytest.TempPathFactory, keys: list[tuple[int, int]], book_keys: list[tuple[int, int]], size: int
) -> None:
    directory = tmp_path_factory.mktemp("keys")
    staged = staged_rows(directory, *(event(idempotency_key=f"k{k}", event_data={"n": n}) for k, n in keys))
    book = None
    if book_keys:
        rows = (event(idempotency_key=f"k{k}", event_data={"n": n}) for k, n in book_keys)
        book = originals_of(staged_rows(directory, *rows))
    first = {key: (value, number) for number, (key, value) in enumerate(book_keys, 1)}
    known, expected, duplicates, next_log_seq = dict(first), [], 0, 50
    for key, value in keys:
        if key in known:
            duplicates += known[key][0] == value
            continue
        known[key] = (value, next_log_seq)
        expected.append(f"k{key}")
        next_log_seq += 1
    seen, found, at = SeenKeys(staged.repeated_hashes), 0, 50
    kept: list[str] = []
    conflicts: list[Reject] = []
    for batch in staged.batches(size):
        result = drop_duplicates(batch, seen, first_log_seq=at, originals=book)
        at += len(result.records)
        kept += result.records["idempotency_key"].to_pylist()
        found += result.duplicates
        conflicts += result.conflicts
    assert (kept, found) == (expected, duplicates)
    assert len(kept) + found + len(conflicts) == len(keys)
    for conflict in conflicts:
        key = int(json.loads(conflict.raw)["idempotency_key"][1:])
        assert conflict.original_log_seq == known[key][1]
