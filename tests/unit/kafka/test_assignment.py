"""Partitions that the group gave us wait until somebody knows where they start."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
import structlog
from confluent_kafka import TopicPartition

from callsheet.batch import Offset, Partition
from callsheet.errors import FatalError, RetryableError
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.settings import Connection, Membership
from tests.support.clock import FakeClock

P0 = Partition("films", 0)


class Client:
    """What the consumer asks of librdkafka for an assignment; no broker."""

    def __init__(self) -> None:
        self.assigned: list[list[tuple[str, int, int]]] = []
        self.paused: set[TopicPartition] = set()
        self.subscribed: list[int] = []
        """At which poll."""
        self.polls = self.busy_until = self.rebalance_polls = 0

    def committed(self, found: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(tp.topic, tp.partition, 7) for tp in found]

    def incremental_assign(self, found: list[TopicPartition]) -> None:
        self.assigned.append([(tp.topic, tp.partition, tp.offset) for tp in found])

    def incremental_unassign(self, found: list[TopicPartition]) -> None:
        pass

    def resume(self, found: list[TopicPartition]) -> None:
        self.paused -= set(found)

    def pause(self, found: list[TopicPartition]) -> None:
        self.paused |= set(found)

    def consume(self, number: int, timeout: float) -> list[Any]:
        self.polls += 1
        return []

    def subscribe(self, topics: list[str], **_: Any) -> None:
        self.subscribed.append(self.polls)

    def unsubscribe(self) -> None:
        self.busy_until = self.polls + self.rebalance_polls

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("films", 0)] if self.polls < self.busy_until else []


class Listener:
    """Its store is away until told otherwise."""

    def __init__(self) -> None:
        self.is_away = True
        self.asked = 0
        self.revoked: list[Partition] = []

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        self.asked += 1
        if self.is_away:
            raise RetryableError("the store is away")
        return dict.fromkeys(partitions, 5)

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        self.revoked += partitions

    def on_lost(self, partitions: Collection[Partition]) -> None:
        self.revoked += partitions


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def consumer(client: Client, clock: FakeClock) -> Iterator[Any]:
    real = GroupConsumer(
        Connection("127.0.0.1:1"), Membership("test-assignment"), structlog.get_logger(), clock
    )
    closing, member = real._client, real
    member._client = client  # type: ignore[assignment]
    yield member
    closing.close()


def test_a_store_that_is_away_is_asked_again_at_the_back_off(
    consumer: Any, client: Client, clock: FakeClock
) -> None:
    listener = Listener()
    consumer._assign(listener, client, [TopicPartition("films", 0)])
    for _ in range(4 * 60):
        consumer.poll(10, 0)
        clock.advance(0.25)
    assert client.assigned == [[]]
    assert listener.asked < 60
    listener.is_away = False
    clock.advance(5)
    consumer.poll(10, 0)
    consumer.poll(10, 0)
    assert client.assigned == [[], [("films", 0, 5)]]


def test_what_waits_can_be_taken_away_again(
    consumer: Any, client: Client, clock: FakeClock
) -> None:
    listener = Listener()
    consumer._assign(listener, client, [TopicPartition("films", 0)])
    consumer._revoke(listener, client, [TopicPartition("films", 0)])
    listener.is_away = False
    clock.advance(5)
    consumer.poll(10, 0)
    assert (client.assigned, listener.revoked) == ([[]], [])


def test_who_joins_anew_has_let_go_of_everything_before(consumer: Any, client: Client) -> None:
    client.rebalance_polls = 3
    consumer.subscribe(["films"], Listener())
    consumer.subscribe(["films"], Listener())
    assert client.subscribed == [0, 3]


def test_a_client_that_never_lets_go_ends_the_worker(
    consumer: Any, client: Client, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.rebalance_polls = 1_000_000
    monkeypatch.setattr(client, "consume", lambda *_: clock.advance(1))
    consumer.subscribe(["films"], Listener())
    with pytest.raises(FatalError, match="does not let go"):
        consumer.subscribe(["films"], Listener())


def test_what_waits_is_told(consumer: Any, client: Client) -> None:
    listener = Listener()
    assert consumer.waiting == frozenset()
    consumer._assign(listener, client, [TopicPartition("films", 0)])
    assert consumer.waiting == {P0}


@pytest.mark.parametrize("is_wanted", [False, True])
def test_a_partition_that_was_paused_when_it_was_lost_comes_back_as_the_worker_wants_it(
    consumer: Any, client: Client, is_wanted: bool
) -> None:
    class Wants(Listener):
        def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
            if is_wanted:
                consumer.pause(partitions)
            return {}

    listener, found = Wants(), TopicPartition("films", 0)
    consumer.pause([P0])
    assert client.paused
    consumer._lose(listener, client, [found])
    consumer._assign(listener, client, [found])
    assert bool(client.paused) is is_wanted
