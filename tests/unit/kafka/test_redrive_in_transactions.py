"""Redrives in transactions that crash, are lost or end nobody knows how: each record downstream and
its mark are there together, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, cast

import pytest
import structlog

from callsheet.batch import Batch, Offset, Partition
from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish, Workshop
from callsheet.delivery import Step
from callsheet.errors import FencedError, Reason, UnavailableError
from callsheet.kafka.letters import Choice, Deed, Mark, Record
from callsheet.kafka.letters_transaction import DecidedLetters, TransactionalMarks
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.transaction import TransactionalLetters
from callsheet.limits import TruncatePolicy
from callsheet.ports import Deadline, OutgoingRecord
from callsheet.sink import Counts, Progress, Rejection
from tests.support.clock import FakeClock
from tests.support.examples import examples
from tests.support.kafka import LIMITS
from tests.support.letters import LetterTopic, SourceVersions, TopicLetters

SCHEDULES = examples(40)
TOPICS = ("studio.finance.titles", "studio.finance.talent")
EVERYTHING = Wish(Choice(), most_attempts=1_000_000)
LETTERS = "letters"


class Killed(BaseException):
    """A crash: nothing after it is done."""


@dataclass
class FakeProducer:
    """A transaction over the letters' topic and those downstream. Of a commit that fails nobody is
    told whether it was heard: it is decided when the next of this name opens.
    """

    letters: LetterTopic
    random: Random
    trouble: float = 0.0
    down: list[bytes | None] = field(default_factory=list)
    pending: list[tuple[str, OutgoingRecord]] = field(default_factory=list)
    undecided: list[tuple[str, OutgoingRecord]] = field(default_factory=list)
    failure: str = ""

    def open(self, deadline: Deadline) -> None:
        if self.random.random() < 0.5:
            self._publish(self.undecided)
        self.undecided, self.pending = [], []

    def send(self, topic: str, records: Iterable[OutgoingRecord]) -> list[int]:
        if not self.failure:
            self.pending += [(topic, record) for record in records]
        return []

    def commit(self, offsets: Mapping[Partition, Offset], member: object, _: Deadline) -> bool:
        assert not offsets, "a redrive commits nothing for the group"
        if self.failure:
            return False
        taken, self.pending = self.pending, []
        if self.random.random() < self.trouble:
            self.failure, self.undecided = "no answer in time", taken
            return False
        self._publish(taken)
        return True

    def fail(self, why: str) -> None:
        self.failure = self.failure or why

    def start_over(self) -> None:
        self.failure, self.pending = "", []

    def _publish(self, records: list[tuple[str, OutgoingRecord]]) -> None:
        for topic, (key, value, headers) in records:
            if topic == LETTERS:
                self.letters._append(key, value, headers)
            else:
                self.down.append(value)


@dataclass
class Downstream:
    """A transactional sink: what it was handed is in the transaction."""

    producer: FakeProducer
    poison: set[str]
    told: Progress = field(default_factory=Progress)
    durable: dict[Partition, Offset] = field(default_factory=dict)

    def open(self) -> None:
        self.producer.open(Deadline(FakeClock(), 0))

    def close(self) -> None: ...
    def flush(self, deadline: Deadline) -> None: ...

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return {}

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        self.told = Progress()

    def write(self, batch: Batch, deadline: Deadline) -> None:
        rejections, good = list(self.told.rejections), 0
        for message in batch.messages:
            if (message.key() or b"").decode() in self.poison:
                at = Partition(message.topic(), message.partition())
                rejections.append(Rejection(at, message.offset(), Reason.REJECTED, "x"))
            else:
                good += 1
                self.producer.send("down", [(message.key(), message.value(), ())])
        self.durable |= batch.next_offsets()
        self.told = Progress(
            dict(self.durable), rejections, self.told.counts + Counts(written=good)
        )

    def progress(self) -> Progress:
        told, self.told = self.told, Progress(dict(self.durable))
        return told


class Turn:
    def keep(self) -> None:
        """Nobody else redrives."""


class Ends:
    def committed(self) -> Offset:
        return 0

    def written(self) -> Offset:
        return 0


class World:
    def __init__(self, seed: int) -> None:
        self.random, self.clock = Random(seed), FakeClock()
        self.letters = LetterTopic(self.random)
        self.producer = FakeProducer(self.letters, self.random)
        self.poison: set[str] = set()
        self.records: list[bytes] = []
        for name in TOPICS:
            for offset in range(self.random.randint(1, 8)):
                key, value = f"k{self.random.randint(0, 3)}", f"{name} {offset}".encode()
                record = Record(Partition(name, 0), offset, (1, 0), key.encode(), value, ())
                TopicLetters(self.letters).put(record, Reason.REJECTED, "x")
                self.records.append(value)
        self.letters.flush(None)  # type: ignore[arg-type]

    def redrive(self, step: Step | None, *, patience_s: float = 60.0) -> Outcome | None:
        countdown = self.random.randint(1, 3)

        def at(reached: Step) -> None:
            nonlocal countdown
            countdown -= reached is step
            if reached is step and countdown <= 0:
                raise Killed

        with suppress(Killed):
            return Redrive(self._shop(at), Turn(), "somebody", patience_s).run(EVERYTHING)
        self.letters.crash()
        self.producer.pending, self.producer.failure = [], ""
        return None

    def _shop(self, at: Any) -> Workshop:
        producer = cast("TransactionalProducer", self.producer)
        marks = TransactionalMarks(producer, LETTERS, self.letters, budget_s=5.0, clock=self.clock)
        letters = TransactionalLetters(
            producer,
            LETTERS,
            pipeline="p",
            version="1",
            max_message_bytes=1_000_000,
            log=structlog.get_logger(),
        )

        def sink() -> Downstream:
            producer.start_over()
            return Downstream(self.producer, self.poison)

        limits = replace(
            LIMITS,
            poll_events=self.random.choice([1, 3, 500]),
            commit_interval_s=self.random.choice([0.0, 0.1]),
        )
        return Workshop(
            DecidedLetters(self.letters, Ends(), producer, self.clock), marks, letters,
            SourceVersions(), sink, limits, TruncatePolicy.PARK, structlog.get_logger(),
            self.clock, at,
        )  # fmt: skip


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_each_record_is_seen_once(seed: int) -> None:
    world = World(seed)
    for _ in range(world.random.randint(1, 4)):
        world.poison = {f"k{n}" for n in range(4) if world.random.random() < 0.3}
        world.producer.trouble = world.random.choice([0.0, 0.4])
        world.redrive(world.random.choice([None, *Step]))
        assert max(Counter(world.producer.down).values(), default=0) <= 1, "seen twice"
    world.poison, world.producer.trouble = set(), 0.0
    world.redrive(None)
    assert Counter(world.producer.down) == Counter(world.records)
    book = world.letters.book()
    assert (book.open(), book.unfinished()) == ([], [])


def test_what_is_told_of_a_repeated_redrive_is_what_is_committed() -> None:
    world = World(1)
    world.producer.trouble = 0.5
    outcome = world.redrive(None)
    assert outcome is not None
    assert (outcome.redriven, outcome.remaining) == (len(world.records), 0)
    assert outcome.away == ""


def test_brokers_that_never_commit_end_it_when_patience_does() -> None:
    world = World(2)
    world.producer.trouble = 1.0
    world.random.random = lambda: 0.9  # type: ignore[method-assign]  # and never were heard
    outcome = world.redrive(None, patience_s=5.0)
    assert outcome is not None
    assert "no answer in time" in outcome.away
    assert (outcome.redriven, outcome.remaining) == (0, len(world.records))
    assert world.producer.down == []


@dataclass
class Growing:
    """Another's transaction reaches to 7, and ends at the third look, or never."""

    ends: bool
    looks: int = 0

    def committed(self) -> Offset:
        self.looks += 1
        return 7 if self.ends and self.looks > 2 else 3

    def written(self) -> Offset:
        return 7


