"""HiveServer2 as far as the audit talks to it: tables, their partitions and where those are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from callsheet.errors import RetryableError
from sinks.hive import ddl
from sinks.hive.ranges import RangeLog
from sinks.hive.registration import Registered, Registration
from sinks.hive.stores.port import Store
from sinks.hive.visibility import NamedDates
from tests.support.hive import parquet_of

ROOT = "s3a://bucket/audit"
_NAME = r"`\w+`\.`(\w+)`"
_DATE = r"PARTITION \(`event_date`='([0-9-]+)'\)"
_CREATE = re.compile(rf"CREATE EXTERNAL TABLE IF NOT EXISTS {_NAME} \(\n(.*?)\n\)", re.DOTALL)
_ADD = re.compile(rf"{_DATE}(?: LOCATION '([^']+)')?")
_MOVE = re.compile(rf"ALTER TABLE {_NAME} {_DATE} SET LOCATION '([^']+)'")
_COLUMN = re.compile(r"`(\w+)` (\S+?),?$", re.MULTILINE)


@dataclass
class ModelHive:
    """Implements :class:`sinks.hive.hiveserver.Catalog`."""

    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    partitions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Per table and date the location."""
    views: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    is_away: bool = False

    def run(self, statement: str) -> None:
        self._answer()
        self.told.append(statement)
        if created := _CREATE.match(statement):
            self.tables[created[1]] = dict(_COLUMN.findall(created[2]))
            self.partitions[created[1]] = {}
        elif moved := _MOVE.fullmatch(statement):
            assert moved[2] in self.partitions[moved[1]]
            self.partitions[moved[1]][moved[2]] = moved[3]
        elif " ADD IF NOT EXISTS PARTITION " in statement:
            table = _table(statement)
            for day, place in _ADD.findall(statement):
                home = f"{ROOT}/{table}/event_date={day}"
                self.partitions[table].setdefault(day, place or home)
        elif " DROP IF EXISTS PARTITION " in statement:
            for day, _ in _ADD.findall(statement):
                self.partitions[_table(statement)].pop(day, None)
        elif view := re.match(rf"CREATE OR REPLACE VIEW {_NAME} ", statement):
            self.views.add(view[1])
        else:
            assert statement.startswith("CREATE DATABASE"), statement

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        self._answer()
        if statement.startswith("SHOW TABLES"):
            return [(name,) for name in self.tables]
        if statement.startswith("SHOW VIEWS"):
            return [(name,) for name in self.views]
        table = _table(statement)
        if statement.startswith("SHOW TBLPROPERTIES"):
            return [(ddl.LOCATION_PROPERTY, f"{ROOT}/{table}")]
        if statement.startswith("SHOW PARTITIONS"):
            return [(f"event_date={day}",) for day in self.partitions[table]]
        if partition := re.search(_DATE, statement):
            assert statement.startswith("DESCRIBE FORMATTED")
            return [
                ("# Detail", None, None),
                ("Location:   ", self._place(table, partition[1]), ""),
            ]
        assert statement.startswith("DESCRIBE"), statement
        columns = [(name, kind.lower(), "") for name, kind in self.tables[table].items()]
        return [*columns, ("event_date", "date", ""), ("", None, None), ("# Partition", "", "")]

    def _place(self, table: str, day: str) -> str:
        return self.partitions[table][day]

    def _answer(self) -> None:
        if self.is_away:
            raise RetryableError("HiveServer2 does not answer")

    # --- for tests ------------------------------------------------------------------------------

    def show(self, store: Store, dates: NamedDates | None = None) -> Registered:
        return Registration(RangeLog(store), self, "audit", ROOT, dates).run()

    def records(self, store: Store, table: str) -> list[tuple[int, int]]:
        """Partition and offset of each row that a query finds, sorted, with what is there twice."""
        found: list[tuple[int, int]] = []
        for place in self.partitions.get(table, {}).values():
            folder = place.removeprefix(f"{ROOT}/")
            for name in store.names(folder):
                if not name.startswith(("_", ".")):
                    rows = parquet_of(store, f"{folder}/{name}")
                    found += rows.select("kafka_partition", "kafka_offset").rows()
        return sorted(found)


def _table(statement: str) -> str:
    match = re.search(_NAME, statement)
    assert match, statement
    return match[1]
