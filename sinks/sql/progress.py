"""Where a replica goes on, read and set from outside: ``callsheet offsets reset``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from callsheet.batch import Offset, Partition
from callsheet.sink import SinkContext
from sinks.sql.control import OFFSETS, Offsets
from sinks.sql.settings import SqlSettings
from sinks.sql.visit import Visit


class SqlOffsets:
    """Implements :class:`callsheet.sink.OwnOffsets`. Rows are compared by version, never by offset:
    so a replay is harmless, and what is passed over is simply not there.
    """

    no_gaps = ""

    def __init__(self, settings: SqlSettings, context: SinkContext) -> None:
        self._visit = Visit(settings, context.config_dir)
        self._offsets = Offsets(context.pipeline)

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        with self._visit.transaction() as connection:
            if not sa.inspect(connection).has_table(OFFSETS.name):
                return {}
            return self._offsets.ends(connection, partitions)

    def move(self, offsets: Mapping[Partition, Offset]) -> None:
        with self._visit.transaction() as connection:
            if sa.inspect(connection).has_table(OFFSETS.name):
                self._offsets.move(connection, offsets)

    def close(self) -> None:
        self._visit.close()
