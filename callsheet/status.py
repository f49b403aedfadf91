"""What a worker tells about itself."""

from __future__ import annotations

from callsheet.delivery import Delivery
from callsheet.observability.health import ParkedTable, WorkerStatus
from callsheet.observability.metrics import Metrics


def describe(delivery: Delivery, *, has_joined: bool, is_paused: bool) -> WorkerStatus:
    outage = delivery.outage
    floors = delivery.ledger.floors()
    return WorkerStatus(
        assigned=tuple(sorted((p.topic, p.number) for p in floors)),
        has_joined=has_joined,
        committed={str(partition): offset for partition, offset in floors.items()},
        in_hand_events=delivery.ledger.events + delivery.held.events,
        is_paused=is_paused,
        held_since_s=outage.since_s if outage.is_on else delivery.troubled_since_s,
        held_cause=outage.cause or delivery.trouble,
        parked=tuple(ParkedTable(p.topic, p.reason, p.detail) for p in delivery.parked.values()),
    )


def show(status: WorkerStatus, delivery: Delivery, metrics: Metrics) -> None:
    """Set the gauges; counters and histograms move where the thing happens."""
    metrics.assigned.set(len(status.assigned))
    metrics.in_hand.set(status.in_hand_events)
    metrics.in_hand_bytes.set(delivery.ledger.size_bytes + delivery.held.size_bytes)
    metrics.paused.set(status.is_paused)
    metrics.outage.set(status.held_since_s is not None)
    for topic in {partition.topic for partition in delivery.ledger.owned}:
        frontier_us = delivery.ledger.frontier_us(topic)
        if frontier_us:
            metrics.frontier.labels(topic).set(frontier_us / 1e6)
