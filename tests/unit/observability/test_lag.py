from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import structlog
from prometheus_client import CollectorRegistry

from callsheet.batch import Partition
from callsheet.errors import UnavailableError
from callsheet.kafka.groups import PartitionOffsets
from callsheet.observability.health import WorkerStatus
from callsheet.observability.lag import LagProbe
from callsheet.observability.metrics import Metrics
from tests.support.clock import FakeClock

P0, P1 = Partition("titles", 0), Partition("titles", 1)


class Groups:
    def __init__(self) -> None:
        self.known = {P0: PartitionOffsets(P0, 40, 0, 100), P1: PartitionOffsets(P1, 7, 0, 7)}
        self.is_away = False

    def offsets(self, group_id: str, partitions: Collection[Partition]) -> list[PartitionOffsets]:
        if self.is_away:
            raise UnavailableError("no broker")
        return [self.known[p] for p in partitions]


class Probed:
    def __init__(self) -> None:
        self.groups, self.assigned = Groups(), [P0, P1]
        self.metrics = Metrics(CollectorRegistry())
        self.clock = FakeClock()
        log = structlog.get_logger()
        self.probe = LagProbe(
            self.groups, "g", lambda: self.assigned, self.metrics, log, self.clock
        )

    def lag(self, partition: Partition) -> float | None:
        labels = {"topic": partition.topic, "partition": str(partition.number)}
        return self.metrics.registry.get_sample_value("callsheet_lag_events", labels)

    def unknown(self) -> float | None:
        return self.metrics.registry.get_sample_value("callsheet_lag_unknown_partitions")


def test_lag_is_end_less_commit_and_nothing_to_do_is_none() -> None:
    probed = Probed()
    probed.probe.look()
    assert (probed.lag(P0), probed.lag(P1), probed.unknown()) == (60, 0, 0)


def test_unknown_is_its_own_state_not_an_old_figure() -> None:
    probed = Probed()
    probed.probe.look()
    probed.groups.is_away = True
    probed.probe.look()
    assert (probed.lag(P0), probed.lag(P1), probed.unknown()) == (None, None, 2)
    probed.groups.is_away = False
    probed.groups.known[P0] = PartitionOffsets(P0, 40, 0, None)
    probed.probe.look()
    assert (probed.lag(P0), probed.lag(P1), probed.unknown()) == (None, 0, 1)


def test_brokers_that_are_away_show_in_the_status() -> None:
    probed, quiet = Probed(), WorkerStatus(has_joined=True)
    probed.probe.look()
    assert probed.probe.amended(quiet) == quiet
    probed.groups.is_away = True
    begun_s = probed.clock.now_s
    for _ in range(3):
        probed.probe.look()
        probed.clock.advance(5.0)
    held = probed.probe.amended(quiet)
    assert (held.held_since_s, held.held_cause) == (begun_s, "no broker")
    busy = replace(quiet, held_since_s=1.0, held_cause="the sink")
    assert probed.probe.amended(busy) == busy
    probed.groups.is_away = False
    probed.probe.look()
    assert probed.probe.amended(quiet) == quiet


def test_the_series_of_a_partition_that_went_away_ends() -> None:
    probed = Probed()
    probed.probe.look()
    probed.assigned = [P0]
    probed.probe.look()
    assert (probed.lag(P0), probed.lag(P1), probed.unknown()) == (60, None, 0)
