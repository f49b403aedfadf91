"""A broker dies when a commit is decided and not yet told to the partitions, and forgets it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from typing import Any, Final

import pytest
import structlog
from confluent_kafka import Consumer, Producer, TopicPartition

from callsheet.batch import Offset, Partition
from callsheet.errors import FencedError, RetryableError
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.settings import Membership
from callsheet.kafka.transaction import TransactionalConsumer
from callsheet.ports import Deadline
from stack import Stack
from tests.support.downstream import CLOCK, a_producer
from tests.support.kafka import Cluster, a_cluster
from tests.support.kafka_log import read_all
from tests.support.polling import until

pytestmark = pytest.mark.timeout(300)

STATES: Final = "__transaction_state"
_STATUS_AT: Final = struct.calcsize(">hqhi")
"""Of a transaction's state: behind version, producer id, producer epoch and time limit."""
_ONGOING, _PREPARE_COMMIT = 1, 2
BUDGET_S: Final = 3.0


class Copier:
    """A worker that does nothing but copy: each poll is a transaction."""

    def __init__(self, cluster: Cluster, source: str, target: str) -> None:
        self.name = f"{cluster.name}-copier"
        self._source, self._target = source, target
        membership = Membership(cluster.name, instance_id=self.name, session_timeout_s=6.0)
        group = GroupConsumer(cluster.connection, membership, structlog.get_logger())
        address = cluster.connection.bootstrap_servers
        self.producer = a_producer(address, self.name, budget_s=BUDGET_S)
        self.consumer = TransactionalConsumer(group, self.producer, budget_s=BUDGET_S, clock=CLOCK)
        self._next: dict[Partition, Offset] = {}
        self.consumer.subscribe([source], self)

    def dies_in_its_commit(self, die: Callable[[], None], *, is_answered: bool) -> None:
        client: Any = Dying(self.producer._client, die, is_answered=is_answered)
        self.producer._client = client

    def turn(self) -> None:
        messages = self.consumer.poll(100, 0.1)
        try:
            if messages:
                self.producer.make_room(1, Deadline.after(CLOCK, BUDGET_S))
        except RetryableError as error:
            self.producer.fail(error.message)
        for message in messages:
            self.producer.send(self._target, [(message.key(), message.value(), [])])
            place = Partition(message.topic(), message.partition())
            self._next[place] = message.offset() + 1
        if messages:
            self.consumer.commit(dict(self._next))
        try:
            while self.consumer.committed() is not None:
                pass
        except FencedError:
            self._next.clear()
            self.consumer.subscribe([self._source], self)
        except RetryableError as error:
            self.producer.fail(error.message)

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return {}

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)

    on_lost = on_revoked


class Dying:
    """The producer's client, whose commit is the last thing that its broker sees."""

    def __init__(self, client: Any, die: Callable[[], None], *, is_answered: bool) -> None:
        self._client, self._die, self._is_answered = client, die, is_answered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __len__(self) -> int:
        return len(self._client)

    def commit_transaction(self, timeout_s: float) -> None:
        self._die()
        if not self._is_answered:
            self._client.commit_transaction(timeout_s)


def decide(address: str, transactional_id: str) -> None:
    """Make the broker find, when it comes back, that it has decided to commit what is open: all
    that it does of a commit before it answers.
    """
    reader = Consumer({"bootstrap.servers": address, "group.id": "states"})
    places = [
        TopicPartition(STATES, n) for n in reader.list_topics(STATES).topics[STATES].partitions
    ]
    ends = {p.partition: reader.get_watermark_offsets(p, 10) for p in places}
    reader.assign([TopicPartition(STATES, n, low) for n, (low, _) in ends.items()])
    missing = {n for n, (low, high) in ends.items() if high > low}
    newest = None
    while missing:
        message = reader.poll(10)
        assert message is not None, "the coordinator's log can be read"
        assert message.error() is None, message.error()
        if transactional_id.encode() in (message.key() or b""):
            newest = message
        if (message.offset() or 0) + 1 >= ends[message.partition() or 0][1]:
            missing.discard(message.partition() or 0)
    reader.close()
    assert newest is not None
    state = bytearray(newest.value() or b"")
    assert state[_STATUS_AT] == _ONGOING, state
    state[_STATUS_AT] = _PREPARE_COMMIT
    # From no other client do brokers take records of their own topics.
    writer = Producer({"bootstrap.servers": address, "client.id": "__admin_client"})
    writer.produce(STATES, bytes(state), newest.key(), partition=newest.partition() or 0)
    assert writer.flush(10) == 0


@pytest.fixture
def cluster(live_stack: Stack, stack_env: Mapping[str, str]) -> Iterator[Cluster]:
    with a_cluster(stack_env) as cluster:
        yield cluster


class Case(StrEnum):
    UNANSWERED = "unanswered"
    """The worker does not know what became of its commit."""
    ANSWERED = "answered"
    """It does, and what it sends next is taken back."""
    GONE = "gone"
    """It dies with the broker, and is started again."""


@pytest.mark.parametrize("case", Case)
def test_what_a_broker_forgot_is_neither_lost_nor_there_twice(
    live_stack: Stack, cluster: Cluster, case: Case
) -> None:
    address = cluster.connection.bootstrap_servers
    groups = KafkaGroups(cluster.connection)
    source, target = cluster.topic(4, "source"), cluster.topic(2, "target")
    copiers = [Copier(cluster, source, target)]
    deaths: list[str] = []

    def put(first: int, partitions: tuple[int, ...]) -> None:
        producer = Producer(cluster.connection.common())
        for number in range(first, first + 20):
            place = partitions[number % len(partitions)]
            producer.produce(source, str(number).encode(), str(number % 7).encode(), place)
        assert producer.flush(10) == 0

    def copied() -> list[int]:
        return [int(message.value() or b"") for message in read_all(address, groups, [target])]

    def is_all_committed() -> bool:
        copiers[-1].turn()
        return cluster.lag(cluster.name, source) == 0

    def die() -> None:
        decide(address, copiers[-1].name)
        live_stack.kill("kafka")
        deaths.append(copiers[-1].name)

    def has_died() -> bool:
        copiers[-1].turn()
        return bool(deaths)

    def close() -> None:
        while copiers:
            copiers.pop().consumer.close()

    with ExitStack() as held:
        held.callback(close)
        put(0, (0, 1, 2, 3))
        until(is_all_committed, "the copier works")
        assert sorted(copied()) == list(range(20))
        copiers[-1].dies_in_its_commit(die, is_answered=case is Case.ANSWERED)
        put(20, (0, 1))
        try:
            until(has_died, "the broker dies in the middle of a commit")
        finally:
            live_stack.up(["kafka"])
        put(40, (2, 3))
        if case is Case.ANSWERED:
            copiers[-1].producer.fail("and taken back, as after a rebalance")
        elif case is Case.GONE:
            copiers.append(Copier(cluster, source, target))
        until(is_all_committed, "all is copied", 120)
        assert sorted(copied()) == list(range(60))
