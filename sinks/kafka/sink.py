"""The Kafka sink: :class:`callsheet.sink.Sink` put together from its parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson
import polars as pl
import structlog

from callsheet.batch import Batch, Offset, Partition
from callsheet.codec.columnar import load_native
from callsheet.codec.events import events
from callsheet.codec.registry_tls import registry_tls
from callsheet.errors import Reason
from callsheet.ports import Deadline
from callsheet.sink import Counts, Progress, Rejection, SinkContext, Transaction
from sinks.kafka.catalog import Catalog, Target
from sinks.kafka.late import Late, Latecomers
from sinks.kafka.latest import Versions, latest_rows
from sinks.kafka.records import Rendered, rejection, render
from sinks.kafka.settings import KafkaSinkSettings, Mode
from sinks.kafka.subjects import Subjects

_OPEN_S: Final = 10.0


class KafkaSink:
    """See docs/kafka.md for what it guarantees and how.

    Transactional: what :meth:`progress` calls durable is in the open transaction, which the worker
    commits together with the offsets.
    """

    def __init__(self, settings: KafkaSinkSettings, context: SinkContext) -> None:
        self._settings, self._context = settings, context
        self._log = structlog.get_logger("kafka").bind(pipeline=context.pipeline)
        verify = registry_tls(settings.registry, Path(context.config_dir), "sink.registry")
        self._subjects = Subjects(settings.registry, verify=verify)
        self._versions = Versions(settings.remembered_ids)
        self._catalog: Catalog | None = None
        self._late: Latecomers | None = None
        self._durable: dict[Partition, Offset] = {}
        self._rejections: list[Rejection] = []
        self._counts = Counts()

    def open(self) -> None:
        transaction = self._transaction()
        catalog = Catalog(self._settings, transaction, self._subjects, load_native(), self._log)
        for topic in self._settings.fixed_topics():
            catalog.refuse_loop(topic)
        transaction.producer.open(Deadline.after(self._context.clock, _OPEN_S))
        if transaction.past is not None and self._settings.mode is Mode.LATEST:
            kept_hours = self._settings.tombstones_kept_hours
            self._late = Latecomers(transaction.past, kept_hours, self._context.clock)
        self._catalog = catalog

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        """The consumer group knows best: the offsets are committed with the events."""
        del partitions
        return {}

    def write(self, batch: Batch, deadline: Deadline) -> None:
        if self._catalog is None:
            raise RuntimeError("open() comes first")
        target = self._catalog.target(batch.topic, batch.schema, deadline)
        late = self._late.look(target.topic, batch, deadline) if self._late else None
        self._transaction().producer.make_room(batch.size_bytes, deadline)
        # From here on nothing may fail that a second call of this batch would mend.
        chosen = self._chosen(batch if late is None else self._timely(batch, late))
        rendered = self._send(chosen, target)
        for partition, end in batch.next_offsets().items():
            self._durable[partition] = max(end, self._durable.get(partition, 0))
        if self._late:
            self._late.confirm(target.topic, chosen, rendered, deadline)

    def _timely(self, batch: Batch, late: Late) -> Batch:
        """Without the rows that come too late; of the others it is known what is newer."""
        self._rejections += late.refused.values()
        self._versions.learn(batch, late.known)
        return self._picked(batch, [row for row in range(len(batch)) if row not in late.refused])

    def _send(self, batch: Batch, target: Target) -> Rendered:
        rendered = render(
            batch,
            target,
            most_bytes=self._settings.max_message_bytes,
            has_tombstones=self._settings.mode is Mode.LATEST,
        )
        too_large = self._transaction().producer.send(target.topic, rendered.records)
        self._rejections += rendered.rejections
        self._rejections += [
            rejection(batch, rendered.rows[n], Reason.OVERSIZE, "larger than any topic takes")
            for n in too_large
        ]
        self._counts += Counts(written=len(rendered.records) - len(too_large))
        return rendered

    def preview(self, batch: Batch) -> list[bytes]:
        """One line per event, as a reader that decodes it would see it."""
        topic = self._settings.topic_of(batch.schema)
        return [
            orjson.dumps({"topic": topic, "key": event.id, "event": event}, default=str)
            for event in events(batch)
        ]

    def progress(self) -> Progress:
        taken = Progress(dict(self._durable), tuple(self._rejections), self._counts)
        self._rejections, self._counts = [], Counts()
        return taken

    def flush(self, deadline: Deadline) -> None:
        """Nothing to wait for: the commit does, and is told what failed."""

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        """The same for both: of what is lost nothing is committed, and it will be read again."""
        del lost
        self._versions.forget(partitions)
        for partition in partitions:
            self._durable.pop(partition, None)
        gone = set(partitions)
        self._rejections = [r for r in self._rejections if r.partition not in gone]

    def close(self) -> None:
        self._subjects.close()

    # --- which rows -----------------------------------------------------------------------------

    def _chosen(self, batch: Batch) -> Batch:
        """What of it travels: all, or in the compacted mode the latest state of each ID."""
        if self._settings.mode is Mode.LOG:
            fresh = self._without_covered(batch)
            self._counts += Counts(stale=len(batch) - len(fresh))
            return fresh
        latest = self._picked(batch, latest_rows(batch))
        fresh = self._without_covered(latest)
        fresh = self._picked(fresh, self._versions.news(fresh))
        self._counts += Counts(superseded=len(batch) - len(latest), stale=len(latest) - len(fresh))
        return fresh

    def _without_covered(self, batch: Batch) -> Batch:
        """Without rows that are in the transaction, or were in one, since we own the partition."""
        places = batch.frame.select("partition", "offset")
        covered = {p.number: end for p, end in self._durable.items() if p.topic == batch.topic}
        firsts = places.group_by("partition").min().iter_rows()
        if all(offset >= covered.get(number, 0) for number, offset in firsts):
            return batch
        kept = [
            row
            for row, (number, offset) in enumerate(places.iter_rows())
            if offset >= covered.get(number, 0)
        ]
        return self._picked(batch, kept)

    def _picked(self, batch: Batch, rows: Sequence[int]) -> Batch:
        if len(rows) == len(batch):
            return batch
        messages = [batch.messages[row] for row in rows]
        size_bytes = batch.size_bytes * len(rows) // len(batch)
        frame = batch.frame[pl.Series(rows, dtype=pl.UInt32)]
        return replace(batch, columns=frame, messages=messages, size_bytes=size_bytes)

    def _transaction(self) -> Transaction:
        if self._context.transaction is None:
            raise RuntimeError("a transactional sink needs a transaction")
        return self._context.transaction
