"""Partitions and offsets as the Kafka client has them, and as the worker does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from callsheet.batch import Offset, Partition


def partition_of(found: TopicPartition | Message) -> Partition:
    if isinstance(found, TopicPartition):
        return Partition(found.topic, found.partition)
    return Partition(cast("str", found.topic()), cast("int", found.partition()))


def placed(committed: TopicPartition, starts: Mapping[Partition, Offset]) -> TopicPartition:
    """With the offset to start from, always explicit: then only a gap is an error.

    The earlier of the sink's and the group's. A sink's own progress may lie beyond a record whose
    dead letter was never acknowledged: the group's never does. The group's may lie beyond a
    destination that was set back, to a backup of yesterday.
    """
    known = committed.offset if committed.offset >= 0 else OFFSET_BEGINNING  # less than any offset
    start = min(known, starts.get(partition_of(committed), known))
    return TopicPartition(committed.topic, committed.partition, start)


def partitions_of(found: Iterable[TopicPartition]) -> list[Partition]:
    return [partition_of(tp) for tp in found]


def as_client_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(p.topic, p.number) for p in partitions]
