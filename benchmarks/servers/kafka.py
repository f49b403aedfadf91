"""Kafka as the benchmarks look at it: how much is in a topic, how far a group has come."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from callsheet.errors import UnavailableError
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.topics import Topic

TIMEOUT_S: Final = 30.0
QUIET_S: Final = 15.0
BATCH: Final = 20_000
_GROUP_IS_GONE_OR_GOES: Final = frozenset(
    {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.NON_EMPTY_GROUP}
)


class Kafka:
    def __init__(self, bootstrap: str) -> None:
        self.settings: dict[str, Any] = {"bootstrap.servers": bootstrap}
        self._admin = AdminClient({**self.settings, "log_level": 0})
        self.topics = KafkaTopics(self.settings)

    def create(self, name: str, partitions: int, config: Mapping[str, str]) -> None:
        """Does nothing to one that exists."""
        self.topics.create([Topic(name, partitions, 1, config)])

    def delete(self, names: Sequence[str]) -> None:
        """Those that exist; returns when the brokers no longer list them."""
        self._delete([name for name in names if name in self._names()])

    def delete_matching(self, *prefixes: str) -> None:
        """All topics whose names begin so."""
        self._delete([name for name in self._names() if name.startswith(prefixes)])

    def _delete(self, names: Sequence[str]) -> None:
        if not names:
            return
        for future in self._admin.delete_topics(list(names)).values():
            future.result(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while set(names) & self._names():
            if time.monotonic() > deadline:
                raise UnavailableError("Kafka still lists deleted topics.")
            time.sleep(0.1)

    def _names(self) -> set[str]:
        return set(self._admin.list_topics(timeout=TIMEOUT_S).topics)

    def delete_group(self, group: str) -> None:
        """Its commits. One that does not exist is fine, and so is one whose member was killed: it
        ends with that member's session.
        """
        for future in self._admin.delete_consumer_groups([group]).values():
            try:
                future.result(TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() not in _GROUP_IS_GONE_OR_GOES:
                    raise

    def readers(self, group: str) -> int:
        """How many of the group have partitions; none while it is not stable."""
        (future,) = self._admin.describe_consumer_groups([group]).values()
        try:
            found = future.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise
        if found.state is not ConsumerGroupState.STABLE:
            return 0
        return sum(bool(member.assignment.topic_partitions) for member in found.members)

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """End offset of each partition, as a reader of committed records sees it."""
        reader = self._reader()
        try:
            found = {}
            for name, state in self.topics.describe(topics).items():
                for number in range(state.partitions):
                    place = TopicPartition(name, number)
                    found[name, number] = reader.get_watermark_offsets(place, TIMEOUT_S)[1]
            return found
        finally:
            reader.close()

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """How far a group has committed, per partition."""
        request = [ConsumerGroupTopicPartitions(group)]
        (future,) = self._admin.list_consumer_group_offsets(request).values()
        found = future.result(TIMEOUT_S).topic_partitions
        return {(place.topic, place.partition): place.offset for place in found}

    def count(self, topic: str) -> int:
        """Committed records in the topic, read one by one: transactions' markers take offsets too.

        Raises:
            UnavailableError: nothing came for ``QUIET_S`` seconds and the end was not reached.
        """
        return sum(len(messages) for messages in self._batches(topic))

    def messages(self, topic: str) -> Iterator[Message]:
        """The same records themselves."""
        for messages in self._batches(topic):
            yield from messages

    def _batches(self, topic: str) -> Iterator[list[Message]]:
        state = self.topics.describe([topic]).get(topic)
        if state is None:
            return
        reader = self._reader()
        try:
            places = [TopicPartition(topic, number, 0) for number in range(state.partitions)]
            reader.assign(places)
            yield from _read_to_end(reader, places)
        finally:
            reader.close()

    def _reader(self) -> Consumer:
        return Consumer(
            {
                **self.settings,
                "group.id": f"benchmark-reader-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 16_384,
                "log_level": 0,
            }
        )


def _read_to_end(reader: Consumer, places: Sequence[TopicPartition]) -> Iterator[list[Message]]:
    ends = {place.partition: reader.get_watermark_offsets(place, TIMEOUT_S)[1] for place in places}
    wanted = {number: end for number, end in ends.items() if end > 0}
    while True:
        # The position moves past what was handed out only with the next call, and past a
        # transaction's marker at the end perhaps never: one short of the end is there.
        positions = {place.partition: place.offset for place in reader.position(list(places))}
        if all(positions[number] >= end - 1 for number, end in wanted.items()):
            messages = reader.consume(BATCH, timeout=0.2)
            if not messages:
                return
        else:
            messages = reader.consume(BATCH, timeout=QUIET_S)
            if not messages:
                raise UnavailableError(f"{places[0].topic} could not be read to its end.")
        yield [message for message in messages if message.error() is None]
