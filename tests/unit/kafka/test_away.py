"""Kafka is away: clients knock at the back-off, and say so once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from callsheet.errors import UnavailableError
from callsheet.kafka.calls import LostError, State
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection, Membership
from callsheet.ports import Deadline
from tests.support.clock import FakeClock


class Failures:
    def __init__(self) -> None:
        self.codes: list[int] = []

    def note(self, error: KafkaError) -> None:
        self.codes.append(error.code())


class Listener:
    def on_assigned(self, partitions: object) -> dict[Any, int]:
        return {}

    def on_revoked(self, partitions: object) -> None: ...

    def on_lost(self, partitions: object) -> None: ...


def test_a_member_without_a_broker_connects_a_few_times_a_second() -> None:
    """Its client made it 19 attempts a second."""
    consumer = GroupConsumer(
        Connection("127.0.0.1:1"), Membership("test-away"), structlog.get_logger()
    )
    failures = Failures()
    consumer._troubles = failures  # type: ignore[assignment]
    consumer.subscribe(["films"], Listener())
    until = time.monotonic() + 2
    while time.monotonic() < until:
        consumer.poll(1, 0.2)
    consumer.close()
    assert 1 <= failures.codes.count(KafkaError._TRANSPORT) <= 10


class Away:
    """No call succeeds."""

    def __init__(self) -> None:
        self.tries = 0
        self.is_away = True

    def insist(
        self, call: Callable[[float], object], doing: str, deadline: Deadline, **_: object
    ) -> None:
        self.tries += 1
        if self.is_away:
            raise LostError(f"{doing}: no answer", State.UNKNOWN)


def test_a_producer_is_revived_at_the_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try costs a client, so each poll must not have one."""
    clock = FakeClock()
    producer = TransactionalProducer(
        Connection("127.0.0.1:1"), "test-away", max_message_bytes=1 << 20, in_flight_bytes=1 << 20,
        budget_s=1, log=structlog.get_logger(), clock=clock,
    )  # fmt: skip
    calls = Away()
    monkeypatch.setattr(producer, "_calls", calls)
    monkeypatch.setattr(producer, "_new_client", lambda: producer._client)
    monkeypatch.setattr(producer, "_release", lambda client: None)
    with capture_logs() as lines:
        for _ in range(4 * 60):
            producer.revive()
            clock.advance(0.25)
    assert 10 < calls.tries < 60
    said = Counter(line["event"] for line in lines)
    assert said.pop("transactional producer replaced") == 1
    assert set(said.values()) <= {1}, "what the client says of its brokers, once each"
    calls.is_away = False
    clock.advance(5)
    producer.revive()
    found = calls.tries
    producer.revive()
    assert calls.tries == found, "it is there: nothing more to do"


def test_a_coordinator_is_not_asked_while_no_broker_is_there() -> None:
    """Its time-out would make librdkafka abort the process when the broker is back."""
    groups = KafkaGroups(Connection("127.0.0.1:1"), timeout_s=0.2)
    admin = NeverCoordinated(groups._admin)
    groups._admin = admin  # type: ignore[assignment]
    for ask in (groups.committed, groups.state):
        with pytest.raises(UnavailableError):
            ask("test-away")


class NeverCoordinated:
    """A client whose requests to a coordinator fail the test."""

    def __init__(self, admin: Any) -> None:
        self.list_topics, self.poll = admin.list_topics, admin.poll

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"{name} was called")
