"""Is a deleted row remembered for as long as an older change of it can come again?

What is forgotten sooner than that can be brought back: by a dead letter that is sent on again, or
by a replay. One file says how long deletions are remembered, another how long topics keep records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callsheet.errors import Fault

if TYPE_CHECKING:
    from callsheet.config.loading import Pipeline
    from connectors.files import ConnectorFile

SEGMENT_HOURS: Final = 168.0
"""Kafka drops whole segments, and by default begins a new one after a week: the first record of one
outlives its time by so much.
"""
_HOUR_MS: Final = 3_600_000
_PATH: Final = ("sink", "tombstones_kept_hours")


@dataclass(frozen=True, slots=True)
class StatedTopic:
    """A topic, and where is written how long it keeps records."""

    name: str
    hours: float
    """``inf``: without limit."""
    place: str


@dataclass(slots=True)
class RetentionFindings:
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def stated_topics(connector: ConnectorFile) -> list[StatedTopic]:
    """The topics of a connector that say how long they keep records.

    Raises:
        ConfigError: with every fault of the topics file.
    """
    from connectors.documents import read_yaml
    from connectors.topics import load_topics, topics_path

    topics, document = load_topics(connector), read_yaml(topics_path(connector))
    prefix = connector.config["topic.prefix"] + "."
    found: list[StatedTopic] = []
    for topic in topics:
        retention_ms = topic.config.get("retention.ms")
        if retention_ms is None:
            continue
        table = topic.name.removeprefix(prefix)
        own = document.root["tables"].get(table, {})
        where = ("tables", table) if "retention_hours" in own else ("defaults",)
        line = document.line_of((*where, "retention_hours"))
        hours = inf if retention_ms == "-1" else int(retention_ms) / _HOUR_MS
        found.append(StatedTopic(topic.name, hours, f"{document.file}:{line}"))
    return found


def forgotten_deletes(
    pipelines: Sequence[Pipeline], topics: Sequence[StatedTopic]
) -> RetentionFindings:
    """Pipelines to Elasticsearch whose deleted rows may come back."""
    from sinks.elasticsearch.settings import ElasticsearchSettings

    found = RetentionFindings()
    for pipeline in pipelines:
        if isinstance(pipeline.sink, ElasticsearchSettings):
            source = pipeline.settings.source
            mine = [topic for topic in topics if source.reads(topic.name)]
            kept_hours = pipeline.sink.tombstones_kept_hours
            found.warnings += _endless(pipeline, kept_hours, [t for t in mine if t.hours == inf])
            found.faults += _too_short(pipeline, kept_hours, [t for t in mine if t.hours < inf])
    return found


def _endless(
    pipeline: Pipeline, kept_hours: float, topics: Sequence[StatedTopic]
) -> Iterator[Fault]:
    for topic in topics:
        yield _fault(
            pipeline,
            f"{topic.name} keeps records without limit ({topic.place}), deletions are remembered "
            f"for {kept_hours:g} hours: a replay of older records shows deleted rows until it has "
            "passed their deletion",
        )


def _too_short(
    pipeline: Pipeline, kept_hours: float, topics: Sequence[StatedTopic]
) -> Iterator[Fault]:
    from callsheet.kafka.dead_letters import LETTER_SEGMENT_HOURS

    letters = pipeline.settings.dead_letters.retention_hours
    wanted = letters + min(letters, LETTER_SEGMENT_HOURS)
    why = f"the dead letters are kept for {letters:g}"
    if topics:
        longest = max(topics, key=lambda topic: topic.hours)
        wanted += longest.hours + SEGMENT_HOURS
        why += (
            f", {longest.name} keeps records for {longest.hours:g} ({longest.place}) and those of "
            f"one segment up to {SEGMENT_HOURS:g} longer"
        )
    if kept_hours < wanted:
        yield _fault(
            pipeline,
            f"{kept_hours:g} hours are too short, a deleted row could come back: {why}; "
            f"at least {wanted:g}",
        )


def _fault(pipeline: Pipeline, message: str) -> Fault:
    from callsheet.config.document import parse
    from callsheet.config.loading import read

    return parse(read(Path(pipeline.file)), pipeline.file).fault(_PATH, message)
