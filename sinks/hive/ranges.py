"""The audit's log of ranges: which offsets are in which files. It alone decides what counts.

Each lane (a topic's partition) has a chain of entries, one small JSON file each. An entry is named
after where it begins and can be created only once, so of two writers that go on from the same place
one loses, and knows. An entry is a *range* [first, end) with its files, or a *claim*: a new owner's
first word, an empty range at the end of the chain, which takes the name that any writer before it
would need next. From then on those can publish nothing.

::

    _callsheet/ranges/<lane>/<start>.<take>.json    the chain, in the names' order
    _callsheet/folds/<lane>/<start>.<take>.json     all entries before this one, as one
    _callsheet/marks/<lane>/<start>.<take>.json     all entries up to this one are in place
    _callsheet/tables/<table>.json                  which source table a Hive table is of
    _callsheet/schemas/<table>/<fingerprint>.json   columns of the files that name it
    _callsheet/staging/<lane>/<writer>/…            written aside, not in place yet

Which files there are of a date is not said here alone: a later state of that date's partition may
have taken their place. Readers ask :class:`sinks.hive.contents.Contents`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from callsheet.errors import FatalError
from sinks.hive.entries import (
    FOLD_FORMAT,
    FORMAT,
    DataFile,
    Entry,
    Fold,
    Lane,
    Piece,
    Share,
    entry_name,
)
from sinks.hive.layout import TableLayout
from sinks.hive.schemas import SourceTable, StoredSchema, StoredSchemaColumn, stored_schema
from sinks.hive.stores.port import Store

OWN_FOLDER: Final = "_callsheet"
"""Beside the tables' folders. Hive does not look into what begins with an underscore."""

__all__ = [
    "OWN_FOLDER",
    "DataFile",
    "Entry",
    "Fold",
    "Lane",
    "Piece",
    "RangeLog",
    "Share",
    "SourceTable",
    "StoredSchema",
    "StoredSchemaColumn",
    "staging",
]


