"""Consumer groups from outside: where they stand, how far behind, and moving them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar, cast

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    ClusterMetadata,
    OffsetSpec,
)

from callsheet.batch import Offset, Partition
from callsheet.errors import CallsheetError, ConfigError, FatalError, UnavailableError, UsageError
from callsheet.kafka.admission import Admission, asked
from callsheet.kafka.clients import refusals_told
from callsheet.kafka.faults import ADMIN_DEFAULTS, PASSING, is_refusal
from callsheet.kafka.settings import Connection

_T = TypeVar("_T")
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_ANY_TOPIC: Final = "__consumer_offsets"
"""Asked for by name, so that a cluster of many topics does not list them all."""


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """One partition as a group sees it. None: unknown, or nothing committed."""

    partition: Partition
    committed: Offset | None
    begin: Offset | None
    end: Offset | None
    """Of what a reader of committed transactions can read."""

    @property
    def lag(self) -> int | None:
        """Records to read; None when it cannot be told. Nothing committed: all of the log."""
        if self.end is None or (self.committed is None and self.begin is None):
            return None
        start = self.committed if self.committed is not None else self.begin
        return max(0, self.end - cast("int", start))


@dataclass(frozen=True, slots=True)
class GroupState:
    group_id: str
    state: str
    """``stable``, ``empty``, ``dead`` ...: the broker's word, in lower case."""
    members: tuple[str, ...]
    """client ids @ hosts."""


