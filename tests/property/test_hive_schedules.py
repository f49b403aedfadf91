"""The audit under random schedules: whatever crashes, wakes late or loses an answer, its files hold
each record exactly once, and at no moment does a reader find one twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.batch import Partition
from callsheet.errors import FencedError, RetryableError
from sinks.hive.sink import HiveSink
from sinks.hive.stores.port import Store
from tests.support.batches import Row, a_batch, a_schema, upsert
from tests.support.examples import examples
from tests.support.hive import Crash, Gate, a_sink, memory_store, ranges, records, within

SCHEMA = a_schema(table="plans")
TOPIC = "studio.finance.plans"
TABLE = "finance_plans"
PARTITIONS = (0, 1)
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Log:
    """What Kafka holds: rows with gaps between their offsets, where control records are."""

    rows: dict[int, list[Row]]

    @classmethod
    def of(cls, places: list[tuple[int, int, int]]) -> Log:
        """``places``: partition, gap before the record, day of its commit."""
        rows: dict[int, list[Row]] = {number: [] for number in PARTITIONS}
        following = dict.fromkeys(PARTITIONS, 0)
        for n, (partition, gap, day) in enumerate(places):
            offset = following[partition] + gap
            following[partition] = offset + 1
            row = upsert(n, version=n + 1, name=f"plan {n}")
            ts_us = 1_800_000_000_000_000 + day * DAY_US
            rows[partition].append(replace(row, partition=partition, offset=offset, ts_us=ts_us))
        return cls(rows)

    def after(self, positions: dict[int, int], most: int) -> list[Row]:
        """What the next poll returns: first one partition's records, then the other's."""
        found: list[Row] = []
        for number, start in positions.items():
            rest = [row for row in self.rows[number] if (row.offset or 0) >= start]
            found += rest[: most - len(found)]
        return found

    @property
    def records(self) -> list[tuple[int, int]]:
        return sorted((row.partition, row.offset or 0) for of in self.rows.values() for row in of)


@dataclass(slots=True)
class Member:
    """A worker's use of the sink: read on from where it was told, write, ask for progress."""

    log: Log
    gate: Gate
    rotate_rows: int
    sink: HiveSink = field(init=False)
    positions: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rotation = {"rows": self.rotate_rows}
        self.sink = a_sink(self.gate, rotation=rotation, most_waiting_ranges=100)

    def join(self) -> None:
        self.sink.open()
        starts = self.sink.assigned([Partition(TOPIC, number) for number in PARTITIONS])
        self.positions = {p.number: max(0, offset) for p, offset in starts.items()}

    def write(self, most: int) -> None:
        rows = self.log.after(self.positions, most)
        if rows:
            self.sink.write(a_batch(rows, SCHEMA), within())
            self.positions |= {row.partition: (row.offset or 0) + 1 for row in rows}

    def look(self) -> None:
        self.sink.progress()

    def flush(self) -> None:
        self.sink.flush(within())

    def again(self, back: int) -> None:
        """The group's offsets are older than what the files have."""
        for number in self.positions:
            self.positions[number] = max(0, self.positions[number] - back)

    def end(self) -> None:
        self.gate.is_dead = True
        self.gate.thaw()
        self.sink.close()


