"""The audit's files as their readers need them: found through the log of ranges, so that exactly
what counts is read, whatever else lies in the folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from io import BytesIO

import polars as pl
import pyarrow as pa

from callsheet.errors import FatalError, UsageError
from sinks.hive.contents import Contents, horizon
from sinks.hive.entries import DataFile
from sinks.hive.partitions import PartitionLog, PartitionState
from sinks.hive.ranges import RangeLog
from sinks.hive.schemas import StoredSchema
from sinks.hive.stores.port import LostFileError, Store


class Archive:
    """All tables of one audit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.log = RangeLog(store)

    def table(self, name: str) -> AuditTable:
        """``name``: the Hive table, or the source's as ``titles``, ``finance.titles`` or
        ``studio.finance.titles``.

        Raises:
            UsageError: there is none, or several could be meant.
        """
        tables = [AuditTable(each, self.log, self._store) for each in self.log.tables()]
        found = [each for each in tables if each.name == name]
        found = found or [each for each in tables if name in each.source_names]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(each.name for each in found)
            raise UsageError(f"{name!r} may be several tables", hint=f"say which: {names}")
        known = ", ".join(each.name for each in tables) or "none yet"
        raise UsageError(f"the audit has no table {name!r}", hint=f"it has: {known}")


class AuditTable:
    """One table's files and the schemas they were written under."""

    def __init__(self, name: str, log: RangeLog, store: Store) -> None:
        self.name = name
        self._log, self._store = log, store

    @cached_property
    def schemas(self) -> dict[str, StoredSchema]:
        """By fingerprint."""
        return {schema.fingerprint: schema for schema in self._log.schemas(self.name)}

    @property
    def source_names(self) -> set[str]:
        return {
            name
            for schema in self.schemas.values()
            for name in (
                schema.source_table,
                f"{schema.database}.{schema.source_table}",
                f"{schema.source}.{schema.database}.{schema.source_table}",
            )
        }

    def schema(self, file: DataFile) -> StoredSchema:
        """
        Raises:
            FatalError: its description is gone.
        """
        schema = self.schemas.get(file.fingerprint)
        if schema is None:
            raise FatalError(
                f"the audit has no schema {file.fingerprint} of {self.name}",
                hint="restore _callsheet/schemas from a backup",
            )
        return schema

    @cached_property
    def states(self) -> dict[str, PartitionState]:
        """What its dates' partitions were last stated to consist of, by date."""
        return PartitionLog(self._store).newest(self.name)

    @property
    def horizon(self) -> date | None:
        """The first date from which all its changes are there; None: retention took nothing."""
        return horizon(self.states)

    def files(self, last: date | None = None) -> list[DataFile]:
        """Those that count, by lane and offsets; ``last``: none of a later date.

        Raises:
            FatalError: the log of ranges is torn.
        """
        return [
            piece.file
            for piece in Contents(self._log).view([self.name]).counting()
            if last is None or piece.file.date <= last.isoformat()
        ]

    def read(
        self, file: DataFile, columns: Sequence[str] | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Rows of one file, in the order of their offsets.

        Raises:
            LostFileError: it is nowhere.
            DamagedFileError: it cannot be read.
        """
        content = content_of(self._store, file)
        with readable(file.path):
            rows = pl.scan_parquet(BytesIO(content))
            if where is not None:
                rows = rows.filter(where)
            return (rows if columns is None else rows.select(columns)).collect()


class DamagedFileError(FatalError):
    """A file that is there is no whole Parquet file, or lacks a column that it must have."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the audit's file {path} cannot be read",
            hint="`callsheet audit check` names all such files; restore them from a backup",
        )


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Around whatever reads the content of the file at ``path``, and nothing else.

    Raises:
        DamagedFileError: it cannot be read.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise DamagedFileError(path) from error


def content_of(store: Store, file: DataFile) -> bytes:
    """A whole file; it may be on its way from where it was staged to its place.

    Raises:
        LostFileError: it is nowhere.
    """
    for path in (file.path, file.staged, file.path):
        content = store.read(path)
        if content is not None:
            return content
    raise LostFileError(file.path)


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """A column of the source as one schema has it: ``stored`` without ``before_`` or ``after_``."""

    name: str
    stored: str
    hive: str
    source_type: str


def image_columns(schema: StoredSchema) -> Iterator[ImageColumn]:
    """In the source's order."""
    for column in schema.columns:
        if column.source and column.name.startswith("after_"):
            stored = column.name.removeprefix("after_")
            yield ImageColumn(column.source, stored, column.hive, column.source_type)
