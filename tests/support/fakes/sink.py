"""A sink and dead letters in memory, which assert what must never be."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from callsheet.batch import (
    Batch,
    Message,
    Offset,
    Partition,
)
from callsheet.errors import (
    DeadLetterError,
    ParkTableError,
    Reason,
    RetryableError,
    ThrottledError,
)
from callsheet.ports import Deadline
from callsheet.sink import Counts, Progress, Rejection
from tests.support.fakes.consumer import FakeConsumer
from tests.support.fakes.decoder import fake_message
from tests.support.fakes.world import FakeMessage, Place, World


class FakeLetters:
    """``put`` is remembered, ``flush`` acknowledges."""

    def __init__(self, world: World, consumer: FakeConsumer) -> None:
        self.world, self._consumer = world, consumer
        self.pending: list[Place] = []
        self.is_broken = False
        self.reasons: list[Reason] = []
        self._put: set[tuple[Place, int]] = set()

    def put(self, message: Message, reason: Reason, detail: str) -> None:
        place = (Partition(message.topic(), message.partition()), message.offset())
        assert place[0] in self._consumer.positions, "a dead letter of what we do not own"
        assert place[1] >= self._consumer.known[place[0]], "a dead letter of what is done"
        once = (place, self._consumer.generations[place[0]])
        assert once not in self._put, "the same dead letter twice"
        self._put.add(once)
        assert fake_message(message).kind in ("poison", "refused"), "a good record as dead letter"
        self.pending.append(place)
        self.reasons.append(reason)

    def flush(self, deadline: Deadline) -> None:
        if self.is_broken and self.pending:
            raise DeadLetterError("the letters' topic is away")
        self.world.letters.update(self.pending)
        self.pending.clear()


@dataclass(slots=True)
class _Accepted:
    messages: deque[FakeMessage] = field(default_factory=deque)
    last: Offset = -1
    """The highest offset that was accepted, whether delivered or not."""
    durable: Offset = 0


class FakeSink:
    """Accepts at once and delivers when ``work`` is called, or while it is flushed."""

    def __init__(self, world: World, consumer: FakeConsumer) -> None:
        self.world, self._consumer = world, consumer
        self.parts: dict[Partition, _Accepted] = {}
        self.is_away = False
        """Writes are refused."""
        self.is_stuck = False
        """What was accepted is not delivered."""
        self.is_open = False
        self._rejections: list[Rejection] = []
        self._counts = Counts()
        self._seen: set[Place] = set()

    def open(self) -> None:
        if self.is_away:
            raise RetryableError("no destination")
        self.is_open = True

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        for partition in partitions:
            assert partition not in self.parts, "assigned what was never revoked"
            self.parts[partition] = _Accepted()
        return {}

    def write(self, batch: Batch, deadline: Deadline) -> None:
        assert self.is_open
        messages = [fake_message(m) for m in batch.messages]
        assert len(messages) == len(batch.frame) > 0
        for message in messages:
            self._check(message)
        if self.is_away:
            raise self._refusal()
        if any(m.kind == "unfit" for m in messages):
            raise ParkTableError(batch.topic, "unfit", "test")
        for message in messages:
            part = self.parts[message.at]
            part.messages.append(message)
            part.last = max(part.last, message.number)
            assert (message.at, message.number) not in self._seen, "accepted twice"
            self._seen.add((message.at, message.number))

    def _refusal(self) -> RetryableError:
        if self.world.random.random() < 0.2:
            return ThrottledError("slow down", retry_after_s=1.0)
        return RetryableError("no destination")

    def _check(self, message: FakeMessage) -> None:
        owned = self._consumer.positions
        assert message.at in owned, f"wrote {message.at}, which is not ours"
        assert message.at in self.parts, "wrote before assigned, or after revoked"
        assert message.number >= self._consumer.known[message.at], "wrote what is committed"
        earlier = [m for m in self.parts[message.at].messages if m.id == message.id]
        assert all(m.version < message.version for m in earlier), "one ID against its order"

    def work(self, most: int) -> None:
        """Deliver up to so many records of each partition."""
        if self.is_stuck:
            return
        for partition, part in self.parts.items():
            for _ in range(min(most, len(part.messages))):
                self._deliver(partition, part.messages.popleft())
            rest = [m.number for m in part.messages]
            # What it was handed: it cannot know of rows that the worker still holds.
            part.durable = max(part.durable, min(rest) if rest else part.last + 1)

    def _deliver(self, partition: Partition, message: FakeMessage) -> None:
        if message.kind == "refused":
            self._rejections.append(
                Rejection(partition, message.number, Reason.REJECTED, "no thanks")
            )
            return
        is_new = message.version > self.world.store.get(message.id, 0)
        self._counts += Counts(written=is_new, stale=not is_new)
        self.world.apply(message)

    def progress(self) -> Progress:
        rejections, self._rejections = self._rejections, []
        counts, self._counts = self._counts, Counts()
        durable = {p: part.durable for p, part in self.parts.items() if part.durable}
        trouble = RetryableError("stuck") if self.is_stuck else None
        return Progress(durable, rejections, counts, trouble)

    def flush(self, deadline: Deadline) -> None:
        if self.is_stuck and any(part.messages for part in self.parts.values()):
            self.world.clock.advance(deadline.remaining_s())
            raise RetryableError("stuck")
        self.work(1 << 30)

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        assert partitions, "nothing was revoked"
        for partition in partitions:
            part = self.parts.pop(partition)
            assert lost or not part.messages, "revoked without a flush"
            self._rejections = [r for r in self._rejections if r.partition != partition]
            self._seen = {place for place in self._seen if place[0] != partition}

    def close(self) -> None:
        self.is_open = False
