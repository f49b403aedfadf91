"""Another SQL database as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import SinkContext, SinkPlugin
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink


def build(settings: SqlSettings, context: SinkContext) -> SqlSink:
    return SqlSink(settings, context)


PLUGIN = SinkPlugin("sql", SqlSettings, build)
