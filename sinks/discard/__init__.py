"""No destination: what a pipeline costs without one. ``PLUGIN`` is how the registry finds it."""

from __future__ import annotations

from callsheet.sink import SinkContext, SinkPlugin
from sinks.discard.sink import DiscardSettings, DiscardSink


def build(_settings: DiscardSettings, _context: SinkContext) -> DiscardSink:
    return DiscardSink()


PLUGIN = SinkPlugin("discard", DiscardSettings, build)
