"""Kafka topics downstream as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import SinkContext, SinkPlugin
from sinks.kafka.settings import KafkaSinkSettings
from sinks.kafka.sink import KafkaSink


def build(settings: KafkaSinkSettings, context: SinkContext) -> KafkaSink:
    return KafkaSink(settings, context)


PLUGIN = SinkPlugin("kafka", KafkaSinkSettings, build, is_transactional=True)
