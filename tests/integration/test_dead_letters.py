"""Dead letters on a real broker: redriven once and again, discarded, guarded, interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import structlog
from confluent_kafka import Producer, TopicPartition

from callsheet.batch import Offset
from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish, Workshop
from callsheet.delivery import Step
from callsheet.errors import Reason, UsageError
from callsheet.kafka.dead_letters import (
    KafkaDeadLetters,
    dead_letter_topic,
    fitted,
    letter_headers,
)
from callsheet.kafka.letters import Choice, Deed, LetterBook, Mark, State
from callsheet.kafka.letters_log import KafkaMarks, LetterLog
from callsheet.kafka.letters_turn import RedriveTurn
from callsheet.limits import TruncatePolicy
from callsheet.ports import Deadline, SystemClock
from callsheet.sink import Sink
from tests.support.envelopes import FakeMessage
from tests.support.kafka import LIMITS, Cluster, a_cluster, a_worker, eventually
from tests.support.letters import SourceVersions
from tests.support.memory_sink import MemorySink, MemoryStore

CLOCK = SystemClock()
ALL = Wish(Choice(), most_attempts=3)


@pytest.fixture
def cluster(stack_env: dict[str, str], live_stack: object) -> Iterator[Cluster]:
    with a_cluster(stack_env) as found:
        yield found


class Desk:
    """A pipeline with its dead letters, and an operator."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.store = cluster, MemoryStore()
        self.topic = cluster.topic(2)
        config = dead_letter_topic(
            "x", retention_hours=1, max_message_bytes=2_000_000, replication_factor=1
        ).config
        self.letters_topic = cluster.topic(suffix="letters", config=config)
        self.log = LetterLog(cluster.connection, self.letters_topic, CLOCK)
        self.marks = KafkaMarks(
            cluster.connection, self.letters_topic, max_message_bytes=2_000_000, budget_s=10
        )

    def letters(self, max_message_bytes: int = 2_000_000) -> KafkaDeadLetters:
        return KafkaDeadLetters(
            self.cluster.connection,
            self.letters_topic,
            pipeline="test",
            version="1",
            max_message_bytes=max_message_bytes,
            budget_s=10,
            log=structlog.get_logger(),
        )

    def deliver(
        self, rows: list[tuple[str, str | None]], letters: KafkaDeadLetters | None = None
    ) -> None:
        """By a worker of the pipeline, to the end of the log."""
        self.cluster.produce(self.topic, rows)
        live = a_worker(self.cluster, [self.topic], self.store, letters=letters or self.letters())
        live.start()
        eventually(lambda: self.cluster.lag(self.cluster.name, self.topic) == 0, "delivered")
        live.stop()
        assert live.error is None

    def turn(self) -> RedriveTurn:
        return RedriveTurn(self.cluster.connection, self.cluster.name, self.letters_topic)

    def shop(self) -> Workshop:
        return Workshop(
            log=self.log,
            marks=self.marks,
            letters=self.letters(),
            decoder=SourceVersions(),
            sink=lambda: MemorySink(self.store, CLOCK),
            limits=LIMITS,
            truncate=TruncatePolicy.PARK,
            logger=structlog.get_logger(),
            clock=CLOCK,
        )

    def redrive(
        self,
        wish: Wish = ALL,
        *,
        at: Callable[[Step], None] = lambda _: None,
        sink: Callable[[], Sink] | None = None,
        patience_s: float = 60,
    ) -> Outcome:
        shop = replace(self.shop(), at=at)
        if sink is not None:
            shop = replace(shop, sink=sink)
        with self.turn() as turn:
            return Redrive(shop, turn, "somebody", patience_s).run(wish)

    def book(self) -> LetterBook:
        return self.log.book()

    def states(self) -> dict[Offset, State]:
        return {letter.offset: letter.state for letter in self.book().letters.values()}


@pytest.fixture
def desk(cluster: Cluster) -> Desk:
    return Desk(cluster)


def test_what_was_refused_is_written_once_the_cause_is_mended(desk: Desk) -> None:
    desk.store.poison = {"a", "b"}
    desk.deliver([("a", "1"), ("b", "1"), ("c", "1")])
    assert {x.reason for x in desk.book().open()} == {"rejected"}
    assert set(desk.store.rows(desk.topic)) == {"c"}

    desk.store.poison = {"b"}
    outcome = desk.redrive()
    assert (outcome.redriven, outcome.written) == (2, 1)
    assert outcome.failed_again == {"rejected": 1}
    assert set(desk.store.rows(desk.topic)) == {"a", "c"}
    [again] = desk.book().open()
    assert again.attempts == 2

    desk.store.poison = set()
    assert desk.redrive().written == 1
    assert set(desk.store.rows(desk.topic)) == {"a", "b", "c"}
    assert desk.book().open() == []
    assert desk.redrive() == Outcome()


