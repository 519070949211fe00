"""`earnbook outbox` and the options of `run` that are about notifications."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from tests.support.outbox_book import OutboxBook, event

EVENTS = (
    event("e-1", "01", "alice", "earn", "10"),
    event("e-2", "02", "alice", "spend", "4"),
    event("e-3", "03", "bob", "spend", "4"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book with notifications of three events, and the rows of a fourth."""
    folder = tmp_path_factory.mktemp("outbox")
    OutboxBook(folder).run(*EVENTS, batch_records=2)
    return folder


def test_bodies_are_lines_in_order(folder: Path) -> None:
    result = run_command("outbox", "--book", folder / "book.duckdb")
    assert [json.loads(line)["type"] for line in result.stdout.splitlines()] == [
        "participant.created",
        "balance.credited",
        "event.completed",
        "balance.debited",
        "event.completed",
        "participant.created",
        "event.failed",
    ]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--after", "5"), ["6", "7"]),
        (("--batch", "2"), ["6", "7"]),
        (("--type", "event.failed", "--type", "balance.debited"), ["4", "7"]),
        (("--after", "2", "--limit", "2"), ["3", "4"]),
        (("--after", "7"), []),
    ],
)
def test_rows_can_be_chosen(folder: Path, options: tuple[str, ...], numbers: list[str]) -> None:
    result = run_command("outbox", "--book", folder / "book.duckdb", "--format", "csv", *options)
    head, *lines = result.stdout.splitlines()
    assert head == "n,id,type,record_id,body,created_at,batch"
    assert [line.partition(",")[0] for line in lines] == numbers


def test_a_type_that_does_not_exist_is_a_usage_mistake(folder: Path) -> None:
    result = run_command("outbox", "--book", folder / "book.duckdb", "--type", "balance.eaten")
    assert result.exit_code == 2
    assert "balance.credited" in result.stderr


def test_a_run_writes_its_own_notifications_to_a_file(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    book.run(*EVENTS[:1])
    (tmp_path / "more.ndjson").write_text("\n".join(EVENTS) + "\n", encoding="utf-8")
    options = ("--book", book.path, "--program", "loyalty", "--clock", "event", "--horizon", "none")
    more = ("--batch-size", "1", "--outbox-file", tmp_path / "out.ndjson", tmp_path / "more.ndjson")
    result = run_command("run", *options, *more)
    assert result.exit_code == 0, result.stderr
    assert ["Outbox", "4", "notifications"] in [line.split() for line in result.stderr.splitlines()]
    lines = (tmp_path / "out.ndjson").read_text(encoding="utf-8")
    assert lines == run_command("outbox", "--book", book.path, "--after", "3").stdout
    assert not (tmp_path / "out.ndjson.part").exists()


def test_a_dry_run_announces_nothing(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    (tmp_path / "rows.ndjson").write_text(EVENTS[0], encoding="utf-8")
    options = ("--book", book.path, "--config", book.config, "--program", "loyalty", "--clock", "event")
    result = run_command(
        "run", *options, "--dry-run", "--outbox-file", tmp_path / "out.ndjson", tmp_path / "rows.ndjson"
    )
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out.ndjson").read_bytes() == b""
