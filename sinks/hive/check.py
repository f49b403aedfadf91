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
from sinks.hive.archive import AuditTable
from sinks.hive.ranges import DataFile, Entry, Lane, RangeLog
from sinks.hive.stores.port import LostFileError, Store

_MOST_FAULTS: Final = 20
"""Told of one lane; a broken disk needs no more."""
_PLACE: Final = ("kafka_topic", "kafka_partition", "kafka_offset")


@dataclass(slots=True)
class LaneBook:
    """One lane as log and files have it.

    Attributes:
        first, end: what its ranges cover; equal when it has none.
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
    refused: int = 0
    offsets: array[int] = field(default_factory=lambda: array("q"))
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)


def examine(store: Store, name: str) -> LaneBook | None:
    """A lane by its name; None where it was never more than claimed and is of no interest."""
    log, book = RangeLog(store), None
    tables: dict[str, AuditTable] = {}
    try:
        for entry in log.entries(name):
            book = book or LaneBook(entry.lane, entry.first, entry.end)
            if not entry.is_claim:
                _take(book, entry, tables, store)
    except FatalError as error:
        if book is None:
            raise
        book.fault(error.message)
    if book is not None:
        book.offsets = _ascending(book)
    return book


def _take(book: LaneBook, entry: Entry, tables: dict[str, AuditTable], store: Store) -> None:
    if book.ranges == 0:
        book.first = entry.first
    elif entry.first != book.end:
        book.fault(f"range {entry.name} begins at {entry.first}, the one before ends at {book.end}")
    if entry.end <= entry.first:
        book.fault(f"range {entry.name} ends at {entry.end}, where it begins")
    if sum(file.rows for file in entry.files) != entry.rows:
        book.fault(f"range {entry.name} counts {entry.rows} rows, its files other ones")
    book.ranges += 1
    book.rows += entry.rows
    book.refused += entry.refused
    book.end = entry.end
    for file in entry.files:
        book.files += 1
        book.size_bytes += file.size_bytes
        if file.table not in tables:
            tables[file.table] = AuditTable(file.table, RangeLog(store), store)
        _look(book, entry, file, tables[file.table])


def _look(book: LaneBook, entry: Entry, file: DataFile, table: AuditTable) -> None:
    """Into one file: is it there, and does it hold what its range says?"""
    try:
        table.schema(file)
        places = table.read(file, _PLACE)
    except LostFileError:
        book.fault(f"{file.path} is gone: {file.rows} rows")
        return
    except FatalError as error:
        book.fault(error.message)
        return
    except (pl.exceptions.PolarsError, OSError):
        book.fault(f"{file.path} cannot be read: {file.rows} rows")
        return
    if places.height != file.rows:
        book.fault(f"{file.path} has {places.height} rows, its range says {file.rows}")
    strangers = places.filter(
        (pl.col("kafka_topic") != book.lane.topic)
        | (pl.col("kafka_partition") != book.lane.partition)
        | ~pl.col("kafka_offset").is_between(entry.first, entry.end - 1)
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
