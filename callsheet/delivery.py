"""The steps of the worker's loop: decode, write, settle, commit. :mod:`callsheet.worker` orders
them; here is what each does with every kind of trouble.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from structlog.typing import FilteringBoundLogger

from callsheet.backoff import Outage
from callsheet.batch import Batch, Decoded, Message, Offset, Park, Partition, Truncation
from callsheet.errors import FencedError, ParkTableError, Reason, RetryableError
from callsheet.fuse import Fuse
from callsheet.ledger import Ledger
from callsheet.limits import Limits, TruncatePolicy
from callsheet.observability.health import Pulse
from callsheet.observability.metrics import Metrics
from callsheet.ports import Clock, Consumer, DeadLetters, Deadline, Decoder
from callsheet.sink import Sink
from callsheet.undelivered import Undelivered, cut_at_truncation


class Step(StrEnum):
    """Points at which a fault test kills the process."""

    FETCHED = "fetched"
    WRITTEN = "written"
    ACKNOWLEDGED = "acknowledged"
    COMMITTING = "committing"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that a worker needs of the world."""

    consumer: Consumer
    decoder: Decoder
    sink: Sink
    letters: DeadLetters
    fuse: Fuse
    outage: Outage
    clock: Clock
    metrics: Metrics
    pulse: Pulse
    log: FilteringBoundLogger
    at: Callable[[Step], None] = lambda _: None


