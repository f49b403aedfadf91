"""Up to where a table's older rows are known to be gone: its last snapshot, or TRUNCATE.

Debezium writes a record per table and snapshot into the topic named like its prefix, with the
snapshot's place in the binlog, and gives the same place to each row that the snapshot read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from callsheet.codec.envelope import SNAPSHOT_MARKS, TRUNCATE
from callsheet.event import Position, file_ordinal

WHOLE_TABLE: Final = SNAPSHOT_MARKS - {"incremental"}
"""Marks of a snapshot that reads its tables at one place of the log."""

_PARTS: Final = re.compile(r'"((?:[^"]|"")*)"')


class Cause(StrEnum):
    SNAPSHOT = "snapshot"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the source's binlog."""

    file: str
    pos: int
    row: int = 0

    def version(self, epoch: int) -> int:
        return Position(epoch, file_ordinal(self.file), self.pos, self.row).version

    @property
    def order(self) -> tuple[int, int, int]:
        return file_ordinal(self.file), self.pos, self.row

    def __str__(self) -> str:
        return f"{self.file}:{self.pos}"


@dataclass(frozen=True, slots=True)
class Watermark:
    """What a table had before this place and was not told of since, it has no more."""

    cause: Cause
    place: Place

    def version(self, epoch: int) -> int:
        return self.place.version(epoch)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot as the schema-change topic tells of it.

    Attributes:
        tables: that were read, as database.table.
        at_ms: when Kafka got the first record of it; its rows come later.
    """

    place: Place
    tables: frozenset[str]
    at_ms: int


def snapshots(records: Iterable[tuple[Mapping[str, Any], int]]) -> list[Snapshot]:
    """From the records of the schema-change topic and their times, in its order: a source that was
    replaced begins its log anew, so the place does not say which is the last.

    One that was interrupted is among them: it began again, and that one comes later.
    """
    found: dict[Place, tuple[set[str], int]] = {}
    for record, at_ms in records:
        place = snapshot_place(record)
        if place is not None:
            tables, first_ms = found.get(place, (set(), at_ms))
            tables.update(_created(record))
            found[place] = tables, min(first_ms, at_ms)
    return [
        Snapshot(place, frozenset(tables), at_ms)
        for place, (tables, at_ms) in found.items()
        if tables
    ]


def snapshot_place(record: Mapping[str, Any]) -> Place | None:
    """Of a record that a snapshot of whole tables wrote: a row, or a table's description."""
    source = record.get("source")
    if not isinstance(source, Mapping) or source.get("snapshot") not in WHOLE_TABLE:
        return None
    return _place(source)


def truncate_place(record: Mapping[str, Any]) -> Place | None:
    """Of a TRUNCATE."""
    source = record.get("source")
    if record.get("op") != TRUNCATE or not isinstance(source, Mapping):
        return None
    return _place(source)


def _place(source: Mapping[str, Any]) -> Place | None:
    file, pos = source.get("file"), source.get("pos")
    if not isinstance(file, str) or not isinstance(pos, int) or not file:
        return None
    return Place(file, pos, int(source.get("row") or 0))


def _created(record: Mapping[str, Any]) -> Iterator[str]:
    """Tables that a schema change describes, as database.table."""
    changes = record.get("tableChanges")
    for change in changes if isinstance(changes, Sequence) else ():
        if isinstance(change, Mapping) and change.get("type") == "CREATE":
            parts = [part.replace('""', '"') for part in _PARTS.findall(str(change.get("id")))]
            if len(parts) >= 2:
                yield ".".join(parts[-2:])


def whole(taken: Sequence[Snapshot], heartbeats: Collection[str]) -> list[Snapshot]:
    """Those of the connector's tables all together, by this: that its heartbeat's is among them.

    Somebody may ask for a snapshot of single tables, or of a part of their rows. What such a one
    leaves out is not gone.
    """
    return [each for each in taken if any(t.partition(".")[2] in heartbeats for t in each.tables)]


def last_of(table: str, taken: Sequence[Snapshot]) -> Snapshot | None:
    return next((each for each in reversed(taken) if table in each.tables), None)


def highest(marks: Iterable[Watermark]) -> Watermark | None:
    """The one that lets most go."""
    return max(marks, key=lambda each: each.place.order, default=None)
