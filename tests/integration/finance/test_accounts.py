"""What each account may do, and what it may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy.exc import DBAPIError

from callsheet.errors import PreconditionError, UnavailableError
from finance import checks
from finance.database import Account, Role, open_engine, translated
from tests.support.finance import Database, a_database

_BEAT = (
    "INSERT INTO callsheet_heartbeat VALUES (1, NOW(6)) ON DUPLICATE KEY UPDATE beat_at = NOW(6)"
)


@pytest.fixture(scope="module")
def shared(stack_env: Mapping[str, str]) -> Iterator[Database]:
    """For tests that commit nothing."""
    with a_database(stack_env) as database:
        database.up()
        yield database


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (Role.APP, "INSERT INTO titles (name, kind) VALUES ('Heat', 'film')"),
        (Role.APP, "UPDATE titles SET name = 'Heat'"),
        (Role.APP, "DELETE FROM titles"),
        (Role.READER, "SELECT * FROM talent_payments"),
        (Role.CAPTURE, "SELECT * FROM titles"),
        (Role.CAPTURE, "FLUSH TABLES WITH READ LOCK"),
        (Role.CAPTURE, "LOCK TABLES titles READ"),
        (Role.CAPTURE, "SHOW BINARY LOG STATUS"),
        (Role.CAPTURE, "SHOW BINARY LOGS"),
        (Role.CAPTURE, "SHOW CREATE TABLE titles"),
        (Role.CAPTURE, _BEAT),
        (Role.CAPTURE, "INSERT INTO callsheet_signal VALUES ('a', 'log', '{}')"),
        (Role.CAPTURE, "DELETE FROM callsheet_signal"),
    ],
)
def test_an_account_may_do_its_work(shared: Database, role: Role, statement: str) -> None:
    with shared.engine(role).connect() as connection:
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql("UNLOCK TABLES")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (Role.APP, "INSERT INTO callsheet_heartbeat VALUES (1, NOW(6))"),
        (Role.APP, "DELETE FROM callsheet_signal"),
        (Role.APP, "CREATE TABLE mine (id INT)"),
        (Role.APP, "TRUNCATE titles"),
        (Role.READER, "UPDATE titles SET name = 'Heat'"),
        (Role.READER, "SHOW BINARY LOGS"),
        (Role.CAPTURE, "UPDATE titles SET name = 'Heat'"),
        (Role.CAPTURE, "DELETE FROM callsheet_heartbeat"),
        (Role.CAPTURE, "FLUSH PRIVILEGES"),
        (Role.CAPTURE, "SELECT * FROM mysql.user"),
    ],
)
def test_an_account_may_do_nothing_else(shared: Database, role: Role, statement: str) -> None:
    account = shared.account(role)
    with (
        pytest.raises(PreconditionError, match=role.value),
        translated(account),
        shared.engine(role).connect() as connection,
    ):
        connection.exec_driver_sql(statement)


def test_an_underscore_in_the_name_opens_no_other_database(database: Database) -> None:
    other = database.name.replace("_", "x")
    database.execute(f"CREATE DATABASE `{other}`")
    database.execute(f"CREATE TABLE `{other}`.secrets (id INT PRIMARY KEY)")
    try:
        for role in (Role.READER, Role.CAPTURE):
            with pytest.raises(DBAPIError, match="denied"):
                database.ask(f"SELECT * FROM `{other}`.secrets", role)
    finally:
        database.execute(f"DROP DATABASE `{other}`")


def test_down_takes_every_grant_on_this_database_back(database: Database) -> None:
    database.down("base")
    grants = database.ask(
        f"SELECT user FROM mysql.db WHERE db LIKE '%{database.name.split('_')[1]}%' UNION "
        f"SELECT user FROM mysql.tables_priv WHERE db = '{database.name}'".replace("%", "%%")
    )
    assert grants == []


def test_a_wrong_password_is_a_precondition_and_stays_unsaid(database: Database) -> None:
    wrong = {**database.environment, "CALLSHEET_APP_PASSWORD": "not the password"}
    account = Account.from_environment(wrong, Role.APP)
    with pytest.raises(PreconditionError) as caught, translated(account):
        open_engine(account).connect()
    assert "not the password" not in str(caught.value) + caught.value.hint


def test_no_server_is_unavailable(stack_env: Mapping[str, str]) -> None:
    account = Account.from_environment({**stack_env, "CALLSHEET_MYSQL_PORT": "1"}, Role.APP)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 "), translated(account):
        open_engine(account).connect()


def test_a_missing_table_says_what_to_run(fresh: Database) -> None:
    fresh.up("0001")
    account = fresh.account(Role.ADMIN)
    with pytest.raises(PreconditionError) as caught, translated(account):
        checks.totals(fresh.engine(Role.ADMIN))
    assert "callsheet migrate up" in caught.value.hint
