"""The topics of a connector, created by us before it runs.

A topic that a connector or the broker makes up has the broker's partition count and retention, of
which nobody thought. The file ``<connector>.topics.yaml`` states them. What exists and differs is
altered where that is harmless; a partition count never is: Kafka cannot take partitions away, and
adding one sends a key's next change to another partition than its last, out of order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callsheet.config.document import Document
from callsheet.config.validation import faults_of
from callsheet.errors import ConfigError, Fault
from callsheet.kafka.topics import BROKER_DEFAULT, Topic, TopicState
from connectors.documents import read_yaml
from connectors.files import ConnectorFile

_HOUR_MS = 3_600_000
_HEARTBEAT_PREFIX = "__debezium-heartbeat"


class TopicAdmin(Protocol):
    """The cluster's topics; `callsheet.kafka.admin.KafkaTopics` is the real one."""

    def describe(self, names: Iterable[str]) -> Mapping[str, TopicState]:
        """Those of the topics that exist."""
        ...

    def create(self, topics: Sequence[Topic]) -> None: ...
    def alter(self, name: str, config: Mapping[str, str]) -> None: ...

    def end_offsets(self, names: Iterable[str]) -> Mapping[str, int]:
        """The sum of each existing topic's end offsets: it grows with each record."""
        ...


class TopicShape(BaseModel):
    """What may be said of one topic; what is not said comes from ``defaults``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: Annotated[int, Field(ge=1, le=1000)] | None = None
    retention_hours: Annotated[float, Field(gt=0)] | Literal["unlimited"] | None = None
    cleanup_policy: Literal["delete", "compact", "compact,delete"] | None = None
    compression: Literal["producer", "lz4", "zstd", "snappy", "gzip", "uncompressed"] | None = None
    max_message_bytes: Annotated[int, Field(ge=1024)] | None = None
    min_insync_replicas: Annotated[int, Field(ge=1)] | None = None

    def over(self, base: TopicShape) -> TopicShape:
        return base.model_copy(update=self.model_dump(exclude_none=True))

    def config(self) -> dict[str, str]:
        """In Kafka's names and units."""
        hours = self.retention_hours
        stated = {
            "retention.ms": -1 if hours == "unlimited" else hours and round(hours * _HOUR_MS),
            "cleanup.policy": self.cleanup_policy,
            "compression.type": self.compression,
            "max.message.bytes": self.max_message_bytes,
            "min.insync.replicas": self.min_insync_replicas,
        }
        config = {key: str(value) for key, value in stated.items() if value is not None}
        if hours == "unlimited":
            config["retention.bytes"] = "-1"
        return config


class TopicsFile(BaseModel):
    """``<connector>.topics.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replication_factor: Annotated[int, Field(ge=1)] | Literal["broker"] = "broker"
    defaults: TopicShape
    tables: Annotated[dict[str, TopicShape], Field(min_length=1)]
    heartbeat: TopicShape
    transactions: TopicShape
    schema_changes: TopicShape
    schema_history: TopicShape


def topics_path(file: ConnectorFile) -> Path:
    """Where a connector's topics are stated: beside its own file."""
    return file.path.with_suffix(".topics.yaml")


def load_topics(file: ConnectorFile) -> tuple[Topic, ...]:
    """Every topic that the connector writes to.

    Raises:
        ConfigError: with every fault of the topics file, tables without a topic among them.
    """
    document = read_yaml(topics_path(file))
    try:
        spec = TopicsFile.model_validate(document.plain())
    except ValidationError as error:
        faults = list(faults_of(error, TopicsFile, document))
        raise ConfigError(f"{document.file} has {len(faults)} fault(s).", faults=faults) from error
    faults = [*_history_faults(document, spec), *_table_faults(file, document, spec)]
    if faults:
        raise ConfigError(f"{document.file} has {len(faults)} fault(s).", faults=faults)
    return tuple(_topics(file.config, spec))


def _topics(config: Mapping[str, str], spec: TopicsFile) -> Iterator[Topic]:
    """In Debezium's names for them."""
    prefix = config["topic.prefix"]
    beats = config.get("topic.heartbeat.prefix", _HEARTBEAT_PREFIX)
    transactions = config.get("topic.transaction", "transaction")
    shapes = {f"{prefix}.{table}": shape for table, shape in spec.tables.items()}
    shapes |= {
        f"{beats}.{prefix}": spec.heartbeat,
        f"{prefix}.{transactions}": spec.transactions,
        prefix: spec.schema_changes,
        config["schema.history.internal.kafka.topic"]: spec.schema_history,
    }
    factor = spec.replication_factor
    for name, shape in sorted(shapes.items()):
        full = shape.over(spec.defaults)
        yield Topic(
            name=name,
            partitions=full.partitions or 1,
            replication_factor=BROKER_DEFAULT if factor == "broker" else factor,
            config=full.config(),
        )


