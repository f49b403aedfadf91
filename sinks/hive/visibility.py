"""Which partitions Hive shows of a table, and where each is: as its state says, or else where
workers put its files.

Workers know nothing of states: what comes late for a date goes into the table's own folder. Where
Hive's partition is elsewhere it is copied there, under its own name: the log of ranges names the
original, so our own readers have it once, and the partition's folder has it once too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from io import BytesIO
from typing import Final
from uuid import uuid4

from sinks.hive import ddl
from sinks.hive.archive import content_of
from sinks.hive.contents import Contents
from sinks.hive.entries import Entry, Fold
from sinks.hive.hiveserver import Catalog
from sinks.hive.layout import PARTITION_COLUMN
from sinks.hive.partitions import Known, PartitionLog, PartitionState
from sinks.hive.ranges import RangeLog
from sinks.hive.stores.port import Store

_AT_ONCE: Final = 200
_LOCATION: Final = "Location:"

Ends = Mapping[str, int]
"""Per lane the end of the last range that put something into a partition."""
Dates = Mapping[str, Ends]


class NamedDates:
    """Per table the dates that its ranges have put files into. Keeps its place in the log, and
    remembers what Hive was told, for those who come again and again.
    """

    def __init__(self) -> None:
        self._last: dict[str, Entry] = {}
        self._dates: defaultdict[str, defaultdict[str, dict[str, int]]]
        self._dates = defaultdict(lambda: defaultdict(dict))
        self.known: Known = {}
        self.copied: dict[str, object] = {}
        """Per table what its late files were when they were last copied."""
        self.told: dict[tuple[str, str], str] = {}
        """Per table and date where Hive has it."""

    def read(self, log: RangeLog) -> Mapping[str, Dates]:
        for lane in log.lanes():
            for entry in log.entries(lane, self._last.get(lane)):
                for piece in entry.pieces():
                    self._dates[piece.file.table][piece.file.date][lane] = piece.end
                if isinstance(entry, Fold):
                    for share in entry.shares:
                        ends = self._dates[share.table][share.date]
                        ends[lane] = max(share.end, ends.get(lane, 0))
                self._last[lane] = entry
        return self._dates


class TablePartitions:
    """``name``: of the table in Hive; ``location``: the store's root as Hive names it."""

    def __init__(  # noqa: PLR0913, PLR0917 - a neighbour each
        self,
        log: RangeLog,
        catalog: Catalog,
        table: str,
        name: str,
        location: str,
        memory: NamedDates,
    ) -> None:
        self._log, self._catalog, self._memory = log, catalog, memory
        self._table, self._name, self._location = table, name, location
        self._states = PartitionLog(log.store, memory.known).newest(table)
        told = catalog.rows(f"SHOW PARTITIONS {name}")
        self._there = {row[0].removeprefix(f"{PARTITION_COLUMN}=") for row in told}

    def add(self, dates: Dates) -> int:
        """Those that are not there; returns how many."""
        self._copy_late(dates)
        missing = sorted(d for d in dates if d not in self._there and self._is_shown(d, dates[d]))
        for start in range(0, len(missing), _AT_ONCE):
            chunk = missing[start : start + _AT_ONCE]
            places = {date: self._elsewhere(date) for date in chunk}
            self._catalog.run(ddl.add_partitions(self._name, places))
        self._there |= set(missing)
        return len(missing)

    def move(self) -> int:
        """Those that are not where their state says; returns how many."""
        wanted = {
            date: f"{self._location}/{self._states[date].location}"
            for date in sorted(self._states.keys() & self._there)
        }
        told = self._memory.told
        unsure = {d: p for d, p in wanted.items() if told.get((self._table, d)) != p}
        moving = {d: p for d, p in unsure.items() if not _is_same(self._place_of(d), p)}
        if moving:
            copy_late(self._log, self._table)  # what Hive shows it is to show there too
        for date, place in moving.items():
            self._catalog.run(ddl.move_partition(self._name, date, place))
        if moving:
            copy_late(self._log, self._table)  # what came after the copying and before the move
        told.update({(self._table, date): place for date, place in unsure.items()})
        return len(moving)

    def drop(self, dates: Dates) -> int:
        """Those that retention has emptied; returns how many."""
        gone = sorted(date for date in self._there if not self._is_shown(date, dates.get(date, {})))
        for start in range(0, len(gone), _AT_ONCE):
            chunk = gone[start : start + _AT_ONCE]
            self._catalog.run(ddl.drop_partitions(self._name, chunk))
        for date in gone:
            self._memory.told.pop((self._table, date), None)
        return len(gone)

    def _is_shown(self, date: str, ends: Ends) -> bool:
        state = self._states.get(date)
        return state is None or bool(state.files) or self._has_late(state, ends)

    @staticmethod
    def _has_late(state: PartitionState, ends: Ends) -> bool:
        return any(end > state.upto.get(lane, 0) for lane, end in ends.items())

    def _elsewhere(self, date: str) -> str:
        state = self._states.get(date)
        return f"{self._location}/{state.folder}" if state and state.folder else ""

    def _place_of(self, date: str) -> str:
        """As Hive has it."""
        for name, value, *_ in self._catalog.rows(ddl.describe_partition(self._name, date)):
            if (name or "").strip() == _LOCATION:
                return str(value or "").strip()
        return ""

    def _copy_late(self, dates: Dates) -> None:
        ends = {
            date: (state.version, dict(dates.get(date, {})))
            for date, state in self._states.items()
            if state.folder and self._has_late(state, dates.get(date, {}))
        }
        if ends and self._memory.copied.get(self._table) != ends:
            copy_late(self._log, self._table)
            self._memory.copied[self._table] = ends


def copy_late(log: RangeLog, table: str) -> int:
    """Late files into the folders of their states; returns how many. Each appears whole."""
    present: dict[str, set[str]] = {}
    copied = 0
    for state, piece in Contents(log).view([table]).late():
        name = piece.file.path.rsplit("/", 1)[1]
        if state.folder not in present:
            present[state.folder] = set(log.store.names(state.folder))
        if name not in present[state.folder]:
            copy_into(log.store, content_of(log.store, piece.file), f"{state.folder}/{name}")
            copied += 1
    return copied


def copy_into(store: Store, content: bytes, path: str) -> None:
    folder, name = path.rsplit("/", 1)
    # Hive does not look into what begins with an underscore.
    aside = f"{folder}/_{uuid4().hex}-{name}"
    store.put(aside, BytesIO(content))
    store.move(aside, path)


def _is_same(one: str, other: str) -> bool:
    """``file:/x`` and ``file:///x`` are one place."""
    return _plain(one) == _plain(other)


def _plain(place: str) -> str:
    return re.sub(r"^file:/+", "file:/", place.rstrip("/"))
