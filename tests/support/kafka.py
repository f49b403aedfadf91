"""Topics of a test's own on a real broker, and a worker on them with a sink in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from uuid import uuid4

import polars as pl
import structlog
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from prometheus_client import CollectorRegistry

from callsheet.backoff import Backoff, Outage
from callsheet.batch import FRAME_SCHEMA, Batch, Decoded, Message, Poison, Skip
from callsheet.delivery import Step, Surroundings
from callsheet.errors import Reason
from callsheet.fuse import Fuse, FuseRating
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.dead_letters import KafkaDeadLetters
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.settings import Connection, Membership
from callsheet.limits import Limits, TruncatePolicy
from callsheet.observability.health import Pulse
from callsheet.observability.metrics import Metrics
from callsheet.ports import SystemClock
from callsheet.schema import Column, Kind, TableSchema
from callsheet.worker import Worker
from tests.support.memory_sink import MemorySink, MemoryStore

PATIENCE_S = 60.0
LIMITS = Limits(
    poll_events=500,
    in_hand_events=2_000,
    write_budget_s=5.0,
    revoke_budget_s=5.0,
    stop_budget_s=10.0,
    letters_budget_s=10.0,
    commit_interval_s=0.1,
    status_interval_s=0.05,
)


def eventually(is_true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.05)


@dataclass(slots=True)
class Cluster:
    """A broker, and what a test made on it."""

    connection: Connection
    admin: AdminClient
    name: str = field(default_factory=lambda: f"t-{uuid4().hex[:10]}")
    made: list[str] = field(default_factory=list)

    def topic(
        self, partitions: int = 1, suffix: str = "rows", config: Mapping[str, str] | None = None
    ) -> str:
        name = f"{self.name}.{suffix}"
        future = self.admin.create_topics(
            [NewTopic(name, partitions, 1, config=dict(config or {}))]
        )[name]
        future.result(30)
        self.made.append(name)
        return name

    def produce(self, topic: str, rows: Sequence[tuple[str, str | None]]) -> None:
        """(key, text); a text of ``bad`` is poison, None a tombstone."""
        producer = Producer({**self.connection.common()})
        for key, text in rows:
            value = None if text is None else text.encode()
            producer.produce(topic, key=key.encode(), value=value, headers={"own": b"1"})
            producer.poll(0)
        assert producer.flush(30) == 0

    @property
    def groups(self) -> KafkaGroups:
        return KafkaGroups(self.connection)

    def lag(self, group: str, topic: str) -> int | None:
        found = self.groups.offsets(group, self.groups.partitions([topic]))
        lags = [o.lag for o in found if o.committed is not None]
        return sum(lag or 0 for lag in lags) if len(lags) == len(found) else None

    def remove(self) -> None:
        for future in self.admin.delete_topics(self.made).values():
            future.result(30)


@contextmanager
def a_cluster(env: Mapping[str, str]) -> Iterator[Cluster]:
    connection = Connection(env["CALLSHEET_KAFKA_BOOTSTRAP"])
    cluster = Cluster(connection, AdminClient({**connection.common()}))
    try:
        yield cluster
    finally:
        if cluster.made:
            cluster.remove()


def letters_of(cluster: Cluster, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.connection.bootstrap_servers,
            "group.id": f"{cluster.name}-reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Message] = []
    eventually(lambda: len(_read(consumer, found)) >= count, f"{count} letters")
    consumer.close()
    return found


def _read(consumer: Consumer, found: list[Message]) -> list[Message]:
    found += [m for m in consumer.consume(100, 0.2) if m.error() is None]  # type: ignore[misc]
    return found


class LineDecoder:
    """Key is the ID, value a text; the offset serves as version."""

    def decode(self, messages: Sequence[Message]) -> Decoded:
        batches, poison, tombstones = [], [], 0
        for topic in sorted({m.topic() for m in messages}):
            mine = [m for m in messages if m.topic() == topic]
            bad = [m for m in mine if _is_bad(m)]
            rows = [m for m in mine if m.value() is not None and m not in bad]
            poison += [Poison(m, Reason.MALFORMED, "bad") for m in bad]
            tombstones += sum(m.value() is None for m in mine)
            if rows:
                batches.append(_batch(topic, rows))
        return Decoded(batches, {Skip.TOMBSTONE: tombstones}, poison)


def _is_bad(message: Message) -> bool:
    value = message.value() or b""
    return value == b"bad" or len(value) > 1 << 20


def _batch(topic: str, rows: Sequence[Message]) -> Batch:
    columns = (Column("text", Kind.STRING),)
    schema = TableSchema("t", "t", topic, columns, ("id",), "1")
    frame = pl.DataFrame(
        [
            {
                "op": "u",
                "id": (m.key() or b"").decode(),
                "ts_us": 1,
                "version": m.offset() + 1,
                "snapshot": False,
                "partition": m.partition(),
                "offset": m.offset(),
                "after": {"text": (m.value() or b"").decode()},
            }
            for m in rows
        ],
        schema={
            **FRAME_SCHEMA,
            "before": pl.Struct({"text": pl.String()}),
            "after": pl.Struct({"text": pl.String()}),
        },
    )
    return Batch(topic, schema, frame, rows, sum(len(m.value() or b"") for m in rows))


@dataclass(slots=True)
class LiveWorker:
    """A worker in a thread. ``error`` is what it died of."""

    worker: Worker
    sink: MemorySink
    metrics: Metrics
    pulse: Pulse
    consumer: GroupConsumer
    error: BaseException | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        def run() -> None:
            try:
                self.worker.run()
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.worker.stop()
        assert self.thread is not None
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the worker does not stop"

    def count(self, name: str) -> float:
        families = self.metrics.registry.collect()
        return sum(s.value for f in families for s in f.samples if s.name == f"callsheet_{name}")


def a_worker(
    cluster: Cluster,
    topics: Sequence[str],
    store: MemoryStore,
    *,
    group: str | None = None,
    letters_topic: str = "",
    limits: Limits = LIMITS,
    at: Callable[[Step], None] = lambda _: None,
    letters: Any = None,
    **membership: Any,
) -> LiveWorker:
    clock, log = SystemClock(), structlog.get_logger()
    member = replace(Membership(group or cluster.name), **membership)
    consumer = GroupConsumer(cluster.connection, member, log)
    sink, metrics, pulse = MemorySink(store, clock), Metrics(CollectorRegistry()), Pulse(clock)
    world = Surroundings(
        consumer=consumer,
        decoder=LineDecoder(),
        sink=sink,
        letters=letters
        or KafkaDeadLetters(
            cluster.connection,
            letters_topic or f"{cluster.name}.letters",
            pipeline="test",
            version="1",
            max_message_bytes=2_000_000,
            budget_s=10.0,
            log=log,
        ),
        fuse=Fuse(FuseRating()),
        outage=Outage(clock, Backoff(0.05, 0.2), Random(1)),
        clock=clock,
        metrics=metrics,
        pulse=pulse,
        log=log,
        at=at,
    )
    return LiveWorker(
        Worker(world, topics, limits, TruncatePolicy.PARK), sink, metrics, pulse, consumer
    )
