"""The Kafka sink in a transaction as the worker gives it one, and what readers find downstream."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import polars as pl
import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from callsheet.batch import Batch, Offset, Partition
from callsheet.codec.avro import schema_id
from callsheet.codec.normalized import NormalizedCodec
from callsheet.errors import RetryableError
from callsheet.event import OFFSET_BITS, Event
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Progress, SinkContext, Transaction
from callsheet.undelivered import restrict
from sinks.kafka.catalog import contract
from sinks.kafka.settings import KafkaSinkSettings
from sinks.kafka.sink import KafkaSink
from tests.support.batches import Row, upsert
from tests.support.kafka_proxy import KafkaProxy

CLOCK = SystemClock()
MOST_BYTES = 1 << 20


def a_producer(address: str, name: str, **bounds: Any) -> TransactionalProducer:
    wanted = {"max_message_bytes": 4 * MOST_BYTES, "in_flight_bytes": 2 << 20, "budget_s": 30.0}
    return TransactionalProducer(
        Connection(address), name, log=structlog.get_logger(), clock=CLOCK, **{**wanted, **bounds}
    )


def records(address: str, topic: str) -> list[Message]:
    """All that a reader of committed records finds, partition by partition.

    A commit is answered when it is decided; its markers reach the partitions a moment later. So a
    partition's end counts once it is that of uncommitted readers too, unless it stays behind it
    for long: then a transaction is open.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": f"reader-{uuid4().hex}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    known = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in known])
    found: list[Message] = []
    waiting = _ends(address, topic, known)
    deadline, patience = Deadline.after(CLOCK, 30.0), Deadline.after(CLOCK, 5.0)
    at_end: set[int] = set()
    while waiting and not deadline.expired():
        for message in consumer.consume(1000, 0.1):
            number = message.partition() or 0
            if message.error() is None:
                found.append(message)
            else:
                at_end.add(number)
                if (message.offset() or 0) >= waiting.get(number, 0):
                    waiting.pop(number, None)
        if patience.expired():
            waiting = {number: end for number, end in waiting.items() if number not in at_end}
    consumer.close()
    assert not waiting, f"{topic} was not read to its end"
    return sorted(found, key=lambda m: (m.partition() or 0, m.offset() or 0))


def _ends(address: str, topic: str, numbers: Iterable[int]) -> dict[int, int]:
    """Of the partitions, as a reader of uncommitted records sees them."""
    isolation = {"group.id": "ends", "isolation.level": "read_uncommitted"}
    consumer = Consumer({"bootstrap.servers": address, **isolation})
    places = [TopicPartition(topic, number) for number in numbers]
    ends = {place.partition: consumer.get_watermark_offsets(place, 30)[1] for place in places}
    consumer.close()
    return ends


def headers_of(message: Message) -> dict[str, bytes | None]:
    headers: Any = message.headers() or ()
    return dict(headers)


def events_of(messages: Sequence[Message], schema: TableSchema) -> list[Event]:
    """What readers make of them; no tombstones."""
    codecs: dict[int, NormalizedCodec] = {}
    events = []
    for message in messages:
        value = message.value()
        assert isinstance(value, bytes)
        identifier = schema_id(value)
        codec = codecs.setdefault(identifier, NormalizedCodec(contract(schema), identifier))
        events.append(codec.decode(value))
    return events


