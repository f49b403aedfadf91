"""The Elasticsearch sink: :class:`callsheet.sink.Sink` put together from its parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import orjson
import structlog
from elastic_transport import ApiError, TransportError

from callsheet.batch import Batch, Offset, Partition
from callsheet.codec.columnar import load_native
from callsheet.ports import Deadline
from callsheet.sink import Progress, SinkContext
from sinks.elasticsearch import overrides, server
from sinks.elasticsearch.catalog import Catalog, alias_of
from sinks.elasticsearch.client import connect, translated
from sinks.elasticsearch.delivery import Delivery
from sinks.elasticsearch.lanes import Lanes
from sinks.elasticsearch.pressure import Pressure
from sinks.elasticsearch.purge import Purger
from sinks.elasticsearch.refresh import Refresher
from sinks.elasticsearch.render import Renderer
from sinks.elasticsearch.sender import Sender
from sinks.elasticsearch.settings import ElasticsearchSettings, Refresh

CLOSE_WAIT_S: Final = 5.0


class ElasticsearchSink:
    """See docs/elasticsearch.md for what it guarantees and how."""

    def __init__(self, settings: ElasticsearchSettings, context: SinkContext) -> None:
        self._settings, self._clock = settings, context.clock
        log = structlog.get_logger("elasticsearch").bind(pipeline=context.pipeline)
        self._log = log
        self._overrides = overrides.load(Path(context.config_dir) / settings.mappings)
        self._client = connect(settings, context.config_dir)
        self._native = load_native()
        self._renderer = Renderer(
            settings.lanes, settings.request_bytes, context.clock, self._native
        )
        pressure = Pressure(settings.lanes, settings.request_bytes)
        delivery = Delivery(Lanes(settings.lanes), pressure, context.clock, log)
        self._refresher = Refresher(self._client, settings.adaptive, context.clock, log)
        self._sender = Sender(
            self._client,
            delivery,
            context.clock,
            most_bytes=settings.in_flight_bytes,
            on_written=self._written,
        )
        self._purger = Purger(
            self._client,
            context.clock,
            log,
            kept_s=settings.tombstones_kept_hours * 3600,
            every_s=settings.purge_every_minutes * 60,
        )
        self._catalog: Catalog | None = None

    def open(self) -> None:
        try:
            version = server.check_version(self._client)
            asked = self._settings.server_types
            types = server.types(self._client) if asked == "ask" else frozenset[str](asked)
        except (ApiError, TransportError) as error:
            raise translated(error, self._clock) from error
        self._log.info("elasticsearch answers", version=version, types=sorted(types))
        self._catalog = Catalog(
            self._client,
            self._settings,
            self._overrides,
            server_types=types,
            clock=self._clock,
            log=self._log,
        )
        self._sender.start()
        self._refresher.start()
        self._purger.start(self._catalog.indices)

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """The consumer group knows best: documents carry versions, not offsets."""
        del partitions
        return {}

    def write(self, batch: Batch, deadline: Deadline) -> None:
        self._sender.check(batch.topic)
        if not len(batch):
            return
        alias = self._opened().target(batch.topic, batch.schema, deadline)
        self._sender.make_room(batch.size_bytes, deadline)
        self._sender.accept(batch, alias, self._renderer.render(batch, alias))

    def preview(self, batch: Batch) -> list[bytes]:
        """Each bulk operation as one line of JSON: its action, then its document.

        What an operation of the same ID supersedes within the batch does not travel, so is not
        shown. Needs no server.
        """
        alias = alias_of(self._settings.index, batch.topic, batch.schema)
        most = self._settings.in_flight_bytes
        whole = Renderer(1, most, self._clock, self._native).render(batch, alias)
        lines = b"".join(piece.body for piece in whole.pieces).splitlines()
        shown = [
            action[:-1] + b',"document":' + document + b"}"
            for action, document in zip(lines[::2], lines[1::2], strict=True)
        ]
        refused = [
            orjson.dumps({"dead_letter": {"reason": each.reason, "detail": each.detail}})
            for each in whole.refusals
        ]
        return shown + refused

    def progress(self) -> Progress:
        return self._sender.progress()

    def flush(self, deadline: Deadline) -> None:
        self._sender.flush(deadline)

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        """The same for both: flushed partitions have nothing waiting, lost ones must send none."""
        del lost
        self._sender.forget(partitions)

    def close(self) -> None:
        self._sender.stop(CLOSE_WAIT_S)
        self._refresher.stop(CLOSE_WAIT_S)
        self._purger.stop(CLOSE_WAIT_S)
        self._client.close()

    def _opened(self) -> Catalog:
        if self._catalog is None:
            raise RuntimeError("open() comes first")
        return self._catalog

    def _written(self, documents: Mapping[str, int]) -> None:
        if self._settings.refresh is Refresh.ADAPTIVE:
            self._refresher.written(documents)
