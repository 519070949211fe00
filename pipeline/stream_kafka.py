"""Topics of Kafka as a stream: each partition is a part, its position the offset of the next message.

Partitions are assigned by hand, at the offsets that the book has; a consumer group's offsets are only a copy for those
who watch lag from outside, written after each commit of the book and never read. So what is in the book and where the
stream goes on cannot differ, whatever happens in between. A partition that the book does not know begins at its first
message. Where the broker no longer has the message at a position, the stream stops: nothing is passed over unsaid.

A message is one NDJSON line. Its row number is its offset, and partitions are sources of their own, so a reject names
topic, partition and offset. Messages of one batch are in the order of topic, partition and offset; where each batch
was cut can be read off them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.stage import Lines
from earnbook.pipeline.stream_source import Arrival, Backlog, Position

POLL_SECONDS = 0.1
"""How long one request for messages waits: a stop, and the delay of a batch, are noticed as late as this."""

CONSUME_MAX = 10_000
"""Messages of one such request."""

METADATA_SECONDS = 10.0
"""How long brokers may take to answer what partitions there are."""

DISCOVERY_SECONDS = 60.0
"""How often new partitions are looked for."""

EMPTY = b"null"
"""Stands for a message without content (a tombstone), which as a blank line would be no row at all."""

_Part: TypeAlias = tuple[str, int]
_RESERVED = frozenset({"enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.partition.eof"})


ADDRESS = "kafka://"
"""How the address of topics begins: `kafka://BROKER[,BROKER...]/TOPIC[,TOPIC...]`."""


def parse_address(address: str) -> tuple[str, tuple[str, ...]]:
    """Brokers and topics of an address; ValueError where it has not both."""
    brokers, _, topics = address.removeprefix(ADDRESS).partition("/")
    names = tuple(topic for topic in topics.split(",") if topic)
    if not brokers or not names or "/" in topics:
        raise ValueError(f"{address}: write {ADDRESS}BROKER:PORT/TOPIC, several of each with commas between")
    return brokers, names


def read_settings(path: Path) -> dict[str, str]:
    """A file of `key=value` lines, as Kafka's own tools read it; ValueError for a line that is none."""
    settings: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"{path}, line {number}: no `key=value`")
        settings[key.strip()] = value.strip()
    return settings


def part_name(topic: str, partition: int) -> str:
    """The name of a partition in the book."""
    return f"{topic}/{partition}"


