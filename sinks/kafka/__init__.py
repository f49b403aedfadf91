"""Kafka topics downstream as a destination. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import ReadTopic, SinkContext, SinkPlugin
from sinks.kafka.erasure import LatestEraser
from sinks.kafka.inventory import LatestInventory
from sinks.kafka.settings import KafkaSinkSettings, Mode
from sinks.kafka.sink import KafkaSink


def build(settings: KafkaSinkSettings, context: SinkContext) -> KafkaSink:
    return KafkaSink(settings, context)


def inventory_of(
    settings: KafkaSinkSettings, _context: SinkContext, read: ReadTopic
) -> LatestInventory | None:
    """A log keeps no state of rows: the deletes reach it like all other events."""
    return LatestInventory(settings, read) if settings.mode is Mode.LATEST else None


def eraser(
    settings: KafkaSinkSettings, context: SinkContext, read: ReadTopic
) -> LatestEraser | None:
    """From a log nothing is taken but by its retention."""
    if settings.mode is not Mode.LATEST:
        return None
    return LatestEraser(settings, context.transaction, read, context.clock)


PLUGIN = SinkPlugin(
    "kafka", KafkaSinkSettings, build, is_transactional=True, inventory=inventory_of, eraser=eraser
)
