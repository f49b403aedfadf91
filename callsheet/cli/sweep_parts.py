"""A sweep's parts, from the pipelines' files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from callsheet.app import booleans_of, connection_of, decoder_of, registry_of
from callsheet.cli.dlq_workshop import letter_log
from callsheet.codec.declared import load_declared
from callsheet.config.loading import Pipeline, load
from callsheet.config.models import PipelineSettings
from callsheet.errors import RetryableError, UnavailableError, UsageError
from callsheet.kafka.append import TopicAppender
from callsheet.kafka.groups import KafkaGroups
from callsheet.kafka.scan import TopicScan
from callsheet.limits import TruncatePolicy
from callsheet.ports import SystemClock
from callsheet.sink import Inventory, SinkContext
from callsheet.sweep.marks import Marks
from callsheet.sweep.raw import avro_values, json_values
from callsheet.sweep.sweep import Capture, Rules, Store, Sweep
from callsheet.sweep.tables import SweptTable, avro_table, json_table, named
from sinks import plugin


@dataclass(frozen=True, slots=True)
class Scene:
    """Pipelines behind one connector, on one cluster."""

    pipelines: Sequence[Pipeline]
    prefix: str
    groups: KafkaGroups
    scan: TopicScan

    @property
    def settings(self) -> PipelineSettings:
        return self.pipelines[0].settings


def scene_of(files: Sequence[Path]) -> Scene:
    """
    Raises:
        ConfigError: with the faults of a file.
        UsageError: they do not read from the same connector.
    """
    pipelines = [load(file, os.environ, plugin) for file in files]
    first = pipelines[0].settings
    same = {(p.settings.source.topic_prefix, p.settings.kafka.bootstrap_servers) for p in pipelines}
    if len(same) > 1 or len({p.settings.source.format for p in pipelines}) > 1:
        raise UsageError(
            "the pipelines do not read from the same connector",
            hint="sweep those of one source.topic_prefix, one cluster and one format at a time",
        )
    if not first.source.topic_prefix:
        raise UsageError(
            f"{pipelines[0].file} does not say whose topics it reads",
            hint="set source.topic_prefix to the connector's topic.prefix",
        )
    connection = connection_of(first)
    groups = KafkaGroups(connection)
    scan = TopicScan(connection, groups, SystemClock())
    return Scene(pipelines, first.source.topic_prefix, groups, scan)


def tables_of(scene: Scene, wanted: Collection[str]) -> list[SweptTable]:
    """Tables that one of the pipelines reads; ``wanted``: only these, as titles or finance.titles.

    Raises:
        UsageError: one of them is none.
        PreconditionError: no delete of one could be written.
    """
    topics = scene.groups.partitions(
        topic for each in scene.pipelines for topic in each.settings.source.subscription()
    )
    found: dict[str, tuple[str, str]] = {}
    for topic in dict.fromkeys(place.topic for place in topics):
        parts = named(topic, scene.prefix)
        if parts is not None and parts[1] not in scene.settings.source.heartbeat_tables:
            found[topic] = parts
    names = {name for parts in found.values() for name in (parts[1], ".".join(parts))}
    if unknown := sorted(set(wanted) - names):
        raise UsageError(
            f"no pipeline reads the table {', '.join(unknown)}",
            hint=f"they read {', '.join(sorted('.'.join(parts) for parts in found.values()))}",
        )
    chosen = {
        topic: parts
        for topic, parts in found.items()
        if not wanted or parts[1] in wanted or ".".join(parts) in wanted
    }
    made = (_table(scene, topic, parts) for topic, parts in chosen.items())
    return [table for table in made if table is not None]


def _table(scene: Scene, topic: str, parts: tuple[str, str]) -> SweptTable | None:
    pipeline = next(each for each in scene.pipelines if each.settings.source.reads(topic))
    source = pipeline.settings.source
    booleans = frozenset(booleans_of(source).get(".".join(parts), ()))
    identity = (scene.prefix, *parts)
    registry = registry_of(pipeline)
    if registry is None:
        declared = load_declared(pipeline.config_dir / source.schemas_dir)
        return json_table(topic, identity, booleans, declared)
    try:
        return avro_table(topic, identity, booleans, registry)
    finally:
        registry.close()


def sweep_of(scene: Scene, capture: Capture, rules: Rules, report: Callable[[str], None]) -> Sweep:
    """Without stores: they are opened for each run."""
    registry = registry_of(scene.pipelines[0])
    marks = Marks(
        scene.scan,
        json_values() if registry is None else avro_values(registry),
        prefix=scene.prefix,
        heartbeats=scene.settings.source.heartbeat_tables,
        truncatable=truncatable(scene.pipelines, scene.prefix),
    )
    log = TopicAppender(connection_of(scene.settings))
    return Sweep(capture, marks, (), scene.groups, log, rules, SystemClock(), report)


def truncatable(pipelines: Sequence[Pipeline], prefix: str) -> frozenset[str]:
    """Tables that a TRUNCATE may empty: each pipeline that reads one lists it or passes over its
    TRUNCATEs, and at least one lists it.
    """
    names = {name for each in pipelines for name in each.settings.truncate_tables}
    allowed = set()
    for name in names:
        readers = [p.settings for p in pipelines if p.settings.source.reads(f"{prefix}.{name}")]
        lists = [each for each in readers if name in each.truncate_tables]
        keeps = [each for each in readers if each.truncate is TruncatePolicy.SKIP]
        if lists and len(lists) + len(keeps) == len(readers):
            allowed.add(name)
    return frozenset(allowed)


@contextmanager
def stores_of(scene: Scene) -> Iterator[list[Store]]:
    """Of the pipelines whose destinations can be asked.

    Raises:
        UsageError: none of them can.
        UnavailableError: one is away, whenever it is asked.
    """
    with ExitStack() as stack:
        stores = []
        for pipeline in scene.pipelines:
            inventory = inventory_of(scene, pipeline)
            if inventory is not None:
                stack.callback(inventory.close)
                stores.append(_store(scene, pipeline, inventory))
        if not stores:
            raise UsageError(
                "none of the destinations can be asked which rows it has",
                hint="name a pipeline to a search index, a replica, an audit or a compacted topic",
            )
        try:
            yield stores
        except RetryableError as error:
            raise UnavailableError(error.message, hint=error.hint) from error


def inventory_of(scene: Scene, pipeline: Pipeline) -> Inventory | None:
    make = pipeline.plugin.inventory
    if make is None:
        return None
    context = SinkContext(pipeline.name, SystemClock(), config_dir=str(pipeline.config_dir))
    return make(pipeline.sink, context, scene.scan.topic)


def _store(scene: Scene, pipeline: Pipeline, inventory: Inventory) -> Store:
    settings = pipeline.settings

    def letters(topic: str) -> int:
        return sum(each.source.topic == topic for each in letter_log(settings).book().open())

    return Store(
        pipeline.name,
        settings.group_id,
        settings.source.epochs.get(scene.prefix, 0),
        inventory,
        decoder_of(pipeline),
        settings.source.reads,
        letters,
    )
