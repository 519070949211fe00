"""`earnbook export` through the command line: datasets by batch, and journals for other ledgers."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from earnbook.pipeline.export_tables import DATASETS, Dataset
from earnbook.pipeline.export_text import commodity_name, component, units_text
from earnbook.pipeline.lock import WriterLock
from tests.support.book_maker import HOUR, T0, make_small_book
from tests.support.command_line import run_command


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "small.duckdb"
    make_small_book(path)
    return path


@pytest.fixture(scope="module")
def exported(book: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported")
    export(book, directory)
    return directory


def export(book: Path, directory: Path) -> str:
    result = run_command("export", "--book", book, "--to", directory)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def refusal(book: Path, directory: Path) -> str:
    result = run_command("export", "--book", book, "--to", directory)
    assert result.exit_code == 1
    return result.stderr


def manifest(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return document


def bytes_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.parquet")}


def rows_of(book: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(book, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_a_dataset_has_the_rows_of_its_view_under_their_batch(book: Path, exported: Path, dataset: Dataset) -> None:
    files = sorted((exported / dataset.name).rglob("*.parquet"))
    snapshots = {
        "open_lots": "(SELECT * REPLACE (3 AS batch) FROM lots WHERE remaining_minor > 0)",
        "balances": "(SELECT *, 3 AS batch FROM balances)",
    }
    view = snapshots.get(dataset.name, dataset.name)
    order = f"batch, {dataset.order}"
    expected = rows_of(book, f"SELECT batch, {dataset.select} FROM {view} ORDER BY {order}")
    if not files:
        assert expected == []
        return
    columns = ", ".join(f'"{name}"' for name in dataset.columns)
    given = f"read_parquet('{exported}/{dataset.name}/*/*.parquet', hive_partitioning = true)"
    assert rows_of(book, f"SELECT batch, {columns} FROM {given} ORDER BY {order}") == expected
    assert all(pq.read_schema(file).remove_metadata() == dataset.schema for file in files)


def test_every_view_of_rows_by_batch_is_exported_with_all_that_later_batches_leave_alone(book: Path) -> None:
    columns = rows_of(
        book, "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal"
    )
    views = {view for view, column in columns if column == "batch"}
    # Evaluations and notifications say what follows from the rest, and are many times as large; positions of streams
    # are state, for the next writer.
    assert views - {dataset.name for dataset in DATASETS} == {"evaluations", "outbox", "streams"}
    state = {
        ("lots", name) for name in ("remaining", "remaining_minor", "status", "hold_reference_id", "provisional")
    } | {("redemptions", name) for name in ("reversed_amount", "reversed_amount_minor", "reversed_quantity", "status")}
    for dataset in DATASETS:
        of_view = {column for view, column in columns if view == dataset.name and column != "batch"}
        if not dataset.is_snapshot:
            assert of_view - set(dataset.columns) == {column for view, column in state if view == dataset.name}


def test_the_manifest_names_every_file_with_its_hash_rows_and_seal(book: Path, exported: Path) -> None:
    document = manifest(exported)
    assert (document["format"], document["schema_version"]) == ("earnbook-export", 1)
    seals = [seal for (seal,) in rows_of(book, "SELECT seal FROM batches ORDER BY batch")]
    assert [batch["seal"] for batch in document["batches"]] == seals
    files = bytes_of(exported)
    assert {file["path"] for file in document["files"]} == files.keys()
    for file in document["files"]:
        assert file["sha256"] == hashlib.sha256(files[file["path"]]).hexdigest()
        stored = pq.read_metadata(exported / file["path"])
        assert (stored.num_rows, len(files[file["path"]])) == (file["rows"], file["bytes"])
        assert stored.metadata[b"earnbook.seal"].decode() == seals[file["batch"] - 1]


def test_the_same_again_writes_nothing(book: Path, tmp_path: Path) -> None:
    export(book, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    before = (tmp_path / "manifest.json").stat().st_mtime_ns
    assert "has all 3 batches already: nothing was written" in export(book, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == times
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == before


def test_new_batches_are_added_and_old_files_left_alone(tmp_path: Path) -> None:
    maker = make_small_book(tmp_path / "b.duckdb")
    export(tmp_path / "b.duckdb", tmp_path / "out")
    old, before = bytes_of(tmp_path / "out"), manifest(tmp_path / "out")
    maker.event("e-7", "carol", T0 + 300 * HOUR)
    maker.credit("carol", 125)
    maker.commit()
    assert "batch 4 written, 3 were there" in export(tmp_path / "b.duckdb", tmp_path / "out")
    after = bytes_of(tmp_path / "out")
    assert {path: after[path] for path in old} == old
    assert all("batch=4/" in path for path in after.keys() - old.keys())
    assert manifest(tmp_path / "out")["files"][: len(before["files"])] == before["files"]
    postings = f"read_parquet('{tmp_path}/out/postings/*/*.parquet')"
    totals = f"SELECT asset, entity_type, sum(amount_minor) FROM {postings} GROUP BY ALL ORDER BY ALL"
    kept = "SELECT asset, entity_type, sum(amount_minor) FROM balances GROUP BY ALL ORDER BY ALL"
    assert rows_of(tmp_path / "b.duckdb", totals) == rows_of(tmp_path / "b.duckdb", kept)


def test_a_file_that_was_changed_or_lost_is_named(book: Path, tmp_path: Path) -> None:
    export(book, tmp_path)
    entries = tmp_path / "entries/batch=2/entries.parquet"
    whole = entries.read_bytes()
    entries.write_bytes(whole[:-1] + b"x")
    assert "entries/batch=2/entries.parquet is not what was exported (batch 2)" in refusal(book, tmp_path)
    sizes_only = run_command("export", "--book", book, "--to", tmp_path, "--sizes-only")
    assert sizes_only.exit_code == 0
    entries.unlink()
    assert "entries/batch=2/entries.parquet is missing" in refusal(book, tmp_path)
    assert not entries.exists()


def test_what_a_crash_left_is_written_again(book: Path, tmp_path: Path) -> None:
    export(book, tmp_path)
    complete, files = manifest(tmp_path), bytes_of(tmp_path)
    # The manifest is written last: before it, a crash leaves whole files, half of one, or a wrong one.
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "entries/batch=1/entries.parquet").write_bytes(b"half")
    (tmp_path / "lots/batch=1/.lots.parquet.part").write_bytes(b"half")
    export(book, tmp_path)
    assert (manifest(tmp_path), bytes_of(tmp_path)) == (complete, files)
    assert list(tmp_path.rglob("*.part")) == []


def test_an_export_that_fails_leaves_no_manifest(book: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "rejects/batch=1/rejects.parquet"
    blocked.mkdir(parents=True)
    assert "rejects.parquet cannot be written" in refusal(book, tmp_path)
    assert not (tmp_path / "manifest.json").exists()
    assert list(tmp_path.rglob("*.part")) == []
    blocked.rmdir()
    export(book, tmp_path)


def test_another_book_or_an_older_copy_of_this_one_is_refused(book: Path, tmp_path: Path) -> None:
    maker = make_small_book(tmp_path / "b.duckdb")
    maker.event("e-7", "carol", T0 + 300 * HOUR)
    maker.commit()
    export(tmp_path / "b.duckdb", tmp_path / "out")
    assert "has 4 batches, the book only 3" in refusal(book, tmp_path / "out")
    document = manifest(tmp_path / "out")
    document["batches"][0]["seal"] = "0" * 64
    (tmp_path / "out/manifest.json").write_text(json.dumps(document), encoding="utf-8")
    assert "has batch 1 of another book: its seal is 000000000000" in refusal(book, tmp_path / "out")
    (tmp_path / "out/manifest.json").write_text("{", encoding="utf-8")
    assert "manifest.json cannot be read" in refusal(book, tmp_path / "out")


def test_two_exports_into_one_directory_exclude_each_other(book: Path, tmp_path: Path) -> None:
    with WriterLock(tmp_path / "manifest.json"):
        assert f"{tmp_path}/manifest.json is being written by process" in refusal(book, tmp_path)


def test_journals_have_every_entry_and_every_balance(book: Path, tmp_path: Path) -> None:
    ledger, beancount = tmp_path / "b.ledger", tmp_path / "b.beancount"
    result = run_command("export", "--book", book, "--ledger-cli", ledger, "--beancount", beancount)
    assert result.exit_code == 0, result.stderr
    (entries,) = rows_of(book, "SELECT count(*) FROM entries")[0]
    text = ledger.read_text(encoding="utf-8")
    assert text.count(" * (") == entries
    assert (
        "2026-01-02 * (5) DEBIT\n    Assets:Participants:N-bob:Available  -9.00 PTS\n    Income:Issuance  9.00 PTS\n"
        in text
    )
    assert "    Assets:Participants:N-bob:Available  0.00 PTS = 2.50 PTS\n" in text
    text = beancount.read_text(encoding="utf-8")
    assert "2026-01-01 open Assets:Participants:N-alice:Deferred\n" in text
    assert '2026-01-03 * "MATURITY"\n  seq: 6\n  cause: "DUE"\n' in text
    (balances,) = rows_of(book, "SELECT count(*) FROM balances")[0]
    assert text.count(" balance ") == balances


def test_a_destination_is_needed(book: Path, tmp_path: Path) -> None:
    assert run_command("export", "--book", book).exit_code == 2
    both = run_command("export", "--book", book, "--ledger-cli", tmp_path / "x", "--beancount", tmp_path / "x")
    assert (both.exit_code, "two exports would go to one file" in both.stderr) == (1, True)


@pytest.mark.parametrize(
    "name, shown",
    [
        ("C-1001", "C-1001"), ("alice", "N-alice"), ("N-1", "N-N-1"), ("a b", "N-a-x20b"), ("A-x", "A-x2Dx"),
        ("Zoë", "Zo-xC3-xAB"), ("a:b", "N-a-x3Ab"), ("", "N-"), ("-", "N--"), ("7", "7"), ("É", "N--xC3-x89"),
    ],
)  # fmt: skip
def test_names_become_parts_of_accounts(name: str, shown: str) -> None:
    assert component(name) == shown


def _decoded(part: str) -> str:
    part = part.removeprefix("N-")
    found = bytearray()
    while part:
        if part.startswith("-x"):
            found.append(int(part[2:4], 16))
            part = part[4:]
        else:
            found += part[0].encode()
            part = part[1:]
    return found.decode()


def test_parts_of_accounts_can_be_told_apart() -> None:
    rng = random.Random(7)
    for _ in range(2_000):
        name = "".join(rng.choice("-xN2D aZé:_€") for _ in range(rng.randint(0, 8)))
        assert _decoded(component(name)) == name


def test_commodities_are_capital_letters() -> None:
    names = {
        symbol: commodity_name(symbol, number) for number, symbol in enumerate(("EUR", "PTS2", "x", "$", "A.B"), 1)
    }
    assert names == {"EUR": "EUR", "PTS2": "PTSXB", "x": "XXC", "$": "XD", "A.B": "ABXE"}
    assert commodity_name("USD2", 28) == "USDXAB"


def test_units_print_with_all_decimals() -> None:
    assert [units_text(-5, 2), units_text(1234, 2), units_text(-7, 0), units_text(1, 18)] == [
        "-0.05", "12.34", "-7", "0.000000000000000001",
    ]  # fmt: skip
