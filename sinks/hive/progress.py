"""Where an audit goes on, told from outside: ``callsheet offsets reset``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from callsheet.batch import Offset, Partition
from sinks.hive.ranges import Lane, RangeLog
from sinks.hive.settings import HiveSettings
from sinks.hive.stores.configured import open_store
from sinks.hive.stores.port import Store


class HiveOffsets:
    """Implements :class:`callsheet.sink.OwnOffsets`. The audit's files say where it goes on, and
    have each record once: what is read again is skipped, and nothing can be left out.
    """

    no_gaps = (
        "an audit has each record, so it goes on where its files end. A record that it cannot take "
        "is a dead letter; for a topic that was made anew, or has lost what comes next, raise "
        "sink.generations (docs/hive.md)"
    )

    def __init__(self, settings: HiveSettings, store: Store | None = None) -> None:
        self._generations = settings.generations
        self._log = RangeLog(store or open_store(settings.store))

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """0 where there is no file yet: an audit begins with the log's beginning."""
        found = {}
        for partition in partitions:
            lane = Lane.of(partition, self._generations.get(partition.topic, 0))
            last = self._log.last(lane.name)
            found[partition] = last.end if last is not None else 0
        return found

    def move(self, offsets: Mapping[Partition, Offset]) -> None:
        """What is read again it has: there is nothing to set."""

    def close(self) -> None:
        """Nothing is held open."""
