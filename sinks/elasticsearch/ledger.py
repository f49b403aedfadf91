"""Which accepted events are safe: batches complete in any order, offsets advance in theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from callsheet.batch import Message, Offset, Partition
from callsheet.errors import Reason
from callsheet.schema import TableSchema
from callsheet.sink import Counts, Rejection


@dataclass(slots=True, eq=False)
class Entry:
    """One accepted batch. Whoever handed it in keeps its messages until they are durable anyway."""

    topic: str
    alias: str
    schema: TableSchema
    messages: Sequence[Message]
    ends: Mapping[Partition, Offset]
    """Per partition the offset after the batch's last row."""
    remaining: int
    """Operations that have no final answer yet."""
    superseded: int = 0
    forgotten: set[int] = field(default_factory=set)
    """Partitions that were taken from us since."""

    def is_forgotten(self, row: int) -> bool:
        return bool(self.forgotten) and self.messages[row].partition() in self.forgotten


class Ledger:
    """Not thread-safe: the lanes' lock guards it."""

    def __init__(self) -> None:
        self._open: dict[Partition, deque[tuple[Entry, Offset]]] = {}
        self._durable: dict[Partition, Offset] = {}
        self._rejections: list[Rejection] = []
        self._written = self._stale = self._superseded = 0
        self.pending = 0
        """Operations without a final answer, over all entries."""

    def accept(self, entry: Entry) -> None:
        for partition, end in entry.ends.items():
            self._open.setdefault(partition, deque()).append((entry, end))
        self.pending += entry.remaining
        self._superseded += entry.superseded
        self._advance(entry)

    def settle(self, entry: Entry, *, written: int = 0, stale: int = 0) -> None:
        """These many operations have their final answer."""
        self._written += written
        self._stale += stale
        self._done(entry, written + stale)

    def reject(self, entry: Entry, row: int, reason: Reason, detail: str) -> None:
        self.refuse(entry, row, reason, detail)
        self._done(entry, 1)

    def refuse(self, entry: Entry, row: int, reason: Reason, detail: str) -> None:
        """A row that was refused before it became an operation."""
        if not entry.is_forgotten(row):
            message = entry.messages[row]
            partition = Partition(entry.topic, message.partition())
            self._rejections.append(Rejection(partition, message.offset(), reason, detail))

    def drop(self, entry: Entry, operations: int) -> None:
        """These will not be sent: their partition or table is no longer ours to write."""
        self._done(entry, operations)

    def _done(self, entry: Entry, operations: int) -> None:
        entry.remaining -= operations
        self.pending -= operations
        if entry.remaining == 0:
            self._advance(entry)

    def _advance(self, entry: Entry) -> None:
        for partition in entry.ends:
            line = self._open.get(partition)
            while line and line[0][0].remaining == 0:
                self._durable[partition] = line.popleft()[1]

    def forget(self, partitions: Collection[Partition]) -> None:
        """Nothing of these is reported any more."""
        gone = set(partitions)
        for partition in gone:
            self._durable.pop(partition, None)
            for entry, _ in self._open.pop(partition, ()):
                entry.forgotten.add(partition.number)
        self._rejections = [r for r in self._rejections if r.partition not in gone]

    def halt(self, topic: str) -> None:
        """What is undelivered of this table stays uncommitted; what was durable stays so."""
        for partition in [p for p in self._open if p.topic == topic]:
            for entry, _ in self._open.pop(partition):
                entry.forgotten.add(partition.number)

    def take(self) -> tuple[dict[Partition, Offset], list[Rejection], Counts]:
        """Durable offsets, and what is new since the last call."""
        counts = Counts(self._written, self._superseded, self._stale)
        taken = dict(self._durable), self._rejections, counts
        self._rejections = []
        self._written = self._stale = self._superseded = 0
        return taken
