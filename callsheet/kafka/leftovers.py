"""What brokers have forgotten to end of a transaction that was taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from confluent_kafka import Producer, TopicPartition

from callsheet.batch import Partition
from callsheet.kafka.calls import Calls, LostError, State
from callsheet.ports import Deadline

KEY: Final = b"callsheet"
_DOING: Final = "ending what was taken back"


def end_leftovers(
    client: Producer, calls: Calls, topics: Collection[str], deadline: Deadline
) -> None:
    """Abort once more whatever this producer has open in these topics.

    Seen with Kafka 4.3 when a broker was killed, or frozen: it takes an abort as complete while its
    partitions have no leader yet, and their markers are never written. The next marker of the same
    producer then ends what it wrote before as well: a commit shows records that were taken back,
    and that we have sent anew since. So the next marker in each partition is one more abort's: of a
    record with ``KEY`` and no value, which readers of committed records never see.

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
    if client.flush(deadline.remaining_s()):
        raise LostError(f"{_DOING}: no acknowledgement in time", State.UNKNOWN)
    calls.insist(client.abort_transaction, _DOING, deadline)


def end_offsets(
    client: Producer,
    calls: Calls,
    partitions: Iterable[Partition],
    membership: object,
    deadline: Deadline,
) -> None:
    """Abort once more whatever this producer has open of the group's offsets.

    Seen with Kafka 4.3: a broker frozen for a minute took an abort as complete while no partition
    had a leader, and the offsets' own never got the marker; nobody can read them from then on. A
    marker counts for all that its producer has open in a partition, so one more transaction there,
    aborted, ends it. What is sent in it is never committed.

    Raises:
        LostError: it was not done in time.
        KafkaException: a transaction cannot begin.
        FatalError, ConfigError: no transaction of ours will ever do.
    """
    held = [TopicPartition(p.topic, p.number, 0) for p in partitions]
    client.begin_transaction()
    calls.insist(
        lambda s: client.send_offsets_to_transaction(held, membership, s),
        "taking back offsets",
        deadline,
    )
    calls.insist(client.abort_transaction, "aborting the transaction", deadline)
