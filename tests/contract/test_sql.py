"""The sink laws on the SQL sink, against a real MySQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callsheet.event import Op, encode_id
from callsheet.schema import Column, Kind
from callsheet.sink import Sink
from callsheet.testing import Destination, Ledger, SinkLaws
from tests.support.batches import Row, a_batch, a_schema
from tests.support.sql import SqlDestination, a_replica_behind_a_proxy


class TestSqlSink(SinkLaws):
    @pytest.fixture
    def destination(self, stack_env: dict[str, str]) -> Iterator[Destination]:
        with a_replica_behind_a_proxy(stack_env) as (replica, proxy):
            yield SqlDestination(replica, proxy)

    def test_ids_that_need_escaping_stay_apart(
        self, destination: Destination, sink: Sink, ledger: Ledger
    ) -> None:
        """A replica's row is found by its key columns, so they must say what the ID says."""
        assert isinstance(destination, SqlDestination)
        destination.schema = a_schema(
            Column("id", Kind.STRING, nullable=False), Column("name", Kind.STRING)
        )
        keys = ['a"b', "a\\b", "a|b", "", "é😀", "x" * 600 + "1", "x" * 600 + "2", "{}", "a", "A"]
        keys += ["a ", "é", "e", "'; DROP TABLE titles; -- ", "%s", "%", "\x00", "\x1a", "a\\"]
        ids = [encode_id([key]) for key in keys]
        rows = [
            Row(Op.CREATE, identifier, {"id": key, "name": str(n)})
            for n, (identifier, key) in enumerate(zip(ids, keys, strict=True))
        ]
        self.put(sink, ledger, a_batch(rows, destination.schema))
        assert destination.names() == {key: str(n) for n, key in enumerate(keys)}

        gone = [Row(Op.DELETE, identifier, None, 99) for identifier in ids]
        self.put(sink, ledger, a_batch(gone[::2], destination.schema, first_offset=len(keys)))
        assert destination.names().keys() == set(keys[1::2])
