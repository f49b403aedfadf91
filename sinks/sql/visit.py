"""A command's way into a replica, beside the workers that write it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from callsheet.errors import PreconditionError, RetryableError
from sinks.sql.mysql.dialect import MySql
from sinks.sql.settings import SqlSettings
from sinks.sql.trouble import Failed, told


class Visit:
    """Connections of one command. What fails within them is a RetryableError, or a
    PreconditionError: a command has no offsets that a FatalError could keep.
    """

    def __init__(
        self, settings: SqlSettings, config_dir: str, *, answer_timeout_s: float | None = None
    ) -> None:
        self.address = settings.address.render_as_string()
        self._dialect = MySql(settings, config_dir)
        timeout_s = answer_timeout_s or settings.answer_timeout_seconds
        self._engine = self._dialect.engine(answer_timeout_s=timeout_s)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Committed at the end of the block, rolled back if it raises."""
        with self.connection() as connection, connection.begin():
            yield connection

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """Whose transactions are the caller's affair."""
        try:
            with told(self._dialect), self._engine.connect() as connection:
                yield connection
        except Failed as failure:
            error = failure.as_error(self.address)
            if isinstance(error, RetryableError):
                raise error from failure
            raise PreconditionError(error.message, hint=error.hint) from failure

    def close(self) -> None:
        self._engine.dispose()
