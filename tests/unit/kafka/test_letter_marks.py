"""Marks in the letters' topic: each answer belongs to the mark that asked for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError

from callsheet.batch import Offset
from callsheet.errors import DeadLetterError
from callsheet.kafka import letters_log
from callsheet.kafka.letters import Deed, Mark
from callsheet.kafka.letters_log import KafkaMarks
from callsheet.kafka.settings import Connection
from callsheet.ports import Deadline
from tests.support.clock import FakeClock

Told = Callable[[KafkaError | None, Any], None]


@dataclass
class At:
    where: Offset

    def offset(self) -> Offset:
        return self.where


@dataclass
class LateProducer:
    """Stores in order; what is told of it comes when it is flushed, unless that takes too long."""

    is_late: bool = False
    refuses: bool = False
    stored: int = 0
    untold: list[tuple[Told, KafkaError | None, At]] = field(default_factory=list)

    def produce(self, _topic: str, *, on_delivery: Told, **_: Any) -> None:
        error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE) if self.refuses else None
        self.untold.append((on_delivery, error, At(self.stored)))
        self.stored += 1

    def poll(self, _timeout_s: float) -> None: ...

    def flush(self, _timeout_s: float) -> None:
        if self.is_late:
            return
        for told, error, at in self.untold:
            told(error, at)
        self.untold = []


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> LateProducer:
    made = LateProducer()
    monkeypatch.setattr(letters_log, "Producer", lambda _: made)
    return made


@pytest.fixture
def marks(producer: LateProducer) -> KafkaMarks:
    del producer  # it must be there before
    return KafkaMarks(Connection("nowhere:1"), "letters", max_message_bytes=1 << 20, budget_s=1)


def a_mark(deed: Deed) -> Mark:
    return Mark(deed, (1, 2), "ann", "2026-11-23T00:00:00+00:00")


def soon() -> Deadline:
    return Deadline.after(FakeClock(), 1)


def test_a_mark_is_answered_with_its_own_offset(marks: KafkaMarks, producer: LateProducer) -> None:
    """The number of a run is where its BEGUN stands, not where a mark of the run before does."""
    producer.is_late = True
    marks.put(a_mark(Deed.REDRIVEN))
    marks.wait(soon())
    assert marks.acknowledged() is None
    producer.is_late = False
    assert marks.store(a_mark(Deed.BEGUN), soon()) == 1


def test_a_late_answer_is_not_taken_for_that_of_the_next_runs_mark(
    marks: KafkaMarks, producer: LateProducer
) -> None:
    marks.put(a_mark(Deed.REDRIVEN))
    marks.store(a_mark(Deed.BEGUN), soon())
    producer.is_late = True
    marks.put(a_mark(Deed.REDRIVEN))
    marks.wait(soon())
    assert marks.acknowledged() is None
    producer.is_late = False
    marks.wait(soon())
    assert (marks.acknowledged(), marks.acknowledged()) == (2, None)


def test_a_mark_that_is_answered_too_late_is_not_stored(
    marks: KafkaMarks, producer: LateProducer
) -> None:
    producer.is_late = True
    with pytest.raises(DeadLetterError, match="no acknowledgement in time"):
        marks.store(a_mark(Deed.BEGUN), soon())
    producer.is_late = False
    assert marks.store(a_mark(Deed.BEGUN), soon()) == 1


def test_a_mark_that_was_refused_before_is_heard_of(
    marks: KafkaMarks, producer: LateProducer
) -> None:
    producer.refuses = True
    marks.put(a_mark(Deed.REDRIVEN))
    producer.refuses = False
    with pytest.raises(DeadLetterError, match="could not be noted"):
        marks.store(a_mark(Deed.BEGUN), soon())
