"""Topics of a real cluster: create, describe, alter, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it re-exports without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from callsheet.errors import CallsheetError, FatalError, PreconditionError, UnavailableError
from callsheet.kafka.admission import Admission
from callsheet.kafka.clients import refusals_told
from callsheet.kafka.faults import PASSING
from callsheet.kafka.topics import Topic, TopicState
from callsheet.ports import Clock, Deadline, SystemClock

_T = TypeVar("_T")
_TIMEOUT_S = 30.0
_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  (librdkafka's own errors are spelled so)
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
    }
)
# What only the controller does may be asked of a broker that is it no more.
_PASSING = PASSING | {KafkaError.NOT_CONTROLLER}
# A topic just created, or a broker just lost: the partition's leader is about to be known.
_UNSETTLED = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)
_SETTLE_S = 0.1
_GRANT = "Grant this client Create, Describe, DescribeConfigs and AlterConfigs."
_REFUSALS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _GRANT,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _GRANT,
    KafkaError.INVALID_REPLICATION_FACTOR: "Lower replication_factor, or add brokers.",
    KafkaError.INVALID_PARTITIONS: "Lower the topic's partitions.",
    KafkaError.INVALID_CONFIG: "Correct the topic's settings.",
    KafkaError.POLICY_VIOLATION: "The cluster's own policy forbids it: ask who runs it.",
}


class KafkaTopics:
    """The topics of one cluster. Every call returns or raises within its timeout.

    Raises (each method):
        UnavailableError: no broker answers.
        ConfigError: the brokers do not let us in, or theirs is no certificate that we accept.
        PreconditionError: the cluster refuses: no right, too few brokers, a policy.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        timeout_s: float = _TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        """``settings`` are librdkafka's, ``bootstrap.servers`` and security among them."""
        # librdkafka logs a dead broker to stderr for ever; the error that is raised says it once.
        self._admission = Admission()
        with refusals_told(settings):
            self._admin = AdminClient(self._admission.heard_of(settings))
        self._brokers = settings["bootstrap.servers"]
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()

    def describe(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Those of the topics that exist."""
        found: dict[str, TopicDescription] = {}
        futures = self._admin.describe_topics(
            TopicCollection(sorted(names)), request_timeout=self._timeout_s
        )
        for name, future in futures.items():
            try:
                found[name] = self._wait(future, f"describing topic {name}")
            except _MissingTopicError:
                continue
        configs = self._configs(found)
        return {
            name: TopicState(
                name=name,
                partitions=len(topic.partitions),
                replication_factor=min(len(p.replicas) for p in topic.partitions),
                config=configs[name],
            )
            for name, topic in found.items()
        }

    def create(self, topics: Sequence[Topic]) -> None:
        """Create them; one that appeared meanwhile is left as it is."""
        if not topics:
            return
        wanted = [
            NewTopic(t.name, t.partitions, t.replication_factor, config=dict(t.config))
            for t in topics
        ]
        futures = self._admin.create_topics(
            wanted, operation_timeout=self._timeout_s, request_timeout=self._timeout_s
        )
        for name, future in futures.items():
            try:
                self._wait(future, f"creating topic {name}")
            except _ExistingTopicError:
                continue

    def alter(self, name: str, config: Mapping[str, str]) -> None:
        """Set these settings; the others stay."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in sorted(config.items())
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        futures = self._admin.incremental_alter_configs([resource], request_timeout=self._timeout_s)
        self._wait(futures[resource], f"configuring topic {name}")

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """From now on nobody reads what stands before this offset. It leaves the brokers' disks
        with its segment.
        """
        place = TopicPartition(topic, partition, offset)
        for future in self._admin.delete_records([place], request_timeout=_TIMEOUT_S).values():
            self._wait(future, f"deleting the oldest records of {topic}")

    def end_offsets(self, names: Iterable[str]) -> dict[str, int]:
        """The sum of each topic's end offsets, for those that exist: it grows with each record."""
        wanted = sorted(names)
        deadline = Deadline.after(self._clock, self._timeout_s)
        while True:
            try:
                return self._end_offsets(wanted)
            except _UnsettledError:
                if deadline.expired():
                    raise
                self._clock.sleep(_SETTLE_S)

    def _end_offsets(self, names: Sequence[str]) -> dict[str, int]:
        states = self.describe(names)
        wanted = {
            TopicPartition(name, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for name, state in states.items()
            for partition in range(state.partitions)
        }
        if not wanted:
            return {}
        sums = dict.fromkeys(states, 0)
        futures = self._admin.list_offsets(wanted, request_timeout=self._timeout_s)
        for partition, future in futures.items():
            sums[partition.topic] += self._wait(future, "reading end offsets").offset
        return sums

    def _configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        futures = self._admin.describe_configs(resources, request_timeout=self._timeout_s)
        return {
            resource.name: {
                key: entry.value or ""
                for key, entry in self._wait(future, "describing topics").items()
            }
            for resource, future in futures.items()
        }

    def _wait(self, future: Future[_T], doing: str) -> _T:
        try:
            return self._admission.result(self._admin, future, self._timeout_s + 1, doing)
        except KafkaException as error:
            raise self._translated(error.args[0], doing) from error
        except TimeoutError as error:
            raise self._away(doing) from error

    def _translated(self, error: KafkaError, doing: str) -> CallsheetError:
        code = error.code()
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return _MissingTopicError(
                f"{doing}: there is no such topic.", hint="Was it deleted meanwhile? Run it again."
            )
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return _ExistingTopicError(f"{doing}: it exists.", hint="Somebody was quicker.")
        if code in _UNSETTLED:
            return _UnsettledError(
                f"Kafka has no leader yet for {doing}.",
                hint="Try again in a moment. If it stays so: are all brokers up?",
            )
        if code in _PASSING:
            return self._away(doing) if code in _AWAY else self._busy(doing, error)
        if code in _REFUSALS:
            hint = _REFUSALS[code]
            return PreconditionError(f"Kafka refused {doing}: {error.str()}", hint=hint)
        return FatalError(
            f"{doing} failed: {error.name()}: {error.str()}",
            hint="Look at the brokers' log and at kafka.properties; then start it again.",
        )

    def _away(self, doing: str) -> UnavailableError:
        return UnavailableError(
            f"Kafka at {self._brokers} does not answer ({doing}).",
            hint="Is it up (`callsheet stack status`)? Its address is CALLSHEET_KAFKA_BOOTSTRAP.",
        )

    def _busy(self, doing: str, error: KafkaError) -> UnavailableError:
        return UnavailableError(
            f"Kafka at {self._brokers} is not ready for {doing}: {error.str()}",
            hint="Try again in a moment. If it stays so, look at the brokers' log.",
        )


class _UnsettledError(UnavailableError):
    """Told apart from the other absences because it passes by itself, in moments."""


class _MissingTopicError(PreconditionError):
    """Told apart from the other refusals where absence is an answer."""


class _ExistingTopicError(PreconditionError):
    """Told apart from the other refusals where somebody else was quicker."""