class RangeLog:
    """Reads the log, and appends to it."""

    def __init__(self, store: Store) -> None:
        self.store = self._store = store
        self._added: set[str] = set()

    # --- reading --------------------------------------------------------------------------------

    def lanes(self) -> list[str]:
        """Names of all lanes that were ever written."""
        return self._store.names(f"{OWN_FOLDER}/ranges")

    def entries(self, lane: str, after: Entry | None = None) -> Iterator[Entry]:
        """In the chain's order, claims included; what is folded comes first, as one entry.

        ``after``: only what follows this entry; all of it if that was folded meanwhile.

        Raises:
            FatalError: the chain has a gap, an overlap, or an entry that we cannot read. Those
                before it come first.
        """
        while True:
            fold = self._newest_fold(lane)
            found, error = self._read(lane, fold, after)
            if error is None or self._newest_fold(lane) == fold:
                break  # else they were folded while we read them
        yield from found
        if error is not None:
            raise error

    def _read(
        self, lane: str, fold: str, after: Entry | None
    ) -> tuple[list[Entry], FatalError | None]:
        found: list[Entry] = []
        before = after if after is not None and entry_name(*after.following()) >= fold else None
        start = before.following() if before else (0, 0)
        try:
            if before is None and fold:
                before = self.fold(lane, fold)
                found.append(before)
                start = before.following()
            # What sorts behind "start.take" begins with "start.take.json".
            for name in self._store.names(self._folder(lane), entry_name(*start)[: -len(".json")]):
                entry = self.entry(lane, name)
                if (entry.start, entry.take) != start:
                    raise _torn(lane, before.name if before else "its beginning", entry.name)
                found.append(entry)
                before, start = entry, entry.following()
        except FatalError as error:
            return found, error
        return found, None

    def entry(self, lane: str, name: str) -> Entry:
        """
        Raises:
            FatalError: it is not there, or not ours.
        """
        data = self._store.read(f"{self._folder(lane)}/{name}")
        try:
            entry = msgspec.json.decode(data or b"", type=Entry)
        except msgspec.DecodeError as error:
            raise _unreadable(lane, name) from error
        if entry.format != FORMAT or entry.name != name:
            raise _unreadable(lane, name)
        return entry

    def fold(self, lane: str, name: str) -> Fold:
        """
        Raises:
            FatalError: it is not there, or not ours.
        """
        data = self._store.read(f"{self._folds(lane)}/{name}")
        try:
            fold = msgspec.json.decode(data or b"", type=Fold)
        except msgspec.DecodeError as error:
            raise _unreadable(lane, name) from error
        if fold.format != FOLD_FORMAT or entry_name(*fold.next) != name:
            raise _unreadable(lane, name)
        return fold

    def _newest_fold(self, lane: str) -> str:
        """The name of the first entry that no fold has; empty where nothing was folded."""
        return max(self._store.names(self._folds(lane)), default="")

    def last(self, lane: str) -> Entry | None:
        """The end of the chain."""
        mark = self.mark(lane)
        names = self._store.names(self._folder(lane), mark)
        name = names[-1] if names else mark
        return self.entry(lane, name) if name else None

    def mark(self, lane: str) -> str:
        """The name of an entry: its files and those of all before it are in place. Empty: unknown.

        Only behind it can there be a file that is still staged, and there is at most one such
        entry. Neither it nor what is behind it may be folded, and nothing behind it compacted or
        retired.
        """
        # The highest of several: what a writer that woke late adds can not turn it back.
        return max(self._store.names(self._marks(lane)), default="")

    def schema(self, table: str, fingerprint: str) -> StoredSchema | None:
        """None: no file of the table names it."""
        data = self._store.read(_schema_path(table, fingerprint))
        return None if data is None else msgspec.json.decode(data, type=StoredSchema)

    def tables(self) -> list[str]:
        """Names of all Hive tables that have files."""
        names = self._store.names(f"{OWN_FOLDER}/tables")
        return [name.removesuffix(".json") for name in names]

    def schemas(self, table: str) -> list[StoredSchema]:
        """All that the table's files were written under."""
        names = self._store.names(f"{OWN_FOLDER}/schemas/{table}")
        found = (self.schema(table, unquote(name.removesuffix(".json"))) for name in names)
        return [schema for schema in found if schema is not None]

    # --- writing --------------------------------------------------------------------------------

    def append(self, entry: Entry) -> bool:
        """False: the name is taken by an entry of another writer."""
        path = f"{self._folder(entry.lane.name)}/{entry.name}"
        data = _encoded(entry)
        # A write whose answer was lost is tried again, and then meets itself.
        if not self._store.create(path, data) and self._store.read(path) != data:
            return False
        # The names of folded entries are free again. Who slept so long that it gets one of them is
        # shut out all the same: the fold came before the name was free, and nobody reads behind it.
        return self._newest_fold(entry.lane.name) <= entry.name

    def add_fold(self, fold: Fold) -> None:
        """From now on it stands for its entries, which may then be removed; done already is done.

        Of several folds the one that reaches furthest counts: each has all from the beginning on.
        """
        lane, name = fold.lane.name, entry_name(*fold.next)
        self._store.create(f"{self._folds(lane)}/{name}", msgspec.json.encode(fold))

    def remove_folded(self, lane: str) -> int:
        """Entries, and older folds, that the newest fold stands for; how many entries it were.

        The place of the first entry keeps a notice, because a reader that does not know of folds
        must stop there, and not take what is left for all.
        """
        newest, folder = self._newest_fold(lane), self._folder(lane)
        first = entry_name(0, 0)
        names = [name for name in self._store.names(folder) if first < name < newest]
        if newest:
            self._store.replace(f"{folder}/{first}", msgspec.json.encode({"format": FOLD_FORMAT}))
        for name in names:
            self._store.remove(f"{folder}/{name}")
        for name in self._store.names(self._folds(lane)):
            if name < newest:
                self._store.remove(f"{self._folds(lane)}/{name}")
        return len(names)

    def set_mark(self, lane: str, name: str) -> None:
        folder = self._marks(lane)
        before = self._store.names(folder)
        self._store.replace(f"{folder}/{name}", b"")
        for each in before:
            if each < name:
                self._store.remove(f"{folder}/{each}")

    def add_schema(self, table: str, layout: TableLayout) -> None:
        """Must stand before the first entry that names its fingerprint.

        Raises:
            FatalError: another source table has this Hive table.
        """
        path = _schema_path(table, layout.schema.fingerprint)
        if path in self._added:
            return
        self._reserve(table, layout)
        self._store.create(path, _encoded(stored_schema(table, layout)))
        self._added.add(path)

    def _reserve(self, table: str, layout: TableLayout) -> None:
        schema = layout.schema
        owner = _encoded(SourceTable(schema.source, schema.database, schema.table))
        path = f"{OWN_FOLDER}/tables/{table}.json"
        if not self._store.create(path, owner) and self._store.read(path) != owner:
            raise FatalError(
                f"the Hive table {table} is already of another source table than "
                f"{schema.source}.{schema.qualified_name}",
                hint="tell them apart in sink.table: {source}, {database} and {table} may stand "
                "in it",
            )

    @staticmethod
    def _folder(lane: str) -> str:
        return f"{OWN_FOLDER}/ranges/{lane}"

    @staticmethod
    def _folds(lane: str) -> str:
        return f"{OWN_FOLDER}/folds/{lane}"

    @staticmethod
    def _marks(lane: str) -> str:
        return f"{OWN_FOLDER}/marks/{lane}"


def staging(lane: str, writer: str = "") -> str:
    folder = f"{OWN_FOLDER}/staging/{lane}"
    return f"{folder}/{writer}" if writer else folder


def _schema_path(table: str, fingerprint: str) -> str:
    return f"{OWN_FOLDER}/schemas/{table}/{quote(fingerprint, safe='')}.json"


def _encoded(document: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _torn(lane: str, before: str, after: str) -> FatalError:
    return FatalError(
        f"the audit's log of {lane} is torn between {before} and {after}",
        hint="entries were removed or changed by hand: restore them from a backup",
    )


def _unreadable(lane: str, name: str) -> FatalError:
    return FatalError(
        f"the audit's log of {lane} has an entry {name} that cannot be read",
        hint="restore it from a backup; a newer Callsheet's entries need a newer Callsheet",
    )
