"""The SQL sink: :class:`callsheet.sink.Sink` put together from its parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog

from callsheet.batch import Batch, Offset, Partition
from callsheet.errors import FatalError, RetryableError
from callsheet.ports import Deadline
from callsheet.sink import Progress, SinkContext
from sinks.sql import preview
from sinks.sql.catalog import Catalog
from sinks.sql.control import Claim, Offsets
from sinks.sql.dialect import Server
from sinks.sql.mysql.dialect import MySql
from sinks.sql.settings import SqlSettings
from sinks.sql.store import Step, Store
from sinks.sql.trouble import Failed
from sinks.sql.writer import Writer

CLOSE_WAIT_S: Final = 5.0
_CLAIM_PAUSE_S: Final = 0.2


class SqlSink:
    """See docs/sql.md for what it guarantees and how."""

    def __init__(
        self,
        settings: SqlSettings,
        context: SinkContext,
        at: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._settings, self._clock = settings, context.clock
        self._log = structlog.get_logger("sql").bind(pipeline=context.pipeline)
        self._dialect = MySql(settings, context.config_dir)
        self._address = settings.address.render_as_string()
        offsets = Offsets(context.pipeline)
        self._engine, self._ddl_engine = (
            self._dialect.engine(answer_timeout_s=seconds)
            for seconds in (settings.answer_timeout_seconds, settings.ddl_timeout_seconds)
        )
        catalog = Catalog(
            self._dialect,
            self._ddl_engine,
            pipeline=context.pipeline,
            template=settings.table,
            log=self._log,
        )
        self._store = Store(self._dialect, self._engine, catalog, offsets, at)
        self._writer = Writer(
            self._store,
            context.clock,
            self._log,
            address=self._address,
            most_bytes=settings.in_flight_bytes,
            most_events=settings.transaction_events,
        )
        self._server: Server | None = None

    def open(self) -> None:
        try:
            server = self._store.open()
        except Failed as failure:
            raise failure.as_error(self._address) from failure
        self._log.info("replica answers", version=server.version, address=self._address)
        self._server = server
        self._writer.start()

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """Where the tables end. Whoever wrote these partitions before is fenced from now on."""
        if not partitions:
            return {}
        claims = self._claim(partitions)
        self._writer.own({place: claim.generation for place, claim in claims.items()})
        return {
            place: claim.next_offset
            for place, claim in claims.items()
            if claim.next_offset is not None
        }

    def _claim(self, partitions: Collection[Partition]) -> Mapping[Partition, Claim]:
        """Raises RetryableError when a predecessor does not let go of its locks in time."""
        deadline = Deadline.after(self._clock, self._settings.claim_timeout_seconds)
        while True:
            try:
                return self._store.claim(partitions)
            except Failed as failure:
                error = failure.as_error(self._address)
                if not isinstance(error, RetryableError) or deadline.expired():
                    raise error from failure
                self._log.warning("not claimed yet", cause=failure.detail)
                self._clock.sleep(min(_CLAIM_PAUSE_S, deadline.remaining_s()))

    def write(self, batch: Batch, deadline: Deadline) -> None:
        if len(batch):
            self._refuse_own_source(batch)
            self._writer.accept(batch, deadline)

    def _refuse_own_source(self, batch: Batch) -> None:
        """A replica in the source's own database would capture what it writes, for ever."""
        if self._server is None:
            raise RuntimeError("open() comes first")
        if batch.schema.database != self._settings.address.database:
            return
        gtids = batch.frame["gtid"].drop_nulls()
        if gtids.str.starts_with(f"{self._server.identity}:").any():
            raise FatalError(
                f"the replica at {self._address} is the source of {batch.topic} itself",
                hint="point sink.url to another server, or to another database",
            )

    def preview(self, batch: Batch) -> list[bytes]:
        return list(preview.lines(batch, self._settings.table))

    def progress(self) -> Progress:
        return self._writer.progress()

    def flush(self, deadline: Deadline) -> None:
        self._writer.flush(deadline)

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        """The same for both: flushed partitions have nothing waiting, lost ones must send none."""
        del lost
        self._writer.forget(partitions)

    def close(self) -> None:
        self._writer.stop(CLOSE_WAIT_S)
        for engine in (self._engine, self._ddl_engine):
            engine.dispose()
