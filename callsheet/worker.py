"""The loop: poll, decode, write, wait until durable, commit.

The order that never changes: a record is *written*, then *durable* or an *acknowledged dead
letter*, then *committed*. Sinks send from threads of their own, so decoding the next batch overlaps
sending this one. The steps are in :mod:`callsheet.delivery`, what is in hand in
:mod:`callsheet.ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from callsheet.batch import Message, Offset, Partition
from callsheet.delivery import Delivery, Step, Surroundings
from callsheet.errors import RetryableError
from callsheet.limits import Limits, TruncatePolicy
from callsheet.observability.relay import snapshot
from callsheet.ports import Deadline
from callsheet.status import Standing, describe, show
from callsheet.stop import Stop


class Worker:
    """One member of the consumer group; one thread, but for :meth:`stop`."""

    def __init__(
        self,
        world: Surroundings,
        topics: Sequence[str],
        limits: Limits = Limits(),  # noqa: B008 - frozen
        truncate: TruncatePolicy = TruncatePolicy.PARK,
    ) -> None:
        self._world, self._topics, self._limits = world, topics, limits
        self._consumer, self._sink, self._clock = world.consumer, world.sink, world.clock
        self._delivery = Delivery(world, truncate, limits)
        self._ledger, self._outage = self._delivery.ledger, world.outage
        self._stopping = Stop()
        self._is_paused = self._is_closing = self._has_joined = False
        self._is_trickle = False
        """The last poll was not full: there is no backlog."""
        self._full_since_s: float | None = None
        self._committed_s = self._published_s = self._clock.monotonic()

    def stop(self) -> None:
        """Finish what is in hand, commit, return from :meth:`run`. From any thread or signal."""
        self._stopping.set()

    def run(self) -> None:
        """Until :meth:`stop`, or an error that must stop us: then nothing more is committed."""
        try:
            self._open()
            while not self._stopping.is_set():
                self.turn()
            self._finish(self._after(self._limits.stop_budget_s))
        finally:
            self._is_closing = True
            try:
                self._consumer.close()
            finally:
                self._sink.close()
                self._publish(is_last=True)

    def _open(self) -> None:
        while not self._stopping.is_set():
            try:
                self._sink.open()
            except RetryableError as error:
                self._delivery.suffer(error)
                self._wait_out()
            else:
                self._delivery.recover()
                self._consumer.subscribe(self._topics, self)
                return

    def _wait_out(self) -> None:
        """Until the next try is due, telling all the while that we are alive."""
        self._publish()
        while (wait_s := self._outage.wait_s()) and not self._stopping.is_set():
            self._clock.sleep(min(wait_s, self._limits.idle_poll_s))
            self._publish()

    def turn(self) -> None:
        """One turn. Each step outlives trouble that may pass, and raises everything else."""
        self._take(self._poll())
        self._heed_group()
        if not self._outage.wait_s():
            # One deadline for all batches of a turn: they share max.poll.interval.ms.
            self._delivery.deliver(self._after(self._limits.write_budget_s))
        self._delivery.settle()
        if self._clock.monotonic() >= self._committed_s + self._limits.commit_interval_s:
            self._committed_s = self._clock.monotonic()
            self._delivery.commit()
        self._publish()

    def _finish(self, deadline: Deadline) -> None:
        if self._delivery.held:
            self._delivery.deliver(deadline)
        self._delivery.flush(deadline)
        self._delivery.settle()
        self._delivery.commit(is_last=True)
        self._pause(wanted=True)
        while self._delivery.is_committing and not deadline.expired():
            self._consumer.poll(1, self._limits.busy_poll_s)  # paused: only answers come
            self._delivery.heed()
        self._publish()

    # --- reading --------------------------------------------------------------------------------

    def _poll(self) -> Sequence[Message]:
        limits = self._limits
        if not self._is_blocked():
            self._pause(wanted=False)
            if self._is_trickle and self._ledger.kept_events and limits.linger_s:
                self._clock.sleep(limits.linger_s)
                self._delivery.settle()
            timeout_s = limits.busy_poll_s if self._ledger.kept_events else limits.idle_poll_s
            messages = self._consumer.poll(limits.poll_events, timeout_s)
            self._is_trickle = len(messages) < limits.poll_events
            return messages
        if not (self._is_paused or self._outage.is_on or self._is_full_for_long()):
            # Pausing throws the prefetched records away (librdkafka#2703): a blip is sat out.
            self._clock.sleep(limits.nap_s)
            return ()
        self._pause(wanted=True)
        timeout_s = self._outage.wait_s() if self._outage.is_on else limits.busy_poll_s
        return self._consumer.poll(limits.poll_events, min(timeout_s, limits.idle_poll_s))

    def _is_blocked(self) -> bool:
        """Is something held, or would another poll put more in hand than is allowed?"""
        events = self._ledger.kept_events + self._limits.poll_events
        size_bytes = self._ledger.size_bytes
        if events <= self._limits.in_hand_events and size_bytes < self._limits.in_hand_bytes:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = self._clock.monotonic()
        return self._full_since_s is not None or self._outage.is_on

    def _is_full_for_long(self) -> bool:
        since_s = self._full_since_s
        patience_s = self._limits.pause_after_s
        return since_s is not None and self._clock.monotonic() >= since_s + patience_s

    def _pause(self, *, wanted: bool) -> None:
        if self._is_paused != wanted:
            self._is_paused = wanted
            change = self._consumer.pause if wanted else self._consumer.resume
            change(self._ledger.running)

    def _take(self, messages: Sequence[Message]) -> None:
        mine = self._ledger.take(messages) if messages else []
        self._ledger.reached(self._consumer.ends())
        if mine:
            self._world.metrics.consumed.inc(len(mine))
            self._world.fuse.consumed(len(mine))
            self._delivery.held.waiting += mine
            self._world.at(Step.FETCHED)

    # --- the group: called by the consumer, from within its poll and close ----------------------

    def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        starts = self._sink.assigned(partitions)  # raises before anything of them is noted
        self._note_rebalance("assigned", partitions)
        self._has_joined = True
        self._ledger.assigned(partitions, self._delivery.parked)
        # A new partition arrives unpaused, and can be paused only from in here.
        still = [p for p in partitions if self._is_paused or p.topic in self._delivery.parked]
        if still:
            self._consumer.pause(still)
        return starts

    def on_revoked(self, partitions: Collection[Partition]) -> None:
        """Finish what is theirs within the budget, commit it, forget them."""
        mine = self._ledger.owned.intersection(partitions)
        self._note_rebalance("revoked", mine)
        is_flushed = False
        if mine and not self._is_closing:
            self._delivery.give_back(mine)
            is_flushed = self._delivery.flush(self._after(self._limits.revoke_budget_s))
            self._delivery.settle()
            self._delivery.commit(is_last=True)
        self._forget(mine, lost=not is_flushed)

    def on_lost(self, partitions: Collection[Partition]) -> None:
        """Others may own them already: forget them, write and commit nothing."""
        self._note_rebalance("lost", partitions)
        self._delivery.is_committing = False  # whatever was asked, no answer is owed any more
        self._forget(partitions, lost=True)

    def _forget(self, partitions: Collection[Partition], *, lost: bool) -> None:
        mine = self._ledger.owned.intersection(partitions)
        if mine:
            self._delivery.forget(mine, lost=lost)

    def _note_rebalance(self, kind: str, partitions: Collection[Partition]) -> None:
        self._world.metrics.rebalances.labels(kind).inc()
        self._world.log.info("rebalance", kind=kind, partitions=sorted(map(str, partitions)))

    def _heed_group(self) -> None:
        if not self._delivery.heed():
            self.on_lost(self._ledger.owned)
            self._consumer.subscribe(self._topics, self)

    # --- for those who watch --------------------------------------------------------------------

    def _after(self, seconds: float) -> Deadline:
        return Deadline.after(self._clock, seconds)

    def _publish(self, *, is_last: bool = False) -> None:
        pulse, now_s = self._world.pulse, self._clock.monotonic()
        pulse.beat()
        if is_last or now_s >= self._published_s + self._limits.status_interval_s:
            self._published_s = now_s
            standing = Standing(self._has_joined, self._is_paused, self._full_since_s)
            state = describe(self._delivery, standing)
            show(state, self._delivery, self._world.metrics)
            pulse.publish(state, snapshot(self._world.metrics.law))
