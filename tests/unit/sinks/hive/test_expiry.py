"""Retention: what is gone, what is said of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from callsheet.batch import Partition
from callsheet.errors import FencedError, UsageError
from callsheet.event import Op
from callsheet.schema import Column, Kind
from sinks.hive.archive import Archive
from sinks.hive.check import Examiner
from sinks.hive.folding import fold_lane
from sinks.hive.history import history
from sinks.hive.maintenance import Maintained, Maintenance
from sinks.hive.partitions import PartitionLog
from sinks.hive.ranges import RangeLog
from sinks.hive.state import State, state
from sinks.hive.stores.port import Store
from tests.support.batches import Row, a_batch, a_schema
from tests.support.clock import FakeClock
from tests.support.hive import a_sink, counting, files, memory_store, settings, within
from tests.support.hive_catalog import ModelHive

TOPIC, TABLE = "studio.finance.plans", "finance_plans"
LANE = f"{TOPIC}-0"
SCHEMA = a_schema(Column("name", Kind.STRING), table="plans")
START = datetime(2027, 1, 15, 8, tzinfo=UTC)
KEPT = date(2027, 1, 17)
"""Two days of four expire."""


class Audit:
    """Days 0 to 3: row 1 changes daily, row 2 is of day 0, row 3 of day 1 and deleted on day 2."""

    def __init__(self) -> None:
        self.store: Store = memory_store()
        self.hive = ModelHive()
        self.clock = FakeClock(12 * 86_400)
        self.offset = 0
        for day in range(4):
            self.take(day, 1, Op.UPDATE)
        self.take(0, 2, Op.READ)
        self.take(1, 3, Op.CREATE)
        self.take(2, 3, Op.DELETE)
        self.hive.show(self.store)

    def take(self, day: int, identifier: int, op: Op) -> None:
        self.offset += 1
        after = None if op is Op.DELETE else {"id": identifier, "name": f"of day {day}"}
        ts_us = round((START + timedelta(days=day)).timestamp()) * 1_000_000
        row = Row(op, str(identifier), after, 10 * day + identifier, ts_us=ts_us)
        sink = a_sink(self.store)
        sink.open()
        sink.assigned([Partition(TOPIC, 0)])
        sink.write(a_batch([replace(row, offset=self.offset)], SCHEMA), within())
        sink.flush(within())
        sink.close()

    def upkeep(self, **rules: Any) -> Maintenance:
        return Maintenance(
            RangeLog(self.store),
            settings(compaction={"spare_files": 1, "grace_hours": 0, **rules}),
            self.clock,
            show=lambda: self.hive.show(self.store),
        )

    def expire(self) -> Maintained:
        """As of 2027-01-27."""
        upkeep = self.upkeep()
        return upkeep.expire(upkeep.expirable(10))

    def state(self, day: int | None = None, *ids: str, **more: Any) -> State:
        moment = None if day is None else START + timedelta(days=day)
        return state(Archive(self.store).table("plans"), moment, ids, **more)

    def faults(self) -> list[str]:
        book = Examiner(self.store).lane(LANE)
        assert book is not None
        return book.faults


@pytest.fixture(params=["small files", "merged"])
def audit(request: pytest.FixtureRequest) -> Audit:
    made = Audit()
    if request.param == "merged":
        upkeep = made.upkeep()
        assert len(upkeep.compact(upkeep.compactable()).partitions) == 3
    return made


def days(audit: Audit) -> list[str]:
    return sorted({path.split("/")[1] for path in files(audit.store, TABLE)})


def test_old_dates_leave_the_audit_its_store_and_hive(audit: Audit) -> None:
    found = audit.expire().partitions
    assert [each["date"] for each in found] == ["2027-01-15", "2027-01-16"]
    assert [each["rows"] for each in found] == [2, 2]
    kept = [(0, 3), (0, 4), (0, 7)]
    assert counting(audit.store, TABLE) == kept
    assert audit.hive.records(audit.store, TABLE) == kept
    assert sorted(audit.hive.partitions[TABLE]) == ["2027-01-17", "2027-01-18"]
    for folder in ("finance_plans", "finance_plans.merged"):
        assert audit.store.names(f"{folder}/event_date=2027-01-15") == []
    assert audit.faults() == []
    assert audit.expire().partitions == []


def test_what_is_left_is_answered_and_the_rest_refused(audit: Audit) -> None:
    before = audit.state(3)
    audit.expire()
    table = Archive(audit.store).table("plans")
    assert table.horizon == KEPT
    with pytest.raises(UsageError, match="what finance_plans was before 2027-01-17 has expired"):
        audit.state(1, "1")
    for day in (None, 3):
        with pytest.raises(UsageError, match="rows that have not changed since"):
            audit.state(day)
    part = audit.state(3, is_partial=True)
    assert part.horizon == KEPT
    assert list(part.ids) == ["1"]  # row 2 is not known any more
    assert list(before.ids) == ["1", "2"]
    assert audit.state(3, "1").frame["name"].to_list() == ["of day 3"]
    assert [each.ts.date() for each in history(table, "1")] == [KEPT, date(2027, 1, 18)]


def test_what_comes_late_for_an_expired_date_counts_until_it_expires_too(audit: Audit) -> None:
    audit.expire()
    audit.take(0, 2, Op.UPDATE)
    audit.hive.show(audit.store)
    assert (0, 8) in counting(audit.store, TABLE)
    assert audit.hive.records(audit.store, TABLE) == counting(audit.store, TABLE)
    assert audit.faults() == []
    (found,) = audit.expire().partitions
    assert (found["date"], found["rows"]) == ("2027-01-15", 1)
    assert sorted(audit.hive.partitions[TABLE]) == ["2027-01-17", "2027-01-18"]
    assert audit.faults() == []


def test_check_tells_what_expired_and_that_nothing_else_is_missing(audit: Audit) -> None:
    audit.expire()
    book = Examiner(audit.store).lane(LANE)
    assert book is not None
    assert (book.rows, book.dropped, len(book.offsets)) == (7, 4, 3)
    assert book.expired == {"2027-01-15", "2027-01-16"}
    state_ = PartitionLog(audit.store).newest(TABLE)["2027-01-15"]
    PartitionLog(audit.store).add(state_.following(dropped={LANE: 1}))
    (fault,) = audit.faults()
    assert fault == "finance_plans 2027-01-15 counts 0 rows and 1 dropped ones, its ranges 2"


def test_hive_away_means_that_its_files_stay_and_the_next_run_finishes(audit: Audit) -> None:
    shown = audit.hive.records(audit.store, TABLE)
    audit.hive.is_away = True
    done = audit.expire()
    assert (done.hive_is_away, done.cleaned_files) == ("HiveServer2 does not answer", 0)
    assert audit.hive.records(audit.store, TABLE) == shown
    assert len(counting(audit.store, TABLE)) == 3
    audit.hive.is_away = False
    assert audit.expire().cleaned_files > 0
    assert len(audit.hive.records(audit.store, TABLE)) == 3


def test_who_was_merging_the_date_is_shut_out(audit: Audit) -> None:
    states = PartitionLog(audit.store)
    there = states.newest(TABLE).get("2027-01-15")
    before = audit.upkeep().expirable(10)[0].state
    claim = before.following(owner="merging", claimed_at="2027-01-27T00:00:00Z")
    states.add(claim)
    upkeep = Maintenance(RangeLog(audit.store), settings(), audit.clock, take_over=True)
    upkeep.expire(upkeep.expirable(10))
    with pytest.raises(FencedError):
        states.add(claim.following(files=there.files if there else ()))
    assert len(counting(audit.store, TABLE)) == 3


def test_a_fold_holds_numbers_of_what_is_gone(audit: Audit) -> None:
    audit.expire()
    audit.take(3, 1, Op.UPDATE)
    log, now = RangeLog(audit.store), datetime(2027, 3, 1, tzinfo=UTC)
    states = {TABLE: PartitionLog(audit.store).newest(TABLE)}
    assert fold_lane(log, LANE, states, now, older_than_s=0, fewest=1) > 7
    fold = next(log.entries(LANE))
    assert "2027-01-15" not in {file.date for file in fold.files}
    assert (fold.rows, fold.ranges) == (7, 7)
    assert audit.faults() == []
    assert len(counting(audit.store, TABLE)) == 4
    audit.store.remove(f"_callsheet/partitions/{TABLE}")
    assert "are in no file that the audit names any more" in " ".join(audit.faults())
