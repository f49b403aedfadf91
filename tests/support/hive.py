"""The audit for tests: stores that freeze or crash, and a reader of what Hive would read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import polars as pl
from obstore.store import MemoryStore

from callsheet.batch import Batch, Offset, Partition
from callsheet.errors import RetryableError
from callsheet.event import Op
from callsheet.ports import Clock, Deadline, SystemClock
from callsheet.schema import TableSchema
from callsheet.sink import Progress, Sink, SinkContext
from sinks.hive.archive import content_of
from sinks.hive.contents import Contents
from sinks.hive.entries import Entry
from sinks.hive.layout import PARTITION_COLUMN
from sinks.hive.publication import PublishStep
from sinks.hive.ranges import RangeLog
from sinks.hive.settings import HiveSettings
from sinks.hive.sink import HiveSink
from sinks.hive.stores.objects import ObjectStore
from sinks.hive.stores.port import Store
from tests.support.batches import Row, a_schema, upsert

PARTITIONS = 3
LATEST = 253_402_300_800_000_000
"""Microseconds: the year 10000, which no Hive date can name."""


def a_context(clock: Clock | None = None) -> SinkContext:
    return SinkContext("audit", clock or SystemClock())


def settings(**changes: Any) -> HiveSettings:
    """``store`` is given to the sink beside them."""
    return HiveSettings.model_validate({"store": {"type": "local", "root": "/nowhere"}, **changes})


def memory_store() -> ObjectStore:
    return ObjectStore(MemoryStore(), "audit")


class Crash(BaseException):
    """The process is dead: nothing in it may catch this and go on."""


@dataclass(slots=True)
class Gate:
    """Between the sink and its store: open, frozen, or away for ever after a number of calls.

    ``crash_in``: how many changes of the store still happen. Then comes a :class:`Crash`, *after*
    the last of them; every later call crashes too, because a dead process makes none.
    """

    store: Store
    crash_in: int | None = None
    fail_in: int | None = None
    """How many changes still happen until one fails with a RetryableError; that one is done."""
    freeze_in: int | None = None
    """How many changes still happen until the store answers nothing any more."""
    changes: int = 0
    is_dead: bool = False
    _open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._open.set()

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def _pass(self) -> None:
        self._open.wait()
        if self.is_dead:
            raise Crash

    def _changed(self) -> None:
        self.changes += 1
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.is_dead = True
                raise Crash
        if self.freeze_in is not None:
            self.freeze_in -= 1
            if self.freeze_in <= 0:
                self.freeze_in = None
                self.freeze()
        if self.fail_in is not None:
            self.fail_in -= 1
            if self.fail_in <= 0:
                self.fail_in = None
                raise RetryableError("the answer was lost")

    def check(self) -> None:
        self._pass()
        self.store.check()

    def put(self, path: str, content: BinaryIO) -> None:
        self._pass()
        self.store.put(path, content)
        self._changed()

    def create(self, path: str, data: bytes) -> bool:
        self._pass()
        done = self.store.create(path, data)
        self._changed()
        return done

    def replace(self, path: str, data: bytes) -> None:
        self._pass()
        self.store.replace(path, data)
        self._changed()

    def move(self, source: str, target: str) -> None:
        self._pass()
        self.store.move(source, target)
        self._changed()

    def read(self, path: str) -> bytes | None:
        self._pass()
        return self.store.read(path)

    def size(self, path: str) -> int | None:
        self._pass()
        return self.store.size(path)

    def names(self, folder: str, after: str = "") -> list[str]:
        self._pass()
        return self.store.names(folder, after)

    def remove(self, path: str) -> None:
        self._pass()
        self.store.remove(path)
        self._changed()

    def close(self) -> None:
        """The store outlives its sinks."""


@dataclass(slots=True)
class Counting:
    """What a store is asked."""

    store: Store
    calls: Counter[str] = field(default_factory=Counter)
    listed: int = 0
    """Names that it answered with."""
    paths: list[str] = field(default_factory=list)
    """What was read."""
    before: Callable[[str], None] = lambda _: None

    def __getattr__(self, name: str) -> Any:
        def call(*words: Any) -> Any:
            self.before(name)
            self.calls[name] += 1
            self.paths += words[:1] if name == "read" else ()
            answer = getattr(self.store, name)(*words)
            self.listed += len(answer) if name == "names" else 0
            return answer

        return call


def a_sink(
    store: Store,
    at: Callable[[PublishStep], None] = lambda _: None,
    clock: Clock | None = None,
    **changes: Any,
) -> HiveSink:
    return HiveSink(settings(**changes), a_context(clock), store, at)


def within(seconds: float = 20) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


# --- reading ------------------------------------------------------------------------------------


def tables(store: Store) -> list[str]:
    return [name for name in store.names("") if not name.startswith(("_", "."))]


def files(store: Store, table: str) -> list[str]:
    """What Hive finds in the table's folder."""
    return [
        f"{table}/{folder}/{name}"
        for folder in store.names(table)
        for name in store.names(f"{table}/{folder}")
        if not name.startswith(("_", "."))
    ]


