"""Destinations, and how they are found by name.

A sink is a :class:`callsheet.sink.SinkPlugin`. The built-in ones are listed here; anybody else's
package ships one through the entry point group ``callsheet.sinks``::

    [project.entry-points."callsheet.sinks"]
    opensearch = "our_sinks.opensearch:PLUGIN"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from callsheet.errors import ConfigError
from callsheet.sink import SinkPlugin

GROUP: Final = "callsheet.sinks"

BUILT_IN: Final[Mapping[str, str]] = {
    "discard": "sinks.discard:PLUGIN",
    "elasticsearch": "sinks.elasticsearch:PLUGIN",
    "hive": "sinks.hive:PLUGIN",
    "kafka": "sinks.kafka:PLUGIN",
    "sql": "sinks.sql:PLUGIN",
}
"""Name to object reference: a sink is imported only by the pipeline that uses it."""


def available() -> Mapping[str, EntryPoint]:
    """All sinks on this machine by name. A built-in one cannot be replaced by an entry point."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    found |= {name: EntryPoint(name, reference, GROUP) for name, reference in BUILT_IN.items()}
    return dict(sorted(found.items()))


def plugin(name: str) -> SinkPlugin:
    """The sink that a pipeline file's ``sink: {type: name}`` means.

    Raises:
        ConfigError: no sink has that name, or its package does not hold a sink.
    """
    sinks = available()
    point = sinks.get(name)
    if point is None:
        raise ConfigError(
            f"there is no sink {name!r}",
            hint=f"sinks on this machine: {', '.join(sinks)}",
        )
    try:
        loaded = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the sink {name!r} ({point.value}) cannot be loaded: {error}",
            hint="install the package that ships it, or correct its entry point",
        ) from error
    if not isinstance(loaded, SinkPlugin):
        raise ConfigError(
            f"the sink {name!r} ({point.value}) is no SinkPlugin",
            hint="the entry point must name a callsheet.sink.SinkPlugin object",
        )
    return loaded
