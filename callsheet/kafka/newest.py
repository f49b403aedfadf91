"""What a compacted topic holds of some keys, read before something older may be written to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import RetryableError
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.peek import Peek
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection
from callsheet.ports import Deadline

_POLL_EVENTS = 10_000
_POLL_S = 0.1


@dataclass(slots=True)
class _Scan:
    """One reading of a topic, which may take several calls."""

    topic: str
    keys: frozenset[bytes]
    peek: Peek
    found: dict[bytes, int] = field(default_factory=dict)


class TopicPast:
    """Implements :class:`callsheet.ports.Past` on real brokers.

    Nothing but the order within the partition decides which state readers keep. So two looks are
    enough: one before, at all that is committed, and one after our records have their places, at
    whatever came since: what stands behind ours is newer and wins, what stands before ours and is
    newer takes our transaction back.
    """

    def __init__(self, connection: Connection, producer: TransactionalProducer) -> None:
        self._connection, self._producer = connection, producer
        self._groups = KafkaGroups(connection)
        self._scan: _Scan | None = None
        self._ends: dict[str, Mapping[Partition, Offset]] = {}

    def newest(
        self, topic: str, keys: Collection[bytes], header: str, deadline: Deadline
    ) -> Mapping[bytes, int]:
        scan = self._scan
        if scan is None or (scan.topic, scan.keys) != (topic, frozenset(keys)):
            self.close()
            starts = dict.fromkeys(self._groups.partitions([topic]))
            scan = self._scan = _Scan(topic, frozenset(keys), Peek(self._connection, starts))
        while not scan.peek.is_at_end:
            if deadline.expired():
                raise RetryableError(
                    f"{topic} is still being read, for what it holds of these rows",
                    hint="a large topic takes long: give `dlq redrive` more --patience",
                )
            note_newest(scan.found, scan.peek.poll(_POLL_EVENTS, _POLL_S), scan.keys, header)
        self._ends[topic] = dict(scan.peek.ends)
        self.close()
        return scan.found

    def confirm(
        self, topic: str, sent: Mapping[bytes, int], header: str, deadline: Deadline
    ) -> None:
        self._producer.flush(deadline)
        found: dict[bytes, int] = {}
        with Peek(self._connection, self._ends[topic], with_open=True) as peek:
            while not peek.is_at_end:
                if deadline.expired():
                    self._producer.fail(f"{topic} could not be read in time")
                    return
                note_newest(found, peek.poll(_POLL_EVENTS, _POLL_S), sent.keys(), header)
        if any(found.get(key, -1) > version for key, version in sent.items()):
            self._producer.fail(f"a newer state came to {topic} meanwhile")

    def close(self) -> None:
        if self._scan is not None:
            self._scan.peek.close()
            self._scan = None


def note_newest(
    found: dict[bytes, int], messages: Iterable[Message], keys: Collection[bytes], header: str
) -> None:
    """The highest version of each of the keys. A record of somebody else's has none, and none that
    could be compared.
    """
    for message in messages:
        key = message.key()
        if key in keys and key is not None:
            version = dict(message.headers() or ()).get(header) or b""
            if version.isdigit():
                found[key] = max(int(version), found.get(key, -1))
