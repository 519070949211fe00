"""Topics of Kafka as a stream, against the mock cluster of librdkafka: real sockets, brokers in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import Consumer, Producer, TopicPartition

from earnbook.pipeline import stream_job
from earnbook.pipeline.commit import CommitRequest, CommittedBatch
from earnbook.pipeline.config import ClockMode
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.store import Book
from earnbook.pipeline.stream import BatchListener, StreamReport, StreamRequest, stream
from earnbook.pipeline.stream_job import StreamBatch
from earnbook.pipeline.stream_kafka import KafkaSource, parse_address, read_settings
from earnbook.pipeline.stream_source import Backlog, Position
from earnbook.pipeline.verify import verify_book
from tests.support.command_line import run_command

TOPIC = "orders"
WALL_US = 1_780_272_000_000_000
"""2026-06-01."""

DEFINITIONS = {
    "organization": {"key": "demo"},
    "assets": [
        {
            "symbol": "PTS",
            "name": "Points",
            "scale": 0,
            "inventory_mode": "SIMPLE",
            "issuance_policy": "UNLIMITED",
            "programs": ["shop"],
        }
    ],
    "programs": [
        {
            "key": "shop",
            "name": "Shop",
            "rules": [
                {
                    "key": "points",
                    "name": "points",
                    "order": 1,
                    "condition": "true",
                    "actions": [{"type": "CREDIT", "asset": "PTS", "amount": "event.n"}],
                }
            ],
        }
    ],
}


@dataclass(frozen=True)
class Cluster:
    """A mock cluster and what is sent to it; it lives as long as `keeper` does."""

    keeper: Any
    servers: str

    def send(self, partition: int, *values: str | None) -> None:
        """Messages to a partition of the topic, in order."""
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 0})
        for value in values:
            producer.produce(TOPIC, value=value, partition=partition)
        assert producer.flush(20) == 0

    def offsets(self, group: str, partitions: Sequence[int] = (0, 1, 2)) -> list[int]:
        """What the brokers keep for a consumer group; -1001: nothing."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group})
        found = consumer.committed([TopicPartition(TOPIC, partition) for partition in partitions], timeout=20)
        consumer.close()
        return [place.offset for place in found]

    def source(self, name: str = "orders", **settings: Any) -> KafkaSource:
        return KafkaSource([TOPIC], name=name, settings={"bootstrap.servers": self.servers, **settings})


