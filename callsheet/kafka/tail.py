"""Watch a topic's new records, outside of any consumer group."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from callsheet.kafka.faults import translated

_TIMEOUT_S: Final = 10.0


class TopicTail:
    """Sees what is committed to a topic from the moment it is entered on. Commits nothing.

    Raises:
        RetryableError: the brokers do not answer.
    """

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        self._client = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "callsheet-tail",  # librdkafka wants one; it is never joined
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 3,
            }
        )

    def __enter__(self) -> Self:
        try:
            topics = self._client.list_topics(self._topic, timeout=_TIMEOUT_S).topics
            found = [TopicPartition(self._topic, n) for n in topics[self._topic].partitions]
            for partition in found:
                _, partition.offset = self._client.get_watermark_offsets(
                    partition, timeout=_TIMEOUT_S
                )
        except KafkaException as error:
            self._client.close()
            raise translated(error.args[0], f"looking at {self._topic}") from error
        self._client.assign(found)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._client.close()

    def has_new_record(self) -> bool:
        """Waits up to 100 ms for one; true once for each."""
        message = self._client.poll(0.1)
        if message is None:
            return False
        fault = message.error()
        if fault is not None:
            raise translated(fault, f"reading {self._topic}")
        return True
