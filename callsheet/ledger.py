"""Which records are in hand, and up to where each partition may be committed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from callsheet.batch import Batch, Message, Offset, Partition
from callsheet.errors import FatalError
from callsheet.handful import Handful
from callsheet.undelivered import Place, place


@dataclass(slots=True)
class Strand:
    """One partition that we own. Every offset is that of a *next* record."""

    partition: Partition
    floor: Offset | None = None
    """The first uncommitted record; None until one was read, or something committed."""
    position: Offset | None = None
    """Everything before it was read, or is a control record of a transaction. None: unknown."""
    handed: Offset = 0
    """After the last row that the sink accepted."""
    durable: Offset = 0
    """What the sink said; it knows only of rows that it was handed."""
    safe: Offset = 0
    """Everything before it may be committed."""
    is_parked: bool = False
    is_at_end: bool = False
    ts_us: int = 0
    """Source commit time of the newest durable row."""

    def committable(self, held: Offset | None) -> Offset | None:
        """Up to where everything is safe, given the first record that no sink has accepted.

        When the sink has all that it was handed, that is the position: records without a row
        (tombstones, heartbeats) are done with once they are read. None: nothing new.
        """
        if self.position is None:
            return None
        safe = self.position if self.durable >= self.handed else min(self.durable, self.position)
        # The sink cannot know of a row between its own that waits here, so `durable` may pass it.
        safe = safe if held is None else min(safe, held)
        # What was safe stays safe: behind a commit under way there may be skipped records that
        # `durable` does not reach, once a newer row has been handed.
        self.safe = max(self.safe, safe)
        return self.safe if self.floor is None or self.safe > self.floor else None


class Ledger:
    """The book of what we own. Nothing in it outlives the loss of its partition."""

    def __init__(self) -> None:
        self._strands: dict[Place, Strand] = {}
        self._handfuls: list[Handful] = []
        self._let_go: list[Handful] = []
        """Apart: there may be many, and they are looked at only when something is durable."""
        self.events = 0
        """Rows that the sink accepted and that are not durable yet."""
        self.kept_events = 0
        """Of them those whose raw records are kept."""
        self.size_bytes = 0
        """Of the raw records that are kept."""
        self.accepted_for_good = 0
        """Rows of which the sink has said that they will not be rejected, durable or not."""
        self._answered = 0
        """Of them those that are counted as written or the like: a batch leaves the hand whole."""

    @property
    def unanswered(self) -> int:
        """Rows that the sink accepted and that are counted nowhere yet."""
        return max(0, self.events - self._answered)

    # --- ownership ------------------------------------------------------------------------------

    def assigned(self, partitions: Iterable[Partition], parked: Collection[str]) -> None:
        for p in partitions:
            self._strands[p.topic, p.number] = Strand(p, is_parked=p.topic in parked)

    def forget(self, partitions: Iterable[Partition]) -> int:
        """Returns how many rows were forgotten with them before they were counted."""
        before = self.unanswered
        gone = {(p.topic, p.number) for p in partitions}
        for where in gone:
            self._strands.pop(where, None)
        for handful in self._all():
            lost = handful.lose(gone)
            self.events -= lost
            self.kept_events -= 0 if handful.rows is not None else lost
            if lost and not len(handful):
                self._release(handful)
        return before - self._left()

    def drop(self, topic: str) -> int:
        """The sink let go of what it had accepted of this topic; returns how many rows are counted
        nowhere for that.

        They were never durable, so nothing past them can be committed: ``handed`` stays.
        """
        before = self.unanswered
        for handful in self._all():
            if handful.topic == topic:
                self._release(handful)
        return before - self._left()

    def _left(self) -> int:
        """What is unanswered after some left the hand; an empty one begins anew."""
        self._answered = min(self._answered, self.events)
        return self.unanswered

    def _all(self) -> list[Handful]:
        return [*self._let_go, *self._handfuls]

    def _release(self, handful: Handful) -> None:
        """With the rows that it still has."""
        self.events -= len(handful)
        self.size_bytes -= handful.size_bytes
        if handful.rows is None:
            self.kept_events -= len(handful)
            self._handfuls.remove(handful)
        else:
            self._let_go.remove(handful)

    @property
    def owned(self) -> frozenset[Partition]:
        return frozenset(s.partition for s in self._strands.values())

    @property
    def running(self) -> frozenset[Partition]:
        """Owned and not parked."""
        return frozenset(s.partition for s in self._strands.values() if not s.is_parked)

    def owns(self, partition: Partition) -> bool:
        return (partition.topic, partition.number) in self._strands

    # --- reading --------------------------------------------------------------------------------

    def take(self, messages: Sequence[Message]) -> list[Message]:
        """Note the positions; returns those messages that are ours to process.

        A batch consume can return records of a partition that was revoked within the same call
        (confluent-kafka-python#1013), and prefetched ones of a topic that was just parked.
        """
        last = {(m.topic(), m.partition()): m.offset() for m in messages}
        strands = {w: s for w in last if (s := self._strands.get(w)) and not s.is_parked}
        if len(strands) < len(last):
            messages = [m for m in messages if place(m) in strands]
        for where, strand in strands.items():
            if strand.floor is None:
                strand.floor = next(m.offset() for m in messages if place(m) == where)
            strand.position, strand.is_at_end = last[where] + 1, False
        return list(messages)

    def reached(self, ends: Mapping[Partition, Offset]) -> None:
        """These partitions were read to their end, control records of transactions included."""
        for partition, end in ends.items():
            strand = self._strands.get((partition.topic, partition.number))
            if strand is None or strand.is_parked:
                continue
            strand.is_at_end = end >= (strand.position or 0)
            # Even if nothing was read: control records alone would look like a lag for ever.
            strand.position = max(strand.position or 0, end)

    def withdraw(self, firsts: Mapping[Partition, Offset]) -> None:
        """Records from there on were given back unprocessed: as if they had never been read."""
        for partition, first in firsts.items():
            strand = self._strands.get((partition.topic, partition.number))
            if strand is not None and strand.position is not None:
                strand.position = min(strand.position, first)

    def park(self, topic: str) -> dict[Partition, Offset | None]:
        """Read no more of it; returns its partitions with their first uncommitted offsets."""
        strands = [s for s in self._strands.values() if s.partition.topic == topic]
        for strand in strands:
            strand.is_parked = True
        return {s.partition: s.floor for s in strands}

    # --- delivery -------------------------------------------------------------------------------

    def accepted(self, batch: Batch) -> None:
        ends = batch.next_offsets()
        oldest, newest = batch.times()
        size = batch.size_bytes
        self._handfuls.append(Handful(batch.topic, batch.messages, ends, size, oldest, newest))
        self.events += len(batch)
        self.kept_events += len(batch)
        self.size_bytes += size
        for partition, end in ends.items():
            strand = self._strands[partition.topic, partition.number]
            strand.handed = max(strand.handed, end)

    def answered(self, rows: int) -> None:
        """So many rows were counted: written, superseded, stale, or dead letters."""
        self._answered += rows

    def settle(
        self, durable: Mapping[Partition, Offset], final: Mapping[Partition, Offset] | None = None
    ) -> list[Handful]:
        """Note what the sink says; returns the batches that are done with."""
        if final:
            self._relax(final)
        moved = False
        for partition, offset in durable.items():
            strand = self._strands.get((partition.topic, partition.number))
            if strand is not None and offset > strand.durable:
                strand.durable, moved = offset, True
        if not moved:
            return []
        done = [h for h in self._all() if self._is_durable(h)]
        for handful in done:
            self._answered = max(0, self._answered - len(handful))
            self._release(handful)
            for partition in handful.ends:
                strand = self._strands[partition.topic, partition.number]
                strand.ts_us = max(strand.ts_us, handful.newest_us)
        self._left()
        return done

    def _relax(self, final: Mapping[Partition, Offset]) -> None:
        """Let go of the raw records that no rejection can name any more."""
        for handful in list(self._handfuls):
            if all(final.get(p, 0) >= end for p, end in handful.ends.items()):
                self.kept_events -= len(handful)
                self.accepted_for_good += max(0, len(handful) - handful.refused)
                self.size_bytes -= handful.size_bytes
                handful.size_bytes = 0
                handful.let_go()
                self._handfuls.remove(handful)
                self._let_go.append(handful)

    def _is_durable(self, handful: Handful) -> bool:
        return all(
            self._strands[p.topic, p.number].durable >= end for p, end in handful.ends.items()
        )

    def refuse(self, partition: Partition, offset: Offset) -> Message:
        """The raw record of a rejection.

        Raises:
            FatalError: it is not in hand: the sink breaks its contract.
        """
        for handful in self._handfuls:
            message = handful.find(partition, offset)
            if message is not None:
                handful.refused += 1
                return message
        raise FatalError(
            f"the sink rejected {partition} offset {offset}, which it was not handed",
            hint="this is a defect of the sink: report it; the offsets are kept",
        )

    def committable(self, held: Mapping[Partition, Offset]) -> dict[Partition, Offset]:
        """Per partition the furthest safe offset, where it is further than what is committed."""
        found: dict[Partition, Offset] = {}
        for strand in self._strands.values():
            offset = strand.committable(held.get(strand.partition))
            if offset is not None:
                found[strand.partition] = offset
        return found

    def committed(self, offsets: Mapping[Partition, Offset]) -> None:
        for partition, offset in offsets.items():
            strand = self._strands.get((partition.topic, partition.number))
            if strand is not None:
                strand.floor = max(offset, strand.floor or 0)

    # --- for people -----------------------------------------------------------------------------

    def floors(self) -> dict[Partition, Offset | None]:
        """Per owned partition the first uncommitted offset, None while unknown."""
        return {s.partition: s.floor for s in self._strands.values()}

    def frontier_us(self, topic: str) -> int:
        """Source commit time up to which all that this worker read of the topic is durable.

        The slowest partition decides; one that is read to its end and has nothing in hand does
        not hold the others back. 0: unknown.
        """
        mine = [
            s
            for s in self._strands.values()
            if s.partition.topic == topic and s.position is not None
        ]
        busy = [s.ts_us for s in mine if not (s.is_at_end and s.durable >= s.handed)]
        return min(busy) if busy else max((s.ts_us for s in mine), default=0)
