"""Elasticsearch as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import SinkContext, SinkPlugin
from sinks.elasticsearch.settings import ElasticsearchSettings
from sinks.elasticsearch.sink import ElasticsearchSink


def build(settings: ElasticsearchSettings, context: SinkContext) -> ElasticsearchSink:
    return ElasticsearchSink(settings, context)


PLUGIN = SinkPlugin("elasticsearch", ElasticsearchSettings, build)
