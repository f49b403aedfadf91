"""Redrives that fail, crash anywhere and are repeated: nothing is ever lost, no state goes back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
import structlog

from callsheet.batch import Partition
from callsheet.cli.dlq_redrive import Redrive, Wish, Workshop
from callsheet.delivery import Step
from callsheet.errors import Reason
from callsheet.kafka.letters import Choice, Deed, Mark, Record
from callsheet.limits import TruncatePolicy
from tests.support.clock import FakeClock
from tests.support.examples import examples
from tests.support.kafka import LIMITS
from tests.support.letters import LetterTopic, SourceVersions, TopicLetters
from tests.support.memory_sink import MemorySink, MemoryStore, Stored

SCHEDULES = examples(150)
TOPICS = ("studio.finance.titles", "studio.finance.talent")
EVERYTHING = Wish(Choice(), most_attempts=1_000_000)
STEPS = [None, *Step]


class Killed(BaseException):
    """A crash: nothing after it is done."""


class Turn:
    def keep(self) -> None:
        """Nobody else redrives."""


class World:
    """Records that failed once, and a destination that may know newer states of them."""

    def __init__(self, seed: int) -> None:
        self.random, self.clock = Random(seed), FakeClock()
        self.topic, self.store = LetterTopic(self.random), MemoryStore()
        self.records: list[Record] = []
        self.discarded: set[tuple[str, int]] = set()
        for name in TOPICS:
            for offset in range(self.random.randint(1, 12)):
                self._record(name, offset)
        for identifier in range(4):
            if self.random.random() < 0.3:
                newer = Stored(self.random.randint(1, 12), {"text": "newer"})
                self.store.documents[TOPICS[0], f"k{identifier}"] = newer

    def _record(self, topic: str, offset: int) -> None:
        key = f"k{self.random.randint(0, 3)}".encode()
        record = Record(Partition(topic, 0), offset, (1, 0), key, f"v{offset}".encode(), ())
        self.records.append(record)
        for _ in range(self.random.choice([1, 1, 1, 2])):  # a crash repeats a letter
            self.topic.put_letter(record, Reason.REJECTED, "x")
        self.topic.flush(None)  # type: ignore[arg-type]

    def redrive(self, step: Step | None) -> None:
        countdown = self.random.randint(1, 4)

        def at(reached: Step) -> None:
            nonlocal countdown
            countdown -= reached is step
            if reached is step and countdown <= 0:
                raise Killed

        shop = Workshop(
            log=self.topic,
            marks=self.topic,
            letters=TopicLetters(self.topic),
            decoder=SourceVersions(),
            sink=lambda: MemorySink(self.store, self.clock),
            limits=replace(
                LIMITS,
                poll_events=self.random.choice([1, 3, 500]),
                commit_interval_s=self.random.choice([0.0, 0.1]),
            ),
            truncate=TruncatePolicy.PARK,
            logger=structlog.get_logger(),
            clock=self.clock,
            at=at,
        )
        with suppress(Killed):
            Redrive(shop, Turn(), "somebody", 1e9).run(EVERYTHING)
            return
        self.topic.crash()

    def discard_one(self) -> None:
        letters = self.topic.book().open()
        if letters:
            letter = self.random.choice(letters)
            mark = Mark(Deed.DISCARDED, (letter.offset,), "ann", "", "why")
            self.topic.store(mark, None)  # type: ignore[arg-type]
            self.discarded.add((letter.source.topic, letter.source_offset))

    def check(self) -> None:
        """Each record, or a later one of its ID, is in the store, in an open letter, or given up:
        of several in a batch only the last travels, and so only the last is refused.
        """
        kept = {(x.source.topic, x.source_offset) for x in self.topic.book().open()}
        kept |= self.discarded
        for record in self.records:
            stored = self.store.documents.get((record.topic(), (record.key() or b"").decode()))
            if stored is None or stored.version <= record.offset():
                later = {
                    (other.topic(), other.offset())
                    for other in self.records
                    if (other.topic(), other.key()) == (record.topic(), record.key())
                    and other.offset() >= record.offset()
                }
                assert later & kept, f"{record.topic()} {record.offset()} is lost"


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_nothing_is_lost(seed: int) -> None:
    world = World(seed)
    before = {key: stored.version for key, stored in world.store.documents.items()}
    for _ in range(world.random.randint(1, 5)):
        world.store.poison = {f"k{n}" for n in range(4) if world.random.random() < 0.4}
        parked = world.random.random() < 0.2
        world.store.parked = {world.random.choice(TOPICS): "a test"} if parked else {}
        world.redrive(world.random.choice(STEPS))
        world.check()
        for key, version in before.items():
            assert world.store.documents[key].version >= version, "a state went back"
        before = {key: stored.version for key, stored in world.store.documents.items()}
        if world.random.random() < 0.2:
            world.discard_one()
    world.store.poison, world.store.parked = set(), {}
    world.redrive(None)
    world.check()
    book = world.topic.book()
    assert book.open() == []
    assert book.unfinished() == []
