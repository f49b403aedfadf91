"""Counts, sums and rows from a real MySQL."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from finance import checks, tables
from finance.database import Role
from tests.support.finance import Database


def test_rows_stream_in_key_order_and_sum_like_mysql(loaded: Database) -> None:
    engine = loaded.engine(Role.READER)
    for table in tables.BUSINESS_TABLES:
        rows = list(checks.row_stream(engine, table))
        keys = [tuple(row[column.name] for column in table.primary_key) for row in rows]
        assert keys == sorted(keys)
        assert len(rows) == checks.row_count(engine, table)
        for column, total in checks.table_sums(engine, table).items():
            assert sum((row[column] or 0 for row in rows), Decimal(0)) == total


def test_a_snapshot_stays_at_its_moment(loaded: Database) -> None:
    with checks.snapshot(loaded.engine(Role.READER)) as connection:
        before = len(list(checks.rows_in(connection, tables.TITLES)))
        with loaded.engine().begin() as other:
            other.execute(tables.TITLES.delete())
        assert len(list(checks.rows_in(connection, tables.TITLES))) == before
    assert checks.row_count(loaded.engine(Role.READER), tables.TITLES) == 0


def test_a_stream_given_up_halfway_leaves_no_snapshot_open(loaded: Database) -> None:
    engine = loaded.engine(Role.READER)
    stream = checks.row_stream(engine, tables.BUDGETS)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    with loaded.engine().begin() as connection:
        connection.execute(tables.TITLES.delete())
    assert checks.row_count(engine, tables.BUDGETS) == 0


def test_money_that_breaks_a_rule_is_refused(loaded: Database) -> None:
    with pytest.raises(DBAPIError), loaded.engine().begin() as connection:
        connection.execute(tables.BUDGETS.update().values(amount=Decimal("-0.01")))
    with pytest.raises(IntegrityError), loaded.engine().begin() as connection:
        connection.execute(tables.TALENT.delete())