def _history_faults(document: Document, spec: TopicsFile) -> Iterator[Fault]:
    """Debezium replays the history from its first record to its last, in order, at each start."""
    history = spec.schema_history.over(spec.defaults)
    for key, wanted in (
        ("partitions", 1),
        ("retention_hours", "unlimited"),
        ("cleanup_policy", "delete"),
    ):
        if getattr(history, key) != wanted:
            message = f"must be {wanted}: a history with a gap or out of order cannot be read"
            yield document.fault(("schema_history", key), message)


def _table_faults(file: ConnectorFile, document: Document, spec: TopicsFile) -> Iterator[Fault]:
    """Each table that is captured has a topic, and each topic a table."""
    captured = split_list(file.config["table.include.list"])
    signals = file.config["signal.data.collection"]  # captured without being listed
    for table in spec.tables:
        if table != signals and not any(is_match(pattern, table) for pattern in captured):
            message = f"is not captured: table.include.list of {file.path.name} does not match it"
            yield document.fault(("tables", table), message)
    for pattern in (*captured, re.escape(signals)):
        if not any(is_match(pattern, table) for table in spec.tables):
            name = pattern.replace("\\", "")
            yield document.fault(("tables",), f"lacks {name}, which {file.path.name} captures")


def split_list(setting: str) -> tuple[str, ...]:
    """A Debezium list of patterns; a comma inside one is escaped."""
    parts = re.split(r"(?<!\\),", setting)
    return tuple(part.strip().replace("\\,", ",") for part in parts if part.strip())


def is_match(pattern: str, table: str) -> bool:
    """Whether Debezium's pattern names this table: the whole of it, in any case.

    Raises:
        ConfigError: the pattern is no regular expression.
    """
    try:
        return re.fullmatch(pattern, table, re.IGNORECASE) is not None
    except re.error as error:
        raise ConfigError(f"{pattern!r} is not a regular expression: {error}.") from error


@dataclass(frozen=True, slots=True)
class TopicDrift:
    """A difference that is not ours to mend."""

    topic: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class TopicChange:
    topic: str
    setting: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What to do about the topics, in this order."""

    create: tuple[Topic, ...] = ()
    alter: tuple[TopicChange, ...] = ()
    drift: tuple[TopicDrift, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.create and not self.alter


def plan_topics(wanted: Sequence[Topic], actual: Mapping[str, TopicState]) -> TopicPlan:
    """Wanted against actual. Only what is stated is compared."""
    there = [(topic, actual[topic.name]) for topic in wanted if topic.name in actual]
    return TopicPlan(
        create=tuple(topic for topic in wanted if topic.name not in actual),
        alter=tuple(
            TopicChange(topic.name, setting, state.config.get(setting, ""), value)
            for topic, state in there
            for setting, value in sorted(topic.config.items())
            if state.config.get(setting) != value
        ),
        drift=tuple(drift for topic, state in there for drift in _drift(topic, state)),
    )


def apply_topics(plan: TopicPlan, admin: TopicAdmin) -> None:
    """Carry the plan out; carried out again it does nothing."""
    admin.create(plan.create)
    changes: dict[str, dict[str, str]] = {}
    for change in plan.alter:
        changes.setdefault(change.topic, {})[change.setting] = change.after
    for name, config in changes.items():
        admin.alter(name, config)


def _drift(topic: Topic, state: TopicState) -> Iterator[TopicDrift]:
    if state.partitions != topic.partitions:
        yield TopicDrift(
            topic.name,
            f"has {state.partitions} partition(s), not {topic.partitions}; left as it is: "
            "another count would send a key's next change to another partition",
            f"State {state.partitions} in the topics file, or capture under a new topic.prefix.",
        )
    factor = topic.replication_factor
    if factor not in {BROKER_DEFAULT, state.replication_factor}:
        yield TopicDrift(
            topic.name,
            f"is kept {state.replication_factor} time(s), not {factor}",
            "Move its replicas with kafka-reassign-partitions.",
        )
