"""A topic's records from the first to the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from confluent_kafka import Consumer, Message, TopicPartition

from callsheet.batch import Partition
from callsheet.kafka.groups import KafkaGroups
from tests.support.polling import PATIENCE_S


def read_all(bootstrap: str, groups: KafkaGroups, topics: Sequence[str]) -> list[Message]:
    """Every committed record from the first to the last, in order per partition."""
    places = groups.offsets(f"reader-{uuid4().hex}", groups.partitions(topics))
    open_ends = {p.partition: p.end for p in places if p.end and p.end > (p.begin or 0)}
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap, "group.id": f"reader-{uuid4().hex}",
            "enable.auto.commit": False, "isolation.level": "read_committed",
            "enable.partition.eof": True, "log_level": 0,
        }
    )  # fmt: skip
    found: list[Message] = []
    try:
        reader.assign([TopicPartition(p.topic, p.number, 0) for p in open_ends])
        end = time.monotonic() + PATIENCE_S
        while open_ends:
            assert time.monotonic() < end, f"could not be read to their ends: {list(open_ends)}"
            message = reader.poll(1.0)
            if message is None:
                continue
            if message.error() is None:
                found.append(message)
            else:  # the end of a partition
                open_ends.pop(Partition(str(message.topic()), int(message.partition() or 0)), None)
    finally:
        reader.close()
    return found
