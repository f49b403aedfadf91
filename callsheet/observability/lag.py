"""How far behind: the log's ends, asked for apart from the loop and from its commits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from structlog.typing import FilteringBoundLogger

from callsheet.errors import CallsheetError
from callsheet.observability.metrics import Metrics

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

    def __init__(
        self,
        groups: GroupOffsets,
        group_id: str,
        assigned: Callable[[], Collection[Partition]],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._groups, self._group_id, self._assigned = groups, group_id, assigned
        self._metrics, self._log = metrics, log
        self._shown: set[Partition] = set()

    def look(self) -> None:
        partitions = self._assigned()
        try:
            found = self._groups.offsets(self._group_id, partitions) if partitions else []
        except CallsheetError as error:
            self._log.warning("lag unknown", cause=error.message)
            found = []
        known = {o.partition: o.lag for o in found if o.lag is not None}
        still = known.keys() & set(self._assigned())  # a rebalance may have come in between
        for partition in self._shown - still:
            self._metrics.forget_lag(partition)
        for partition in still:
            self._metrics.lag.labels(partition.topic, str(partition.number)).set(known[partition])
        self._metrics.lag_unknown.set(len(partitions) - len(still))
        self._shown = set(still)

    def run(self, stopping: threading.Event, interval_s: float) -> None:
        while not stopping.wait(interval_s):
            self.look()
