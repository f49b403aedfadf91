"""Files of the audit with the values of some rows taken out; the rows themselves stay."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from callsheet.errors import FatalError
from sinks.hive.archive import readable
from sinks.hive.entries import DataFile
from sinks.hive.layout import MANY_VALUED
from sinks.hive.schemas import StoredSchema
from sinks.hive.spool import SpoolOptions, parquet_writer
from sinks.hive.stores.port import Store


@dataclass(frozen=True, slots=True)
class Redaction:
    """Whose values go: all columns of both images but the key's, which the ID tells anyway."""

    identifiers: frozenset[str]
    options: SpoolOptions

    def finds(self, path: str, content: bytes, columns: Collection[str]) -> pl.DataFrame:
        """``id``, ``version`` and ``has_values`` of each row that is one of them; ``columns``: that
        are looked at, where the file has them.

        Raises:
            DamagedFileError: what was read from ``path`` is no whole file.
        """
        with readable(path):
            rows = pl.scan_parquet(BytesIO(content))
            there = rows.collect_schema().names()
            values = [pl.col(name).is_not_null() for name in there if name in columns]
            return (
                rows.filter(pl.col("id").is_in(list(self.identifiers)))
                .select("id", "version", has_values=pl.any_horizontal(*values, pl.lit(value=False)))
                .collect()
            )

    def applied(self, path: str, content: bytes, schema: StoredSchema) -> bytes:
        """The same rows in the same order; a file that has none of theirs as it is.

        Raises:
            DamagedFileError: what was read from ``path`` is no whole file.
        """
        columns = told(schema)
        if not self.finds(path, content, columns)["has_values"].any():
            return content
        with readable(path):
            table = pq.ParquetFile(BytesIO(content)).read()
        is_theirs = pc.is_in(table["id"], pa.array(self.identifiers, table.schema.field("id").type))
        for name in columns:
            at = table.schema.get_field_index(name)
            field = table.schema.field(at)
            nothing = pa.scalar(None, field.type)
            table = table.set_column(at, field, pc.if_else(is_theirs, nothing, table[name]))
        return self._written(table, schema)

    def _written(self, table: pa.Table, schema: StoredSchema) -> bytes:
        keys = {each.name for each in schema.columns if each.source and each.source in schema.key}
        target, rows = BytesIO(), self.options.row_group_rows
        compression = self.options.compression
        with parquet_writer(target, table.schema, {*MANY_VALUED, *keys}, compression) as writer:
            writer.write_table(table, row_group_size=rows)
        return target.getvalue()


def told(schema: StoredSchema) -> list[str]:
    """The stored columns that tell of a row more than its ID."""
    return [each.name for each in schema.columns if each.source and each.source not in schema.key]


class RedactedStore:
    """Implements :class:`sinks.hive.stores.port.Store`: who reads one of ``files`` finds it without
    the values. So whoever copies files from here, as a compaction does, leaves them out.
    """

    def __init__(
        self,
        store: Store,
        redaction: Redaction,
        files: Collection[DataFile],
        schemas: Collection[StoredSchema],
    ) -> None:
        self._store, self._redaction = store, redaction
        self._files = {path: file for file in files for path in (file.path, file.staged)}
        self._schemas = {schema.fingerprint: schema for schema in schemas}

    def read(self, path: str) -> bytes | None:
        content, file = self._store.read(path), self._files.get(path)
        if content is None or file is None:
            return content
        schema = self._schemas.get(file.fingerprint)
        if schema is None:
            raise FatalError(
                f"the audit has no schema {file.fingerprint} of {file.table}",
                hint="restore _callsheet/schemas from a backup",
            )
        return self._redaction.applied(path, content, schema)

    # --- the rest is the store's ----------------------------------------------------------------

    def check(self) -> None:
        self._store.check()

    def put(self, path: str, content: BinaryIO) -> None:
        self._store.put(path, content)

    def create(self, path: str, data: bytes) -> bool:
        return self._store.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        self._store.replace(path, data)

    def move(self, source: str, target: str) -> None:
        self._store.move(source, target)

    def size(self, path: str) -> int | None:
        return self._store.size(path)

    def names(self, folder: str, after: str = "") -> list[str]:
        return self._store.names(folder, after)

    def remove(self, path: str) -> None:
        self._store.remove(path)

    def close(self) -> None:
        self._store.close()
