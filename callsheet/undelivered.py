"""What was read and no sink has accepted yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import polars as pl

from callsheet.batch import Batch, Decoded, Message, Offset, Partition, Poison, Truncation

Place = tuple[str, int]
"""Topic and partition number as a plain tuple: hashed once a message, where Partition is slow."""


def place(message: Message) -> Place:
    return message.topic(), message.partition()


class Undelivered:
    """Raw messages waiting for the decoder, then batches waiting for the sink; both in log order.

    Batches come from one decoding only: the next one waits until all of them are accepted. So do
    its poison records: a letter is written after all rows that were decoded with it, so that at any
    time what is written is what is committed next. A transaction carries nothing else.
    """

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.ready: deque[Batch] = deque()
        self.poison: deque[Poison] = deque()

    def __bool__(self) -> bool:
        return bool(self.waiting or self.ready or self.poison)

    @property
    def events(self) -> int:
        return len(self.waiting) + sum(map(len, self.ready)) + len(self.poison)

    @property
    def size_bytes(self) -> int:
        return sum(batch.size_bytes for batch in self.ready)

    def firsts(self) -> dict[Partition, Offset]:
        """Per partition the lowest offset in here: no commit may pass it."""
        rows = (message for batch in self.ready for message in batch.messages)
        return _firsts(chain(self.waiting, rows, (poison.message for poison in self.poison)))

    def take_out(self, partitions: Collection[Partition]) -> tuple[int, dict[Partition, Offset]]:
        """Drop all records of these partitions: how many they were, and where each began."""
        gone = {(p.topic, p.number) for p in partitions}
        dropped = [m for m in self.waiting if place(m) in gone]
        self.waiting = [m for m in self.waiting if place(m) not in gone]
        kept: deque[Batch] = deque()
        for batch in self.ready:
            dropped += [m for m in batch.messages if place(m) in gone]
            rest = restrict(batch, lambda m: place(m) not in gone)
            if rest is not None:
                kept.append(rest)
        self.ready = kept
        dropped += [p.message for p in self.poison if place(p.message) in gone]
        self.poison = deque(p for p in self.poison if place(p.message) not in gone)
        return len(dropped), _firsts(dropped)


def _firsts(messages: Iterable[Message]) -> dict[Partition, Offset]:
    lowest: dict[Place, Offset] = {}
    for message in messages:
        where, offset = place(message), message.offset()
        if offset < lowest.get(where, offset + 1):
            lowest[where] = offset
    return {Partition(*where): offset for where, offset in lowest.items()}


def restrict(batch: Batch, keep: Callable[[Message], bool]) -> Batch | None:
    """The batch with only those rows; itself when it keeps all, None when it keeps none."""
    mask = [keep(message) for message in batch.messages]
    if all(mask):
        return batch
    if not any(mask):
        return None
    messages = [m for m, kept in zip(batch.messages, mask, strict=True) if kept]
    size = sum(len(m.key() or b"") + len(m.value() or b"") for m in messages)
    frame = batch.frame.filter(pl.Series(mask, dtype=pl.Boolean))
    return replace(batch, columns=frame, messages=messages, size_bytes=size)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a table stops because of a TRUNCATE: ``decoded`` without what lies behind."""

    decoded: Decoded
    dropped: int
    firsts: Mapping[Partition, Offset]


def cut_at_truncation(decoded: Decoded, topic: str, truncations: Sequence[Truncation]) -> Cut:
    """Keep of ``topic`` only what the source logged before it truncated the table.

    A TRUNCATE has no key, so it is ordered against other partitions only by version: each partition
    stops at its first row with a higher one, and the truncation's own partition at the record.
    """
    version = min(t.version for t in truncations)
    firsts = _firsts(t.message for t in truncations)
    for batch in decoded.batches:
        if batch.topic == topic:
            for partition, offset in _first_offsets_from(batch, version).items():
                firsts[partition] = min(offset, firsts.get(partition, offset))

    def is_before(message: Message) -> bool:
        first = firsts.get(Partition(*place(message)))
        return first is None or message.offset() < first

    mine = [b for b in decoded.batches if b.topic == topic]
    kept = {id(b): restrict(b, is_before) for b in mine}
    batches = [r for b in decoded.batches if (r := kept.get(id(b), b)) is not None]
    poison = [p for p in decoded.poison if is_before(p.message)]
    dropped = sum(map(len, decoded.batches)) - sum(map(len, batches))
    dropped += len(decoded.poison) - len(poison) + len(truncations)
    return Cut(replace(decoded, batches=batches, poison=poison), dropped, firsts)


def _first_offsets_from(batch: Batch, version: int) -> dict[Partition, Offset]:
    later = batch.frame.filter(pl.col("version") >= version)
    first = later.group_by("partition").agg(pl.col("offset").min())
    return {Partition(batch.topic, number): offset for number, offset in first.iter_rows()}
