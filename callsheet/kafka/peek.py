"""Reading without being anybody: no group is joined, nothing is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, cast
from uuid import uuid4

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import FatalError, UnavailableError
from callsheet.kafka.clients import refusals_told
from callsheet.kafka.settings import Connection, Membership, consumer_config


class Peek:
    """Reads these partitions, each from its offset (None: the beginning), up to their ends.

    ``with_open``: also what transactions have written that are not decided, or were taken back.

    Raises:
        ConfigError: the client does not take its settings.
    """

    def __init__(
        self,
        connection: Connection,
        starts: Mapping[Partition, Offset | None],
        *,
        with_open: bool = False,
    ) -> None:
        membership = Membership(f"callsheet-peek-{uuid4().hex}")
        config = {**consumer_config(connection, membership), "auto.offset.reset": "earliest"}
        if with_open:
            config["isolation.level"] = "read_uncommitted"
        with refusals_told(config):
            self._client = Consumer({**config, "log_level": 0})
        self._unfinished = set(starts)
        self._ends: dict[Partition, Offset] = {}
        self._client.assign(
            [
                TopicPartition(p.topic, p.number, OFFSET_BEGINNING if start is None else start)
                for p, start in starts.items()
            ]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    @property
    def is_at_end(self) -> bool:
        """Have all partitions been read to their ends, as they were when we got there?"""
        return not self._unfinished

    @property
    def ends(self) -> Mapping[Partition, Offset]:
        """Of the partitions that were read to their ends: where those are."""
        return self._ends

    def close(self) -> None:
        """For who does not use it as a context."""
        self._client.close()

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        """Raises:
        UnavailableError: the brokers are away.
        """
        records = []
        try:
            found = self._client.consume(max_events, timeout_s)
        except KafkaException as error:
            raise FatalError(f"Kafka: {error.args[0].str()}") from error
        for message in found:
            fault = message.error()
            if fault is None:
                records.append(message)
            elif fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's spelling
                at = Partition(cast("str", message.topic()), cast("int", message.partition()))
                self._unfinished.discard(at)
                self._ends[at] = cast("int", message.offset())
            elif not fault.retriable():
                raise UnavailableError(f"Kafka: {fault.str()}")
        return cast("Sequence[Message]", records)
