"""A worker that crashes between a range and a dead letter: the audit covers the refused row, and
nobody else knows of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
import structlog
from prometheus_client import CollectorRegistry

from callsheet.backoff import Backoff, Outage
from callsheet.batch import Decoded, Message, Offset, Partition
from callsheet.delivery import Step, Surroundings
from callsheet.errors import FatalError
from callsheet.fuse import Fuse, FuseRating
from callsheet.observability.health import Pulse
from callsheet.observability.metrics import Metrics
from callsheet.ports import RebalanceListener, SystemClock
from callsheet.worker import Worker
from sinks.hive.ranges import Lane
from sinks.hive.stores.port import Store
from tests.support.batches import RawMessage, Row, a_batch, a_schema, upsert
from tests.support.hive import LATEST, a_sink, memory_store, ranges, records
from tests.support.kafka import LIMITS
from tests.support.letters import LetterTopic, TopicLetters

SCHEMA = a_schema()
HOME = Partition("studio.finance.titles", 0)
COUNT, LATE = 9, 4


class Killed(BaseException):
    """A crash: nothing after it is done."""


def row(offset: Offset, late: Collection[Offset]) -> Row:
    made = upsert(offset, version=offset + 1, name=f"v{offset}")
    return replace(made, offset=offset, ts_us=LATEST if offset in late else made.ts_us)


@dataclass(frozen=True, slots=True)
class RowDecoder:
    late: Collection[Offset]

    def decode(self, messages: Sequence[Message]) -> Decoded:
        batch = a_batch([row(message.offset(), self.late) for message in messages], SCHEMA)
        return Decoded([replace(batch, messages=messages)])


@dataclass(slots=True)
class OneReader:
    """A group of one member; what it has committed outlives it."""

    group: dict[Partition, Offset]
    position: Offset = 0
    answers: deque[Mapping[Partition, Offset]] = field(default_factory=deque)

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        start = listener.on_assigned({HOME}).get(HOME, 0)
        self.position = max(0, min(start, self.group.get(HOME, 0)))

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        start, self.position = self.position, min(self.position + 2, COUNT)
        return [RawMessage(HOME.topic, 0, offset) for offset in range(start, self.position)]

    def ends(self) -> Mapping[Partition, Offset]:
        # Only once it is reached: a worker takes it for the place up to which it has read.
        return {HOME: COUNT} if self.position == COUNT else {}

    def assignment(self) -> frozenset[Partition]:
        return frozenset([HOME])

    def pause(self, partitions: Collection[Partition]) -> None: ...
    def resume(self, partitions: Collection[Partition]) -> None: ...
    def seek(self, partition: Partition, offset: Offset) -> None: ...

    def commit(self, offsets: Mapping[Partition, Offset]) -> None:
        self.group.update(offsets)
        self.answers.append(offsets)

    def committed(self) -> Mapping[Partition, Offset] | None:
        return self.answers.popleft() if self.answers else None

    def close(self) -> None: ...


@dataclass(slots=True)
class Job:
    letters: LetterTopic
    store: Store = field(default_factory=memory_store)
    group: dict[Partition, Offset] = field(default_factory=dict)
    late: Collection[Offset] = (LATE,)
    rotate_rows: int = 3
    rating: FuseRating = field(default_factory=lambda: FuseRating(100, ratio=1.0))

    def covered(self) -> Offset:
        """Up to where the audit's files go."""
        chain = ranges(self.store, Lane.of(HOME).name)
        return chain[-1].end if chain else 0

    def run(self, die_at: Step | None) -> None:
        """Until all is read and the worker stopped, or it is killed as soon as the refused row is
        covered; then nobody says goodbye.
        """

        def at(step: Step) -> None:
            if step is die_at and self.covered() > LATE:
                raise Killed

        clock, reader = SystemClock(), OneReader(self.group)
        world = Surroundings(
            consumer=reader,
            decoder=RowDecoder(self.late),
            sink=a_sink(self.store, rotation={"rows": self.rotate_rows}),
            letters=TopicLetters(self.letters),
            fuse=Fuse(self.rating),
            outage=Outage(clock, Backoff(), Random(1)),
            clock=clock,
            metrics=Metrics(CollectorRegistry()),
            pulse=Pulse(clock),
            log=structlog.get_logger(),
            at=at,
        )
        worker = Worker(world, [HOME.topic], LIMITS)
        worker._open()
        try:
            while reader.position < COUNT:
                worker.turn()
            worker.stop()
            worker._finish(worker._after(LIMITS.stop_budget_s))
        finally:
            world.sink.close()


@pytest.mark.parametrize("step", [Step.ACKNOWLEDGED, Step.COMMITTING, Step.COMMITTED])
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_refused_row_is_a_dead_letter_whatever_crashes(step: Step, is_slow: bool) -> None:
    job = Job(LetterTopic(Random(1), is_slow))
    with pytest.raises(Killed):
        job.run(step)
    assert job.covered() > LATE
    job.letters.crash()
    job.run(None)
    assert job.group == {HOME: COUNT}
    assert records(job.store, "finance_titles") == [(0, n) for n in range(COUNT) if n != LATE]
    (letter,) = job.letters.book().open()
    assert letter.source_offset == LATE


def test_letters_among_good_rows_of_one_range_are_no_run() -> None:
    """None of the rows is durable before the range is: the fuse must not wait for that."""
    letters, rating = LetterTopic(Random(1)), FuseRating(run_events=2, ratio=1.0)
    job = Job(letters, late=range(1, COUNT, 2), rotate_rows=1_000, rating=rating)
    job.run(None)
    assert len(letters.book().open()) == COUNT // 2
    garbage = Job(LetterTopic(Random(1)), late=range(COUNT), rotate_rows=1_000, rating=rating)
    with pytest.raises(FatalError, match="3 records in a row"):
        garbage.run(None)
