"""One row taken out of a compacted topic: a tombstone in the version that the topic has."""

from __future__ import annotations

from typing import Final

from callsheet.errors import PreconditionError
from callsheet.event import Op
from callsheet.ports import Clock, Deadline, OutgoingRecord, Past
from callsheet.schema import TableSchema
from callsheet.sink import Holding, ReadTopic, Transaction
from sinks.kafka.records import VERSION
from sinks.kafka.settings import KafkaSinkSettings

_PATIENCE_S: Final = 600.0
"""To read a topic of many millions of records."""


class LatestEraser:
    """Implements :class:`callsheet.sink.Eraser` for ``mode: latest``."""

    def __init__(
        self,
        settings: KafkaSinkSettings,
        transaction: Transaction | None,
        read: ReadTopic,
        clock: Clock,
    ) -> None:
        self._settings, self._transaction = settings, transaction
        self._read, self._clock = read, clock

    def look(self, topic: str, schema: TableSchema, identifier: str) -> Holding:
        """An older value may still stand in front of its tombstone, until the topic is cleaned."""
        del topic
        key, version, has_values = identifier.encode(), None, False
        for message in self._read(self._settings.topic_of(schema)):
            if message.key() == key:
                text = dict(message.headers() or ()).get(VERSION) or b""
                version = int(text) if text.isdigit() else version
                has_values = message.value() is not None
        return Holding(has_values, version)

    def erase(self, topic: str, schema: TableSchema, identifier: str) -> None:
        del topic
        target, key = self._settings.topic_of(schema), identifier.encode()
        transaction, past = self._opened()
        deadline = Deadline.after(self._clock, _PATIENCE_S)
        version = past.newest(target, {key}, VERSION, deadline).get(key)
        if version is None:
            return
        record: OutgoingRecord = (
            key,
            None,
            [
                ("callsheet-type", Op.DELETE.value.encode()),
                ("callsheet-table", schema.qualified_name.encode()),
                (VERSION, str(version).encode()),
                ("callsheet-erased", b"1"),
            ],
        )
        transaction.producer.make_room(len(key), deadline)
        transaction.producer.send(target, [record])
        past.confirm(target, {key: version}, VERSION, deadline)

    def close(self) -> None:
        """The transaction is whose it was given by."""

    def _opened(self) -> tuple[Transaction, Past]:
        if self._transaction is None or self._transaction.past is None:
            raise PreconditionError("a topic is erased from in a transaction")
        self._transaction.producer.open(Deadline.after(self._clock, _PATIENCE_S))
        return self._transaction, self._transaction.past
