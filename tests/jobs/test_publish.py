"""`--publish` and `--read-copy` of the jobs that write a book."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import duckdb
import pytest

from tests.support.command_line import run_command

CONFIG = {
    "organization": {"key": "demo", "name": "Demo"},
    "assets": [{"symbol": "PTS", "name": "Points", "scale": 0, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED",
                "programs": ["shop"]}],
    "programs": [{"key": "shop", "name": "Shop"}],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    head = {"effective_at": "2026-01-01T00:00:00Z"}
    credit = {
        "program_id": "shop",
        "asset_id": "PTS",
        "external_id": "alice",
        "direction": "CREDIT",
        "description": "x",
    }
    rows = [
        {"type": "upsert_participant", "idempotency_key": "p", "external_id": "alice"},
        {"type": "adjust", "idempotency_key": "a", "amount": 5, "expires_at": "48h"} | credit,
    ]
    Path("rows.ndjson").write_text("".join(json.dumps(head | row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def run(*options: str | Path) -> tuple[int, str]:
    where = ("--config", "config.json", "--book", "b.duckdb", "--clock", "event")
    result = run_command("run", *where, "rows.ndjson", *options)
    return result.exit_code, result.stderr


def balance(path: str) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        (amount,) = connection.execute("SELECT coalesce(sum(available_minor), 0) FROM participant_balances").fetchall()[
            0
        ]
    return int(amount)


def test_a_run_publishes_what_it_committed_and_an_advance_what_it_did(folder: Path) -> None:
    code, said = run("--publish", "out", "--read-copy", "copy.duckdb")
    assert (code, "Exported to out." in said, "Copied to copy.duckdb." in said) == (0, True, True)
    assert balance("copy.duckdb") == 5
    # Whoever has the old copy open goes on reading it.
    with duckdb.connect("copy.duckdb", read_only=True) as old:
        advance = ("advance", "--book", "b.duckdb", "--to", "2026-01-04", "--publish", "out")
        done = run_command(*advance, "--read-copy", "copy.duckdb")
        assert done.exit_code == 0, done.stderr
        assert old.execute("SELECT count(*) FROM batches").fetchall() == [(1,)]
    assert balance("copy.duckdb") == 0
    assert (folder / "out/entries/batch=2/entries.parquet").exists()
    verified = run_command("verify", "--book", "copy.duckdb")
    assert verified.exit_code == 0, verified.output


@pytest.mark.usefixtures("folder")
def test_a_reader_never_meets_half_a_copy() -> None:
    assert run("--read-copy", "copy.duckdb")[0] == 0
    seen: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            # A file of its own, as another process would open it.
            with duckdb.connect() as connection:
                connection.execute("ATTACH 'copy.duckdb' AS c (READ_ONLY)")
                seen.append(connection.execute("SELECT count(*) FROM c.store.batches").fetchall()[0][0])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for day in (2, 3, 4):
            to = f"2026-01-{day:02}T12:00:00Z"
            done = run_command("advance", "--book", "b.duckdb", "--to", to, "--read-copy", "copy.duckdb")
            assert done.exit_code == 0, done.stderr
    finally:
        stop.set()
        reader.join()
    assert seen
    assert seen == sorted(seen)
    assert set(seen) <= {1, 2, 3, 4}


@pytest.mark.parametrize(
    "options, message",
    [
        (("--dry-run", "--publish", "out"), "a dry run publishes nothing"),
        (("--read-copy", "b.duckdb"), "the read copy is the book itself"),
        (("--read-copy", "nowhere/copy.duckdb"), "there is no directory nowhere"),
    ],
)
def test_what_cannot_be_published_is_refused_before_anything_is_decided(
    folder: Path, options: tuple[str, ...], message: str
) -> None:
    code, said = run(*options)
    assert (code, message in said) == (1, True)
    assert not (folder / "b.duckdb").exists()


def test_batches_stay_when_publishing_fails_and_the_same_command_publishes_them(folder: Path) -> None:
    (folder / "out/entries/batch=1/entries.parquet").mkdir(parents=True)
    code, said = run("--publish", "out")
    assert code == 1
    assert "the batches are committed, but not published: " in said
    assert "The same command again publishes them." in said
    assert balance("b.duckdb") == 5
    (folder / "out/entries/batch=1/entries.parquet").rmdir()
    assert run("--publish", "out")[0] == 0
    assert (folder / "out/manifest.json").exists()
