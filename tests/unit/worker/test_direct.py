"""The sink around a store that answers at once; its laws are in docs/writing-a-sink.md's test."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from callsheet.batch import Batch, Park, Partition
from callsheet.direct import DirectSink, Refusal, Stored
from callsheet.errors import CallsheetError, ParkTableError, Reason, RetryableError
from callsheet.ports import Deadline
from callsheet.sink import Counts, Rejection
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.clock import FakeClock


@dataclass
class Shelf:
    """Puts what it is told to."""

    clock: FakeClock
    trouble: list[CallsheetError | OSError] = field(default_factory=list)
    answer: Stored = field(default_factory=lambda: Stored(1))
    needs_s: float = 0.0
    tries: int = 0
    stored: list[Batch] = field(default_factory=list)
    is_open: bool = False

    def open(self) -> None:
        self.is_open = True

    def put(self, batch: Batch, deadline: Deadline) -> Stored:
        self.tries += 1
        self.clock.advance(self.needs_s)
        if self.trouble:
            raise self.trouble[0]
        self.stored.append(batch)
        return self.answer

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shelf(clock: FakeClock) -> Shelf:
    return Shelf(clock)


@pytest.fixture
def sink(shelf: Shelf, clock: FakeClock) -> DirectSink:
    sink = DirectSink(shelf, clock)
    sink.open()
    return sink


def a_change(offset: int = 0, table: str = "titles", rows: int = 1) -> Batch:
    return a_batch(
        [upsert(n, name="x") for n in range(rows)], a_schema(table=table), first_offset=offset
    )


def test_what_is_counted_nowhere_was_stale(
    sink: DirectSink, shelf: Shelf, clock: FakeClock
) -> None:
    batch = a_change(rows=10)
    shelf.answer = Stored(3, superseded=2, refused=[Refusal(0, 7, Reason.OVERSIZE, "long")])
    sink.write(batch, Deadline.after(clock, 1))
    progress = sink.progress()
    assert progress.counts == Counts(written=3, superseded=2, stale=4)
    assert progress.rejections == [Rejection(Partition(batch.topic, 0), 7, Reason.OVERSIZE, "long")]
    assert progress.durable == batch.next_offsets()


def test_a_store_that_is_away_is_left_alone_for_longer_and_longer(
    sink: DirectSink, shelf: Shelf, clock: FakeClock
) -> None:
    """The worker asks for progress many times a second."""
    shelf.trouble = [OSError(28, "No space left on device")]
    sink.write(a_change(), Deadline.after(clock, 1))
    troubles = []
    for _ in range(60 * 20):
        trouble = sink.progress().trouble
        assert trouble is not None
        troubles.append(trouble)
        clock.advance(0.05)
    trouble = troubles[-1]
    assert "No space left on device" in trouble.message
    assert isinstance(trouble.__cause__, OSError)
    assert shelf.tries < 60
    shelf.trouble = []
    clock.advance(5)
    progress = sink.progress()
    assert (progress.trouble, len(shelf.stored)) == (None, 1)


def test_flush_waits_out_the_back_off_and_not_longer_than_its_deadline(
    sink: DirectSink, shelf: Shelf, clock: FakeClock
) -> None:
    away = RetryableError("the shelf is away")
    shelf.trouble = [away]
    sink.write(a_change(), Deadline.after(clock, 1))
    started_s = clock.monotonic()
    with pytest.raises(RetryableError, match="shelf is away"):
        sink.flush(Deadline.after(clock, 3))
    assert clock.monotonic() - started_s == pytest.approx(3)
    shelf.trouble = []
    sink.flush(Deadline.after(clock, 30))
    assert len(shelf.stored) == 1


def test_a_slow_store_gets_no_second_batch_after_the_deadline(
    sink: DirectSink, shelf: Shelf, clock: FakeClock
) -> None:
    shelf.needs_s = 2
    for offset in range(3):
        sink.write(a_change(offset), Deadline.after(clock, 1))
    with pytest.raises(RetryableError, match="needs longer"):
        sink.flush(Deadline.after(clock, 3))
    assert len(shelf.stored) == 2


def test_a_batch_larger_than_the_line_is_taken_when_the_line_is_empty(
    sink: DirectSink, shelf: Shelf, clock: FakeClock
) -> None:
    shelf.trouble = [RetryableError("away")]
    sink.write(a_change(rows=12_000), Deadline.after(clock, 1))
    with pytest.raises(RetryableError):
        sink.write(a_change(12_000), Deadline.after(clock, 1))
    shelf.trouble = []
    sink.flush(Deadline.after(clock, 30))
    assert [len(batch) for batch in shelf.stored] == [12_000]


def test_a_parked_table_leaves_the_line_and_the_others_go_on(
    sink: DirectSink, shelf: Shelf, clock: FakeClock
) -> None:
    parked, other = a_change(), a_change(table="talent")
    shelf.trouble = [ParkTableError(parked.topic, "incompatible", "a column shrank")]
    sink.write(parked, Deadline.after(clock, 1))
    assert sink.progress().parked == [Park(parked.topic, "incompatible", "a column shrank")]
    shelf.trouble = []
    sink.write(other, Deadline.after(clock, 1))
    progress = sink.progress()
    assert (progress.parked, progress.durable) == ([], other.next_offsets())


def test_any_other_error_stops(sink: DirectSink, shelf: Shelf, clock: FakeClock) -> None:
    shelf.trouble = [CallsheetError("a defect")]
    sink.write(a_change(), Deadline.after(clock, 1))
    with pytest.raises(CallsheetError, match="a defect"):
        sink.progress()
    sink.close()
    assert not shelf.is_open
