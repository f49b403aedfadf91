"""Members that join anew are told what they own, and read it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import pytest
import structlog

from callsheet.batch import Offset, Partition
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.settings import Membership
from tests.support.kafka import Cluster, a_cluster
from tests.support.polling import until

PARTITIONS = 8


class Owner:
    """A worker's book of what is its own: it believes what it is told."""

    def __init__(self, cluster: Cluster, topic: str, name: str) -> None:
        self.mine: set[Partition] = set()
        self.topic = topic
        membership = Membership(cluster.name, instance_id=name, session_timeout_s=6.0)
        self.consumer = GroupConsumer(cluster.connection, membership, structlog.get_logger())
        self.consumer.subscribe([topic], self)

    def join_anew(self) -> None:
        """As a worker does that was fenced."""
        self.mine.clear()
        self.consumer.subscribe([self.topic], self)

    def poll(self) -> None:
        self.consumer.poll(10, 0.05)

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        self.mine |= set(partitions)
        return {}

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        self.mine -= set(partitions)

    on_lost = on_revoked

    @contextmanager
    def polling(self) -> Iterator[None]:
        stop = threading.Event()

        def poll() -> None:
            while not stop.is_set():
                self.poll()

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def own(owner: Owner, count: int) -> bool:
    owner.poll()
    return len(owner.mine) == count


@pytest.mark.parametrize("moment_s", [0.0, 0.4, 1.0, 2.0, 3.0])
def test_who_joins_anew_in_a_rebalance_is_told_what_it_owns(
    stack_env: dict[str, str], live_stack: object, moment_s: float
) -> None:
    """It was given the same partitions as before, without a word, and threw their records away."""
    del live_stack
    with a_cluster(stack_env) as cluster:
        topic = cluster.topic(PARTITIONS)
        first = Owner(cluster, topic, "first")
        until(lambda: own(first, PARTITIONS), "the first owns all")
        second = Owner(cluster, topic, "second")
        with second.polling():
            end = time.monotonic() + moment_s
            while time.monotonic() < end:
                first.poll()
            first.join_anew()
            until(lambda: own(first, PARTITIONS // 2), "the first owns a half")
            until(lambda: own(first, PARTITIONS // 2) and len(second.mine) == 4, "and the second")
            assert first.mine == first.consumer.assignment()
        assert first.mine | second.mine == {Partition(topic, n) for n in range(PARTITIONS)}
        first.consumer.close()
        second.consumer.close()


def test_what_was_paused_when_it_was_given_up_is_read_when_it_comes_back(
    stack_env: dict[str, str], live_stack: object
) -> None:
    """The client remembers the pause, the worker does not."""
    del live_stack
    with a_cluster(stack_env) as cluster:
        topic = cluster.topic()
        owner = Owner(cluster, topic, "only")
        until(lambda: own(owner, 1), "it owns its partition")
        owner.consumer.pause([Partition(topic, 0)])
        owner.join_anew()
        until(lambda: own(owner, 1), "it owns it again")
        cluster.produce(topic, [("1", "one")])
        until(lambda: owner.consumer.poll(10, 0.1), "it reads it")
        owner.consumer.close()
