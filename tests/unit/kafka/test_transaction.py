"""A lost transaction is told as a generation that moved on, and nothing else is committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog

from callsheet.batch import Offset, Partition
from callsheet.errors import DeadLetterError, FencedError, Reason, RetryableError
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.transaction import HELD_S, Member, TransactionalConsumer, TransactionalLetters
from callsheet.ports import Deadline, RebalanceListener
from tests.support.batches import RawMessage
from tests.support.clock import FakeClock

P0, P1 = Partition("t", 0), Partition("t", 1)


@dataclass
class FakeProducer:
    failure: str = ""
    is_open: bool = False
    is_away: bool = False
    loses: str = ""
    """Why the next commit is lost."""
    committed: list[Mapping[Partition, Offset]] = field(default_factory=list)
    started_over: int = 0
    refused: list[int] = field(default_factory=list)
    sent: list[tuple[str, Any]] = field(default_factory=list)
    disowned: list[frozenset[Partition]] = field(default_factory=list)
    has_leftovers: bool = False
    group: Callable[[], tuple[Collection[Partition], object]] | None = None

    def join(self, group: Callable[[], tuple[Collection[Partition], object]]) -> None:
        self.group = group

    def commit(self, offsets: Mapping[Partition, Offset], member: object, _: Deadline) -> bool:
        assert member == "member"
        if self.is_away:
            raise RetryableError("away")
        self.failure = self.failure or self.loses
        if self.failure:
            return False
        self.committed.append(offsets)
        self.is_open = False
        return True

    def fail(self, why: str) -> None:
        self.failure = self.failure or why

    def start_over(self) -> None:
        self.started_over += 1
        self.failure, self.is_open = "", False

    def revive(self) -> None: ...

    def disown(self) -> bool:
        assert self.group is not None
        held, member = self.group()
        assert member == "member"
        self.disowned.append(frozenset(held))
        return True

    def send(self, topic: str, records: Sequence[Any]) -> list[int]:
        self.sent += [(topic, record) for record in records]
        return self.refused


@dataclass
class FakeMember:
    mine: frozenset[Partition] = frozenset({P0, P1})
    is_out: bool = False
    listener: RebalanceListener | None = None
    waiting: frozenset[Partition] = frozenset()

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Any]:
        return ()

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self.listener = listener

    def assignment(self) -> frozenset[Partition]:
        return self.mine - self.waiting

    def membership(self) -> object:
        if self.is_out:
            raise FencedError("the group has let us go")
        return "member"


@dataclass
class Noting:
    """The worker's part of a rebalance: it commits what it has, or not."""

    consumer: TransactionalConsumer | None = None
    heard: list[str] = field(default_factory=list)

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return {P0: 7}

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        self.heard.append("revoked")
        if self.consumer is not None:
            self.consumer.commit({P0: 5})

    def on_lost(self, partitions: Collection[Partition]) -> None:
        self.heard.append("lost")


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.producer, self.member, self.worker = FakeProducer(), FakeMember(), Noting()
        self.consumer = TransactionalConsumer(
            cast("Member", self.member),
            cast("TransactionalProducer", self.producer),
            budget_s=1.0,
            clock=self.clock,
        )
        self.consumer.subscribe(["t"], self.worker)

    @property
    def listener(self) -> RebalanceListener:
        assert self.member.listener is not None
        return self.member.listener


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_commit_is_answered_once(scene: Scene) -> None:
    scene.consumer.commit({P0: 5})
    assert scene.producer.committed == [{P0: 5}]
    assert scene.consumer.committed() == {P0: 5}
    assert scene.consumer.committed() is None


def test_a_lost_transaction_is_told_until_the_worker_joins_anew(scene: Scene) -> None:
    scene.producer.loses = "a broker refused it"
    scene.consumer.commit({P0: 5})
    for _ in range(2):
        with pytest.raises(FencedError, match="a broker refused it"):
            scene.consumer.committed()
    scene.consumer.subscribe(["t"], scene.worker)
    assert scene.producer.started_over == 2
    assert scene.consumer.committed() is None


