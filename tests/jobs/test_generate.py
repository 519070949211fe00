"""Synthetic files: the same bytes for the same options, in the shape that was asked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from earnbook.pipeline.config import Progress
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.generate import GenerateRequest, generate_events

START_US = 1_767_225_600_000_000  # 2026-01-01


def quiet(_: Progress) -> None:
    """No progress."""


def request(path: Path, **options: object) -> GenerateRequest:
    values: dict[str, object] = {"events": 2_000, "participants": 100, "program": "loyalty", "start_us": START_US}
    return GenerateRequest(path=path, days=30, **(values | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["ndjson", "csv", "parquet"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path, ending: str) -> None:
    digests = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        path = tmp_path / f"{name}.{ending}"
        generate_events(request(path, seed=seed, duplicate_share=0.05, bad_share=0.05), progress=quiet)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_the_formats_hold_the_same_events(tmp_path: Path) -> None:
    for ending in ("ndjson", "csv", "parquet"):
        generate_events(request(tmp_path / f"events.{ending}"), progress=quiet)
    records = [json.loads(line) for line in (tmp_path / "events.ndjson").read_text().splitlines()]
    table = pl.read_parquet(tmp_path / "events.parquet").unnest("event_data")
    flat = pl.read_csv(tmp_path / "events.csv", infer_schema=False)
    assert table["idempotency_key"].to_list() == [record["idempotency_key"] for record in records]
    assert table["amount"].cast(pl.String).to_list() == flat["event_data.amount:number"].to_list()
    assert flat["event_data.merchant"].to_list() == [record["event_data"].get("merchant") for record in records]
    assert flat["event_timestamp"].to_list() == [record["event_timestamp"] for record in records]


def test_amounts_are_cents_and_only_visits_have_none(tmp_path: Path) -> None:
    generate_events(request(tmp_path / "events.parquet"), progress=quiet)
    events = pl.read_parquet(tmp_path / "events.parquet").unnest("event_data")
    assert events.schema["amount"] == pl.Decimal(18, 2)
    visits = events.filter(pl.col("type") == "visit")
    assert visits["amount"].null_count() == len(visits)
    assert events.filter(pl.col("type") != "visit")["amount"].min() > 0  # type: ignore[operator]


def test_events_are_in_time_order_within_their_days_unless_shuffled(tmp_path: Path) -> None:
    generate_events(request(tmp_path / "sorted.parquet"), progress=quiet)
    generate_events(request(tmp_path / "shuffled.parquet", shuffled=True), progress=quiet)
    times = pl.read_parquet(tmp_path / "sorted.parquet")["event_timestamp"].cast(pl.Int64)
    assert times.is_sorted()
    assert times.n_unique() == 2_000
    assert times[0] >= START_US
    assert times[-1] < START_US + 30 * 86_400_000_000
    shuffled = pl.read_parquet(tmp_path / "shuffled.parquet")
    assert not shuffled["event_timestamp"].is_sorted()
    assert shuffled["idempotency_key"].n_unique() == 2_000


def test_shares_are_counted_and_duplicates_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    report = generate_events(request(path, duplicate_share=0.1, bad_share=0.05), progress=quiet)
    lines = path.read_text().splitlines()
    assert (report.rows, report.duplicates, report.bad) == (2_300, 200, 100) == (len(lines), 200, 100)
    assert len(set(lines)) <= 2_100
    assert sum('"bad-' in line or '"idempotency_key"' not in line for line in lines) == 100


def test_participants_follow_the_skew(tmp_path: Path) -> None:
    generate_events(request(tmp_path / "even.parquet", skew=0.0), progress=quiet)
    generate_events(request(tmp_path / "steep.parquet", skew=1.2), progress=quiet)
    top = [
        pl.read_parquet(tmp_path / f"{name}.parquet")["external_id"].value_counts()["count"].max()
        for name in ("even", "steep")
    ]
    assert top[0] < 60 < 300 < top[1]  # type: ignore[operator]


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"\.xlsx.*\n.*\.ndjson, \.csv, \.parquet"):
        generate_events(request(tmp_path / "events.xlsx"), progress=quiet)
    assert list(tmp_path.iterdir()) == []