def test_the_book_is_read_when_all_that_was_written_is_decided() -> None:
    world, ends = World(3), Growing(ends=True)
    producer = cast("TransactionalProducer", world.producer)
    letters = DecidedLetters(world.letters, ends, producer, world.clock)
    assert len(letters.book().open()) == len(world.records)
    assert ends.looks == 3


def test_a_transaction_that_never_ends_is_not_waited_for_for_ever() -> None:
    world = World(3)
    producer = cast("TransactionalProducer", world.producer)
    with pytest.raises(UnavailableError, match="does not end"):
        DecidedLetters(world.letters, Growing(ends=False), producer, world.clock).book()


def test_a_mark_that_was_committed_is_told_before_the_loss_of_the_next() -> None:
    world = World(4)
    producer = cast("TransactionalProducer", world.producer)
    marks = TransactionalMarks(producer, LETTERS, world.letters, budget_s=5, clock=world.clock)
    marks.put(Mark(Deed.REDRIVEN, (0,), "me", "now"))
    world.producer.fail("a broker refused it")
    marks.put(Mark(Deed.REDRIVEN, (1,), "me", "now"))
    assert marks.acknowledged() == 0
    with pytest.raises(FencedError, match="a broker refused it") as told:
        marks.acknowledged()
    assert "again" in told.value.hint
