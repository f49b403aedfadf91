"""The revisions, up and down, on a real MySQL."""

from __future__ import annotations

import logging
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from callsheet.errors import PreconditionError, UsageError
from finance import tables
from finance.database import Role
from finance.migrations import CREATED_ACCOUNTS
from tests.support.finance import Database

ALL_TABLES = sorted(table.name for table in tables.METADATA.tables.values())


def test_up_makes_the_tables_that_the_programs_know(fresh: Database) -> None:
    assert fresh.up() == ["0001", "0002", "0003", "0004", "0005"]
    assert fresh.tables() == sorted([*ALL_TABLES, "alembic_version"])
    with fresh.engine(Role.ADMIN).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables.METADATA)
    kinds = {d[0][0] if isinstance(d, list) else d[0] for d in differences}
    assert kinds <= {"modify_comment", "remove_table_comment"}, differences
    assert fresh.up() == []


def test_every_column_may_be_null_where_the_programs_think_so(database: Database) -> None:
    found = database.ask(
        "SELECT table_name, column_name, is_nullable FROM information_schema.columns "
        f"WHERE table_schema = '{database.name}' AND table_name <> 'alembic_version'"
    )
    expected = {
        (table.name, column.name, "YES" if column.nullable else "NO")
        for table in tables.METADATA.tables.values()
        for column in table.columns
    }
    assert set(found) == expected


def test_each_revision_goes_down_and_up_again(fresh: Database) -> None:
    fresh.up()
    schema = fresh.ask(_SCHEMA.format(name=fresh.name))
    steps = [fresh.down() for _ in range(5)]
    assert steps == [["0005"], ["0004"], ["0003"], ["0002"], ["0001"]]
    assert fresh.tables() == ["alembic_version"]
    assert [fresh.up(number) for number in ("0001", "0002", "0003", "0004", "0005")] == [
        ["0001"], ["0002"], ["0003"], ["0004"], ["0005"],
    ]  # fmt: skip
    assert fresh.ask(_SCHEMA.format(name=fresh.name)) == schema


_SCHEMA = (
    "SELECT table_name, column_name, column_type, is_nullable, column_default, extra, "
    "column_comment, column_key FROM information_schema.columns WHERE table_schema = '{name}' "
    "ORDER BY table_name, ordinal_position"
)


def test_status_tells_before_the_database_exists_and_after(fresh: Database) -> None:
    assert [r.is_applied for r in fresh.migrations.status()] == [False] * 5
    fresh.up("0002")
    assert [r.is_applied for r in fresh.migrations.status()] == [True, True, False, False, False]


def test_an_unknown_target_is_a_usage_error(database: Database) -> None:
    with pytest.raises(UsageError, match="9999"):
        database.up("9999")


def test_a_database_from_the_future_is_left_alone(database: Database) -> None:
    database.execute("UPDATE alembic_version SET version_num = '0777'")
    try:
        with pytest.raises(PreconditionError, match="0777"):
            database.up()
    finally:
        database.execute("UPDATE alembic_version SET version_num = '0005'")


def test_two_at_once_end_like_one(fresh: Database) -> None:
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(fresh.up())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(results) == [[], ["0001", "0002", "0003", "0004", "0005"]]


def test_no_password_reaches_a_log(fresh: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    try:
        fresh.up()
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    assert "CREATE USER" in caplog.text
    for role in CREATED_ACCOUNTS:
        assert fresh.account(role).password.get_secret_value() not in caplog.text
