"""The audit made visible: tables, columns, partitions and views in Hive as the log of ranges has
them. Idempotent: what is there is left alone, so it may be done at any time and by several. Nothing
is dropped but partitions that retention has emptied.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from callsheet.errors import FatalError
from sinks.hive import ddl
from sinks.hive.hiveserver import Catalog
from sinks.hive.layout import PARTITION_COLUMN
from sinks.hive.ranges import RangeLog
from sinks.hive.visibility import Dates, NamedDates, TablePartitions


@dataclass(slots=True)
class Registered:
    """What was done; empty where all was there."""

    tables: list[str] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)
    """Statements about columns, per table."""
    partitions: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    """Partitions whose location is another now, per table."""
    dropped: dict[str, int] = field(default_factory=dict)
    views: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        done = (self.tables, self.columns, self.partitions, self.moved, self.dropped, self.views)
        return any(done)


class Registration:
    """``location``: the store's root as Hive names it; ``dates``: what was read of the log before,
    for those who come again and again.
    """

    def __init__(
        self,
        log: RangeLog,
        catalog: Catalog,
        database: str,
        location: str,
        dates: NamedDates | None = None,
    ) -> None:
        self._log, self._catalog = log, catalog
        self._dates = dates or NamedDates()
        self._database = ddl.quoted(database)
        self._location = location.rstrip("/")

    def run(self) -> Registered:
        """
        Raises:
            RetryableError: Hive or the store is away; what was done stays done.
            FatalError: Hive refuses, or has something else under one of our names.
        """
        done, dates = Registered(), self._dates.read(self._log)
        self._catalog.run(f"CREATE DATABASE IF NOT EXISTS {self._database}")
        there = {row[0] for row in self._catalog.rows(f"SHOW TABLES IN {self._database}")}
        there |= {row[0] for row in self._catalog.rows(f"SHOW VIEWS IN {self._database}")}
        for table in self._log.tables():
            if not self._log.schemas(table):
                continue  # a worker is just about to write its first file
            is_changed = self._table(table, table in there, done)
            self._partitions(table, dates.get(table, {}), done)
            self._views(table, there, done, is_changed=is_changed)
        return done

    def _table(self, table: str, is_there: bool, done: Registered) -> bool:  # noqa: FBT001
        name, schemas = self._name(table), self._log.schemas(table)
        wanted, comments = ddl.columns_of(schemas), ddl.comments_of(schemas)
        location = f"{self._location}/{table}"
        if not is_there:
            self._catalog.run(ddl.create_table(name, wanted, location, comments))
            done.tables.append(table)
            return True
        self._require_ours(table, location)
        known, known_comments = self._columns(name)
        statements = ddl.alter_columns(name, known, wanted, comments, known_comments)
        for statement in statements:
            self._catalog.run(statement)
        if statements:
            done.columns[table] = len(statements)
        return bool(statements)

    def _require_ours(self, table: str, location: str) -> None:
        asked = f"SHOW TBLPROPERTIES {self._name(table)}"
        properties = {row[0]: row[1] for row in self._catalog.rows(asked) if len(row) > 1}
        found = properties.get(ddl.LOCATION_PROPERTY)
        if found != location:
            what = f"of another audit, at {found}" if found else "not ours"
            raise FatalError(
                f"Hive has a table {self._name(table)} that is {what}",
                hint="name another sink.server.database, or drop that table; it is external, so "
                "its files stay",
            )

    def _columns(self, name: str) -> tuple[dict[str, str], dict[str, str]]:
        """Types and comments as Hive has them, without the partition's."""
        types: dict[str, str] = {}
        comments: dict[str, str] = {}
        for column, kind, comment, *_ in self._catalog.rows(f"DESCRIBE {name}"):
            if not column or column.startswith("#"):
                break  # from here on it tells of partitions
            types[column], comments[column] = kind.upper(), (comment or "").strip()
        types.pop(PARTITION_COLUMN, None)
        return types, comments

    def _partitions(self, table: str, dates: Dates, done: Registered) -> None:
        partitions = TablePartitions(
            self._log, self._catalog, table, self._name(table), self._location, self._dates
        )
        for what, count in (
            (done.partitions, partitions.add(dates)),
            (done.moved, partitions.move()),
            (done.dropped, partitions.drop(dates)),
        ):
            if count:
                what[table] = count

    def _views(self, table: str, there: set[str], done: Registered, *, is_changed: bool) -> None:
        columns, _ = self._columns(self._name(table))
        for view, statement in ddl.views(table, self._database, columns).items():
            if view in self._log.tables():
                raise FatalError(
                    f"the view {view} would have the name of a table of the audit",
                    hint="give the tables other names in sink.table",
                )
            if is_changed or view not in there:
                self._catalog.run(statement)
                done.views.append(view)

    def _name(self, table: str) -> str:
        return f"{self._database}.{ddl.quoted(table)}"
