"""The sink laws on the audit, on a local filesystem and on an object store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.batch import Partition
from callsheet.errors import Reason
from callsheet.sink import Sink
from callsheet.testing import Destination, Ledger, SinkLaws, within
from sinks.hive.stores.local import LocalStore
from sinks.hive.stores.port import Store
from tests.support.batches import a_batch, upsert
from tests.support.hive import Gate, HiveDestination, memory_store


class AuditLaws(SinkLaws):
    """The laws, for a store that keeps every change and says itself where to go on."""

    keeps_changes = True
    refusal = Reason.UNREPRESENTABLE

    def test_what_was_revoked_is_not_durable_any_more(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        """Nor is it told before something of it is written again; but then the store's own end
        counts, because that is where the partition goes on.
        """
        rows = [replace(upsert(n, name="x"), partition=n % 2) for n in range(20)]
        batch = a_batch(rows, destination.schema, first_offset=50)
        self.put(sink, ledger, batch)
        gone, kept = Partition(batch.topic, 1), Partition(batch.topic, 0)
        sink.revoked([gone], lost=False)
        assert sink.progress().durable == {kept: 60}
        assert sink.assigned([gone]) == {gone: 60}
        assert gone not in sink.progress().durable
        again = a_batch([replace(upsert(1, name="x"), partition=1)], destination.schema)
        self.put(sink, ledger, again)
        assert ledger.durable[gone] == 60

    @pytest.mark.parametrize("is_thawed_first", [True, False])
    def test_what_was_in_hand_of_a_lost_partition_is_never_durable(
        self, destination: Destination, sink: Sink, ledger: Ledger, is_thawed_first: bool
    ) -> None:
        """Coming back means to ask the store, so that is only done when it answers."""
        self.put(sink, ledger, a_batch([upsert(0, name="first")], destination.schema))
        destination.freeze()
        rows = [
            replace(upsert(n, name="x", version=2), partition=n % 2, offset=100 + n)
            for n in range(1, 41)
        ]
        rows[10] = replace(destination.poison(11), partition=1, offset=111)
        batch = a_batch(rows, destination.schema)
        sink.write(batch, within(5))
        lost, kept = Partition(batch.topic, 1), Partition(batch.topic, 0)
        sink.revoked([lost], lost=True)
        if is_thawed_first:
            destination.thaw()
            sink.flush(within(30))
        destination.thaw()
        assert set(sink.assigned([lost])) == {lost}
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

    def test_what_is_collected_can_no_longer_be_rejected(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        """So the worker needs not keep its raw records until a range is full."""
        batch = a_batch([upsert(1, name="a"), destination.poison(2)], destination.schema)
        sink.write(batch, within(5))
        progress = ledger.look()
        assert progress.final == batch.next_offsets()
        assert [rejection.offset for rejection in progress.rejections] == [1]
        assert progress.durable == {}


@pytest.fixture(params=["local", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path) if request.param == "local" else memory_store()


class TestHiveSink(AuditLaws):
    @pytest.fixture
    def destination(self, store: Store) -> Iterator[Destination]:
        gate = Gate(store)
        yield HiveDestination(lambda: gate, gate.freeze, gate.thaw, reader=store)
        gate.thaw()