@pytest.fixture
def cluster() -> Cluster:
    keeper = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    brokers = keeper.list_topics(timeout=20).brokers.values()
    made = Cluster(keeper, ",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    # The first look at a topic makes it, with four partitions.
    keeper.list_topics(TOPIC, timeout=20)
    return made


def event(key: str, n: int = 1, who: str = "alice") -> str:
    return json.dumps(
        {
            "program_id": "shop",
            "idempotency_key": key,
            "event_timestamp": "2026-05-01T10:00:00Z",
            "external_id": who,
            "event_data": {"n": n},
        }
    )


class Shop:
    """A book that streams write into."""

    def __init__(self, folder: Path) -> None:
        self.book = folder / "book.duckdb"
        self.config = folder / "definitions.json"
        self.config.write_text(json.dumps(DEFINITIONS), encoding="utf-8")
        self.batches: list[StreamBatch] = []

    def stream(
        self, source: KafkaSource, *, rows: int, records_max: int | None = None, on_batch: BatchListener | None = None
    ) -> StreamReport:
        """One stream until it has taken so many rows in; batches are full, of all of them where nothing is said."""
        left = [rows]

        def note(batch: StreamBatch, backlog: Backlog) -> None:
            self.batches.append(batch)
            if on_batch is not None:
                on_batch(batch, backlog)
            left[0] -= batch.rows_read
            if left[0] <= 0:
                source.stop()

        return stream(
            StreamRequest(
                book=self.book,
                config=self.config,
                clock=ClockMode.EVENT,
                no_horizon=True,
                records_max=records_max or rows,
                delay_seconds=60.0,
                idle_stop_seconds=60.0,
                read_wall_clock_us=lambda: WALL_US,
            ),
            source,
            note,
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.book), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    assert verify_book(shop.book).findings == ()


ORDER = "SELECT idempotency_key, source, source_row FROM events ORDER BY log_seq"


def test_a_batch_is_in_the_order_of_partition_and_offset(cluster: Cluster, shop: Shop) -> None:
    cluster.send(2, event("c-0"), event("c-1"))
    cluster.send(0, event("a-0"), event("a-1"), event("a-2"))
    cluster.send(1, event("b-0"))
    report = shop.stream(cluster.source(), rows=6)
    assert (report.events, report.rejected, report.duplicates) == (6, 0, 0)
    assert shop.rows(ORDER) == [
        ("a-0", "kafka:orders/0", 0),
        ("a-1", "kafka:orders/0", 1),
        ("a-2", "kafka:orders/0", 2),
        ("b-0", "kafka:orders/1", 0),
        ("c-0", "kafka:orders/2", 0),
        ("c-1", "kafka:orders/2", 1),
    ]
    cuts = [(place.part, place.first_position, place.position) for batch in shop.batches for place in batch.positions]
    assert sorted(cuts) == [("orders/0", 0, 3), ("orders/1", 0, 1), ("orders/2", 0, 2)]


def test_a_stream_goes_on_where_the_book_stands(cluster: Cluster, shop: Shop) -> None:
    for n in range(30):
        cluster.send(n % 3, event(f"k-{n}", n + 1))
    shop.stream(cluster.source(), rows=14, records_max=7)
    assert len(shop.rows(ORDER)) >= 14
    for n in range(30, 36):
        cluster.send(n % 3, event(f"k-{n}", n + 1))
    left = 36 - len(shop.rows(ORDER))
    report = shop.stream(cluster.source(), rows=left)
    assert (report.events, report.duplicates) == (left, 0)
    assert {key for key, *_ in shop.rows(ORDER)} == {f"k-{n}" for n in range(36)}
    assert shop.rows("SELECT available_minor FROM participant_balances") == [(36 * 37 // 2,)]


class Crash(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("is_committed", [False, True], ids=["before the commit", "before the brokers know"])
def test_a_crash_loses_nothing_and_doubles_nothing(
    cluster: Cluster, shop: Shop, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    for n in range(12):
        cluster.send(n % 3, event(f"k-{n}"))
    commit = stream_job.commit_batch

    def commit_and_crash(book: Book, request: CommitRequest) -> CommittedBatch:
        if request.header.batch == 2:
            if is_committed:
                commit(book, request)
            raise Crash
        return commit(book, request)

    monkeypatch.setattr(stream_job, "commit_batch", commit_and_crash)
    with pytest.raises(Crash):
        shop.stream(cluster.source(), rows=12, records_max=4)
    assert len(shop.rows(ORDER)) == (8 if is_committed else 4)
    assert sum(max(offset, 0) for offset in cluster.offsets("earnbook-orders")) == 4
    monkeypatch.undo()
    left = 4 if is_committed else 8
    report = shop.stream(cluster.source(), rows=left, records_max=4)
    assert (report.events, report.duplicates) == (left, 0)
    assert sorted(key for key, *_ in shop.rows(ORDER)) == sorted(f"k-{n}" for n in range(12))


def test_brokers_are_told_positions_and_are_never_ahead_of_the_book(cluster: Cluster, shop: Shop) -> None:
    for n in range(12):
        cluster.send(n % 3, event(f"k-{n}"))
    in_book = dict.fromkeys((f"{TOPIC}/{partition}" for partition in range(3)), 0)
    ahead: list[list[int]] = []

    def compare(batch: StreamBatch, _: Backlog) -> None:
        in_book.update({place.part: place.position for place in batch.positions})
        told = cluster.offsets("watched")
        ahead.extend([told] if any(a > b for a, b in zip(told, in_book.values(), strict=True)) else [])

    shop.stream(cluster.source(**{"group.id": "watched"}), rows=12, records_max=4, on_batch=compare)
    assert len(shop.batches) == 3
    assert ahead == []
    assert cluster.offsets("watched") == [4, 4, 4] == list(in_book.values())


def test_poison_goes_to_the_rejects_with_partition_and_offset(cluster: Cluster, shop: Shop) -> None:
    cluster.send(0, event("a-0"), "{", None, json.dumps(json.loads(event("a-3")), indent=2), "   ", "[1]")
    cluster.send(1, '{"idempotency_key": "b-\n0"}', event("b-1").replace("10:00", "25:00"), event("b-2"))
    report = shop.stream(cluster.source(), rows=9)
    assert (report.rows_read, report.events, report.rejected) == (9, 3, 6)
    assert [key for key, *_ in shop.rows(ORDER)] == ["a-0", "a-3", "b-2"]
    assert shop.rows("SELECT source, source_row, reason FROM rejects ORDER BY 1, 2") == [
        ("kafka:orders/0", 1, "UNPARSEABLE_ROW"),
        ("kafka:orders/0", 2, "UNPARSEABLE_ROW"),
        ("kafka:orders/0", 4, "UNPARSEABLE_ROW"),
        ("kafka:orders/0", 5, "UNPARSEABLE_ROW"),
        ("kafka:orders/1", 0, "UNPARSEABLE_ROW"),
        ("kafka:orders/1", 1, "INVALID_TIMESTAMP"),
    ]


def test_what_is_sent_twice_is_a_duplicate_whatever_the_partition(cluster: Cluster, shop: Shop) -> None:
    cluster.send(0, event("k-1"), event("k-2"))
    cluster.send(2, event("k-2"), event("k-1", 5))
    report = shop.stream(cluster.source(), rows=4)
    assert (report.events, report.duplicates, report.rejected) == (2, 1, 1)
    cluster.send(1, event("k-1"))
    assert shop.stream(cluster.source(), rows=1).duplicates == 1


def test_messages_that_wait_are_counted(cluster: Cluster) -> None:
    cluster.send(0, *(event(f"k-{n}") for n in range(5)))
    source = cluster.source()
    source.begin(())
    assert source.take(rows_max=2, delay_seconds=60.0, wait_seconds=60.0) is not None
    assert source.backlog == Backlog(rows=3)
    source.close()


def test_a_position_that_the_broker_does_not_have_stops_the_stream(cluster: Cluster) -> None:
    cluster.send(0, event("k-1"))
    source = cluster.source()
    source.begin([Position(part="orders/0", position=50, row=49)])
    with pytest.raises(SourceError, match="orders/0 has no message at offset 50"):
        source.take(rows_max=10, delay_seconds=0.1, wait_seconds=60.0)
    source.close()


def test_a_topic_that_was_made_anew_stops_the_stream(cluster: Cluster) -> None:
    source = cluster.source()
    with pytest.raises(SourceError, match="partition orders/9, which the topic does not have"):
        source.begin([Position(part="orders/9", position=5, row=4)])
    source.close()


def test_positions_of_other_topics_are_nobodys_business(cluster: Cluster) -> None:
    source = cluster.source()
    source.begin([Position(part="returns/9", position=5, row=4)])
    source.close()


def test_settings_that_would_move_positions_are_refused() -> None:
    with pytest.raises(SourceError, match=r"enable\.auto\.commit cannot be set"):
        KafkaSource(["t"], name="x", settings={"bootstrap.servers": "localhost:1", "enable.auto.commit": "true"})
    with pytest.raises(SourceError, match="Correct the settings"):
        KafkaSource(["t"], name="x", settings={"bootstrap.servers": "localhost:1", "no.such.setting": "1"})


def test_brokers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earnbook.pipeline.stream_kafka.METADATA_SECONDS", 0.5)
    source = KafkaSource(["t"], name="x", settings={"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    with pytest.raises(SourceError, match="Check the brokers' addresses"):
        source.begin(())
    source.close()


def test_addresses_name_brokers_and_topics() -> None:
    assert parse_address("kafka://a:9092,b:9092/orders,returns") == ("a:9092,b:9092", ("orders", "returns"))
    for wrong in ("kafka://", "kafka://a:9092", "kafka:///orders", "kafka://a/", "kafka://a/b/c"):
        with pytest.raises(ValueError, match="write kafka://BROKER"):
            parse_address(wrong)


def test_settings_are_read_as_kafka_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text("# ours\nsecurity.protocol = SSL\n\nsasl.password=a=b\n", encoding="utf-8")
    assert read_settings(path) == {"security.protocol": "SSL", "sasl.password": "a=b"}
    path.write_text("security.protocol\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        read_settings(path)


def test_the_command_takes_an_address(cluster: Cluster, shop: Shop, tmp_path: Path) -> None:
    cluster.send(0, event("k-1"), event("k-2"))
    settings = tmp_path / "client.properties"
    settings.write_text("group.id=till\n", encoding="utf-8")
    options = ("--book", shop.book, "--config", shop.config, "--clock", "event", "--stop-when-idle", "5s")
    address = f"kafka://{cluster.servers}/{TOPIC}"
    result = run_command("stream", address, *options, "--kafka-config", settings)
    assert result.exit_code == 0, result.stderr
    assert "2 rows in 1 batches: 2 records" in result.stderr
    assert cluster.offsets("till", (0,)) == [2]
    assert shop.rows("SELECT stream, part, position FROM streams") == [("kafka:orders", "orders/0", 2)]


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("kafka://broker:9092", (), "write kafka://BROKER"),
        ("kafka://broker:9092/orders", ("--replay",), "--replay"),
        ("kafka://broker:9092/orders", ("--source", "x"), "for a folder"),
        ("-", ("--kafka-config", "FILE"), "--kafka-config"),
    ],
)
def test_a_wrong_address_or_option_is_a_usage_mistake(
    tmp_path: Path, address: str, options: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "client.properties"
    file.write_text("", encoding="utf-8")
    words = [str(file) if word == "FILE" else word for word in options]
    result = run_command("stream", address, "--book", tmp_path / "book.duckdb", *words)
    assert result.exit_code == 2
    assert said in result.stderr
