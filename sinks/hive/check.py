"""Does the audit hold together? First in itself: the log of ranges against the files that it names.
Then against what Kafka holds, record by record, by offsets: a hole is no loss, since transaction
markers, tombstones and heartbeats take offsets too. Who reads Kafka is not known here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from callsheet.batch import Offset
from callsheet.errors import FatalError
from sinks.hive.archive import AuditTable, DamagedFileError
from sinks.hive.contents import States, covered_rows, is_covered, unstated
from sinks.hive.entries import Entry, Fold, Lane, Piece
from sinks.hive.partitions import PartitionLog
from sinks.hive.ranges import RangeLog
from sinks.hive.stores.port import LostFileError, Store

_MOST_FAULTS: Final = 20
"""Told of one lane; a broken disk needs no more."""
_PLACE: Final = ("kafka_topic", "kafka_partition", "kafka_offset")


@dataclass(slots=True)
class LaneBook:
    """One lane as log and files have it.

    Attributes:
        first, end: what its ranges cover; equal when it has none.
        files: those that count.
        rows: of its ranges, ``dropped`` among them: those that retention has taken away.
        expired: dates of which it has taken some, by their tables.
        refused: rows that the sink refused; each must be a dead letter.
        offsets: of the rows in the files, ascending.
        faults: what does not hold; empty when all does.
    """

    lane: Lane
    first: Offset = 0
    end: Offset = 0
    ranges: int = 0
    files: int = 0
    size_bytes: int = 0
    rows: int = 0
    dropped: int = 0
    expired: set[str] = field(default_factory=set)
    refused: int = 0
    offsets: array[int] = field(default_factory=lambda: array("q"))
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)


class Examiner:
    """Looks at lanes one by one. What partitions consist of is read once: before any chain, so that
    the chains know of all that it covers.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._log = store, RangeLog(store)
        self._tables: dict[str, AuditTable] = {}
        self._states = self._all_states()

    def _all_states(self) -> States:
        states = PartitionLog(self._store)
        return {table: states.newest(table) for table in self._log.tables()}

    def lane(self, name: str) -> LaneBook | None:
        """By its name; None where it was never more than claimed and is of no interest."""
        book: LaneBook | None = None
        entries: list[Entry] = []
        try:
            for entry in self._log.entries(name):
                entries.append(entry)
                book = book or LaneBook(entry.lane, entry.first, entry.end)
                _count(book, entry)
        except FatalError as error:
            if book is None:
                raise
            book.fault(error.message)
        if book is not None:
            self._look_into_all(book, entries)
            book.offsets = _ascending(book)
        return book

    def _look_into_all(self, book: LaneBook, entries: list[Entry]) -> None:
        if any(unstated(self._states, entry) for entry in entries):
            self._states = self._all_states()  # folded since they were read
        for entry in entries:
            for text in unstated(self._states, entry):
                book.fault(text)
            for piece in entry.pieces():
                if not is_covered(self._states.get(piece.file.table, {}), piece):
                    self._look(book, piece)
        self._compare_states(book, covered_rows(entries, self._states))

    def _compare_states(self, book: LaneBook, covered: dict[tuple[str, str], int]) -> None:
        """What has taken the place of ranges' files has all their rows, but for what expired."""
        lane = book.lane.name
        for table, states in self._states.items():
            for date, state in states.items():
                dropped, upto = state.dropped.get(lane, 0), state.upto.get(lane, 0)
                merged = [each for each in state.files if each.lane == lane]
                rows = sum(each.file.rows for each in merged)
                if rows + dropped != covered.get((table, date), 0):
                    book.fault(
                        f"{state.place} counts {rows} rows and {dropped} dropped ones, its ranges "
                        f"{covered.get((table, date), 0)}"
                    )
                if upto > book.end:
                    book.fault(f"{state.place} has offsets up to {upto}, the log to {book.end}")
                for each in merged:
                    self._look(book, each.piece())
                if dropped:
                    book.dropped += dropped
                    book.expired.add(date)

    def _look(self, book: LaneBook, piece: Piece) -> None:
        """Into one file: is it there, and does it hold what the log says?"""
        file = piece.file
        book.files += 1
        book.size_bytes += file.size_bytes
        if file.table not in self._tables:
            self._tables[file.table] = AuditTable(file.table, self._log, self._store)
        table = self._tables[file.table]
        try:
            table.schema(file)
            places = table.read(file, _PLACE)
        except LostFileError:
            book.fault(f"{file.path} is gone: {file.rows} rows")
        except DamagedFileError:
            book.fault(f"{file.path} cannot be read: {file.rows} rows")
        except FatalError as error:
            book.fault(error.message)
        else:
            _compare(book, piece, places)


def _count(book: LaneBook, entry: Entry) -> None:
    if entry.ranges == 0:
        return
    if book.ranges == 0:
        book.first = entry.first
    elif entry.first != book.end:
        book.fault(f"range {entry.name} begins at {entry.first}, the one before ends at {book.end}")
    if entry.end <= entry.first:
        book.fault(f"range {entry.name} ends at {entry.end}, where it begins")
    rows = sum(file.rows for file in entry.files)
    if isinstance(entry, Fold):
        rows += sum(share.rows for share in entry.shares)
    if rows != entry.rows:
        book.fault(f"range {entry.name} counts {entry.rows} rows, its files other ones")
    book.ranges += entry.ranges
    book.rows += entry.rows
    book.refused += entry.refused
    book.end = entry.end


def _compare(book: LaneBook, piece: Piece, places: pl.DataFrame) -> None:
    file = piece.file
    if places.height != file.rows:
        book.fault(f"{file.path} has {places.height} rows, its range says {file.rows}")
    strangers = places.filter(
        (pl.col("kafka_topic") != book.lane.topic)
        | (pl.col("kafka_partition") != book.lane.partition)
        | ~pl.col("kafka_offset").is_between(piece.first, piece.end - 1)
    )
    if strangers.height:
        book.fault(f"{file.path} has {strangers.height} rows that are not of its range")
    book.offsets.extend(places["kafka_offset"].to_list())


def _ascending(book: LaneBook) -> array[int]:
    """Also says which offsets are there more than once."""
    offsets = pl.Series(book.offsets, dtype=pl.Int64).sort()
    twice = offsets.len() - offsets.n_unique()
    if twice:
        book.fault(f"{twice} rows are there more than once")
    return array("q", offsets.unique(maintain_order=True).to_list())


class Comparison:
    """A lane against the records that Kafka still has of it, told one by one."""

    def __init__(self, book: LaneBook, upto: Offset) -> None:
        """``upto``: all before it must be in the audit: its end, or what the group committed."""
        self.book, self.upto = book, max(upto, book.end)
        self.found = self.waiting = 0
        self._seen = bytearray(len(book.offsets))

    def is_missing(self, offset: Offset) -> bool:
        """A record with a value: should it be in the audit, and is it not?"""
        if offset >= self.upto:
            self.waiting += 1
            return False
        at = bisect_left(self.book.offsets, offset)
        if at == len(self._seen) or self.book.offsets[at] != offset:
            return True
        self._seen[at] = 1
        self.found += 1
        return False

    def strangers(self, begin: Offset) -> int:
        """Rows at or behind Kafka's first kept offset, of records that Kafka does not have."""
        start = bisect_left(self.book.offsets, begin)
        return self._seen.count(0, start)
