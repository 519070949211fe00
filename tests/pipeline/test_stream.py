"""The loop of a stream: the same books as a run, positions, repeats, clocks, what happens while nothing arrives."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from earnbook.pipeline.commit import CommitRequest, commit_batch
from earnbook.pipeline.config import ClockMode, Order, Publication, RunRequest
from earnbook.pipeline.drive import run
from earnbook.pipeline.errors import IntegrityError, SourceError
from earnbook.pipeline.stream import BatchListener, StreamReport, StreamRequest, stream
from earnbook.pipeline.stream_folder import FolderSource
from earnbook.pipeline.stream_job import StreamBatch
from earnbook.pipeline.stream_lines import LineSource
from earnbook.pipeline.stream_metrics import StreamMetrics, write_metrics
from earnbook.pipeline.stream_source import Backlog
from earnbook.pipeline.verify import verify_book
from tests.support.fingerprint import fingerprint, unequal_tables

Row = dict[str, Any]

DAY_US = 86_400_000_000
WALL_US = 1_780_272_000_000_000
"""2026-06-01."""

RULES: list[Row] = [
    {"key": "visits", "order": 1, "condition": "true", "actions": [{"type": "COUNTER", "key": "visits", "value": 1}]},
    {
        "key": "points",
        "order": 2,
        "condition": "event.n > 0",
        "actions": [{"type": "CREDIT", "asset": "PTS", "amount": "event.n", "expires_at": "240h"}],
    },
    {
        "key": "regular",
        "order": 3,
        "condition": "get(participant.counters, 'visits', 0.0) >= 3 && 'gold' in participant.tags",
        "actions": [{"type": "CREDIT", "asset": "PTS", "amount": 100, "matures_at": "48h"}],
    },
]
DEFINITIONS: Row = {
    "organization": {"key": "demo"},
    "assets": [
        {
            "symbol": "PTS",
            "name": "Points",
            "scale": 0,
            "inventory_mode": "LOT",
            "issuance_policy": "UNLIMITED",
            "programs": ["shop"],
        }
    ],
    "programs": [{"key": "shop", "name": "Shop", "rules": [{"name": rule["key"], **rule} for rule in RULES]}],
}


def event(key: str, at: str, who: str, n: int = 10) -> Row:
    """An event at a time like 05-31T12 (of 2026)."""
    time = f"2026-{at}:00:00Z"
    row = {"program_id": "shop", "idempotency_key": key, "event_timestamp": time, "external_id": who}
    return row | {"event_data": {"n": n}}


def tag(key: str, at: str, who: str, text: str) -> Row:
    row = {"type": "add_tag", "program_id": "shop", "idempotency_key": key, "effective_at": f"2026-{at}:00:00Z"}
    return row | {"external_id": who, "tag": text}


LOG: list[Row] = [
    *(event(f"a-{n}", f"05-{n:02}T10", f"p-{n % 3}", n) for n in range(1, 10)),
    tag("t-1", "05-10T00", "p-1", "gold"),
    *(event(f"b-{n}", f"05-{n:02}T10", f"p-{n % 4}", n - 15) for n in range(10, 20)),
    event("a-3", "05-03T10", "p-0", 3),
    event("late", "05-02T10", "p-9"),
    tag("t-2", "05-20T00", "p-2", "silver"),
    *(event(f"c-{n}", f"05-{n:02}T10", f"p-{n % 3}") for n in range(20, 29)),
]


def lines(*rows: Row | str) -> bytes:
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()


@dataclass
class Shop:
    """A book in a folder, and short calls that stream lines into it."""

    folder: Path
    batches: list[StreamBatch] = field(default_factory=list)

    @property
    def book(self) -> Path:
        return self.folder / "book.duckdb"

    @property
    def config(self) -> Path:
        path = self.folder / "definitions.json"
        path.write_text(json.dumps(DEFINITIONS))
        return path

    def request(self, **options: Any) -> StreamRequest:
        given = {"config": self.config, "clock": ClockMode.EVENT, "kernel": False, "delay_seconds": 0.01}
        return StreamRequest(book=self.book, **(given | {"read_wall_clock_us": lambda: WALL_US} | options))

    def stream(self, *rows: Row | str, data: bytes | None = None, replay: bool = False, **options: Any) -> StreamReport:
        path = self.folder / "arrived.ndjson"
        path.write_bytes(lines(*rows) if data is None else data)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            source = LineSource(descriptor, name="till", label="till", replay=replay)
            report = stream(self.request(**options), source, lambda batch, _: self.batches.append(batch))
        finally:
            os.close(descriptor)
        assert report.ties
        return report

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.book, read_only=True) as connection:
            return connection.execute(query).fetchall()

    def is_whole(self) -> bool:
        return not verify_book(self.book).findings


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Reading and writing end; whoever closes one does it here."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


# --- the same books as a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of one run over the whole log, in the order of arrival."""
    made = Shop(tmp_path_factory.mktemp("whole"))
    path = made.folder / "log.ndjson"
    path.write_bytes(lines(*LOG))
    clock, order = ClockMode.EVENT, Order.INPUT
    run(RunRequest(book=made.book, inputs=(str(path),), config=made.config, clock=clock, order=order, kernel=False,
                   wall_clock_us=WALL_US))  # fmt: skip
    return made.book


