"""Where a replica goes on, read and set from outside: ``callsheet offsets reset``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa

from callsheet.batch import Offset, Partition
from callsheet.errors import PreconditionError, RetryableError
from callsheet.sink import SinkContext
from sinks.sql.control import OFFSETS, Offsets
from sinks.sql.mysql.dialect import MySql
from sinks.sql.settings import SqlSettings
from sinks.sql.trouble import Failed, told


class SqlOffsets:
    """Implements :class:`callsheet.sink.OwnOffsets`. Rows are compared by version, never by offset:
    so a replay is harmless, and what is passed over is simply not there.
    """

    no_gaps = ""

    def __init__(self, settings: SqlSettings, context: SinkContext) -> None:
        self._address = settings.address.render_as_string()
        self._dialect = MySql(settings, context.config_dir)
        self._engine = self._dialect.engine(answer_timeout_s=settings.answer_timeout_seconds)
        self._offsets = Offsets(context.pipeline)

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(OFFSETS.name):
                return {}
            return self._offsets.ends(connection, partitions)

    def move(self, offsets: Mapping[Partition, Offset]) -> None:
        with self._transaction() as connection:
            if sa.inspect(connection).has_table(OFFSETS.name):
                self._offsets.move(connection, offsets)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with told(self._dialect), self._engine.begin() as connection:
                yield connection
        except Failed as failure:
            error = failure.as_error(self._address)
            if isinstance(error, RetryableError):
                raise error from failure
            raise PreconditionError(error.message, hint=error.hint) from failure
