"""What all laws share: the fixtures, and what a kind of sink states about itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callsheet.batch import Batch
from callsheet.errors import Reason
from callsheet.sink import Counts, Sink
from callsheet.testing.destination import Destination, Ledger, within


class Laws:
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
