"""Everything is accepted and forgotten: fetching, decoding and committing are what is left."""

# ruff: noqa: ARG002 - what a sink is told, this one need not know

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import BaseModel, ConfigDict

from callsheet.batch import Batch, Offset, Partition
from callsheet.ports import Deadline
from callsheet.sink import Counts, Progress


class DiscardSettings(BaseModel):
    """It has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DiscardSink:
    """Durable at once, nowhere."""

    def __init__(self) -> None:
        self._durable: dict[Partition, Offset] = {}
        self._counts = Counts()

    def open(self) -> None:
        """There is nothing to connect to."""

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return {}

    def write(self, batch: Batch, deadline: Deadline) -> None:
        self._durable |= batch.next_offsets()
        self._counts += Counts(written=len(batch))

    def progress(self) -> Progress:
        counts, self._counts = self._counts, Counts()
        return Progress(durable=dict(self._durable), counts=counts)

    def flush(self, deadline: Deadline) -> None:
        """Nothing waits."""

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        for partition in partitions:
            self._durable.pop(partition, None)

    def close(self) -> None:
        """Nothing is open."""
