"""What a replica still has of a table: its side table of versions knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from callsheet.schema import TableSchema
from sinks.sql.catalog import versions_table
from sinks.sql.settings import SqlSettings
from sinks.sql.visit import Visit

PAGE_ROWS: Final = 2_000


class SqlInventory:
    """Implements :class:`callsheet.sink.Inventory`."""

    def __init__(self, settings: SqlSettings, config_dir: str) -> None:
        self._template = settings.table
        self._visit = Visit(settings, config_dir, answer_timeout_s=settings.ddl_timeout_seconds)

    def alive(self, topic: str, schema: TableSchema) -> int:
        del topic
        with self._visit.connection() as connection:
            table = self._versions(connection, schema)
            if table is None:
                return 0
            counted = sa.select(sa.func.count()).where(table.c.is_deleted == 0)
            return int(connection.execute(counted).scalar_one())

    def older(self, topic: str, schema: TableSchema, version: int) -> Iterator[Sequence[str]]:
        del topic
        after = b""
        with self._visit.connection() as connection:
            table = self._versions(connection, schema)
            while table is not None:
                rows = connection.execute(page(table, version, after)).all()
                connection.rollback()  # a page is a view of its own, and holds up no purge
                if not rows:
                    return
                yield [bytes(row.long_id or row.id).decode() for row in rows]
                after = bytes(rows[-1].id)

    def _versions(self, connection: sa.Connection, schema: TableSchema) -> sa.TableClause | None:
        """None where the replica has never had the table."""
        name = versions_table(
            self._template.format(
                source=schema.source, database=schema.database, table=schema.table
            )
        )
        if not sa.inspect(connection).has_table(name):
            return None
        return sa.table(
            name,
            sa.column("id", sa.LargeBinary),
            sa.column("version", sa.BigInteger),
            sa.column("is_deleted", sa.Integer),
            sa.column("long_id", sa.LargeBinary),
        )

    def close(self) -> None:
        self._visit.close()


def page(table: sa.TableClause, version: int, after: bytes) -> sa.Select[tuple[bytes, bytes]]:
    """By the primary key, so that a page costs as much at the end as at the beginning."""
    return (
        sa.select(table.c.id, table.c.long_id)
        .where(table.c.id > after, table.c.version < version, table.c.is_deleted == 0)
        .order_by(table.c.id)
        .limit(PAGE_ROWS)
    )
