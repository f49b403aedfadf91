from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from callsheet.observability.relay import Relay, balanced, snapshot


class Child:
    """One worker process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seen = Counter("seen_events", "text", ["kind"], registry=self.registry)
        self.level = Gauge("level", "text", registry=self.registry)
        self.took = Histogram("took_seconds", "text", buckets=[1.0], registry=self.registry)

    def tell(self, relay: Relay, worker: int = 0) -> None:
        relay.heard("search", worker, snapshot([self.registry]))


def value(relay: Relay, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(relay)
    return registry.get_sample_value(name, {"pipeline": "search", "worker": "0", **labels})


def test_each_sample_carries_pipeline_and_worker() -> None:
    relay = Relay()
    for worker, events in ((0, 3), (1, 4)):
        child = Child()
        child.seen.labels("row").inc(events)
        child.tell(relay, worker)
    assert value(relay, "seen_events_total", kind="row") == 3
    assert value(relay, "seen_events_total", kind="row", worker="1") == 4


def test_counters_do_not_fall_when_a_worker_is_replaced() -> None:
    relay, first = Relay(), Child()
    first.seen.labels("row").inc(3)
    first.seen.labels("rare").inc()
    first.took.observe(0.5)
    first.level.set(7)
    first.tell(relay)
    relay.ended("search", 0)
    assert value(relay, "seen_events_total", kind="row") == 3
    assert value(relay, "level") is None  # a gauge ends with its process
    second = Child()
    second.tell(relay)
    assert value(relay, "seen_events_total", kind="row") == 3
    second.seen.labels("row").inc(2)
    second.took.observe(5.0)
    second.tell(relay)
    assert value(relay, "seen_events_total", kind="row") == 5
    assert value(relay, "seen_events_total", kind="rare") == 1  # not met by the second yet
    assert value(relay, "took_seconds_count") == 2
    assert value(relay, "took_seconds_bucket", le="1.0") == 1
    relay.ended("search", 0)
    assert value(relay, "seen_events_total", kind="row") == 5
    assert value(relay, "took_seconds_sum") == 5.5


def test_a_worker_that_never_spoke_leaves_nothing() -> None:
    relay = Relay()
    relay.ended("search", 0)
    assert list(relay.collect()) == []


def test_what_belongs_together_is_of_one_moment() -> None:
    child = Child()
    child.seen.labels("row").inc(3)
    child.level.set(1)
    balance = snapshot([child.seen, child.level])
    child.seen.labels("row").inc(4)
    child.took.observe(0.5)
    relay = Relay()
    relay.heard("search", 0, balanced(snapshot([child.registry]), balance))
    assert value(relay, "seen_events_total", kind="row") == 3
    assert value(relay, "level") == 1
    assert value(relay, "took_seconds_count") == 1
    assert len(list(relay.collect())) == 3
