"""Where each table's events go: a topic that exists, under a schema that is registered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from callsheet.codec.columnar import NativeModule
from callsheet.codec.normalized_columns import EventEncoder
from callsheet.codec.normalized_schema import event_schema
from callsheet.errors import ConfigError, PreconditionError, RetryableError, UnavailableError
from callsheet.kafka.topics import Topic
from callsheet.ports import Deadline
from callsheet.schema import TableSchema
from callsheet.sink import Transaction
from sinks.kafka.settings import KafkaSinkSettings
from sinks.kafka.subjects import Subjects


@dataclass(frozen=True, slots=True)
class Target:
    """One table schema's way out."""

    topic: str
    table: str
    schema_id: int
    encoder: EventEncoder


class Catalog:
    """Makes targets when they are first needed, and keeps them."""

    def __init__(
        self,
        settings: KafkaSinkSettings,
        transaction: Transaction,
        subjects: Subjects,
        native: NativeModule | None,
        log: FilteringBoundLogger,
    ) -> None:
        self._settings, self._transaction, self._subjects = settings, transaction, subjects
        self._native, self._log = native, log
        self._targets: dict[tuple[str, str], Target] = {}
        self._owners: dict[str, str] = {}

    def target(self, source_topic: str, schema: TableSchema, deadline: Deadline) -> Target:
        """Raises:
        ParkTableError: the registry refuses the schema.
        RetryableError: brokers or registry are away, or too slow.
        ConfigError: the topic is none to write to, or we may not make it.
        """
        found = self._targets.get((source_topic, schema.fingerprint))
        if found is None:
            found = self._made(source_topic, schema, deadline)
            self._targets[source_topic, schema.fingerprint] = found
        return found

    def _made(self, source_topic: str, schema: TableSchema, deadline: Deadline) -> Target:
        topic = self._settings.topic_of(schema)
        self.refuse_loop(topic)
        owner = self._owners.setdefault(topic, source_topic)
        if owner != source_topic:
            raise ConfigError(
                f"{source_topic} and {owner} would both go to {topic}",
                hint="tell them apart in sink.topic, or give one of them a sink.routes entry",
            )
        self._ensure(topic, deadline)
        written = contract(schema) if self._settings.optional_columns else schema
        subject = f"{topic}-value"
        wanted = event_schema(written)
        identifier = self._subjects.register(source_topic, subject, wanted, deadline)
        self._log.info("schema registered", topic=topic, subject=subject, schema_id=identifier)
        encoder = EventEncoder(source_topic, written, identifier, self._native)
        return Target(topic, schema.qualified_name, identifier, encoder)

    def refuse_loop(self, topic: str) -> None:
        """Raises:
        ConfigError: the pipeline reads this topic: it would feed itself for ever.
        """
        if self._transaction.is_taken(topic):
            raise ConfigError(
                f"the pipeline would write to {topic}, which it reads itself",
                hint="change sink.topic, sink.prefix or sink.routes, or source.topics",
            )

    def _ensure(self, name: str, deadline: Deadline) -> None:
        try:
            self._create_or_alter(name, deadline)
        except UnavailableError as error:
            raise RetryableError(error.message, hint=error.hint) from error
        except PreconditionError as error:
            raise ConfigError(error.message, hint=error.hint) from error

    def _create_or_alter(self, name: str, deadline: Deadline) -> None:
        settings, topics = self._settings, self._transaction.topics
        wanted = settings.wanted_config()
        _check(deadline, name)
        found = topics.describe([name]).get(name)
        _check(deadline, name)
        if found is None:
            topics.create([Topic(name, settings.partitions, settings.replication_factor, wanted)])
            self._log.info("topic created", topic=name, partitions=settings.partitions)
            return
        if found.partitions != settings.partitions:
            # Never changed by us: keys would move, and with them the order of their events.
            self._log.warning("topic has other partitions", topic=name, partitions=found.partitions)
        other = {key: value for key, value in wanted.items() if found.config.get(key) != value}
        if other:
            topics.alter(name, other)
            self._log.info("topic configured", topic=name, config=other)


def _check(deadline: Deadline, topic: str) -> None:
    """Before each call: one that runs ends by a timeout of its own."""
    if deadline.expired():
        raise RetryableError(
            f"the brokers are too slow: {topic} is not ready in time",
            hint="the write is tried again; are the brokers up? `callsheet stack status`",
        )


def contract(schema: TableSchema) -> TableSchema:
    """The schema as it is promised to readers: only the key is sure to be there."""
    columns = (replace(c, nullable=c.nullable or c.name not in schema.key) for c in schema.columns)
    return replace(schema, columns=tuple(columns))
