"""Any number of partitions gives the same book, number for number and seal for seal (§4.1)."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.config import AdvanceRequest, RunReport
from earnbook.pipeline.drive import advance, run
from earnbook.pipeline.verify import verify_book
from tests.support.engines import run_request
from tests.support.logical import Run

DAY = 86_400_000_000
JANUARY = 1_767_225_600_000_000
UNORDERED = (
    "balances",
    "overdrafts",
    "counters",
    "tags",
    "attributes",
    "enrollments",
    "open_lots",
    "balance_snapshots",
)
"""Tables whose rows say the same in any order."""
NOT_SAME = {"batches": ("committed_at", "host", "run_id"), "meta": (), "sources": ("name",)}


def definitions(chance: random.Random) -> dict[str, Any]:
    """Two programs over a LOT and a SIMPLE asset, whose rules touch nobody but the event's participant."""

    def credit() -> dict[str, Any]:
        lot = {"type": "CREDIT", "asset": "PTS", "amount": "round(event.amount * 0.1, 2)"}
        if chance.random() < 0.8:
            lot["expires_at"] = chance.choice(("48h", "120h", "240h"))
        if chance.random() < 0.4:
            lot["matures_at"] = chance.choice(("12h", "24h", "36h"))
        return lot

    def rule(number: int) -> dict[str, Any]:
        actions = [
            credit(),
            {"type": "CREDIT", "asset": "CASH", "amount": "event.amount"},
            {"type": "DEBIT", "asset": "PTS", "amount": "event.take", "allow_negative": chance.random() < 0.5},
            {"type": "COUNTER", "key": "visits", "value": "1", "reset_after": "72h"},
            {"type": "TAG", "tag": "seen"},
            {"type": "UNTAG", "tag": "seen"},
            {"type": "SET_ATTRIBUTE", "key": "last", "value": "=event.kind"},
            {"type": "SET_ATTRIBUTE", "key": "who", "value": "=event.kind + '-' + participant.external_id"},
        ]
        conditions = ("true", "event.amount > 50", "'seen' in participant.tags", "event.kind == 'a'", "event.nope > 1")
        return {
            "key": f"r{number}", "name": f"r{number}", "order": number, "condition": chance.choice(conditions),
            "stop_after_match": chance.random() < 0.1, "actions": chance.sample(actions, chance.choice((1, 2, 3))),
        }  # fmt: skip

    def first() -> dict[str, Any]:
        return {"key": "r0", "name": "r0", "order": 1, "condition": "event.amount < 100", "actions": [credit()]}

    programs = [
        {"key": key, "name": key, "rules": [first(), *(rule(n) for n in range(2, chance.choice((4, 6))))]}
        for key in ("one", "two")
    ]
    programs[1]["on_unknown_participant"] = chance.choice(("CREATE", "REJECT"))
    common = {"issuance_policy": "UNLIMITED", "programs": ["one", "two"]}
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [
            {"symbol": "PTS", "name": "Points", "scale": 2, "inventory_mode": "LOT", **common},
            {"symbol": "CASH", "name": "Cash", "scale": 0, "inventory_mode": "SIMPLE", **common},
        ],
        "programs": programs,
    }


def lines(chance: random.Random, count: int, first: int) -> tuple[str, ...]:
    """Events of some people over twelve days, in no order."""
    rows = []
    for number in range(first, first + count):
        data = {"amount": chance.choice((10, 60, 70.5, 100, 1e25)), "kind": chance.choice("abc"), "take": 5}
        if chance.random() < 0.1:
            del data["take"]
        at = f"2026-01-{chance.randint(1, 12):02d}T{chance.randint(0, 23):02d}:00:00Z"
        row = {"program_id": chance.choice(("one", "one", "two")), "external_id": f"p{chance.randint(1, 30)}"}
        rows.append(json.dumps({**row, "idempotency_key": f"k{number}", "event_timestamp": at, "event_data": data}))
    return tuple(rows)


def make_book(folder: Path, document: Mapping[str, Any], runs: list[Run], partitions: int, *, kernel: bool) -> Path:
    folder.mkdir()
    book, config = folder / "book.duckdb", folder / "definitions.json"
    config.write_text(json.dumps(document), encoding="utf-8")
    for number, one in enumerate(runs):
        rows = folder / f"run-{number}.ndjson"
        rows.write_text("".join(f"{line}\n" for line in one.lines), encoding="utf-8")
        request = run_request(one, book, config, rows, kernel=kernel, batch_records=40)
        report: RunReport = run(replace(request, partitions=partitions, wall_clock_us=JANUARY + 60 * DAY))
        assert not [note for note in report.notes if "one ordered pass" in note]
    advance(AdvanceRequest(book=book, to_us=JANUARY + 30 * DAY, no_horizon=True, wall_clock_us=JANUARY + 60 * DAY))
    return book


def contents(book: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every physical table, but for what is kept of the machine."""
    with duckdb.connect(str(book), read_only=True) as connection:
        names = connection.sql("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'store'").fetchall()
        found = {}
        for (name,) in names:
            dropped = NOT_SAME.get(name, ())
            chosen = "*" if not dropped else f"* EXCLUDE ({', '.join(dropped)})"
            rows = connection.sql(f"SELECT {chosen} FROM store.{name}").fetchall()
            found[name] = sorted(rows, key=repr) if name in UNORDERED else rows
        return found


@pytest.mark.parametrize("seed, kernel", [(seed, seed != 1) for seed in range(3)])
def test_any_number_of_partitions_gives_the_same_book(tmp_path: Path, seed: int, kernel: bool) -> None:
    chance = random.Random(f"partitions {seed}")
    document = definitions(chance)
    runs = [Run(lines=lines(chance, 150, 0)), Run(lines=lines(chance, 100, 150), clock="2026-01-14T00:00:00Z")]
    books = {n: make_book(tmp_path / str(n), document, runs, n, kernel=kernel) for n in (1, 2, 3, 7)}
    expected = contents(books[1])
    assert len(expected["movements"]) > 50
    for n in (2, 3, 7):
        found = contents(books[n])
        assert [name for name in expected if found[name] != expected[name]] == []
        assert verify_book(books[n]).findings == ()