class KafkaSource:
    """Messages of topics; see `stream_source.StreamSource`."""

    def __init__(self, topics: Sequence[str], *, name: str, settings: Mapping[str, Any]) -> None:
        """`settings` are librdkafka's, at least `bootstrap.servers`. Raises SourceError for those that are ours."""
        reserved = sorted(_RESERVED & settings.keys())
        if reserved:
            raise SourceError(
                f"{name}: {reserved[0]} cannot be set", "Positions are the book's; leave the setting out of the file."
            )
        self._topics = tuple(sorted(set(topics)))
        self._name = name
        self._trouble = ""
        self._positions: dict[_Part, int] = {}
        self._is_stopped = False
        self._discovered_at = 0.0
        self._committed: dict[_Part, int] = {}
        try:
            self._consumer = Consumer(
                {
                    "group.id": f"earnbook-{name}",
                    "client.id": "earnbook",
                    **settings,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "error_cb": self._note_trouble,
                }
            )
        except (KafkaException, ValueError, TypeError) as error:
            raise SourceError(f"{name}: {error}", "Correct the settings of the client.") from error

    @property
    def name(self) -> str:
        """Under which name the book keeps its positions."""
        return self._name

    def begin(self, stored: Sequence[Position]) -> None:
        """Assign every partition, at the position that the book has of it."""
        known = {position.part: position.position for position in stored}
        parts = self._find_parts()
        names = {part_name(*part) for part in parts}
        gone = [part for part in sorted(known.keys() - names) if part.rpartition("/")[0] in self._topics]
        if gone:
            raise SourceError(
                f"{self._name}: the book has a position in partition {gone[0]}, which the topic does not have",
                "The topic was made anew: give the new one another --name once all of the old one is in the book.",
            )
        self._assign({part: known.get(part_name(*part), OFFSET_BEGINNING) for part in parts})

    def take(self, *, rows_max: int, delay_seconds: float, wait_seconds: float | None) -> Arrival | None:
        """See `StreamSource.take`."""
        self._discover()
        messages: list[Message] = []
        started = arrived_at = time.monotonic()
        while not self._is_stopped and len(messages) < rows_max:
            left = self._patience(messages, arrived_at if messages else started, delay_seconds, wait_seconds)
            if left <= 0 and (messages or wait_seconds is not None):
                # What waits in the client's own buffer is taken, even where there is no time to wait for more.
                messages += self._consume(rows_max - len(messages), 0.0)
                break
            found = self._consume(rows_max - len(messages), min(left, POLL_SECONDS))
            if found and not messages:
                arrived_at = time.monotonic()
            messages += found
        return self._arrival(messages, arrived_at) if messages else None

    @property
    def has_ended(self) -> bool:
        """A topic has no end; after a stop nothing is left here."""
        return self._is_stopped

    @property
    def backlog(self) -> Backlog:
        """The messages behind the positions that were handed over, as far as the client has heard of them."""
        lag = 0
        for (topic, partition), position in list(self._positions.items()):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            lag += max(high - max(position, low, 0), 0)
        return Backlog(rows=lag)

    def committed(self, positions: Sequence[Position]) -> None:
        """Tell the consumer group; that it fails is no harm, because nobody goes on from there."""
        offsets = {_part_of(position.part): position.position for position in positions}
        self._committed |= offsets
        try:
            self._consumer.commit(offsets=_topic_partitions(offsets), asynchronous=True)
        except KafkaException as error:
            self._trouble = str(error)

    def stop(self) -> None:
        """Take in nothing more."""
        self._is_stopped = True

    def close(self) -> None:
        """Leave the brokers; the group is told the last positions once more, and waited for."""
        self._is_stopped = True
        try:
            if self._committed:
                self._consumer.commit(offsets=_topic_partitions(self._committed), asynchronous=False)
        except KafkaException as error:
            self._trouble = str(error)
        finally:
            self._consumer.close()

    # --- partitions -------------------------------------------------------------------------------------------------

    def _find_parts(self) -> list[_Part]:
        """The partitions of all topics, in order."""
        parts: list[_Part] = []
        for topic in self._topics:
            try:
                found = self._consumer.list_topics(topic, timeout=METADATA_SECONDS).topics[topic]
            except KafkaException as error:
                raise SourceError(
                    f"{self._name}: {self._trouble or error}", "Check the brokers' addresses and the settings."
                ) from error
            if found.error is not None or not found.partitions:
                raise SourceError(
                    f"{self._name}: topic {topic}: {found.error or 'it has no partitions'}",
                    "Create the topic first, or correct its name.",
                )
            parts += [(topic, partition) for partition in sorted(found.partitions)]
        self._discovered_at = time.monotonic()
        return parts

    def _assign(self, offsets: Mapping[_Part, int]) -> None:
        self._positions |= offsets
        self._consumer.assign(_topic_partitions(self._positions))

    def _discover(self) -> None:
        """Partitions that were added to a topic begin at their first message."""
        if time.monotonic() - self._discovered_at < DISCOVERY_SECONDS:
            return
        self._discovered_at = time.monotonic()
        try:
            new = [part for part in self._find_parts() if part not in self._positions]
        except SourceError as error:
            # Brokers that cannot be asked now are asked again; the messages of known partitions go on.
            self._trouble = str(error)
            return
        if new:
            self._assign(dict.fromkeys(new, OFFSET_BEGINNING))

    # --- messages ---------------------------------------------------------------------------------------------------

    def _patience(
        self, messages: Sequence[Message], since: float, delay_seconds: float, wait_seconds: float | None
    ) -> float:
        """How long to wait for the next message."""
        limit = delay_seconds if messages else wait_seconds
        return POLL_SECONDS if limit is None else since + limit - time.monotonic()

    def _consume(self, count: int, seconds: float) -> list[Message]:
        """Messages that have come, without what the client says beside them."""
        found = self._consumer.consume(num_messages=min(count, CONSUME_MAX), timeout=seconds)
        messages = []
        for message in found:
            error = message.error()
            if error is None:
                messages.append(message)
            else:
                self._judge(message, error)
        return messages

    def _judge(self, message: Message, error: KafkaError) -> None:
        """An offset that is gone ends the stream, as does what the client itself gives up at; it repeats the rest."""
        topic, partition = message.topic(), message.partition()
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            assert topic is not None
            assert partition is not None
            part = part_name(topic, partition)
            raise SourceError(
                f"{self._name}: partition {part} has no message at offset {self._positions[topic, partition]:,}, where "
                f"the book stands ({error.str()})",
                "Messages were deleted before they were read: bring the records of the gap in by `earnbook run`, "
                "then go on under another --name, from the first message that is left.",
            )
        if error.fatal() or error.code() in _FINAL:
            raise SourceError(f"{self._name}: {error.str()}", "Check the topic, and that this client may read it.")
        self._note_trouble(error)

    def _note_trouble(self, error: KafkaError) -> None:
        self._trouble = error.str()

    def _arrival(self, messages: list[Message], arrived_at: float) -> Arrival:
        lines: list[Lines] = []
        positions: list[Position] = []
        ordered = sorted(messages, key=lambda message: (message.topic(), message.partition(), message.offset()))
        for (topic, partition), group in groupby(ordered, key=lambda message: (message.topic(), message.partition())):
            source = f"kafka:{part_name(topic, partition)}"
            digest = hashlib.sha256()
            first = last = -1
            for offset, data in _runs(group):
                lines.append(Lines(name=source, data=data, first_row=offset))
                digest.update(data)
                first = offset if first < 0 else first
                last = offset + data.count(b"\n") - 1
            self._positions[topic, partition] = last + 1
            positions.append(
                Position(
                    part=part_name(topic, partition),
                    label=source,
                    first_position=first,
                    position=last + 1,
                    row=last,
                    sha256=digest.hexdigest(),
                )
            )
        return Arrival(arrived_at=arrived_at, rows=len(messages), lines=tuple(lines), positions=tuple(positions))


_FINAL = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._AUTHENTICATION,
    }
)


def _line_of(message: Message) -> bytes:
    """A message as one line. A line break in JSON is a blank, and so is `\\r`; inside a text both are mistakes."""
    value = message.value()
    if value is None or not value.strip():
        return EMPTY
    line: bytes = value.replace(b"\n", b"\r")
    return line


def _runs(messages: Iterable[Message]) -> Iterator[tuple[int, bytes]]:
    """Messages of a partition as lines, a piece for each run of offsets without a gap, with its first offset."""
    first = expected = -1
    parts: list[bytes] = []
    for message in messages:
        offset = message.offset()
        assert offset is not None
        if offset != expected:
            if parts:
                yield first, b"".join(parts)
            first, parts = offset, []
        parts.append(_line_of(message) + b"\n")
        expected = offset + 1
    if parts:
        yield first, b"".join(parts)


def _part_of(name: str) -> _Part:
    topic, _, partition = name.rpartition("/")
    return topic, int(partition)


def _topic_partitions(offsets: Mapping[_Part, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in sorted(offsets.items())]
