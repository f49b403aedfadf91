"""The closed catalogue of what a worker measures.

The conservation law, exact at each turn's end unless something was lost to another member::

    consumed = written + superseded + stale + skipped + dead_lettered + given_back + in_hand

Labels are bounded: topics, reasons, kinds. Nothing is counted per event, only per batch.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from callsheet.batch import Batch, Partition
from callsheet.sink import Counts

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
_SIZES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)


class Metrics:
    """All metrics of one worker; names start with ``callsheet_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._flow(registry)
        self._state(registry)
        self._time(registry)

    def _flow(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"callsheet_{name}", text, labels, registry=registry)

        self.consumed = counter("consumed_events", "Records read from Kafka.")
        self.rows = counter("accepted_events", "Row changes that the sink accepted.", "topic")
        self.written = counter("written_events", "Row changes that changed the destination.")
        self.superseded = counter(
            "superseded_events", "Row changes with a newer one of the same ID in their batch."
        )
        self.stale = counter("stale_events", "Row changes that the destination already had.")
        self.skipped = counter("skipped_events", "Records without a row change.", "kind")
        self.dead_lettered = counter("dead_lettered_events", "Records put aside.", "reason")
        self.given_back = counter(
            "given_back_events", "Records read but left to be read again, uncommitted."
        )
        self.commits = counter("commits", "Commits to the consumer group.", "result")
        self.rebalances = counter("rebalances", "Changes of the assignment.", "kind")
        self.retries = counter("retries", "Tries that a neighbour did not answer.")

    def _state(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"callsheet_{name}", text, labels, registry=registry)

        self.in_hand = gauge("in_hand_events", "Records read, neither durable nor put aside yet.")
        self.in_hand_bytes = gauge("in_hand_bytes", "Keys and values of the records in hand.")
        self.assigned = gauge("assigned_partitions", "Partitions that this worker owns.")
        self.paused = gauge("paused", "1 while the assignment is paused.")
        self.outage = gauge("outage", "1 while a neighbour is away and work is held.")
        self.parked = gauge("parked_table", "1 for each table that waits for a human.", "topic")
        self.frontier = gauge(
            "frontier_timestamp_seconds",
            "Source commit time up to which everything read of the topic is durable.",
            "topic",
        )
        self.lag = gauge(
            "lag_events", "End of the log less the committed offset.", "topic", "partition"
        )
        self.lag_unknown = gauge(
            "lag_unknown_partitions", "Partitions whose lag cannot be told at the moment."
        )

    @property
    def law(self) -> tuple[Counter | Gauge, ...]:
        """What the conservation law is about: published together, or it would not add up."""
        counted = (self.written, self.superseded, self.stale, self.skipped, self.dead_lettered)
        return (self.consumed, *counted, self.given_back, self.in_hand)

    def _time(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"callsheet_{name}", text, buckets=buckets, registry=registry)

        self.batch_size = histogram("batch_events", "Rows of a batch.", _SIZES)
        self.decode_seconds = histogram("decode_seconds", "Decoding one poll.", _SHORT)
        self.write_seconds = histogram("write_seconds", "Until the sink accepted a batch.", _SHORT)
        self.delivery_seconds = histogram(
            "delivery_seconds", "Commit at the source to durable, a batch's oldest row.", _LONG
        )

    # --- one call per batch ---------------------------------------------------------------------

    def accepted(self, batch: Batch) -> None:
        self.rows.labels(batch.topic).inc(len(batch))
        self.batch_size.observe(len(batch))

    def settled(self, counts: Counts) -> None:
        self.written.inc(counts.written)
        self.superseded.inc(counts.superseded)
        self.stale.inc(counts.stale)

    def forget_lag(self, partition: Partition) -> None:
        """Its series ends: a gauge of somebody else's partition would freeze."""
        self.lag.remove(partition.topic, str(partition.number))
