"""One sealed range on its way into the store, step by step.

1. STAGED   its files are whole in the staging folder, where no reader looks
2. NAMED    its entry is created, exclusively: now it counts, whatever happens to us
3. MOVED    its files are in place, one after the other
4. MARKED   the mark says that there is nothing left to finish

A crash before 2 leaves files that nothing names: the lane's next owner removes them, and Kafka
gives the records again. A crash after it leaves a range that the next owner finishes.
docs/adr/0011 says why in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from callsheet.batch import Offset, Partition
from callsheet.errors import FencedError
from sinks.hive.entries import DataFile, Entry, Lane
from sinks.hive.layout import PARTITION_COLUMN, TableLayout
from sinks.hive.ranges import RangeLog, staging
from sinks.hive.stores.port import Store


class PublishStep(StrEnum):
    """After which a fault test crashes."""

    STAGED = "staged"
    NAMED = "named"
    MOVED = "moved"
    MARKED = "marked"


@dataclass(slots=True)
class Ownership:
    """A lane that is ours until it is given up."""

    partition: Partition
    lane: Lane
    last: Entry
    """The newest entry of the chain: our claim, then our own ranges."""
    durable: Offset | None
    """None: nothing was ever written to the lane."""
    is_over: bool = False

    @property
    def writer(self) -> str:
        return self.last.writer


@dataclass(frozen=True, slots=True)
class SealedFile:
    """``content``: a whole Parquet file without a name."""

    table: str
    date: str
    layout: TableLayout
    rows: int
    content: BinaryIO


@dataclass(frozen=True, slots=True)
class SealedRange:
    """Complete files of one lane, and what they cover."""

    owner: Ownership
    first: Offset
    end: Offset
    rows: int
    refused: int
    newest_version: int
    files: tuple[SealedFile, ...]
    sealed_at: str

    def release(self) -> None:
        """Give the disk's space back."""
        for file in self.files:
            file.content.close()


class Publication:
    """Remembers which steps are done, so that after trouble only the rest is tried again. That is
    more than thrift: a file must not be staged again once another owner may have moved it.
    """

    def __init__(
        self,
        sealed: SealedRange,
        store: Store,
        log: RangeLog,
        at: Callable[[PublishStep], None],
    ) -> None:
        self._sealed, self._store, self._log, self._at = sealed, store, log, at
        self._staged: list[DataFile] = []
        self._entry: Entry | None = None

    def proceed(self) -> Entry:
        """All steps that are not done yet.

        Raises:
            RetryableError: the store is away: call again.
            FencedError: the lane has another owner; nothing of this range counts.
            LostFileError: what we staged was removed by hand.
        """
        self._stage()
        if self._entry is None:
            self._entry = self._named()
            self._at(PublishStep.NAMED)
        for file in self._entry.files:
            self._store.move(file.staged, file.path)
            self._at(PublishStep.MOVED)
        self._log.set_mark(self._entry.lane.name, self._entry.name)
        self._at(PublishStep.MARKED)
        return self._entry

    def _stage(self) -> None:
        for file in self._missing():
            self._staged.append(self._put(file, len(self._staged)))
            self._at(PublishStep.STAGED)

    def _missing(self) -> Iterator[SealedFile]:
        return iter(self._sealed.files[len(self._staged) :])

    def _put(self, file: SealedFile, number: int) -> DataFile:
        lane, owner = self._sealed.owner.lane, self._sealed.owner
        name = f"{lane.name}-{self._sealed.first:020d}-{self._sealed.end:020d}-{number}.parquet"
        staged = f"{staging(lane.name, owner.writer)}/{name}"
        self._log.add_schema(file.table, file.layout)
        self._store.put(staged, file.content)
        file.content.seek(0, 2)
        return DataFile(
            table=file.table,
            date=file.date,
            path=f"{file.table}/{PARTITION_COLUMN}={file.date}/{name}",
            staged=staged,
            rows=file.rows,
            size_bytes=file.content.tell(),
            fingerprint=file.layout.schema.fingerprint,
        )

    def _named(self) -> Entry:
        sealed, owner = self._sealed, self._sealed.owner
        start, take = owner.last.following()
        entry = Entry(
            lane=owner.lane,
            start=start,
            take=take,
            first=sealed.first,
            end=sealed.end,
            writer=owner.writer,
            written_at=sealed.sealed_at,
            rows=sealed.rows,
            refused=sealed.refused,
            files=tuple(self._staged),
            newest_version=sealed.newest_version,
        )
        if not self._log.append(entry):
            raise FencedError(
                f"another worker writes {owner.lane.name} now",
                hint="after a rebalance the new owner shuts the old one out: then nothing need be "
                "done; two pipelines must not write one audit",
            )
        return entry
