"""Elasticsearch as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from sinks.elasticsearch.lean import import_client

import_client()

from callsheet.sink import ReadTopic, SinkContext, SinkPlugin  # noqa: E402
from sinks.elasticsearch.erasure import ElasticsearchEraser  # noqa: E402
from sinks.elasticsearch.inventory import ElasticsearchInventory  # noqa: E402
from sinks.elasticsearch.settings import ElasticsearchSettings  # noqa: E402
from sinks.elasticsearch.sink import ElasticsearchSink  # noqa: E402


def build(settings: ElasticsearchSettings, context: SinkContext) -> ElasticsearchSink:
    return ElasticsearchSink(settings, context)


def inventory_of(
    settings: ElasticsearchSettings, context: SinkContext, _read: ReadTopic
) -> ElasticsearchInventory:
    return ElasticsearchInventory(settings, context.clock, config_dir=context.config_dir)


def eraser(
    settings: ElasticsearchSettings, context: SinkContext, _read: ReadTopic
) -> ElasticsearchEraser:
    return ElasticsearchEraser(settings, context.clock, config_dir=context.config_dir)


PLUGIN = SinkPlugin(
    "elasticsearch", ElasticsearchSettings, build, inventory=inventory_of, eraser=eraser
)
