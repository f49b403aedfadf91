"""What all four stores must agree on, and where they do not.

MySQL is the truth of the index, the replica and what the audit makes of itself; the source topics
are the truth of the audit, record by record; and the audit, so proven, is that of the events
downstream: which there are, once each, in which order per ID.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import polars as pl
from confluent_kafka import Message

from callsheet.kafka.dead_letters import original_place
from sinks.hive.stores.port import Store
from tests.support.audit_proof import Place, check, places, rebuilt_otherwise
from tests.support.downstream import headers_of
from tests.support.hive import rows
from tests.support.main_job import MainJob
from tests.support.main_job_files import Pipeline
from tests.support.sql import Replica
from tests.support.tables import contents

_SHOWN = 3


class DifferenceError(AssertionError):
    """The stores are not what MySQL and its log are."""

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__("\n".join(differences))
        self.differences = differences


@dataclass(slots=True)
class Remembering:
    """A store whose data files are read once: they never change, and each proof wants them all."""

    store: Store
    _files: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        if not path.endswith(".parquet"):
            return self.store.read(path)
        if path not in self._files and (content := self.store.read(path)) is not None:
            self._files[path] = content
        return self._files.get(path)

    def check(self) -> None:
        self.store.check()

    def put(self, path: str, content: BinaryIO) -> None:
        self.store.put(path, content)

    def create(self, path: str, data: bytes) -> bool:
        return self.store.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        self.store.replace(path, data)

    def move(self, source: str, target: str) -> None:
        self.store.move(source, target)

    def size(self, path: str) -> int | None:
        return self.store.size(path)

    def names(self, folder: str, after: str = "") -> list[str]:
        return self.store.names(folder, after)

    def remove(self, path: str) -> None:
        self.store.remove(path)

    def close(self) -> None:
        self.store.close()


@dataclass(slots=True)
class Done:
    """What a test has done to the topics itself, so that it is no difference."""

    unreadable: set[Place] = field(default_factory=set)
    """Records that nobody can decode: of each a dead letter per pipeline, and no row."""
    repeated: Counter[str] = field(default_factory=Counter)
    """By topic, how many changes were put into it once more, each under an offset of its own."""
    is_replayed: bool = False
    """The group downstream was set back: who reads there goes by UUID."""
    gone: dict[str, list[Place]] = field(default_factory=dict)
    """By topic, what its predecessor of the same name had."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What is compared. Nothing may be on its way any more."""

    job: MainJob
    pipelines: Mapping[str, Pipeline]
    audit: Store
    replica: Replica
    done: Done = field(default_factory=Done)

    def require_equal(self) -> None:
        """Raises DifferenceError with everything that differs."""
        if found := list(self._differences()):
            raise DifferenceError(found)

    def _differences(self) -> Iterator[str]:
        audited = {table: rows(self.audit, table) for table in self.job.captured}
        yield from self._index()
        yield from self._replica()
        yield from self._audit(audited)
        yield from self._downstream(audited)
        for pipeline in self.pipelines.values():
            letters = {original_place(headers_of(m)) for m in self.job.dead_letters(pipeline)}
            if letters != self.done.unreadable:
                yield f"{pipeline.name}: {len(letters)} dead letters: {sorted(letters)[:_SHOWN]}"

    def _index(self) -> Iterator[str]:
        tables = [self.job.reflected(name) for name in self.job.captured]
        report = self.job.compare(self.pipelines["search"], tables)
        if not report.is_equal:
            yield f"search: {report}"

    def _replica(self) -> Iterator[str]:
        self.replica.engine.dispose()  # its connections may be those of a server that was killed
        source = self.job.database
        for table in self.job.captured:
            ours = contents(source.ask, source.name, table)
            theirs = contents(self.replica.ask, self.replica.name, table)
            if ours != theirs:
                keys = [key for key in ours.keys() | theirs if ours.get(key) != theirs.get(key)]
                yield f"replica: {table}: {len(keys)} rows differ: {sorted(keys)[:_SHOWN]}"

    def _audit(self, audited: Mapping[str, pl.DataFrame]) -> Iterator[str]:
        there = places(self.job.records(self.pipelines["audit"].topics))
        before = [place for places_ in self.done.gone.values() for place in places_]
        expected = sorted([*(set(there) - self.done.unreadable), *before])
        found = sorted(
            place
            for frame in audited.values()
            if not frame.is_empty()
            for place in frame.select("kafka_topic", "kafka_partition", "kafka_offset").rows()
        )
        if found != expected:
            lost, foreign = set(expected) - set(found), set(found) - set(expected)
            yield (
                f"audit: {len(expected)} records, {len(found)} rows, {len(lost)} lost, "
                f"{len(foreign)} of no record, {len(found) - len(set(found))} repeated"
            )
        yield from self._repeated(audited)
        code, told = check(self.job, self.pipelines["audit"])
        if code != 0:
            yield f"audit check: {[lane['faults'] for lane in told['lanes'] if lane['faults']]}"
        tables = [name for name, frame in audited.items() if not frame.is_empty()]
        for name in rebuilt_otherwise(self.job.database, self.audit, tables):
            yield f"audit: {name} rebuilt is not the table"

    def _repeated(self, audited: Mapping[str, pl.DataFrame]) -> Iterator[str]:
        """The source is exactly-once: no change is in two records, but what a test repeated."""
        for table, frame in audited.items():
            if not frame.is_empty():
                twice = frame.height - frame.get_column("uuid").n_unique()
                if twice != (expected := self.done.repeated[self.job.topic(table)]):
                    yield f"audit: {table}: {twice} changes are there twice, not {expected}"

    def _downstream(self, audited: Mapping[str, pl.DataFrame]) -> Iterator[str]:
        for table, frame in audited.items():
            if frame.is_empty():
                continue
            topic = f"down-{self.job.name}.{self.job.database.name}.{table}"
            is_remade = self.job.topic(table) in self.done.gone
            expected, found = _by_id(frame, is_remade), _seen(self.job.records([topic]))
            if self.done.is_replayed:
                expected, found = _each_once(expected), _each_once(found)
            every = expected.keys() | found
            if wrong := [each for each in every if expected.get(each) != found.get(each)]:
                lost, extra = (
                    sum((Counter(x.get(i)) - Counter(y.get(i))).total() for i in wrong)
                    for x, y in ((expected, found), (found, expected))
                )
                yield (
                    f"downstream: {table}: other events of {len(wrong)} IDs: {wrong[:_SHOWN]}: "
                    f"{lost} lost, {extra} too many"
                )


def _by_id(frame: pl.DataFrame, is_remade: bool) -> dict[str, list[str]]:
    """UUIDs per ID in the order of the topic; the offsets of one that was made anew start over."""
    order = ["version"] if is_remade else ["kafka_partition", "kafka_offset"]
    return dict(frame.sort(order).group_by("id", maintain_order=True).agg("uuid").iter_rows())


def _each_once(uuids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Where each came first."""
    return {key: list(dict.fromkeys(each)) for key, each in uuids.items()}


def _seen(messages: Sequence[Message]) -> dict[str, list[str]]:
    """The same as a reader of committed records finds it downstream."""
    found: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        key, uuid = message.key(), headers_of(message)["callsheet-uuid"]
        assert isinstance(key, bytes)
        assert uuid is not None
        found[key.decode()].append(uuid.decode())
    return dict(found)
