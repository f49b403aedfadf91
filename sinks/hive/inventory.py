"""What the audit still takes for alive: rows whose last change is no delete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from callsheet.event import Op
from callsheet.schema import TableSchema
from sinks.hive.archive import Archive, AuditTable
from sinks.hive.settings import HiveSettings
from sinks.hive.stores.configured import open_store
from sinks.hive.stores.port import Store

PAGE_ROWS: Final = 5_000
_FOLD_ROWS: Final = 500_000
"""So many changes wait until the superseded ones among them are dropped."""
_COLUMNS: Final = ("id", "version", "type", "is_snapshot", "kafka_offset")


class HiveInventory:
    """Implements :class:`callsheet.sink.Inventory`. Reads every file of the table once, and holds
    an ID and a version of each row that the table ever had.
    """

    def __init__(self, settings: HiveSettings, store: Store | None = None) -> None:
        self._store = store or open_store(settings.store)
        self._known: tuple[TableSchema, pl.DataFrame] | None = None

    def alive(self, topic: str, schema: TableSchema) -> int:
        return self._living(topic, schema).height

    def older(self, topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        found = self._living(topic, schema).filter(pl.col("version") < version)
        for part in found.iter_slices(PAGE_ROWS):
            yield part["id"].to_list()

    def close(self) -> None:
        self._store.close()

    def _living(self, topic: str, schema: TableSchema) -> pl.DataFrame:
        """``id`` and ``version`` of each row whose last change is no delete."""
        del topic
        if self._known is not None and self._known[0] == schema:
            return self._known[1]
        latest = pl.DataFrame(
            schema={"id": pl.String(), "version": pl.Int64(), "type": pl.String()}
        )
        for table in _tables(self._store, schema):
            latest = pl.concat([latest, _latest(table)], how="diagonal")
        living = latest.filter(pl.col("type") != Op.DELETE.value).select("id", "version")
        self._known = schema, living
        return living


def _tables(store: Store, schema: TableSchema) -> Iterator[AuditTable]:
    """Those that hold the source's table: one, unless its name in the audit was changed."""
    log = Archive(store).log
    for name in log.tables():
        table = AuditTable(name, log, store)
        wanted = schema.source, schema.database, schema.table
        if wanted in {(s.source, s.database, s.source_table) for s in table.schemas.values()}:
            yield table


def _latest(table: AuditTable) -> pl.DataFrame:
    waiting: list[pl.DataFrame] = []
    for file in table.files():
        waiting.append(table.read(file, _COLUMNS))
        if sum(each.height for each in waiting) > _FOLD_ROWS:
            waiting = [_folded(waiting)]
    return _folded(waiting) if waiting else pl.DataFrame()


def _folded(parts: list[pl.DataFrame]) -> pl.DataFrame:
    # A snapshot's rows share one position: a change at the same one came after it.
    order = [pl.col("version"), ~pl.col("is_snapshot"), pl.col("kafka_offset")]
    return pl.concat(parts).sort(order).unique("id", keep="last")
