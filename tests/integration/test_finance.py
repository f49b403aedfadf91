"""The finance schema on a real MySQL: each test has a database of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError, IntegrityError

from callsheet.errors import PreconditionError, UnavailableError, UsageError
from finance import checks, tables
from finance.database import Account, Role, open_engine, translated
from finance.load import Loader, find_films, read_rows
from finance.migrations import CREATED_ACCOUNTS, Migrations, find_revisions
from finance.simulate import Progress, Simulator, Until
from finance.simulate.planner import Planner
from finance.simulate.studio import Studio

FILMS = 40
ALL_TABLES = sorted(table.name for table in tables.METADATA.tables.values())


@dataclass
class Database:
    """A database with an underscore in its name, and a way in for each account."""

    environment: Mapping[str, str]
    engines: dict[Role, sa.Engine]

    @property
    def name(self) -> str:
        return self.environment["CALLSHEET_MYSQL_DATABASE"]

    def account(self, role: Role) -> Account:
        return Account.from_environment(self.environment, role)

    def engine(self, role: Role = Role.APP) -> sa.Engine:
        if role not in self.engines:
            self.engines[role] = open_engine(self.account(role))
        return self.engines[role]

    @property
    def migrations(self) -> Migrations:
        return Migrations(self.account(Role.ADMIN), find_revisions())

    def up(self, target: str = "head") -> list[str]:
        passwords = {role: self.account(role).password for role in CREATED_ACCOUNTS}
        return [revision.number for revision in self.migrations.up(passwords, target)]

    def down(self, target: str = "-1") -> list[str]:
        return [revision.number for revision in self.migrations.down(target)]

    def ask(self, question: str, role: Role = Role.ADMIN) -> list[Any]:
        with self.engine(role).connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(question)]

    def tables(self) -> list[str]:
        return sorted(name for (name,) in self.ask("SHOW TABLES"))

    def load(self, count: int = FILMS) -> None:
        Loader(self.engine(), time.monotonic).load(read_rows(find_films())[:count])

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Without what MySQL's own clock writes."""
        return [
            {name: value for name, value in row.items() if name != "updated_at"}
            for row in checks.row_stream(self.engine(Role.READER), table)
        ]


@pytest.fixture
def fresh(stack_env: Mapping[str, str]) -> Iterator[Database]:
    name = f"finance_{uuid4().hex[:10]}"
    database = Database({**stack_env, "CALLSHEET_MYSQL_DATABASE": name}, {})
    yield database
    database.up()  # whatever a test left: down again revokes what the accounts were granted
    database.down("base")
    with database.engine(Role.ADMIN).connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE `{name}`")
    for engine in database.engines.values():
        engine.dispose()


@pytest.fixture
def database(fresh: Database) -> Database:
    fresh.up()
    return fresh


@pytest.fixture
def loaded(database: Database) -> Database:
    database.load()
    return database


# Migrations


def test_up_makes_the_tables_that_the_programs_know(fresh: Database):
    assert fresh.up() == ["0001", "0002", "0003", "0004", "0005"]
    assert fresh.tables() == sorted([*ALL_TABLES, "alembic_version"])
    with fresh.engine(Role.ADMIN).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables.METADATA)
    kinds = {d[0][0] if isinstance(d, list) else d[0] for d in differences}
    assert kinds <= {"modify_comment", "remove_table_comment"}, differences
    assert fresh.up() == []


def test_every_column_may_be_null_where_the_programs_think_so(database: Database):
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


def test_each_revision_goes_down_and_up_again(fresh: Database):
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


def test_status_tells_before_the_database_exists_and_after(fresh: Database):
    assert [r.is_applied for r in fresh.migrations.status()] == [False] * 5
    fresh.up("0002")
    assert [r.is_applied for r in fresh.migrations.status()] == [True, True, False, False, False]


def test_an_unknown_target_is_a_usage_error(database: Database):
    with pytest.raises(UsageError, match="9999"):
        database.up("9999")


def test_a_database_from_the_future_is_left_alone(database: Database):
    with database.engine(Role.ADMIN).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0777'")
    try:
        with pytest.raises(PreconditionError, match="0777"):
            database.up()
    finally:
        with database.engine(Role.ADMIN).begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0005'")


def test_two_at_once_end_like_one(fresh: Database):
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(fresh.up())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(results) == [[], ["0001", "0002", "0003", "0004", "0005"]]