@dataclass(slots=True)
class InTransaction:
    """The sink as a worker uses it: durable is what a commit has carried, and of a transaction that
    is lost everything is written again.
    """

    inner: KafkaSink
    producer: TransactionalProducer
    membership: object
    _taken: list[Batch] = field(default_factory=list)
    _is_lost: bool = False
    _told: Progress = field(default_factory=Progress)

    def open(self) -> None:
        self.inner.open()

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return self.inner.assigned(partitions)

    def write(self, batch: Batch, deadline: Deadline) -> None:
        self._again(deadline)
        # The laws count versions from 1; an event's version says which binlog file it is from.
        version = pl.col("version") + (1 << OFFSET_BITS)
        batch = replace(batch, columns=batch.frame.with_columns(version))
        self.inner.write(batch, deadline)
        self._taken.append(batch)

    def progress(self) -> Progress:
        told, self._told = self._told, Progress(self._told.durable)
        return told

    def flush(self, deadline: Deadline) -> None:
        self._again(deadline)
        if not self._taken:
            return
        progress = self.inner.progress()
        if not self.producer.commit(progress.durable, self.membership, deadline):
            why = self.producer.failure
            self._lose()
            raise RetryableError(f"the transaction is lost: {why}")
        self._taken = []
        self._told = Progress(
            progress.durable,
            [*self._told.rejections, *progress.rejections],
            self._told.counts + progress.counts,
        )

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        if lost and self._taken:
            self._lose()
            kept = [
                restrict(b, lambda m: Partition(m.topic(), m.partition()) not in partitions)
                for b in self._taken
            ]
            self._taken = [batch for batch in kept if batch is not None]
        self.inner.revoked(partitions, lost=lost)
        durable = {p: o for p, o in self._told.durable.items() if p not in partitions}
        self._told = Progress(durable, self._told.rejections, self._told.counts)

    def close(self) -> None:
        self.producer.close()
        self.inner.close()

    def _lose(self) -> None:
        self._is_lost = True
        everything = {p for batch in self._taken for p in batch.next_offsets()}
        self.inner.revoked(everything, lost=True)
        self.inner.progress()
        self.producer.start_over()

    def _again(self, deadline: Deadline) -> None:
        if self._is_lost:
            self.producer.start_over()
            for batch in self._taken:
                self.inner.write(batch, deadline)
            self._is_lost = False


@dataclass(slots=True)
class DownstreamDestination:
    """A topic of a test's own behind a proxy, read by going around it."""

    address: str
    registry: str
    proxy: KafkaProxy
    mode: str
    schema: TableSchema
    made: list[InTransaction] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"down.finance.{self.schema.table}"

    def sink(self, **settings: Any) -> InTransaction:
        wanted: dict[str, Any] = {
            "prefix": "down",
            "mode": self.mode,
            "registry": {"url": self.registry},
        }
        wanted |= {"max_message_bytes": MOST_BYTES, "partitions": 3, "replication_factor": 1}
        producer = a_producer(self.proxy.address, f"{self.schema.table}-{len(self.made)}")
        topics = KafkaTopics({"bootstrap.servers": self.address})
        transaction = Transaction(producer, topics, lambda _: False)
        context = SinkContext("test", CLOCK, transaction=transaction)
        inner = KafkaSink(KafkaSinkSettings.model_validate(wanted | settings), context)
        outsider = Consumer({"bootstrap.servers": self.address, "group.id": self.schema.table})
        sink = InTransaction(inner, producer, outsider.consumer_group_metadata())
        self.made.append(sink)
        return sink

    def names(self) -> Mapping[str, str | None]:
        """The topic folded: in log mode by version, as readers must where a source repeats itself;
        in the compacted mode the last record of a key is its state.
        """
        states: dict[str, tuple[int, Mapping[str, Any] | None]] = {}
        for message in records(self.address, self.topic):
            key = message.key()
            assert isinstance(key, bytes)
            if message.value() is None:
                states[key.decode()] = 0, None
                continue
            (event,) = events_of([message], self.schema)
            assert key == event.id.encode()
            version = event.position.version
            if self.mode == "latest" or version >= states.get(event.id, (0, None))[0]:
                states[event.id] = version, event.after
        return {k: row["name"] for k, (_, row) in states.items() if row is not None}

    def poison(self, identifier: int) -> Row:
        return upsert(identifier, name="x" * MOST_BYTES)

    def freeze(self) -> None:
        self.proxy.freeze()

    def thaw(self) -> None:
        self.proxy.thaw()
