"""A destination in memory: a fake with the real promises, which the sink laws hold it to."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from callsheet.batch import Batch, Offset, Partition
from callsheet.errors import ParkTableError, Reason, RetryableError
from callsheet.event import Op
from callsheet.ports import Clock, Deadline
from callsheet.sink import Counts, Progress, Rejection
from callsheet.undelivered import place, restrict


@dataclass(frozen=True, slots=True)
class Stored:
    version: int
    values: Mapping[str, Any] | None
    """None: deleted, and remembered, so that a replay does not bring it back."""


@dataclass(slots=True)
class MemoryStore:
    """What outlives a sink. Keys are (topic, ID)."""

    documents: dict[tuple[str, str], Stored] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    """IDs that are refused for good."""
    parked: dict[str, str] = field(default_factory=dict)
    """Topic to the reason why a human is needed."""
    is_away: bool = False
    """Nothing is accepted."""
    is_frozen: bool = False
    """Accepted events are not answered."""

    def rows(self, topic: str) -> dict[str, Mapping[str, Any]]:
        """What a reader sees."""
        return {
            identifier: stored.values
            for (of, identifier), stored in self.documents.items()
            if of == topic and stored.values is not None
        }


@dataclass(slots=True)
class MemorySink:
    """Accepts up to ``capacity_events``; answers them in :meth:`progress` and :meth:`flush`."""

    store: MemoryStore
    clock: Clock
    capacity_events: int = 20_000
    written: list[Batch] = field(default_factory=list)
    """Every batch that was accepted, for assertions."""
    calls: list[str] = field(default_factory=list)
    _waiting: deque[Batch] = field(default_factory=deque)
    _durable: dict[Partition, Offset] = field(default_factory=dict)
    _rejections: list[Rejection] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts)

    def open(self) -> None:
        self.calls.append("open")
        if self.store.is_away:
            raise RetryableError("the memory is away")

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        self.calls.append("assigned")
        return {}

    def write(self, batch: Batch, deadline: Deadline) -> None:
        if batch.topic in self.store.parked:
            reason = self.store.parked[batch.topic]
            raise ParkTableError(batch.topic, "parked", reason)
        held = sum(map(len, self._waiting))
        if self.store.is_away or (held and held + len(batch) > self.capacity_events):
            raise RetryableError("the memory is away" if self.store.is_away else "full")
        self.written.append(batch)
        self._waiting.append(batch)

    def progress(self) -> Progress:
        self._work()
        taken = Progress(
            dict(self._durable),
            tuple(self._rejections),
            self._counts,
            RetryableError("no answer") if self._waiting else None,
        )
        self._rejections, self._counts = [], Counts()
        return taken

    def flush(self, deadline: Deadline) -> None:
        self.calls.append("flush")
        self._work()
        while self._waiting:
            if deadline.expired():
                raise RetryableError("the memory did not answer in time")
            self.clock.sleep(min(0.01, deadline.remaining_s()))
            self._work()

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        self.calls.append("lost" if lost else "revoked")
        gone = set(partitions)
        for partition in gone:
            self._durable.pop(partition, None)
        self._rejections = [r for r in self._rejections if r.partition not in gone]
        # Now, not when it is answered: by then the partition may be ours again, from elsewhere.
        rests = [
            restrict(batch, lambda message: Partition(*place(message)) not in gone)
            for batch in self._waiting
        ]
        self._waiting = deque(rest for rest in rests if rest is not None)

    def close(self) -> None:
        self.calls.append("close")

    def _work(self) -> None:
        while self._waiting and not (self.store.is_frozen or self.store.is_away):
            self._apply(self._waiting.popleft())

    def _apply(self, batch: Batch) -> None:
        latest: dict[str, dict[str, Any]] = {}
        rows = list(batch.frame.iter_rows(named=True))
        for row in rows:
            best = latest.get(row["id"])
            if best is None or row["version"] >= best["version"]:
                latest[row["id"]] = row
        self._counts += Counts(superseded=len(rows) - len(latest))
        for row in latest.values():
            self._put(batch.topic, row)
        for partition, end in batch.next_offsets().items():
            self._durable[partition] = max(end, self._durable.get(partition, 0))

    def _put(self, topic: str, row: Mapping[str, Any]) -> None:
        key = topic, row["id"]
        if row["id"] in self.store.poison:
            partition = Partition(topic, row["partition"])
            refusal = Rejection(partition, row["offset"], Reason.REJECTED, "poison")
            self._rejections.append(refusal)
            return
        stored = self.store.documents.get(key)
        if stored is not None and stored.version >= row["version"]:
            self._counts += Counts(stale=1)
            return
        values = None if row["op"] == Op.DELETE.value else row["after"]
        self.store.documents[key] = Stored(row["version"], values)
        self._counts += Counts(written=1)