@pytest.mark.parametrize("records_max", [1, 1000])
def test_any_cut_of_the_stream_gives_the_book_of_a_run(shop: Shop, whole: Path, records_max: int) -> None:
    report = shop.stream(*LOG, records_max=records_max)
    assert (report.rows_read, report.duplicates, report.late) == (len(LOG), 1, 1)
    assert report.batches == -(-len(LOG) // records_max)
    assert unequal_tables(whole, shop.book) == []
    assert shop.is_whole()


def test_letting_state_go_in_between_gives_the_same_book(shop: Shop, whole: Path) -> None:
    shop.stream(*LOG, records_max=6, stretch_records=10, checkpoint_seconds=0.0)
    assert unequal_tables(whole, shop.book) == []
    assert shop.is_whole()


def test_several_streams_one_after_the_other_give_the_same_book(shop: Shop, whole: Path) -> None:
    for start in range(0, len(LOG), 12):
        shop.stream(*LOG[start : start + 12], records_max=5)
    assert unequal_tables(whole, shop.book) == []
    assert shop.ask("SELECT stream, position, row FROM streams") == [("till", len(lines(*LOG)), len(LOG))]


def test_the_order_is_that_of_arrival(shop: Shop) -> None:
    shop.stream(event("second", "05-02T10", "p"), event("first", "05-01T10", "p"))
    assert shop.ask("SELECT idempotency_key, late FROM events ORDER BY log_seq") == [("second", False), ("first", True)]
    assert shop.ask("SELECT record_order FROM batches") == [("arrival",)]


# --- repeats and positions ------------------------------------------------------------------------------------------


def test_a_record_repeated_while_its_batch_is_written_is_a_duplicate(shop: Shop) -> None:
    row = event("e-1", "05-01T10", "p")
    report = shop.stream(*[row] * 5, event("e-1", "05-01T10", "p", 11), records_max=1)
    assert (report.events, report.duplicates, report.rejected) == (1, 4, 1)
    found = shop.ask("SELECT r.source_row, r.reason, r.original_id = e.id FROM rejects AS r, events AS e")
    assert found == [(6, "IDEMPOTENCY_CONFLICT", True)]
    assert shop.is_whole()


def test_lines_sent_again_are_dropped_by_key(shop: Shop) -> None:
    shop.stream(*LOG[:12])
    report = shop.stream(*LOG[6:])
    assert (report.duplicates, report.events + report.operations) == (7, len(LOG) - 13)


def test_a_replay_passes_over_what_the_book_has(shop: Shop, whole: Path) -> None:
    shop.stream(*LOG[:12], records_max=5)
    report = shop.stream(*LOG, replay=True, records_max=5)
    assert (report.rows_read, report.duplicates) == (len(LOG) - 12, 1)
    assert unequal_tables(whole, shop.book) == []
    assert shop.ask("SELECT max(source_row) FROM store.events") == [(len(LOG),)]


def test_a_replay_of_another_stream_is_refused(shop: Shop) -> None:
    shop.stream(*LOG[:12])
    other = lines(*LOG).replace(b"p-1", b"p-7")
    with pytest.raises(SourceError, match=r"are not those that the book has of the stream 'till'"):
        shop.stream(data=other, replay=True)
    with pytest.raises(SourceError, match=r"the stream ends .* bytes before the position"):
        shop.stream(*LOG[:3], replay=True)
    assert shop.ask("SELECT count(*) FROM batches") == [(1,)]


def test_rejects_have_the_number_of_their_line_in_the_stream(shop: Shop) -> None:
    shop.stream(*LOG[:3], "{", "", *LOG[3:5], records_max=2)
    report = shop.stream("[]", event("no time", "05-99T10", "p"), "")
    assert (report.rows_read, report.rejected) == (2, 2)
    assert shop.ask("SELECT source, source_row, reason FROM rejects") == [
        ("till", 4, "UNPARSEABLE_ROW"),
        ("till", 8, "UNPARSEABLE_ROW"),
        ("till", 9, "INVALID_TIMESTAMP"),
    ]
    assert shop.ask("SELECT row FROM streams") == [(10,)]


def test_the_last_line_may_lack_its_line_break(shop: Shop) -> None:
    assert shop.stream(data=lines(*LOG[:3])[:-1], records_max=2).events == 3


def test_rejects_before_the_first_record_of_a_new_book_take_no_numbers_from_it(shop: Shop) -> None:
    report = shop.stream("{", "[", *LOG[:4], records_max=1)
    assert (report.rejected, report.events, report.batches) == (2, 4, 6)
    assert shop.ask("SELECT DISTINCT program FROM events") == [("shop",)]
    assert shop.is_whole()


def test_a_stream_without_line_breaks_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earnbook.pipeline.stream_lines.LINE_BYTES_MAX", 1000)
    with pytest.raises(SourceError, match="till: 1,000 bytes without a line break"):
        shop.stream(data=lines(LOG[0]) + b"x" * 5000, records_max=1)


# --- what a commit refuses ------------------------------------------------------------------------------------------


def _commit_again(shop: Shop, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Streams four records in two batches; `change` sees each request before it is committed."""

    def changed(book: Any, request: CommitRequest, **options: Any) -> Any:
        return commit_batch(book, change(book, request), **options)

    monkeypatch.setattr("earnbook.pipeline.stream_job.commit_batch", changed)
    shop.stream(*LOG[:4], records_max=2)


def test_a_position_never_goes_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def back(_: Any, request: CommitRequest) -> CommitRequest:
        assert request.positions is not None
        first = pa.array([0], pa.int64())
        place = request.positions.schema.get_field_index("first_position")
        field_of = request.positions.schema.field("first_position")
        object.__setattr__(request, "positions", request.positions.set_column(place, field_of, first))
        return request

    with pytest.raises(IntegrityError, match=r"part '' of stream 'till' is at .*, and a batch reads it from 0 on"):
        _commit_again(shop, monkeypatch, back)
    assert shop.ask("SELECT count(*), max(last_log_seq) FROM batches") == [(1, 2)]
    assert shop.ask("SELECT row FROM streams") == [(2,)]


def test_a_batch_that_stands_in_the_book_twice_is_found_before_the_next_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(book: Any, request: CommitRequest) -> CommitRequest:
        if request.header.batch == 2:
            with book.session() as connection:
                connection.execute("INSERT INTO store.events SELECT * FROM store.events")
        return request

    with pytest.raises(IntegrityError, match="the book has 6 records, but the last one is number 4"):
        _commit_again(shop, monkeypatch, doubled)
    assert shop.ask("SELECT count(*) FROM batches") == [(1,)]


# --- clocks and time ------------------------------------------------------------------------------------------------


def test_now_is_read_once_for_each_batch(shop: Shop) -> None:
    readings = iter(range(WALL_US, WALL_US + 100 * DAY_US, DAY_US))
    shop.stream(*LOG[:4], records_max=2, clock=ClockMode.NOW, read_wall_clock_us=lambda: next(readings))
    first, second = shop.ask("SELECT clock_reading, clock_mode FROM store.batches ORDER BY batch")
    assert (first[1], second[1]) == ("now", "now")
    assert second[0] - first[0] == DAY_US
    assert shop.ask("SELECT count(DISTINCT processed_at) FROM store.events") == [(2,)]


def test_a_fixed_clock_stays(shop: Shop) -> None:
    shop.stream(*LOG[:4], records_max=2, clock=ClockMode.FIXED, clock_fixed_us=WALL_US)
    assert shop.ask("SELECT DISTINCT processed_at FROM store.events") == [(WALL_US,)]


@pytest.mark.parametrize("clock", [ClockMode.EVENT, ClockMode.NOW])
def test_while_nothing_arrives_the_wall_clock_drives_due_work(
    shop: Shop, pipe: tuple[int, int], clock: ClockMode
) -> None:
    wall = [WALL_US]

    def note(batch: StreamBatch, _: object) -> None:
        shop.batches.append(batch)
        # From the first batch on the wall clock is eleven days later, when its lot has expired.
        wall[0] = WALL_US + 11 * DAY_US
        if len(shop.batches) == 2:
            source.stop()

    os.write(pipe[1], lines(event("e-1", "05-31T23", "p")))
    source = LineSource(pipe[0], name="till", label="till")
    request = shop.request(clock=clock, idle_advance_seconds=0.05, read_wall_clock_us=lambda: wall[0])
    report = stream(request, source, note)
    assert (report.batches, report.entries) == (2, 2)
    assert shop.ask("SELECT action_type, batch FROM entries ORDER BY seq") == [("CREDIT", 1), ("EXPIRATION", 2)]
    assert shop.is_whole()


def test_new_definitions_come_into_force_with_due_work_after_a_batch_of_rejects(
    shop: Shop, pipe: tuple[int, int]
) -> None:
    shop.stream(event("e-1", "05-31T23", "p"))
    rules = [{"name": rule["key"], **rule} for rule in [*RULES, {**RULES[0], "key": "more", "order": 9}]]
    changed = {**DEFINITIONS, "programs": [{"key": "shop", "name": "Shop", "rules": rules}]}
    config = shop.folder / "changed.json"
    config.write_text(json.dumps(changed))

    def note(batch: StreamBatch, _: object) -> None:
        if batch.batch == 3:
            source.stop()

    os.write(pipe[1], b"{\n")
    source = LineSource(pipe[0], name="till", label="till")
    later = WALL_US + 11 * DAY_US
    stream(shop.request(config=config, idle_advance_seconds=0.05, read_wall_clock_us=lambda: later), source, note)
    assert shop.ask("SELECT batch, ruleset_version FROM batches ORDER BY batch") == [(1, 1), (2, 1), (3, 2)]
    assert shop.ask("SELECT count(*) FROM rules WHERE key = 'more'") == [(1,)]
    assert shop.is_whole()


def test_a_stream_stops_when_it_has_been_idle_for_long(shop: Shop, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], lines(*LOG[:3]) + b'{"half')
    source = LineSource(pipe[0], name="till", label="till")
    report = stream(shop.request(idle_stop_seconds=0.2), source)
    assert (report.events, report.rejected) == (3, 0)
    assert shop.ask("SELECT position FROM streams") == [(len(lines(*LOG[:3])),)]


# --- the source -----------------------------------------------------------------------------------------------------


def test_a_batch_closes_when_its_first_record_has_waited(shop: Shop, pipe: tuple[int, int]) -> None:
    source = LineSource(pipe[0], name="till", label="till")
    seen: list[int] = []

    def note(batch: StreamBatch, _: object) -> None:
        seen.append(batch.rows_read)
        if len(seen) == 1:
            os.write(pipe[1], lines(*LOG[3:5]))
        else:
            source.stop()

    os.write(pipe[1], lines(*LOG[:3]))
    stream(shop.request(delay_seconds=0.05, records_max=1000), source, note)
    assert seen == [3, 2]


def test_what_has_arrived_when_the_stream_is_stopped_is_committed(shop: Shop, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], lines(*LOG[:6]))
    source = LineSource(pipe[0], name="till", label="till")
    report = stream(shop.request(records_max=2), source, lambda *_: source.stop())
    assert report.events == 6
    assert shop.is_whole()


# --- a followed folder ----------------------------------------------------------------------------------------------


@pytest.fixture
def inbox(shop: Shop) -> Path:
    folder = shop.folder / "inbox"
    folder.mkdir()
    return folder


def follow(shop: Shop, inbox: Path, listener: BatchListener | None = None, **options: Any) -> StreamReport:
    """Take in what is in the folder, until nothing has come for a moment."""
    source = FolderSource(inbox, name="inbox")
    report = stream(shop.request(idle_stop_seconds=0.15, **options), source, listener or (lambda *_: None))
    assert report.ties
    return report


def test_files_of_a_folder_are_taken_in_by_name_and_once_by_content(shop: Shop, inbox: Path, whole: Path) -> None:
    (inbox / "b.ndjson").write_bytes(lines(*LOG[10:20]))
    (inbox / "a.ndjson").write_bytes(lines(*LOG[:10]))
    (inbox / "copy.ndjson").write_bytes(lines(*LOG[:10]))
    (inbox / ".c.ndjson").write_bytes(lines(*LOG[20:]))
    (inbox / "notes.txt").write_text("not a file of records")
    assert follow(shop, inbox).rows_read == 20
    (inbox / ".c.ndjson").rename(inbox / "c.ndjson")
    (inbox / "a.ndjson").rename(inbox / "other name.ndjson")
    assert follow(shop, inbox).rows_read == len(LOG) - 20
    assert unequal_tables(whole, shop.book) == []
    assert shop.ask('SELECT count(*), sum("row"), bool_and(complete) FROM streams') == [(3, len(LOG), True)]
    assert shop.is_whole()


def test_files_that_arrive_while_the_stream_runs_are_taken_in(shop: Shop, inbox: Path) -> None:
    def note(*_: object) -> None:
        (inbox / ".next").write_bytes(lines(*LOG[3:5]))
        (inbox / ".next").rename(inbox / "next.ndjson")

    (inbox / "first.ndjson").write_bytes(lines(*LOG[:3]))
    report = follow(shop, inbox, note)
    assert (report.batches, report.events) == (2, 5)


def test_a_large_file_makes_several_batches_and_goes_on_where_it_stood(shop: Shop, inbox: Path, whole: Path) -> None:
    (inbox / "log.ndjson").write_bytes(lines(*LOG[:5], "{", *LOG[5:]))
    source = FolderSource(inbox, name="inbox")
    stopped = stream(shop.request(records_max=7), source, lambda *_: source.stop())
    assert (stopped.batches, stopped.rejected) == (stopped.batches, 1)
    assert stopped.events + stopped.operations < len(LOG)
    ((row, complete),) = shop.ask('SELECT "row", complete FROM streams')
    assert (row, complete) == (stopped.rows_read, False)
    rest = follow(shop, inbox, records_max=7)
    assert (rest.rejected, stopped.rows_read + rest.rows_read) == (0, len(LOG) + 1)
    assert shop.ask('SELECT complete, "row" FROM streams') == [(True, len(LOG) + 1)]
    assert shop.ask("SELECT count(*) FROM rejects") == [(1,)]
    rejects = fingerprint(shop.book)["rejects"]
    assert unequal_tables(whole, shop.book) == [f"rejects: {(0, 0)} / {rejects}"]
    assert shop.is_whole()


def test_with_every_checkpoint_readers_get_a_copy(shop: Shop, inbox: Path) -> None:
    copy = shop.folder / "copy.duckdb"
    seen: list[int] = []

    def note(*_: object) -> None:
        if copy.exists():
            with duckdb.connect(copy, read_only=True) as connection:
                seen.extend(row[0] for row in connection.execute("SELECT count(*) FROM events").fetchall())

    (inbox / "log.ndjson").write_bytes(lines(*LOG[:6]))
    follow(shop, inbox, note, records_max=2, checkpoint_seconds=0.0, publication=Publication(read_copy=copy))
    assert seen == [2, 4]
    assert unequal_tables(shop.book, copy) == []


def test_files_of_other_formats_and_compressed_ones_are_read_as_a_run_reads_them(shop: Shop, inbox: Path) -> None:
    header = "program_id,idempotency_key,event_timestamp,external_id,event_data.n:number\n"
    (inbox / "a.csv").write_text(header + "shop,e-1,2026-05-01T10:00:00Z,p,5\n")
    (inbox / "b.ndjson.gz").write_bytes(gzip.compress(lines(event("e-2", "05-02T10", "p"))))
    assert follow(shop, inbox).events == 2
    assert shop.ask("SELECT sum(amount_minor)::INT FROM entries") == [(15,)]


# --- what operators see ---------------------------------------------------------------------------------------------


def test_metrics_add_up_what_was_committed(shop: Shop, tmp_path: Path) -> None:
    metrics = StreamMetrics("till")
    path = tmp_path / "earnbook.prom"

    def note(batch: StreamBatch, backlog: Backlog) -> None:
        metrics.add(batch, backlog, at_us=WALL_US)
        write_metrics(path, metrics.text())

    rows = [*LOG[:10], LOG[0], "{", event("a-1", "05-01T10", "p-1", 99), event("x-1", "05-12T10", "p-1", 2**40)]
    data = lines(*rows)
    (tmp_path / "rows.ndjson").write_bytes(data)
    descriptor = os.open(tmp_path / "rows.ndjson", os.O_RDONLY)
    stream(shop.request(records_max=4), LineSource(descriptor, name="till", label="till"), note)
    os.close(descriptor)
    text = path.read_text()
    assert [other.name for other in tmp_path.iterdir() if other.suffix == ".new"] == []
    for line in (
        'earnbook_stream_batches_total{stream="till"} 4',
        'earnbook_stream_rows_total{stream="till",kind="event"} 10',
        'earnbook_stream_rows_total{stream="till",kind="operation"} 1',
        'earnbook_stream_rows_total{stream="till",kind="duplicate"} 1',
        'earnbook_stream_rows_total{stream="till",kind="rejected"} 2',
        'earnbook_stream_rejects_total{stream="till",reason="IDEMPOTENCY_CONFLICT"} 1',
        'earnbook_stream_rejects_total{stream="till",reason="UNPARSEABLE_ROW"} 1',
        'earnbook_stream_batch_latency_seconds_bucket{stream="till",le="+Inf"} 4',
        'earnbook_stream_batch_latency_seconds_count{stream="till"} 4',
        'earnbook_stream_backlog{stream="till",unit="rows"} 0',
        'earnbook_stream_last_commit_timestamp_seconds{stream="till"} 1780272000.000',
    ):
        assert line in text.splitlines()
    kinds = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len({name for name, _ in kinds}) == len(kinds)
    assert {kind for _, kind in kinds} == {"counter", "gauge", "histogram"}
