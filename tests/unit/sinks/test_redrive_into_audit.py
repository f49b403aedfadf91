"""A redrive into a store that keeps offsets of its own: a letter is in the audit once, and is not
taken for the record that was passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import cast

import polars as pl
import pytest
import structlog

from callsheet.batch import Batch, Decoded, Message, Partition
from callsheet.cli.dlq_redrive import Outcome, Redrive, Wish, Workshop
from callsheet.delivery import Step
from callsheet.errors import Reason
from callsheet.event import Op
from callsheet.kafka.letters import FIRST_REDRIVE_PARTITION, Choice, Record, Redriven
from callsheet.limits import TruncatePolicy
from callsheet.ports import SystemClock
from sinks.hive.stores.port import Store
from tests.support.batches import Row, a_batch, a_schema
from tests.support.hive import LATEST, a_sink, memory_store, rows
from tests.support.kafka import LIMITS
from tests.support.letters import LetterTopic, TopicLetters

TOPIC = "studio.finance.titles"
SCHEMA = a_schema()
LATE = b"of the year 10000"
"""The audit refuses such a row, whoever asks and however often."""


class Killed(BaseException):
    """A crash: nothing after it is done."""


class Turn:
    def keep(self) -> None:
        """Nobody else redrives."""


class RowDecoder:
    """The key is the ID, the value the name; where the record stood in its source its version."""

    def decode(self, messages: Sequence[Message]) -> Decoded:
        return Decoded([_batch(messages)])


def _batch(messages: Sequence[Message]) -> Batch:
    made = [
        Row(
            Op.UPDATE,
            (m.key() or b"").decode(),
            {"id": int(m.key() or b"0"), "name": (m.value() or b"").decode()},
            cast("Redriven", m).original.offset() + 1,
            m.partition(),
            m.offset(),
            **({"ts_us": LATEST} if m.value() == LATE else {}),
        )
        for m in messages
    ]
    return replace(a_batch(made, SCHEMA, topic=TOPIC), messages=messages)


class Desk:
    def __init__(self, is_slow: bool = False) -> None:
        self.topic, self.store = LetterTopic(Random(1), is_slow), memory_store()

    def put_aside(self, *offsets: int, late: int = -1) -> None:
        for offset in offsets:
            key, value = str(offset % 2).encode(), f"v{offset}".encode()
            value = LATE if offset == late else value
            record = Record(Partition(TOPIC, 0), offset, (1, 0), key, value, ())
            self.topic.put_letter(record, Reason.REJECTED, "x")
        self.topic.flush(None)  # type: ignore[arg-type]

    def redrive(self, *letters: int, die_at: Step | None = None) -> Outcome:
        def at(reached: Step) -> None:
            if reached is die_at:
                raise Killed

        clock = SystemClock()
        shop = Workshop(
            log=self.topic,
            marks=self.topic,
            letters=TopicLetters(self.topic),
            decoder=RowDecoder(),
            sink=lambda: a_sink(cast("Store", self.store)),
            limits=replace(LIMITS, poll_events=2),
            truncate=TruncatePolicy.PARK,
            logger=structlog.get_logger(),
            clock=clock,
            at=at,
        )
        wish = Wish(Choice(offsets=frozenset(letters)), most_attempts=9)
        return Redrive(shop, Turn(), "somebody", 60).run(wish)

    def audit(self) -> pl.DataFrame:
        return rows(cast("Store", self.store), "finance_titles")


def test_an_earlier_letter_after_a_later_one_is_not_taken_for_a_repeat() -> None:
    desk = Desk()
    desk.put_aside(0, 1, 2, 3)
    assert desk.redrive(3).written == 1
    assert desk.redrive(0, 1).written == 2
    assert desk.redrive().written == 1
    found = desk.audit()
    assert sorted(found["after_name"]) == ["v0", "v1", "v2", "v3"]
    assert found["kafka_partition"].min() >= FIRST_REDRIVE_PARTITION  # type: ignore[operator]


@pytest.mark.parametrize("step", list(Step))
def test_a_crash_writes_nothing_twice(step: Step) -> None:
    desk = Desk()
    desk.put_aside(*range(7))
    with suppress(Killed):
        desk.redrive(die_at=step)
    desk.topic.crash()
    desk.redrive()
    assert sorted(desk.audit()["after_name"]) == [f"v{n}" for n in range(7)]
    assert desk.topic.book().open() == []


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("is_slow", [False, True])
def test_what_is_refused_again_is_a_letter_whatever_crashes(step: Step, is_slow: bool) -> None:
    """Its range may be in place, and cover it, before its new letter is stored."""
    desk = Desk(is_slow)
    desk.put_aside(*range(7), late=3)
    with suppress(Killed):
        desk.redrive(die_at=step)
    desk.topic.crash()
    desk.redrive()
    assert sorted(desk.audit()["after_name"]) == [f"v{n}" for n in range(7) if n != 3]
    (letter,) = desk.topic.book().open()
    assert (letter.place, letter.reason) == ((TOPIC, 0, 3), Reason.UNREPRESENTABLE.value)
