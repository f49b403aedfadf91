"""The sink laws on the audit, on a local filesystem and on an object store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
