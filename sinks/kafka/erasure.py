"""Rows taken out of a compacted topic: tombstones in the versions that the topic has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

    def look(
        self, topic: str, schema: TableSchema, identifiers: Collection[str]
    ) -> Mapping[str, Holding]:
        """An older value may still stand in front of its tombstone, until the topic is cleaned."""
        del topic
        found = {each.encode(): Holding(has_values=False, version=None) for each in identifiers}
        for message in self._read(self._settings.topic_of(schema)):
            key = message.key()
            if key in found and key is not None:
                text = dict(message.headers() or ()).get(VERSION) or b""
                version = int(text) if text.isdigit() else found[key].version
                found[key] = Holding(message.value() is not None, version)
        return {key.decode(): holding for key, holding in found.items()}

    def erase(self, topic: str, schema: TableSchema, identifiers: Collection[str]) -> None:
        del topic
        target, keys = self._settings.topic_of(schema), {each.encode() for each in identifiers}
        transaction, past = self._opened()
        deadline = Deadline.after(self._clock, _PATIENCE_S)
        versions = past.newest(target, keys, VERSION, deadline)
        if not versions:
            return
        records = [_tombstone(schema, key, version) for key, version in versions.items()]
        transaction.producer.make_room(sum(map(len, versions)), deadline)
        transaction.producer.send(target, records)
        past.confirm(target, versions, VERSION, deadline)

    def close(self) -> None:
        """The transaction is whose it was given by."""

    def _opened(self) -> tuple[Transaction, Past]:
        if self._transaction is None or self._transaction.past is None:
            raise PreconditionError(
                "a topic is erased from in a transaction",
                hint="erase by `callsheet erase`, which opens one",
            )
        self._transaction.producer.open(Deadline.after(self._clock, _PATIENCE_S))
        return self._transaction, self._transaction.past


def _tombstone(schema: TableSchema, key: bytes, version: int) -> OutgoingRecord:
    headers = [
        ("callsheet-type", Op.DELETE.value.encode()),
        ("callsheet-table", schema.qualified_name.encode()),
        (VERSION, str(version).encode()),
        ("callsheet-erased", b"1"),
    ]
    return key, None, headers
