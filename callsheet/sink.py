"""The destination's side of the bargain. :mod:`callsheet.testing` holds sinks to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from callsheet.batch import Batch, Message, Offset, Park, Partition
from callsheet.errors import Reason, RetryableError
from callsheet.ports import Clock, Deadline, Past, Producer, TopicAdmin
from callsheet.schema import TableSchema


@dataclass(frozen=True, slots=True)
class Rejection:
    """One event that the destination refuses for good: it becomes a dead letter."""

    partition: Partition
    offset: Offset
    reason: Reason
    detail: str
    """The destination's own words, without the row's values."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Events by what became of them; the conservation law of docs/architecture.md adds them up."""

    written: int = 0
    superseded: int = 0
    """An older write of the same ID in the same batch: only the last one travels."""
    stale: int = 0
    """The destination already had this version or a newer one."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.written + other.written,
            self.superseded + other.superseded,
            self.stale + other.stale,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """What has happened since the last call, taken in one atomic step.

    ``durable`` is cumulative: per partition the next offset, everything before it is safe or was
    rejected. It never covers a rejection that this or an earlier Progress did not carry.
    ``rejections`` and ``counts`` are new since the last call: each appears once.
    ``parked`` are tables that turned out unwritable after their events were accepted (an index that
    somebody deleted), new since the last call. What was accepted of them and is not durable was
    dropped: it never will be durable, it must not be committed, and ``flush`` does not wait for it.
    ``trouble`` is set while accepted work cannot be delivered (the sink keeps trying by itself).
    """

    durable: Mapping[Partition, Offset] = field(default_factory=dict)
    rejections: Sequence[Rejection] = ()
    counts: Counts = field(default_factory=Counts)
    trouble: RetryableError | None = None
    parked: Sequence[Park] = ()
    final: Mapping[Partition, Offset] = field(default_factory=dict)
    """Cumulative, as ``durable``, for a sink that collects for long: per partition the next offset,
    of what lies before it none will be rejected any more. The worker lets go of those raw records,
    and reads on; what is not durable it does not commit all the same.
    """


class Sink(Protocol):
    """A destination.

    1. An event is durable once ``progress().durable`` covers its offset or it was among the
       rejections; before that, nothing is promised.
    2. A batch written again, whole or in part, leaves the destination as it was.
    3. Events of one ID take effect in log order: one ID is never in two requests in flight.
    4. ``write`` raises ``RetryableError`` for trouble that may pass (then nothing of the batch was
       accepted), ``ParkTableError`` when this table must wait for a human, any other error to stop.
    5. Every call returns or raises before its deadline, and never sleeps past it.

    All methods are called from one thread. A sink may work in threads of its own between calls.
    """

    def open(self) -> None:
        """Connect, and check what can be checked before the first event.

        Raises:
            RetryableError: the destination is away.
            ConfigError, FatalError: it is there and will never take our writes.
        """
        ...

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """Where the destination itself ends, for those partitions of which it knows. Read on from
        there, or from what the group has committed if that is less: before it every dead letter
        is acknowledged, and what the destination has already is skipped or stale.
        """
        ...

    def write(self, batch: Batch, deadline: Deadline) -> None:
        """Accept the whole batch or nothing. May return before it is durable."""
        ...

    def progress(self) -> Progress: ...

    def flush(self, deadline: Deadline) -> None:
        """Wait until all accepted events are durable or rejected.

        Raises:
            RetryableError: the deadline came first; what was accepted stays accepted.
        """
        ...

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        """Forget these partitions, their durable offsets and rejections too: assigned again, they
        may start anywhere. The worker has flushed before, unless ``lost``: then another member
        may own them already and nothing more of theirs may be sent. What of theirs is on its way
        and answered later becomes neither durable nor a rejection, even if they are ours again.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Previewing(Protocol):
    """A sink that can show what it would write, for ``callsheet run --dry-run``. Optional."""

    def preview(self, batch: Batch) -> Sequence[bytes]:
        """One line of JSON per write, in log order; nothing is sent, nothing is remembered."""
        ...


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a transactional sink shares with the worker: the cluster that the pipeline reads from.

    Such a sink sends through the producer, and its ``durable`` means: in the open transaction, that
    will carry the offsets. When the transaction is lost all partitions are revoked as ``lost``.
    """

    producer: Producer
    topics: TopicAdmin
    is_taken: Callable[[str], bool]
    """Does the pipeline read this topic, or bury its dead letters there? Nothing else may."""
    past: Past | None = None
    """Only in a redrive, whose events are older than what was written since."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink gets beside its own settings."""

    pipeline: str
    clock: Clock
    metrics_labels: Mapping[str, str] = field(default_factory=dict)
    config_dir: str = ""
    """Folder of cdc-config, for files that the settings name."""
    transaction: Transaction | None = None
    """Only of a worker whose plugin is transactional; a preview has none."""


