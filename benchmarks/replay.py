"""Real change events again, at a rate of our choice: read once, produced as they were."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Message, Producer

from benchmarks.servers.kafka import Kafka
from callsheet.errors import FatalError

TICK_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record: the last part of its topic's name is its table's."""

    table: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


def record(kafka: Kafka, topics: Sequence[str]) -> list[Recorded]:
    """All committed records of the topics, merged by time; each partition keeps its order."""
    runs: dict[tuple[str, int], list[Recorded]] = {}
    for topic in topics:
        for message in kafka.messages(topic):
            found = _recorded(message)
            runs.setdefault((found.table, found.partition), []).append(found)
    return list(heapq.merge(*runs.values(), key=lambda each: each.timestamp_ms))


def _recorded(message: Message) -> Recorded:
    topic, partition = message.topic(), message.partition()
    if topic is None or partition is None:
        raise FatalError("a record without a place")
    table = topic.rpartition(".")[2]
    return Recorded(table, partition, message.key(), message.value(), message.timestamp()[1])


class Replay:
    """Topics of its own, ``<prefix>.<table>``, made anew.

    ``settings`` are the producer's. Recorded partitions are folded into as many as the topics have.
    """

    def __init__(
        self,
        kafka: Kafka,
        prefix: str,
        tables: Sequence[str],
        *,
        partitions: int = 4,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._kafka, self._prefix, self._partitions = kafka, prefix, partitions
        self.topics = [f"{prefix}.{table}" for table in tables]
        self._producer = Producer({
            **kafka.settings,
            "linger.ms": 1,
            "compression.type": "lz4",
            "acks": "all",
            "log_level": 0,
            **(settings or {}),
        })  # fmt: skip

    def make_topics(self) -> None:
        self._kafka.delete(self.topics)
        for topic in self.topics:
            self._kafka.create(topic, self._partitions, {})

    def remove_topics(self) -> None:
        self._kafka.delete(self.topics)

    def play(self, records: Sequence[Recorded], rate_per_s: float) -> float:
        """On an absolute schedule, all at once if the rate is infinite; returns the rate kept."""
        start, sent = time.perf_counter(), 0
        while sent < len(records):
            due = len(records)
            if rate_per_s < float("inf"):
                due = min(due, int((time.perf_counter() - start) * rate_per_s) + 1)
            for each in records[sent:due]:
                self._send(each)
            sent = due
            self._producer.poll(0)
            time.sleep(TICK_S)
        if left := self._producer.flush(30):
            raise FatalError(f"{left} records of the replay were not acknowledged")
        return len(records) / (time.perf_counter() - start)

    def _send(self, each: Recorded) -> None:
        topic = f"{self._prefix}.{each.table}"
        partition = each.partition % self._partitions
        while True:
            try:
                self._producer.produce(topic, each.value, each.key, partition=partition)
            except BufferError:  # as many wait as the client holds
                self._producer.poll(0.1)
            else:
                return
