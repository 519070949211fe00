"""Staging: counts, log order, and the same records in memory and spilled (§3.6, §4.1)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnbook.ledger.pool import hash_texts
from earnbook.pipeline.config import Order
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.records import RejectReason, records_schema
from earnbook.pipeline.stage_store import RecordStore, regroup
from tests.support.staging import event, records_of, stage, write_lines


def shuffled(count: int, seed: int) -> list[dict[str, object]]:
    rows = [
        event(idempotency_key=f"k{n}", event_timestamp=f"2026-01-01T00:{n % 13:02}:00Z", event_data={"n": n})
        for n in range(count)
    ]
    random.Random(seed).shuffle(rows)
    return rows


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("is_sorted", [False, True])
def test_spilled_and_held_records_are_the_same(tmp_path: Path, order: Order, is_sorted: bool) -> None:
    paths = []
    for number in range(4):
        rows = shuffled(100, number)
        if is_sorted:
            rows = [
                event(idempotency_key=str(n), event_timestamp=f"2026-0{number + 1}-01T00:00:00Z") for n in range(100)
            ]
        paths.append(write_lines(tmp_path / f"{number}.ndjson", rows))
    held = stage(*paths, paths=(("n",),))
    with stage(*paths, paths=(("n",),), memory_bytes_max=5_000, spill_directory=tmp_path) as spilled:
        assert (held.is_spilled, spilled.is_spilled) == (False, True)
        expected = [table.to_pylist() for table in held.batches(64, order)]
        assert [table.to_pylist() for table in spilled.batches(64, order)] == expected
        assert [len(rows) for rows in expected] == [64] * 6 + [16]
    keys = [(row["timestamp"], row["position"]) for rows in expected for row in rows]
    assert keys == sorted(keys) if order is Order.TIME else [key[1] for key in keys] == list(range(400))
    assert not list(tmp_path.glob("earnbook-*"))


def test_spilled_files_are_removed_when_staging_fails(tmp_path: Path) -> None:
    good = write_lines(tmp_path / "a.ndjson", shuffled(500, 1))
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    with pytest.raises(SourceError):
        stage(good, tmp_path / "b.parquet", memory_bytes_max=100, spill_directory=tmp_path)
    assert not list(tmp_path.glob("earnbook-*"))


def test_equal_timestamps_keep_the_order_of_files_and_rows(tmp_path: Path) -> None:
    later = write_lines(tmp_path / "a.ndjson", [event(idempotency_key=f"a{n}") for n in range(3)])
    first = write_lines(tmp_path / "z.ndjson", [event(idempotency_key=f"z{n}") for n in range(3)])
    rows = records_of(stage(first, later))
    assert [row["idempotency_key"] for row in rows] == ["z0", "z1", "z2", "a0", "a1", "a2"]
    assert [(row["source"], row["source_row"]) for row in rows] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_no_row_vanishes(tmp_path: Path) -> None:
    rows = [event(idempotency_key=f"k{n}", external_id="" if n % 3 else "alice") for n in range(30)]
    path = write_lines(tmp_path / "a.ndjson", rows)
    with path.open("a") as file:
        file.write("\n{\n   \n")
    staged = stage(path)
    (source,) = staged.sources
    assert (source.rows_read, source.accepted) == (31, 10)
    assert source.rejected == {RejectReason.INVALID_PARTICIPANT: 20, RejectReason.UNPARSEABLE_ROW: 1}
    assert staged.rows_read == staged.rows_accepted + len(staged.rejects)
    assert [reject.source_row for reject in staged.rejects] == sorted(reject.source_row for reject in staged.rejects)
    assert staged.rejects[-1].source_row == 32


@pytest.mark.parametrize("memory_bytes_max", [1, 1 << 20])
def test_staging_knows_timestamps_and_repeated_keys(tmp_path: Path, memory_bytes_max: int) -> None:
    rows = [
        event(idempotency_key=key, event_timestamp=f"2026-01-{day:02}T00:00:00Z")
        for key, day in (("a", 3), ("b", 1), ("a", 3), ("c", 9), ("b", 1), ("a", 3))
    ]
    paths = [write_lines(tmp_path / f"{part}.ndjson", rows[part : part + 3]) for part in (0, 3)]
    with stage(*paths, memory_bytes_max=memory_bytes_max, spill_directory=tmp_path) as staged:
        assert staged.is_spilled == (memory_bytes_max == 1)
        assert staged.repeated_hashes.tolist() == sorted(hash_texts(pa.array(["a", "b"])).tolist())
        times = [row["timestamp"] for row in records_of(staged, order=Order.INPUT)]
        for time in times:
            assert staged.count_before(time) == sum(other < time for other in times)


def test_nothing_staged_gives_no_batch(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text("{\n")
    staged = stage(tmp_path / "a.ndjson")
    assert list(staged.batches(10)) == []
    assert staged.rows_accepted == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 7))
def test_regrouping_keeps_rows_and_sizes(sizes: list[int], size: int) -> None:
    numbers = iter(range(1_000))
    chunks = [pa.record_batch({"n": pa.array([next(numbers) for _ in range(rows)], pa.int64())}) for rows in sizes]
    tables = list(regroup(iter(chunks), size))
    assert [n for table in tables for n in table["n"].to_pylist()] == list(range(sum(sizes)))
    assert all(len(table) == size for table in tables[:-1])
    assert all(0 < len(table) <= size for table in tables[-1:])


def test_a_transformed_store_keeps_its_rows(tmp_path: Path) -> None:
    store = RecordStore(records_schema(0), 1, tmp_path)
    source = stage(write_lines(tmp_path / "a.ndjson", shuffled(10, 0)))
    for table in source.batches(4, Order.INPUT):
        store.append(table.combine_chunks().to_batches()[0])
    store.transform(lambda chunk: chunk.set_column(0, chunk.schema.field(0), pa.array(-chunk["position"].to_numpy())))
    positions = np.concatenate([chunk["position"].to_numpy() for chunk in store.chunks()])
    assert positions.tolist() == [-n for n in range(10)]
    store.close()
