"""What a transaction may have left is aborted once more before anything else is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException

from callsheet.batch import Partition
from callsheet.errors import FencedError, RetryableError
from callsheet.kafka import producer as module
from callsheet.kafka.leftovers import KEY, unsettles
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection
from callsheet.ports import Deadline, SystemClock

TOPIC, OTHER = "films", "talent"
DISCONNECTED = "127.0.0.1:9092/1: Disconnected (after 4711ms in state UP)"
REFUSED = "127.0.0.1:9092/1: Connect to ipv4#127.0.0.1:9092 failed (after 0ms in state CONNECT)"


@dataclass
class Brokers:
    """What the client is asked for, and what goes wrong: calls that ``fails`` names do, however
    often they are repeated; in the call ``lost_in`` a connection breaks, and the call succeeds.
    """

    notes: list[Any] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)
    lost_in: str = ""
    report: Any = None

    def lose(self, text: str = DISCONNECTED) -> None:
        self.report(KafkaError(KafkaError._TRANSPORT, text))

    def take(self) -> list[Any]:
        taken, self.notes = self.notes, []
        return taken


class Client:
    def __init__(self, config: dict[str, Any], brokers: Brokers) -> None:
        self._brokers = brokers
        brokers.report = config["error_cb"]

    def _note(self, what: str) -> None:
        self._brokers.notes.append(what)
        if what == self._brokers.lost_in:
            self._brokers.lose()
        if what in self._brokers.fails:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, what, retriable=True))

    def __len__(self) -> int:
        return 0

    def init_transactions(self, timeout_s: float) -> None:
        self._note("init")

    def begin_transaction(self) -> None:
        self._note("begin")

    def produce(self, topic: str, value: Any, key: Any, **place: Any) -> None:
        self._brokers.notes.append((topic, key, place.get("partition")))

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
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def producer(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> TransactionalProducer:
    """Of nobody's group."""
    monkeypatch.setattr(module, "Producer", lambda config: Client(config, brokers))
    return TransactionalProducer(
        Connection("127.0.0.1:1"), "test", max_message_bytes=1 << 20, in_flight_bytes=1 << 20,
        budget_s=1, log=structlog.get_logger(), clock=SystemClock(),
    )  # fmt: skip


@pytest.fixture
def member(producer: TransactionalProducer) -> TransactionalProducer:
    producer.join(lambda: ([Partition("source", 3)], "member"))
    return producer


def write(producer: TransactionalProducer, topic: str = TOPIC) -> bool:
    producer.make_room(1, soon())
    producer.send(topic, [(b"1", b"a", [])])
    return producer.commit({Partition("source", 3): 7}, "member", soon())


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 0.2)


def ended(*topics: str, offsets: bool = True) -> list[Any]:
    records = [(topic, KEY, number) for topic in topics for number in (0, 1)]
    return ["begin", *records, "flush", *(["offsets"] if offsets else []), "abort"]


def sent(topic: str = TOPIC) -> list[Any]:
    return ["begin", (topic, b"1", None), "flush", "offsets", "commit"]


def test_after_a_commit_nothing_is_left(member: TransactionalProducer, brokers: Brokers) -> None:
    assert write(member)
    assert write(member)
    assert brokers.notes == ["init", *sent(), *sent()]


