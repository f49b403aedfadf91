"""The Hive sink: :class:`callsheet.sink.Sink` put together from its parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Final

import structlog

from callsheet.backoff import Backoff, Outage
from callsheet.batch import BEGINNING, Batch, Offset, Partition
from callsheet.ports import Deadline
from callsheet.sink import Counts, Progress, Rejection, SinkContext
from sinks.hive.intake import Intake
from sinks.hive.publication import Ownership, PublishStep
from sinks.hive.publisher import Publisher
from sinks.hive.ranges import Lane
from sinks.hive.settings import HiveSettings
from sinks.hive.stores.configured import open_store
from sinks.hive.stores.port import Store
from sinks.hive.takeover import take_over

CLOSE_WAIT_S: Final = 10.0
RETRY_CAP_S: Final = 15.0


class HiveSink:
    """See docs/hive.md for what it guarantees and how.

    ``store`` and ``at`` (called after each step of a publication) are for tests.
    """

    def __init__(
        self,
        settings: HiveSettings,
        context: SinkContext,
        store: Store | None = None,
        at: Callable[[PublishStep], None] = lambda _: None,
    ) -> None:
        self._settings, self._clock = settings, context.clock
        self._log = structlog.get_logger("hive").bind(pipeline=context.pipeline)
        self._store = store or open_store(settings.store)
        outage = Outage(self._clock, Backoff(cap_s=RETRY_CAP_S), Random())  # noqa: S311 - jitter
        self._publisher = Publisher(
            self._store,
            self._clock,
            outage,
            self._log,
            most_waiting=settings.most_waiting_ranges,
            at=at,
        )
        self._intake = Intake(settings, self._publisher, self._clock, self._now)
        self._owned: dict[Partition, Ownership] = {}
        self._rejections: list[Rejection] = []
        self._stale = 0

    def open(self) -> None:
        self._store.check()
        self._publisher.start()

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """Become the only writer of each, and go on where its files end.

        What the group has committed may be ahead of the files (it was reset, or it once wrote
        somewhere else) or behind them: the files are what counts. Without any it is the beginning.
        """
        taken: dict[Partition, Offset] = {}
        try:
            for partition in partitions:
                taken[partition] = self._take(partition)
        except BaseException:
            # The group may take them back before it asks again, and nobody would tell us.
            self.revoked(taken, lost=True)
            raise
        return taken

    def _take(self, partition: Partition) -> Offset:
        owner = self._owned.get(partition)
        if owner is None:
            lane = Lane.of(partition, self._settings.generations.get(partition.topic, 0))
            claim = take_over(self._store, lane, self._now)
            owner = Ownership(partition, lane, claim, claim.end or None)
            self._owned[partition] = owner
            self._intake.begin(owner)
            self._log.info("lane taken over", lane=lane.name, start=claim.end)
        return BEGINNING if owner.durable is None else owner.durable

    def write(self, batch: Batch, deadline: Deadline) -> None:
        self._publisher.make_room(deadline)
        accepted = self._intake.accept(batch)
        self._stale += accepted.stale
        self._rejections += accepted.refused

    def progress(self) -> Progress:
        self._intake.rotate()
        published = self._publisher.take()
        durable = {
            partition: offset
            for partition, owner in self._owned.items()
            if self._intake.was_written(partition)
            and (offset := self._publisher.durable(owner)) is not None
        }
        counts = Counts(written=published.rows, stale=self._stale)
        taken = Progress(
            durable,
            tuple(self._rejections),
            counts,
            published.trouble,
            final=self._intake.accepted(),
        )
        self._rejections, self._stale = [], 0
        return taken

    def flush(self, deadline: Deadline) -> None:
        self._intake.seal_all()
        self._publisher.drain(deadline)

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        """The same for both: what was flushed is published, and nothing else may be."""
        del lost
        gone = [owner for p in partitions if (owner := self._owned.pop(p, None)) is not None]
        self._intake.forget(gone)
        self._publisher.forget(gone)
        self._rejections = [r for r in self._rejections if r.partition in self._owned]

    def close(self) -> None:
        self._publisher.stop(CLOSE_WAIT_S)
        self._intake.forget(self._owned.values())
        self._store.close()

    def _now(self) -> str:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
