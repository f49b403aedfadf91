"""The worker on a real broker: transactions, rebalances, losses, gaps, dead letters."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from callsheet.batch import Offset, Partition
from callsheet.codec.topics import DEFAULT_MAX_VALUE_BYTES
from callsheet.config.models import DeadLetterSettings
from callsheet.errors import FatalError, FencedError, Reason, UsageError
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.dead_letters import KafkaDeadLetters, dead_letter_topic, original_place
from callsheet.kafka.offsets import Target, planned
from callsheet.kafka.settings import Membership
from callsheet.ports import Deadline, SystemClock
from tests.support.kafka import (
    LIMITS,
    Cluster,
    a_cluster,
    a_worker,
    eventually,
    letters_of,
)
from tests.support.memory_sink import MemorySink, MemoryStore


@pytest.fixture
def cluster(stack_env: dict[str, str], live_stack: object) -> Iterator[Cluster]:
    with a_cluster(stack_env) as found:
        yield found


def numbered(count: int, *, start: int = 0) -> list[tuple[str, str | None]]:
    return [(f"k{n}", f"v{n}") for n in range(start, start + count)]


def test_rows_arrive_and_what_is_no_row_is_committed_with_them(cluster: Cluster) -> None:
    topic, store = cluster.topic(2), MemoryStore()
    cluster.produce(topic, [*numbered(700), ("k1", None), ("k2", None)])
    live = a_worker(cluster, [topic], store)
    live.start()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "everything is committed")
    live.stop()
    assert live.error is None
    assert len(store.rows(topic)) == 700
    assert live.count("consumed_events_total") == 702
    assert live.count("skipped_events_total") == 2


def test_aborted_transactions_are_not_read_and_their_markers_are_no_lag(cluster: Cluster) -> None:
    topic, store = cluster.topic(), MemoryStore()
    producer = Producer(
        {
            "bootstrap.servers": cluster.connection.bootstrap_servers,
            "transactional.id": cluster.name,
        }
    )
    producer.init_transactions(30)
    for word, ends in (("kept", producer.commit_transaction), ("gone", producer.abort_transaction)):
        producer.begin_transaction()
        for number in range(5):
            producer.produce(topic, key=f"{word}{number}", value=word)
        assert producer.flush(30) == 0
        ends(30)
    live = a_worker(cluster, [topic], store)
    live.start()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "the markers are passed")
    live.stop()
    assert sorted(store.rows(topic)) == [f"kept{n}" for n in range(5)]


def test_two_workers_share_and_hand_over(cluster: Cluster) -> None:
    topic, store = cluster.topic(4), MemoryStore()
    cluster.produce(topic, numbered(2_000))
    first, second = a_worker(cluster, [topic], store), a_worker(cluster, [topic], store)
    first.start()
    eventually(lambda: len(first.pulse.read().assigned) == 4, "the first has all")
    second.start()
    eventually(
        lambda: len(first.pulse.read().assigned) == len(second.pulse.read().assigned) == 2,
        "both have two",
    )
    cluster.produce(topic, numbered(2_000, start=2_000))
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "both have delivered")
    first.stop()
    eventually(lambda: len(second.pulse.read().assigned) == 4, "the second has all")
    cluster.produce(topic, numbered(100, start=4_000))
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "the second has delivered")
    second.stop()
    assert first.error is second.error is None
    assert len(store.rows(topic)) == 4_100
    # Handing over finished what was in hand: nothing was read twice.
    read = first.count("consumed_events_total") + second.count("consumed_events_total")
    assert read == 4_100


def test_an_outage_pauses_and_nothing_is_read_again(cluster: Cluster) -> None:
    topic, store = cluster.topic(2), MemoryStore()
    cluster.produce(topic, numbered(300))
    live = a_worker(cluster, [topic], store)
    live.start()
    eventually(lambda: len(store.rows(topic)) == 300, "the first rows")
    store.is_away = True
    cluster.produce(topic, numbered(3_000, start=300))
    eventually(lambda: live.pulse.read().is_paused, "the assignment is paused")
    assert live.pulse.read().held_since_s is not None
    # A partition that comes while paused must wait as well.
    elsewhere = MemoryStore()
    second = a_worker(cluster, [topic], elsewhere)
    second.start()
    eventually(lambda: len(second.pulse.read().assigned) == 1, "one went over")
    second.stop()
    eventually(lambda: len(live.pulse.read().assigned) == 2, "and came back")
    held = live.pulse.read().in_hand_events
    assert held <= LIMITS.in_hand_events
    store.is_away = False
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "all is delivered")
    live.stop()
    assert live.error is None
    assert len(store.rows(topic) | elsewhere.rows(topic)) == 3_300


class ForgetfulConsumer(Consumer):
    """A client whose group has no coordinator to ask, for as long as ``is_away``."""

    is_away = True
    asked = 0

    def committed(self, *args: Any, **kwargs: Any) -> Any:
        type(self).asked += 1
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no coordinator"))
        return super().committed(*args, **kwargs)


def test_an_assignment_waits_for_the_coordinator_and_needs_no_restart(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(ForgetfulConsumer): ...

    topic, store = cluster.topic(2), MemoryStore()
    cluster.produce(topic, numbered(50))
    with monkeypatch.context() as patch:
        patch.setattr("callsheet.kafka.consumer.Consumer", Forgetful)
        waiting = a_worker(cluster, [topic], store)
    waiting.start()
    eventually(lambda: Forgetful.asked >= 3 or waiting.error, "it asks again")
    assert (waiting.error, waiting.pulse.read().assigned) == (None, ())
    # What waits can go to somebody else, too.
    other = a_worker(cluster, [topic], store)
    other.start()
    eventually(lambda: len(other.pulse.read().assigned) == 1, "one went over")
    Forgetful.is_away = False
    eventually(lambda: len(waiting.pulse.read().assigned) == 1, "the other is taken up")
    other.stop()
    eventually(lambda: len(waiting.pulse.read().assigned) == 2, "and the first comes back")
    cluster.produce(topic, numbered(50, start=50))
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "everything is committed")
    waiting.stop()
    assert waiting.error is other.error is None
    assert len(store.rows(topic)) == 100


def test_a_worker_stops_while_its_assignment_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(ForgetfulConsumer): ...

    topic = cluster.topic()
    monkeypatch.setattr("callsheet.kafka.consumer.Consumer", Forgetful)
    live = a_worker(cluster, [topic], MemoryStore())
    live.start()
    eventually(lambda: Forgetful.asked >= 2, "it asks")
    live.stop()
    assert live.error is None


def test_a_gap_in_the_log_stops_the_worker_with_its_offsets(cluster: Cluster) -> None:
    topic, store = cluster.topic(), MemoryStore()
    cluster.produce(topic, numbered(10))
    place = TopicPartition(topic, 0)
    cluster.groups.reset(cluster.name, {Partition(topic, 0): 2})
    deleted = cluster.admin.delete_records([TopicPartition(topic, 0, 5)])[place]
    deleted.result(30)
    live = a_worker(cluster, [topic], store)
    live.start()
    eventually(lambda: live.error is not None, "it stops")
    assert isinstance(live.error, FatalError)
    assert "no longer has the records" in live.error.message
    assert cluster.groups.committed(cluster.name) == {Partition(topic, 0): 2}


class Witness:
    """A listener that only remembers."""

    def __init__(self) -> None:
        self.assigned: set[Partition] = set()
        self.lost: set[Partition] = set()

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        self.assigned |= set(partitions)
        return {}

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        self.assigned -= set(partitions)

    def on_lost(self, partitions: Collection[Partition]) -> None:
        self.lost |= set(partitions)


def test_who_does_not_poll_is_out_and_its_commit_is_refused(cluster: Cluster) -> None:
    topic, witness = cluster.topic(), Witness()
    cluster.produce(topic, numbered(5))
    member = Membership(cluster.name, max_poll_interval_s=6.0, session_timeout_s=6.0)
    consumer = GroupConsumer(cluster.connection, member, structlog.get_logger())
    consumer.subscribe([topic], witness)
    eventually(lambda: consumer.poll(100, 0.1), "records")
    waiting = threading.Event()
    assert not waiting.wait(7.5)  # longer than max.poll.interval.ms, and no poll
    consumer.commit({Partition(topic, 0): 3})

    def is_refused() -> bool:
        consumer.poll(100, 0.1)
        try:
            return consumer.committed() is not None and pytest.fail("it was taken")
        except FencedError:
            return True

    def is_lost() -> bool:
        return bool(witness.lost) or is_refused()

    eventually(is_lost, "the member hears that it is out")
    consumer.close()
    assert cluster.groups.committed(cluster.name) == {}


def test_a_pattern_takes_new_topics_in_without_reading_again(cluster: Cluster) -> None:
    first, store = cluster.topic(suffix="one"), MemoryStore()
    cluster.produce(first, numbered(50))
    quick = replace(cluster.connection, properties={"topic.metadata.refresh.interval.ms": "500"})
    cluster.connection = quick
    live = a_worker(cluster, [f"^{cluster.name}\\.(one|two)"], store)
    live.start()
    eventually(lambda: len(store.rows(first)) == 50, "the first topic")
    second = cluster.topic(suffix="two")
    cluster.produce(second, numbered(20))
    eventually(lambda: len(store.rows(second)) == 20, "the second topic")
    live.stop()
    assert live.count("consumed_events_total") == 70


def test_a_dead_letter_carries_all_that_a_replay_needs(cluster: Cluster) -> None:
    topic, store = cluster.topic(), MemoryStore()
    letters = cluster.topic(suffix="letters")
    store.poison = {"k1"}
    cluster.produce(topic, [("k0", "good"), ("k1", "refused"), ("k2", "bad"), ("k3", "good")])
    live = a_worker(cluster, [topic], store)
    live.start()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "all is committed")
    live.stop()
    assert sorted(store.rows(topic)) == ["k0", "k3"]
    found = {m.key(): m for m in letters_of(cluster, letters, 2)}
    poison, refused = found[b"k2"], found[b"k1"]
    headers = dict(poison.headers() or ())
    assert poison.value() == b"bad"
    assert headers["own"] == b"1"
    assert headers["callsheet.topic"] == topic.encode()
    assert (headers["callsheet.partition"], headers["callsheet.offset"]) == (b"0", b"2")
    assert headers["callsheet.reason"] == Reason.MALFORMED.value.encode()
    assert (headers["callsheet.pipeline"], headers["callsheet.count"]) == (b"test", b"1")
    assert dict(refused.headers() or ())["callsheet.reason"] == Reason.REJECTED.value.encode()
    assert refused.value() == b"refused"


def test_a_letter_that_the_topic_does_not_take_stops_the_worker(cluster: Cluster) -> None:
    topic, store = cluster.topic(), MemoryStore()
    letters = cluster.topic(suffix="letters", config={"max.message.bytes": "200"})
    cluster.produce(topic, [("k0", "good"), ("k1" * 200, "bad"), ("k2", "good")])
    live = a_worker(cluster, [topic], store, letters_topic=letters)
    live.start()
    eventually(lambda: live.error is not None, "it stops")
    assert isinstance(live.error, FatalError)
    committed = cluster.groups.committed(cluster.name).get(Partition(topic, 0), 0)
    assert committed <= 1


def test_the_letters_topic_takes_what_the_settings_allow(cluster: Cluster) -> None:
    wanted = dead_letter_topic(
        f"{cluster.name}.letters",
        retention_hours=1,
        max_message_bytes=8_000_000,
        replication_factor=1,
    )
    cluster.topic(suffix="letters", config=wanted.config)
    large = "x" * 5_000_000
    topic = cluster.topic(config={"max.message.bytes": "8000000"})
    producer = Producer(
        {
            "bootstrap.servers": cluster.connection.bootstrap_servers,
            "message.max.bytes": 8_000_000,
        }
    )
    producer.produce(topic, key=b"k", value=large)
    assert producer.flush(30) == 0
    (message,) = letters_of(cluster, topic, 1)
    letters = KafkaDeadLetters(
        cluster.connection,
        wanted.name,
        pipeline="test",
        version="1",
        max_message_bytes=8_000_000,
        budget_s=10.0,
        log=structlog.get_logger(),
    )
    letters.put(message, Reason.OVERSIZE, "too large")
    letters.flush(Deadline.after(SystemClock(), 10.0))
    (letter,) = letters_of(cluster, wanted.name, 1)
    assert letter.value() == large.encode()


def test_what_no_letter_can_carry_is_named_in_one_and_the_worker_goes_on(cluster: Cluster) -> None:
    most = DeadLetterSettings().max_message_bytes
    wanted = dead_letter_topic(
        f"{cluster.name}.letters", retention_hours=1, max_message_bytes=most, replication_factor=1
    )
    cluster.topic(suffix="letters", config=wanted.config)
    topic, store = cluster.topic(config={"max.message.bytes": str(2 * most)}), MemoryStore()
    fits, too_large = (os.urandom(size) for size in (DEFAULT_MAX_VALUE_BYTES, most))
    bootstrap = cluster.connection.bootstrap_servers
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 2 * most})
    for key, value in ((b"k0", b"good"), (b"k1", fits), (b"k2", too_large), (b"k3", b"good")):
        producer.produce(topic, key=key, value=value)
        assert producer.flush(30) == 0
    letters = KafkaDeadLetters(
        cluster.connection,
        wanted.name,
        pipeline="test",
        version="1",
        max_message_bytes=most,
        budget_s=30.0,
        log=structlog.get_logger(),
    )
    live = a_worker(cluster, [topic], store, letters=letters)
    live.start()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0 or live.error, "all is done with")
    live.stop()
    assert live.error is None
    assert sorted(store.rows(topic)) == ["k0", "k3"]
    whole, cut = letters_of(cluster, wanted.name, 2)
    assert whole.value() == fits
    assert cut.value() == too_large[:4_096]
    found = dict(cut.headers() or ())
    assert found["callsheet.value_sha256"] == sha256(too_large).hexdigest().encode()
    assert original_place(found) == (topic, 0, 2)


def test_offsets_move_only_while_nobody_runs(cluster: Cluster) -> None:
    topic, store = cluster.topic(), MemoryStore()
    cluster.produce(topic, numbered(10))
    live = a_worker(cluster, [topic], store)
    live.start()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "all is committed")
    place, groups = Partition(topic, 0), cluster.groups
    with pytest.raises(UsageError, match="member"):
        groups.reset(cluster.name, {place: 0})
    live.stop()
    (move,) = planned(groups, cluster.name, [place], Target.parse("earliest"))
    assert (move.before, move.after) == (10, 0)
    groups.reset(cluster.name, {place: move.after})
    assert cluster.lag(cluster.name, topic) == 10
    (later,) = planned(groups, cluster.name, [place], Target.parse("2100-01-01T00:00:00Z"))
    assert later.after == 10
    (earlier,) = planned(groups, cluster.name, [place], Target.parse("2000-01-01T00:00:00Z"))
    assert earlier.after == 0
    again = a_worker(cluster, [topic], store)
    again.start()
    eventually(lambda: cluster.lag(cluster.name, topic) == 0, "all is read again")
    again.stop()
    assert again.count("stale_events_total") == 10


def test_a_static_member_keeps_its_partitions_through_a_restart(cluster: Cluster) -> None:
    topic, store = cluster.topic(2), MemoryStore()
    other = a_worker(cluster, [topic], store, instance_id="b")
    one = a_worker(cluster, [topic], store, instance_id="a")
    other.start()
    one.start()
    eventually(
        lambda: len(one.pulse.read().assigned) == len(other.pulse.read().assigned) == 1, "shared"
    )
    before = other.count("rebalances_total")
    mine = one.pulse.read().assigned
    one.stop()
    again = a_worker(cluster, [topic], store, instance_id="a")
    again.start()
    eventually(lambda: again.pulse.read().assigned == mine, "the same partition")
    assert other.count("rebalances_total") == before
    again.stop()
    other.stop()


class BrokenSink(MemorySink):
    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        raise FatalError("no such manifest")


def test_what_a_callback_raises_stops_the_worker(cluster: Cluster) -> None:
    topic, store = cluster.topic(), MemoryStore()
    live = a_worker(cluster, [topic], store)
    live.worker._sink = BrokenSink(store, SystemClock())
    live.start()
    eventually(lambda: live.error is not None, "it stops")
    assert isinstance(live.error, FatalError)
    assert live.error.message == "no such manifest"
