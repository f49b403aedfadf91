"""The laws of :class:`callsheet.sink.Sink`, as tests that every sink inherits.

A sink's test class derives from :class:`SinkLaws` and gives one fixture::

    class TestOurSink(SinkLaws):
        @pytest.fixture
        def destination(self) -> Iterator[Destination]: ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import pytest

from callsheet.batch import Batch, Partition
from callsheet.errors import Reason, RetryableError
from callsheet.event import Op
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Counts, Progress, Rejection, Sink
from tests.support.batches import Row, a_batch, delete, upsert

CLOCK = SystemClock()


class Destination(Protocol):
    """Where a sink writes to, and the means to disturb it."""

    @property
    def schema(self) -> TableSchema:
        """A table of this test's own with the columns ``id`` and ``name``."""
        ...

    def sink(self) -> Sink:
        """A new one, not opened, on the same destination."""
        ...

    def names(self) -> Mapping[str, str | None]:
        """ID to ``name`` of every row that a reader finds."""
        ...

    def poison(self, identifier: int) -> Row:
        """A change that the destination refuses for good."""
        ...

    def freeze(self) -> None:
        """From now on nothing is answered."""
        ...

    def thaw(self) -> None: ...


class Ledger:
    """Adds up what a sink reports."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.counts = Counts()
        self.rejections: list[Rejection] = []
        self.durable: Mapping[Partition, int] = {}

    def look(self) -> Progress:
        progress = self._sink.progress()
        self.counts += progress.counts
        self.rejections += progress.rejections
        self.durable = progress.durable
        return progress

    def total(self) -> int:
        counts = self.counts
        return counts.written + counts.superseded + counts.stale + len(self.rejections)


def within(seconds: float) -> Deadline:
    return Deadline.after(CLOCK, seconds)


class SinkLaws:
    keeps_changes = False
    """A log: every change is a row of its own, so none is superseded and only what is written
    again is stale. Else a store of states.
    """
    refusal = Reason.REJECTED
    """Of a poison row."""

    def expected(self, *, states: Counts, changes: Counts) -> Counts:
        return changes if self.keeps_changes else states

    @pytest.fixture
    def destination(self) -> Iterator[Destination]:
        raise NotImplementedError

    @pytest.fixture
    def sink(self, destination: Destination) -> Iterator[Sink]:
        sink = destination.sink()
        sink.open()
        yield sink
        destination.thaw()
        sink.close()

    @pytest.fixture
    def ledger(self, sink: Sink) -> Ledger:
        return Ledger(sink)

    def put(self, sink: Sink, ledger: Ledger, *batches: Batch) -> None:
        for batch in batches:
            sink.write(batch, within(20))
        sink.flush(within(20))
        ledger.look()

    # --- 1: durable means safe ------------------------------------------------------------------

    def test_what_was_flushed_is_durable_and_counted(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(n, name=f"film {n}") for n in range(100)]
        batch = a_batch(rows, destination.schema, first_offset=7)
        self.put(sink, ledger, batch)
        assert ledger.durable == batch.next_offsets() == {Partition(batch.topic, 0): 107}
        assert ledger.counts == Counts(written=100)
        assert destination.names() == {str(n): f"film {n}" for n in range(100)}

    def test_counts_and_rejections_are_told_once(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        batch = a_batch([upsert(1, name="a"), destination.poison(2)], destination.schema)
        self.put(sink, ledger, batch)
        again = sink.progress()
        assert (again.counts, list(again.rejections)) == (Counts(), [])
        assert again.durable == batch.next_offsets()

    def test_nothing_is_durable_before_it_is_answered(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        first = a_batch([upsert(1, name="a")], destination.schema)
        self.put(sink, ledger, first)
        destination.freeze()
        second = a_batch([upsert(1, name="b", version=9)], destination.schema, first_offset=1)
        sink.write(second, within(5))
        assert ledger.look().durable == first.next_offsets()
        destination.thaw()
        sink.flush(within(30))
        assert ledger.look().durable == second.next_offsets()
        assert destination.names() == {"1": "b"}

    def test_partitions_of_one_batch_advance_each_by_its_own(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [
            Row(
                Op.CREATE,
                str(n),
                {"id": n, "name": "x"},
                partition=n % 3,
                offset=1000 * (n % 3) + n,
            )
            for n in range(30)
        ]
        batch = a_batch(rows, destination.schema)
        self.put(sink, ledger, batch)
        assert ledger.durable == batch.next_offsets()
        assert set(ledger.durable.values()) == {28, 1029, 2030}

    def test_a_refused_event_is_handed_back_and_the_others_are_written(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(n, name="ok") for n in range(50)]
        rows[25] = destination.poison(25)
        batch = a_batch(rows, destination.schema, first_offset=100)
        self.put(sink, ledger, batch)
        assert [(r.partition, r.offset, r.reason) for r in ledger.rejections] == [
            (Partition(batch.topic, 0), 125, self.refusal)
        ]
        assert ledger.durable == batch.next_offsets()
        assert destination.names().keys() == {str(n) for n in range(50) if n != 25}
        assert ledger.total() == len(batch)

    # --- 2: writing again changes nothing ---------------------------------------------------------

    def test_a_batch_written_again_changes_nothing(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [*(upsert(n, name=f"film {n}") for n in range(40)), delete(3)]
        batch = a_batch(rows, destination.schema)
        self.put(sink, ledger, batch)
        before = destination.names()
        self.put(sink, ledger, batch)
        assert destination.names() == before
        assert ledger.counts == self.expected(
            states=Counts(written=40, stale=40, superseded=2), changes=Counts(written=41, stale=41)
        )

    def test_a_new_sink_may_write_it_again_in_other_pieces(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(n % 10, name=f"take {n}", version=n + 1) for n in range(40)]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        before = destination.names()
        later = destination.sink()
        later.open()
        try:
            for at in range(0, 40, 7):
                piece = a_batch(rows[at : at + 7], destination.schema, first_offset=at)
                self.put(later, Ledger(later), piece)
        finally:
            later.close()
        assert destination.names() == before == {str(n): f"take {30 + n}" for n in range(10)}

    # --- 3: one ID in log order -------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("changes", "left"),
        [
            ("uud", {}),
            ("dc", {"1": "c2"}),
            ("cud", {}),
            ("cudc", {"1": "c4"}),
            ("uuu", {"1": "u3"}),
        ],
    )
    @pytest.mark.parametrize("is_one_batch", [True, False], ids=["one batch", "a batch each"])
    def test_the_last_change_stays(
        self,
        destination: Destination,
        sink: Sink,
        ledger: Ledger,
        changes: str,
        left: Mapping[str, str],
        is_one_batch: bool,
    ) -> None:
        rows = [
            Row(Op(op), "1", None if op == "d" else {"id": 1, "name": f"{op}{n}"}, version=n)
            for n, op in enumerate(changes, 1)
        ]
        if is_one_batch:
            batches = [a_batch(rows, destination.schema)]
        else:
            batches = [
                a_batch([row], destination.schema, first_offset=n) for n, row in enumerate(rows)
            ]
        self.put(sink, ledger, *batches)
        assert destination.names() == left
        assert ledger.total() == len(rows)

    def test_the_highest_version_wins_not_the_last_row(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(1, name="new", version=9), upsert(1, name="repeat", version=4)]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {"1": "new"}
        assert ledger.counts == self.expected(
            states=Counts(written=1, superseded=1), changes=Counts(written=2)
        )

    def test_a_repeat_that_runs_backwards_over_batches(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        new = a_batch([upsert(1, name="new", version=9)], destination.schema)
        old = a_batch([upsert(1, name="old", version=4)], destination.schema, first_offset=1)
        self.put(sink, ledger, new, old)
        assert destination.names() == {"1": "new"}
        assert ledger.counts == self.expected(
            states=Counts(written=1, stale=1), changes=Counts(written=2)
        )

    def test_many_batches_of_the_same_ids_in_a_row(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        for n in range(30):
            rows = [upsert(i, name=f"{n}", version=n * 100 + i + 1) for i in range(70)]
            sink.write(a_batch(rows, destination.schema, first_offset=n * 70), within(20))
        sink.flush(within(30))
        ledger.look()
        assert destination.names() == dict.fromkeys(map(str, range(70)), "29")
        assert ledger.counts == Counts(written=30 * 70)

    def test_a_replay_does_not_bring_a_deleted_row_back(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        born = a_batch([upsert(1, name="born", version=1)], destination.schema)
        died = a_batch([delete(1, version=2)], destination.schema, first_offset=1)
        self.put(sink, ledger, born, died)
        self.put(sink, ledger, born)
        assert destination.names() == {}
        back = a_batch([upsert(1, name="again", version=3)], destination.schema, first_offset=2)
        self.put(sink, ledger, back)
        assert destination.names() == {"1": "again"}

    def test_a_delete_of_what_was_never_there_is_remembered(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        gone = a_batch([delete(1, version=5)], destination.schema)
        late = a_batch([upsert(1, name="late", version=4)], destination.schema, first_offset=1)
        self.put(sink, ledger, gone, late)
        assert destination.names() == {}
        assert ledger.counts == self.expected(
            states=Counts(written=1, stale=1), changes=Counts(written=2)
        )

    def test_null_stays_null_and_empty_stays_empty(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [upsert(1, name=None), upsert(2, name=""), upsert(3, name='"\\\n\x00é😀')]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {"1": None, "2": "", "3": '"\\\n\x00é😀'}

    def test_ids_that_need_escaping_stay_apart(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        ids = ['a"b', "a\\b", "a|b", "%-", "é😀", "x" * 600 + "1", "x" * 600 + "2", "{}"]
        rows = [upsert(i, name=str(n)) for n, i in enumerate(ids)]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {i: str(n) for n, i in enumerate(ids)}

    # --- what was revoked is forgotten ------------------------------------------------------------

    def test_what_was_revoked_is_not_durable_any_more(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        rows = [replace(upsert(n, name="x"), partition=n % 2) for n in range(20)]
        batch = a_batch(rows, destination.schema, first_offset=50)
        sink.assigned(batch.next_offsets())
        self.put(sink, ledger, batch)
        gone, kept = Partition(batch.topic, 1), Partition(batch.topic, 0)
        sink.revoked([gone], lost=False)
        assert sink.progress().durable == {kept: batch.next_offsets()[kept]}
        # Back again, maybe from further behind: another member may have committed less.
        sink.assigned([gone])
        assert gone not in sink.progress().durable
        again = a_batch([replace(upsert(1, name="x"), partition=1)], destination.schema)
        self.put(sink, ledger, again)
        assert ledger.durable[gone] == again.next_offsets()[gone] < 50

    @pytest.mark.parametrize("is_thawed_first", [True, False])
    def test_what_was_in_hand_of_a_lost_partition_is_never_durable(
        self, destination: Destination, sink: Sink, ledger: Ledger, is_thawed_first: bool
    ) -> None:
        """It may come back before an old request is answered: what counts is what was written
        since. Whatever is told of the old one could commit what was never delivered.
        """
        self.put(sink, ledger, a_batch([upsert(0, name="first")], destination.schema))
        destination.freeze()
        rows = [
            replace(upsert(n, name="x", version=2), partition=n % 2, offset=100 + n)
            for n in range(1, 41)
        ]
        rows[10] = replace(destination.poison(11), partition=1, offset=111)
        batch = a_batch(rows, destination.schema)
        sink.assigned(batch.next_offsets())
        sink.write(batch, within(5))
        lost, kept = Partition(batch.topic, 1), Partition(batch.topic, 0)
        sink.revoked([lost], lost=True)
        if is_thawed_first:
            destination.thaw()
            sink.flush(within(30))
        sink.assigned([lost])
        destination.thaw()
        sink.flush(within(30))
        ledger.look()
        assert ledger.durable == {kept: batch.next_offsets()[kept]}
        assert ledger.rejections == []
        later = a_batch(
            [replace(upsert(99, name="new", version=3), partition=1, offset=7)], destination.schema
        )
        self.put(sink, ledger, later)
        assert ledger.durable[lost] == 8
        assert destination.names()["99"] == "new"

    # --- 4 and 5: trouble is told, in time --------------------------------------------------------

    def test_flush_ends_at_its_deadline_and_keeps_what_was_accepted(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        self.put(sink, ledger, a_batch([upsert(1, name="a")], destination.schema))
        destination.freeze()
        batch = a_batch([upsert(2, name="b", version=2)], destination.schema, first_offset=1)
        sink.write(batch, within(5))
        started = time.monotonic()
        with pytest.raises(RetryableError):
            sink.flush(within(0.3))
        assert time.monotonic() - started < 1.5
        destination.thaw()
        sink.flush(within(30))
        assert destination.names() == {"1": "a", "2": "b"}
        ledger.look()
        assert ledger.durable == batch.next_offsets()

    def test_a_full_sink_says_so_before_the_deadline_and_takes_nothing(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        self.put(sink, ledger, a_batch([upsert(0, name="first")], destination.schema))
        destination.freeze()
        accepted = 0
        while accepted < 400:
            ids = range(500 * accepted, 500 * (accepted + 1))
            rows = [upsert(n, name="x" * 2000, version=2 + n) for n in ids]
            batch = a_batch(rows, destination.schema, first_offset=1 + ids.start)
            started = time.monotonic()
            try:
                sink.write(batch, within(0.3))
            except RetryableError:
                break
            accepted += 1
        else:
            pytest.fail("200,000 events were accepted without one being answered")
        assert time.monotonic() - started < 1.5
        destination.thaw()
        sink.flush(within(60))
        ledger.look()
        assert ledger.total() == 1 + 500 * accepted
        assert len(destination.names()) == max(1, 500 * accepted)

    def test_what_was_lost_is_not_sent(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        self.put(sink, ledger, a_batch([upsert(0, name="first")], destination.schema))
        destination.freeze()
        for k in range(40):
            rows = [
                Row(Op.UPDATE, str(n), {"id": n, "name": f"{k}"}, 2 + 100 * k + n, partition=n % 2)
                for n in range(100)
            ]
            batch = a_batch(rows, destination.schema, first_offset=1 + 50 * k)
            sink.write(batch, within(5))
        lost = Partition(batch.topic, 1)
        sink.revoked([lost], lost=True)
        destination.thaw()
        sink.flush(within(60))
        ledger.look()
        assert lost not in ledger.durable
        assert ledger.durable[Partition(batch.topic, 0)] == 2001
        names = destination.names()
        assert {names[str(n)] for n in range(0, 100, 2)} == {"39"}
        # What was already on its way cannot be called back; what waited must not have gone.
        assert "39" not in {names.get(str(n)) for n in range(1, 100, 2)}
