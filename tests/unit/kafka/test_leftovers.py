"""What a transaction left in its topics is aborted once more before anything else is sent there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException

from callsheet.errors import RetryableError
from callsheet.kafka import producer as module
from callsheet.kafka.leftovers import KEY
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection
from callsheet.ports import Deadline, SystemClock

TOPIC = "films"


class Client:
    """Notes what it is asked for; ``fails``: the calls that do, however often they are repeated."""

    def __init__(self, notes: list[Any], fails: list[str]) -> None:
        self._notes, self._fails = notes, fails

    def _note(self, what: Any) -> None:
        self._notes.append(what)
        if what in self._fails:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, what, retriable=True))

    def __len__(self) -> int:
        return 0

    def init_transactions(self, timeout_s: float) -> None:
        self._note("init")

    def begin_transaction(self) -> None:
        self._note("begin")

    def produce(self, topic: str, value: Any, key: Any, **place: Any) -> None:
        self._notes.append((topic, key, value, place.get("partition")))

    def send_offsets_to_transaction(self, *_: Any) -> None:
        self._note("offsets")

    def commit_transaction(self, timeout_s: float) -> None:
        self._note("commit")

    def abort_transaction(self, timeout_s: float) -> None:
        self._note("abort")

    def list_topics(self, topic: str, timeout: float) -> Any:
        partitions = dict.fromkeys((0, 1))
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def flush(self, timeout_s: float) -> int:
        self._note("flush")
        return 0

    def poll(self, timeout_s: float) -> int:
        return 0

    def purge(self, *, blocking: bool) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def fails() -> list[str]:
    return []


@pytest.fixture
def notes() -> list[Any]:
    return []


@pytest.fixture
def producer(
    notes: list[Any], fails: list[str], monkeypatch: pytest.MonkeyPatch
) -> TransactionalProducer:
    monkeypatch.setattr(module, "Producer", lambda config: Client(notes, fails))
    return TransactionalProducer(
        Connection("127.0.0.1:1"), "test", max_message_bytes=1 << 20, in_flight_bytes=1 << 20,
        budget_s=1, log=structlog.get_logger(), clock=SystemClock(),
    )  # fmt: skip


def write(producer: TransactionalProducer, value: bytes) -> bool:
    producer.make_room(1, soon())
    producer.send(TOPIC, [(b"1", value, [])])
    return producer.commit({}, None, soon())


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 0.2)


ENDED = ["begin", (TOPIC, KEY, None, 0), (TOPIC, KEY, None, 1), "flush", "abort"]


def sent(value: bytes) -> list[Any]:
    return ["begin", (TOPIC, b"1", value, None), "commit"]


def test_after_a_commit_nothing_is_left(producer: TransactionalProducer, notes: list[Any]) -> None:
    assert write(producer, b"a")
    assert write(producer, b"b")
    assert notes == ["init", *sent(b"a"), *sent(b"b")]


def test_what_was_aborted_is_aborted_once_more(
    producer: TransactionalProducer, notes: list[Any]
) -> None:
    producer.make_room(1, soon())
    producer.send(TOPIC, [(b"1", b"a", [])])
    producer.start_over()
    notes.clear()
    assert write(producer, b"a")
    assert write(producer, b"b")
    assert notes == [*ENDED, *sent(b"a"), *sent(b"b")]


def test_what_a_lost_client_left_is_aborted_by_its_successor(
    producer: TransactionalProducer, notes: list[Any], fails: list[str]
) -> None:
    fails.append("commit")
    assert not write(producer, b"a")
    assert producer.failure
    producer.start_over()
    fails.clear()
    notes.clear()
    assert write(producer, b"a")
    assert notes == ["init", *ENDED, *sent(b"a")]


@pytest.mark.parametrize("step", ["flush", "abort"])
def test_until_that_is_done_nothing_else_is_sent(
    producer: TransactionalProducer, notes: list[Any], fails: list[str], step: str
) -> None:
    producer.make_room(1, soon())
    producer.send(TOPIC, [(b"1", b"a", [])])
    producer.start_over()
    fails.append(step)
    with pytest.raises(RetryableError):
        producer.make_room(1, soon())
    fails.clear()
    notes.clear()
    assert write(producer, b"a")
    assert notes == ["init", *ENDED, *sent(b"a")]
