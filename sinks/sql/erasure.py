"""One row taken out of a replica, whose side table remembers the ID and the version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from callsheet.errors import PreconditionError
from callsheet.event import decode_id
from callsheet.schema import TableSchema
from callsheet.sink import Holding
from sinks.sql import changes, control
from sinks.sql.catalog import versions_table
from sinks.sql.settings import SqlSettings
from sinks.sql.visit import Visit


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row is: its table, its key's value, and what is remembered of it."""

    table: sa.Table
    where: tuple[sa.ColumnElement[bool], ...]
    versions: sa.Table
    version: int | None

    def has_row(self, connection: sa.Connection) -> bool:
        found = sa.select(sa.literal(1)).select_from(self.table).where(*self.where)
        return connection.execute(found).first() is not None


class SqlEraser:
    """Implements :class:`callsheet.sink.Eraser`."""

    def __init__(self, settings: SqlSettings, pipeline: str, config_dir: str) -> None:
        self._template, self._pipeline = settings.table, pipeline
        self._visit = Visit(settings, config_dir)

    def look(
        self, topic: str, schema: TableSchema, identifiers: Collection[str]
    ) -> Mapping[str, Holding]:
        del topic
        return {identifier: self._holding(schema, identifier) for identifier in identifiers}

    def _holding(self, schema: TableSchema, identifier: str) -> Holding:
        with self._visit.transaction() as connection:
            place = self._place(connection, schema, identifier)
            if place is None:
                return Holding(has_values=False, version=None)
            return Holding(has_values=place.has_row(connection), version=place.version)

    def erase(self, topic: str, schema: TableSchema, identifiers: Collection[str]) -> None:
        del topic
        for identifier in identifiers:
            self._erase(schema, identifier)

    def _erase(self, schema: TableSchema, identifier: str) -> None:
        with self._visit.transaction() as connection:
            # The version's row is locked: a worker that writes this row waits, or we do.
            place = self._place(connection, schema, identifier)
            if place is None:
                return
            connection.execute(sa.delete(place.table).where(*place.where))
            connection.execute(
                sa.update(place.versions)
                .where(place.versions.c.id == _stored(identifier))
                .values(is_deleted=1)
            )

    def _place(
        self, connection: sa.Connection, schema: TableSchema, identifier: str
    ) -> _Place | None:
        """None where the replica never had the table."""
        name = self._template.format(
            source=schema.source, database=schema.database, table=schema.table
        )
        inspector = sa.inspect(connection)
        if not inspector.has_table(name) or not inspector.has_table(versions_table(name)):
            return None
        self._refuse_others(connection, name, schema)
        table, versions = (
            sa.Table(each, sa.MetaData(), autoload_with=connection)
            for each in (name, versions_table(name))
        )
        asked = (
            sa.select(versions.c.version)
            .where(versions.c.id == _stored(identifier))
            .with_for_update()
        )
        version = connection.execute(asked).scalar_one_or_none()
        return _Place(table, tuple(_key(table, identifier)), versions, version)

    def _refuse_others(self, connection: sa.Connection, name: str, schema: TableSchema) -> None:
        found = control.owner_of(connection, name)
        us = control.Owner(schema.source, schema.qualified_name, self._pipeline)
        if found is None or found[0] != us:
            raise PreconditionError(
                f"{name} at {self._visit.address} is not what {self._pipeline} replicates "
                f"{schema.qualified_name} of {schema.source} into",
                hint="name the pipeline that writes it: callsheet_owner says which",
            )

    def close(self) -> None:
        self._visit.close()


def _stored(identifier: str) -> bytes:
    stored: bytes = changes.stored_ids(pl.Series("id", [identifier]))["id"].item()
    return stored


def _key(table: sa.Table, identifier: str) -> Iterator[sa.ColumnElement[bool]]:
    columns = list(table.primary_key.columns)
    try:
        texts = decode_id(identifier)
        for column, text in zip(columns, texts, strict=True):
            yield column == _value(column.type, text)
    except (ValueError, ArithmeticError):
        names = ", ".join(column.name for column in columns)
        raise PreconditionError(
            f"this is no ID of {table.name}, whose key is {names}",
            hint="docs/event-contract.md says how an ID is written; several columns with |",
        ) from None


def _bits(text: str) -> int:
    """Booleans by name, wider ones as Debezium orders their bytes."""
    flags = {"true": 1, "false": 0}
    return flags[text] if text in flags else int.from_bytes(bytes.fromhex(text), "little")


_PARSERS: Final[tuple[tuple[type[Any], Callable[[str], Any]], ...]] = (
    (mysql.BIT, _bits),
    (sa.types._Binary, bytes.fromhex),  # noqa: SLF001 - BINARY, VARBINARY and all BLOBs
    (sa.Integer, lambda text: int({"true": "1", "false": "0"}.get(text, text))),
    (sa.Numeric, Decimal),
    (sa.DateTime, datetime.fromisoformat),
    (sa.Date, date.fromisoformat),
    (sa.Time, lambda text: timedelta(microseconds=int(text))),
)
"""From a canonical ID's text to the value, by the column's type; the others are text."""


def _value(kind: sa.types.TypeEngine[Any], text: str) -> Any:
    parse = next((parse for type_, parse in _PARSERS if isinstance(kind, type_)), str)
    return parse(text)
