"""A Kafka group, a decoder, a sink and dead letters in memory, which *assert* what must never be.

One :class:`World` holds the truth: the log, what each destination really has, what the group has
committed. The fakes check every call of the worker against it, so a random schedule finds a broken
rule at the call that breaks it, not by its consequences.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import polars as pl

from callsheet.batch import (
    Batch,
    Decoded,
    Message,
    Offset,
    Park,
    Partition,
    Poison,
    Skip,
    Truncation,
)
from callsheet.errors import (
    DeadLetterError,
    FencedError,
    ParkTableError,
    Reason,
    RetryableError,
    ThrottledError,
)
from callsheet.ports import Deadline, RebalanceListener
from callsheet.schema import TableSchema
from callsheet.sink import Counts, Progress, Rejection
from tests.support.clock import FakeClock

Place = tuple[Partition, Offset]


@dataclass(slots=True)
class FakeMessage:
    """``text`` says what the record is: ``row <id> <schema>``, ``tombstone``, ``poison``,
    ``truncate``, ``undecodable`` (its table parks), ``refused`` (a row that the sink rejects),
    ``unfit`` (a row at which the sink parks the table).
    """

    at: Partition
    number: Offset
    text: str
    version: int = 0

    def topic(self) -> str:
        return self.at.topic

    def partition(self) -> int:
        return self.at.number

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes | None:
        return b"k"

    def value(self) -> bytes | None:
        return self.text.encode()

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_800_000_000_000

    @property
    def kind(self) -> str:
        return self.text.split()[0]

    @property
    def id(self) -> str:
        """Keys belong to one partition each."""
        return f"{self.at}/{self.text.split()[1]}"

    @property
    def is_row(self) -> bool:
        return self.kind in ("row", "refused", "unfit")


class World:
    """The truth."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = FakeClock()
        self.log: dict[Partition, list[FakeMessage | None]] = {}
        """None is a control record of a transaction: it takes an offset, nobody reads it."""
        self.committed: dict[Partition, Offset] = {}
        self.durable: set[Place] = set()
        self.letters: set[Place] = set()
        """Acknowledged ones."""
        self.store: dict[str, int] = {}
        """Per ID the highest version that was applied."""
        self.truncate_is_skipped = False

    def at(self, place: Place) -> FakeMessage | None:
        partition, offset = place
        return self.log[partition][offset]

    def apply(self, message: FakeMessage) -> None:
        self.store[message.id] = max(message.version, self.store.get(message.id, 0))
        self.durable.add((message.at, message.number))

    def is_done(self, place: Place) -> bool:
        """May a commit pass this record?"""
        message = self.at(place)
        if message is None or message.kind == "tombstone":
            return True
        if message.kind == "truncate":
            return self.truncate_is_skipped
        return place in self.durable or place in self.letters

    def check_commit(self, partition: Partition, offset: Offset) -> None:
        start = self.committed.get(partition, 0)
        assert offset <= len(self.log[partition]), "committed beyond the end of the log"
        for number in range(start, offset):
            assert self.is_done((partition, number)), (
                f"commit {offset} of {partition} passes offset {number}, which is nowhere: "
                f"{self.at((partition, number))}"
            )


