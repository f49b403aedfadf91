"""Laws 1 and 2: durable means safe, and writing again changes nothing."""

from __future__ import annotations

from callsheet.batch import Partition
from callsheet.event import Op
from callsheet.sink import Counts, Sink
from callsheet.testing.batches import Row, a_batch, delete, upsert
from callsheet.testing.destination import Destination, Ledger, within
from callsheet.testing.laws.base import Laws


class DurableLaws(Laws):
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
