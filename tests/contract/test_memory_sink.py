"""The fake sink keeps the laws, so tests that use it instead of a real one mean something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from callsheet.schema import TableSchema
from callsheet.sink import Sink
from callsheet.testing import CLOCK, Destination, SinkLaws
from tests.support.batches import Row, a_schema, upsert
from tests.support.memory_sink import MemorySink, MemoryStore


@dataclass(slots=True)
class MemoryDestination:
    store: MemoryStore = field(default_factory=MemoryStore)
    schema: TableSchema = field(default_factory=a_schema)

    def sink(self) -> Sink:
        return MemorySink(self.store, CLOCK, capacity_events=5_000)

    def names(self) -> Mapping[str, str | None]:
        rows = self.store.rows(f"studio.finance.{self.schema.table}")
        return {identifier: row["name"] for identifier, row in rows.items()}

    def poison(self, identifier: int) -> Row:
        self.store.poison.add(str(identifier))
        return upsert(identifier, name="poison")

    def freeze(self) -> None:
        self.store.is_frozen = True

    def thaw(self) -> None:
        self.store.is_frozen = False


class TestMemorySink(SinkLaws):
    @pytest.fixture
    def destination(self) -> Destination:
        return MemoryDestination()
