"""What the worker needs of the world, as protocols; fakes for tests are in tests/support/."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # it brings polars, and the parent process of the workers must stay small
    from callsheet.batch import Decoded, Message, Offset, Partition
    from callsheet.errors import Reason
    from callsheet.kafka.topics import Topic, TopicState


class Clock(Protocol):
    def monotonic(self) -> float: ...
    def time(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time that everything done for one purpose shares."""

    clock: Clock
    at_s: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        return cls(clock, clock.monotonic() + seconds)

    def remaining_s(self) -> float:
        return max(0.0, self.at_s - self.clock.monotonic())

    def expired(self) -> bool:
        return self.clock.monotonic() >= self.at_s


class Decoder(Protocol):
    """Kafka bytes to batches."""

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """Sort and decode one poll. A poison record is data; only trouble is raised.

        Raises:
            RetryableError: the schema registry is away; nothing was consumed, call again.
            FatalError: going on would corrupt (a version overflow).
        """
        ...


class RebalanceListener(Protocol):
    """Called by the consumer from within its own poll."""

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """Returns where to start, for partitions of which the sink knows better.

        Raises:
            RetryableError: the sink cannot tell now: nothing was noted, ask again.
        """
        ...

    def on_revoked(self, partitions: Collection[Partition]) -> None: ...
    def on_lost(self, partitions: Collection[Partition]) -> None: ...


class Consumer(Protocol):
    """A member of a consumer group."""

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """Join the group; when called again, leave it first and join anew."""
        ...

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        """Returns as soon as there is anything; an empty answer only after ``timeout_s``.

        Raises:
            FatalError: records were deleted before we read them.
            PreconditionError: another member is us; so the brokers think, at least.
            ConfigError: the brokers refuse who we are or what we want to read.
        """
        ...

    def ends(self) -> Mapping[Partition, Offset]:
        """Partitions whose end the last poll reached, with the offset to read next. It lies beyond
        the control records of transactions, which no poll returns.
        """
        ...

    def assignment(self) -> frozenset[Partition]: ...
    def pause(self, partitions: Collection[Partition]) -> None: ...
    def resume(self, partitions: Collection[Partition]) -> None: ...
    def seek(self, partition: Partition, offset: Offset) -> None: ...

    def commit(self, offsets: Mapping[Partition, Offset]) -> None:
        """Ask the group to note these offsets. It never waits: a broker that hangs would take the
        loop with it. Sent before whatever comes next, so also before a partition is given up.
        """
        ...

    def committed(self) -> Mapping[Partition, Offset] | None:
        """The group's next answer to a commit, heard during a poll; None when there is no more.

        Raises:
            FencedError: the group moved on without us (illegal generation).
            RetryableError: the coordinator was away, or refused one of the partitions for now.
        """
        ...

    def close(self) -> None: ...


class DeadLetters(Protocol):
    """The safety net: stores a record that cannot be delivered, with all that a replay needs."""

    def put(self, message: Message, reason: Reason, detail: str) -> None: ...

    def flush(self, deadline: Deadline) -> None:
        """Until every letter put so far is acknowledged.

        Raises:
            DeadLetterError: one could not be stored; its record must not be committed.
        """
        ...


OutgoingRecord = tuple["bytes | None", "bytes | None", "Sequence[tuple[str, bytes | None]]"]
"""Key, value, headers."""


class Producer(Protocol):
    """Writes records into the one open transaction of a pipeline.

    What is sent nobody sees before the worker's next commit; then all of it is there at once, with
    the offsets of what it was made from. What cannot be delivered takes the whole transaction with
    it, and everything since the last commit is read again: so nobody is told per record.
    """

    def open(self, deadline: Deadline) -> None:
        """Take over from whoever had our name, ending what it left open.

        Raises:
            RetryableError: no broker answers.
            FatalError, ConfigError: the brokers refuse.
        """
        ...

    def make_room(self, size_bytes: int, deadline: Deadline) -> None:
        """Before :meth:`send`: wait until so much more may be in memory.

        Raises:
            RetryableError: the deadline came first, or no transaction can begin.
        """
        ...

    def send(self, topic: str, records: Iterable[OutgoingRecord]) -> Sequence[int]:
        """In this order. Returns the indices of those that are too large for any broker."""
        ...


class Past(Protocol):
    """What a compacted topic holds already, for who writes to it out of order: of a key's records
    the last is its state, whatever their versions. ``header`` names that with the version.
    """

    def newest(
        self, topic: str, keys: Collection[bytes], header: str, deadline: Deadline
    ) -> Mapping[bytes, int]:
        """The highest committed version of each of these keys that the topic holds.

        Raises:
            RetryableError: not known yet; a further call goes on where this one ended.
        """
        ...

    def confirm(
        self, topic: str, sent: Mapping[bytes, int], header: str, deadline: Deadline
    ) -> None:
        """After :meth:`newest` and :meth:`Producer.send`: takes the transaction back if a newer
        state of one of the keys has come in before ours.
        """
        ...


class TopicAdmin(Protocol):
    """The topics of the cluster that a pipeline reads from."""

    def describe(self, names: Iterable[str]) -> Mapping[str, TopicState]:
        """Those of the topics that exist."""
        ...

    def create(self, topics: Sequence[Topic]) -> None:
        """Create them; one that appeared meanwhile is left as it is."""
        ...

    def alter(self, name: str, config: Mapping[str, str]) -> None:
        """Set these settings; the others stay."""
        ...