class KafkaGroups:
    """Consumer groups of one cluster. Every call returns or raises within its timeout.

    Raises (each method):
        UnavailableError: no broker answers.
        ConfigError: the client does not take its settings, the brokers refuse who we are, or theirs
            is no certificate that we accept.
    """

    def __init__(self, connection: Connection, *, timeout_s: float = 20.0) -> None:
        self._settings = settings = connection.common()
        self._admission = Admission()
        with refusals_told(settings):
            self._admin = AdminClient(self._admission.heard_of(settings))
        self._readers: dict[str, Consumer] = {}
        self._brokers, self._timeout_s = connection.bootstrap_servers, timeout_s

    def state(self, group_id: str) -> GroupState:
        self._require_brokers("describing the group")
        futures = self._admin.describe_consumer_groups([group_id], request_timeout=self._timeout_s)
        try:
            found = self._wait(futures[group_id], "describing the group")
        except _MissingError:
            return GroupState(group_id, "dead", ())
        members = tuple(f"{m.client_id}@{m.host}" for m in found.members)
        state = cast("ConsumerGroupState", found.state)
        return GroupState(group_id, state.name.lower(), members)

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """All partitions of those of the topics that exist; ``^...`` stands for a pattern."""
        metadata = self._metadata(None, "listing topics")
        names: set[str] = set()
        for topic in topics:
            if topic.startswith("^"):
                names |= {name for name in metadata.topics if re.match(topic, name)}
            elif topic in metadata.topics:
                names.add(topic)
        return [
            Partition(n, p) for n in sorted(names) for p in sorted(metadata.topics[n].partitions)
        ]

    def committed(
        self, group_id: str, partitions: Collection[Partition] | None = None
    ) -> dict[Partition, Offset]:
        """What the group has committed of these partitions; None: of all that the cluster has."""
        doing = "reading the group's offsets"
        self._require_brokers(doing)
        asked = self.partitions(["^"]) if partitions is None else partitions
        if not asked:
            return {}
        wanted = [TopicPartition(p.topic, p.number) for p in asked]
        try:
            found = self._reader(group_id).committed(wanted, timeout=self._timeout_s)
        except KafkaException as error:
            raise self._translated(error.args[0], doing) from error
        for tp in found:
            if tp.error is not None:
                raise self._translated(tp.error, f"{doing} of {tp.topic}[{tp.partition}]")
        return {Partition(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def _reader(self, group_id: str) -> Consumer:
        """A client of the group that never joins it.

        Not the admin client's ListConsumerGroupOffsets: an answer that sends it to another
        coordinator, as while a broker starts, makes librdkafka 2.16 look for the consumer that an
        admin client has not, and kills the process (rd_kafka_handle_OffsetFetch).
        """
        known = self._readers.get(group_id)
        if known is None:
            settings = {**ADMIN_DEFAULTS, **self._settings, "group.id": group_id}
            # While a transaction is open, what was committed before it: else we would wait for it.
            settings |= {"enable.auto.commit": False, "isolation.level": "read_uncommitted"}
            with refusals_told():
                known = self._readers[group_id] = Consumer(settings)
        return known

    def offsets(self, group_id: str, partitions: Collection[Partition]) -> list[PartitionOffsets]:
        """Where the group stands in each partition. Ends are read apart from commits, so a group
        that commits nothing still shows its true lag.
        """
        committed = self.committed(group_id, partitions)
        ends = self._listed(partitions, _LATEST)
        begins = self._listed(partitions, _EARLIEST)
        return [
            PartitionOffsets(p, committed.get(p), begins.get(p), ends.get(p)) for p in partitions
        ]

    def ends(
        self, partitions: Collection[Partition], *, with_open: bool
    ) -> dict[Partition, Offset]:
        """Of what is committed; ``with_open``: also of what transactions have not decided yet."""
        level = IsolationLevel.READ_UNCOMMITTED if with_open else IsolationLevel.READ_COMMITTED
        return self._listed(partitions, _LATEST, level)

    def begins(self, partitions: Collection[Partition]) -> dict[Partition, Offset]:
        """Of the first record that the log still has."""
        return self._listed(partitions, _EARLIEST)

    def at_time(self, partitions: Collection[Partition], time_ms: int) -> dict[Partition, Offset]:
        """Of the first record at or after a time, for those partitions that have one."""
        return self._listed(partitions, OffsetSpec.for_timestamp(time_ms))

    def _listed(
        self,
        partitions: Collection[Partition],
        spec: OffsetSpec,
        level: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Partition, Offset]:
        if not partitions:
            return {}
        futures = self._admin.list_offsets(
            {TopicPartition(p.topic, p.number): spec for p in partitions},
            isolation_level=level,
            request_timeout=self._timeout_s,
        )
        found: dict[Partition, Offset] = {}
        for tp, future in futures.items():
            offset = self._wait(future, "reading the log's ends").offset
            if offset >= 0:
                found[Partition(tp.topic, tp.partition)] = offset
        return found

    def reset(self, group_id: str, offsets: Mapping[Partition, Offset]) -> None:
        """Set the group's offsets.

        Raises:
            UsageError: the group has members: they would commit over it.
        """
        state = self.state(group_id)
        if state.members:
            raise UsageError(
                f"{group_id} has {len(state.members)} member(s) ({', '.join(state.members)})",
                hint="stop its workers first; a killed one counts until its session times out",
            )
        wanted = [TopicPartition(p.topic, p.number, o) for p, o in sorted(offsets.items())]
        request = ConsumerGroupTopicPartitions(group_id, wanted)
        futures = self._admin.alter_consumer_group_offsets(
            [request], request_timeout=self._timeout_s
        )
        answer = self._wait(futures[group_id], "setting the group's offsets")
        for tp in answer.topic_partitions or []:
            if tp.error is not None:
                raise self._translated(tp.error, f"setting {tp.topic}[{tp.partition}]")

    def _require_brokers(self, doing: str) -> None:
        """Before anything that goes to a group's coordinator. A request that ends in a time-out
        because no broker was there makes librdkafka 2.16 abort the process, on the assertion
        `eonce->refcnt > 0`, when the broker is back: workers died of an outage that they sat out.
        """
        self._metadata(_ANY_TOPIC, doing)

    def _metadata(self, topic: str | None, doing: str) -> ClusterMetadata:
        ask = partial(self._admin.list_topics, topic, timeout=self._timeout_s)
        return self._wait(asked(ask), doing)

    def _wait(self, future: Future[_T], doing: str) -> _T:
        try:
            return self._admission.result(self._admin, future, self._timeout_s + 1, doing)
        except KafkaException as error:
            raise self._translated(error.args[0], doing) from error
        except TimeoutError as error:
            raise self._away(doing) from error

    def _translated(self, error: KafkaError, doing: str) -> CallsheetError:
        code = error.code()
        if code == KafkaError.GROUP_ID_NOT_FOUND:
            return _MissingError(f"{doing}: there is no such group")
        if is_refusal(error):
            hint = "look at kafka.properties in the pipeline file, and at the brokers' ACLs"
            return ConfigError(f"Kafka refused {doing}: {error.str()}", hint=hint)
        if code in PASSING:
            return self._away(doing)
        return FatalError(f"{doing} failed: {error.name()}: {error.str()}")

    def _away(self, doing: str) -> UnavailableError:
        return UnavailableError(
            f"Kafka at {self._brokers} does not answer ({doing})",
            hint="is it up? `callsheet stack status`",
        )


class _MissingError(FatalError):
    """There is no such group: an answer, not a failure."""
