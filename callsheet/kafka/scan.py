"""A topic's committed records up to its end, outside of any consumer group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import UnavailableError
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.peek import Peek
from callsheet.kafka.settings import Connection
from callsheet.ports import Clock

_NOBODY: Final = "callsheet-scan"
"""A group that commits nothing: the ends are asked for."""
_POLL_EVENTS: Final = 2_000
_SILENCE_S: Final = 30.0


class TopicScan:
    """Raises (each method):
    UnavailableError: the brokers are away.
    """

    def __init__(self, connection: Connection, groups: KafkaGroups, clock: Clock) -> None:
        self._connection, self._groups, self._clock = connection, groups, clock

    def topic(self, name: str) -> Iterator[Message]:
        """All of it; nothing of a topic that does not exist."""
        return self.records(dict.fromkeys(self._groups.partitions([name])))

    def since(
        self, name: str, time_ms: int, after: Mapping[Partition, Offset]
    ) -> Iterator[Message]:
        """Of this time and later; ``after``: where to go on in partitions that were read before."""
        found = self._groups.at_time(self._groups.partitions([name]), time_ms)
        return self.records({place: max(at, after.get(place, 0)) for place, at in found.items()})

    def records(self, starts: Mapping[Partition, Offset | None]) -> Iterator[Message]:
        """From each start (None: the beginning) to the end as it is now, whatever comes later."""
        ends = self._unread(starts)
        if not ends:
            return
        heard_s = self._clock.monotonic()
        with Peek(self._connection, {place: starts[place] for place in ends}) as peek:
            while ends and not peek.is_at_end:
                messages = peek.poll(_POLL_EVENTS, 0.5)
                if messages:
                    heard_s = self._clock.monotonic()
                elif self._clock.monotonic() > heard_s + _SILENCE_S and not peek.is_at_end:
                    raise UnavailableError(
                        "Kafka: a topic cannot be read to its end",
                        hint="is a broker away? `callsheet stack status`",
                    )
                yield from self._bounded(messages, ends)

    def _unread(self, starts: Mapping[Partition, Offset | None]) -> dict[Partition, Offset]:
        found = self._groups.offsets(_NOBODY, list(starts))
        return {
            each.partition: each.end
            for each in found
            if each.end is not None and each.end > max(each.begin or 0, starts[each.partition] or 0)
        }

    @staticmethod
    def _bounded(messages: Sequence[Message], ends: dict[Partition, Offset]) -> Iterator[Message]:
        for message in messages:
            place = Partition(message.topic(), message.partition())
            end = ends.get(place)
            if end is None:
                continue
            if message.offset() >= end - 1:
                del ends[place]  # the control record of a transaction may stand at the very end
            if message.offset() < end:
                yield message
