"""Compaction, folding and publication to Hive amid everything of :mod:`test_hive_schedules`: at any
moment our readers find each record once and Hive finds none twice, and what a crash leaves is
finished or undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.errors import FatalError
from sinks.hive.check import Examiner
from sinks.hive.contents import Contents
from sinks.hive.folding import fold_lane
from sinks.hive.maintenance import Maintained, Maintenance
from sinks.hive.partitions import PartitionLog, merged
from sinks.hive.ranges import RangeLog
from sinks.hive.settings import HiveSettings
from sinks.hive.stores.port import Store
from tests.property.test_hive_schedules import TABLE, Log, Schedule, actions, logs
from tests.support.clock import FakeClock
from tests.support.examples import examples
from tests.support.hive import Crash, Gate, counting, memory_store
from tests.support.hive import settings as hive_settings
from tests.support.hive_catalog import ModelHive

pytestmark = pytest.mark.slow

MONTH_S = 30 * 86_400.0


def eager() -> HiveSettings:
    """Whatever can be merged is, and what it replaced goes at once."""
    rules = {"older_than_days": 0, "spare_files": 1, "target_bytes": 1 << 20, "grace_hours": 0}
    return hive_settings(compaction=rules)


@dataclass(slots=True)
class Interrupted:
    """A store in front of which something else happens after so many changes, once."""

    store: Store
    after: int
    act: Callable[[], None]

    def _count(self) -> None:
        self.after -= 1
        if self.after == 0:
            self.act()

    def put(self, path: str, content: BinaryIO) -> None:
        self.store.put(path, content)
        self._count()

    def create(self, path: str, data: bytes) -> bool:
        done = self.store.create(path, data)
        self._count()
        return done

    def replace(self, path: str, data: bytes) -> None:
        self.store.replace(path, data)
        self._count()

    def move(self, source: str, target: str) -> None:
        self.store.move(source, target)
        self._count()

    def remove(self, path: str) -> None:
        self.store.remove(path)
        self._count()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Upkeep(Schedule):
    def __init__(
        self,
        log: Log,
        rotate_rows: int,
        store: Store | None = None,
        hive: ModelHive | None = None,
    ) -> None:
        self.hive, self.clock = hive or ModelHive(), FakeClock(MONTH_S)
        super().__init__(log, rotate_rows, store)

    def found(self) -> list[tuple[int, int]]:
        return counting(self.store, TABLE)

    def check(self) -> None:
        super().check()
        shown = self.hive.records(self.store, TABLE)
        assert len(shown) == len(set(shown)), "Hive finds a record twice"
        assert set(shown) <= set(self.found()), "Hive finds what does not count"

    def maintain(self, store: Store) -> Maintained:
        upkeep = Maintenance(
            RangeLog(store),
            eager(),
            self.clock,
            show=lambda: self.hive.show(store),
            take_over=True,
        )
        done = upkeep.compact(upkeep.compactable())
        self.fold_all(store)
        return done

    def fold_all(self, store: Store) -> None:
        log = RangeLog(store)
        states = {table: PartitionLog(store).newest(table) for table in log.tables()}
        for lane in log.lanes():
            now = datetime.fromtimestamp(self.clock.time(), UTC)
            fold_lane(log, lane, states, now, older_than_s=0, fewest=1)

    def compact(self, crash_in: int) -> None:
        """``crash_in``: beyond the number of its changes it ends well."""
        with suppress(Crash):
            self.maintain(Gate(self.store, crash_in=crash_in))
        self.check()

    def publish(self, _: int) -> None:
        before = self.found()
        self.hive.show(self.store)
        self.check()
        assert self.hive.records(self.store, TABLE) == before

    def compact_twice(self, after: int) -> bool:
        """A second run, and a worker, come into the midst of the first, which then goes on. False:
        it was over before.
        """

        def meanwhile() -> None:
            self.do(lambda: self.member.write(5))
            self.do(self.member.flush)
            self.maintain(self.store)
            self.check()

        interrupted = Interrupted(self.store, after, meanwhile)
        with suppress(FatalError):  # it is shut out, or misses what the other has removed
            self.maintain(interrupted)
        self.check()
        return interrupted.after <= 0

    def conclude(self) -> None:
        self.finish()
        self.maintain(self.store)
        self.publish(0)
        assert self.hive.records(self.store, TABLE) == self.log.records
        self.check_sound()
        self.check_tidy()

    def check_sound(self) -> None:
        examiner, rows = Examiner(self.store), 0
        for lane in RangeLog(self.store).lanes():
            book = examiner.lane(lane)
            assert book is not None
            assert book.faults == []
            assert len(book.offsets) == book.rows
            rows += book.rows
        assert rows == len(self.log.records)

    def check_tidy(self) -> None:
        """Nothing is left that does not count."""
        view = Contents(RangeLog(self.store)).view([TABLE])
        named = {piece.file.path for piece in view.counting()}
        copied = {f"{s.folder}/{p.file.path.rsplit('/', 1)[1]}" for s, p in view.late()}
        there = set(all_files(self.store, TABLE)) | set(all_files(self.store, merged(TABLE)))
        assert there == named | copied


def all_files(store: Store, folder: str) -> Iterator[str]:
    for name in store.names(folder):
        path = f"{folder}/{name}" if folder else name
        if store.read(path) is not None:
            yield path
        else:
            yield from all_files(store, path)


upkeep_actions = st.one_of(
    actions,
    st.tuples(st.just("compact"), st.integers(1, 60)),
    st.tuples(st.just("compact_twice"), st.integers(1, 30)),
    st.tuples(st.just("publish"), st.just(0)),
)


@settings(max_examples=examples(60))
@given(
    places=logs,
    rotate_rows=st.sampled_from([1, 5]),
    steps=st.lists(upkeep_actions, max_size=14),
)
def test_no_reader_notices(
    places: list[tuple[int, int, int]], rotate_rows: int, steps: list[tuple[str, int]]
) -> None:
    schedule = Upkeep(Log.of(places), rotate_rows)
    try:
        for name, number in steps:
            schedule.act(name, number)
        schedule.conclude()
    finally:
        schedule.close()


PLACES = [(n % 2, int(n % 3 == 2), n // 2 % 2) for n in range(8)]


@dataclass(frozen=True, slots=True)
class Ready:
    """An audit to begin with, again and again: ranges of one row each, over two days."""

    log: Log
    content: Mapping[str, bytes]
    hive: ModelHive

    @classmethod
    def of(cls, schedule: Upkeep) -> Ready:
        store = schedule.store
        content = {path: store.read(path) or b"" for path in all_files(store, "")}
        schedule.close()
        return cls(schedule.log, content, schedule.hive)

    def begin(self, log: Log | None = None) -> Upkeep:
        store = memory_store()
        for path, data in self.content.items():
            store.create(path, data)
        return Upkeep(log or self.log, 1, store, deepcopy(self.hive))


def take_all(schedule: Upkeep) -> Upkeep:
    while schedule.log.after(schedule.member.positions, 1):
        schedule.act("write", 1)
    schedule.act("flush", 0)
    schedule.publish(0)
    return schedule


@pytest.fixture(scope="module")
def fresh() -> Ready:
    return Ready.of(take_all(Upkeep(Log.of(PLACES), 1)))


@pytest.fixture(scope="module")
def compacted(fresh: Ready) -> Ready:
    """Once already, and as much came since: there is something to clean."""
    schedule = fresh.begin(Log.of([*PLACES, *PLACES]))
    schedule.maintain(schedule.store)
    return Ready.of(take_all(schedule))


@pytest.fixture(params=["fresh", "compacted"])
def ready(request: pytest.FixtureRequest) -> Ready:
    found: Ready = request.getfixturevalue(request.param)
    return found


def test_a_crash_after_any_change_is_finished_or_undone(ready: Ready) -> None:
    for crash_in in count(1):
        schedule = ready.begin()
        shown = schedule.hive.records(schedule.store, TABLE)
        try:
            schedule.maintain(Gate(schedule.store, crash_in=crash_in))
        except Crash:
            schedule.check()
            assert set(shown) <= set(schedule.hive.records(schedule.store, TABLE))
            schedule.conclude()
            schedule.close()
        else:
            schedule.conclude()
            schedule.close()
            assert crash_in > 20
            return


def test_who_comes_into_the_midst_after_any_change_does_no_harm(ready: Ready) -> None:
    for after in count(1):
        schedule = ready.begin()
        was_interrupted = schedule.compact_twice(after)
        schedule.conclude()
        schedule.close()
        if not was_interrupted:
            assert after > 20
            return
