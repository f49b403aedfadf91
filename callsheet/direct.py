"""A sink for destinations that answer at once: a batch is stored when the call returns.

Whoever writes one says how a batch is stored (:class:`Store`); what the laws of
:class:`callsheet.sink.Sink` ask beyond that is kept here. ``docs/writing-a-sink.md`` shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from pydantic import BaseModel

from callsheet.backoff import Backoff, Outage
from callsheet.batch import Batch, Offset, Park, Partition
from callsheet.errors import ParkTableError, Reason, RetryableError
from callsheet.ports import Clock, Deadline
from callsheet.sink import Counts, Progress, Rejection, SinkContext, SinkPlugin
from callsheet.undelivered import place, restrict

_MOST_WAITING_EVENTS = 10_000
_BUDGET_S = 5.0
"""For what is stored within one :meth:`DirectSink.progress`: the worker's loop waits for it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row, by its partition's number and its offset, that the destination refuses for good."""

    partition: int
    offset: Offset
    reason: Reason
    detail: str
    """The destination's own words, without the row's values."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch. Rows in neither of these numbers nor refused were stale: they were
    there already, or in a newer version.
    """

    written: int
    superseded: int = 0
    """An older write of the same ID in the batch."""
    refused: Sequence[Refusal] = ()


class Store(Protocol):
    """A destination that answers at once. All methods are called from one thread."""

    def open(self) -> None:
        """As :meth:`callsheet.sink.Sink.open`."""
        ...

    def put(self, batch: Batch, deadline: Deadline) -> Stored:
        """Safe when it returns. What is there already, or newer, must stay as it is: after a crash,
        and after an error, rows come again, in the same batches or in others.

        Raises:
            RetryableError, OSError: not now; nothing is promised of this batch.
            ParkTableError: this table must wait for a human.
        """
        ...

    def close(self) -> None: ...


class DirectSink:
    """Batches wait in one line, so events of one ID take effect in log order."""

    def __init__(self, store: Store, clock: Clock, backoff: Backoff = Backoff(cap_s=5.0)) -> None:  # noqa: B008 - frozen
        self._store, self._clock = store, clock
        self._outage = Outage(clock, backoff, Random())  # noqa: S311 - jitter, no secret
        self._trouble: RetryableError | None = None
        self._waiting: list[Batch] = []
        self._durable: dict[Partition, Offset] = {}
        self._rejections: list[Rejection] = []
        self._parked: list[Park] = []
        self._counts = Counts()

    def open(self) -> None:
        self._store.open()

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """The consumer group knows best: what it reads again is stale in the store."""
        del partitions
        return {}

    def write(self, batch: Batch, deadline: Deadline) -> None:
        def has_room() -> bool:
            events = sum(map(len, self._waiting))
            return not events or events + len(batch) <= _MOST_WAITING_EVENTS

        self._store_until(has_room, deadline)
        self._waiting.append(batch)

    def progress(self) -> Progress:
        self._store_waiting(Deadline.after(self._clock, _BUDGET_S))
        taken = Progress(
            dict(self._durable), self._rejections, self._counts, self._trouble, self._parked
        )
        self._rejections, self._counts, self._parked = [], Counts(), []
        return taken

    def flush(self, deadline: Deadline) -> None:
        self._store_until(lambda: not self._waiting, deadline)

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        del lost  # nothing is on its way: the store has answered
        gone = {(p.topic, p.number) for p in partitions}
        rests = [restrict(batch, lambda m: place(m) not in gone) for batch in self._waiting]
        self._waiting = [rest for rest in rests if rest is not None]
        self._rejections = [r for r in self._rejections if r.partition not in partitions]
        for partition in partitions:
            self._durable.pop(partition, None)

    def close(self) -> None:
        self._store.close()

    def _store_until(self, is_enough: Callable[[], bool], deadline: Deadline) -> None:
        while not is_enough():
            if deadline.expired():
                raise self._trouble or RetryableError("the destination needs longer than it has")
            self._clock.sleep(min(self._outage.wait_s(), deadline.remaining_s()))
            self._store_waiting(deadline)

    def _store_waiting(self, deadline: Deadline) -> None:
        """What goes without waiting: after a failure nothing, until the next try is due."""
        while self._waiting and not self._outage.wait_s() and not deadline.expired():
            batch = self._waiting[0]
            try:
                stored = self._store.put(batch, deadline)
            except (RetryableError, OSError) as error:
                self._trouble = _retryable(error)
                self._outage.failed(self._trouble)
                return
            except ParkTableError as error:
                self._park(error)
                continue
            del self._waiting[0]
            self._note(batch, stored)

    def _note(self, batch: Batch, stored: Stored) -> None:
        self._outage.over()
        self._trouble = None
        self._durable |= batch.next_offsets()
        for row in stored.refused:
            partition = Partition(batch.topic, row.partition)
            self._rejections.append(Rejection(partition, row.offset, row.reason, row.detail))
        stale = len(batch) - stored.written - stored.superseded - len(stored.refused)
        self._counts += Counts(stored.written, stored.superseded, stale)

    def _park(self, error: ParkTableError) -> None:
        self._parked.append(Park(error.topic, error.reason, error.detail))
        self._waiting = [batch for batch in self._waiting if batch.topic != error.topic]


def _retryable(error: RetryableError | OSError) -> RetryableError:
    if isinstance(error, RetryableError):
        return error
    found = RetryableError(
        f"the destination does not take it: {error}",
        hint="it is tried again until it does: a full disk, a lock, a network may mend",
    )
    found.__cause__ = error
    return found


def direct(name: str, settings: type[BaseModel], store: Callable[[Any], Store]) -> SinkPlugin:
    """The plugin of a sink whose store is made from its validated settings."""

    def build(chosen: BaseModel, context: SinkContext) -> DirectSink:
        return DirectSink(store(chosen), context.clock)

    return SinkPlugin(name, settings, build)
