"""What a worker tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

from callsheet.delivery import Delivery
from callsheet.observability.health import ParkedTable, WorkerStatus
from callsheet.observability.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Standing:
    """How the loop stands; ``full_since_s``: no more may be read, because so much is in hand."""

    has_joined: bool
    is_paused: bool
    full_since_s: float | None


def describe(delivery: Delivery, standing: Standing) -> WorkerStatus:
    held_since_s, cause = _held(delivery, standing.full_since_s if standing.is_paused else None)
    floors = delivery.ledger.floors()
    return WorkerStatus(
        assigned=tuple(sorted((p.topic, p.number) for p in floors)),
        has_joined=standing.has_joined,
        committed={str(partition): offset for partition, offset in floors.items()},
        in_hand_events=delivery.ledger.unanswered + delivery.held.events,
        is_paused=standing.is_paused,
        held_since_s=held_since_s,
        held_cause=cause,
        parked=tuple(ParkedTable(p.topic, p.reason, p.detail) for p in delivery.parked.values()),
    )


def _held(delivery: Delivery, full_since_s: float | None) -> tuple[float | None, str]:
    """The first that applies: a neighbour is away, the sink says why, or it only is slow."""
    if delivery.outage.is_on:
        return delivery.outage.since_s, delivery.outage.cause
    if delivery.troubled_since_s is not None:
        return delivery.troubled_since_s, delivery.trouble
    if full_since_s is not None:
        return full_since_s, f"the destination is slow: {delivery.ledger.events} events in hand"
    return None, ""


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
