"""A redrive as the worker sees it: chunks, parked tables, marks only for what is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from callsheet.batch import Offset, Partition
from callsheet.errors import DeadLetterError, FencedError, Reason
from callsheet.kafka.letters import (
    FIRST_REDRIVE_PARTITION,
    CutValue,
    Deed,
    LetterBook,
    Mark,
    Record,
    Redriven,
    Run,
    State,
    StoredLetter,
)
from callsheet.kafka.letters_redrive import (
    CHUNK_BYTES,
    LetterConsumer,
    RedriveLetters,
    Surety,
    planned,
)
from tests.support.batches import RawMessage
from tests.support.clock import FakeClock


def a_letter(
    offset: Offset, topic: str = "t", at: Offset | None = None, **more: int
) -> StoredLetter:
    place = offset if at is None else at
    source = Partition(topic, more.get("partition", 0))
    size = more.get("size", 10)
    return StoredLetter(offset, 0, source, place, (1, 0), "rejected", "", "1", 1, size)


@dataclass(slots=True)
class Listener:
    starts: Mapping[Partition, Offset] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        self.calls.append("assigned")
        return self.starts

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        self.calls.append("revoked")

    def on_lost(self, partitions: Collection[Partition]) -> None:
        raise AssertionError


@dataclass(slots=True)
class Bench:
    """Fakes of everything around a consumer."""

    letters: Sequence[StoredLetter]
    number: int = 7
    gone: set[Offset] = field(default_factory=set)
    put: list[Mark] = field(default_factory=list)
    acknowledged_: int = 0
    is_fenced: bool = False
    finished: int = 0
    asked: list[list[Offset]] = field(default_factory=list)
    listener: Listener = field(default_factory=Listener)

    def originals(self, letters: Collection[StoredLetter]) -> dict[Offset, Record]:
        self.asked.append([letter.offset for letter in letters])
        return {
            x.offset: Record(x.source, x.source_offset, x.timestamp, b"k", b"v", ())
            for x in letters
            if x.offset not in self.gone
        }

    def acknowledged(self) -> Offset | None:
        if self.acknowledged_ == len(self.put):
            return None
        self.acknowledged_ += 1
        return 0

    def keep(self) -> None:
        if self.is_fenced:
            raise FencedError("gone")

    def note_finished(self) -> None:
        self.finished += 1

    def consumer(self) -> LetterConsumer:
        marks = _Marks(self)
        surety = Surety(self, marks, self, FakeClock(), _signed)
        book = LetterBook({x.offset: x for x in self.letters})
        run = Run(self.number, tuple(x.offset for x in self.letters))
        consumer = LetterConsumer(run, book, surety, self.note_finished)
        consumer.subscribe((), self.listener)
        return consumer


def _signed(deed: Deed, letters: Sequence[Offset], run: Offset) -> Mark:
    return Mark(deed, tuple(letters), "ann", "", "", run)


@dataclass(slots=True)
class _Marks:
    bench: Bench

    def put(self, mark: Mark) -> None:
        self.bench.put.append(mark)

    def acknowledged(self) -> Offset | None:
        return self.bench.acknowledged()


def at(topic: str = "t", run: int = 7) -> Partition:
    return Partition(topic, FIRST_REDRIVE_PARTITION + run)


def offsets(messages: Sequence[object]) -> list[Offset]:
    return [m.letter.offset for m in messages if isinstance(m, Redriven)]


def test_a_plan_is_in_the_order_of_the_source_logs() -> None:
    letters = [
        a_letter(1, "u", 5),
        a_letter(2, "t", 9),
        a_letter(3, "t", 2),
        a_letter(4, "t", 1, partition=1),
    ]
    [run] = planned(letters)
    assert [letter.offset for letter in run] == [3, 2, 4, 1]


def test_a_plan_is_cut_into_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.kafka.letters_redrive.RUN_LETTERS", 2)
    runs = planned([a_letter(n) for n in range(5)])
    assert [[letter.offset for letter in run] for run in runs] == [[0, 1], [2, 3], [4]]
    assert planned([]) == []


def test_records_come_at_their_places_in_the_run() -> None:
    bench = Bench([a_letter(30, "t"), a_letter(10, "u"), a_letter(20, "t")])
    found = bench.consumer().poll(100, 0.1)
    assert [(m.topic(), m.partition(), m.offset()) for m in found] == [
        ("t", FIRST_REDRIVE_PARTITION + 7, 0),
        ("t", FIRST_REDRIVE_PARTITION + 7, 2),
        ("u", FIRST_REDRIVE_PARTITION + 7, 1),
    ]


def test_chunks_are_bounded_in_number_and_in_bytes() -> None:
    bench = Bench([a_letter(n) for n in range(5)])
    consumer = bench.consumer()
    assert [len(consumer.poll(2, 0)) for _ in range(3)] == [2, 2, 1]
    large = Bench([a_letter(n, size=CHUNK_BYTES) for n in range(3)])
    consumer = large.consumer()
    assert [len(consumer.poll(100, 0)) for _ in range(3)] == [1, 1, 1]


def test_a_cut_letter_counts_as_large_as_its_record() -> None:
    cut = StoredLetter(
        1, 0, Partition("t", 0), 1, (1, 0), "oversize", "", "1", 1, 10, CutValue(CHUNK_BYTES, "")
    )
    consumer = Bench([a_letter(0), cut]).consumer()
    assert [len(consumer.poll(100, 0)) for _ in range(2)] == [1, 1]


def test_only_what_is_committed_is_marked_and_only_what_is_acknowledged_is_done() -> None:
    bench = Bench([a_letter(10), a_letter(20), a_letter(30)])
    consumer = bench.consumer()
    consumer.poll(100, 0)
    consumer.commit({at(): 2})
    assert [(m.deed, m.letters, m.run) for m in bench.put] == [(Deed.REDRIVEN, (10, 20), 7)]
    assert (consumer.marked, consumer.remaining) == (0, 3)
    assert consumer.committed() == {at(): 2}
    assert consumer.committed() is None
    assert (consumer.marked, consumer.remaining) == (2, 1)
    consumer.commit({at(): 3})
    assert consumer.committed() == {at(): 3}
    assert (consumer.marked, consumer.remaining) == (3, 0)


def test_it_ends_when_all_is_handed_over_and_not_while_the_destination_is_away() -> None:
    bench = Bench([a_letter(1), a_letter(2)])
    consumer = bench.consumer()
    consumer.poll(1, 0)
    consumer.pause([at()])
    consumer.poll(1, 0)
    assert bench.finished == 0
    consumer.resume([at()])
    assert offsets(consumer.poll(1, 0)) == [2]
    consumer.pause([at()])
    consumer.poll(1, 0)
    assert bench.finished == 0, "what was handed over waits for an outage to end"
    consumer.resume([at()])
    consumer.poll(1, 0)
    assert bench.finished == 1


def test_a_paused_partition_gives_nothing_until_it_is_resumed() -> None:
    bench = Bench([a_letter(1)])
    consumer = bench.consumer()
    consumer.pause([at()])
    assert consumer.poll(100, 0) == ()
    assert bench.finished == 0
    consumer.resume([at()])
    assert offsets(consumer.poll(100, 0)) == [1]


def test_a_parked_table_ends_with_its_letters_open() -> None:
    bench = Bench([a_letter(1, "t"), a_letter(2, "u")])
    consumer = bench.consumer()
    consumer.poll(100, 0)
    consumer.pause([at("t")])
    consumer.seek(at("t"), 0)
    consumer.commit({at("u"): 2})
    consumer.committed()
    consumer.resume([at("t")])
    assert consumer.poll(100, 0) == ()
    assert (bench.finished, consumer.remaining) == (1, 1)


def test_a_record_that_is_gone_stays_open_and_holds_up_nothing() -> None:
    bench = Bench([a_letter(1), a_letter(2)], gone={1})
    consumer = bench.consumer()
    assert offsets(consumer.poll(100, 0)) == [2]
    consumer.commit({at(): 2})
    assert bench.put[0].letters == (2,)
    consumer.committed()
    consumer.poll(100, 0)
    assert (bench.finished, consumer.remaining) == (1, 1)
    assert [letter.offset for letter in consumer.gone] == [1]


def test_a_destination_that_is_ahead_is_given_what_is_not_marked_all_the_same() -> None:
    """It may have refused a record there, and a crash may have prevented its new letter."""
    bench = Bench([a_letter(10), a_letter(20)], listener=Listener({at(): 2}))
    assert offsets(bench.consumer().poll(100, 0)) == [10, 20]
    assert bench.put == []


def test_settled_letters_of_an_unfinished_run_are_passed_over_in_their_places() -> None:
    bench = Bench([a_letter(10), replace(a_letter(20), state=State.DISCARDED), a_letter(30)])
    found = bench.consumer().poll(100, 0)
    assert [m.offset() for m in found] == [0, 2]


def test_without_the_turn_nothing_is_read() -> None:
    bench = Bench([a_letter(1)], is_fenced=True)
    with pytest.raises(FencedError):
        bench.consumer().poll(100, 0)
    assert bench.asked == []


def test_the_end_is_told_as_a_group_tells_it() -> None:
    bench = Bench([a_letter(1)])
    bench.consumer().close()
    assert bench.listener.calls == ["assigned", "revoked"]


def test_a_new_letter_names_the_records_own_place() -> None:
    @dataclass(slots=True)
    class Letters:
        put_: list[tuple[str, int, int]] = field(default_factory=list)

        def put(self, message: RawMessage, reason: Reason, detail: str) -> None:
            self.put_.append((message.topic(), message.partition(), message.offset()))

        def flush(self, deadline: object) -> None:
            raise DeadLetterError("x")

    bench = Bench([a_letter(5, at=77, partition=3)])
    [message] = bench.consumer().poll(100, 0)
    letters = Letters()
    RedriveLetters(letters).put(message, Reason.REJECTED, "again")  # type: ignore[arg-type]
    assert letters.put_ == [("t", 3, 77)]