@runtime_checkable
class Inventory(Protocol):
    """What a destination still shows of a table, for ``callsheet sweep``. It changes nothing, and
    needs no worker; one that has nothing of the table at all answers 0 and no page.

    Raises (each method):
        RetryableError: the destination is away.
    """

    def alive(self, topic: str, schema: TableSchema) -> int:
        """How many rows it shows."""
        ...

    def older(self, topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        """IDs of the rows that it shows in a version below this one: each once, in pages, in any
        order.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Holding:
    """What a destination holds of one row. ``version``: None where it does not know the row."""

    has_values: bool
    version: int | None


@runtime_checkable
class Eraser(Protocol):
    """Takes rows' values out of a destination, for ``callsheet erase``. It needs no worker, and one
    may run. ID and version stay: without them a replay would bring the values back.

    Of a transactional sink what :meth:`erase` did is in the open transaction of its context.

    Raises (each method):
        RetryableError: the destination is away, or something newer came in between.
        PreconditionError: the table there is not this pipeline's, or we may not write it.
    """

    def look(
        self, topic: str, schema: TableSchema, identifiers: Collection[str]
    ) -> Mapping[str, Holding]:
        """What it holds of each. Of ``schema`` only the names are known."""
        ...

    def erase(self, topic: str, schema: TableSchema, identifiers: Collection[str]) -> None:
        """Done already is done, and what is not known needs nothing."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class OwnOffsets(Protocol):
    """Where a destination that keeps offsets itself goes on, for ``callsheet offsets reset``.

    Attributes:
        no_gaps: empty where records may be passed over; else why not, and what to do instead.

    Raises (each method):
        RetryableError: the destination is away.
    """

    no_gaps: str

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """Of those of which it knows; what a worker that is assigned them would be told."""
        ...

    def move(self, offsets: Mapping[Partition, Offset]) -> None:
        """Go on there from now on. Whoever is still writing these partitions is fenced."""
        ...

    def close(self) -> None: ...


ReadTopic = Callable[[str], Iterator[Message]]
"""A topic of the cluster that the pipeline reads from: its committed records up to its end; none
of one that does not exist."""


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """How a sink is found: the entry point group ``callsheet.sinks`` names one of these.

    ``settings`` validates the pipeline file's ``sink:`` block (without ``type``); ``build`` makes
    the sink from the validated settings. ``is_transactional``: it writes to the Kafka cluster that
    it reads from; offsets and dead letters travel in its transactions (docs/adr). ``inventory``
    tells what the destination has, where it can be asked; None for one that keeps no state of rows.
    ``eraser`` takes single rows out of it; None for one that only its retention empties.
    ``offsets`` sets where it goes on; None for one that keeps no offsets.
    """

    name: str
    settings: type[BaseModel]
    build: Callable[[Any, SinkContext], Sink]
    is_transactional: bool = False
    inventory: Callable[[Any, SinkContext, ReadTopic], Inventory | None] | None = None
    eraser: Callable[[Any, SinkContext, ReadTopic], Eraser | None] | None = None
    offsets: Callable[[Any, SinkContext], OwnOffsets] | None = None
