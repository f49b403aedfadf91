"""A broker dies when a commit is decided and not yet told to the partitions, and forgets it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import pytest
import structlog
from confluent_kafka import Consumer, Producer, TopicPartition

from callsheet.batch import Offset, Partition
from callsheet.errors import FencedError, RetryableError
from callsheet.kafka.consumer import GroupConsumer
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


class Scene:
    """Numbers are copied from a source to a target, by one copier after the other."""

    def __init__(self, cluster: Cluster, stack: Stack) -> None:
        self._cluster, self._stack = cluster, stack
        self._source, self._target = cluster.topic(4, "source"), cluster.topic(2, "target")
        self._copiers: list[Copier] = []
        self._has_died = False
        self.hire()

    def hire(self) -> None:
        self._copiers.append(Copier(self._cluster, self._source, self._target))

    @property
    def copier(self) -> Copier:
        return self._copiers[-1]

    def put(self, numbers: range, partitions: tuple[int, ...]) -> None:
        producer = Producer(self._cluster.connection.common())
        for number in numbers:
            place = partitions[number % len(partitions)]
            producer.produce(self._source, str(number).encode(), str(number % 7).encode(), place)
        assert producer.flush(10) == 0

    def copied(self) -> list[int]:
        address, groups = self._cluster.connection.bootstrap_servers, self._cluster.groups
        found = read_all(address, groups, [self._target])
        return sorted(int(message.value() or b"") for message in found)

    def is_all_committed(self) -> bool:
        self.copier.turn()
        return self._cluster.lag(self._cluster.name, self._source) == 0

    def has_died(self) -> bool:
        self.copier.turn()
        return self._has_died

    def die(self) -> None:
        decide(self._cluster.connection.bootstrap_servers, self.copier.name)
        self._stack.kill("kafka")
        self._has_died = True

    def close(self) -> None:
        while self._copiers:
            self._copiers.pop().consumer.close()


@pytest.fixture
def scene(cluster: Cluster, live_stack: Stack) -> Iterator[Scene]:
    scene = Scene(cluster, live_stack)
    yield scene
    scene.close()


@pytest.mark.parametrize("case", Case)
def test_what_a_broker_forgot_is_neither_lost_nor_there_twice(
    live_stack: Stack, scene: Scene, case: Case
) -> None:
    scene.put(range(20), (0, 1, 2, 3))
    until(scene.is_all_committed, "the copier works")
    assert scene.copied() == [*range(20)]
    scene.copier.dies_in_its_commit(scene.die, is_answered=case is Case.ANSWERED)
    scene.put(range(20, 40), (0, 1))
    try:
        until(scene.has_died, "the broker dies in the middle of a commit")
    finally:
        live_stack.up(["kafka"])
    scene.put(range(40, 60), (2, 3))
    if case is Case.ANSWERED:
        scene.copier.producer.fail("and taken back, as after a rebalance")
    elif case is Case.GONE:
        scene.hire()
    until(scene.is_all_committed, "all is copied", 120)
    assert scene.copied() == [*range(60)]
