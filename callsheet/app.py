"""The composition root: from a pipeline file's settings to a worker with all its neighbours."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from callsheet import __version__
from callsheet.backoff import Backoff, Outage
from callsheet.batch import Partition
from callsheet.codec.binding import AvroDialect, Dialect, JsonDialect
from callsheet.codec.columnar import load_native
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.codec.declared import load_declared
from callsheet.codec.places import OwnPlaces
from callsheet.codec.registry_tls import registry_tls
from callsheet.codec.schema_registry import SchemaRegistry
from callsheet.codec.topics import DecoderOptions
from callsheet.config.loading import Pipeline, load_text
from callsheet.config.models import PipelineSettings
from callsheet.config.source import RegistrySettings, SourceSettings
from callsheet.delivery import Step, Surroundings
from callsheet.fields.decoder import with_rules
from callsheet.fuse import Fuse, FuseRating
from callsheet.kafka.admin import KafkaTopics
from callsheet.kafka.consumer import GroupConsumer
from callsheet.kafka.dead_letters import KafkaDeadLetters, dead_letter_topic
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.producer import TransactionalProducer
from callsheet.kafka.settings import Connection, Membership
from callsheet.kafka.transaction import TransactionalConsumer, TransactionalLetters
from callsheet.limits import Limits
from callsheet.observability.health import Pulse
from callsheet.observability.lag import LagProbe
from callsheet.observability.metrics import Metrics
from callsheet.ports import Consumer, DeadLetters, Decoder, Past, SystemClock
from callsheet.sink import Sink, SinkContext, Transaction
from callsheet.worker import Worker
from sinks import plugin

_ADMIN_TIMEOUT_S = 10.0
"""Of a sink's calls from within the loop."""
_LOOKUPS_S = 20.0
"""For all that one poll asks the schema registry."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A worker, and what those who watch it read."""

    worker: Worker
    pulse: Pulse
    registry: CollectorRegistry
    lag: LagProbe


def loaded(text: str, file: Path) -> Pipeline:
    """A pipeline with its destination, which is looked for among the installed sinks.

    Raises:
        ConfigError: with every fault of the file.
    """
    return load_text(text, file, os.environ, plugin)


