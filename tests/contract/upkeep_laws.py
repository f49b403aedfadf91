"""Compaction, folding and retention on any store that an audit may be on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from callsheet.batch import Partition
from callsheet.schema import Column, Kind
from sinks.hive.check import Examiner
from sinks.hive.folding import fold_lane
from sinks.hive.maintenance import Maintenance
from sinks.hive.partitions import PartitionLog, merged
from sinks.hive.ranges import OWN_FOLDER, RangeLog
from sinks.hive.stores.port import Store
from tests.support.batches import a_batch, a_schema, upsert
from tests.support.clock import FakeClock
from tests.support.hive import Gate, a_sink, counting, files, settings, within
from tests.support.hive_catalog import ModelHive

SCHEMA = a_schema(Column("name", Kind.STRING), table="plans")
TOPIC, TABLE = "studio.finance.plans", "finance_plans"
LANE = f"{TOPIC}-0"
DAY_US = 86_400_000_000
LATER = datetime(2040, 1, 1, tzinfo=UTC)


class UpkeepLaws:
    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def test_an_audit_is_kept_small_and_whole(self, store: Store) -> None:
        hive, rows = ModelHive(), [(0, n) for n in range(6)]
        self.take(store, 6)
        hive.show(store)
        assert self.compact(store, hive) == 2
        assert files(store, TABLE) == []
        self.assert_whole(store, hive, rows)
        self.take(store, 9)  # a worker starts, and goes on in the same two days
        hive.show(store)
        rows = [(0, n) for n in range(9)]
        self.assert_whole(store, hive, rows)
        assert self.fold(store) > 6
        assert len(store.names(f"{OWN_FOLDER}/ranges/{LANE}")) == 2
        self.assert_whole(store, hive, rows)
        assert self.compact(store, hive) == 2
        self.assert_whole(store, hive, rows)
        for day in ("2027-01-15", "2027-01-16"):
            assert len(store.names(merged(TABLE, day))) == 1

    def test_old_dates_are_dropped(self, store: Store) -> None:
        hive = ModelHive()
        self.take(store, 6)
        self.compact(store, hive)
        upkeep = self.upkeep(store, hive, FakeClock(11 * 86_400))
        assert len(upkeep.expire(upkeep.expirable(10)).partitions) == 1
        self.assert_whole(store, hive, [(0, 1), (0, 3), (0, 5)])
        assert store.names(merged(TABLE, "2027-01-15")) == []

    def take(self, store: Store, upto: int) -> None:
        """A range for each record, of two days in turn; those that are there are skipped."""
        sink = a_sink(Gate(store))  # which stays open
        sink.open()
        home = Partition(TOPIC, 0)
        start = max(0, sink.assigned([home])[home])
        for n in range(start, upto):
            row = upsert(n, name="x")
            row = replace(row, ts_us=row.ts_us + n % 2 * DAY_US)
            sink.write(a_batch([row], SCHEMA, first_offset=n, first_version=n + 1), within())
            sink.flush(within())
        sink.close()

    def upkeep(self, store: Store, hive: ModelHive, clock: FakeClock) -> Maintenance:
        rules: dict[str, Any] = {"spare_files": 1, "grace_hours": 0}
        log = RangeLog(store)
        return Maintenance(log, settings(compaction=rules), clock, show=lambda: hive.show(store))

    def compact(self, store: Store, hive: ModelHive) -> int:
        upkeep = self.upkeep(store, hive, FakeClock(30 * 86_400))
        return len(upkeep.compact(upkeep.compactable()).partitions)

    def fold(self, store: Store) -> int:
        states = {TABLE: PartitionLog(store).newest(TABLE)}
        return fold_lane(RangeLog(store), LANE, states, LATER, older_than_s=0, fewest=1)

    def assert_whole(self, store: Store, hive: ModelHive, rows: list[tuple[int, int]]) -> None:
        assert counting(store, TABLE) == rows
        assert hive.records(store, TABLE) == rows
        book = Examiner(store).lane(LANE)
        assert book is not None
        assert book.faults == []
