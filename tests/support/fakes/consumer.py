"""A Kafka group in memory: rebalances, pauses, commits that fail."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence

from callsheet.batch import (
    Message,
    Offset,
    Partition,
)
from callsheet.errors import (
    FencedError,
    RetryableError,
)
from callsheet.ports import RebalanceListener
from tests.support.fakes.world import FakeMessage, World


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
            self.positions[partition] = min(offset, self.positions[partition])

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