class FakeConsumer:
    """One member of the group. The test plays the coordinator: see ``rebalance``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.positions: dict[Partition, Offset] = {}
        self.paused: set[Partition] = set()
        self.events: deque[tuple[str, frozenset[Partition]]] = deque()
        self.answers: deque[dict[Partition, Offset] | Exception] = deque()
        self.coming: deque[dict[Partition, Offset] | Exception] = deque()
        self.is_fenced = False
        self.is_away = False
        """The coordinator is: commits fail, records still come."""
        self.is_mute = False
        """The coordinator is: commits are neither done nor answered."""
        self.subscriptions = 0
        self.wanted: frozenset[Partition] = frozenset()
        """What the coordinator gives to this member when it joins."""
        self.delivered = 0
        self._listener: RebalanceListener | None = None
        self._ends: dict[Partition, Offset] = {}
        self.known: dict[Partition, Offset] = {}
        """What this member can know to be committed."""
        self.generations: dict[Partition, int] = defaultdict(int)
        self._in_callback = self._is_losing = False

    def rebalance(self, kind: str, partitions: Collection[Partition]) -> None:
        """``assign``, ``revoke`` or ``lose``: heard at the next poll."""
        self.events.append((kind, frozenset(partitions)))

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        assert not self._in_callback, "subscribed from within a rebalance"
        self._listener = listener
        if self.subscriptions:
            self.events.clear()
            self._call("lose", frozenset(self.positions))
        self.subscriptions += 1
        self.is_fenced = False
        self.events.append(("assign", self.wanted))

    def poll(self, max_events: int, timeout_s: float) -> Sequence[Message]:
        assert not self._in_callback, "polled from within a rebalance"
        self._ends = {}
        # librdkafka hands out records of partitions that it revokes within the same call.
        stray = (
            self._some(max_events // 2) if self.events and self.world.random.random() < 0.5 else []
        )
        if self.events:  # one: the group's next step takes a round trip at least
            self._call(*self.events.popleft())
        self.answers.extend(self.coming)
        self.coming.clear()
        found = stray + self._some(max_events - len(stray))
        self.delivered += len(found)
        self.world.clock.advance(0.001 if found else min(timeout_s, 0.05))
        return found

    def _some(self, most: int) -> list[FakeMessage]:
        found: list[FakeMessage] = []
        for partition in sorted(self.positions):
            if partition in self.paused:
                continue
            log, start = self.world.log[partition], self.positions[partition]
            stop = min(len(log), start + self.world.random.randint(0, max(0, most - len(found))))
            found += [message for message in log[start:stop] if message is not None]
            self.positions[partition] = stop
            if stop == len(log):
                self._ends[partition] = stop
            elif log[start:stop] and partition in self._ends:
                del self._ends[partition]
        return found[:most] if len(found) <= most else self._put_back(found, most)

    def _put_back(self, found: list[FakeMessage], most: int) -> list[FakeMessage]:
        for message in reversed(found[most:]):
            self.positions[message.at] = message.number
            self._ends.pop(message.at, None)
        return found[:most]

    def _call(self, kind: str, partitions: frozenset[Partition]) -> None:
        assert self._listener is not None
        self._in_callback = True
        try:
            if kind == "assign":
                self._assign(partitions - self.positions.keys(), self._listener)
            else:
                self._take_away(kind, partitions & self.positions.keys(), self._listener)
        finally:
            self._in_callback = False

    def _assign(self, fresh: frozenset[Partition], listener: RebalanceListener) -> None:
        for partition in fresh:
            self.positions[partition] = self.world.committed.get(partition, 0)
            self.known[partition] = self.positions[partition]
            self.generations[partition] += 1
        for partition, offset in listener.on_assigned(fresh).items():
            self.positions[partition] = offset

    def _take_away(
        self, kind: str, gone: frozenset[Partition], listener: RebalanceListener
    ) -> None:
        if kind == "lose":
            self._is_losing = True
            listener.on_lost(gone)
            self._is_losing = False
            # The end of a membership ends with its last partition.
            self.is_fenced = self.is_fenced and gone < self.positions.keys()
            self.coming.clear()
            self.answers.clear()
        else:
            listener.on_revoked(gone)
        for partition in gone:
            del self.positions[partition]
        self.paused -= gone

    def ends(self) -> Mapping[Partition, Offset]:
        return self._ends

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self.positions)

    def pause(self, partitions: Collection[Partition]) -> None:
        assert set(partitions) <= self.positions.keys(), "paused what is not assigned"
        self.paused |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        assert set(partitions) <= self.positions.keys(), "resumed what is not assigned"
        self.paused -= set(partitions)

    def seek(self, partition: Partition, offset: Offset) -> None:
        assert partition in self.paused, "sought where records still come from"
        assert offset >= self.known[partition], "sought behind a commit"
        self.positions[partition] = offset

    def commit(self, offsets: Mapping[Partition, Offset]) -> None:
        assert offsets, "an empty commit"
        for partition, offset in offsets.items():
            assert partition in self.positions, f"committed {partition} without owning it"
            assert not self._is_losing, "committed what was lost"
            if self.is_fenced:
                continue
            assert offset >= self.world.committed.get(partition, 0), "a commit that goes back"
            self.world.check_commit(partition, offset)
        if self.is_mute:
            return
        if self.is_fenced:
            self.coming.append(FencedError("illegal generation"))
        elif self.is_away:
            self.coming.append(RetryableError("no coordinator"))
        else:
            self.world.committed.update(offsets)
            self.coming.append(dict(offsets))

    def committed(self) -> Mapping[Partition, Offset] | None:
        if not self.answers:
            return None
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        self.known.update(answer)
        return answer

    def close(self) -> None:
        if self._listener is not None:
            self._call("revoke", frozenset(self.positions))


class FakeDecoder:
    """One batch per topic and schema, so that batches of one topic interleave."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_away = False

    def decode(self, messages: Sequence[Message]) -> Decoded:
        if self.is_away:
            raise RetryableError("no registry")
        rows: dict[tuple[str, str], list[FakeMessage]] = defaultdict(list)
        poison: list[Poison] = []
        truncations: list[Truncation] = []
        skipped: dict[Skip, int] = defaultdict(int)
        parked = {m.topic() for m in messages if _fake(m).kind == "undecodable"}
        for message in map(_fake, messages):
            if message.topic() in parked:
                continue
            if message.is_row:
                rows[message.topic(), message.text.split()[2]].append(message)
            elif message.kind == "poison":
                poison.append(Poison(message, Reason.MALFORMED, "poison"))
            elif message.kind == "truncate":
                truncations.append(Truncation(message, message.topic(), message.version))
            else:
                skipped[Skip.TOMBSTONE] += 1
        batches = [_batch(topic, schema, members) for (topic, schema), members in rows.items()]
        parks = [Park(topic, "undecodable", "test") for topic in sorted(parked)]
        return Decoded(batches, skipped, poison, truncations, parks)


def _fake(message: Message) -> FakeMessage:
    assert isinstance(message, FakeMessage)
    return message


def _batch(topic: str, schema: str, members: list[FakeMessage]) -> Batch:
    table = TableSchema("studio", "finance", topic, (), ("id",), f"{topic}-{schema}")
    frame = pl.DataFrame(
        {
            "partition": [m.at.number for m in members],
            "offset": [m.number for m in members],
            "version": [m.version for m in members],
            "ts_us": [m.version for m in members],
        }
    )
    return Batch(topic, table, frame, members, 10 * len(members))


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
        assert _fake(message).kind in ("poison", "refused"), "a good record as dead letter"
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
        messages = [_fake(m) for m in batch.messages]
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
