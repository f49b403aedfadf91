"""Another SQL database as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import ReadTopic, SinkContext, SinkPlugin
from sinks.sql.erasure import SqlEraser
from sinks.sql.inventory import SqlInventory
from sinks.sql.progress import SqlOffsets
from sinks.sql.settings import SqlSettings
from sinks.sql.sink import SqlSink


def build(settings: SqlSettings, context: SinkContext) -> SqlSink:
    return SqlSink(settings, context)


def inventory_of(settings: SqlSettings, context: SinkContext, _read: ReadTopic) -> SqlInventory:
    return SqlInventory(settings, context.config_dir)


def eraser(settings: SqlSettings, context: SinkContext, _read: ReadTopic) -> SqlEraser:
    return SqlEraser(settings, context.pipeline, context.config_dir)


def offsets(settings: SqlSettings, context: SinkContext) -> SqlOffsets:
    return SqlOffsets(settings, context)


PLUGIN = SinkPlugin(
    "sql", SqlSettings, build, inventory=inventory_of, eraser=eraser, offsets=offsets
)
