"""Another SQL database as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import ReadTopic, SinkContext, SinkPlugin
from sinks.sql.inventory import SqlInventory
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink


def build(settings: SqlSettings, context: SinkContext) -> SqlSink:
    return SqlSink(settings, context)


def inventory(settings: SqlSettings, context: SinkContext, _read: ReadTopic) -> SqlInventory:
    return SqlInventory(settings, context.config_dir)


PLUGIN = SinkPlugin("sql", SqlSettings, build, inventory=inventory)
