"""What a compacted topic still shows of a table: the last record of each key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from callsheet.batch import Message
from callsheet.schema import TableSchema
from callsheet.sink import ReadTopic
from sinks.kafka.settings import KafkaSinkSettings

PAGE_ROWS: Final = 5_000
_VERSION: Final = "callsheet-version"


class LatestInventory:
    """Implements :class:`callsheet.sink.Inventory` for ``mode: latest``. Reads the whole topic, and
    holds an ID and a version of each row in it.
    """

    def __init__(self, settings: KafkaSinkSettings, read: ReadTopic) -> None:
        self._settings, self._read = settings, read
        self._known: tuple[str, dict[str, int]] | None = None

    def alive(self, topic: str, schema: TableSchema) -> int:
        del topic
        return len(self._living(schema))

    def older(self, topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        del topic
        found = (each for each, known in self._living(schema).items() if known < version)
        while page := tuple(islice(found, PAGE_ROWS)):
            yield page

    def close(self) -> None:
        """Nothing is held open."""

    def _living(self, schema: TableSchema) -> dict[str, int]:
        topic = self._settings.topic_of(schema)
        if self._known is None or self._known[0] != topic:
            self._known = topic, _last_records(self._read(topic))
        return self._known[1]


def _last_records(messages: Iterator[Message]) -> dict[str, int]:
    living: dict[str, int] = {}
    for message in messages:
        key, value = message.key(), message.value()
        version = dict(message.headers() or ()).get(_VERSION)
        if key is None or version is None or not version.isdigit():
            continue  # not one of ours
        if value is None:
            living.pop(key.decode(), None)
        else:
            living[key.decode()] = int(version)
    return living
