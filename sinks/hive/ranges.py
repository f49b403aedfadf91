"""The audit's log of ranges: which offsets are in which files. It alone decides what counts.

Each lane (a topic's partition) has a chain of entries, one small JSON file each. An entry is named
after where it begins and can be created only once, so of two writers that go on from the same place
one loses, and knows. An entry is a *range* [first, end) with its files, or a *claim*: a new owner's
first word, an empty range at the end of the chain, which takes the name that any writer before it
would need next. From then on those can publish nothing.

::

    _callsheet/ranges/<lane>/<start>.<take>.json    the chain, in the names' order
    _callsheet/marks/<lane>/<start>.<take>.json     all entries up to this one are in place
    _callsheet/tables/<table>.json                  which source table a Hive table is of
    _callsheet/schemas/<table>/<fingerprint>.json   columns of the files that name it
    _callsheet/staging/<lane>/<writer>/…            written aside, not in place yet

For readers (check, rebuild, compaction): :meth:`RangeLog.lanes`, :meth:`RangeLog.entries`,
:meth:`RangeLog.mark`, :meth:`RangeLog.tables`, :meth:`RangeLog.schemas`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from callsheet.batch import Partition
from callsheet.errors import FatalError
from sinks.hive.layout import TableLayout
from sinks.hive.stores.port import Store

OWN_FOLDER: Final = "_callsheet"
"""Beside the tables' folders. Hive does not look into what begins with an underscore."""

FORMAT: Final = 1


class Lane(msgspec.Struct, frozen=True, order=True):
    """One partition of one topic; ``generation`` tells a topic from its successor of that name."""

    topic: str
    partition: int
    generation: int = 0

    @property
    def name(self) -> str:
        later = f"-g{self.generation}" if self.generation else ""
        return f"{self.topic}-{self.partition}{later}"

    @classmethod
    def of(cls, partition: Partition, generation: int = 0) -> Lane:
        return cls(partition.topic, partition.number, generation)


class DataFile(msgspec.Struct, frozen=True):
    """One Parquet file of a range."""

    table: str
    date: str
    """YYYY-MM-DD: the partition of the Hive table that it is in."""
    path: str
    """In place, from the store's root on."""
    staged: str
    """Before that."""
    rows: int
    size_bytes: int
    fingerprint: str
    """Of the schema: see :meth:`RangeLog.schema`."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A range, or (without files, ``end == start``) a claim. Offsets as in Kafka, ``end`` is the
    next one. Every record of [first, end) is a row of one of the files, or was refused and is a
    dead letter (``refused`` of them), or carries no change: tombstones, heartbeats, transaction
    markers.
    """

    lane: Lane
    start: int
    """The ``end`` of the entry before; 0 in a new lane. With ``take`` it is the entry's name."""
    take: int
    """How many claims have been made at ``start`` before this entry."""
    first: int
    """As ``start``, but in a new lane the first offset that the writer was given."""
    end: int
    writer: str
    """Unique for each time that a lane was taken over."""
    written_at: str
    """ISO-8601, UTC, by the writer's clock."""
    rows: int = 0
    refused: int = 0
    files: tuple[DataFile, ...] = ()
    newest_version: int = 0
    """The highest source position in the lane up to ``end``. A record before ``end`` with a higher
    one is of another topic of the same name.
    """
    is_claim: bool = False
    format: int = FORMAT

    @property
    def name(self) -> str:
        return f"{self.start:020d}.{self.take:06d}.json"

    def following(self) -> tuple[int, int]:
        """``start`` and ``take`` of the next entry."""
        return (self.start, self.take + 1) if self.is_claim else (self.end, 0)


class StoredSchemaColumn(msgspec.Struct, frozen=True):
    """One column of a stored schema; ``source`` is empty for the event's own columns."""

    name: str
    hive: str
    source: str
    source_type: str


class StoredSchema(msgspec.Struct, frozen=True):
    """What files of one fingerprint hold, for DDL and for rebuilding the source's table."""

    table: str
    fingerprint: str
    source: str
    database: str
    source_table: str
    key: tuple[str, ...]
    columns: tuple[StoredSchemaColumn, ...]
    format: int = FORMAT


class SourceTable(msgspec.Struct, frozen=True):
    """Which table of which source a Hive table is of."""

    source: str
    database: str
    table: str


class RangeLog:
    """Reads the log, and appends to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._added: set[str] = set()

    # --- reading --------------------------------------------------------------------------------

    def lanes(self) -> list[str]:
        """Names of all lanes that were ever written."""
        return self._store.names(f"{OWN_FOLDER}/ranges")

    def entries(self, lane: str, after: str = "") -> Iterator[Entry]:
        """In the chain's order, claims included; ``after``: only those behind this entry's name.

        Raises:
            FatalError: the chain has a gap, an overlap, or an entry that we cannot read.
        """
        before: Entry | None = None
        for name in self._store.names(self._folder(lane), after):
            entry = self.entry(lane, name)
            if before is not None and before.following() != (entry.start, entry.take):
                raise FatalError(
                    f"the audit's log of {lane} is torn between {before.name} and {entry.name}",
                    hint="entries were removed or changed by hand: restore them from a backup",
                )
            yield entry
            before = entry

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

    def last(self, lane: str) -> Entry | None:
        """The end of the chain."""
        mark = self.mark(lane)
        names = self._store.names(self._folder(lane), mark)
        name = names[-1] if names else mark
        return self.entry(lane, name) if name else None

    def mark(self, lane: str) -> str:
        """The name of an entry: its files and those of all before it are in place. Empty: unknown.

        Only behind it can there be a file that is still staged, and there is at most one such
        entry. Nothing behind it may be compacted or retired.
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
        return self._store.create(path, data) or self._store.read(path) == data

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
        self._store.create(path, _encoded(_stored_schema(table, layout)))
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
    def _marks(lane: str) -> str:
        return f"{OWN_FOLDER}/marks/{lane}"


def staging(lane: str, writer: str = "") -> str:
    folder = f"{OWN_FOLDER}/staging/{lane}"
    return f"{folder}/{writer}" if writer else folder


def _schema_path(table: str, fingerprint: str) -> str:
    return f"{OWN_FOLDER}/schemas/{table}/{quote(fingerprint, safe='')}.json"


def _encoded(document: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _stored_schema(table: str, layout: TableLayout) -> StoredSchema:
    schema = layout.schema
    types = {column.name: column.source_type or column.kind.value for column in schema.columns}
    return StoredSchema(
        table=table,
        fingerprint=schema.fingerprint,
        source=schema.source,
        database=schema.database,
        source_table=schema.table,
        key=schema.key,
        columns=tuple(
            StoredSchemaColumn(each.name, each.hive, each.source, types.get(each.source, ""))
            for each in layout.columns
        ),
    )


def _unreadable(lane: str, name: str) -> FatalError:
    return FatalError(
        f"the audit's log of {lane} has an entry {name} that cannot be read",
        hint="restore it from a backup; a newer Callsheet's entries need a newer Callsheet",
    )
