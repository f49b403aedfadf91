"""Exact counts, sums and rows straight from MySQL, to hold a destination against.

Each function reads inside one consistent snapshot, so that its answer is the state after some
commit, not a mixture; `snapshot` lets several questions share one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from finance.tables import BUSINESS_TABLES

_FETCH_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class TableTotals:
    rows: int
    sums: Mapping[str, Decimal]
    """Per DECIMAL column; nulls count as nothing, no rows as zero."""


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees one moment of all tables, however long it is used."""
    # AUTOCOMMIT keeps SQLAlchemy from opening a transaction of its own around ours.
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        try:
            yield connection
        finally:
            # A broken connection is thrown away rather than asked for a ROLLBACK.
            if not connection.invalidated:
                connection.exec_driver_sql("ROLLBACK")


def totals(
    engine: sa.Engine, of_tables: Sequence[sa.Table] = BUSINESS_TABLES
) -> Mapping[str, TableTotals]:
    """Row counts and sums of all DECIMAL columns of several tables at one moment."""
    with snapshot(engine) as connection:
        return {table.name: _totals(connection, table) for table in of_tables}


def row_count(engine: sa.Engine, table: sa.Table) -> int:
    return totals(engine, [table])[table.name].rows


def table_sums(engine: sa.Engine, table: sa.Table) -> Mapping[str, Decimal]:
    """The exact sum of each DECIMAL column."""
    return totals(engine, [table])[table.name].sums


def row_stream(engine: sa.Engine, table: sa.Table) -> Iterator[Mapping[str, Any]]:
    """Every row, in the order of the primary key, without holding the table in memory.

    Values are Python's: Decimal, date, naive datetime (TIMESTAMP in UTC), set, dict, bytes.
    """
    with snapshot(engine) as connection:
        yield from rows_in(connection, table)


def rows_in(connection: sa.Connection, table: sa.Table) -> Iterator[Mapping[str, Any]]:
    """`row_stream` within a snapshot that the caller holds. One at a time: the rows of another
    query can be read only when these are used up.
    """
    query = sa.select(table).order_by(*table.primary_key.columns)
    streaming = connection.execution_options(stream_results=True, max_row_buffer=_FETCH_ROWS)
    with streaming.execute(query) as result:
        for partition in result.mappings().partitions(_FETCH_ROWS):
            yield from (dict(row) for row in partition)


def _totals(connection: sa.Connection, table: sa.Table) -> TableTotals:
    columns = [column for column in table.c if isinstance(column.type, sa.Numeric)]
    sums = [sa.func.coalesce(sa.func.sum(column), 0).label(column.name) for column in columns]
    row = connection.execute(sa.select(sa.func.count().label("rows"), *sums).select_from(table))
    count, *values = row.one()
    names = [column.name for column in columns]
    return TableTotals(count, dict(zip(names, map(Decimal, values), strict=True)))
