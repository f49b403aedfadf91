"""The sink laws on the SQL sink, against a real MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Timer

import pytest

from callsheet.batch import Partition
from callsheet.event import Op, encode_id
from callsheet.schema import Column, Kind
from callsheet.sink import Sink
from callsheet.testing import Destination, Ledger, SinkLaws, within
from tests.support.batches import Row, a_batch, a_schema, upsert
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

    @pytest.mark.parametrize("is_thawed_first", [True, False])
    def test_what_was_in_hand_of_a_lost_partition_is_never_durable(
        self, destination: Destination, sink: Sink, ledger: Ledger, is_thawed_first: bool
    ) -> None:
        """Here the old request is a transaction that takes place: the table says where to start,
        so ``assigned`` waits for it, and a frozen server must thaw before it can be answered.
        """
        topic = f"studio.finance.{destination.schema.table}"
        lost, kept = Partition(topic, 1), Partition(topic, 0)
        sink.assigned([lost, kept])
        self.put(sink, ledger, a_batch([upsert(0, name="first")], destination.schema))
        destination.freeze()
        rows = [
            replace(upsert(n, name="x", version=2), partition=n % 2, offset=100 + n)
            for n in range(1, 41)
        ]
        rows[10] = replace(destination.poison(11), partition=1, offset=111)
        batch = a_batch(rows, destination.schema)
        sink.write(batch, within(5))
        sink.revoked([lost], lost=True)
        if is_thawed_first:
            destination.thaw()
            sink.flush(within(30))
        thaw = Timer(0.5, destination.thaw)
        thaw.start()
        starts = sink.assigned([lost])
        thaw.join()
        assert starts in ({}, {lost: 140}), "all of it took place, or nothing"
        sink.flush(within(30))
        ledger.look()
        assert ledger.durable == {kept: batch.next_offsets()[kept]}
        assert ledger.rejections == []
        later = a_batch(
            [replace(upsert(99, name="new", version=3), partition=1, offset=7)], destination.schema
        )
        self.put(sink, ledger, later)
        assert ledger.durable[lost] == 8
        assert destination.names()["99"] == "new"
