"""What brokers have forgotten to end of a transaction that was committed or taken back."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, Producer, TopicPartition

from callsheet.batch import Partition
from callsheet.kafka.calls import Calls, LostError, State, is_flushed
from callsheet.ports import Deadline

KEY: Final = b"callsheet"
_DOING: Final = "ending what was taken back"
_NEVER_UP: Final = re.compile(r"in state (?!UP\b)")


def unsettles(error: KafkaError) -> bool:
    """Does what the client reports of a broker leave it open how its last transaction ended? A
    broker that was away before, and still is, comes up in each attempt to connect, for hours where
    it is one of several.
    """
    unknown = error.code() == KafkaError._RESOLVE  # noqa: SLF001 - librdkafka's spelling
    return not unknown and _NEVER_UP.search(error.str()) is None


@dataclass(slots=True)
class Leftovers:
    """Which topics may hold records of a producer that no marker has ended.

    Before a broker takes records of a producer's next transaction it has ended the last one, or has
    forgotten it; and it forgets only when brokers were away. So with none lost meanwhile, nothing
    is left of any but the last.
    """

    topics: set[str] = field(default_factory=set)
    are_there: bool = False
    is_in_doubt: bool = False
    """Were brokers lost since the last transaction was to be ended?"""
    _last: set[str] | None = None
    """Its topics; None: there is none, or it is taken back."""
    _is_haunted: bool = False
    _ended: set[str] = field(default_factory=set)

    @property
    def may_be_the_last(self) -> bool:
        """Is it in doubt whether the end of the last transaction has reached all partitions?"""
        return self.is_in_doubt and self._last is not None

    @property
    def has_last(self) -> bool:
        return self._last is not None

    def asked(self, topics: Collection[str]) -> None:
        """What was sent to these topics is to be committed: all that came before has ended."""
        self._last, self.is_in_doubt = set(topics), False

    def take(self, topics: Collection[str]) -> None:
        """A transaction with these topics was taken back, or nobody knows how it ended."""
        self.topics |= {*topics, *(self._last or ())}
        self._last = None
        self.are_there = True

    def found(self) -> None:
        """Offsets of the group are held by a predecessor of our name that is gone. What it has
        written to we learn only as we come to write there ourselves.
        """
        self.are_there = self._is_haunted = True

    def may_be_in(self, topic: str) -> bool:
        """Note the topic, if so: it has to be ended before anything is sent there."""
        if not self._is_haunted or topic in self._ended:
            return False
        self.topics.add(topic)
        self.are_there = True
        return True

    def ended(self) -> None:
        """:func:`end_leftovers` has been there: the last transaction now."""
        self._ended |= self.topics
        self._last, self.topics = self.topics, set()
        self.are_there = False


def end_leftovers(  # noqa: PLR0913 - what, by whom, of which group
    client: Producer,
    calls: Calls,
    topics: Collection[str],
    deadline: Deadline,
    *,
    held: Collection[Partition] = (),
    membership: object = None,
) -> None:
    """Abort once more whatever this producer has open in these topics, and of the offsets of the
    group that ``membership`` proves: no matter which of its partitions are ``held``, their offsets
    are all in one place. None held: of no group.

    Kafka 4.3 takes a transaction as complete, be it committed or aborted, without writing the
    markers of a partition that has no leader in the moment when they are due. Seen when the only
    broker was killed, or frozen: when it comes back, all that it leads has no leader for a while,
    and its coordinator goes on with the markers of what was decided before. Offsets in that state
    are told to nobody, and the next marker of the same producer ends what it wrote before as well,
    as its own. So the next marker everywhere is one more abort's, records and offsets alike: what
    has been forgotten is taken back as a whole, and read again; what had been ended stays. In a
    topic it needs a record: it has ``KEY`` and no value, and no reader of committed records sees
    it.

    Raises:
        LostError: it was not done in time, or the brokers refuse.
        KafkaException: a transaction cannot begin, or a record cannot be sent.
        FatalError, ConfigError: no transaction of ours will ever do.
    """
    client.begin_transaction()
    for topic in sorted(topics):
        found: list[int] = []

        def look(timeout_s: float, topic: str = topic, found: list[int] = found) -> None:
            found[:] = client.list_topics(topic, timeout=timeout_s).topics[topic].partitions

        calls.insist(look, _DOING, deadline)
        for number in found:
            client.produce(topic, None, KEY, partition=number)
    # What is still waiting here when it is aborted is thrown away, and gets no marker.
    if not is_flushed(client, deadline.remaining_s()):
        raise LostError(f"{_DOING}: no acknowledgement in time", State.UNKNOWN)
    if held:
        offsets = [TopicPartition(p.topic, p.number, 0) for p in held]
        calls.insist(
            lambda s: client.send_offsets_to_transaction(offsets, membership, s), _DOING, deadline
        )
    calls.insist(client.abort_transaction, _DOING, deadline)
