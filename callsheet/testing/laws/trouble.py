"""Laws 4 and 5, and partitions that leave: trouble is told in time, what is lost is forgotten."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from callsheet.batch import BEGINNING, Partition
from callsheet.errors import RetryableError
from callsheet.event import Op
from callsheet.sink import Sink
from callsheet.testing.batches import Row, a_batch, upsert
from callsheet.testing.destination import Destination, Ledger, within
from callsheet.testing.laws.base import Laws


class TroubleLaws(Laws):
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
        starts = sink.assigned([gone])
        assert gone not in sink.progress().durable
        again = a_batch([replace(upsert(1, name="x"), partition=1)], destination.schema)
        self.put(sink, ledger, again)
        written = again.next_offsets()[gone]
        assert written < batch.next_offsets()[gone]
        # What was written since, or where the store said that it ends; never what we once knew.
        assert ledger.durable[gone] in {written, starts.get(gone, written)}

    @pytest.mark.parametrize("is_thawed_first", [True, False])
    def test_what_was_in_hand_of_a_lost_partition_is_never_durable(
        self, destination: Destination, sink: Sink, ledger: Ledger, is_thawed_first: bool
    ) -> None:
        """It may come back before an old request is answered: what counts is what was written
        since. Whatever is told of the old one could commit what was never delivered.
        """
        topic = f"studio.finance.{destination.schema.table}"
        lost, kept = Partition(topic, 1), Partition(topic, 0)
        sink.assigned([lost, kept])
        self.put(sink, ledger, a_batch([upsert(0, name="first")], destination.schema))
        destination.freeze()
        rows = [
            replace(upsert(n, name="x", version=2), partition=n % 2, offset=100 + n)
            for n in range(1, 41)
        ]
        rows[10] = replace(destination.poison(11), partition=1, offset=111)
        batch = a_batch(rows, destination.schema)
        sink.write(batch, within(5))
        sink.revoked([lost], lost=True)
        if is_thawed_first:
            destination.thaw()
            sink.flush(within(30))
        starts = self.come_back(destination, sink, lost)
        # All of the old request took place, or nothing.
        assert starts.get(lost, BEGINNING) in {BEGINNING, batch.next_offsets()[lost]}
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
