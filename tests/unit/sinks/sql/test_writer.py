from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Queue
from typing import Any, cast

import pytest
import structlog

from callsheet.batch import Partition
from callsheet.errors import FencedError, RetryableError
from callsheet.ports import Deadline, SystemClock
from callsheet.sink import Counts
from sinks.sql.store import Store, Work, Written
from sinks.sql.table_write import Outcome
from sinks.sql.trouble import Fenced
from sinks.sql.writer import Writer
from tests.support.batches import a_batch, upsert

_PATIENCE_S = 10.0


class OneFencedStore:
    """The first transaction waits for the test, and finds that somebody has raised generations."""

    def __init__(self) -> None:
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.written: Queue[tuple[int, Mapping[Partition, int]]] = Queue()

    def write(self, works: Sequence[Work], generations: Mapping[Partition, int]) -> Written:
        if not self.has_begun.is_set():
            self.has_begun.set()
            assert self.may_go_on.wait(_PATIENCE_S)
            raise Fenced(generations.keys())
        events = sum(work.frame.height for work in works)
        self.written.put((events, dict(generations)))
        return Written([Outcome(Counts(written=work.frame.height)) for work in works], generations)


@pytest.fixture
def store() -> OneFencedStore:
    return OneFencedStore()


@pytest.fixture
def start(
    store: OneFencedStore, request: pytest.FixtureRequest
) -> Callable[[], tuple[Writer, Partition]]:
    """A writer in the middle of its first transaction, of one event, and that event's partition."""

    def made() -> tuple[Writer, Partition]:
        writer = Writer(
            cast("Store", store),
            SystemClock(),
            structlog.get_logger(),
            address="replica",
            most_bytes=1 << 20,
            most_events=1_000,
        )
        batch = a_batch([upsert(1, 1)])
        (place,) = batch.next_offsets()
        writer.own({place: 1})
        writer.start()
        request.addfinalizer(lambda: writer.stop(_PATIENCE_S))
        request.addfinalizer(store.may_go_on.set)
        writer.accept(batch, _soon())
        assert store.has_begun.wait(_PATIENCE_S)
        return writer, place

    return made


def test_another_owner_fences_us(store: OneFencedStore, start: Any) -> None:
    writer, place = start()
    store.may_go_on.set()
    with pytest.raises(FencedError, match=rf"another worker writes {place.topic}"):
        writer.flush(_soon())


def test_our_own_new_claim_is_no_reason_to_end(store: OneFencedStore, start: Any) -> None:
    """The group took a partition from us and gave it back while a transaction was under way: that
    one is fenced, by ourselves, and what came since is written.
    """
    writer, place = start()
    writer.forget([place])
    writer.own({place: 2})
    writer.accept(a_batch([upsert(1, 1), upsert(1, 2), upsert(2, 3)]), _soon())
    store.may_go_on.set()
    writer.flush(_soon())
    assert store.written.get(timeout=_PATIENCE_S) == (3, {place: 2})
    assert writer.progress().counts == Counts(written=3)
    assert store.written.empty()


def test_what_is_late_says_what_to_look_at(start: Any) -> None:
    writer, _ = start()
    with pytest.raises(RetryableError, match="did not take all events in time") as late:
        writer.flush(Deadline.after(SystemClock(), 0.01))
    assert late.value.hint.startswith("nothing is lost")
    assert "look at the replica's disk" in late.value.hint


def _soon() -> Deadline:
    return Deadline.after(SystemClock(), _PATIENCE_S)
