"""How far behind: the log's ends, asked for apart from the loop and from its commits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from structlog.typing import FilteringBoundLogger

from callsheet.errors import CallsheetError
from callsheet.observability.health import WorkerStatus
from callsheet.observability.metrics import Metrics
from callsheet.ports import Clock

if TYPE_CHECKING:
    from callsheet.batch import Partition
    from callsheet.kafka.groups import PartitionOffsets


class GroupOffsets(Protocol):
    def offsets(
        self, group_id: str, partitions: Collection[Partition]
    ) -> list[PartitionOffsets]: ...


class LagProbe:
    """Sets the lag gauges every few seconds, also while the worker is paused or held.

    When the brokers do not answer the old figures are taken away: no number is better than a wrong
    one, and ``callsheet_lag_unknown_partitions`` says how many are missing.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - whom to ask about what, and whom to tell
        self,
        groups: GroupOffsets,
        group_id: str,
        assigned: Callable[[], Collection[Partition]],
        metrics: Metrics,
        log: FilteringBoundLogger,
        clock: Clock,
    ) -> None:
        self._groups, self._group_id, self._assigned = groups, group_id, assigned
        self._metrics, self._log, self._clock = metrics, log, clock
        self._shown: set[Partition] = set()
        self._away: tuple[float, str] | None = None

    def look(self) -> None:
        partitions = self._assigned()
        try:
            found = self._groups.offsets(self._group_id, partitions) if partitions else []
        except CallsheetError as error:
            if self._away is None:
                self._log.warning("lag unknown", cause=error.message)
                self._away = (self._clock.monotonic(), error.message)
            found = []
        else:
            self._away = None
        known = {o.partition: o.lag for o in found if o.lag is not None}
        still = known.keys() & set(self._assigned())  # a rebalance may have come in between
        for partition in self._shown - still:
            self._metrics.forget_lag(partition)
        for partition in still:
            self._metrics.lag.labels(partition.topic, str(partition.number)).set(known[partition])
        self._metrics.lag_unknown.set(len(partitions) - len(still))
        self._shown = set(still)

    def amended(self, status: WorkerStatus) -> WorkerStatus:
        """The loop does not see that brokers are away: to it the log is just quiet."""
        if self._away is None or status.held_since_s is not None:
            return status
        since_s, cause = self._away
        return replace(status, held_since_s=since_s, held_cause=cause)

    def run(self, stopping: threading.Event, interval_s: float) -> None:
        while not stopping.wait(interval_s):
            self.look()
