"""The audit: every change, for ever, in files that Hive reads.

``PLUGIN`` is how the registry finds it. The settings come without Arrow, so that
whoever only validates a pipeline file stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callsheet.sink import ReadTopic, SinkContext, SinkPlugin
from sinks.hive.settings import HiveSettings

if TYPE_CHECKING:
    from sinks.hive.erasure import HiveEraser
    from sinks.hive.inventory import HiveInventory
    from sinks.hive.progress import HiveOffsets
    from sinks.hive.sink import HiveSink


def build(settings: HiveSettings, context: SinkContext) -> HiveSink:
    from sinks.hive.sink import HiveSink

    return HiveSink(settings, context)


def inventory_of(settings: HiveSettings, _context: SinkContext, _read: ReadTopic) -> HiveInventory:
    from sinks.hive.inventory import HiveInventory

    return HiveInventory(settings)


def eraser(settings: HiveSettings, context: SinkContext, _read: ReadTopic) -> HiveEraser:
    from sinks.hive.erasure import HiveEraser

    return HiveEraser(settings, context.clock)


def offsets(settings: HiveSettings, _context: SinkContext) -> HiveOffsets:
    from sinks.hive.progress import HiveOffsets

    return HiveOffsets(settings)


PLUGIN = SinkPlugin(
    "hive", HiveSettings, build, inventory=inventory_of, eraser=eraser, offsets=offsets
)
