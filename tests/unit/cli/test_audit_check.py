"""`callsheet audit check`: what holds, and that each way of not holding is seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO

import pytest

from callsheet.batch import Decoded, Message, Partition, Poison, Skip
from callsheet.cli.audit_check import Check, LaneReport, Place
from callsheet.errors import Reason
from callsheet.kafka.groups import PartitionOffsets
from callsheet.kafka.letters import FIRST_REDRIVE_PARTITION
from sinks.hive.maintenance import Maintenance
from sinks.hive.ranges import OWN_FOLDER, RangeLog
from sinks.hive.stores.port import Store
from tests.support.batches import RawMessage, Row, a_batch, a_schema, upsert
from tests.support.clock import FakeClock
from tests.support.hive import LATEST, a_sink, files, memory_store, settings, within

SCHEMA = a_schema(table="plans")
TOPIC, TABLE = "studio.finance.plans", "finance_plans"
HOME = Partition(TOPIC, 0)
LANE = f"{TOPIC}-0"


def row(offset: int, **changes: object) -> Row:
    return replace(upsert(offset, version=offset + 1, name="x"), offset=offset, **changes)  # type: ignore[arg-type]


class WordDecoder:
    """The value says what a record is."""

    def decode(self, messages: Sequence[Message]) -> Decoded:
        rows = [m for m in messages if m.value() in {b"row", b"late"}]
        made = [
            row(m.offset(), **({"ts_us": LATEST} if m.value() == b"late" else {})) for m in rows
        ]
        poison = [m for m in messages if m.value() == b"poison"]
        return Decoded(
            [replace(a_batch(made, SCHEMA), messages=rows)] if rows else [],
            {Skip.HEARTBEAT: 1},
            [Poison(m, Reason.MALFORMED, "x") for m in poison],
        )


@dataclass
class Log:
    """A partition by its offsets; what is not there is a transaction's marker."""

    values: dict[int, bytes | None]
    committed: int | None = None
    put_aside: set[int] = field(default_factory=set)
    begin: int = 0

    def states(self) -> list[PartitionOffsets]:
        return [PartitionOffsets(HOME, self.committed, self.begin, max(self.values, default=0) + 1)]

    def records(self, partitions: Collection[Partition]) -> Iterator[Sequence[Message]]:
        assert set(partitions) == {HOME}
        yield [
            RawMessage(TOPIC, 0, offset, b"1", value)
            for offset, value in self.values.items()
            if offset >= self.begin
        ]

    def letters(self) -> set[Place]:
        return {(HOME, offset) for offset in self.put_aside}


ROWS = (0, 1, 4, 5)


@pytest.fixture
def store() -> Store:
    """Ranges [0, 5) and [5, 6), markers at 2 and 3."""
    made = memory_store()
    sink = a_sink(made)
    sink.open()
    sink.assigned([HOME])
    for rows in (ROWS[:3], ROWS[3:]):
        sink.write(a_batch([row(n) for n in rows], SCHEMA), within())
        sink.flush(within())
    sink.close()
    return made


def a_log(**more: bytes | None) -> Log:
    """``more``: further offsets, as ``at6=b"row"``."""
    values: dict[int, bytes | None] = dict.fromkeys(ROWS, b"row")
    return Log(values | {int(name[2:]): value for name, value in more.items()})


def report(store: Store, log: Log) -> LaneReport:
    reports = Check(store, log, WordDecoder(), {}, 24.0, FakeClock()).run()
    return next(each for each in reports if each.book.lane.name == LANE)


def faults(store: Store, log: Log) -> str:
    return " / ".join(report(store, log).book.faults)


def test_a_hole_between_offsets_is_no_loss(store: Store) -> None:
    found = report(store, a_log(at2=None))
    assert found.book.faults == []
    assert (found.book.first, found.book.end, found.book.ranges) == (0, 6, 2)
    assert (found.book.rows, found.compared, found.waiting) == (4, 4, 0)


def test_records_that_are_no_rows_are_explained(store: Store) -> None:
    log = a_log(at2=b"heartbeat", at3=b"poison", at6=b"row")
    log.put_aside = {3}
    found = report(store, log)
    assert found.book.faults == []
    assert (found.no_change, found.letters, found.waiting) == (1, 1, 1)


def test_a_record_in_no_file_and_no_letter_is_lost(store: Store) -> None:
    assert faults(store, a_log(at2=b"row")) == "1 records are in no file and no dead letter"