def assemble(
    pipeline: Pipeline,
    number: int,
    log: FilteringBoundLogger,
    at: Callable[[Step], None] = lambda _: None,
) -> Assembly:
    """Worker ``number`` of a pipeline. Nothing is consumed before its ``run``.

    Raises:
        ConfigError: what the loading could not see: a certificate, a declared schema.
    """
    settings, clock = pipeline.settings, SystemClock()
    connection = connection_of(settings)
    metrics, pulse = Metrics(CollectorRegistry()), Pulse(clock)
    backoff = Backoff(cap_s=settings.delivery.retry_cap_seconds)
    ends = _ends(pipeline, number, connection, log)
    world = Surroundings(
        consumer=ends.consumer,
        decoder=decoder_of(pipeline),
        sink=ends.sink,
        letters=ends.letters,
        fuse=Fuse(_rating(settings)),
        outage=Outage(clock, backoff, Random()),  # noqa: S311 - jitter, no secret
        clock=clock,
        metrics=metrics,
        pulse=pulse,
        log=log,
        at=at,
    )
    worker = Worker(world, settings.source.subscription(), limits_of(settings), settings.truncate)

    def assigned() -> list[Partition]:
        return [Partition(topic, number) for topic, number in pulse.read().assigned]

    groups = KafkaGroups(connection)
    lag = LagProbe(groups, settings.group_id, assigned, metrics, log, clock)
    return Assembly(worker, pulse, metrics.registry, lag)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where a worker reads, writes and buries: three, or three views of one transaction."""

    consumer: Consumer
    sink: Sink
    letters: DeadLetters


def _ends(
    pipeline: Pipeline, number: int, connection: Connection, log: FilteringBoundLogger
) -> _Ends:
    settings = pipeline.settings
    consumer = GroupConsumer(connection, _membership(settings, number), log)
    if not pipeline.plugin.is_transactional:
        letters = plain_letters(settings, log)
        return _Ends(consumer, sink_of(pipeline, number), letters)
    producer = transactional_producer(settings, str(number), log)
    return _Ends(
        TransactionalConsumer(
            consumer,
            producer,
            budget_s=settings.dead_letters.budget_seconds,
            clock=SystemClock(),
        ),
        sink_of(pipeline, number, transaction_of(settings, producer)),
        transactional_letters(settings, producer, log),
    )


def transactional_producer(
    settings: PipelineSettings, number: str, log: FilteringBoundLogger
) -> TransactionalProducer:
    """Its name is the same after a restart, which so ends at once what the dead worker left."""
    parts = (settings.group_id, settings.kafka.instance_id, number)
    return TransactionalProducer(
        connection_of(settings),
        "-".join(filter(None, parts)),
        max_message_bytes=settings.dead_letters.max_message_bytes,
        in_flight_bytes=settings.delivery.in_hand_bytes,
        budget_s=settings.dead_letters.budget_seconds,
        log=log,
        clock=SystemClock(),
    )


def transaction_of(
    settings: PipelineSettings, producer: TransactionalProducer, past: Past | None = None
) -> Transaction:
    return Transaction(
        producer,
        KafkaTopics(connection_of(settings).common(), timeout_s=_ADMIN_TIMEOUT_S),
        lambda topic: settings.source.reads(topic) or topic == settings.dead_letter_topic,
        past,
    )


def transactional_letters(
    settings: PipelineSettings, producer: TransactionalProducer, log: FilteringBoundLogger
) -> TransactionalLetters:
    return TransactionalLetters(
        producer,
        settings.dead_letter_topic,
        pipeline=settings.name,
        version=__version__,
        max_message_bytes=settings.dead_letters.max_message_bytes,
        log=log,
    )


def ensure_dead_letter_topic(settings: PipelineSettings) -> None:
    """Create it, or set an existing one to keep and take what the settings say.

    Raises:
        UnavailableError, PreconditionError: the brokers are away, or refuse.
    """
    letters = settings.dead_letters
    wanted = dead_letter_topic(
        settings.dead_letter_topic,
        retention_hours=letters.retention_hours,
        max_message_bytes=letters.max_message_bytes,
        replication_factor=letters.replication_factor,
    )
    topics = KafkaTopics(connection_of(settings).common())
    found = topics.describe([wanted.name]).get(wanted.name)
    if found is None:
        topics.create([wanted])
        return
    other = {k: v for k, v in wanted.config.items() if found.config.get(k) != v}
    if other:
        topics.alter(wanted.name, other)


def connection_of(settings: PipelineSettings) -> Connection:
    properties = {k: v.get_secret_value() for k, v in settings.kafka.properties.items()}
    return Connection(settings.kafka.bootstrap_servers, properties)


def _membership(settings: PipelineSettings, number: int) -> Membership:
    instance, delivery = settings.kafka.instance_id, settings.delivery
    return Membership(
        settings.group_id,
        f"{instance}-{number}" if instance else None,
        max_poll_interval_s=delivery.max_poll_interval_seconds,
        session_timeout_s=delivery.session_timeout_seconds,
        prefetch_bytes=delivery.prefetch_bytes,
        poll_bytes=delivery.in_hand_bytes // 2,
    )


def limits_of(settings: PipelineSettings) -> Limits:
    delivery = settings.delivery
    return Limits(
        poll_events=delivery.poll_events,
        in_hand_events=delivery.in_hand_events,
        in_hand_bytes=delivery.in_hand_bytes,
        write_budget_s=delivery.write_budget_seconds,
        revoke_budget_s=delivery.revoke_budget_seconds,
        stop_budget_s=delivery.stop_budget_seconds,
        letters_budget_s=settings.dead_letters.budget_seconds,
        commit_interval_s=delivery.commit_interval_seconds,
        linger_s=delivery.linger_seconds,
        sweepable=settings.truncate_tables,
        pause_after_s=delivery.pause_after_seconds,
    )


def sink_of(pipeline: Pipeline, number: int, transaction: Transaction | None = None) -> Sink:
    context = SinkContext(
        pipeline.name,
        SystemClock(),
        {"pipeline": pipeline.name, "worker": str(number)},
        str(pipeline.config_dir),
        transaction,
    )
    return pipeline.plugin.build(pipeline.sink, context)


def plain_letters(settings: PipelineSettings, log: FilteringBoundLogger) -> KafkaDeadLetters:
    return KafkaDeadLetters(
        connection_of(settings),
        settings.dead_letter_topic,
        pipeline=settings.name,
        version=__version__,
        max_message_bytes=settings.dead_letters.max_message_bytes,
        budget_s=settings.dead_letters.budget_seconds,
        log=log,
    )


def _rating(settings: PipelineSettings) -> FuseRating:
    fuse = settings.dead_letters.fuse
    return FuseRating(fuse.run_events, fuse.ratio, fuse.window_events, fuse.minimum_letters)


def decoder_of(pipeline: Pipeline) -> Decoder:
    source = pipeline.settings.source
    options = DecoderOptions(
        topic_prefix=source.topic_prefix,
        heartbeat_tables=source.heartbeat_tables,
        boolean_columns=booleans_of(source),
    )
    dialect = _dialect(pipeline)
    decoder = DebeziumDecoder(
        dialect,
        native=load_native(),
        epochs=source.epochs,
        options=options,
        judge=OwnPlaces(),
    )
    return with_rules(decoder, pipeline.settings.fields)


def booleans_of(source: SourceSettings) -> Mapping[str, list[str]]:
    tables: defaultdict[str, list[str]] = defaultdict(list)
    for column in source.boolean_columns:
        table, _, name = column.rpartition(".")
        tables[table].append(name)
    return tables


def _dialect(pipeline: Pipeline) -> Dialect:
    source = pipeline.settings.source
    registry = registry_of(pipeline)
    if registry is not None:
        return AvroDialect(registry)
    return JsonDialect(load_declared(pipeline.config_dir / source.schemas_dir))


def registry_of(pipeline: Pipeline) -> SchemaRegistry | None:
    """Where the schemas of what the pipeline reads come from; None where it reads JSON."""
    source = pipeline.settings.source
    if source.registry is None or source.format != "avro":
        return None
    # Decoding is part of what a turn may take to hand over what it read.
    budget_s = min(_LOOKUPS_S, pipeline.settings.delivery.write_budget_seconds)
    return _registry(source.registry, pipeline.config_dir, budget_s)


def _registry(settings: RegistrySettings, folder: Path, budget_s: float) -> SchemaRegistry:
    user, password, token = settings.username, settings.password, settings.bearer_token
    return SchemaRegistry(
        settings.url,
        basic=(user, password.get_secret_value()) if user and password else None,
        bearer_token=token.get_secret_value() if token else None,
        verify=registry_tls(settings, folder, "source.registry"),
        lookup_budget_s=budget_s,
    )
