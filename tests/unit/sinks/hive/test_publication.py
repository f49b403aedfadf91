"""The order of publishing and of taking over, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from callsheet.batch import BEGINNING, Partition
from callsheet.errors import FatalError, FencedError, RetryableError
from callsheet.schema import Column, Kind
from sinks.hive.publication import PublishStep
from sinks.hive.ranges import OWN_FOLDER, DataFile, Entry, Lane, RangeLog, staging
from sinks.hive.stores.local import LocalStore
from sinks.hive.stores.port import LostFileError, Store
from sinks.hive.takeover import take_over
from tests.support.batches import Row, a_batch, a_schema, upsert
from tests.support.clock import FakeClock
from tests.support.hive import (
    Crash,
    Gate,
    a_sink,
    files,
    memory_store,
    ranges,
    records,
    rows,
    within,
)

SCHEMA = a_schema(table="plans")
TOPIC, TABLE = "studio.finance.plans", "finance_plans"
HOME, OTHER = Partition(TOPIC, 0), Partition(TOPIC, 1)
LANE = Lane(TOPIC, 0)
DAYS_US = 86_400_000_000


@pytest.fixture(params=["local", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path) if request.param == "local" else memory_store()


def over_days(count: int, days: int = 1) -> list[Row]:
    return [
        replace(upsert(n, name=f"plan {n}"), ts_us=1_800_000_000_000_000 + n % days * DAYS_US)
        for n in range(count)
    ]


@pytest.mark.parametrize("step", list(PublishStep))
def test_a_crash_after_any_step_leaves_each_record_once(store: Store, step: PublishStep) -> None:
    def crash(at: PublishStep) -> None:
        if at is step:
            gate.is_dead = True
            raise Crash

    gate = Gate(store)
    sink = a_sink(gate, crash)
    sink.open()
    assert sink.assigned([HOME]) == {HOME: BEGINNING}
    batch = a_batch(over_days(30, days=3), SCHEMA)
    sink.write(batch, within())
    with pytest.raises(Crash):
        sink.flush(within())
    sink.close()

    is_named = step is not PublishStep.STAGED
    after = a_sink(store)
    after.open()
    assert after.assigned([HOME]) == {HOME: 30 if is_named else BEGINNING}
    assert len(records(store, TABLE)) == (30 if is_named else 0)
    assert store.names(staging(LANE.name)) == []
    after.write(batch, within())
    after.flush(within())
    assert records(store, TABLE) == [(0, n) for n in range(30)]
    assert after.progress().counts.stale == (30 if is_named else 0)
    after.close()


def test_a_range_over_several_days_is_one_entry_with_a_file_each(store: Store) -> None:
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    sink.write(a_batch(over_days(9, days=3), SCHEMA, first_offset=100), within())
    sink.flush(within())
    sink.close()
    (entry,) = ranges(store, LANE.name)
    assert (entry.first, entry.end, entry.rows, entry.refused) == (100, 109, 9, 0)
    assert [(f.date, f.rows) for f in entry.files] == [
        ("2027-01-15", 3), ("2027-01-16", 3), ("2027-01-17", 3)
    ]  # fmt: skip
    assert [f.path for f in entry.files] == files(store, TABLE)
    assert [store.size(f.path) for f in entry.files] == [f.size_bytes for f in entry.files]


def test_ranges_meet_though_control_records_lie_between(store: Store) -> None:
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    for first in (5, 20, 33):
        sink.write(a_batch(over_days(4), SCHEMA, first_offset=first), within())
        sink.flush(within())
    sink.close()
    assert [(e.first, e.end) for e in ranges(store, LANE.name)] == [(5, 9), (9, 24), (24, 37)]


def test_a_range_in_which_all_was_refused_has_no_file_and_is_covered(store: Store) -> None:
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    late = [replace(row, ts_us=1 << 62) for row in over_days(3)]
    sink.write(a_batch(late, SCHEMA), within())
    assert len(sink.progress().rejections) == 3
    sink.flush(within())
    assert sink.progress().durable == {HOME: 3}
    sink.close()
    (entry,) = ranges(store, LANE.name)
    assert (entry.end, entry.rows, entry.refused, entry.files) == (3, 0, 3, ())


def test_what_was_refused_is_refused_again_when_its_range_is_covered(store: Store) -> None:
    """Its dead letter may not have been stored when the worker crashed, and no file has it."""
    bad_text = {"id": 2, "name": "x", "at": "no instant"}
    schema = a_schema(Column("name", Kind.STRING), Column("at", Kind.TIMESTAMP), table="plans")
    late = replace(upsert(0, name="plan"), ts_us=1 << 62)
    batch = a_batch([late, *over_days(2)[1:], replace(upsert(2), after=bad_text)], schema)
    for is_first in (True, False):
        sink = a_sink(store)
        sink.open()
        sink.assigned([HOME])
        sink.write(batch, within())
        if not is_first:
            sink.write(a_batch(over_days(2), schema, first_offset=3), within())
        sink.flush(within())
        progress = sink.progress()
        assert [rejection.offset for rejection in progress.rejections] == [0, 2]
        assert progress.counts.stale == (0 if is_first else 1)
        assert progress.durable == {HOME: 3 if is_first else 5}
        sink.close()
    assert records(store, TABLE) == [(0, 1), (0, 3), (0, 4)]
    assert [entry.refused for entry in ranges(store, LANE.name)] == [2, 0]


def test_an_old_owner_that_wakes_publishes_nothing(store: Store) -> None:
    old, new = a_sink(store), a_sink(store)
    batch = a_batch(over_days(10), SCHEMA)
    old.open()
    old.assigned([HOME])
    old.write(batch, within())
    new.open()
    new.assigned([HOME])
    with pytest.raises(FencedError):
        old.flush(within())
    with pytest.raises(FencedError):
        old.progress()
    assert records(store, TABLE) == []
    new.write(batch, within())
    new.flush(within())
    assert len(records(store, TABLE)) == 10
    old.close()
    new.close()


@dataclass(slots=True)
class LastMoment(Gate):
    """Before our claim is created, the old owner publishes its range."""

    entry: Entry | None = None

    def create(self, path: str, data: bytes) -> bool:
        entry, self.entry = self.entry, None
        if entry is not None:
            RangeLog(self.store).append(entry)
        return self.store.create(path, data)


def test_an_old_owner_that_publishes_at_the_last_moment_is_finished(store: Store) -> None:
    """Its staged file must still be there when its entry turns out to be first."""
    donor = Gate(store)
    sink = a_sink(donor, lambda step: donor.freeze() if step is PublishStep.STAGED else None)
    sink.open()
    sink.assigned([HOME])
    sink.write(a_batch(over_days(10), SCHEMA), within())
    with pytest.raises(RetryableError, match="did not answer in time"):
        sink.flush(within(0.5))
    (writer,) = store.names(staging(LANE.name))
    (name,) = store.names(staging(LANE.name, writer))
    path = f"{TABLE}/event_date=2027-01-15/{name}"
    staged = f"{staging(LANE.name, writer)}/{name}"
    file = DataFile(TABLE, "2027-01-15", path, staged, 10, 1, SCHEMA.fingerprint)
    entry = Entry(LANE, 0, 1, 0, 10, writer, "2027", rows=10, files=(file,))

    won = take_over(LastMoment(store, entry=entry), LANE, lambda: "2027")
    assert (won.start, won.take, won.is_claim) == (10, 0, True)
    assert len(records(store, TABLE)) == 10
    donor.is_dead = True
    donor.thaw()
    sink.close()


@dataclass(slots=True)
class CountingPuts(Gate):
    puts: list[str] = field(default_factory=list)

    def put(self, path: str, content: BinaryIO) -> None:
        self.puts.append(path)
        Gate.put(self, path, content)


def test_an_answer_that_was_lost_is_no_rival_and_nothing_is_staged_twice(store: Store) -> None:
    gate = CountingPuts(store)
    sink = a_sink(gate)
    sink.open()
    sink.assigned([HOME])
    for first in range(9):
        gate.fail_in = first + 1
        sink.write(a_batch(over_days(4, days=2), SCHEMA, first_offset=4 * first), within())
        sink.flush(within())
    sink.close()
    assert records(store, TABLE) == [(0, n) for n in range(36)]
    # Only a put whose own answer was lost is repeated.
    assert len(gate.puts) - len(set(gate.puts)) <= 2


def test_what_a_compaction_took_away_is_not_missed_behind_the_mark(store: Store) -> None:
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    sink.write(a_batch(over_days(4), SCHEMA), within())
    sink.flush(within())
    sink.close()
    (path,) = files(store, TABLE)
    store.remove(path)
    assert take_over(store, LANE, lambda: "2027").end == 4
    # The mark of a writer that woke late turns nothing back.
    log = RangeLog(store)
    first = next(log.entries(LANE.name))
    mark = log.mark(LANE.name)
    log.set_mark(LANE.name, first.name)
    assert log.mark(LANE.name) == mark


def test_a_file_that_an_open_range_lost_is_told(store: Store) -> None:
    gate = Gate(store)
    sink = a_sink(gate, lambda step: _die(gate) if step is PublishStep.NAMED else None)
    sink.open()
    sink.assigned([HOME])
    sink.write(a_batch(over_days(4), SCHEMA), within())
    with pytest.raises(Crash):
        sink.flush(within())
    sink.close()
    store.remove(staging(LANE.name))
    with pytest.raises(LostFileError, match="is gone"):
        take_over(store, LANE, lambda: "2027")


def _die(gate: Gate) -> None:
    gate.is_dead = True
    raise Crash


def test_a_torn_chain_is_told(store: Store) -> None:
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    for first in (0, 4, 8):
        sink.write(a_batch(over_days(4), SCHEMA, first_offset=first), within())
        sink.flush(within())
    sink.close()
    log = RangeLog(store)
    names = [entry.name for entry in log.entries(LANE.name)]
    store.remove(f"{OWN_FOLDER}/ranges/{LANE.name}/{names[2]}")
    with pytest.raises(FatalError, match="torn between"):
        list(log.entries(LANE.name))
    store.replace(f"{OWN_FOLDER}/ranges/{LANE.name}/{names[3]}", b"{}")
    with pytest.raises(FatalError, match="cannot be read"):
        log.last(LANE.name)


def test_a_new_generation_of_a_topic_begins_a_new_chain(store: Store) -> None:
    for generation, count in ((0, 5), (1, 3)):
        sink = a_sink(store, generations={TOPIC: generation})
        sink.open()
        assert sink.assigned([HOME]) == {HOME: BEGINNING}
        sink.write(a_batch(over_days(count), SCHEMA), within())
        sink.flush(within())
        sink.close()
    assert RangeLog(store).lanes() == [LANE.name, f"{LANE.name}-g1"]
    assert len(records(store, TABLE)) == 8


def test_two_source_tables_cannot_share_a_hive_table(store: Store) -> None:
    sink = a_sink(store, table="{table}")
    sink.open()
    theirs = Partition("studio.archive.plans", 0)
    sink.assigned([HOME, theirs])
    sink.write(a_batch(over_days(1), SCHEMA), within())
    other = replace(SCHEMA, database="archive", fingerprint="other")
    sink.write(a_batch(over_days(1), other, topic=theirs.topic), within())
    with pytest.raises(FatalError, match="already of another source table"):
        sink.flush(within())
    sink.close()


def test_a_quiet_topic_is_rotated_by_the_clock_and_a_busy_one_by_rows(store: Store) -> None:
    clock = FakeClock()
    sink = a_sink(store, clock=clock, rotation={"seconds": 60, "rows": 10})
    sink.open()
    sink.assigned([HOME, OTHER])
    sink.write(a_batch(over_days(3), SCHEMA), within())
    clock.sleep(59)
    assert sink.progress().durable == {}
    clock.sleep(2)
    sink.progress()
    sink._publisher.drain(within())
    assert sink.progress().durable == {HOME: 3}
    busy = [replace(row, partition=1) for row in over_days(11)]
    sink.write(a_batch(busy, SCHEMA), within())
    sink._publisher.drain(within())
    assert sink.progress().durable == {HOME: 3, OTHER: 11}
    sink.close()


def test_a_new_column_is_in_new_files_and_old_ones_are_read_by_name(store: Store) -> None:
    later = a_schema(
        Column("name", Kind.STRING), Column("note", Kind.STRING), table="plans", version="2"
    )
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    sink.write(a_batch(over_days(2), SCHEMA), within())
    noted = replace(upsert(2, name="plan 2", note="new"), ts_us=over_days(1)[0].ts_us)
    sink.write(a_batch([noted], later, first_offset=2), within())
    sink.write(a_batch(over_days(1), SCHEMA, first_offset=3), within())  # an old record still comes
    sink.flush(within())
    sink.close()
    found = rows(store, TABLE).sort("kafka_offset")
    assert found["after_note"].to_list() == [None, None, "new", None]
    (entry,) = ranges(store, LANE.name)
    assert [(f.fingerprint, f.rows) for f in entry.files] == [("plans-1", 3), ("plans-2", 1)]
    log = RangeLog(store)
    assert log.tables() == [TABLE]
    assert [schema.fingerprint for schema in log.schemas(TABLE)] == ["plans-1", "plans-2"]
    schema = log.schema(TABLE, "plans-2")
    assert schema is not None
    assert (schema.database, schema.source_table, schema.key) == ("finance", "plans", ("id",))
    assert ("after_note", "STRING", "note") in {
        (column.name, column.hive, column.source) for column in schema.columns
    }


def test_a_topic_that_was_made_anew_is_told_and_its_generation_goes_on(store: Store) -> None:
    """Its records would be skipped as covered by those of its namesake."""
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    sink.write(a_batch(over_days(9), SCHEMA), within())
    sink.flush(within())
    sink.close()
    anew = a_batch(over_days(3), SCHEMA, first_version=100)
    sink = a_sink(store)
    sink.open()
    sink.assigned([HOME])
    with pytest.raises(FatalError, match="is another topic") as caught:
        sink.write(anew, within())
    assert f"{TOPIC}: 1" in caught.value.hint
    sink.close()
    sink = a_sink(store, generations={TOPIC: 1})
    sink.open()
    assert sink.assigned([HOME]) == {HOME: BEGINNING}
    sink.write(anew, within())
    sink.flush(within())
    sink.close()
    assert len(records(store, TABLE)) == 12