def test_what_was_aborted_is_aborted_once_more(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    member.make_room(1, soon())
    member.send(TOPIC, [(b"1", b"a", [])])
    member.start_over()
    brokers.take()
    assert write(member)
    assert write(member)
    assert brokers.notes == [*ended(TOPIC), *sent(), *sent()]


def test_who_commits_no_offsets_takes_none_back(
    producer: TransactionalProducer, brokers: Brokers
) -> None:
    producer.make_room(1, soon())
    producer.send(TOPIC, [(b"1", b"a", [])])
    producer.start_over()
    brokers.take()
    producer.make_room(1, soon())
    assert brokers.notes == [*ended(TOPIC, offsets=False), "begin"]


def test_the_last_commit_may_be_among_what_is_left(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    """Its markers may be missing where the next one has nothing, and both have offsets."""
    assert write(member, OTHER)
    member.make_room(1, soon())
    member.send(TOPIC, [(b"1", b"a", [])])
    member.start_over()
    brokers.take()
    assert write(member)
    assert brokers.notes == [*ended(TOPIC, OTHER), *sent()]


def test_what_a_lost_client_left_is_aborted_by_its_successor(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    brokers.fails.add("commit")
    assert not write(member)
    assert member.failure
    member.start_over()
    brokers.fails.clear()
    brokers.take()
    assert write(member)
    assert brokers.notes == ["init", *ended(TOPIC), *sent()]


@pytest.mark.parametrize("step", ["flush", "offsets", "abort"])
def test_until_that_is_done_nothing_else_is_sent(
    member: TransactionalProducer, brokers: Brokers, step: str
) -> None:
    member.make_room(1, soon())
    member.send(TOPIC, [(b"1", b"a", [])])
    member.start_over()
    brokers.fails.add(step)
    with pytest.raises(RetryableError):
        member.make_room(1, soon())
    brokers.fails.clear()
    brokers.take()
    assert write(member)
    assert brokers.notes == ["init", *ended(TOPIC), *sent()]


# --- brokers were lost ----------------------------------------------------------------------------


def test_brokers_lost_after_a_commit_put_it_in_doubt(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    """Whatever it was answered: all is read again from what the group has then."""
    assert write(member)
    brokers.lose()
    brokers.take()
    assert not write(member)
    assert "brokers were lost" in member.failure
    assert brokers.notes == []
    member.start_over()
    assert write(member)
    assert brokers.notes == ["init", *ended(TOPIC), *sent()], "by a new client: see Calls"
    assert write(member), "once"


@pytest.mark.parametrize("step", ["begin", "flush", "offsets"])
def test_brokers_lost_until_all_is_acknowledged_put_the_one_before_in_doubt(
    member: TransactionalProducer, brokers: Brokers, step: str
) -> None:
    """Nothing of a transaction is taken before the one before is ended, or forgotten."""
    assert write(member, OTHER)
    brokers.lost_in = step
    assert not write(member)
    assert brokers.notes[-1] != "commit"
    brokers.lost_in = ""
    member.start_over()
    brokers.take()
    assert write(member)
    assert brokers.notes == ["init", *ended(TOPIC, OTHER), *sent()]


def test_brokers_lost_while_a_commit_is_on_its_way_put_that_in_doubt(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    brokers.lost_in = "commit"
    assert write(member), "so it was answered"
    brokers.lost_in = ""
    assert not write(member)


def test_who_has_nothing_to_write_notices_too(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    assert write(member)
    member.revive()
    assert not member.failure
    brokers.lose()
    member.revive()
    assert member.failure


def test_brokers_lost_while_it_is_ended_once_more_let_it_be_ended_again(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    member.make_room(1, soon())
    member.send(TOPIC, [(b"1", b"a", [])])
    member.start_over()
    brokers.lost_in = "abort"
    with pytest.raises(RetryableError, match="brokers were lost"):
        member.make_room(1, soon())
    brokers.lost_in = ""
    brokers.take()
    assert write(member)
    assert brokers.notes == ["init", *ended(TOPIC), *sent()]


def test_brokers_lost_right_after_that_put_it_in_doubt_as_well(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    member.make_room(1, soon())
    member.start_over()
    member.make_room(1, soon())
    brokers.lose()
    assert not member.commit({}, "member", soon())


def test_before_the_first_commit_there_is_nothing_to_doubt(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    brokers.lose()
    assert write(member)
    assert write(member)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (KafkaError._TRANSPORT, DISCONNECTED, True),
        (KafkaError._TRANSPORT, "127.0.0.1:9092/1: 3 request(s) timed out: disconnect", True),
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down", True),
        # One of several that is away for long, and comes up again and again.
        (KafkaError._TRANSPORT, REFUSED, False),
        (
            KafkaError._TRANSPORT,
            "b:9093/2: Receive failed (after 3ms in state SSL_HANDSHAKE)",
            False,
        ),
        (KafkaError._RESOLVE, "Failed to resolve 'b:9092'", False),
    ],
)
def test_what_brokers_are_lost_by(code: int, text: str, *, expected: bool) -> None:
    assert unsettles(KafkaError(code, text)) is expected


# --- a predecessor --------------------------------------------------------------------------------


def test_what_held_offsets_may_have_left_something_in_each_topic(
    member: TransactionalProducer, brokers: Brokers
) -> None:
    member.open(soon())
    assert member.disown()
    assert brokers.take() == ["init", *ended()]
    member.make_room(1, soon())
    for topic in (TOPIC, OTHER):
        member.send(topic, [(b"1", b"a", [])])
    assert "predecessor" in member.failure
    member.start_over()
    brokers.take()
    assert write(member)
    assert write(member, OTHER)
    assert brokers.notes == [*ended(TOPIC, OTHER), *sent(), *sent(OTHER)]


def test_who_is_no_member_ends_nothing(producer: TransactionalProducer) -> None:
    def outside() -> Any:
        raise FencedError("the group has let us go")

    producer.join(outside)
    producer.make_room(1, soon())
    producer.start_over()
    producer.make_room(1, soon())
    assert "let us go" in producer.failure


def test_who_has_no_partition_ends_nothing(producer: TransactionalProducer) -> None:
    producer.join(lambda: ([], "member"))
    producer.make_room(1, soon())
    producer.start_over()
    producer.make_room(1, soon())
    assert "no partition is ours" in producer.failure