def test_no_password_reaches_a_log(fresh: Database, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    try:
        fresh.up()
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    assert "CREATE USER" in caplog.text
    for role in CREATED_ACCOUNTS:
        assert fresh.account(role).password.get_secret_value() not in caplog.text


# Accounts

_BEAT = (
    "INSERT INTO callsheet_heartbeat VALUES (1, NOW(6)) ON DUPLICATE KEY UPDATE beat_at = NOW(6)"
)


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
def test_an_account_may_do_its_work(database: Database, role: Role, statement: str):
    with database.engine(role).connect() as connection:
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
def test_an_account_may_do_nothing_else(database: Database, role: Role, statement: str):
    account = database.account(role)
    with (
        pytest.raises(PreconditionError, match=role.value),
        translated(account),
        database.engine(role).connect() as connection,
    ):
        connection.exec_driver_sql(statement)


def test_an_underscore_in_the_name_opens_no_other_database(database: Database):
    other = database.name.replace("_", "x")
    with database.engine(Role.ADMIN).connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE `{other}`")
        connection.exec_driver_sql(f"CREATE TABLE `{other}`.secrets (id INT PRIMARY KEY)")
    try:
        for role in (Role.READER, Role.CAPTURE):
            with pytest.raises(DBAPIError, match="denied"):
                database.ask(f"SELECT * FROM `{other}`.secrets", role)
    finally:
        with database.engine(Role.ADMIN).connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE `{other}`")


def test_down_takes_every_grant_on_this_database_back(database: Database):
    database.down("base")
    grants = database.ask(
        f"SELECT user FROM mysql.db WHERE db LIKE '%{database.name.split('_')[1]}%' UNION "
        f"SELECT user FROM mysql.tables_priv WHERE db = '{database.name}'".replace("%", "%%")
    )
    assert grants == []


# Errors at the door


def test_a_wrong_password_is_a_precondition_and_stays_unsaid(database: Database):
    wrong = database.environment | {"CALLSHEET_APP_PASSWORD": "not the password"}  # type: ignore[operator]
    account = Account.from_environment(wrong, Role.APP)
    with pytest.raises(PreconditionError) as caught, translated(account):
        open_engine(account).connect()
    assert "not the password" not in str(caught.value) + caught.value.hint


def test_no_server_is_unavailable(stack_env: Mapping[str, str]):
    account = Account.from_environment({**stack_env, "CALLSHEET_MYSQL_PORT": "1"}, Role.APP)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 "), translated(account):
        open_engine(account).connect()


def test_a_missing_table_says_what_to_run(fresh: Database):
    fresh.up("0001")
    account = fresh.account(Role.ADMIN)
    with pytest.raises(PreconditionError) as caught, translated(account):
        checks.totals(fresh.engine(Role.ADMIN))
    assert "callsheet migrate up" in caught.value.hint


# Loading


def test_all_films_are_loaded_exactly(database: Database):
    rows = read_rows(find_films())
    report = Loader(database.engine(), time.monotonic).load(rows)
    assert (report.inserted, report.unchanged, report.kept, report.skipped) == (3201, 0, 0, 0)
    totals = checks.totals(database.engine(Role.READER))
    assert {name: table.rows for name, table in totals.items()} == dict(report.inserted_rows)
    budget = Decimal(sum(row["Production Budget"] or 0 for row in rows))
    assert totals["titles"].sums["total_budget"] == budget
    assert totals["budgets"].sums["amount"] == budget
    us_gross = Decimal(sum(row["US Gross"] or 0 for row in rows))
    assert totals["titles"].sums["us_gross"] == us_gross
    world = sum(row["Worldwide Gross"] or 0 for row in rows)
    dvd = sum(row["US DVD Sales"] or 0 for row in rows)
    assert totals["cash_flows"].sums["amount"] == Decimal(world + dvd)
    assert_books_agree(database)


def test_a_second_load_changes_nothing(loaded: Database):
    before = [loaded.rows(table) for table in tables.BUSINESS_TABLES]
    report = Loader(loaded.engine(), time.monotonic).load(read_rows(find_films())[:FILMS])
    assert (report.inserted, report.unchanged, report.kept) == (0, FILMS, 0)
    assert not any(report.inserted_rows.values())
    assert [loaded.rows(table) for table in tables.BUSINESS_TABLES] == before


def test_a_changed_title_is_kept_and_a_deleted_one_comes_back_with_its_books(loaded: Database):
    counts = checks.totals(loaded.engine(Role.READER))
    with loaded.engine().begin() as connection:
        moved = tables.TITLES.update().where(tables.TITLES.c.title_id == 3)
        connection.execute(moved.values(launch_date=date(2027, 5, 1)))
        connection.execute(tables.TITLES.delete().where(tables.TITLES.c.title_id == 24))
    assert checks.row_count(loaded.engine(), tables.BUDGETS) < counts["budgets"].rows
    report = Loader(loaded.engine(), time.monotonic).load(read_rows(find_films())[:FILMS])
    assert (report.inserted, report.unchanged, report.kept) == (1, FILMS - 2, 1)
    assert checks.totals(loaded.engine(Role.READER)) == counts
    assert loaded.rows(tables.TITLES)[2]["launch_date"] == date(2027, 5, 1)


def test_a_title_comes_with_its_books_or_not_at_all(database: Database):
    with database.engine(Role.ADMIN).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE talent_payments ADD CHECK (amount < 0)")
    with pytest.raises(DBAPIError):
        database.load()
    assert {t.rows for t in checks.totals(database.engine(Role.READER)).values()} == {0}


def test_dirty_rows_of_any_shape_are_reported_and_the_rest_is_loaded(database: Database):
    rows: list[Any] = [None, {"Title": "Lonely", "Release Date": "Jan 01 1901"}, 5, "text"]
    report = Loader(database.engine(), time.monotonic).load(rows)
    assert (report.rows, report.inserted, report.skipped) == (4, 1, 3)
    assert [row["title_id"] for row in database.rows(tables.TITLES)] == [2]
    assert report.counts["row_not_an_object"] == 3


# Simulation


def test_a_seed_makes_the_same_rows_whatever_the_rate(loaded: Database, stack_env):
    name = f"{loaded.name}_2"
    twin = Database({**stack_env, "CALLSHEET_MYSQL_DATABASE": name}, {})
    try:
        twin.up()
        twin.load()
        first = Simulator(loaded.engine(), 11).run(1e6, Until(changes=1500))
        second = Simulator(twin.engine(), 11).run(3000, Until(changes=1500))
        assert first.kinds == second.kinds
        for table in tables.BUSINESS_TABLES:
            assert loaded.rows(table) == twin.rows(table)
    finally:
        twin.down("base")
        with twin.engine(Role.ADMIN).connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE `{name}`")
        for engine in twin.engines.values():
            engine.dispose()


def test_the_books_agree_after_a_long_run_in_several_parts(loaded: Database):
    for seed in (1, 2, 3):
        summary = Simulator(loaded.engine(), seed).run(1e6, Until(changes=1500))
        assert summary.changes >= 1500
        assert sum(summary.kinds.values()) == sum(summary.operations.values()) == summary.changes
        assert_books_agree(loaded)


def test_plans_are_what_the_database_holds(loaded: Database):
    """What the planner believes after many transactions is what MySQL says, cascades included."""
    planner = Planner(random.Random(5), 20)
    with loaded.engine().connect() as connection:
        studio = Studio.read(connection)
        for _ in range(250):
            for change in planner.next_transaction(studio):
                connection.execute(change.statement, change.parameters)
            connection.commit()
        stored = Studio.read(connection)
    assert {t.title_id: _plain(t) for t in studio.titles} == {
        t.title_id: _plain(t) for t in stored.titles
    }
    assert sorted(studio.talent) == stored.talent


def _plain(title: Any) -> Any:
    return (
        title.name, title.launch_date, title.markets, title.budgets, title.productions, title.slate,
        title.flows, title.payments,
    )  # fmt: skip


def test_an_empty_database_gets_its_first_titles(database: Database):
    summary = Simulator(database.engine(), 1).run(1e6, Until(changes=600))
    assert summary.kinds["new_title"] > 0
    assert checks.row_count(database.engine(), tables.TITLES) >= 20
    assert_books_agree(database)


def test_a_steady_rate_is_kept(loaded: Database):
    started = time.monotonic()
    summary = Simulator(loaded.engine(), 1).run(200, Until(changes=400))
    elapsed = time.monotonic() - started
    # The last transaction may begin as soon as the one before it is due.
    assert elapsed >= (400 - 2 * 20) / 200
    assert summary.changes >= 400


def test_a_stop_ends_the_run_after_the_transaction_in_hand(loaded: Database):
    stop = threading.Event()

    def on_progress(_: Progress) -> None:
        stop.set()

    simulator = Simulator(loaded.engine(), 1, stop=stop, on_progress=on_progress)
    summary = simulator.run(500, Until(seconds=60))
    assert 0 < summary.seconds < 30
    assert_books_agree(loaded)


def test_a_killed_connection_is_survived(loaded: Database):
    killed: list[int] = []

    def kill(_: Progress) -> None:
        if not killed:
            killed.extend(_connections_of(loaded))
            with loaded.engine(Role.ADMIN).connect() as connection:
                for number in killed:
                    connection.exec_driver_sql(f"KILL {number}")

    summary = Simulator(loaded.engine(), 1, on_progress=kill).run(500, Until(changes=1500))
    assert killed
    assert summary.reconnects >= 1
    assert summary.changes >= 1500
    assert_books_agree(loaded)


def test_a_server_that_stays_away_is_an_error_with_a_hint(stack_env: Mapping[str, str]):
    account = Account.from_environment({**stack_env, "CALLSHEET_MYSQL_PORT": "1"}, Role.APP)
    with pytest.raises(UnavailableError) as caught:
        Simulator(open_engine(account), 1, patience_s=0.3).run(100, Until(seconds=60))
    assert caught.value.hint


def test_rows_that_someone_else_adds_are_stepped_around(loaded: Database):
    """A title numbered as the simulator would number its next one."""
    added: list[int] = []

    def add(_: Progress) -> None:
        with loaded.engine(Role.ADMIN).begin() as connection:
            result = connection.execute(
                tables.TITLES.insert().values(name="From outside", kind="film")
            )
            added.append(result.inserted_primary_key[0])

    summary = Simulator(loaded.engine(), 1, on_progress=add).run(900, Until(changes=2500))
    assert added
    assert summary.changes >= 2500
    assert_books_agree(loaded)


def test_a_broken_rule_of_the_schema_is_not_tried_for_ever(loaded: Database):
    with loaded.engine(Role.ADMIN).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE titles ADD COLUMN must INT NOT NULL")
    with pytest.raises(DBAPIError):
        Simulator(loaded.engine(), 1).run(1e6, Until(changes=5000))


def _connections_of(database: Database) -> list[int]:
    found = database.ask(
        "SELECT id FROM performance_schema.processlist "
        f"WHERE db = '{database.name}' AND user = 'callsheet_app'"
    )
    return [number for (number,) in found]


# Checks


def test_rows_stream_in_key_order_and_sum_like_mysql(loaded: Database):
    engine = loaded.engine(Role.READER)
    for table in tables.BUSINESS_TABLES:
        rows = list(checks.row_stream(engine, table))
        keys = [tuple(row[column.name] for column in table.primary_key) for row in rows]
        assert keys == sorted(keys)
        assert len(rows) == checks.row_count(engine, table)
        for column, total in checks.table_sums(engine, table).items():
            assert sum((row[column] or 0 for row in rows), Decimal(0)) == total


def test_a_snapshot_stays_at_its_moment(loaded: Database):
    with checks.snapshot(loaded.engine(Role.READER)) as connection:
        before = len(list(checks.rows_in(connection, tables.TITLES)))
        with loaded.engine().begin() as other:
            other.execute(tables.TITLES.delete())
        assert len(list(checks.rows_in(connection, tables.TITLES))) == before
    assert checks.row_count(loaded.engine(Role.READER), tables.TITLES) == 0


def test_a_stream_given_up_halfway_leaves_no_snapshot_open(loaded: Database):
    engine = loaded.engine(Role.READER)
    stream = checks.row_stream(engine, tables.BUDGETS)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    with loaded.engine().begin() as connection:
        connection.execute(tables.TITLES.delete())
    assert checks.row_count(engine, tables.BUDGETS) == 0


def test_money_that_breaks_a_rule_is_refused(loaded: Database):
    with pytest.raises(DBAPIError), loaded.engine().begin() as connection:
        connection.execute(tables.BUDGETS.update().values(amount=Decimal("-0.01")))
    with pytest.raises(IntegrityError), loaded.engine().begin() as connection:
        connection.execute(tables.TALENT.delete())


def assert_books_agree(database: Database) -> None:
    """Every title's totals are the exact sums of its lines."""
    assert database.ask(_UNEQUAL_BUDGETS, Role.READER) == []
    assert database.ask(_UNEQUAL_GROSSES, Role.READER) == []


_UNEQUAL_BUDGETS = (
    "SELECT t.title_id FROM titles t LEFT JOIN "
    "(SELECT title_id, SUM(amount) total FROM budgets GROUP BY title_id) b USING (title_id) "
    "WHERE COALESCE(t.total_budget, 0) <> COALESCE(b.total, 0)"
)
_UNEQUAL_GROSSES = (
    "SELECT t.title_id FROM titles t LEFT JOIN (SELECT title_id, "
    "SUM(IF(kind = 'domestic_gross', amount, 0)) us, "
    "SUM(IF(kind IN ('domestic_gross', 'international_gross'), amount, 0)) world "
    "FROM cash_flows GROUP BY title_id) c USING (title_id) "
    "WHERE COALESCE(t.us_gross, 0) <> COALESCE(c.us, 0) "
    "OR COALESCE(t.worldwide_gross, 0) <> COALESCE(c.world, 0)"
)
