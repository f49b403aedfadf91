"""What all laws share: the fixtures, and what a kind of sink states about itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Timer

import pytest

from callsheet.batch import Batch, Offset, Partition
from callsheet.errors import Reason, RetryableError
from callsheet.sink import Counts, Sink
from callsheet.testing.destination import CLOCK, Destination, Ledger, within


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

    def come_back(
        self, destination: Destination, sink: Sink, partition: Partition
    ) -> Mapping[Partition, Offset]:
        """Assign it again while nothing is answered, which ends soon. A sink whose store must be
        asked where the partition goes on waits for the answer, or is asked again as the worker
        does; any other need not wait.
        """
        thaw = Timer(0.3, destination.thaw)
        thaw.start()
        deadline = within(30)
        try:
            while True:
                try:
                    return sink.assigned([partition])
                except RetryableError:
                    if deadline.expired():
                        raise
                    CLOCK.sleep(0.05)
        finally:
            thaw.join()