class Schedule:
    def __init__(self, log: Log, rotate_rows: int, store: Store | None = None) -> None:
        self.log, self.rotate_rows = log, rotate_rows
        self.store = store or memory_store()
        self.members: list[Member] = []
        self.member = self.join()

    def join(self) -> Member:
        """A new owner; the one before is not told."""
        while True:
            member = Member(self.log, Gate(self.store), self.rotate_rows)
            self.members.append(member)
            member.join()
            return member

    def do(self, act: Callable[[], None]) -> None:
        """Whatever ends the member, the next one goes on."""
        try:
            act()
        except (Crash, FencedError):
            self.member.end()
            self.member = self.join()
        self.check()

    def crash(self, changes: int) -> None:
        self.member.gate.crash_in = changes
        self.do(self.member.flush)

    def lose_answer(self, changes: int) -> None:
        self.member.gate.fail_in = changes
        self.do(self.member.flush)

    def stall(self, changes: int) -> None:
        """It stops in the midst of publishing, loses its partitions unheard, and wakes later."""
        zombie = self.member
        zombie.gate.freeze_in = changes
        with suppress(RetryableError, FencedError, Crash):
            zombie.sink.flush(within(0.1))
        self.member = self.join()
        self.check()

    def crash_while_taking_over(self, changes: int) -> None:
        """The old member is a zombie from now on."""
        member = Member(self.log, Gate(self.store, crash_in=changes), self.rotate_rows)
        self.members.append(member)
        try:
            member.join()
        except Crash:
            member.end()
            member = self.join()
        self.member = member
        self.check()

    def wake_zombies(self) -> None:
        """Each wants to finish what it has in hand, and to write more."""
        for zombie in self.members:
            if zombie is not self.member and not zombie.gate.is_dead:
                try:
                    zombie.gate.freeze_in = None
                    zombie.gate.thaw()
                    zombie.flush()
                    zombie.write(7)
                    zombie.flush()
                except (Crash, FencedError, RetryableError):
                    zombie.end()
        self.check()

    def found(self) -> list[tuple[int, int]]:
        return records(self.store, TABLE)

    def check(self) -> None:
        found = self.found()
        assert len(found) == len(set(found)), "a record is there twice"
        for number in PARTITIONS:
            self._check_chain(number, [offset for of, offset in found if of == number])

    def _check_chain(self, number: int, visible: list[int]) -> None:
        chain = ranges(self.store, f"{TOPIC}-{number}")
        assert all(a.end == b.start == b.first for a, b in pairwise(chain))
        end = chain[-1].end if chain else 0
        assert all(offset < end for offset in visible), "a row that no entry names"
        expected = [row.offset or 0 for row in self.log.rows[number] if (row.offset or 0) < end]
        assert sum(entry.rows for entry in chain) == len(expected)
        # Only the last entry's files may still be on their way.
        settled = chain[-1].start if chain else 0
        missing = set(expected) - set(visible)
        assert all(offset >= settled for offset in missing), "lost"

    def finish(self) -> None:
        while self.log.after(self.member.positions, 1):
            self.do(lambda: self.member.write(50))
        self.do(self.member.flush)
        while self.log.after(self.member.positions, 1):  # the flush met a crash
            self.do(lambda: self.member.write(50))
            self.do(self.member.flush)
        assert self.found() == self.log.records

    def close(self) -> None:
        for member in self.members:
            member.end()

    def act(self, name: str, number: int) -> None:
        member = self.member
        if name == "write":
            self.do(lambda: member.write(number))
        elif name == "again":
            member.again(number)
        elif name in {"look", "flush"}:
            self.do(getattr(member, name))
        elif name == "wake_zombies":
            self.wake_zombies()
        else:
            getattr(self, name)(number)


counts = st.integers(1, 12)
actions = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 20)),
    st.tuples(st.just("look"), st.just(0)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("again"), st.integers(1, 30)),
    st.tuples(st.just("crash"), counts),
    st.tuples(st.just("lose_answer"), counts),
    st.tuples(st.just("crash_while_taking_over"), st.integers(1, 8)),
    st.tuples(st.just("stall"), st.integers(1, 6)),
    st.tuples(st.just("wake_zombies"), st.just(0)),
)


logs = st.lists(
    st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 2), st.integers(0, 2)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=examples(80))
@given(
    places=logs,
    rotate_rows=st.sampled_from([1, 5, 1000]),
    steps=st.lists(actions, max_size=14),
)
def test_each_record_is_there_exactly_once(
    places: list[tuple[int, int, int]], rotate_rows: int, steps: list[tuple[str, int]]
) -> None:
    schedule = Schedule(Log.of(places), rotate_rows)
    try:
        for name, number in steps:
            schedule.act(name, number)
        schedule.finish()
    finally:
        schedule.close()