class Delivery:
    """Everything between a polled record and its commit."""

    def __init__(self, world: Surroundings, truncate: TruncatePolicy, limits: Limits) -> None:
        self._world, self._truncate, self._limits = world, truncate, limits
        self._metrics, self._log = world.metrics, world.log
        self.ledger, self.held, self.outage = Ledger(), Undelivered(), world.outage
        self.parked: dict[str, Park] = {}
        self.is_committing = False
        self._asked_s = 0.0
        self.trouble = ""
        """What keeps the sink from delivering what it accepted, in its own words."""
        self.troubled_since_s: float | None = None

    # --- 1. write -------------------------------------------------------------------------------

    def deliver(self, deadline: Deadline) -> None:
        """Decode what waits and hand it to the sink; on trouble hold it, in order."""
        try:
            if self.held.waiting and not self.held.ready:
                with self._metrics.decode_seconds.time():
                    decoded = self._world.decoder.decode(self.held.waiting)
                self._sort(decoded)
            while self.held.ready:
                self._write(self.held.ready[0], deadline)
            while self.held.poison:
                poison = self.held.poison.popleft()
                self._bury(poison.message, poison.reason, poison.detail)
        except RetryableError as error:
            self.suffer(error)
        else:
            self.recover()

    def _sort(self, decoded: Decoded) -> None:
        for park in decoded.parked:
            self._park_rest(park)
        self.held.waiting = []
        truncations: dict[str, list[Truncation]] = defaultdict(list)
        for truncation in decoded.truncations:
            truncations[truncation.message.topic()].append(truncation)
        for topic, several in truncations.items():
            decoded = self._truncated(decoded, topic, several)
        for kind, number in decoded.skipped.items():
            self._metrics.skipped.labels(kind.value).inc(number)
        self.held.ready.extend(decoded.batches)
        self.held.poison.extend(decoded.poison)

    def _truncated(self, decoded: Decoded, topic: str, several: list[Truncation]) -> Decoded:
        table = several[0].table
        is_swept = self._truncate is TruncatePolicy.SWEEP and table in self._limits.sweepable
        if is_swept or self._truncate is TruncatePolicy.SKIP:
            self._metrics.skipped.labels("truncate").inc(len(several))
            said = "truncate left to callsheet sweep" if is_swept else "truncate skipped"
            self._log.warning(said, topic=topic, table=table)
            return decoded
        cut = cut_at_truncation(decoded, topic, several)
        self._metrics.given_back.inc(cut.dropped)
        self.ledger.withdraw(cut.firsts)
        self._park(Park(topic, "truncated", f"the source truncated {table}"))
        return cut.decoded

    def _write(self, batch: Batch, deadline: Deadline) -> None:
        try:
            with self._metrics.write_seconds.time():
                self._world.sink.write(batch, deadline)
        except ParkTableError as error:
            self._park_rest(Park(batch.topic, error.reason, error.detail))
            return
        self.held.ready.popleft()
        self.ledger.accepted(batch)
        self._metrics.accepted(batch)
        self._world.at(Step.WRITTEN)

    def _bury(self, message: Message, reason: Reason, detail: str) -> None:
        self._world.fuse.letter()
        self._world.letters.put(message, reason, detail)
        self._metrics.dead_lettered.labels(reason.value).inc()

    def suffer(self, error: RetryableError) -> None:
        if not self.outage.is_on:
            self._log.warning("outage begins", cause=error.message, hint=error.hint)
        self.outage.failed(error)
        self._metrics.retries.inc()

    def recover(self) -> None:
        if self.outage.is_on:
            self._log.info("outage over", seconds=round(self.outage.over(), 3))

    # --- 2. durable -----------------------------------------------------------------------------

    def settle(self) -> None:
        """Take the sink's progress: its rejections become dead letters before anything that they
        stand in the way of can be committed.
        """
        progress = self._world.sink.progress()
        for rejection in progress.rejections:
            if self.ledger.owns(rejection.partition):
                message = self.ledger.refuse(rejection.partition, rejection.offset)
                self._bury(message, rejection.reason, rejection.detail)
                self.ledger.answered(1)
        counts = progress.counts
        delivered = counts.written + counts.superseded + counts.stale
        self.ledger.answered(delivered)
        before = self.ledger.accepted_for_good
        done = self.ledger.settle(progress.durable, progress.final)
        for park in progress.parked:
            self._metrics.given_back.inc(self.ledger.drop(park.topic))
            self._park_rest(park)
        # A sink that collects for long delivers nothing for minutes: letters among rows that it has
        # taken for good are no run.
        self._world.fuse.delivered(delivered + self.ledger.accepted_for_good - before)
        self._metrics.settled(counts)
        self._note_trouble(progress.trouble)
        if done:
            now_s = self._world.clock.time()
            for handful in done:
                self._metrics.delivery_seconds.observe(max(0.0, now_s - handful.oldest_us / 1e6))
            self._world.at(Step.ACKNOWLEDGED)

    def _note_trouble(self, trouble: RetryableError | None) -> None:
        if trouble is None:
            self.trouble, self.troubled_since_s = "", None
        elif self.troubled_since_s is None:
            self._log.warning("sink in trouble", cause=trouble.message, hint=trouble.hint)
            self.trouble, self.troubled_since_s = trouble.message, self._world.clock.monotonic()

    def flush(self, deadline: Deadline) -> bool:
        """Wait until all that the sink accepted is durable; False when the deadline came first."""
        try:
            self._world.sink.flush(deadline)
        except RetryableError as error:
            self._log.warning("flush unfinished", cause=error.message)
            return False
        return True

    # --- 3. commit ------------------------------------------------------------------------------

    def commit(self, *, is_last: bool = False) -> None:
        """Ask the group to note what every destination has, the dead letters included.

        One commit is under way at a time; the ``last`` one before partitions go does not wait.
        """
        if self.is_committing and not is_last and not self._is_overdue():
            return
        offsets = self.ledger.committable(self.held.firsts())
        if offsets:
            budget_s = self._limits.letters_budget_s
            self._world.letters.flush(Deadline.after(self._world.clock, budget_s))
            self._world.at(Step.COMMITTING)
            self.is_committing, self._asked_s = True, self._world.clock.monotonic()
            self._world.consumer.commit(offsets)

    def _is_overdue(self) -> bool:
        """Is the answer owed for so long that it will not come? Else commits would end for ever.

        Should it come after all it does no harm: what is noted only ever grows.
        """
        waited_s = self._world.clock.monotonic() - self._asked_s
        if waited_s < self._limits.commit_budget_s:
            return False
        self.is_committing = False
        self._metrics.commits.labels("unanswered").inc()
        self._log.warning("commit unanswered, asked again", seconds=round(waited_s))
        return True

    def heed(self) -> bool:
        """Note the group's answers; False when it has moved on without us."""
        while True:
            try:
                noted = self._world.consumer.committed()
            except FencedError as error:
                self.is_committing = False
                self._metrics.commits.labels("fenced").inc()
                self._log.warning("fenced", cause=error.message)
                return False
            except RetryableError as error:
                self.is_committing = False
                self._metrics.commits.labels("failed").inc()
                self._log.warning("commit failed", cause=error.message)
                continue
            if noted is None:
                return True
            self.is_committing = False
            self.ledger.committed(noted)
            self._metrics.commits.labels("ok").inc()
            self._world.at(Step.COMMITTED)

    # --- giving up ------------------------------------------------------------------------------

    def give_back(self, partitions: Collection[Partition]) -> None:
        """Let go of records that no sink has accepted: whoever owns them next reads them again."""
        dropped, firsts = self.held.take_out(partitions)
        self.ledger.withdraw(firsts)
        self._metrics.given_back.inc(dropped)

    def forget(self, partitions: Collection[Partition], *, lost: bool) -> None:
        self.give_back(partitions)
        self._metrics.given_back.inc(self.ledger.forget(partitions))
        self._world.sink.revoked(partitions, lost=lost)

    def _park_rest(self, park: Park) -> None:
        self.give_back([p for p in self.ledger.owned if p.topic == park.topic])
        self._park(park)

    def _park(self, park: Park) -> None:
        """Pause the topic and go back to its first uncommitted record; tried again at restart."""
        self._log.error("parked", topic=park.topic, reason=park.reason, detail=park.detail)
        self.parked[park.topic] = park
        self._metrics.parked.labels(park.topic).set(1)
        floors = self.ledger.park(park.topic)
        self._world.consumer.pause(floors.keys())
        for partition, floor in floors.items():
            if floor is not None:
                self._go_back(partition, floor)

    def _go_back(self, partition: Partition, floor: Offset) -> None:
        """A client that cannot seek now stops nothing: the partition is paused anyway. Raised from
        here, the error would take those batches with it that are decoded and not in hand yet.
        """
        try:
            self._world.consumer.seek(partition, floor)
        except RetryableError as error:
            self._log.warning("not sought", partition=str(partition), cause=error.message)