def rows(store: Store, table: str) -> pl.DataFrame:
    """All rows that a reader of the table's folder finds, columns by name, with their date."""
    found = [_with_date(store, path) for path in files(store, table)]
    return pl.concat(found, how="diagonal_relaxed") if found else pl.DataFrame()


def _with_date(store: Store, path: str) -> pl.DataFrame:
    date = path.split("/")[1].removeprefix(f"{PARTITION_COLUMN}=")
    return parquet_of(store, path).with_columns(pl.lit(date).alias(PARTITION_COLUMN))


def parquet_of(store: Store, path: str) -> pl.DataFrame:
    return pl.read_parquet(BytesIO(store.read(path) or b""))


def records(store: Store, table: str) -> list[tuple[int, int]]:
    """Partition and offset of each row, sorted; a record that is there twice is here twice."""
    found = rows(store, table)
    return (
        [] if found.is_empty() else sorted(found.select("kafka_partition", "kafka_offset").rows())
    )


def counting(store: Store, table: str) -> list[tuple[int, int]]:
    """The same as our own readers find it, by the log of ranges and the states of partitions."""
    pieces = Contents(RangeLog(store)).view([table]).counting()
    found = [BytesIO(content_of(store, piece.file)) for piece in pieces]
    rows_ = [pl.read_parquet(each, columns=["kafka_partition", "kafka_offset"]) for each in found]
    return sorted(row for each in rows_ for row in each.rows())


def ranges(store: Store, lane: str) -> list[Entry]:
    """Of the lane's chain, without claims."""
    return [entry for entry in RangeLog(store).entries(lane) if entry.ranges]


# --- for the sink laws --------------------------------------------------------------------------


class AssignedSink:
    """A sink whose partitions are assigned when it opens, as the worker does before any write."""

    def __init__(self, sink: HiveSink, topic: str) -> None:
        self._sink = sink
        self._partitions = [Partition(topic, number) for number in range(PARTITIONS)]

    def open(self) -> None:
        self._sink.open()
        self._sink.assigned(self._partitions)

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, Offset]:
        return self._sink.assigned(partitions)

    def write(self, batch: Batch, deadline: Deadline) -> None:
        self._sink.write(batch, deadline)

    def progress(self) -> Progress:
        return self._sink.progress()

    def flush(self, deadline: Deadline) -> None:
        self._sink.flush(deadline)

    def revoked(self, partitions: Collection[Partition], *, lost: bool) -> None:
        self._sink.revoked(partitions, lost=lost)

    def close(self) -> None:
        self._sink.close()


@dataclass(slots=True)
class HiveDestination:
    """``make``: a client of the store, each with connections of its own."""

    make: Callable[[], Store]
    freeze_: Callable[[], None]
    thaw_: Callable[[], None]
    schema: TableSchema = field(default_factory=lambda: a_schema(table=f"t{uuid4().hex[:8]}"))
    reader: Store | None = None

    def sink(self) -> Sink:
        sink = a_sink(self.make(), rotation={"rows": 5_000}, most_waiting_ranges=4)
        return AssignedSink(sink, f"studio.finance.{self.schema.table}")

    def names(self) -> Mapping[str, str | None]:
        """The latest state of each row, as the view over the log has it."""
        found = rows(self.reader or self.make(), f"finance_{self.schema.table}")
        if found.is_empty():
            return {}
        latest = found.sort("version", "kafka_offset").group_by("id").last()
        alive = latest.filter(pl.col("type") != Op.DELETE.value)
        return dict(alive.select("id", "after_name").iter_rows())

    def poison(self, identifier: int) -> Row:
        row = upsert(identifier, name="of the year 10000")
        return Row(row.op, row.id, row.after, row.version, ts_us=LATEST)

    def freeze(self) -> None:
        self.freeze_()

    def thaw(self) -> None:
        self.thaw_()


def local_root(folder: Path) -> dict[str, str]:
    return {"type": "local", "root": str(folder)}


def batches_of(rows_: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows_[at : at + size] for at in range(0, len(rows_), size)]
