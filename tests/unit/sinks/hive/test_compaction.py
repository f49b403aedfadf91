"""What compaction makes of a date's files, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from callsheet.batch import Partition
from callsheet.errors import FatalError, FencedError, PreconditionError, RetryableError
from callsheet.event import Op
from callsheet.schema import Column, Kind, TableSchema
from sinks.hive.archive import Archive
from sinks.hive.check import Examiner
from sinks.hive.compaction import Candidate, Compaction, CompactStep
from sinks.hive.contents import Contents
from sinks.hive.history import history
from sinks.hive.maintenance import Maintained, Maintenance
from sinks.hive.partitions import CLAIM_S, PartitionLog, PartitionState, merged
from sinks.hive.ranges import OWN_FOLDER, RangeLog
from sinks.hive.spool import SpoolOptions
from sinks.hive.state import state
from sinks.hive.stores.port import Store
from sinks.hive.visibility import NamedDates
from tests.support.batches import Row, a_batch, a_schema
from tests.support.clock import FakeClock
from tests.support.hive import Counting, a_sink, counting, files, memory_store, settings, within
from tests.support.hive_catalog import ModelHive

TOPIC, TABLE = "studio.finance.plans", "finance_plans"
NAME, PRICE = Column("name", Kind.STRING), Column("price", Kind.DECIMAL, precision=8, scale=2)
FIRST, SECOND = a_schema(NAME, table="plans"), a_schema(NAME, PRICE, table="plans", version="2")
START = datetime(2027, 1, 15, 8, tzinfo=UTC)
DAY, HOUR_S = "2027-01-15", 3_600.0
GRACE_S = 24 * HOUR_S


def change(identifier: int, version: int, day: int = 0, **values: Any) -> Row:
    ts_us = round(START.timestamp()) * 1_000_000 + day * 86_400_000_000
    return Row(Op.UPDATE, str(identifier), {"id": identifier, **values}, version, ts_us=ts_us)


@dataclass
class Audit:
    store: Store = field(default_factory=memory_store)
    clock: FakeClock = field(default_factory=lambda: FakeClock(10 * 86_400))
    hive: ModelHive | None = None
    offset: int = 0

    def take(self, rows: Sequence[Row], schema: TableSchema = FIRST, partition: int = 0) -> None:
        """One range."""
        sink = a_sink(self.store)
        sink.open()
        sink.assigned([Partition(TOPIC, partition)])
        placed = [replace(row, partition=partition) for row in rows]
        sink.write(a_batch(placed, schema, first_offset=self.offset), within())
        sink.flush(within())
        sink.close()
        self.offset += len(rows)

    def upkeep(self, store: Store | None = None, **more: Any) -> Maintenance:
        rules = {"spare_files": 2, "target_bytes": 1 << 20}
        hive = self.hive
        return Maintenance(
            RangeLog(store or self.store),
            settings(compaction=rules),
            self.clock,
            show=(lambda: hive.show(self.store)) if hive else None,
            **more,
        )

    def compact(self, **more: Any) -> Maintained:
        upkeep = self.upkeep(**more)
        return upkeep.compact(upkeep.compactable())

    def merged(self) -> list[str]:
        """Files of all states that are in the store."""
        place = merged(TABLE, DAY)
        return [
            f"{place}/{folder}/{name}"
            for folder in self.store.names(place)
            for name in self.store.names(f"{place}/{folder}")
        ]

    def faults(self) -> list[str]:
        examiner = Examiner(self.store)
        books = [examiner.lane(lane) for lane in RangeLog(self.store).lanes()]
        return [fault for book in books if book for fault in book.faults]

    def newest(self) -> PartitionState:
        return PartitionLog(self.store).newest(TABLE)[DAY]


@pytest.fixture
def audit() -> Audit:
    """Six ranges of one day, two lanes, two schemas, and one range of the next day."""
    made = Audit()
    for n in range(4):
        made.take([change(n, n + 1, name=f"plan {n}"), change(9, n + 1, name=f"v{n}")])
    for n in range(2):
        rows = [change(n, 10 + n, name="dear", price=Decimal("1.50"))]
        made.take(rows, SECOND, partition=n)
    made.take([change(1, 50, 1, name="later")], SECOND)
    return made


def contents(audit: Audit) -> pl.DataFrame:
    view = Contents(RangeLog(audit.store)).view([TABLE])
    found = [BytesIO(audit.store.read(piece.file.path) or b"") for piece in view.counting()]
    frame = pl.concat([pl.read_parquet(each) for each in found], how="diagonal")
    return frame.sort("kafka_partition", "kafka_offset")


def test_small_files_become_one_per_lane_and_schema_row_by_row_the_same(audit: Audit) -> None:
    before, rows = contents(audit), counting(audit.store, TABLE)
    changes = [each.uuid for each in history(Archive(audit.store).table("plans"), "9")]
    now = state(Archive(audit.store).table("plans"))
    done = audit.compact()
    (partition,) = done.partitions
    assert (partition["date"], partition["files"], partition["merged_files"]) == (DAY, 6, 3)
    assert contents(audit).equals(before)
    assert counting(audit.store, TABLE) == rows
    assert len(audit.merged()) == 3
    after = state(Archive(audit.store).table("plans"))
    assert after.frame.equals(now.frame)
    assert after.unknown == now.unknown
    assert [each.uuid for each in history(Archive(audit.store).table("plans"), "9")] == changes
    assert audit.faults() == []
    assert audit.compact().partitions == []


def test_merged_files_are_as_the_worker_writes_them(audit: Audit) -> None:
    audit.compact()
    small = pq.ParquetFile(BytesIO(audit.store.read(files(audit.store, TABLE)[0]) or b""))
    large = pq.ParquetFile(BytesIO(audit.store.read(audit.merged()[0]) or b""))
    assert large.schema.equals(small.schema)
    assert large.metadata.metadata == small.metadata.metadata
    assert large.metadata.row_group(0).column(0).compression == "ZSTD"
    offsets = large.read(["kafka_offset"])["kafka_offset"].to_pylist()
    assert offsets == sorted(offsets)


def test_small_files_stay_for_the_grace_period(audit: Audit) -> None:
    small = files(audit.store, TABLE)
    audit.compact()
    audit.clock.advance(GRACE_S - 1)
    assert audit.compact().cleaned_files == 0
    assert files(audit.store, TABLE) == small
    audit.clock.advance(1)
    assert audit.compact().cleaned_files == 6
    assert [path.split("/")[1] for path in files(audit.store, TABLE)] == ["event_date=2027-01-16"]
    assert audit.faults() == []


def test_what_comes_late_counts_at_once_and_is_shown_by_the_next_publication(audit: Audit) -> None:
    audit.hive = ModelHive()
    audit.hive.show(audit.store)
    audit.compact()
    place = f"{merged(TABLE, DAY)}/"
    assert place in audit.hive.partitions[TABLE][DAY]
    assert audit.hive.records(audit.store, TABLE) == counting(audit.store, TABLE)
    audit.take([change(7, 60, name="late")])
    found = counting(audit.store, TABLE)
    assert len(audit.hive.records(audit.store, TABLE)) == len(found) - 1
    audit.hive.show(audit.store)
    assert audit.hive.records(audit.store, TABLE) == found
    for n in range(2):
        audit.take([change(7, 61 + n, name="later")])
    audit.clock.advance(GRACE_S)
    first = audit.newest().folder
    assert len(audit.compact().partitions) == 1
    assert audit.hive.records(audit.store, TABLE) == counting(audit.store, TABLE)
    assert audit.store.names(first) != []
    audit.clock.advance(GRACE_S)
    audit.compact()
    assert audit.store.names(first) == []
    assert audit.hive.records(audit.store, TABLE) == counting(audit.store, TABLE)
    assert audit.faults() == []


def test_nothing_is_removed_while_hive_may_still_show_it(audit: Audit) -> None:
    audit.hive = ModelHive()
    audit.hive.show(audit.store)
    shown = audit.hive.records(audit.store, TABLE)
    audit.hive.is_away = True
    assert audit.compact().hive_is_away == "HiveServer2 does not answer"
    audit.clock.advance(2 * GRACE_S)
    assert audit.compact().cleaned_files == 0
    assert audit.hive.records(audit.store, TABLE) == shown
    audit.hive.is_away = False
    assert audit.compact().cleaned_files == 6
    assert audit.hive.records(audit.store, TABLE) == shown


def test_a_damaged_file_is_not_merged_and_all_is_as_it_was(audit: Audit) -> None:
    path = files(audit.store, TABLE)[1]
    good = audit.store.read(path) or b""
    for content in (good[:-20], audit.store.read(files(audit.store, TABLE)[-1]) or b""):
        audit.store.put(path, BytesIO(content))
        with pytest.raises(FatalError, match="is not merged"):
            audit.compact()
        assert audit.newest().files == ()
        assert audit.newest().owner == ""
    audit.store.put(path, BytesIO(good))
    assert len(audit.compact().partitions) == 1
    assert audit.faults() == []


def test_a_merged_file_that_is_gone_or_damaged_is_seen(audit: Audit) -> None:
    audit.compact()
    path = audit.newest().files[0].file.path
    good = audit.store.read(path) or b""
    audit.store.put(path, BytesIO(good[:-20]))
    assert audit.faults() == [f"{path} cannot be read: 8 rows"]
    audit.store.remove(path)
    assert audit.faults() == [f"{path} is gone: 8 rows"]
    audit.store.put(path, BytesIO(good))
    assert audit.faults() == []


def test_a_state_that_is_gone_is_seen_once_the_small_files_are(audit: Audit) -> None:
    audit.compact()
    audit.clock.advance(GRACE_S)
    audit.compact()
    audit.store.remove(f"{OWN_FOLDER}/partitions/{TABLE}/{audit.newest().name}")
    assert len([fault for fault in audit.faults() if "is gone" in fault]) == 6


def test_who_publishes_again_reads_no_state_twice(audit: Audit) -> None:
    audit.compact()
    hive, dates, store = ModelHive(), NamedDates(), Counting(audit.store)

    def states_read() -> int:
        hive.show(store, dates)
        return len([path for path in store.paths if "/partitions/" in path])

    assert states_read() == states_read() > 0
    audit.take([change(7, 60 + n, name="late") for n in range(3)])
    assert hive.show(store, dates).moved == {}
    assert hive.records(audit.store, TABLE) == counting(audit.store, TABLE)


def a_candidate(audit: Audit) -> Candidate:
    (candidate,) = audit.upkeep().compactable()
    return candidate


def a_compaction(audit: Audit, **more: Any) -> Compaction:
    options = SpoolOptions(None, "zstd", 65_536)
    now = datetime.fromtimestamp(audit.clock.time(), UTC)
    return Compaction(RangeLog(audit.store), options, lambda: now, **more)


def test_of_two_at_once_the_second_is_refused(audit: Audit) -> None:
    def look(step: CompactStep) -> None:
        if step is CompactStep.WRITTEN:
            with pytest.raises(PreconditionError, match=f"works on {TABLE} {DAY} since"):
                audit.compact()

    a_compaction(audit, at=look).run(a_candidate(audit))
    assert audit.newest().version == 2
    assert audit.faults() == []


@pytest.mark.parametrize("step", list(CompactStep)[:3])
def test_who_is_taken_over_states_nothing_any_more(audit: Audit, step: CompactStep) -> None:
    """Its claim looked dead, and it was not."""
    found = counting(audit.store, TABLE)

    def overtake(at: CompactStep) -> None:
        if at is step and audit.newest().files == ():
            audit.compact(take_over=True)

    with pytest.raises(FencedError):
        a_compaction(audit, at=overtake).run(a_candidate(audit))
    assert counting(audit.store, TABLE) == found
    assert audit.faults() == []
    audit.clock.advance(GRACE_S)
    audit.compact()
    assert len(audit.merged()) == 3


def test_who_slept_so_long_that_its_name_is_free_again_states_nothing(audit: Audit) -> None:
    sleeper = a_candidate(audit)
    audit.compact()
    audit.clock.advance(GRACE_S)
    audit.compact()
    assert audit.newest().version > 2
    with pytest.raises(FencedError):
        a_compaction(audit).run(sleeper)
    assert audit.faults() == []


def test_an_old_claim_is_that_of_a_run_that_has_crashed(audit: Audit) -> None:
    log = PartitionLog(audit.store)
    claim = a_candidate(audit).state.following(owner="gone", claimed_at="2027-01-25T08:00:00Z")
    log.add(claim)
    audit.clock.now_s = datetime(2027, 1, 25, 8, tzinfo=UTC).timestamp() - 1_800_000_000
    audit.clock.advance(CLAIM_S - 1)
    with pytest.raises(PreconditionError):
        audit.compact()
    audit.clock.advance(1)
    assert len(audit.compact().partitions) == 1


def test_dates_and_tables_that_were_not_asked_for_are_left_alone(audit: Audit) -> None:
    for n in range(3):
        audit.take([change(1, 60 + n, 1, name="later")], SECOND)
    upkeep = audit.upkeep()
    assert [each.state.date for each in upkeep.compactable()] == [DAY, "2027-01-16"]
    assert [each.state.date for each in upkeep.compactable(10)] == [DAY]
    assert upkeep.compactable(11) == []
    assert audit.upkeep(tables=["finance_other"]).compactable() == []
    audit.clock.now_s = 3_600.0  # the very day
    assert audit.upkeep().compactable() == []
    assert [each.state.date for each in audit.upkeep().compactable(0)] == [DAY]


def test_a_store_that_is_away_leaves_all_as_it_was(audit: Audit) -> None:
    found = counting(audit.store, TABLE)

    def fail(step: CompactStep) -> None:
        if step is CompactStep.WRITTEN:
            raise RetryableError("away")

    with pytest.raises(RetryableError):
        a_compaction(audit, at=fail).run(a_candidate(audit))
    assert counting(audit.store, TABLE) == found
    assert audit.newest().owner == ""
    audit.compact()
    assert len(audit.merged()) == 3
    assert audit.faults() == []