def test_the_source_topics_get_nothing_back(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1")])
    before = desk.cluster.groups.offsets("x", desk.cluster.groups.partitions([desk.topic]))
    desk.store.poison = set()
    desk.redrive()
    after = desk.cluster.groups.offsets("x", desk.cluster.groups.partitions([desk.topic]))
    assert [place.end for place in before] == [place.end for place in after]


def test_an_older_state_is_stale_and_changes_nothing(desk: Desk) -> None:
    """What follows a parked ID goes on: the letter comes too late."""
    desk.store.poison = {"a"}
    desk.deliver([("a", "old"), ("d", "old")])
    desk.store.poison = set()
    desk.deliver([("a", "new")])
    assert desk.store.rows(desk.topic)["a"] == {"text": "new"}
    outcome = desk.redrive()
    assert (outcome.redriven, outcome.written, outcome.stale) == (1, 0, 1)
    assert desk.store.rows(desk.topic)["a"] == {"text": "new"}
    assert desk.book().open() == []


def test_letters_of_one_id_come_in_the_order_of_their_log(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1"), ("b", "1")])
    desk.deliver([("a", "2")])
    sinks: list[MemorySink] = []

    def sink() -> Sink:
        sinks.append(MemorySink(desk.store, CLOCK))
        return sinks[-1]

    desk.store.poison = set()
    desk.redrive(sink=sink)
    [batch] = [b for s in sinks for b in s.written]
    assert [image["text"] for image in batch.frame["after"].to_list()] == ["1", "2"]


def test_the_loop_guard(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1")])
    for attempts in (2, 3):
        assert desk.redrive().failed_again == {"rejected": 1}
        assert desk.book().open()[0].attempts == attempts
    outcome = desk.redrive()
    assert (outcome.redriven, outcome.guarded) == (0, 1)
    assert desk.redrive(replace(ALL, is_forced=True)).failed_again == {"rejected": 1}


def test_only_what_was_chosen(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1"), ("b", "bad")])
    reasons = {letter.reason: letter.offset for letter in desk.book().open()}
    assert set(reasons) == {"rejected", "malformed"}
    desk.store.poison = set()
    outcome = desk.redrive(replace(ALL, choice=Choice(reasons=frozenset({"rejected"}))))
    assert outcome.redriven == 1
    assert desk.states()[reasons["malformed"]] is State.OPEN
    assert desk.states()[reasons["rejected"]] is State.REDRIVEN


def test_a_discarded_letter_says_who_and_why_and_is_not_redriven(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1")])
    [letter] = desk.book().open()
    mark = Mark(Deed.DISCARDED, (letter.offset,), "ann@desk", "2026-11-23T00:00:00Z", "test data")
    desk.marks.store(mark, Deadline.after(CLOCK, 30))
    [found] = desk.book().letters.values()
    assert (found.state, found.mark) == (State.DISCARDED, mark)
    desk.store.poison = set()
    assert desk.redrive().redriven == 0
    assert desk.store.rows(desk.topic) == {}


class Killed(BaseException):
    """A crash: nothing after it is done."""


@pytest.mark.parametrize("step", [Step.FETCHED, Step.WRITTEN, Step.ACKNOWLEDGED, Step.COMMITTING])
def test_a_crash_at_any_step_repeats_safely(desk: Desk, step: Step) -> None:
    desk.store.poison = {"a", "b", "c"}
    desk.deliver([("a", "1"), ("b", "1"), ("c", "1")])
    desk.store.poison = {"b"}

    def die(reached: Step) -> None:
        if reached is step:
            raise Killed

    with pytest.raises(Killed):
        desk.redrive(at=die)
    book = desk.book()
    assert len(book.unfinished()) == 1
    outcome = desk.redrive()
    assert set(desk.store.rows(desk.topic)) == {"a", "c"}
    assert desk.book().unfinished() == []
    [left] = desk.book().open()
    assert left.attempts >= 2
    assert outcome.remaining == 0


def test_an_interrupted_redrive_keeps_its_places(desk: Desk) -> None:
    """A destination that keeps offsets of its own knows a repeat by them."""
    desk.store.poison = {"a", "b"}
    desk.deliver([("a", "1"), ("b", "1")])
    desk.store.poison = set()
    places: list[list[tuple[int, int]]] = []

    def die(reached: Step) -> None:
        if reached is Step.ACKNOWLEDGED:
            raise Killed

    for at in (die, lambda _: None):
        sink = MemorySink(desk.store, CLOCK)
        with suppress(Killed):
            desk.redrive(at=at, sink=partial(_itself, sink))
        places.append([(m.partition(), m.offset()) for b in sink.written for m in b.messages])
    assert places[0] == places[1]
    assert all(partition >= 1_000_000 for partition, _ in places[0])


def _itself(sink: Sink) -> Sink:
    return sink


def test_a_destination_that_stays_away(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1")])
    desk.store.poison, desk.store.is_away = set(), True
    outcome = desk.redrive(patience_s=1)
    assert outcome.away
    assert (outcome.redriven, outcome.remaining) == (0, 1)
    desk.store.is_away = False
    assert desk.redrive().written == 1


def test_a_parked_table_leaves_its_letters_open(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1")])
    desk.store.poison, desk.store.parked = set(), {desk.topic: "somebody deleted the index"}
    outcome = desk.redrive()
    assert [table.topic for table in outcome.parked] == [desk.topic]
    assert outcome.remaining == 1
    desk.store.parked = {}
    assert desk.redrive().written == 1


def test_one_redrive_at_a_time(desk: Desk) -> None:
    with desk.turn() as first:
        refused: list[BaseException] = []

        def second() -> None:
            try:
                with desk.turn():
                    pass
            except UsageError as error:
                refused.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        while thread.is_alive():
            first.keep()
            thread.join(0.05)
        assert "another redrive" in str(refused[0])
        first.keep()
    with desk.turn() as third:
        third.keep()


def test_letters_whose_beginning_retention_has_taken(desk: Desk) -> None:
    desk.store.poison = {"a"}
    desk.deliver([("a", "1")])
    desk.deliver([("a", "2")])
    gone = desk.cluster.admin.delete_records([TopicPartition(desk.letters_topic, 0, 1)])
    for future in gone.values():
        future.result(30)
    desk.store.poison = set()
    outcome = desk.redrive()
    assert (outcome.redriven, outcome.written) == (1, 1)
    assert desk.store.rows(desk.topic)["a"] == {"text": "2"}


def test_a_cut_letter_is_read_where_its_record_stands(desk: Desk) -> None:
    desk.store.poison = {"a"}
    text = "x" * 50_000
    desk.deliver([("a", text)], desk.letters(max_message_bytes=20_000))
    [letter] = desk.book().open()
    assert letter.cut is not None
    desk.store.poison = set()
    assert desk.redrive().written == 1
    assert desk.store.rows(desk.topic) == {"a": {"text": text}}


def test_a_cut_letter_whose_record_is_gone_stays_open(desk: Desk) -> None:
    desk.store.poison = {"a", "b"}
    desk.deliver([("a", "x" * 50_000), ("b", "1")], desk.letters(max_message_bytes=20_000))
    cut = next(letter for letter in desk.book().open() if letter.cut)
    place = TopicPartition(desk.topic, cut.source.number, cut.source_offset + 1)
    deleted = desk.cluster.admin.delete_records([place])
    for future in deleted.values():
        future.result(30)
    desk.store.poison = set()
    outcome = desk.redrive()
    assert (outcome.gone, outcome.remaining, outcome.written) == ([cut.offset], 1, 1)
    assert desk.states()[cut.offset] is State.OPEN


def test_a_cut_letter_is_never_redriven_as_another_record(desk: Desk) -> None:
    """The topic was made anew: at the same offset there is something else."""
    desk.deliver([("a", "x" * 50_000)])
    before = FakeMessage(b"y" * 50_000, b"a", desk.topic, offset_=0, partition_=partition_of(desk))
    headers = letter_headers(before, Reason.REJECTED, "why", pipeline="test", version="1")
    cut = fitted(before, headers, 20_000)
    producer = Producer({"bootstrap.servers": desk.cluster.connection.bootstrap_servers})
    producer.produce(desk.letters_topic, cut.value, cut.key, headers=list(cut.headers))
    assert producer.flush(30) == 0
    [letter] = desk.book().open()
    assert letter.cut is not None
    outcome = desk.redrive()
    assert (outcome.gone, outcome.remaining, outcome.written) == ([letter.offset], 1, 0)
    assert desk.store.rows(desk.topic) == {"a": {"text": "x" * 50_000}}


def partition_of(desk: Desk) -> int:
    """Where the one record of the topic is."""
    groups = desk.cluster.groups
    places = groups.offsets(desk.cluster.name, groups.partitions([desk.topic]))
    (found,) = [place.partition.number for place in places if place.end]
    return found


def test_what_is_no_letter_is_left_alone(desk: Desk) -> None:
    producer = Producer({"bootstrap.servers": desk.cluster.connection.bootstrap_servers})
    producer.produce(desk.letters_topic, value=b"x")
    producer.produce(desk.letters_topic, value=b"{", headers={"callsheet.mark": b"redriven"})
    assert producer.flush(30) == 0
    book = desk.book()
    assert (book.letters, book.strange) == ({}, 2)
