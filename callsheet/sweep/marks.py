"""Watermarks as the connector's own topics tell them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

from callsheet.batch import Message, Offset, Partition
from callsheet.sweep.raw import Read, record_of
from callsheet.sweep.watermark import (
    Cause,
    Place,
    Snapshot,
    Watermark,
    highest,
    last_of,
    snapshot_place,
    snapshots,
    truncate_place,
    whole,
)

_MOST_LOOKED_AT: Final = 50_000
"""Records of one topic: a snapshot's rows stand right behind its start."""

_CLOCK_STEP_MS: Final = 60_000
"""So far a clock may have been set back between a snapshot's start and its rows."""


class Scan(Protocol):
    """Implemented by :class:`callsheet.kafka.scan.TopicScan`."""

    def topic(self, name: str) -> Iterator[Message]: ...
    def since(
        self, name: str, time_ms: int, after: Mapping[Partition, Offset]
    ) -> Iterator[Message]: ...


class Marks:
    """One connector's. What was read is not read again.

    Args:
        prefix: its ``topic.prefix``.
        heartbeats: names of heartbeat tables.
        truncatable: tables (database.table) whose TRUNCATE may be swept; no other is looked for.
    """

    def __init__(
        self,
        scan: Scan,
        read: Read,
        *,
        prefix: str,
        heartbeats: Collection[str],
        truncatable: Collection[str],
    ) -> None:
        self._scan, self._read = scan, read
        self._prefix, self._heartbeats, self._truncatable = prefix, heartbeats, truncatable
        self._with_rows: dict[Snapshot, bool] = {}
        self._truncates: dict[str, _Truncates] = {}

    def snapshots(self) -> list[Snapshot]:
        """Those that read all the connector's tables, oldest first; the last may still run."""
        found = (
            (record, message.timestamp()[1])
            for message in self._scan.topic(self._prefix)
            if (record := record_of(message, self._read)) is not None
        )
        return whole(snapshots(found), self._heartbeats)

    def of(self, table: str, taken: Sequence[Snapshot], settled: Place) -> Watermark | None:
        """``taken``: what :meth:`snapshots` gave, the last one completed; ``settled``: up to where
        the connector has come. A snapshot beyond that is of another time or another source.

        A last snapshot that read descriptions only (`snapshot.mode` recovery or no_data) tells
        nothing about rows, and none before it is gone back to: it may not have been completed.
        """
        snapshot = last_of(table, taken)
        if snapshot is None or snapshot.place.order > settled.order:
            return None
        marks = [self._truncate(table, snapshot)]
        if self._read_rows(snapshot):
            marks.append(Watermark(Cause.SNAPSHOT, snapshot.place))
        return highest(m for m in marks if m and m.place.order >= snapshot.place.order)

    def _read_rows(self, snapshot: Snapshot) -> bool:
        if snapshot not in self._with_rows:
            # The heartbeat's table first: it is small, and its row is always there.
            tables = sorted(snapshot.tables, key=self._is_business)
            self._with_rows[snapshot] = any(self._has_row(t, snapshot) for t in tables)
        return self._with_rows[snapshot]

    def _is_business(self, table: str) -> bool:
        return table.partition(".")[2] not in self._heartbeats

    def _has_row(self, table: str, snapshot: Snapshot) -> bool:
        from_ms = max(0, snapshot.at_ms - _CLOCK_STEP_MS)
        messages = self._scan.since(f"{self._prefix}.{table}", from_ms, {})
        for message in islice(messages, _MOST_LOOKED_AT):
            record = record_of(message, self._read)
            if record is not None and snapshot_place(record) == snapshot.place:
                return True
        return False

    def _truncate(self, table: str, snapshot: Snapshot) -> Watermark | None:
        """Of those since the last snapshot: it knows what came before, and a source that was
        replaced is captured by a new one.
        """
        if table not in self._truncatable:
            return None
        known = self._truncates.get(table)
        if known is None or known.since != snapshot:
            known = self._truncates[table] = _Truncates(snapshot)
        topic = f"{self._prefix}.{table}"
        for message in self._scan.since(topic, snapshot.at_ms, known.scanned):
            known.scanned[Partition(message.topic(), message.partition())] = message.offset() + 1
            # A TRUNCATE is the one record that has a value and no key.
            if message.key() is None and (record := record_of(message, self._read)) is not None:
                known.note(record)
        return known.last


@dataclass(slots=True)
class _Truncates:
    """Of one table, and how far its topic has been looked through."""

    since: Snapshot
    scanned: dict[Partition, Offset] = field(default_factory=dict)
    last: Watermark | None = None

    def note(self, record: Mapping[str, Any]) -> None:
        place = truncate_place(record)
        if place is not None:
            marks = (self.last, Watermark(Cause.TRUNCATE, place))
            self.last = highest(mark for mark in marks if mark is not None)
