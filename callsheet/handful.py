"""One accepted batch in the worker's hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from callsheet.batch import Message, Offset, Partition
from callsheet.undelivered import Place, place


@dataclass(slots=True, eq=False)
class Handful:
    """The messages of one accepted batch, kept while one of them may be rejected."""

    topic: str
    messages: Sequence[Message]
    ends: Mapping[Partition, Offset]
    size_bytes: int
    oldest_us: int
    newest_us: int
    index: dict[tuple[int, Offset], Message] = field(default_factory=dict)
    rows: dict[int, int] | None = None
    """How many of each partition they were, once the messages are let go of."""
    refused: int = 0
    """Rows that became dead letters."""

    def __len__(self) -> int:
        return len(self.messages) if self.rows is None else sum(self.rows.values())

    def let_go(self) -> None:
        self.rows = dict(Counter(message.partition() for message in self.messages))
        self.messages, self.index = (), {}

    def lose(self, gone: Collection[Place]) -> int:
        """Forget the rows of these partitions; returns how many they were."""
        before = len(self)
        if self.rows is not None:
            rest = {n: rows for n, rows in self.rows.items() if (self.topic, n) not in gone}
            self.rows, left = rest, set(rest)
        else:
            self.messages = [m for m in self.messages if place(m) not in gone]
            self.index, left = {}, {m.partition() for m in self.messages}
        if len(self) < before:
            self.ends = {p: end for p, end in self.ends.items() if p.number in left}
        return before - len(self)

    def find(self, partition: Partition, offset: Offset) -> Message | None:
        if self.topic != partition.topic or offset >= self.ends.get(partition, 0):
            return None
        if not self.index:  # built at the first rejection only: most batches have none
            self.index = {(m.partition(), m.offset()): m for m in self.messages}
        return self.index.get((partition.number, offset))