def test_who_is_no_member_commits_nothing(scene: Scene) -> None:
    scene.member.is_out = True
    scene.consumer.commit({P0: 5})
    assert scene.producer.committed == []
    with pytest.raises(FencedError):
        scene.consumer.committed()


def test_brokers_that_are_away_before_anything_was_sent_lose_nothing(scene: Scene) -> None:
    scene.producer.is_away = True
    scene.consumer.commit({P0: 5})
    with pytest.raises(RetryableError):
        scene.consumer.committed()
    scene.producer.is_away = False
    scene.consumer.commit({P0: 5})
    assert scene.consumer.committed() == {P0: 5}


def test_what_is_committed_in_a_revocation_is_kept(scene: Scene) -> None:
    scene.worker.consumer, scene.producer.is_open = scene.consumer, True
    scene.listener.on_revoked([P0])
    assert scene.producer.committed == [{P0: 5}]
    assert not scene.producer.failure


def test_what_is_not_committed_in_a_revocation_is_taken_back(scene: Scene) -> None:
    scene.producer.is_open = True
    scene.listener.on_revoked([P0])
    with pytest.raises(FencedError, match="revoked"):
        scene.consumer.committed()


def test_a_loss_of_everything_starts_over_at_once(scene: Scene) -> None:
    scene.producer.is_open = True
    scene.listener.on_lost([P0, P1])
    assert scene.worker.heard == ["lost"]
    assert (scene.producer.is_open, scene.producer.failure) == (False, "")


def test_a_loss_of_a_part_takes_back_all(scene: Scene) -> None:
    """The transaction holds what was made of the partitions that stay, too."""
    scene.producer.is_open = True
    scene.listener.on_lost([P1])
    with pytest.raises(FencedError, match="lost"):
        scene.consumer.committed()


def test_offsets_that_a_forgotten_transaction_holds_are_taken_back(scene: Scene) -> None:
    def disowned_after(seconds: float) -> list[frozenset[Partition]]:
        scene.clock.advance(seconds)
        scene.consumer.poll(10, 0)
        return scene.producer.disowned

    scene.member.waiting = frozenset({P0})
    assert disowned_after(0) == disowned_after(HELD_S - 1) == []
    assert disowned_after(1) == [{P0, P1}], "any of ours does: all offsets are in one place"
    assert disowned_after(1) == [{P0, P1}], "once in a while"
    assert disowned_after(HELD_S) == [{P0, P1}, {P0, P1}]
    scene.member.waiting = frozenset()
    assert len(disowned_after(2 * HELD_S)) == 2


def test_those_that_our_own_may_hold_are_taken_back_soon(scene: Scene) -> None:
    scene.member.waiting, scene.producer.has_leftovers = frozenset({P0, P1}), True
    for seconds, times in ((0.0, 0), (0.5, 0), (0.5, 1), (0.5, 1), (0.5, 2)):
        scene.clock.advance(seconds)
        scene.consumer.poll(10, 0)
        assert scene.producer.disowned == [{P0, P1}] * times


def test_who_is_no_member_takes_nothing_back(scene: Scene) -> None:
    scene.member.waiting, scene.member.is_out = frozenset({P0}), True
    for _ in range(3):
        scene.consumer.poll(10, 0)
        scene.clock.advance(HELD_S)
    assert scene.producer.disowned == []


def letters(producer: FakeProducer) -> TransactionalLetters:
    return TransactionalLetters(
        cast("TransactionalProducer", producer),
        "letters",
        pipeline="p",
        version="1",
        max_message_bytes=1_000_000,
        log=structlog.get_logger(),
    )


def test_a_letter_travels_with_the_rows(scene: Scene) -> None:
    letters(scene.producer).put(RawMessage("t", 0, 9), Reason.MALFORMED, "why")
    ((topic, (key, value, headers)),) = scene.producer.sent
    assert (topic, key, value) == ("letters", b"{}", b"{}")
    assert ("callsheet.offset", b"9") in headers


def test_a_letter_that_no_topic_takes_stops_the_worker(scene: Scene) -> None:
    scene.producer.refused = [0]
    with pytest.raises(DeadLetterError):
        letters(scene.producer).put(RawMessage("t", 0, 9), Reason.MALFORMED, "why")
