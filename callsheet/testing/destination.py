"""What a law needs of a sink's test: a destination, the means to disturb it, and a book."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from callsheet.batch import Partition
from callsheet.ports import Deadline, SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Counts, Progress, Rejection, Sink
from callsheet.testing.batches import Row

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

    def thaw(self) -> None:
        """All is answered again. From any thread, and harmless when nothing is frozen."""
        ...


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
