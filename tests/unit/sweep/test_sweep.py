"""The order of a sweep, and when it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from callsheet.batch import Partition
from callsheet.codec.binding import AvroDialect
from callsheet.codec.debezium import DebeziumDecoder
from callsheet.errors import PreconditionError
from callsheet.kafka.groups import PartitionOffsets
from callsheet.ports import OutgoingRecord
from callsheet.schema import TableSchema
from callsheet.sweep.sweep import Rules, Store, Sweep, Verdict
from callsheet.sweep.tables import SweptTable, avro_table
from callsheet.sweep.watermark import Cause, Place, Snapshot, Watermark
from tests.support.clock import FakeClock
from tests.support.envelopes import AvroTable, FakeMessage, FakeRegistry

TOPIC = "studio.finance.titles"
NAME = "finance.titles"
PLACE = Place("binlog.000003", 157)
W = (3 << 32) + 157


class Registry(FakeRegistry):
    def latest(self, subject: str) -> int | None:
        return {f"{TOPIC}-key": 1, f"{TOPIC}-value": 2}.get(subject)


REGISTRY = Registry()
AvroTable(REGISTRY, {"title_id": "long", "name": "string"}, ("title_id",))


def a_table() -> SweptTable:
    table = avro_table(TOPIC, ("studio", "finance", "titles"), frozenset(), REGISTRY)
    assert table is not None
    return table


@dataclass
class Shelf:
    """A destination: versions by ID. Applies what the log gets, as every sink does."""

    rows: dict[str, int]
    asked: int = 0

    def alive(self, topic: str, schema: TableSchema) -> int:
        assert (topic, schema.qualified_name) == (TOPIC, NAME)
        self.asked += 1
        return len(self.rows)

    def older(self, topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        del topic, schema
        found = [each for each, known in self.rows.items() if known < version]
        for at in range(0, len(found), 2):
            yield found[at : at + 2]

    def close(self) -> None:
        """Nothing is open."""

    def delete(self, identifier: str, version: int) -> None:
        if self.rows.get(identifier, version) < version:
            del self.rows[identifier]


@dataclass
class Kafka:
    """The topic, and two groups that read it."""

    end: int = 10
    committed: dict[str, int] = field(default_factory=dict)
    written: list[tuple[str, OutgoingRecord]] = field(default_factory=list)

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        return [Partition(topic, 0) for topic in topics]

    def offsets(self, group_id: str, partitions: Sequence[Partition]) -> list[PartitionOffsets]:
        done = self.committed.get(group_id)
        return [PartitionOffsets(each, done, 0, self.end) for each in partitions]

    def append(self, topic: str, records: Iterable[OutgoingRecord]) -> None:
        self.written += [(topic, record) for record in records]


@dataclass
class Source:
    """A connector, and the marks that it has left."""

    taken: list[Snapshot] = field(default_factory=lambda: [Snapshot(PLACE, frozenset({NAME}), 1)])
    cause: Cause = Cause.SNAPSHOT
    is_busy: bool = False

    def settled(self) -> Place:
        if self.is_busy:
            raise PreconditionError("it takes a snapshot")
        return Place("binlog.000009", 4)

    def snapshots(self) -> list[Snapshot]:
        return self.taken

    def of(self, table: str, taken: Sequence[Snapshot], settled: Place) -> Watermark | None:
        del table, settled
        return Watermark(self.cause, taken[-1].place) if taken else None


@dataclass
class Bench:
    shelf: Shelf
    other: Shelf = field(default_factory=lambda: Shelf({"1": W}))
    kafka: Kafka = field(default_factory=lambda: Kafka(committed={"search": 10, "replica": 10}))
    source: Source = field(default_factory=Source)
    clock: FakeClock = field(default_factory=FakeClock)
    letters: int = 0

    def sweep(self, rules: Rules | None = None) -> Sweep:
        stores = [self.store("search", self.shelf), self.store("replica", self.other)]
        return Sweep(
            self.source,
            self.source,  # type: ignore[arg-type]  # a stand-in for Marks
            stores,
            self.kafka,
            self.kafka,
            rules or Rules(max_share=0.8),
            self.clock,
        )

    def store(self, name: str, shelf: Shelf) -> Store:
        decoder = DebeziumDecoder(AvroDialect(REGISTRY), native=None)
        return Store(
            name, name, 0, shelf, decoder, lambda topic: topic == TOPIC, lambda _: self.letters
        )

    def deliver(self) -> None:
        """Both pipelines read on."""
        decoder = DebeziumDecoder(AvroDialect(REGISTRY), native=None)
        messages = [
            FakeMessage(value, key, topic, 0, number)
            for number, (topic, (key, value, _)) in enumerate(self.kafka.written)
        ]
        for batch in decoder.decode(messages).batches:
            for identifier, version in batch.frame.select("id", "version").iter_rows():
                self.shelf.delete(identifier, version)
                self.other.delete(identifier, version)

    def deleted(self) -> list[bytes | None]:
        return [key for _, (key, value, _) in self.kafka.written if value is not None]


def a_bench() -> Bench:
    """Row 1 was in the snapshot, 5 came later, 2 and 3 are gone; the replica knows of 3 and 4."""
    bench = Bench(Shelf({"1": W, "2": 100, "3": W - 2, "5": W + 9}))
    bench.other = Shelf({"1": W, "3": 100, "4": 7, "5": W + 9})
    return bench


def test_what_any_store_shows_too_much_goes_from_all_and_a_second_sweep_does_nothing() -> None:
    bench = a_bench()
    job = bench.sweep()
    [outcome] = job.run([a_table()])
    assert outcome.verdict is Verdict.SWEPT
    assert outcome.deletes == 3
    assert [(s.pipeline, s.rows, s.orphans) for s in outcome.stores] == [
        ("search", 4, 2),
        ("replica", 4, 2),
    ]
    assert len(bench.deleted()) == 3
    assert len(bench.kafka.written) == 6, "a tombstone behind each"
    bench.deliver()
    assert bench.shelf.rows == bench.other.rows == {"1": W, "5": W + 9}

    [again] = job.run([a_table()])
    assert (again.verdict, again.deletes) == (Verdict.CLEAN, 0)
    assert len(bench.kafka.written) == 6


def test_a_row_that_came_back_meanwhile_stays() -> None:
    bench = a_bench()
    bench.sweep().run([a_table()])
    bench.shelf.rows["2"] = W + 50
    bench.other.rows["2"] = W
    bench.deliver()
    assert bench.shelf.rows["2"] == W + 50
    assert bench.other.rows["2"] == W, "nor what the snapshot itself read"


def test_a_dry_run_counts_and_writes_nothing() -> None:
    bench = a_bench()
    [outcome] = bench.sweep(Rules(is_dry=True)).run([a_table()])
    assert (outcome.verdict, outcome.deletes) == (Verdict.FOUND, 3)
    assert bench.kafka.written == []


def test_without_a_watermark_no_store_is_asked() -> None:
    bench = a_bench()
    bench.source.taken = []
    [outcome] = bench.sweep().run([a_table()])
    assert outcome.verdict is Verdict.NO_WATERMARK
    assert bench.shelf.asked == 0


def test_a_pipeline_that_is_behind_is_waited_for() -> None:
    bench = a_bench()
    bench.kafka.committed["replica"] = 9
    told: list[str] = []
    job = bench.sweep()
    job.report = told.append
    sleep = bench.clock.sleep

    def catch_up(seconds: float) -> None:
        sleep(seconds)
        if len(bench.clock.slept_s) == 3:
            bench.kafka.committed["replica"] = 10

    bench.clock.sleep = catch_up  # type: ignore[method-assign]
    [outcome] = job.run([a_table()])
    assert outcome.verdict is Verdict.SWEPT
    assert told == ["finance.titles: waiting for replica"]


def test_a_pipeline_that_stays_behind_is_refused_before_any_store_is_asked() -> None:
    bench = a_bench()
    bench.kafka.committed["replica"] = 9
    [outcome] = bench.sweep(Rules(patience_s=5)).run([a_table()])
    assert outcome.verdict is Verdict.REFUSED
    assert "replica has not come to the watermark" in outcome.why
    assert bench.shelf.asked == 0
    assert bench.kafka.written == []


def test_too_large_a_share_asks_for_a_word() -> None:
    bench = a_bench()
    [outcome] = bench.sweep(Rules(max_share=0.49)).run([a_table()])
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.why == "2 of the 4 rows that search shows would go: more than 49%"
    assert "--yes" in outcome.hint
    assert [store.orphans for store in outcome.stores] == [2, 2], "they are shown all the same"
    assert bench.kafka.written == []
    [outcome] = bench.sweep(Rules(max_share=0.49, is_sure=True)).run([a_table()])
    assert outcome.verdict is Verdict.SWEPT


def test_half_is_not_more_than_half() -> None:
    [outcome] = a_bench().sweep(Rules(max_share=0.5)).run([a_table()])
    assert outcome.verdict is Verdict.SWEPT


def test_a_truncate_may_take_all_because_its_table_was_allowed() -> None:
    bench = a_bench()
    bench.source.cause = Cause.TRUNCATE
    [outcome] = bench.sweep(Rules(max_share=0.0)).run([a_table()])
    assert outcome.verdict is Verdict.SWEPT


def test_open_dead_letters_are_dealt_with_first() -> None:
    bench = a_bench()
    bench.letters = 2
    [outcome] = bench.sweep().run([a_table()])
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.why == "search has 2 open dead letters of it"
    assert bench.kafka.written == []


def test_ids_that_lead_to_no_key_are_refused() -> None:
    """As those of a pipeline whose field rules hash a key column."""
    bench = a_bench()
    bench.other.rows["9f86d081"] = 5
    [outcome] = bench.sweep().run([a_table()])
    assert outcome.verdict is Verdict.REFUSED
    assert "replica do not lead back to the source's keys" in outcome.why
    assert "9f86d081" not in outcome.why, "an ID may be personal data"
    assert bench.kafka.written == []


def test_nothing_is_asked_while_a_snapshot_runs() -> None:
    bench = a_bench()
    bench.source.is_busy = True
    with pytest.raises(PreconditionError):
        bench.sweep().run([a_table()])
    assert bench.shelf.asked == 0


@pytest.mark.parametrize("is_done", [False, True], ids=["running", "done"])
def test_a_snapshot_that_begins_meanwhile_stops_the_sweep(is_done: bool) -> None:
    bench = a_bench()
    job = bench.sweep()
    older = bench.other.older

    def begins(topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        bench.source.is_busy = not is_done
        bench.source.taken.append(replace(bench.source.taken[0], place=Place("binlog.000004", 4)))
        yield from older(topic, schema, version)

    bench.other.older = begins  # type: ignore[method-assign]
    with pytest.raises(PreconditionError):
        job.run([a_table()])
    assert bench.kafka.written == []


def test_a_daemon_passes_over_what_is_done_until_there_is_a_new_watermark() -> None:
    bench = a_bench()
    job = bench.sweep(Rules(max_share=1.0))
    assert [o.verdict for o in job.run([a_table()], is_again=True)] == [Verdict.SWEPT]
    bench.deliver()
    assert job.run([a_table()], is_again=True) == []
    bench.source.taken.append(Snapshot(Place("binlog.000004", 4), frozenset({NAME}), 2))
    [outcome] = job.run([a_table()], is_again=True)
    assert outcome.deletes == 2, "the rows that the new snapshot did not bring"
