"""How a Kafka client is configured: what users may set, and what the worker must own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OWNED: Mapping[str, str] = {
    "bootstrap.servers": "set kafka.bootstrap_servers",
    "group.id": "set kafka.group_id",
    "group.instance.id": "set kafka.instance_id",
    "group.protocol": "the worker relies on the classic protocol's callbacks",
    "partition.assignment.strategy": "the worker relies on cooperative-sticky",
    "enable.auto.commit": "the worker commits, after the destination has said yes",
    "enable.auto.offset.store": "the worker commits, after the destination has said yes",
    "auto.commit.interval.ms": "set delivery.commit_interval_seconds",
    "auto.offset.reset": "a gap in the log must never be passed over silently",
    "isolation.level": "an aborted transaction's records must never be read",
    "enable.partition.eof": "the worker needs to know when it is caught up",
    "max.poll.interval.ms": "set delivery.max_poll_interval_seconds",
    "queued.max.messages.kbytes": "set delivery.prefetch_bytes",
    "enable.idempotence": "dead letters must not be lost or reordered",
    "acks": "dead letters must not be lost or reordered",
    "request.required.acks": "dead letters must not be lost or reordered",
    "message.max.bytes": "set dead_letters.max_message_bytes",
    "delivery.timeout.ms": "set dead_letters.budget_seconds",
    "transactional.id": "the worker names it after the group and its own number",
    "transaction.timeout.ms": "the worker's budgets must stay below it",
}
"""Properties that a pipeline file may not set, and why or where else."""

_EVERY_CLIENT = (
    "security.", "ssl.", "sasl.", "enable.sasl.", "enable.ssl.", "client.", "broker.",
    "socket.", "reconnect.", "metadata.", "topic.metadata.", "https.", "enable.metrics.push",
    "retry.", "connections.", "resolve.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are, and how to reach them; ``properties`` are librdkafka's own."""

    bootstrap_servers: str
    properties: Mapping[str, str] = field(default_factory=dict)

    def common(self) -> dict[str, str]:
        """For every client: consumer, producer, admin."""
        chosen = {k: v for k, v in self.properties.items() if k.startswith(_EVERY_CLIENT)}
        return {
            "client.id": "callsheet",
            # The worst case of the default (10 s) would be most of an outage. The first delay is
            # the one that counts while no broker is there: each round of failures begins anew
            # (KIP-899), and with the default of 0.1 s a client knocked 19 times a second.
            "reconnect.backoff.ms": "1000",
            "reconnect.backoff.max.ms": "2000",
            **chosen,
            "bootstrap.servers": self.bootstrap_servers,
        }


@dataclass(frozen=True, slots=True)
class Membership:
    """One member of a consumer group."""

    group_id: str
    instance_id: str | None = None
    """Static membership: a restart within the session timeout keeps the partitions."""
    max_poll_interval_s: float = 300.0
    session_timeout_s: float = 45.0
    prefetch_bytes: int = 32 * 1024 * 1024
    poll_bytes: int = 32 * 1024 * 1024


def consumer_config(connection: Connection, membership: Membership) -> dict[str, str]:
    """The worker's consumer; what the worker owns wins over what the user wrote."""
    owned = {
        "group.id": membership.group_id,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        # Where to start is always said (see GroupConsumer); what is left for this is a gap.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": "true",
        "max.poll.interval.ms": str(round(membership.max_poll_interval_s * 1000)),
        "session.timeout.ms": str(round(membership.session_timeout_s * 1000)),
        "queued.max.messages.kbytes": str(max(1, membership.prefetch_bytes // 1024)),
    }
    if membership.instance_id:
        owned["group.instance.id"] = membership.instance_id
    defaults = {
        "fetch.wait.max.ms": "500",  # with fetch.min.bytes=1 a record is sent as it comes
        "fetch.min.bytes": "1",
        # Per partition and compressed: JSON unpacks to ten times as much, all of it at once. A
        # larger record still comes through.
        "max.partition.fetch.bytes": "262144",
        # The queue refills before it runs dry, and is bounded in bytes, not in records.
        "queued.min.messages": "50000",
        "fetch.queue.backoff.ms": "20",
        "topic.metadata.refresh.interval.ms": "30000",  # a new topic of a pattern is seen so late
    }
    return {**defaults, **connection.properties, **connection.common(), **owned}


def producer_config(
    connection: Connection, *, max_message_bytes: int, budget_s: float
) -> dict[str, str]:
    """The dead letters' producer."""
    return {
        **connection.common(),
        "enable.idempotence": "true",
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": "5",
        "message.max.bytes": str(max_message_bytes),
        "queue.buffering.max.kbytes": str(max(64 * 1024, 2 * max_message_bytes // 1024)),
        "delivery.timeout.ms": str(round(budget_s * 1000)),
    }


TRANSACTION_TIMEOUT_S = 60.0
"""After so long the broker aborts a transaction whose worker is gone and was not started again;
until then those who read only what is committed wait behind it.
"""


def transaction_config(
    connection: Connection, transactional_id: str, *, max_message_bytes: int, budget_s: float
) -> dict[str, str]:
    """The one producer of a transactional pipeline."""
    base = producer_config(connection, max_message_bytes=max_message_bytes, budget_s=budget_s)
    timeout_s = max(TRANSACTION_TIMEOUT_S, budget_s)
    return {
        **base,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": str(round(timeout_s * 1000)),
        "linger.ms": "20",
        # As Java's clients place keys: whoever writes to the topic too finds the same partition.
        "partitioner": "murmur2_random",
        # Bounded before anything is sent: half a batch must not be refused for want of memory.
        "queue.buffering.max.messages": "0",
        "queue.buffering.max.kbytes": str(2**31 - 1),
    }
