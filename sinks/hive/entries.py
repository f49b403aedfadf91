"""What the audit's log of ranges is made of: lanes, their entries, and folds of old entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from callsheet.batch import Offset, Partition

FORMAT: Final = 1
FOLD_FORMAT: Final = 2


class Lane(msgspec.Struct, frozen=True, order=True):
    """One partition of one topic; ``generation`` tells a topic from its successor of that name."""

    topic: str
    partition: int
    generation: int = 0

    @property
    def name(self) -> str:
        later = f"-g{self.generation}" if self.generation else ""
        return f"{self.topic}-{self.partition}{later}"

    @classmethod
    def of(cls, partition: Partition, generation: int = 0) -> Lane:
        return cls(partition.topic, partition.number, generation)


class DataFile(msgspec.Struct, frozen=True):
    """One Parquet file of a range."""

    table: str
    date: str
    """YYYY-MM-DD: the partition of the Hive table that it is in."""
    path: str
    """In place, from the store's root on."""
    staged: str
    """Before that."""
    rows: int
    size_bytes: int
    fingerprint: str
    """Of the schema: see :meth:`RangeLog.schema`."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A range, or (without files, ``end == start``) a claim. Offsets as in Kafka, ``end`` is the
    next one. Every record of [first, end) is a row of one of the files, or was refused and is a
    dead letter (``refused`` of them), or carries no change: tombstones, heartbeats, transaction
    markers.
    """

    lane: Lane
    start: int
    """The ``end`` of the entry before; 0 in a new lane. With ``take`` it is the entry's name."""
    take: int
    """How many claims have been made at ``start`` before this entry."""
    first: int
    """As ``start``, but in a new lane the first offset that the writer was given."""
    end: int
    writer: str
    """Unique for each time that a lane was taken over."""
    written_at: str
    """ISO-8601, UTC, by the writer's clock."""
    rows: int = 0
    refused: int = 0
    files: tuple[DataFile, ...] = ()
    newest_version: int = 0
    """The highest source position in the lane up to ``end``. A record before ``end`` with a higher
    one is of another topic of the same name.
    """
    is_claim: bool = False
    format: int = FORMAT

    @property
    def name(self) -> str:
        return entry_name(self.start, self.take)

    def following(self) -> tuple[int, int]:
        """``start`` and ``take`` of the next entry."""
        return (self.start, self.take + 1) if self.is_claim else (self.end, 0)

    @property
    def ranges(self) -> int:
        """How many it stands for."""
        return 0 if self.is_claim else 1

    def pieces(self) -> Iterator[Piece]:
        """Its files, each with the range that it is of."""
        return (Piece(self.lane.name, self.first, self.end, file) for file in self.files)


class Piece(NamedTuple):
    """A file that counts, and the offsets that its rows are among: [first, end) of one lane."""

    lane: str
    first: Offset
    end: Offset
    file: DataFile


class Share(msgspec.Struct, frozen=True):
    """Rows of folded ranges whose files are gone, because a later state of their date's partition
    (:mod:`sinks.hive.partitions`) has taken their place.
    """

    table: str
    date: str
    rows: int
    end: int
    """Of the last range that had any of them."""


class Fold(Entry, frozen=True, kw_only=True):
    """All of a chain up to some entry as one: as if it had been a single range."""

    next: tuple[int, int]
    """``start`` and ``take`` of the first entry that is not in it: its name among folds."""
    count: int
    """Of ranges."""
    spans: tuple[tuple[int, int], ...] = ()
    """Per file the range [first, end) that it was of."""
    shares: tuple[Share, ...] = ()
    format: int = FOLD_FORMAT

    def following(self) -> tuple[int, int]:
        return self.next

    @property
    def ranges(self) -> int:
        return self.count

    def pieces(self) -> Iterator[Piece]:
        for file, (first, end) in zip(self.files, self.spans, strict=True):
            yield Piece(self.lane.name, first, end, file)


def entry_name(start: Offset, take: int) -> str:
    """Names sort as the chain goes."""
    return f"{start:020d}.{take:06d}.json"
