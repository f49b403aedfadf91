"""What was accepted and is not committed yet, and what is to be reported of what is.

One line, first in first out: so events of one ID take effect in log order, and offsets advance.
Not thread-safe: the writer's lock guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from callsheet.batch import Batch, Offset, Park, Partition
from callsheet.errors import RetryableError
from callsheet.sink import Counts, Progress, Rejection
from sinks.sql.store import Work
from sinks.sql.table_write import Outcome


@dataclass(slots=True, eq=False)
class Entry:
    """One accepted batch."""

    batch: Batch
    gone: set[int] = field(default_factory=set)
    """Numbers of its partitions that were taken from us since."""

    def work(self) -> Work | None:
        """What of it is still ours; None when nothing is."""
        frame = self.batch.frame
        if self.gone:
            frame = frame.filter(~pl.col("partition").is_in(sorted(self.gone)))
        return None if frame.is_empty() else Work(self.batch, frame)

    def is_gone(self, partition: Partition) -> bool:
        return partition.number in self.gone


class Ledger:
    def __init__(self) -> None:
        self.line: deque[Entry] = deque()
        self.size_bytes = 0
        self.trouble: RetryableError | None = None
        self._durable: dict[Partition, Offset] = {}
        self._rejections: list[Rejection] = []
        self._counts = Counts()
        self._parked: list[Park] = []

    def accept(self, batch: Batch) -> None:
        self.line.append(Entry(batch))
        self.size_bytes += batch.size_bytes

    def next_group(self, most_events: int) -> list[Entry]:
        """From the front, as many as may share a transaction, but always one."""
        group: list[Entry] = []
        events = 0
        for entry in self.line:
            events += len(entry.batch)
            if group and events > most_events:
                break
            group.append(entry)
        return group

    def settle(self, entry: Entry, outcome: Outcome, ends: Mapping[Partition, Offset]) -> None:
        """It is committed. It must be the first in line."""
        self._leave(entry)
        self._counts += outcome.counts
        self._rejections += [r for r in outcome.rejections if not entry.is_gone(r.partition)]
        for partition, end in ends.items():
            if not entry.is_gone(partition):
                self._durable[partition] = end

    def drop(self, entry: Entry) -> None:
        """Nothing of it is ours any more."""
        self._leave(entry)

    def _leave(self, entry: Entry) -> None:
        self.line.remove(entry)
        self.size_bytes -= entry.batch.size_bytes

    def forget(self, partitions: Collection[Partition]) -> None:
        """Nothing of these is written or reported any more."""
        gone = set(partitions)
        for partition in gone:
            self._durable.pop(partition, None)
        self._rejections = [r for r in self._rejections if r.partition not in gone]
        for entry in self.line:
            entry.gone |= {p.number for p in gone if p.topic == entry.batch.topic}

    def park(self, park: Park) -> None:
        """What is accepted of this topic and not committed never will be."""
        self._parked.append(park)
        for entry in [each for each in self.line if each.batch.topic == park.topic]:
            self._leave(entry)

    def take(self) -> Progress:
        progress = Progress(
            dict(self._durable), tuple(self._rejections), self._counts, self.trouble, self._parks()
        )
        self._rejections, self._counts, self._parked = [], Counts(), []
        return progress

    def _parks(self) -> Sequence[Park]:
        return tuple(self._parked)
