"""What all four stores must agree on, and where they do not.

MySQL is the truth of the index, the replica and what the audit makes of itself; the source topics
are the truth of the audit, record by record; and the audit, so proven, is that of the events
downstream: which there are, once each, in which order per ID.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import polars as pl
from confluent_kafka import Message

from sinks.hive.stores.port import Store
from tests.support.audit_proof import check, places, rebuilt_otherwise
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


@dataclass(frozen=True, slots=True)
class Stores:
    """What is compared. Nothing may be on its way any more."""

    job: MainJob
    pipelines: Mapping[str, Pipeline]
    audit: Store
    replica: Replica

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
            if letters := self.job.dead_letters(pipeline):
                yield f"{pipeline.name}: {len(letters)} dead letters"

    def _index(self) -> Iterator[str]:
        tables = [self.job.reflected(name) for name in self.job.captured]
        report = self.job.compare(self.pipelines["search"], tables)
        if not report.is_equal:
            yield f"search: {report}"

    def _replica(self) -> Iterator[str]:
        source = self.job.database
        for table in self.job.captured:
            ours = contents(source.ask, source.name, table)
            theirs = contents(self.replica.ask, self.replica.name, table)
            if ours != theirs:
                keys = [key for key in ours.keys() | theirs if ours.get(key) != theirs.get(key)]
                yield f"replica: {table}: {len(keys)} rows differ: {sorted(keys)[:_SHOWN]}"

    def _audit(self, audited: Mapping[str, pl.DataFrame]) -> Iterator[str]:
        expected = places(self.job.records(self.pipelines["audit"].topics))
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
        code, told = check(self.job, self.pipelines["audit"])
        if code != 0:
            yield f"audit check: {[lane['faults'] for lane in told['lanes'] if lane['faults']]}"
        tables = [name for name, frame in audited.items() if not frame.is_empty()]
        for name in rebuilt_otherwise(self.job.database, self.audit, tables):
            yield f"audit: {name} rebuilt is not the table"

    def _downstream(self, audited: Mapping[str, pl.DataFrame]) -> Iterator[str]:
        for table, frame in audited.items():
            if frame.is_empty():
                continue
            topic = f"down-{self.job.name}.{self.job.database.name}.{table}"
            expected, found = _by_id(frame), _seen(self.job.records([topic]))
            every = expected.keys() | found
            if wrong := [each for each in every if expected.get(each) != found.get(each)]:
                yield f"downstream: {table}: other events of {len(wrong)} IDs: {wrong[:_SHOWN]}"


def _by_id(frame: pl.DataFrame) -> dict[str, list[str]]:
    """UUIDs per ID in the order of the topic."""
    in_order = frame.sort("kafka_partition", "kafka_offset")
    return dict(in_order.group_by("id", maintain_order=True).agg("uuid").iter_rows())


def _seen(messages: Sequence[Message]) -> dict[str, list[str]]:
    """The same as a reader of committed records finds it downstream."""
    found: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        key, uuid = message.key(), headers_of(message)["callsheet-uuid"]
        assert isinstance(key, bytes)
        assert uuid is not None
        found[key.decode()].append(uuid.decode())
    return dict(found)