def test_what_was_committed_and_never_written_is_lost(store: Store) -> None:
    log = a_log(at6=b"row", at7=b"row")
    log.committed = 7
    assert faults(store, log) == "1 records are in no file and no dead letter"
    assert report(store, log).waiting == 1


def test_a_partition_that_nobody_ever_wrote_is_compared_too() -> None:
    log = Log({0: b"row"}, committed=1)
    assert "in no file" in faults(memory_store(), log)
    assert report(memory_store(), Log({0: b"row"})).waiting == 1


@pytest.mark.parametrize("value", [b"poison", b"late"])
def test_a_refused_record_needs_a_letter_while_letters_are_kept(store: Store, value: bytes) -> None:
    log = a_log(at2=value)
    assert "not to be taken, and no dead letter says so" in faults(store, log)
    later = FakeClock(2 * 86_400)
    (found,) = Check(store, log, WordDecoder(), {}, 24.0, later).run()
    assert (found.book.faults, found.expired) == ([], 1)


def test_rows_that_kafka_has_no_more_are_fine_before_its_beginning_only(store: Store) -> None:
    log = a_log()
    log.begin = 4
    found = report(store, log)
    assert (found.book.faults, found.compared) == ([], 2)
    del log.values[5]
    assert "1 rows are of records that Kafka does not have" in faults(store, log)


def test_a_lost_or_damaged_file_is_told(store: Store) -> None:
    first, second = files(store, TABLE)
    store.put(second, BytesIO(b"PAR1"))
    store.remove(first)
    told = faults(store, a_log())
    assert f"{first} is gone: 3 rows" in told
    assert f"{second} cannot be read: 1 rows" in told
    assert "4 records are in no file" in told


def test_a_file_with_other_rows_than_its_range_says_is_told(store: Store) -> None:
    first, second = files(store, TABLE)
    content = store.read(first)
    assert content is not None
    store.put(second, BytesIO(content))
    told = faults(store, a_log())
    assert "has 3 rows, its range says 1" in told
    assert "has 3 rows that are not of its range" in told
    assert "3 rows are there more than once" in told


def test_a_torn_log_is_told(store: Store) -> None:
    names = [entry.name for entry in RangeLog(store).entries(LANE)]
    store.remove(f"{OWN_FOLDER}/ranges/{LANE}/{names[1]}")
    assert "is torn between" in faults(store, a_log())


def test_a_redrive_is_a_lane_of_its_own(store: Store) -> None:
    again = Partition(TOPIC, FIRST_REDRIVE_PARTITION + 8)
    sink = a_sink(store)
    sink.open()
    sink.assigned([again])
    sink.write(a_batch([replace(row(0), partition=again.number)], SCHEMA), within())
    sink.flush(within())
    sink.close()
    home, redriven = Check(store, a_log(), WordDecoder(), {}, 24.0, FakeClock()).run()
    assert (home.is_redrive, redriven.is_redrive) == (False, True)
    assert (redriven.begin, redriven.book.rows, redriven.book.faults) == (None, 1, [])


def test_rows_that_retention_took_are_no_loss_and_others_are(store: Store) -> None:
    upkeep = Maintenance(RangeLog(store), settings(), FakeClock(90 * 86_400))
    upkeep.expire(upkeep.expirable(30))
    found = report(store, a_log())
    assert (found.book.faults, found.compared, found.dropped) == ([], 0, 4)
    assert (found.as_data()["dropped_rows"], found.as_data()["dropped_up_to"]) == (4, "2027-01-15")
    more = a_log(at2=b"row")
    assert faults(store, more) == "5 records of expired dates are missing, retention took 4"


def test_a_compacted_audit_holds(store: Store) -> None:
    rules = {"spare_files": 1, "grace_hours": 0}
    upkeep = Maintenance(RangeLog(store), settings(compaction=rules), FakeClock(90 * 86_400))
    assert upkeep.compact(upkeep.compactable()).cleaned_files == 2
    found = report(store, a_log())
    assert (found.book.faults, found.compared) == ([], 4)
    assert (found.book.ranges, found.book.files, found.book.rows) == (2, 1, 4)
    store.remove(f"{TABLE}.merged")
    told = faults(store, a_log())
    assert "is gone: 4 rows" in told
    assert "4 records are in no file" in told
